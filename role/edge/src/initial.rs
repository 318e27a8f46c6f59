//! A request that begins something: authenticated, planned, written down, forked.

use crate::asker::Asker;
use crate::asks::Pending;
use crate::authenticate::Face;
use crate::branch::BranchId;
use crate::branches::Branches;
use crate::call::described;
use crate::core::{EdgeCore, Present, RETRY_AFTER};
use crate::diagnose::ALLOW;
use crate::encryption::Encryption;
use crate::end_reason::EndedBy;
use crate::forward::{Forward, Outcome};
use crate::hygiene::{hides_description, unreadable, with_contact};
use crate::identity::Claims;
use crate::media_policy::{insists_on_encryption, offered_profile};
use crate::opening::SHOWN_MAX;
use crate::ports::{MediaProfile, Plan, Question, Reach, Refusal, Target};
use crate::profile::Speech;
use crate::upstream::cause_of;
use crate::zones::{Verdict, Zone};
use sansio::Transport;
use sip::proxy::ResponseContext;
use sip::transaction::{Arrival, ServerKey};
use sip::{Aor, Edit, HeaderName, Message, Method, NameAddr, SipUri};
use std::net::SocketAddr;

impl EdgeCore {
    /// A new request from the transaction layer.
    pub(crate) fn handle_request(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: Message,
    ) {
        if self.refuse_unusable(at, key.into(), &request) {
            return;
        }
        if let Some(refusal) = self.sessions.refusal(&request) {
            let (status, reason) = (refusal.status, refusal.reason.as_str());
            self.reply(at, key, &request, (status, reason), &refusal.headers);
            return;
        }
        if self.refuses_unproved(at, key, arrival, &request) {
            return;
        }
        let method = request.method().unwrap_or(Method::OPTIONS);
        let zone = self.zone_of(arrival);
        let mut rewritten = None;
        match self.methods.verdict(zone, method, request.to_tag().is_some()) {
            Verdict::Allow => {}
            Verdict::Rewrite(number) => rewritten = Some(number),
            verdict => return self.answer_by_policy(at, key, &request, verdict),
        }
        if method == Method::REGISTER {
            if !self.refuses_unfit(at, key, &request) && !self.refuses_merged(at, key, &request) {
                match self.core_for(arrival) {
                    Some(core) => self.hand_to_core(at, key, (arrival, core), request),
                    None => self.handle_register(at, key.into(), arrival, request),
                }
            }
            return;
        }
        if request.to_tag().is_some() {
            self.pass_request(at, key, arrival, request);
            return;
        }
        // A spiral (the same call with another target) may pass, a loop may not.
        if self.is_loop(&request) {
            self.reply(at, key, &request, (482, "Loop Detected"), &[]);
            return;
        }
        self.handle_initial(at, key, arrival, with_contact(request), rewritten);
    }

    /// Refuses what must not reach another leg, a record or a screen (R2.4). What we answer ourselves
    /// and forget is not asked.
    pub(crate) fn refuses_unfit(
        &mut self,
        at: Present,
        asker: impl Into<Asker>,
        request: &Message,
    ) -> bool {
        let why = crate::sanitize::unfit(request);
        if let Some(reason) = why {
            self.reply(at, asker, request, (400, reason), &[]);
        }
        why.is_some()
    }

    /// Refuses what already came by another way, where we are who answers it (RFC 3261 §8.2.2.2).
    /// What is forwarded is not asked: there it may be a spiral, which its target will judge.
    fn refuses_merged(&mut self, at: Present, key: ServerKey, request: &Message) -> bool {
        let merged = self.layer.is_merged(request);
        if merged {
            self.reply(at, key, request, (482, "Merged Request"), &[]);
        }
        merged
    }

    /// Answers a method that policy does not let pass.
    fn answer_by_policy(&mut self, at: Present, key: ServerKey, it: &Message, verdict: Verdict) {
        match verdict {
            Verdict::Allow | Verdict::Rewrite(_) => {}
            Verdict::Redirect(number) => {
                let contact = [("Contact", format!("<{}>", self.methods.target(number)))];
                self.reply(at, key, it, (302, "Moved Temporarily"), &contact);
            }
            Verdict::Refuse(405) => {
                let allow = [("Allow", ALLOW.to_string())];
                self.reply(at, key, it, (405, "Method Not Allowed"), &allow);
            }
            Verdict::Refuse(status) => self.reply_status(at, key, it, status),
        }
    }

