//! Documents claim only what a test proves.
//!
//! In a table of `docs/` or `README.md` whose last column is headed `Test`, each word in backticks
//! of that column is `crate/test_name` and must be a test function of that crate's folder. A row
//! may hold `-` instead: nothing proves it, and the status must not claim it.

use std::path::Path;

use anyhow::Result;

use crate::files::{SourceFile, read_all};
use crate::finding::Finding;

/// Checks all documents against all sources.
pub fn run(root: &Path) -> Result<Vec<Finding>> {
    let sources = read_all(root, &[".rs", ".ts"])?;
    let documents = read_all(root, &[".md"])?;
    Ok(documents.iter().flat_map(|document| check(document, &sources)).collect())
}

/// The citations of one document.
pub fn check(document: &SourceFile, sources: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_test_table = false;
    for (index, line) in document.text.lines().enumerate() {
        let Some(cells) = cells(line) else {
            in_test_table = false;
            continue;
        };
        if cells.last().is_some_and(|c| *c == "Test") {
            in_test_table = true;
        } else if in_test_table && !line.starts_with("|--") && !line.starts_with("| --") {
            let row = Row { path: &document.path, line: index + 1, cells: &cells };
            row.check(sources, &mut findings);
        }
    }
    findings
}

struct Row<'a> {
    path: &'a str,
    line: usize,
    cells: &'a [&'a str],
}

impl Row<'_> {
    fn check(&self, sources: &[SourceFile], findings: &mut Vec<Finding>) {
        let cell = self.cells.last().copied().unwrap_or_default();
        let mut cited = 0;
        for name in cell.split('`').skip(1).step_by(2) {
            cited += 1;
            if !exists(name, sources) {
                findings.push(self.finding(format!("no test `{name}`: write crate/test_name")));
            }
        }
        if cited == 0 && self.cells.contains(&"yes") {
            findings.push(self.finding("claims `yes` and names no test".to_owned()));
        }
    }

    fn finding(&self, message: String) -> Finding {
        Finding::new(self.path, self.line, "cited-test", message)
    }
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inside = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    Some(inside.split('|').map(str::trim).collect())
}

fn exists(citation: &str, sources: &[SourceFile]) -> bool {
    let Some((krate, test)) = citation.split_once('/') else { return false };
    let inside = |path: &str| path.split('/').any(|part| part == krate);
    sources.iter().filter(|f| inside(&f.path)).any(|f| declares_test(&f.text, test))
}

/// A `fn` of that name with a `#[..test..]` attribute, or inside `proptest!`, close above it.
fn declares_test(text: &str, test: &str) -> bool {
    let needle = format!("fn {test}(");
    text.match_indices(&needle).any(|(at, _)| {
        let above = text[..at].lines().rev().take(6);
        above
            .take_while(|l| *l != "}")
            .any(|l| l.trim_start().starts_with("#[") && l.contains("test"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| RFC | Status | Test |\n|---|---|---|\n";

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn findings(row: &str) -> usize {
        let source = "#[test]\nfn challenge_is_answered() {\n}\n\nfn no_test() {\n}\n";
        let sources = [file("protocol/sip/src/digest.rs", source)];
        check(&file("docs/a.md", &format!("{TABLE}{row}\n")), &sources).len()
    }

    #[test]
    fn a_cited_test_must_exist_in_its_crate() {
        assert_eq!(findings("| 7616 | yes | `sip/challenge_is_answered` |"), 0);
        assert_eq!(findings("| 7616 | yes | `sip/challenge_is_lost` |"), 1);
        assert_eq!(findings("| 7616 | yes | `sdp/challenge_is_answered` |"), 1);
        assert_eq!(findings("| 7616 | yes | `challenge_is_answered` |"), 1);
        assert_eq!(findings("| 7616 | yes | `sip/no_test` |"), 1);
    }

    #[test]
    fn a_claim_without_a_test_is_found_and_an_honest_no_is_not() {
        assert_eq!(findings("| 7616 | yes | - |"), 1);
        assert_eq!(findings("| 7616 | no | - |"), 0);
    }
}
