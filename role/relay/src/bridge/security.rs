//! How one leg's packets are protected.

mod zrtp;

use std::collections::VecDeque;
use std::time::Instant;

use media::keying::SrtpKeys;
use media::keying::dtls::{Certificate, DtlsEndpoint, DtlsOutput, DtlsRole};
use rtp::Error;
use rtp::srtp::{MAX_TRAILER, SrtpContext};
use sdp::Fingerprint;

pub use zrtp::ZrtpEnd;

/// The protection of a leg.
#[derive(Debug)]
pub enum Security {
    /// RTP as it is.
    Plain,
    /// SDES: keys from SDP, once they are agreed.
    Sdes(Option<Box<Contexts>>),
    /// DTLS-SRTP: keys from a handshake.
    Dtls(Box<Handshake>),
    /// ZRTP: keys that we agree on with the peer, as an intermediary.
    Zrtp(Box<ZrtpEnd>),
}

impl Security {
    /// DTLS-SRTP with a handshake at rest.
    ///
    /// # Errors
    /// When the DTLS library refuses its configuration.
    pub fn dtls(
        now: Instant,
        certificate: &Certificate,
        role: DtlsRole,
    ) -> Result<Self, media::keying::KeyingError> {
        Ok(Self::Dtls(Box::new(Handshake::new(now, certificate, role)?)))
    }

    /// SDES keys were agreed. The same keys again go on with their state.
    ///
    /// # Errors
    /// When a key does not fit its suite.
    pub fn set_sdes(&mut self, keys: &SrtpKeys) -> Result<(), Error> {
        match self {
            Self::Sdes(Some(contexts)) => contexts.update(keys),
            _ => {
                *self = Self::Sdes(Some(Box::new(Contexts::new(keys)?)));
                Ok(())
            }
        }
    }

    /// The contexts, when packets must be protected. `Err` when they must be and cannot yet.
    pub(super) fn contexts(&mut self) -> Result<Option<&mut Contexts>, NotReady> {
        match self {
            Self::Plain => Ok(None),
            Self::Sdes(contexts) => contexts.as_deref_mut().map(Some).ok_or(NotReady),
            Self::Dtls(handshake) => handshake.contexts.as_mut().map(Some).ok_or(NotReady),
            Self::Zrtp(agreement) => agreement.contexts.as_mut().map(Some).ok_or(NotReady),
        }
    }

    /// Whether packets are authenticated.
    pub fn is_secure(&self) -> bool {
        !matches!(self, Self::Plain)
    }

    /// Whether keys are there, where keys are needed.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Sdes(contexts) => contexts.is_some(),
            Self::Dtls(handshake) => handshake.contexts.is_some(),
            Self::Zrtp(agreement) => agreement.contexts.is_some(),
        }
    }

    /// Whether we agree on keys with the peer by ZRTP.
    pub(super) fn agrees(&self) -> bool {
        matches!(self, Self::Zrtp(_))
    }

    /// The next datagram of a handshake to send.
    pub(super) fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Dtls(handshake) => handshake.poll_datagram(),
            Self::Zrtp(agreement) => agreement.poll_datagram(),
            Self::Plain | Self::Sdes(_) => None,
        }
    }

    /// The handshake, if keys come from one.
    pub fn handshake_mut(&mut self) -> Option<&mut Handshake> {
        match self {
            Self::Dtls(handshake) => Some(handshake),
            _ => None,
        }
    }
}

/// Keys are needed and not here yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotReady;

/// The two SRTP directions of a leg.
#[derive(Debug)]
pub struct Contexts {
    keys: SrtpKeys,
    pub(super) inbound: SrtpContext,
    pub(super) outbound: SrtpContext,
    rebase: Option<Rebase>,
    refused: u8,
}

impl Contexts {
    fn new(keys: &SrtpKeys) -> Result<Self, Error> {
        let (inbound, outbound) = (keys.inbound()?, keys.outbound()?);
        Ok(Self { keys: keys.clone(), inbound, outbound, rebase: None, refused: 0 })
    }

    /// A changed key starts its direction anew; an unchanged one goes on (RFC 4568 §7.1.4).
    fn update(&mut self, keys: &SrtpKeys) -> Result<(), Error> {
        let same_suite = keys.suite == self.keys.suite;
        if !same_suite || keys.remote != self.keys.remote {
            self.inbound = keys.inbound()?;
        }
        if !same_suite || keys.local != self.keys.local {
            self.outbound = keys.outbound()?;
        }
        self.keys = keys.clone();
        Ok(())
    }

