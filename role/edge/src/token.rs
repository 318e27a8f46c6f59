//! The sealed token that rides in our Record-Route and Route URIs (design decision 4).
//!
//! ```text
//! key id (1) | nonce (12) | AES-128-GCM( call 8 | relay session 8 | peer 8 | own 8 |
//!                                         shard 1 | policy 1 | flow shard 1 | flow id 8 ) | tag (16)
//! ```
//!
//! 72 bytes, 96 characters of base64url. The associated data is the Call-ID and the originator's
//! tag, so a token lifted from one call opens nothing in another. It never expires by itself: a
//! key is kept for as long as the longest call made under it.

use crate::access::PathToken;
use crate::dialled::Dialled;
use crate::encryption::Encryption;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sansio::{Entropy, FlowId, Redacted};

const PLAIN_LEN: usize = 43;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// What a Path's token is bound to. That of a dialog always has a zero byte in it.
const PATH_DATA: &[u8] = b"path";

/// What one side's Route says about the call, so that any edge can carry the dialog on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialogToken {
    /// The call's key on this server.
    pub call: u64,
    /// The relay session of its media; 0 when media does not pass through us.
    pub relay_session: u64,
    /// The binding (AoR + instance + reg-id) of the *other* side; 0 when it has none.
    pub peer: u64,
    /// The binding of the side that holds this token; 0 when it has none.
    pub own: u64,
    /// The shard that tracks the dialog.
    pub shard: u8,
    /// Policy bits decided at the INVITE ([`DialogToken::MEDIA_ANCHORED`] …).
    pub policy: u8,
    /// The flow the other side was last reached by. Only a hint: the binding's current flow wins.
    pub flow_hint: FlowHint,
}

/// A flow of this node, in nine bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowHint {
    /// The owning shard.
    pub shard: u8,
    /// The flow within it; 0 for none.
    pub id: u64,
}

/// Why a Route of ours was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not 96 characters of base64url.
    #[error("the route token is malformed")]
    Malformed,
    /// Sealed under a key this server does not hold (any more).
    #[error("the route token was sealed under unknown key {0}")]
    UnknownKey(u8),
    /// Changed, or moved from another call.
    #[error("the route token does not belong to this dialog")]
    Forged,
}

/// The keys tokens are sealed with. The last one added seals; all of them open.
pub struct TokenKeys {
    keys: Vec<(u8, LessSafeKey)>,
}

impl DialogToken {
    /// Policy bit: the call's media is anchored in the relay.
    pub const MEDIA_ANCHORED: u8 = 1;
    /// Policy bit: whoever holds this token is hidden from the other side.
    pub const HIDES_HOLDER: u8 = 2;
    /// Policy bit: the other side is hidden from whoever holds this token.
    pub const HIDES_OTHER: u8 = 4;
    /// Policy bit: `peer` names a `[[peer]]`, no binding.
    pub const PEER_IS_SERVER: u8 = 8;

    /// Two policy bits: what holds for the media of whoever holds this token.
    const HOLDER_ENCRYPTION: u8 = 4;
    /// Two policy bits: the same for the other side.
    const OTHER_ENCRYPTION: u8 = 6;

    /// The bits for whose media must, should or must not be encrypted.
    pub(crate) fn encryption_bits(holder: Option<Encryption>, other: Option<Encryption>) -> u8 {
        let code = |what: Option<Encryption>| match what {
            None => 0_u8,
            Some(Encryption::Require) => 1,
            Some(Encryption::Prefer) => 2,
            Some(Encryption::Forbid) => 3,
        };
        code(holder) << Self::HOLDER_ENCRYPTION | code(other) << Self::OTHER_ENCRYPTION
    }

    /// What holds for the holder's media, and for the other side's.
    pub(crate) fn encryption(&self) -> [Option<Encryption>; 2] {
        [Self::HOLDER_ENCRYPTION, Self::OTHER_ENCRYPTION].map(|at| match self.policy >> at & 3 {
            1 => Some(Encryption::Require),
            2 => Some(Encryption::Prefer),
            3 => Some(Encryption::Forbid),
            _ => None,
        })
    }

