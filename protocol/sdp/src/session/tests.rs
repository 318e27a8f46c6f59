use proptest::prelude::*;

use super::*;
use crate::{Candidate, Crypto, CryptoSuite, RtcpAddress};

const BROWSER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
a=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\na=fingerprint:sha-256 \
19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111 0 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
a=ice-ufrag:Fs3f\r\na=ice-pwd:PLWfe4qeBhMmL9bQcDYxkfrS\r\na=ice-options:trickle renomination\r\n\
a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:126 telephone-event/8000\r\n\
a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host\r\n";

#[test]
fn a_browsers_offer_reads_and_comes_back_byte_exact() {
    let s = Session::parse(BROWSER.as_bytes()).expect("a good description");
    assert_eq!(s.to_bytes(), BROWSER.as_bytes());
    let audio = &s.media()[0];
    assert_eq!((audio.kind(), audio.port(), audio.proto()), ("audio", 9, "UDP/TLS/RTP/SAVPF"));
    assert_eq!(audio.payload_types().collect::<Vec<_>>(), [111, 0, 126]);
    assert_eq!(audio.rtpmap(0).map(|m| m.encoding).as_deref(), Some("PCMU"));
    assert_eq!(audio.rtpmap(111).map(|m| m.channels), Some(2));
    assert_eq!(
        audio.fmtp(111).and_then(|f| f.param("useinbandfec").map(str::to_owned)).as_deref(),
        Some("1")
    );
    assert_eq!(s.fingerprints_of(0).len(), 1);
    assert_eq!(s.setup_of(0), Some(Setup::ActPass));
    assert_eq!(s.ice_credentials_of(0), Some(("Fs3f", "PLWfe4qeBhMmL9bQcDYxkfrS")));
    assert_eq!(audio.ice_options().collect::<Vec<_>>(), ["trickle", "renomination"]);
    assert_eq!(audio.candidates().count(), 1);
    assert!(audio.rtcp_mux());
    assert_eq!(audio.mid(), Some("0"));
    assert_eq!(s.groups().next(), Some(("BUNDLE", vec!["0"])));
    assert_eq!(s.origin().map(|o| o.version), Some(2));
}

#[test]
fn a_browsers_offer_becomes_plain_rtp_and_the_rest_stays() {
    let mut s = Session::parse(BROWSER.as_bytes()).expect("a good description");
    s.remove_keying();
    s.remove_attributes("group");
    let audio = &mut s.media_mut()[0];
    audio.set_proto("RTP/AVP");
    audio.set_port(30000);
    audio.set_connection(&Connection::from("192.0.2.9".parse::<IpAddr>().expect("an address")));
    audio.set_rtcp(&RtcpAddress { port: 30001, connection: None });
    assert_eq!(audio.remove_ice(), 4);
    audio.remove_keying();
    audio.remove_attributes("rtcp-mux");
    audio.set_direction(Direction::RecvOnly);
    let want = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\nm=audio 30000 RTP/AVP 111 0 126\r\n\
        c=IN IP4 192.0.2.9\r\na=rtcp:30001\r\na=mid:0\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:126 telephone-event/8000\r\n";
    assert_eq!(String::from_utf8(s.to_bytes()).expect("text"), want);
    assert_eq!(s.rtp_addr_of(0), "192.0.2.9:30000".parse().ok());
    assert_eq!(s.rtcp_addr_of(0), "192.0.2.9:30001".parse().ok());
}

#[test]
fn lines_nobody_knows_keep_their_place_through_every_edit() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nq=of tomorrow\r\nt=0 0\r\na=x-new:1\r\n\
        m=audio 4000 RTP/AVP 0\r\na=x-first\r\nk=clear:old\r\na=sendrecv\r\na=X-Second: kept ,as is\r\n\
        m=x-thing 9 NEW/PROTO a b\r\na=y\r\n";
    let mut s = Session::parse(text.as_bytes()).expect("a good description");
    assert_eq!(s.to_bytes(), text.as_bytes());
    let audio = &mut s.media_mut()[0];
    audio.set_port(30000);
    audio.set_direction(Direction::RecvOnly);
    let edited = text.replace("audio 4000", "audio 30000").replace("sendrecv", "recvonly");
    let out = String::from_utf8(s.to_bytes()).expect("text");
    let order = |text: &str| {
        let known = ["q=", "a=x-", "a=X-", "k=", "m=x-", "a=y"];
        let keep = |line: &&str| known.iter().any(|k| line.starts_with(k));
        text.lines().filter(keep).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(order(&out), order(&edited));
    assert!(out.contains("m=audio 30000 ") && out.contains("a=recvonly"), "{out}");
}