    /// Seals an RTP packet in place. A source that starts its sequence numbers again further back
    /// would be refused until it has caught up, which may take minutes: after three refusals in a
    /// row its numbers are moved behind the highest used.
    pub(super) fn seal_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, Error> {
        if len < rtp::HEADER_LEN || buf.len() < len + MAX_TRAILER {
            return Err(Error::BufferTooSmall { needed: len + MAX_TRAILER, have: buf.len() });
        }
        let ssrc = u32::from_be_bytes([buf[8], buf[9], buf[10], buf[11]]);
        let sequence = u16::from_be_bytes([buf[2], buf[3]]);
        if let Some(rebase) = self.rebase.filter(|r| r.ssrc == ssrc) {
            buf[2..4].copy_from_slice(&sequence.wrapping_add(rebase.offset).to_be_bytes());
        }
        let result = self.outbound.protect_rtp(buf, len);
        match result {
            Err(Error::TooOld) => {
                self.refused += 1;
                if self.refused >= 3 {
                    self.refused = 0;
                    self.rebase = self.behind_highest(ssrc, sequence);
                }
            }
            Ok(_) => self.refused = 0,
            Err(_) => {}
        }
        result
    }

    fn behind_highest(&self, ssrc: u32, sequence: u16) -> Option<Rebase> {
        let streams = self.outbound.snapshot();
        let highest = streams.iter().find(|s| s.ssrc == ssrc)?.rtp_highest?;
        // The next packet, one after this refused one, shall be one after the highest.
        Some(Rebase { ssrc, offset: (highest as u16).wrapping_sub(sequence) })
    }
}

#[derive(Debug, Clone, Copy)]
struct Rebase {
    ssrc: u32,
    offset: u16,
}

/// A DTLS handshake and the contexts it gave.
#[derive(Debug)]
pub struct Handshake {
    endpoint: DtlsEndpoint,
    certificate: Certificate,
    fingerprint: Option<Fingerprint>,
    pub(super) contexts: Option<Contexts>,
    datagrams: VecDeque<Vec<u8>>,
    failed: bool,
}

impl Handshake {
    /// A handshake at rest.
    ///
    /// # Errors
    /// When the DTLS library refuses its configuration.
    pub fn new(
        now: Instant,
        certificate: &Certificate,
        role: DtlsRole,
    ) -> Result<Self, media::keying::KeyingError> {
        let endpoint = DtlsEndpoint::new(certificate, role, now)?;
        let certificate = certificate.clone();
        Ok(Self {
            endpoint,
            certificate,
            fingerprint: None,
            contexts: None,
            datagrams: VecDeque::new(),
            failed: false,
        })
    }

    /// What the peer's SDP says. A changed fingerprint or role means a new association
    /// (RFC 8842 §4): the handshake starts anew, the old keys serve until it is done.
    pub fn set_remote(&mut self, now: Instant, print: Fingerprint, role: DtlsRole) {
        let changed = self.fingerprint.as_ref().is_some_and(|known| *known != print);
        if (changed || self.endpoint.role() != role || self.failed)
            && let Ok(endpoint) = DtlsEndpoint::new(&self.certificate, role, now)
        {
            self.endpoint = endpoint;
            self.failed = false;
        }
        self.fingerprint = Some(print.clone());
        self.failed |= self.endpoint.set_remote_fingerprint(print).is_err();
        // The handshake may be over by now; the fingerprint was all that its keys waited for.
        self.absorb();
    }

    /// What the peer's SDP said last.
    pub fn remote_fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// Our role.
    pub fn role(&self) -> DtlsRole {
        self.endpoint.role()
    }

    /// Whether the handshake cannot succeed any more.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn handle_packet(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let failed = self.endpoint.handle_packet(now, datagram).is_err();
        self.note_failure(failed)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let due = self.endpoint.poll_timeout().is_some_and(|at| at <= now);
        let failed = due && self.endpoint.handle_timeout(now).is_err();
        self.note_failure(failed)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        // After the handshake the library's timer only guards against an idle connection.
        self.endpoint.poll_timeout().filter(|_| !self.endpoint.is_connected())
    }

    /// The next datagram to send.
    pub(super) fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front()
    }

    fn absorb(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                DtlsOutput::Transmit(bytes) => self.datagrams.push_back(bytes),
                DtlsOutput::Connected(keys) => match Contexts::new(&keys) {
                    Ok(contexts) => self.contexts = Some(contexts),
                    Err(_) => self.failed = true,
                },
                // A browser that ends the call may say so here first; signalling decides.
                DtlsOutput::Closed => {}
            }
        }
    }

    /// True the first time only. A handshake that had given keys goes on with them.
    fn note_failure(&mut self, failed: bool) -> bool {
        self.absorb();
        let first = failed && !self.failed;
        self.failed |= failed;
        first && self.contexts.is_none()
    }
}
