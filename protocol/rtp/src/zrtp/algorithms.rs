//! What two ends choose from (RFC 6189 §5.1.2 to §5.1.6).

use super::{Commit, Failure, Hello};
use crate::srtp::Suite;

/// The one hash: SHA-256. With it everybody must be able to do (RFC 6189 §5.1.2).
pub(super) const HASH: [u8; 4] = *b"S256";

/// A kind of algorithm.
pub trait Algorithm: Copy + Eq + 'static {
    /// Which of the lists of a Hello: cipher 1, tag 2, key agreement 3, string 4.
    const KIND: usize;
    /// All that we can do, most wanted first.
    const ALL: &'static [Self];
    /// What everybody can do, named or not.
    const MANDATORY: &'static [Self];

    /// Its name in messages.
    fn code(self) -> [u8; 4];

    /// By its name.
    fn from_code(code: [u8; 4]) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.code() == code)
    }

    /// Our most wanted of what the other end can do too.
    fn choose(hello: &Hello<'_>) -> Self {
        let named = |a: &Self| hello.algorithms::<Self>().any(|code| code == a.code());
        let common = Self::ALL.iter().find(|a| named(a) || Self::MANDATORY.contains(a));
        // The mandatory ones are among all.
        *common.unwrap_or(&Self::MANDATORY[0])
    }
}

/// The cipher of SRTP and of Confirm (RFC 6189 §5.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES with keys of 128 bits.
    Aes1,
    /// AES with keys of 256 bits.
    Aes3,
}

/// The tag of SRTP (RFC 6189 §5.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthTag {
    /// HMAC-SHA1, 80 bits.
    Hs80,
    /// HMAC-SHA1, 32 bits.
    Hs32,
}

/// How a secret is agreed on (RFC 6189 §5.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAgreement {
    /// Curve25519 (RFC 7748). Not in RFC 6189: as libbzrtp has it.
    X255,
    /// The curve P-256.
    Ec25,
    /// The group of 3,072 bits of RFC 3526.
    Dh3k,
}

/// How the short string is made (RFC 6189 §5.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SasType {
    /// Four letters and digits.
    B32,
    /// Two words.
    B256,
}

impl Algorithm for Cipher {
    const KIND: usize = 1;
    const ALL: &'static [Self] = &[Self::Aes1, Self::Aes3];
    const MANDATORY: &'static [Self] = &[Self::Aes1];

    fn code(self) -> [u8; 4] {
        match self {
            Self::Aes1 => *b"AES1",
            Self::Aes3 => *b"AES3",
        }
    }
}

impl Cipher {
    /// The length of its key.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes1 => 16,
            Self::Aes3 => 32,
        }
    }
}

impl Algorithm for AuthTag {
    const KIND: usize = 2;
    const ALL: &'static [Self] = &[Self::Hs80, Self::Hs32];
    const MANDATORY: &'static [Self] = &[Self::Hs80, Self::Hs32];

    fn code(self) -> [u8; 4] {
        match self {
            Self::Hs80 => *b"HS80",
            Self::Hs32 => *b"HS32",
        }
    }
}

impl Algorithm for KeyAgreement {
    const KIND: usize = 3;
    const ALL: &'static [Self] = &[Self::X255, Self::Ec25, Self::Dh3k];
    const MANDATORY: &'static [Self] = &[Self::Dh3k];

    fn code(self) -> [u8; 4] {
        match self {
            Self::X255 => *b"X255",
            Self::Ec25 => *b"EC25",
            Self::Dh3k => *b"DH3k",
        }
    }
}

impl Algorithm for SasType {
    const KIND: usize = 4;
    const ALL: &'static [Self] = &[Self::B32, Self::B256];
    const MANDATORY: &'static [Self] = &[Self::B32];

    fn code(self) -> [u8; 4] {
        match self {
            Self::B32 => *b"B32 ",
            Self::B256 => *b"B256",
        }
    }
}

/// What a Commit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Choice {
    /// Of SRTP and Confirm.
    pub cipher: Cipher,
    /// Of SRTP.
    pub tag: AuthTag,
    /// How the secret is agreed on.
    pub agreement: KeyAgreement,
    /// How the string is made.
    pub sas: SasType,
}

impl Choice {
    /// The best of what `peer` can do too; of key agreements the first of `ours`.
    pub(super) fn best(ours: &[KeyAgreement], peer: &Hello<'_>) -> Self {
        let named = |a: &KeyAgreement| peer.algorithms::<KeyAgreement>().any(|c| c == a.code());
        let agreement = ours.iter().copied().find(named).unwrap_or(KeyAgreement::Dh3k);
        Self {
            cipher: Cipher::choose(peer),
            tag: AuthTag::choose(peer),
            agreement,
            sas: SasType::choose(peer),
        }
    }

    /// What `commit` says, if it is something of ours.
    pub(super) fn of(ours: &[KeyAgreement], commit: &Commit<'_>) -> Result<Self, Failure> {
        let [hash, cipher, tag, agreement, sas] = commit.names();
        if hash != HASH {
            return Err(Failure::HashUnsupported);
        }
        Ok(Self {
            cipher: Cipher::from_code(cipher).ok_or(Failure::CipherUnsupported)?,
            agreement: KeyAgreement::from_code(agreement)
                .filter(|a| ours.contains(a) || KeyAgreement::MANDATORY.contains(a))
                .ok_or(Failure::AgreementUnsupported)?,
            tag: AuthTag::from_code(tag).ok_or(Failure::TagUnsupported)?,
            sas: SasType::from_code(sas).ok_or(Failure::SasUnsupported)?,
        })
    }

    /// The suite of SRTP.
    pub fn suite(&self) -> Suite {
        match (self.cipher, self.tag) {
            (Cipher::Aes1, AuthTag::Hs80) => Suite::AesCm128HmacSha1_80,
            (Cipher::Aes1, AuthTag::Hs32) => Suite::AesCm128HmacSha1_32,
            (Cipher::Aes3, AuthTag::Hs80) => Suite::AesCm256HmacSha1_80,
            (Cipher::Aes3, AuthTag::Hs32) => Suite::AesCm256HmacSha1_32,
        }
    }
}
