//! Crypto suites and the master keys they take.

use crate::Error;

/// A crypto suite: the names of RFC 4568 §6.2, RFC 6188 §4 and RFC 7714 §14.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the suites' registered names")]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`: a 4-byte tag on RTP, 10 on RTCP.
    AesCm128HmacSha1_32,
    /// `AES_192_CM_HMAC_SHA1_80`
    AesCm192HmacSha1_80,
    /// `AES_192_CM_HMAC_SHA1_32`: a 4-byte tag on RTP, 10 on RTCP.
    AesCm192HmacSha1_32,
    /// `AES_256_CM_HMAC_SHA1_80`
    AesCm256HmacSha1_80,
    /// `AES_256_CM_HMAC_SHA1_32`: a 4-byte tag on RTP, 10 on RTCP.
    AesCm256HmacSha1_32,
    /// `AEAD_AES_128_GCM`
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM`
    AeadAes256Gcm,
}

impl Suite {
    /// All, the strongest first.
    pub const ALL: [Self; 8] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::AesCm256HmacSha1_80,
        Self::AesCm192HmacSha1_80,
        Self::AesCm128HmacSha1_80,
        Self::AesCm256HmacSha1_32,
        Self::AesCm192HmacSha1_32,
        Self::AesCm128HmacSha1_32,
    ];

    /// The name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm192HmacSha1_80 => "AES_192_CM_HMAC_SHA1_80",
            Self::AesCm192HmacSha1_32 => "AES_192_CM_HMAC_SHA1_32",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Reads the name in `a=crypto`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Master key length in bytes; the session key's too.
    pub fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AesCm192HmacSha1_80 | Self::AesCm192HmacSha1_32 => 24,
            Self::AesCm256HmacSha1_80 | Self::AesCm256HmacSha1_32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Master salt length in bytes.
    pub fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    pub(super) fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }

    pub(super) fn rtp_tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm192HmacSha1_80 | Self::AesCm256HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 | Self::AesCm192HmacSha1_32 | Self::AesCm256HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// SRTCP keeps the long tag under every suite (RFC 4568 §6.2.2, RFC 6188 §4).
    pub(super) fn rtcp_tag_len(self) -> usize {
        if self.is_aead() { 16 } else { 10 }
    }
}

/// A master key and salt. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial {
    /// The master key, [`Suite::key_len`] bytes.
    pub key: Vec<u8>,
    /// The master salt, [`Suite::salt_len`] bytes.
    pub salt: Vec<u8>,
}

impl KeyMaterial {
    /// Copies key and salt.
    pub fn new(key: &[u8], salt: &[u8]) -> Self {
        Self { key: key.to_vec(), salt: salt.to_vec() }
    }

    /// Splits `key ‖ salt`, as `inline:` and DTLS export carry it.
    ///
    /// # Errors
    /// [`Error::BadKey`] when the length does not fit.
    pub fn from_concatenated(suite: Suite, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != suite.key_len() + suite.salt_len() {
            return Err(Error::BadKey);
        }
        let (key, salt) = bytes.split_at(suite.key_len());
        Ok(Self::new(key, salt))
    }
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaterial([redacted])")
    }
}
