//! The server's certificate: issued by its own authority, or brought by the operator.
//!
//! ```text
//!   DATA/tls/ca.pem ca.key          the authority, made once, ten years
//!   DATA/tls/server.pem server.key  for tenant domains, localhost and addresses; 90 days
//!        └─► slot ─► SIP and HTTPS configurations (swapped in place by `refresh`)
//!   $XDG_RUNTIME_DIR/whimbrel/PORT.pem   a copy of ca.pem for phones on this machine
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};
use sansio::WallTime;

mod issue;
mod load;
mod publish;
#[cfg(test)]
mod tests;

use crate::error::NetError;
use crate::proof::PeerCertificates;
use crate::route::source_address;
use crate::tickets::Sessions;
use crate::tls::{CertificateSlot, server_as_client, server_config};
use issue::Authority;
use load::{CHECK_FILES, Loaded};
pub use publish::{published_ca, published_ca_path};

/// An own certificate with less than this left is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The operator's certificate raises a warning when less than this is left.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);
const RENEW: &str = "install a renewed certificate, or check this machine's clock";
const REISSUE: &str = "remove it, and the server issues a new one when it starts";
/// How often [`ServerTls::keep_fresh`] looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How many looks from one warning to the next.
const WARN_EVERY: u64 = 60;

/// Where the server's certificate comes from and whom it names.
#[derive(Debug, Clone, Default)]
pub struct TlsConfig {
    /// `DATA/tls`: created (0700) if missing.
    pub dir: PathBuf,
    /// Tenant domains; `localhost` is always added.
    pub names: Vec<String>,
    /// Other names of this server, whatever tenants there are: those in its Via and Record-Route.
    pub always: Vec<String>,
    /// Addresses listened on; a wildcard stands for loopback and this machine's own addresses.
    pub addrs: Vec<IpAddr>,
    /// The operator's certificate chain and key (PEM), instead of the own authority's.
    pub files: Option<CertificateFiles>,
}

/// A certificate the operator brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the server's certificate, then intermediates.
    pub cert: PathBuf,
    /// PEM: its private key (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
}

/// A certificate that was read and checked, and is not in use yet.
#[derive(Debug)]
pub struct PreparedCertificate {
    files: Option<CertificateFiles>,
    loaded: Loaded,
    certified: rustls::sign::CertifiedKey,
}

/// The server's side of TLS; clones share it.
#[derive(Debug, Clone)]
pub struct ServerTls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    slot: Arc<CertificateSlot>,
    sessions: Arc<Sessions>,
    peers: Arc<PeerCertificates>,
    sip: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
    turn: Arc<ServerConfig>,
}

#[derive(Debug)]
struct State {
    config: TlsConfig,
    loaded: Loaded,
}

impl ServerTls {
    /// Loads the certificate, making authority and certificate where they are missing.
    ///
    /// # Errors
    /// Files that are missing, garbled, expired or do not match, each with its path and remedy.
    pub fn open(config: TlsConfig, now: WallTime) -> Result<Self, NetError> {
        let (loaded, certified) = obtain(&config, now)?;
        let slot = CertificateSlot::new(certified);
        let sessions = Sessions::new()?;
        let peers = Arc::new(PeerCertificates::default());
        let config_of = |alpn: &[&[u8]], clients| {
            server_config(Arc::clone(&slot), Arc::clone(&sessions), alpn, clients)
        };
        let sip = config_of(&[], Arc::clone(&peers) as _)?;
        // Browsers would ask their users for a certificate.
        let https = config_of(&[b"http/1.1"], WebPkiClientVerifier::no_client_auth())?;
        // RFC 7443; a client that names no protocol is served alike.
        let turn = config_of(&[b"stun.turn"], WebPkiClientVerifier::no_client_auth())?;
        let state = Mutex::new(State { config, loaded });
        Ok(Self { inner: Arc::new(Inner { state, slot, sessions, peers, sip, https, turn }) })
    }

