//! What a reviewer should never have to say: sizes, headers, leftovers, links, words.

mod functions;
mod links;
mod words;

use std::path::Path;

use anyhow::Result;

use crate::allow;
use crate::files::{SourceFile, read_all};
use crate::finding::Finding;
use crate::mask::mask;

/// More production lines than this in one file, and its map is lost.
const FILE_LINES_MAX: usize = 600;

/// More lines than this, and a function no longer fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// What tidy reads. Lock files are written by their tools.
const EXTENSIONS: [&str; 11] =
    [".rs", ".md", ".toml", ".sh", ".ts", ".svelte", ".css", ".html", ".json", ".txt", "run"];

/// Checks every file below `root`, and applies the list of exceptions.
pub fn run(root: &Path) -> Result<Vec<Finding>> {
    let files = read_all(root, &EXTENSIONS)?;
    let mut findings: Vec<Finding> = files.iter().flat_map(check_file).collect();
    for file in files.iter().filter(|f| f.path.ends_with(".md")) {
        findings.extend(links::check(root, file, &files));
    }
    findings.extend(words::check_glossary(&files));
    let list = files.iter().find(|f| f.path == allow::LIST).map_or("", |f| f.text.as_str());
    let (entries, mut bad_entries) = allow::parse(list);
    bad_entries.extend(allow::apply(&entries, findings));
    Ok(bad_entries)
}

/// All rules that need one file only.
pub fn check_file(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.path.ends_with(".json") {
        whitespace(file, &mut findings);
    }
    words::check_outside(file, &mut findings);
    let extension = file.path.rsplit('.').next().unwrap_or_default();
    if ["rs", "ts", "svelte", "sh"].contains(&extension) {
        words::check_unfinished(file, &mut findings);
    }
    match extension {
        "rs" => rust_file(file, &mut findings),
        "sh" => shell_file(file, &mut findings),
        _ => {}
    }
    findings
}

fn whitespace(file: &SourceFile, findings: &mut Vec<Finding>) {
    for (index, line) in file.text.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            let message = "whitespace at the end of the line";
            findings.push(Finding::new(&file.path, index + 1, "whitespace", message));
        }
        if line.contains('\t') {
            findings.push(Finding::new(&file.path, index + 1, "tab", "a tab: use spaces"));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        let message = "no newline at the end of the file";
        findings.push(Finding::new(&file.path, 0, "whitespace", message));
    }
}

fn rust_file(file: &SourceFile, findings: &mut Vec<Finding>) {
    if file.path.ends_with("/mod.rs") {
        let message = "name the file after its module: foo.rs beside foo/";
        findings.push(Finding::new(&file.path, 0, "mod-rs", message));
    }
    let first = file.text.lines().find(|l| !l.is_empty() && !l.starts_with("#!["));
    // `foo/tests.rs` is announced by its name and by foo.rs, a fuzz target by the one it calls.
    let announced = file.path.ends_with("/tests.rs") || file.path.contains("/fuzz_targets/");
    if !announced && !first.unwrap_or_default().starts_with("//! ") {
        let message = "start with `//! ` and a sentence that says what the file is";
        findings.push(Finding::new(&file.path, 1, "header", message));
    }
    let masked = mask(&file.text);
    // `#![allow(missing_docs, reason = "..")]` on a module of constants is fine: it says why.
    let bare = |l: &str| l.contains("#![allow(") && !l.contains("reason =");
    if let Some(line) = masked.lines().position(bare) {
        let message = "no blanket allow: #[expect(.., reason = \"..\")] at the one place";
        findings.push(Finding::new(&file.path, line + 1, "blanket-allow", message));
    }
    if !is_test_file(&file.path) {
        sizes(file, &masked, findings);
    }
}

fn sizes(file: &SourceFile, masked: &str, findings: &mut Vec<Finding>) {
    let production = functions::without_tests(masked);
    test_clock(file, &production, findings);
    role_clock(file, &production, findings);
    let lines = production.lines().count();
    if lines > FILE_LINES_MAX {
        let message =
            format!("{lines} production lines, the ceiling is {FILE_LINES_MAX}: split by noun");
        findings.push(Finding::new(&file.path, 0, "file-lines", message).measuring(lines));
    }
    for function in functions::all(&production) {
        if function.lines > FUNCTION_LINES_MAX {
            let message = format!(
                "`{}` has {} lines, the ceiling is {FUNCTION_LINES_MAX}",
                function.name, function.lines
            );
            let finding = Finding::new(&file.path, function.line, "fn-lines", message);
            findings.push(finding.measuring(function.lines));
        }
    }
}

/// The tests' zero of time has no business in production code.
fn test_clock(file: &SourceFile, production: &str, findings: &mut Vec<Finding>) {
    let ours = ["protocol/", "engine/", "platform/", "role/", "app/"];
    if !ours.iter().any(|band| file.path.starts_with(band)) {
        return;
    }
    if let Some(line) = production.lines().position(|l| l.contains("testing::epoch")) {
        let message = "sansio::testing is for tests: take `now` as an argument";
        findings.push(Finding::new(&file.path, line + 1, "test-clock", message));
    }
}

/// A role's core is given the time; its shell may look at the clock.
fn role_clock(file: &SourceFile, production: &str, findings: &mut Vec<Finding>) {
    let shell = file.path.ends_with("/shell.rs") || file.path.contains("/shell/");
    if !file.path.starts_with("role/") || shell {
        return;
    }
    let clocks = ["Instant::now", "SystemTime::now", "OsEntropy", "thread_rng"];
    let reads = |l: &&str| clocks.iter().any(|clock| l.contains(clock));
    let count = production.lines().filter(reads).count();
    if let Some(line) = production.lines().position(|l| reads(&l)) {
        let message = "a role reads clocks and randomness in its shell only";
        let finding = Finding::new(&file.path, line + 1, "role-clock", message);
        findings.push(finding.measuring(count));
    }
}

fn shell_file(file: &SourceFile, findings: &mut Vec<Finding>) {
    let mut lines = file.text.lines();
    let shebang = lines.next().is_some_and(|l| l.starts_with("#!"));
    if !(shebang && lines.next().is_some_and(|l| l.starts_with("# "))) {
        let message = "start with #! and a comment that says what the script is for";
        findings.push(Finding::new(&file.path, 1, "header", message));
    }
    let strict = file.text.contains("set -euo pipefail") || file.text.contains("/lib.sh\"");
    if !strict {
        findings.push(Finding::new(&file.path, 1, "strict", "set -euo pipefail"));
    }
}

/// Tests may be as long as their tables.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.split('/').any(|part| part == "tests" || part == "benches" || part == "fuzz")
}

#[cfg(test)]
mod tests;
