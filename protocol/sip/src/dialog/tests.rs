//! Tests of dialogs.

mod answer;
mod offer_answer;
mod refer;
mod reliable;
mod session_timer;
mod state;
mod subscription;

use super::{Dialog, DialogSet};
use crate::{Edit, HeaderName, Message, Method, RequestBuilder, response_to};

fn invite() -> Message {
    RequestBuilder::new(Method::INVITE, "sip:bob@example.com")
        .header(HeaderName::VIA, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        .header(HeaderName::MAX_FORWARDS, "70")
        .header(HeaderName::FROM, "Alice <sip:alice@example.com>;tag=a1")
        .header(HeaderName::TO, "Bob <sip:bob@example.com>")
        .header(HeaderName::CALL_ID, "call-1")
        .header(HeaderName::CSEQ, "10 INVITE")
        .header(HeaderName::CONTACT, "<sip:alice@192.0.2.1;ob>")
        .build()
}

/// The INVITE as it arrives behind two proxies.
fn received() -> Message {
    Edit::new(&invite()).append(HeaderName::RECORD_ROUTE, "<sip:p2;lr>, <sip:p1;lr>").finish()
}

fn answer(status: u16, tag: &str) -> Message {
    response_to(&received(), status, "")
        .to_tag(tag)
        .record_route()
        .header(HeaderName::CONTACT, format!("<sip:bob@{tag}.example.com>"))
        .build()
}

fn uac(status: u16) -> Dialog {
    Dialog::from_response(&invite(), &answer(status, "b1")).unwrap()
}

fn uas() -> Dialog {
    Dialog::from_request(&received(), "b1").unwrap()
}

fn set() -> DialogSet {
    DialogSet::new(invite())
}

fn routes(message: &Message) -> Vec<&[u8]> {
    message.values(HeaderName::ROUTE).collect()
}
