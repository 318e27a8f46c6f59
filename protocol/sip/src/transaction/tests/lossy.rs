//! Two layers, a link that loses, doubles and reorders, and many seeds: both sides come to an end,
//! the server's TU sees each request exactly once, and nothing is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sansio::{Entropy, SeededEntropy, Transport};

use super::kit::{FLOW, call, response};
use crate::transaction::{Arrival, Cancelled, Config, Layer, Output, SendVia, TransactionKey};
use crate::{HeaderName, Message, Method};

/// Messages under way: when they arrive, at which end.
#[derive(Default)]
struct Link {
    under_way: BTreeMap<(Instant, u64), (usize, Message)>,
    count: u64,
}

struct World {
    ends: [Layer; 2],
    link: Link,
    dice: SeededEntropy,
    loss_percent: u64,
    now: Instant,
    seen: BTreeMap<Vec<u8>, u32>,
    finals: BTreeMap<Vec<u8>, u32>,
    asked: BTreeSet<TransactionKey>,
    ended: BTreeSet<TransactionKey>,
}

impl World {
    fn new(seed: u64, loss_percent: u64) -> Self {
        let layer = |n| Layer::new(Config::default(), &mut SeededEntropy::new(seed ^ n));
        Self {
            ends: [layer(1), layer(2)],
            link: Link::default(),
            dice: SeededEntropy::new(seed),
            loss_percent,
            now: sansio::testing::epoch(),
            seen: BTreeMap::new(),
            finals: BTreeMap::new(),
            asked: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    fn roll(&mut self, percent: u64) -> bool {
        self.dice.next_u64() % 100 < percent
    }

    fn cast(&mut self, to: usize, bytes: bytes::Bytes) {
        let copies = if self.roll(self.loss_percent) { 0 } else { 1 + u64::from(self.roll(20)) };
        for _ in 0..copies {
            let at = self.now + Duration::from_millis(1 + self.dice.next_u64() % 300);
            let message = Message::parse(bytes.clone()).unwrap();
            self.link.count += 1;
            self.link.under_way.insert((at, self.link.count), (to, message));
        }
    }

    fn drain(&mut self) {
        for end in 0..2 {
            while let Some(output) = self.ends[end].poll_output() {
                self.handle(end, output);
            }
        }
    }

    fn handle(&mut self, end: usize, output: Output) {
        match output {
            Output::Transmit { message, .. } => self.cast(1 - end, message),
            Output::Request { key: Some(key), message, .. } => {
                self.asked.insert(TransactionKey::Server(key));
                *self.seen.entry(identity(&message)).or_default() += 1;
                if message.method() == Some(Method::INVITE) && self.roll(50) {
                    self.ends[end].respond(self.now, &key, response(&message, 180));
                }
                let code = [200, 486, 503][(self.dice.next_u64() % 3) as usize];
                self.ends[end].respond(self.now, &key, response(&message, code));
            }
            Output::Response { message, .. } if message.status() >= Some(300) => {
                *self.finals.entry(identity(&message)).or_default() += 1;
            }
            Output::Terminated { key, .. } => {
                assert!(self.ended.insert(key), "{key:?} ended twice");
            }
            _ => {}
        }
    }

    /// The TU's part when a 2xx was lost for good: nothing moves, so cancel what still waits.
    fn fire_timer_c(&mut self) -> bool {
        let waiting = self.asked.difference(&self.ended).copied();
        let mut cancelled = false;
        for key in waiting.collect::<Vec<_>>() {
            if let TransactionKey::Client(key) = key {
                let done = self.ends[0].cancel(self.now, &key, None);
                cancelled |= done == Cancelled::Sent;
            }
        }
        self.drain();
        cancelled
    }

    fn step(&mut self) -> bool {
        let timers = self.ends.iter().filter_map(Layer::poll_timeout).min();
        let arrival = self.link.under_way.keys().next().map(|(at, _)| *at);
        let Some(next) = timers.into_iter().chain(arrival).min() else { return false };
        self.now = self.now.max(next);
        let due = self.link.under_way.first_key_value().is_some_and(|((at, _), _)| *at <= self.now);
        if due && let Some((_, (end, message))) = self.link.under_way.pop_first() {
            let peer = "192.0.2.1:5060".parse().unwrap();
            let arrival = Arrival { flow: FLOW, transport: Transport::Udp, peer };
            self.ends[end].handle_message(self.now, arrival, message);
        }
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
        self.drain();
        true
    }
}

fn identity(message: &Message) -> Vec<u8> {
    [message.call_id().unwrap(), message.header(HeaderName::CSEQ).unwrap()].concat()
}

fn run(seed: u64, loss_percent: u64) {
    let mut world = World::new(seed, loss_percent);
    for n in 0..20_u32 {
        let method = ["INVITE", "OPTIONS", "MESSAGE"][n as usize % 3];
        let request = call(method, &format!("z9hG4bKn{n}"), &format!("call-{n}"), n);
        let via = SendVia { flow: FLOW, transport: Transport::Udp };
        let key = world.ends[0].send_request(world.now, via, request).unwrap();
        world.asked.insert(TransactionKey::Client(key));
        if n % 6 == 0 {
            world.ends[0].cancel(world.now, &key, None);
        }
    }
    world.drain();
    let mut steps = 0;
    while world.step() || world.fire_timer_c() {
        steps += 1;
        assert!(steps < 100_000, "seed {seed}: does not come to an end");
    }
    assert!(world.ends.iter().all(Layer::is_empty), "seed {seed}: transactions leaked");
    assert!(world.ends.iter().all(|l| l.poll_timeout().is_none()), "seed {seed}: timers leaked");
    assert!(world.seen.values().all(|n| *n == 1), "seed {seed}: a request seen twice");
    assert!(world.finals.values().all(|n| *n == 1), "seed {seed}: a final seen twice");
    assert_eq!(world.asked.len(), world.ended.len(), "seed {seed}: not every one has ended");
    if loss_percent == 0 {
        assert_eq!(world.seen.len(), 20, "seed {seed}: a request was lost");
    }
}

#[test]
fn both_sides_terminate_and_requests_are_seen_once_under_loss() {
    for seed in 0..120 {
        run(seed, [0, 10, 35, 60][seed as usize % 4]);
    }
}
