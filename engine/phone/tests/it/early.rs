//! R1.6: what happens before the answer: reliable provisional responses, early media, several
//! phones that ring, UPDATE.

use std::net::SocketAddr;

use crate::scripted::{alone, last, request, session, statuses, tag_of};
use crate::world::{SCRIPT, World, millis, seconds};
use media::Session;
use phone::{CallHandle, Cause, Config, PhoneEvent};
use sansio::{SeededEntropy, Transport};
use sip::{HeaderName, Message, Method, ResponseBuilder, response_to};

const SDP: &str = "application/sdp";

fn eve() -> String {
    format!("sip:eve@{SCRIPT}")
}

fn session_on(world: &World, port: u16) -> Session {
    let local = SocketAddr::new([203, 0, 113, 9].into(), port);
    Session::new(media::Config::new(local), world.now, &mut SeededEntropy::new(port.into()))
}

fn with_config(config: &Config) -> World {
    World::with_config(21, Transport::Udp, &["alice"], config)
}

/// Alice calls Eve; gives the INVITE.
fn call_eve(world: &mut World) -> (CallHandle, Message) {
    let call = world.call(0, &eve());
    world.run(millis(100));
    (call, world.script.remove(0))
}

fn response(invite: &Message, status: u16, tag: &str) -> ResponseBuilder {
    response_to(invite, status, "")
        .to_tag(tag)
        .header(HeaderName::CONTACT, format!("<{}>", eve()))
        .header(HeaderName::ALLOW, "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE")
}

fn reliable(invite: &Message, status: u16, tag: &str, rseq: u32) -> ResponseBuilder {
    response(invite, status, tag)
        .header(HeaderName::REQUIRE, "100rel")
        .header(HeaderName::RSEQ, rseq.to_string())
}

fn sent(world: &World, method: Method<'_>) -> Vec<Message> {
    let mut all: Vec<Message> =
        world.script.iter().filter(|m| m.method() == Some(method)).cloned().collect();
    all.dedup_by(|a, b| a.bytes() == b.bytes());
    all
}

fn deliver(world: &mut World, message: &Message) {
    world.inject(0, message);
    world.run(millis(50));
}

#[test]
fn r1_6_a_reliable_183_is_acknowledged_once_and_opens_early_media() {
    let mut world = alone();
    let (call, invite) = call_eve(&mut world);
    assert!(invite.lists(HeaderName::SUPPORTED, "100rel"));
    let answer = session(&world).handle_offer(world.now, invite.body()).expect("an answer");
    let early = reliable(&invite, 183, "e", 100).body(SDP, &answer).build();
    for _ in 0..3 {
        deliver(&mut world, &early);
    }
    deliver(&mut world, &reliable(&invite, 180, "e", 102).build());
    let pracks = sent(&world, Method::PRACK);
    assert_eq!(pracks.len(), 1, "once, and none for what is ahead of its turn");
    assert_eq!(pracks[0].header_str(HeaderName::RACK), Some("100 1 INVITE"));
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::EarlyMedia { .. })), 1);
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Ringing { .. })), 0);
    deliver(&mut world, &response_to(&pracks[0], 200, "").build());
    deliver(&mut world, &reliable(&invite, 180, "e", 101).build());
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Ringing { .. })), 1);
    deliver(&mut world, &response(&invite, 200, "e").build());
    assert!(world.phones[0].is_talking(call), "a 200 need not say it again");
}

#[test]
fn r1_6_an_offer_in_a_reliable_183_is_answered_in_the_prack() {
    let mut world = with_config(&Config { delayed_offer: true, ..Config::default() });
    let (call, invite) = call_eve(&mut world);
    assert!(invite.body().is_empty());
    let mut theirs = session(&world);
    let offer = theirs.create_offer(world.now);
    deliver(&mut world, &reliable(&invite, 183, "e", 7).body(SDP, &offer).build());
    let prack = sent(&world, Method::PRACK).remove(0);
    theirs.handle_answer(world.now, prack.body()).expect("an answer in the PRACK");
    deliver(&mut world, &response_to(&prack, 200, "").build());
    deliver(&mut world, &response(&invite, 200, "e").build());
    assert!(world.phones[0].is_talking(call));
    assert!(sent(&world, Method::ACK)[0].body().is_empty());
}

