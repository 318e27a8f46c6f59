//! The long-term credential mechanism (RFC 8489 §9.2), without state for strangers: a nonce proves
//! by itself when and for whom it was made.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ice::stun::{Message, attribute as stun_attr};
use ice::turn::attribute as attr;
use sansio::WallTime;
use subtle::ConstantTimeEq;

use super::accounts::Account;
use super::counters::Refused;
use super::server::{Clock, Shared};

/// Seconds and eight bytes of proof, in Base64.
const NONCE_BYTES: usize = 12;
/// Its characters.
pub(super) const NONCE_LEN: usize = 16;

/// Why a request was not let in, and what to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unproved {
    pub(super) code: u16,
    pub(super) why: Refused,
}

const UNAUTHORIZED: Unproved = Unproved { code: 401, why: Refused::Credentials };
const STALE: Unproved = Unproved { code: 438, why: Refused::StaleNonce };
const INCOMPLETE: Unproved = Unproved { code: 400, why: Refused::Request };

/// Who sent a request (RFC 8489 §9.2.4).
pub(super) fn authenticate(
    shared: &Shared,
    clock: Clock,
    from: SocketAddr,
    message: &Message<'_>,
) -> Result<Account, Unproved> {
    if !message.has_integrity() {
        return Err(UNAUTHORIZED);
    }
    let (Some(username), Some(realm), Some(nonce)) = (
        message.attribute(stun_attr::USERNAME),
        message.attribute(attr::REALM),
        message.attribute(attr::NONCE),
    ) else {
        return Err(INCOMPLETE);
    };
    if !nonce_is_good(shared, nonce, from.ip(), clock.wall) {
        return Err(STALE);
    }
    let Ok(username) = str::from_utf8(username) else { return Err(UNAUTHORIZED) };
    if realm != shared.config.realm.as_bytes() {
        return Err(UNAUTHORIZED);
    }
    let candidates = shared.accounts_of(username);
    if candidates.is_empty() {
        // As long as for somebody who exists.
        let _ = message.verify_integrity(&shared.decoy);
        return Err(UNAUTHORIZED);
    }
    let proved = candidates.into_iter().find(|account| message.verify_integrity(&account.key));
    proved.ok_or(UNAUTHORIZED)
}

/// A nonce for requests from this address, written into a buffer.
pub(super) fn nonce(shared: &Shared, from: IpAddr, now: WallTime) -> [u8; NONCE_LEN] {
    let seconds = (now.as_secs() as u32).to_be_bytes();
    let mut bytes = [0; NONCE_BYTES];
    bytes[..4].copy_from_slice(&seconds);
    bytes[4..].copy_from_slice(&proof(shared, seconds, from));
    let mut text = [0; NONCE_LEN];
    // Twelve bytes are sixteen characters.
    let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
    text
}

fn nonce_is_good(shared: &Shared, nonce: &[u8], from: IpAddr, now: WallTime) -> bool {
    let mut bytes = [0; NONCE_BYTES];
    if nonce.len() != NONCE_LEN
        || URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(NONCE_BYTES)
    {
        return false;
    }
    let (seconds, proof_of) = (<[u8; 4]>::try_from(&bytes[..4]), &bytes[4..]);
    let Ok(seconds) = seconds else { return false };
    let age = (now.as_secs() as u32).wrapping_sub(u32::from_be_bytes(seconds));
    let genuine: bool = proof(shared, seconds, from).ct_eq(proof_of).into();
    genuine && u64::from(age) <= shared.config.limits.nonce.as_secs()
}

fn proof(shared: &Shared, seconds: [u8; 4], from: IpAddr) -> [u8; 8] {
    let mut context = hmac::Context::with_key(&shared.nonce_key);
    context.update(&seconds);
    match from.to_canonical() {
        IpAddr::V4(v4) => context.update(&v4.octets()),
        IpAddr::V6(v6) => context.update(&v6.octets()),
    }
    let mut proof = [0; 8];
    proof.copy_from_slice(&context.sign().as_ref()[..8]);
    proof
}
