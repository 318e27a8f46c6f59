//! What the SRS asks of us.

use std::time::Duration;

use sip::body::Description;
use sip::dialog::{Answer, AnswerOutcome, DialogId};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, Method, response_to};

use crate::body::asks_for_metadata;
use crate::client::{Client, Present};
use crate::event::Failure;
use crate::requests::{ACCEPTED, ALLOWED};
use crate::session::{MediaPort, Phase, takes_any, wants};

/// T1 and T2 of the transaction layer's defaults.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

impl Client {
    pub(crate) fn handle_request(
        &mut self,
        at: Present,
        key: Option<ServerKey>,
        request: &Message,
    ) {
        let call = self.call_of(request);
        let Some(key) = key else { return self.handle_ack(at, call, request) };
        let method = request.method().unwrap_or(Method::OPTIONS);
        let Some(call) = call else {
            let outside = method == Method::OPTIONS && request.to_tag().is_none();
            return self.reply(at, &key, request, if outside { 200 } else { 481 });
        };
        let known = self.recorded(call).map(|recorded| recorded.dialog.handle_request(request));
        if let Some(Err(error)) = known {
            return self.reply(at, &key, request, error.status());
        }
        if method == Method::BYE {
            self.reply(at, &key, request, 200);
            self.fail(at, call, Failure::EndedByServer);
        } else if method == Method::INVITE || method == Method::UPDATE {
            self.session_changed(at, call, &key, request);
        } else {
            let status = if method == Method::OPTIONS { 200 } else { 405 };
            self.reply(at, &key, request, status);
        }
    }

    /// A re-INVITE or UPDATE: other addresses, a rest, or a wish for metadata.
    fn session_changed(&mut self, at: Present, call: u64, key: &ServerKey, request: &Message) {
        let is_invite = request.method() == Some(Method::INVITE);
        let sdp = match sip::body::description(request) {
            Description::Sdp(sdp) => Some(sdp),
            _ => None,
        };
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let (flows, paused) = (session.flows(), session.paused);
        let Phase::Recorded(recorded) = &mut session.phase else { return };
        // Both ask at once (RFC 3261 §14.2, RFC 3311 §5.2).
        if (is_invite || sdp.is_some()) && (recorded.pending.is_some() || recorded.answer.is_some())
        {
            return self.reply(at, key, request, 491);
        }
        // RFC 7866 §9.2: all of the metadata, in a request of ours.
        recorded.is_stale |= asks_for_metadata(request);
        let number = recorded.streams.number;
        let described = match sdp {
            Some(sdp) => {
                let wanted = wants(sdp);
                let flows = [flows[0] && wanted[0], flows[1] && wanted[1]];
                let ours = recorded.streams.describe(flows, false);
                let fits = |media: &mut Box<dyn MediaPort>| {
                    // In a pause not a single packet may leave: the answer to the resume counts.
                    takes_any(sdp) && (paused || media.answer(call, number, sdp).is_ok())
                };
                if !fits(&mut self.media) {
                    return self.reply(at, key, request, 488);
                }
                Some(ours)
            }
            None => is_invite.then(|| recorded.streams.describe(flows, false)),
        };
        let response = response_to(request, 200, "")
            .header(HeaderName::CONTACT, self.contact())
            .header(HeaderName::ALLOW, ALLOWED);
        let response = match described {
            Some(ours) => response.body("application/sdp", ours).build(),
            None => response.build(),
        };
        let seq = request.cseq().map_or(0, |cseq| cseq.number);
        let bytes = response.bytes().clone();
        self.layer.respond(at.now, key, response);
        if let Some(recorded) = self.recorded(call) {
            recorded.answer = is_invite.then(|| Answer::new(at.now, bytes, seq, T1, T2));
            if !is_invite && recorded.pending.is_none() {
                self.settle(at, call);
            }
        }
    }

    /// The ACK of our 2xx; where the re-INVITE described nothing, it does.
    fn handle_ack(&mut self, at: Present, call: Option<u64>, ack: &Message) {
        let Some(call) = call else { return };
        let paused = self.sessions.get(&call).is_some_and(|session| session.paused);
        let seq = ack.cseq().map_or(0, |cseq| cseq.number);
        let Some(recorded) = self.recorded(call) else { return };
        if !recorded.answer.as_mut().is_some_and(|answer| answer.handle_ack(seq)) {
            return;
        }
        recorded.answer = None;
        let number = recorded.streams.number;
        if let Description::Sdp(sdp) = sip::body::description(ack) {
            let taken = if paused { Ok(()) } else { self.media.answer(call, number, sdp) };
            if let Err(why) = taken {
                return self.drop_session(at, call, Failure::Media(why));
            }
        }
        self.settle(at, call);
    }

    /// 2xx of ours that are to be sent again, or were never acknowledged.
    pub(crate) fn resend_answers(&mut self, at: Present) {
        for call in self.calls() {
            let Some(answer) = self.recorded(call).and_then(|r| r.answer.as_mut()) else {
                continue;
            };
            answer.handle_timeout(at.now);
            let (again, outcome) = (answer.poll_transmit(), answer.outcome());
            if let Some(again) = again {
                self.transmit(again);
            }
            if outcome == Some(AnswerOutcome::Unacknowledged) {
                self.drop_session(at, call, Failure::NoAnswer);
            }
        }
    }

    fn call_of(&self, request: &Message) -> Option<u64> {
        let id = DialogId::of_request(request).ok()?;
        let is_it = |phase: &Phase| matches!(phase, Phase::Recorded(r) if *r.dialog.id() == id);
        self.sessions.iter().find(|(_, session)| is_it(&session.phase)).map(|(call, _)| *call)
    }

    fn reply(&mut self, at: Present, key: &ServerKey, request: &Message, status: u16) {
        let tag = self.entropy.token(12);
        let response = response_to(request, status, "").to_tag(&tag);
        let response = match status {
            200 | 405 => {
                response.header(HeaderName::ALLOW, ALLOWED).header(HeaderName::ACCEPT, ACCEPTED)
            }
            _ => response,
        };
        self.layer.respond(at.now, key, response.build());
    }
}
