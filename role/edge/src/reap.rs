//! Answers nobody takes: a 2xx that comes when its INVITE is over here is acknowledged and its
//! dialog ended at once (RFC 3261 §13.2.2.4), or the phone would believe it is in a call.

use crate::core::{EdgeCore, Present};
use crate::dialog_track::DialogPhase;
use crate::ports::Reach;
use crate::token::DialogToken;
use sip::transaction::{Arrival, SendVia};
use sip::{HeaderName, Message, Method, RequestBuilder};

impl EdgeCore {
    /// A response that fits no transaction. Only a 2xx to an INVITE we sent matters: the
    /// Record-Route we sealed is in it.
    pub(crate) fn handle_stray(&mut self, at: Present, arrival: &Arrival, response: &Message) {
        if !is_invite_success(response) {
            return;
        }
        let Some((token, _)) = self.recorded_token(response) else { return };
        let tag = response.to_tag().unwrap_or_default();
        let confirmed = self.calls.get_mut(&token.call).and_then(|c| c.dialog(tag));
        if confirmed.is_some_and(|d| d.phase == DialogPhase::Confirmed) {
            return;
        }
        let reach = Reach {
            transport: arrival.transport,
            flow: Some(arrival.flow),
            local: self.local_of(),
            peer: arrival.peer,
        };
        tracing::info!(call = token.call, "late answer ended");
        self.reap(at, reach, response, true);
    }

    /// Acknowledges a 2xx by `reach`, and ends its dialog unless that was done before.
    pub(crate) fn reap(&mut self, at: Present, reach: Reach, response: &Message, with_bye: bool) {
        let Some(flow) = self.flow_of(&reach) else { return };
        let Ok(number) = response.cseq().map(|c| c.number) else { return };
        let ack = self.reaping(reach, response, (Method::ACK, number));
        self.transmit(flow, ack.bytes().clone());
        if with_bye {
            let bye = self.reaping(reach, response, (Method::BYE, number.saturating_add(1)));
            let via = SendVia { flow, transport: reach.transport };
            let sent = self.layer.send_request(at.now, via, bye);
            tracing::debug!(?sent, "BYE for an answer nobody takes");
        }
    }

    /// A request in the caller's name in the dialog `response` made.
    fn reaping(
        &mut self,
        reach: Reach,
        response: &Message,
        (method, number): (Method<'static>, u32),
    ) -> Message {
        let above = self.recorded_token(response).map_or(0, |(_, at)| at);
        let routes: Vec<Vec<u8>> =
            response.values(HeaderName::RECORD_ROUTE).take(above).map(<[u8]>::to_vec).collect();
        let contact = response.contacts().next().and_then(Result::ok);
        let to = response.to().ok();
        let target = contact.or(to).map(|c| c.uri().to_vec()).unwrap_or_default();
        let via = self.own_via(reach.transport, reach.local);
        let mut builder = RequestBuilder::new(method, target)
            .header(HeaderName::VIA, via)
            .header(HeaderName::MAX_FORWARDS, "70");
        for route in routes.iter().rev() {
            builder = builder.header(HeaderName::ROUTE, route);
        }
        let request = builder
            .copy(response, HeaderName::FROM)
            .copy(response, HeaderName::TO)
            .copy(response, HeaderName::CALL_ID)
            .header(HeaderName::CSEQ, format!("{number} {}", method.as_str()))
            .build();
        crate::strict::in_routers_words(request)
    }

    /// The token among a response's Record-Routes, and its place.
    fn recorded_token(&self, response: &Message) -> Option<(DialogToken, usize)> {
        let (call_id, tag) = (self.real_call_id(response), response.from_tag()?);
        response.record_routes().enumerate().find_map(|(at, route)| {
            let route = route.ok()?;
            let uri = route.sip_uri().ok()?;
            let token = self.tokens.open(uri.user()?, &call_id, tag).ok()?;
            Some((token, at))
        })
    }
}

pub(crate) fn is_invite_success(response: &Message) -> bool {
    response.status().is_some_and(|s| (200..300).contains(&s))
        && response.cseq().is_ok_and(|c| c.method == Method::INVITE)
}
