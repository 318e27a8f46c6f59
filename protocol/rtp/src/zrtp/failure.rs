//! Why two ends do not come to keys (RFC 6189 §5.9).

/// Why an agreement failed. All but the last are told to the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A message of ZRTP that makes no sense where it came.
    #[error("malformed ZRTP message")]
    Malformed,
    /// The cryptographic library refused something.
    #[error("ZRTP could not be computed")]
    Internal,
    /// It speaks another version.
    #[error("unsupported version of ZRTP")]
    Version,
    /// A Hello is not what its sender says it was: somebody changed it, or what is told of it in SDP.
    #[error("the other side's ZRTP Hello was changed on its way")]
    HelloMismatch,
    /// Its Commit names a hash we did not offer.
    #[error("hash not offered")]
    HashUnsupported,
    /// Its Commit names a cipher we did not offer.
    #[error("cipher not offered")]
    CipherUnsupported,
    /// Its Commit names a key agreement we did not offer.
    #[error("key agreement not offered")]
    AgreementUnsupported,
    /// Its Commit names a tag we did not offer.
    #[error("authentication tag not offered")]
    TagUnsupported,
    /// Its Commit names a string we did not offer.
    #[error("short string not offered")]
    SasUnsupported,
    /// Its public value would give the secret away.
    #[error("bad public value")]
    PublicValue,
    /// Its public value is not the one it was committed to.
    #[error("public value is not what was committed to")]
    Commitment,
    /// Its Confirm is sealed with other keys: somebody sits between, or a message was changed.
    #[error("the two sides have different keys")]
    Confirm,
    /// It says it is us.
    #[error("the other side has our own ZID")]
    SameZid,
    /// It fell silent in the middle.
    #[error("the other side stopped answering")]
    Timeout,
    /// It wants to go on in clear; we do not.
    #[error("going clear is not allowed")]
    GoClear,
    /// The other end gave up, with a code of its own.
    #[error("the other side gave up with error 0x{0:02x}")]
    Peer(u32),
}

impl Failure {
    /// The code in an Error message.
    pub fn code(self) -> u32 {
        match self {
            Self::Malformed => 0x10,
            Self::Internal => 0x20,
            Self::Version => 0x30,
            Self::HelloMismatch => 0x40,
            Self::HashUnsupported => 0x51,
            Self::CipherUnsupported => 0x52,
            Self::AgreementUnsupported => 0x53,
            Self::TagUnsupported => 0x54,
            Self::SasUnsupported => 0x55,
            Self::PublicValue => 0x61,
            Self::Commitment => 0x62,
            Self::Confirm => 0x70,
            Self::SameZid => 0x90,
            Self::Timeout => 0xb0,
            Self::GoClear => 0x100,
            Self::Peer(code) => code,
        }
    }
}
