//! The house's rules as tools: `cargo xtask layers`, `tidy`, `docs`, or several at once.
//!
//! ```text
//!     cargo metadata ──► layers ──┐
//!     every file     ──► tidy   ──┼──► findings: path:line: what is wrong and what to do ──► exit 1
//!     docs/*.md      ──► docs   ──┘
//! ```
//!
//! Each check is a pure function from text to findings, tested on bad input made for it, so that a
//! check that can no longer fail is noticed. Exceptions stand in `tidy-allow.txt`, each with a
//! reason; the list may shrink, not grow.
//!
//! Start reading at [`layers::check`] for the architecture and [`tidy::check_file`] for the rest.

mod allow;
mod docs;
mod files;
mod finding;
mod layers;
mod mask;
mod tidy;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use finding::Finding;

const USAGE: &str = "usage: cargo run -p xtask -- layers | tidy | docs  (one or several)";

fn main() -> ExitCode {
    let tasks: Vec<String> = std::env::args().skip(1).collect();
    match run(&tasks) {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            let mut out = std::io::stderr().lock();
            for finding in &findings {
                let _ = writeln!(out, "{finding}");
            }
            let _ = writeln!(out, "{} findings", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(tasks: &[String]) -> Result<Vec<Finding>> {
    anyhow::ensure!(!tasks.is_empty(), USAGE);
    let root = root()?;
    let mut findings = Vec::new();
    for task in tasks {
        findings.extend(match task.as_str() {
            "layers" => layers::run(&root)?,
            "tidy" => tidy::run(&root)?,
            "docs" => docs::run(&root)?,
            other => anyhow::bail!("unknown task `{other}`; {USAGE}"),
        });
    }
    Ok(findings)
}

/// The repository, two folders above this crate.
fn root() -> Result<PathBuf> {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .context("the repository around dev/xtask is gone")
}
