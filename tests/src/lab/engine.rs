//! The laboratory at work: packets of real hosts through simnet's network, in real time.
//!
//! ```text
//!   reader of each TUN ─┐                        ┌─► TUN of whom it reaches
//!   standard input ─────┴─► Engine ─► simnet::Net ┴─► log, a line for each packet sent and received
//! ```

use super::packet::{self, Packet};
use super::tun;
use super::words::{self, Word};
use bytes::Bytes;
use simnet::{Arrival, Cable, HostId, Link, NatId, Net};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Packets and words that may wait.
const QUEUE: usize = 4_096;
/// The longest packet a device gives.
const PACKET_MAX: usize = 65_536;
/// How long it sleeps where nothing is to come.
const IDLE: Duration = Duration::from_secs(1);

/// Something from outside.
enum Input {
    Packet {
        tun: usize,
        bytes: Vec<u8>,
    },
    Word(String),
    /// Whoever tells us what to do is gone.
    Over,
}

struct Host {
    name: String,
    id: HostId<Cable>,
    tun: usize,
    address: IpAddr,
    via64: bool,
}

struct Engine {
    net: Net,
    began: Instant,
    hosts: Vec<Host>,
    nats: BTreeMap<String, NatId>,
    tuns: Vec<File>,
    inputs: SyncSender<Input>,
    log: BufWriter<File>,
}

/// Reads words from the standard input until it ends, answering each with a line, `ok` or `error:`
/// and why. Chance follows `seed`; what it sees goes to `log`, a JSON object a line.
///
/// # Errors
/// The log or the answers cannot be written.
pub fn run(seed: u64, log: &Path) -> std::io::Result<()> {
    let (inputs, from) = sync_channel(QUEUE);
    let words = inputs.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if words.send(Input::Word(line)).is_err() {
                return;
            }
        }
        // The engine may be gone already.
        let _ = words.send(Input::Over);
    });
    let log = BufWriter::new(File::create(log)?);
    let mut engine = Engine {
        net: Net::new(seed),
        began: Instant::now(),
        hosts: Vec::new(),
        nats: BTreeMap::new(),
        tuns: Vec::new(),
        inputs,
        log,
    };
    engine.work(&from)
}

