//! Words that do not belong in a finished file, and words the glossary promises.

use crate::files::SourceFile;
use crate::finding::Finding;

/// Marks of unfinished work. Written in halves, so that this file does not find itself.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("db", "g!("),
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
];

/// Things outside of the repository that it must not lean on, with the reason.
const OUTSIDE: [(&str, &str); 9] = [
    (concat!("../", "shared"), "the repository stands alone"),
    (concat!("/work", "/"), "a path of one machine"),
    (concat!("crates", ".io"), "registries are the tools' business"),
    (concat!("npmjs", "."), "registries are the tools' business"),
    (concat!("yarnpkg", "."), "registries are the tools' business"),
    (concat!("pypi", "."), "registries are the tools' business"),
    (concat!("pythonhosted", "."), "registries are the tools' business"),
    (concat!("deb.debian", "."), "registries are the tools' business"),
    (concat!("artif", "actory"), "registries are the tools' business"),
];

/// Where the terms stand.
const GLOSSARY: &str = "docs/glossary.md";

/// Leftovers of work in progress.
pub fn check_unfinished(file: &SourceFile, findings: &mut Vec<Finding>) {
    for (index, line) in file.text.lines().enumerate() {
        for mark in UNFINISHED {
            if has_word(line, mark) {
                let message = format!("`{mark}`: finish it, or write down where it is decided");
                findings.push(Finding::new(&file.path, index + 1, "unfinished", message));
            }
        }
    }
}

/// References to what a clone does not have.
pub fn check_outside(file: &SourceFile, findings: &mut Vec<Finding>) {
    for (index, line) in file.text.lines().enumerate() {
        for (text, why) in OUTSIDE {
            if line.contains(text) {
                let message = format!("`{text}`: {why}");
                findings.push(Finding::new(&file.path, index + 1, "outside", message));
            }
        }
    }
}

/// Each type named in the glossary's last column, `krate::Type`, is declared in that crate.
pub fn check_glossary(files: &[SourceFile]) -> Vec<Finding> {
    let Some(glossary) = files.iter().find(|f| f.path == GLOSSARY) else {
        return vec![Finding::new(GLOSSARY, 0, "glossary", "the glossary is missing")];
    };
    let mut findings = Vec::new();
    for (index, line) in glossary.text.lines().enumerate() {
        let Some(cell) = last_cell(line) else { continue };
        for name in cell.split('`').skip(1).step_by(2) {
            if !is_declared(name, files) {
                let message = format!("`{name}` is declared nowhere: write crate::Type");
                findings.push(Finding::new(GLOSSARY, index + 1, "glossary", message));
            }
        }
    }
    findings
}

fn last_cell(line: &str) -> Option<&str> {
    line.strip_prefix('|')?.trim_end().strip_suffix('|')?.rsplit('|').next()
}

fn is_declared(name: &str, files: &[SourceFile]) -> bool {
    let Some((krate, item)) = name.split_once("::") else { return false };
    let item = item.rsplit("::").next().unwrap_or(item);
    let folder = format!("/{krate}/src/");
    let declares = |line: &str| {
        ["struct ", "enum ", "trait ", "type ", "fn ", "const "]
            .iter()
            .filter_map(|kind| line.trim_start().strip_prefix("pub ")?.strip_prefix(kind))
            .any(|rest| rest.starts_with(item) && !has_word_start(&rest[item.len()..]))
    };
    files.iter().filter(|f| f.path.contains(&folder)).any(|f| f.text.lines().any(declares))
}

fn has_word_start(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        // A macro's mark ends in its bracket, so nothing needs to end after it.
        !before && (word.ends_with('(') || !has_word_start(&line[at + word.len()..]))
    })
}
