//! A process that may take only part of a processor, so that a load above what it can do fits onto
//! the same machine: by a control group of the kernel, or where this machine gives us none, by
//! stopping and continuing it.

use crate::process::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What is given out anew each time.
const PERIOD_MS: u64 = 20;

/// The limit, until it is dropped.
#[derive(Debug)]
pub struct Cap {
    /// How it is held.
    pub by: &'static str,
    group: Option<PathBuf>,
    stop: Arc<AtomicBool>,
    brake: Option<JoinHandle<()>>,
}

impl Cap {
    /// Gives a process `percent` of one processor from now on.
    pub fn on(process: &Process, percent: u64) -> Self {
        let id = process.id();
        let (period, quota) = (PERIOD_MS * 1_000, PERIOD_MS * 10 * percent);
        let name = format!("whimbrel-test-{}-{id}", std::process::id());
        let one = |root: &str, limits: &[(&str, String)]| {
            let group = Path::new(root).join(&name);
            fs::create_dir(&group).ok()?;
            let write = |file: &str, text: &str| fs::write(group.join(file), text).is_ok();
            if limits.iter().all(|(file, text)| write(file, text))
                && write("cgroup.procs", &id.to_string())
            {
                return Some(group);
            }
            // Nothing is in it: the kernel lets it go.
            let _ = fs::remove_dir(&group);
            None
        };
        let first =
            [("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
        let second = [("cpu.max", format!("{quota} {period}"))];
        let found = one("/sys/fs/cgroup/cpu", &first)
            .map(|group| (group, "control group v1"))
            .or_else(|| Some((one("/sys/fs/cgroup", &second)?, "control group v2")));
        let stop = Arc::new(AtomicBool::new(false));
        if let Some((group, by)) = found {
            return Self { by, group: Some(group), stop, brake: None };
        }
        let stopped = Arc::clone(&stop);
        let brake = std::thread::spawn(move || brake(id, percent, &stopped));
        Self { by: "stop and go", group: None, stop, brake: Some(brake) }
    }
}

impl Drop for Cap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(brake) = self.brake.take() {
            // It ends with the process going on.
            let _ = brake.join();
        }
        let Some(group) = &self.group else { return };
        // Out of the group first: one that holds a process cannot be removed.
        let root = group.parent().unwrap_or(group);
        for id in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(root.join("cgroup.procs"), id);
        }
        let _ = fs::remove_dir(group);
    }
}

/// Lets a process run for `percent` of each period, if it takes a whole processor meanwhile.
fn brake(id: u32, percent: u64, stop: &AtomicBool) {
    let signal = |name: &str| {
        let mut kill = std::process::Command::new("kill");
        kill.args([name, "--", &id.to_string()]).status().is_ok_and(|s| s.success())
    };
    let period = Duration::from_millis(10 * PERIOD_MS);
    while !stop.load(Ordering::Relaxed) && signal("-CONT") {
        std::thread::sleep(period * percent as u32 / 100);
        if !signal("-STOP") {
            return;
        }
        std::thread::sleep(period * (100 - percent.min(100)) as u32 / 100);
    }
    signal("-CONT");
}
