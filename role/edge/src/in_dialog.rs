//! Requests inside a dialog: carried by the token in their Route, whatever is remembered here.

use crate::call::sdp_of;
use crate::core::{EdgeCore, Failure, Pending, Present};
use crate::dialog_track::{DialogTrack, Side};
use crate::ports::{EndCause, Reach, Refusal};
use crate::token::DialogToken;
use bytes::Bytes;
use sansio::FlowId;
use sip::transaction::{Arrival, ClientKey, ServerKey};
use sip::{CSeq, Edit, HeaderName, Message, Method, ViaBuilder};

/// A request of a dialog on its way to the other side.
#[derive(Debug)]
pub(crate) struct Passing {
    /// The transaction to answer; none for requests of our own.
    server: Option<ServerKey>,
    call: Option<u64>,
    callee_tag: String,
    from: Side,
    had_offer: bool,
    is_bye: bool,
    request: Message,
}

/// A request whose description is at the relay.
#[derive(Debug)]
pub(crate) struct Held {
    key: Option<ServerKey>,
    route: Onward,
    request: Message,
}

/// Where an in-dialog request goes.
#[derive(Debug, Clone)]
struct Onward {
    call: Option<u64>,
    callee_tag: String,
    from: Side,
    reach: Reach,
}

impl Passing {
    pub(crate) fn call(&self) -> Option<u64> {
        self.call
    }
}

impl EdgeCore {
    /// A request with a To tag.
    pub(crate) fn pass_request(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: Message,
    ) {
        let Some((route, request)) = self.onward(at, arrival, request.clone()) else {
            self.counters.forged_tokens += 1;
            self.reply(at, key, &request, (481, "Call/Transaction Does Not Exist"), &[]);
            return;
        };
        let answers = request.method() == Some(Method::PRACK) && self.answer_due(&route);
        self.hold_or_send(at, Some(key), route, request, answers);
    }

    /// An ACK for a 2xx: it has no transaction, and no answer if it cannot be delivered.
    pub(crate) fn pass_ack(&mut self, at: Present, arrival: &Arrival, request: &Message) {
        if request.max_forwards() == Some(0) {
            return;
        }
        let Some((route, request)) = self.onward(at, arrival, request.clone()) else { return };
        let answers = self.answer_due(&route);
        self.hold_or_send(at, None, route, request, answers);
    }

    fn hold_or_send(
        &mut self,
        at: Present,
        key: Option<ServerKey>,
        route: Onward,
        request: Message,
        is_answer: bool,
    ) {
        let sdp = sdp_of(&request);
        let dialog = self.dialog(&route).cloned();
        if let (Some(sdp), Some(dialog)) = (sdp, dialog)
            && dialog.relay_session != 0
        {
            if is_answer && let Some(d) = self.dialog(&route) {
                d.answer_due_from = None;
            }
            let question = Self::relay_question(&dialog, route.from, sdp, !is_answer);
            let held = Box::new(Held { key, route, request });
            self.ask(question, Pending::PassRequest(held));
            return;
        }
        self.send_onward(at, key, route, request);
    }

    /// The relay wrote the description of a held request, or could not.
    pub(crate) fn pass_request_ready(
        &mut self,
        at: Present,
        held: Held,
        result: Result<Bytes, Refusal>,
    ) {
        let Held { key, route, request } = held;
        match (result, key) {
            (Ok(sdp), key) => {
                let edited = Edit::new(&request).replace_body("application/sdp", &sdp).finish();
                self.send_onward(at, key, route, edited);
            }
            (Err(refusal), Some(key)) => {
                self.reply(at, key, &request, (refusal.status, &refusal.reason), &[]);
            }
            (Err(_), None) => self.send_onward(at, None, route, request),
        }
    }

    fn send_onward(
        &mut self,
        at: Present,
        key: Option<ServerKey>,
        route: Onward,
        request: Message,
    ) {
        let Some(flow) = self.flow_of(&route.reach) else {
            if let Some(key) = key {
                self.reply(at, key, &request, (480, "Device Not Connected"), &[]);
            }
            return;
        };
        let is_bye = request.method() == Some(Method::BYE);
        let onward = self.onward_request(&route, &request);
        let Some(key) = key else {
            self.transmit(flow, onward.bytes().clone());
            return;
        };
        let via = crate::forward::send_via(flow, route.reach.transport);
        match self.layer.send_request(at.now, via, onward) {
            Ok(client) => {
                let passing = Passing {
                    server: Some(key),
                    call: route.call,
                    callee_tag: route.callee_tag,
                    from: route.from,
                    had_offer: sdp_of(&request).is_some(),
                    is_bye,
                    request,
                };
                self.passing.insert(client, passing);
            }
            Err(error) => {
                tracing::warn!(%error, "in-dialog request not sent");
                self.reply_status(at, key, &request, 503);
            }
        }
        if is_bye && let Some(call) = route.call {
            self.end_call(at, call, EndCause::Bye, Some(200));
        }
    }

