//! The findings, as lines or as one JSON object.

use crate::present::say;
use serde::Serialize;

/// What was found, in the order it was looked at.
#[derive(Debug, Default)]
pub(super) struct Report {
    checks: Vec<Check>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) detail: String,
    pub(super) remedy: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// The server runs, and something will be missing or slow.
    Warn,
    /// The server does not start, or does not work.
    Fail,
}

impl Report {
    pub(super) fn ok(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.add(name.into(), Status::Ok, detail.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        name: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(name.into(), Status::Warn, detail.into(), Some(remedy.into()));
    }

    pub(super) fn fail(
        &mut self,
        name: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(name.into(), Status::Fail, detail.into(), Some(remedy.into()));
    }

    /// Whether nothing failed.
    pub(super) fn is_well(&self) -> bool {
        self.checks.iter().all(|check| check.status != Status::Fail)
    }

    #[cfg(test)]
    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Prints it on standard output.
    pub(super) fn print(&self, json: bool) {
        say(&if json { self.to_json() } else { self.to_text() });
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::json!({ "checks": self.checks, "ok": self.is_well() }).to_string()
    }

    pub(super) fn to_text(&self) -> String {
        let width = self.checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
        let lines: Vec<String> = self.checks.iter().map(|check| check.line(width)).collect();
        lines.join("\n")
    }

    fn add(&mut self, name: String, status: Status, detail: String, remedy: Option<String>) {
        self.checks.push(Check { name, status, detail, remedy });
    }
}

impl Check {
    fn line(&self, width: usize) -> String {
        let word = match self.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        let line = format!("{word:4}  {:width$}  {}", self.name, self.detail);
        match &self.remedy {
            Some(remedy) => format!("{line}  ({remedy})"),
            None => line,
        }
    }
}
