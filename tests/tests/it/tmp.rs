//! tmp
use std::time::Duration;
use tests::sound::{self, Voice};
use tests::{Baresip, Story};
use tests::baresip::{BaresipSetup, at_rate};
use audio::CodecKind;
#[test]
fn two_baresips() {
    for (codec, kind) in [("opus/48000/2", CodecKind::Opus)] {
    let story = Story::on_network("two");
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let rate = kind.sample_rate();
    let (l, h) = (at_rate(&story.scratch, &low, rate), at_rate(&story.scratch, &high, rate));
    let a = BaresipSetup { user: "a", transport: "udp", codec, play: &l, rate, answers: true, ca: None, number: 0 };
    let b = BaresipSetup { user: "b", play: &h, number: 1, ..a.clone() };
    let mut pa = Baresip::start(&story, &a, None);
    std::thread::sleep(Duration::from_secs(1));
    let mut pb = Baresip::start(&story, &b, Some(&format!("sip:a@10.77.0.2:{}", story.place.peer_port(0))));
    pb.wait_line("Call established", Duration::from_secs(5));
    std::thread::sleep(Duration::from_secs(13));
    let hb = pb.quit().unwrap();
    let ha = pa.quit().unwrap();
    sound::expect_fidelity(&story, &high, kind, &ha);
    sound::expect_fidelity(&story, &low, kind, &hb);
    }
}