    /// The request as the other side gets it: our Via on top, one hop less, CSeq in its own space.
    fn onward_request(&mut self, route: &Onward, request: &Message) -> Message {
        let branch = self.new_branch();
        let transport = route.reach.transport;
        let own = self.place.advertise(transport, Some(route.reach.local));
        let via = ViaBuilder::new(transport, own).branch(&branch).rport().build();
        let hops = request.max_forwards().unwrap_or(70).saturating_sub(1);
        let mut edit = Edit::new(request)
            .remove_all(HeaderName::MAX_FORWARDS)
            .remove_all(HeaderName::PROXY_AUTHORIZATION)
            .prepend(HeaderName::MAX_FORWARDS, hops.to_string())
            .prepend(HeaderName::VIA, via);
        if let Ok(CSeq { number, method }) = request.cseq()
            && let Some(dialog) = self.dialog(route)
        {
            let sent = dialog.forward_cseq(route.from, number);
            if sent != number {
                edit = edit.replace_first(HeaderName::CSEQ, format!("{sent} {}", method.as_str()));
            }
        }
        edit.finish()
    }

    /// Opens the Route of an in-dialog request and finds the other side. `None` when the Route is
    /// not ours, or was tampered with.
    fn onward(
        &mut self,
        at: Present,
        arrival: &Arrival,
        request: Message,
    ) -> Option<(Onward, Message)> {
        let token = self.dialog_token(&request)?;
        let from_tag = request.from_tag()?.to_vec();
        let to_tag = request.to_tag()?.to_vec();
        let request = self.without_our_routes(&request);
        let call = self.calls.get(&token.call).map(|_| token.call);
        let known = self.learn(&token, &from_tag, &to_tag, &request, arrival);
        let (from, last) = match known {
            Some((side, reach)) => (side, Some(reach)),
            None => (self.side_by_token(&token, &request, &from_tag), None),
        };
        let callee_tag = if from == Side::Callee { from_tag } else { to_tag };
        let reach = self.other_side(at, &token, last)?;
        let callee_tag = String::from_utf8_lossy(&callee_tag).into_owned();
        Some((Onward { call, callee_tag, from, reach }, request))
    }

    /// The current way to the other side: its binding's, else what the dialog knew, else the hint.
    fn other_side(
        &mut self,
        at: Present,
        token: &DialogToken,
        last: Option<Reach>,
    ) -> Option<Reach> {
        if token.peer != 0
            && let Some(reach) = self.locations.reach(token.peer, at.wall)
        {
            return Some(reach);
        }
        last.or_else(|| {
            let flow: FlowId = token.flow_hint.flow(self.place.node)?;
            self.reach_of_hint(flow)
        })
    }

    /// Without any memory of the dialog the hint's flow is tried; what it is tells the transport of
    /// a listener on that shard only roughly, so it is written as the arrival's own.
    fn reach_of_hint(&self, flow: FlowId) -> Option<Reach> {
        let listener = self.place.listeners.first()?;
        Some(Reach {
            transport: listener.transport,
            flow: Some(flow),
            local: listener.bind,
            peer: listener.bind,
        })
    }

    /// What the track knows, and what it learns from this request: a new remote target, and for a
    /// side without a binding its new flow.
    fn learn(
        &mut self,
        token: &DialogToken,
        from_tag: &[u8],
        to_tag: &[u8],
        request: &Message,
        arrival: &Arrival,
    ) -> Option<(Side, Reach)> {
        let local = self.local_of();
        let call = self.calls.get_mut(&token.call)?;
        let dialog = call.dialogs.iter_mut().find(|d| {
            let (caller, callee) = (d.caller.tag.as_bytes(), d.callee.tag.as_bytes());
            (caller, callee) == (from_tag, to_tag) || (callee, caller) == (from_tag, to_tag)
        })?;
        let side = dialog.side_of(from_tag)?;
        let party = dialog.party_mut(side);
        let refreshes = matches!(
            request.method().map(|m| m.as_str()),
            Some("INVITE" | "UPDATE" | "SUBSCRIBE" | "NOTIFY")
        );
        if refreshes && let Some(Ok(contact)) = request.contacts().next() {
            party.target = String::from_utf8_lossy(contact.uri()).into_owned();
        }
        if party.binding == 0 {
            party.reach = Reach {
                transport: arrival.transport,
                flow: Some(arrival.flow),
                local,
                peer: arrival.peer,
            };
        }
        Some((side, dialog.party(side.other()).reach))
    }

