//! Our key pair, and the secret it gives with the other end's public value (RFC 6189 §5.1.5).

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, X25519, agree};

use super::group::Group;
use super::keys::Random;
use super::{Failure, KeyAgreement};

/// What precedes a point of a curve that is not compressed; messages leave it out.
const UNCOMPRESSED: u8 = 4;

/// Lives for one agreement.
pub(super) struct KeyPair {
    private: Private,
    public: Vec<u8>,
}

enum Private {
    X25519(PrivateKey),
    P256(PrivateKey),
    Group(Group),
}

impl KeyPair {
    pub(super) fn new(kind: KeyAgreement, random: &mut Random) -> Result<Self, Failure> {
        let internal = |_| Failure::Internal;
        match kind {
            KeyAgreement::X255 => {
                let private = PrivateKey::from_private_key(&X25519, &random.draw::<32>())
                    .map_err(|_| Failure::Internal)?;
                let public = private.compute_public_key().map_err(internal)?.as_ref().to_vec();
                Ok(Self { private: Private::X25519(private), public })
            }
            KeyAgreement::Ec25 => {
                // Of 2^32 numbers one is not below the order of the group.
                let drawn = (0..4).find_map(|_| {
                    PrivateKey::from_private_key(&ECDH_P256, &random.draw::<32>()).ok()
                });
                let private = drawn.ok_or(Failure::Internal)?;
                let public = private.compute_public_key().map_err(internal)?.as_ref()[1..].to_vec();
                Ok(Self { private: Private::P256(private), public })
            }
            KeyAgreement::Dh3k => {
                let group = Group::new(random.draw()).ok_or(Failure::Internal)?;
                let public = group.public_value().ok_or(Failure::Internal)?;
                Ok(Self { private: Private::Group(group), public })
            }
        }
    }

    pub(super) fn public_value(&self) -> &[u8] {
        &self.public
    }

    /// The secret. A public value that would make it one of few is refused.
    pub(super) fn agree(&self, theirs: &[u8]) -> Result<Vec<u8>, Failure> {
        // Only the form of messages: the library reads others too.
        if theirs.len() != self.public.len() {
            return Err(Failure::PublicValue);
        }
        match &self.private {
            Private::X25519(key) => shared(key, UnparsedPublicKey::new(&X25519, theirs)),
            Private::P256(key) => {
                let point = [&[UNCOMPRESSED], theirs].concat();
                shared(key, UnparsedPublicKey::new(&ECDH_P256, &point[..]))
            }
            Private::Group(group) => group.agree(theirs).ok_or(Failure::PublicValue),
        }
    }
}

fn shared(key: &PrivateKey, theirs: UnparsedPublicKey<&[u8]>) -> Result<Vec<u8>, Failure> {
    agree(key, theirs, Failure::PublicValue, |secret| Ok(secret.to_vec()))
}
