//! Calls from peers and to peers: who calls, what is sent, what their answers lead to.
//!
//! ```text
//!   in:   peer_caller ── profile: who calls ── not one of ours
//!   out:  begin ─► first peer ─► its answer ─► response policy ─┬─ fail over: the next peer
//!         plan's peers in order                                 ├─ challenged: once more, with a password
//!                                                               └─ everything else: to the caller
//! ```

use crate::branch::{BranchId, local_failure};
use crate::core::{EdgeCore, Failure, Present};
use crate::forward::{Branch, Forward, Outcome};
use crate::hygiene::bare;
use crate::identity::{Claims, Spoof, plain_number};
use crate::peer::Peer;
use crate::ports::{CallFacts, Reach, Target};
use crate::profile::{EarlyMedia, Speech, codec_order};
use crate::zones::Zone;
use bytes::Bytes;
use sip::digest::{self, Challenge};
use sip::locate::Ask;
use sip::response_policy::Action;
use sip::transaction::{Arrival, ServerKey};
use sip::{Aor, Edit, HeaderName, Message, NameAddr};

/// How long a peer that failed is asked last.
const REST: std::time::Duration = std::time::Duration::from_secs(30);

/// What a branch to a peer needs beside its target.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peering {
    /// The peer; `None` for a phone or service.
    pub peer: Option<u16>,
    /// The answer to its challenge: header and value.
    pub credentials: Option<(HeaderName<'static>, String)>,
    /// How much higher its CSeq is than the caller's: a challenged request counts twice.
    pub cseq_ahead: u32,
}

impl EdgeCore {
    /// How far the sender of a message is trusted.
    #[inline]
    pub(crate) fn zone_of(&self, arrival: &Arrival) -> Zone {
        self.peer_of(arrival).and_then(|n| self.peers.get(n)).map_or(Zone::Phone, |p| p.zone)
    }

    /// The peer a message comes from. What an access edge of ours brings comes from phones.
    #[inline]
    pub(crate) fn peer_of(&self, arrival: &Arrival) -> Option<u16> {
        let number = self.known_by(arrival)?;
        (!self.peers.have_edges() || !self.peers.is_edge(number)).then_some(number)
    }

    /// The `[[peer]]` of a message's sender, access edges too.
    #[inline]
    pub(crate) fn known_by(&self, arrival: &Arrival) -> Option<u16> {
        if self.peers.is_empty() {
            return None;
        }
        if self.peers.have_certificates() {
            return self.peer_by_proof(arrival);
        }
        self.peers.by_source(arrival.peer.ip())
    }

    /// Who calls from a peer, by its own word; `None` after a refusal. It speaks for its own
    /// callers, never for a user of ours.
    pub(crate) fn peer_caller(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: &Message,
        number: u16,
    ) -> Option<(Aor, Claims)> {
        let peer = self.peers.get(number)?.clone();
        let Some((user, host)) = Speech::caller_of(&peer.profile, request) else {
            self.reply(at, key, request, (400, "Bad From"), &[]);
            return None;
        };
        let host = if host.is_empty() { peer.domain.clone() } else { host };
        let realm = self.directory.realm(&host);
        let ours = realm.is_some_and(|realm| self.directory.has_user(&realm, &user));
        if ours && peer.zone == Zone::Peer {
            let claimed = request.header(HeaderName::FROM).unwrap_or_default().to_vec();
            let spoof = Spoof { header: "From", claimed, unreadable: false };
            self.tell_spoof(arrival, request, &format!("peer:{}", peer.name), &spoof);
            self.reply(at, key, request, (403, "Not Your From"), &[]);
            return None;
        }
        let mut claims = Claims::default();
        for value in request.headers(HeaderName::PRIVACY) {
            claims.read_privacy(value);
        }
        claims.number = plain_number(&user).filter(|n| n.starts_with('+'));
        Some((Aor::new(&user, &host), claims))
    }

