//! Agents over a small network in virtual time: delay, loss, and a translator that forgets.

use super::*;
use crate::{Lite, LiteEvent};
use std::collections::BTreeMap;
use std::time::Duration;

const DELAY: Duration = Duration::from_millis(40);
const MS: Duration = Duration::from_millis(1);

/// What is at the far end.
enum Far {
    Lite(Lite),
    Full(Box<Agent>),
}

/// Whether to the far end, from, to, and what.
type Packet = (bool, SocketAddr, SocketAddr, Vec<u8>);

/// A phone behind a translator, and a far end with an address of its own.
struct World {
    now: Instant,
    phone: Agent,
    far: Far,
    far_addr: SocketAddr,
    /// Another address of the far end's.
    also_far: Option<SocketAddr>,
    inner: SocketAddr,
    /// Where the translator maps `inner` to.
    mapped: SocketAddr,
    /// By what the far end sent last: only from there the translator lets it in.
    flight: BTreeMap<(Instant, u64), Packet>,
    count: u64,
    down: bool,
    phone_events: Vec<(Instant, AgentEvent)>,
    /// When media of the far end reached the phone.
    heard: Vec<Instant>,
    /// Media both ways every 20 ms.
    talking: bool,
    next_media: Instant,
    phone_sent: u32,
}

fn credentials(who: &str) -> Credentials {
    Credentials { ufrag: format!("{who}frag"), pwd: format!("{who}-password-of-22-characters") }
}

fn world(full: bool, phone_controls: bool) -> World {
    let now = sansio::testing::epoch();
    let inner: SocketAddr = "192.168.1.2:4000".parse().unwrap();
    let far_addr: SocketAddr = "198.51.100.1:30000".parse().unwrap();
    let mapped: SocketAddr = "203.0.113.1:50000".parse().unwrap();
    let mut phone = Agent::new(phone_controls, credentials("p"), &[1; 32]);
    phone.add_local(now, Via(0), inner, priority(Kind::Host, 65_535));
    phone.set_remote(now, credentials("f"), !full);
    phone.add_remote(now, far_addr, priority(Kind::Host, 65_535));
    phone.end_remotes();
    let far = match full {
        false => {
            let theirs = credentials("f");
            let mut lite = Lite::new(&theirs.ufrag, &theirs.pwd);
            lite.set_remote("pfrag", "");
            Far::Lite(lite)
        }
        true => {
            let mut agent = Agent::new(!phone_controls, credentials("f"), &[2; 32]);
            agent.add_local(now, Via(0), far_addr, priority(Kind::Host, 65_535));
            agent.set_remote(now, credentials("p"), false);
            agent.add_remote(now, inner, priority(Kind::Host, 65_535));
            agent.end_remotes();
            Far::Full(Box::new(agent))
        }
    };
    World {
        now,
        phone,
        far,
        far_addr,
        also_far: None,
        inner,
        mapped,
        flight: BTreeMap::new(),
        count: 0,
        down: false,
        phone_events: Vec::new(),
        heard: Vec::new(),
        talking: false,
        next_media: now,
        phone_sent: 0,
    }
}

impl World {
    fn throw(&mut self, to_far: bool, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        if self.down {
            return;
        }
        self.count += 1;
        self.flight.insert((self.now + DELAY, self.count), (to_far, from, to, bytes));
    }

    fn drain(&mut self) {
        while let Some(Transmit { path, bytes }) = self.phone.poll_transmit() {
            self.phone_sent += 1;
            // Only the far end's public address is anywhere.
            if path.remote == self.far_addr || Some(path.remote) == self.also_far {
                let from = self.mapped;
                self.throw(true, from, path.remote, bytes);
            }
        }
        while let Some(event) = self.phone.poll_event() {
            self.phone_events.push((self.now, event));
        }
        let mut out = Vec::new();
        if let Far::Full(agent) = &mut self.far {
            while let Some(transmit) = agent.poll_transmit() {
                out.push(transmit);
            }
            while agent.poll_event().is_some() {}
        }
        for Transmit { path, bytes } in out {
            let second = self.also_far.filter(|_| path.via == Via(1));
            let from = second.unwrap_or(self.far_addr);
            self.throw(false, from, path.remote, bytes);
        }
    }

