//! Where bridges live: all of one packet thread's under one lock. The thread takes it for a batch of
//! packets, a command for a moment; no packet has a lock of its own.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use net::fast_path::FlowPath;

use super::{Bridge, KernelStream};
use crate::api::SessionId;

/// The bridges of one packet thread.
#[derive(Default)]
pub struct Home {
    shelf: Mutex<Shelf>,
}

/// What is in a [`Home`]: a bridge by its place.
#[derive(Default)]
pub struct Shelf {
    places: Vec<Place>,
    free: Vec<u32>,
}

struct Place {
    session: SessionId,
    bridge: Option<Box<Bridge>>,
    /// When its timers are to be looked at; may be too early, never too late.
    due: Option<Instant>,
}

impl Home {
    /// No bridges yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Puts a bridge in; it stays for as long as the handle or a clone of it lives.
    pub fn keep(self: &Arc<Self>, session: SessionId, bridge: Bridge) -> SharedBridge {
        let mut shelf = self.lock();
        let place = Place { session, bridge: Some(Box::new(bridge)), due: None };
        let at = match shelf.free.pop() {
            Some(at) => {
                shelf.places[at as usize] = place;
                at
            }
            None => {
                shelf.places.push(place);
                (shelf.places.len() - 1) as u32
            }
        };
        SharedBridge(Arc::new(Kept { home: Arc::clone(self), at }))
    }

    /// All bridges, for a batch of packets.
    pub fn lock(&self) -> MutexGuard<'_, Shelf> {
        // A panic in a packet thread must not take the call's control with it: a bridge's state is
        // valid after every statement that may panic.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// The bridge of a place.
    pub fn bridge(&mut self, at: u32) -> Option<&mut Bridge> {
        self.places.get_mut(at as usize)?.bridge.as_deref_mut()
    }

    /// A bridge's timers may have changed.
    pub fn touch(&mut self, at: u32) {
        if let Some(place) = self.places.get_mut(at as usize) {
            place.due = place.bridge.as_ref().and_then(|bridge| bridge.poll_timeout());
        }
    }

    /// Lets bridges whose timers are due look at the time, and `each` at what they have to say. When
    /// the next is due.
    pub fn handle_timeouts(
        &mut self,
        now: Instant,
        mut each: impl FnMut(SessionId, &mut Bridge),
    ) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for place in &mut self.places {
            let Some(due) = place.due else { continue };
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            if let Some(bridge) = place.bridge.as_deref_mut() {
                // Packets move a deadline without saying so.
                if bridge.poll_timeout().is_some_and(|at| at <= now) {
                    bridge.handle_timeout(now);
                    each(place.session, bridge);
                }
                place.due = bridge.poll_timeout();
                next = next.into_iter().chain(place.due).min();
            }
        }
        next
    }

    /// Has the kernel forward what needs nothing of us ([`Bridge::open_streams`]).
    pub fn open_streams(
        &mut self,
        open: &mut dyn FnMut(&FlowPath) -> Option<Box<dyn KernelStream>>,
    ) {
        let bridges = self.places.iter_mut().filter_map(|place| place.bridge.as_deref_mut());
        bridges.for_each(|bridge| bridge.open_streams(open));
    }

    /// Takes in what the kernel counted since the last time.
    pub fn count_streams(&mut self) {
        let bridges = self.places.iter_mut().filter_map(|place| place.bridge.as_deref_mut());
        bridges.filter(|bridge| bridge.has_streams()).for_each(Bridge::count_streams);
    }

    /// How many bridges there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A handle on a bridge; the bridge goes with the last one.
#[derive(Clone)]
pub struct SharedBridge(Arc<Kept>);

struct Kept {
    home: Arc<Home>,
    at: u32,
}

impl SharedBridge {
    /// The bridge, to change; what the kernel forwards for it is taken back first. Nothing else of
    /// its thread moves meanwhile; the last handle of another bridge must not be dropped meanwhile.
    pub fn lock(&self) -> BridgeGuard<'_> {
        let mut guard = BridgeGuard { shelf: self.0.home.lock(), at: self.0.at };
        guard.close_streams();
        guard
    }

    /// The bridge, to look at: as [`SharedBridge::lock`], with what the kernel forwards going on.
    pub fn look(&self) -> BridgeGuard<'_> {
        let mut guard = BridgeGuard { shelf: self.0.home.lock(), at: self.0.at };
        guard.count_streams();
        guard
    }

    /// Its place in its home.
    pub fn place(&self) -> u32 {
        self.0.at
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut shelf = self.home.lock();
        let at = self.at as usize;
        let bridge = shelf.places[at].bridge.take();
        shelf.places[at].due = None;
        shelf.free.push(self.at);
        drop(shelf);
        drop(bridge);
    }
}

impl fmt::Debug for SharedBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedBridge").field(&self.0.at).finish()
    }
}

/// A bridge that is held.
pub struct BridgeGuard<'a> {
    shelf: MutexGuard<'a, Shelf>,
    at: u32,
}

impl Deref for BridgeGuard<'_> {
    type Target = Bridge;

    fn deref(&self) -> &Bridge {
        // The handle that the guard borrows keeps the bridge in its place.
        self.shelf.places[self.at as usize].bridge.as_deref().expect("a kept bridge")
    }
}

impl DerefMut for BridgeGuard<'_> {
    fn deref_mut(&mut self) -> &mut Bridge {
        // As above.
        self.shelf.bridge(self.at).expect("a kept bridge")
    }
}

impl Drop for BridgeGuard<'_> {
    fn drop(&mut self) {
        self.shelf.touch(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::LegId;
    use std::time::Duration;

    #[test]
    fn a_bridge_stays_while_a_handle_lives_and_its_place_is_used_again() {
        let (home, silence) = (Home::new(), Duration::from_secs(1));
        let first = home.keep(SessionId(1), Bridge::new(silence));
        let clone = first.clone();
        let second = home.keep(SessionId(2), Bridge::new(silence));
        assert_ne!(first.place(), second.place());
        drop(first);
        assert_eq!(home.lock().len(), 2, "a clone lives");
        let freed = clone.place();
        drop(clone);
        assert_eq!(home.lock().len(), 1);
        assert_eq!(home.keep(SessionId(3), Bridge::new(silence)).place(), freed);
    }

    #[test]
    fn timers_are_looked_at_when_they_are_due_and_not_before() {
        let (home, now) = (Home::new(), Instant::now());
        let bridge = home.keep(SessionId(1), Bridge::new(Duration::from_secs(5)));
        bridge.lock().join(now, LegId::CALLER, LegId(1));
        let told = |after: u64| {
            let mut told = Vec::new();
            let at = now + Duration::from_secs(after);
            home.lock().handle_timeouts(at, |session, _| told.push(session));
            told
        };
        assert_eq!((told(4), told(5), told(6)), (vec![], vec![SessionId(1)], vec![]));
    }
}
