//! Names for what must not be seen: an inner Contact or Call-ID, sealed so that it can ride in the
//! messages themselves and be opened again by any shard, also after a restart (design decision 4).
//!
//! ```text
//!   Contact:  <sip:bob@10.0.0.7:5062>  ──►  <sip:wvAwM..@edge.example.com;transport=udp>
//!   Call-ID:  a84b4c@10.0.0.7          ──►  wvB7fQ..
//!   veil = mark · base64url( nonce 12 | AES-128-GCM(text) | tag 16 ),  nonce = HMAC(text)
//! ```
//!
//! The nonce is made from the text, so the same text has the same veil: a target refresh that
//! changes nothing still changes nothing, and every request of a dialog has one Call-ID.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sansio::Redacted;

const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// Longest text that is veiled; a Call-ID or Contact beyond it is not from a phone.
const TEXT_MAX: usize = 1024;

/// What a veil stands for; the two cannot be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Contact URI and the routes to it, one a line.
    Contact,
    /// A Call-ID.
    CallId,
}

impl Kind {
    fn mark(self) -> &'static str {
        match self {
            Self::Contact => "wvA",
            Self::CallId => "wvB",
        }
    }
}

/// Seals and opens veils. Every node and shard of a server has the same.
pub(crate) struct Veils {
    seal: Option<LessSafeKey>,
    nonce: hmac::Key,
}

impl Veils {
    /// From the secret that seals route tokens, by way of a key of their own.
    pub(crate) fn new(secret: &Redacted<[u8; 16]>) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
        let derived = hmac::sign(&root, b"whimbrel veil");
        let (seal, nonce) = derived.as_ref().split_at(16);
        // Sixteen bytes are always a valid AES-128 key; without one nothing is sealed or opened.
        let seal = UnboundKey::new(&AES_128_GCM, seal).ok().map(LessSafeKey::new);
        Self { seal, nonce: hmac::Key::new(hmac::HMAC_SHA256, nonce) }
    }

    /// The veil of `text`; `bound` must be the same when it is opened.
    pub(crate) fn seal(&self, kind: Kind, text: &[u8], bound: &[u8]) -> Option<String> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let mut context = hmac::Context::with_key(&self.nonce);
        context.update(kind.mark().as_bytes());
        context.update(bound);
        context.update(b"\0");
        context.update(text);
        let tag = context.sign();
        let nonce = &tag.as_ref()[..NONCE_LEN];
        let mut sealed = Vec::with_capacity(NONCE_LEN + text.len() + TAG_LEN);
        sealed.extend_from_slice(nonce);
        let mut body = text.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(aad(kind, bound));
        self.seal.as_ref()?.seal_in_place_append_tag(nonce, aad, &mut body).ok()?;
        sealed.extend_from_slice(&body);
        let mut veil = String::from(kind.mark());
        URL_SAFE_NO_PAD.encode_string(&sealed, &mut veil);
        Some(veil)
    }

    /// What a veil stands for; `None` for what is none of ours.
    pub(crate) fn open(&self, kind: Kind, veil: &[u8], bound: &[u8]) -> Option<Vec<u8>> {
        let coded = veil.strip_prefix(kind.mark().as_bytes())?;
        if coded.len() > 2 * (TEXT_MAX + NONCE_LEN + TAG_LEN) {
            return None;
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(coded).ok()?;
        if sealed.len() < NONCE_LEN + TAG_LEN {
            return None;
        }
        let (nonce, body) = sealed.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened =
            self.seal.as_ref()?.open_in_place(nonce, Aad::from(aad(kind, bound)), body).ok()?;
        Some(opened.to_vec())
    }

    /// Whether a text may be a veil of this kind: a look at its first bytes.
    #[inline]
    pub(crate) fn looks_like(kind: Kind, text: &[u8]) -> bool {
        text.starts_with(kind.mark().as_bytes())
    }
}

fn aad(kind: Kind, bound: &[u8]) -> Vec<u8> {
    [kind.mark().as_bytes(), bound].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn veils() -> Veils {
        Veils::new(&Redacted::new([7; 16]))
    }

    #[test]
    fn r2_2_a_veil_opens_to_its_text_and_is_the_same_each_time() {
        let veils = veils();
        let veil = veils.seal(Kind::Contact, b"sip:bob@10.0.0.7", b"call-1").unwrap();
        assert_eq!(veil, veils.seal(Kind::Contact, b"sip:bob@10.0.0.7", b"call-1").unwrap());
        assert!(!veil.contains("10.0.0.7") && !veil.contains("bob"));
        assert!(veil.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let opened = veils.open(Kind::Contact, veil.as_bytes(), b"call-1");
        assert_eq!(opened.as_deref(), Some(b"sip:bob@10.0.0.7".as_slice()));
    }

    #[test]
    fn r2_2_a_veil_of_another_call_kind_or_server_opens_nothing() {
        let veils = veils();
        let veil = veils.seal(Kind::Contact, b"sip:bob@10.0.0.7", b"call-1").unwrap();
        assert_eq!(veils.open(Kind::Contact, veil.as_bytes(), b"call-2"), None);
        let as_call_id = veil.replacen("wvA", "wvB", 1);
        assert_eq!(veils.open(Kind::CallId, as_call_id.as_bytes(), b"call-1"), None);
        let other = Veils::new(&Redacted::new([8; 16]));
        assert_eq!(other.open(Kind::Contact, veil.as_bytes(), b"call-1"), None);
        for at in 0..veil.len() {
            let mut forged = veil.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(veils.open(Kind::Contact, &forged, b"call-1"), None, "character {at}");
        }
        assert_eq!(veils.open(Kind::Contact, b"wvA", b""), None);
        assert_eq!(veils.seal(Kind::CallId, &[b'x'; 2000], b""), None);
    }
}
