//! Everything at once, in any order: whatever phones, relay and journal do, every call that was
//! opened ends exactly once and leaves nothing behind. A failing seed is one line to replay.

use crate::lab::{EMPTY, Lab, respond, text};
use crate::talk::{BOB, OFFER, described};
use edge::{EdgeEvent, Note};
use sansio::{Entropy, SeededEntropy};
use sip::{HeaderName, Message};
use std::collections::BTreeMap;
use std::time::Duration;

const SEEDS: u64 = 300;
const STATUSES: [u16; 10] = [180, 183, 200, 200, 302, 401, 486, 488, 503, 603];

struct Storm {
    lab: Lab,
    dice: SeededEntropy,
    /// Requests each phone got and may answer, again and again.
    got: Vec<(u8, Message)>,
    /// 2xx the caller got.
    oks: Vec<Message>,
    cseq: u32,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let shards = if seed.is_multiple_of(2) { 1 } else { 4 };
        let mut lab = Lab::new(shards);
        lab.user("user2", &[2, 3, 4]);
        lab.invite(1, "user1", BOB);
        Self { lab, dice: SeededEntropy::new(seed), got: vec![], oks: vec![], cseq: 2 }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice.next_u64() % sides
    }

    fn collect(&mut self) {
        for n in 1..=4 {
            while !self.lab.is_empty(n) {
                let message = self.lab.next(n);
                let invite = message.cseq().is_ok_and(|c| c.method == sip::Method::INVITE);
                match message.status() {
                    None if message.method() != Some(sip::Method::ACK) => {
                        self.got.push((n, message))
                    }
                    Some(200) if n == 1 && invite => self.oks.push(message),
                    _ => {}
                }
            }
        }
    }

    fn step(&mut self) {
        match self.roll(16) {
            0..=5 => self.respond(),
            6 | 7 => self.by_caller(),
            8 => self.cancel(),
            9 => self.lab.hold = self.roll(2) == 0,
            10 => self.lab.refuse_answers = self.roll(3) == 0,
            11 => self.lab.release_relay(),
            12 => {
                self.lab.lose = self.roll(4) == 0;
                let wait = Duration::from_millis(1 << self.roll(16));
                self.lab.advance(wait);
            }
            13 | 14 => self.by_callee(),
            _ => self.note(),
        }
        self.collect();
    }

    fn respond(&mut self) {
        if self.got.is_empty() {
            return;
        }
        let which = self.roll(self.got.len() as u64) as usize;
        let (n, request) = self.got[which].clone();
        let status = STATUSES[self.roll(STATUSES.len() as u64) as usize];
        let sdp = self.roll(2) == 0;
        let mut response = respond(n, &request, status, sdp);
        if self.roll(6) == 0 {
            response = response.replace(&format!("tag=to{n}"), &format!("tag=other{n}"));
        }
        self.lab.send(n, response);
    }

    fn by_caller(&mut self) {
        if self.oks.is_empty() {
            return;
        }
        let which = self.roll(self.oks.len() as u64) as usize;
        let ok = self.oks[which].clone();
        let method = ["ACK", "BYE", "INVITE", "INFO", "UPDATE"][self.roll(5) as usize];
        self.cseq += 1;
        let (route, to) =
            (text(ok.header(HeaderName::RECORD_ROUTE)), text(ok.header(HeaderName::TO)));
        let plain = format!(
            "{method} sip:phone@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:user1@example.com>;tag=from1\r\nTo: {to}\r\n\
             Call-ID: call-1\r\nCSeq: {} {method}\r\nRoute: {route}\r\n{EMPTY}",
            self.cseq, self.cseq
        );
        let message = match self.roll(2) {
            0 => described(&plain, OFFER),
            _ => plain,
        };
        self.lab.send(1, message);
    }

    fn by_callee(&mut self) {
        let initial = |m: &Message| m.method() == Some(sip::Method::INVITE) && m.to_tag().is_none();
        let Some((n, invite)) = self.got.iter().rev().find(|(_, m)| initial(m)).cloned() else {
            return;
        };
        let method = ["BYE", "INVITE", "INFO", "UPDATE"][self.roll(4) as usize];
        self.cseq += 1;
        let route = text(invite.header(HeaderName::RECORD_ROUTE));
        let plain = format!(
            "{method} sip:user1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.{n};branch=z9hG4bK{}\r\n\
             Max-Forwards: 70\r\nFrom: <{BOB}>;tag=to{n}\r\n\
             To: <sip:user1@example.com>;tag=from1\r\n\
             Call-ID: call-1\r\nCSeq: {} {method}\r\nRoute: {route}\r\n{EMPTY}",
            self.cseq, self.cseq
        );
        let message = if self.roll(2) == 0 { described(&plain, OFFER) } else { plain };
        self.lab.send(n, message);
    }

    fn cancel(&mut self) {
        let invite = crate::lab::request("INVITE", 1, "user1", BOB, "uthorization");
        let cancel = invite.replace("uthorization", EMPTY).replace("INVITE sip", "CANCEL sip");
        self.lab.send(1, cancel.replace("CSeq: 2 INVITE", "CSeq: 2 CANCEL"));
    }

    fn note(&mut self) {
        match self.roll(12) {
            0 => self.hang_up_all(),
            1 => {
                let n = 1 + self.roll(4) as u8;
                self.lab.close(n);
            }
            2 => {
                for call in self.lab.opened.clone() {
                    self.lab.note(call as usize % self.lab.shards.len(), Note::MediaSilent(call));
                }
            }
            _ => {}
        }
    }

    fn hang_up_all(&mut self) {
        for call in self.lab.opened.clone() {
            for shard in 0..self.lab.shards.len() {
                self.lab.note(shard, Note::HangUp(call));
            }
        }
    }

    fn check(mut self) {
        self.hang_up_all();
        self.lab.assert_nothing_left();
        let mut ends: BTreeMap<u64, u32> = BTreeMap::new();
        for event in &self.lab.events {
            if let EdgeEvent::CallEnded { call, .. } = event {
                *ends.entry(*call).or_default() += 1;
            }
        }
        let opened: BTreeMap<u64, u32> = self.lab.opened.iter().map(|call| (*call, 1)).collect();
        assert_eq!(ends, opened, "each call ends once");
    }
}

#[test]
fn every_call_ends_once_and_leaves_nothing_whatever_happens() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| {
            let mut storm = Storm::new(seed);
            storm.collect();
            for _ in 0..60 {
                storm.step();
            }
            storm.check();
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
