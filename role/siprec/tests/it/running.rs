//! What happens to a recording while the call goes on.

use sansio::Transport;
use sdp::Direction;
use sip::Method;
use siprec::{Event, Failure, Flowing};

use crate::world::{ANSWER, CALL, Told, World, directions, read};

const LOST_FOR_NOW: fn(Failure) -> Event = |why| Event::Lost { call: CALL, why, again: true };

#[test]
fn r5_12_a_pause_holds_at_once_and_a_resume_when_the_srs_agrees() {
    let mut world = World::new("");
    world.recorded();
    assert_eq!(world.told(), [Told::Offer { srtp: false }, Told::Answer]);
    world.client.set_paused(world.at(), CALL, true);
    assert_eq!(world.told(), [Told::Rest], "before the SRS says anything");
    let pause = world.one(Method::INVITE);
    assert_eq!(directions(&pause), [Direction::Inactive; 2]);
    assert_eq!(read(&pause).1.origin().unwrap().version, 2);
    world.answer_with(&pause, 200, &ANSWER.replace("recvonly", "inactive"));
    world.one(Method::ACK);
    world.client.set_paused(world.at(), CALL, false);
    assert!(world.told().is_empty(), "no packet before the SRS agrees");
    let resume = world.one(Method::INVITE);
    assert_eq!(directions(&resume), [Direction::SendOnly; 2]);
    assert_eq!(read(&resume).1.origin().unwrap().version, 3);
    world.answer(&resume, 200);
    world.one(Method::ACK);
    assert_eq!(world.told(), [Told::Answer]);
}

#[test]
fn r5_12_a_pause_before_the_srs_has_answered_holds_too() {
    let mut world = World::new("");
    world.start();
    let invite = world.one(Method::INVITE);
    world.client.set_paused(world.at(), CALL, true);
    world.answer(&invite, 200);
    assert_eq!(world.told(), [Told::Offer { srtp: false }, Told::Rest], "nothing flowed");
    let sent = world.sent();
    assert_eq!(directions(&sent[1]), [Direction::Inactive; 2]);
}

#[test]
fn r5_12_a_resume_that_the_srs_refuses_is_a_loss() {
    let mut world = World::new("");
    world.recorded();
    world.client.set_paused(world.at(), CALL, true);
    let pause = world.one(Method::INVITE);
    world.answer(&pause, 200);
    world.sent();
    world.client.set_paused(world.at(), CALL, false);
    let resume = world.one(Method::INVITE);
    world.answer(&resume, 488);
    let sent = world.sent();
    assert_eq!(sent.last().unwrap().method(), Some(Method::BYE));
    assert_eq!(
        world.events[1],
        Event::Lost { call: CALL, why: Failure::Refused(488), again: false }
    );
}

#[test]
fn r5_12_what_changes_while_a_change_is_out_follows_it() {
    let mut world = World::new("");
    world.recorded();
    world.client.set_paused(world.at(), CALL, true);
    let pause = world.one(Method::INVITE);
    world.client.set_paused(world.at(), CALL, false);
    assert!(world.sent().is_empty(), "one at a time");
    world.answer(&pause, 200);
    let sent = world.sent();
    assert_eq!(sent[0].method(), Some(Method::ACK));
    assert_eq!(directions(&sent[1]), [Direction::SendOnly; 2]);
}

#[test]
fn r5_12_a_hold_is_told_in_the_metadata() {
    let mut world = World::new("");
    world.recorded();
    world.client.set_flowing(world.at(), CALL, Flowing { caller: true, callee: false });
    let change = world.one(Method::INVITE);
    let (root, sdp) = read(&change);
    let assoc = root.all("participantstreamassoc");
    assert_eq!((assoc[0].all("send").len(), assoc[0].all("recv").len()), (1, 0));
    assert_eq!((assoc[1].all("send").len(), assoc[1].all("recv").len()), (0, 1));
    assert_eq!(
        (sdp.direction_of(0), sdp.direction_of(1)),
        (Direction::SendOnly, Direction::Inactive)
    );
    world.client.set_flowing(world.at(), CALL, Flowing { caller: true, callee: false });
    assert!(world.sent().is_empty(), "nothing new");
}

#[test]
fn r5_12_the_end_of_the_call_is_a_bye() {
    let mut world = World::new("");
    world.recorded();
    world.client.end(world.at(), CALL);
    let bye = world.one(Method::BYE);
    assert_eq!(bye.request_uri(), b"sip:srs@192.0.2.9:5060;transport=tcp");
    world.answer(&bye, 200);
    assert_eq!(world.events.last(), Some(&Event::Ended { call: CALL }));
    world.pass(60);
    assert!(world.client.is_empty() && !world.client.has_open_requests());
}

#[test]
fn r5_12_an_srs_that_died_is_found_out_by_the_next_question() {
    let mut world = World::new("check_s = 10\nanswer_s = 2\nretry_s = 60");
    world.recorded();
    let sent = world.pass(10);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].method(), Some(Method::OPTIONS));
    world.answer(&sent[0], 200);
    let sent = world.pass(12);
    assert_eq!(sent[0].method(), Some(Method::OPTIONS), "and again");
    assert_eq!(sent[1].method(), Some(Method::BYE), "should it come to itself");
    assert_eq!(world.events[1], LOST_FOR_NOW(Failure::NoAnswer));
    assert_eq!(world.told().last(), Some(&Told::End));
}

