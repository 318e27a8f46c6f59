//! Keys that the two ends agree on between themselves (RFC 6189), as a session uses them.
//!
//! ```text
//!   SDP: a=zrtp-hash ──► expect        answer ──► start        Keys ──► what comes may be sealed
//!                                                              Secure ─► what goes is sealed
//! ```
//!
//! Until then what is said is silence where encryption is insisted on: packets keep the way through
//! translators and relays open, and tell nothing.

use std::time::Instant;

use rtp::zrtp::{Endpoint, Event, Failure, HelloHash, Output, Secured, Setup};
use sansio::Entropy;

use super::{Config, MediaEvent, MediaOutput, Security, Session, Srtp};
use crate::keying::zrtp::ZrtpIdentity;

/// What a session keeps of its agreement.
#[derive(Debug)]
pub(super) struct Zrtp {
    endpoint: Endpoint,
    /// What the far end's SDP said of its Hello.
    announced: Option<HelloHash>,
    /// Keys that the far end has not yet shown to have.
    pending: Option<Box<Srtp>>,
    /// There is no way back to clear packets.
    insists: bool,
}

impl Zrtp {
    /// For a session that may agree on keys; nothing for others.
    pub(super) fn of(config: &Config, ssrc: u32, entropy: &mut dyn Entropy) -> Option<Self> {
        if !config.security.speaks_zrtp() {
            return None;
        }
        let ZrtpIdentity { zid, cache } =
            config.zrtp.clone().unwrap_or_else(|| ZrtpIdentity::new(entropy));
        let setup = Setup { cache, wall: config.wall, ..Setup::new(ssrc, zid) };
        Some(Self::around(Endpoint::new(setup, entropy), config))
    }

    /// With the same Hello, for another phone that answers the same offer.
    pub(super) fn fork(&self, config: &Config, ssrc: u32, entropy: &mut dyn Entropy) -> Self {
        Self::around(self.endpoint.fork(ssrc, entropy), config)
    }

    fn around(endpoint: Endpoint, config: &Config) -> Self {
        let insists = config.security == Security::Zrtp;
        Self { endpoint, announced: None, pending: None, insists }
    }

    /// The value of `a=zrtp-hash`.
    pub(super) fn hash(&self) -> String {
        self.endpoint.hello_hash().to_string()
    }

    /// Whether the keys in use are of this agreement.
    pub(super) fn is_secure(&self) -> bool {
        self.endpoint.secured().is_some()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }
}

impl Session {
    /// What both ends agreed on by ZRTP, once they have.
    pub fn secured(&self) -> Option<&Secured> {
        self.zrtp.as_ref()?.endpoint.secured()
    }

    /// Our user compared the short string with the far end's: alike, or not.
    pub fn set_verified(&mut self, verified: bool) {
        if let Some(zrtp) = &mut self.zrtp {
            zrtp.endpoint.set_verified(verified);
        }
        self.drain_zrtp();
    }

    /// Whether there is no way but encrypted packets: in clear nothing is said and nothing is heard.
    pub fn insists_on_keys(&self) -> bool {
        self.config.security == Security::Sdes || self.zrtp.as_ref().is_some_and(|z| z.insists)
    }

    /// Whether what is said would be in clear, and must not be.
    pub(super) fn must_be_silent(&self) -> bool {
        self.srtp.is_none() && self.insists_on_keys()
    }

    /// The far end's SDP says of its Hello. Another than before is another far end.
    pub(super) fn note_zrtp_hash(&mut self, now: Instant, media: &sdp::MediaLine) {
        let Some(zrtp) = &mut self.zrtp else { return };
        let mut hashes = media.attributes("zrtp-hash").filter_map(|value| value.parse().ok());
        let Some(hash) = hashes.next().filter(|hash| zrtp.announced != Some(*hash)) else { return };
        if zrtp.announced.replace(hash).is_some() {
            zrtp.endpoint.again();
            zrtp.pending = None;
            self.srtp = None;
        }
        zrtp.endpoint.expect(now, hash);
    }

    /// There is an address to speak to.
    pub(super) fn start_zrtp(&mut self, now: Instant) {
        if let Some(zrtp) = &mut self.zrtp {
            if zrtp.endpoint.failure().is_some() {
                zrtp.endpoint.again();
                zrtp.announced.iter().for_each(|hash| zrtp.endpoint.expect(now, *hash));
            }
            zrtp.endpoint.start(now);
        }
        self.drain_zrtp();
    }

    pub(super) fn handle_zrtp(&mut self, now: Instant, datagram: &[u8]) {
        if let Some(zrtp) = &mut self.zrtp {
            zrtp.endpoint.handle_packet(now, datagram);
        }
        self.drain_zrtp();
    }

    pub(super) fn zrtp_timeout(&mut self, now: Instant) {
        if let Some(zrtp) = &mut self.zrtp {
            zrtp.endpoint.handle_timeout(now);
        }
        self.drain_zrtp();
    }

    /// Opens a packet of RTP with keys that the far end has not acknowledged: that it can be opened is
    /// as good (RFC 6189 §4.6).
    pub(super) fn take_up_pending(&mut self, buf: &mut [u8]) -> Option<usize> {
        let pending = self.zrtp.as_mut()?.pending.as_mut()?;
        // A packet in clear must survive the attempt.
        let mut copy = buf.to_vec();
        let len = pending.inbound.unprotect_rtp(&mut copy, buf.len()).ok()?;
        buf.copy_from_slice(&copy);
        self.zrtp.iter_mut().for_each(|zrtp| zrtp.endpoint.note_srtp());
        self.drain_zrtp();
        Some(len)
    }

    fn drain_zrtp(&mut self) {
        while let Some(output) = self.zrtp.as_mut().and_then(|z| z.endpoint.poll_output()) {
            match output {
                Output::Transmit(bytes) => {
                    if let Some(to) = self.remote_rtp() {
                        self.transmit(to, bytes.into(), false);
                    }
                }
                Output::Event(event) => self.zrtp_event(event),
            }
        }
    }

    fn zrtp_event(&mut self, event: Event) {
        let Some(zrtp) = &mut self.zrtp else { return };
        match event {
            Event::Keys(keys) => match Srtp::update(None, keys.into()) {
                Ok(srtp) => zrtp.pending = Some(Box::new(srtp)),
                Err(_) => self.not_secured(Some(Failure::Internal)),
            },
            Event::Secure(secured) => {
                zrtp.insists = true;
                self.srtp = zrtp.pending.take().map(|srtp| *srtp);
                self.push(MediaOutput::Event(MediaEvent::Secured(secured)));
            }
            Event::Retain { zid, retained } => self.push(MediaOutput::Retain { zid, retained }),
            Event::Alone => self.not_secured(None),
            Event::Failed(failure) => self.not_secured(Some(failure)),
        }
    }

    fn not_secured(&mut self, why: Option<Failure>) {
        if let Some(zrtp) = &mut self.zrtp {
            zrtp.pending = None;
        }
        self.push(MediaOutput::Event(MediaEvent::NotSecured(why)));
    }
}
