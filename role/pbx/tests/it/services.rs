//! R4: echo and tone.

use std::time::Duration;

use audio::Tone;
use phone::Cause;
use tokio::net::UdpSocket;

use crate::caller::{Caller, LOOPBACK, purity};

fn on_a_runtime(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(story);
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The last half second.
fn tail(heard: &[i16]) -> &[i16] {
    &heard[heard.len().saturating_sub(24_000)..]
}

#[test]
fn the_tone_is_heard_at_one_kilohertz_and_minus_thirteen() {
    on_a_runtime(async {
        let mut caller = Caller::new(|_| {}).await;
        let call = caller.call("tone").await;
        caller.run(millis(1500)).await;
        assert!(caller.phone.is_talking(call));
        let heard = tail(&caller.heard[0]);
        assert!(purity(heard, 1000.0) > 0.9, "{}", purity(heard, 1000.0));
        let level = audio::level::dbov(heard);
        assert!((level + 13.0).abs() < 1.5, "{level}");
        caller.phone.hang_up(std::time::Instant::now(), call).unwrap();
        caller.run(millis(300)).await;
        assert_eq!(caller.ended(), [(Cause::HungUp, None)]);
    });
}

#[test]
fn the_echo_greets_and_then_says_what_was_said() {
    on_a_runtime(async {
        let mut caller = Caller::new(|_| {}).await;
        caller.call("echo").await;
        caller.voice = Some(Tone::new(700.0, 48_000, 8000.0));
        caller.run(millis(2800)).await;
        let heard = &caller.heard[0];
        let greeting = &heard[..heard.len().min(48_000)];
        assert!(audio::level::dbov(greeting) > -45.0, "no greeting");
        assert!(purity(greeting, 700.0) < 0.2, "{}", purity(greeting, 700.0));
        assert!(purity(tail(heard), 700.0) > 0.8, "{}", purity(tail(heard), 700.0));
    });
}

#[test]
fn many_call_at_once_and_a_full_house_is_busy() {
    on_a_runtime(async {
        let mut caller = Caller::new(|config| config.calls_max = 12).await;
        for _ in 0..15 {
            caller.call("tone").await;
        }
        caller.run(millis(1500)).await;
        assert_eq!(caller.answered(), 12);
        assert_eq!(caller.ended(), [(Cause::Busy, Some(486)); 3]);
        let heard = caller.heard.iter().filter(|h| purity(tail(h), 1000.0) > 0.5).count();
        assert_eq!(heard, 12);
    });
}

#[test]
fn what_is_no_service_is_not_found() {
    on_a_runtime(async {
        let mut caller = Caller::new(|_| {}).await;
        caller.call("nobody").await;
        caller.run(millis(300)).await;
        assert_eq!(caller.ended(), [(Cause::NotFound, Some(404))]);
    });
}

#[test]
fn stopping_the_services_hangs_up() {
    on_a_runtime(async {
        let mut caller = Caller::new(|_| {}).await;
        caller.call("tone").await;
        caller.run(millis(300)).await;
        drop(caller.services.take());
        caller.run(millis(200)).await;
        assert_eq!(caller.ended(), [(Cause::PeerHungUp, None)]);
    });
}

#[test]
fn a_stranger_on_the_same_machine_is_not_heard() {
    on_a_runtime(async {
        let caller = Caller::new(|_| {}).await;
        let addr = caller.services.as_ref().unwrap().addr;
        let stranger = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        let options = b"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKs;\
            rport\r\nMax-Forwards: 70\r\nFrom: <sip:s@s>;tag=1\r\nTo: <sip:x@y>\r\n\
            Call-ID: s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
        stranger.send_to(options, addr).await.unwrap();
        let mut buffer = [0; 2048];
        let heard = tokio::time::timeout(millis(300), stranger.recv_from(&mut buffer)).await;
        assert!(heard.is_err());
    });
}

#[test]
fn an_address_that_is_not_ours_is_told() {
    let config = pbx::Config::new("127.0.0.1:5060".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let error = pbx::Services::start(config).unwrap_err().to_string();
    assert!(error.contains("192.0.2.1"), "{error}");
}
