//! `whimbrel doctor`: what would keep the server from running well, and what to do about it.
//! It reads and tries; it makes and changes nothing in the data folder.

mod report;

use crate::cli::{DoctorArgs, ServeArgs};
use crate::config::Config;
use anyhow::Result;
use report::Report;
use std::path::Path;

/// Checks everything and prints the findings. False when something would fail.
pub async fn run(data: &Path, args: &DoctorArgs) -> Result<bool> {
    let report = examine(data, args).await;
    report.print(args.json);
    Ok(report.is_well())
}

async fn examine(_data: &Path, args: &DoctorArgs) -> Report {
    let mut report = Report::default();
    let serve = ServeArgs {
        config: args.config.clone(),
        listen_ip: args.listen_ip,
        ..ServeArgs::default()
    };
    let _config = configuration(&mut report, &serve);
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
            report.fail(NAME, format!("{error:#}"), "correct that place; the server refuses it");
            None
        }
    }
}
