//! Calls with more than one stream: video, fax, text, and what comes and goes in a call.

use std::net::SocketAddr;
use std::time::Duration;

use media::keying::dtls::DtlsRole;
use relay::bridge::BridgeEvent;
use relay::{Dialect, Direction, Protocol, RelayError};
use sdp::Session;

use crate::peers::Peer;
use crate::virtual_net::{SESSION, World, config, description};

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
const FAX: &str =
    "a=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n";

/// A party with sound and pictures: an endpoint for each.
struct Party([Peer; 2]);

impl Party {
    fn describe(&self, offered: Option<&[u8]>) -> Vec<u8> {
        let sections = self.0.iter().enumerate().map(|(n, peer)| {
            let own = peer.describe(offered.map(|sdp| only(sdp, n)).as_deref());
            let text = String::from_utf8(own).unwrap();
            let (head, media) = text.split_at(text.find("m=").unwrap());
            let media = match n {
                0 => media.to_owned(),
                _ => media.replace("m=audio", "m=video").replace("a=mid:0", "a=mid:1").replace(
                    "a=rtpmap:0 PCMU/8000\r\n",
                    "a=rtpmap:0 VP8/90000\r\na=rtcp-fb:0 nack pli\r\n\
                     a=extmap:3 urn:3gpp:video-orientation\r\n\
                     a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
                ),
            };
            (head.to_owned(), media)
        });
        let sections: Vec<_> = sections.collect();
        let head = sections[0].0.replace("BUNDLE 0", "BUNDLE 0 1");
        let media = sections.into_iter().map(|(_, media)| media);
        (head + &media.collect::<String>()).into_bytes()
    }

    fn take(&mut self, sdp: &[u8], is_answer: bool) {
        for (n, peer) in self.0.iter_mut().enumerate() {
            peer.take(&only(sdp, n), is_answer);
        }
    }
}

/// A description with one of its m-lines.
fn only(sdp: &[u8], index: usize) -> Vec<u8> {
    let text = String::from_utf8(sdp.to_vec()).unwrap();
    let mut parts = text.split("m=");
    let head = parts.next().unwrap().to_owned();
    (head + "m=" + parts.nth(index).unwrap()).into_bytes()
}

fn plain(ip: &str, ssrc: u32) -> Party {
    Party([4000, 4002].map(|port| Peer::plain(&format!("{ip}:{port}"), ssrc + port)))
}

fn sdes(ip: &str, ssrc: u32) -> Party {
    Party([4000, 4002].map(|port| Peer::sdes(&format!("{ip}:{port}"), ssrc + port)))
}

fn browser(world: &World, ip: &str, ssrc: u32) -> Party {
    Party([4000, 4002].map(|port| Peer::browser(&format!("{ip}:{port}"), ssrc + port, world.now)))
}

fn offer(world: &mut World, sdp: &[u8], toward: Protocol) -> Result<Vec<u8>, RelayError> {
    world.offer(&description(Direction::FromCaller, 1, sdp, toward))
}

fn answer(world: &mut World, sdp: &[u8]) -> Result<Vec<u8>, RelayError> {
    world.answer(&description(Direction::FromCallee, 1, sdp, Protocol::Rtp))
}

fn ports(sdp: &[u8]) -> Vec<u16> {
    Session::parse(sdp).unwrap().media().iter().map(|m| m.port()).collect()
}

fn connect(world: &mut World, caller: &mut Party, callee: &mut Party, toward: Protocol) {
    let offered = offer(world, &caller.describe(None), toward).unwrap();
    callee.take(&offered, false);
    let answered = answer(world, &callee.describe(Some(&offered))).unwrap();
    caller.take(&answered, true);
    for n in 0..2 {
        world.establish(&mut caller.0[n]);
        world.establish(&mut callee.0[n]);
    }
}

fn assert_talking(world: &mut World, caller: &mut Party, callee: &mut Party) {
    for n in 0..2 {
        world.assert_talking(&mut caller.0[n], &mut callee.0[n]);
    }
}