    /// The bits for who is hidden from whom.
    pub(crate) fn veils(holder: bool, other: bool) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(holder, Self::HIDES_HOLDER) | bit(other, Self::HIDES_OTHER)
    }

    /// The policy bits of a call whose media has this relay session.
    pub(crate) fn media_policy(relay_session: u64) -> u8 {
        if relay_session == 0 { 0 } else { Self::MEDIA_ANCHORED }
    }

    fn to_bytes(self) -> [u8; PLAIN_LEN] {
        let mut out = [0; PLAIN_LEN];
        out[0..8].copy_from_slice(&self.call.to_be_bytes());
        out[8..16].copy_from_slice(&self.relay_session.to_be_bytes());
        out[16..24].copy_from_slice(&self.peer.to_be_bytes());
        out[24..32].copy_from_slice(&self.own.to_be_bytes());
        out[32] = self.shard;
        out[33] = self.policy;
        out[34] = self.flow_hint.shard;
        out[35..43].copy_from_slice(&self.flow_hint.id.to_be_bytes());
        out
    }

    fn from_bytes(b: &[u8; PLAIN_LEN]) -> Self {
        let long = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&b[at..at + 8]);
            u64::from_be_bytes(eight)
        };
        Self {
            call: long(0),
            relay_session: long(8),
            peer: long(16),
            own: long(24),
            shard: b[32],
            policy: b[33],
            flow_hint: FlowHint { shard: b[34], id: long(35) },
        }
    }
}

impl FlowHint {
    /// A hint to a flow; none to a pseudo flow, which only this run of this shard could use.
    pub(crate) fn to(flow: Option<FlowId>) -> Self {
        flow.filter(|f| !Dialled::is_pseudo(*f)).map(Self::from).unwrap_or_default()
    }

    /// The flow on `node` this hint names.
    pub fn flow(self, node: u16) -> Option<FlowId> {
        (self.id != 0).then_some(FlowId { node, shard: u16::from(self.shard), id: self.id })
    }
}

impl From<FlowId> for FlowHint {
    fn from(flow: FlowId) -> Self {
        Self { shard: u8::try_from(flow.shard).unwrap_or(0), id: flow.id }
    }
}

impl TokenKeys {
    /// One key, which seals and opens.
    pub fn new(id: u8, key: &Redacted<[u8; 16]>) -> Self {
        let mut keys = Self { keys: Vec::new() };
        keys.rotate(id, key);
        keys
    }

    /// Adds a key that seals from now on; earlier ones still open.
    pub fn rotate(&mut self, id: u8, key: &Redacted<[u8; 16]>) {
        // Sixteen bytes are always a valid AES-128 key.
        if let Ok(key) = UnboundKey::new(&AES_128_GCM, key.reveal()) {
            self.keys.retain(|(known, _)| *known != id);
            self.keys.push((id, LessSafeKey::new(key)));
        }
    }

    /// Seals `token` for the dialog of `call_id` begun by `originator_tag`.
    pub fn seal(
        &self,
        token: DialogToken,
        call_id: &[u8],
        originator_tag: &[u8],
        entropy: &mut dyn Entropy,
    ) -> String {
        self.seal_bytes(token.to_bytes(), &associated_data(call_id, originator_tag), entropy)
    }

    /// Seals a phone's flow for a Path.
    pub(crate) fn seal_path(&self, token: PathToken, entropy: &mut dyn Entropy) -> String {
        self.seal_bytes(token.to_bytes(), PATH_DATA, entropy)
    }

