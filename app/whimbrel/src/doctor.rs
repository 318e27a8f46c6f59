//! `whimbrel doctor`: what would keep the server from running well, and what to do about it.
//!
//! ```text
//!   configuration ─► data folder ─► store ─► ports, certificate, DNS ─► clock and kernel limits
//! ```
//!
//! It reads and tries; in the data folder it makes and changes nothing. A check is `ok`, `warn`
//! (the server runs, something will be missing or slow) or `FAIL` (it does not start or not work).

mod certificate;
mod database;
mod folder;
mod kernel;
mod names;
mod ports;
mod report;
mod system;
#[cfg(test)]
mod tests;

use crate::addresses::Addresses;
use crate::cli::{DoctorArgs, ServeArgs};
use crate::config::Config;
use crate::control::{self, Request};
use anyhow::Result;
use report::Report;
use serde_json::Value;
use std::path::Path;

/// What is examined: a server as it would start from this data folder and configuration.
struct Patient<'a> {
    data: &'a Path,
    config: Config,
    addresses: Addresses,
    /// The domains served.
    tenants: Vec<String>,
    running: bool,
}

/// Checks everything and prints the findings. False when something would fail.
pub async fn run(data: &Path, args: &DoctorArgs) -> Result<bool> {
    let report = examine(data, args).await;
    report.print(args.json);
    Ok(report.is_well())
}

async fn examine(data: &Path, args: &DoctorArgs) -> Report {
    let mut report = Report::default();
    let serve = ServeArgs {
        config: args.config.clone(),
        listen_ip: args.listen_ip,
        ..ServeArgs::default()
    };
    let config = configuration(&mut report, &serve);
    folder::check(&mut report, data);
    let running = server(&mut report, data).await;
    let tenants = database::check(&mut report, data, running.as_deref()).await;
    if let Some(config) = config {
        let addresses = Addresses::new(&config, &serve);
        let first = || config.domain.clone().unwrap_or_else(|| addresses.advertised.to_string());
        let tenants = tenants.unwrap_or_else(|| vec![first()]);
        let patient = Patient { data, tenants, addresses, config, running: running.is_some() };
        ports::check(&mut report, &patient);
        certificate::check(&mut report, &patient);
        names::check(&mut report, &patient).await;
    }
    system::check(&mut report, data);
    report
}

/// The configuration, if it can be used.
fn configuration(report: &mut Report, args: &ServeArgs) -> Option<Config> {
    const NAME: &str = "configuration";
    match crate::serve::load_config(args) {
        Ok(config) => {
            let detail = match &args.config {
                Some(file) => format!("{} is in order", file.display()),
                None => "none given: everything has its default".into(),
            };
            report.ok(NAME, detail);
            Some(config)
        }
        Err(error) => {
            let remedy =
                "correct it, then ask again: ports, certificate and DNS were not looked at";
            report.fail(NAME, format!("{error:#}"), remedy);
            None
        }
    }
}

/// The version of the server that runs on this data folder, if one does.
async fn server(report: &mut Report, data: &Path) -> Option<String> {
    const NAME: &str = "server";
    let folder = data.to_owned();
    let asked = tokio::task::spawn_blocking(move || control::ask(&folder, &Request::Ping)).await;
    match asked {
        Ok(Ok(Some(answer))) => {
            let version = answer.get("version").and_then(Value::as_str).unwrap_or("unknown");
            report.ok(NAME, format!("version {version} runs on this data folder"));
            Some(version.to_owned())
        }
        Ok(Ok(None)) => {
            report.ok(NAME, "none runs on this data folder");
            None
        }
        Ok(Err(error)) => {
            let remedy = "look at its log; stop it and start it again";
            report.fail(NAME, format!("it runs and does not answer: {error:#}"), remedy);
            Some("unknown".into())
        }
        Err(error) => {
            report.fail(NAME, format!("could not be asked: {error}"), "try again");
            None
        }
    }
}