/// Every kind of side with every other: each stream is keyed on its own, on both sides.
#[test]
fn video_is_relayed_beside_sound_between_all_kinds_of_sides() {
    for caller_kind in 0..3 {
        for (callee_kind, toward) in
            [Protocol::Rtp, Protocol::Srtp, Protocol::WebRtc].into_iter().enumerate()
        {
            let mut world = World::new(config());
            let party = |world: &World, kind: usize, ip: &str| match kind {
                0 => plain(ip, 1),
                1 => sdes(ip, 2),
                _ => browser(world, ip, 3),
            };
            let mut caller = party(&world, caller_kind, "192.0.2.1");
            let mut callee = party(&world, callee_kind, "192.0.2.5");
            connect(&mut world, &mut caller, &mut callee, toward);
            assert_talking(&mut world, &mut caller, &mut callee);
            let stats = world.control.query(world.now, SESSION).unwrap();
            let legs: Vec<_> = stats.legs.iter().map(|l| (l.stream, l.media.as_str())).collect();
            assert_eq!(legs, [(0, "audio"), (1, "video"), (0, "audio"), (1, "video")]);
            for leg in &stats.legs {
                let codec = if leg.media == "audio" { "PCMU" } else { "VP8" };
                assert_eq!((leg.packets_received, leg.codec.as_deref()), (3, Some(codec)));
            }
            world.control.delete(world.now, SESSION, None).unwrap();
            assert_eq!(world.control.ports().in_use(), 0);
        }
    }
}

/// What two ends with pictures agree on passes; what is one side's transport does not.
#[test]
fn lines_of_feedback_and_extensions_pass_and_those_of_a_transport_do_not() {
    let mut world = World::new(config());
    let caller = browser(&world, "192.0.2.1", 1);
    let sdp = caller.describe(None);
    let offered = String::from_utf8(offer(&mut world, &sdp, Protocol::Rtp).unwrap()).unwrap();
    let video = &offered[offered.find("m=video").unwrap()..];
    for kept in ["a=rtcp-fb:0 nack pli", "a=extmap:3 urn:3gpp:video-orientation", "a=ssrc:"] {
        assert!(video.contains(kept), "{kept} not in {video}");
    }
    for gone in ["sdes:mid", "candidate", "fingerprint", "mid:", "msid", "rtcp-mux", "BUNDLE"] {
        assert!(!offered.contains(gone), "{gone} in {offered}");
    }
    assert!(video.starts_with("m=video ") && video.contains(" RTP/AVP 0"), "{video}");
    // A phone that offers feedback is met with it; so is its peer.
    let mut world = World::new(config());
    let avpf = format!("{HEAD}m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVPF 96\r\n");
    let offered = offer(&mut world, avpf.as_bytes(), Protocol::Srtp).unwrap();
    let offered = Session::parse(&offered).unwrap();
    assert_eq!(offered.media()[0].proto(), "RTP/SAVP");
    assert_eq!(offered.media()[1].proto(), "RTP/SAVPF");
}

/// R5.10: a browser bundles, and we answer each m-line on a transport of its own: the bundle has one
/// member. What it offers on the bundle's transport only is rejected.
#[test]
fn r5_10_a_bundle_is_taken_apart() {
    let mut world = World::new(config());
    let mut caller = browser(&world, "192.0.2.1", 1);
    let mut callee = plain("192.0.2.5", 9);
    connect(&mut world, &mut caller, &mut callee, Protocol::Rtp);
    let sdp = caller.describe(None);
    let offered = offer(&mut world, &sdp, Protocol::Rtp).unwrap();
    let answered = answer(&mut world, &callee.describe(Some(&offered))).unwrap();
    let text = String::from_utf8(answered.clone()).unwrap();
    assert!(text.contains("a=group:BUNDLE 0\r\n"), "{text}");
    let session = Session::parse(&answered).unwrap();
    assert_eq!(session.media()[1].mid(), Some("1"));
    let [audio, video] = [0, 1].map(|n| session.ice_credentials_of(n).unwrap().0.to_owned());
    assert_ne!(audio, video, "each is checked on its own");
    assert!(session.media().iter().all(|m| m.rtcp_mux()), "a browser insists on it");
    // Who insists on one bundle has one ufrag and the first's candidates for all of it, and refuses
    // an answer that takes it apart: it has sound. With candidates of its own the picture passes.
    let mut world = World::new(config());
    let text = String::from_utf8(sdp.clone()).unwrap();
    let [one, other] = [0, 1].map(|n| {
        Session::parse(&sdp).unwrap().media()[n].attribute("ice-ufrag").unwrap().to_owned()
    });
    let insists = text.replace(&other, &one);
    let offered = offer(&mut world, insists.as_bytes(), Protocol::Rtp).unwrap();
    assert_eq!((ports(&offered)[1], ports(&offered)[0] % 2), (0, 0));
    let has_way = insists + "a=candidate:1 1 udp 2113937151 192.0.2.1 4002 typ host\r\n";
    let offered = offer(&mut World::new(config()), has_way.as_bytes(), Protocol::Rtp).unwrap();
    assert_ne!(ports(&offered)[1], 0);
    // Bundle-only (RFC 9143 §6): port 0 until a bundle is agreed.
    let mut world = World::new(config());
    let only = String::from_utf8(sdp).unwrap().replace("m=video 9 ", "m=video 0 ");
    let offered = offer(&mut world, only.as_bytes(), Protocol::Rtp).unwrap();
    assert_eq!(ports(&offered)[1], 0);
}

