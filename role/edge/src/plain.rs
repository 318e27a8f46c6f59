//! The short way of a plain REGISTER or OPTIONS: read once, decided on slices of the datagram,
//! answered into one buffer for all of a batch (docs/design/0060).
//!
//! ```text
//!   datagram ─► sip::Plain ─► handle_plain ─┬─► OPTIONS ──► 200 ─┐
//!                   │               │       └─► no credentials ─► 401 ─┤
//!                   ▼               ▼                            ▼
//!              the long way ◄─ anything unusual     Answers ─► one buffer, sealed at the end
//!                                   │                            ▲
//!                    proved ─► Taken::Bind ─► registrar ─► hold_ok ┘ leaves by release_held
//! ```
//!
//! The short way changes nothing before it is sure; what it does not take goes the long way
//! (`asker.rs`) as if it had never been here. So every refusal for want of good credentials, every
//! strike and every ban is made there and only there.

use crate::core::{EdgeCore, Outbound, OutboundTo, Present};
use crate::diagnose::ALLOW;
use crate::limits::Try;
use crate::nonce::NonceCheck;
use crate::ports::{EdgeEvent, Refusal};
use crate::zones::Verdict;
use bytes::Bytes;
use net::Datagram;
use sansio::{FlowId, Transport};
use sip::digest::{ChallengeBuilder, Credentials};
use sip::transaction::Arrival;
use sip::{HeaderName, Plain, Reply};
use std::collections::VecDeque;
use std::ops::Range;

/// What became of a plain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: hand it in by [`EdgeCore::handle_received`].
    No,
    /// It is answered.
    Answered,
    /// A REGISTER whose sender is who it says: bind it, then [`EdgeCore::hold_ok`] or
    /// [`EdgeCore::refuse_plain`].
    Bind,
}

/// Responses to plain requests, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    text: Vec<u8>,
    leaving: Vec<(FlowId, Range<usize>)>,
    held: Vec<Held>,
    /// How much the last batch took: the next will take about as much.
    usual: usize,
}

/// A 200 that may leave once the journal has its binding.
#[derive(Debug)]
struct Held {
    flow: FlowId,
    answer: Range<usize>,
    /// The lines of it that any other answer has too.
    copied: Range<usize>,
}

/// The least room made at once.
const ROOM: usize = 2048;

impl Answers {
    /// Room for one more.
    fn make_room(&mut self) {
        if self.text.capacity() == 0 {
            self.text.reserve(self.usual.max(ROOM));
        }
    }

    /// What may leave goes into the outbox; all of it shares one buffer. Waits for what is held.
    pub(crate) fn seal(&mut self, outbox: &mut VecDeque<Outbound>) {
        if self.leaving.is_empty() || !self.held.is_empty() {
            return;
        }
        // Those to one address and of one length leave together (docs/design/0061). Datagrams have
        // no order, and each of these answers another request.
        self.leaving.sort_unstable_by_key(|(flow, answer)| (flow.id, answer.len(), answer.start));
        let all = Bytes::from(std::mem::take(&mut self.text));
        self.usual = all.len() + all.len() / 8;
        outbox.extend(self.leaving.drain(..).map(|(flow, answer)| Outbound {
            to: OutboundTo::Flow(flow),
            message: all.slice(answer),
        }));
    }
}

impl EdgeCore {
    /// Takes up a plain request from a datagram.
    pub fn handle_plain(
        &mut self,
        at: Present,
        datagram: &Datagram<'_>,
        request: &Plain<'_>,
    ) -> Taken {
        let Datagram { flow, peer, .. } = *datagram;
        let arrival = Arrival { flow, transport: Transport::Udp, peer };
        let verdict = self.methods.verdict(self.zone_of(&arrival), request.method(), false);
        if verdict != Verdict::Allow || (request.is_register() && self.peers.core().is_some()) {
            return Taken::No;
        }
        let taken = match request.is_register() {
            true => self.plain_register(at, datagram, request),
            false => self.plain_options(at, datagram, request),
        };
        if taken != Taken::No {
            self.counters.requests += 1;
            self.arrived_at = datagram.local;
            self.arrived_by = Some(arrival);
        }
        taken
    }

