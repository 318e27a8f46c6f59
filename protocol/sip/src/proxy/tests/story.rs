//! Caller, proxy and three phones over a link that may lose: transaction layer, response context and
//! dialogs together (R1.1, R4.2).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sansio::{Entropy, FlowId, SeededEntropy, Transport};

use super::upstream;
use crate::dialog::{Answer, AnswerOutcome, Change, DialogSet};
use crate::proxy::forward::{Outgoing, strip_via};
use crate::proxy::{Action, Config, ResponseContext};
use crate::transaction::{self, Arrival, ClientKey, Layer, Output, SendVia, ServerKey};
use crate::{Edit, HeaderName, Message, Method, ViaBuilder, response_to};

const CALLER: usize = 0;
const PROXY: usize = 1;
const PHONES: std::ops::Range<usize> = 2..5;

/// What a phone does with a call.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Habit {
    Answers,
    IsBusy,
    Declines,
    OnlyRings,
    IsDead,
}

struct World {
    now: Instant,
    dice: SeededEntropy,
    transport: Transport,
    loss_percent: u64,
    layers: Vec<Layer>,
    under_way: BTreeMap<(Instant, u64), (usize, usize, Bytes)>,
    count: u64,
    // The caller.
    invite: Message,
    call: Option<ClientKey>,
    dialogs: DialogSet,
    confirmed: BTreeSet<Vec<u8>>,
    failures: Vec<u16>,
    // The proxy.
    upstream: Option<ServerKey>,
    context: Option<ResponseContext<usize>>,
    branches: BTreeMap<ClientKey, usize>,
    dones: u32,
    // The phones.
    habits: Vec<Habit>,
    ringing: BTreeMap<usize, (ServerKey, Message, Instant)>,
    answers: BTreeMap<usize, (Answer, ServerKey, Message)>,
    cancelled: BTreeMap<usize, Instant>,
    answered_at: Option<Instant>,
}

impl World {
    fn new(seed: u64, transport: Transport, loss_percent: u64) -> Self {
        let mut dice = SeededEntropy::new(seed);
        let habits =
            [Habit::Answers, Habit::IsBusy, Habit::Declines, Habit::OnlyRings, Habit::IsDead];
        let habits = PHONES.map(|_| habits[(dice.next_u64() % 5) as usize]).collect();
        let config = transaction::Config::default();
        let invite = Edit::new(&upstream(Method::INVITE))
            .append(HeaderName::CONTACT, "<sip:alice@192.0.2.1>")
            .finish();
        Self {
            now: sansio::testing::epoch(),
            transport,
            loss_percent,
            layers: (0..5).map(|_| Layer::new(config.clone(), &mut dice)).collect(),
            dice,
            under_way: BTreeMap::new(),
            count: 0,
            call: None,
            dialogs: DialogSet::new(invite.clone()),
            invite,
            confirmed: BTreeSet::new(),
            failures: Vec::new(),
            upstream: None,
            context: None,
            branches: BTreeMap::new(),
            dones: 0,
            habits,
            ringing: BTreeMap::new(),
            answers: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            answered_at: None,
        }
    }

    fn via(&self, to: usize) -> SendVia {
        SendVia { flow: flow(to), transport: self.transport }
    }

    fn cast(&mut self, from: usize, to: usize, bytes: Bytes) {
        if self.dice.next_u64() % 100 < self.loss_percent {
            return;
        }
        // A reliable link keeps the order, another does not.
        let jitter = if self.transport.is_reliable() { 0 } else { self.dice.next_u64() % 80 };
        self.count += 1;
        let at = self.now + Duration::from_millis(10 + jitter);
        self.under_way.insert((at, self.count), (from, to, bytes));
    }

    fn drain(&mut self) {
        let mut node = 0;
        while node < self.layers.len() {
            match self.layers[node].poll_output() {
                Some(Output::Transmit { flow, message, .. }) => {
                    self.cast(node, flow.id as usize, message);
                }
                Some(output) => {
                    match node {
                        CALLER => self.caller(output),
                        PROXY => self.proxy(output),
                        phone => self.phone(phone, output),
                    }
                    node = 0;
                }
                None => node += 1,
            }
        }
    }

    fn caller(&mut self, output: Output) {
        let message = match output {
            Output::Response { message, .. } | Output::StrayResponse { message, .. } => message,
            Output::TimedOut { .. } => return self.failures.push(408),
            _ => return,
        };
        let change = self.dialogs.handle_response(&message);
        match change {
            Ok(Some(Change::Confirmed { id, .. } | Change::AckAgain(id))) => {
                let via = ViaBuilder::new(self.transport, "192.0.2.1").branch("z9hG4bKack").build();
                let dialog = self.dialogs.dialog(&id).expect("it was just confirmed");
                let ack = dialog.ack(1).header(HeaderName::VIA, via).build();
                self.confirmed.insert(id.remote_tag.to_vec());
                self.cast(CALLER, PROXY, ack.bytes().clone());
            }
            Ok(Some(Change::Failed)) => self.failures.extend(message.status()),
            _ => {}
        }
    }

