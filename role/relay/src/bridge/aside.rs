//! What stands beside a call: sound that is played to a side in place of what the other says, and
//! third parties who hear a copy of what a side sends.
//!
//! ```text
//!   caller ══► caller's leg ═╦═► branch's leg ══► callee      (not while a player has the callee)
//!                            ╠═► a listener's leg ══► third party
//!                    player ─╨─► branch's leg ══► callee
//! ```
//!
//! Calls without any pay one comparison for each packet.

use std::time::Instant;

use rtp::srtp::MAX_TRAILER;

use super::player::Player;
use super::{Bridge, Component, LegId, Port, Transmit};

/// Buffers of listeners' copies that wait to be used again.
const SPARE_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Who hears a player.
    players: Vec<(LegId, Player)>,
    /// Whose packets are copied, and to whom.
    listeners: Vec<(LegId, LegId)>,
    spare: Vec<Vec<u8>>,
}

impl Aside {
    fn is_empty(&self) -> bool {
        self.players.is_empty() && self.listeners.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.players.iter().map(|(_, player)| player.due()).min()
    }
}

impl Bridge {
    /// Plays to a leg from now on, in place of what plays already and of what the other side sends.
    pub fn play(&mut self, toward: LegId, player: Player) {
        let aside = self.aside.get_or_insert_default();
        aside.players.retain(|(leg, _)| *leg != toward);
        aside.players.push((toward, player));
    }

    /// Ends what plays to a leg. False when nothing does.
    pub fn stop_playing(&mut self, toward: LegId) -> bool {
        self.change_aside(|aside| aside.players.retain(|(leg, _)| *leg != toward))
    }

    /// Whether something plays to a leg.
    pub fn is_playing(&self, toward: LegId) -> bool {
        self.aside.as_ref().is_some_and(|a| a.players.iter().any(|(leg, _)| *leg == toward))
    }

    /// Has `listener` sent a copy of all that `source` sends.
    pub fn listen(&mut self, source: LegId, listener: LegId) {
        let aside = self.aside.get_or_insert_default();
        if !aside.listeners.contains(&(source, listener)) {
            aside.listeners.push((source, listener));
        }
    }

    /// Ends copies to `listener` for a while or for good.
    pub fn stop_listening(&mut self, listener: LegId) -> bool {
        self.change_aside(|aside| aside.listeners.retain(|(_, leg)| *leg != listener))
    }

    /// Takes buffers that were sent, for copies to come.
    pub fn restock(&mut self, buffers: &mut Vec<Vec<u8>>) {
        if let Some(aside) = &mut self.aside
            && !aside.listeners.is_empty()
        {
            let room = SPARE_MAX.saturating_sub(aside.spare.len()).min(buffers.len());
            aside.spare.extend(buffers.drain(buffers.len() - room..));
        }
    }

    /// Forgets a leg that is taken out.
    pub(super) fn leave_aside(&mut self, id: LegId) {
        self.change_aside(|aside| {
            aside.players.retain(|(leg, _)| *leg != id);
            aside.listeners.retain(|(source, leg)| *source != id && *leg != id);
        });
    }

    /// Changes what is there; whether that took something away.
    fn change_aside(&mut self, change: impl FnOnce(&mut Aside)) -> bool {
        let Some(aside) = &mut self.aside else { return false };
        let before = aside.players.len() + aside.listeners.len();
        change(aside);
        let after = aside.players.len() + aside.listeners.len();
        if aside.is_empty() {
            self.aside = None;
        }
        after < before
    }

    /// Whether a leg only hears.
    pub(super) fn only_hears(&self, id: LegId) -> bool {
        self.aside.as_ref().is_some_and(|a| a.listeners.iter().any(|(_, leg)| *leg == id))
    }

    /// Copies a clear packet to whom it may concern. False when it does not go on to the other side,
    /// who hears a player.
    pub(super) fn copy_rtp(&mut self, now: Instant, from: LegId, packet: &[u8]) -> bool {
        self.copy(from, packet, |bridge, listener, bytes, len| {
            let leg = bridge.leg_mut(listener)?;
            let (to, len) = leg.send_rtp(now, bytes, len)?;
            Some((Component::Rtp, to, len))
        });
        !self.target_id(from).is_some_and(|target| self.is_playing(target))
    }

    /// Copies a clear RTCP packet: who hears a stream needs its times and names.
    pub(super) fn copy_rtcp(&mut self, now: Instant, from: LegId, packet: &[u8]) {
        self.copy(from, packet, |bridge, listener, bytes, len| {
            let leg = bridge.leg_mut(listener)?;
            let (to, len, component) = leg.send_rtcp(now, bytes, len)?;
            Some((component, to, len))
        });
    }

    fn copy(
        &mut self,
        from: LegId,
        packet: &[u8],
        seal: impl Fn(
            &mut Self,
            LegId,
            &mut [u8],
            usize,
        ) -> Option<(Component, std::net::SocketAddr, usize)>,
    ) {
        let Some(mut aside) = self.aside.take() else { return };
        for (_, listener) in aside.listeners.iter().filter(|(source, _)| *source == from) {
            let mut bytes = aside.spare.pop().unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(packet);
            bytes.resize(packet.len() + MAX_TRAILER, 0);
            match seal(self, *listener, &mut bytes, packet.len()) {
                Some((component, to, len)) => {
                    bytes.truncate(len);
                    self.push(Transmit { port: Port { leg: *listener, component }, to, bytes });
                }
                None => aside.spare.push(bytes),
            }
        }
        self.aside = Some(aside);
    }

    /// Sends what players have to say by now.
    pub(super) fn play_timeout(&mut self, now: Instant) {
        let Some(mut aside) = self.aside.take() else { return };
        for (toward, player) in &mut aside.players {
            let port = Port { leg: *toward, component: Component::Rtp };
            player.play(now, |mut bytes, len| {
                let sealed =
                    self.leg_mut(*toward).and_then(|leg| leg.send_rtp(now, &mut bytes, len));
                if let Some((to, len)) = sealed {
                    bytes.truncate(len);
                    self.push(Transmit { port, to, bytes });
                }
            });
        }
        aside.players.retain(|(_, player)| !player.is_over());
        self.aside = Some(aside).filter(|aside| !aside.is_empty());
    }
}
