//! The client's requests and what is answered to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};

use super::{
    CHANNELS_MAX, Client, ClientEvent, ClientFailure, Proof, REBIND, REFRESH_BEFORE, State,
};
use crate::stun::{Builder, Class, Message, attribute as stun_attr};
use crate::turn::{TRANSPORT_UDP, attribute, method};

/// The first wait for an answer over UDP (RFC 8489 §6.2.1); each next is twice as long.
const RTO: Duration = Duration::from_millis(500);
/// How often a request is sent in all.
const TRIES_MAX: u32 = 6;
/// How long an answer over a stream may take.
const STREAM_PATIENCE: Duration = Duration::from_secs(8);
/// A request is tried with so many proofs: none, credentials, a fresh nonce.
const PROOFS_MAX: u32 = 3;
/// The lifetime asked for.
const LIFETIME_S: u32 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Allocate,
    Refresh,
    Release,
    Bind(SocketAddr),
}

#[derive(Debug)]
pub(super) struct Transaction {
    id: [u8; 12],
    kind: Kind,
    bytes: Vec<u8>,
    tries: u32,
    proofs: u32,
    pub next_at: Instant,
}

impl Client {
    pub(super) fn request(&mut self, now: Instant, kind: Kind) {
        self.request_again(now, kind, 0);
    }

    fn request_again(&mut self, now: Instant, kind: Kind, proofs: u32) {
        let id = self.ids.next_id();
        let Some(bytes) = self.write(id, kind) else { return };
        self.messages += 1;
        self.out.push_back(bytes.clone());
        if kind == Kind::Release {
            return;
        }
        let next_at = now + if self.stream { STREAM_PATIENCE } else { RTO };
        self.transactions.push(Transaction { id, kind, bytes, tries: 1, proofs, next_at });
    }

    fn write(&self, id: [u8; 12], kind: Kind) -> Option<Vec<u8>> {
        let method = match kind {
            Kind::Allocate => method::ALLOCATE,
            Kind::Refresh | Kind::Release => method::REFRESH,
            Kind::Bind(_) => method::CHANNEL_BIND,
        };
        let builder = Builder::answer(Vec::with_capacity(160), (method, Class::Request), id);
        let lifetime = |seconds: u32| seconds.to_be_bytes();
        let builder = match kind {
            Kind::Allocate => builder
                .attribute(attribute::REQUESTED_TRANSPORT, &[TRANSPORT_UDP, 0, 0, 0])
                .attribute(attribute::LIFETIME, &lifetime(LIFETIME_S)),
            Kind::Refresh => builder.attribute(attribute::LIFETIME, &lifetime(LIFETIME_S)),
            Kind::Release => builder.attribute(attribute::LIFETIME, &lifetime(0)),
            Kind::Bind(peer) => {
                let channel = self.channels.iter().find(|c| c.peer == peer)?;
                let [a, b] = channel.number.to_be_bytes();
                builder
                    .attribute(attribute::CHANNEL_NUMBER, &[a, b, 0, 0])
                    .xor_address(attribute::XOR_PEER_ADDRESS, peer)
            }
        };
        let Some(proof) = &self.proof else { return Some(builder.finish_unsigned()) };
        let signed = builder
            .attribute(stun_attr::USERNAME, self.login.user.as_bytes())
            .attribute(attribute::REALM, &proof.realm)
            .attribute(attribute::NONCE, &proof.nonce);
        Some(signed.finish(&proof.key))
    }

    /// Sends again what was not answered, and gives up what never is.
    pub(super) fn repeat(&mut self, now: Instant) {
        let mut given_up = Vec::new();
        for transaction in &mut self.transactions {
            if now < transaction.next_at {
                continue;
            }
            if self.stream || transaction.tries >= TRIES_MAX {
                given_up.push(transaction.kind);
                continue;
            }
            transaction.next_at = now + RTO * 2_u32.pow(transaction.tries);
            transaction.tries += 1;
            self.messages += 1;
            self.out.push_back(transaction.bytes.clone());
        }
        self.transactions.retain(|t| !given_up.contains(&t.kind));
        for kind in given_up {
            match kind {
                Kind::Allocate => self.fail(ClientFailure::Silent),
                Kind::Bind(peer) => self.refused(peer),
                // It ends by itself.
                Kind::Refresh | Kind::Release => {}
            }
        }
    }

