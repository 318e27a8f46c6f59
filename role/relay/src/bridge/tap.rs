//! Who listens to a session's sound: copies of its packets, in clear, as they come.

use std::time::Instant;

use audio::CodecKind;

use super::{Bridge, LegId};

/// Takes copies. It must not wait, and copies what it keeps.
pub trait PacketTap: Send {
    /// An RTP packet of sound that came from the caller, or from the branch that was answered.
    fn packet(&mut self, now: Instant, from_caller: bool, kind: CodecKind, packet: &[u8]);
}

/// The tap of a session.
pub(super) struct Tapped(pub(super) Box<dyn PacketTap>);

impl std::fmt::Debug for Tapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tapped")
    }
}

impl Bridge {
    /// Has a tap take copies from now on, or none.
    pub fn set_tap(&mut self, tap: Option<Box<dyn PacketTap>>) {
        self.tap = tap.map(Tapped);
    }

    /// The stream that is listened to, by the caller's leg: one, whatever else the call has.
    pub fn set_sound(&mut self, caller: LegId) {
        self.sound = caller;
    }

    #[inline]
    pub(super) fn tap_packet(&mut self, now: Instant, from: LegId, packet: &[u8]) {
        if self.tap.is_none() {
            return;
        }
        let from_caller = from == self.sound;
        let number = packet.get(1).map_or(0, |byte| byte & 0x7f);
        let Some(leg) = self.leg(from) else { return };
        if !from_caller && leg.peer != Some(self.sound) {
            return;
        }
        let payload = leg.payload(number);
        let kind = payload.and_then(|p| CodecKind::from_encoding_name(&p.encoding));
        if let (Some(kind), Some(tap)) = (kind, &mut self.tap) {
            tap.0.packet(now, from_caller, kind, packet);
        }
    }
}
