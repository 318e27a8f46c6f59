//! What the edge asks of others, in its own words. `app/whimbrel/wiring.rs` answers.
//!
//! Two kinds of port. **Snapshots** ([`Directory`], [`Locations`], [`Router`]) are read in memory,
//! at once. **Questions** ([`Question`]) may take time (a journal write, a relay on another node):
//! they leave by [`crate::EdgeCore::poll_ask`] and come back as [`Answer`]s by
//! [`crate::EdgeCore::handle_answer`], so that a crash or a lost answer can be replayed.

use crate::end_reason::EndedBy;
use bytes::Bytes;
use sansio::{FlowId, Redacted, Transport, WallTime};
use sip::locate::{Ask, NextHop};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Names an open question of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Accounts and domains, as a snapshot.
pub trait Directory: Send {
    /// Whether `domain` is served here (a tenant's domain, or an address of ours).
    fn is_local(&self, domain: &str) -> bool;

    /// The realm (a tenant's domain) a request for `domain` is authenticated in.
    fn realm(&self, domain: &str) -> Option<Arc<str>>;

    /// The HA1 of `user` in `realm` for `algorithm`, in lower-case hex. None for an unknown user.
    fn ha1(
        &self,
        realm: &str,
        user: &str,
        algorithm: sip::digest::Algorithm,
    ) -> Option<Redacted<String>>;

    /// The same into a buffer: how many bytes of it.
    fn ha1_into(
        &self,
        (realm, user): (&str, &str),
        algorithm: sip::digest::Algorithm,
        out: &mut [u8; 64],
    ) -> Option<usize> {
        let ha1 = self.ha1(realm, user, algorithm)?;
        let ha1 = ha1.reveal().as_bytes();
        out.get_mut(..ha1.len())?.copy_from_slice(ha1);
        Some(ha1.len())
    }

    /// Whether `realm` has this user.
    fn has_user(&self, realm: &str, user: &str) -> bool {
        self.ha1(realm, user, sip::digest::Algorithm::Md5).is_some()
    }

    /// User and realm of whoever was granted a telephone number: digits, a global one behind `+`.
    fn number_owner(&self, number: &str) -> Option<(String, String)> {
        let _ = number;
        None
    }

    /// The address of record a bearer token was issued to (RFC 8898), while it is valid.
    fn bearer(&self, token: &str, wall: WallTime) -> Option<String>;
}

/// Where devices are, as a snapshot.
pub trait Locations: Send {
    /// How to reach the device of a binding now.
    fn reach(&self, binding: u64, wall: WallTime) -> Option<Reach>;

    /// The binding of `aor` that lives on this flow, if there is one.
    fn binding_on(&self, aor: &str, flow: FlowId, source: SocketAddr) -> Option<u64>;

    /// Whether a device of `aor` is registered from this address. Asked only of sources that did
    /// not authenticate since the server started.
    fn is_registered_from(&self, aor: &str, source: IpAddr, wall: WallTime) -> bool {
        let _ = (aor, source, wall);
        false
    }
}

/// The way to a device: its flow, and for UDP the pair of addresses behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The transport of the flow.
    pub transport: Transport,
    /// The live flow, if one is known since the server started.
    pub flow: Option<FlowId>,
    /// Our address the device registered at.
    pub local: SocketAddr,
    /// The device's address as we see it.
    pub peer: SocketAddr,
}

/// Where a call goes, as a pure decision.
pub trait Router: Send {
    /// The plan for one request.
    fn plan(&self, facts: &CallFacts<'_>, wall: WallTime) -> Plan;
}

/// What routing may know of a request.
#[derive(Debug, Clone)]
pub struct CallFacts<'a> {
    /// The authenticated caller's address of record.
    pub caller: &'a str,
    /// The user part of the Request-URI, unescaped.
    pub user: &'a str,
    /// The host of the Request-URI.
    pub domain: &'a str,
    /// The request's method.
    pub method: &'a str,
    /// The name of the peer it came from.
    pub from_peer: Option<&'a str>,
}

/// Where a request goes and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Fork to these targets, all at once; of peers, one after the other.
    Fork(Vec<Target>),
    /// Answer this instead.
    Refuse {
        /// The SIP status.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
}

/// One branch of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The Request-URI to send (the device's Contact).
    pub uri: String,
    /// How to get there.
    pub reach: Reach,
    /// The binding, 0 for a service of ours.
    pub binding: u64,
    /// Route headers to add (RFC 3327 Path), outermost first.
    pub path: Vec<String>,
    /// The media this device takes.
    pub media: MediaProfile,
    /// Where to look for the target when it is no device on a flow: a peer, another domain. Its
    /// hops are tried in turn; `reach` means nothing until one is chosen.
    pub locate: Option<Box<Ask>>,
    /// The peer it is, by its place among `[[peer]]`; `None` for a phone or service.
    pub peer: Option<u16>,
}

/// Opens flows to next hops. The answer is immediate: the flow is named now and connected by its
/// first message; a connection that cannot be made ends as [`crate::EdgeCore::handle_flow_closed`].
pub trait Dialler {
    /// The way to a hop: the flow that is open to it, or a new one. `None` when nothing of ours can
    /// reach it (no listener of its address family, too many connections to it).
    fn open(&self, hop: &NextHop) -> Option<Reach>;