    /// As `tell_capabilities` answers.
    fn plain_options(
        &mut self,
        at: Present,
        datagram: &Datagram<'_>,
        request: &Plain<'_>,
    ) -> Taken {
        if !self.directory.is_local(request.target()) {
            return Taken::No;
        }
        let tag = self.plain_tag(request);
        let start = self.answers.begin();
        let text = &mut self.answers.text;
        let mut reply = request.reply(text, (200, "OK"), &tag, datagram.peer);
        reply.header(HeaderName::ALLOW, ALLOW);
        reply.header(HeaderName::ACCEPT, "application/sdp");
        reply.header(HeaderName::DATE, self.date.at(at.wall));
        reply.end();
        self.answers.leave(datagram.flow, start);
        Taken::Answered
    }

    fn plain_register(
        &mut self,
        at: Present,
        datagram: &Datagram<'_>,
        request: &Plain<'_>,
    ) -> Taken {
        let (user, host) = request.to();
        if request.from_aor() != request.aor() {
            return Taken::No;
        }
        // One of our addresses stands for a tenant: that is worked out on the long way.
        let realm = self.directory.realm(host);
        if realm.is_none_or(|realm| *realm != *host) {
            return Taken::No;
        }
        match request.credentials() {
            None => self.plain_challenge(at, datagram, request),
            Some(given) => match self.plain_proof(at, datagram, request, (user, host, given)) {
                true => Taken::Bind,
                false => Taken::No,
            },
        }
    }

    /// As `challenge` answers somebody who is no stranger.
    fn plain_challenge(
        &mut self,
        at: Present,
        datagram: &Datagram<'_>,
        request: &Plain<'_>,
    ) -> Taken {
        let ((user, realm), ip) = (request.to(), datagram.peer.ip());
        let account = self.auth.attempts.account(realm, user);
        let agent = request.user_agent();
        let learned = self.learned(at, (account, ip), agent.as_bytes());
        if learned.is_none() && self.auth.attempts.is_stranger(at.wall, account, ip) {
            return Taken::No;
        }
        let nonce = self.auth.nonces.issue_text(at.wall, &mut *self.entropy);
        let mut opaque = [0; 12];
        self.entropy.token_into(&mut opaque);
        let texts = (std::str::from_utf8(&nonce), std::str::from_utf8(&opaque));
        let (Ok(nonce), Ok(opaque)) = texts else { return Taken::No };
        let tag = self.plain_tag(request);
        let start = self.answers.begin();
        let text = &mut self.answers.text;
        let mut reply = request.reply(text, (401, "Unauthorized"), &tag, datagram.peer);
        let mut challenge = |algorithm| {
            let opaque = Some(opaque);
            let challenge = ChallengeBuilder { realm, nonce, opaque, algorithm, stale: false };
            reply.challenge(HeaderName::WWW_AUTHENTICATE, &challenge);
        };
        match learned {
            Some(algorithm) => challenge(algorithm),
            None => self.auth.offer(agent).into_iter().for_each(challenge),
        }
        reply.end();
        self.answers.leave(datagram.flow, start);
        Taken::Answered
    }

