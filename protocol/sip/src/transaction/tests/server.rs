//! Server transactions in virtual time.

use sansio::{FlowId, Transport};

use super::kit::{Bench, FLOW, call, parse, request, response, sent};
use crate::HeaderName;
use crate::transaction::{Config, Limits, Output, SendVia};

fn ack_of(invite: &crate::Message, branch: &str) -> crate::Message {
    let text = String::from_utf8(invite.bytes().to_vec()).unwrap();
    let branch_was = String::from_utf8(invite.top_via().unwrap().branch().unwrap().to_vec());
    parse(
        text.replace("INVITE", "ACK")
            .replace(&branch_was.unwrap(), branch)
            .replace("To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b1"),
    )
}

#[test]
fn an_invite_is_answered_100_after_200_ms_of_silence() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    bench.serve(&invite);
    bench.receive(&invite);
    assert_eq!(bench.drain(), [""; 0]);
    assert_eq!(bench.run(1000), [(200, ">100".to_owned())]);
    bench.receive(&invite);
    assert_eq!(bench.drain(), [">100"]);
}

#[test]
fn trying_can_go_at_once_or_never() {
    for (after, expected) in
        [(Some(0), [">100", "request INVITE"].as_slice()), (None, &["request INVITE"])]
    {
        let config = Config { auto_trying_ms: after, ..Config::default() };
        let mut bench = Bench::with(Transport::Udp, config);
        bench.receive(&request("INVITE", "z9hG4bK1"));
        assert_eq!(bench.drain(), expected);
        assert_eq!(bench.run(1000), []);
    }
}

#[test]
fn the_tu_sees_a_request_once_and_its_retransmissions_get_the_last_response() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.serve(&invite);
    for code in [180, 183] {
        assert!(bench.layer.respond(bench.now, &key, response(&invite, code)));
    }
    bench.drain();
    bench.receive(&invite);
    assert_eq!(bench.drain(), [">183"]);
    assert_eq!(bench.run(599_000), []);
    bench.layer.respond(bench.now, &key, response(&invite, 180));
    bench.drain();
    // A TU that forgets an INVITE does not keep it for ever.
    assert_eq!(bench.run(601_000), [(1_199_000, "end NoAnswer".to_owned())]);
}

#[test]
fn a_failure_is_sent_again_by_timer_g_until_timer_h() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.serve(&invite);
    bench.layer.respond(bench.now, &key, response(&invite, 486));
    bench.drain();
    let seen = bench.run(40_000);
    let times: Vec<u128> = seen.iter().map(|(at, _)| *at).collect();
    let g = [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500, 32_000];
    assert_eq!(times, g);
    assert_eq!(seen.last().unwrap().1, "end NoAck");
    assert!(!bench.layer.respond(bench.now, &key, response(&invite, 486)));
}

#[test]
fn a_lost_ack_is_made_good_by_the_next_one() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.serve(&invite);
    bench.layer.respond(bench.now, &key, response(&invite, 486));
    bench.drain();
    assert_eq!(bench.run(600), [(500, ">486".to_owned())]);
    let ack = ack_of(&invite, "z9hG4bK1");
    bench.receive(&ack);
    bench.receive(&ack);
    assert_eq!(bench.drain(), ["ack"]);
    assert_eq!(bench.run(10_000), [(5600, "end Normal".to_owned())]);
}

#[test]
fn the_ack_of_a_2xx_reaches_the_tu_whatever_its_branch() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.serve(&invite);
    bench.layer.respond(bench.now, &key, response(&invite, 200));
    bench.drain();
    bench.receive(&ack_of(&invite, "z9hG4bKother"));
    bench.receive(&ack_of(&invite, "z9hG4bK1"));
    assert_eq!(bench.drain(), ["loose ACK", "loose ACK"]);
}

#[test]
fn in_accepted_the_invite_is_absorbed_and_each_2xx_of_the_tu_goes_out() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.serve(&invite);
    bench.layer.respond(bench.now, &key, response(&invite, 200));
    bench.receive(&invite);
    bench.layer.respond(bench.now, &key, response(&invite, 200));
    bench.layer.respond(bench.now, &key, response(&invite, 486));
    assert_eq!(bench.drain(), [">200", ">200"]);
    assert_eq!(bench.run(40_000), [(32_000, "end Normal".to_owned())]);
}

#[test]
fn a_2xx_after_another_final_still_goes_out_once() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.serve(&invite);
    bench.layer.respond(bench.now, &key, response(&invite, 486));
    bench.layer.respond(bench.now, &key, response(&invite, 200));
    bench.receive(&invite);
    assert_eq!(bench.drain(), [">486", ">200", ">486"]);
}

#[test]
fn a_non_invite_final_is_repeated_on_request_and_kept_for_timer_j() {
    let mut bench = Bench::new(Transport::Udp);
    let bye = request("BYE", "z9hG4bK1");
    let key = bench.serve(&bye);
    bench.receive(&bye);
    bench.layer.respond(bench.now, &key, response(&bye, 200));
    bench.receive(&bye);
    assert_eq!(bench.drain(), [">200", ">200"]);
    assert_eq!(bench.run(40_000), [(32_000, "end Normal".to_owned())]);
}

