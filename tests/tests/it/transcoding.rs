//! R5.5, R5.12: a phone that knows Opus alone and one that knows PCMU alone talk through the server,
//! which records them.

use std::time::Duration;

use audio::CodecKind;
use tests::baresip::{BaresipSetup, at_rate};
use tests::sound::{self, Voice};
use tests::{Baresip, DOMAIN, Server, Story, story};

const START: Duration = Duration::from_secs(20);
const TALK: Duration = Duration::from_secs(14);
/// Two lossy codecs in a row take more than one: measured 0.05 to 0.30 of PESQ.
const TANDEM_LOSS_MAX: f64 = 0.45;

#[test]
fn audio_r5_5_baresip_with_opus_alone_talks_to_baresip_with_pcmu_alone() {
    let story = Story::on_network("transcoding").alone();
    story.add_users(&["alice", "bob"]);
    let more = "[media.phones]\ntranscode = [\"opus\", \"PCMU\"]\n\
                [recording]\ncalls = \"all\"\nwav = true\n";
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
    expect_recording(&story);
}

/// The recording opens with the key that the server made, the caller left and the callee right.
fn expect_recording(story: &Story) {
    let folder = story.data().join("recordings").join(DOMAIN);
    let sealed = std::fs::read_dir(&folder).expect("the tenant's folder");
    let mut sealed = sealed.map(|entry| entry.expect("readable").path());
    let sealed = sealed.find(|path| path.extension().is_some_and(|e| e == "sealed"));
    let sealed = sealed.expect("a recording").display().to_string();
    let opened = story.scratch.file("recorded.wav");
    let out = opened.display().to_string();
    story.cli(&["recording", "open", &sealed, "--out", &out]).expect_code(0);
    let wav = sound::read(&opened);
    assert_eq!((wav.rate, wav.channels), (16_000, 2));
    for (n, who) in ["caller", "callee"].into_iter().enumerate() {
        let heard: Vec<i16> = wav.samples.iter().skip(n).step_by(2).copied().collect();
        let level = audio::level::dbov(&heard);
        story::tell(&format!("recorded {who}: {level:.1} dBov"));
        assert!(level > -45.0, "the {who} speaks: {level} dBov");
    }
    let wrong = story.scratch.file("wrong.key");
    story.scratch.write("wrong.key", vec![1; 32]);
    let (wrong, other) = (wrong.display().to_string(), format!("{out}.2"));
    let refused = story.cli(&["recording", "open", &sealed, "--out", &other, "--key-file", &wrong]);
    refused.expect_code(1);
}
