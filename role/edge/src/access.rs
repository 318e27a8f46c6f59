//! Access edge and core, two servers of ours (R2.1, RFC 5853 §2): the edge is where phones come in, the
//! core is where they are known.
//!
//! ```text
//!   phone ──► edge, `edge.core` is set ──REGISTER with Path, INVITE ..──► core, `[[peer]]` zone "phone"
//!   phone ◄── edge ◄── Route: the sealed flow of that Path (RFC 3327) ─── core
//! ```
//!
//! The edge asks nobody for a password: challenges and credentials pass it untouched, and it asserts
//! nothing. The core takes what comes from it as coming from phones: each proves itself, and limits
//! count against the address the edge says it saw.

use crate::branch::{BranchId, local_failure};
use crate::core::{EdgeCore, Present};
use crate::forward::Forward;
use crate::identity::Claims;
use crate::ports::{MediaProfile, Plan, Reach, Target};
use sansio::{FlowId, Transport};
use sip::transaction::{Arrival, ServerKey};
use sip::{Aor, Edit, HeaderName, Message, Method, SipUri};
use std::net::{IpAddr, SocketAddr};

/// A phone's flow as it stands in a Path: what seals it is [`crate::token::TokenKeys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathToken {
    /// How the phone reaches us.
    pub transport: Transport,
    /// The listener it came to, by its place among ours.
    pub listener: u8,
    /// Its connection; 0 for UDP, where the pair of addresses is the flow.
    pub flow: (u8, u64),
    /// Its address.
    pub peer: SocketAddr,
}

/// Transports by their number in a token.
const TRANSPORTS: [Transport; 5] =
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

impl PathToken {
    /// How long it is before it is sealed.
    pub(crate) const LEN: usize = 1 + 1 + 1 + 8 + 16 + 2;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let ip = match self.peer.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let transport = TRANSPORTS.iter().position(|t| *t == self.transport).unwrap_or(0);
        let mut out = [0; Self::LEN];
        out[0] = transport as u8; // below five
        out[1] = self.listener;
        out[2] = self.flow.0;
        out[3..11].copy_from_slice(&self.flow.1.to_be_bytes());
        out[11..27].copy_from_slice(&ip.octets());
        out[27..].copy_from_slice(&self.peer.port().to_be_bytes());
        out
    }

    pub(crate) fn from_bytes(b: &[u8; Self::LEN]) -> Option<Self> {
        let (mut id, mut ip) = ([0; 8], [0; 16]);
        id.copy_from_slice(&b[3..11]);
        ip.copy_from_slice(&b[11..27]);
        let ip = IpAddr::from(ip).to_canonical();
        Some(Self {
            transport: *TRANSPORTS.get(usize::from(b[0]))?,
            listener: b[1],
            flow: (b[2], u64::from_be_bytes(id)),
            peer: SocketAddr::new(ip, u16::from_be_bytes([b[27], b[28]])),
        })
    }
}

impl EdgeCore {
    /// The core a phone's request goes on to, where this is an access edge.
    #[inline]
    pub(crate) fn core_for(&self, arrival: &Arrival) -> Option<u16> {
        self.peers.core().filter(|_| self.peer_of(arrival).is_none())
    }

    /// Whether requests by this arrival are those of many phones behind an access edge of ours.
    #[inline]
    pub(crate) fn is_by_edge(&self, arrival: &Arrival) -> bool {
        self.peers.have_edges() && self.known_by(arrival).is_some_and(|n| self.peers.is_edge(n))
    }

    /// The arrival as whoever counts guesses should see it: from the address at which an access edge
    /// of ours saw the phone (its `received` in the Via below the edge's own).
    pub(crate) fn behind_edge(&self, arrival: &Arrival, request: &Message) -> Arrival {
        if !self.is_by_edge(arrival) {
            return *arrival;
        }
        let below = request.vias().nth(1).and_then(Result::ok);
        let seen = below.and_then(|via| {
            let host = || via.host().trim_matches(['[', ']']).parse().ok();
            let ip: IpAddr = via.received().or_else(host)?;
            Some(SocketAddr::new(ip, via.port_or_default()))
        });
        Arrival { peer: seen.unwrap_or(arrival.peer), ..*arrival }
    }

