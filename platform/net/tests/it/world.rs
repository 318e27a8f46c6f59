//! A server whose cores answer every request and tell the test what they saw.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use net::{
    CloseReason, DialledFlows, Limits, ProvedFlows, Received, ServerTls, ShardContext, ShardCore,
    Shards, ShardsConfig, TlsConfig, Transmit, UdpFlows,
};
use sansio::{Entropy, FlowId, ShardId, Transport, WallTime};
use sip::locate::NextHop;

/// Longer than anything here should ever take.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum Seen {
    Received(ShardId, Received),
    Closed(ShardId, FlowId, CloseReason),
    Note(ShardId, String),
    Drain,
    Timeout(ShardId),
    Flow(Option<FlowId>),
}

#[derive(Debug)]
pub enum Note {
    Transmit(Transmit),
    Close(FlowId),
    /// A note for another shard.
    Tell(ShardId, String),
    Text(String),
    WakeIn(Duration),
    UdpFlow(SocketAddr, SocketAddr),
    Dial(NextHop),
    Alias(NextHop, FlowId),
    Proved(FlowId),
    /// Holds the shard's thread.
    Hold(Duration),
    /// Nothing is under way any more.
    Done,
    /// A bug.
    Panic,
}

/// Answers requests with `200`; everything else comes from notes.
pub struct Echo {
    shard: ShardId,
    udp: UdpFlows,
    dialled: DialledFlows,
    proved: ProvedFlows,
    seen: SyncSender<Seen>,
    out: VecDeque<Transmit>,
    notes: VecDeque<(ShardId, Note)>,
    close: VecDeque<FlowId>,
    wake: Option<Instant>,
    busy: bool,
}

impl ShardCore for Echo {
    type Note = Note;

    fn handle_received(&mut self, _: Instant, _: WallTime, received: Received) {
        if !received.message.starts_with(b"SIP/2.0") {
            self.out.push_back(Transmit::on(received.flow, answer(&received.message)));
        }
        let _ = self.seen.send(Seen::Received(self.shard, received));
    }

    fn handle_flow_closed(&mut self, _: Instant, flow: FlowId, why: CloseReason) {
        let _ = self.seen.send(Seen::Closed(self.shard, flow, why));
    }

    fn handle_note(&mut self, now: Instant, _: WallTime, note: Note) {
        match note {
            Note::Transmit(transmit) => self.out.push_back(transmit),
            Note::Close(flow) => self.close.push_back(flow),
            Note::Tell(shard, text) => self.notes.push_back((shard, Note::Text(text))),
            Note::Text(text) => drop(self.seen.send(Seen::Note(self.shard, text))),
            Note::WakeIn(after) => self.wake = Some(now + after),
            Note::UdpFlow(local, peer) => {
                drop(self.seen.send(Seen::Flow(self.udp.flow(local, peer))));
            }
            Note::Dial(hop) => drop(self.seen.send(Seen::Flow(self.dialled.flow(&hop)))),
            Note::Proved(flow) => {
                let names = self.proved.names(flow).unwrap_or_default();
                drop(self.seen.send(Seen::Note(self.shard, names.join(" "))));
            }
            Note::Alias(hop, flow) => assert!(self.dialled.alias(&hop, flow)),
            Note::Hold(time) => std::thread::sleep(time),
            Note::Done => self.busy = false,
            Note::Panic => panic!("a bug in the core"),
        }
    }

    fn handle_timeout(&mut self, now: Instant, _: WallTime) {
        assert!(self.wake.take().is_some_and(|at| at <= now));
        let _ = self.seen.send(Seen::Timeout(self.shard));
    }

    fn handle_drain(&mut self, _: Instant, _: WallTime) {
        let _ = self.seen.send(Seen::Drain);
    }

    fn is_drained(&self) -> bool {
        !self.busy
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn poll_note(&mut self) -> Option<(ShardId, Note)> {
        self.notes.pop_front()
    }

    fn poll_close(&mut self) -> Option<FlowId> {
        self.close.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.wake
    }
}

/// The shards and what their cores report.
pub struct World {
    pub shards: Shards<Note>,
    seen: Receiver<Seen>,
}

pub fn config(shards: ShardId) -> ShardsConfig {
    let config = ShardsConfig { shards, limits: limits(), ..ShardsConfig::new() };
    config.listen("lo", Transport::Udp, any()).listen("lo", Transport::Tcp, any())
}

pub fn limits() -> Limits {
    Limits { udp_receive_buffer: 1 << 20, ..Limits::default() }
}

pub fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub fn wall() -> WallTime {
    WallTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

impl World {
    pub fn start(config: ShardsConfig) -> Self {
        Self::start_with(config, false)
    }

    /// `busy` cores are drained only when told [`Note::Done`].
    pub fn start_with(config: ShardsConfig, busy: bool) -> Self {
        let (sender, seen) = sync_channel(100_000);
        let sender = Mutex::new(sender);
        let shards = Shards::start(config, move |context: ShardContext<Note>| Echo {
            shard: context.shard,
            udp: context.udp,
            dialled: context.dialled,
            proved: context.proved,
            seen: sender.lock().unwrap().clone(),
            out: VecDeque::new(),
            notes: VecDeque::new(),
            close: VecDeque::new(),
            wake: None,
            busy,
        });
        Self { shards: shards.unwrap(), seen }
    }

    pub fn addr(&self, transport: Transport) -> SocketAddr {
        self.shards.local_addrs().into_iter().find(|(t, _)| *t == transport).unwrap().1
    }

    pub fn note(&self, shard: ShardId, note: Note) {
        self.shards.handle(shard).unwrap().notify(note).unwrap();
    }

    /// The next thing a core saw. Blocks: use where no task of this runtime is needed meanwhile.
    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("a core should have seen something")
    }

    pub fn next_received(&self) -> (ShardId, Received) {
        loop {
            if let Seen::Received(shard, received) = self.next() {
                return (shard, received);
            }
        }
    }

    pub fn next_closed(&self) -> (ShardId, FlowId, CloseReason) {
        loop {
            if let Seen::Closed(shard, flow, why) = self.next() {
                return (shard, flow, why);
            }
        }
    }
}

/// An OPTIONS request with a body of the given size.
pub fn options(branch: &str, body: usize) -> Bytes {
    format!(
        "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nContent-Length: {body}\r\n\r\n{}",
        "x".repeat(body)
    )
    .into()
}

pub fn response(branch: &str) -> Bytes {
    format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nContent-Length: 0\r\n\r\n")
        .into()
}

/// What [`Echo`] answers: the request's Via and body.
pub fn answer(request: &[u8]) -> Bytes {
    let text = std::str::from_utf8(request).unwrap();
    let (_, rest) = text.split_once("\r\n").unwrap();
    format!("SIP/2.0 200 OK\r\n{rest}").into()
}

/// A folder of its own, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!("net-it-{}-{}", std::process::id(), net::OsEntropy.token(8));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority in a fresh folder.
pub fn server_tls(folder: &Folder) -> ServerTls {
    let config = TlsConfig {
        dir: folder.path().join("tls"),
        names: vec!["example.com".to_owned()],
        addrs: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ..TlsConfig::default()
    };
    ServerTls::open(config, wall()).unwrap()
}
