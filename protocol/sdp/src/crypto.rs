//! SDES: `a=crypto` (RFC 4568), with the suites of RFC 6188 and RFC 7714.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Keys beyond this many in one line are refused.
const MAX_KEYS: usize = 16;

/// One `a=crypto` line. `Debug` hides the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Names the line within its m-line; the answer repeats the chosen one.
    pub tag: u32,
    /// Cipher and authentication.
    pub suite: CryptoSuite,
    /// Master keys; one unless MKIs are used.
    pub keys: Vec<InlineKey>,
    /// Session parameters as written (`KDR=…`, `UNENCRYPTED_SRTP` …).
    pub session_params: Vec<String>,
}

impl Crypto {
    /// A line with one fresh key and no parameters. `key_and_salt` is the master key followed by
    /// the master salt.
    pub fn new(tag: u32, suite: CryptoSuite, key_and_salt: &[u8]) -> Self {
        let key = InlineKey { key_and_salt: key_and_salt.to_vec(), lifetime: None, mki: None };
        Self { tag, suite, keys: vec![key], session_params: Vec::new() }
    }

    /// Reads the value of an `a=crypto` line. A known suite with a key of the wrong length is
    /// unreadable (RFC 4568 §6.1).
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|t| t.len() <= 9)?.parse().ok()?;
        let suite = CryptoSuite::parse(words.next()?);
        let keys: Option<Vec<InlineKey>> =
            words.next()?.split(';').take(MAX_KEYS + 1).map(InlineKey::parse).collect();
        let keys = keys.filter(|keys| !keys.is_empty() && keys.len() <= MAX_KEYS)?;
        let wanted = suite.key_len().zip(suite.salt_len()).map(|(key, salt)| key + salt);
        if wanted.is_some_and(|len| keys.iter().any(|k| k.key_and_salt.len() != len)) {
            return None;
        }
        Some(Self { tag, suite, keys, session_params: words.map(str::to_owned).collect() })
    }

    /// Whether every session parameter is one that changes nothing for us. A line with another must
    /// not be chosen, whether its parameter is known or not (RFC 4568 §6.3).
    pub fn has_only_harmless_params(&self) -> bool {
        self.session_params.iter().all(|p| is_harmless(p))
    }
}

/// §6.3.7: what begins with a hyphen may be ignored. §6.3.1, §6.3.4: the default, said aloud.
/// §6.3.6: how much reordering the sender expects, a hint, 64 at least.
fn is_harmless(param: &str) -> bool {
    let (name, value) = param.split_once('=').unwrap_or((param, ""));
    match name.to_ascii_uppercase().as_str() {
        "KDR" => value == "0",
        "FEC_ORDER" => value.eq_ignore_ascii_case("FEC_SRTP"),
        "WSH" => value.parse::<u32>().is_ok_and(|packets| packets >= 64),
        _ => name.starts_with('-'),
    }
}

impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.tag, self.suite)?;
        for (i, key) in self.keys.iter().enumerate() {
            write!(f, "{}{key}", if i > 0 { ";" } else { "" })?;
        }
        self.session_params.iter().try_for_each(|p| write!(f, " {p}"))
    }
}

/// A crypto suite by its SDES name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CryptoSuite {
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 4568).
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32` (RFC 4568).
    AesCm128HmacSha1_32,
    /// `F8_128_HMAC_SHA1_80` (RFC 4568).
    F8128HmacSha1_80,
    /// `AES_192_CM_HMAC_SHA1_80` (RFC 6188).
    AesCm192HmacSha1_80,
    /// `AES_192_CM_HMAC_SHA1_32` (RFC 6188).
    AesCm192HmacSha1_32,
    /// `AES_256_CM_HMAC_SHA1_80` (RFC 6188).
    AesCm256HmacSha1_80,
    /// `AES_256_CM_HMAC_SHA1_32` (RFC 6188).
    AesCm256HmacSha1_32,
    /// `AEAD_AES_128_GCM` (RFC 7714).
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM` (RFC 7714).
    AeadAes256Gcm,
    /// A suite this crate has no name for.
    Other(String),
}

/// Suite, SDES name, master key length, master salt length.
const SUITES: [(CryptoSuite, &str, usize, usize); 9] = [
    (CryptoSuite::AesCm128HmacSha1_80, "AES_CM_128_HMAC_SHA1_80", 16, 14),
    (CryptoSuite::AesCm128HmacSha1_32, "AES_CM_128_HMAC_SHA1_32", 16, 14),
    (CryptoSuite::F8128HmacSha1_80, "F8_128_HMAC_SHA1_80", 16, 14),
    (CryptoSuite::AesCm192HmacSha1_80, "AES_192_CM_HMAC_SHA1_80", 24, 14),
    (CryptoSuite::AesCm192HmacSha1_32, "AES_192_CM_HMAC_SHA1_32", 24, 14),
    (CryptoSuite::AesCm256HmacSha1_80, "AES_256_CM_HMAC_SHA1_80", 32, 14),
    (CryptoSuite::AesCm256HmacSha1_32, "AES_256_CM_HMAC_SHA1_32", 32, 14),
    (CryptoSuite::AeadAes128Gcm, "AEAD_AES_128_GCM", 16, 12),
    (CryptoSuite::AeadAes256Gcm, "AEAD_AES_256_GCM", 32, 12),
];

