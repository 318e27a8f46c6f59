//! Descriptions out and in.

use std::time::Instant;

use sdp::Crypto;
use sdp::offer_answer::{self, Capabilities, Format, LocalMedia, Negotiated};

use super::zrtp::Zrtp;
use super::{MediaError, Security, Session, Srtp};
use crate::keying::{KeyingError, SrtpKeys};
use crate::traversal::{MID, RemoteIce, Traversal};

impl Session {
    /// Makes an offer: the first, or a re-offer (hold, resume, new address).
    pub fn create_offer(&mut self, _now: Instant) -> Vec<u8> {
        let caps = self.capabilities();
        let lines = match self.config.security {
            Security::Plain | Security::Zrtp | Security::ZrtpOptional => Vec::new(),
            Security::Sdes | Security::SdesOptional => self.keys.offer(),
        };
        let mut local = self.local_media(&lines, true);
        if self.may_trickle() {
            // Fragments name the stream they are of (RFC 8840 §9.2).
            let mid = self.mid.get_or_insert_with(|| MID.to_owned());
            local.attributes.push(("mid".to_owned(), Some(mid.clone())));
        }
        let offer = offer_answer::offer(&local, &caps, self.local_sdp.as_ref());
        self.inbound.accept_formats(&caps.codecs, &caps.telephone_events);
        let bytes = offer.to_bytes();
        self.local_sdp = Some(offer);
        self.offered = Some(caps);
        bytes
    }

    /// Answers an offer, the first or a later one.
    ///
    /// # Errors
    /// When the offer cannot be read, nothing is in common, or security forbids it. The session
    /// stays as it was.
    pub fn handle_offer(&mut self, now: Instant, offer: &[u8]) -> Result<Vec<u8>, MediaError> {
        let offer = sdp::Session::parse(offer)?;
        let security = self.config.security;
        let index = offer_answer::find_audio(&offer, |proto| security.accepts(proto))?;
        let media = &offer.media()[index];
        let secure_proto = media.proto().to_ascii_uppercase().contains("SAVP");
        let beside = media.attributes("zrtp-hash").next().is_some();
        let keys = self.answer_keys((secure_proto, beside), media.cryptos().collect())?;
        let lines: Vec<Crypto> = keys.iter().map(|(_, line)| line.clone()).collect();

        let remote_ice = RemoteIce::read(&offer, index);
        if let (Some(traversal), Some(remote)) = (&mut self.traversal, &remote_ice)
            && traversal.is_restarted_by(remote)
        {
            traversal.restart();
        }
        let caps = self.capabilities();
        let local = self.local_media(&lines, remote_ice.is_some());
        let (answer, negotiated) = offer_answer::answer(&offer, index, &local, &caps)?;
        self.note_zrtp_hash(now, media);
        self.mid = media.mid().map(str::to_owned);
        self.apply(now, negotiated, keys.map(|(keys, _)| keys))?;
        self.agree_on_ice(now, remote_ice, false);
        let bytes = answer.to_bytes();
        self.local_sdp = Some(answer);
        self.offered = None;
        Ok(bytes)
    }

    /// Takes the answer to our last offer. A repeated answer (183, then 200) is taken again.
    ///
    /// # Errors
    /// As [`Session::handle_offer`]; and [`MediaError::UnexpectedAnswer`].
    pub fn handle_answer(&mut self, now: Instant, answer: &[u8]) -> Result<(), MediaError> {
        let answer = sdp::Session::parse(answer)?;
        let pair = self.local_sdp.as_ref().zip(self.offered.as_ref());
        let (offer, caps) = pair.ok_or(MediaError::UnexpectedAnswer)?;
        let negotiated = offer_answer::apply_answer(offer, &answer, caps)?;
        let media = &answer.media()[negotiated.index];
        let line = media.cryptos().next();
        let keys = match (self.config.security, line) {
            (Security::Plain | Security::Zrtp | Security::ZrtpOptional, _)
            | (Security::SdesOptional, None) => None,
            (Security::Sdes, None) => return Err(KeyingError::NoCommonSuite.into()),
            (_, Some(line)) => Some(self.keys.accept(&line)?),
        };
        let remote_ice = RemoteIce::read(&answer, negotiated.index);
        self.note_zrtp_hash(now, media);
        self.apply(now, negotiated, keys)?;
        self.agree_on_ice(now, remote_ice, true);
        Ok(())
    }

