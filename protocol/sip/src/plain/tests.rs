//! What is read as plain, `Message` reads alike and answers alike.

use super::*;
use crate::{Message, NameAddr};
use bytes::Bytes;
use proptest::prelude::*;

const REGISTER: &str = "REGISTER sip:bench.test SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.9:5070;rport;branch=z9hG4bKq1\r\nMax-Forwards: 70\r\n\
    From: \"Alice A.\" <sip:alice+1@bench.test>;tag=f1\r\nTo: <sip:alice+1@bench.test>\r\n\
    Call-ID: r1@client\r\nCSeq: 7 REGISTER\r\n\
    Contact: <sip:alice@192.0.2.9:5070;transport=udp>;+sip.instance=\"<urn:uuid:1>\";reg-id=2\r\n\
    Expires: 3600\r\nUser-Agent: Phone/1.0 (x, y)\r\nAllow: INVITE, ACK\r\nX-Own: a\r\n\
    Authorization: Digest username=\"alice+1\", realm=\"bench.test\", nonce=\"n\", uri=\"sip:bench.test\", \
    response=\"00ff\", algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001\r\nContent-Length: 0\r\n\r\n";

const OPTIONS: &str = "OPTIONS sip:bench.test SIP/2.0\r\n\
    Via: SIP/2.0/UDP host.example;branch=z9hG4bKq1;rport\r\nMax-Forwards: 70\r\n\
    From: <sip:ping@bench.test>;tag=o1\r\nTo: <sip:bench.test>\r\nCall-ID: o1@client\r\n\
    CSeq: 1 OPTIONS\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n";

#[test]
fn usual_spellings_are_taken_for_what_the_table_says() {
    for name in ONCE.into_iter().chain(FREE) {
        let table = PLACES[usize::from(name.id())];
        assert_eq!(place_of(name.as_str().as_bytes()), table, "{name}");
        assert_eq!(place_of(name.as_str().to_uppercase().as_bytes()), table, "{name}");
    }
    assert_eq!((place_of(b"Require"), place_of(b"X-Own"), place_of(b"a b")), (0, ANY, 0));
}

#[test]
fn what_phones_write_is_plain() {
    let plain = Plain::read(REGISTER.as_bytes()).unwrap();
    assert_eq!((plain.aor(), plain.to()), ("sip:alice+1@bench.test", ("alice+1", "bench.test")));
    assert_eq!((plain.cseq(), plain.branch(), plain.expires()), (7, "z9hG4bKq1", Some(3600)));
    let contact = plain.contact().unwrap();
    assert_eq!((contact.instance, contact.reg_id), (Some("<urn:uuid:1>"), 2));
    assert_eq!(plain.credentials().unwrap().nc(), Some(1));
    assert!(Plain::read(OPTIONS.as_bytes()).is_some());
}