#[test]
fn a_stream_the_answerer_rejects_is_rejected_to_the_offerer_and_its_ports_are_free() {
    let mut world = World::new(config());
    let mut caller = plain("192.0.2.1", 1);
    let mut callee = plain("192.0.2.5", 9);
    let offered = offer(&mut world, &caller.describe(None), Protocol::Rtp).unwrap();
    assert_eq!(world.control.ports().in_use(), 4);
    callee.take(&offered, false);
    let says_no =
        String::from_utf8(callee.describe(None)).unwrap().replace("video 4002", "video 0");
    let answered = answer(&mut world, says_no.as_bytes()).unwrap();
    assert_eq!(ports(&answered)[1], 0);
    assert_eq!(world.control.ports().in_use(), 2, "those of the sound");
    assert_eq!(answer(&mut world, says_no.as_bytes()).unwrap(), answered, "repeatable");
    caller.0[0].take(&only(&answered, 0), true);
    let Party([sound, _]) = &mut caller;
    world.assert_talking(sound, &mut callee.0[0]);
    // A phone that forgets the m-line has rejected it, too.
    let mut world = World::new(config());
    offer(&mut world, &caller.describe(None), Protocol::Rtp).unwrap();
    let forgets = only(&callee.describe(None), 0);
    assert_eq!(ports(&answer(&mut world, &forgets).unwrap())[1], 0);
}

/// Video comes by a re-offer of the callee, and goes by one of the caller: the sound keeps its ports
/// throughout.
#[test]
fn video_is_added_and_removed_while_the_sound_goes_on() {
    let mut world = World::new(config());
    let mut caller = sdes("192.0.2.1", 1);
    let mut callee = plain("192.0.2.5", 9);
    world.connect(&mut caller.0[0], &mut callee.0[0], Protocol::Rtp);
    let before = caller.0[0].remote;
    let added = description(Direction::FromCallee, 1, &callee.describe(None), Protocol::Rtp);
    let offered = world.offer(&added).unwrap();
    let session = Session::parse(&offered).unwrap();
    assert!(session.media().iter().all(|m| m.proto() == "RTP/SAVP"), "keyed as the others are");
    caller.take(&offered, false);
    let answered = caller.describe(Some(&offered));
    let d = description(Direction::FromCaller, 1, &answered, Protocol::Rtp);
    callee.take(&world.answer(&d).unwrap(), true);
    assert_eq!(caller.0[0].remote, before);
    assert_talking(&mut world, &mut caller, &mut callee);
    assert_eq!(world.control.ports().in_use(), 4);
    let without = |sdp: Vec<u8>| String::from_utf8(sdp).unwrap().replace("video 4002", "video 0");
    let offered =
        offer(&mut world, without(caller.describe(None)).as_bytes(), Protocol::Rtp).unwrap();
    assert_eq!((ports(&offered)[1], world.control.ports().in_use()), (0, 4), "not yet answered");
    let answered = answer(&mut world, without(callee.describe(None)).as_bytes()).unwrap();
    assert_eq!((ports(&answered)[1], world.control.ports().in_use()), (0, 2));
    world.assert_talking(&mut caller.0[0], &mut callee.0[0]);
}

