//! The way of a request inside a dialog: what its Route says, what the track knows, and whether
//! both fit.

use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogPhase, DialogTrack, Side};
use crate::encryption::Encryption;
use crate::ports::Reach;
use crate::token::DialogToken;
use sansio::FlowId;
use sip::transaction::Arrival;
use sip::{Message, Method};

/// Where an in-dialog request goes.
#[derive(Debug, Clone)]
pub(crate) struct Onward {
    pub call: Option<u64>,
    pub callee_tag: String,
    pub from: Side,
    pub reach: Reach,
    /// The way back to the sender.
    pub back: Reach,
    /// The sender is hidden from the other side.
    pub hides: bool,
    /// The other side is hidden from the sender.
    pub hides_back: bool,
    /// What holds for the sender's media, and for the other side's.
    pub encryption: [Option<Encryption>; 2],
    /// How many of the request's Routes are ours, and go no further.
    pub routes: usize,
    /// The `[[peer]]` the other side is, while there is another way to it; 0 for a phone.
    pub server: u64,
}

/// What the track says of a request.
enum Known {
    /// It fits a dialog of a call tracked here; so the other side was last reached.
    Fits(Side, Reach),
    /// The call is tracked, and this is no request of a live dialog of it.
    Stranger,
    /// Nothing is remembered: the server was restarted, or the call is long over.
    Nothing,
}

impl EdgeCore {
    /// Opens the Route of an in-dialog request and finds the other side. `None` when the Route is
    /// not ours or was tampered with, and when the dialog is not (any more) one of its call.
    pub(crate) fn onward(
        &mut self,
        at: Present,
        arrival: &Arrival,
        request: Message,
    ) -> Option<(Onward, Message)> {
        let (token, sender, request, on_top) = match self.dialog_token(&request) {
            // What opened is ours.
            Some((token, sender)) => (token, sender, request, 1),
            None => match self.strict_token(&request) {
                Some((token, sender, request)) => (token, sender, request, 0),
                None => {
                    self.counters.forged_tokens += 1;
                    return None;
                }
            },
        };
        let from_tag = request.from_tag()?.to_vec();
        let to_tag = request.to_tag()?.to_vec();
        let routes = on_top + self.our_routes(&request, on_top);
        let (request, routes) = match self.unveiled(&request, routes) {
            Some(unveiled) => (unveiled, 0),
            None => (request, routes),
        };
        let call = self.calls.get(&token.call).map(|_| token.call);
        let (from, last) = match self.learn(&token, (&from_tag, &to_tag), &request, arrival) {
            Known::Fits(side, reach) => (side, Some(reach)),
            Known::Stranger => return None,
            // The relay's session is gone with the track: descriptions would cross untouched.
            Known::Nothing if negotiates(&request) && token.relay_session != 0 => return None,
            Known::Nothing => (sender, None),
        };
        let callee_tag = if from == Side::Callee { from_tag } else { to_tag };
        let callee_tag = String::from_utf8_lossy(&callee_tag).into_owned();
        let reach = self.other_side(at, &token, last, (&request, routes))?;
        let hides = token.policy & DialogToken::HIDES_HOLDER != 0;
        let hides_back = token.policy & DialogToken::HIDES_OTHER != 0;
        let back = self.reach_by(arrival);
        let is_server = token.policy & DialogToken::PEER_IS_SERVER != 0;
        let server = if is_server { token.peer } else { 0 };
        let encryption = token.encryption();
        let way = Onward {
            call,
            callee_tag,
            from,
            reach,
            back,
            hides,
            hides_back,
            encryption,
            routes,
            server,
        };
        Some((way, request))
    }

    /// The way to a party: where its binding is now, which may be nowhere; `last` for one without.
    pub(crate) fn best_reach(&self, at: Present, binding: u64, last: Reach) -> Reach {
        let current = (binding != 0).then(|| self.locations.reach(binding, at.wall)).flatten();
        current.unwrap_or(last)
    }

    /// The current way to the other side: its binding's, else what the dialog knew, else the hint.
    fn other_side(
        &mut self,
        at: Present,
        token: &DialogToken,
        last: Option<Reach>,
        (request, ours): (&Message, usize),
    ) -> Option<Reach> {
        let is_server = token.policy & DialogToken::PEER_IS_SERVER != 0;
        if let Some(last) = last {
            let binding = if is_server { 0 } else { token.peer };
            return Some(self.best_reach(at, binding, last));
        }
        if is_server {
            return self.reach_of_server(token.peer, request, ours);
        }
        let current = (token.peer != 0).then(|| self.locations.reach(token.peer, at.wall));
        current.flatten().or_else(|| {
            let flow: FlowId = token.flow_hint.flow(self.place.node)?;
            self.reach_of_hint(flow)
        })
    }

    /// A way to a peer by a flow that stands or is opened: as the request names it, else as it is
    /// configured.
    pub(crate) fn reach_of_server(&self, id: u64, request: &Message, ours: usize) -> Option<Reach> {
        let named = self.reach_named(id, request, ours);
        named.or_else(|| self.reach_of_peer(id))
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

    /// What the track knows, and what it learns from this request: a new remote target, and the
    /// flow its sender uses now.
    fn learn(
        &mut self,
        token: &DialogToken,
        (from_tag, to_tag): (&[u8], &[u8]),
        request: &Message,
        arrival: &Arrival,
    ) -> Known {
        let reach = self.reach_by(arrival);
        let Some(call) = self.calls.get_mut(&token.call) else { return Known::Nothing };
        let fits = |d: &&mut DialogTrack| {
            let (caller, callee) = (d.caller.tag.as_bytes(), d.callee.tag.as_bytes());
            (caller, callee) == (from_tag, to_tag) || (callee, caller) == (from_tag, to_tag)
        };
        let ended = call.ended;
        let Some(dialog) = call.dialogs.iter_mut().find(fits) else { return Known::Stranger };
        // A BYE may cross a BYE, and an ACK is never answered: both still go to the other side.
        let may_follow = matches!(request.method(), Some(Method::BYE | Method::ACK));
        if (ended || dialog.phase == DialogPhase::Over) && !may_follow {
            return Known::Stranger;
        }
        let Some(side) = dialog.side_of(from_tag) else { return Known::Stranger };
        let party = dialog.party_mut(side);
        let refreshes = matches!(
            request.method().map(|m| m.as_str()),
            Some("INVITE" | "UPDATE" | "SUBSCRIBE" | "NOTIFY")
        );
        if refreshes && let Some(Ok(contact)) = request.contacts().next() {
            party.target = String::from_utf8_lossy(contact.uri()).into_owned();
        }
        party.reach = reach;
        Known::Fits(side, dialog.party(side.other()).reach)
    }

    pub(crate) fn dialog(&mut self, route: &Onward) -> Option<&mut DialogTrack> {
        self.calls.get_mut(&route.call?)?.dialog(route.callee_tag.as_bytes())
    }

    pub(crate) fn answer_due(&mut self, route: &Onward) -> bool {
        let from = route.from;
        self.dialog(route).is_some_and(|d| d.answer_due_from == Some(from))
    }
}

/// Whether the request takes part in offer and answer.
fn negotiates(request: &Message) -> bool {
    match request.method().map(|m| m.as_str()) {
        Some("INVITE") => true,
        Some("UPDATE" | "PRACK" | "ACK") => crate::call::has_sdp(request),
        _ => false,
    }
}
