//! A call that passes through the edge: its dialogs, and that it ends exactly once.

use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogTrack, Side};
use crate::ports::{EdgeEvent, EndCause, Question, RelayAsk, RelayDescription};
use bytes::Bytes;
use sip::transaction::{SendVia, ServerKey};
use sip::{HeaderName, Message, Method, RequestBuilder, ViaBuilder};

/// One call.
#[derive(Debug)]
pub struct Call {
    /// The INVITE that began it, while that is being answered.
    pub(crate) invite: Option<ServerKey>,
    /// The relay session; 0 when no media passes through us.
    pub(crate) relay_session: u64,
    /// Its dialogs: one per answered or ringing branch.
    pub(crate) dialogs: Vec<DialogTrack>,
    /// Whether somebody answered.
    pub(crate) answered: bool,
    /// Whether its end was told.
    pub(crate) ended: bool,
}

impl Call {
    pub(crate) fn dialog(&mut self, callee_tag: &[u8]) -> Option<&mut DialogTrack> {
        self.dialogs.iter_mut().find(|d| d.callee.tag.as_bytes() == callee_tag)
    }
}

impl EdgeCore {
    /// Tells the end of a call, once, and forgets it when nothing is under way any more.
    pub(crate) fn end_call(
        &mut self,
        at: Present,
        call: u64,
        cause: EndCause,
        status: Option<u16>,
    ) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if !std::mem::replace(&mut entry.ended, true) {
            let relay_session = entry.relay_session;
            self.calls_live -= 1;
            let at = at.wall;
            self.emit(EdgeEvent::CallEnded { call, relay_session, cause, status, at });
        }
        self.forget_call(call);
    }

    /// Drops an ended call whose INVITE and in-dialog requests are all done.
    pub(crate) fn forget_call(&mut self, call: u64) {
        let Some(entry) = self.calls.get(&call) else { return };
        let busy = entry.invite.is_some_and(|key| self.forwards.contains_key(&key))
            || self.passing.values().any(|p| p.call() == Some(call));
        if entry.ended && !busy {
            self.calls.remove(&call);
        }
    }

    /// Ends a call from the middle: CANCEL while it rings, BYE both ways once it is answered.
    pub(crate) fn hang_up(&mut self, at: Present, call: u64, cause: EndCause) {
        let Some(entry) = self.calls.get(&call) else { return };
        if !entry.answered {
            if let Some(invite) = entry.invite {
                self.abort_forward(at, invite, 480);
            }
        } else if !entry.ended {
            let dialogs = entry.dialogs.clone();
            for mut dialog in dialogs {
                self.send_bye(at, &mut dialog, Side::Caller, cause);
                self.send_bye(at, &mut dialog, Side::Callee, cause);
            }
        }
        self.end_call(at, call, cause, None);
    }

    /// A BYE of ours to the party on `side`, in the name of the other.
    fn send_bye(&mut self, at: Present, dialog: &mut DialogTrack, side: Side, cause: EndCause) {
        let number = dialog.own_cseq(side.other());
        let reason = cause.as_str();
        if let Some((via, bye)) = self.own_request(at, dialog, side, (Method::BYE, number), reason)
        {
            // A full transaction table must not keep a call from ending: the peer will time out.
            let sent = self.layer.send_request(at.now, via, bye);
            tracing::debug!(?sent, "BYE of our own");
        }
    }

    /// A request of ours to the party on `side`, in the name of the other, and the way it goes.
    fn own_request(
        &mut self,
        at: Present,
        dialog: &DialogTrack,
        side: Side,
        (method, number): (Method<'static>, u32),
        reason: &str,
    ) -> Option<(SendVia, Message)> {
        let (to, from) = (dialog.party(side), dialog.party(side.other()));
        let mut reach = to.reach;
        if let Some(current) = self.locations.reach(to.binding, at.wall) {
            reach = current;
        }
        let flow = self.flow_of(&reach)?;
        let via = ViaBuilder::new(
            reach.transport,
            self.place.advertise(reach.transport, Some(reach.local)),
        );
        let via = via.branch(&self.new_branch()).rport().build();
        let mut builder = RequestBuilder::new(method, &to.target)
            .header(HeaderName::VIA, via)
            .header(HeaderName::MAX_FORWARDS, "70");
        for route in &to.routes {
            builder = builder.header(HeaderName::ROUTE, route);
        }
        builder = builder
            .header(HeaderName::FROM, format!("{};tag={}", from.name, from.tag))
            .header(HeaderName::TO, format!("{};tag={}", to.name, to.tag))
            .header(HeaderName::CALL_ID, &dialog.call_id)
            .header(HeaderName::CSEQ, format!("{number} {}", method.as_str()));
        if !reason.is_empty() {
            let reason = format!("SIP;cause=200;text=\"{reason}\"");
            builder = builder.header(HeaderName::REASON, reason);
        }
        Some((SendVia { flow, transport: reach.transport }, builder.build()))
    }

    /// Accepts and at once ends a dialog whose answer nobody can use (RFC 3261 §13.2.2.4).
    pub(crate) fn send_ack_and_bye(&mut self, at: Present, dialog: &mut DialogTrack) {
        let invite = dialog.caller.cseq.highest();
        let Some((flow, ack)) =
            self.own_request(at, dialog, Side::Callee, (Method::ACK, invite), "")
        else {
            return;
        };
        self.transmit(flow.flow, ack.bytes().clone());
        self.send_bye(at, dialog, Side::Callee, EndCause::Failed);
    }

    /// Asks the relay to carry a description across.
    pub(crate) fn relay_question(
        dialog: &DialogTrack,
        from: Side,
        sdp: Bytes,
        is_offer: bool,
    ) -> Question {
        let description = RelayDescription {
            session: dialog.relay_session,
            branch: dialog.branch,
            from_caller: from == Side::Caller,
            sdp,
            from: dialog.party(from).media,
            toward: dialog.party(from.other()).media,
            source: dialog.party(from).reach.peer.ip(),
        };
        Question::Relay(if is_offer {
            RelayAsk::Offer(description)
        } else {
            RelayAsk::Answer(description)
        })
    }
}

/// The session description of a message, if that is what its body is.
pub(crate) fn sdp_of(message: &Message) -> Option<Bytes> {
    let content_type = message.header(HeaderName::CONTENT_TYPE)?;
    let media_type = content_type.split(|b| *b == b';').next().unwrap_or(&[]).trim_ascii();
    let is_sdp = media_type.eq_ignore_ascii_case(b"application/sdp");
    (is_sdp && !message.body().is_empty()).then(|| Bytes::copy_from_slice(message.body()))
}
