//! R5.5: a phone that knows Opus alone and one that knows PCMU alone talk through the server.

use std::time::Duration;

use audio::CodecKind;
use tests::baresip::{BaresipSetup, at_rate};
use tests::sound::{self, Voice};
use tests::{Baresip, Server, Story, story};

const START: Duration = Duration::from_secs(20);
const TALK: Duration = Duration::from_secs(14);
/// Two lossy codecs in a row take more than one: measured 0.05 to 0.2 of PESQ.
const TANDEM_LOSS_MAX: f64 = 0.45;

#[test]
fn audio_r5_5_baresip_with_opus_alone_talks_to_baresip_with_pcmu_alone() {
    let story = Story::on_network("transcoding").alone();
    story.add_users(&["alice", "bob"]);
    let more = "[media.phones]\ntranscode = [\"opus\", \"PCMU\"]\n";
    let server = Server::start_with(&story, more);
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let opus = at_rate(&story.scratch, &low, 48_000);
    let pcmu = at_rate(&story.scratch, &high, 8_000);
    let phone = |user, codec, play, rate, number| BaresipSetup {
        user,
        transport: "udp",
        codec,
        play,
        rate,
        answers: true,
        ca: None,
        number,
    };
    let mut bob = Baresip::start(&story, &phone("bob", "pcmu/8000/1", &pcmu, 8_000, 0), None);
    bob.wait_registered();
    let target = format!("sip:{}", story.address("bob"));
    let setup = phone("alice", "opus/48000/1", &opus, 48_000, 1);
    let mut alice = Baresip::start(&story, &setup, Some(&target));
    alice.wait_line("Call established", START);
    // What baresip says is as long as its file.
    std::thread::sleep(TALK);
    let heard_by_alice = alice.quit().expect("alice recorded something");
    let heard_by_bob = bob.quit().expect("bob recorded something");
    for (said, heard) in [(&low, &heard_by_bob), (&high, &heard_by_alice)] {
        let coded = story.scratch.file("alone.wav");
        let alone = sound::offline(&sound::mono(said), CodecKind::Pcmu);
        story.scratch.write("alone.wav", audio::Wav::mono(sound::RATE, alone).to_bytes());
        let (heard, alone) = (sound::pesq(said, heard), sound::pesq(said, &coded));
        story::tell(&format!("Opus and PCMU: heard {heard:.3}, PCMU alone {alone:.3}"));
        assert!(alone - heard <= TANDEM_LOSS_MAX, "heard {heard}, PCMU alone {alone}");
    }
    assert!(!server.records().is_empty(), "the call has a record");
}
