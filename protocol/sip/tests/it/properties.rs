//! Whatever comes: no panic, no byte changed, framer and parser of one mind.

use bytes::Bytes;
use proptest::prelude::*;
use sip::{
    Aor, Edit, Frame, HeaderName, Message, NameAddr, StreamFramer, Uri, Via, digest, response_to,
    split_list,
};

use super::vector;

const SEEDS: [&str; 12] = [
    "wsinv",
    "intmeth",
    "esc01",
    "longreq",
    "dblreq",
    "semiuri",
    "transports",
    "mpart01",
    "unreason",
    "multi01",
    "inv2543",
    "regaut01",
];

/// A torture message with some bytes changed, cut or doubled.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..8);
    (prop::sample::select(SEEDS.as_slice()), edits).prop_map(|(name, edits)| {
        let mut bytes = vector(&format!("rfc4475/{name}"));
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n :;,\"<>\\=%@"[usize::from(byte) % 13]),
            }
        }
        bytes
    })
}

fn touch(message: &Message) {
    let _ = (message.method(), message.status(), message.request_uri(), message.reason());
    let _ = (message.top_via().map(|v| v.response_address()), message.from_tag(), message.to_tag());
    let _ = (message.cseq(), message.max_forwards(), message.expires(), message.content_type());
    let _ = message.contacts().chain(message.routes()).filter_map(Result::ok).map(|c| {
        (c.expires(), c.q(), c.instance(), c.reg_id(), c.sip_uri().map(|u| Aor::from_uri(&u)))
    });
    for (name, value) in message.header_lines() {
        let _ = (name.as_str(), split_list(value).count());
    }
}

/// Tags and branch as whoever takes the headers apart finds them.
fn read_slowly(message: &Message) -> [Option<Vec<u8>>; 3] {
    let tag = |name| {
        let value = message.header(name)?;
        NameAddr::parse(value).ok()?.tag().map(<[u8]>::to_vec)
    };
    let via = message.values(HeaderName::VIA).next().and_then(|via| Via::parse(via).ok());
    let branch = via.and_then(|via| via.branch().map(<[u8]>::to_vec));
    [tag(HeaderName::FROM), tag(HeaderName::TO), branch]
}

/// The same as the message says.
fn read(message: &Message) -> [Option<Vec<u8>>; 3] {
    let found = [message.from_tag(), message.to_tag(), message.top_branch()];
    found.map(|value| value.map(<[u8]>::to_vec))
}

/// A good request with parameters in whatever order and spelling.
fn spelled() -> impl Strategy<Value = Vec<u8>> {
    let params = prop::collection::vec(
        prop::sample::select(
            [
                ";tag=a1",
                ";tag=b2",
                " ; Tag = c3",
                ";x",
                ";tag=\"q\"",
                ";y=\"a;tag=no\"",
                ";tag",
                ";tag=%41",
                ";tag=[x]",
            ]
            .as_slice(),
        ),
        0..3,
    );
    let via = prop::sample::select(
        [
            "SIP/2.0/UDP h;branch=z9hG4bK1",
            "SIP/2.0/UDP h;rport;branch=z9hG4bK2;received=1.2.3.4",
            "SIP/2.0/UDP h ; Branch = z9hG4bK3 , SIP/2.0/TCP i;branch=z9hG4bK4",
            "SIP/2.0/UDP h;branch=\"z9hG4bK5\"",
            "SIP/2.0/UDP h;branch={z9hG4bK6}",
            "SIP / 2.0 / UDP h;branch=z9hG4bK:6",
            "SIP/2.0/UDP h",
        ]
        .as_slice(),
    );
    let name = prop::sample::select(["From", "f", "FROM ", "from\t"].as_slice());
    (params.clone(), params, via, name).prop_map(|(from, to, via, name)| {
        format!(
            "INFO sip:a@b SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n{name}: <sip:c@d>{}\r\nTo: \"x\" <sip:e@f>{}\r\n\
             Call-ID: 1\r\nCSeq: 1 INFO\r\nSubject: a\r\n b\r\n\r\nbody",
            from.concat(),
            to.concat()
        )
        .into_bytes()
    })
}

