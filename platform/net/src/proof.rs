//! Who is at the other end of a TLS connection, by its certificate (RFC 5922), and which of their
//! connections serve for requests of ours (RFC 5923).
//!
//! ```text
//!   handshake ─► PeerCertificates: chain trusted? names? ─► ProvedFlows: flow ─► names
//!   request with `alias` in its Via, by a proved flow ───► Aliases: next hop ─► flow
//! ```
//!
//! A client certificate that is not trusted proves nobody and ends nothing: many phones bring one of
//! their maker. Both tables are shared by all shards; nothing on the path of datagrams looks at them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use sansio::{FlowId, Transport};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::error::NetError;
use crate::tls::{provider, roots};

/// Names of one certificate that count; beyond that it is no server's.
const NAMES_MAX: usize = 64;
/// Connections that stand for next hops; one that is not taken is merely not reused.
const ALIASES_MAX: usize = 10_000;

/// Asks clients of the SIP port for a certificate, once told to, and judges what they show.
#[derive(Debug, Default)]
pub struct PeerCertificates {
    asks: AtomicBool,
    judge: RwLock<Option<Arc<dyn ClientCertVerifier>>>,
}

impl PeerCertificates {
    /// From now on clients are asked, and trusted by the authorities in `ca` and the system's.
    ///
    /// # Errors
    /// A file that is missing or holds no certificate, or no authority at all.
    pub fn ask(&self, ca: &[PathBuf]) -> Result<(), NetError> {
        let judge = WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots(ca, true, "name PEM files with the authorities of peers")?),
            provider(),
        );
        let judge =
            judge.build().map_err(|error| NetError::Tls(Error::General(error.to_string())))?;
        *self.judge.write().unwrap_or_else(PoisonError::into_inner) = Some(judge);
        self.asks.store(true, Ordering::Release);
        Ok(())
    }

    /// From now on nobody is asked.
    pub fn stop(&self) {
        self.asks.store(false, Ordering::Release);
    }

    /// The names a client proved: none without a certificate.
    ///
    /// # Errors
    /// A certificate that is not trusted, or names nobody.
    pub(crate) fn names(&self, chain: &[CertificateDer<'_>]) -> Result<Vec<String>, Error> {
        let Some((first, others)) = chain.split_first() else { return Ok(Vec::new()) };
        let judge = self.judge.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(judge) = judge else { return Ok(Vec::new()) };
        judge.verify_client_cert(first, others, UnixTime::now())?;
        let names = domains(first);
        match names.is_empty() {
            true => Err(Error::General("it names no domain (RFC 5922 §7.1)".into())),
            false => Ok(names),
        }
    }

    fn signatures(&self) -> Arc<dyn ClientCertVerifier> {
        let judge = self.judge.read().unwrap_or_else(PoisonError::into_inner).clone();
        judge.unwrap_or_else(WebPkiClientVerifier::no_client_auth)
    }
}

impl ClientCertVerifier for PeerCertificates {
    fn offer_client_auth(&self) -> bool {
        self.asks.load(Ordering::Acquire)
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // The list of every public authority would cost each phone a packet.
        &[]
    }

    /// Possession of the key is proved by the signature; whom it proves is judged afterwards.
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures().verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures().verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures().supported_verify_schemes()
    }
}

/// The SIP domains a certificate names (RFC 5922 §7.1): `sip:` URIs without a user and DNS names,
/// or its common name where it has no alternative names at all. Wildcards name nobody (§7.2).
fn domains(der: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, cert)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(alternative) = cert.subject_alternative_name() else { return Vec::new() };
    let found: Vec<String> = match alternative {
        Some(names) => names.value.general_names.iter().filter_map(domain).collect(),
        None => {
            let common = cert.subject().iter_common_name();
            common.filter_map(|cn| cn.as_str().ok()).map(str::to_ascii_lowercase).collect()
        }
    };
    let is_name = |name: &String| !name.is_empty() && !name.contains('*') && name.len() <= 253;
    found.into_iter().filter(is_name).take(NAMES_MAX).collect()
}

/// Whether a trusted certificate that fits `name` does so without a wildcard.
pub(crate) fn names_exactly(der: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    match name {
        ServerName::DnsName(name) => domains(der).contains(&name.as_ref().to_ascii_lowercase()),
        // There are no wildcards for addresses.
        _ => true,
    }
}

fn domain(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::URI(uri) => {
            let (scheme, host) = uri.split_once(':')?;
            let bare = !host.contains(['@', ';', '?', ':']);
            (scheme.eq_ignore_ascii_case("sip") && bare).then(|| host.to_ascii_lowercase())
        }
        _ => None,
    }
}

