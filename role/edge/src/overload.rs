//! Overload feedback to peers that understand it (RFC 7339, RFC 7415).
//!
//! A peer that announces `oc` in its Via reads there, in each response, how much to hold back. A
//! response repeats the request's Via, so the answer is written into it as the request comes in.

use crate::core::{EdgeCore, Present};
use sip::{Edit, HeaderName, Message};

/// How long a peer holds back without hearing from us again, in milliseconds (`oc-validity`).
const VALIDITY_MS: u32 = 1_000;
/// A second of an idle shard, in requests, for peers that want a rate.
const RATE_MAX: u64 = 10_000;

/// What this shard turns away, as the feedback tells it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Feedback {
    shed_permille: u16,
}

impl EdgeCore {
    /// The share of new work this shard turns away, in thousandths.
    pub fn set_load(&mut self, shed_permille: u16) {
        self.feedback.shed_permille = shed_permille;
    }

    /// The request with our feedback in its top Via, if its sender announces that it listens.
    pub(crate) fn with_feedback(&self, at: Present, request: Message) -> Message {
        if !wants_feedback(&request) {
            return request;
        }
        let Ok(via) = request.top_via() else { return request };
        let Some(value) = self.feedback.via(via.raw(), at.wall.as_millis()) else { return request };
        Edit::new(&request).replace_first(HeaderName::VIA, value).finish()
    }
}

/// Whether the sender may have announced `oc`: one look at a hundred bytes.
pub(crate) fn wants_feedback(request: &Message) -> bool {
    let via = request.header(HeaderName::VIA).unwrap_or_default();
    via.windows(3).any(|w| w == b";oc")
}

impl Feedback {
    /// The Via with `oc` answered; `None` if it does not announce it.
    fn via(self, via: &[u8], now_ms: u64) -> Option<Vec<u8>> {
        let mut parts = via.split(|b| *b == b';');
        let mut value = parts.next()?.to_vec();
        let (mut announced, mut algorithms) = (false, Vec::new());
        for part in parts {
            let (name, given) = match part.iter().position(|b| *b == b'=') {
                Some(at) => (part[..at].trim_ascii(), &part[at + 1..]),
                None => (part.trim_ascii(), &b""[..]),
            };
            if name.eq_ignore_ascii_case(b"oc") {
                announced = true;
            } else if name.eq_ignore_ascii_case(b"oc-algo") {
                algorithms = given.to_ascii_lowercase();
            } else if !name.get(..3).is_some_and(|head| head.eq_ignore_ascii_case(b"oc-")) {
                value.push(b';');
                value.extend_from_slice(part);
            }
        }
        value.extend_from_slice(self.answer(&algorithms, now_ms).as_bytes());
        announced.then_some(value)
    }

    fn answer(self, algorithms: &[u8], now_ms: u64) -> String {
        let shed = u64::from(self.shed_permille.min(1000));
        let lists = |word: &[u8]| algorithms.windows(word.len()).any(|w| w == word);
        let (oc, algorithm) = match lists(b"rate") && !lists(b"loss") {
            true => (RATE_MAX * (1000 - shed) / 1000, "rate"),
            false => (shed.div_ceil(10), "loss"),
        };
        // RFC 7339 §4.4: with 0 what was asked for before ends at once.
        let validity = if shed == 0 { 0 } else { VALIDITY_MS };
        let (secs, millis) = (now_ms / 1000, now_ms % 1000);
        let about = format!(";oc={oc};oc-algo=\"{algorithm}\";oc-validity={validity}");
        format!("{about};oc-seq={secs}.{millis:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(permille: u16, via: &str) -> Option<String> {
        let feedback = Feedback { shed_permille: permille };
        feedback.via(via.as_bytes(), 1_282_321_615_781).map(|v| String::from_utf8(v).unwrap())
    }

    #[test]
    fn a_peer_that_announces_oc_reads_how_much_to_hold_back() {
        let asked = "SIP/2.0/TCP p1.example.net;branch=z9hG4bK2d4790.1;oc;oc-algo=\"loss,A\"";
        let told = "SIP/2.0/TCP p1.example.net;branch=z9hG4bK2d4790.1;oc=21;oc-algo=\"loss\"\
                    ;oc-validity=1000;oc-seq=1282321615.781";
        assert_eq!(via(205, asked).unwrap(), told);
        assert!(via(0, asked).unwrap().contains(";oc=0;oc-algo=\"loss\";oc-validity=0;"));
        assert!(via(1000, asked).unwrap().contains(";oc=100;"));
    }

    #[test]
    fn rate_is_for_peers_that_know_nothing_else() {
        let only = "SIP/2.0/UDP h;oc;oc-algo=\"rate\"";
        assert!(via(250, only).unwrap().contains(";oc=7500;oc-algo=\"rate\""));
        let both = "SIP/2.0/UDP h;OC;oc-algo=\"loss,rate\"";
        assert!(via(250, both).unwrap().contains(";oc=25;oc-algo=\"loss\""));
    }

    #[test]
    fn who_does_not_ask_is_not_told() {
        assert_eq!(via(500, "SIP/2.0/UDP h;branch=z9hG4bK;ocean=1"), None);
        assert_eq!(via(500, "SIP/2.0/UDP h;branch=z9hG4bK;oc-algo=\"loss\""), None);
    }
}