    /// Refuses what is out of hops, wants what we cannot, or cannot be read; true when it did.
    pub(crate) fn refuse_unusable(&mut self, at: Present, asker: Asker, request: &Message) -> bool {
        let is_register = request.method() == Some(Method::REGISTER);
        if !is_register && request.max_forwards() == Some(0) {
            self.reply_status(at, asker, request, 483);
            return true;
        }
        if let Some(required) = request.header(HeaderName::PROXY_REQUIRE) {
            let unsupported = String::from_utf8_lossy(required).into_owned();
            let header = [("Unsupported", unsupported)];
            self.reply(at, asker, request, (420, "Bad Extension"), &header);
            return true;
        }
        if let Some(reason) = unreadable(request) {
            self.reply(at, asker, request, (400, reason), &[]);
            return true;
        }
        if hides_description(request) {
            let accept = [("Accept", "application/sdp".to_string())];
            self.reply(at, asker, request, (415, "Unsupported Media Type"), &accept);
            return true;
        }
        false
    }

    /// A CANCEL for an INVITE that has no final yet.
    pub(crate) fn handle_cancel(&mut self, at: Present, key: ServerKey, cancel: &Message) {
        let Some(forward) = self.forwards.get_mut(&key) else {
            self.cancel_passing(at, key);
            return;
        };
        forward.planned.clear();
        forward.cancelled = true;
        // RFC 3326: why the caller gave up, in its own words.
        let reason = cancel.header(HeaderName::REASON);
        let reason = reason.map(|reason| crate::sanitize::shown(reason, SHOWN_MAX));
        let reason = reason.as_deref().unwrap_or("SIP;cause=487;text=\"caller gave up\"");
        forward.context.handle_cancel(Some(reason));
        let call = forward.call;
        self.note_end(call, EndedBy::Caller, cancel);
        self.run_context(at, key);
    }

    /// `rewritten` is the number of the target policy sends it to instead of its Request-URI.
    fn handle_initial(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: Message,
        rewritten: Option<u8>,
    ) {
        let is_invite = request.method() == Some(Method::INVITE);
        if self.peers.core().is_some()
            && rewritten.is_none()
            && self.passes_between(at, key, arrival, &request)
        {
            return;
        }
        let target = rewritten.map(|number| self.methods.target(number).as_bytes());
        let target = target.unwrap_or(request.request_uri());
        let Some((user, domain)) = self.destination(target, &request) else {
            self.reply(at, key, &request, (416, "Unsupported URI Scheme"), &[]);
            return;
        };
        let method = request.method().unwrap_or(Method::OPTIONS);
        if user.is_empty() {
            match method {
                Method::OPTIONS if self.refuses_merged(at, key, &request) => {}
                Method::OPTIONS => self.answer_options(at, key, arrival, &request),
                Method::INVITE | Method::MESSAGE => self.reply_status(at, key, &request, 484),
                // What lives in dialogs only, without one (RFC 3261 §15.1.2, §12.2.2).
                Method::BYE | Method::PRACK | Method::UPDATE | Method::INFO => {
                    self.reply_status(at, key, &request, 481);
                }
                _ => {
                    let allow = [("Allow", ALLOW.to_string())];
                    self.reply(at, key, &request, (405, "Method Not Allowed"), &allow);
                }
            }
            return;
        }
        if self.refuses_unfit(at, key, &request) {
            return;
        }
        if is_invite && self.refuses_more(at, key, &request) {
            return;
        }
        let peer = self.peer_of(arrival);
        let caller = match peer {
            Some(peer) => self.peer_caller(at, key, arrival, &request, peer),
            None => self.caller(at, key, arrival, &request),
        };
        let Some((caller, claims)) = caller else { return };
        let to = ["sip:", &user, "@", &domain].concat();
        if is_invite && let Some(refusal) = self.held(at, &caller, &to) {
            let (status, reason) = (refusal.status, refusal.reason.as_str());
            self.reply(at, key, &request, (status, reason), &refusal.headers);
            return;
        }
        let request = self.without_clear_keys(arrival.transport, request);
        let request = match peer.and_then(|n| self.peers.get(n)) {
            Some(peer) => Speech::inbound(&peer.profile, &request),
            None => request,
        };
        let method = request.method().unwrap_or(Method::OPTIONS);
        let method = method.as_str();
        let facts = self.facts_of(peer, (caller.as_str(), &user, &domain, method));
        let plan = self.router.plan(&facts, at.wall);
        let from = (caller.as_str(), peer);
        let (plan, rule) = self.within_policy(&request, arrival.transport, (from, &to), plan);
        let request = Self::without_forbidden_keys(rule, request);
        self.begin(at, key, arrival, request, (caller, claims, to, plan));
    }

