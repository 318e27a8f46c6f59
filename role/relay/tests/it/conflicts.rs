//! R5.11: re-offers that contradict what was agreed. Each ends in media both ways or in 488, and
//! what is refused, by us or by the far end, leaves the media as it was.

use media::keying::dtls::DtlsRole;
use relay::{Direction, Protocol, SessionId};

use crate::peers::Peer;
use crate::virtual_net::{RELAY_IP, World, config, description};

/// How an offer is changed, and what its sender is when it is taken: `None` for what it was.
struct Mutation {
    name: &'static str,
    text: fn(&str) -> String,
    becomes: Option<fn(&World) -> Peer>,
}

const fn text(name: &'static str, text: fn(&str) -> String) -> Mutation {
    Mutation { name, text, becomes: None }
}

const fn peer(name: &'static str, becomes: fn(&World) -> Peer) -> Mutation {
    Mutation { name, text: str::to_owned, becomes: Some(becomes) }
}

const A: &str = "192.0.2.1:4000";

/// The lines of an offer but those that begin so.
fn without(offer: &str, starts: &[&str]) -> String {
    let kept = offer.split_inclusive("\r\n");
    kept.filter(|line| !starts.iter().any(|start| line.starts_with(start))).collect()
}

fn with_line(offer: &str, start: &str, new: &str) -> String {
    let lines = offer.split_inclusive("\r\n");
    lines.map(|l| if l.starts_with(start) { format!("{new}\r\n") } else { l.to_owned() }).collect()
}

/// What every kind of side may do.
const COMMON: [Mutation; 5] = [
    text("nothing changes", str::to_owned),
    text("no audio line that can be used", |o| o.replace("m=audio", "m=text")),
    text("audio switched off", |o| {
        o.replace("m=audio 4000", "m=audio 0").replace("audio 9 ", "audio 0 ")
    }),
    peer("plain RTP from now on", |_| Peer::plain(A, 10)),
    peer("SDES from now on", |_| Peer::sdes(A, 11)),
];

const SDES: [Mutation; 7] = [
    peer("other keys", |_| Peer::sdes(A, 77)),
    text("no keys", |o| without(o, &["a=crypto"])),
    text("only a suite we do not speak", |o| {
        let line = "a=crypto:1 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        format!("{}{line}\r\n", without(o, &["a=crypto"]))
    }),
    text("only keys with a parameter to be obeyed", |o| {
        o.replace("a=crypto", "a=x-crypto").replacen("a=x-crypto", "a=crypto", 1).replacen(
            "\r\na=x-crypto:2",
            " UNENCRYPTED_SRTP\r\na=x-crypto:2",
            1,
        )
    }),
    text("a key of the wrong length", |o| {
        let line = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA";
        format!("{}{line}\r\n", without(o, &["a=crypto"]))
    }),
    text("in clear though keyed", |o| {
        without(o, &["a=crypto"])
            .replace("RTP/SAVP", "RTP/AVP")
            .replace(" RTP/AVP 0", " RTP/AVPX 0")
    }),
    peer("DTLS from now on", |w| Peer::dtls_phone(A, 12, w.now, DtlsRole::Client)),
];

const DTLS: [Mutation; 10] = [
    text("no fingerprint", |o| without(o, &["a=fingerprint"])),
    text("a fingerprint of a hash that proves nothing", |o| {
        with_line(
            o,
            "a=fingerprint",
            "a=fingerprint:md5 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
        )
    }),
    text("a fingerprint nobody has", |o| {
        let print = vec!["AB"; 32].join(":");
        with_line(o, "a=fingerprint", &format!("a=fingerprint:sha-256 {print}"))
    }),
    text("either role", |o| with_line(o, "a=setup", "a=setup:actpass")),
    text("role held", |o| with_line(o, "a=setup", "a=setup:holdconn")),
    text("no role", |o| without(o, &["a=setup"])),
    peer("another certificate, active", |w| Peer::dtls_phone(A, 13, w.now, DtlsRole::Client)),
    peer("another certificate, passive", |w| Peer::dtls_phone(A, 14, w.now, DtlsRole::Server)),
    peer("a browser takes over", |w| Peer::browser(A, 15, w.now)),
    text("credentials of ICE out of nowhere", |o| {
        format!("{o}a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijklmn\r\n")
    }),
];