#[test]
fn inserted_lines_stand_where_the_grammar_wants_them() {
    let text = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nt=0 0\nm=audio 4000/2 RTP/AVP 0\nb=AS:64";
    let mut s = Session::parse(text.as_bytes()).expect("a good description");
    assert_eq!(s.to_bytes(), text.as_bytes());
    let c = Connection::from("2001:db8::2".parse::<IpAddr>().expect("an address"));
    s.set_connection(&c);
    let audio = &mut s.media_mut()[0];
    audio.set_connection(&c);
    audio.add_crypto(&Crypto::new(1, CryptoSuite::AesCm128HmacSha1_80, &[1; 30]));
    audio.add_candidate(&Candidate::host("1", 1, "192.0.2.1:9".parse().expect("an address")));
    audio.set_port(4002);
    let out = String::from_utf8(s.to_bytes()).expect("text");
    assert!(out.contains("s=-\nc=IN IP6 2001:db8::2\r\nt=0 0\n"), "{out}");
    assert!(
        out.contains("m=audio 4002/2 RTP/AVP 0\r\nc=IN IP6 2001:db8::2\r\nb=AS:64\r\na=crypto:1"),
        "{out}"
    );
    assert!(!format!("{s:?}").contains("inline"));
}

#[test]
fn no_setter_can_smuggle_in_a_line() {
    let mut s = Session::new(1, 1, "192.0.2.1".parse().expect("an address"));
    s.add_attribute("note", Some("x\r\nm=audio 1 RTP/AVP 0"));
    assert_eq!(Session::parse(&s.to_bytes()).expect("good").media().len(), 0);
}

#[test]
fn directions_and_addresses_fall_back_to_the_session() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=inactive\r\n\
        m=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\na=sendonly\r\nm=audio 4004 RTP/AVP 0\r\n\
        c=IN IP4 host.example.com\r\n";
    let s = Session::parse(text.as_bytes()).expect("a good description");
    assert_eq!(s.direction_of(0), Direction::Inactive);
    assert_eq!(s.direction_of(1), Direction::SendOnly);
    assert_eq!(s.rtp_addr_of(0), "192.0.2.1:4000".parse().ok());
    assert_eq!(s.rtcp_addr_of(0), "192.0.2.1:4001".parse().ok());
    assert_eq!(s.rtp_addr_of(1), None);
    assert_eq!(s.rtp_addr_of(2), None);
    assert_eq!(s.rtp_addr_of(9), None);
}

#[test]
fn what_is_no_description_is_told_where_and_why() {
    let table: [(&[u8], usize, &str); 8] = [
        (b"", 1, "RFC 8866 §5.1"),
        (b"o=- 1 1 IN IP4 1.1.1.1\r\n", 1, "RFC 8866 §5.1"),
        (b"v=1\r\n", 1, "RFC 8866 §5.1"),
        (b"v=0\r\nhello\r\n", 2, "RFC 8866 §5"),
        (b"v=0\r\n\r\ns=-\r\n", 2, "RFC 8866 §5"),
        (b"v=0\r\nm=audio x RTP/AVP 0\r\n", 2, "RFC 8866 §5.14"),
        (b"v=0\r\nm=audio 70000 RTP/AVP 0\r\n", 2, "RFC 8866 §5.14"),
        (b"v=0\r\ns=a\rb\r\n", 2, "RFC 8866 §5"),
    ];
    for (text, line, rfc) in table {
        let err = Session::parse(text).expect_err("no description");
        assert_eq!((err.line, err.rfc), (line, rfc), "{}", String::from_utf8_lossy(text));
    }
    assert!(Session::parse(b"v=0\r\ns=-\r\n\r\n").is_ok());
}

#[test]
fn limits_hold() {
    let many = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(33));
    assert_eq!(Session::parse(many.as_bytes()).expect_err("too many").rfc, "limit");
    let many = format!("v=0\r\n{}", "a=x\r\n".repeat(3000));
    assert_eq!(Session::parse(many.as_bytes()).expect_err("too many").rfc, "limit");
    assert!(Session::parse(format!("v=0\r\ns={}\r\n", "x".repeat(9000)).as_bytes()).is_err());
    assert!(Session::parse(&vec![b'v'; 70_000]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_comes_back(input in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(s) = Session::parse(&input) {
            prop_assert_eq!(s.to_bytes(), input);
        }
    }

    #[test]
    fn any_lines_come_back_byte_exact_and_no_view_panics(
        lines in prop::collection::vec("[a-z]=(.{0,40}|audio 1 RTP/AVP 0 1|crypto:[ -~]{0,60}|candidate:[ -~]{0,60}|rtpmap:[ -~]{0,20}|fingerprint:[ -~]{0,40})", 0..20)
    ) {
        let input = format!("v=0\r\n{}", lines.iter().map(|l| format!("{l}\r\n")).collect::<String>());
        if let Ok(mut s) = Session::parse(input.as_bytes()) {
            prop_assert_eq!(s.to_bytes(), input.as_bytes());
            for i in 0..s.media().len() {
                s.direction_of(i);
                s.rtcp_addr_of(i);
                s.fingerprints_of(i);
                let m = &s.media()[i];
                prop_assert!(m.cryptos().count() + m.candidates().count() + m.rtpmaps().count() < 1000);
            }
            s.origin();
            s.add_attribute("x", Some("y"));
            prop_assert!(Session::parse(&s.to_bytes()).is_ok());
        }
    }
}