#[test]
fn r1_5_an_offer_in_the_200_is_answered_in_the_ack() {
    let mut world = with_config(&Config { delayed_offer: true, ..Config::default() });
    let (call, invite) = call_eve(&mut world);
    let mut theirs = session(&world);
    let offer = theirs.create_offer(world.now);
    deliver(&mut world, &response(&invite, 200, "e").body(SDP, &offer).build());
    theirs.handle_answer(world.now, sent(&world, Method::ACK)[0].body()).expect("an answer");
    assert!(world.phones[0].is_talking(call));
}

/// Eve calls Alice, who takes reliable responses, with an offer; Alice's early media starts.
fn eve_hears_early_media() -> (World, CallHandle, Message) {
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    let invite = request(Method::INVITE, 1, None)
        .header(HeaderName::SUPPORTED, "100rel")
        .header(HeaderName::ALLOW, "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE")
        .body(SDP, offer);
    deliver(&mut world, &invite.build());
    let call = world.progress(0);
    let early = last(&world, 183);
    (world, call, early)
}

fn prack(early: &Message, cseq: u32) -> sip::RequestBuilder {
    let rack = sip::dialog::RAck::acknowledging(early).expect("reliable").to_string();
    request(Method::PRACK, cseq, Some(&tag_of(early))).header(HeaderName::RACK, rack)
}

#[test]
fn r1_6_a_2xx_waits_until_early_media_is_acknowledged() {
    let (mut world, call, early) = eve_hears_early_media();
    assert!(!early.body().is_empty() && early.lists(HeaderName::REQUIRE, "100rel"));
    world.answer(0);
    world.run(seconds(1));
    assert!(!statuses(&world).contains(&200), "not before the PRACK");
    let copies = world.script.iter().filter(|m| m.status() == Some(183)).count();
    assert_eq!(copies, 2, "sent again after T1");
    let wrong =
        request(Method::PRACK, 2, Some(&tag_of(&early))).header(HeaderName::RACK, "1 1 INVITE");
    deliver(&mut world, &wrong.build());
    assert_eq!(last(&world, 481).cseq().unwrap().method, Method::PRACK);
    deliver(&mut world, &prack(&early, 3).build());
    let oks: Vec<&Message> = world.script.iter().filter(|m| m.status() == Some(200)).collect();
    let methods: Vec<&str> = oks.iter().map(|m| m.cseq().unwrap().method.as_str()).collect();
    assert_eq!(methods, ["PRACK", "INVITE"]);
    assert!(oks[1].body().is_empty(), "what is agreed is not said again");
    assert!(world.phones[0].is_talking(call));
}

#[test]
fn r1_6_an_offer_in_a_prack_is_answered_in_its_200() {
    let (mut world, _, early) = eve_hears_early_media();
    let offer = session(&world).create_offer(world.now);
    deliver(&mut world, &prack(&early, 2).body(SDP, &offer).build());
    let ok = last(&world, 200);
    assert_eq!(ok.cseq().unwrap().method, Method::PRACK);
    assert!(sdp::Session::parse(ok.body()).is_ok());
}

#[test]
fn r1_6_a_call_whose_early_media_nobody_acknowledges_is_refused() {
    let (mut world, _, _) = eve_hears_early_media();
    world.run(seconds(33));
    assert_eq!(last(&world, 504).cseq().unwrap().method, Method::INVITE);
    assert_eq!(world.ended(0), [Cause::Network]);
}

#[test]
fn r1_6_who_requires_100rel_hears_it_ring_reliably() {
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    let invite = request(Method::INVITE, 1, None).header(HeaderName::REQUIRE, "100rel");
    deliver(&mut world, &invite.body(SDP, offer).build());
    let ringing = last(&world, 180);
    assert!(ringing.lists(HeaderName::REQUIRE, "100rel"));
    world.answer(0);
    world.run(millis(50));
    let ok = last(&world, 200);
    assert!(!ok.body().is_empty(), "a 180 without description holds nothing back");
    deliver(&mut world, &prack(&ringing, 2).build());
    assert_eq!(last(&world, 200).cseq().unwrap().method, Method::PRACK, "late, and still known");
}

