//! What the command line prints, and the two clocks it reads.

use sansio::WallTime;
use serde_json::Value;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// The time of day.
pub fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// One line on standard output. A closed pipe is the reader's wish, not an error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One line on standard error.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Rows as a table, or as one JSON array.
pub fn rows(json: bool, rows: Vec<Value>, columns: &[(&str, &str)]) {
    if json {
        say(&Value::Array(rows).to_string());
        return;
    }
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|(_, key)| cell(&row[*key])).collect()).collect();
    let width = |i: usize| {
        let longest = cells.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
        longest.max(columns[i].0.len())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |fields: Vec<&str>| {
        let padded = fields.iter().zip(&widths).map(|(f, w)| format!("{f:w$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    say(&line(columns.iter().map(|(title, _)| *title).collect()));
    for row in &cells {
        say(&line(row.iter().map(String::as_str).collect()));
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
