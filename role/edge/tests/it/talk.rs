//! An answered call, ready for what comes in its dialog.

use crate::lab::{EMPTY, Lab, request, respond, text};
use edge::EdgeEvent;
use sip::{HeaderName, Message};

pub const BOB: &str = "sip:user2@example.com";

/// An answered call between phones 1 and 2: what the caller and the callee know.
pub struct Talk {
    pub lab: Lab,
    pub ok: Message,
    pub invite: Message,
}

pub fn talk(shards: u16) -> Talk {
    talk_in(Lab::new(shards))
}

pub fn talk_in(mut lab: Lab) -> Talk {
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 200, true));
    let ok = lab.next(1);
    let mut talk = Talk { lab, ok, invite };
    let ack = talk.by_caller("ACK", 2);
    talk.lab.send(1, ack);
    assert_eq!(talk.lab.next(2).method(), Some(sip::Method::ACK));
    talk
}

impl Talk {
    pub fn by_caller(&self, method: &str, cseq: u32) -> String {
        let route = text(self.ok.header(HeaderName::RECORD_ROUTE));
        request(method, 1, "user1", "sip:phone2@192.0.2.2:5060", "")
            .replace("To: <sip:phone2@192.0.2.2:5060>", &format!("To: <{BOB}>;tag=to2"))
            .replace(&format!("CSeq: 1 {method}"), &format!("CSeq: {cseq} {method}"))
            + &format!("Route: {route}\r\n{EMPTY}")
    }

    pub fn by_callee(&self, method: &str, cseq: u32) -> String {
        let route = text(self.invite.header(HeaderName::RECORD_ROUTE));
        format!(
            "{method} sip:user1@192.0.2.1:5060 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK2{method}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <{BOB}>;tag=to2\r\nTo: <sip:user1@example.com>;tag=from1\r\n\
             Call-ID: call-1\r\nCSeq: {cseq} {method}\r\nRoute: {route}\r\n{EMPTY}"
        )
    }

    /// The call's key.
    pub fn call(&self) -> u64 {
        let answered = self.lab.events.iter().find_map(|e| match e {
            EdgeEvent::CallAnswered { call, .. } => Some(*call),
            _ => None,
        });
        answered.expect("the call was answered")
    }
}

/// A request of [`Talk`] with a session description.
pub fn described(request: &str, sdp: &str) -> String {
    let head = request.strip_suffix(EMPTY).expect("no body yet");
    let length = sdp.len();
    format!("{head}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}")
}

pub const OFFER: &str = "v=0\r\nm=audio 6000 RTP/AVP 0\r\na=sendonly\r\n";
