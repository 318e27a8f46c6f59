//! How many wrong passwords are even looked at (docs/design/0035).
//!
//! ```text
//!   credentials ─► device that authenticated before? ─► its own budget
//!                  source that authenticated before? ─► its own budget
//!                  a device registered there?         ─► its own budget
//!                  a stranger                         ─► account, account x prefix, source, prefix,
//!                                                        tenant: every one of them must allow it
//! ```
//!
//! What strangers do never touches the budget of a device or source that is known, so nobody is
//! locked out of an account by those who guess at it. A stranger's try is charged before it is
//! looked at and given back if it was right, so that shards that race cannot look at more.
//!
//! An account that does not exist is limited as one that does. All cores of a server share one
//! [`Attempts`].

mod strikes;

use crate::config::ConfigError;
use aws_lc_rs::hmac;
use sansio::{KeyedHasher, Redacted, Table, WallTime};
use serde::Deserialize;
use sip::digest::Algorithm;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
pub(crate) use strikes::PER_HOUR_MAX;
use strikes::{Rule, Strikes};

/// Strikes remembered, of all scopes.
const STRUCK_MAX: usize = 1 << 17;
/// Sources and devices remembered that authenticated.
const KNOWN_MAX: usize = 1 << 18;
/// How long a source or device is known after it authenticated last.
const KNOWN_FOR_S: u64 = 30 * 24 * 3600;
/// What is known is written down again when it is older than this.
const REFRESH_S: u64 = 600;
/// Of the strangers' budget of an account, the part one prefix may take.
const PREFIX_SHARE: u32 = 2;

/// `[edge.guesses]`: how many wrong passwords an hour are looked at. Beyond, 503 with Retry-After,
/// whether or not the user exists. Each limit grows from no delay to even spacing.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Guesses {
    /// At one account, by sources and devices that never authenticated as it, all together.
    pub per_account_h: u32,
    /// At one account, by each source or device that has.
    pub per_known_h: u32,
    /// By one source (an IPv4 address, an IPv6 /64), at all accounts.
    pub per_source_h: u32,
    /// By one prefix (IPv4 /24, IPv6 /56).
    pub per_prefix_h: u32,
    /// At all accounts of one tenant.
    pub per_tenant_h: u32,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            per_account_h: 30,
            per_known_h: 60,
            per_source_h: 60,
            per_prefix_h: 240,
            per_tenant_h: 3_600,
        }
    }
}

impl Guesses {
    /// Checks every field.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let fields = [
            ("per_account_h", self.per_account_h),
            ("per_known_h", self.per_known_h),
            ("per_source_h", self.per_source_h),
            ("per_prefix_h", self.per_prefix_h),
            ("per_tenant_h", self.per_tenant_h),
        ];
        let bad = fields.into_iter().find(|(_, value)| !(2..=PER_HOUR_MAX).contains(value));
        bad.map_or(Ok(()), |(field, value)| Err(ConfigError::GuessLimit { field, value }))
    }
}

/// The budgets of every account, source and tenant, shared by all shards.
#[derive(Debug, Clone)]
pub struct Attempts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hasher: KeyedHasher,
    account: Rule,
    account_by_prefix: Rule,
    known: Rule,
    source: Rule,
    prefix: Rule,
    tenant: Rule,
    counts_loopback: bool,
    struck: Table<1>,
    familiar: Table<1>,
}

/// An account, whether or not it exists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    own: KeyedHasher,
    tenant: KeyedHasher,
}

/// A try to be somebody.
#[derive(Clone, Copy)]
pub(crate) struct Try<'a> {
    pub(crate) account: Account,
    pub(crate) source: SocketAddr,
    /// What the device is known by: its instance, or the Call-ID of its registrations. Not asked
    /// for while the source is known and nothing is new.
    pub(crate) device: &'a dyn Fn() -> Option<&'a [u8]>,
}

