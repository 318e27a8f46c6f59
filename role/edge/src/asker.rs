//! Whom an answer of ours goes to, and the answers that need no transaction.
//!
//! REGISTER and OPTIONS to this server are answered without one (RFC 3261 §8.2.7): what comes
//! again is worked out again and answered alike. Nothing is then kept for 32 seconds (Timer J) for
//! each of the requests a server sees most. What makes that safe: the To tag is a hash of the
//! request, a registration by the same Call-ID and CSeq changes nothing, and a nonce count may be
//! shown again by the very request that spent it (`nonce.rs`).

use crate::core::{EdgeCore, Inbound, Present};
use crate::diagnose::wants_echo;
use crate::zones::Verdict;
use sansio::FlowId;
use sip::transaction::{Arrival, ServerKey};
use sip::{HeaderName, Message, Method, Reply, SipUri, response_to};
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;

/// Whom a response of ours goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asker {
    /// A request whose transaction the layer keeps.
    Transaction(ServerKey),
    /// One of which nothing is kept; its Via does not yet say where it came from.
    Stateless {
        /// The flow to answer by.
        flow: FlowId,
        /// Where it came from.
        source: SocketAddr,
    },
}

impl From<ServerKey> for Asker {
    fn from(key: ServerKey) -> Self {
        Self::Transaction(key)
    }
}

impl EdgeCore {
    /// Answers what needs no transaction; false when the request is of another kind.
    pub(crate) fn handle_stateless(
        &mut self,
        at: Present,
        inbound: &Inbound,
        request: &Message,
    ) -> bool {
        let is_register = request.method() == Some(Method::REGISTER);
        if (!is_register && !self.asks_for_us(request)) || crate::overload::wants_feedback(request)
        {
            return false;
        }
        let arrival = crate::forward::arrival(inbound);
        // The core answers it.
        if is_register && self.core_for(&arrival).is_some() {
            return false;
        }
        // What policy does not simply allow goes the long way.
        let method = request.method().unwrap_or(Method::OPTIONS);
        let verdict = self.methods.verdict(self.zone_of(&arrival), method, false);
        if verdict != Verdict::Allow {
            return false;
        }
        self.note_offer(&arrival, request);
        self.counters.requests += 1;
        self.arrived_at = inbound.local;
        self.arrived_by = Some(arrival);
        let asker = Asker::Stateless { flow: inbound.flow, source: inbound.peer };
        if !self.refuse_unusable(at, asker, request) && !self.refuses_unfit(at, asker, request) {
            match is_register {
                true => self.handle_register(at, asker, &arrival, request.clone()),
                false => self.tell_capabilities(at, asker, request),
            }
        }
        true
    }

    /// Answers a request ourselves.
    pub(crate) fn reply(
        &mut self,
        at: Present,
        asker: impl Into<Asker>,
        request: &Message,
        (status, reason): (u16, &str),
        headers: &[(&str, String)],
    ) {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from(*name), value.as_str()));
        self.reply_with(at, asker.into(), request, (status, reason), headers);
    }

    /// Answers with the status' own phrase.
    pub(crate) fn reply_status(
        &mut self,
        at: Present,
        asker: impl Into<Asker>,
        request: &Message,
        status: u16,
    ) {
        self.reply(at, asker, request, (status, sip::reason_phrase(status)), &[]);
    }

    /// As [`Self::reply`], without collecting the headers first.
    pub(crate) fn reply_with<'h>(
        &mut self,
        at: Present,
        asker: Asker,
        request: &Message,
        line: (u16, &str),
        headers: impl Iterator<Item = (HeaderName<'h>, &'h str)>,
    ) {
        match asker {
            Asker::Transaction(key) => {
                let mut builder = response_to(request, line.0, line.1);
                // A 100 makes no dialog: the tag is for the final response.
                if line.0 > 100 {
                    builder = builder.to_tag(&self.entropy.token(10));
                }
                for (name, value) in headers {
                    builder = builder.header(name, value);
                }
                self.layer.respond(at.now, &key, builder.build());
            }
            Asker::Stateless { flow, source } => {
                let tag = self.stateless_tag(request);
                let mut reply = Reply::begin(&mut self.scratch, request, line, &tag, Some(source));
                for (name, value) in headers {
                    reply.header(name, value);
                }
                let message = reply.finish();
                self.transmit(flow, message);
            }
        }
    }

    /// Whether this is an OPTIONS for the server itself, outside of any dialog.
    fn asks_for_us(&self, request: &Message) -> bool {
        request.method() == Some(Method::OPTIONS)
            && request.to_tag().is_none()
            && !wants_echo(request)
            && SipUri::parse(request.request_uri())
                .is_ok_and(|uri| uri.user().is_none() && self.is_ours(&uri))
    }

    /// A To tag that is the same whenever the request comes again (RFC 3261 §8.2.7), and that
    /// nobody can foretell.
    fn stateless_tag(&self, request: &Message) -> [u8; 13] {
        let (call_id, from_tag) = (request.call_id(), request.from_tag());
        self.stateless_tag_of(call_id.unwrap_or_default(), from_tag.unwrap_or_default())
    }

    pub(crate) fn stateless_tag_of(&self, call_id: &[u8], from_tag: &[u8]) -> [u8; 13] {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.loop_salt);
        hasher.write(call_id);
        hasher.write(from_tag);
        let hash = hasher.finish();
        std::array::from_fn(|i| ALPHABET[(hash >> (5 * i) & 31) as usize])
    }

    /// What tells a request that comes again from one that only shows the same credentials: the
    /// flow, the branch, the call and the digest's response. Salted: who replays a captured request
    /// chooses the branch, and must not be able to look for one that fits.
    pub(crate) fn fingerprint(&self, arrival: &Arrival, request: &Message, response: &[u8]) -> u32 {
        let cseq = request.cseq().map_or(0, |c| c.number);
        let branch = request.top_via().ok().and_then(|via| via.branch()).unwrap_or_default();
        let call_id = request.call_id().unwrap_or_default();
        self.fingerprint_of(arrival.flow, cseq, [call_id, branch, response])
    }

    /// The same of Call-ID, branch and response.
    pub(crate) fn fingerprint_of(&self, flow: FlowId, cseq: u32, texts: [&[u8]; 3]) -> u32 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.loop_salt);
        hasher.write_u64(flow.id);
        hasher.write_u32(u32::from(flow.shard) << 16 | u32::from(flow.node));
        hasher.write_u32(cseq);
        texts.into_iter().for_each(|text| hasher.write(text));
        hasher.finish() as u32
    }
}
