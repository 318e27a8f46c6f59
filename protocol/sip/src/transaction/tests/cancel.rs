//! CANCEL in all its races (RFC 3261 §9).

use sansio::Transport;

use super::kit::{Bench, parse, request, response, sent};
use crate::transaction::{Cancelled, Output};
use crate::{HeaderName, Method};

#[test]
fn cancel_waits_for_a_provisional() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.send(&invite);
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    assert_eq!(bench.layer.cancel(bench.now, &key, Some(reason)), Cancelled::Waiting);
    assert_eq!(bench.layer.cancel(bench.now, &key, None), Cancelled::Already);
    assert_eq!(bench.drain(), [">INVITE"]);
    bench.receive(&response(&invite, 100));
    let outputs = bench.outputs();
    let cancel = &sent(&outputs)[0];
    assert_eq!(cancel.method(), Some(Method::CANCEL));
    assert_eq!(cancel.header(HeaderName::REASON), Some(reason.as_bytes()));
    assert_eq!(cancel.top_via().unwrap().raw(), invite.top_via().unwrap().raw());
    assert_eq!(cancel.header(HeaderName::TO), invite.header(HeaderName::TO));
    assert_eq!(cancel.header(HeaderName::ROUTE), invite.header(HeaderName::ROUTE));
    assert_eq!(cancel.header(HeaderName::CSEQ), Some(b"1 CANCEL".as_slice()));
    assert_eq!(bench.layer.cancel(bench.now, &key, None), Cancelled::Already);
    bench.receive(&response(cancel, 200));
    bench.receive(&response(&invite, 487));
    assert_eq!(bench.drain(), [">ACK", "response 487"]);
    // The CANCEL's own transaction ends unheard.
    assert_eq!(bench.run(60_000), [(32_000, "end Normal".to_owned())]);
    assert!(bench.layer.is_empty());
}

#[test]
fn cancel_that_waits_is_forgotten_when_the_final_comes_first() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.send(&invite);
    bench.layer.cancel(bench.now, &key, None);
    bench.drain();
    bench.receive(&response(&invite, 200));
    bench.receive(&response(&invite, 180));
    assert_eq!(bench.drain(), ["response 200"]);
    assert_eq!(bench.layer.cancel(bench.now, &key, None), Cancelled::Already);
}

#[test]
fn cancel_crossing_a_200_lets_the_200_win() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.send(&invite);
    bench.receive(&response(&invite, 180));
    assert_eq!(bench.layer.cancel(bench.now, &key, None), Cancelled::Sent);
    bench.receive(&response(&invite, 200));
    let expected = [">INVITE", "response 180", ">CANCEL", "response 200"];
    assert_eq!(bench.drain(), expected);
}

#[test]
fn cancel_after_the_final_is_too_late() {
    let mut bench = Bench::new(Transport::Udp);
    let (invite, options) = (request("INVITE", "z9hG4bK1"), request("OPTIONS", "z9hG4bK2"));
    let (invite_key, options_key) = (bench.send(&invite), bench.send(&options));
    assert_eq!(bench.layer.cancel(bench.now, &options_key, None), Cancelled::TooLate);
    bench.receive(&response(&invite, 486));
    assert_eq!(bench.layer.cancel(bench.now, &invite_key, None), Cancelled::TooLate);
    bench.run(60_000);
    assert_eq!(bench.layer.cancel(bench.now, &invite_key, None), Cancelled::TooLate);
}

#[test]
fn an_invite_no_one_answers_after_cancel_times_out() {
    let mut bench = Bench::new(Transport::Tcp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.send(&invite);
    bench.receive(&response(&invite, 180));
    bench.run(10_000);
    bench.layer.cancel(bench.now, &key, None);
    bench.drain();
    let expected = [(42_000, "timed out".to_owned()), (42_000, "end TimedOut".to_owned())];
    assert_eq!(bench.run(60_000), expected);
    assert!(bench.layer.is_empty());
}

fn cancel_of(invite: &crate::Message) -> crate::Message {
    parse(
        String::from_utf8(invite.bytes().to_vec())
            .unwrap()
            .replace("1 INVITE", "1 CANCEL")
            .replacen("INVITE", "CANCEL", 1),
    )
}

#[test]
fn a_cancel_is_answered_by_the_layer_and_told_to_the_tu_once() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = request("INVITE", "z9hG4bK1");
    let key = bench.serve(&invite);
    bench.layer.respond(bench.now, &key, response(&invite, 180));
    bench.drain();
    let cancel = cancel_of(&invite);
    bench.receive(&cancel);
    let outputs = bench.outputs();
    assert!(matches!(&outputs[1], Output::Cancel { invite, .. } if *invite == key));
    let ok = &sent(&outputs)[0];
    assert_eq!((ok.status(), ok.to().unwrap().tag()), (Some(200), Some(b"b1".as_slice())));
    bench.receive(&cancel);
    assert_eq!(bench.drain(), [">200"]);
    bench.layer.respond(bench.now, &key, response(&invite, 487));
    assert_eq!(bench.drain(), [">487"]);
}

#[test]
fn a_cancel_after_the_final_is_answered_200_and_changes_nothing() {
    for code in [200, 486] {
        let mut bench = Bench::new(Transport::Udp);
        let invite = request("INVITE", "z9hG4bK1");
        let key = bench.serve(&invite);
        bench.layer.respond(bench.now, &key, response(&invite, code));
        bench.drain();
        bench.receive(&cancel_of(&invite));
        assert_eq!(bench.drain(), [">200"]);
    }
}

#[test]
fn a_cancel_of_nothing_is_answered_481() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut bench = Bench::new(transport);
        bench.receive(&cancel_of(&request("INVITE", "z9hG4bK1")));
        let sent = sent(&bench.outputs());
        assert_eq!(sent[0].status(), Some(481));
        assert!(sent[0].to().unwrap().tag().is_some());
        assert_eq!(bench.run(60_000), []);
        assert!(bench.layer.is_empty());
    }
}
