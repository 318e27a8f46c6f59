//! A server of four small cores: flows, shards, framing, responses that cross over.

use std::time::Duration;

use super::*;
use crate::{Datagrams, Link, Net};

/// Answers every request on its flow, and remembers everything.
#[derive(Default)]
struct Answerer {
    received: Vec<Received>,
    closed: Vec<CloseReason>,
    notes: Vec<&'static str>,
    outgoing: VecDeque<net::Transmit>,
    to_others: VecDeque<(ShardId, &'static str)>,
    deadline: Option<Instant>,
}

impl ShardCore for Answerer {
    type Note = &'static str;

    fn handle_received(&mut self, now: Instant, _wall: WallTime, received: Received) {
        if received.message.starts_with(b"OPTIONS") {
            let text = String::from_utf8_lossy(&received.message);
            let via = text.lines().find(|l| l.starts_with("Via")).unwrap_or_default();
            let answer = format!("SIP/2.0 200 OK\r\n{via}\r\nContent-Length: 0\r\n\r\n");
            self.outgoing.push_back(net::Transmit::on(received.flow, answer.into()));
            self.to_others.push_back((3, "seen"));
            self.deadline = Some(now + Duration::from_secs(5));
        }
        self.received.push(received);
    }

    fn handle_flow_closed(&mut self, _now: Instant, _flow: FlowId, why: CloseReason) {
        self.closed.push(why);
    }

    fn handle_note(&mut self, _now: Instant, _wall: WallTime, note: &'static str) {
        self.notes.push(note);
    }

    fn handle_timeout(&mut self, _now: Instant, _wall: WallTime) {
        self.notes.push("timeout");
        self.deadline = None;
    }

    fn poll_transmit(&mut self) -> Option<net::Transmit> {
        self.outgoing.pop_front()
    }

    fn poll_note(&mut self) -> Option<(ShardId, &'static str)> {
        self.to_others.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.deadline
    }
}

const SERVER: &str = "198.51.100.1";

fn options(branch: &str) -> Vec<u8> {
    let via = format!("Via: SIP/2.0/UDP 10.0.0.1;branch={branch}");
    format!("OPTIONS sip:x SIP/2.0\r\n{via}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n").into()
}

fn ports() -> (SocketAddr, SocketAddr) {
    ("10.0.0.1:5060".parse().unwrap(), "198.51.100.1:5060".parse().unwrap())
}

type Hosts = (Net, crate::HostId<Datagrams>, crate::HostId<Server<Answerer>>);

fn world() -> Hosts {
    let mut net = Net::new(1);
    let phone = net.add_host("phone", "10.0.0.1", Link::lan(), Datagrams::silent());
    let server = Server::new(SERVER, 4, |_| Answerer::default());
    let server = net.add_host("server", SERVER, Link::lan(), server);
    (net, phone, server)
}

#[test]
fn a_request_is_answered_and_each_new_peer_goes_to_the_next_shard() {
    let (mut net, phone, server) = world();
    let (_, to) = ports();
    for port in [5060, 5062, 5064, 5066, 5060] {
        let from = SocketAddr::new("10.0.0.1".parse().unwrap(), port);
        net.with(phone, |n, _, _| n.send(from, to, &options("z9hG4bKx")));
    }
    net.run_for(Duration::from_secs(1));
    assert_eq!(net.node(phone).received.len(), 5);
    let per_shard = |shard| net.node(server).core(shard).received.len();
    assert_eq!([0, 1, 2, 3].map(per_shard), [2, 1, 1, 1]);
    assert_eq!(net.node(server).flows(), 4);
    assert_eq!(net.node(server).core(3).notes.len(), 5, "notes reach the shard they name");
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.node(server).core(0).notes, ["timeout"]);
}

#[test]
fn a_response_goes_to_the_shard_that_asked() {
    let (mut net, phone, server) = world();
    let (from, to) = ports();
    let branch = net::branch_prefix(0, 2) + "abc";
    let response = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {SERVER};branch={branch}\r\nFrom: <sip:a@x>;tag=1\r\n\
         To: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    net.with(phone, |n, _, _| n.send(from, to, response.as_bytes()));
    net.with(phone, |n, _, _| n.send(from, to, b"\r\n\r\n"));
    net.run_for(Duration::from_secs(1));
    assert_eq!(net.node(server).core(2).received.len(), 1);
    assert_eq!(net.node(server).core(0).received.len(), 0, "keep-alives are not messages");
}

#[test]
fn messages_are_cut_out_of_a_stream_and_its_end_is_told() {
    let (mut net, phone, server) = world();
    let (from, to) = ("10.0.0.1:40000".parse().unwrap(), "198.51.100.1:5061".parse().unwrap());
    let mut bytes = b"\r\n\r\n".to_vec();
    for _ in 0..10 {
        bytes.extend(options("z9hG4bKx"));
    }
    net.with(phone, |n, _, _| {
        n.transmit(Transmit::Connect { from, to });
        n.transmit(Transmit::Send { from, to, bytes: bytes.into() });
    });
    net.run_for(Duration::from_secs(2));
    let core = net.node(server).core(0);
    assert_eq!(core.received.len(), 10);
    assert_eq!(core.received[0].transport, Transport::Tls);
    net.with(phone, |n, _, _| n.transmit(Transmit::Close { from, to }));
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.node(server).core(0).closed, [CloseReason::PeerClosed]);
    assert_eq!(net.node(server).flows(), 0);
}
