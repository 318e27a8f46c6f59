//! Two sessions, the path between them, and a clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::{Config, MediaEvent, MediaOutput, Security, Session};
use rtp::zrtp::Retained;
use sansio::{Entropy, SeededEntropy, WallTime};

pub const STEP: Duration = Duration::from_millis(1);

/// What the path does to packets.
#[derive(Clone, Copy, Default)]
pub struct Path {
    pub delay_ms: u64,
    pub jitter_ms: u64,
    pub loss_percent: u64,
}

pub struct Wire {
    pub alice: Session,
    pub bob: Session,
    pub now: Instant,
    pub path: Path,
    /// Bob's sound clock runs faster by this many parts per million.
    pub bob_ppm: i64,
    /// Times at which alice and bob capture and play next.
    ticks: [Instant; 2],
    in_flight: Vec<(Instant, u64, usize, SocketAddr, Vec<u8>)>,
    entropy: SeededEntropy,
    sent: u64,
    /// Of each side's packets with the first payload type, how many: they arrive with the second, as
    /// at an end that asked for the first.
    pub renumber: [Option<(u8, u8, usize)>; 2],
    pub events: [Vec<MediaEvent>; 2],
    pub heard: [Vec<i16>; 2],
    /// What each side wants kept of the other.
    pub kept: [Vec<Retained>; 2],
    /// All that was sent, as somebody on the way sees it.
    pub seen: Vec<(usize, Vec<u8>)>,
}

impl Wire {
    pub fn new(seed: u64, configs: [Config; 2]) -> Self {
        let mut entropy = SeededEntropy::new(seed);
        let now = sansio::testing::epoch();
        let [a, b] = configs;
        let alice = Session::new(a, now, &mut entropy);
        let bob = Session::new(b, now, &mut entropy);
        Self {
            alice,
            bob,
            now,
            path: Path { delay_ms: 10, ..Path::default() },
            bob_ppm: 0,
            // The two sound cards are not in phase.
            ticks: [now, now + Duration::from_millis(7)],
            in_flight: Vec::new(),
            entropy,
            sent: 0,
            renumber: [None; 2],
            events: Default::default(),
            heard: Default::default(),
            kept: Default::default(),
            seen: Vec::new(),
        }
    }

    /// Alice calls bob.
    pub fn connect(&mut self) {
        let offer = self.alice.create_offer(self.now);
        let answer = self.bob.handle_offer(self.now, &offer).expect("an answer");
        self.alice.handle_answer(self.now, &answer).expect("agreed");
    }

    /// Runs for a while. `voice(side, frame number)` gives what each end says.
    pub fn run(&mut self, time: Duration, mut voice: impl FnMut(usize, &mut [i16; 960])) {
        let end = self.now + time;
        while self.now < end {
            for side in 0..2 {
                if self.ticks[side] <= self.now {
                    self.sound(side, &mut voice);
                }
                let now = self.now;
                let session = self.side(side);
                if session.poll_timeout().is_some_and(|at| at <= now) {
                    session.handle_timeout(now);
                }
                self.collect(side);
            }
            self.deliver();
            self.now += STEP;
        }
    }

    pub fn side(&mut self, side: usize) -> &mut Session {
        if side == 0 { &mut self.alice } else { &mut self.bob }
    }

    fn sound(&mut self, side: usize, voice: &mut impl FnMut(usize, &mut [i16; 960])) {
        let (mut said, mut heard) = ([0; 960], [0; 960]);
        voice(side, &mut said);
        // The sound's own time, finer than the steps of the simulation.
        let now = self.ticks[side];
        self.side(side).capture(now, &said);
        self.side(side).play(now, &mut heard);
        self.heard[side].extend_from_slice(&heard);
        let ppm = if side == 1 { self.bob_ppm } else { 0 };
        self.ticks[side] += Duration::from_nanos((20_000_000 - 20 * ppm) as u64);
    }

    fn collect(&mut self, side: usize) {
        while let Some(output) = self.side(side).poll_output() {
            match output {
                MediaOutput::Event(event) => self.events[side].push(event),
                // There are no TURN servers here.
                MediaOutput::OpenStream { .. }
                | MediaOutput::Stream { .. }
                | MediaOutput::CloseStream { .. } => {}
                MediaOutput::Retain { retained, .. } => self.kept[side].push(retained),
                MediaOutput::Transmit { to, bytes, .. } => {
                    let mut bytes = bytes.to_vec();
                    self.seen.push((side, bytes.clone()));
                    if let Some((from, into, count)) = &mut self.renumber[side]
                        && bytes[1] & 0x7f == *from
                    {
                        *count += 1;
                        bytes[1] = bytes[1] & 0x80 | *into;
                    }
                    assert!(to == address(1 - side, 0) || to == address(1 - side, 1));
                    if self.entropy.next_u64() % 100 < self.path.loss_percent {
                        continue;
                    }
                    let jitter = self.entropy.next_u64() % (self.path.jitter_ms * 1000 + 1);
                    let delay = Duration::from_micros(self.path.delay_ms * 1000 + jitter);
                    self.sent += 1;
                    let from = address(side, 0);
                    self.in_flight.push((self.now + delay, self.sent, side, from, bytes));
                }
            }
        }
    }

    fn deliver(&mut self) {
        self.in_flight.sort_by_key(|(at, n, ..)| (*at, *n));
        while self.in_flight.first().is_some_and(|(at, ..)| *at <= self.now) {
            let (at, _, side, from, bytes) = self.in_flight.remove(0);
            self.side(1 - side).handle_datagram(at, from, &bytes);
        }
    }
}

pub fn address(side: usize, offset: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1 + side as u8].into(), 4000 + offset)
}

pub fn config(side: usize, codecs: &[audio::CodecKind], security: Security) -> Config {
    Config {
        codecs: codecs.to_vec(),
        security,
        wall: WallTime::from_secs(1_700_000_000 + side as u64 * 1000),
        ..Config::new(address(side, 0))
    }
}

/// The frequency by zero crossings, in Hz.
pub fn frequency(samples: &[i16]) -> f64 {
    let up: Vec<usize> =
        (1..samples.len()).filter(|i| samples[i - 1] < 0 && samples[*i] >= 0).collect();
    let (Some(first), Some(last)) = (up.first(), up.last()) else { return 0.0 };
    (up.len() - 1) as f64 * 48_000.0 / (last - first).max(1) as f64
}
