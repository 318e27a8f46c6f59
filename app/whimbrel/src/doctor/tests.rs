use super::report::Status;
use super::*;
use sansio::WallTime;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use store::Tenants;
use store_sql::SqlStore;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("whimbrel-{name}-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        Self(dir)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// A data folder as `serve` makes it, with one tenant.
    async fn fill(&self, domain: &str) {
        std::fs::DirBuilder::new().mode(0o700).create(self.data()).unwrap();
        let store = SqlStore::open(&self.data()).await.unwrap();
        store.add_tenant(domain, WallTime::from_secs(1)).await.unwrap();
        store.close().await;
        self.issue(domain);
    }

    fn issue(&self, domain: &str) {
        let config = net::TlsConfig {
            dir: self.data().join("tls"),
            names: vec![domain.into()],
            addrs: vec![LOCAL],
            ..net::TlsConfig::default()
        };
        net::ServerTls::open(config, crate::present::wall()).unwrap();
    }

    /// Arguments with a configuration of this text behind free ports.
    fn args(&self, text: &str) -> DoctorArgs {
        let file = self.0.join("whimbrel.toml");
        std::fs::write(&file, text).unwrap();
        DoctorArgs { config: Some(file), listen_ip: Some(LOCAL), json: false }
    }

    /// Every file below, with its content.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.data()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => {
                        found.insert(entry.path(), std::fs::read(entry.path()).unwrap());
                    }
                }
            }
        }
        found
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `[ports]` of which none is in use, from a range of the test's own.
fn free_ports(first: u16) -> String {
    let [sips, https, metrics] = [first + 1, first + 2, first + 3];
    let [rtp_min, rtp_max] = [first + 10, first + 29];
    format!(
        "[ports]\nsip = {first}\nsips = {sips}\nhttps = {https}\nmetrics = \"127.0.0.1:{metrics}\"\n\
         rtp_min = {rtp_min}\nrtp_max = {rtp_max}\n"
    )
}

fn status(report: &Report, name: &str) -> (Status, String) {
    let found = report.checks().iter().find(|check| check.name == name);
    let check = found.unwrap_or_else(|| panic!("no check {name} in {report:?}"));
    (check.status, format!("{} ({:?})", check.detail, check.remedy))
}

#[tokio::test(flavor = "current_thread")]
async fn a_missing_data_folder_is_well_and_stays_missing() {
    let folder = Folder::new("doctor-missing");
    let report = examine(&folder.data(), &folder.args(&free_ports(23_100))).await;
    assert!(report.is_well(), "{report:?}");
    for name in ["data folder", "store"] {
        let (status, detail) = status(&report, name);
        assert!(status == Status::Ok && detail.contains("nothing there yet"), "{detail}");
    }
    assert!(!folder.data().exists());
}

#[tokio::test(flavor = "current_thread")]
async fn a_healthy_folder_is_well_and_no_byte_of_it_changes() {
    let folder = Folder::new("doctor-healthy");
    folder.fill("127.0.0.1").await;
    let before = folder.content();
    let report = examine(&folder.data(), &folder.args(&free_ports(23_150))).await;
    assert!(report.is_well(), "{report:?}");
    for name in ["configuration", "data folder", "store", "certificate", "port 23150/udp", "DNS"] {
        assert_eq!(status(&report, name).0, Status::Ok, "{name}: {report:?}");
    }
    assert_eq!(folder.content(), before);
}

#[tokio::test(flavor = "current_thread")]
async fn a_broken_configuration_is_told_with_its_place() {
    let folder = Folder::new("doctor-config");
    let report = examine(&folder.data(), &folder.args("[ports]\nspi = 5070\n")).await;
    let (status, detail) = status(&report, "configuration");
    assert!(status == Status::Fail && detail.contains("whimbrel.toml:2:1"), "{detail}");
    assert!(detail.contains("did you mean `sip`?"), "{detail}");
    assert!(!report.is_well());
}

