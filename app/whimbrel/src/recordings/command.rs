//! `whimbrel recording …`.

use super::KEYS;
use super::keys::read_key;
use crate::cli::RecordingVerb;
use crate::control::{self, Request};
use crate::present;
use anyhow::{Context, Result, bail};
use media::recording;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Runs one of them. False when it did half of what it was asked.
pub fn run(data: &Path, verb: &RecordingVerb) -> Result<bool> {
    match verb {
        RecordingVerb::Open { file, out, key_file } => open(data, file, out, key_file.as_deref()),
        RecordingVerb::Pause { call } => set_paused(data, call, true),
        RecordingVerb::Resume { call } => set_paused(data, call, false),
    }
}

/// Has the running server let the recording of a call rest, or go on.
fn set_paused(data: &Path, call: &str, paused: bool) -> Result<bool> {
    let request = Request::PauseRecording { call: call.to_owned(), paused };
    let Some(_) = control::ask(data, &request)? else {
        bail!("no server runs in {}: nothing is being recorded", data.display());
    };
    let what = if paused { "rests" } else { "goes on" };
    present::say(&format!("the recording of {call} {what}"));
    Ok(true)
}

fn open(data: &Path, file: &Path, out: &Path, key_file: Option<&Path>) -> Result<bool> {
    let sealed = std::fs::read(file).with_context(|| file.display().to_string())?;
    let tenant = recording::key_id(&sealed).with_context(|| file.display().to_string())?;
    let usual = || data.join(KEYS).join(format!("{tenant}.key"));
    if key_file.is_none() && tenant.contains('/') {
        bail!("{}: its key has the name {tenant:?}: say --key-file", file.display());
    }
    let key_file = key_file.map_or_else(usual, Path::to_owned);
    let key = read_key(&key_file).with_context(|| format!("{}: no key", key_file.display()))?;
    let opened = recording::open(&sealed, &key).with_context(|| file.display().to_string())?;
    let mut options = OpenOptions::new();
    let mut written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("{}: cannot be made", out.display()))?;
    written.write_all(&opened.plain).with_context(|| out.display().to_string())?;
    if !opened.complete {
        anyhow::ensure!(!opened.plain.is_empty(), "{}: nothing in it", file.display());
        present::complain("the recording has no end: its server died, or it still runs");
    }
    Ok(true)
}
