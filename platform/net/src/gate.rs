//! Who is listened to: decided before a datagram is copied or a connection taken
//! (docs/design/0036).
//!
//! ```text
//!   loopback, exempt ───────────────────────────────────────────────► pass
//!   peer (address and port) that authenticated: its own wide bucket ─► pass
//!   stranger: source banned? ─ source's bucket ─ prefix's bucket ─ scanner's signature? ─► pass
//! ```
//!
//! Signs of a scanner add up to a score per source that fades; at [`GatePolicy::ban_score`] the
//! source is banned, each time for twice as long. What peers that authenticated send passes a ban:
//! good users behind one NAT with a bad one keep their service.
//!
//! A [`Gate`] is shared by all shards. Its memory is fixed, its tables are keyed, it takes no lock
//! for a message; a lock is taken where a ban begins or is listed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sansio::{Entropy, KeyedHasher, Table};

mod bans;
mod bucket;
mod score;

pub use bans::Ban;
use bans::Bans;
use bucket::Bucket;
pub use score::Sign;
use score::{Conduct, names_bit};

/// Sources remembered.
const SOURCES_MAX: usize = 1 << 14;
/// Prefixes remembered.
const PREFIXES_MAX: usize = 1 << 14;
/// Peers remembered that authenticated.
const PROVEN_MAX: usize = 1 << 18;
/// How long a peer that authenticated is good for without doing so again.
const PROVEN_FOR_MS: u64 = 2 * 3600 * 1000;
/// How long a source counts as shared with good users.
const SHARED_FOR_MS: u64 = 24 * 3600 * 1000;
/// Of the signs of a source it shares with good users, the part that counts.
const SHARED_PART: f32 = 0.25;

/// What a [`Gate`] goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct GatePolicy {
    /// Whether limits by source hold for loopback addresses, too.
    pub limit_loopback: bool,
    /// Networks that are never limited or banned: address and prefix length.
    pub exempt: Vec<(IpAddr, u8)>,
    /// Messages a second, and at once, of one stranger (IPv4 address, IPv6 /64). 0: no limit.
    pub source: (u32, u32),
    /// The same of one network (IPv4 /24, IPv6 /56).
    pub prefix: (u32, u32),
    /// The same of one peer that authenticated.
    pub proven: (u32, u32),
    /// User agents (prefixes, without regard to case) that are scanners.
    pub scanners: Vec<String>,
    /// The score at which a source is banned.
    pub ban_score: f32,
    /// How long until half of a score is forgotten.
    pub half_life: Duration,
    /// The first ban of a source; each further one is twice as long.
    pub ban: Duration,
    /// The longest.
    pub ban_max: Duration,
}

/// What becomes of a message or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may come in.
    Pass,
    /// It is dropped.
    Drop(Shed),
}

/// Why something was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// The source is banned.
    Banned,
    /// The source sends too much.
    Source,
    /// The network sends too much.
    Prefix,
    /// It says itself that it is a scanner.
    Scanner,
}

/// Sources, prefixes and peers with their conduct. Clones share it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: GatePolicy,
    /// Nothing is limited at all.
    open: bool,
    began: Instant,
    hasher: KeyedHasher,
    sources: Table<5>,
    prefixes: Table<1>,
    proven: Table<2>,
    bans: Bans,
}

/// The cells of a source.
const BUCKET: usize = 0;
const CONDUCT: usize = 1;
const BANNED_UNTIL: usize = 2;
const NAMES: usize = 3;
const SHARED_AT: usize = 4;

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            limit_loopback: false,
            exempt: Vec::new(),
            source: (100, 500),
            prefix: (400, 2_000),
            proven: (10_000, 20_000),
            scanners: SCANNERS.map(String::from).to_vec(),
            ban_score: 100.0,
            half_life: Duration::from_secs(300),
            ban: Duration::from_secs(60),
            ban_max: Duration::from_secs(3600),
        }
    }
}

/// Tools that sweep the Internet, by the User-Agent they come with.
pub const SCANNERS: [&str; 11] = [
    "friendly-scanner",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sipscan",
    "sundayddr",
    "VaxSIPUserAgent",
    "VaxIPUserAgent",
    "iWar",
    "pplsip",
    "SIVuS",
];

impl Gate {
    /// A gate by a policy.
    pub fn new(policy: GatePolicy, now: Instant, entropy: &mut dyn Entropy) -> Self {
        let mut secret = [0; 16];
        entropy.fill(&mut secret);
        Self(Arc::new(Inner {
            policy,
            open: false,
            began: now,
            hasher: KeyedHasher::new(secret),
            sources: Table::new(SOURCES_MAX),
            prefixes: Table::new(PREFIXES_MAX),
            proven: Table::new(PROVEN_MAX),
            bans: Bans::default(),
        }))
    }

