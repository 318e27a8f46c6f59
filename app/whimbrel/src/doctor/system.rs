//! The machine: its clock, and the limits a busy server runs into.

use super::kernel;
use super::report::Report;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A connection, a call's ports and a database each take some.
const OPEN_FILES_MIN: u64 = 65_536;
/// Two machines' clocks may differ by so much.
const TOLERANCE: Duration = Duration::from_secs(120);
/// Files whose time is looked at.
const FILES_MAX: usize = 10_000;
const RMEM_MAX: &str = "/proc/sys/net/core/rmem_max";

/// Looks at the clock and the limits.
pub(super) fn check(report: &mut Report, data: &Path) {
    clock(report, data, SystemTime::now());
    open_files(report);
    receive_buffer(report);
}

/// The clock cannot be before this program was built or the newest file was written.
pub(super) fn clock(report: &mut Report, data: &Path, now: SystemTime) {
    const NAME: &str = "clock";
    let program = std::env::current_exe().ok().and_then(|exe| modified(&exe).map(|t| (t, exe)));
    let newest = program.into_iter().chain(newest_file(data)).max_by_key(|(at, _)| *at);
    if let Some((at, path)) = newest.filter(|(at, _)| *at > now + TOLERANCE) {
        let behind = at.duration_since(now).unwrap_or_default().as_secs();
        let detail = format!("{behind} s behind the time of {}", path.display());
        let remedy = "set it, and let NTP keep it: certificates, registrations and records need it";
        return report.fail(NAME, detail, remedy);
    }
    match kernel::clock_is_kept() {
        Some(true) => report.ok(NAME, "plausible, and synchronised"),
        Some(false) => report.warn(
            NAME,
            "plausible, and not synchronised",
            "timedatectl set-ntp true, or run chrony",
        ),
        None => report.ok(NAME, "plausible; the kernel does not say whether it is synchronised"),
    }
}

fn newest_file(data: &Path) -> Option<(SystemTime, PathBuf)> {
    let folders = ["", "tls", "spine", "location"].map(|name| data.join(name));
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let files = entries.take(FILES_MAX).flatten().map(|entry| entry.path());
    files.filter_map(|path| modified(&path).map(|at| (at, path))).max_by_key(|(at, _)| *at)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn open_files(report: &mut Report) {
    const NAME: &str = "open files";
    match kernel::open_files_max() {
        Some(limit) if limit >= OPEN_FILES_MIN => {
            report.ok(NAME, format!("at most {limit} for a process started from here"));
        }
        Some(limit) => report.warn(
            NAME,
            format!("at most {limit} for a process started from here"),
            format!("ulimit -n {OPEN_FILES_MIN}; for systemd LimitNOFILE={OPEN_FILES_MIN}"),
        ),
        None => report.warn(NAME, "the system does not say", "look at it with ulimit -n"),
    }
}

fn receive_buffer(report: &mut Report) {
    const NAME: &str = "receive buffer";
    let wanted = net::Limits::default().udp_receive_buffer;
    let text = std::fs::read_to_string(RMEM_MAX).ok();
    match text.and_then(|text| text.trim().parse::<usize>().ok()) {
        Some(max) if max >= wanted => report.ok(NAME, format!("net.core.rmem_max is {max}")),
        Some(max) => report.warn(
            NAME,
            format!("net.core.rmem_max is {max}, SIP over UDP asks for {wanted}"),
            format!("sysctl -w net.core.rmem_max={wanted}, and keep it in /etc/sysctl.d"),
        ),
        None => report.ok(NAME, "the kernel does not say its limit here"),
    }
}
