//! What the relay writes.

use relay::{Direction, Protocol, RelayError};
use sdp::Session;

use crate::peers::Peer;
use crate::virtual_net::{RELAY_IP, SESSION, World, config, description};

const CHROME: &str = include_str!("chrome-offer.sdp");

fn text(sdp: &[u8]) -> String {
    String::from_utf8(sdp.to_vec()).unwrap()
}

fn offer(world: &mut World, sdp: &str, toward: Protocol) -> Result<String, RelayError> {
    let d = description(Direction::FromCaller, 1, sdp.as_bytes(), toward);
    world.offer(&d).map(|s| text(&s))
}

/// R5.10: a desk phone sees nothing of a browser's dialect, and all of its codecs.
#[test]
fn a_browsers_offer_becomes_a_plain_one() {
    let mut world = World::new(config());
    let out = offer(&mut world, CHROME, Protocol::Rtp).unwrap();
    let session = Session::parse(out.as_bytes()).unwrap();
    let audio = &session.media()[0];
    assert_eq!(audio.proto(), "RTP/AVP");
    assert_eq!(session.rtp_addr_of(0).unwrap().ip(), RELAY_IP.parse::<std::net::IpAddr>().unwrap());
    assert_eq!(audio.port() % 2, 0);
    for gone in [
        "ssrc",
        "msid",
        "a=extmap:",
        "rtcp-fb",
        "candidate",
        "ice-",
        "fingerprint",
        "setup",
        "mid:",
        "group",
        "rtcp-mux",
        "192.168",
        "msid-semantic",
    ] {
        assert!(!out.contains(gone), "{gone} in {out}");
    }
    for kept in ["a=rtpmap:111 opus/48000/2", "a=fmtp:111", "a=rtpmap:126 telephone-event/8000"] {
        assert!(out.contains(kept), "{kept} not in {out}");
    }
    assert!(audio.formats().starts_with(&["111".to_owned(), "63".to_owned()]));
    assert_eq!(session.media()[1].port(), 0, "it shares the transport of the sound");
}

#[test]
fn the_answer_to_a_browser_is_passive_lite_and_in_the_offers_shape() {
    let mut world = World::new(config());
    offer(&mut world, CHROME, Protocol::Rtp).unwrap();
    let phone = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
                 m=audio 4000 RTP/AVP 0 126\r\na=rtpmap:126 telephone-event/8000\r\n";
    let d = description(Direction::FromCallee, 1, phone.as_bytes(), Protocol::Rtp);
    let out = text(&world.answer(&d).unwrap());
    let session = Session::parse(out.as_bytes()).unwrap();
    let audio = &session.media()[0];
    assert_eq!(audio.proto(), "UDP/TLS/RTP/SAVPF");
    assert!(session.ice_lite() && audio.rtcp_mux());
    assert_eq!(audio.setup(), Some(sdp::Setup::Passive));
    assert_eq!(audio.mid(), Some("0"));
    assert!(out.contains("a=group:BUNDLE 0\r\n"));
    let candidate = audio.candidates().next().unwrap();
    assert_eq!(candidate.socket_addr(), session.rtp_addr_of(0));
    assert_eq!(session.media().len(), 2, "an answer has the offer's m-lines");
    assert_eq!(
        (session.media()[1].kind(), session.media()[1].port(), session.media()[1].mid()),
        ("video", 0, Some("1"))
    );
    assert!(!out.contains("192.0.2.9"), "the phone's address stays here: {out}");
    assert_eq!(text(&world.answer(&d).unwrap()), out, "repeatable");
}

#[test]
fn an_offer_toward_a_browser_has_all_it_asks_for() {
    let mut world = World::new(config());
    let phone = Peer::plain("192.0.2.1:4000", 1);
    let d = description(Direction::FromCaller, 1, &phone.describe(None), Protocol::WebRtc);
    let out = text(&world.offer(&d).unwrap());
    for line in [
        "UDP/TLS/RTP/SAVPF",
        "a=ice-lite\r\n",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=setup:actpass\r\n",
        "a=fingerprint:sha-256 ",
        "a=rtcp-mux\r\n",
        "typ host",
        "a=mid:0\r\n",
    ] {
        assert!(out.contains(line), "{line} not in {out}");
    }
    assert!(out.contains(&format!("c=IN IP4 {RELAY_IP}")) && !out.contains("192.0.2.1"));
}