/// A try that may be looked at: tell [`Attempts::right`] or [`Attempts::wrong`].
#[derive(Debug)]
pub(crate) struct Permit {
    /// A known device or source: struck when it was wrong.
    known: Option<u64>,
    /// A stranger's strikes, to be taken back when it was right.
    charged: [(u64, (u64, u64)); 5],
    count: usize,
}

/// What told sources and devices apart.
#[derive(Clone, Copy)]
enum Scope {
    Account = 1,
    AccountPrefix,
    Source,
    Prefix,
    Tenant,
    KnownSource,
    KnownDevice,
}

impl Attempts {
    /// Budgets as configured; the secret keeps strangers from choosing who shares a cell.
    pub fn new(config: &Guesses, counts_loopback: bool, secret: &Redacted<[u8; 32]>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
        let mut seed = [0; 16];
        seed.copy_from_slice(&hmac::sign(&key, b"edge attempts").as_ref()[..16]);
        Self(Arc::new(Shared {
            hasher: KeyedHasher::new(seed),
            account: Rule::per_hour(config.per_account_h),
            account_by_prefix: Rule::per_hour(config.per_account_h / PREFIX_SHARE),
            known: Rule::per_hour(config.per_known_h),
            source: Rule::per_hour(config.per_source_h),
            prefix: Rule::per_hour(config.per_prefix_h),
            tenant: Rule::per_hour(config.per_tenant_h),
            counts_loopback,
            struck: Table::new(STRUCK_MAX),
            familiar: Table::new(KNOWN_MAX),
        }))
    }

    /// An account of a tenant.
    pub(crate) fn account(&self, realm: &str, user: &str) -> Account {
        let tenant = self.0.hasher.bytes(realm.as_bytes());
        Account { own: tenant.bytes(user.as_bytes()), tenant }
    }

    /// Whether a try may be looked at; otherwise how long to wait. `is_registered` tells whether a
    /// device of the account is registered at the source; asked only of strangers.
    pub(crate) fn permit(
        &self,
        at: WallTime,
        what: &Try<'_>,
        is_registered: impl FnOnce() -> bool,
    ) -> Result<Permit, Duration> {
        let now = at.as_millis();
        let source = what.account.source_key(what.source.ip());
        let device = || (what.device)().map(|id| what.account.device_key(id));
        let mut shortest: Option<u64> = None;
        for key in [&|| Some(source) as Option<u64>, &device as &dyn Fn() -> _] {
            let Some(key) = key().filter(|key| self.is_known(at, *key)) else { continue };
            match self.0.wait(self.0.known, key, now) {
                0 => return Ok(Permit::known(key)),
                wait => shortest = Some(shortest.map_or(wait, |other| other.min(wait))),
            }
        }
        if shortest.is_none() && is_registered() {
            match self.0.wait(self.0.known, source, now) {
                0 => return Ok(Permit::known(source)),
                wait => shortest = Some(wait),
            }
        }
        if let Some(wait) = shortest {
            return Err(Duration::from_millis(wait));
        }
        self.charge(now, what)
    }

    /// What [`Self::permit`] says of a source that is known and need not wait; `None` where it has
    /// to be asked. Changes nothing.
    pub(crate) fn permit_known(
        &self,
        at: WallTime,
        account: Account,
        source: IpAddr,
    ) -> Option<Permit> {
        let key = account.source_key(source);
        let may = self.is_known(at, key) && self.0.wait(self.0.known, key, at.as_millis()) == 0;
        may.then(|| Permit::known(key))
    }