#[test]
fn rfc4320_no_408_no_early_or_foreign_provisional_nothing_after_timer_f() {
    let mut bench = Bench::new(Transport::Udp);
    let message = request("MESSAGE", "z9hG4bK1");
    let key = bench.serve(&message);
    bench.layer.respond(bench.now, &key, response(&message, 180));
    bench.layer.respond(bench.now, &key, response(&message, 100));
    assert_eq!(bench.drain(), [""; 0]);
    bench.run(3500);
    bench.layer.respond(bench.now, &key, response(&message, 100));
    assert_eq!(bench.drain(), [">100"]);
    bench.layer.respond(bench.now, &key, response(&message, 408));
    bench.receive(&message);
    assert_eq!(bench.drain(), [""; 0]);
    assert_eq!(bench.run(40_000), [(35_500, "end Normal".to_owned())]);

    let late = call("MESSAGE", "z9hG4bK2", "call-2", 1);
    let key = bench.serve(&late);
    let began = (bench.now - bench.start).as_millis();
    assert_eq!(bench.run(40_000), [(began + 32_000, "end NoAnswer".to_owned())]);
    assert!(!bench.layer.respond(bench.now, &key, response(&late, 200)));
}

#[test]
fn beyond_the_limit_requests_are_refused_503_with_retry_after() {
    let limits = Limits { servers_max: 1, retry_after_s: 9, ..Limits::default() };
    let mut bench = Bench::with(Transport::Udp, Config { limits, ..Config::default() });
    bench.serve(&request("OPTIONS", "z9hG4bK1"));
    let refused = call("OPTIONS", "z9hG4bK2", "call-2", 1);
    bench.receive(&refused);
    bench.receive(&refused);
    let sent = sent(&bench.outputs());
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].status(), Some(503));
    assert_eq!(sent[0].header(HeaderName::RETRY_AFTER), Some(b"9".as_slice()));
    assert_eq!(sent[0].bytes(), sent[1].bytes());
    assert_eq!((bench.layer.len(), bench.layer.stats().refused), (1, 2));
}

#[test]
fn a_full_house_still_lets_a_cancel_in() {
    let limits = Limits { servers_max: 1, ..Limits::default() };
    let mut bench = Bench::with(Transport::Udp, Config { limits, ..Config::default() });
    let invite = request("INVITE", "z9hG4bK1");
    bench.serve(&invite);
    bench.receive(&request("CANCEL", "z9hG4bK2"));
    bench.receive(&request("CANCEL", "z9hG4bK1"));
    assert_eq!(bench.drain(), [">503", ">200", "cancel"]);
}

#[test]
fn rfc2543_requests_match_by_their_fields() {
    let mut bench = Bench::new(Transport::Udp);
    let old = |method: &str| request(method, "1");
    let key = bench.serve(&old("INVITE"));
    bench.receive(&old("INVITE"));
    assert_eq!(bench.drain(), [""; 0]);
    bench.layer.respond(bench.now, &key, response(&old("INVITE"), 486));
    bench.drain();
    bench.receive(&ack_of(&old("INVITE"), "1"));
    assert_eq!(bench.drain(), ["ack"]);
    bench.receive(&call("INVITE", "1", "call-1", 2));
    assert_eq!(bench.drain(), ["request INVITE"]);
}

#[test]
fn a_request_that_comes_by_two_ways_is_known_as_merged() {
    let mut bench = Bench::new(Transport::Udp);
    let (first, second) = (request("OPTIONS", "z9hG4bK1"), request("OPTIONS", "z9hG4bK2"));
    bench.serve(&first);
    assert!(!bench.layer.is_merged(&first));
    bench.serve(&second);
    assert!(bench.layer.is_merged(&second));
    assert!(!bench.layer.is_merged(&call("OPTIONS", "z9hG4bK3", "call-1", 2)));
    bench.run(64_000);
    bench.drain();
    assert!(!bench.layer.is_merged(&second));
}

#[test]
fn an_invite_tried_again_after_it_was_refused_is_not_merged_but_a_copy_of_it_is() {
    let mut bench = Bench::new(Transport::Udp);
    let (first, second) = (request("INVITE", "z9hG4bK1"), request("INVITE", "z9hG4bK2"));
    let key = bench.serve(&first);
    bench.layer.respond(bench.now, &key, response(&first, 488));
    bench.serve(&second);
    assert!(!bench.layer.is_merged(&second));
    let third = request("INVITE", "z9hG4bK3");
    bench.serve(&third);
    assert!(bench.layer.is_merged(&third));
}

#[test]
fn a_client_that_moved_gets_its_response_by_the_new_flow() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.serve(&invite);
    let moved = FlowId { id: 99, ..FLOW };
    assert!(bench.layer.reroute(&key, SendVia { flow: moved, transport: Transport::Tcp }));
    bench.layer.respond(bench.now, &key, response(&invite, 486));
    let outputs = bench.outputs();
    assert!(matches!(outputs[0], Output::Transmit { flow, .. } if flow == moved), "{outputs:?}");
}

#[test]
fn a_transaction_is_small() {
    // Beside the message it keeps: 100,000 transactions are some 20 MB.
    assert!(size_of::<crate::transaction::table::Entry>() <= 192);
}
