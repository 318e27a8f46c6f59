//! What clients ask for: RFC 8656 §7 to §12, one function for each request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ice::stun::{self, Builder, Class, Message, attribute as stun_attr};
use ice::turn::{self, CHANNEL_NUMBERS, attribute as attr, method};
use smallvec::SmallVec;

use super::accounts::Account;
use super::allocation::{Allocation, Flow, Owner, Unbound};
use super::authenticate::{authenticate, nonce};
use super::config::TurnLimits;
use super::counters::Refused;
use super::server::{Clock, Outcome, RelayPorts, Server};

/// Attributes of requests that we understand, of those that must be understood.
const UNDERSTOOD: [u16; 15] = [
    stun_attr::USERNAME,
    stun_attr::MESSAGE_INTEGRITY,
    0x001c, // MESSAGE-INTEGRITY-SHA256, which may stand beside SHA-1 (RFC 8489 §9.2.3)
    0x001d, // PASSWORD-ALGORITHM
    0x001e, // USERHASH
    attr::REALM,
    attr::NONCE,
    attr::CHANNEL_NUMBER,
    attr::LIFETIME,
    attr::XOR_PEER_ADDRESS,
    attr::REQUESTED_ADDRESS_FAMILY,
    attr::EVEN_PORT,
    attr::REQUESTED_TRANSPORT,
    attr::DONT_FRAGMENT,
    attr::RESERVATION_TOKEN,
];

/// Random ports tried before the range is searched in order.
const GUESSES: usize = 32;
/// Peers of one CreatePermission.
const PEERS_MAX: usize = 16;

/// Why a request of somebody known was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    code: u16,
    why: Refused,
}

impl Server {
    pub(super) fn handle_request(
        &mut self,
        clock: Clock,
        flow: Flow,
        message: &Message<'_>,
        ports: &mut impl RelayPorts,
    ) -> Outcome {
        match message.method() {
            stun::BINDING => return self.handle_binding(clock, flow, message),
            method::ALLOCATE
            | method::REFRESH
            | method::CREATE_PERMISSION
            | method::CHANNEL_BIND => {}
            _ => return Outcome::Drop,
        }
        let account = match authenticate(&self.shared, clock, flow.addr, message) {
            Ok(account) => account,
            Err(unproved) => {
                return self.refuse_stranger((unproved.code, unproved.why), clock, flow, message);
            }
        };
        let forbids = ports.can_forbid_fragments();
        let strange =
            |kind: &u16| !UNDERSTOOD.contains(kind) || (*kind == attr::DONT_FRAGMENT && !forbids);
        let kinds = message.attributes().map(|(kind, _)| kind).filter(|kind| *kind < 0x8000);
        let unknown: SmallVec<[u16; 8]> = kinds.filter(strange).collect();
        if !unknown.is_empty() {
            self.counters.refuse(Refused::Request);
            let builder = self.reply(message, Class::Error).error(420, "Unknown Attribute");
            return self.sign(builder.unknown_attributes(&unknown), message, &account);
        }
        let done = match message.method() {
            method::ALLOCATE => self.handle_allocate(clock, flow, (message, &account), ports),
            method::REFRESH => self.handle_refresh(clock, flow, (message, &account), ports),
            method::CREATE_PERMISSION => self.handle_permission(clock, flow, (message, &account)),
            _ => self.handle_channel_bind(clock, flow, (message, &account)),
        };
        match done {
            Ok(builder) => self.sign(builder, message, &account),
            Err(fault) => self.refuse(fault, message, &account),
        }
    }

    /// RFC 8489 §6.3.1.
    fn handle_binding(&mut self, clock: Clock, flow: Flow, message: &Message<'_>) -> Outcome {
        if !self.limiter.allows(flow.addr.ip(), clock.now) {
            self.counters.refuse(Refused::Rate);
            return Outcome::Drop;
        }
        let unknown = message.unknown_required();
        let builder = match unknown.is_empty() {
            true => self.reply(message, Class::Success).xor_mapped_address(flow.addr),
            false => {
                self.counters.refuse(Refused::Request);
                self.reply(message, Class::Error).error(420, "").unknown_attributes(&unknown)
            }
        };
        self.finish(builder, message)
    }

    /// The answer to somebody who proved nothing: as short as it can be, and only so many.
    fn refuse_stranger(
        &mut self,
        (code, why): (u16, Refused),
        clock: Clock,
        flow: Flow,
        message: &Message<'_>,
    ) -> Outcome {
        if !self.limiter.allows(flow.addr.ip(), clock.now) {
            self.counters.refuse(Refused::Rate);
            return Outcome::Drop;
        }
        // Asking without credentials is how everybody begins.
        if code != 401 || message.has_integrity() {
            self.counters.refuse(why);
        }
        let mut builder = self.reply(message, Class::Error).error(code, "");
        if code != 400 {
            let nonce = nonce(&self.shared, flow.addr.ip(), clock.wall);
            let realm = self.shared.config.realm.as_bytes();
            builder = builder.attribute(attr::REALM, realm).attribute(attr::NONCE, &nonce);
        }
        self.finish(builder, message)
    }

