//! Each rule of tidy, on a file that breaks it and on its nearest neighbour that does not.

use super::*;

const HEADER: &str = "//! A file.\n";

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}

#[track_caller]
fn rules(path: &str, text: &str) -> Vec<&'static str> {
    check_file(&file(path, text)).iter().map(|f| f.rule).collect()
}

fn long_function(lines: usize) -> String {
    format!("{HEADER}fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
}

#[test]
fn a_tidy_file_has_no_findings() {
    let text = format!("{HEADER}\nfn main() {{\n    run(\"{{\");\n}}\n");
    assert!(rules("app/whimbrel/src/main.rs", &text).is_empty());
}

#[test]
fn sizes_count_production_lines_only() {
    assert!(rules("a/src/x.rs", &long_function(70)).is_empty());
    assert_eq!(rules("a/src/x.rs", &long_function(71)), ["fn-lines"]);
    assert!(rules("a/tests/it/x.rs", &long_function(300)).is_empty());
    let many = format!("{HEADER}{}", "const A: u8 = 1;\n".repeat(600));
    assert_eq!(rules("a/src/x.rs", &many), ["file-lines"]);
    let tests = format!("{HEADER}#[cfg(test)]\nmod tests {{\n{}}}\n", "// t\n".repeat(700));
    assert!(rules("a/src/x.rs", &tests).is_empty());
    let apart = format!("{many}#[cfg(test)]\nmod tests;\n");
    assert_eq!(check_file(&file("a/src/x.rs", &apart))[0].measured, 601);
}

#[test]
fn braces_in_text_do_not_hide_a_function() {
    let text = format!("{HEADER}fn f() {{ \"}}\"; '}}'; // }}\n{}}}\n", "    g();\n".repeat(80));
    assert_eq!(rules("a/src/x.rs", &text), ["fn-lines"]);
    let signature = format!("{HEADER}fn f(a: [u8; 4]) {{\n{}}}\n", "    g();\n".repeat(80));
    assert_eq!(rules("a/src/x.rs", &signature), ["fn-lines"]);
}

#[test]
fn names_headers_and_whitespace() {
    assert_eq!(rules("a/src/x/mod.rs", HEADER), ["mod-rs"]);
    assert_eq!(rules("a/src/x.rs", "use std::fmt;\n"), ["header"]);
    assert!(rules("a/src/x/tests.rs", "use super::*;\n").is_empty());
    assert_eq!(rules("a/src/x.rs", "//! A file. \n"), ["whitespace"]);
    assert_eq!(rules("a/src/x.rs", "//! A file."), ["whitespace"]);
    assert_eq!(rules("a.md", "a\tb\n"), ["tab"]);
    assert_eq!(rules("a.sh", "#!/bin/sh\nset -euo pipefail\n"), ["header"]);
    assert_eq!(rules("a.sh", "#!/bin/sh\n# What for.\necho\n"), ["strict"]);
}

#[test]
fn leftovers_are_found_as_words() {
    let with = |text: &str| rules("a/src/x.rs", &format!("{HEADER}{text}\n"));
    assert_eq!(with(concat!("// TO", "DO: later")), ["unfinished"]);
    assert_eq!(with(concat!("db", "g!(x);")), ["unfinished"]);
    assert_eq!(with("#![allow(clippy::all)]"), ["blanket-allow"]);
    assert!(with("#![allow(missing_docs, reason = \"names say it\")]").is_empty());
    assert!(with("// a mastodon, and XXXX bytes").is_empty());
}

#[test]
fn the_clock_of_tests_stays_in_tests() {
    let call = "    sansio::testing::epoch();\n";
    let text = format!("{HEADER}fn f() {{\n{call}}}\n");
    assert_eq!(rules("role/edge/src/x.rs", &text), ["test-clock"]);
    assert!(rules("role/edge/tests/it/x.rs", &text).is_empty());
    assert!(rules("dev/simnet/src/x.rs", &text).is_empty());
    let inside = format!("{HEADER}#[cfg(test)]\nmod tests {{\n{call}}}\n");
    assert!(rules("role/edge/src/x.rs", &inside).is_empty());
}

#[test]
fn the_core_of_a_role_reads_no_clock() {
    let text = format!("{HEADER}fn f() {{\n    Instant::now();\n}}\n");
    assert_eq!(rules("role/edge/src/core.rs", &text), ["role-clock"]);
    assert!(rules("role/edge/src/shell.rs", &text).is_empty());
    assert!(rules("role/relay/src/shell/worker.rs", &text).is_empty());
    assert!(rules("platform/net/src/x.rs", &text).is_empty());
}

#[test]
fn the_repository_stands_alone() {
    assert_eq!(rules("a.md", concat!("see ../sha", "red/x\n")), ["outside"]);
    assert_eq!(rules("a.toml", concat!("url = \"https://crates", ".io\"\n")), ["outside"]);
}

#[test]
fn the_glossary_names_types_that_exist() {
    let glossary = file("docs/glossary.md", "| Flow | RFC 5626 | `sansio::FlowId` |\n");
    let source = |text: &str| file("protocol/sansio/src/flow.rs", text);
    let check = |text: &str| {
        let files = [file("docs/glossary.md", &glossary.text), source(text)];
        words::check_glossary(&files).len()
    };
    assert_eq!(check("pub struct FlowId {\n"), 0);
    assert_eq!(check("pub struct FlowIdent {\n"), 1);
    assert_eq!(check("struct FlowId {\n"), 1);
    assert_eq!(words::check_glossary(&[]).len(), 1);
}