    /// For SIP over TLS.
    pub fn sip_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.sip)
    }

    /// Whether clients of [`Self::sip_config`] are asked for a certificate, and what it proves. At
    /// first nobody is.
    pub fn peer_certificates(&self) -> Arc<PeerCertificates> {
        Arc::clone(&self.inner.peers)
    }

    /// For connections to other servers: trusts `ca_files` (PEM) and the system's authorities, and
    /// shows this server's certificate, whichever is in use, to who asks for one.
    ///
    /// # Errors
    /// A file that is missing or holds no certificate.
    pub fn client_config(&self, ca_files: &[PathBuf]) -> Result<Arc<ClientConfig>, NetError> {
        server_as_client(ca_files, Arc::clone(&self.inner.slot))
    }

    /// For HTTPS and WSS.
    pub fn https_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.https)
    }

    /// For TURN over TLS.
    pub fn turn_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.turn)
    }

    /// When the certificate in use ends.
    pub fn not_after(&self) -> WallTime {
        self.state().loaded.not_after
    }

    /// SHA-256 of the certificate in use, as `AA:BB:…`.
    pub fn fingerprint(&self) -> String {
        self.state().loaded.fingerprint()
    }

    /// The own authority's certificate file, unless the operator brought a certificate.
    pub fn ca_file(&self) -> Option<PathBuf> {
        let state = self.state();
        state.config.files.is_none().then(|| issue::ca_path(&state.config.dir))
    }

    /// Names the certificate anew (a tenant was added or removed). True if it was replaced.
    ///
    /// # Errors
    /// As [`ServerTls::refresh`].
    pub fn set_names(&self, names: Vec<String>, now: WallTime) -> Result<bool, NetError> {
        self.state().config.names = names;
        self.refresh(now)
    }

    /// Renews an own certificate that is about to end or names the wrong hosts, reloads the
    /// operator's files if they changed, and swaps the new one in; connections are not touched.
    /// True if it was replaced.
    ///
    /// # Errors
    /// As [`ServerTls::open`]; the former certificate then stays in use.
    pub fn refresh(&self, now: WallTime) -> Result<bool, NetError> {
        let files = self.state().config.files.clone();
        Ok(self.take(self.prepare(files, now)?))
    }

    /// Reads the certificate that [`Self::take`] is to use: of the operator's files, or of the own
    /// authority. What is in use stays in use.
    ///
    /// # Errors
    /// As [`ServerTls::open`].
    pub fn prepare(
        &self,
        files: Option<CertificateFiles>,
        now: WallTime,
    ) -> Result<PreparedCertificate, NetError> {
        let config = TlsConfig { files, ..self.state().config.clone() };
        let (loaded, certified) = obtain(&config, now)?;
        Ok(PreparedCertificate { files: config.files, loaded, certified })
    }

    /// Swaps a prepared certificate in; connections are not touched, and sessions begun under the
    /// former one are not resumed. True if it is another one.
    pub fn take(&self, prepared: PreparedCertificate) -> bool {
        let PreparedCertificate { files, loaded, certified } = prepared;
        let mut state = self.state();
        state.config.files = files;
        if loaded == state.loaded {
            return false;
        }
        state.loaded = loaded;
        self.inner.slot.swap(certified);
        self.inner.sessions.forget();
        true
    }

    /// Refreshes every minute, for ever, so that a renewed file is noticed. What is wrong is logged
    /// once, and an end that comes near every hour.
    pub async fn keep_fresh(self) {
        let mut wrong = String::new();
        for looks in 1_u64.. {
            tokio::time::sleep(LOOK_EVERY).await;
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now = WallTime::from_secs(since.as_secs());
            match self.refresh(now) {
                Ok(true) => tracing::info!("the server certificate was replaced"),
                Ok(false) => wrong.clear(),
                Err(error) if error.to_string() == wrong => {}
                Err(error) => {
                    tracing::error!(%error, "the server certificate was not renewed");
                    wrong = error.to_string();
                }
            }
            if looks % WARN_EVERY == 1 && self.not_after() < now + WARN_BEFORE {
                let days = self.not_after().since(now).as_secs() / (24 * 3600);
                tracing::warn!(days, "the server certificate ends soon: install a renewed one");
            }
        }
    }

    /// Leaves the authority's certificate where a phone on this machine looks for the server at
    /// `port`; `None` if the operator brought the certificate.
    ///
    /// # Errors
    /// Neither the runtime folder nor the temporary one can be written.
    pub fn publish(&self, port: u16) -> Result<Option<PathBuf>, NetError> {
        let Some(ca) = self.ca_file() else { return Ok(None) };
        let pem = std::fs::read(&ca).map_err(NetError::file("read", &ca))?;
        publish::publish(port, &pem).map(Some)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The certificate to use now: loaded, or issued if that is ours to do.
fn obtain(
    config: &TlsConfig,
    now: WallTime,
) -> Result<(Loaded, rustls::sign::CertifiedKey), NetError> {
    if let Some(CertificateFiles { cert, key }) = &config.files {
        let (loaded, certified) = load::load(cert, key, CHECK_FILES)?;
        loaded.check_valid(cert, now, RENEW)?;
        return Ok((loaded, certified));
    }
    let authority = Authority::open(&config.dir, now)?;
    let wanted = names(config);
    let (cert, key) = server_paths(&config.dir);
    if cert.exists() && key.exists() {
        match load::load(&cert, &key, REISSUE) {
            Ok((loaded, certified)) => {
                let lasts = loaded.not_before <= now && now + RENEW_BEFORE < loaded.not_after;
                if lasts && loaded.names == wanted && loaded.issuer == authority.subject()? {
                    return Ok((loaded, certified));
                }
            }
            // We were stopped between writing the one and the other: issue both again.
            Err(NetError::KeyMismatch { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    authority.issue(&wanted, now, (&cert, &key))?;
    load::load(&cert, &key, REISSUE)
}

fn server_paths(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("server.pem"), dir.join("server.key"))
}

/// What the certificate must name, in one order.
fn names(config: &TlsConfig) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = config
        .names
        .iter()
        .chain(&config.always)
        .map(|name| name.trim_matches(['[', ']']).to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    names.insert("localhost".to_owned());
    for addr in &config.addrs {
        if addr.is_unspecified() {
            names.extend(own_addresses(*addr).map(|a| a.to_string()));
        } else {
            names.insert(addr.to_string());
        }
    }
    names
}

/// Loopback and the address this machine uses towards others (no packet is sent to learn it).
fn own_addresses(wildcard: IpAddr) -> impl Iterator<Item = IpAddr> {
    let (loopback, far): (IpAddr, IpAddr) = match wildcard {
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        IpAddr::V6(_) => {
            (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
        }
    };
    std::iter::once(loopback).chain(source_address(far))
}
