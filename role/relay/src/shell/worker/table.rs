//! Sockets by the tokens epoll tells them with.

use std::net::UdpSocket;
use std::sync::Arc;

use super::super::sockets::SessionIo;
use crate::bridge::Port;

/// A watched socket.
pub(super) struct Watched {
    pub port: Port,
    pub socket: Arc<UdpSocket>,
    pub io: Arc<SessionIo>,
}

/// Sockets by token: place in the list, and how often the place was used before.
#[derive(Default)]
pub(super) struct Table {
    places: Vec<(u32, Option<Arc<Watched>>)>,
    free: Vec<u32>,
}

impl Table {
    pub(super) fn insert(&mut self, watched: Arc<Watched>) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let (generation, slot) = &mut self.places[place as usize];
        *slot = Some(watched);
        u64::from(*generation) << 32 | u64::from(place)
    }

    pub(super) fn find(&self, token: u64) -> Option<Arc<Watched>> {
        let (generation, slot) = self.places.get((token & 0xffff_ffff) as usize)?;
        slot.clone().filter(|_| u64::from(*generation) == token >> 32)
    }

    pub(super) fn remove(&mut self, token: u64) -> Option<Arc<Watched>> {
        let place = (token & 0xffff_ffff) as u32;
        let (generation, slot) = self.places.get_mut(place as usize)?;
        let watched = slot.take_if(|_| u64::from(*generation) == token >> 32)?;
        *generation = generation.wrapping_add(1);
        self.free.push(place);
        Some(watched)
    }
}