/// Each of these changes what is done, or is read by rules that are not here.
#[test]
fn what_is_not_plain_is_left_to_the_parser() {
    for (from, to) in [
        ("Expires", "Require: path\r\nExpires"),
        ("Expires", "Path: <sip:p.example;lr>\r\nExpires"),
        ("Expires", "Route: <sip:p.example;lr>\r\nExpires"),
        ("Expires", "Proxy-Require: x\r\nExpires"),
        ("Expires", "Content-Type: text/plain\r\nExpires"),
        ("Expires", "Contact: <sip:b@192.0.2.1>\r\nExpires"),
        ("Expires", "Via: SIP/2.0/UDP second.example;branch=z9hG4bK2\r\nExpires"),
        ("Expires", "Authorization: Bearer x\r\nExpires"),
        ("Expires: 3600", "Expires: 3600\r\n 1"),
        ("User-Agent: P", "User-Agent: \u{1}P"),
        ("User-Agent: P", "User-Agent: \u{e4}P"),
        ("User-Agent: P", "User-Agent: P\r\nUser-Agent: P"),
        (";rport;", ";"),
        (";rport;", ";rport=1;"),
        (";rport;", ";received=192.0.2.1;rport;"),
        (";rport;", ";rport;oc;"),
        ("UDP 192", "TCP 192"),
        ("To: <sip:alice+1@bench.test>", "To: <sip:alice+1@bench.test>;tag=1"),
        ("To: <sip:alice+1@", "To: <sip:%61lice+1@"),
        ("To: <sip:alice+1@bench.test", "To: <sip:alice+1@bench.test:5060"),
        ("To: <sip:alice+1@bench.test", "To: <sips:alice+1@bench.test"),
        ("To: <sip:alice+1@b", "To: <sip:alice+1@B"),
        ("Contact: <sip:alice@192.0.2.9:5070;transport=udp>", "Contact: *"),
        (";reg-id=2", ";q=0.5"),
        (";reg-id=2", ", <sip:b@192.0.2.1>"),
        ("7 REGISTER", "7 OPTIONS"),
        ("Content-Length: 0", "Content-Length: 4"),
        ("Digest ", "Bearer "),
        ("\r\n\r\n", "\r\n\r\nbody"),
    ] {
        let other = REGISTER.replacen(from, to, 1);
        assert_ne!(other, REGISTER, "{from}");
        assert!(Plain::read(other.as_bytes()).is_none(), "{to}");
    }
    for (from, to) in [
        ("Max-Forwards: 70", "Max-Forwards: 0"),
        ("Accept: application/sdp", "Accept: message/sip"),
        ("To: <sip:bench.test>", "To: <sip:bench.test>;tag=1"),
        ("sip:bench.test SIP", "sip:u@bench.test SIP"),
    ] {
        let other = OPTIONS.replacen(from, to, 1);
        assert!(Plain::read(other.as_bytes()).is_none(), "{to}");
    }
}

/// Reads both ways; whether it was plain.
fn compare(text: &[u8]) -> bool {
    let Some(plain) = Plain::read(text) else { return false };
    let message = Message::parse(Bytes::copy_from_slice(text)).expect("the parser takes it too");
    let bytes = |text: &str| Some(text.as_bytes().to_vec()).filter(|t| !t.is_empty());
    assert_eq!(message.bytes().len(), text.len(), "no surplus, no blank lines");
    assert_eq!(Some(plain.method()), message.method());
    assert_eq!(format!("sip:{}", plain.target()).as_bytes(), message.request_uri());
    let aor = |address: NameAddr<'_>| crate::Aor::from_uri(&address.sip_uri().unwrap()).to_string();
    assert_eq!(plain.aor(), aor(message.to().unwrap()));
    assert_eq!(plain.from_aor(), aor(message.from_().unwrap()));
    assert_eq!(plain.from_tag().as_bytes(), message.from_tag().unwrap());
    assert_eq!(message.to_tag(), None);
    assert_eq!(plain.call_id().as_bytes(), message.call_id().unwrap());
    assert_eq!(plain.cseq(), message.cseq().unwrap().number);
    let via = message.top_via().unwrap();
    assert_eq!(
        (bytes(plain.branch()), message.vias().count()),
        (via.branch().map(<[u8]>::to_vec), 1)
    );
    assert_eq!(plain.expires(), message.expires());
    let agent = message.header(H::USER_AGENT).unwrap_or_default();
    assert_eq!(plain.user_agent().as_bytes(), agent);
    let contacts: Vec<_> = message.contacts().map(Result::unwrap).collect();
    assert_eq!(contacts.len(), usize::from(plain.contact().is_some()));
    if let Some((ours, theirs)) = plain.contact().zip(contacts.first()) {
        assert_eq!((ours.uri.as_bytes(), ours.expires), (theirs.uri(), theirs.expires()));
        assert_eq!(ours.instance.map(str::as_bytes), theirs.instance());
        let named = theirs.instance().is_some();
        assert_eq!(ours.reg_id, theirs.reg_id().filter(|_| named).unwrap_or(0));
        assert_eq!(theirs.q(), None);
    }
    let given = message.header(H::AUTHORIZATION).map(|v| Credentials::parse(v).unwrap());
    assert_eq!(plain.credentials(), given.as_ref());
    for name in [H::REQUIRE, H::PROXY_REQUIRE, H::ROUTE, H::PATH, H::CONTENT_TYPE] {
        assert_eq!(message.header(name), None);
    }
    let source = "198.51.100.77:49152".parse().unwrap();
    let (mut one, mut other) = (b"before".to_vec(), Vec::new());
    plain.reply(&mut one, (401, ""), b"tag7", source).end();
    Reply::begin(&mut other, &message, (401, ""), b"tag7", Some(source)).end();
    assert_eq!(one[6..], other, "{}", String::from_utf8_lossy(&one));
    true
}