    fn seal_bytes<const LEN: usize>(
        &self,
        mut plain: [u8; LEN],
        bound_to: &[u8],
        entropy: &mut dyn Entropy,
    ) -> String {
        let Some((id, key)) = self.keys.last() else { return String::new() };
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + LEN + TAG_LEN);
        sealed.push(*id);
        sealed.extend_from_slice(&nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let Ok(tag) = key.seal_in_place_separate_tag(nonce, Aad::from(bound_to), &mut plain) else {
            return String::new(); // only for inputs of many gigabytes
        };
        sealed.extend_from_slice(&plain);
        sealed.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Opens a token found in a Route of the dialog `call_id` / `originator_tag`.
    pub fn open(
        &self,
        token: &[u8],
        call_id: &[u8],
        originator_tag: &[u8],
    ) -> Result<DialogToken, TokenError> {
        let plain = self.open_bytes(token, &associated_data(call_id, originator_tag))?;
        Ok(DialogToken::from_bytes(&plain))
    }

    /// The flow in a Path of ours.
    pub(crate) fn open_path(&self, token: &[u8]) -> Option<PathToken> {
        PathToken::from_bytes(&self.open_bytes(token, PATH_DATA).ok()?)
    }

    fn open_bytes<const LEN: usize>(
        &self,
        token: &[u8],
        bound_to: &[u8],
    ) -> Result<[u8; LEN], TokenError> {
        let mut sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Malformed)?;
        if sealed.len() != 1 + NONCE_LEN + LEN + TAG_LEN {
            return Err(TokenError::Malformed);
        }
        let id = sealed[0];
        let (_, key) =
            self.keys.iter().find(|(known, _)| *known == id).ok_or(TokenError::UnknownKey(id))?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1..=NONCE_LEN])
            .map_err(|_| TokenError::Malformed)?;
        let plain = key
            .open_in_place(nonce, Aad::from(bound_to), &mut sealed[1 + NONCE_LEN..])
            .map_err(|_| TokenError::Forged)?;
        (&*plain).try_into().map_err(|_| TokenError::Malformed)
    }
}

fn associated_data(call_id: &[u8], originator_tag: &[u8]) -> Vec<u8> {
    [call_id, b"\0", originator_tag].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::SeededEntropy;

    fn keys() -> TokenKeys {
        TokenKeys::new(1, &Redacted::new([7; 16]))
    }

    fn token() -> DialogToken {
        DialogToken {
            call: 0x0123_4567_89ab_cdef,
            relay_session: 42,
            peer: u64::MAX,
            own: 3,
            shard: 3,
            policy: DialogToken::MEDIA_ANCHORED,
            flow_hint: FlowHint { shard: 2, id: 99 },
        }
    }

    #[test]
    fn a_token_survives_the_trip_in_96_characters() {
        let sealed = keys().seal(token(), b"c@h", b"tag", &mut SeededEntropy::new(1));
        assert_eq!(sealed.len(), 96);
        assert_eq!(keys().open(sealed.as_bytes(), b"c@h", b"tag"), Ok(token()));
    }

    #[test]
    fn a_token_changed_in_any_character_or_moved_to_another_dialog_is_refused() {
        let sealed = keys().seal(token(), b"c@h", b"tag", &mut SeededEntropy::new(1)).into_bytes();
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(keys().open(&forged, b"c@h", b"tag").is_err(), "character {at}");
        }
        assert_eq!(keys().open(&sealed, b"other@h", b"tag"), Err(TokenError::Forged));
        assert_eq!(keys().open(&sealed, b"c@h", b"gat"), Err(TokenError::Forged));
        assert_eq!(keys().open(&sealed[..95], b"c@h", b"tag"), Err(TokenError::Malformed));
    }

    #[test]
    fn a_path_opens_as_nothing_else_and_not_when_it_was_changed() {
        let transport = sansio::Transport::Tls;
        let peer = "192.0.2.1:5061".parse().unwrap();
        let path = PathToken { transport, listener: 1, flow: (2, 3), peer };
        let sealed = keys().seal_path(path, &mut SeededEntropy::new(1)).into_bytes();
        assert_eq!(keys().open_path(&sealed), Some(path));
        assert_eq!(keys().open(&sealed, b"c@h", b"tag"), Err(TokenError::Malformed));
        let dialog = keys().seal(token(), b"c@h", b"tag", &mut SeededEntropy::new(1));
        assert_eq!(keys().open_path(dialog.as_bytes()), None);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(keys().open_path(&forged), None, "character {at}");
        }
    }

    #[test]
    fn an_old_key_still_opens_after_rotation() {
        let mut keys = keys();
        let old = keys.seal(token(), b"c", b"t", &mut SeededEntropy::new(1));
        keys.rotate(2, &Redacted::new([8; 16]));
        let new = keys.seal(token(), b"c", b"t", &mut SeededEntropy::new(2));
        assert!(keys.open(old.as_bytes(), b"c", b"t").is_ok());
        assert!(keys.open(new.as_bytes(), b"c", b"t").is_ok());
        let unknown = TokenKeys::new(1, &Redacted::new([7; 16])).open(new.as_bytes(), b"c", b"t");
        assert_eq!(unknown, Err(TokenError::UnknownKey(2)));
    }
}
