//! SDES: SRTP keys in `a=crypto` lines (RFC 4568). Only as safe as the signalling that carries it.
//!
//! ```text
//!   offerer   LocalKeys ── offer() ──► a=crypto:1.. a=crypto:2..
//!   answerer  LocalKeys ── answer(lines) ──► (SrtpKeys, one line with the chosen tag)
//!   offerer   LocalKeys ── accept(line) ──► SrtpKeys
//! ```
//!
//! A leg keeps its `LocalKeys` for life: a re-offer repeats them, and the contexts that use them go
//! on where they were. A suite that is left for another one loses its key: were it agreed on again,
//! its indices would begin anew, and a key stream be used twice.

use aws_lc_rs::hmac;
use rtp::srtp::{KeyMaterial, Suite};
use sansio::Entropy;
use sdp::{Crypto, CryptoSuite};

use super::{KeyingError, SrtpKeys};

/// Offered suites in their order, tags from 1. The one every phone has comes first: old ones look
/// at the first line only. All of [`Suite::ALL`] are answered; AES-192 is offered by nobody, and an
/// offer is long enough.
pub const OFFERED: [Suite; 6] = [
    Suite::AesCm128HmacSha1_80,
    Suite::AeadAes256Gcm,
    Suite::AeadAes128Gcm,
    Suite::AesCm256HmacSha1_80,
    Suite::AesCm128HmacSha1_32,
    Suite::AesCm256HmacSha1_32,
];

/// Our sending keys: a secret, from which that of each suite is derived. A relay holds two of these
/// for each call.
#[derive(Clone)]
pub struct LocalKeys {
    secret: [u8; 32],
    /// How often each suite was left, in the order of [`Suite::ALL`].
    left: [u8; Suite::ALL.len()],
    agreed: Option<Suite>,
}

impl LocalKeys {
    /// Fresh keys.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        let mut secret = [0; 32];
        entropy.fill(&mut secret);
        Self { secret, left: [0; Suite::ALL.len()], agreed: None }
    }

    /// The lines of an offer, tags from 1.
    pub fn offer(&self) -> Vec<Crypto> {
        let lines = OFFERED.into_iter().zip(1..);
        lines.map(|(suite, tag)| self.line(tag, suite)).collect()
    }

    /// Chooses the first offered line we can use, as the offerer prefers (RFC 4568 §5.1.2); gives
    /// the keys and the answer's line.
    ///
    /// # Errors
    /// [`KeyingError::NoCommonSuite`].
    pub fn answer(
        &mut self,
        offered: impl IntoIterator<Item = Crypto>,
    ) -> Result<(SrtpKeys, Crypto), KeyingError> {
        let usable = |line: Crypto| Some((line.tag, remote_key(&line)?));
        let (tag, (suite, remote)) =
            offered.into_iter().find_map(usable).ok_or(KeyingError::NoCommonSuite)?;
        self.agree(suite);
        let keys = SrtpKeys { suite, local: self.key(suite), remote };
        Ok((keys, self.line(tag, suite)))
    }

    /// Takes the answer to [`LocalKeys::offer`].
    ///
    /// # Errors
    /// [`KeyingError::UnknownTag`] when tag and suite were not offered together, or
    /// [`KeyingError::NoCommonSuite`] when its key cannot be used.
    pub fn accept(&mut self, answer: &Crypto) -> Result<SrtpKeys, KeyingError> {
        let (suite, remote) = remote_key(answer).ok_or(KeyingError::NoCommonSuite)?;
        let offered = (answer.tag as usize).checked_sub(1).and_then(|i| OFFERED.get(i));
        if offered != Some(&suite) {
            return Err(KeyingError::UnknownTag(answer.tag));
        }
        self.agree(suite);
        Ok(SrtpKeys { suite, local: self.key(suite), remote })
    }

    /// What was agreed on before has no key any more.
    fn agree(&mut self, suite: Suite) {
        if let Some(former) = self.agreed.replace(suite).filter(|former| *former != suite) {
            let left = &mut self.left[place(former)];
            *left = left.wrapping_add(1);
        }
    }

    /// HMAC of the secret over suite, how often it was left, and a block's number.
    fn key(&self, suite: Suite) -> KeyMaterial {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let block = |number| {
            let input = [place(suite) as u8, self.left[place(suite)], number];
            hmac::sign(&secret, &input)
        };
        let bytes = [block(0).as_ref(), block(1).as_ref()].concat();
        let (key, rest) = bytes.split_at(suite.key_len());
        KeyMaterial::new(key, &rest[..suite.salt_len()])
    }

    fn line(&self, tag: u32, suite: Suite) -> Crypto {
        let KeyMaterial { key, salt } = self.key(suite);
        Crypto::new(tag, CryptoSuite::parse(suite.name()), &[&key[..], &salt[..]].concat())
    }
}

impl std::fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalKeys(agreed {:?})", self.agreed)
    }
}

fn place(suite: Suite) -> usize {
    // `ALL` has every suite: a test of `rtp` goes through them.
    Suite::ALL.iter().position(|s| *s == suite).unwrap_or(0)
}

/// The peer's key, when we can use the line: a known suite, one key, no MKI, no session parameter
/// that we would have to obey.
fn remote_key(line: &Crypto) -> Option<(Suite, KeyMaterial)> {
    let suite = Suite::from_name(line.suite.name())?;
    let [key] = line.keys.as_slice() else { return None };
    if key.mki.is_some() || !line.has_only_harmless_params() {
        return None;
    }
    let material = KeyMaterial::from_concatenated(suite, &key.key_and_salt).ok()?;
    Some((suite, material))
}