    fn deliver(&mut self, to_far: bool, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let media = bytes == b"media";
        if to_far {
            match &mut self.far {
                Far::Lite(lite) => {
                    let mut out = Vec::new();
                    if lite.handle(self.now, from, bytes, &mut out) != LiteEvent::Ignored {
                        let far = self.far_addr;
                        self.throw(false, far, from, out);
                    }
                }
                Far::Full(agent) => {
                    let via = Via(u8::from(self.also_far == Some(to)));
                    let path = Path { via, remote: from };
                    match media {
                        true => agent.note_media(self.now, path),
                        false => drop(agent.handle_stun(self.now, path, bytes)),
                    }
                }
            }
        } else if to == self.mapped {
            let path = Path { via: Via(0), remote: from };
            if media {
                self.heard.push(self.now);
                self.phone.note_media(self.now, path);
            } else {
                self.phone.handle_stun(self.now, path, bytes);
            }
        }
    }

    fn talk(&mut self) {
        self.next_media = self.now + 20 * MS;
        let far = self.far_addr;
        if let Some(path) = self.phone.send_path() {
            let from = self.mapped;
            self.throw(true, from, path.remote, b"media".to_vec());
        }
        let to = match &self.far {
            Far::Lite(lite) => lite.selected(),
            Far::Full(agent) => agent.send_path().map(|p| p.remote),
        };
        if let Some(to) = to {
            self.throw(false, far, to, b"media".to_vec());
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.drain();
            let far = match &self.far {
                Far::Lite(_) => None,
                Far::Full(agent) => agent.poll_timeout(),
            };
            let arrival = self.flight.keys().next().map(|(at, _)| *at);
            let media = self.talking.then_some(self.next_media);
            let next = [self.phone.poll_timeout(), far, arrival, media].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.flight.first_entry().filter(|e| e.key().0 <= self.now) {
                let (to_far, from, to, bytes) = entry.remove();
                self.deliver(to_far, from, to, &bytes);
            }
            if self.talking && self.now >= self.next_media {
                self.talk();
            }
            self.phone.handle_timeout(self.now);
            if let Far::Full(agent) = &mut self.far {
                agent.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    /// A call that is up and heard.
    fn call(&mut self) {
        self.run(Duration::from_secs(1));
        self.talking = true;
        self.next_media = self.now;
        self.phone.expect_media(true);
        if let Far::Full(agent) = &mut self.far {
            agent.expect_media(true);
        }
        self.run(Duration::from_secs(3));
        self.phone_events.clear();
    }

    /// The longest time without media from `since` on.
    fn gap(&self, since: Instant) -> Duration {
        let mut last = since;
        let mut gap = Duration::ZERO;
        for at in self.heard.iter().copied().filter(|at| *at >= since).chain([self.now]) {
            gap = gap.max(at - last);
            last = at;
        }
        gap
    }
}

#[test]
fn r6_1_a_phone_and_a_lite_agent_agree_in_two_round_trips_and_two_checks() {
    let mut world = world(false, false);
    let began = world.now;
    world.run(Duration::from_secs(4));
    let path = Path { via: Via(0), remote: world.far_addr };
    let selected = world.phone_events.iter().find(|(_, e)| *e == AgentEvent::Selected(path));
    assert_eq!(selected.unwrap().0 - began, 4 * DELAY, "a check, and the one that nominates");
    assert!(world.phone.is_controlling(), "a full agent controls a lite one");
    let Far::Lite(lite) = &world.far else { panic!() };
    assert_eq!(lite.selected(), Some(world.mapped));
    assert!(world.phone_events.iter().any(|(_, e)| *e == AgentEvent::Mapped(world.mapped)));
    assert_eq!(world.phone_sent, 2, "R6.4: nothing more is said");
}

#[test]
fn r6_1_two_full_agents_agree_whoever_controls_and_when_both_think_they_do() {
    for (phone_controls, conflict) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut world = world(true, phone_controls);
        if conflict {
            let Far::Full(agent) = &mut world.far else { panic!() };
            agent.controlling = phone_controls;
        }
        world.run(Duration::from_secs(4));
        let Far::Full(agent) = &world.far else { panic!() };
        assert_eq!(agent.selected().map(|p| p.remote), Some(world.mapped));
        assert_eq!(world.phone.selected().map(|p| p.remote), Some(world.far_addr));
        assert_ne!(agent.is_controlling(), world.phone.is_controlling());
        assert!(world.phone_sent <= 8, "R6.4: {} messages", world.phone_sent);
    }
}

#[test]
fn rfc_7675_consent_is_asked_every_five_seconds_and_nothing_else_while_sound_comes() {
    let mut world = world(false, true);
    world.call();
    let before = world.phone_sent;
    world.run(Duration::from_secs(60));
    let asked = world.phone_sent - before;
    assert!((10..=15).contains(&asked), "{asked} checks in a minute");
    assert!(world.phone_events.is_empty(), "{:?}", world.phone_events);
}

/// A silence that is meant is not taken for a dead way, and asked about ever more rarely.
#[test]
fn r6_3_a_peer_that_is_silent_by_intent_costs_few_checks() {
    let mut world = world(false, true);
    world.call();
    world.talking = false;
    let before = world.phone_sent;
    world.run(Duration::from_secs(60));
    let asked = world.phone_sent - before;
    assert!(asked <= 40, "{asked} checks in a silent minute");
    assert!(world.phone_events.is_empty(), "{:?}", world.phone_events);
}

#[test]
fn r6_3_a_mapping_that_is_forgotten_is_noticed_and_sound_is_back_within_a_second() {
    for full in [false, true] {
        for phone_controls in [true, false] {
            let mut world = world(full, phone_controls);
            world.call();
            world.mapped = "203.0.113.1:51111".parse().unwrap();
            let since = world.now;
            world.run(Duration::from_secs(5));
            let gap = world.gap(since);
            assert!(gap <= Duration::from_millis(900), "full {full}: {gap:?} without sound");
            assert!(world.heard.len() > 200, "and it goes on");
            let new = world.mapped;
            assert!(
                world.phone_events.iter().any(|(_, e)| *e == AgentEvent::Mapped(new)),
                "full {full}: {:?}",
                world.phone_events
            );
        }
    }
}

#[test]
fn r6_5_after_an_outage_of_five_seconds_sound_is_back_at_once_though_the_mapping_changed() {
    for full in [false, true] {
        let mut world = world(full, true);
        world.call();
        world.down = true;
        world.run(Duration::from_secs(5));
        let told: Vec<AgentEvent> = world.phone_events.iter().map(|(_, e)| *e).collect();
        assert_eq!(told, [AgentEvent::Lost, AgentEvent::RestartWanted]);
        // It is offered, and nobody hears of it yet.
        world.phone.restart(credentials("q"));
        world.down = false;
        world.mapped = "203.0.113.1:52222".parse().unwrap();
        let since = world.now;
        world.run(Duration::from_secs(2));
        let back = world.heard.iter().find(|at| **at >= since).unwrap().duration_since(since);
        // A probe at most 100 ms later, and one round trip.
        assert!(back < Duration::from_millis(300), "full {full}: back after {back:?}");
        assert!(world.gap(since) < Duration::from_millis(300));
    }
}

#[test]
fn rfc_7675_5_1_without_an_answer_for_thirty_seconds_nothing_is_sent() {
    let mut world = world(false, true);
    world.call();
    world.down = true;
    world.run(Duration::from_secs(31));
    assert!(world.phone_events.iter().any(|(_, e)| *e == AgentEvent::ConsentEnded));
    assert_eq!(world.phone.send_path(), None);
    let before = world.phone_sent;
    world.down = false;
    world.run(Duration::from_secs(60));
    assert_eq!(world.phone_sent, before, "its credentials are done with");
    // A restart brings it back.
    world.phone.restart(credentials("q"));
    let Far::Lite(lite) = &mut world.far else { panic!() };
    lite.restart("gfrag", "g-password-of-22-characters");
    lite.set_remote("qfrag", "");
    let (now, far) = (world.now, world.far_addr);
    world.phone.set_remote(now, credentials("g"), true);
    world.phone.add_remote(now, far, 1);
    world.phone.handle_timeout(now);
    world.run(Duration::from_secs(1));
    assert_eq!(world.phone.send_path().map(|p| p.remote), Some(far));
}

#[test]
fn r6_1_a_restart_keeps_the_old_way_until_there_is_a_new_one() {
    let mut world = world(true, true);
    world.call();
    let since = world.now;
    let (now, far, inner) = (world.now, world.far_addr, world.inner);
    world.phone.restart(credentials("q"));
    let Far::Full(agent) = &mut world.far else { panic!() };
    agent.restart(credentials("g"));
    agent.set_remote(now, credentials("q"), false);
    agent.add_remote(now, inner, 1);
    world.run(Duration::from_millis(300));
    world.phone.set_remote(now, credentials("g"), false);
    world.phone.add_remote(now, far, 1);
    world.run(Duration::from_secs(3));
    assert!(world.gap(since) < Duration::from_millis(100), "{:?}", world.gap(since));
    assert_eq!(world.phone.selected().map(|p| p.remote), Some(far));
}

#[test]
fn r6_4_checks_that_nobody_answers_are_capped_and_end_in_failure() {
    let mut world = world(false, true);
    world.down = true;
    for n in 1..30 {
        let (now, other) = (world.now, format!("198.51.100.2:{}", 4_000 + n));
        world.phone.add_remote(now, other.parse().unwrap(), n);
    }
    world.run(Duration::from_secs(120));
    assert!(world.phone_sent <= CHECKS_MAX, "{}", world.phone_sent);
    assert_eq!(world.phone.pairs.len(), REMOTES_MAX);
    assert!(world.phone_events.iter().any(|(_, e)| *e == AgentEvent::Failed));
    assert_eq!(world.phone.poll_timeout(), None, "and nothing waits");
}

#[test]
fn rfc_8445_7_3_checks_with_wrong_credentials_change_nothing() {
    let mut world = world(true, false);
    world.run(Duration::from_secs(2));
    let from: SocketAddr = "192.0.2.66:666".parse().unwrap();
    let path = Path { via: Via(0), remote: from };
    let forged = crate::stun::Builder::request([9; 12])
        .username("pfrag:ffrag")
        .ice_controlling(u64::MAX)
        .use_candidate()
        .finish(b"a guess of enough length....");
    world.phone.handle_stun(world.now, path, &forged);
    let answer = world.phone.poll_transmit().unwrap();
    let answer = crate::stun::Message::parse(&answer.bytes).unwrap();
    assert_eq!(answer.error_code(), Some(401));
    assert!(!world.phone.is_valid(path));
    assert_ne!(world.phone.selected(), Some(path));
}

proptest::proptest! {
    #[test]
    fn any_bytes_from_anywhere_are_taken_without_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..160),
    ) {
        let mut world = world(true, true);
        let path = Path { via: Via(0), remote: world.far_addr };
        world.phone.handle_stun(world.now, path, &bytes);
    }
}

