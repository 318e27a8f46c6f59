//! Files of the phone's own state: written whole or not at all, and for nobody else to read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts `text` in place of what the file had, for its owner alone. A crash leaves the one or the other.
///
/// # Errors
/// The folder is gone or full, or may not be written.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, path)
}
