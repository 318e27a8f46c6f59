//! The certificate: the operator's, or the one of the built-in authority in `DATA/tls`.

use super::Patient;
use super::report::Report;
use crate::present;
use net::{CertificateFiles, NetError, ServerTls, TlsConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use sansio::WallTime;
use std::path::Path;

const NAME: &str = "certificate";
const DAY_S: u64 = 24 * 3600;
const DAYS_MIN: u64 = 14;
/// What to do with files of our own that cannot be used.
const REMOVE: &str =
    "restore DATA/tls from a backup, or remove server.pem and server.key: serve issues new ones";
const AUTHORITY: &str = "restore ca.pem and ca.key from a backup, or remove both: phones must then \
                         be given the new authority";

/// Looks at the certificate the server would present.
pub(super) fn check(report: &mut Report, patient: &Patient<'_>) {
    let tls = &patient.config.tls;
    match (&tls.certificate, &tls.key) {
        (Some(cert), Some(key)) => operators(report, patient, cert, key),
        _ => own(report, patient),
    }
}

fn operators(report: &mut Report, patient: &Patient<'_>, cert: &Path, key: &Path) {
    let ends = match open(cert, key) {
        Ok(ends) => ends,
        Err(error) => {
            return report.fail(NAME, error.to_string(), "correct the [tls] table or the files");
        }
    };
    // Public authorities do not name addresses: the domains are what phones ask for.
    let wanted = patient.tenants.iter().cloned().chain(patient.addresses.sip_names());
    let missing = unnamed(cert, wanted);
    if !missing.is_empty() {
        let detail = format!("{} does not name {}", cert.display(), missing.join(", "));
        return report.warn(NAME, detail, "get one that does: phones refuse it for those domains");
    }
    let days = days_left(ends);
    match days >= DAYS_MIN {
        true => report.ok(NAME, format!("{}, {days} days left", cert.display())),
        false => {
            let detail = format!("{} ends in {days} days", cert.display());
            report.warn(NAME, detail, "install a renewed one; it is taken over within the hour");
        }
    }
}

fn own(report: &mut Report, patient: &Patient<'_>) {
    let file = |name: &str| patient.data.join("tls").join(name);
    let [ca, ca_key, cert, key] = ["ca.pem", "ca.key", "server.pem", "server.key"].map(file);
    if !ca.exists() && !ca_key.exists() {
        return report.ok(NAME, "none yet: serve makes an authority and a certificate");
    }
    let ca_days = match open(&ca, &ca_key) {
        Ok(ends) => days_left(ends),
        Err(error) => return report.fail(NAME, format!("the authority: {error}"), AUTHORITY),
    };
    if ca_days < DAYS_MIN {
        return report.warn(NAME, format!("the authority ends in {ca_days} days"), AUTHORITY);
    }
    if !cert.exists() || !key.exists() {
        return report.ok(NAME, "an authority, and no certificate yet: serve issues one");
    }
    let renews = match patient.running {
        true => "start the server again: it issues a new one",
        false => "nothing: serve issues a new one when it starts",
    };
    match open(&cert, &key) {
        Ok(ends) => {
            let localhost = "localhost".to_owned();
            let addresses = patient.addresses.ours().into_iter().map(|ip| ip.to_string());
            let wanted = patient.tenants.iter().cloned().chain([localhost]);
            let wanted = wanted.chain(patient.addresses.sip_names()).chain(addresses);
            let missing = unnamed(&cert, wanted);
            let days = days_left(ends);
            if !missing.is_empty() {
                let detail = format!("it does not name {}", missing.join(", "));
                report.warn(NAME, detail, renews);
            } else if days < DAYS_MIN {
                report.warn(NAME, format!("it ends in {days} days"), renews);
            } else {
                report.ok(NAME, format!("of the built-in authority, {days} days left"));
            }
        }
        // The server repairs these itself.
        Err(error @ (NetError::KeyMismatch { .. } | NetError::NotValidNow { .. })) => {
            report.warn(NAME, error.to_string(), renews);
        }
        Err(error) => report.fail(NAME, error.to_string(), REMOVE),
    }
}

/// Loads a pair as the server would; when it ends. Makes nothing, because both files are given.
fn open(cert: &Path, key: &Path) -> Result<WallTime, NetError> {
    let files = CertificateFiles { cert: cert.to_owned(), key: key.to_owned() };
    let config = TlsConfig { files: Some(files), ..TlsConfig::default() };
    ServerTls::open(config, present::wall()).map(|tls| tls.not_after())
}

/// Which of the names a phone would not accept this certificate for.
fn unnamed(cert: &Path, names: impl Iterator<Item = String>) -> Vec<String> {
    let der = CertificateDer::from_pem_file(cert).ok();
    let parsed = der.as_ref().and_then(|der| ParsedCertificate::try_from(der).ok());
    let accepts = |name: &str| {
        let bare = name.trim_matches(['[', ']']).to_ascii_lowercase();
        let (Some(parsed), Ok(server)) = (&parsed, ServerName::try_from(bare)) else {
            return false;
        };
        rustls::client::verify_server_name(parsed, &server).is_ok()
    };
    let mut missing: Vec<String> = names.filter(|name| !accepts(name)).collect();
    missing.dedup();
    missing
}

fn days_left(ends: WallTime) -> u64 {
    ends.since(present::wall()).as_secs() / DAY_S
}