    /// An initial request at an access edge: from a phone to the core, or from the core to a phone.
    /// False for what neither of them concerns.
    pub(crate) fn passes_between(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: &Message,
    ) -> bool {
        let core = self.core_for(arrival).filter(|_| !asks_server(request));
        if core.is_none() && request.routes().next().is_none() {
            return false;
        }
        let is_invite = request.method() == Some(Method::INVITE);
        if self.refuses_unfit(at, key, request)
            || (is_invite && self.refuses_more(at, key, request))
        {
            return true;
        }
        match core {
            Some(core) => self.hand_to_core(at, key, (arrival, core), request.clone()),
            None => return self.by_path(at, key, arrival, request),
        }
        true
    }

    /// A phone's request goes to the core as it is; who sends it is the core's to find out.
    pub(crate) fn hand_to_core(
        &mut self,
        at: Present,
        key: ServerKey,
        (arrival, core): (&Arrival, u16),
        request: Message,
    ) {
        let Some(caller) = self.claimed(&request) else {
            self.reply(at, key, &request, (400, "Bad From: A SIP Or Tel URI Is Needed"), &[]);
            return;
        };
        let request = self.without_clear_keys(arrival.transport, request);
        let target = Target {
            uri: String::from_utf8_lossy(request.request_uri()).into_owned(),
            // Chosen when the core is located.
            reach: self.reach_by(arrival),
            binding: 0,
            path: Vec::new(),
            media: MediaProfile::Plain,
            locate: None,
            peer: Some(core),
        };
        let to = called(&request, &caller);
        let (from, plan) = ((caller.as_str(), self.peer_of(arrival)), Plan::Fork(vec![target]));
        let (plan, rule) = self.within_policy(&request, arrival.transport, (from, &to), plan);
        let request = Self::without_forbidden_keys(rule, request);
        self.begin(at, key, arrival, request, (caller, Claims::default(), to, plan));
    }

    /// A request of the core's for a phone whose flow stands in its Route. False when it has none:
    /// then it is like any other of an internal server.
    fn by_path(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: &Message,
    ) -> bool {
        let core = self.peers.core();
        if core.is_none() || self.peer_of(arrival) != core {
            return false;
        }
        let Some(reach) = self.reach_of_path(request) else { return false };
        let Some(number) = core else { return false };
        let Some((caller, claims)) = self.peer_caller(at, key, arrival, request, number) else {
            return true;
        };
        let target = Target {
            uri: String::from_utf8_lossy(request.request_uri()).into_owned(),
            reach,
            binding: 0,
            path: Vec::new(),
            media: MediaProfile::for_transport(reach.transport),
            locate: None,
            peer: None,
        };
        let to = called(request, &caller);
        let (from, plan) = ((caller.as_str(), self.peer_of(arrival)), Plan::Fork(vec![target]));
        let (plan, _) = self.within_policy(request, arrival.transport, (from, &to), plan);
        self.begin(at, key, arrival, request.clone(), (caller, claims, to, plan));
        true
    }

    /// Whether a branch goes to a phone by the Path that the core gave.
    pub(crate) fn is_by_path(&self, key: ServerKey, id: BranchId) -> bool {
        let core = self.peers.core();
        let Some(forward) =
            self.forwards.get(&key).filter(|f| core.is_some() && f.caller_peer == core)
        else {
            return false;
        };
        forward.branches.get(id).is_some_and(|branch| branch.peering.peer.is_none())
    }

