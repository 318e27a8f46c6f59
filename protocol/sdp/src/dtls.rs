//! `a=fingerprint` and `a=setup` (RFC 8122, RFC 5763).

use std::fmt;

/// A certificate's fingerprint (RFC 8122 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash in lower case, such as `sha-256`.
    pub hash: String,
    /// The digest.
    pub digest: Vec<u8>,
}

impl Fingerprint {
    /// A SHA-256 fingerprint.
    pub fn sha256(digest: [u8; 32]) -> Self {
        Self { hash: "sha-256".into(), digest: digest.to_vec() }
    }

    /// Reads the value of an `a=fingerprint` line.
    pub fn parse(value: &str) -> Option<Self> {
        let (hash, digest) = value.trim().split_once(' ')?;
        let digest: Option<Vec<u8>> = digest
            .trim()
            .split(':')
            .take(65)
            .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
            .collect();
        digest
            .filter(|d| d.len() <= 64)
            .map(|digest| Self { hash: hash.to_ascii_lowercase(), digest })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash)?;
        for (i, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i > 0 { ":" } else { "" })?;
        }
        Ok(())
    }
}

/// Who opens the DTLS association (RFC 4145 §4, RFC 5763 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Sends the ClientHello.
    Active,
    /// Waits for it.
    Passive,
    /// Either: only in offers.
    ActPass,
    /// Not now.
    HoldConn,
}

impl Setup {
    /// Reads the value of an `a=setup` line.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn]
            .into_iter()
            .find(|s| s.name().eq_ignore_ascii_case(value))
    }

    /// As written in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }

    /// What the answer says to this offer: active where we may choose (RFC 5763 §5).
    pub fn answered(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive | Self::ActPass => Self::Active,
            Self::HoldConn => Self::HoldConn,
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_round_trip_and_garbage_is_none() {
        let text = "sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";
        assert_eq!(Fingerprint::parse(text).map(|f| f.to_string()).as_deref(), Some(text));
        for bad in ["", "sha-256", "sha-256 GG", "sha-256 A:B", "sha-256 +1:22"] {
            assert!(Fingerprint::parse(bad).is_none_or(|f| f.digest == [1, 0x22]), "{bad}");
        }
        assert_eq!(Setup::parse("ActPass"), Some(Setup::ActPass));
        assert_eq!(Setup::ActPass.answered(), Setup::Active);
        assert_eq!(Setup::Active.answered(), Setup::Passive);
    }
}
