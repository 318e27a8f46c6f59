//! Making, renewing and refusing certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sansio::Entropy;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let token = crate::OsEntropy.token(8);
        let path = std::env::temp_dir().join(format!("net-tls-{}-{token}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn config(&self, names: &[&str]) -> TlsConfig {
        TlsConfig {
            dir: self.0.join("tls"),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            addrs: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            ..TlsConfig::default()
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("tls").join(name)
    }

    /// Our own pair as if an operator had brought it.
    fn operator(&self) -> TlsConfig {
        let (cert, key) = (self.file("server.pem"), self.file("server.key"));
        TlsConfig { files: Some(CertificateFiles { cert, key }), ..self.config(&[]) }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const DAY: u64 = 24 * 3600;

fn day(n: u64) -> WallTime {
    WallTime::from_secs(1_800_000_000 + n * DAY)
}

fn text(result: Result<ServerTls, NetError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_authority_is_made_once_and_its_keys_are_private() {
    let folder = Folder::new();
    let tls = ServerTls::open(folder.config(&["Example.COM", "[2001:db8::7]"]), day(0)).unwrap();
    let names = tls.state().loaded.names.clone();
    let wanted = ["127.0.0.1", "2001:db8::7", "::1", "example.com", "localhost"];
    assert!(names.iter().eq(wanted), "{names:?}");
    for (name, mode) in [("ca.key", 0o600), ("server.key", 0o600), ("ca.pem", 0o644)] {
        assert_eq!(fs::metadata(folder.file(name)).unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(fs::metadata(folder.0.join("tls")).unwrap().permissions().mode() & 0o777, 0o700);

    let again = ServerTls::open(folder.config(&["example.com", "2001:db8::7"]), day(1)).unwrap();
    assert_eq!(again.fingerprint(), tls.fingerprint(), "nothing changed, nothing was issued");
    assert_eq!(tls.fingerprint().len(), 95);
}

#[test]
fn a_certificate_is_renewed_before_its_end_and_when_the_names_change() {
    let folder = Folder::new();
    let ca = |f: &Folder| fs::read(f.file("ca.pem")).unwrap();
    let tls = ServerTls::open(folder.config(&["a.example"]), day(0)).unwrap();
    let (first, authority) = (tls.fingerprint(), ca(&folder));
    assert!(!tls.refresh(day(59)).unwrap());
    assert!(tls.refresh(day(61)).unwrap());
    assert_ne!(tls.fingerprint(), first);
    assert_eq!(tls.not_after(), day(151));
    assert!(tls.set_names(vec!["a.example".into(), "b.example".into()], day(62)).unwrap());
    assert!(!tls.refresh(day(62)).unwrap());
    // Long switched off: an expired own certificate is simply replaced.
    let tls = ServerTls::open(folder.config(&["a.example"]), day(1000)).unwrap();
    assert_eq!(tls.not_after(), day(1090));
    assert_eq!(ca(&folder), authority);
}

#[test]
fn a_name_that_stands_in_our_messages_is_named_whatever_tenants_come_and_go() {
    let folder = Folder::new();
    let always = vec!["SIP.edge.example".into()];
    let config = TlsConfig { always, ..folder.config(&["a.example"]) };
    let tls = ServerTls::open(config, day(0)).unwrap();
    let named = |name: &str| tls.state().loaded.names.contains(name);
    assert!(named("sip.edge.example") && named("a.example"));
    tls.set_names(vec!["b.example".into()], day(1)).unwrap();
    assert!(named("sip.edge.example") && named("b.example") && !named("a.example"));
}

#[test]
fn a_lost_or_half_written_own_pair_is_issued_again() {
    let folder = Folder::new();
    let tls = ServerTls::open(folder.config(&[]), day(0)).unwrap();
    fs::remove_file(folder.file("server.key")).unwrap();
    let second = ServerTls::open(folder.config(&[]), day(0)).unwrap();
    assert_ne!(second.fingerprint(), tls.fingerprint());
    fs::copy(folder.file("ca.key"), folder.file("server.key")).unwrap();
    let third = ServerTls::open(folder.config(&[]), day(0)).unwrap();
    assert_ne!(third.fingerprint(), second.fingerprint());
}

#[test]
fn damage_to_own_files_is_named_with_its_remedy() {
    let folder = Folder::new();
    ServerTls::open(folder.config(&[]), day(0)).unwrap();
    fs::write(folder.file("server.pem"), "garbage").unwrap();
    let error = text(ServerTls::open(folder.config(&[]), day(0)));
    assert!(error.contains("server.pem is not a usable certificate: remove it"), "{error}");
    fs::remove_file(folder.file("server.pem")).unwrap();
    ServerTls::open(folder.config(&[]), day(0)).unwrap();

    let key = fs::read(folder.file("ca.key")).unwrap();
    fs::remove_file(folder.file("ca.key")).unwrap();
    let error = text(ServerTls::open(folder.config(&[]), day(0)));
    assert!(error.contains("ca.key (private key) is missing: restore it"), "{error}");
    fs::copy(folder.file("server.key"), folder.file("ca.key")).unwrap();
    let error = text(ServerTls::open(folder.config(&[]), day(0)));
    assert!(error.contains("ca.key does not match the certificate"), "{error}");
    fs::write(folder.file("ca.key"), &key).unwrap();
    let error = text(ServerTls::open(folder.config(&[]), day(4000)));
    assert!(error.contains("ca.pem expired on 20") && error.contains("new authority"), "{error}");
}

#[test]
fn the_operators_pair_is_used_and_every_defect_is_named() {
    let folder = Folder::new();
    let own = ServerTls::open(folder.config(&["sip.example"]), day(0)).unwrap();
    let operator = folder.operator();
    let tls = ServerTls::open(operator.clone(), day(0)).unwrap();
    assert_eq!(tls.fingerprint(), own.fingerprint());
    assert_eq!((tls.ca_file(), tls.publish(1).unwrap()), (None, None));
    assert!(!tls.refresh(day(1)).unwrap());

    let expired = text(ServerTls::open(operator.clone(), day(91)));
    assert!(
        expired.contains("server.pem expired on 2027-") && expired.contains("clock"),
        "{expired}"
    );
    let early = text(ServerTls::open(operator.clone(), WallTime::from_secs(DAY)));
    assert!(early.contains("is not valid before"), "{early}");

    // A renewal by the operator is picked up; a broken one leaves the old certificate in use.
    own.set_names(vec!["other.example".into()], day(1)).unwrap();
    assert!(tls.refresh(day(1)).unwrap());
    assert_eq!(tls.fingerprint(), own.fingerprint());
    fs::copy(folder.file("ca.key"), folder.file("server.key")).unwrap();
    let mismatch = tls.refresh(day(1)).unwrap_err().to_string();
    assert!(mismatch.contains("server.key does not match"), "{mismatch}");
    assert_eq!(tls.fingerprint(), own.fingerprint());

    fs::write(folder.file("server.key"), "-----BEGIN PRIVATE KEY-----\n!!\n").unwrap();
    let garbled = text(ServerTls::open(operator.clone(), day(1)));
    assert!(garbled.contains("server.key is not a usable private key"), "{garbled}");
    fs::remove_file(folder.file("server.key")).unwrap();
    let missing = text(ServerTls::open(operator, day(1)));
    assert!(missing.contains("server.key (private key) is missing: name PEM files"), "{missing}");
}

#[test]
fn a_wildcard_stands_for_this_machines_addresses() {
    let folder = Folder::new();
    let mut config = folder.config(&[]);
    config.addrs = vec!["0.0.0.0".parse().unwrap()];
    let names = names(&config);
    assert!(names.contains("127.0.0.1") && !names.contains("0.0.0.0"), "{names:?}");
}
