//! Candidates one after the other (RFC 8838, RFC 8840).

use crate::network::{Lets, Packet, RTT, World, addr};
use bytes::Bytes;
use phone::NetworkId;
use sansio::Transport;
use sip::{HeaderName, Message};
use std::time::Duration;

const LETS: Lets = Lets { media: true, turn: true };
const TRICKLES: &str = "a=mid:0\r\na=ice-options:trickle\r\n";
const PACKAGE: &str =
    "Info-Package: trickle-ice\r\nContent-Type: application/trickle-ice-sdpfrag\r\n";

/// The first INVITE as it left, of a phone that waits for nothing.
fn world(says: &'static str) -> World {
    let mut world = World::new(&[Transport::Udp], LETS);
    world.says = says;
    world
}

#[test]
fn rfc_8838_16_who_is_not_known_to_trickle_is_offered_all_at_once() {
    let mut world = world("");
    world.call();
    let offer = &world.offer;
    assert!(offer.contains("a=ice-options:ice2 trickle\r\n") && offer.contains("a=mid:0\r\n"));
    assert!(offer.contains("typ relay") && offer.contains("a=end-of-candidates"), "{offer}");
    // .. and its answer said nothing of it: the next offer is whole as well.
    world.phone.set_network(world.now, NetworkId("train".into()));
    world.call();
    assert!(world.offer.contains("typ relay"), "{}", world.offer);
    assert!(world.infos.is_empty());
}

#[test]
fn rfc_8840_4_who_is_known_to_trickle_is_offered_what_there_is_and_told_the_rest() {
    let mut world = world(TRICKLES);
    world.call();
    assert!(world.offer.contains("a=end-of-candidates") && world.infos.is_empty());
    // Another network: nothing is known of it, nothing gathered.
    world.phone.set_network(world.now, NetworkId("train".into()));
    let began = world.now;
    let took = world.call();
    assert_eq!(took, 2 * RTT, "gathering costs nothing");
    let offer = &world.offer;
    assert!(offer.contains("typ host") && !offer.contains("typ relay"), "{offer}");
    assert!(!offer.contains("a=end-of-candidates"), "{offer}");
    let ufrag = offer.lines().find(|l| l.starts_with("a=ice-ufrag:")).expect("credentials");
    let [(at, told)] = &world.infos[..] else { panic!("{:?}", world.infos) };
    // The allocation takes two round trips, the answer is there after one.
    assert_eq!(*at - began, 2 * RTT);
    for line in [ufrag, "a=mid:0", "typ host", "typ srflx", "typ relay", "a=end-of-candidates"] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

/// An INVITE of the far end's, and the phone's 200 to it at once.
fn called(world: &mut World, says: &str) -> Message {
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
         m=audio 30000 RTP/AVP 0\r\na=rtcp-mux\r\na=ice-ufrag:ffff\r\n\
         a=ice-pwd:far-password-of-22-characters\r\n\
         a=candidate:1 1 UDP 2130706431 198.51.100.1 30000 typ host\r\n{says}"
    );
    world.dialog = "From: <sip:bob@example.com>;tag=far\r\nTo: <sip:alice@example.com>\r\n\
                    Call-ID: in\r\n"
        .into();
    let headers = "Contact: <sip:bob@198.51.100.1>\r\nContent-Type: application/sdp\r\n";
    world.inside("INVITE", headers, &sdp);
    world.run(Duration::ZERO, None);
    let ringing = world.answers.last().expect("180").clone();
    assert_eq!(ringing.status(), Some(180));
    let tag = String::from_utf8_lossy(ringing.to_tag().expect("a tag")).into_owned();
    world.dialog = format!(
        "From: <sip:bob@example.com>;tag=far\r\nTo: <sip:alice@example.com>;tag={tag}\r\n\
         Call-ID: in\r\n"
    );
    ringing
}

