//! The few questions only libc answers. The only `unsafe` of the doctor.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether this user may make files in a folder; nothing is made.
pub(super) fn may_write(folder: &Path) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return false };
    // SAFETY: `path` is a live NUL-terminated string; the call keeps no pointer.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), WANTED, libc::AT_EACCESS) == 0 }
}

const WANTED: libc::c_int = libc::R_OK | libc::W_OK | libc::X_OK;

/// The bytes this user may still write on the file system of a path.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is a live NUL-terminated string, `stat` room for one statvfs.
    if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it has filled the struct.
    let stat = unsafe { stat.assume_init() };
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The user the server would run as, if started like this.
pub(super) fn user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// How many files this process may open.
pub(super) fn open_files_max() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live rlimit.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    done.then_some(limit.rlim_cur)
}

/// Whether the kernel says that something keeps the clock; `None` if it does not say (containers).
pub(super) fn clock_is_kept() -> Option<bool> {
    // SAFETY: timex is plain C data for which all-zero is valid, and modes = 0 changes nothing.
    let mut timex: libc::timex = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `timex` is a live timex.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0)
}