/// The far end's only address that leads anywhere is the last of eleven: found half a second later,
/// unless an earlier call knew the machine.
#[test]
fn r6_5_what_was_good_in_an_earlier_call_is_checked_first() {
    let first_valid = |hint: bool| {
        let mut world = world(false, true);
        let now = world.now;
        world.phone.forget_remote();
        world.phone.set_remote(now, credentials("f"), true);
        for n in 0..10 {
            let dead = format!("10.0.{n}.1:9").parse().unwrap();
            world.phone.add_remote(now, dead, priority(Kind::Host, 65_000 - n));
        }
        world.phone.add_remote(now, world.far_addr, priority(Kind::ServerReflexive, 65_535));
        world.phone.end_remotes();
        if hint {
            world.phone.prefer(&[(Via(0), world.far_addr.ip())]);
        }
        world.run(Duration::from_secs(3));
        let selected = |(_, event): &&(Instant, AgentEvent)| matches!(event, AgentEvent::Selected(path) if path.remote == world.far_addr);
        world.phone_events.iter().find(selected).expect("connected").0 - now
    };
    assert_eq!(first_valid(true), 4 * DELAY, "a check, and a nomination");
    let cold = first_valid(false);
    assert!(cold >= 10 * PACE + 4 * DELAY, "{cold:?}");
}