    fn proxy(&mut self, output: Output) {
        match output {
            Output::Request { key: Some(key), message, .. } => {
                self.upstream = Some(key);
                let mut context = ResponseContext::new(Config::default(), message.clone());
                for phone in PHONES {
                    let branch = format!("z9hG4bKp{phone}");
                    let via = ViaBuilder::new(self.transport, "edge.example.com").branch(&branch);
                    let outgoing = Outgoing { via: &via.build(), ..Outgoing::default() };
                    let sent = outgoing.prepare(&message).unwrap().finish();
                    let via = self.via(phone);
                    let client = self.layers[PROXY].send_request(self.now, via, sent).unwrap();
                    self.branches.insert(client, phone);
                    context.add_branch(self.now, phone).unwrap();
                }
                self.context = Some(context);
            }
            // An ACK of a 2xx finds its phone by the To tag.
            Output::Request { key: None, message, .. } => {
                let tag = message.to_tag().unwrap().to_vec();
                let phone: usize = String::from_utf8(tag).unwrap()[1..].parse().unwrap();
                self.cast(PROXY, phone, message.bytes().clone());
            }
            Output::Cancel { .. } => self.with_context(|c, _| c.handle_cancel(None)),
            Output::Response { key, message } => {
                let branch = self.branches[&key];
                let message = strip_via(&message);
                self.with_context(|c, now| c.handle_response(now, &branch, message));
            }
            Output::StrayResponse { message, .. } if message.status() == Some(200) => {
                self.cast(PROXY, CALLER, strip_via(&message).bytes().clone());
            }
            Output::TimedOut { key } => {
                let branch = self.branches[&key];
                self.with_context(|c, _| c.handle_timed_out(&branch));
            }
            _ => {}
        }
    }

    fn with_context(&mut self, act: impl FnOnce(&mut ResponseContext<usize>, Instant)) {
        let mut context = self.context.take().expect("the INVITE came first");
        act(&mut context, self.now);
        while let Some(action) = context.poll_action() {
            match action {
                Action::Forward { message, .. } => {
                    let key = self.upstream.unwrap();
                    if !self.layers[PROXY].respond(self.now, &key, message.clone()) {
                        self.cast(PROXY, CALLER, message.bytes().clone());
                    }
                }
                Action::Cancel { branch, reason } => {
                    let key = self.branches.iter().find(|(_, b)| **b == branch).unwrap().0;
                    self.layers[PROXY].cancel(self.now, key, reason.as_deref());
                }
                Action::Done => self.dones += 1,
                Action::Abandoned { .. } | Action::Waiting => {}
            }
        }
        self.context = Some(context);
    }

    fn phone(&mut self, phone: usize, output: Output) {
        match output {
            Output::Request { key: Some(key), message, .. } => {
                let until = self.now + Duration::from_millis(self.dice.next_u64() % 6000);
                let ringing = response_to(&message, 180, "").to_tag(&format!("t{phone}")).build();
                self.layers[phone].respond(self.now, &key, ringing);
                self.ringing.insert(phone, (key, message, until));
            }
            Output::Request { key: None, message, .. } => {
                let (answer, ..) = self.answers.get_mut(&phone).expect("an ACK follows a 2xx");
                assert!(answer.handle_ack(message.cseq().unwrap().number));
            }
            Output::Cancel { invite, .. } => {
                self.cancelled.insert(phone, self.now);
                if let Some((_, request, _)) = self.ringing.remove(&phone) {
                    self.layers[phone].respond(
                        self.now,
                        &invite,
                        response_to(&request, 487, "").to_tag("x").build(),
                    );
                }
            }
            _ => {}
        }
    }

    /// A phone has rung long enough.
    fn decide(&mut self, phone: usize) {
        let (key, request, _) = self.ringing.remove(&phone).expect("it rings");
        let tag = format!("t{phone}");
        let status = match self.habits[phone - PHONES.start] {
            Habit::Answers => 200,
            Habit::IsBusy => 486,
            Habit::Declines => 603,
            Habit::OnlyRings | Habit::IsDead => {
                self.ringing.insert(phone, (key, request, self.now + Duration::from_secs(3600)));
                return;
            }
        };
        let contact = format!("<sip:bob@phone{phone}.example.com>");
        let response = response_to(&request, status, "")
            .to_tag(&tag)
            .header(HeaderName::CONTACT, contact)
            .build();
        if status == 200 {
            let (t1, t2) = (Duration::from_millis(500), Duration::from_secs(4));
            let answer = Answer::new(self.now, response.bytes().clone(), 1, t1, t2);
            self.answers.insert(phone, (answer, key, response.clone()));
            self.answered_at.get_or_insert(self.now);
        }
        self.layers[phone].respond(self.now, &key, response);
    }