#[test]
fn r5_12_an_srs_that_forgot_the_recording_is_given_a_new_one() {
    let mut world = World::new("check_s = 10\nretry_s = 5");
    world.recorded();
    let check = world.pass(10).remove(0);
    world.answer(&check, 481);
    world.sent();
    assert_eq!(world.events[1], LOST_FOR_NOW(Failure::Forgotten));
    let again = world.pass(5).remove(0);
    assert_eq!(again.method(), Some(Method::INVITE));
    assert_eq!(again.to_tag(), None, "a session of its own");
}

#[test]
fn r5_12_an_srs_that_ends_the_recording_is_heard() {
    let mut world = World::new("");
    let invite = world.recorded();
    world.ask(&invite, Method::BYE, None);
    assert_eq!(world.sent()[0].status(), Some(200));
    let ended = Event::Lost { call: CALL, why: Failure::EndedByServer, again: false };
    assert_eq!(world.events[1], ended);
}

#[test]
fn r5_12_an_srs_that_asks_for_metadata_gets_all_of_them() {
    let mut world = World::new("");
    let invite = world.recorded();
    let wish =
        "<?xml version=\"1.0\"?><requestsnapshot xmlns='urn:ietf:params:xml:ns:recording:1'/>";
    world.ask(&invite, Method::UPDATE, Some(("application/rs-metadata-request", wish)));
    let sent = world.sent();
    assert_eq!(sent[0].status(), Some(200));
    assert_eq!(read(&sent[1]).0.one("datamode").text, "complete");
}

#[test]
fn r5_12_a_re_invite_of_the_srs_is_answered_with_our_streams() {
    let mut world = World::new("");
    let invite = world.recorded();
    world.told();
    let rest = ANSWER.replacen("recvonly", "inactive", 1);
    world.ask(&invite, Method::INVITE, Some(("application/sdp", &rest)));
    let ok = world.sent().remove(0);
    assert_eq!(ok.status(), Some(200));
    let ours = sdp::Session::parse(ok.body()).unwrap();
    assert_eq!(
        (ours.direction_of(0), ours.direction_of(1)),
        (Direction::Inactive, Direction::SendOnly)
    );
    assert_eq!(world.told(), [Told::Answer]);
    assert!(world.pass(1).iter().any(|m| m.status() == Some(200)), "until it is acknowledged");
    assert_eq!(world.pass(32).last().unwrap().method(), Some(Method::BYE), "nobody did");
}

#[test]
fn r5_12_a_connection_that_breaks_is_taken_up_by_the_next_with_a_new_contact() {
    let mut world = World::new("");
    world.recorded();
    world.client.handle_link_down(world.at());
    assert!(world.client.wants_link());
    world.link_up(Transport::Tcp, 6000);
    let change = world.one(Method::INVITE);
    assert!(change.to_tag().is_some() && change.header_str("Contact").unwrap().contains(":6000"));
    world.answer(&change, 200);
    world.one(Method::ACK);
    assert_eq!(world.events.len(), 1, "nothing was lost");
}

#[test]
fn r5_12_a_connection_that_stays_away_is_a_loss() {
    let mut world = World::new("answer_s = 4");
    world.recorded();
    world.client.handle_link_down(world.at());
    world.pass(4);
    assert_eq!(world.events[1], LOST_FOR_NOW(Failure::NoAnswer));
}

#[test]
fn r5_12_both_at_once_one_waits() {
    let mut world = World::new("");
    let invite = world.recorded();
    world.client.set_paused(world.at(), CALL, true);
    let pause = world.one(Method::INVITE);
    world.ask(&invite, Method::INVITE, Some(("application/sdp", ANSWER)));
    assert_eq!(world.sent()[0].status(), Some(491));
    world.answer(&pause, 491);
    let again = world.pass(4);
    assert!(again.iter().any(|m| m.method() == Some(Method::INVITE)), "{again:?}");
}

#[test]
fn r5_12_a_call_whose_end_was_not_heard_leaves_nothing() {
    let mut world = World::new("check_s = 10");
    world.recorded();
    *world.relay.gone.lock().unwrap() = true;
    let sent = world.pass(10);
    assert_eq!(sent[0].method(), Some(Method::BYE));
    assert!(world.client.is_empty());
}

#[test]
fn what_belongs_to_no_recording_is_refused() {
    let mut world = World::new("");
    let invite = world.recorded();
    world.client.end(world.at(), CALL);
    world.sent();
    world.ask(&invite, Method::INFO, None);
    assert_eq!(world.sent()[0].status(), Some(481));
}

#[test]
fn r5_12_a_connection_that_nothing_comes_by_is_given_up_and_another_is_made() {
    let mut world = World::new("answer_s = 3\nretry_s = 5");
    world.start();
    world.pass(3);
    assert!(world.hung_up, "deaf: a firewall forgot it, say");
    world.pass(5);
    assert!(world.client.wants_link());
    world.link_up(Transport::Tcp, 6000);
    let again = world.one(Method::INVITE);
    world.answer(&again, 200);
    world.one(Method::ACK);
    assert_eq!(world.events.last(), Some(&Event::Started { call: CALL }));
}

#[test]
fn r5_12_a_connection_by_which_others_are_answered_stays() {
    let mut world = World::new("answer_s = 3\ncheck_s = 60");
    let first = world.recorded();
    world.pass(58);
    world.client.set_paused(world.at(), CALL, true);
    let change = world.one(Method::INVITE);
    world.pass(2);
    // It lives, though it does not answer this.
    world.ask(&first, Method::OPTIONS, None);
    world.pass(1);
    assert!(!world.hung_up);
    assert!(matches!(world.events.last(), Some(Event::Lost { why: Failure::NoAnswer, .. })));
    let _ = change;
}
