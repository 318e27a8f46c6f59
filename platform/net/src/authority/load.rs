//! Reading a certificate with its key, and what must be true of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sansio::WallTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::error::NetError;
use crate::tls::{garbled, provider, read_certificates, read_pem};

pub(crate) const CHECK_FILES: &str =
    "name PEM files with the certificate chain and its private key";

/// What is known of a loaded certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) names: BTreeSet<String>,
    pub(crate) issuer: String,
    pub(crate) not_before: WallTime,
    pub(crate) not_after: WallTime,
    digest: Vec<u8>,
}

impl Loaded {
    /// Whether `now` is within its life; names the file if not, and what to do once it has ended.
    pub(crate) fn check_valid(
        &self,
        path: &Path,
        now: WallTime,
        remedy: &'static str,
    ) -> Result<(), NetError> {
        let refuse =
            |state, remedy| Err(NetError::NotValidNow { path: path.to_owned(), state, remedy });
        if now >= self.not_after {
            let state = format!("expired on {}", date(self.not_after));
            return refuse(state, remedy);
        }
        if now < self.not_before {
            let state = format!("is not valid before {}", date(self.not_before));
            return refuse(state, "check this machine's clock");
        }
        Ok(())
    }

    /// SHA-256 of the certificate, `AA:BB:…`.
    pub(crate) fn fingerprint(&self) -> String {
        let hex: Vec<String> = self.digest.iter().map(|b| format!("{b:02X}")).collect();
        hex.join(":")
    }

    /// The subject of the first certificate in a file.
    pub(crate) fn subject_of(path: &Path) -> Result<String, NetError> {
        let chain = read_certificates(path, CHECK_FILES)?;
        let parsed = chain.first().and_then(|der| X509Certificate::from_der(der).ok());
        let (_, cert) = parsed.ok_or_else(|| garbled(path, "certificate", CHECK_FILES))?;
        Ok(cert.subject().to_string())
    }

    fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        let san = cert.subject_alternative_name().ok().flatten();
        let names = san.iter().flat_map(|san| &san.value.general_names).filter_map(name).collect();
        let secs = |t: i64| WallTime::from_secs(u64::try_from(t).unwrap_or(0));
        Some(Self {
            names,
            issuer: cert.issuer().to_string(),
            not_before: secs(cert.validity().not_before.timestamp()),
            not_after: secs(cert.validity().not_after.timestamp()),
            digest: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref().to_vec(),
        })
    }
}

/// Loads a certificate with its key; `remedy` goes into every error.
pub(crate) fn load(
    cert: &Path,
    key: &Path,
    remedy: &'static str,
) -> Result<(Loaded, CertifiedKey), NetError> {
    let chain = read_certificates(cert, remedy)?;
    let loaded = chain.first().and_then(Loaded::of);
    let loaded = loaded.ok_or_else(|| garbled(cert, "certificate", remedy))?;
    let key_pem = read_pem(key, "private key", remedy)?;
    let der = PrivateKeyDer::from_pem_slice(&key_pem);
    let der = der.map_err(|_| garbled(key, "private key", remedy))?;
    let signer = provider().key_provider.load_private_key(der);
    let signer = signer.map_err(|_| garbled(key, "private key", remedy))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok((loaded, certified)),
        Err(_) => Err(NetError::KeyMismatch { cert: cert.to_owned(), key: key.to_owned() }),
    }
}

fn name(general: &GeneralName<'_>) -> Option<String> {
    match general {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress([a, b, c, d]) => Some(IpAddr::from([*a, *b, *c, *d]).to_string()),
        GeneralName::IPAddress(bytes) => {
            <[u8; 16]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string())
        }
        _ => None,
    }
}

fn date(at: WallTime) -> String {
    let secs = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    time::OffsetDateTime::from_unix_timestamp(secs)
        .map_or_else(|_| "an unknown date".to_owned(), |t| t.date().to_string())
}