    fn next(&self) -> Option<Instant> {
        let layers = self.layers.iter().filter_map(Layer::poll_timeout);
        let context = self.context.iter().filter_map(ResponseContext::poll_timeout);
        let link = self.under_way.keys().next().map(|(at, _)| *at);
        let ringing = self.ringing.values().map(|(.., until)| *until);
        let answers = self.answers.values().filter_map(|(a, ..)| a.poll_timeout());
        layers.chain(context).chain(link).chain(ringing).chain(answers).min()
    }

    fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.next().filter(|at| *at <= until) else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.under_way.first_entry().filter(|e| e.key().0 <= self.now) {
            let (from, to, bytes) = entry.remove();
            let dead = PHONES.contains(&to) && self.habits[to - PHONES.start] == Habit::IsDead;
            if !dead {
                let peer = "192.0.2.1:5060".parse().unwrap();
                let arrival = Arrival { flow: flow(from), transport: self.transport, peer };
                self.layers[to].handle_message(self.now, arrival, Message::parse(bytes).unwrap());
                self.drain();
            }
        }
        for phone in PHONES {
            if self.ringing.get(&phone).is_some_and(|(.., until)| *until <= self.now) {
                self.decide(phone);
            }
            if let Some((answer, key, response)) = self.answers.get_mut(&phone) {
                answer.handle_timeout(self.now);
                if answer.poll_transmit().is_some() {
                    self.layers[phone].respond(self.now, key, response.clone());
                }
            }
        }
        for layer in &mut self.layers {
            layer.handle_timeout(self.now);
        }
        if self.context.is_some() {
            self.with_context(|c, now| c.handle_timeout(now));
        }
        self.drain();
        true
    }

    fn run(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while self.step(until) {}
        self.now = until;
    }
}

fn flow(to: usize) -> FlowId {
    FlowId { node: 0, shard: 0, id: to as u64 }
}

fn play(seed: u64, transport: Transport, loss_percent: u64) {
    let mut world = World::new(seed, transport, loss_percent);
    let via = world.via(PROXY);
    let invite = world.invite.clone();
    let call = world.layers[CALLER].send_request(world.now, via, invite).unwrap();
    world.call = Some(call);
    world.drain();
    let patience = if seed.is_multiple_of(3) { 50 + world.dice.next_u64() % 6000 } else { 120_000 };
    world.run(patience);
    world.layers[CALLER].cancel(world.now, &call, None);
    world.drain();
    world.run(1_800_000);

    let hint = format!("seed {seed} {transport} loss {loss_percent} {:?}", world.habits);
    assert!(world.layers.iter().all(Layer::is_empty), "{hint}: transactions leaked");
    assert!(world.failures.len() <= 1, "{hint}: {:?}", world.failures);
    assert_eq!(world.confirmed.is_empty(), !world.failures.is_empty(), "{hint}: one outcome");
    assert!(world.dones <= 1, "{hint}: done twice");
    if loss_percent == 0 {
        assert_eq!(world.dones, 1, "{hint}");
        // Whoever answered was acknowledged, and the caller knows exactly those.
        let outcomes = world.answers.values().map(|(a, ..)| a.outcome());
        assert!(outcomes.into_iter().all(|o| o == Some(AnswerOutcome::Acknowledged)), "{hint}");
        assert_eq!(world.confirmed.len(), world.answers.len(), "{hint}");
        for (at, phone) in PHONES.enumerate() {
            let cancelled_at = world.cancelled.get(&phone);
            if world.habits[at] == Habit::OnlyRings {
                let cancelled_at = *cancelled_at.expect("a phone that rings on is cancelled");
                let answered = world.answered_at.unwrap_or(cancelled_at);
                let late = cancelled_at.saturating_duration_since(answered);
                assert!(late < Duration::from_millis(500), "{hint}: {phone} rang on for {late:?}");
            }
        }
    }
}

#[test]
fn every_fork_comes_to_one_outcome_on_a_clean_link() {
    for seed in 0..150 {
        play(seed, Transport::Tcp, 0);
        play(seed, Transport::Udp, 0);
    }
}

#[test]
fn every_fork_comes_to_an_end_on_a_lossy_link() {
    for seed in 0..150 {
        play(seed, Transport::Udp, 15);
    }
}