impl CryptoSuite {
    /// By its SDES name. `AES_CM_256_…` and `AES_CM_192_…`, names of drafts still in use, are read
    /// as the suites of RFC 6188.
    pub fn parse(name: &str) -> Self {
        let canonical = match name {
            "AES_CM_192_HMAC_SHA1_80" => "AES_192_CM_HMAC_SHA1_80",
            "AES_CM_192_HMAC_SHA1_32" => "AES_192_CM_HMAC_SHA1_32",
            "AES_CM_256_HMAC_SHA1_80" => "AES_256_CM_HMAC_SHA1_80",
            "AES_CM_256_HMAC_SHA1_32" => "AES_256_CM_HMAC_SHA1_32",
            other => other,
        };
        SUITES
            .iter()
            .find(|(_, n, ..)| n.eq_ignore_ascii_case(canonical))
            .map_or_else(|| Self::Other(name.to_owned()), |(suite, ..)| suite.clone())
    }

    /// The SDES name.
    pub fn name(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => SUITES.iter().find(|(s, ..)| s == known).map_or("", |(_, name, ..)| name),
        }
    }

    /// Master key length in bytes, for a suite this crate knows.
    pub fn key_len(&self) -> Option<usize> {
        SUITES.iter().find(|(s, ..)| s == self).map(|(.., key, _)| *key)
    }

    /// Master salt length in bytes, for a suite this crate knows.
    pub fn salt_len(&self) -> Option<usize> {
        SUITES.iter().find(|(s, ..)| s == self).map(|(.., salt)| *salt)
    }
}

impl fmt::Display for CryptoSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One `inline:` key (RFC 4568 §6.1).
#[derive(Clone, PartialEq, Eq)]
pub struct InlineKey {
    /// Master key followed by master salt.
    pub key_and_salt: Vec<u8>,
    /// Packets the key may protect.
    pub lifetime: Option<u64>,
    /// Master key identifier: value, and its length in bytes on the wire.
    pub mki: Option<(u32, u8)>,
}

impl InlineKey {
    fn parse(text: &str) -> Option<Self> {
        let (method, rest) = text.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") {
            return None;
        }
        let mut parts = rest.split('|');
        let key = parts.next()?;
        // Some phones leave the padding off.
        let key_and_salt = STANDARD
            .decode(key)
            .or_else(|_| STANDARD_NO_PAD.decode(key.trim_end_matches('=')))
            .ok()?;
        let (mut lifetime, mut mki) = (None, None);
        for part in parts {
            match part.split_once(':') {
                Some((value, len)) if mki.is_none() => {
                    mki = Some((value.parse().ok()?, len.parse().ok().filter(|l| *l <= 128)?));
                }
                None if lifetime.is_none() && mki.is_none() => {
                    lifetime = Some(parse_lifetime(part)?)
                }
                _ => return None,
            }
        }
        Some(Self { key_and_salt, lifetime, mki })
    }
}

fn parse_lifetime(text: &str) -> Option<u64> {
    match text.strip_prefix("2^") {
        Some(power) => 1_u64.checked_shl(power.parse().ok()?),
        None => text.parse().ok(),
    }
}

impl fmt::Display for InlineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inline:{}", STANDARD.encode(&self.key_and_salt))?;
        match self.lifetime {
            Some(n) if n.is_power_of_two() => write!(f, "|2^{}", n.trailing_zeros())?,
            Some(n) => write!(f, "|{n}")?,
            None => {}
        }
        self.mki.map_or(Ok(()), |(value, len)| write!(f, "|{value}:{len}"))
    }
}

impl fmt::Debug for InlineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InlineKey(lifetime {:?}, mki {:?})", self.lifetime, self.mki)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_rfc_4568_round_trip() {
        for text in [
            "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32",
            "2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj|2^20|1:32",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4;inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm|2^20|2:4 FEC_ORDER=FEC_SRTP",
            "4 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|1000",
            "9 X_NEW_SUITE inline:AAAA",
        ] {
            let crypto = Crypto::parse(text).expect(text);
            assert_eq!(crypto.to_string(), text);
            assert!(!format!("{crypto:?}").contains("d0Rm"));
        }
    }

    #[test]
    fn every_suite_knows_its_lengths_and_refuses_others() {
        for (suite, name, key, salt) in SUITES {
            assert_eq!(CryptoSuite::parse(&name.to_lowercase()), suite);
            let good = Crypto::new(1, suite.clone(), &vec![7; key + salt]);
            assert_eq!(Crypto::parse(&good.to_string()), Some(good));
            let bad = Crypto::new(1, suite, &vec![7; key + salt - 1]);
            assert_eq!(Crypto::parse(&bad.to_string()), None);
        }
    }

    #[test]
    fn mandatory_session_parameters_are_noticed() {
        let line = "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
        let with = |p: &str| Crypto::parse(&format!("{line} {p}")).expect("a good line");
        for harmless in ["", "-WSH=64", "WSH=128", "kdr=0 FEC_ORDER=FEC_SRTP -X"] {
            assert!(with(harmless).has_only_harmless_params(), "{harmless}");
        }
        for other in ["UNENCRYPTED_SRTP", "WSH=0", "KDR=24", "-X Y"] {
            assert!(!with(other).has_only_harmless_params(), "{other}");
        }
    }

    #[test]
    fn garbage_is_no_crypto_line() {
        for text in [
            "",
            "1",
            "x AES inline:AAAA",
            "1 AES_CM_128_HMAC_SHA1_80 inline:",
            "1 S foo:AAAA",
            "1 S inline:AAAA|2^99999999999",
            "1 S inline:AAAA|1:4|2^20",
        ] {
            assert_eq!(Crypto::parse(text), None, "{text}");
        }
    }
}
