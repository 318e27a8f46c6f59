//! BYEs of our own: an administrator, silence or a timer ended the call, and both sides are told.

use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogTrack, Side};
use crate::ports::EndCause;
use sip::transaction::{ClientKey, SendVia};
use sip::{Edit, HeaderName, Method};

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
        let reason = format!("SIP;cause=200;text=\"{}\"", cause.as_str());
        let written = self.own_request(at, dialog, (side, number), Method::BYE, |bye| {
            bye.header(HeaderName::REASON, &reason)
        });
        let Some((via, bye)) = written else { return };
        // A full transaction table must not keep a call from ending: the peer will time out.
        let sent = self.layer.send_request(at.now, via, bye.clone());
        tracing::debug!(?sent, "BYE of our own");
        // Not by its address: who is known by a certificate calls from anywhere.
        let peer = dialog.party(side).peer;
        if let Ok(client) = sent
            && peer != 0
            && via.transport.is_reliable()
        {
            self.own_byes.insert(client, (peer, bye));
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
}