    /// The names proved by certificate on a TLS flow that stands (RFC 5922).
    fn proved(&self, flow: FlowId) -> Option<Arc<[String]>> {
        let _ = flow;
        None
    }

    /// Uses an accepted flow for requests to `hop`, until it closes (RFC 5923). The caller has made
    /// sure that whoever opened it is that hop. True if it was taken.
    fn alias(&self, hop: &NextHop, flow: FlowId) -> bool {
        let _ = (hop, flow);
        false
    }
}

/// The media profile of one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaProfile {
    /// RTP/AVP.
    Plain,
    /// RTP/SAVP with SDES keys (RFC 4568), for TLS signalling.
    Sdes,
    /// UDP/TLS/RTP/SAVPF with ICE-lite and DTLS-SRTP, for browsers.
    WebRtc,
    /// RTP/AVP between two ends that agree on keys of their own by the media path (ZRTP, RFC 6189), and
    /// say so in their descriptions.
    EndToEnd,
    /// RTP/AVP with keys that the relay agrees on with this end by ZRTP, as an intermediary that says so:
    /// for phones that insist on ZRTP and are called by somebody who has none.
    Mediated,
    /// RTP/AVP on this machine only, for services of our own (echo, tone).
    Internal,
}

/// A question that takes time.
#[derive(Debug)]
pub enum Question {
    /// Change bindings; answered after the journal has it.
    Register(Box<RegisterAsk>),
    /// Have the relay rewrite a session description.
    Relay(RelayAsk),
    /// Write a call's opening down before it goes on.
    OpenCall(CallOpening),
    /// Find next hops (RFC 3263).
    Locate(Box<Ask>),
}

/// The answer to a [`Question`].
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Register`].
    Registered(Result<Vec<ContactLine>, Refusal>),
    /// To [`Question::Relay`]: the description to send on.
    Relayed(Result<Bytes, Refusal>),
    /// To [`Question::OpenCall`].
    Opened(Result<(), Refusal>),
    /// To [`Question::Locate`]: at least one hop, in the order to be tried.
    Located(Result<Vec<NextHop>, Refusal>),
}

/// A refusal by the answering role, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The SIP status to give.
    pub status: u16,
    /// The reason phrase: short, free of personal data.
    pub reason: String,
    /// Headers that belong to it (`Min-Expires`, `Retry-After`), name and value.
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal without headers of its own.
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), headers: Vec::new() }
    }
}

/// A REGISTER as the registrar needs it.
#[derive(Debug, Clone)]
pub struct RegisterAsk {
    /// The address of record, `sip:user@domain`.
    pub aor: String,
    /// The request itself, for its contacts and their parameters.
    pub message: sip::Message,
    /// The flow it came by.
    pub flow: FlowId,
    /// Its transport.
    pub transport: Transport,
    /// Our address it came to.
    pub local: SocketAddr,
    /// The address it came from.
    pub source: SocketAddr,
}

/// One Contact of a 200 to REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactLine(pub String);

/// Which media operation, in the NG protocol's vocabulary.
#[derive(Debug, Clone)]
pub enum RelayAsk {
    /// An offer crosses us from one side to the other.
    Offer(RelayDescription),
    /// Its answer crosses us back.
    Answer(RelayDescription),
    /// A digit came by INFO: have the other side hear it in its own form. Refused where nothing is
    /// converted between the two; the INFO goes on then.
    Digit(RelayDigit),
    /// A phone asks by INFO (`Record: on` or `off`) that the recording of its call goes on or rests.
    /// Refused where that is not for it to say; the INFO goes on then.
    Record(RecordWish),
    /// Candidates came by INFO. Refused with 501 where they are not for us; the INFO goes on then.
    Trickle(RelayTrickle),
}

/// A description in passing.
#[derive(Debug, Clone)]
pub struct RelayDescription {
    /// The relay session (the call).
    pub session: u64,
    /// The branch the callee leg belongs to.
    pub branch: u32,
    /// True if the description comes from the caller's side.
    pub from_caller: bool,
    /// The description as received.
    pub sdp: Bytes,
    /// The profile of the side it came from.
    pub from: MediaProfile,
    /// The profile of the side it goes to.
    pub toward: MediaProfile,
    /// Where the SIP message came from: behind a NAT the media does too, whatever SDP says.
    pub source: IpAddr,
    /// Our address that the side it came from signals to: its media comes to that interface.
    pub from_local: IpAddr,
    /// Our address that the side it goes to signals to.
    pub toward_local: IpAddr,
    /// Where the side it goes to signals from.
    pub toward_source: IpAddr,
    /// The `[[peer]]` it comes from, by [`crate::peer_number`]; 0 for phones and services.
    pub from_peer: u64,
    /// The `[[peer]]` it goes to.
    pub toward_peer: u64,
}

/// A key that came by INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayDigit {
    /// The relay session (the call).
    pub session: u64,
    /// The branch that is to hear it, or `None` for the caller.
    pub toward: Option<u32>,
    /// `0-9*#A-D`.
    pub digit: char,
    /// How long it was down.
    pub duration_ms: u32,
}

