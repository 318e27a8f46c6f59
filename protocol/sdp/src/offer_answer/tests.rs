use super::*;
use crate::Connection;

fn caps(codecs: &[(u8, &str)]) -> Capabilities {
    let format = |(pt, name): &(u8, &str)| match *name {
        "opus" => Format::new(*pt, "opus", 48_000, 2).with_fmtp("minptime=10;useinbandfec=1"),
        name => Format::new(*pt, name, 8000, 1),
    };
    let events = |pt, rate| Format::new(pt, "telephone-event", rate, 1).with_fmtp("0-16");
    Capabilities {
        codecs: codecs.iter().map(format).collect(),
        telephone_events: vec![events(101, 8000), events(102, 48_000)],
        ptime_ms: 20,
    }
}

fn local(port: u16, direction: Direction) -> LocalMedia {
    LocalMedia {
        session_id: 7,
        version: 1,
        rtp: SocketAddr::new([192, 0, 2, 1].into(), port),
        rtcp_port: port + 1,
        rtcp_mux: true,
        proto: "RTP/AVP".into(),
        direction,
        attributes: Vec::new(),
    }
}

type Codecs = &'static [(u8, &'static str)];

const ALL: Codecs = &[(111, "opus"), (0, "PCMU"), (8, "PCMA")];

/// One whole round; what the caller and the callee made of it.
fn round(
    offerer: &Capabilities,
    answerer: &Capabilities,
    wants: (Direction, Direction),
) -> Result<(Negotiated, Negotiated), OfferAnswerError> {
    let offer = offer(&local(4000, wants.0), offerer, None);
    let offer = Session::parse(&offer.to_bytes()).expect("our own offer");
    let index = find_audio(&offer, |p| p == "RTP/AVP")?;
    let (answer, callee) = answer(&offer, index, &local(5000, wants.1), answerer)?;
    let answer = Session::parse(&answer.to_bytes()).expect("our own answer");
    Ok((apply_answer(&offer, &answer, offerer)?, callee))
}

#[test]
fn two_ends_agree_on_the_offerers_first_common_codec() {
    let table: [(Codecs, Codecs, Option<&str>); 5] = [
        (ALL, ALL, Some("opus")),
        (ALL, &[(8, "PCMA"), (0, "PCMU")], Some("PCMU")),
        (&[(0, "PCMU")], ALL, Some("PCMU")),
        (&[(96, "opus")], &[(120, "OPUS")], None),
        (&[(0, "PCMU")], &[(8, "PCMA")], None),
    ];
    for (a, b, want) in table {
        let got = round(&caps(a), &caps(b), Default::default());
        match want {
            Some(name) => {
                let (caller, callee) = got.expect("they agree");
                assert_eq!(caller.send.map.encoding, name);
                assert_eq!(callee.send.map.encoding, name);
                assert_eq!(caller.remote_rtp.port(), 5000);
                assert_eq!(callee.remote_rtp.port(), 4000);
                assert_eq!(caller.remote_rtcp.port(), 5000);
                assert!(caller.rtcp_mux && callee.rtcp_mux);
            }
            None => assert_eq!(got, Err(OfferAnswerError::NoCommonCodec)),
        }
    }
}

#[test]
fn events_have_the_clock_of_the_codec() {
    let (caller, callee) = round(&caps(ALL), &caps(ALL), Default::default()).expect("they agree");
    assert_eq!(caller.send_event.map(|f| f.map.payload_type), Some(102));
    assert_eq!(callee.send_event.map(|f| f.map.clock_rate), Some(48_000));
    let pcmu = caps(&[(0, "PCMU")]);
    let (caller, _) = round(&pcmu, &pcmu, Default::default()).expect("they agree");
    assert_eq!(caller.send_event.map(|f| f.map.payload_type), Some(101));
}

#[test]
fn directions_meet_as_rfc_3264_6_1_says() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    let table = [
        ((SendRecv, SendRecv), SendRecv),
        ((SendOnly, SendRecv), RecvOnly),
        ((RecvOnly, SendRecv), SendOnly),
        ((Inactive, SendRecv), Inactive),
        ((SendRecv, SendOnly), SendOnly),
        ((SendOnly, SendOnly), Inactive),
        ((SendRecv, Inactive), Inactive),
    ];
    for (wants, callee_does) in table {
        let (caller, callee) = round(&caps(ALL), &caps(ALL), wants).expect("they agree");
        assert_eq!(callee.direction, callee_does, "{wants:?}");
        assert_eq!(caller.direction, callee_does.reversed(), "{wants:?}");
    }
}

