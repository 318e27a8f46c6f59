//! DTLS-SRTP on the media path (RFC 5763, RFC 5764): `dimpl` behind the house's verbs.
//!
//! ```text
//!   handle_packet(now, ..)  ┐                        ┌ Transmit(bytes)
//!   handle_timeout(now)     ├──►  DtlsEndpoint  ──►  ├ Connected(SrtpKeys)   once, when verified
//!   set_remote_fingerprint  ┘                        └ Closed
//! ```
//!
//! The handshake may run before the peer's SDP is here: keys are withheld until the fingerprint is
//! known and fits. Random numbers of the handshake come from the crypto library.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate, KeyingMaterial, Output, SrtpProfile};
use rtp::srtp::{KeyMaterial, Suite};
use sdp::Fingerprint;

use super::{KeyingError, SrtpKeys, fingerprint_fits, fingerprint_of};

/// First retransmission; doubled each time. A media path answers within a fraction of RFC 6347's
/// one second, and the caller hears silence meanwhile.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(250);
/// Retransmissions of one flight.
const RETRIES: usize = 7;
/// The whole handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Fits the smallest path met in practice (IPv6 minimum less tunnels).
const MTU: usize = 1150;

/// A self-signed certificate (ECDSA P-256) with its key. Cheap to clone; one serves many calls.
#[derive(Debug, Clone)]
pub struct Certificate {
    inner: Arc<DtlsCertificate>,
    fingerprint: Fingerprint,
}

impl Certificate {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`KeyingError::Certificate`].
    pub fn generate() -> Result<Self, KeyingError> {
        let failed = |_| KeyingError::Certificate;
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "whimbrel");
        let certificate = params.self_signed(&key).map_err(failed)?.der().to_vec();
        Ok(Self::from_der(certificate, key.serialize_der()))
    }

    /// Takes a certificate and its PKCS#8 key, both DER.
    pub fn from_der(certificate: Vec<u8>, private_key: Vec<u8>) -> Self {
        let fingerprint = fingerprint_of(&certificate);
        let inner = Arc::new(DtlsCertificate { certificate, private_key });
        Self { inner, fingerprint }
    }

    /// What goes into `a=fingerprint`.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// Who sends the first flight (`a=setup`, RFC 4145, RFC 5763 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsRole {
    /// `active`
    Client,
    /// `passive`
    Server,
}

/// One end of a handshake and the connection after it.
pub struct DtlsEndpoint {
    dtls: Dtls,
    role: DtlsRole,
    expected: Option<Fingerprint>,
    peer_certificate: Option<Vec<u8>>,
    keys: Option<SrtpKeys>,
    connected: bool,
    outputs: VecDeque<DtlsOutput>,
    timeout: Option<Instant>,
    failed: bool,
    buf: Vec<u8>,
}

impl DtlsEndpoint {
    /// An endpoint at rest. A client speaks on its first [`DtlsEndpoint::handle_timeout`].
    ///
    /// # Errors
    /// [`KeyingError::Dtls`] when the library refuses its configuration.
    pub fn new(cert: &Certificate, role: DtlsRole, now: Instant) -> Result<Self, KeyingError> {
        let config = dimpl::Config::builder()
            .mtu(MTU)
            .flight_start_rto(FIRST_RETRANSMISSION)
            .flight_retries(RETRIES)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .build()
            .map_err(KeyingError::Dtls)?;
        let mut dtls = Dtls::new_12(Arc::new(config), (*cert.inner).clone(), now);
        dtls.set_active(role == DtlsRole::Client);
        Ok(Self {
            dtls,
            role,
            expected: None,
            peer_certificate: None,
            keys: None,
            connected: false,
            outputs: VecDeque::new(),
            timeout: (role == DtlsRole::Client).then_some(now),
            failed: false,
            buf: vec![0; 2048],
        })
    }

    /// The fingerprint in the peer's SDP, before or after the handshake.
    ///
    /// # Errors
    /// [`KeyingError::FingerprintMismatch`]; the endpoint is of no use then.
    pub fn set_remote_fingerprint(&mut self, print: Fingerprint) -> Result<(), KeyingError> {
        self.expected = Some(print);
        self.release_keys()
    }