#[test]
fn sdes_is_offered_with_keys_and_answered_with_one() {
    let mut world = World::new(config());
    let phone = Peer::sdes("192.0.2.1:4000", 1);
    let d = description(Direction::FromCaller, 1, &phone.describe(None), Protocol::Srtp);
    let out = world.offer(&d).unwrap();
    let session = Session::parse(&out).unwrap();
    assert_eq!(session.media()[0].proto(), "RTP/SAVP");
    assert_eq!(session.media()[0].cryptos().count(), media::keying::sdes::OFFERED.len());
    let theirs = Session::parse(&phone.describe(None)).unwrap();
    let key = theirs.media()[0].attribute("crypto").unwrap().to_owned();
    assert!(!text(&out).contains(&key), "each leg is keyed on its own");
}

#[test]
fn the_callers_leg_is_the_same_whatever_the_branch() {
    let mut world = World::new(config());
    let caller = Peer::sdes("192.0.2.1:4000", 1);
    let mut answers = Vec::new();
    let mut offers = Vec::new();
    for branch in 1..4 {
        let d = description(Direction::FromCaller, branch, &caller.describe(None), Protocol::Srtp);
        let out = world.offer(&d).unwrap();
        assert_eq!(world.offer(&d).unwrap(), out, "a repeated offer is the same offer");
        let callee = Peer::sdes("192.0.2.5:5000", branch);
        let answer = callee.describe(Some(&out));
        let d = description(Direction::FromCallee, branch, &answer, Protocol::Srtp);
        answers.push(text(&world.answer(&d).unwrap()));
        offers.push(Session::parse(&out).unwrap().media()[0].port());
    }
    let of = |sdp: &str| {
        let session = Session::parse(sdp.as_bytes()).unwrap();
        (session.media()[0].port(), session.media()[0].attribute("crypto").map(str::to_owned))
    };
    assert_eq!(of(&answers[0]), of(&answers[1]));
    assert_eq!(of(&answers[0]), of(&answers[2]));
    offers.dedup();
    assert_eq!(offers.len(), 3, "each branch has ports of its own");
}

#[test]
fn a_fork_may_mix_protocols_and_fall_back() {
    let mut world = World::new(config());
    let caller = text(&Peer::plain("192.0.2.1:4000", 1).describe(None));
    let secure = offer(&mut world, &caller, Protocol::Srtp).unwrap();
    assert!(secure.contains("RTP/SAVP"));
    let port = |s: &str| Session::parse(s.as_bytes()).unwrap().media()[0].port();
    let plain = offer(&mut world, &caller, Protocol::Rtp).unwrap();
    assert!(plain.contains("RTP/AVP") && !plain.contains("crypto"));
    assert_eq!(port(&secure), port(&plain), "the branch keeps its ports");
}

#[test]
fn a_delayed_offer_comes_from_the_callee() {
    let mut world = World::new(config());
    let callee = Peer::plain("192.0.2.5:5000", 2);
    let d = description(Direction::FromCallee, 1, &callee.describe(None), Protocol::Srtp);
    let out = world.offer(&d).unwrap();
    let caller = Peer::sdes("192.0.2.1:4000", 1);
    let answer = caller.describe(Some(&out));
    let d = description(Direction::FromCaller, 1, &answer, Protocol::Rtp);
    let out = text(&world.answer(&d).unwrap());
    assert!(out.contains("RTP/AVP") && !out.contains("crypto"));
}