    /// It was the right password: the source and the device are known from now on, and which
    /// algorithm the user agent took. True if that was news, or has not been told for a while.
    pub(crate) fn right(
        &self,
        at: WallTime,
        what: &Try<'_>,
        permit: &Permit,
        (agent, algorithm): (&[u8], Algorithm),
    ) -> bool {
        self.0.give_back(permit);
        // Behind one address, another port is another peer.
        let port = (what.source.port() ^ (what.source.port() >> 8)) as u8;
        let seen = Seen { at_s: at.as_secs(), port, agent: self.agent(agent), algorithm };
        let source = what.account.source_key(what.source.ip());
        let fresh = |known: Seen| known.is_fresh(at) && seen.same_phone(known);
        if self.0.seen(source).is_some_and(fresh) {
            return false;
        }
        let device = (what.device)().map(|id| what.account.device_key(id));
        for key in [Some(source), device].into_iter().flatten() {
            // By their time, the oldest goes first.
            let cells = self.0.familiar.claim(key, |cells| cells[0].load(Relaxed));
            cells[0].store(seen.pack(), Relaxed);
        }
        true
    }

    /// It was wrong.
    pub(crate) fn wrong(&self, at: WallTime, permit: &Permit) {
        let Some(key) = permit.known else { return };
        self.0.strike(self.0.known, key, at.as_millis());
    }

    /// The algorithm this user agent last authenticated with, as this account and from this source:
    /// a scanner elsewhere sees nothing of it.
    pub(crate) fn learned(
        &self,
        at: WallTime,
        (account, source): (Account, IpAddr),
        agent: &[u8],
    ) -> Option<Algorithm> {
        let seen = self.0.seen(account.source_key(source))?;
        (seen.is_valid(at) && seen.agent == self.agent(agent)).then_some(seen.algorithm)
    }

    /// Whether an unauthenticated request comes from where its account was never seen.
    pub(crate) fn is_stranger(&self, at: WallTime, account: Account, source: IpAddr) -> bool {
        self.limits_source(source) && !self.is_known(at, account.source_key(source))
    }

    fn limits_source(&self, source: IpAddr) -> bool {
        self.0.counts_loopback || !source.to_canonical().is_loopback()
    }

    fn is_known(&self, at: WallTime, key: u64) -> bool {
        self.0.seen(key).is_some_and(|seen| seen.is_valid(at))
    }

    fn agent(&self, agent: &[u8]) -> u16 {
        (self.0.hasher.bytes(agent).finish() >> 48) as u16
    }

    fn charge(&self, now: u64, what: &Try<'_>) -> Result<Permit, Duration> {
        let shared = &*self.0;
        let ip = what.source.ip();
        let (source, prefix) = (network(ip, 64), network(ip, 56));
        let counted = self.limits_source(ip);
        let of = |hasher: KeyedHasher, scope, network| within(hasher, scope, network);
        let scopes = [
            (true, shared.account, of(what.account.own, Scope::Account, 0)),
            (true, shared.tenant, of(what.account.tenant, Scope::Tenant, 0)),
            (counted, shared.account_by_prefix, of(what.account.own, Scope::AccountPrefix, prefix)),
            (counted, shared.source, of(shared.hasher, Scope::Source, source)),
            (counted, shared.prefix, of(shared.hasher, Scope::Prefix, prefix)),
        ];
        let counted = || scopes.iter().filter(|(counted, ..)| *counted);
        let wait = counted().map(|(_, rule, key)| shared.wait(*rule, *key, now)).max();
        if let Some(wait) = wait.filter(|wait| *wait > 0) {
            return Err(Duration::from_millis(wait));
        }
        let mut permit = Permit { known: None, charged: [(0, (0, 0)); 5], count: 0 };
        for (_, rule, key) in counted() {
            let Some(change) = shared.strike(*rule, *key, now) else {
                // Another shard was faster.
                shared.give_back(&permit);
                return Err(Duration::from_millis(shared.wait(*rule, *key, now)));
            };
            permit.charged[permit.count] = (*key, change);
            permit.count += 1;
        }
        Ok(permit)
    }
}

impl Shared {
    fn wait(&self, rule: Rule, key: u64, now: u64) -> u64 {
        let cells = self.struck.get(key);
        cells.map_or(0, |cells| rule.wait(Strikes(cells[0].load(Relaxed)), now))
    }

