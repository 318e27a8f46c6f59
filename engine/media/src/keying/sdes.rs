//! SDES: SRTP keys in `a=crypto` lines (RFC 4568). Only as safe as the signalling that carries it.
//!
//! ```text
//!   offerer   LocalKeys ── offer() ──► a=crypto:1.. a=crypto:2..
//!   answerer  LocalKeys ── answer(lines) ──► (SrtpKeys, one line with the chosen tag)
//!   offerer   LocalKeys ── accept(line) ──► SrtpKeys
//! ```
//!
//! A leg keeps its `LocalKeys` for life: a re-offer repeats them, and the contexts that use them go
//! on where they were.

use rtp::srtp::{KeyMaterial, Suite};
use sansio::Entropy;
use sdp::{Crypto, CryptoSuite};

use super::{KeyingError, SrtpKeys};

/// Offered suites with their tags' order. The one every phone has comes first: old ones look at
/// the first line only.
pub const OFFERED: [Suite; 4] = [
    Suite::AesCm128HmacSha1_80,
    Suite::AeadAes256Gcm,
    Suite::AeadAes128Gcm,
    Suite::AesCm128HmacSha1_32,
];

/// Our sending keys, one per suite.
#[derive(Debug, Clone)]
pub struct LocalKeys {
    keys: [KeyMaterial; OFFERED.len()],
}

impl LocalKeys {
    /// Fresh keys.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        let keys = OFFERED.map(|suite| {
            let (mut key, mut salt) = (vec![0; suite.key_len()], vec![0; suite.salt_len()]);
            entropy.fill(&mut key);
            entropy.fill(&mut salt);
            KeyMaterial { key, salt }
        });
        Self { keys }
    }

    /// The lines of an offer, tags from 1.
    pub fn offer(&self) -> Vec<Crypto> {
        let lines = OFFERED.into_iter().zip(1..);
        lines.map(|(suite, tag)| self.line(tag, suite)).collect()
    }

    /// Chooses the first offered line we can use; gives the keys and the answer's line.
    ///
    /// # Errors
    /// [`KeyingError::NoCommonSuite`].
    pub fn answer(
        &self,
        offered: impl IntoIterator<Item = Crypto>,
    ) -> Result<(SrtpKeys, Crypto), KeyingError> {
        let usable = |line: Crypto| Some((line.tag, remote_key(&line)?));
        let (tag, (suite, remote)) =
            offered.into_iter().find_map(usable).ok_or(KeyingError::NoCommonSuite)?;
        let keys = SrtpKeys { suite, local: self.key(suite).clone(), remote };
        Ok((keys, self.line(tag, suite)))
    }

    /// Takes the answer to [`LocalKeys::offer`].
    ///
    /// # Errors
    /// [`KeyingError::UnknownTag`] when tag and suite were not offered together, or
    /// [`KeyingError::NoCommonSuite`] when its key cannot be used.
    pub fn accept(&self, answer: &Crypto) -> Result<SrtpKeys, KeyingError> {
        let (suite, remote) = remote_key(answer).ok_or(KeyingError::NoCommonSuite)?;
        let offered = (answer.tag as usize).checked_sub(1).and_then(|i| OFFERED.get(i));
        if offered != Some(&suite) {
            return Err(KeyingError::UnknownTag(answer.tag));
        }
        Ok(SrtpKeys { suite, local: self.key(suite).clone(), remote })
    }

    fn key(&self, suite: Suite) -> &KeyMaterial {
        // Every suite is offered: the test below holds this.
        let at = OFFERED.iter().position(|s| *s == suite).unwrap_or(0);
        &self.keys[at]
    }

    fn line(&self, tag: u32, suite: Suite) -> Crypto {
        let KeyMaterial { key, salt } = self.key(suite);
        Crypto::new(tag, CryptoSuite::parse(suite.name()), &[&key[..], &salt[..]].concat())
    }
}

/// The peer's key, when we can use the line: a known suite, one key, no MKI, no session parameter
/// that we would have to obey.
fn remote_key(line: &Crypto) -> Option<(Suite, KeyMaterial)> {
    let suite = Suite::from_name(line.suite.name())?;
    let [key] = line.keys.as_slice() else { return None };
    if key.mki.is_some() || !line.has_only_optional_params() {
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
        let (alice, bob) = (keys(1), keys(2));
        for (i, suite) in OFFERED.into_iter().enumerate() {
            let offer = alice.offer().into_iter().skip(i);
            let (bobs, line) = bob.answer(offer).unwrap();
            let line = Crypto::parse(&line.to_string()).unwrap();
            let alices = alice.accept(&line).unwrap();
            assert_eq!((bobs.suite, alices.suite), (suite, suite));
            assert_eq!((&alices.local, &alices.remote), (&bobs.remote, &bobs.local));
        }
        assert!(Suite::ALL.iter().all(|s| OFFERED.contains(s)));
    }

    #[test]
    fn lines_that_cannot_be_used_are_passed_over() {
        let (alice, bob) = (keys(1), keys(2));
        let mut lines = alice.offer();
        lines[0].session_params = vec!["UNENCRYPTED_SRTP".to_owned()];
        lines[1].keys[0].mki = Some((1, 4));
        lines[2].suite = CryptoSuite::parse("AES_256_CM_HMAC_SHA1_80");
        let (chosen, line) = bob.answer(lines.clone()).unwrap();
        assert_eq!((chosen.suite, line.tag), (Suite::AesCm128HmacSha1_32, 4));
        lines.truncate(3);
        assert!(matches!(bob.answer(lines), Err(KeyingError::NoCommonSuite)));
    }

    #[test]
    fn an_answer_with_a_foreign_tag_is_refused() {
        let (alice, bob) = (keys(1), keys(2));
        let (_, mut line) = bob.answer(alice.offer()).unwrap();
        line.tag = 9;
        assert!(matches!(alice.accept(&line), Err(KeyingError::UnknownTag(9))));
        line.tag = 2;
        assert!(matches!(alice.accept(&line), Err(KeyingError::UnknownTag(2))), "wrong suite");
    }
}
