//! The gate and the load of one shard, asked before a message is copied.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sansio::Entropy;
use sip::{Glance, HeaderName, Message};

use super::engine::{Engine, Origin};
use super::udp::UdpPort;
use crate::core::{CloseReason, ShardCore};
use crate::entropy::OsEntropy;
use crate::gate::{Gate, Shed, Sign, Verdict};
use crate::overload::{Fate, Overload};
use crate::stats::Counters;

/// What a shard turns away, and how much of it.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    gate: Gate,
    overload: RefCell<Overload>,
    load: Load,
}

/// The share of new work a shard turns away now, for whoever tells its peers (RFC 7339).
#[derive(Debug, Clone, Default)]
pub struct Load(Rc<Cell<u16>>);

impl Load {
    /// In thousandths: 0 while the shard keeps up.
    pub fn shed_permille(&self) -> u16 {
        self.0.get()
    }
}

/// What to do with a message.
enum Answer {
    Take,
    Refuse(Bytes),
    Drop(Option<Shed>),
}

impl Doorkeeper {
    pub(crate) fn new(gate: Gate, target: Duration, load: Load) -> Self {
        let mut secret = [0; 16];
        OsEntropy.fill(&mut secret);
        Self { gate, overload: Overload::new(target, Instant::now(), secret).into(), load }
    }

    /// Whether a connection may be taken from here.
    pub(crate) fn accepts(&self, ip: IpAddr, counters: &Counters) -> bool {
        match self.gate.accept(Instant::now(), ip) {
            Verdict::Pass => true,
            Verdict::Drop(why) => {
                count(counters, why);
                false
            }
        }
    }

    /// A source behaved as scanners do.
    pub(crate) fn blame(&self, ip: IpAddr, sign: Sign) {
        self.gate.blame(Instant::now(), ip, sign);
    }

    /// So many datagrams were taken from the kernel.
    pub(crate) fn note(&self, taken: usize) {
        self.overload.borrow_mut().note(taken);
    }

    /// For loopback, or an exempt source, while the shard keeps up: two branches.
    fn answer(&self, peer: SocketAddr, message: &[u8]) -> Answer {
        let is_exempt = self.gate.exempts(peer.ip());
        let is_shedding = self.load.0.get() > 0;
        if is_exempt && !is_shedding {
            return Answer::Take;
        }
        let now = Instant::now();
        if !is_exempt {
            let user_agent = || Glance::of(message).user_agent;
            if let Verdict::Drop(why) = self.gate.admit(now, peer, user_agent) {
                return Answer::Drop(Some(why));
            }
        }
        if !is_shedding {
            return Answer::Take;
        }
        let is_known = !is_exempt && self.gate.is_proven(now, peer);
        match self.overload.borrow_mut().fate(&Glance::of(message), is_known) {
            Fate::Take => Answer::Take,
            Fate::Discard => Answer::Drop(None),
            Fate::Refuse { seconds, tag } => refusal(message, peer, (seconds, tag)),
        }
    }
}

impl<C: ShardCore> Engine<C> {
    /// When it should be weighed again.
    pub(crate) fn next_weighing(&self) -> Duration {
        self.doorkeeper.overload.borrow().next_step()
    }

    /// Looks at the load; `lag` is how long the caller waited for its turn.
    pub(crate) fn weigh(&self, lag: Duration) {
        let queued = self.ports.iter().flatten().map(UdpPort::waiting).sum();
        let mut overload = self.doorkeeper.overload.borrow_mut();
        overload.step(Instant::now(), queued, lag);
        // Rounded up: 0 means none at all.
        self.doorkeeper.load.0.set((overload.shed_share() * 1000.0).ceil() as u16);
    }

    /// Whether a datagram's message is to be taken in. One that is not was answered if need be.
    pub(crate) fn admits(&self, listener: usize, peer: SocketAddr, message: &[u8]) -> bool {
        match self.doorkeeper.answer(peer, message) {
            Answer::Take => return true,
            Answer::Refuse(response) => {
                self.counters.shed_refused.add(1);
                self.send_datagram(listener, peer, response);
            }
            Answer::Drop(Some(why)) => count(&self.counters, why),
            Answer::Drop(None) => self.counters.shed_discarded.add(1),
        }
        false
    }

    /// The same for a stream, by whose queue the answer goes. A stranger that floods, or was banned
    /// meanwhile, is cut off.
    pub(crate) fn admits_on_stream(
        &self,
        origin: &Origin,
        message: &[u8],
        send: impl FnOnce(Bytes) -> bool,
    ) -> Result<bool, CloseReason> {
        match self.doorkeeper.answer(origin.peer, message) {
            Answer::Take => return Ok(true),
            Answer::Refuse(response) => {
                self.counters.shed_refused.add(1);
                if !send(response) {
                    return Err(CloseReason::SlowReader);
                }
            }
            Answer::Drop(Some(why)) => {
                count(&self.counters, why);
                return Err(CloseReason::Unwelcome);
            }
            Answer::Drop(None) => self.counters.shed_discarded.add(1),
        }
        Ok(false)
    }

    /// Remembers how a connection ended that broke a limit.
    pub(crate) fn note_end(&self, peer: IpAddr, why: CloseReason) {
        match why {
            CloseReason::Framing | CloseReason::TooLarge => {
                self.doorkeeper.blame(peer, Sign::Malformed);
            }
            CloseReason::Dribble => self.doorkeeper.blame(peer, Sign::Handshake),
            _ => {}
        }
    }
}

/// A 503 made from the request alone; what cannot be read gets none.
fn refusal(message: &[u8], peer: SocketAddr, (seconds, tag): (u64, u64)) -> Answer {
    let Ok(request) = Message::parse(Bytes::copy_from_slice(message)) else {
        return Answer::Drop(None);
    };
    let request = sip::proxy::forward::received_from(&request, peer);
    let response = sip::response_to(&request, 503, "Server Overloaded")
        .to_tag(&format!("{tag:016x}"))
        .header(HeaderName::RETRY_AFTER, seconds.to_string());
    Answer::Refuse(response.build().bytes().clone())
}

fn count(counters: &Counters, why: Shed) {
    match why {
        Shed::Banned => counters.shed_banned.add(1),
        Shed::Source => counters.shed_source.add(1),
        Shed::Prefix => counters.shed_prefix.add(1),
        Shed::Scanner => counters.shed_scanner.add(1),
    }
}