    /// An edge says that the flow of its phone is gone: to the caller that is a phone that cannot be
    /// reached, as one of ours would be. True if so.
    pub(crate) fn lost_its_phone(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: &Message,
    ) -> bool {
        let Some(forward) = self.forwards.get_mut(&key) else { return false };
        let by_edge = forward.branches.get(id).is_some_and(|b| !b.target.path.is_empty());
        if response.status() != Some(430) || !by_edge {
            return false;
        }
        let failure = local_failure(&forward.request, 480);
        forward.context.handle_response(at.now, &id, failure);
        self.run_context(at, key);
        true
    }

    /// Whether a call to the core is written down: one without credentials is about to be challenged,
    /// and leaves no record, as with a server that is edge and core in one.
    pub(crate) fn is_recorded(&self, forward: &Forward, plan: &[Target]) -> bool {
        let core = self.peers.core();
        let to_core = core.is_some() && plan.iter().any(|target| target.peer == core);
        !to_core || forward.request.header(HeaderName::PROXY_AUTHORIZATION).is_some()
    }

    /// A request for the core, with the way back to the phone if it registers.
    pub(crate) fn for_core<'m>(
        &mut self,
        edit: Edit<'m>,
        request: &'m Message,
        forward: (Transport, Reach),
        own: &str,
    ) -> Edit<'m> {
        if request.method() != Some(Method::REGISTER) {
            return edit;
        }
        let (transport, back) = forward;
        let listeners = &self.place.listeners;
        let fits = |l: &crate::config::Listener| l.transport == back.transport;
        let listener = listeners
            .iter()
            .position(|l| fits(l) && l.bind == back.local)
            .or_else(|| listeners.iter().position(fits))
            .unwrap_or(0);
        let flow = back.flow.filter(|_| back.transport.is_reliable());
        let token = PathToken {
            transport: back.transport,
            listener: u8::try_from(listener).unwrap_or(0),
            flow: flow.map_or((0, 0), |f| (u8::try_from(f.shard).unwrap_or(0), f.id)),
            peer: back.peer,
        };
        let sealed = self.tokens.seal_path(token, &mut *self.entropy);
        let transport = transport.uri_token();
        edit.prepend(HeaderName::PATH, format!("<sip:{sealed}@{own};transport={transport};lr>"))
    }

    /// The flow in the topmost Route, if that is a Path of ours.
    fn reach_of_path(&self, request: &Message) -> Option<Reach> {
        let route = request.routes().next()?.ok()?;
        let token = self.tokens.open_path(route.sip_uri().ok()?.user()?)?;
        let local = self.place.listeners.get(usize::from(token.listener))?.bind;
        let (shard, id) = token.flow;
        let flow = FlowId { node: self.place.node, shard: u16::from(shard), id };
        let flow = token.transport.is_reliable().then_some(flow);
        Some(Reach { transport: token.transport, flow, local, peer: token.peer })
    }
}

/// Whether it is for the server itself.
fn asks_server(request: &Message) -> bool {
    request.method() == Some(Method::OPTIONS)
        && SipUri::parse(request.request_uri()).is_ok_and(|uri| uri.user().is_none())
}

/// Whom a request is for, as records show it.
fn called(request: &Message, caller: &Aor) -> String {
    let to = request.to().ok();
    let to = to.as_ref().and_then(|to| to.sip_uri().ok());
    to.map_or_else(|| caller.as_str().to_string(), |uri| Aor::from_uri(&uri).as_str().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_token_holds_a_flow_of_any_transport_and_family() {
        for transport in TRANSPORTS {
            for peer in ["192.0.2.7:5060", "[2001:db8::7]:40000"] {
                let peer = peer.parse().unwrap();
                let token = PathToken { transport, listener: 3, flow: (2, u64::MAX - 1), peer };
                assert_eq!(PathToken::from_bytes(&token.to_bytes()), Some(token));
            }
        }
        assert_eq!(PathToken::from_bytes(&[9; PathToken::LEN]), None);
    }
}
