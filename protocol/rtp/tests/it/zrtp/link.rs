//! A link in virtual time that loses, delays, turns round, doubles, and may be sat on.

use std::time::{Duration, Instant};

use rtp::zrtp::{Cache, Endpoint, Event, Keys, Output, Secured, Setup, Zid};
use sansio::testing::epoch;
use sansio::{Entropy, SeededEntropy};

/// Long enough for every timer of RFC 6189 §6.
const LONGEST: Duration = Duration::from_secs(30);

/// What happens to a packet on its way from 0 or 1: it may be changed, or dropped.
pub type Tamper = Box<dyn FnMut(usize, Vec<u8>) -> Option<Vec<u8>>>;

pub struct Link {
    entropy: SeededEntropy,
    loss_percent: u64,
    delay_ms: (u64, u64),
    doubles: bool,
    longest: Duration,
    tamper: Tamper,
    under_way: Vec<(Instant, usize, Vec<u8>)>,
    /// All that was sent, by whom.
    pub packets: Vec<(usize, Vec<u8>)>,
    pub events: [Vec<Event>; 2],
}

/// The end called `name` of a run.
pub fn end(seed: u64, name: u8) -> Endpoint {
    end_with(seed, name, Cache::default())
}

pub fn end_with(seed: u64, name: u8, cache: Cache) -> Endpoint {
    let setup = Setup { cache, ..Setup::new(name.into(), Zid([name; 12])) };
    Endpoint::new(setup, &mut SeededEntropy::new(seed * 1000 + u64::from(name)))
}

pub fn secured(events: &[Event]) -> Secured {
    let found = events.iter().find_map(|event| match event {
        Event::Secure(secured) => Some(*secured),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no agreement: {events:?}"))
}

impl Link {
    pub fn new(seed: u64) -> Self {
        Self {
            entropy: SeededEntropy::new(seed ^ 0x5a52_5450),
            loss_percent: 0,
            delay_ms: (1, 1),
            doubles: false,
            longest: LONGEST,
            tamper: Box::new(|_, packet| Some(packet)),
            under_way: Vec::new(),
            packets: Vec::new(),
            events: [Vec::new(), Vec::new()],
        }
    }

    pub fn losing(self, loss_percent: u64) -> Self {
        Self { loss_percent, ..self }
    }

    /// Packets that take longer than those behind them are overtaken.
    pub fn delaying(self, least_ms: u64, most_ms: u64) -> Self {
        Self { delay_ms: (least_ms, most_ms), ..self }
    }

    pub fn doubling(self) -> Self {
        Self { doubles: true, ..self }
    }

    pub fn until(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    pub fn tampered(self, tamper: Tamper) -> Self {
        Self { tamper, ..self }
    }

    /// Loses every message of that type.
    pub fn deaf_to(self, kind: &'static [u8; 8]) -> Self {
        self.tampered(Box::new(move |_, packet| (packet[16..24] != *kind).then_some(packet)))
    }

    /// Messages of that type that were sent, by each.
    pub fn sent(&self, kind: &[u8; 8]) -> [usize; 2] {
        let of = |who| {
            self.packets.iter().filter(|(from, p)| *from == who && p[16..24] == *kind).count()
        };
        [of(0), of(1)]
    }

    pub fn keys(&self) -> [&Keys; 2] {
        let of = |events: &'_ [Event]| -> usize {
            events.iter().position(|e| matches!(e, Event::Keys(_))).expect("keys")
        };
        let [a, b] = [of(&self.events[0]), of(&self.events[1])];
        match (&self.events[0][a], &self.events[1][b]) {
            (Event::Keys(a), Event::Keys(b)) => [a, b],
            _ => unreachable!(),
        }
    }

    pub fn run(&mut self, alice: &mut Endpoint, bob: &mut Endpoint) {
        self.run_from(epoch(), alice, bob);
    }

    pub fn run_from(&mut self, start: Instant, alice: &mut Endpoint, bob: &mut Endpoint) {
        let mut now = start;
        alice.start(now);
        bob.start(now);
        loop {
            self.collect(now, 0, alice);
            self.collect(now, 1, bob);
            let arrival = self.under_way.iter().map(|(at, ..)| *at).min();
            let due = [alice.poll_timeout(), bob.poll_timeout(), arrival];
            let Some(at) = due.into_iter().flatten().min() else { return };
            if at > start + self.longest {
                return;
            }
            now = at;
            let (arrived, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.under_way).into_iter().partition(|(at, ..)| *at <= now);
            self.under_way = rest;
            for (_, from, packet) in arrived {
                let to = if from == 0 { &mut *bob } else { &mut *alice };
                to.handle_packet(now, &packet);
            }
            alice.handle_timeout(now);
            bob.handle_timeout(now);
        }
    }

    fn collect(&mut self, now: Instant, who: usize, end: &mut Endpoint) {
        while let Some(output) = end.poll_output() {
            match output {
                Output::Event(event) => self.events[who].push(event),
                Output::Transmit(packet) => self.send(now, who, packet),
            }
        }
    }

    fn send(&mut self, now: Instant, who: usize, packet: Vec<u8>) {
        self.packets.push((who, packet.clone()));
        let Some(packet) = (self.tamper)(who, packet) else { return };
        for _ in 0..=usize::from(self.doubles) {
            if self.entropy.next_u64() % 100 < self.loss_percent {
                continue;
            }
            let (least, most) = self.delay_ms;
            let ms = least + self.entropy.next_u64() % (most - least + 1);
            self.under_way.push((now + Duration::from_millis(ms), who, packet.clone()));
        }
    }
}
