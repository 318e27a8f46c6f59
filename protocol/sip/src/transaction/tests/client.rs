//! Client transactions in virtual time.

use sansio::{FlowId, Transport};

use super::kit::{Bench, FLOW, parse, request, response, sent};
use crate::transaction::{Config, Limits, SendError, SendVia};
use crate::{HeaderName, Method};

#[test]
fn invite_over_udp_is_sent_seven_times_and_times_out_at_32_s() {
    let mut bench = Bench::new(Transport::Udp);
    bench.send(&request("INVITE", "z9hG4bK1"));
    assert_eq!(bench.drain(), [">INVITE"]);
    let seen = bench.run(40_000);
    let sent: Vec<u128> = seen.iter().filter(|(_, w)| w == ">INVITE").map(|(at, _)| *at).collect();
    assert_eq!(sent, [500, 1500, 3500, 7500, 15_500, 31_500]);
    assert_eq!(seen[6..], [(32_000, "timed out".into()), (32_000, "end TimedOut".into())]);
    assert!(bench.layer.is_empty() && bench.layer.poll_timeout().is_none());
}

#[test]
fn options_over_udp_is_sent_eleven_times_capped_at_t2() {
    let mut bench = Bench::new(Transport::Udp);
    bench.send(&request("OPTIONS", "z9hG4bK1"));
    bench.drain();
    let expected =
        [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500].as_slice();
    assert_eq!(bench.times(60_000, ">OPTIONS"), expected);
    assert!(bench.layer.is_empty());
}

#[test]
fn options_in_proceeding_is_sent_again_every_t2() {
    let mut bench = Bench::new(Transport::Udp);
    let options = request("OPTIONS", "z9hG4bK1");
    bench.send(&options);
    bench.run(600);
    bench.receive(&response(&options, 100));
    bench.drain();
    // Timer E was already running for 1,500 ms.
    assert_eq!(bench.times(12_000, ">OPTIONS"), [1500, 5500, 9500]);
}

#[test]
fn reliable_transports_send_once_and_time_out_alike() {
    for method in ["INVITE", "OPTIONS"] {
        let mut bench = Bench::new(Transport::Tls);
        bench.send(&request(method, "z9hG4bK1"));
        bench.drain();
        let expected = [(32_000, "timed out".to_owned()), (32_000, "end TimedOut".to_owned())];
        assert_eq!(bench.run(60_000), expected);
    }
}

#[test]
fn a_provisional_stops_retransmission_and_timeout_of_invite() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    bench.send(&invite);
    bench.receive(&response(&invite, 180));
    assert_eq!(bench.drain(), [">INVITE", "response 180"]);
    assert_eq!(bench.run(200_000), []);
    assert_eq!(bench.layer.len(), 1);
}

#[test]
fn a_failure_is_acknowledged_each_time_and_passed_up_once() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    bench.send(&invite);
    bench.drain();
    let busy = response(&invite, 486);
    bench.receive(&busy);
    let outputs = bench.outputs();
    let ack = &sent(&outputs)[0];
    assert_eq!(ack.method(), Some(Method::ACK));
    assert_eq!(ack.top_via().unwrap().raw(), invite.top_via().unwrap().raw());
    assert_eq!(ack.request_uri(), invite.request_uri());
    assert_eq!(ack.header(HeaderName::ROUTE), invite.header(HeaderName::ROUTE));
    assert_eq!(ack.header(HeaderName::TO), busy.header(HeaderName::TO));
    assert_eq!(ack.header(HeaderName::FROM), invite.header(HeaderName::FROM));
    assert_eq!(ack.header(HeaderName::CSEQ), Some(b"1 ACK".as_slice()));
    bench.receive(&busy);
    bench.receive(&busy);
    assert_eq!(bench.drain(), [">ACK", ">ACK"]);
    assert_eq!(bench.run(40_000), [(32_000, "end Normal".to_owned())]);
}

#[test]
fn every_2xx_passes_up_and_a_late_one_comes_as_stray() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    bench.send(&invite);
    bench.drain();
    let ok = response(&invite, 200);
    for _ in 0..3 {
        bench.receive(&ok);
    }
    bench.receive(&response(&invite, 180));
    bench.receive(&response(&invite, 486));
    assert_eq!(bench.drain(), ["response 200", "response 200", "response 200"]);
    assert_eq!(bench.run(40_000), [(32_000, "end Normal".to_owned())]);
    bench.receive(&ok);
    assert_eq!(bench.drain(), ["stray 200"]);
}