/// R6.2: a pair that shares nothing with the chosen one is found to work and kept, and media goes by it
/// as soon as the server that lends the chosen one is given up.
#[test]
fn r6_2_a_pair_stands_by_and_carries_media_at_once() {
    let mut world = world(true, true);
    let second: SocketAddr = "198.51.100.2:30000".parse().unwrap();
    let now = world.now;
    // Both lead to the far end: by a TURN server of ours, and by the socket.
    world.phone.keep_backup(true);
    world.phone.add_remote(now, second, priority(Kind::Relayed, 1));
    world.also_far = Some(second);
    if let Far::Full(far) = &mut world.far {
        far.add_local(now, Via(1), second, 1);
    }
    world.call();
    let chosen = world.phone.selected().unwrap();
    assert_eq!(chosen.remote, world.far_addr);
    let stands = |world: &World| world.phone.is_valid(Path { via: Via(0), remote: second });
    assert!(stands(&world), "it was asked and answered");
    let before = world.phone.sent();
    world.run(Duration::from_secs(60));
    // Twelve consent checks, and three that keep it.
    assert!((10..=19).contains(&(world.phone.sent() - before)), "{}", world.phone.sent() - before);
    world.phone.add_local(world.now, Via(1), "203.0.113.9:5000".parse().unwrap(), 1);
    world.phone.remove_local(world.now, Via(1));
    assert_eq!(world.phone.selected(), Some(chosen), "another one than the chosen one went");
}