    /// Takes one DTLS datagram.
    ///
    /// # Errors
    /// Every error is final: drop the endpoint, tell the owner.
    pub fn handle_packet(&mut self, now: Instant, datagram: &[u8]) -> Result<(), KeyingError> {
        self.drive(|dtls| {
            dtls.handle_timeout(now)?;
            dtls.handle_packet(datagram)
        })
    }

    /// Retransmits, or gives up.
    ///
    /// # Errors
    /// As for [`DtlsEndpoint::handle_packet`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), KeyingError> {
        self.drive(|dtls| dtls.handle_timeout(now))
    }

    /// Says good-bye (`close_notify`); poll it out.
    ///
    /// # Errors
    /// As for [`DtlsEndpoint::handle_packet`].
    pub fn close(&mut self) -> Result<(), KeyingError> {
        self.drive(Dtls::close)
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<DtlsOutput> {
        self.outputs.pop_front()
    }

    /// When [`DtlsEndpoint::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeout.filter(|_| !self.failed)
    }

    /// Whether the handshake is complete and the peer verified.
    pub fn is_connected(&self) -> bool {
        self.connected && self.keys.is_none()
    }

    /// Our role.
    pub fn role(&self) -> DtlsRole {
        self.role
    }

    fn drive(
        &mut self,
        step: impl FnOnce(&mut Dtls) -> Result<(), dimpl::Error>,
    ) -> Result<(), KeyingError> {
        if self.failed {
            return Ok(());
        }
        let result = match step(&mut self.dtls) {
            Ok(()) => self.collect(),
            // Alerts that were queued before the failure still go out.
            Err(error) => self.collect().and(Err(KeyingError::Dtls(error))),
        };
        self.failed = result.is_err();
        result
    }

    fn collect(&mut self) -> Result<(), KeyingError> {
        loop {
            match self.dtls.poll_output(&mut self.buf) {
                Output::Packet(p) => self.outputs.push_back(DtlsOutput::Transmit(p.to_vec())),
                Output::BufferTooSmall { needed } => self.buf.resize(needed, 0),
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    break;
                }
                Output::Connected => self.connected = true,
                Output::PeerCert(der) => self.peer_certificate = Some(der.to_vec()),
                Output::KeyingMaterial(material, profile) => {
                    self.keys = Some(split(&material, profile, self.role)?);
                }
                Output::CloseNotify => {
                    self.outputs.push_back(DtlsOutput::Closed);
                    break;
                }
                _ => {}
            }
        }
        self.release_keys()
    }

    /// Hands the keys out once connected, keyed and verified.
    fn release_keys(&mut self) -> Result<(), KeyingError> {
        let (Some(expected), Some(certificate)) = (&self.expected, &self.peer_certificate) else {
            return Ok(());
        };
        if !fingerprint_fits(expected, certificate) {
            self.failed = true;
            return Err(KeyingError::FingerprintMismatch);
        }
        if self.connected
            && let Some(keys) = self.keys.take()
        {
            self.outputs.push_back(DtlsOutput::Connected(keys));
        }
        Ok(())
    }
}

impl std::fmt::Debug for DtlsEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DtlsEndpoint")
            .field("role", &self.role)
            .field("connected", &self.connected)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// What an endpoint wants done.
#[derive(Debug)]
pub enum DtlsOutput {
    /// Send this datagram to the peer.
    Transmit(Vec<u8>),
    /// The handshake is complete and the peer is who its SDP says.
    Connected(SrtpKeys),
    /// The peer closed the connection.
    Closed,
}

/// RFC 5764 §4.2: client key ‖ server key ‖ client salt ‖ server salt.
fn split(
    material: &KeyingMaterial,
    profile: SrtpProfile,
    role: DtlsRole,
) -> Result<SrtpKeys, KeyingError> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::AesCm128HmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
        _ => return Err(KeyingError::NoSrtpProfile),
    };
    let (key, salt) = (suite.key_len(), suite.salt_len());
    if material.len() < 2 * (key + salt) {
        return Err(KeyingError::NoSrtpProfile);
    }
    let (keys, salts) = material.split_at(2 * key);
    let client = KeyMaterial::new(&keys[..key], &salts[..salt]);
    let server = KeyMaterial::new(&keys[key..], &salts[salt..2 * salt]);
    let (local, remote) = match role {
        DtlsRole::Client => (client, server),
        DtlsRole::Server => (server, client),
    };
    Ok(SrtpKeys { suite, local, remote })
}

#[cfg(test)]
mod tests;