/// What a phone wants of the recording of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordWish {
    /// The relay session (the call).
    pub session: u64,
    /// Whether it is the caller's wish.
    pub by_caller: bool,
    /// Whether who wishes is a phone registered or authenticated here, no peer.
    pub of_ours: bool,
    /// To be recorded, or not.
    pub on: bool,
}

/// Candidates that came by INFO (RFC 8840).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayTrickle {
    /// The relay session (the call).
    pub session: u64,
    /// The branch they are of, or `None` for the caller.
    pub from: Option<u32>,
    /// The fragment as received.
    pub fragment: Bytes,
}

/// A key pressed on one side of a call, in whole, for a side that wants INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressed {
    /// The relay session (the call).
    pub session: u64,
    /// Whether it was the caller's key.
    pub by_caller: bool,
    /// `0-9*#A-D`.
    pub digit: char,
    /// How long it was down.
    pub duration_ms: u32,
}

/// What is known of a call when its INVITE is accepted for routing.
#[derive(Debug, Clone)]
pub struct CallOpening {
    /// The call's key.
    pub call: u64,
    /// RFC 7989 Session-ID, 32 hex digits.
    pub session_id: String,
    /// The Call-ID.
    pub call_id: String,
    /// The caller's address of record.
    pub from: String,
    /// The address called.
    pub to: String,
    /// Where the INVITE came from, `transport:address`.
    pub source: String,
    /// The caller's User-Agent.
    pub user_agent: String,
    /// The name the caller gives itself, cleaned and cut; may be empty.
    pub caller_name: String,
    /// When.
    pub at: WallTime,
}

/// What happened, for the spine.
#[derive(Debug, Clone)]
pub enum EdgeEvent {
    /// A caller or device failed to authenticate.
    AuthFailed {
        /// The address it came from.
        source: SocketAddr,
        /// The user it claimed to be.
        user: Redacted<String>,
        /// The realm.
        realm: String,
        /// The method refused.
        method: String,
    },
    /// A peer authenticated, for the first time in a while.
    Authenticated {
        /// Its address and port.
        peer: SocketAddr,
    },
    /// A source behaved as scanners do.
    Suspicious {
        /// Its address.
        source: SocketAddr,
        /// How.
        sign: net::Sign,
    },
    /// Somebody proved who it is and claimed to be somebody else.
    IdentityRefused {
        /// The address it came from.
        source: SocketAddr,
        /// Who it is: `user@domain`, or `peer:NAME`.
        user: Redacted<String>,
        /// The method refused.
        method: String,
        /// The header that claims.
        header: &'static str,
        /// What it claims, cleaned and cut.
        claimed: Redacted<String>,
    },
    /// The callee's side rings.
    CallRinging {
        /// The call's key.
        call: u64,
        /// When.
        at: WallTime,
    },
    /// A branch answered.
    CallAnswered {
        /// The call's key.
        call: u64,
        /// The branch that won.
        branch: u32,
        /// When.
        at: WallTime,
    },
    /// The call is over. Sent once per call; the relay session is to be closed with it.
    CallEnded {
        /// The call's key.
        call: u64,
        /// The relay session; 0 for none.
        relay_session: u64,
        /// Why.
        cause: EndCause,
        /// The final SIP status, where there was one.
        status: Option<u16>,
        /// Whose doing it was.
        by: EndedBy,
        /// The Q.850 cause it named, or its status stands for.
        q850: Option<u8>,
        /// When.
        at: WallTime,
    },
    /// A branch lost or failed: its leg can go.
    BranchEnded {
        /// The relay session.
        relay_session: u64,
        /// The branch.
        branch: u32,
    },
    /// A next hop did not answer, or refused to be asked: it is to be avoided for a while.
    HopFailed {
        /// The hop.
        hop: NextHop,
        /// How long it asked to be left alone (503 with Retry-After).
        retry_after: Option<Duration>,
    },
    /// A next hop answered.
    HopWorked {
        /// The hop.
        hop: NextHop,
    },
    /// A connection that carried registrations closed.
    FlowClosed {
        /// The flow.
        flow: FlowId,
        /// Whose registrations.
        aor: String,
    },
}

/// Why a call ended, as records know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// A BYE after an answer.
    Bye,
    /// The caller gave up.
    Cancelled,
    /// Busy, declined, unreachable …: see the status.
    Failed,
    /// Nobody answered in time.
    NoAnswer,
    /// The relay heard nothing any more.
    MediaSilence,
    /// An administrator, or the server stopping.
    HungUp,
    /// Nobody refreshed the session (RFC 4028).
    SessionExpired,
    /// It had to be recorded and was not.
    NotRecorded,
}

impl EndCause {
    /// The word in records and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::NoAnswer => "no-answer",
            Self::MediaSilence => "media-silence",
            Self::HungUp => "hung-up",
            Self::SessionExpired => "session-expired",
            Self::NotRecorded => "not-recorded",
        }
    }
}
