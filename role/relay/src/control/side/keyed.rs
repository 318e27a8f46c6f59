//! What one side needs to know of how the other is keyed.

use super::super::facts::Facts;
use super::Side;
use crate::api::Protocol;
use crate::bridge::Bridge;

/// What a side that is answered needs to know of the one that answered.
#[derive(Debug, Clone, Copy)]
pub(in crate::control) struct OtherSide {
    pub muxes: bool,
    /// Its leg has keys of ours, so no two ends can agree between themselves.
    pub is_keyed: bool,
}

impl Side {
    /// What the one we answer needs to know of this side; `toward` is how that one is to be answered.
    pub(in crate::control) fn as_other(&self, toward: Protocol) -> OtherSide {
        let is_keyed = self.protocol != Protocol::Rtp || toward == Protocol::Zrtp;
        OtherSide { muxes: self.rtcp_mux, is_keyed }
    }

    /// Whether the peer has this certificate already.
    pub(super) fn knows(&self, facts: &Facts, bridge: &mut Bridge) -> bool {
        let leg = bridge.leg_mut(self.id);
        let handshake = leg.and_then(|leg| leg.security.handshake_mut());
        let known = handshake.and_then(|handshake| handshake.remote_fingerprint());
        known.is_some() && known == facts.fingerprint.as_ref()
    }
}
