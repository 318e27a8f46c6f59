//! What phones ask to learn what lies between them and us: the time of day here, and their own
//! request as it arrived, to find a router that rewrites SIP (docs/reference/diagnostics.md).

use crate::asker::Asker;
use crate::authenticate::Face;
use crate::core::{EdgeCore, Present};
use sansio::WallTime;
use sip::transaction::{Arrival, ServerKey};
use sip::{Aor, HeaderName, Message, Method, SipDate, response_to};
use std::fmt::Write;

/// What we answer for ourselves.
pub(crate) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, MESSAGE";
/// A message as a body (RFC 3261 §27.5).
const MESSAGE_SIP: &[u8] = b"message/sip";
/// The largest request that is played back: its answer must fit into a datagram.
const ECHO_MAX: usize = 60_000;

/// The value of our Date header, made anew once a second.
#[derive(Debug, Default)]
pub(crate) struct DateLine {
    second: u64,
    text: String,
}

impl DateLine {
    /// The value now.
    pub(crate) fn at(&mut self, wall: WallTime) -> &str {
        let second = wall.as_secs();
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            // Writing into a String does not fail.
            let _ = write!(self.text, "{}", SipDate(second));
        }
        &self.text
    }

    /// The same, as it is now.
    pub(crate) fn now(mut self, wall: WallTime) -> Self {
        self.at(wall);
        self
    }

    /// The value last made.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether a request wants itself back: OPTIONS that accepts nothing better than `message/sip`.
pub(crate) fn wants_echo(message: &Message) -> bool {
    message.method() == Some(Method::OPTIONS)
        && message.values(HeaderName::ACCEPT).next().is_some_and(|accept| {
            accept.get(..MESSAGE_SIP.len()).is_some_and(|a| a.eq_ignore_ascii_case(MESSAGE_SIP))
        })
}

impl EdgeCore {
    /// OPTIONS to the server itself (RFC 3261 §11.2).
    pub(crate) fn answer_options(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: &Message,
    ) {
        match wants_echo(request) {
            true => self.answer_echo(at, key, arrival, request),
            false => self.tell_capabilities(at, key.into(), request),
        }
    }

    /// What we can do.
    pub(crate) fn tell_capabilities(&mut self, at: Present, asker: Asker, request: &Message) {
        let date = std::mem::take(&mut self.date).now(at.wall);
        let can = [(HeaderName::ALLOW, ALLOW), (HeaderName::ACCEPT, "application/sdp")];
        let headers = can.into_iter().chain([(HeaderName::DATE, date.as_str())]);
        self.reply_with(at, asker, request, (200, "OK"), headers);
        self.date = date;
    }

    /// The answer is larger than the question, so it goes to users alone: a forged source gets a
    /// challenge.
    fn answer_echo(&mut self, at: Present, key: ServerKey, arrival: &Arrival, request: &Message) {
        let Some(raw) = self.raw.take() else { return };
        let from = request.from_().ok().and_then(|f| f.sip_uri().ok()).map(|u| Aor::from_uri(&u));
        let Some(from) = from else {
            self.reply(at, key, request, (400, "Bad From: A SIP URI Is Needed"), &[]);
            return;
        };
        let claimed = match self.directory.realm(from.host()) {
            Some(realm) => Aor::new(from.user(), &realm),
            None => from,
        };
        let claim = (&claimed, Face::Proxy);
        if self.authenticate(at, key, arrival, request, claim).is_none() {
            return;
        }
        if raw.len() > ECHO_MAX {
            self.reply_status(at, key, request, 513);
            return;
        }
        let tag = self.entropy.token(10);
        let ok = response_to(request, 200, "OK").to_tag(&tag).header(HeaderName::ALLOW, ALLOW);
        let ok = ok.header(HeaderName::DATE, self.date.at(at.wall));
        self.layer.respond(at.now, &key, ok.body("message/sip", raw).build());
    }
}
