//! R5.12: a call through real sockets is recorded, and opens with the tenant's key alone.

use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audio::{Tone, Wav, g711};
use media::recording::{SealError, key_id, open};
use relay::recording::{
    Metadata, RecordingError, RecordingGate, RecordingKeys, RecordingOrder, RecordingSetup,
};
use relay::{Config, Direction, Interface, Protocol, Relay, SessionId};
use rtp::Header;
use sdp::Session;

use crate::virtual_net::{SESSION, description};

const KEY: [u8; 32] = [9; 32];
const PATIENCE: Duration = Duration::from_secs(10);

struct Keys;

impl RecordingKeys for Keys {
    fn key(&self, tenant: &str) -> io::Result<(String, [u8; 32])> {
        Ok((format!("{tenant}/1"), KEY))
    }
}

/// Shut until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<bool>>);

impl RecordingGate for Gate {
    fn may_record(&self, _: &RecordingOrder) -> Result<(), String> {
        match *self.0.lock().unwrap() {
            true => Ok(()),
            false => Err("nobody was asked".to_owned()),
        }
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Two phones of PCMU, 20 ms at a time.
struct Call {
    relay: Relay,
    sockets: [UdpSocket; 2],
    tones: [Tone; 2],
    ports: [u16; 2],
    sent: u16,
    next: Instant,
}

impl Call {
    fn new(relay: Relay) -> Self {
        let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let sdp = |socket: &UdpSocket| {
            let port = socket.local_addr().unwrap().port();
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP 0\r\n"
            )
        };
        let port = |sdp: &[u8]| Session::parse(sdp).unwrap().media()[0].port();
        let sdp = sockets.each_ref().map(sdp);
        let d = description(Direction::FromCaller, 1, sdp[0].as_bytes(), Protocol::Rtp);
        let offer = relay.offer(&d).unwrap();
        let d = description(Direction::FromCallee, 1, sdp[1].as_bytes(), Protocol::Rtp);
        let answer = relay.answer(&d).unwrap();
        let ports = [port(&answer), port(&offer)];
        let tones = [Tone::new(440.0, 8000, 8000.0), Tone::new(1000.0, 8000, 8000.0)];
        Self { relay, sockets, tones, ports, sent: 0, next: Instant::now() }
    }

    /// Both speak for `ms`, in real time: a recording's clock is.
    fn talk(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            self.sent += 1;
            for n in 0..2 {
                let payload: Vec<u8> =
                    self.tones[n].by_ref().take(160).map(g711::encode_ulaw).collect();
                let header = Header {
                    payload_type: 0,
                    sequence: self.sent,
                    timestamp: u32::from(self.sent) * 160,
                    ssrc: n as u32,
                    marker: false,
                };
                let mut bytes = [0; 172];
                rtp::write_packet(&mut bytes, &header, &payload).unwrap();
                self.sockets[n].send_to(&bytes, ("127.0.0.1", self.ports[n])).unwrap();
            }
            self.next += Duration::from_millis(20);
            std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
        }
    }
}

fn start(name: &str) -> (Folder, Gate, Call) {
    let folder = std::env::temp_dir().join(format!("whimbrel-{name}-{}", std::process::id()));
    let config = Config {
        interfaces: vec![Interface::new("default", "127.0.0.1".parse().unwrap())],
        port_min: 42_000,
        port_max: 42_100,
        threads: 1,
        ..Config::default()
    };
    let relay = Relay::start(config, |_| {}).unwrap();
    let gate = Gate::default();
    let setup = RecordingSetup {
        folder: folder.clone(),
        keys: Box::new(Keys),
        gate: Box::new(gate.clone()),
    };
    assert!(matches!(relay.start_recording(&order("x", true)), Err(RecordingError::Off)));
    relay.enable_recording(setup).unwrap();
    (Folder(folder), gate, Call::new(relay))
}

fn order(name: &str, wav: bool) -> RecordingOrder {
    RecordingOrder { session: SESSION, tenant: "call.example".into(), name: name.into(), wav }
}

