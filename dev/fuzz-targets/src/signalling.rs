//! SIP: messages, streams of them, and the values of their headers.

use bytes::Bytes;
use sip::{
    Aor, Edit, Frame, HeaderName, Message, NameAddr, StreamFramer, Uri, Via, digest, response_to,
};

/// One datagram: parsed, read through, edited, answered.
pub fn sip_message(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Some(request) = Message::parse_lenient(bytes.clone()) {
        read(&request);
        let answer = response_to(&request, 400, "").to_tag("t").record_route().build();
        assert!(answer.header(HeaderName::VIA).is_some());
    }
    let Ok(message) = Message::parse(bytes) else { return };
    read(&message);
    assert_eq!(Edit::new(&message).finish(), message, "no edit changes nothing");
    let pushed = Edit::new(&message).prepend(HeaderName::VIA, "SIP/2.0/UDP p").finish();
    assert_eq!(Message::parse(pushed.bytes().clone()).as_ref(), Ok(&pushed));
    let popped = Edit::new(&pushed).remove_first(HeaderName::VIA).finish();
    assert_eq!(popped, message, "pushing and popping a Via changes nothing");
}

fn read(message: &Message) {
    let _ =
        (message.method(), message.status(), message.reason(), Uri::parse(message.request_uri()));
    let _ = (message.from_tag(), message.to_tag(), message.cseq(), message.call_id());
    let _ = (message.max_forwards(), message.expires(), message.content_type(), message.body());
    message.vias().filter_map(Result::ok).for_each(|v| _ = v.response_address());
    let addresses = message.contacts().chain(message.routes()).chain(message.record_routes());
    addresses.filter_map(Result::ok).for_each(|a| read_address(&a));
    for (name, _) in message.header_lines() {
        assert!(message.header(name).is_some());
        assert!(message.values(name).count() <= message.bytes().len());
    }
}

/// A stream in pieces: the first byte says how large they are. Whole or in pieces, the frames are
/// the same, and the parser reads each to its last byte.
pub fn sip_stream(data: &[u8]) {
    let [size, stream @ ..] = data else { return };
    let whole = frames(stream.chunks(stream.len().max(1)));
    let pieces = frames(stream.chunks(usize::from(*size).max(1)));
    assert_eq!(whole, pieces, "framing depends on how the bytes arrive");
}

fn frames<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Bytes> {
    let mut framer = StreamFramer::default();
    let mut messages = Vec::new();
    for chunk in chunks {
        framer.push(chunk);
        while let Ok(Some(frame)) = framer.next_frame() {
            if let Frame::Message(bytes) = frame {
                if let Ok(message) = Message::parse(bytes.clone()) {
                    assert_eq!(message.bytes(), &bytes, "framer and parser disagree");
                }
                messages.push(bytes);
            }
        }
    }
    messages
}

/// One URI, and the address of record it names.
pub fn sip_uri(data: &[u8]) {
    let Ok(uri) = Uri::parse(data) else { return };
    assert_eq!(uri.raw(), data);
    if let Uri::Sip(sip) = uri {
        let _ = (sip.user(), sip.password(), sip.ip(), sip.params().count(), sip.headers());
        let aor = Aor::from_uri(&sip);
        assert_eq!(aor.as_str().parse(), Ok(aor), "an address of record is its own normal form");
    }
}

/// One From, To or Contact value, or one Via value.
pub fn sip_address(data: &[u8]) {
    if let Ok(address) = NameAddr::parse(data) {
        read_address(&address);
        assert_eq!(NameAddr::parse(address.raw()), Ok(address));
    }
    if let Ok(via) = Via::parse(data) {
        let _ = (via.branch(), via.received(), via.rport(), via.maddr(), via.response_address());
        assert_eq!(Via::parse(via.raw()), Ok(via));
    }
}

fn read_address(address: &NameAddr<'_>) {
    let _ = (address.display_name(), address.tag(), address.expires(), address.q());
    let _ = (address.instance(), address.reg_id(), address.sip_uri().map(|u| Aor::from_uri(&u)));
}

/// One WWW-Authenticate or Authorization value.
pub fn sip_digest(data: &[u8]) {
    let mut count = 0;
    for challenge in digest::challenges(data) {
        count += 1;
        let _ = (challenge.realm(), challenge.nonce(), challenge.opaque(), challenge.is_stale());
        let who = digest::Answer {
            username: "a",
            ha1: "0",
            method: b"INVITE",
            uri: b"sip:b",
            cnonce: "c",
            nc: 1,
        };
        if let Some(answer) = digest::answer(&challenge, &who) {
            assert!(digest::Credentials::parse(answer.as_bytes()).is_some());
        }
    }
    assert!(count <= data.len());
    if let Some(credentials) = digest::Credentials::parse(data) {
        let _ = (credentials.username(), credentials.realm(), credentials.nc());
        assert!(!digest::verify(&credentials, b"INVITE", "no such hash"));
    }
}