#[test]
fn rfc_8840_4_an_offer_that_trickles_is_answered_at_once_and_told_the_rest() {
    for (says, at_once) in [(TRICKLES, true), ("a=mid:0\r\n", false)] {
        let mut world = world("");
        let ringing = called(&mut world, says);
        for name in [HeaderName::SUPPORTED, HeaderName::RECV_INFO] {
            assert!(
                ringing.header_str(name).is_some_and(|v| v.contains("trickle-ice")),
                "{name:?}"
            );
        }
        let call = world.incoming.expect("an INVITE");
        let began = world.now;
        world.phone.answer(world.now, call, addr("192.168.1.2:4000")).unwrap();
        world.run(Duration::from_secs(1), Some(call));
        let ok = world.answers.iter().find(|a| a.status() == Some(200)).expect("200").clone();
        let answer = String::from_utf8_lossy(ok.body()).into_owned();
        assert_eq!(answer.contains("a=end-of-candidates"), !at_once, "{answer}");
        assert_eq!(answer.contains("typ relay"), !at_once, "{answer}");
        if at_once {
            let [(at, told)] = &world.infos[..] else { panic!("{:?}", world.infos) };
            assert_eq!(*at - began, 2 * RTT);
            assert!(told.contains("typ relay") && told.contains("a=mid:0"), "{told}");
        } else {
            assert!(world.infos.is_empty());
        }
    }
}

#[test]
fn rfc_8840_4_candidates_of_this_call_are_used_and_others_refused() {
    let mut world = world(TRICKLES);
    let call = world.phone.call(world.now, "bob", addr("192.168.1.2:4000")).unwrap();
    world.lets.media = false;
    world.run(4 * RTT, Some(call));
    let fragment = |ufrag: &str, mid: &str, addr: &str| {
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:far-password-of-22-characters\r\n\
             m=audio 9 RTP/AVP 0\r\na=mid:{mid}\r\n\
             a=candidate:9 1 UDP 2130706431 {addr} 31000 typ host\r\n"
        )
    };
    for (body, status, warning) in [
        (fragment("ffff", "0", "198.51.100.2"), 200, ""),
        (fragment("gggg", "0", "198.51.100.3"), 488, "a=ice-ufrag"),
        (
            fragment("ffff", "7", "198.51.100.4") + "m=video 9 RTP/AVP 0\r\na=mid:8\r\n",
            488,
            "a=mid",
        ),
        ("nonsense\r\n".into(), 400, "trickle fragment"),
    ] {
        world.answers.clear();
        world.inside("INFO", PACKAGE, &body);
        world.run(Duration::from_millis(200), Some(call));
        let [answer] = &world.answers[..] else { panic!("{:?}", world.answers) };
        let said = answer.header_str(HeaderName::WARNING).unwrap_or_default();
        assert_eq!(answer.status(), Some(status), "{body}");
        assert!(said.contains(warning), "{said}");
    }
    assert!(world.elsewhere.contains(&addr("198.51.100.2:31000")), "{:?}", world.elsewhere);
    assert!(world.elsewhere.iter().all(|to| *to == addr("198.51.100.2:31000")));
}

/// INFO and answer may come the other way round: over UDP either may be repeated.
#[test]
fn rfc_8840_4_candidates_that_overtake_the_answer_are_kept_for_it() {
    let mut world = world(TRICKLES);
    let call = world.phone.call(world.now, "bob", addr("192.168.1.2:4000")).unwrap();
    world.lets.media = false;
    // The answer is on its way, and a 180 of the same phone's overtakes it.
    world.run(3 * RTT - Duration::from_millis(1), Some(call));
    let (invite_via, cseq) = (world.via.clone(), world.cseq.clone());
    let ringing = format!(
        "SIP/2.0 180 Ringing\r\nVia: {invite_via}\r\n{}CSeq: {cseq}\r\n\
         Contact: <sip:far@198.51.100.1>\r\nContent-Length: 0\r\n\r\n",
        world.dialog_of_answers()
    );
    world.later(Duration::ZERO, Packet::Sip(Bytes::from(ringing)));
    world.run(Duration::ZERO, Some(call));
    world.answers.clear();
    world.inside(
        "INFO",
        PACKAGE,
        "a=ice-ufrag:ffff\r\na=ice-pwd:far-password-of-22-characters\r\nm=audio 9 RTP/AVP 0\r\n\
         a=mid:0\r\na=candidate:9 1 UDP 2130706431 198.51.100.2 31000 typ host\r\n",
    );
    world.run(Duration::ZERO, Some(call));
    assert_eq!(world.answers.last().and_then(Message::status), Some(200));
    assert!(world.elsewhere.is_empty());
    world.run(Duration::from_millis(200), Some(call));
    assert_eq!(world.elsewhere.first(), Some(&addr("198.51.100.2:31000")));
}