    /// The facts of a call from a peer or not.
    pub(crate) fn facts_of<'a>(
        &'a self,
        peer: Option<u16>,
        (caller, user, domain, method): (&'a str, &'a str, &'a str, &'a str),
    ) -> CallFacts<'a> {
        let peer = peer.and_then(|n| self.peers.get(n));
        CallFacts { caller, user, domain, method, from_peer: peer.map(|p| p.name.as_str()) }
    }

    /// The plan's targets that are tried first; the peers that wait for their failure go into
    /// `spare`. Peers that failed a moment ago wait longest.
    pub(crate) fn first_of(
        &self,
        at: Present,
        mut targets: Vec<Target>,
    ) -> (Vec<Target>, Vec<Target>) {
        if targets.iter().all(|t| t.peer.is_none()) {
            return (targets, Vec::new());
        }
        let rests = |t: &Target| {
            let until = t.peer.and_then(|n| self.resting.get(&n)).copied();
            until.is_some_and(|until| until > at.now)
        };
        targets.sort_by_key(rests);
        let spare = targets.split_off(1.min(targets.len()));
        (targets, spare)
    }

    /// Where each peer among these is, and what media it gets.
    pub(crate) fn complete_peers(&self, targets: &mut Vec<Target>) {
        // The router may know of a reload a moment before this shard does.
        targets.retain(|target| target.peer.is_none_or(|n| self.peers.get(n).is_some()));
        for target in targets {
            if let Some(peer) = target.peer.and_then(|n| self.peers.get(n)) {
                target.locate = Some(Box::new(peer.ask.clone()));
                target.media = peer.media;
            }
        }
    }

    /// What a route token says of the other side: a peer's id, or a binding.
    pub(crate) fn token_peer(&self, peer: Option<u16>, binding: u64) -> u64 {
        peer.and_then(|n| self.peers.get(n)).map_or(binding, |peer| peer.id)
    }

    /// The way to a peer of which nothing but its id is remembered.
    pub(crate) fn reach_of_peer(&self, id: u64) -> Option<Reach> {
        let peer = self.peers.by_id(id).and_then(|n| self.peers.get(n))?;
        self.dialler.open(&peer.ask.literal()?)
    }

    /// The way to a peer by what a request of a dialog names, where that is an address the peer
    /// sends from: it may call from another place than it is called at. Never from encrypted to
    /// clear. The first `ours` of its Routes are ours.
    pub(crate) fn reach_named(&self, id: u64, request: &Message, ours: usize) -> Option<Reach> {
        let number = self.peers.by_id(id)?;
        let route = request.values(HeaderName::ROUTE).nth(ours);
        let route = route.and_then(|route| NameAddr::parse(route).ok());
        let uri = route.as_ref().map_or(request.request_uri(), NameAddr::uri);
        let hop = Ask::of_uri(uri).ok()?.literal()?;
        let is_theirs = self.peers.by_source(hop.addr().ip()) == Some(number);
        let ask = &self.peers.get(number)?.ask;
        let stays = hop.transport.is_secure() || !ask.fallback_transport().is_secure();
        if !is_theirs || !stays {
            return None;
        }
        self.dialler.open(&hop)
    }

    /// A response of a peer without what its profile does not let pass: media before the answer.
    pub(crate) fn as_peer_may(&self, key: ServerKey, id: BranchId, response: Message) -> Message {
        let forward = self.forwards.get(&key);
        let branch = forward.and_then(|f| f.branches.get(id));
        let peer = branch.and_then(|b| b.peering.peer).and_then(|n| self.peers.get(n));
        let strips = peer.is_some_and(|p| p.profile.early_media == EarlyMedia::Strip);
        let early = response.status().is_some_and(|s| (101..200).contains(&s));
        if strips && early && crate::call::has_sdp(&response) {
            return bare(&response);
        }
        response
    }

    /// A branch's offer as its target gets it: a peer's codecs in its order, and where the caller is
    /// hidden, nothing but media.
    pub(crate) fn described_for(&self, branch: &Branch, hides: bool, sdp: Bytes) -> Bytes {
        let peer = branch.peering.peer.and_then(|n| self.peers.get(n));
        let codecs = peer.map_or(&[][..], |p| &p.profile.codecs[..]);
        let ordered = if codecs.is_empty() { None } else { codec_order(&sdp, codecs) };
        let sdp = ordered.map_or(sdp, Bytes::from);
        if hides { crate::hiding::plain_description(&sdp).into() } else { sdp }
    }

    /// What goes into a request for a peer beside what every branch gets.
    pub(crate) fn speak<'m>(
        &self,
        edit: Edit<'m>,
        request: &'m Message,
        (forward, peering): (&Forward, &Peering),
        own: &str,
    ) -> Edit<'m> {
        let Some(peer) = peering.peer.and_then(|n| self.peers.get(n)) else { return edit };
        let speech = speech(peer, forward, own);
        let mut edit = speech.outbound(edit, request);
        if let Some((name, value)) = &peering.credentials {
            edit = edit.remove_all(*name).append(*name, value);
        }
        if peering.cseq_ahead > 0
            && let Ok(cseq) = request.cseq()
        {
            let number = cseq.number.saturating_add(peering.cseq_ahead);
            edit = edit.set(HeaderName::CSEQ, format!("{number} {}", cseq.method.as_str()));
        }
        edit
    }

    /// The Request-URI of a branch: as a peer's profile writes it.
    pub(crate) fn branch_uri(&self, forward: &Forward, branch: &Branch, own: &str) -> String {
        // Credentials were made for the Request-URI as it is.
        let other = branch.peering.peer.filter(|_| branch.peering.peer != self.peers.core());
        let Some(peer) = other.and_then(|n| self.peers.get(n)) else {
            return branch.target.uri.clone();
        };
        let parsed = sip::SipUri::parse(branch.target.uri.as_bytes()).ok();
        let parts = parsed.and_then(|uri| Some((uri.user()?, uri.host())));
        match parts {
            Some((user, host)) => {
                let user = String::from_utf8_lossy(user);
                speech(peer, forward, own).target(&user, host)
            }
            None => branch.target.uri.clone(),
        }
    }

    /// A final response of a peer that is not the last word. True if the call goes on elsewhere, or
    /// once more: the response has been dealt with.
    pub(crate) fn peer_goes_on(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: &Message,
    ) -> bool {
        let Some(status) = response.status().filter(|s| *s >= 300) else { return false };
        let Some(forward) = self.forwards.get(&key) else { return false };
        let Some(branch) = forward.branches.get(id) else { return false };
        let Some(number) = branch.peering.peer else { return false };
        let Some(peer) = self.peers.get(number) else { return false };
        let decision = peer.policy.decide(response);
        let name = peer.name.clone();
        tracing::info!(peer = name, status, action = decision.action.as_str(), "peer answered");
        match decision.action {
            Action::Retry if matches!(status, 401 | 407) => {
                self.answer_peer_challenge(at, key, id, response)
            }
            Action::FailOver => {
                self.resting.insert(number, at.now + REST);
                let failure = response.clone();
                self.try_next_peer(at, key, id, |edge| edge.feed_context(at, key, id, failure))
            }
            _ => false,
        }
    }

    /// A branch to a peer that got no final response at all.
    pub(crate) fn peer_is_silent(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        why: Failure,
    ) -> bool {
        let forward = self.forwards.get(&key);
        let branch = forward.and_then(|f| f.branches.get(id));
        let Some(number) = branch.and_then(|b| b.peering.peer) else { return false };
        self.resting.insert(number, at.now + REST);
        let status = if why == Failure::TimedOut { 408 } else { 503 };
        let policy = self.peers.get(number).map(|p| p.policy.action(status));
        if policy != Some(Action::FailOver) {
            return false;
        }
        self.try_next_peer(at, key, id, |edge| {
            if let Some(forward) = edge.forwards.get_mut(&key) {
                match why {
                    Failure::TimedOut => forward.context.handle_timed_out(&id),
                    Failure::FlowFailed => forward.context.handle_flow_failed(&id),
                }
            }
            edge.run_context(at, key);
        })
    }

    /// Hands the call to the next peer of the plan. The new branch is promised before the old one's
    /// end is told (`then`), or the caller would hear of it.
    fn try_next_peer<T>(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        then: impl FnOnce(&mut Self) -> T,
    ) -> bool {
        let Some(forward) = self.forwards.get_mut(&key) else { return false };
        // Another server of the same peer has it already (RFC 3263 §4.3): its word is waited for.
        let peer = forward.branches.get(id).and_then(|b| b.peering.peer);
        let goes_on = forward.branches.after(id).iter().any(|b| b.peering.peer == peer);
        let decided = forward.cancelled || forward.outcome != Outcome::Open;
        if goes_on || decided || forward.spare.is_empty() {
            return false;
        }
        let next = forward.spare.remove(0);
        let Some(second) = self.promise_branch(at, key, next) else { return false };
        tracing::info!(from = id.0, to = second.0, "call goes to the next peer");
        then(self);
        self.offer_branch(at, key, second);
        true
    }

    /// A peer wants a password, and we have one: the same request once more (RFC 3261 §22.2).
    fn answer_peer_challenge(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: &Message,
    ) -> bool {
        let cnonce = self.entropy.token(16);
        let Some(forward) = self.forwards.get(&key) else { return false };
        let Some(branch) = forward.branches.get(id) else { return false };
        let peer = branch.peering.peer.and_then(|n| self.peers.get(n));
        let Some((user, password)) = peer.and_then(|p| p.credentials.clone()) else { return false };
        // Once: a second challenge means that the password is wrong.
        if branch.peering.credentials.is_some() {
            tracing::warn!("a peer does not take its username and password");
            return false;
        }
        let sent = branch.words.uri.clone();
        let method = forward.request.method().map(|m| m.as_str().to_string());
        let Some(value) =
            credentials(response, &sent, (&user, password.reveal()), &method, &cnonce)
        else {
            return false;
        };
        let ahead = branch.peering.cseq_ahead + 1;
        let target = branch.target.clone();
        let Some(second) = self.promise_branch(at, key, target) else { return false };
        if let Some(branch) = self.branch_mut(key, second) {
            branch.peering.credentials = Some(value);
            branch.peering.cseq_ahead = ahead;
        }
        // What the caller may hear in the end is not that challenge.
        if let Some(forward) = self.forwards.get_mut(&key) {
            let failure = local_failure(&forward.request, 503);
            forward.context.handle_response(at.now, &id, failure);
        }
        self.run_context(at, key);
        self.offer_branch(at, key, second);
        true
    }
}

