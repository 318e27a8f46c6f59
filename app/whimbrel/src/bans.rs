//! `whimbrel bans`: who is not listened to, on both ends of the control socket.

use crate::cli::BansVerb;
use crate::control::{self, Request};
use crate::present;
use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

/// Runs a verb. False when there was no ban to remove.
pub fn run(data: &Path, verb: &BansVerb) -> Result<bool> {
    match *verb {
        BansVerb::List { json } => {
            let bans = ask(data, &Request::Bans)?;
            let rows = bans.as_array().cloned().unwrap_or_default();
            let columns = [
                ("SOURCE", "source"),
                ("SIGN", "sign"),
                ("SECONDS LEFT", "seconds_left"),
                ("COUNT", "count"),
            ];
            present::rows(json, rows, &columns);
            Ok(true)
        }
        BansVerb::Remove { ip, json } => {
            let answer = ask(data, &Request::Unban { source: ip })?;
            let lifted = answer["lifted"] == Value::Bool(true);
            match (json, lifted) {
                (true, _) => present::say(&answer.to_string()),
                (false, true) => present::say(&format!("{ip} is listened to again")),
                (false, false) => {
                    present::complain(&format!("{ip} is not banned; see `bans list`"))
                }
            }
            Ok(lifted)
        }
    }
}

/// The bans in force, for the control socket.
pub fn list(gate: &net::Gate) -> Value {
    let row = |ban: &net::Ban| {
        json!({
            "source": ban.source.to_string(),
            "sign": ban.sign.word(),
            "seconds_left": ban.left.as_secs(),
            "count": ban.count,
        })
    };
    gate.bans(Instant::now()).iter().map(row).collect()
}

/// Listens to a source again; whether it was banned.
pub fn lift(gate: &net::Gate, source: IpAddr) -> bool {
    gate.lift(Instant::now(), source)
}

fn ask(data: &Path, request: &Request) -> Result<Value> {
    control::ask(data, request)?.ok_or_else(|| {
        anyhow!("no server runs on {}; start it with `whimbrel serve`", data.display())
    })
}