#[test]
fn what_cannot_be_relayed_is_refused_by_name_and_leaves_no_ports() {
    let mut world = World::new(config());
    let mut status = |sdp: &str| {
        let error = offer(&mut world, sdp, Protocol::Rtp).unwrap_err();
        assert_eq!(world.control.ports().in_use(), 0, "{error}");
        error.status()
    };
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n";
    assert_eq!(status("nonsense"), 400);
    assert_eq!(status(head), 488);
    assert_eq!(status(&format!("{head}m=message 4000 TCP/MSRP *\r\n")), 488);
    assert_eq!(status(&format!("{head}m=video 0 RTP/AVP 96\r\n")), 488);
    assert_eq!(status(&format!("{head}m=audio 0 RTP/AVP 0\r\n")), 488);
    assert_eq!(status(&format!("{head}m=audio 4000 RTP/SAVP 0\r\n")), 488, "no keys");
    assert_eq!(status(&format!("{head}m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n")), 488);
    let d = description(Direction::FromCallee, 1, head.as_bytes(), Protocol::Rtp);
    assert_eq!(world.answer(&d).unwrap_err(), RelayError::NoOffer);
}

#[test]
fn a_clear_answer_to_an_encrypted_offer_is_refused() {
    let mut world = World::new(config());
    let caller = text(&Peer::plain("192.0.2.1:4000", 1).describe(None));
    offer(&mut world, &caller, Protocol::Srtp).unwrap();
    let callee = Peer::plain("192.0.2.5:5000", 2);
    let d = description(Direction::FromCallee, 1, &callee.describe(None), Protocol::Rtp);
    assert!(matches!(world.answer(&d), Err(RelayError::ProtocolMismatch(_))));
}

#[test]
fn exhausted_ports_are_a_typed_error_and_free_again_after_delete() {
    let mut config = config();
    (config.port_min, config.port_max) = (10_000, 10_005);
    let mut world = World::new(config);
    let caller = text(&Peer::plain("192.0.2.1:4000", 1).describe(None));
    let mut d = description(Direction::FromCaller, 1, caller.as_bytes(), Protocol::Rtp);
    world.offer(&d).unwrap();
    d.session = relay::SessionId(8);
    let error = world.offer(&d).unwrap_err();
    assert!(matches!(error, RelayError::PortsExhausted { port_min: 10_000, .. }), "{error}");
    assert_eq!((error.status(), world.control.ports().in_use()), (503, 2));
    world.control.delete(world.now, SESSION, None).unwrap();
    assert_eq!(world.control.ports().in_use(), 0);
    world.offer(&d).unwrap();
}

#[test]
fn limits_of_sessions_and_branches_hold() {
    let mut config = config();
    (config.sessions_max, config.branches_max) = (1, 2);
    let mut world = World::new(config);
    let caller = text(&Peer::plain("192.0.2.1:4000", 1).describe(None));
    let mut d = description(Direction::FromCaller, 1, caller.as_bytes(), Protocol::Rtp);
    world.offer(&d).unwrap();
    d.branch = 2;
    world.offer(&d).unwrap();
    d.branch = 3;
    assert!(matches!(world.offer(&d), Err(RelayError::TooManyBranches(2))));
    assert!(world.control.delete(world.now, SESSION, Some(1)).is_some());
    world.offer(&d).unwrap();
    d.session = relay::SessionId(8);
    assert!(matches!(world.offer(&d), Err(RelayError::TooManySessions(1))));
}

