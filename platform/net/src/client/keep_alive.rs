//! Keep-alives over UDP: STUN requests to the SIP port, whose answers prove the way there and back
//! (RFC 5626 §3.5.2, §4.4.2).

use bytes::Bytes;
use ice::stun::{Builder, Class, Message};
use sansio::Entropy;

use crate::entropy::OsEntropy;

/// Requests a server may leave without an answer before it is taken for one that knows no STUN. One
/// may be lost, and one may come before the server knows us.
const UNANSWERED_MAX: u32 = 3;

/// The keep-alives of one socket.
#[derive(Debug, Default)]
pub(super) struct UdpKeepAlive {
    /// The last request; an answer is good once.
    asked: Option<[u8; 12]>,
    unanswered: u32,
    answers: bool,
}

impl UdpKeepAlive {
    /// What to send now: STUN, or CRLFs to a server that answered none of the first few.
    pub(super) fn next(&mut self) -> Bytes {
        if !self.answers && self.unanswered >= UNANSWERED_MAX {
            return Bytes::from_static(b"\r\n\r\n");
        }
        self.unanswered += 1;
        let mut id = [0; 12];
        OsEntropy.fill(&mut id);
        self.asked = Some(id);
        Builder::request(id).finish_bare().into()
    }

    /// Whether a datagram answers the last request. An error does too: somebody is there.
    pub(super) fn is_answered_by(&mut self, datagram: &[u8]) -> bool {
        let Ok(message) = Message::parse(datagram) else { return false };
        let is_answer = matches!(message.class(), Class::Success | Class::Error);
        let ours = is_answer && self.asked == Some(message.transaction_id());
        if ours {
            (self.asked, self.unanswered, self.answers) = (None, 0, true);
        }
        ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(request: &[u8]) -> [u8; 12] {
        Message::parse(request).unwrap().transaction_id()
    }

    #[test]
    fn only_the_answer_to_the_last_request_counts_and_only_once() {
        let mut keep_alive = UdpKeepAlive::default();
        let (first, second) = (keep_alive.next(), keep_alive.next());
        let answer = |to: &[u8]| Builder::new(Class::Success, id(to)).finish_bare();
        assert!(!keep_alive.is_answered_by(&answer(&first)), "late");
        assert!(!keep_alive.is_answered_by(&second), "a reflected request");
        assert!(!keep_alive.is_answered_by(b"\r\n"));
        assert!(keep_alive.is_answered_by(&answer(&second)));
        assert!(!keep_alive.is_answered_by(&answer(&second)), "twice");
    }

    #[test]
    fn a_server_without_stun_gets_line_ends_and_one_with_it_goes_on_getting_stun() {
        let mut keep_alive = UdpKeepAlive::default();
        let sent: Vec<Bytes> = (0..5).map(|_| keep_alive.next()).collect();
        let is_stun = |bytes: &Bytes| Message::parse(bytes).is_ok();
        assert_eq!(sent.iter().filter(|b| is_stun(b)).count(), 3);
        assert_eq!(sent[4], &b"\r\n\r\n"[..]);

        let mut keep_alive = UdpKeepAlive::default();
        let request = keep_alive.next();
        let answer = Builder::new(Class::Success, id(&request)).finish_bare();
        assert!(keep_alive.is_answered_by(&answer));
        assert!((0..9).all(|_| is_stun(&keep_alive.next())), "silence is now the link's");
    }
}