    /// Who sent it, when only the token is left: the originator's tag is in the seal.
    fn side_by_token(&self, _: &DialogToken, request: &Message, from_tag: &[u8]) -> Side {
        let sealed = request.call_id().and_then(|call_id| {
            let route = request.routes().next()?.ok()?;
            let uri = route.sip_uri().ok()?;
            self.tokens.open(uri.user()?, call_id, from_tag).ok()
        });
        if sealed.is_some() { Side::Caller } else { Side::Callee }
    }

    fn dialog(&mut self, route: &Onward) -> Option<&mut DialogTrack> {
        self.calls.get_mut(&route.call?)?.dialog(route.callee_tag.as_bytes())
    }

    fn answer_due(&mut self, route: &Onward) -> bool {
        let from = route.from;
        self.dialog(route).is_some_and(|d| d.answer_due_from == Some(from))
    }

    /// A response to a request in a dialog.
    pub(crate) fn pass_response(&mut self, at: Present, key: &ClientKey, response: Message) {
        let Some(passing) = self.passing.get(key) else { return };
        if response.status() == Some(100) || passing.server.is_none() {
            return;
        }
        let route = self.route_of(passing);
        let (from, had_offer) = (passing.from, passing.had_offer);
        let is_success = response.status().is_some_and(|s| (101..300).contains(&s));
        let dialog = self.dialog(&route).cloned();
        if let (Some(sdp), Some(dialog), true) = (sdp_of(&response), dialog, is_success)
            && dialog.relay_session != 0
        {
            if !had_offer && let Some(d) = self.dialog(&route) {
                d.answer_due_from = Some(from);
            }
            let question = Self::relay_question(&dialog, from.other(), sdp, !had_offer);
            self.ask(question, Pending::PassResponse(*key, Box::new(response)));
            return;
        }
        self.send_back(at, key, &response);
    }

    /// The relay wrote the description of a response, or could not.
    pub(crate) fn pass_response_ready(
        &mut self,
        at: Present,
        key: &ClientKey,
        response: &Message,
        result: Result<Bytes, Refusal>,
    ) {
        match result {
            Ok(sdp) => {
                let edited = Edit::new(response).replace_body("application/sdp", &sdp).finish();
                self.send_back(at, key, &edited);
            }
            Err(refusal) => {
                tracing::warn!(reason = %refusal.reason, "answer in dialog refused");
                self.send_back(at, key, response);
            }
        }
    }

    fn send_back(&mut self, at: Present, key: &ClientKey, response: &Message) {
        let Some(passing) = self.passing.get(key) else { return };
        let Some(server) = passing.server else { return };
        let route = self.route_of(passing);
        let mut edit = Edit::new(response).remove_first(HeaderName::VIA);
        if let Ok(CSeq { number, method }) = response.cseq()
            && let Some(dialog) = self.dialog(&route)
        {
            let theirs = dialog.restore_cseq(route.from, number);
            if theirs != number {
                edit =
                    edit.replace_first(HeaderName::CSEQ, format!("{theirs} {}", method.as_str()));
            }
            if response.status().is_some_and(|s| (200..300).contains(&s))
                && method == Method::INVITE
                && let Some(Ok(contact)) = response.contacts().next()
            {
                let target = String::from_utf8_lossy(contact.uri()).into_owned();
                dialog.party_mut(route.from.other()).target = target;
            }
        }
        let message = edit.finish();
        self.layer.respond(at.now, &server, message);
    }

    /// A request in a dialog got no final response.
    pub(crate) fn pass_failed(&mut self, at: Present, key: &ClientKey, why: Failure) {
        let Some(passing) = self.passing.get(key) else { return };
        let Some(server) = passing.server else { return };
        let request = passing.request.clone();
        let is_invite = request.method() == Some(Method::INVITE);
        let status = match why {
            // The other side is gone: for whoever hangs up, that is success.
            Failure::FlowFailed if passing.is_bye => 200,
            Failure::FlowFailed => 480,
            Failure::TimedOut if is_invite => 408,
            // RFC 4320 §4.2: the sender of any other request has timed out by itself.
            Failure::TimedOut => return,
        };
        self.reply_status(at, server, &request, status);
    }

    fn route_of(&self, passing: &Passing) -> Onward {
        let unspecified = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let nowhere = Reach {
            transport: sansio::Transport::Udp,
            flow: None,
            local: unspecified,
            peer: unspecified,
        };
        Onward {
            call: passing.call,
            callee_tag: passing.callee_tag.clone(),
            from: passing.from,
            reach: nowhere,
        }
    }
}
