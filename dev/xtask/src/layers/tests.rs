//! The bands, on a small good house and on houses broken in one place each.

use super::*;

fn package(folder: &str, ours: &[&str], foreign: &[&str]) -> Package {
    let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Package {
        name: folder.rsplit('/').next().unwrap().to_owned(),
        folder: folder.to_owned(),
        ours: list(ours),
        foreign: list(foreign),
    }
}

fn house() -> Vec<Package> {
    vec![
        package("protocol/sansio", &[], &["thiserror"]),
        package("protocol/sip", &["sansio"], &["memchr"]),
        package("engine/media", &["sip", "sansio"], &[]),
        package("engine/phone", &["media", "sip"], &[]),
        package("engine/b2bua", &["media"], &[]),
        package("platform/net", &["sip"], &["tokio", "tokio-tungstenite"]),
        package("platform/store", &["sansio"], &[]),
        package("platform/store-sql", &["store"], &["sqlx"]),
        package("role/edge", &["net", "sip"], &[]),
        package("role/pbx", &["b2bua", "phone"], &[]),
        package("app/admin", &["store"], &["axum"]),
        package("app/whimbrel", &["admin", "edge", "pbx", "store-sql"], &["tokio"]),
        package("dev/simnet", &["edge", "phone"], &[]),
        package("tests", &["sip", "simnet"], &["tokio-tungstenite"]),
    ]
}

fn findings_with(replaced: Package) -> Vec<Finding> {
    let mut packages = house();
    packages.retain(|p| p.name != replaced.name);
    packages.push(replaced);
    check(&packages)
}

#[test]
fn a_good_house_has_no_findings() {
    assert_eq!(check(&house()), Vec::new());
}

#[test]
fn every_forbidden_edge_is_found() {
    let bad = [
        package("protocol/sip", &["sansio", "net"], &[]),
        package("protocol/sip", &["media"], &[]),
        package("protocol/sdp", &["sip"], &[]),
        package("engine/media", &["phone"], &[]),
        package("engine/media", &["store"], &[]),
        package("platform/net", &["phone"], &[]),
        package("platform/net", &["store"], &[]),
        package("platform/store", &["edge"], &[]),
        package("role/edge", &["pbx"], &[]),
        package("role/edge", &["b2bua"], &[]),
        package("role/edge", &["whimbrel"], &[]),
        package("role/edge", &["simnet"], &[]),
        package("app/admin", &["whimbrel"], &[]),
    ];
    for package in bad {
        let edge = format!("{} -> {:?}", package.folder, package.ours);
        assert_eq!(findings_with(package).len(), 1, "{edge}");
    }
}

#[test]
fn the_world_stays_out_of_protocol_and_engine() {
    assert_eq!(findings_with(package("protocol/sip", &[], &["tokio"])).len(), 1);
    assert_eq!(findings_with(package("engine/phone", &[], &["rand"])).len(), 1);
    assert_eq!(findings_with(package("role/edge", &[], &["sqlx"])).len(), 1);
}

#[test]
fn names_say_what_is_inside_and_match_their_folder() {
    assert_eq!(findings_with(package("protocol/utils", &[], &[])).len(), 1);
    assert_eq!(findings_with(package("library/sdp", &[], &[])).len(), 1);
    assert_eq!(findings_with(package("protocol/sip/parser", &[], &[])).len(), 1);
    let renamed = Package { name: "siplib".to_owned(), ..package("protocol/sdp", &[], &[]) };
    assert_eq!(findings_with(renamed).len(), 1);
}

#[test]
fn the_ceiling_on_crates_holds() {
    let crates = (0..=CRATES_MAX).map(|i| package(&format!("role/r{i}"), &[], &[]));
    assert_eq!(check(&crates.collect::<Vec<_>>()).len(), 1);
}

#[test]
fn metadata_is_read_as_cargo_writes_it() {
    let metadata = serde_json::json!({
        "workspace_root": "/w",
        "packages": [{
            "name": "sip", "manifest_path": "/w/protocol/sip/Cargo.toml",
            "dependencies": [
                { "name": "sansio", "path": "/w/protocol/sansio", "kind": null },
                { "name": "memchr", "kind": null },
                { "name": "tokio", "kind": "dev" },
            ],
        }],
    });
    let read = &packages(&metadata).unwrap()[0];
    assert_eq!((read.folder.as_str(), read.band()), ("protocol/sip", "protocol"));
    assert_eq!((read.ours.join(" "), read.foreign.join(" ")), ("sansio".into(), "memchr".into()));
}