fn metadata(folder: &Path, name: &str) -> Metadata {
    let text = std::fs::read(folder.join(format!("call.example/{name}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn wait_for_end(folder: &Path, name: &str) -> Metadata {
    let end = Instant::now() + PATIENCE;
    while metadata(folder, name).ended_ms.is_none() {
        assert!(Instant::now() < end, "the recording has no end");
        std::thread::sleep(Duration::from_millis(20));
    }
    metadata(folder, name)
}

/// Level of a tone in a channel, in dBov.
fn tone(samples: &[i16], hz: f64) -> f64 {
    let w = std::f64::consts::TAU * hz / 16_000.0;
    let (re, im) = samples.iter().enumerate().fold((0.0, 0.0), |(re, im), (n, s)| {
        let (sin, cos) = (w * n as f64).sin_cos();
        (re + f64::from(*s) * cos, im + f64::from(*s) * sin)
    });
    let rms = (2.0_f64).sqrt() * f64::hypot(re, im) / samples.len() as f64;
    20.0 * (rms / 32_768.0).max(1e-7).log10()
}

#[test]
fn r5_12_both_sides_are_recorded_in_stereo_and_only_the_tenants_key_opens_it() {
    let (folder, gate, mut call) = start("stereo");
    let refused = call.relay.start_recording(&order("one", true));
    assert!(matches!(&refused, Err(RecordingError::Refused(why)) if why == "nobody was asked"));
    assert!(!folder.0.join("call.example").exists(), "a shut gate leaves no file");
    *gate.0.lock().unwrap() = true;
    let outside = call.relay.start_recording(&order("../one", true));
    assert!(matches!(outside, Err(RecordingError::Name(_))));
    let other = RecordingOrder { session: SessionId(99), ..order("one", true) };
    assert!(matches!(call.relay.start_recording(&other), Err(RecordingError::NoSession)));

    call.relay.start_recording(&order("one", true)).unwrap();
    call.relay.start_recording(&order("one", true)).expect("repeatable");
    call.talk(1600);
    // While it runs, what is a second old can be read: a server that dies now loses no more.
    let file = folder.0.join("call.example/one.wav.sealed");
    let running = open(&std::fs::read(&file).unwrap(), &KEY).unwrap();
    assert!(!running.complete && running.plain.len() > 16_000, "{} bytes", running.plain.len());
    assert!(call.relay.pause_recording(SESSION, true));
    call.talk(600);
    assert!(call.relay.pause_recording(SESSION, false));
    call.talk(600);
    assert!(call.relay.stop_recording(SESSION));
    assert!(!call.relay.stop_recording(SESSION));
    let told = wait_for_end(&folder.0, "one");

    let sealed = std::fs::read(&file).unwrap();
    assert_eq!(key_id(&sealed), Ok("call.example/1"));
    assert_eq!(open(&sealed, &[0; 32]), Err(SealError::Chunk { number: 0 }));
    let opened = open(&sealed, &KEY).unwrap();
    assert!(opened.complete);
    let wav = Wav::parse(&opened.plain).unwrap();
    assert_eq!((wav.rate, wav.channels), (16_000, 2));
    let channel =
        |n: usize| -> Vec<i16> { wav.samples.iter().skip(n).step_by(2).copied().collect() };
    let (left, right) = (channel(0), channel(1));
    let middle = 8000..20_000;
    assert!((tone(&left[middle.clone()], 440.0) + 15.2).abs() < 1.0, "the caller is left");
    assert!((tone(&right[middle.clone()], 1000.0) + 15.2).abs() < 1.0, "the callee is right");
    assert!(tone(&left[middle], 1000.0) < -45.0, "and nobody is on both");
    let recorded_ms = left.len() as u64 * 1000 / 16_000;
    assert!(recorded_ms.abs_diff(2200) < 200, "{recorded_ms} ms without the pause");
    assert!(told.duration_ms.abs_diff(recorded_ms) <= 40, "{told:?}");
    assert_eq!((told.session, told.packets_lost, told.pauses.len()), (SESSION.0, 0, 1));
    let pause = &told.pauses[0];
    assert!((pause.to_ms.unwrap() - pause.from_ms).abs_diff(600) < 100, "{pause:?}");
}

#[test]
fn r5_12_an_opus_recording_ends_with_its_session() {
    let (folder, gate, mut call) = start("opus");
    *gate.0.lock().unwrap() = true;
    call.relay.start_recording(&order("two", false)).unwrap();
    call.talk(1200);
    call.relay.delete(SESSION, None).unwrap();
    let told = wait_for_end(&folder.0, "two");
    assert_eq!(told.format, "opus");
    let sealed = std::fs::read(folder.0.join("call.example/two.opus.sealed")).unwrap();
    let opened = open(&sealed, &KEY).unwrap();
    assert!(opened.complete && opened.plain.starts_with(b"OggS"));
    // 6 kB a second, and what a page costs.
    assert!((4_000..16_000).contains(&opened.plain.len()), "{} bytes", opened.plain.len());
    let granule = |at: usize| u64::from_le_bytes(opened.plain[at + 6..at + 14].try_into().unwrap());
    let pages = opened.plain.windows(5).enumerate().filter(|(_, w)| w == b"OggS\0");
    let last = pages.map(|(at, _)| at).next_back().unwrap();
    assert!(granule(last).abs_diff(48_000 * 12 / 10) < 10_000, "{}", granule(last));
    assert_eq!(opened.plain[last + 5], 4, "the last page says so");
}