/// The header that answers a challenge.
fn credentials(
    response: &Message,
    uri: &str,
    (user, password): (&str, &str),
    method: &Option<String>,
    cnonce: &str,
) -> Option<(HeaderName<'static>, String)> {
    let (from, to) = match response.status() {
        Some(401) => (HeaderName::WWW_AUTHENTICATE, HeaderName::AUTHORIZATION),
        _ => (HeaderName::PROXY_AUTHENTICATE, HeaderName::PROXY_AUTHORIZATION),
    };
    let offered = response.headers(from).flat_map(digest::challenges);
    let chosen = Challenge::choose(offered)?;
    let realm = chosen.realm().into_owned();
    let ha1 = digest::ha1(chosen.algorithm()?, user.as_bytes(), &realm, password.as_bytes());
    let answer = digest::Answer {
        username: user,
        ha1: &ha1,
        method: method.as_deref()?.as_bytes(),
        uri: uri.as_bytes(),
        cnonce,
        nc: 1,
    };
    Some((to, digest::answer(&chosen, &answer)?))
}

fn speech<'a>(peer: &'a Peer, forward: &'a Forward, own: &'a str) -> Speech<'a> {
    Speech {
        profile: &peer.profile,
        peer_host: &peer.domain,
        own_host: own,
        caller: &forward.caller,
        number: forward.claims.number.as_deref(),
        private: forward.claims.private,
        trusted: peer.keeps_privacy,
    }
}
