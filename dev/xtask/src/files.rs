//! The repository's own files, in a fixed order.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that hold what was built, fetched or recorded.
const SKIPPED_FOLDERS: [&str; 7] =
    ["target", "node_modules", ".git", "dist", "data", "vectors", "corpus"];

/// One text file.
pub struct SourceFile {
    /// Relative to the repository, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// Reads every file whose name ends in one of `extensions` (with the dot).
pub fn read_all(root: &Path, extensions: &[&str]) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    walk(root, root, extensions, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(root: &Path, dir: &Path, extensions: &[&str], found: &mut Vec<SourceFile>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                walk(root, &path, extensions, found)?;
            }
        } else if extensions.iter().any(|e| name.ends_with(e)) {
            let text =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            found.push(SourceFile { path: relative(root, &path), text });
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