    /// False when it answers nothing of ours.
    pub(super) fn handle_response(&mut self, now: Instant, message: &Message<'_>) -> bool {
        let id = message.transaction_id();
        let Some(at) = self.transactions.iter().position(|t| t.id == id) else { return false };
        let code = match message.class() {
            Class::Error => message.error_code().unwrap_or(500),
            _ => 0,
        };
        // RFC 8489 §9.2.5: an answer to who proved himself is signed, except for what refuses the
        // proof.
        if let Some(proof) = self.proof.as_ref().filter(|_| !matches!(code, 400 | 401 | 438))
            && !message.verify_integrity(&proof.key)
        {
            return false;
        }
        let Transaction { kind, proofs, .. } = self.transactions.swap_remove(at);
        match code {
            0 => self.succeeded(now, kind, message),
            // Our credentials are wrong if they were with it.
            401 if self.proof.is_none() || proofs == 0 => self.prove(now, kind, message, proofs),
            438 if proofs < PROOFS_MAX => self.prove(now, kind, message, proofs),
            _ => match kind {
                Kind::Allocate | Kind::Refresh => self.fail(ClientFailure::Status(code)),
                Kind::Bind(peer) => self.refused(peer),
                Kind::Release => {}
            },
        }
        true
    }

    /// Asks again with what the server wants to see.
    fn prove(&mut self, now: Instant, kind: Kind, message: &Message<'_>, proofs: u32) {
        let realm = message.attribute(attribute::REALM).map(<[u8]>::to_vec);
        let realm = realm.or_else(|| self.proof.as_ref().map(|proof| proof.realm.clone()));
        let nonce = message.attribute(attribute::NONCE);
        let (Some(realm), Some(nonce)) = (realm, nonce) else {
            return self.fail(ClientFailure::Nonsense);
        };
        let mut hash = Md5::new();
        for part in [self.login.user.as_bytes(), b":", &realm, b":", self.login.password.as_bytes()]
        {
            hash.update(part);
        }
        let key = hash.finalize().into();
        self.proof = Some(Proof { realm, nonce: nonce.to_vec(), key });
        if self.held && kind == Kind::Allocate {
            return self.events.push_back(ClientEvent::Answered);
        }
        self.request_again(now, kind, proofs + 1);
    }

    fn succeeded(&mut self, now: Instant, kind: Kind, message: &Message<'_>) {
        let seconds = message.attribute(attribute::LIFETIME).and_then(|v| v.try_into().ok());
        let lifetime = Duration::from_secs(seconds.map_or(LIFETIME_S, u32::from_be_bytes).into());
        let ends = now + lifetime;
        // Half of it where it is short.
        let refresh_at = now + lifetime.saturating_sub(REFRESH_BEFORE).max(lifetime / 2);
        match kind {
            Kind::Allocate => {
                let Some(relayed) = message.xor_address(attribute::XOR_RELAYED_ADDRESS) else {
                    return self.fail(ClientFailure::Nonsense);
                };
                let mapped = message.xor_mapped_address();
                self.state = State::Ready { relayed, mapped, ends, refresh_at };
                self.events.push_back(ClientEvent::Allocated { relayed, mapped });
            }
            Kind::Refresh => {
                if let State::Ready { ends: former, refresh_at: next, .. } = &mut self.state {
                    (*former, *next) = (ends, refresh_at);
                }
            }
            Kind::Bind(peer) => {
                if let Some(channel) = self.channels.iter_mut().find(|c| c.peer == peer) {
                    channel.rebind_at = Some(now + REBIND);
                    if !std::mem::replace(&mut channel.bound, true) {
                        self.events.push_back(ClientEvent::Bound(peer));
                    }
                }
            }
            Kind::Release => {}
        }
    }

    fn refused(&mut self, peer: SocketAddr) {
        self.channels.retain(|c| c.peer != peer);
        if self.refused.len() < CHANNELS_MAX {
            self.refused.push(peer);
        }
        self.events.push_back(ClientEvent::Refused(peer));
    }
}