    /// Refuses a call that is one too many; true when it did.
    pub(crate) fn refuses_more(&mut self, at: Present, key: ServerKey, request: &Message) -> bool {
        let full = self.draining || self.calls.len() >= self.config.calls_max;
        if full {
            let reason = if self.draining { "Server Is Stopping" } else { "Too Many Calls" };
            let retry = [("Retry-After", RETRY_AFTER.as_secs().to_string())];
            self.reply(at, key, request, (503, reason), &retry);
        }
        full
    }

    /// The plan as far as policy allows it: no media in clear where it must be encrypted, `sips:`
    /// only over TLS (RFC 5630 §5.3), no more branches than the limit.
    pub(crate) fn within_policy(
        &self,
        request: &Message,
        transport: Transport,
        (caller, called): ((&str, Option<u16>), &str),
        plan: Plan,
    ) -> (Result<Vec<Target>, Refusal>, Option<Encryption>) {
        let mut targets = match plan {
            Plan::Fork(targets) => targets,
            Plan::Refuse { status, reason } => return (Err(Refusal::new(status, reason)), None),
        };
        self.complete_peers(&mut targets);
        if request.method() == Some(Method::INVITE)
            && let Err(refusal) = self.check_ice(described(request), caller)
        {
            return (Err(refusal), None);
        }
        match self.encrypt_targets(caller, called, &mut targets) {
            Ok(rule) => (self.within_limits(request, (transport, rule), targets), rule),
            Err(refusal) => (Err(refusal), None),
        }
    }

    fn within_limits(
        &self,
        request: &Message,
        (transport, rule): (Transport, Option<Encryption>),
        mut targets: Vec<Target>,
    ) -> Result<Vec<Target>, Refusal> {
        if let (Some(Method::INVITE), Some(sdp)) = (request.method(), described(request)) {
            // Keys beside an offer in clear are taken off where they are forbidden.
            let forbidden = rule == Some(Encryption::Forbid) && !insists_on_encryption(sdp);
            if !forbidden {
                self.check_offer(sdp, transport, rule)?;
            }
        }
        if SipUri::parse(request.request_uri()).is_ok_and(|uri| uri.is_sips()) {
            // A target still to be located is sought on TLS alone.
            for ask in targets.iter_mut().filter_map(|t| t.locate.as_mut()) {
                ask.secure = true;
            }
            let secure = |t: &Target| {
                let located = t.locate.as_ref().map(|ask| ask.fallback_transport());
                let transport = located.unwrap_or(t.reach.transport);
                transport.is_secure() || t.media == MediaProfile::Internal
            };
            targets.retain(secure);
            if targets.is_empty() {
                let warning = ("Warning", "380 whimbrel \"SIPS Not Allowed\"".to_string());
                let refusal = Refusal::new(480, "No Device On TLS");
                return Err(Refusal { headers: vec![warning], ..refusal });
            }
        }
        // RFC 5393 §5.3.3: each branch gets its share, and a request that has none left forks no more.
        let parallel = if targets.iter().any(|t| t.peer.is_some()) { 1 } else { targets.len() };
        let parallel = u32::try_from(parallel.min(self.config.branches_max)).unwrap_or(u32::MAX);
        if sip::proxy::forward::split_breadth(request, parallel).is_err() {
            return Err(Refusal::new(440, "Max-Breadth Exceeded"));
        }
        if targets.len() > self.config.branches_max {
            let (planned, limit) = (targets.len(), self.config.branches_max);
            tracing::warn!(planned, limit, "edge.branches_max: some devices do not ring");
            targets.truncate(limit);
        }
        if targets.is_empty() { Err(Refusal::new(480, "No Device Connected")) } else { Ok(targets) }
    }