#[test]
fn non_invite_finals_pass_up_once() {
    let mut bench = Bench::new(Transport::Udp);
    let bye = request("BYE", "z9hG4bK1");
    bench.send(&bye);
    bench.drain();
    for code in [200, 200, 481] {
        bench.receive(&response(&bye, code));
    }
    assert_eq!(bench.drain(), ["response 200"]);
    assert_eq!(bench.run(40_000), [(5000, "end Normal".to_owned())]);
    assert_eq!(bench.layer.stats().absorbed, 2);
}

#[test]
fn on_reliable_transports_finals_end_the_transaction_at_once() {
    for (method, code, expected) in [
        ("INVITE", 486, [">ACK", "response 486", "end Normal"].as_slice()),
        ("OPTIONS", 200, &["response 200", "end Normal"]),
    ] {
        let mut bench = Bench::new(Transport::Tcp);
        let message = request(method, "z9hG4bK1");
        bench.send(&message);
        bench.drain();
        bench.receive(&response(&message, code));
        assert_eq!(bench.drain(), expected);
    }
}

#[test]
fn a_broken_flow_fails_what_waits_on_it_and_only_that() {
    let mut bench = Bench::new(Transport::Tcp);
    let (invite, options) = (request("INVITE", "z9hG4bK1"), request("OPTIONS", "z9hG4bK2"));
    bench.send(&invite);
    bench.send(&options);
    let answered = request("INVITE", "z9hG4bK3");
    bench.send(&answered);
    bench.receive(&response(&answered, 200));
    let other = FlowId { id: 8, ..FLOW };
    let via = SendVia { flow: other, transport: Transport::Tcp };
    bench.layer.send_request(bench.now, via, request("INVITE", "z9hG4bK4")).unwrap();
    bench.drain();
    bench.layer.handle_flow_failed(bench.now, FLOW);
    let expected = ["flow failed", "end FlowFailed", "flow failed", "end FlowFailed", "end Normal"];
    assert_eq!(bench.drain(), expected);
    assert_eq!(bench.layer.len(), 1);
}

#[test]
fn a_slot_used_again_is_not_on_the_former_flow() {
    let mut bench = Bench::new(Transport::Tcp);
    let first = request("OPTIONS", "z9hG4bK1");
    bench.send(&first);
    bench.receive(&response(&first, 200));
    let via = SendVia { flow: FlowId { id: 8, ..FLOW }, transport: Transport::Tcp };
    bench.layer.send_request(bench.now, via, request("OPTIONS", "z9hG4bK2")).unwrap();
    bench.drain();
    bench.layer.handle_flow_failed(bench.now, FLOW);
    assert_eq!(bench.drain(), [""; 0]);
}

#[test]
fn what_starts_no_transaction_is_refused_by_name() {
    let limits = Limits { clients_max: 1, ..Limits::default() };
    let mut bench = Bench::with(Transport::Udp, Config { limits, ..Config::default() });
    let via = SendVia { flow: FLOW, transport: Transport::Udp };
    let now = bench.now;
    let mut send = |message| bench.layer.send_request(now, via, message);
    let invite = request("INVITE", "z9hG4bK1");
    assert_eq!(send(request("ACK", "z9hG4bK1")), Err(SendError::NotARequest));
    assert_eq!(send(response(&invite, 200)), Err(SendError::NotARequest));
    assert!(send(invite.clone()).is_ok());
    assert_eq!(send(request("INVITE", "z9hG4bK2")), Err(SendError::TooManyTransactions));
    bench.layer.config.limits.clients_max = 9;
    let again = bench.layer.send_request(now, via, invite);
    assert_eq!(again, Err(SendError::DuplicateBranch));
}

#[test]
fn a_response_matches_by_branch_sent_by_and_method() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    bench.send(&invite);
    bench.drain();
    for (from, to) in [
        ("z9hG4bK1", "z9hG4bK2"),
        ("client.example.com", "other.example.com"),
        ("1 INVITE", "1 OPTIONS"),
    ] {
        let text = String::from_utf8(response(&invite, 200).bytes().to_vec()).unwrap();
        bench.receive(&parse(text.replace(from, to)));
        assert_eq!(bench.drain(), ["stray 200"]);
    }
    let text = String::from_utf8(response(&invite, 200).bytes().to_vec()).unwrap();
    bench.receive(&parse(text.replace("client.example.com", "CLIENT.example.com")));
    assert_eq!(bench.drain(), ["response 200"]);
}
