//! ZRTP (RFC 6189): keys that the two ends agree on by the media path, and a string by which their
//! users know that nobody sits between. The machine is [`rtp::zrtp`].

use rtp::zrtp::{Cache, Keys, Zid};
use sansio::Entropy;

use super::SrtpKeys;

/// Who an endpoint is, and whom it remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZrtpIdentity {
    /// Its name, the same for as long as its memory lives.
    pub zid: Zid,
    /// The other ends it has agreed with.
    pub cache: Cache,
}

impl ZrtpIdentity {
    /// A new one, who remembers nobody.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        let mut zid = [0; 12];
        entropy.fill(&mut zid);
        Self { zid: Zid(zid), cache: Cache::default() }
    }
}

impl From<Keys> for SrtpKeys {
    fn from(keys: Keys) -> Self {
        Self { suite: keys.suite, local: keys.local, remote: keys.remote }
    }
}