const BROWSER: [Mutation; 7] = [
    text("a fingerprint nobody has", |o| {
        let print = vec!["AB"; 32].join(":");
        with_line(o, "a=fingerprint", &format!("a=fingerprint:sha-256 {print}"))
    }),
    text("no fingerprint", |o| without(o, &["a=fingerprint"])),
    text("no password of ICE", |o| without(o, &["a=ice-pwd"])),
    text("no ufrag", |o| without(o, &["a=ice-ufrag"])),
    text("another password, the same ufrag", |o| {
        with_line(o, "a=ice-pwd", "a=ice-pwd:zyxwvutsrqponmlkjihgfedc")
    }),
    text("active though it was asked", |o| with_line(o, "a=setup", "a=setup:active")),
    peer("a reload: other certificate, ufrag and role", |w| Peer::browser(A, 16, w.now)),
];

type Side = (&'static str, fn(&World) -> Peer, &'static [Mutation]);

const SIDES: [Side; 5] = [
    ("plain", |_| Peer::plain(A, 1), &[]),
    ("SDES", |_| Peer::sdes(A, 1), &SDES),
    ("DTLS, active", |w| Peer::dtls_phone(A, 1, w.now, DtlsRole::Client), &DTLS),
    ("DTLS, passive", |w| Peer::dtls_phone(A, 1, w.now, DtlsRole::Server), &DTLS),
    ("browser", |w| Peer::browser(A, 1, w.now), &BROWSER),
];

/// A call of two minutes' standing.
fn call(side: &Side) -> (World, Peer, Peer) {
    let mut world = World::new(config());
    let (mut a, mut b) = ((side.1)(&world), Peer::sdes("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Srtp);
    world.establish(&mut a);
    world.assert_talking(&mut a, &mut b);
    (world, a, b)
}

/// Sends the mutated offer; true when it was taken and answered.
fn reoffer(world: &mut World, a: &mut Peer, b: &mut Peer, it: &Mutation, answered: bool) -> bool {
    let becomes = it.becomes.map(|becomes| becomes(world));
    let offer = becomes.as_ref().unwrap_or(a).describe(None);
    let offer = (it.text)(std::str::from_utf8(&offer).unwrap());
    let offer = description(Direction::FromCaller, 1, offer.as_bytes(), Protocol::Srtp);
    let offered = match world.offer(&offer) {
        Ok(offered) => offered,
        Err(error) => {
            assert_eq!(error.status(), 488, "{}: {error}", it.name);
            return false;
        }
    };
    if !answered {
        return false;
    }
    let answer = b.describe(Some(&offered));
    let answer = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
    let answered = match world.answer(&answer) {
        Ok(answered) => answered,
        Err(error) => {
            assert_eq!(error.status(), 488, "{}: {error}", it.name);
            return false;
        }
    };
    b.take(&offered, false);
    if let Some(new) = becomes {
        *a = new;
    }
    a.take(&answered, true);
    true
}

fn all() -> impl Iterator<Item = (&'static Side, &'static Mutation)> {
    SIDES.iter().flat_map(|side| side.2.iter().chain(&COMMON).map(move |it| (side, it)))
}

#[test]
fn r5_11_a_mutated_reoffer_ends_in_media_both_ways_or_in_488() {
    let (mut taken, mut refused) = (0, 0);
    for (side, it) in all() {
        println!("{}: {}", side.0, it.name);
        let (mut world, mut a, mut b) = call(side);
        if reoffer(&mut world, &mut a, &mut b, it, true) {
            taken += 1;
        } else {
            refused += 1;
        }
        world.establish(&mut a);
        world.assert_talking(&mut a, &mut b);
        // And it stays so when the sender sees sense again.
        let same = text("the same again", str::to_owned);
        assert!(reoffer(&mut world, &mut a, &mut b, &same, true), "{}: {}", side.0, it.name);
        world.establish(&mut a);
        world.assert_talking(&mut a, &mut b);
    }
    assert!(taken >= 30 && refused >= 12, "{taken} taken, {refused} refused");
}

#[test]
fn r5_11_an_offer_that_the_far_end_refuses_leaves_the_media_as_it_was() {
    for (side, it) in all() {
        println!("{}: {}", side.0, it.name);
        let (mut world, mut a, mut b) = call(side);
        reoffer(&mut world, &mut a, &mut b, it, false);
        for _ in 0..3 {
            world.assert_talking(&mut a, &mut b);
            world.advance(std::time::Duration::from_millis(700));
        }
        assert_eq!(world.control.query(world.now, SessionId(7)).unwrap().legs.len(), 2);
        assert!(a.remote.unwrap().ip().to_string() == RELAY_IP);
    }
}
