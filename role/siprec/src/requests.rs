//! Requests of ours: INVITE, re-INVITE, OPTIONS, BYE, and when they are due.

use sip::dialog::Dialog;
use sip::transaction::{ClientKey, SendVia};
use sip::{Edit, HeaderName, Message, Method, RequestBuilder, ViaBuilder};

use crate::body;
use crate::client::{Client, Present, Purpose};
use crate::event::Failure;
use crate::session::{Phase, Recorded, Streams};

/// What we answer, for Allow.
pub(crate) const ALLOWED: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE";
/// What we understand in bodies.
pub(crate) const ACCEPTED: &str = "application/sdp, application/rs-metadata-request";

impl Client {
    /// Offers a call: the INVITE that makes the recording session (RFC 7866 §6.1, §9.1).
    pub(crate) fn send_invite(&mut self, at: Present, call: u64, mut streams: Streams) {
        let Some(session) = self.sessions.get(&call) else { return };
        let sdp = streams.describe(session.flows(), true);
        let xml = session.snapshot.to_xml();
        let boundary = self.entropy.token(24);
        let (kind, content) = body::mixed(&boundary, &sdp, &xml);
        let (tag, id) = (self.entropy.token(16), self.entropy.token(24));
        let server = &self.config.server;
        let local = self.link.map(|link| link.local.ip()).map_or_else(String::new, host);
        let invite = RequestBuilder::new(Method::INVITE, server)
            .header(HeaderName::MAX_FORWARDS, "70")
            .header(HeaderName::FROM, format!("<sip:whimbrel@{local}>;tag={tag}"))
            .header(HeaderName::TO, format!("<{server}>"))
            .header(HeaderName::CALL_ID, id)
            .header(HeaderName::CSEQ, "1 INVITE")
            .header(HeaderName::REQUIRE, "siprec");
        let invite = self.complete(invite).body(&kind, content).build();
        let invite = self.with_via(&invite);
        self.timers.set(call, at.now + self.config.patience());
        match self.send(at, &invite, Purpose::Invite(call)) {
            Some(key) => {
                if let Some(session) = self.sessions.get_mut(&call) {
                    session.phase = Phase::Calling { key, invite, streams };
                }
            }
            None => {
                self.media.end(call, streams.number);
                self.fail(at, call, Failure::TooMany);
            }
        }
    }