#[test]
fn the_samples_are_read_and_answered_alike() {
    assert!(compare(REGISTER.as_bytes()) && compare(OPTIONS.as_bytes()));
    let compact = REGISTER.replace("From:", "f:").replace("To:", "t :").replace("Call-ID", "i");
    assert!(!compare(compact.as_bytes()), "white space before a colon");
    assert!(compare(compact.replace("t :", "t:  ").as_bytes()));
}

proptest! {
    /// One to three bytes of a sample are replaced, left out or doubled: nearly all of it is still
    /// of use to somebody, and no two readers may see two things in it.
    #[test]
    fn a_changed_sample_is_read_alike_or_not_at_all(
        is_register: bool,
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_u8..3, prop::sample::select(
                b" \t\r\n,;:=<>\"\\@%/.-+aZ0*?\x00\x7f\x80".to_vec())),
            1..4),
    ) {
        let mut text = if is_register { REGISTER } else { OPTIONS }.as_bytes().to_vec();
        for (at, what, byte) in changes {
            let at = at.index(text.len());
            match what {
                0 => text[at] = byte,
                1 => { text.remove(at); }
                _ => text.insert(at, byte),
            }
        }
        compare(&text);
    }

    /// Values of every kind at every place.
    #[test]
    fn odd_values_are_read_alike_or_not_at_all(
        at in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            "", "0", "4294967296", "99999999999999999999", "a", "<sip:a@b.c>", "<sip:a@b.c>;tag=1",
            "sip:a@b.c;tag=1", "\"a\" <sip:a@b.c>", "\"a\\\"\" <sip:a@b.c>;tag=x", "<sip:b.c>;tag=2",
            "a b <sip:a@b.c>;tag=3", "<sip:a@b.c>;expires=60;EXPIRES=70", "<sip:a@b.c>;expires=x",
            "<sip:a:p@b.c:5060;x?y=z>;expires=9999999999", "<sip:a,b@c.d>;x=\"1,2\"",
            "<sips:a@b.c>;reg-id=1", "<tel:1>", "<sip:a@b.c>;+sip.instance=x;reg-id=0",
            "SIP/2.0/UDP a;rport", "SIP/2.0/UDP a:99999;rport", "SIP/2.0/UDP [::1];rport",
            "SIP/2.0/UDP a ;rport;branch=1", "SIP/2.0/UDP a;rport;x=\"1;2\";branch=b",
            "SIP/2.0/UDP a;Rport;branch=b", "SIP/2.0/udp a;rport;branch=b;branch=c",
            "Digest a=b", "Digest realm=\"a\\\"b\"", "Digest a", "digest nonce=1", "1 REGISTER", "2  OPTIONS",
        ]),
        is_register: bool,
    ) {
        let sample = if is_register { REGISTER } else { OPTIONS };
        let lines: Vec<&str> = sample.split("\r\n").collect();
        let at = 1 + at.index(lines.len() - 3);
        let mut text = Vec::new();
        for (n, line) in lines.iter().enumerate().take(lines.len() - 1) {
            let name = line.split(':').next().unwrap_or_default();
            let line = if n == at { format!("{name}: {value}") } else { (*line).to_string() };
            text.extend_from_slice(line.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        compare(&text);
    }
}
