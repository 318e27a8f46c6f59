//! A request that begins something: authenticated, planned, written down, forked.

use crate::authenticate::Face;
use crate::branch::BranchId;
use crate::call::{Call, sdp_of};
use crate::core::{EdgeCore, Pending, Present, RETRY_AFTER};
use crate::forward::Forward;
use crate::ports::{
    CallFacts, CallOpening, EdgeEvent, EndCause, MediaProfile, Plan, Question, Reach, Refusal,
    Target,
};
use sansio::Transport;
use sip::proxy::ResponseContext;
use sip::transaction::{Arrival, ServerKey};
use sip::{Aor, Edit, HeaderName, Message, Method, SipUri};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What we answer for ourselves.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, MESSAGE";

impl EdgeCore {
    /// A new request from the transaction layer.
    pub(crate) fn handle_request(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: Message,
    ) {
        let method = request.method().unwrap_or(Method::OPTIONS);
        if request.max_forwards() == Some(0) && method != Method::REGISTER {
            self.reply_status(at, key, &request, 483);
            return;
        }
        if let Some(required) = request.header(HeaderName::PROXY_REQUIRE) {
            let unsupported = String::from_utf8_lossy(required).into_owned();
            self.reply(at, key, &request, (420, "Bad Extension"), &[("Unsupported", unsupported)]);
            return;
        }
        if method == Method::REGISTER {
            self.handle_register(at, key, arrival, request);
            return;
        }
        if request.to().is_ok_and(|to| to.tag().is_some()) {
            self.pass_request(at, key, arrival, request);
            return;
        }
        if self.layer.is_merged(&request) || self.is_loop(&request) {
            self.reply(at, key, &request, (482, "Loop Detected"), &[]);
            return;
        }
        self.handle_initial(at, key, arrival, request);
    }

