//! The door: what is not SIP, or not for us, goes no further.

use crate::core::{EdgeCore, Inbound, Present};
use crate::dialog_track::Side;
use crate::ports::EdgeEvent;
use crate::token::DialogToken;
use sip::{HeaderName, Message, SipUri, response_to};

impl EdgeCore {
    /// Parses an inbound message. What cannot be parsed is answered if it can be, and counted.
    pub(crate) fn admit(&mut self, inbound: &Inbound) -> Option<Message> {
        match Message::parse(inbound.message.clone()) {
            Ok(message) => Some(message),
            Err(error) => {
                self.counters.malformed += 1;
                self.emit(EdgeEvent::Suspicious {
                    source: inbound.peer,
                    sign: net::Sign::Malformed,
                });
                tracing::debug!(%error, peer = %inbound.peer, "malformed message");
                self.answer_malformed(inbound, error.status());
                None
            }
        }
    }

    /// Notes in the top Via of a request where it came from (RFC 3261 §18.2.1, RFC 3581 §4).
    /// A peer that understands it hears how loaded we are (RFC 7339).
    pub(crate) fn stamped(&mut self, at: Present, inbound: &Inbound, message: Message) -> Message {
        match message.is_request() {
            true => {
                let message = sip::proxy::forward::received_from(&message, inbound.peer);
                self.with_feedback(at, message)
            }
            false => message,
        }
    }

    /// The shard that tracks this request's dialog, if it is not this one.
    pub(crate) fn other_owner(&self, message: &Message) -> Option<u16> {
        message.to_tag().filter(|_| self.place.shards > 1)?;
        let top = self.dialog_token(message);
        let token = top.map(|(token, _)| token);
        let token = token.or_else(|| self.strict_token(message).map(|(token, ..)| token))?;
        let owner = u16::from(token.shard);
        (owner != self.place.shard && owner < self.place.shards).then_some(owner)
    }

    /// The opened token of a request's top Route, if that is one of ours, and who sent the request:
    /// the tag of the one who began the dialog is in the seal.
    pub(crate) fn dialog_token(&self, message: &Message) -> Option<(DialogToken, Side)> {
        if !message.is_request() {
            return None;
        }
        self.opened(message.top_route()?.user()?, message)
    }

    /// The token `sealed` in a request's dialog, and who sent the request.
    pub(crate) fn opened(&self, sealed: &[u8], message: &Message) -> Option<(DialogToken, Side)> {
        let call_id = self.real_call_id(message);
        let tags = [(message.from_tag(), Side::Caller), (message.to_tag(), Side::Callee)];
        tags.into_iter().find_map(|(tag, side)| {
            let token = self.tokens.open(sealed, &call_id, tag?).ok()?;
            Some((token, side))
        })
    }

    /// Whether a URI names this server: one of its advertised addresses, or a domain it serves.
    pub(crate) fn is_ours(&self, uri: &SipUri<'_>) -> bool {
        let (host, port) = uri.host_port();
        let named = || {
            self.place.listeners.iter().any(|l| {
                let (ours, our_port) = split_host_port(&l.advertise);
                ours.eq_ignore_ascii_case(host) && port.is_none_or(|p| Some(p) == our_port)
            })
        };
        // Most write the domain.
        self.directory.is_local(host) || named()
    }

    fn answer_malformed(&mut self, inbound: &Inbound, status: u16) {
        let Some(message) = Message::parse_lenient(inbound.message.clone()) else { return };
        let is_ack = message.method().is_some_and(|m| m.as_str() == "ACK");
        if !message.is_request() || is_ack || message.header(HeaderName::VIA).is_none() {
            return;
        }
        let message = match message.top_via() {
            Ok(_) => sip::proxy::forward::received_from(&message, inbound.peer),
            Err(_) => message,
        };
        let reason = sip::reason_phrase(status);
        let tag = self.entropy.token(10);
        let response = response_to(&message, status, reason).to_tag(&tag).build();
        self.transmit(inbound.flow, response.bytes().clone());
    }
}

/// Splits `host:port`, with or without a port, IPv6 in brackets.
pub(crate) fn split_host_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_host_port;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(split_host_port("192.0.2.1:5060"), ("192.0.2.1", Some(5060)));
        assert_eq!(split_host_port("sip.example.com"), ("sip.example.com", None));
        assert_eq!(split_host_port("[2001:db8::1]:5061"), ("[2001:db8::1]", Some(5061)));
        assert_eq!(split_host_port("[2001:db8::1]"), ("[2001:db8::1]", None));
    }
}
