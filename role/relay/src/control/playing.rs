//! Sound and digits of the relay's own, toward one side of a call.

use std::time::Instant;

use audio::Wav;

use super::Control;
use super::party::{Session, Slot};
use crate::RelayError;
use crate::api::SessionId;
use crate::bridge::{LegId, PayloadType, Player, Rounds, playable};
use crate::ports::Ports;

impl<P: Ports> Control<P> {
    /// Plays to one side (a branch, or `None` for the caller's) in place of what it would hear.
    ///
    /// # Errors
    /// There is no such side, or it understands no codec of ours.
    pub fn play(
        &mut self,
        now: Instant,
        id: SessionId,
        toward: Option<u32>,
        (sound, rounds): (&Wav, Rounds),
    ) -> Result<(), RelayError> {
        let codec = self.sound_codec(id, toward)?;
        let ssrc = self.entropy.next_u64() as u32;
        // Converted before the packets' lock is taken.
        let player = Player::new(now, sound, &codec, rounds, ssrc)?;
        let session = self.sessions.get(&id).ok_or(RelayError::NoParty)?;
        let leg = session.leg_of(toward).ok_or(RelayError::NoParty)?;
        session.bridge.lock().play(leg, player);
        Ok(())
    }

    /// Ends what plays to one side. False when nothing does.
    pub fn stop_playing(&mut self, id: SessionId, toward: Option<u32>) -> bool {
        let Some(session) = self.sessions.get(&id) else { return false };
        let leg = session.leg_of(toward);
        leg.is_some_and(|leg| session.bridge.lock().stop_playing(leg))
    }

    /// The codec that sound for a side is coded in.
    ///
    /// # Errors
    /// As for [`Control::play`].
    pub fn sound_codec(
        &self,
        id: SessionId,
        toward: Option<u32>,
    ) -> Result<PayloadType, RelayError> {
        let session = self.sessions.get(&id).ok_or(RelayError::NoParty)?;
        let leg = session.leg_of(toward).ok_or(RelayError::NoParty)?;
        let bridge = session.bridge.look();
        let payloads = bridge.leg(leg).ok_or(RelayError::NoParty)?.payloads();
        let codec = payloads.iter().find(|p| playable(p).is_some());
        codec.cloned().ok_or(RelayError::NotPlayable)
    }

    /// Has the other side hear a key (`0-9*#A-D`, milliseconds) as if it was pressed at `from`. False
    /// when there is no such party, it talks with nobody, or its other side knows neither events nor
    /// a codec of ours.
    pub fn inject_digit(
        &mut self,
        now: Instant,
        id: SessionId,
        from: Option<u32>,
        digit: (char, u32),
    ) -> bool {
        let ssrc = self.entropy.next_u64() as u32;
        let Some(session) = self.sessions.get(&id) else { return false };
        let Some(leg) = session.leg_of(from) else { return false };
        session.bridge.lock().inject_digit(now, leg, digit, ssrc).unwrap_or(false)
    }
}

impl Session {
    /// The leg of a branch's sound, or of the caller's.
    pub(super) fn leg_of(&self, branch: Option<u32>) -> Option<LegId> {
        self.party(branch.map_or(Slot::Caller, Slot::Branch))?.sound()
    }
}