proptest! {
    #[test]
    fn marks_and_readers_agree_on_any_message(bytes in prop_oneof![mangled(), spelled()], peer in any::<([u8; 4], u16)>()) {
        let Ok(message) = Message::parse(bytes.into()) else { return Ok(()) };
        prop_assert_eq!(read(&message), read_slowly(&message));
        let edited = Edit::new(&message)
            .prepend(HeaderName::VIA, "SIP/2.0/TLS ours.example;branch=z9hG4bKours")
            .remove_all(HeaderName::SUBJECT)
            .finish();
        prop_assert_eq!(read(&edited), read_slowly(&edited));
        let retagged = Edit::new(&message).set(HeaderName::TO, "<sip:x@y>;tag=new").finish();
        prop_assert_eq!(read(&retagged), read_slowly(&retagged));
        let stamped = sip::proxy::forward::received_from(&message, peer.into());
        prop_assert_eq!(read(&stamped), read_slowly(&stamped));
        let parsed = Message::parse(stamped.bytes().clone()).map(|parsed| read(&parsed));
        prop_assert_eq!(parsed, Ok(read(&stamped)));
    }

    #[test]
    fn a_stamp_by_copy_is_the_stamp_by_edit(bytes in prop_oneof![mangled(), spelled()], peer in any::<([u8; 4], u16)>()) {
        let Ok(message) = Message::parse(bytes.into()) else { return Ok(()) };
        if !message.is_request() {
            return Ok(());
        }
        let stamped = sip::proxy::forward::received_from(&message, peer.into());
        // Only the topmost Via differs, whatever it is written in.
        let others = |m: &Message| m.header_lines().filter(|(name, _)| *name != HeaderName::VIA)
            .map(|(name, value)| (name.as_str().to_string(), value.to_vec())).collect::<Vec<_>>();
        prop_assert_eq!(others(&stamped), others(&message));
        prop_assert_eq!(stamped.body(), message.body());
        let vias = |m: &Message| m.values(HeaderName::VIA).skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
        prop_assert_eq!(vias(&stamped), vias(&message));
        let top = stamped.values(HeaderName::VIA).next().map(<[u8]>::to_vec).unwrap_or_default();
        let by_edit = Edit::new(&message).replace_first(HeaderName::VIA, &top).finish();
        let values = |m: &Message| m.values(HeaderName::VIA).map(<[u8]>::to_vec).collect::<Vec<_>>();
        prop_assert_eq!(values(&stamped), values(&by_edit));
    }

    #[test]
    fn r1_1_nothing_panics_and_no_byte_changes(bytes in mangled()) {
        let bytes = Bytes::from(bytes);
        if let Some(request) = Message::parse_lenient(bytes.clone()) {
            touch(&request);
            touch(&response_to(&request, 400, "").to_tag("t").build());
            touch(&Edit::new(&request).remove_first(HeaderName::VIA).finish());
        }
        if let Ok(message) = Message::parse(bytes.clone()) {
            touch(&message);
            let lead = bytes.windows(2).step_by(2).take_while(|w| w == b"\r\n").count() * 2;
            prop_assert!(bytes[lead..].starts_with(message.bytes()));
            prop_assert_eq!(&Edit::new(&message).finish(), &message);
            let again = Message::parse(message.bytes().clone()).unwrap();
            prop_assert!(again.header_lines().eq(message.header_lines()));
        }
    }

    #[test]
    fn r1_1_edited_messages_parse_to_what_was_written(
        bytes in mangled(),
        value in "[ -~\r\n]{0,40}",
        body in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        if let Ok(message) = Message::parse(bytes.into()) {
            let edited = Edit::new(&message)
                .prepend("X-New", &value)
                .append(HeaderName::USER_AGENT, "w")
                .replace_body("application/x", &body)
                .finish();
            let parsed = Message::parse(edited.bytes().clone()).unwrap();
            prop_assert!(parsed.header_lines().eq(edited.header_lines()));
            prop_assert_eq!(parsed.body(), &body);
        }
    }

    #[test]
    fn r1_1_framer_and_parser_agree(bytes in mangled(), cuts in prop::collection::vec(1..40_usize, 1..20)) {
        let mut framer = StreamFramer::default();
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        while at < bytes.len() {
            let end = (at + cuts.next().unwrap()).min(bytes.len());
            framer.push(&bytes[at..end]);
            at = end;
            while let Ok(Some(frame)) = framer.next_frame() {
                if let Frame::Message(frame) = frame
                    && let Ok(message) = Message::parse(frame.clone())
                {
                    prop_assert_eq!(message.bytes(), &frame);
                }
            }
        }
    }

    #[test]
    fn r1_1_value_parsers_take_anything(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = (Message::parse(bytes.clone().into()), Message::parse_lenient(bytes.clone().into()));
        let _ = (NameAddr::parse(&bytes), Via::parse(&bytes), Uri::parse(&bytes));
        assert!(digest::challenges(&bytes).all(|c| c.nonce().len() <= bytes.len() || c.is_supported()));
        let _ = digest::Credentials::parse(&bytes).map(|c| digest::verify(&c, b"INVITE", "x"));
    }

    #[test]
    fn r1_1_value_parsers_take_likely_text(text in "[a-z0-9 :;,=<>\"\\\\%@\\[\\]./*sip]{0,60}") {
        let bytes = text.as_bytes();
        if let Ok(address) = NameAddr::parse(bytes) {
            prop_assert_eq!(NameAddr::parse(address.raw()), Ok(address));
        }
        if let Ok(via) = Via::parse(&[b"SIP/2.0/UDP ", bytes].concat()) {
            prop_assert_eq!(Via::parse(via.raw()), Ok(via));
        }
        if let Ok(aor) = text.parse::<Aor>() {
            prop_assert_eq!(aor.to_string().parse::<Aor>(), Ok(aor));
        }
        prop_assert!(digest::challenges(bytes).count() <= bytes.len());
    }
}