#[test]
fn r1_6_an_offerless_caller_gets_our_offer_in_a_reliable_183() {
    let mut world = alone();
    let invite = request(Method::INVITE, 1, None).header(HeaderName::SUPPORTED, "100rel");
    deliver(&mut world, &invite.build());
    let call = world.progress(0);
    let early = last(&world, 183);
    let answer = session(&world).handle_offer(world.now, early.body()).expect("an offer");
    deliver(&mut world, &prack(&early, 2).body(SDP, answer).build());
    world.answer(0);
    world.run(millis(50));
    assert!(last(&world, 200).body().is_empty());
    deliver(&mut world, &request(Method::ACK, 1, Some(&tag_of(&early))).build());
    assert!(world.phones[0].is_talking(call));
}

#[test]
fn r1_6_each_early_dialog_has_its_own_media_and_the_one_that_answers_keeps_it() {
    let mut world = alone();
    let (call, invite) = call_eve(&mut world);
    let mut phones = [session_on(&world, 4000), session_on(&world, 5000)];
    for (n, phone) in phones.iter_mut().enumerate() {
        let answer = phone.handle_offer(world.now, invite.body()).expect("an answer");
        deliver(&mut world, &response(&invite, 183, &format!("e{n}")).body(SDP, answer).build());
    }
    // The first sends 30 packets, the second 20.
    for (phone, (port, packets)) in phones.iter_mut().zip([(4000, 30), (5000, 20)]) {
        let from = SocketAddr::new([203, 0, 113, 9].into(), port);
        for _ in 0..packets {
            phone.capture(world.now, &[1000; 960]);
            while let Some(output) = phone.poll_output() {
                if let media::MediaOutput::Transmit { bytes, rtcp: false, .. } = output {
                    world.tell(0, |p, now| p.handle_media(now, call, from, &bytes));
                }
            }
        }
    }
    let heard = |world: &World| world.phones[0].stats(call).unwrap().packets_received;
    assert_eq!(heard(&world), 20, "the newest is listened to");
    let others = world.phones[0].early_stats(call);
    assert_eq!(others.iter().map(|s| s.packets_received).collect::<Vec<_>>(), [30]);
    deliver(&mut world, &response(&invite, 200, "e0").build());
    assert!(world.phones[0].is_talking(call));
    assert_eq!(heard(&world), 30, "the first answered: its media goes on");
    assert!(world.phones[0].early_stats(call).is_empty());
}

#[test]
fn r1_5_updates_before_the_answer_are_taken_or_told_to_wait() {
    // Alice is called: her answer is open, an offer of Eve's must wait.
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    deliver(&mut world, &request(Method::INVITE, 1, None).body(SDP, &offer).build());
    let tag = tag_of(&last(&world, 180));
    deliver(&mut world, &request(Method::UPDATE, 2, Some(&tag)).body(SDP, &offer).build());
    assert!(last(&world, 500).header(HeaderName::RETRY_AFTER).is_some());
    // Alice calls: her own offer is open.
    let mut world = alone();
    let (_, invite) = call_eve(&mut world);
    deliver(&mut world, &response(&invite, 180, "e").build());
    let ours = String::from_utf8(invite.from_tag().unwrap().to_vec()).unwrap();
    let update = |cseq: u32, offer: &[u8]| {
        request(Method::UPDATE, cseq, Some(&ours)).body(SDP, offer).build()
    };
    let update = |cseq, offer: &[u8]| {
        let call_id = String::from_utf8_lossy(invite.call_id().unwrap()).into_owned();
        let edit = update(cseq, offer);
        let edit = sip::Edit::new(&edit).set(HeaderName::CALL_ID, call_id);
        edit.set(HeaderName::FROM, format!("<{}>;tag=e", eve())).finish()
    };
    deliver(&mut world, &update(1, &offer));
    assert_eq!(last(&world, 491).cseq().unwrap().method, Method::UPDATE);
    // Once the answer came reliably, an UPDATE changes what was agreed.
    let answer = session(&world).handle_offer(world.now, invite.body()).expect("an answer");
    deliver(&mut world, &reliable(&invite, 183, "e", 1).body(SDP, answer).build());
    let held = String::from_utf8(offer).unwrap().replace("a=sendrecv", "a=sendonly");
    deliver(&mut world, &update(2, held.as_bytes()));
    let ok = last(&world, 200);
    assert_eq!(ok.cseq().unwrap().method, Method::UPDATE);
    assert!(String::from_utf8_lossy(ok.body()).contains("a=recvonly"), "{ok:?}");
}