/// A party whose sound is encrypted has no picture in clear, whatever it offers.
#[test]
fn nothing_is_relayed_in_clear_beside_what_is_encrypted() {
    let mut world = World::new(config());
    let caller = sdes("192.0.2.1", 1);
    let sdp = String::from_utf8(caller.describe(None)).unwrap();
    let video = sdp.find("m=video").unwrap();
    let clear = format!("{}m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n", &sdp[..video]);
    let offered = offer(&mut world, clear.as_bytes(), Protocol::Srtp).unwrap();
    assert_eq!(ports(&offered)[1], 0);
    // A controller that directs us has it as it wants.
    let mut world = World::new(config());
    let mut d = description(Direction::FromCaller, 1, clear.as_bytes(), Protocol::Srtp);
    d.toward.dialect = Dialect { each_stream: true, ..Dialect::default() };
    let offered = world.offer(&d).unwrap();
    let session = Session::parse(&offered).unwrap();
    assert_eq!(session.media()[1].proto(), "RTP/AVP");
    assert_ne!(session.media()[1].port(), 0);
}

/// The usual fax: sound first, then its m-line becomes T.38, then sound again.
#[test]
fn a_fax_takes_the_place_of_the_sound_and_gives_it_back() {
    let mut world = World::new(config());
    let mut a = Peer::plain("192.0.2.1:4000", 1);
    let mut b = Peer::plain("192.0.2.5:4000", 2);
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.assert_talking(&mut a, &mut b);
    let fax = |ip: &str| {
        let head = HEAD.replace("192.0.2.1", ip);
        format!("{head}m=image 4100 udptl t38\r\n{FAX}").into_bytes()
    };
    // Who receives a fax hears the calling tone, and offers.
    let d = description(Direction::FromCallee, 1, &fax("192.0.2.5"), Protocol::Rtp);
    let offered = world.offer(&d).unwrap();
    let text = String::from_utf8(offered.clone()).unwrap();
    assert!(text.contains(" udptl t38\r\n") && text.contains(FAX), "{text}");
    assert!(!text.contains("a=rtcp") && !text.contains("192.0.2.5"), "{text}");
    let port_of_a = ports(&offered)[0];
    assert_eq!(Some(port_of_a), a.remote.map(|addr| addr.port()), "the same ports");
    // It is not answered yet: the sound goes on.
    world.assert_talking(&mut a, &mut b);
    let d = description(Direction::FromCaller, 1, &fax("192.0.2.1"), Protocol::Rtp);
    let port_of_b = ports(&world.answer(&d).unwrap())[0];
    let (fax_a, fax_b): (SocketAddr, SocketAddr) =
        ("192.0.2.1:4100".parse().unwrap(), "192.0.2.5:4100".parse().unwrap());
    for n in 0..5_u8 {
        let packet = [0, n, 1, 0xc0, n, 0, 0];
        let sent = world.send(fax_a, port_of_a, &packet);
        assert_eq!((sent[0].to, sent[0].bytes.as_slice()), (fax_b, &packet[..]));
        assert_eq!(sent[0].from_port, port_of_b);
        let sent = world.send(fax_b, port_of_b, &packet);
        assert_eq!((sent[0].to, sent[0].bytes.as_slice()), (fax_a, &packet[..]));
    }
    // Sound that was on its way, a stranger, and RTCP's port.
    assert!(world.send(a.addr, port_of_a, &a.rtp()).is_empty());
    let stranger = "198.51.100.9:5000".parse().unwrap();
    assert!(world.send(stranger, port_of_a, &[0, 9, 1, 2, 3]).is_empty());
    assert!(world.send(fax_a, port_of_a + 1, &[0, 9, 1, 2, 3]).is_empty());
    let stats = world.control.query(world.now, SESSION).unwrap();
    assert_eq!(stats.legs[0].media, "image");
    assert_eq!(stats.legs[0].dropped_injected, 1);
    // Back to sound.
    let d = description(Direction::FromCallee, 1, &b.describe(None), Protocol::Rtp);
    let offered = world.offer(&d).unwrap();
    a.take(&offered, false);
    let d = description(Direction::FromCaller, 1, &a.describe(Some(&offered)), Protocol::Rtp);
    b.take(&world.answer(&d).unwrap(), true);
    world.assert_talking(&mut a, &mut b);
    assert_eq!(world.control.ports().in_use(), 2);
}

