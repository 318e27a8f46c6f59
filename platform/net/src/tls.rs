//! TLS as Whimbrel speaks it: 1.3 preferred, 1.2 the floor, AEAD suites only, sessions resumed,
//! certificates always verified and swapped without touching connections (R1.3, R11).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use crate::error::NetError;
use crate::tickets::Sessions;

/// Where Linux systems and macOS keep the bundle of public authorities.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Makes aws-lc-rs the process's crypto provider. Call it early; more calls do no harm.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Err means that someone installed one before us; ours is passed explicitly anyway.
        let _ = aws_lc_rs::default_provider().install_default();
    });
}

/// A client configuration that trusts the authorities in `ca_files` (PEM) and, if asked for, the
/// system's. Verification cannot be switched off.
///
/// # Errors
/// A file that is missing or holds no certificate.
pub fn client_config(ca_files: &[PathBuf], system: bool) -> Result<Arc<ClientConfig>, NetError> {
    let roots = roots(ca_files, system, "give --ca a PEM file with the server's authority")?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    // Resumption (tickets, in memory) is rustls's default for clients.
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The same for a server that connects to others: it shows the certificate in `slot` to who asks.
pub(crate) fn server_as_client(
    ca_files: &[PathBuf],
    slot: Arc<CertificateSlot>,
) -> Result<Arc<ClientConfig>, NetError> {
    let roots = roots(ca_files, true, "name PEM files in transport.ca")?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_client_cert_resolver(slot)))
}

/// The authorities in files (PEM) and, if asked for, the system's.
pub(crate) fn roots(
    ca_files: &[PathBuf],
    system: bool,
    remedy: &'static str,
) -> Result<RootCertStore, NetError> {
    let mut roots = RootCertStore::empty();
    for path in ca_files {
        let found = read_certificates(path, remedy)?;
        let (added, _) = roots.add_parsable_certificates(found);
        if added == 0 {
            return Err(garbled(path, "authority certificate", remedy));
        }
    }
    if system {
        add_system_roots(&mut roots);
    }
    Ok(roots)
}

/// A server configuration whose certificate is whatever `slot` holds at each handshake.
pub(crate) fn server_config(
    slot: Arc<CertificateSlot>,
    sessions: Arc<Sessions>,
    alpn: &[&[u8]],
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, NetError> {
    let mut provider = CryptoProvider::clone(&provider());
    // Stable: the others stay as they were. SHA-256 and AES-128 have instructions almost everywhere;
    // SHA-384, which clients ask for first with AES-256, costs each handshake a tenth more.
    provider.cipher_suites.sort_by_key(|s| s.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(slot);
    config.ignore_client_order = true;
    config.ticketer = Arc::clone(&sessions) as _;
    config.session_storage = sessions;
    config.send_tls13_tickets = 1;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The certificate in use, replaceable at any time (RFC 5280 chain plus key).
#[derive(Debug)]
pub(crate) struct CertificateSlot(RwLock<Arc<CertifiedKey>>);

impl CertificateSlot {
    pub(crate) fn new(certified: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(certified))))
    }

    pub(crate) fn swap(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
    }
}

impl ResolvesServerCert for CertificateSlot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl ResolvesClientCert for CertificateSlot {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Every certificate in a PEM file; at least one.
pub(crate) fn read_certificates(
    path: &Path,
    remedy: &'static str,
) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let pem = read_pem(path, "certificate", remedy)?;
    parse_certificates(&pem).ok_or_else(|| garbled(path, "certificate", remedy))
}

/// Every certificate in PEM text; `None` if there is none or one is garbled.
pub(crate) fn parse_certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty())
}

pub(crate) fn read_pem(
    path: &Path,
    expected: &'static str,
    remedy: &'static str,
) -> Result<Vec<u8>, NetError> {
    std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => {
            NetError::Missing { path: path.to_owned(), expected, remedy }
        }
        _ => NetError::File { action: "read", path: path.to_owned(), source },
    })
}

pub(crate) fn garbled(path: &Path, expected: &'static str, remedy: &'static str) -> NetError {
    NetError::Garbled { path: path.to_owned(), expected, remedy }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    install_crypto();
    // Present since the line above, whoever installed it.
    CryptoProvider::get_default()
        .map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

fn add_system_roots(roots: &mut RootCertStore) {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_BUNDLES.iter().map(PathBuf::from);
    let bundle = named.into_iter().chain(usual).find_map(|path| std::fs::read(path).ok());
    let found = bundle.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem)).flatten();
    roots.add_parsable_certificates(found);
}