    /// Something the SRS was told is no longer so.
    pub(crate) fn changed(&mut self, at: Present, call: u64) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let recorded = match &mut session.phase {
            Phase::Waiting { .. } => return,
            Phase::Calling { streams, .. } => return streams.is_stale = true,
            Phase::Recorded(recorded) => recorded,
        };
        recorded.is_stale = true;
        if recorded.pending.is_none() && !recorded.is_adrift && recorded.answer.is_none() {
            self.send_change(at, call);
        }
    }

    /// The call's deadline has come; which one its phase says.
    pub(crate) fn call_due(&mut self, at: Present, call: u64) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        match &session.phase {
            Phase::Waiting { resting: true } => {
                session.phase = Phase::Waiting { resting: false };
                self.begin(at, call);
            }
            Phase::Waiting { resting: false } => {
                self.fail(at, call, Failure::Unreachable("no connection in time".to_owned()));
            }
            Phase::Calling { key, invite, .. } => {
                let (key, invite) = (*key, invite.clone());
                self.abandon(at, key, invite);
                self.fail(at, call, Failure::NoAnswer);
            }
            Phase::Recorded(recorded) if recorded.is_adrift || recorded.pending.is_some() => {
                // Should it come to itself, it knows that nothing comes.
                self.drop_session(at, call, Failure::NoAnswer);
            }
            // One INVITE at a time (RFC 3261 §14.1): what has changed goes with its ACK.
            Phase::Recorded(recorded) if recorded.answer.is_some() => {
                self.timers.set(call, at.now + self.config.check_after());
            }
            // Its end was not told: nothing of it may stay here.
            Phase::Recorded(_) if !self.media.is_open(call) => self.end(at, call),
            Phase::Recorded(recorded) if recorded.is_stale => self.send_change(at, call),
            Phase::Recorded(_) => self.send_check(at, call),
        }
    }

    /// Tells the SRS how things are: description and all of the metadata (RFC 7866 §9.1).
    pub(crate) fn send_change(&mut self, at: Present, call: u64) {
        let boundary = self.entropy.token(24);
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let (flows, xml) = (session.flows(), session.snapshot.to_xml());
        let Phase::Recorded(recorded) = &mut session.phase else { return };
        recorded.is_stale = false;
        let sdp = recorded.streams.describe(flows, false);
        let (kind, content) = body::mixed(&boundary, &sdp, &xml);
        let change = recorded.dialog.request(Method::INVITE).header(HeaderName::REQUIRE, "siprec");
        let change = self.complete(change).body(&kind, content).build();
        self.send_in_dialog(at, call, &change, Purpose::Change(call));
    }

    /// Asks whether the SRS still knows the recording session.
    fn send_check(&mut self, at: Present, call: u64) {
        let Some(recorded) = self.recorded(call) else { return };
        let check = recorded.dialog.request(Method::OPTIONS).header(HeaderName::ACCEPT, ACCEPTED);
        let check = check.build();
        self.send_in_dialog(at, call, &check, Purpose::Check(call));
    }

    fn send_in_dialog(&mut self, at: Present, call: u64, request: &Message, purpose: Purpose) {
        let request = self.with_via(request);
        let key = self.send(at, &request, purpose);
        if let Some(recorded) = self.recorded(call) {
            recorded.pending = key;
        }
        self.timers.set(call, at.now + self.config.patience());
    }

    /// Ends a dialog.
    pub(crate) fn send_bye(&mut self, at: Present, dialog: &mut Dialog) {
        let bye = dialog.request(Method::BYE).build();
        let bye = self.with_via(&bye);
        // Without a connection it ends by the SRS's own means.
        let _ = self.send(at, &bye, Purpose::Bye);
        dialog.terminate();
    }

    /// Gives an INVITE up; should it be answered all the same, it is ended.
    pub(crate) fn abandon(&mut self, at: Present, key: ClientKey, invite: Message) {
        self.orphans.insert(key, invite);
        let cancelled = self.layer.cancel(at.now, &key, None);
        tracing::debug!(?cancelled, "siprec: an INVITE is given up");
    }

    /// Sends the ACK of a 2xx; the bytes, for when it comes again.
    pub(crate) fn send_ack(&mut self, dialog: &Dialog, number: u32) -> bytes::Bytes {
        let ack = dialog.ack(number).build();
        let ack = self.with_via(&ack).bytes().clone();
        self.transmit(ack.clone());
        ack
    }

    fn send(&mut self, at: Present, request: &Message, purpose: Purpose) -> Option<ClientKey> {
        let transport = self.link?.transport;
        let via = SendVia { flow: self.flow, transport };
        let sent = self.layer.send_request(at.now, via, request.clone());
        let key = sent.inspect_err(|error| tracing::warn!(%error, "siprec: not sent")).ok()?;
        self.requests.insert(key, purpose);
        Some(key)
    }

    /// Contact and what we understand (RFC 7866 §6.1: `+sip.src`).
    fn complete(&self, request: RequestBuilder) -> RequestBuilder {
        request
            .header(HeaderName::CONTACT, self.contact())
            .header(HeaderName::ALLOW, ALLOWED)
            .header(HeaderName::ACCEPT, ACCEPTED)
            .header(HeaderName::USER_AGENT, concat!("whimbrel/", env!("CARGO_PKG_VERSION")))
    }

    pub(crate) fn contact(&self) -> String {
        let Some(link) = self.link else { return String::new() };
        // RFC 3261 §8.1.1.8: as secure as what is called.
        let is_sips = self.config.server.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("sips:"));
        match is_sips {
            true => format!("<sips:whimbrel@{}>;+sip.src", link.local),
            false => {
                let transport = link.transport.uri_token();
                format!("<sip:whimbrel@{};transport={transport}>;+sip.src", link.local)
            }
        }
    }

    fn with_via(&mut self, request: &Message) -> Message {
        let Some(link) = self.link else { return request.clone() };
        let branch = format!("z9hG4bK{}", self.entropy.token(16));
        let via = ViaBuilder::new(link.transport, link.local.to_string());
        Edit::new(request).prepend(HeaderName::VIA, via.branch(&branch).rport().build()).finish()
    }

    pub(crate) fn recorded(&mut self, call: u64) -> Option<&mut Recorded> {
        match &mut self.sessions.get_mut(&call)?.phase {
            Phase::Recorded(recorded) => Some(recorded),
            _ => None,
        }
    }
}

/// As in a URI.
fn host(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(v4) => v4.to_string(),
        std::net::IpAddr::V6(v6) => format!("[{v6}]"),
    }
}
