//! The loop: the next event or deadline, the node it concerns, and what that node sends.

use std::time::{Duration, Instant};

use super::Net;
use crate::event::Event;
use crate::node::Transmit;
use crate::packet::{Kind, Packet};

/// How often a node may be woken at one and the same instant.
const WAKES_MAX: u32 = 1000;

/// How many packets a node may send in one go: beyond that it sends for ever.
const SENDS_MAX: u32 = 1_000_000;

impl Net {
    /// Lets `duration` pass.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.clock.now() + duration;
        while self.step(until) {}
        self.clock.advance_to(until);
    }

    /// Lets time pass until so long after the beginning: for who follows a real clock.
    pub fn run_to(&mut self, elapsed: Duration) {
        self.run_for(elapsed.saturating_sub(self.clock.elapsed()));
    }

    /// When the next thing will happen, since the beginning, if nothing else does before.
    pub fn next_at(&mut self) -> Option<Duration> {
        let (event, timer) = (self.agenda.next_at(), self.timers.next_deadline());
        event.into_iter().chain(timer).min().map(|at| self.clock.since_start(at))
    }

    /// Lets time pass until `done` holds, at most `limit`. True if it came to hold.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.clock.now() + limit;
        while !done(self) {
            if !self.step(until) {
                self.clock.advance_to(until);
                return done(self);
            }
        }
        true
    }

    /// Lets the next thing happen, if it happens by `until`.
    fn step(&mut self, until: Instant) -> bool {
        let (event, timer) = (self.agenda.next_at(), self.timers.next_deadline());
        let Some(at) = event.into_iter().chain(timer).min().filter(|at| *at <= until) else {
            return false;
        };
        self.clock.advance_to(at);
        if timer.is_some_and(|t| t <= at) && event.is_none_or(|e| e > at) {
            self.wake();
        } else if let Some(event) = self.agenda.pop() {
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrived { stop, packet } => self.arrived(stop, packet),
            Event::Retry { wire, way, stop, packet, tries } => {
                self.retry((wire, way), stop, packet, tries);
            }
            Event::StreamDead { origin } => {
                let (now, wall) = (self.clock.now(), self.clock.wall());
                let host = &mut self.hosts[origin.host];
                if let Some(event) = host.streams.give_up(origin.local, origin.peer) {
                    host.node.handle_stream(now, wall, event);
                    self.drain(origin.host);
                }
            }
        }
    }

    fn wake(&mut self) {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let Some(index) = self.timers.pop_due(now) else { return };
        let host = &mut self.hosts[index];
        let again = host.woken.0 == Some(now);
        host.woken = (Some(now), if again { host.woken.1 + 1 } else { 0 });
        assert!(
            host.woken.1 < WAKES_MAX,
            "{} asks to be woken at an instant that has passed, for ever",
            host.name
        );
        host.node.handle_timeout(now, wall);
        self.drain(index);
    }

    /// Sends what a node has to send and arms its timer.
    pub(super) fn drain(&mut self, index: usize) {
        for sent in 0.. {
            assert!(sent < SENDS_MAX, "{} sends for ever", self.hosts[index].name);
            let Some(transmit) = self.hosts[index].node.poll_transmit() else { break };
            self.transmit(index, transmit);
        }
        match self.hosts[index].node.poll_timeout() {
            Some(at) => self.timers.set(index, at),
            None => {
                self.timers.clear(&index);
            }
        }
    }

    fn transmit(&mut self, index: usize, transmit: Transmit) {
        let streams = &mut self.hosts[index].streams;
        let packets = match transmit {
            Transmit::Datagram { from, to, bytes } => {
                vec![Packet::new(index, Kind::Datagram, from, to, bytes)]
            }
            Transmit::Segment { from, to, bytes } => {
                vec![Packet::new(index, Kind::Segment, from, to, bytes)]
            }
            Transmit::Connect { from, to } => vec![streams.connect(from, to)],
            Transmit::Send { from, to, bytes } => streams.send(from, to, &bytes, &mut self.dice),
            Transmit::Close { from, to } => streams.close(from, to).into_iter().collect(),
        };
        for packet in packets {
            self.send_packet(index, packet);
        }
    }
}