/// Two phones; bob's early media, with and without 100rel between them, and over a lossy network.
#[test]
fn r1_6_two_phones_share_early_media_and_then_a_call() {
    for (seed, loss) in [(1, 0), (2, 10), (3, 20)] {
        let config = Config { reliable_ringing: true, ..Config::default() };
        let mut world = World::with_config(seed, Transport::Udp, &["alice", "bob"], &config);
        world.loss = loss;
        let call = world.call(0, "bob");
        world.run(seconds(10));
        world.progress(1);
        world.run(seconds(20));
        assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::EarlyMedia { .. })), 1, "{loss} %");
        let callee = world.answer(1);
        world.run(seconds(25));
        assert!(world.phones[0].is_talking(call) && world.phones[1].is_talking(callee), "{loss} %");
        world.tell(0, |p, now| p.hang_up(now, call)).unwrap();
        world.assert_clean();
    }
}

#[test]
fn r1_5_a_ringing_call_with_early_media_is_held_by_update() {
    let mut world = World::new(5, Transport::Tls, &["alice", "bob"]);
    let call = world.call(0, "bob");
    world.run(seconds(1));
    assert!(world.tell(0, |p, now| p.set_hold(now, call, true)).is_err(), "nothing agreed yet");
    world.progress(1);
    world.run(seconds(1));
    for (phone, held) in [(0, true), (0, false)] {
        world.tell(phone, |p, now| p.set_hold(now, call, held)).unwrap();
        world.run(seconds(1));
    }
    let held = |e: &PhoneEvent| matches!(e, PhoneEvent::HeldByPeer { .. });
    assert_eq!(world.count(1, held), 2, "held, and taken back, before the answer");
    let callee = world.answer(1);
    world.run(seconds(1));
    world.sound = true;
    world.run(seconds(2));
    assert!(world.phones[1].stats(callee).unwrap().packets_received > 80);
}

/// A body of several parts around a description.
fn parts(sdp: &[u8], handling: &str) -> Vec<u8> {
    let isup = format!(
        "\r\n--b\r\nContent-Type: application/ISUP\r\n\
         Content-Disposition: signal;handling={handling}\r\n\r\nxyz\r\n--b--\r\n"
    );
    [b"--b\r\nContent-Type: application/sdp\r\n\r\n".as_slice(), sdp, isup.as_bytes()].concat()
}

#[test]
fn r1_6_parts_we_do_not_know_break_no_call_unless_somebody_insists() {
    for (handling, status) in [("optional", 180), ("required", 415)] {
        let mut world = alone();
        let offer = session(&world).create_offer(world.now);
        let invite = request(Method::INVITE, 1, None)
            .body("multipart/mixed;boundary=b", parts(&offer, handling));
        deliver(&mut world, &invite.build());
        let said = last(&world, status);
        if status == 415 {
            assert!(said.header_str(HeaderName::ACCEPT).unwrap().contains("multipart/mixed"));
            continue;
        }
        let call = world.answer(0);
        world.run(millis(50));
        assert!(world.phones[0].is_talking(call) && !last(&world, 200).body().is_empty());
    }
    // And in an answer to us.
    let mut world = alone();
    let (call, invite) = call_eve(&mut world);
    let answer = session(&world).handle_offer(world.now, invite.body()).expect("an answer");
    let ok =
        response(&invite, 200, "e").body("multipart/mixed;boundary=b", parts(&answer, "optional"));
    deliver(&mut world, &ok.build());
    assert!(world.phones[0].is_talking(call));
}