#[test]
fn payload_types_may_differ_each_way() {
    let mut ours = offer(&local(4000, Direction::SendRecv), &caps(&[(111, "opus")]), None);
    ours.set_value(b's', "call");
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=audio 6000 RTP/AVP 96 97\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000\r\n";
    let answer = Session::parse(text.as_bytes()).expect("a good answer");
    let n = apply_answer(&ours, &answer, &caps(&[(111, "opus")])).expect("they agree");
    assert_eq!((n.send.map.payload_type, n.receive[0].map.payload_type), (96, 111));
    assert_eq!(n.send_event.map(|f| f.map.payload_type), Some(97));
    assert_eq!(n.remote_rtcp.port(), 6001);
    assert!(!n.rtcp_mux);
}

#[test]
fn what_is_not_wanted_is_rejected_in_its_place() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=video 7000 RTP/AVP 31 34\r\na=mid:v\r\nm=audio 6000 RTP/AVP 0\r\na=mid:a\r\na=ptime:40\r\n\
        m=audio 6002 RTP/AVP 0\r\n";
    let offer_in = Session::parse(text.as_bytes()).expect("a good offer");
    let index = find_audio(&offer_in, |p| p == "RTP/AVP").expect("audio");
    assert_eq!(index, 1);
    let (ours, n) = answer(&offer_in, index, &local(5000, Direction::SendRecv), &caps(ALL))
        .expect("they agree");
    let ports: Vec<u16> = ours.media().iter().map(|m| m.port()).collect();
    assert_eq!(ports, [0, 5000, 0]);
    assert_eq!(ours.media()[0].kind(), "video");
    assert_eq!(ours.media()[1].mid(), Some("a"));
    assert_eq!(n.ptime_ms, 40);
    // A later offer of ours keeps all three (RFC 3264 §8).
    let again = offer(
        &LocalMedia { version: 2, ..local(5000, Direction::SendOnly) },
        &caps(ALL),
        Some(&ours),
    );
    let ports: Vec<u16> = again.media().iter().map(|m| m.port()).collect();
    assert_eq!(ports, [0, 5000, 0]);
    assert_eq!(again.direction_of(1), Direction::SendOnly);
}

#[test]
fn bad_answers_have_their_own_errors() {
    let ours = offer(&local(4000, Direction::SendRecv), &caps(ALL), None);
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nt=0 0\r\n";
    let table = [
        ("", OfferAnswerError::MediaCount { offered: 1, answered: 0 }),
        ("m=audio 0 RTP/AVP 0\r\nc=IN IP4 192.0.2.9\r\n", OfferAnswerError::Rejected),
        ("m=audio 9 RTP/SAVP 0\r\nc=IN IP4 192.0.2.9\r\n", OfferAnswerError::Changed),
        ("m=video 9 RTP/AVP 0\r\nc=IN IP4 192.0.2.9\r\n", OfferAnswerError::Changed),
        ("m=audio 9 RTP/AVP 18\r\nc=IN IP4 192.0.2.9\r\n", OfferAnswerError::NoCommonCodec),
        ("m=audio 9 RTP/AVP 0\r\n", OfferAnswerError::NoAddress),
    ];
    for (media, error) in table {
        let answer = Session::parse(format!("{head}{media}").as_bytes()).expect("well formed");
        assert_eq!(apply_answer(&ours, &answer, &caps(ALL)), Err(error), "{media}");
    }
    let none =
        Session::parse(format!("{head}m=audio 0 RTP/AVP 0\r\n").as_bytes()).expect("well formed");
    assert_eq!(find_audio(&none, |_| true), Err(OfferAnswerError::NoAudio));
}

#[test]
fn the_old_hold_by_null_address_stops_our_sending() {
    let mut theirs = offer(&local(4000, Direction::SendRecv), &caps(ALL), None);
    theirs.set_connection(&Connection::from(IpAddr::from([0, 0, 0, 0])));
    let (_, n) =
        answer(&theirs, 0, &local(5000, Direction::SendRecv), &caps(ALL)).expect("they agree");
    assert_eq!(n.direction, Direction::RecvOnly);
}