    /// Who calls, proven, and what else it truly says of itself; `None` after a challenge or refusal.
    fn caller(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: &Message,
    ) -> Option<(Aor, Claims)> {
        let Some(claimed) = self.claimed(request) else {
            self.reply(at, key, request, (400, "Bad From: A SIP Or Tel URI Is Needed"), &[]);
            return None;
        };
        let proven = self.authenticate(at, key, arrival, request, (&claimed, Face::Proxy))?;
        let who = proven.unwrap_or(claimed);
        match self.check_identity(request, &who) {
            Ok(claims) => Some((who, claims)),
            Err(spoof) => {
                self.tell_spoof(arrival, request, who.as_str(), &spoof);
                let (status, verdict) =
                    if spoof.unreadable { (400, "Bad") } else { (403, "Not Your") };
                let reason = format!("{verdict} {}", spoof.header);
                self.reply(at, key, request, (status, &reason), &[]);
                None
            }
        }
    }

    /// User and domain of a target; `None` for a scheme we do not route. A `tel:` number is
    /// a user of the caller's domain (RFC 3966).
    fn destination(&self, target: &[u8], request: &Message) -> Option<(String, String)> {
        if target.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"tel:")) {
            let from = request.from_().ok()?;
            let domain = self.directory.realm(from.sip_uri().ok()?.host())?;
            return Some((telephone_number(&target[4..])?, domain.to_string()));
        }
        let uri = SipUri::parse(target).ok()?;
        let aor = Aor::from_uri(&uri);
        let user = if uri.user().is_some() { aor.user().to_string() } else { String::new() };
        let domain = self.directory.realm(aor.host());
        let domain = domain.as_deref().unwrap_or(aor.host()).to_string();
        Some((user, domain))
    }

    /// Opens the context and, for an INVITE, the call and its record.
    pub(crate) fn begin(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: Message,
        (caller, claims, to, plan): (Aor, Claims, String, Result<Vec<Target>, Refusal>),
    ) {
        let is_invite = request.method() == Some(Method::INVITE);
        let mut recorded = false;
        let reach = self.reach_by(arrival);
        let caller_binding =
            self.locations.binding_on(caller.as_str(), arrival.flow, arrival.peer).unwrap_or(0);
        let mut forward = Forward {
            request: self.without_routes(&request, self.zone_of(arrival)),
            arrival: *arrival,
            caller: caller.as_str().to_string(),
            claims,
            caller_reach: reach,
            caller_binding,
            caller_peer: self.peer_of(arrival),
            called: (!self.config.encryption.is_empty()).then(|| to.as_str().into()),
            spare: Vec::new(),
            context: ResponseContext::new(self.context_config(), request.clone()),
            branches: Branches::default(),
            call: None,
            caller_media: profile_of_offer(&request, arrival.transport),
            added_session_id: None,
            rung: false,
            cancelled: false,
            outcome: Outcome::Open,
            selected: None,
            planned: Vec::new(),
            scheduled: None,
        };
        if is_invite {
            let media = self.media_plan(&forward, plan.as_deref().unwrap_or_default());
            let opening = self.open_call(at, key, &mut forward, (to, media));
            forward.call = Some(opening.call);
            recorded = self.is_recorded(&forward, plan.as_deref().unwrap_or_default());
            if recorded {
                self.ask(at, Question::OpenCall(opening), Pending::OpenCall(key));
            }
        }
        let refused = match self.sparing(at, &forward.request, plan) {
            Ok(targets) => {
                (forward.planned, forward.spare) = self.first_of(at, targets);
                None
            }
            Err(refusal) => Some(refusal),
        };
        self.forwards.insert(key, Box::new(forward));
        if let Some(refusal) = refused {
            self.refuse_forward(at, key, &refusal);
            return;
        }
        if is_invite {
            self.reply(at, key, &request, (100, "Trying"), &[]);
        }
        if !recorded {
            self.call_opened(at, key, Ok(()));
        }
    }

    /// The way back to the sender of a message.
    pub(crate) fn reach_by(&self, arrival: &Arrival) -> Reach {
        Reach {
            transport: arrival.transport,
            flow: Some(arrival.flow),
            local: self.local_of(),
            peer: arrival.peer,
        }
    }

    /// The record is open (or there is none to open): the branches may go.
    pub(crate) fn call_opened(&mut self, at: Present, key: ServerKey, result: Result<(), Refusal>) {
        let span = self.call_span(self.forwards.get(&key).and_then(|f| f.call));
        let _entered = span.entered();
        if let Err(refusal) = result {
            self.refuse_forward(at, key, &refusal);
            return;
        }
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let targets: Vec<Target> = std::mem::take(&mut forward.planned);
        let branches: Vec<BranchId> =
            targets.into_iter().filter_map(|t| self.promise_branch(at, key, t)).collect();
        for branch in branches {
            self.offer_branch(at, key, branch);
        }
    }

    /// Answers a forward none of whose branches went out, and ends its call.
    pub(crate) fn refuse_forward(&mut self, at: Present, key: ServerKey, refusal: &Refusal) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if std::mem::replace(&mut forward.outcome, Outcome::Refused) != Outcome::Open {
            return;
        }
        forward.planned.clear();
        forward.context.handle_cancel(None);
        let (request, call) = (forward.request.clone(), forward.call);
        self.reply(at, key, &request, (refusal.status, &refusal.reason), &refusal.headers);
        self.run_context(at, key);
        if let Some(call) = call {
            let cause = cause_of(refusal.status, false);
            self.end_call(at, call, cause, Some(refusal.status));
        }
    }

    /// The request without the Routes that brought it here (RFC 3261 §16.4).
    pub(crate) fn without_our_routes(&self, request: &Message) -> Message {
        let mut edit = Edit::new(request);
        for _ in 0..self.our_routes(request, 0) {
            edit = edit.remove_first(HeaderName::ROUTE);
        }
        edit.finish()
    }

    /// How many of its topmost Routes name us, those below the first `known`.
    pub(crate) fn our_routes(&self, request: &Message, known: usize) -> usize {
        let ours = |route: &[u8]| {
            let uri = NameAddr::parse(route).and_then(|route| route.sip_uri());
            uri.is_ok_and(|uri| self.is_ours(&uri))
        };
        let below = request.values(HeaderName::ROUTE).skip(known);
        below.take_while(|route| ours(route)).count()
    }

    /// The same without Routes that lead elsewhere: a phone or peer does not choose the way beyond
    /// us, and the device called would follow them. Our own servers may.
    fn without_routes(&self, request: &Message, zone: Zone) -> Message {
        if request.header(HeaderName::ROUTE).is_none() {
            return request.clone();
        }
        let message = self.without_our_routes(request);
        if zone == Zone::Internal || message.header(HeaderName::ROUTE).is_none() {
            return message;
        }
        Edit::new(&message).remove_all(HeaderName::ROUTE).finish()
    }

    /// Our address the message under way came to.
    pub(crate) fn local_of(&self) -> SocketAddr {
        self.arrived_at
    }
}

/// The media profile a caller's leg has: what its offer says, or, without one, its transport.
fn profile_of_offer(request: &Message, transport: Transport) -> MediaProfile {
    let offered = described(request).and_then(offered_profile);
    offered.unwrap_or_else(|| MediaProfile::for_transport(transport))
}

/// The number of a `tel:` URI without its visual separators and parameters.
fn telephone_number(rest: &[u8]) -> Option<String> {
    let number = rest.split(|b| *b == b';').next().unwrap_or_default();
    let digits = number.iter().filter(|b| !b"-.()".contains(b));
    let digits: Vec<u8> = digits.copied().collect();
    let fits = |b: &u8| b.is_ascii_hexdigit() || b"*#+".contains(b);
    let known = !digits.is_empty() && digits.iter().all(fits);
    known.then(|| String::from_utf8_lossy(&digits).into_owned())
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