impl Engine {
    fn work(&mut self, from: &Receiver<Input>) -> std::io::Result<()> {
        loop {
            let wait = self.net.next_at().map_or(IDLE, |at| at.saturating_sub(self.elapsed()));
            let mut next = match from.recv_timeout(wait.min(IDLE)) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            // What is due comes before what is new.
            self.advance()?;
            while let Some(input) = next {
                match input {
                    Input::Packet { tun, bytes } => self.take(tun, &bytes)?,
                    Input::Word(line) => self.obey(&line)?,
                    Input::Over => return self.log.flush(),
                }
                next = from.try_recv().ok();
            }
            self.advance()?;
        }
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A host sent something.
    fn take(&mut self, tun: usize, bytes: &[u8]) -> std::io::Result<()> {
        let Some(packet) = packet::parse(bytes) else { return Ok(()) };
        let of = |host: &&Host| host.tun == tun && host.address == packet.from.ip();
        let Some(host) = self.hosts.iter().find(of) else { return Ok(()) };
        let Packet { from, to, datagram, .. } = packet;
        let to = if host.via64 { out_of_64(to) } else { to };
        note(&mut self.log, (self.began.elapsed(), &host.name, "sent"), &packet)?;
        let arrival = Arrival { from, to, datagram, bytes: Bytes::copy_from_slice(packet.bytes) };
        self.net.with(host.id, |node, _, _| node.send(arrival));
        Ok(())
    }

    /// Lets time pass, and hands out what has arrived.
    fn advance(&mut self) -> std::io::Result<()> {
        self.net.run_to(self.elapsed());
        for host in &self.hosts {
            while let Some(arrival) = self.net.with(host.id, |node, _, _| node.poll_arrival()) {
                let Arrival { from, to, datagram, bytes } = arrival;
                let from = if host.via64 { into_64(from) } else { from };
                let packet = Packet { from, to, datagram, bytes: &bytes };
                note(&mut self.log, (self.began.elapsed(), &host.name, "received"), &packet)?;
                let Some(bytes) = packet::write(&packet) else { continue };
                // A device that is down or gone receives nothing.
                let _ = self.tuns[host.tun].write(&bytes);
            }
        }
        Ok(())
    }

    fn obey(&mut self, line: &str) -> std::io::Result<()> {
        let done = words::parse(line).and_then(|word| self.follow(word));
        self.log.flush()?;
        let mut out = std::io::stdout().lock();
        match done {
            Ok(()) => writeln!(out, "ok")?,
            Err(error) => writeln!(out, "error: {error}")?,
        }
        out.flush()
    }

    fn follow(&mut self, word: Word) -> Result<(), String> {
        match word {
            Word::Flush => {}
            Word::Forget { name } => self.net.reset_nat(self.nat(&name)?),
            Word::Nat { name, address, config, behind } => {
                let (address, link) = (address.to_string(), Link::lan());
                let nat = match behind {
                    Some(outer) => {
                        let outer = self.nat(&outer)?;
                        self.net.add_nat_behind(outer, &address, link, config)
                    }
                    None => self.net.add_nat(&address, link, config),
                };
                self.nats.insert(name, nat);
            }
            Word::Host { name, addresses, behind, via64, room } => {
                return self.connect(&name, &addresses, (behind.as_deref(), via64), room);
            }
            Word::Link { name, link } => match self.nats.get(&name) {
                Some(nat) => self.net.set_nat_link(*nat, link),
                None => {
                    for id in self.ids(&name)? {
                        self.net.set_link(id, link.clone());
                    }
                }
            },
            Word::Block { name, blocked } => {
                for id in self.ids(&name)? {
                    self.net.block_ranges(id, blocked.clone());
                }
            }
        }
        Ok(())
    }

    fn connect(
        &mut self,
        name: &str,
        addresses: &[IpAddr],
        (behind, via64): (Option<&str>, bool),
        room: Option<u32>,
    ) -> Result<(), String> {
        let behind = behind.map(|nat| self.nat(nat)).transpose()?;
        let tun = self.tuns.len();
        let device = format!("lab{tun}");
        let file = tun::open(&device, addresses, room).map_err(|e| format!("host {name}: {e}"))?;
        let reader = file.try_clone().map_err(|e| format!("host {name}: {e}"))?;
        read(reader, tun, self.inputs.clone());
        self.tuns.push(file);
        for address in addresses {
            let (text, cable) = (address.to_string(), Cable::default());
            let id = match behind {
                Some(nat) => self.net.add_host_behind(nat, name, &text, Link::lan(), cable),
                None => self.net.add_host(name, &text, Link::lan(), cable),
            };
            self.hosts.push(Host { name: name.into(), id, tun, address: *address, via64 });
        }
        Ok(())
    }

    fn nat(&self, name: &str) -> Result<NatId, String> {
        self.nats.get(name).copied().ok_or_else(|| format!("`{name}`: no such translator"))
    }

    fn ids(&self, name: &str) -> Result<Vec<HostId<Cable>>, String> {
        let ids: Vec<_> = self.hosts.iter().filter(|h| h.name == name).map(|h| h.id).collect();
        if ids.is_empty() { Err(format!("`{name}`: no such host or translator")) } else { Ok(ids) }
    }
}

/// The well-known prefix of RFC 6052 §2.1, of 96 bits.
const PREFIX: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

/// Whom an address of the prefix means. Others stay, and lead nowhere.
fn out_of_64(to: SocketAddr) -> SocketAddr {
    let IpAddr::V6(ip) = to.ip() else { return to };
    match ip.octets() {
        [prefix @ .., a, b, c, d] if prefix == PREFIX => {
            SocketAddr::from(([a, b, c, d], to.port()))
        }
        _ => to,
    }
}

fn into_64(from: SocketAddr) -> SocketAddr {
    let IpAddr::V4(ip) = from.ip() else { return from };
    let mut octets = [0; 16];
    octets[..12].copy_from_slice(&PREFIX);
    octets[12..].copy_from_slice(&ip.octets());
    SocketAddr::from((octets, from.port()))
}

/// Reads a device until it is gone.
fn read(mut file: File, tun: usize, to: SyncSender<Input>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; PACKET_MAX];
        while let Ok(n) = file.read(&mut buffer) {
            let bytes = buffer[..n].to_vec();
            if to.send(Input::Packet { tun, bytes }).is_err() {
                return;
            }
        }
    });
}

fn note(
    log: &mut impl Write,
    (at, host, what): (Duration, &str, &str),
    packet: &Packet<'_>,
) -> std::io::Result<()> {
    let Packet { from, to, datagram, bytes } = packet;
    let transport = if *datagram { "udp" } else { "tcp" };
    let kind = if *datagram { packet::kind(bytes) } else { "segment".into() };
    let both = |address: &SocketAddr| address.to_string();
    let line = serde_json::json!({
        "at_us": u64::try_from(at.as_micros()).unwrap_or(u64::MAX), "host": host, "what": what,
        "transport": transport, "from": both(from), "to": both(to), "kind": kind,
        "length": bytes.len(),
    });
    writeln!(log, "{line}")
}