/// The other way: the sound is turned off and T.38 gets an m-line of its own.
#[test]
fn a_fax_may_have_an_m_line_of_its_own() {
    let mut world = World::new(config());
    let mut a = Peer::plain("192.0.2.1:4000", 1);
    let mut b = Peer::plain("192.0.2.5:4000", 2);
    world.connect(&mut a, &mut b, Protocol::Rtp);
    let fax = format!("{HEAD}m=audio 0 RTP/AVP 0\r\nm=image 4100 udptl t38\r\n{FAX}");
    let offered = offer(&mut world, fax.as_bytes(), Protocol::Rtp).unwrap();
    let answered = answer(&mut world, fax.as_bytes()).unwrap();
    assert_eq!(world.control.ports().in_use(), 2, "the sound's are free");
    let (to_a, to_b) = (ports(&answered)[1], ports(&offered)[1]);
    let from = "192.0.2.1:4100".parse().unwrap();
    assert_eq!(world.send(from, to_a, &[0, 0, 7, 7])[0].from_port, to_b);
    assert!(world.control.query(world.now, SESSION).unwrap().answered);
    let d = description(Direction::FromCaller, 1, &a.describe(None), Protocol::Rtp);
    let offered = world.offer(&d).unwrap();
    b.take(&offered, false);
    a.take(&answer(&mut world, &b.describe(Some(&offered))).unwrap(), true);
    world.assert_talking(&mut a, &mut b);
    assert_eq!(world.control.ports().in_use(), 2, "the fax's are free");
}

/// T.38 knows no keys: a call that is encrypted on one side stays with its sound.
#[test]
fn a_fax_in_clear_is_no_part_of_an_encrypted_call() {
    let fax = format!("{HEAD}m=image 4100 udptl t38\r\n{FAX}");
    for (secure_caller, toward) in [(true, Protocol::Rtp), (false, Protocol::Srtp)] {
        let mut world = World::new(config());
        let peer = |secure: bool, addr: &str, ssrc| match secure {
            true => Peer::sdes(addr, ssrc),
            false => Peer::plain(addr, ssrc),
        };
        let mut a = peer(secure_caller, "192.0.2.1:4000", 1);
        let mut b = peer(!secure_caller, "192.0.2.5:4000", 2);
        world.connect(&mut a, &mut b, toward);
        for direction in [Direction::FromCaller, Direction::FromCallee] {
            let d = description(direction, 1, fax.as_bytes(), Protocol::Rtp);
            let error = world.offer(&d).unwrap_err();
            assert_eq!((error.clone(), error.status()), (RelayError::InClear("udptl".into()), 488));
        }
        world.assert_talking(&mut a, &mut b);
        // A controller may have it, and the keys of the sound go on where they were.
        let mut d = description(Direction::FromCaller, 1, fax.as_bytes(), Protocol::Rtp);
        d.toward.dialect.each_stream = true;
        let offered = world.offer(&d).unwrap();
        assert!(!String::from_utf8(offered).unwrap().contains("crypto"));
        answer(&mut world, fax.as_bytes()).unwrap();
        let d = description(Direction::FromCaller, 1, &a.describe(None), toward);
        let offered = world.offer(&d).unwrap();
        b.take(&offered, false);
        a.take(&answer(&mut world, &b.describe(Some(&offered))).unwrap(), true);
        world.assert_talking(&mut a, &mut b);
    }
}

#[test]
fn a_fax_that_is_refused_leaves_the_sound_as_it_was() {
    let mut world = World::new(config());
    let mut a = Peer::plain("192.0.2.1:4000", 1);
    let mut b = Peer::plain("192.0.2.5:4000", 2);
    world.connect(&mut a, &mut b, Protocol::Rtp);
    let fax = format!("{HEAD}m=image 4100 udptl t38\r\n{FAX}");
    offer(&mut world, fax.as_bytes(), Protocol::Rtp).unwrap();
    // 488, or an answer of another kind.
    world.assert_talking(&mut a, &mut b);
    let error = answer(&mut world, &b.describe(None)).unwrap_err();
    assert!(matches!(error, RelayError::ProtocolMismatch(_)), "{error}");
    world.assert_talking(&mut a, &mut b);
}

#[test]
fn streams_beyond_the_limit_are_rejected() {
    let mut config = config();
    config.streams_max = 3;
    let mut world = World::new(config);
    let line = |n: u16| format!("m=video {} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n", 4000 + 2 * n);
    let sdp = format!("{HEAD}m=audio 4000 RTP/AVP 0\r\n{}", (1..6).map(line).collect::<String>());
    let offered = ports(&offer(&mut world, sdp.as_bytes(), Protocol::Rtp).unwrap());
    assert_eq!(offered.len(), 6);
    assert!(offered[..3].iter().all(|p| *p != 0) && offered[3..] == [0, 0, 0], "{offered:?}");
    assert_eq!(world.control.ports().in_use(), 6);
    let answered = ports(&answer(&mut world, sdp.as_bytes()).unwrap());
    assert!(answered[..3].iter().all(|p| *p != 0) && answered[3..] == [0, 0, 0], "{answered:?}");
}