    /// RFC 8656 §7.2.
    fn handle_allocate(
        &mut self,
        clock: Clock,
        flow: Flow,
        (message, account): (&Message<'_>, &Account),
        ports: &mut impl RelayPorts,
    ) -> Result<Builder, Fault> {
        if let Some(mine) = self.allocation(&flow) {
            // The answer was lost: it is given once more (§7.2, step 2).
            return match mine.transaction == message.transaction_id() && owns(mine, account) {
                true => Ok(self.allocated(flow, clock, message)),
                false => Err(Fault::of(437)),
            };
        }
        if account.expires.is_some_and(|expires| expires <= clock.wall) {
            return Err(Fault { code: 401, why: Refused::Credentials });
        }
        let wishes = Wishes::read(message)?;
        let owner = Owner { user: account.user.clone(), tenant: account.tenant.clone() };
        let limits = self.shared.config.limits;
        self.shared.book().admit(&owner, &limits).map_err(|why| match why {
            Refused::Full if self.shared.config.alternate.is_some() => Fault { code: 300, why },
            Refused::Full => Fault { code: 508, why },
            why => Fault { code: 486, why },
        })?;
        let place = match self.take_port(clock, &wishes, &owner, ports) {
            Ok(place) => place,
            Err(fault) => {
                self.shared.book().release(&owner);
                return Err(fault);
            }
        };
        let expires = clock.now + lifetime(message, &limits);
        let mut allocation = Allocation::new(flow, Arc::new(owner), place, expires);
        allocation.transaction = message.transaction_id();
        allocation.token = wishes.reserves.then(|| self.reserve(clock, &allocation)).flatten();
        self.insert(allocation);
        Ok(self.allocated(flow, clock, message))
    }

    /// The success response of an allocation, new or asked for again.
    fn allocated(&mut self, flow: Flow, clock: Clock, message: &Message<'_>) -> Builder {
        let builder = self.reply(message, Class::Success);
        // It was just found or made.
        let Some(mine) = self.allocation(&flow) else { return builder };
        let advertised = self.shared.config.relays[usize::from(mine.relay)].advertise;
        let left = mine.expires.saturating_duration_since(clock.now).as_secs() as u32;
        let builder = builder
            .xor_address(attr::XOR_RELAYED_ADDRESS, SocketAddr::new(advertised, mine.port))
            .attribute(attr::LIFETIME, &left.to_be_bytes())
            .xor_mapped_address(flow.addr);
        match mine.token {
            Some(token) => builder.attribute(attr::RESERVATION_TOKEN, &token),
            None => builder,
        }
    }

    /// The port an allocation gets: the reserved one, or any that is free and even if it must be.
    fn take_port(
        &mut self,
        clock: Clock,
        wishes: &Wishes,
        owner: &Owner,
        ports: &mut impl RelayPorts,
    ) -> Result<(u8, u16), Fault> {
        let none = Fault { code: 508, why: Refused::Ports };
        if let Some(token) = wishes.token {
            let place = self.shared.book().redeem(&token, owner, clock.now).ok_or(none)?;
            return if ports.open(place.0, place.1) { Ok(place) } else { Err(none) };
        }
        let config = &self.shared.config;
        let fits = |bind: std::net::IpAddr| bind.is_ipv6() == wishes.v6;
        let relay = config.relays.iter().position(|r| fits(r.bind)).ok_or(Fault::of(440))?;
        // At most one of each family.
        let relay = relay as u8;
        let (least, count) = (config.port_min, u64::from(config.port_max - config.port_min) + 1);
        let start = self.entropy.next_u64() % count;
        let guesses: SmallVec<[u64; GUESSES]> =
            (0..GUESSES).map(|_| self.entropy.next_u64() % count).collect();
        let book = self.shared.book();
        let in_order = (0..count).map(|n| (start + n) % count);
        for at in guesses.into_iter().chain(in_order) {
            let mut port = least + at as u16;
            if wishes.even {
                port &= !1;
            }
            let reserved = |port| book.is_reserved((relay, port), clock.now);
            let pair = wishes.reserves && (port >= config.port_max || reserved(port + 1));
            if port < least || pair || reserved(port) {
                continue;
            }
            if !ports.open(relay, port) {
                continue;
            }
            if !wishes.reserves || is_free(ports, relay, port + 1) {
                return Ok((relay, port));
            }
            ports.close(relay, port);
        }
        Err(none)
    }

    /// Keeps the port above an allocation's for its user (§7.2, EVEN-PORT with the R bit).
    fn reserve(&mut self, clock: Clock, allocation: &Allocation) -> Option<[u8; 8]> {
        let mut token = [0; 8];
        self.entropy.fill(&mut token);
        let place = (allocation.relay, allocation.port + 1);
        let max = self.shared.config.limits.reservations_max;
        let mut book = self.shared.book();
        book.reserve((token, &allocation.owner), place, clock.now, max).then_some(token)
    }

    /// RFC 8656 §8.2.
    fn handle_refresh(
        &mut self,
        clock: Clock,
        flow: Flow,
        (message, account): (&Message<'_>, &Account),
        ports: &mut impl RelayPorts,
    ) -> Result<Builder, Fault> {
        let limits = self.shared.config.limits;
        let relay = self.owned(flow, account)?.relay;
        if let Some(family) = message.attribute(attr::REQUESTED_ADDRESS_FAMILY) {
            let v6 = self.shared.config.relays[usize::from(relay)].bind.is_ipv6();
            let ours = if v6 { turn::FAMILY_V6 } else { turn::FAMILY_V4 };
            if family.first() != Some(&ours) {
                return Err(Fault::of(443));
            }
        }
        let wanted = match requested_lifetime(message) {
            Some(0) => Duration::ZERO,
            _ => lifetime(message, &limits),
        };
        if wanted.is_zero() {
            self.end(&flow, ports);
        } else {
            self.owned(flow, account)?.expires = clock.now + wanted;
        }
        let seconds = (wanted.as_secs() as u32).to_be_bytes();
        Ok(self.reply(message, Class::Success).attribute(attr::LIFETIME, &seconds))
    }

    /// RFC 8656 §10.2: all of its peers, or none.
    fn handle_permission(
        &mut self,
        clock: Clock,
        flow: Flow,
        (message, account): (&Message<'_>, &Account),
    ) -> Result<Builder, Fault> {
        let relay = self.owned(flow, account)?.relay;
        let named = message.attributes().filter(|(kind, _)| *kind == attr::XOR_PEER_ADDRESS);
        let read: Option<SmallVec<[SocketAddr; 4]>> =
            named.map(|(_, value)| message.unmask(value)).collect();
        let peers = read.filter(|peers| (1..=PEERS_MAX).contains(&peers.len()));
        let peers = peers.ok_or(Fault::of(400))?;
        for peer in &peers {
            self.check_peer(relay, *peer)?;
        }
        let max = self.shared.config.limits.permissions_max;
        let mine = self.owned(flow, account)?;
        if !mine.has_room(&peers, clock.now, max) {
            return Err(Fault::of(508));
        }
        for peer in &peers {
            mine.permit(peer.ip(), clock.now, max)?;
        }
        Ok(self.reply(message, Class::Success))
    }

    /// RFC 8656 §12.2.
    fn handle_channel_bind(
        &mut self,
        clock: Clock,
        flow: Flow,
        (message, account): (&Message<'_>, &Account),
    ) -> Result<Builder, Fault> {
        let relay = self.owned(flow, account)?.relay;
        let number = message.attribute(attr::CHANNEL_NUMBER).and_then(|v| v.first_chunk::<2>());
        let number = number.map(|bytes| u16::from_be_bytes(*bytes));
        let peer = message.xor_address(attr::XOR_PEER_ADDRESS);
        let (Some(number), Some(peer)) = (number, peer) else { return Err(Fault::of(400)) };
        if !CHANNEL_NUMBERS.contains(&number) {
            return Err(Fault::of(400));
        }
        self.check_peer(relay, peer)?;
        if !self.shared.config.peers.allows(peer) {
            return Err(Fault { code: 403, why: Refused::Peer });
        }
        let limits = self.shared.config.limits;
        let mine = self.owned(flow, account)?;
        if !mine.has_room(&[peer], clock.now, limits.permissions_max) {
            return Err(Fault::of(508));
        }
        mine.bind((number, peer), clock.now, limits.channels_max)?;
        mine.permit(peer.ip(), clock.now, limits.permissions_max)?;
        Ok(self.reply(message, Class::Success))
    }

    /// The allocation of a flow, if it is this account's (§5).
    fn owned(&mut self, flow: Flow, account: &Account) -> Result<&mut Allocation, Fault> {
        let mine = self.allocation_mut(&flow).ok_or(Fault::of(437))?;
        if owns(mine, account) { Ok(mine) } else { Err(Fault::of(441)) }
    }

    /// Whether a peer fits an allocation and may be reached.
    fn check_peer(&self, relay: u8, peer: SocketAddr) -> Result<(), Fault> {
        let config = &self.shared.config;
        if config.relays[usize::from(relay)].bind.is_ipv6() != peer.is_ipv6() {
            return Err(Fault::of(443));
        }
        match config.peers.permits(peer.ip()) {
            true => Ok(()),
            false => Err(Fault { code: 403, why: Refused::Peer }),
        }
    }

    fn refuse(&mut self, fault: Fault, message: &Message<'_>, account: &Account) -> Outcome {
        self.counters.refuse(fault.why);
        let mut builder = self.reply(message, Class::Error).error(fault.code, phrase(fault.code));
        if let Some(other) = self.shared.config.alternate.filter(|_| fault.code == 300) {
            builder = builder.address(attr::ALTERNATE_SERVER, other);
        }
        self.sign(builder, message, account)
    }

    fn reply(&mut self, message: &Message<'_>, class: Class) -> Builder {
        let buffer = std::mem::take(&mut self.answer);
        Builder::answer(buffer, (message.method(), class), message.transaction_id())
    }

    /// A response says FINGERPRINT when the request does (RFC 8489 §7).
    fn sign(&mut self, builder: Builder, message: &Message<'_>, account: &Account) -> Outcome {
        self.answer = match message.has_fingerprint() {
            true => builder.finish(&account.key),
            false => builder.finish_signed(&account.key),
        };
        Outcome::Answer
    }

    fn finish(&mut self, builder: Builder, message: &Message<'_>) -> Outcome {
        self.answer = match message.has_fingerprint() {
            true => builder.finish_unsigned(),
            false => builder.finish_bare(),
        };
        Outcome::Answer
    }
}

/// What an Allocate request asks for.
#[derive(Debug, Default)]
struct Wishes {
    v6: bool,
    even: bool,
    reserves: bool,
    token: Option<[u8; 8]>,
}

impl Wishes {
    fn read(message: &Message<'_>) -> Result<Self, Fault> {
        match message.attribute(attr::REQUESTED_TRANSPORT) {
            None => return Err(Fault::of(400)),
            Some(value) if value.first() != Some(&turn::TRANSPORT_UDP) => {
                return Err(Fault::of(442));
            }
            Some(_) => {}
        }
        let family = message.attribute(attr::REQUESTED_ADDRESS_FAMILY);
        let even = message.attribute(attr::EVEN_PORT);
        let token = message.attribute(attr::RESERVATION_TOKEN);
        // §7.2, steps 5 to 7: these exclude each other.
        let too = message.attribute(attr::ADDITIONAL_ADDRESS_FAMILY).is_some();
        if (token.is_some() && (even.is_some() || family.is_some() || too))
            || (too && family.is_some())
        {
            return Err(Fault::of(400));
        }
        let token = token.map(|value| value.try_into().map_err(|_| Fault::of(400))).transpose()?;
        let v6 = match family.and_then(|value| value.first()) {
            None if family.is_some() => return Err(Fault::of(400)),
            None | Some(&turn::FAMILY_V4) => false,
            Some(&turn::FAMILY_V6) => true,
            Some(_) => return Err(Fault::of(440)),
        };
        let reserves = even.is_some_and(|value| value.first().is_some_and(|r| r & 0x80 != 0));
        Ok(Self { v6, even: even.is_some(), reserves, token })
    }
}

fn owns(mine: &Allocation, account: &Account) -> bool {
    mine.owner.user == account.user && mine.owner.tenant == account.tenant
}

fn is_free(ports: &mut impl RelayPorts, relay: u8, port: u16) -> bool {
    let free = ports.open(relay, port);
    if free {
        ports.close(relay, port);
    }
    free
}

fn requested_lifetime(message: &Message<'_>) -> Option<u32> {
    let value = message.attribute(attr::LIFETIME)?;
    value.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// What is asked for, within bounds (§7.2).
fn lifetime(message: &Message<'_>, limits: &TurnLimits) -> Duration {
    let wanted = requested_lifetime(message)
        .map_or(limits.lifetime, |s| Duration::from_secs(u64::from(s)).min(limits.lifetime_max));
    wanted.max(limits.lifetime)
}

impl Fault {
    fn of(code: u16) -> Self {
        Self { code, why: Refused::Request }
    }
}

impl From<Unbound> for Fault {
    fn from(why: Unbound) -> Self {
        match why {
            Unbound::Taken => Self::of(400),
            Unbound::TooMany => Self::of(508),
        }
    }
}

/// For whoever reads a client's log; nothing of ours is in it.
fn phrase(code: u16) -> &'static str {
    match code {
        300 => "Try Alternate",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        437 => "Allocation Mismatch",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        486 => "Allocation Quota Reached",
        508 => "Insufficient Capacity",
        _ => "",
    }
}
