//! Digits that signalling brings.

use std::time::Instant;

use super::Control;
use crate::api::SessionId;
use crate::ports::Ports;

impl<P: Ports> Control<P> {
    /// Has one side hear a key (`0-9*#A-D`, milliseconds) in its form of digits. False when there
    /// is no such side, or nothing is converted between the two.
    pub fn send_digit(
        &mut self,
        now: Instant,
        id: SessionId,
        toward: Option<u32>,
        (digit, duration_ms): (char, u32),
    ) -> bool {
        let Some(session) = self.sessions.get(&id) else { return false };
        let leg = session.leg_of(toward);
        leg.is_some_and(|leg| session.bridge.lock().send_digit(now, leg, digit, duration_ms))
    }
}
