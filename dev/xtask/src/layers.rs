//! The six bands, checked from `cargo metadata`.
//!
//! ```text
//!     app ──► role ──► platform ──► protocol        dev, tests ──► everything
//!        └──────┴────► engine   ──►
//! ```
//!
//! A band is a top-level folder. Imports go towards `protocol/`, never sideways, except where
//! [`SIDEWAYS`] says so. Dev-dependencies obey the same rules: a test that needs another role is a
//! story, and stories live in `dev/simnet` or `tests/`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::finding::Finding;

/// More crates than this and nobody knows them all.
const CRATES_MAX: usize = 30;

/// Who may import whom inside one band: (importer, imported).
const SIDEWAYS: [(&str, &str); 5] = [
    ("phone", "media"),
    ("b2bua", "media"),
    ("store-sql", "store"),
    // The server of the API also serves the pages that use it.
    ("admin", "web"),
    ("whimbrel", "*"),
];

/// Edges the bands would allow and the design does not.
const FORBIDDEN: [(&str, &str, &str); 1] = [(
    "edge",
    "b2bua",
    "the edge stays a proxy: calls that need two legs are decided at their INVITE and go to pbx",
)];

/// Foreign crates that have owners: (crate, the packages that may name it, why).
const OWNED: [(&str, &[&str], &str); 3] = [
    ("sqlx", &["store-sql"], "only store-sql knows SQL"),
    ("uniffi", &["phone-ffi"], "only phone-ffi knows UniFFI"),
    (
        "tokio-tungstenite",
        &["net", "tests", "fuzz-targets"],
        "only net knows the WebSocket upgrade",
    ),
];

/// Foreign crates that bring a runtime, sockets or randomness, kept out of `protocol/` and `engine/`.
const IMPURE: [&str; 9] =
    ["tokio", "async-std", "socket2", "mio", "libc", "hyper", "rustls", "rand", "getrandom"];

/// Names that tell nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["common", "utils", "util", "helpers", "config", "types", "misc", "core"];

/// A workspace member, as far as the rules care.
#[derive(Debug, Clone)]
pub struct Package {
    /// The name in its `Cargo.toml`.
    pub name: String,
    /// Its folder, relative to the repository: `protocol/sip`.
    pub folder: String,
    /// The workspace members it imports, dev- and build-dependencies included.
    pub ours: Vec<String>,
    /// The foreign crates it imports, dev-dependencies excluded.
    pub foreign: Vec<String>,
}

impl Package {
    fn band(&self) -> &str {
        self.folder.split('/').next().unwrap_or_default()
    }

    fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }

    fn finding(&self, message: String) -> Finding {
        Finding::new(&self.manifest(), 0, "layers", message)
    }
}

/// Checks the workspace around `root`.
pub fn run(root: &Path) -> Result<Vec<Finding>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .context("cargo metadata does not start")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(check(&packages(&serde_json::from_slice(&output.stdout)?)?))
}

/// The rules themselves.
pub fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if packages.len() > CRATES_MAX {
        let message = format!("{} crates, the ceiling is {CRATES_MAX}", packages.len());
        findings.push(Finding::new("Cargo.toml", 0, "layers", message));
    }
    for package in packages {
        check_name(package, &mut findings);
        check_ours(package, packages, &mut findings);
        check_foreign(package, &mut findings);
    }
    findings
}

fn check_name(package: &Package, findings: &mut Vec<Finding>) {
    let folder_name = package.folder.rsplit('/').next().unwrap_or_default();
    if folder_name != package.name {
        let message = format!("package `{}` in folder `{folder_name}`: use one name", package.name);
        findings.push(package.finding(message));
    }
    if EMPTY_NAMES.contains(&package.name.as_str()) {
        let message = format!("`{}` says nothing about what is inside", package.name);
        findings.push(package.finding(message));
    }
    let known = ["protocol", "engine", "platform", "role", "app", "dev", "tests"];
    if !known.contains(&package.band()) {
        findings.push(package.finding(format!("`{}` is not a band", package.band())));
    }
    let depth = package.folder.split('/').count();
    if package.band() != "tests" && depth != 2 {
        findings.push(package.finding("a crate stands directly in its band".to_owned()));
    }
}

fn check_ours(package: &Package, packages: &[Package], findings: &mut Vec<Finding>) {
    for name in &package.ours {
        let Some(target) = packages.iter().find(|p| p.name == *name) else {
            findings.push(package.finding(format!("`{name}` is not in this workspace")));
            continue;
        };
        if !may_import(package, target) {
            let message = format!(
                "{}/{} may not import {}/{}: imports go towards protocol/, never sideways",
                package.band(),
                package.name,
                target.band(),
                target.name
            );
            findings.push(package.finding(message));
        }
        for (_, _, why) in FORBIDDEN.iter().filter(|(a, b, _)| *a == package.name && b == name) {
            findings.push(package.finding(format!("`{}` -> `{name}`: {why}", package.name)));
        }
    }
}

fn may_import(from: &Package, to: &Package) -> bool {
    if from.band() == to.band() && from.band() != "dev" {
        let sideways = |(a, b): &(&str, &str)| *a == from.name && (*b == to.name || *b == "*");
        return to.name == "sansio" || SIDEWAYS.iter().any(sideways);
    }
    match from.band() {
        "protocol" => false,
        "engine" | "platform" => to.band() == "protocol",
        "role" => ["protocol", "engine", "platform"].contains(&to.band()),
        "app" => ["protocol", "engine", "platform", "role"].contains(&to.band()),
        _ => true,
    }
}

fn check_foreign(package: &Package, findings: &mut Vec<Finding>) {
    for name in &package.foreign {
        if ["protocol", "engine"].contains(&package.band()) && IMPURE.contains(&name.as_str()) {
            let message = format!("`{name}` brings the world in; {} is sans-IO", package.folder);
            findings.push(package.finding(message));
        }
        for (_, owners, why) in OWNED.iter().filter(|(owned, ..)| owned == name) {
            if !owners.contains(&package.name.as_str()) {
                findings.push(package.finding(format!("`{name}`: {why}")));
            }
        }
    }
}

fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let root = metadata["workspace_root"].as_str().context("no workspace_root")?;
    let list = metadata["packages"].as_array().context("no packages")?;
    list.iter().map(|package| read_package(root, package)).collect()
}

fn read_package(root: &str, package: &Value) -> Result<Package> {
    let manifest = package["manifest_path"].as_str().context("no manifest_path")?;
    let folder = Path::new(manifest).parent().context("manifest without a folder")?;
    let folder = folder.strip_prefix(root).context("a member outside of the workspace")?;
    let dependencies = package["dependencies"].as_array().context("no dependencies")?;
    let name_of = |d: &Value| d["name"].as_str().unwrap_or_default().to_owned();
    let (ours, foreign): (Vec<_>, Vec<_>) =
        dependencies.iter().partition(|d| d["path"].is_string());
    Ok(Package {
        name: name_of(package),
        folder: folder.to_string_lossy().replace('\\', "/"),
        ours: ours.into_iter().map(name_of).collect(),
        foreign: foreign.into_iter().filter(|d| d["kind"] != "dev").map(name_of).collect(),
    })
}

#[cfg(test)]
mod tests;
