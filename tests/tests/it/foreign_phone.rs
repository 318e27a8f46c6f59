//! baresip and our phone call each other.

use audio::CodecKind;
use std::path::Path;
use std::time::Duration;
use tests::baresip::{BaresipSetup, at_rate};
use tests::sound::{self, Voice};
use tests::{Baresip, Phone, Server, Story};

const START: Duration = Duration::from_secs(20);
const CALL: Duration = Duration::from_secs(60);

/// What the two agree on.
struct Terms {
    transport: &'static str,
    /// As our phone is told.
    codec: &'static str,
    /// As baresip is told.
    foreign_codec: &'static str,
    kind: CodecKind,
}

const UDP_PCMU: Terms =
    Terms { transport: "udp", codec: "pcmu", foreign_codec: "pcmu/8000/1", kind: CodecKind::Pcmu };
const UDP_OPUS: Terms =
    Terms { transport: "udp", codec: "opus", foreign_codec: "opus/48000/1", kind: CodecKind::Opus };

#[test]
fn baresip_registers_over_udp_tcp_and_tls() {
    let story = Story::on_network("register");
    story.add_users(&["alice", "bob", "carol"]);
    let server = Server::start(&story);
    let low = sound::speech(&story, Voice::Low);
    let ca = story.scratch.file(&format!("run/whimbrel/{}.pem", story.place.sips()));
    let phones: Vec<Baresip> = [("alice", "udp"), ("bob", "tcp"), ("carol", "tls")]
        .into_iter()
        .zip(0..)
        .map(|((user, transport), number)| {
            let ca = (transport == "tls").then(|| ca.clone());
            let setup = setup(user, transport, "pcmu/8000/1", &low, 8_000, number);
            let mut phone = Baresip::start(&story, &BaresipSetup { ca, ..setup }, None);
            phone.wait_registered();
            phone
        })
        .collect();
    let registrations = server.registrations();
    let mut transports: Vec<String> = registrations
        .iter()
        .filter_map(|r| r["transport"].as_str().map(str::to_ascii_lowercase))
        .collect();
    transports.sort();
    assert_eq!(transports, ["tcp", "tls", "udp"], "{registrations:?}");
    for phone in phones {
        phone.quit();
    }
    assert_eq!(server.registrations().len(), 0, "a phone that ends unregisters");
}

#[test]
fn audio_baresip_calls_our_phone_with_g711() {
    baresip_calls_us(&UDP_PCMU);
}

#[test]
fn audio_baresip_calls_our_phone_with_opus() {
    baresip_calls_us(&UDP_OPUS);
}

#[test]
fn audio_our_phone_calls_baresip_with_g711() {
    we_call_baresip(&UDP_PCMU, "");
}

#[test]
fn audio_our_phone_calls_baresip_with_opus() {
    we_call_baresip(&UDP_OPUS, "");
}

#[test]
fn audio_our_phone_on_tls_sends_digits_to_baresip_on_udp() {
    // Each leg is keyed on its own: SRTP here, RTP there.
    let terms = Terms { transport: "tls", ..UDP_PCMU };
    we_call_baresip(&terms, "159#");
}

fn baresip_calls_us(terms: &Terms) {
    let story = Story::on_network(&format!("from-baresip-{}", terms.codec)).alone();
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let heard = story.scratch.file("heard-by-alice.wav");
    let alice = Phone::of(&story, "alice", terms.transport, terms.codec).answer().play(&high);
    let mut alice = alice.record(&heard).seconds(20).start();
    alice.wait_event("registered", START);
    let said = at_rate(&story.scratch, &low, terms.kind.sample_rate());
    let setup = setup("bob", "udp", terms.foreign_codec, &said, terms.kind.sample_rate(), 0);
    let target = format!("sip:{}", story.address("alice"));
    let mut bob = Baresip::start(&story, &setup, Some(&target));
    bob.wait_line("Call established", START);
    alice.finish(CALL).expect_answered();
    let heard_by_bob = bob.quit().expect("baresip recorded something");
    sound::expect_fidelity(&story, &low, terms.kind, &heard);
    sound::expect_fidelity(&story, &high, terms.kind, &heard_by_bob);
}

fn we_call_baresip(terms: &Terms, digits: &str) {
    let story =
        Story::on_network(&format!("to-baresip-{}-{}", terms.codec, terms.transport)).alone();
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let said = at_rate(&story.scratch, &low, terms.kind.sample_rate());
    let setup = setup("bob", "udp", terms.foreign_codec, &said, terms.kind.sample_rate(), 0);
    let mut bob = Baresip::start(&story, &setup, None);
    bob.wait_registered();
    let heard = story.scratch.file("heard-by-alice.wav");
    let alice = Phone::of(&story, "alice", terms.transport, terms.codec);
    let alice = alice.call(&story.address("bob")).play(&high).record(&heard).seconds(17);
    let alice = if digits.is_empty() { alice } else { alice.with(&["--dtmf", digits]) };
    alice.start().finish(CALL).expect_answered();
    let log = bob.log();
    let heard_by_bob = bob.quit().expect("baresip recorded something");
    for digit in digits.chars() {
        assert!(log.contains(&format!("received event: '{digit}' (end=1)")), "{digit} in\n{log}");
    }
    sound::expect_fidelity(&story, &low, terms.kind, &heard);
    if digits.is_empty() {
        sound::expect_fidelity(&story, &high, terms.kind, &heard_by_bob);
    }
}

fn setup<'a>(
    user: &'a str,
    transport: &'a str,
    codec: &'a str,
    play: &'a Path,
    rate: u32,
    number: u16,
) -> BaresipSetup<'a> {
    BaresipSetup { user, transport, codec, play, rate, answers: true, ca: None, number }
}
