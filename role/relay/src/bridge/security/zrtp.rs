//! Keys that we agree on with one side by ZRTP (RFC 6189), because the other side is keyed in another
//! way. Nobody is deceived: our Hello says that we sit between (§7.3), and the string that this side's
//! user sees is that of its leg. We are another one in each call, and ask to be forgotten.

use std::collections::VecDeque;
use std::time::Instant;

use media::keying::zrtp::ZrtpIdentity;
use rtp::zrtp::{Endpoint, Event, HelloHash, Output, Setup};
use sansio::Entropy;

use super::Contexts;

/// An agreement and the contexts it gave.
#[derive(Debug)]
pub struct ZrtpEnd {
    endpoint: Endpoint,
    announced: Option<HelloHash>,
    pub(in super::super) contexts: Option<Contexts>,
    datagrams: VecDeque<Vec<u8>>,
    failed: bool,
}

impl ZrtpEnd {
    /// One at rest.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        let ssrc = entropy.next_u64() as u32;
        let ZrtpIdentity { zid, .. } = ZrtpIdentity::new(entropy);
        let setup = Setup { mitm: true, forgets: true, ..Setup::new(ssrc, zid) };
        Self {
            endpoint: Endpoint::new(setup, entropy),
            announced: None,
            contexts: None,
            datagrams: VecDeque::new(),
            failed: false,
        }
    }

    /// The value of our `a=zrtp-hash`.
    pub fn hello_hash(&self) -> HelloHash {
        self.endpoint.hello_hash()
    }

    /// The peer's description is here, with what it says of its Hello. Another than before is another
    /// peer: keys are agreed on anew.
    pub fn begin(&mut self, now: Instant, hash: Option<HelloHash>) {
        if let Some(hash) = hash.filter(|hash| self.announced != Some(*hash)) {
            if self.announced.replace(hash).is_some() {
                self.endpoint.again();
                (self.contexts, self.failed) = (None, false);
            }
            self.endpoint.expect(now, hash);
        }
        self.endpoint.start(now);
        self.absorb();
    }

    /// Whether both have the keys.
    pub fn is_secure(&self) -> bool {
        self.endpoint.secured().is_some()
    }

    /// True when the agreement has just failed.
    pub(in super::super) fn handle_packet(&mut self, now: Instant, datagram: &[u8]) -> bool {
        self.endpoint.handle_packet(now, datagram);
        self.absorb()
    }

    /// The same.
    pub(in super::super) fn handle_timeout(&mut self, now: Instant) -> bool {
        self.endpoint.handle_timeout(now);
        self.absorb()
    }

    pub(in super::super) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    pub(in super::super) fn poll_datagram(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front()
    }

    /// A packet came that the keys opened.
    pub(in super::super) fn note_srtp(&mut self) {
        if !self.is_secure() {
            self.endpoint.note_srtp();
            self.absorb();
        }
    }

    fn absorb(&mut self) -> bool {
        let before = self.failed;
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(bytes) => self.datagrams.push_back(bytes),
                Output::Event(Event::Keys(keys)) => match Contexts::new(&keys.into()) {
                    Ok(contexts) => self.contexts = Some(contexts),
                    Err(_) => self.failed = true,
                },
                Output::Event(Event::Failed(_) | Event::Alone) => self.failed = true,
                Output::Event(Event::Secure(_)) => self.failed = false,
                // We ask to be forgotten, and forget.
                Output::Event(Event::Retain { .. }) => {}
            }
        }
        self.failed && !before && self.contexts.is_none()
    }
}