    /// A gate that lets everything in.
    pub fn open(now: Instant) -> Self {
        Self(Arc::new(Inner {
            policy: GatePolicy::default(),
            open: true,
            began: now,
            hasher: KeyedHasher::new([0; 16]),
            sources: Table::new(1),
            prefixes: Table::new(1),
            proven: Table::new(1),
            bans: Bans::default(),
        }))
    }

    /// Whether an address is never limited: one branch for loopback.
    pub fn exempts(&self, ip: IpAddr) -> bool {
        let inner = &*self.0;
        if inner.open || (!inner.policy.limit_loopback && is_loopback(ip)) {
            return true;
        }
        let covers = |(network, bits): &(IpAddr, u8)| is_within(ip, *network, *bits);
        !inner.policy.exempt.is_empty() && inner.policy.exempt.iter().any(covers)
    }

    /// Whether a message that is not exempt may come in. `user_agent` is asked only of strangers.
    pub fn admit<'m>(
        &self,
        now: Instant,
        peer: SocketAddr,
        user_agent: impl FnOnce() -> &'m [u8],
    ) -> Verdict {
        let now = self.ms(now);
        let inner = &*self.0;
        if let Some(cells) = inner.proven.get(self.peer_key(peer))
            && now.saturating_sub(cells[0].load(Relaxed)) < PROVEN_FOR_MS
        {
            return match Bucket(&cells[1]).take(now, inner.policy.proven) {
                true => Verdict::Pass,
                false => Verdict::Drop(Shed::Source),
            };
        }
        let ip = peer.ip().to_canonical();
        let source = self.source(now, ip);
        if source[BANNED_UNTIL].load(Relaxed) > now {
            return Verdict::Drop(Shed::Banned);
        }
        if !Bucket(&source[BUCKET]).take(now, inner.policy.source) {
            self.blame_at(now, ip, Sign::Flood);
            return Verdict::Drop(Shed::Source);
        }
        let prefix = inner.hasher.word(2).word(prefix_of(ip)).finish();
        let prefix = inner.prefixes.claim(prefix, |cells| cells[0].load(Relaxed));
        if !Bucket(&prefix[0]).take(now, inner.policy.prefix) {
            return Verdict::Drop(Shed::Prefix);
        }
        if self.is_scanner(user_agent()) {
            self.blame_at(now, ip, Sign::Scanner);
            return Verdict::Drop(Shed::Scanner);
        }
        Verdict::Pass
    }

    /// Whether a connection may be taken. From a banned source only where good users are, too: a
    /// handshake cannot be forged, and limits on guessing hold for what comes by it.
    pub fn accept(&self, now: Instant, ip: IpAddr) -> Verdict {
        if self.exempts(ip) {
            return Verdict::Pass;
        }
        let (now, ip) = (self.ms(now), ip.to_canonical());
        let source = self.source(now, ip);
        if source[BANNED_UNTIL].load(Relaxed) > now && !is_shared(source, now) {
            return Verdict::Drop(Shed::Banned);
        }
        if !Bucket(&source[BUCKET]).take(now, self.0.policy.source) {
            self.blame_at(now, ip, Sign::Flood);
            return Verdict::Drop(Shed::Source);
        }
        Verdict::Pass
    }

    /// Whether a peer authenticated lately.
    pub fn is_proven(&self, now: Instant, peer: SocketAddr) -> bool {
        let cells = self.0.proven.get(self.peer_key(peer));
        let now = self.ms(now);
        cells.is_some_and(|c| now.saturating_sub(c[0].load(Relaxed)) < PROVEN_FOR_MS)
    }

    /// A peer authenticated.
    pub fn prove(&self, now: Instant, peer: SocketAddr) {
        if self.exempts(peer.ip()) {
            return;
        }
        let now = self.ms(now);
        let oldest = |cells: &[AtomicU64; 2]| cells[0].load(Relaxed);
        self.0.proven.claim(self.peer_key(peer), oldest)[0].store(now, Relaxed);
        self.source(now, peer.ip().to_canonical())[SHARED_AT].store(now, Relaxed);
    }

    /// A source showed a sign of being a scanner. The ban it got for it, if it got one.
    pub fn blame(&self, now: Instant, ip: IpAddr, sign: Sign) -> Option<Ban> {
        match self.exempts(ip) {
            true => None,
            false => self.blame_at(self.ms(now), ip.to_canonical(), sign),
        }
    }

    /// The bans in force.
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        self.0.bans.list(self.ms(now))
    }

    /// Goes on with a ban of before a restart, for what is left of it. The policy of today may
    /// exempt the source, and bounds the time.
    pub fn resume(&self, now: Instant, ban: Ban) {
        if self.exempts(ban.source) || ban.left.is_zero() {
            return;
        }
        let (now, source) = (self.ms(now), ban.source.to_canonical());
        let ban = Ban { source, left: ban.left.min(self.0.policy.ban_max), ..ban };
        let until_ms = self.0.bans.resume(now, ban);
        self.source(now, source)[BANNED_UNTIL].store(until_ms, Relaxed);
    }

    /// The next ban that began and was not told yet.
    pub fn poll_begun(&self) -> Option<Ban> {
        self.0.bans.poll_begun()
    }

    /// Lifts a ban and forgets what led to it; whether there was one.
    pub fn lift(&self, now: Instant, ip: IpAddr) -> bool {
        let (now, ip) = (self.ms(now), ip.to_canonical());
        let source = self.source(now, ip);
        for cell in [BUCKET, CONDUCT, NAMES] {
            source[cell].store(0, Relaxed);
        }
        let was_banned = source[BANNED_UNTIL].swap(0, Relaxed) > now;
        self.0.bans.remove(now, ip) || was_banned
    }

    fn blame_at(&self, now: u64, ip: IpAddr, sign: Sign) -> Option<Ban> {
        let policy = &self.0.policy;
        let source = self.source(now, ip);
        if source[BANNED_UNTIL].load(Relaxed) > now {
            return None;
        }
        let bit = sign.name().map_or(0, names_bit);
        let is_new = source[NAMES].fetch_or(bit, Relaxed) & bit == 0;
        let part = if is_shared(source, now) { SHARED_PART } else { 1.0 };
        let points = sign.points(is_new) * part;
        let conduct = Conduct(&source[CONDUCT]);
        if conduct.add(now, points, policy.half_life) < policy.ban_score {
            return None;
        }
        conduct.clear();
        source[NAMES].store(0, Relaxed);
        let ban = self.0.bans.begin(now, ip, sign, (policy.ban, policy.ban_max));
        source[BANNED_UNTIL].store(ban.until_ms, Relaxed);
        tracing::info!(source = %ip, sign = sign.word(), seconds = ban.left.as_secs(), "banned");
        Some(ban)
    }

    fn source(&self, now: u64, ip: IpAddr) -> &[AtomicU64; 5] {
        let key = self.0.hasher.word(1).word(source_of(ip)).finish();
        self.0.sources.claim(key, |cells| {
            let banned = u64::from(cells[BANNED_UNTIL].load(Relaxed) > now) << 63;
            let suspect = u64::from(Conduct(&cells[CONDUCT]).is_suspect()) << 62;
            banned | suspect | cells[BUCKET].load(Relaxed) >> 2
        })
    }

    fn peer_key(&self, peer: SocketAddr) -> u64 {
        let bits = address_bits(peer.ip());
        let hasher = self.0.hasher.word(u64::from(peer.port()) << 8 | 3);
        hasher.word(bits as u64).word((bits >> 64) as u64).finish()
    }

    fn is_scanner(&self, user_agent: &[u8]) -> bool {
        !user_agent.is_empty()
            && self.0.policy.scanners.iter().any(|scanner| {
                let head = user_agent.get(..scanner.len());
                head.is_some_and(|head| head.eq_ignore_ascii_case(scanner.as_bytes()))
            })
    }

    fn ms(&self, now: Instant) -> u64 {
        // Never 0, which stands for "never".
        let passed = now.saturating_duration_since(self.0.began).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX / 2) + 1
    }
}

fn is_shared(source: &[AtomicU64; 5], now: u64) -> bool {
    let at = source[SHARED_AT].load(Relaxed);
    at != 0 && now.saturating_sub(at) < SHARED_FOR_MS
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(_) => ip.to_canonical().is_loopback(),
    }
}

fn address_bits(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        // Where no IPv6 address is routed from.
        IpAddr::V4(v4) => u128::from(v4.to_bits()) | 0xffff << 32,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// An IPv4 address, or the /64 of an IPv6 one.
fn source_of(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 | 1 << 63,
    }
}

/// The /24 of an IPv4 address, or the /56 of an IPv6 one.
pub(crate) fn prefix_of(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8),
        IpAddr::V6(v6) => (v6.to_bits() >> 72) as u64 | 1 << 63,
    }
}

fn is_within(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (ip.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (ip.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            (ip.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
