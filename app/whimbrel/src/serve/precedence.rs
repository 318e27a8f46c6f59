//! Calls go before their records: threads that have time step back.

/// How far, in steps of nice(2): a thread that has waited for a message is then let in at once.
const STEP_BACK: i32 = 10;

/// The kernel shows 15 characters of a thread's name.
const DATABASE_THREADS: &str = "sqlx-sqlite";

/// Lets shards and relay before this thread (records, console, metrics) and those of the database.
/// To be called by the main thread once all others run, since new threads inherit it.
#[cfg(target_os = "linux")]
pub fn step_back() {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return };
    for task in tasks.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let tid: Option<u32> = task.file_name().to_str().and_then(|tid| tid.parse().ok());
        let (Some(tid), true) = (tid, name.starts_with(DATABASE_THREADS)) else { continue };
        lower(tid);
    }
    // 0 is the calling thread.
    lower(0);
}

/// Elsewhere nice(2) is a matter of the whole process.
#[cfg(not(target_os = "linux"))]
pub fn step_back() {}

#[cfg(target_os = "linux")]
fn lower(tid: u32) {
    // SAFETY: neither call takes pointers. A thread that ended meanwhile is an error without effect.
    unsafe {
        let now = libc::getpriority(libc::PRIO_PROCESS, tid);
        libc::setpriority(libc::PRIO_PROCESS, tid, (now + STEP_BACK).min(19));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn nice() -> i32 {
        // SAFETY: no pointers.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    /// It is a matter of one thread, not of the process.
    #[test]
    fn only_those_with_time_step_back() {
        let (before, after, named) = std::thread::spawn(|| {
            let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
            let (said, hear) = std::sync::mpsc::sync_channel(1);
            let thread = std::thread::Builder::new().name("sqlx-sqlite-worker-0".into());
            let worker = thread.spawn(move || {
                said.send(()).unwrap();
                let _ = wait.recv();
                nice()
            });
            let worker = worker.unwrap();
            hear.recv().unwrap();
            let before = nice();
            step_back();
            let after = nice();
            drop(go);
            (before, after, worker.join().unwrap())
        })
        .join()
        .unwrap();
        let expected = (before + STEP_BACK).min(19);
        assert_eq!((after, named), (expected, expected));
        assert_eq!(nice(), before, "this thread was not asked");
    }
}
