//! Two agents with a direct way and one by a relay, each with loss and delay of its own.

use super::*;
use crate::agent::{AgentEvent, Credentials, Kind, Transmit, Via, priority};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// What a way does to packets.
#[derive(Clone, Copy)]
struct Way {
    delay: Duration,
    /// Percent.
    lost: u64,
}

/// By which way out of whom, when it arrives there, and what.
type Packet = (usize, Via, Vec<u8>);

/// `a` and `b`, whose sockets are at 10.0.0.1 and 10.0.0.2; `a` has borrowed 203.0.113.9 too.
struct World {
    now: Instant,
    agents: [Agent; 2],
    direct: Way,
    relayed: Way,
    flight: BTreeMap<(Instant, u64), Packet>,
    count: u64,
    random: u64,
    media_at: Instant,
    /// Media packets: when each was sent, and when it came, at `b`.
    sent: Vec<Instant>,
    came: Vec<(Instant, usize)>,
    told_at: Instant,
    selected: Vec<(Instant, Via)>,
    /// STUN messages of `a`.
    asked: u32,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn host(who: usize) -> SocketAddr {
    addr(["10.0.0.1:4000", "10.0.0.2:4000"][who])
}

fn borrowed() -> SocketAddr {
    addr("203.0.113.9:50000")
}

fn world(direct: Way, relayed: Way) -> World {
    seeded(7, direct, relayed)
}

fn seeded(random: u64, direct: Way, relayed: Way) -> World {
    let now = sansio::testing::epoch();
    let keys = |who: &str| Credentials {
        ufrag: format!("{who}frag"),
        pwd: format!("{who}-password-of-22-characters"),
    };
    let mut agents =
        [Agent::new(true, keys("a"), &[1; 32]), Agent::new(false, keys("b"), &[2; 32])];
    let host_priority = priority(Kind::Host, 65_535);
    for (who, agent) in agents.iter_mut().enumerate() {
        agent.add_local(now, Via(0), host(who), host_priority);
        agent.set_remote(now, keys(["b", "a"][who]), false);
        agent.add_remote(now, host(1 - who), host_priority);
    }
    let relay_priority = priority(Kind::Relayed, 65_535);
    agents[0].add_local(now, Via(1), borrowed(), relay_priority);
    agents[1].add_remote(now, borrowed(), relay_priority);
    agents.iter_mut().for_each(Agent::end_remotes);
    World {
        now,
        agents,
        direct,
        relayed,
        flight: BTreeMap::new(),
        count: 0,
        random,
        media_at: now,
        sent: Vec::new(),
        came: Vec::new(),
        told_at: now,
        selected: Vec::new(),
        asked: 0,
    }
}

impl World {
    fn throw(&mut self, from: usize, path: Path, bytes: Vec<u8>) {
        let relayed = path.via == Via(1) || path.remote == borrowed();
        let way = if relayed { self.relayed } else { self.direct };
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if (self.random >> 33) % 100 < way.lost {
            return;
        }
        self.count += 1;
        let via = if relayed { Via(1) } else { Via(0) };
        self.flight.insert((self.now + way.delay, self.count), (1 - from, via, bytes));
    }

    fn drain(&mut self) {
        for who in 0..2 {
            while let Some(Transmit { path, bytes }) = self.agents[who].poll_transmit() {
                self.asked += u32::from(who == 0);
                self.throw(who, path, bytes);
            }
            while let Some(event) = self.agents[who].poll_event() {
                if let (0, AgentEvent::Selected(path)) = (who, event) {
                    self.selected.push((self.now, path.via));
                }
            }
        }
    }

    fn deliver(&mut self, (to, via, bytes): Packet) {
        // `b` has its socket alone; what comes from the borrowed address comes by that.
        let path = match (to, via) {
            (0, via) => Path { via, remote: host(1) },
            (_, Via(1)) => Path { via: Via(0), remote: borrowed() },
            _ => Path { via: Via(0), remote: host(0) },
        };
        match bytes.strip_prefix(b"media") {
            None => drop(self.agents[to].handle_stun(self.now, path, &bytes)),
            Some(number) => {
                self.agents[to].note_media(self.now, path);
                if to == 1 && self.agents[1].is_valid(path) {
                    let number = u64::from_be_bytes(number.try_into().unwrap());
                    self.came.push((self.now, number as usize));
                }
            }
        }
    }

    /// A packet each way every 20 ms; each second `a` is told what `b` lost of it.
    fn talk(&mut self) {
        self.media_at = self.now + 20 * MS;
        let [Some(there), Some(back)] = self.agents.each_ref().map(Agent::send_path) else {
            return;
        };
        let number = (self.sent.len() as u64).to_be_bytes();
        let media = [&b"media"[..], &number].concat();
        self.throw(0, there, media.clone());
        self.throw(1, back, media);
        self.sent.push(self.now);
        if self.now >= self.told_at + SECOND && self.sent.len() >= 60 {
            self.told_at = self.now;
            // What was sent last is still on its way.
            let from = self.sent.len() - 60;
            let came = self.came.iter().filter(|(_, n)| (from..from + 50).contains(n)).count();
            let percent = 100 - (came * 2).min(100);
            self.agents[0].note_loss(self.now, percent as u8);
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.drain();
            let timers = self.agents.iter().filter_map(Agent::poll_timeout);
            let arrival = self.flight.keys().next().map(|(at, _)| *at);
            let next = timers.chain(arrival).chain([self.media_at]).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.flight.first_entry().filter(|e| e.key().0 <= self.now) {
                let packet = entry.remove();
                self.deliver(packet);
            }
            if self.now >= self.media_at {
                self.talk();
            }
            self.agents.iter_mut().for_each(|agent| agent.handle_timeout(self.now));
        }
        self.now = end;
    }

