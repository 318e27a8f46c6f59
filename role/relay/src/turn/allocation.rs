//! One allocation: whose it is, its permissions and its channels.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::config::{CHANNEL, PERMISSION};

/// Where a client is: with the address of ours it came to, its 5-tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The client's address.
    pub addr: SocketAddr,
    /// How it reaches us.
    pub via: Via,
}

/// How a client reaches us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// By the listener of this number, over UDP.
    Datagrams(u16),
    /// By the connection of this number, over TCP or TLS.
    Stream(u64),
}

/// Whose allocation it is, for quotas and for the check of RFC 8656 §5 that it stays so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: String,
    pub(crate) tenant: String,
}

#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) flow: Flow,
    pub(crate) owner: Arc<Owner>,
    /// The number of the relay address, and the port.
    pub(crate) relay: u8,
    pub(crate) port: u16,
    /// Of the request that made it: the same again is a retransmission.
    pub(crate) transaction: [u8; 12],
    pub(crate) token: Option<[u8; 8]>,
    pub(crate) expires: Instant,
    /// Rarely more than one: a call has one peer, and ICE drops the others.
    permissions: SmallVec<[Permission; 1]>,
    /// In order of number.
    channels: SmallVec<[Channel; 1]>,
}

#[derive(Debug, Clone, Copy)]
struct Permission {
    peer: IpAddr,
    expires: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
}

/// Why a channel or permission was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unbound {
    /// The number is another peer's, or the peer has another number (RFC 8656 §12.2).
    Taken,
    /// There are as many as one allocation may have.
    TooMany,
}

impl Allocation {
    /// Of a port of a relay address, until `expires`.
    pub(crate) fn new(
        flow: Flow,
        owner: Arc<Owner>,
        (relay, port): (u8, u16),
        expires: Instant,
    ) -> Self {
        Self {
            flow,
            owner,
            relay,
            port,
            transaction: [0; 12],
            token: None,
            expires,
            permissions: SmallVec::new(),
            channels: SmallVec::new(),
        }
    }

    /// The peer of a channel that may be sent to.
    pub(crate) fn peer_of(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let at = self.channels.binary_search_by_key(&number, |c| c.number).ok()?;
        let channel = self.channels[at];
        (channel.expires > now && self.permits(channel.peer.ip(), now)).then_some(channel.peer)
    }

    /// The channel of a peer.
    pub(crate) fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let channel = self.channels.iter().find(|c| c.peer == peer && c.expires > now)?;
        Some(channel.number)
    }

    /// Whether this peer may be sent to and heard.
    pub(crate) fn permits(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions.iter().any(|p| p.peer == peer && p.expires > now)
    }

    /// Makes or renews a permission (RFC 8656 §9).
    pub(crate) fn permit(&mut self, peer: IpAddr, now: Instant, max: usize) -> Result<(), Unbound> {
        let expires = now + PERMISSION;
        if let Some(known) = self.permissions.iter_mut().find(|p| p.peer == peer) {
            known.expires = expires;
            return Ok(());
        }
        if self.permissions.len() >= max {
            self.permissions.retain(|p| p.expires > now);
        }
        if self.permissions.len() >= max {
            return Err(Unbound::TooMany);
        }
        self.permissions.push(Permission { peer, expires });
        Ok(())
    }

    /// Whether [`Allocation::permit`] has room for these; all or none are made.
    pub(crate) fn has_room(&self, peers: &[SocketAddr], now: Instant, max: usize) -> bool {
        let living = self.permissions.iter().filter(|p| p.expires > now).map(|p| p.peer);
        let mut all: SmallVec<[IpAddr; 8]> = living.chain(peers.iter().map(|p| p.ip())).collect();
        all.sort_unstable();
        all.dedup();
        all.len() <= max
    }

    /// Binds or renews a channel (RFC 8656 §12.2).
    pub(crate) fn bind(
        &mut self,
        (number, peer): (u16, SocketAddr),
        now: Instant,
        max: usize,
    ) -> Result<(), Unbound> {
        let mine = |c: &Channel| c.expires > now && (c.number == number) != (c.peer == peer);
        if self.channels.iter().any(mine) {
            return Err(Unbound::Taken);
        }
        self.channels.retain(|c| c.expires > now && c.number != number);
        if self.channels.len() >= max {
            return Err(Unbound::TooMany);
        }
        let at = self.channels.partition_point(|c| c.number < number);
        self.channels.insert(at, Channel { number, peer, expires: now + CHANNEL });
        Ok(())
    }
}
