//! Keys of the two ends (R5.4), and of one end and the relay where the other is keyed otherwise
//! (R5.3).

use media::keying::dtls::DtlsRole;
use relay::bridge::LegId;
use relay::{Direction, Protocol};
use rtp::zrtp::Trust;

use crate::peers::Peer;
use crate::virtual_net::{SESSION, World, config, description};

/// How a side is keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Sdes,
    Dtls,
    Zrtp,
}

fn peer(kind: Kind, who: u8, world: &World) -> Peer {
    let (addr, ssrc) = (format!("192.0.2.{who}:4000"), u32::from(who));
    match kind {
        Kind::Plain => Peer::plain(&addr, ssrc),
        Kind::Sdes => Peer::sdes(&addr, ssrc),
        Kind::Dtls => Peer::dtls_phone(&addr, ssrc, world.now, DtlsRole::Client),
        Kind::Zrtp => Peer::zrtp(&addr, ssrc),
    }
}

/// How the callee's leg is offered.
fn toward(callee: Kind, caller: Kind) -> Protocol {
    match callee {
        Kind::Plain => Protocol::Rtp,
        Kind::Sdes => Protocol::Srtp,
        Kind::Dtls => Protocol::WebRtc,
        // What both can they do between themselves.
        Kind::Zrtp if caller == Kind::Zrtp => Protocol::Rtp,
        Kind::Zrtp => Protocol::Zrtp,
    }
}

/// A call of these two, with keys where they have some.
fn call(caller: Kind, callee: Kind) -> (World, Peer, Peer) {
    let mut world = World::new(config());
    let (mut a, mut b) = (peer(caller, 1, &world), peer(callee, 2, &world));
    let offer = a.describe(None);
    let offer = description(Direction::FromCaller, 1, &offer, toward(callee, caller));
    let offered = world.offer(&offer).unwrap();
    b.take(&offered, false);
    let answer = b.describe(Some(&offered));
    // A caller with ZRTP in front of a callee in clear is keyed if it is asked for.
    let back =
        if caller == Kind::Zrtp && callee == Kind::Plain { Protocol::Zrtp } else { Protocol::Rtp };
    let answer = description(Direction::FromCallee, 1, &answer, back);
    let answered = world.answer(&answer).unwrap();
    a.take(&answered, true);
    world.agree(&mut a, &mut b);
    (world, a, b)
}

/// R5.3: SDES, DTLS and ZRTP on either side; and ZRTP with a side in clear.
#[test]
fn r5_3_all_nine_pairs_of_sdes_dtls_and_zrtp_bridge() {
    let kinds = [Kind::Sdes, Kind::Dtls, Kind::Zrtp];
    let mut pairs: Vec<_> = kinds.iter().flat_map(|a| kinds.map(|b| (*a, b))).collect();
    assert_eq!(pairs.len(), 9);
    pairs.extend([(Kind::Plain, Kind::Zrtp), (Kind::Zrtp, Kind::Plain)]);
    for (caller, callee) in pairs {
        let (mut world, mut a, mut b) = call(caller, callee);
        world.assert_talking(&mut a, &mut b);
        assert!(
            world.events.iter().all(|e| !format!("{e:?}").contains("Failed")),
            "{:?}",
            world.events
        );
        for (kind, end) in [(caller, &a), (callee, &b)] {
            if kind != Kind::Zrtp {
                continue;
            }
            // Who is keyed by us is told that we sit between, and keeps no key of ours.
            let between = (caller, callee) != (Kind::Zrtp, Kind::Zrtp);
            assert_eq!(end.secured().peer_is_mitm, between, "{caller:?} {callee:?}");
            assert_eq!(end.secured().trust, Trust::FirstContact);
        }
    }
}

/// R5.4: of two ends that agree between themselves the relay has no key; what they say passes it
/// byte for byte, and both have one string.
#[test]
fn r5_4_the_relay_has_no_key_of_two_ends_that_agree_between_themselves() {
    let (mut world, mut a, mut b) = call(Kind::Zrtp, Kind::Zrtp);
    assert_eq!(a.secured().sas, b.secured().sas);
    assert!(!a.secured().peer_is_mitm && !b.secured().peer_is_mitm);
    let shared = world.control.bridge(SESSION).unwrap();
    for leg in [LegId::CALLER, LegId(1)] {
        let bridge = shared.lock();
        let security = &bridge.leg(leg).unwrap().security;
        assert!(!security.is_secure(), "{security:?}");
        let dump = format!("{security:?}");
        assert_eq!(dump, "Plain", "there is nothing in it to take");
    }
    let packet = a.rtp();
    let clear = [1_u8; 160];
    assert!(!packet.windows(8).any(|w| w == &clear[..8]), "encrypted");
    let sent = world.send(a.addr, a.remote.unwrap().port(), &packet);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].bytes, packet, "as it came");
    assert_eq!(b.open_rtp(&sent[0].bytes), Some(1));
    world.assert_talking(&mut a, &mut b);
}

/// A side that is offered ZRTP by us and says nothing of it would wait for ever: 488.
#[test]
fn r5_3_an_answer_without_zrtp_to_an_offer_of_ours_is_refused() {
    let mut world = World::new(config());
    let (a, b) = (peer(Kind::Sdes, 1, &world), peer(Kind::Plain, 2, &world));
    let offer = description(Direction::FromCaller, 1, &a.describe(None), Protocol::Zrtp);
    let offered = world.offer(&offer).unwrap();
    let text = String::from_utf8_lossy(&offered);
    assert!(text.contains("RTP/AVP ") && text.contains("a=zrtp-hash:1.10 "), "{text}");
    let answer = b.describe(Some(&offered));
    let refused = world.answer(&description(Direction::FromCallee, 1, &answer, Protocol::Rtp));
    assert_eq!(refused.unwrap_err().status(), 488);
}

/// A re-offer keeps the keys that we agreed on with a side.
#[test]
fn r5_3_a_reoffer_keeps_the_keys_agreed_on_with_the_relay() {
    let (mut world, mut a, mut b) = call(Kind::Zrtp, Kind::Sdes);
    world.assert_talking(&mut a, &mut b);
    let before = a.secured();
    let offer = description(Direction::FromCaller, 1, &a.describe(None), Protocol::Srtp);
    let offered = world.offer(&offer).unwrap();
    b.take(&offered, false);
    let answer = b.describe(Some(&offered));
    let answered =
        world.answer(&description(Direction::FromCallee, 1, &answer, Protocol::Rtp)).unwrap();
    a.take(&answered, true);
    world.assert_talking(&mut a, &mut b);
    assert_eq!(a.secured(), before);
}
