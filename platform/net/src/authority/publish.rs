//! Where the server leaves its authority's certificate for phones on the same machine.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::issue;
use crate::error::NetError;

/// Where the server listening on `port` publishes: `${XDG_RUNTIME_DIR}/whimbrel/PORT.pem`, or the
/// same in a 0700 folder of this user in the temporary directory.
pub fn published_ca_path(port: u16) -> PathBuf {
    folders().remove(0).join(file_name(port))
}

/// The certificate published for `port` on this machine, if there is one to be trusted: its folder
/// must belong to this user (or root) and be writable by nobody else.
pub fn published_ca(port: u16) -> Option<PathBuf> {
    let paths = folders().into_iter().filter(|folder| is_private(folder));
    paths.map(|folder| folder.join(file_name(port))).find(|path| path.is_file())
}

/// Writes the certificate, trying the folders in turn.
pub(super) fn publish(port: u16, pem: &[u8]) -> Result<PathBuf, NetError> {
    let mut result = None;
    for folder in folders() {
        let path = folder.join(file_name(port));
        match write(&folder, &path, pem) {
            Ok(()) => return Ok(path),
            Err(error) => result = result.or(Some(error)),
        }
    }
    // `folders` gives at least one, so there is an error to report.
    let path = published_ca_path(port);
    let none = || NetError::Missing { path, expected: "folder", remedy: "set XDG_RUNTIME_DIR" };
    Err(result.unwrap_or_else(none))
}

fn write(folder: &Path, path: &Path, pem: &[u8]) -> Result<(), NetError> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(NetError::File { action: "create", path: folder.to_owned(), source: e });
        }
        _ => {}
    }
    if !is_private(folder) {
        let source = std::io::Error::other("the folder belongs to or is open to another user");
        return Err(NetError::File { action: "use", path: folder.to_owned(), source });
    }
    issue::write(path, pem, 0o644)
}

/// Most wanted first; never empty.
fn folders() -> Vec<PathBuf> {
    folders_for(std::env::var_os("XDG_RUNTIME_DIR"), &std::env::temp_dir(), user_id())
}

fn folders_for(runtime: Option<OsString>, temporary: &Path, user: u32) -> Vec<PathBuf> {
    let runtime = runtime.map(PathBuf::from).filter(|dir| dir.is_absolute());
    let mut folders: Vec<_> = runtime.into_iter().map(|dir| dir.join("whimbrel")).collect();
    folders.push(temporary.join(format!("whimbrel-{user}")));
    folders
}

fn file_name(port: u16) -> String {
    format!("{port}.pem")
}

fn is_private(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|meta| {
        let owner_ok = meta.uid() == user_id() || meta.uid() == 0;
        meta.is_dir() && owner_ok && meta.mode() & 0o022 == 0
    })
}

/// The effective user, as the owner of this process's entry in /proc (no unsafe call needed).
fn user_id() -> u32 {
    fs::metadata("/proc/self").map_or(0, |meta| meta.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_folder_comes_before_the_temporary_one() {
        let folders = folders_for(Some("/run/user/7".into()), Path::new("/tmp"), 7);
        assert_eq!(folders, [Path::new("/run/user/7/whimbrel"), Path::new("/tmp/whimbrel-7")]);
        assert_eq!(folders_for(Some("".into()), Path::new("/tmp"), 7).len(), 1);
    }

    #[test]
    fn only_a_private_folder_is_written_and_believed() {
        use sansio::Entropy;
        use std::os::unix::fs::PermissionsExt;
        let name = format!("net-publish-{}", crate::OsEntropy.token(8));
        let folder = std::env::temp_dir().join(name);
        let path = folder.join("5061.pem");
        write(&folder, &path, b"pem").unwrap();
        write(&folder, &path, b"newer").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert!(is_private(&folder));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!is_private(&folder) && write(&folder, &path, b"x").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
