//! Relative links and anchors in Markdown lead somewhere.

use std::path::Path;

use crate::files::SourceFile;
use crate::finding::Finding;

/// Checks every `[text](target)` of one document.
pub fn check(root: &Path, file: &SourceFile, all: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_code = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(line) {
            if let Some(problem) = problem(root, file, all, target) {
                findings.push(Finding::new(&file.path, index + 1, "link", problem));
            }
        }
    }
    findings
}

fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

fn problem(root: &Path, file: &SourceFile, all: &[SourceFile], target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let resolved = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path) };
    if !root.join(&resolved).exists() {
        return Some(format!("`{target}` leads nowhere ({resolved})"));
    }
    let document = all.iter().find(|f| f.path == resolved)?;
    (!anchor.is_empty() && !anchors(&document.text).any(|a| a == anchor))
        .then(|| format!("`{resolved}` has no heading `#{anchor}`"))
}

/// `../design/x.md` seen from `docs/operate/install.md` is `docs/design/x.md`.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The anchors of a document's headings, as GitHub writes them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|l| l.starts_with('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn links_resolve_from_their_document() {
        assert_eq!(resolve("docs/operate/install.md", "../design/0001.md"), "docs/design/0001.md");
        assert_eq!(resolve("README.md", "./docs/glossary.md"), "docs/glossary.md");
        assert_eq!(resolve("docs/architecture.md", "glossary.md"), "docs/glossary.md");
    }

    #[test]
    fn a_dead_link_and_a_dead_anchor_are_found_and_code_is_not_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = "# A heading, here\n[a](Cargo.toml) [b](none.md) [c](#a-heading-here) [d](#none)\n\
                    [e](https://example.org/x)\n```\n[f](none.md)\n```\n";
        let file = document("page.md", text);
        let root_has_page = [document("page.md", text)];
        let found = check(root, &file, &root_has_page);
        // `page.md` itself is not on the disk, so both anchors are reported with the dead link.
        assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [2, 2, 2]);
        assert!(anchors(text).any(|a| a == "a-heading-here"));
    }
}