#[cfg(test)]
mod tests {
    use sansio::SeededEntropy;

    use super::*;

    fn keys(seed: u64) -> LocalKeys {
        LocalKeys::new(&mut SeededEntropy::new(seed))
    }

    #[test]
    fn offer_and_answer_give_crossed_keys_for_every_suite() {
        for (i, suite) in OFFERED.into_iter().enumerate() {
            let (mut alice, mut bob) = (keys(1), keys(2));
            let offer = alice.offer().into_iter().skip(i);
            let (bobs, line) = bob.answer(offer).unwrap();
            let line = Crypto::parse(&line.to_string()).unwrap();
            let alices = alice.accept(&line).unwrap();
            assert_eq!((bobs.suite, alices.suite), (suite, suite));
            assert_eq!((&alices.local, &alices.remote), (&bobs.remote, &bobs.local));
        }
        let mut distinct: Vec<_> = keys(1).offer().into_iter().map(|l| l.keys).collect();
        distinct.dedup();
        assert_eq!(distinct.len(), OFFERED.len(), "each line has a key of its own");
    }

    /// Whoever offers decides which suite comes first; what we do not offer is answered too.
    #[test]
    fn the_offerers_preference_holds_and_every_suite_is_answered() {
        for suite in Suite::ALL {
            let theirs = vec![7; suite.key_len() + suite.salt_len()];
            let mut lines = vec![Crypto::new(77, CryptoSuite::parse(suite.name()), &theirs)];
            lines.extend(keys(1).offer());
            let (chosen, line) = keys(2).answer(lines).unwrap();
            assert_eq!((chosen.suite, line.tag), (suite, 77));
            assert_eq!(line.suite.name(), suite.name());
        }
    }

    #[test]
    fn lines_that_cannot_be_used_are_passed_over() {
        let (alice, mut bob) = (keys(1), keys(2));
        let mut lines = alice.offer();
        lines[0].session_params = vec!["UNENCRYPTED_SRTP".to_owned()];
        lines[1].keys[0].mki = Some((1, 4));
        lines[2].suite = CryptoSuite::parse("F8_128_HMAC_SHA1_80");
        let again = lines[3].keys[0].clone();
        lines[3].keys.push(again);
        let (chosen, line) = bob.answer(lines.clone()).unwrap();
        assert_eq!((chosen.suite, line.tag), (Suite::AesCm128HmacSha1_32, 5));
        lines.truncate(4);
        assert!(matches!(bob.answer(lines), Err(KeyingError::NoCommonSuite)));
    }

    /// RFC 4568 §6.3: a line with a parameter we know harmless, or that says it is optional, is
    /// chosen; one with a parameter to be obeyed is not, known or not; and the answer has none.
    #[test]
    fn session_parameters_are_handled_as_rfc_4568_6_3_says() {
        for (param, usable) in [
            ("KDR=0", true),
            ("KDR=1", false),
            ("KDR=24", false),
            ("UNENCRYPTED_SRTP", false),
            ("UNENCRYPTED_SRTCP", false),
            ("UNAUTHENTICATED_SRTP", false),
            ("FEC_ORDER=FEC_SRTP", true),
            ("FEC_ORDER=SRTP_FEC", false),
            ("FEC_KEY=inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj", false),
            ("WSH=64", true),
            ("WSH=1024", true),
            ("WSH=63", false),
            ("WSH=many", false),
            ("-X_NEW", true),
            ("X_NEW=1", false),
        ] {
            let mut line = keys(1).offer().remove(0);
            line.session_params = vec![param.to_owned()];
            let line = Crypto::parse(&line.to_string()).unwrap();
            let answered = keys(2).answer([line.clone()]);
            assert_eq!(answered.is_ok(), usable, "{param}");
            assert!(answered.is_ok_and(|(_, line)| line.session_params.is_empty()) || !usable);
            assert_eq!(keys(2).accept(&line).is_ok(), usable, "in an answer: {param}");
        }
    }

    #[test]
    fn an_answer_with_a_foreign_tag_is_refused() {
        let (mut alice, mut bob) = (keys(1), keys(2));
        let (_, mut line) = bob.answer(alice.offer()).unwrap();
        line.tag = 9;
        assert!(matches!(alice.accept(&line), Err(KeyingError::UnknownTag(9))));
        line.tag = 2;
        assert!(matches!(alice.accept(&line), Err(KeyingError::UnknownTag(2))), "wrong suite");
    }

    /// RFC 4568 §7.1.4: a re-offer with the same suite keeps our key, whatever the peer does with
    /// its own; one that comes back to a suite it had left gets a key that was never used.
    #[test]
    fn a_reoffer_keeps_our_key_and_a_suite_that_was_left_gets_a_new_one() {
        let (alice, mut bob) = (keys(1), keys(2));
        let offer = |n: usize, seed| vec![keys(seed).offer().remove(n)];
        let (first, _) = bob.answer(offer(0, 1)).unwrap();
        let (repeated, _) = bob.answer(alice.offer()).unwrap();
        assert_eq!(first, repeated);
        let (rekeyed, _) = bob.answer(offer(0, 3)).unwrap();
        assert_eq!(rekeyed.local, first.local);
        assert_ne!(rekeyed.remote, first.remote);
        let (other, _) = bob.answer(offer(1, 1)).unwrap();
        assert_ne!(other.suite, first.suite);
        let (back, line) = bob.answer(offer(0, 1)).unwrap();
        assert_eq!((back.suite, &back.remote), (first.suite, &first.remote));
        assert_ne!(back.local, first.local, "its key stream would be used twice");
        assert_eq!(bob.offer()[0].keys, line.keys, "and our next offer says so");
    }
}