/// R6.1: a phone that speaks ICE is answered so, with one port, and the other phone is offered it; an
/// offer of another lite agent is taken as one without ICE: nobody would send checks.
#[test]
fn r6_1_phones_are_answered_ice_where_they_offer_it_and_lite_agents_are_not() {
    for (lite, speaks) in [("", true), ("a=ice-lite\r\n", false)] {
        let mut world = World::new(config());
        let ice = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{lite}\
             m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:abcdefghijklmnopqrstuv\r\n\
             a=candidate:1 1 UDP 2130706431 192.0.2.9 4000 typ host\r\n"
        );
        let wishes = |mut d: relay::Description| {
            for leg in [&mut d.from, &mut d.toward] {
                leg.dialect.ice = relay::IceWish::AsOffered;
                leg.dialect.mux.as_offered = true;
                leg.dialect.mux.accept = true;
            }
            d
        };
        let d = description(Direction::FromCaller, 1, ice.as_bytes(), Protocol::Rtp);
        let offered = text(&world.offer(&wishes(d)).unwrap());
        assert_eq!(offered.contains("a=ice-ufrag:"), speaks, "{offered}");
        let plain = Peer::plain("192.0.2.2:5000", 2);
        let d = description(Direction::FromCallee, 1, &plain.describe(None), Protocol::Rtp);
        let answer = text(&world.answer(&wishes(d)).unwrap());
        let session = Session::parse(answer.as_bytes()).unwrap();
        assert_eq!(session.ice_lite(), speaks, "{answer}");
        assert_eq!(session.ice_credentials_of(0).is_some(), speaks);
        assert!(session.media()[0].rtcp_mux(), "{answer}");
        let candidates: Vec<_> = session.media()[0].candidates().collect();
        assert_eq!(candidates.len(), usize::from(speaks), "one component: {answer}");
    }
}

/// RFC 8838: candidates of a phone's that come beside its description are taken where they are of this
/// leg; the end is lite, and learns where a phone is by its checks.
#[test]
fn rfc_8838_candidates_beside_descriptions_are_taken_of_the_leg_they_are_of() {
    let mut world = World::new(config());
    let phone = |ufrag: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\na=mid:sound\r\na=ice-options:trickle\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
        )
    };
    let wishes = |mut d: relay::Description| {
        for leg in [&mut d.from, &mut d.toward] {
            leg.dialect.ice = relay::IceWish::AsOffered;
            leg.dialect.mux.as_offered = true;
            leg.dialect.mux.accept = true;
            leg.dialect.trickle = true;
        }
        d
    };
    let fragment = |ufrag: &str, mid: &str| {
        format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:x\r\nm=audio 9 RTP/AVP 0\r\na=mid:{mid}\r\n")
    };
    let d = description(Direction::FromCaller, 1, phone("abcd").as_bytes(), Protocol::Rtp);
    let offered = text(&world.offer(&wishes(d)).unwrap());
    assert!(offered.contains("a=ice-options:trickle\r\n") && offered.contains("a=mid:0\r\n"));
    let d = description(Direction::FromCallee, 1, phone("efgh").as_bytes(), Protocol::Rtp);
    // It answers under the name it was offered.
    let d = relay::Description { sdp: text(&d.sdp).replace("mid:sound", "mid:0").into(), ..d };
    let answered = text(&world.answer(&wishes(d)).unwrap());
    assert!(answered.contains("a=ice-options:trickle\r\n"), "{answered}");
    assert!(answered.contains("a=mid:sound\r\n"), "{answered}");
    let tell = |world: &World, from, ufrag: &str, mid: &str| {
        world.control.trickle(SESSION, from, fragment(ufrag, mid).as_bytes())
    };
    assert!(matches!(tell(&world, None, "abcd", "sound"), Ok(true)));
    assert!(matches!(tell(&world, Some(1), "efgh", "0"), Ok(true)));
    assert!(matches!(tell(&world, Some(1), "abcd", "0"), Err(RelayError::UnknownGeneration)));
    let video = fragment("abcd", "video") + "m=video 9 RTP/AVP 0\r\na=mid:1\r\n";
    let unknown = world.control.trickle(SESSION, None, video.as_bytes());
    assert!(matches!(unknown, Err(RelayError::UnknownStream)));
    assert!(matches!(tell(&world, Some(2), "efgh", "0"), Ok(false)), "no such branch");
    assert!(matches!(world.control.trickle(SESSION, None, b"nonsense"), Err(RelayError::Sdp(_))));
    // Of an offer that nobody has answered yet.
    let again = description(Direction::FromCaller, 1, phone("next").as_bytes(), Protocol::Rtp);
    world.offer(&wishes(again)).unwrap();
    assert!(matches!(tell(&world, None, "next", "sound"), Ok(true)));
    assert!(matches!(tell(&world, None, "abcd", "sound"), Ok(true)), "what was agreed on still is");
}