    /// A CANCEL for an INVITE that has no final yet.
    pub(crate) fn handle_cancel(&mut self, at: Present, key: ServerKey) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        forward.planned.clear();
        forward.cancelled = true;
        forward.context.handle_cancel(Some("SIP;cause=487;text=\"caller gave up\""));
        self.run_context(at, key);
    }

    fn handle_initial(&mut self, at: Present, key: ServerKey, arrival: &Arrival, request: Message) {
        let Some((user, domain)) = self.destination(&request) else {
            self.reply(at, key, &request, (416, "Unsupported URI Scheme"), &[]);
            return;
        };
        let is_invite = request.method() == Some(Method::INVITE);
        if request.method() == Some(Method::OPTIONS) && user.is_empty() {
            self.answer_options(at, key, &request);
            return;
        }
        if !is_invite && request.method() != Some(Method::MESSAGE) && user.is_empty() {
            self.reply(at, key, &request, (405, "Method Not Allowed"), &[("Allow", ALLOW.into())]);
            return;
        }
        if is_invite && (self.draining || self.calls.len() >= self.config.calls_max) {
            let retry = [("Retry-After", RETRY_AFTER.as_secs().to_string())];
            self.reply(at, key, &request, (503, "Service Unavailable"), &retry);
            return;
        }
        let Some(caller) = self.caller(at, key, arrival, &request) else { return };
        let method = request.method().map_or("", |m| m.as_str());
        let facts = CallFacts { caller: caller.as_str(), user: &user, domain: &domain, method };
        let plan = self.router.plan(&facts, at.wall);
        let to = format!("sip:{user}@{domain}");
        self.begin(at, key, arrival, request, (caller, to, plan));
    }

    /// Who calls, proven; `None` after a challenge or refusal.
    fn caller(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: &Message,
    ) -> Option<Aor> {
        let from = request.from_().ok().and_then(|f| f.sip_uri().ok()).map(|u| Aor::from_uri(&u));
        let Some(from) = from else {
            self.reply(at, key, request, (400, "Bad From: A SIP URI Is Needed"), &[]);
            return None;
        };
        let claimed = match self.directory.realm(from.host()) {
            Some(realm) => Aor::new(from.user(), &realm),
            None => from,
        };
        self.authenticate(at, key, arrival, request, (&claimed, Face::Proxy))?;
        Some(claimed)
    }

    /// User and domain of the Request-URI; `None` for a scheme we do not route.
    fn destination(&self, request: &Message) -> Option<(String, String)> {
        let uri = SipUri::parse(request.request_uri()).ok()?;
        let aor = Aor::from_uri(&uri);
        let user = if uri.user().is_some() { aor.user().to_string() } else { String::new() };
        let domain = self.directory.realm(aor.host()).unwrap_or_else(|| aor.host().to_string());
        Some((user, domain))
    }

    fn answer_options(&mut self, at: Present, key: ServerKey, request: &Message) {
        let headers = [
            ("Allow", ALLOW.to_string()),
            ("Accept", "application/sdp".to_string()),
            ("Supported", "path, outbound, gruu".to_string()),
        ];
        self.reply(at, key, request, (200, "OK"), &headers[..2]);
    }

    /// Opens the context and, for an INVITE, the call and its record.
    fn begin(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: Message,
        (caller, to, plan): (Aor, String, Plan),
    ) {
        let is_invite = request.method() == Some(Method::INVITE);
        let local = self.local_of();
        let reach = Reach {
            transport: arrival.transport,
            flow: Some(arrival.flow),
            local,
            peer: arrival.peer,
        };
        let caller_binding =
            self.locations.binding_on(caller.as_str(), arrival.flow, arrival.peer).unwrap_or(0);
        let mut forward = Forward {
            request: self.without_our_routes(&request),
            arrival: *arrival,
            caller: caller.as_str().to_string(),
            caller_reach: reach,
            caller_binding,
            context: ResponseContext::new(self.context_config(), request.clone()),
            branches: BTreeMap::new(),
            call: None,
            caller_media: profile_of_offer(&request, arrival.transport),
            rung: false,
            cancelled: false,
            answered: false,
            planned: Vec::new(),
        };
        if is_invite {
            let opening = self.open_call(at, key, &forward, to);
            forward.call = Some(opening.call);
            self.ask(Question::OpenCall(opening), Pending::OpenCall(key));
        }
        let refused = match plan {
            Plan::Fork(targets) => {
                forward.planned = targets;
                None
            }
            Plan::Refuse { status, reason } => Some((status, reason)),
        };
        self.forwards.insert(key, forward);
        if let Some((status, reason)) = refused {
            self.refuse_forward(at, key, status, &reason);
        } else if is_invite {
            self.reply(at, key, &request, (100, "Trying"), &[]);
        } else {
            self.call_opened(at, key, Ok(()));
        }
    }

    /// The record is open (or there is none to open): the branches may go.
    pub(crate) fn call_opened(&mut self, at: Present, key: ServerKey, result: Result<(), Refusal>) {
        if let Err(refusal) = result {
            self.refuse_forward(at, key, refusal.status, &refusal.reason);
            return;
        }
        let max = self.config.branches_max;
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let mut targets: Vec<Target> = std::mem::take(&mut forward.planned);
        targets.truncate(max);
        let branches: Vec<BranchId> =
            targets.into_iter().filter_map(|t| self.promise_branch(at, key, t)).collect();
        for branch in branches {
            self.offer_branch(at, key, branch);
        }
    }

    /// Answers a forward that has no branches, and ends its call.
    pub(crate) fn refuse_forward(
        &mut self,
        at: Present,
        key: ServerKey,
        status: u16,
        reason: &str,
    ) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if std::mem::replace(&mut forward.answered, true) {
            return;
        }
        forward.planned.clear();
        let (request, call) = (forward.request.clone(), forward.call);
        self.reply(at, key, &request, (status, reason), &[]);
        if let Some(call) = call {
            self.end_call(at, call, EndCause::Failed, Some(status));
        }
    }

    fn open_call(
        &mut self,
        at: Present,
        key: ServerKey,
        forward: &Forward,
        to: String,
    ) -> CallOpening {
        let request = &forward.request;
        // Non-zero, and never above what SQL and JSON count exactly.
        let call = (self.entropy.next_u64() >> 11).max(1);
        let has_media = sdp_of(request).is_some() || request.body().is_empty();
        let relay_session = if has_media { call } else { 0 };
        self.counters.calls += 1;
        self.calls_live += 1;
        self.calls.insert(
            call,
            Call {
                invite: Some(key),
                relay_session,
                dialogs: Vec::new(),
                answered: false,
                ended: false,
            },
        );
        let text =
            |name| String::from_utf8_lossy(request.header(name).unwrap_or_default()).into_owned();
        CallOpening {
            call,
            session_id: session_id(request, &mut *self.entropy),
            call_id: text(HeaderName::CALL_ID),
            from: forward.caller.clone(),
            to,
            source: format!("{}:{}", forward.arrival.transport, forward.arrival.peer),
            user_agent: text(HeaderName::USER_AGENT),
            at: at.wall,
        }
    }

    /// The request without the Routes that brought it here (RFC 3261 §16.4).
    pub(crate) fn without_our_routes(&self, request: &Message) -> Message {
        let mut message = request.clone();
        loop {
            let ours = message.routes().next().is_some_and(|route| {
                route.is_ok_and(|r| r.sip_uri().is_ok_and(|uri| self.is_ours(&uri)))
            });
            if !ours {
                return message;
            }
            message = Edit::new(&message).remove_first(HeaderName::ROUTE).finish();
        }
    }

    /// Our address the message under way came to.
    pub(crate) fn local_of(&self) -> SocketAddr {
        self.arrived_at
    }

    /// Tells once that the callee's side rings.
    pub(crate) fn tell_ringing(&mut self, at: Present, key: ServerKey) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if let (Some(call), false) = (forward.call, std::mem::replace(&mut forward.rung, true)) {
            self.emit(EdgeEvent::CallRinging { call, at: at.wall });
        }
    }
}

/// The media profile a caller's leg has: what its offer says, or, without one, its transport.
fn profile_of_offer(request: &Message, transport: Transport) -> MediaProfile {
    let Some(sdp) = sdp_of(request) else { return MediaProfile::for_transport(transport) };
    let has = |needle: &[u8]| memmem(&sdp, needle);
    if has(b"UDP/TLS/RTP/SAVP") {
        MediaProfile::WebRtc
    } else if has(b"RTP/SAVP") {
        MediaProfile::Sdes
    } else {
        MediaProfile::Plain
    }
}

fn memmem(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// The caller's Session-ID (RFC 7989), or a new one.
fn session_id(request: &Message, entropy: &mut dyn sansio::Entropy) -> String {
    let given = request.header(HeaderName::SESSION_ID).unwrap_or_default();
    let id = given.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit) {
        return String::from_utf8_lossy(id).to_ascii_lowercase();
    }
    format!("{:016x}{:016x}", entropy.next_u64(), entropy.next_u64())
}

impl MediaProfile {
    /// The profile that goes with a signalling transport when nothing else is known.
    pub fn for_transport(transport: Transport) -> Self {
        match transport {
            Transport::Udp | Transport::Tcp => Self::Plain,
            Transport::Tls => Self::Sdes,
            Transport::Ws | Transport::Wss => Self::WebRtc,
        }
    }
}