#[test]
fn ports_that_do_not_suffice_refuse_the_offer_and_leave_none_open() {
    let mut config = config();
    (config.port_min, config.port_max) = (10_000, 10_007);
    let mut world = World::new(config);
    let two = plain("192.0.2.1", 1).describe(None);
    let d = description(Direction::FromCaller, 1, &two, Protocol::Rtp);
    world.offer(&d).unwrap();
    assert_eq!(world.control.ports().in_use(), 4);
    let fork = description(Direction::FromCaller, 2, &two, Protocol::Rtp);
    assert!(matches!(world.offer(&fork), Err(RelayError::PortsExhausted { .. })));
    assert_eq!(world.control.ports().in_use(), 4, "as before");
    assert_eq!(world.control.query(world.now, SESSION).unwrap().legs.len(), 4);
}

/// A fork: one branch has no video, the other has, and answers later.
#[test]
fn a_branch_without_video_does_not_take_the_callers_from_another() {
    let mut world = World::new(config());
    let mut caller = plain("192.0.2.1", 1);
    let sdp = caller.describe(None);
    let mut with = plain("192.0.2.6", 9);
    for branch in [1, 2] {
        let d = description(Direction::FromCaller, branch, &sdp, Protocol::Rtp);
        let offered = world.offer(&d).unwrap();
        if branch == 2 {
            with.take(&offered, false);
        }
    }
    assert_eq!(world.control.ports().in_use(), 6);
    let without = String::from_utf8(plain("192.0.2.5", 7).describe(None)).unwrap();
    answer(&mut world, without.replace("video 4002", "video 0").as_bytes()).unwrap();
    assert_eq!(world.control.ports().in_use(), 5);
    let d = description(Direction::FromCallee, 2, &with.describe(None), Protocol::Rtp);
    caller.take(&world.answer(&d).unwrap(), true);
    assert_talking(&mut world, &mut caller, &mut with);
    world.control.delete(world.now, SESSION, Some(1)).unwrap();
    assert_talking(&mut world, &mut caller, &mut with);
    assert_eq!(world.control.ports().in_use(), 4);
}

/// A call is silent when all of it is; a camera that is off is no silence, and no hold.
#[test]
fn one_stream_that_is_heard_is_no_silence() {
    let mut world = World::new(config());
    let mut caller = plain("192.0.2.1", 1);
    let mut callee = plain("192.0.2.5", 9);
    connect(&mut world, &mut caller, &mut callee, Protocol::Rtp);
    let silent = |world: &World| world.events.contains(&BridgeEvent::MediaSilent);
    for n in 0..6 {
        let which = usize::from(n >= 3);
        let Party(peers) = &mut caller;
        world.assert_heard(&mut peers[which], &mut callee.0[which]);
        world.advance(Duration::from_secs(15));
    }
    assert!(!silent(&world), "one of the two was heard");
    // The camera is turned off: its stream is held, the sound is not.
    let off = |sdp: Vec<u8>| [sdp, b"a=inactive\r\n".to_vec()].concat();
    let offered = offer(&mut world, &off(caller.describe(None)), Protocol::Rtp).unwrap();
    assert!(offered.ends_with(b"a=inactive\r\n") || !offered.is_empty());
    answer(&mut world, &off(callee.describe(Some(&offered)))).unwrap();
    world.advance(Duration::from_secs(30));
    assert!(silent(&world), "nobody holds the sound");
}

/// A DTLS phone without ICE has a handshake for each m-line.
#[test]
fn each_stream_has_a_handshake_of_its_own() {
    let mut world = World::new(config());
    let mut caller = plain("192.0.2.1", 1);
    let phone = |port: u16| {
        let addr = format!("192.0.2.5:{port}");
        Peer::dtls_phone(&addr, u32::from(port), world.now, DtlsRole::Client)
    };
    let mut callee = Party([phone(4000), phone(4002)]);
    connect(&mut world, &mut caller, &mut callee, Protocol::WebRtc);
    assert_talking(&mut world, &mut caller, &mut callee);
}
