//! The ratchet: exceptions to tidy's rules, each with a ceiling and a reason.
//!
//! A line of `tidy-allow.txt` is `PATH RULE CEILING REASON..`. It silences findings of that rule in
//! that file as long as what was measured stays at or below the ceiling. A line that silences
//! nothing is itself a finding, so the list can only shrink.

use crate::finding::Finding;

/// Where the list stands.
pub const LIST: &str = "dev/xtask/tidy-allow.txt";

/// One exception.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    line: usize,
    path: String,
    rule: String,
    ceiling: usize,
}

/// Reads the list; badly written lines come back as findings.
pub fn parse(text: &str) -> (Vec<Entry>, Vec<Finding>) {
    let (mut entries, mut findings) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(index + 1, line) {
            Some(entry) => entries.push(entry),
            None => findings.push(Finding::new(
                LIST,
                index + 1,
                "allow",
                "write PATH RULE CEILING and a reason of at least three words",
            )),
        }
    }
    (entries, findings)
}

/// Drops what the list allows, and reports entries that allow nothing any more.
pub fn apply(entries: &[Entry], findings: Vec<Finding>) -> Vec<Finding> {
    let mut used = vec![false; entries.len()];
    let mut left: Vec<Finding> = Vec::new();
    for finding in findings {
        let allowed = entries.iter().position(|entry| {
            entry.path == finding.path
                && entry.rule == finding.rule
                && finding.measured <= entry.ceiling
        });
        match allowed {
            Some(index) => used[index] = true,
            None => left.push(finding),
        }
    }
    let stale = entries.iter().zip(used).filter(|(_, used)| !used);
    left.extend(stale.map(|(entry, _)| {
        let message = format!("`{} {}` allows nothing any more: remove it", entry.path, entry.rule);
        Finding::new(LIST, entry.line, "allow", message)
    }));
    left
}

fn parse_line(line: usize, text: &str) -> Option<Entry> {
    let mut words = text.split_whitespace();
    let (path, rule, ceiling) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    (words.count() >= 3).then(|| Entry {
        line,
        path: path.to_owned(),
        rule: rule.to_owned(),
        ceiling,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(measured: usize) -> Finding {
        Finding::new("a/b.rs", 1, "file-lines", "long").measuring(measured)
    }

    #[test]
    fn an_entry_silences_up_to_its_ceiling_and_no_further() {
        let (entries, bad) = parse("a/b.rs file-lines 640 one table that reads as one\n");
        assert!(bad.is_empty());
        assert!(apply(&entries, vec![finding(640)]).is_empty());
        let left = apply(&entries, vec![finding(641)]);
        assert_eq!(left.len(), 2, "the finding and the entry that allowed nothing: {left:?}");
    }

    #[test]
    fn an_entry_without_use_or_without_reason_is_a_finding() {
        let (entries, _) = parse("a/b.rs file-lines 640 one table that reads as one\n");
        assert_eq!(apply(&entries, Vec::new())[0].rule, "allow");
        let (entries, bad) = parse("# comment\n\na/b.rs file-lines 640\n");
        assert!(entries.is_empty());
        assert_eq!((bad.len(), bad[0].line), (1, 3));
    }
}