    /// Whether credentials prove the user at once: from a source known for it, which has nothing to
    /// wait for, with a nonce that may be spent. Anything else is for the long way to judge.
    fn plain_proof(
        &mut self,
        at: Present,
        datagram: &Datagram<'_>,
        request: &Plain<'_>,
        (user, realm, given): (&str, &str, &Credentials<'_>),
    ) -> bool {
        let names = *given.username() == *user.as_bytes() && *given.realm() == *realm.as_bytes();
        let algorithm = given.algorithm().filter(|a| self.auth.algorithms.contains(a));
        let Some(algorithm) = algorithm.filter(|_| names) else { return false };
        let account = self.auth.attempts.account(realm, user);
        let ip = datagram.peer.ip();
        let Some(permit) = self.auth.attempts.permit_known(at.wall, account, ip) else {
            return false;
        };
        let (call_id, branch) = (request.call_id().as_bytes(), request.branch().as_bytes());
        let texts = [call_id, branch, given.response()];
        let print = self.fingerprint_of(datagram.flow, request.cseq(), texts);
        let shown = (given.nc().unwrap_or(1), print);
        let NonceCheck::Good(nonce) = self.auth.nonces.check(given.nonce(), shown, at.wall) else {
            return false;
        };
        let mut ha1 = [0; 64];
        let len = self.directory.ha1_into((realm, user), algorithm, &mut ha1);
        let Some(len) = len else { return false };
        if !sip::digest::verify_with(given, b"REGISTER", &ha1[..len], &mut self.auth.ha2) {
            return false;
        }
        let instance = request.contact().and_then(|contact| contact.instance);
        let device = instance.map_or(call_id, str::as_bytes);
        let what = Try { account, source: datagram.peer, device: &|| Some(device) };
        let took = (request.user_agent().as_bytes(), algorithm);
        if self.auth.attempts.right(at.wall, &what, &permit, took) {
            self.emit(EdgeEvent::Authenticated { peer: datagram.peer });
        }
        self.auth.nonces.spend(nonce, at.wall);
        true
    }

    /// Writes the 200 of a REGISTER, to be held until [`Self::release_held`]. `contacts` are its
    /// whole Contact lines. Its number is what [`Self::held_answers`] said before.
    pub fn hold_ok(
        &mut self,
        at: Present,
        datagram: &Datagram<'_>,
        request: &Plain<'_>,
        contacts: &str,
    ) {
        const OK: &str = "OK";
        let tag = self.plain_tag(request);
        let start = self.answers.begin();
        let text = &mut self.answers.text;
        let mut reply = request.reply(text, (200, OK), &tag, datagram.peer);
        let copied = start + "SIP/2.0 200 \r\n".len() + OK.len()..reply.len();
        reply.lines(contacts.as_bytes());
        reply.header(HeaderName::DATE, self.date.at(at.wall));
        let answer = start..reply.end().len();
        self.answers.held.push(Held { flow: datagram.flow, answer, copied });
    }

    /// How many answers are held: the number of the next.
    pub fn held_answers(&self) -> usize {
        self.answers.held.len()
    }

    /// The binding of a held answer could not be written: it becomes a refusal.
    pub fn refuse_held(&mut self, number: usize, refusal: &Refusal) {
        let Answers { text, held, .. } = &mut self.answers;
        let Some(held) = held.get_mut(number) else { return };
        let start = text.len();
        let line = (refusal.status, refusal.reason.as_str());
        let reply = Reply::again(text, line, held.copied.clone());
        held.answer = start..with_headers(reply, refusal);
    }

    /// What was held may leave.
    pub fn release_held(&mut self) {
        let Answers { leaving, held, .. } = &mut self.answers;
        leaving.extend(held.drain(..).map(|held| (held.flow, held.answer)));
    }

    /// Refuses a plain request.
    pub fn refuse_plain(
        &mut self,
        datagram: &Datagram<'_>,
        request: &Plain<'_>,
        refusal: &Refusal,
    ) {
        let tag = self.plain_tag(request);
        let start = self.answers.begin();
        let line = (refusal.status, refusal.reason.as_str());
        let reply = request.reply(&mut self.answers.text, line, &tag, datagram.peer);
        with_headers(reply, refusal);
        self.answers.leave(datagram.flow, start);
    }

    fn plain_tag(&self, request: &Plain<'_>) -> [u8; 13] {
        self.stateless_tag_of(request.call_id().as_bytes(), request.from_tag().as_bytes())
    }
}

impl Answers {
    /// Where the next answer begins.
    fn begin(&mut self) -> usize {
        self.make_room();
        self.text.len()
    }

    /// What was written from `start` on goes by a flow.
    fn leave(&mut self, flow: FlowId, start: usize) {
        self.leaving.push((flow, start..self.text.len()));
    }
}

/// Ends a refusal with its headers; where it ends.
fn with_headers(mut reply: Reply<'_>, refusal: &Refusal) -> usize {
    for (name, value) in &refusal.headers {
        reply.header(*name, value);
    }
    reply.end().len()
}