    /// A call that is up: by this way.
    fn call(&mut self, via: Via) {
        self.agents.iter_mut().for_each(|agent| agent.expect_media(true));
        self.run(4 * SECOND);
        assert_eq!(self.agents[0].selected().map(|p| p.via), Some(via));
        self.selected.clear();
    }

    /// The longest silence at `b` among the packets sent since, beyond the 20 ms between them.
    fn gap(&self, since: Instant) -> Duration {
        let came: Vec<Instant> =
            self.came.iter().filter(|(_, n)| self.sent[*n] >= since).map(|(at, _)| *at).collect();
        let steps = came.windows(2).map(|w| w[1].saturating_duration_since(w[0]));
        steps.max().unwrap_or(Duration::MAX).saturating_sub(20 * MS)
    }
}

const GOOD: Way = Way { delay: Duration::from_millis(40), lost: 0 };
const FAR: Way = Way { delay: Duration::from_millis(70), lost: 0 };

#[test]
fn r5_9_media_leaves_a_way_that_turned_bad_in_less_than_three_seconds() {
    for (lost, seed) in [20, 30, 50].into_iter().flat_map(|lost| (1..=10).map(move |s| (lost, s))) {
        let mut world = seeded(seed, GOOD, FAR);
        world.call(Via(0));
        world.direct.lost = lost;
        let since = world.now;
        world.run(5 * SECOND);
        let (at, via) = world.selected[0];
        assert_eq!(via, Via(1), "{lost} % lost");
        let took = at - since;
        assert!(took < 3 * SECOND, "{lost} % lost: moved after {took:?}");
        assert_eq!(world.agents[1].selected().map(|p| p.remote), Some(borrowed()), "both of them");
    }
}

#[test]
fn r5_1_moving_between_direct_and_relayed_way_leaves_no_gap_over_60_ms() {
    let mut world = world(GOOD, FAR);
    world.call(Via(0));
    // Worse from one moment to the next would be a gap of its own: what moving costs is asked here.
    let since = world.now;
    world.agents[0].begin_trial(since, ROUNDS, false);
    let trial = world.agents[0].moving.trial.as_mut().unwrap();
    trial.at_most = ROUNDS - MARGIN;
    world.run(2 * SECOND);
    assert_eq!(world.selected.last().unwrap().1, Via(1), "direct to relayed");
    assert!(world.gap(since) <= 60 * MS, "to the relay: {:?}", world.gap(since));
    let since = world.now;
    world.run(30 * SECOND);
    assert_eq!(world.selected.last().unwrap().1, Via(0), "and back, since nothing is lost there");
    assert!(world.gap(since) <= 60 * MS, "and back: {:?}", world.gap(since));
    assert_eq!(world.selected.len(), 2, "then it stays: {:?}", world.selected);
}

#[test]
fn r5_1_a_direct_way_that_answered_too_late_is_taken_once_it_proves_itself() {
    let mut world = world(Way { delay: GOOD.delay, lost: 100 }, FAR);
    world.call(Via(1));
    world.direct = GOOD;
    world.run(20 * SECOND);
    assert_eq!(world.agents[0].selected().map(|p| p.via), Some(Via(0)));
}

#[test]
fn r6_4_a_direct_way_that_never_answers_is_tried_once_more_and_left_alone() {
    let mut world = world(Way { delay: GOOD.delay, lost: 100 }, FAR);
    world.call(Via(1));
    world.run(10 * SECOND);
    let before = world.asked;
    world.run(120 * SECOND);
    let asked = world.asked - before;
    assert!(asked <= 60, "{asked} messages in two minutes, answers to consent checks included");
    assert_eq!(world.selected, [], "and nothing moves");
}

/// R5.9: where every way loses alike nothing is won by moving, and few changes are made.
#[test]
fn r5_9_a_network_that_loses_everywhere_moves_at_most_once_in_five_seconds() {
    let bad = |delay| Way { delay, lost: 25 };
    let mut world = world(GOOD, FAR);
    world.call(Via(0));
    (world.direct, world.relayed) = (bad(GOOD.delay), bad(FAR.delay));
    world.run(120 * SECOND);
    let close = world.selected.windows(2).filter(|w| w[1].0 - w[0].0 < REST).count();
    assert_eq!(close, 0, "{:?}", world.selected);
    assert!(world.selected.len() <= 12, "{} moves in two minutes", world.selected.len());
}
