//! The data folder: there, ours, for nobody else, with room.

use super::kernel;
use super::report::Report;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Below this the journals may soon find no room.
const FREE_MIN: u64 = 500 * 1024 * 1024;
/// What only the server's user may read.
const SECRETS: [&str; 6] =
    ["whimbrel.db", "whimbrel.db-wal", "secret.key", "edge.key", "tls/ca.key", "tls/server.key"];

/// Looks at the data folder and its disk.
pub(super) fn check(report: &mut Report, data: &Path) {
    match std::fs::metadata(data) {
        Ok(found) => existing(report, data, &found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing(report, data),
        Err(error) => report.fail(
            "data folder",
            format!("{}: {error}", data.display()),
            "choose another with --data, or run as the user it belongs to",
        ),
    }
    space(report, &nearest(data));
}

fn existing(report: &mut Report, data: &Path, found: &Metadata) {
    const NAME: &str = "data folder";
    let shown = data.display();
    if !found.is_dir() {
        return report.fail(NAME, format!("{shown} is no folder"), "choose another with --data");
    }
    if !kernel::may_write(data) {
        let remedy = format!("run as user {}, or: chown -R $USER {shown}", found.uid());
        return report.fail(NAME, format!("{shown} cannot be written"), remedy);
    }
    let open: Vec<&str> = SECRETS.into_iter().filter(|name| is_open(&data.join(name))).collect();
    let mode = found.mode() & 0o777;
    if !open.is_empty() {
        let detail = format!("{shown}: others may read {}", open.join(", "));
        return report.fail(NAME, detail, format!("chmod -R go-rwx {shown}"));
    }
    if mode & 0o077 != 0 {
        let detail = format!("{shown} is open to others (mode {mode:03o})");
        return report.warn(NAME, detail, format!("chmod 700 {shown}"));
    }
    if found.uid() != kernel::user() {
        let detail = format!("{shown} belongs to user {}", found.uid());
        return report.warn(NAME, detail, "run the server as that user");
    }
    report.ok(NAME, format!("{shown} is writable, and by its owner only"));
}

fn missing(report: &mut Report, data: &Path) {
    const NAME: &str = "data folder";
    let parent = nearest(data);
    if kernel::may_write(&parent) {
        let detail = format!("{}: nothing there yet, serve will make it", data.display());
        return report.ok(NAME, detail);
    }
    let detail =
        format!("{} is not there, and {} cannot be written", data.display(), parent.display());
    report.fail(NAME, detail, "make it for the user of the server, or choose another with --data");
}

fn space(report: &mut Report, path: &Path) {
    const NAME: &str = "disk space";
    match kernel::free_bytes(path) {
        Some(free) if free >= FREE_MIN => report.ok(NAME, format!("{} MB free", free >> 20)),
        Some(free) => report.warn(
            NAME,
            format!("only {} MB free", free >> 20),
            "make room: when the disk is full, calls are refused, because they cannot be recorded",
        ),
        None => report.warn(NAME, "the system does not say", "look at it with df"),
    }
}

fn is_open(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.mode() & 0o077 != 0)
}

/// The path itself, or the nearest folder above it that exists.
fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/")).to_owned()
}