    fn answer_keys(
        &mut self,
        (secure_proto, zrtp_beside): (bool, bool),
        offered: Vec<Crypto>,
    ) -> Result<Option<(SrtpKeys, Crypto)>, MediaError> {
        match self.config.security {
            Security::Plain | Security::Zrtp => Ok(None),
            Security::ZrtpOptional if zrtp_beside && !secure_proto => Ok(None),
            Security::Sdes if !secure_proto && offered.is_empty() => {
                Err(MediaError::SecurityRequired)
            }
            Security::SdesOptional | Security::ZrtpOptional if !secure_proto => {
                Ok(self.keys.answer(offered).ok())
            }
            Security::Sdes | Security::SdesOptional | Security::ZrtpOptional => {
                Ok(Some(self.keys.answer(offered)?))
            }
        }
    }

    fn apply(
        &mut self,
        now: Instant,
        negotiated: Negotiated,
        keys: Option<SrtpKeys>,
    ) -> Result<(), MediaError> {
        self.srtp = match keys {
            Some(keys) => Some(Srtp::update(self.srtp.take(), keys)?),
            None => self.srtp.take().filter(|_| self.zrtp.as_ref().is_some_and(Zrtp::is_secure)),
        };
        let event = negotiated.send_event.as_ref();
        self.outbound.configure(&negotiated.send, event, negotiated.ptime_ms)?;
        self.inbound.accept_formats(&negotiated.receive, &negotiated.receive_events);
        self.inbound.configure(now, negotiated.direction);
        self.negotiated = Some(negotiated);
        if self.srtp.is_none() {
            self.start_zrtp(now);
        }
        Ok(())
    }

    /// What we offer. Numbers once agreed stay what they were (RFC 3264 §8.3.2); an event type that
    /// would collide with one of them is left out.
    fn capabilities(&self) -> Capabilities {
        let mut caps = self.config.capabilities();
        let Some(n) = &self.negotiated else { return caps };
        let agreed: Vec<&Format> = n.receive.iter().chain(&n.receive_events).collect();
        for format in caps.codecs.iter_mut().chain(&mut caps.telephone_events) {
            if let Some(known) = agreed.iter().find(|f| format.is_same_codec(&f.map)) {
                format.map.payload_type = known.map.payload_type;
            }
        }
        let codecs = &caps.codecs;
        caps.telephone_events.retain(|event| {
            let number = event.map.payload_type;
            let taken = codecs.iter().any(|c| c.map.payload_type == number);
            let other =
                agreed.iter().any(|f| f.map.payload_type == number && !f.is_same_codec(&event.map));
            !taken && !other
        });
        caps
    }

    /// What we say of ourselves; `ice`: to one who may speak it.
    fn local_media(&mut self, lines: &[Crypto], ice: bool) -> LocalMedia {
        self.version += 1;
        let crypto = |line: &Crypto| ("crypto".to_owned(), Some(line.to_string()));
        if let Some(traversal) = self.traversal.as_mut().filter(|_| ice) {
            traversal.note_described();
        }
        let ways = self.traversal.as_ref();
        let rtp = ways.map_or(self.config.local, Traversal::default_addr);
        let next = self.config.rtcp_port.unwrap_or(self.config.local.port().wrapping_add(1));
        // A borrowed port has no neighbour.
        let rtcp_port = if rtp == self.config.local { next } else { rtp.port() };
        let ice = ways.filter(|_| ice).map(Traversal::attributes).unwrap_or_default();
        let zrtp = self.zrtp.as_ref().filter(|_| lines.is_empty());
        let hash = zrtp.map(|zrtp| ("zrtp-hash".to_owned(), Some(zrtp.hash())));
        LocalMedia {
            session_id: self.id,
            version: self.version,
            rtp,
            rtcp_port,
            rtcp_mux: self.config.rtcp_mux,
            proto: self.config.security.offered_proto().to_owned(),
            direction: self.direction,
            attributes: lines.iter().map(crypto).chain(hash).chain(ice).collect(),
        }
    }
}
