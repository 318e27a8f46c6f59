//! Anything in any order: no panic, no key after its end, nothing left behind.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use sansio::Transport;

use super::kit::{Bench, FLOW, call, response};
use crate::transaction::{ClientKey, Output, SendVia, ServerKey, TransactionKey};
use crate::{Message, Method};

#[derive(Debug, Clone)]
enum Op {
    Receive { method: usize, branch: usize, status: Option<u16> },
    Send { method: usize, branch: usize },
    Cancel { which: usize },
    Respond { which: usize, status: u16 },
    Wait { ms: u64 },
    FlowFails,
}

const METHODS: [&str; 5] = ["INVITE", "ACK", "CANCEL", "OPTIONS", "BYE"];
const BRANCHES: [&str; 4] = ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3", "old"];
const STATUSES: [u16; 8] = [100, 180, 200, 299, 302, 408, 487, 603];

fn op() -> impl Strategy<Value = Op> {
    let status = prop::sample::select(&STATUSES[..]);
    prop_oneof![
        4 => (0..5_usize, 0..4_usize, prop::option::of(status.clone()))
            .prop_map(|(method, branch, status)| Op::Receive { method, branch, status }),
        3 => (0..5_usize, 0..4_usize).prop_map(|(method, branch)| Op::Send { method, branch }),
        1 => (0..8_usize).prop_map(|which| Op::Cancel { which }),
        3 => (0..8_usize, status).prop_map(|(which, status)| Op::Respond { which, status }),
        2 => (0..9000_u64).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::FlowFails),
    ]
}

struct Run {
    bench: Bench,
    clients: Vec<ClientKey>,
    servers: Vec<(ServerKey, Message)>,
    alive: BTreeSet<TransactionKey>,
}

impl Run {
    fn act(&mut self, op: &Op) {
        let now = self.bench.now;
        match *op {
            Op::Receive { method, branch, status } => {
                let request = call(METHODS[method], BRANCHES[branch], "call-1", 1);
                match status {
                    Some(status) => self.bench.receive(&response(&request, status)),
                    None => self.bench.receive(&request),
                }
            }
            Op::Send { method, branch } => {
                let request = call(METHODS[method], BRANCHES[branch], "call-1", 1);
                let via = SendVia { flow: FLOW, transport: self.bench.transport };
                if let Ok(key) = self.bench.layer.send_request(now, via, request) {
                    self.clients.push(key);
                    assert!(self.alive.insert(TransactionKey::Client(key)), "a key came twice");
                }
            }
            Op::Cancel { which } => {
                if let Some(key) = self.clients.get(which) {
                    self.bench.layer.cancel(now, key, Some("SIP;cause=200"));
                }
            }
            Op::Respond { which, status } => {
                if let Some((key, request)) = self.servers.get(which) {
                    self.bench.layer.respond(now, key, response(request, status));
                }
            }
            Op::Wait { ms } => self.wait(ms),
            Op::FlowFails => self.bench.layer.handle_flow_failed(now, FLOW),
        }
        self.drain();
    }

    fn wait(&mut self, ms: u64) {
        let end = self.bench.now + Duration::from_millis(ms);
        while let Some(at) = self.bench.layer.poll_timeout().filter(|at| *at <= end) {
            self.bench.now = at.max(self.bench.now);
            self.bench.layer.handle_timeout(self.bench.now);
            self.drain();
        }
        self.bench.now = end;
    }

    fn drain(&mut self) {
        for output in self.bench.outputs() {
            match output {
                Output::Request { key: Some(key), message, .. } => {
                    assert_ne!(message.method(), Some(Method::ACK));
                    assert!(self.alive.insert(TransactionKey::Server(key)), "seen twice");
                    self.servers.push((key, message));
                }
                Output::Terminated { key, .. } => {
                    assert!(self.alive.remove(&key), "ended twice, or never begun");
                }
                Output::Response { key, .. }
                | Output::TimedOut { key }
                | Output::FlowFailed { key } => {
                    // TimedOut and FlowFailed come just before Terminated.
                    assert!(self.alive.contains(&TransactionKey::Client(key)), "word of the dead");
                }
                Output::Cancel { invite: key, .. } | Output::Ack { key } => {
                    assert!(self.alive.contains(&TransactionKey::Server(key)), "word of the dead");
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_order_of_events_is_survived(
        reliable in any::<bool>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let transport = if reliable { Transport::Tls } else { Transport::Udp };
        let mut run = Run {
            bench: Bench::new(transport),
            clients: Vec::new(),
            servers: Vec::new(),
            alive: BTreeSet::new(),
        };
        for op in &ops {
            run.act(op);
        }
        for which in 0..run.clients.len() {
            run.act(&Op::Cancel { which });
        }
        // Forgotten INVITEs go after ten minutes, all else within 64*T1 twice.
        run.wait(700_000);
        prop_assert!(run.bench.layer.is_empty(), "{:?}", run.bench.layer);
        prop_assert!(run.alive.is_empty());
        prop_assert_eq!(run.bench.layer.poll_timeout(), None);
    }
}
