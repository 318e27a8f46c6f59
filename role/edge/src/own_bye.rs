//! BYEs of our own: an administrator, silence or a timer ended the call, and both sides are told.

use crate::call::session_id_value;
use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogTrack, Side};
use crate::ports::EndCause;
use sip::transaction::{ClientKey, SendVia};
use sip::{Edit, HeaderName, Message, Method, RequestBuilder};

impl EdgeCore {
    /// A BYE of ours to the party on `side`, in the name of the other.
    pub(crate) fn send_bye(
        &mut self,
        at: Present,
        dialog: &mut DialogTrack,
        side: Side,
        cause: EndCause,
    ) {
        let number = dialog.own_cseq(side.other());
        let Some((via, bye)) = self.own_bye(at, dialog, side, number, cause.as_str()) else {
            return;
        };
        // A full transaction table must not keep a call from ending: the peer will time out.
        let sent = self.layer.send_request(at.now, via, bye.clone());
        tracing::debug!(?sent, "BYE of our own");
        let source = dialog.party(side).reach.peer.ip();
        let peer = self.peers.by_source(source).filter(|_| via.transport.is_reliable());
        if let (Ok(client), Some(peer)) = (sent, peer.and_then(|number| self.peers.get(number))) {
            self.own_byes.insert(client, (peer.id, bye));
        }
    }

    /// The connection for a BYE of ours to a peer is gone: it goes once more by another one.
    pub(crate) fn bye_failed(&mut self, at: Present, key: &ClientKey) {
        let Some((peer, bye)) = self.own_byes.remove(key) else { return };
        let Some(reach) = self.reach_of_server(peer, &bye, 0) else { return };
        let Some(flow) = self.flow_of(&reach) else { return };
        let via = self.own_via(reach.transport, reach.local);
        let again = Edit::new(&bye).replace_first(HeaderName::VIA, via).finish();
        let via = SendVia { flow, transport: reach.transport };
        let sent = self.layer.send_request(at.now, via, again);
        tracing::debug!(?sent, "BYE of our own, by another connection");
    }

    /// A BYE of ours to the party on `side`, in the name of the other, and the way it goes.
    fn own_bye(
        &mut self,
        at: Present,
        dialog: &DialogTrack,
        side: Side,
        number: u32,
        reason: &str,
    ) -> Option<(SendVia, Message)> {
        let (to, from) = (dialog.party(side), dialog.party(side.other()));
        let words = dialog.words_for(side);
        let reach = self.best_reach(at, to.binding, to.reach);
        let flow = self.flow_of(&reach)?;
        let via = self.own_via(reach.transport, reach.local);
        let mut builder = RequestBuilder::new(Method::BYE, &to.target)
            .header(HeaderName::VIA, via)
            .header(HeaderName::MAX_FORWARDS, "70");
        for route in &to.routes {
            builder = builder.header(HeaderName::ROUTE, route);
        }
        let id = self.calls.get(&dialog.call).map(|c| c.session_id.as_str()).unwrap_or_default();
        let bye = builder
            .header(HeaderName::FROM, format!("{};tag={}", words.0, from.tag))
            .header(HeaderName::TO, format!("{};tag={}", words.1, to.tag))
            .header(HeaderName::CALL_ID, words.2)
            .header(HeaderName::CSEQ, format!("{number} BYE"))
            .header(HeaderName::SESSION_ID, session_id_value(id))
            .header(HeaderName::REASON, format!("SIP;cause=200;text=\"{reason}\""))
            .build();
        let bye = crate::strict::in_routers_words(bye);
        Some((SendVia { flow, transport: reach.transport }, bye))
    }
}
