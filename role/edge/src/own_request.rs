//! Requests of our own in a dialog between two others: to one party, in the name of the other.

use crate::call::session_id_value;
use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogTrack, Side};
use sip::transaction::SendVia;
use sip::{HeaderName, Message, Method, RequestBuilder};

impl EdgeCore {
    /// A request of ours to the party on `side`, under the CSeq `number` of the other, and the way it
    /// goes. `complete` adds what is its own.
    pub(crate) fn own_request(
        &mut self,
        at: Present,
        dialog: &DialogTrack,
        (side, number): (Side, u32),
        method: Method,
        complete: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Option<(SendVia, Message)> {
        let (to, from) = (dialog.party(side), dialog.party(side.other()));
        let words = dialog.words_for(side);
        let reach = self.best_reach(at, to.binding, to.reach);
        let flow = self.flow_of(&reach)?;
        let via = self.own_via(reach.transport, reach.local);
        let cseq = format!("{number} {}", method.as_str());
        let mut builder = RequestBuilder::new(method, &to.target)
            .header(HeaderName::VIA, via)
            .header(HeaderName::MAX_FORWARDS, "70");
        for route in &to.routes {
            builder = builder.header(HeaderName::ROUTE, route);
        }
        let id = self.calls.get(&dialog.call).map(|c| c.session_id.as_str()).unwrap_or_default();
        let builder = builder
            .header(HeaderName::FROM, format!("{};tag={}", words.0, from.tag))
            .header(HeaderName::TO, format!("{};tag={}", words.1, to.tag))
            .header(HeaderName::CALL_ID, words.2)
            .header(HeaderName::CSEQ, cseq)
            .header(HeaderName::SESSION_ID, session_id_value(id));
        let request = crate::strict::in_routers_words(complete(builder).build());
        Some((SendVia { flow, transport: reach.transport }, request))
    }
}
