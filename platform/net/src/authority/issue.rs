//! The own authority: made once, then it signs server certificates.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use sansio::{Entropy, WallTime};
use time::OffsetDateTime;

use super::load::{self, Loaded};
use crate::entropy::OsEntropy;
use crate::error::NetError;
use crate::tls::{garbled, read_pem};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Life of the authority.
const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Life of a server certificate.
const SERVER_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
const NEW_AUTHORITY: &str = "restore it from a backup, or remove both ca.pem and ca.key to make a new authority (phones must then trust the new one)";
const EXPIRED_AUTHORITY: &str = "check this machine's clock, or remove both ca.pem and ca.key to make a new authority (phones must then trust the new one)";

/// An authority loaded from its folder.
pub(crate) struct Authority {
    cert: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Loads the authority of a folder, or makes it there if the folder has none.
    pub(crate) fn open(dir: &Path, now: WallTime) -> Result<Self, NetError> {
        let (cert, key) = (ca_path(dir), dir.join("ca.key"));
        if !cert.exists() && !key.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(NetError::file("create", dir))?;
            create(&cert, &key, now)?;
        }
        let (loaded, _) = load::load(&cert, &key, NEW_AUTHORITY)?;
        loaded.check_valid(&cert, now, EXPIRED_AUTHORITY)?;
        let cert_pem = read_pem(&cert, "authority certificate", NEW_AUTHORITY)?;
        let key_pem = read_pem(&key, "authority key", NEW_AUTHORITY)?;
        let bad = |path| garbled(path, "authority", NEW_AUTHORITY);
        let pair = std::str::from_utf8(&key_pem).ok().and_then(|p| KeyPair::from_pem(p).ok());
        let pair = pair.ok_or_else(|| bad(&key))?;
        let issuer = std::str::from_utf8(&cert_pem)
            .ok()
            .and_then(|pem| Issuer::from_ca_cert_pem(pem, pair).ok())
            .ok_or_else(|| bad(&cert))?;
        Ok(Self { cert, issuer })
    }

    /// The authority's name as certificates it issued carry it.
    pub(crate) fn subject(&self) -> Result<String, NetError> {
        Loaded::subject_of(&self.cert)
    }

    /// Issues a certificate for `names` and writes it with its new key.
    pub(crate) fn issue(
        &self,
        names: &BTreeSet<String>,
        now: WallTime,
        (cert, key): (&Path, &Path),
    ) -> Result<(), NetError> {
        let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = distinguished("Whimbrel server".to_owned());
        (params.not_before, params.not_after) = life(now, SERVER_LIFE);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate()?;
        let issued = params.signed_by(&pair, &self.issuer)?;
        write(key, pair.serialize_pem().as_bytes(), 0o600)?;
        write(cert, issued.pem().as_bytes(), 0o644)
    }
}

/// Where a folder's authority certificate is.
pub(crate) fn ca_path(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), NetError> {
    let temporary = path.with_extension(format!("{}.new", OsEntropy.token(8)));
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        NetError::File { action: "write", path: path.to_owned(), source }
    })
}

fn create(cert: &Path, key: &Path, now: WallTime) -> Result<(), NetError> {
    let mut params = CertificateParams::default();
    // The token tells two authorities apart that would otherwise bear one name.
    params.distinguished_name = distinguished(format!("Whimbrel authority {}", OsEntropy.token(8)));
    (params.not_before, params.not_after) = life(now, CA_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    write(key, pair.serialize_pem().as_bytes(), 0o600)?;
    write(cert, made.pem().as_bytes(), 0o644)
}

fn distinguished(common_name: String) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// From a day ago, so that a client whose clock is a little behind accepts it.
fn life(now: WallTime, length: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let secs = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = OffsetDateTime::from_unix_timestamp(secs).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (now - DAY, now + length)
}