/// The names proved on connections: of clients by their certificates, of servers by the name they
/// were asked to prove.
#[derive(Debug, Clone, Default)]
pub struct ProvedFlows(Arc<Shared<FlowId, Arc<[String]>>>);

impl ProvedFlows {
    /// What was proved on a flow that stands.
    pub fn names(&self, flow: FlowId) -> Option<Arc<[String]>> {
        self.0.get(&flow)
    }

    pub(crate) fn insert(&self, flow: FlowId, names: Arc<[String]>) {
        self.0.write(|map| drop(map.insert(flow, names)));
    }

    pub(crate) fn remove(&self, flow: FlowId) {
        if self.0.is_used() {
            self.0.write(|map| drop(map.remove(&flow)));
        }
    }
}

/// All of it, as the shards share it.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) certificates: Arc<PeerCertificates>,
    pub(crate) flows: ProvedFlows,
    pub(crate) aliases: Aliases,
}

impl Proof {
    pub(crate) fn new(certificates: Arc<PeerCertificates>) -> Self {
        Self { certificates, flows: ProvedFlows::default(), aliases: Aliases::default() }
    }
}

/// What makes two hops one: transport, address, and for TLS the name that was proved.
pub(crate) type HopKey = (Transport, SocketAddr, String);

/// Accepted connections that stand for next hops, whichever shard has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aliases(Arc<Shared<HopKey, FlowId>>);

impl Aliases {
    pub(crate) fn get(&self, key: &HopKey) -> Option<FlowId> {
        self.0.get(key)
    }

    /// True if the flow stands for the hop now.
    pub(crate) fn insert(&self, key: HopKey, flow: FlowId) -> bool {
        let mut taken = false;
        self.0.write(|map| {
            taken = map.len() < ALIASES_MAX || map.contains_key(&key);
            if taken {
                map.insert(key, flow);
            }
        });
        taken
    }

    /// The flow is gone; a later one may stand there already.
    pub(crate) fn remove(&self, key: &HopKey, flow: FlowId) {
        self.0.write(|map| {
            if map.get(key) == Some(&flow) {
                map.remove(key);
            }
        });
    }
}

/// A table that is empty almost everywhere: then nobody takes its lock.
#[derive(Debug)]
struct Shared<K, V> {
    used: AtomicUsize,
    map: RwLock<HashMap<K, V>>,
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self { used: AtomicUsize::new(0), map: RwLock::default() }
    }
}

impl<K: Eq + std::hash::Hash, V: Clone> Shared<K, V> {
    fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire) > 0
    }

    fn get(&self, key: &K) -> Option<V> {
        if !self.is_used() {
            return None;
        }
        let map: RwLockReadGuard<'_, _> = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.get(key).cloned()
    }

    fn write(&self, change: impl FnOnce(&mut HashMap<K, V>)) {
        let mut map: RwLockWriteGuard<'_, _> =
            self.map.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut map);
        self.used.store(map.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn made(names: &[SanType], common: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.distinguished_name.push(DnType::CommonName, common);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    #[test]
    fn r2_10_a_certificate_names_domains_as_rfc_5922_says() {
        let names = [
            uri("sip:Carrier.example"),
            dns("sbc.carrier.example"),
            uri("sip:alice@carrier.example"),
            uri("https://carrier.example"),
            dns("*.carrier.example"),
        ];
        assert_eq!(domains(&made(&names, "other")), ["carrier.example", "sbc.carrier.example"]);
        assert_eq!(domains(&made(&[], "Old.example")), ["old.example"]);
        assert!(domains(&made(&[uri("sips:a.example")], "a.example")).is_empty());
        assert!(domains(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])).is_empty());
    }

    #[test]
    fn tables_forget_and_an_old_connection_takes_nothing_from_a_new_one() {
        let (old, new) = (FlowId { node: 0, shard: 0, id: 3 }, FlowId { node: 0, shard: 1, id: 5 });
        let key: HopKey = (Transport::Tls, "192.0.2.1:5061".parse().unwrap(), "a".into());
        let aliases = Aliases::default();
        assert_eq!(aliases.get(&key), None);
        assert!(aliases.insert(key.clone(), old) && aliases.insert(key.clone(), new));
        aliases.remove(&key, old);
        assert_eq!(aliases.get(&key), Some(new));
        aliases.remove(&key, new);
        assert_eq!((aliases.get(&key), aliases.0.is_used()), (None, false));
        let proved = ProvedFlows::default();
        proved.insert(old, ["a.example".to_string()].into());
        assert_eq!(proved.names(old).unwrap()[..], ["a.example"]);
        proved.remove(old);
        assert_eq!(proved.names(old), None);
    }
}