    /// What the cell was and what it is now; `None` while it has to wait.
    fn strike(&self, rule: Rule, key: u64, now: u64) -> Option<(u64, u64)> {
        let worth = |cells: &[AtomicU64; 1]| Strikes(cells[0].load(Relaxed)).worth(now);
        let cell = &self.struck.claim(key, worth)[0];
        let struck = |cell| rule.strike(Strikes(cell), now).map(|strikes| strikes.0);
        let was = cell.fetch_update(Relaxed, Relaxed, struck).ok()?;
        Some((was, struck(was).unwrap_or(was)))
    }

    /// Takes a stranger's strikes back. Where another shard struck meanwhile its strike stands, and
    /// this one with it: one too many, never one too few.
    fn give_back(&self, permit: &Permit) {
        for (key, (was, is)) in &permit.charged[..permit.count] {
            if let Some(cells) = self.struck.get(*key) {
                let _ = cells[0].compare_exchange(*is, *was, Relaxed, Relaxed);
            }
        }
    }

    fn seen(&self, key: u64) -> Option<Seen> {
        Seen::unpack(self.familiar.get(key)?[0].load(Relaxed))
    }
}

impl Account {
    /// A number for it, which tells nothing of its name.
    pub(crate) fn name(self) -> u64 {
        self.own.finish()
    }

    fn source_key(self, source: IpAddr) -> u64 {
        within(self.own, Scope::KnownSource, network(source, 64))
    }

    fn device_key(self, device: &[u8]) -> u64 {
        self.own.word(Scope::KnownDevice as u64).bytes(device).finish()
    }
}

impl Permit {
    fn known(key: u64) -> Self {
        Self { known: Some(key), charged: [(0, (0, 0)); 5], count: 0 }
    }
}

/// When a source or device authenticated last, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    at_s: u64,
    port: u8,
    agent: u16,
    algorithm: Algorithm,
}

impl Seen {
    fn pack(self) -> u64 {
        let algorithm = Algorithm::ALL.iter().position(|a| *a == self.algorithm).unwrap_or(0);
        let port = u64::from(self.port) << 24;
        self.at_s << 32 | port | u64::from(self.agent) << 8 | algorithm as u64
    }

    fn unpack(value: u64) -> Option<Self> {
        let algorithm = *Algorithm::ALL.get((value & 0xff) as usize)?;
        let (port, agent) = ((value >> 24) as u8, (value >> 8) as u16);
        (value != 0).then_some(Self { at_s: value >> 32, port, agent, algorithm })
    }

    fn is_valid(self, at: WallTime) -> bool {
        at.as_secs().saturating_sub(self.at_s) <= KNOWN_FOR_S
    }

    fn is_fresh(self, at: WallTime) -> bool {
        at.as_secs().saturating_sub(self.at_s) <= REFRESH_S
    }

    fn same_phone(self, other: Self) -> bool {
        (self.port, self.agent, self.algorithm) == (other.port, other.agent, other.algorithm)
    }
}

fn within(hasher: KeyedHasher, scope: Scope, network: u128) -> u64 {
    hasher.word(scope as u64).word(network as u64).word((network >> 64) as u64).finish()
}

/// The source or prefix an address belongs to: of an IPv6 address the first `bits_v6`; of an IPv4
/// address all of it, or its /24 where 56 are asked for.
fn network(ip: IpAddr, bits_v6: u32) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(v4) if bits_v6 < 64 => u128::from(v4.to_bits() & 0xffff_ff00) | 1 << 40,
        IpAddr::V4(v4) => u128::from(v4.to_bits()) | 1 << 41,
        IpAddr::V6(v6) => v6.to_bits() >> (128 - bits_v6) << (128 - bits_v6),
    }
}

#[cfg(test)]
mod tests;