#[tokio::test(flavor = "current_thread")]
async fn a_garbled_certificate_fails_and_a_lost_one_does_not() {
    let folder = Folder::new("doctor-garbled");
    folder.fill("127.0.0.1").await;
    let cert = folder.data().join("tls/server.pem");
    std::fs::write(&cert, "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    let args = folder.args(&free_ports(23_200));
    let (bad, detail) = status(&examine(&folder.data(), &args).await, "certificate");
    assert!(bad == Status::Fail && detail.contains("server.pem"), "{detail}");
    std::fs::remove_file(&cert).unwrap();
    let (good, detail) = status(&examine(&folder.data(), &args).await, "certificate");
    assert!(good == Status::Ok && detail.contains("serve issues one"), "{detail}");
    assert!(!cert.exists());
}

#[tokio::test(flavor = "current_thread")]
async fn an_operators_certificate_must_match_its_key_and_name_the_tenants() {
    let folder = Folder::new("doctor-operator");
    folder.fill("localhost").await;
    let tls = folder.data().join("tls");
    let text = |key: &str| {
        let (cert, key) = (tls.join("server.pem"), tls.join(key));
        format!("{}[tls]\ncertificate = {cert:?}\nkey = {key:?}\n", free_ports(23_250))
    };
    let report = examine(&folder.data(), &folder.args(&text("ca.key"))).await;
    let (bad, detail) = status(&report, "certificate");
    assert!(bad == Status::Fail && detail.contains("does not match"), "{detail}");
    let report = examine(&folder.data(), &folder.args(&text("server.key"))).await;
    assert_eq!(status(&report, "certificate").0, Status::Ok, "{report:?}");

    let interface =
        "[[interface]]\nname = \"a\"\nbind = \"127.0.0.1\"\nsip_name = \"sip.other.example\"\n";
    let named = text("server.key") + interface;
    let report = examine(&folder.data(), &folder.args(&named)).await;
    let (unnamed, detail) = status(&report, "certificate");
    assert!(unnamed == Status::Warn && detail.contains("sip.other.example"), "{detail}");

    let store = SqlStore::open(&folder.data()).await.unwrap();
    store.add_tenant("whimbrel.invalid", WallTime::from_secs(2)).await.unwrap();
    store.close().await;
    let report = examine(&folder.data(), &folder.args(&text("server.key"))).await;
    let (unnamed, detail) = status(&report, "certificate");
    assert!(unnamed == Status::Warn && detail.contains("whimbrel.invalid"), "{detail}");
    let (lost, detail) = status(&report, "DNS");
    assert!(lost == Status::Warn && detail.contains("whimbrel.invalid"), "{detail}");
    assert!(report.is_well());
}

#[tokio::test(flavor = "current_thread")]
async fn an_occupied_port_fails_unless_our_server_runs() {
    let folder = Folder::new("doctor-port");
    folder.fill("127.0.0.1").await;
    let _other = TcpListener::bind((LOCAL, 23_302)).unwrap();
    let args = folder.args(&free_ports(23_300));
    let (bad, detail) = status(&examine(&folder.data(), &args).await, "port 23302/https");
    assert!(bad == Status::Fail && detail.contains("ss -lptun"), "{detail}");

    control::listen(&folder.data(), |_| async {
        Ok(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
    })
    .unwrap();
    let report = examine(&folder.data(), &args).await;
    assert_eq!(status(&report, "port 23302/https").0, Status::Ok, "{report:?}");
    let (idle, detail) = status(&report, "port 23300/udp");
    assert!(idle == Status::Warn && detail.contains("does not listen"), "{detail}");
    assert_eq!(status(&report, "store").0, Status::Ok, "{report:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_damaged_store_and_readable_secrets_fail() {
    let folder = Folder::new("doctor-damage");
    folder.fill("127.0.0.1").await;
    let args = folder.args(&free_ports(23_350));
    let database = folder.data().join("whimbrel.db");
    let mode = |mode| std::fs::set_permissions(&database, PermissionsExt::from_mode(mode));
    mode(0o644).unwrap();
    let (open, detail) = status(&examine(&folder.data(), &args).await, "data folder");
    assert!(open == Status::Fail && detail.contains("whimbrel.db"), "{detail}");
    mode(0o600).unwrap();
    std::fs::write(&database, vec![7; 8192]).unwrap();
    let (broken, detail) = status(&examine(&folder.data(), &args).await, "store");
    assert_eq!(broken, Status::Fail, "{detail}");
    assert!(detail.contains(&*folder.data().to_string_lossy()), "names the original: {detail}");
}

#[test]
fn a_clock_before_the_newest_file_fails() {
    let folder = Folder::new("doctor-clock");
    std::fs::create_dir(folder.data()).unwrap();
    std::fs::write(folder.data().join("whimbrel.db"), "x").unwrap();
    let mut report = Report::default();
    let past = SystemTime::now() - Duration::from_secs(400 * 24 * 3600);
    system::clock(&mut report, &folder.data(), past);
    assert_eq!(status(&report, "clock").0, Status::Fail, "{report:?}");
    let mut report = Report::default();
    system::clock(&mut report, &folder.data(), SystemTime::now());
    assert_ne!(status(&report, "clock").0, Status::Fail, "{report:?}");
}

#[test]
fn findings_are_lines_or_one_object() {
    let mut report = Report::default();
    report.ok("clock", "plausible");
    report.warn("DNS", "x does not resolve", "add it");
    let text = report.to_text();
    assert_eq!(text, "ok    clock  plausible\nwarn  DNS    x does not resolve  (add it)");
    report.fail("store", "damaged", "restore");
    assert!(report.to_text().contains("FAIL  store  damaged  (restore)"));
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["checks"][0]["remedy"], Value::Null);
    assert_eq!(json["checks"][2]["status"], "fail");
}
