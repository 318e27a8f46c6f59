//! What the threads of one server share: who has how many allocations, and reserved ports. It is
//! locked by requests, never for a packet.

use std::collections::HashMap;
use std::time::Instant;

use super::allocation::Owner;
use super::config::{RESERVATION, TurnLimits};
use super::counters::Refused;

#[derive(Debug, Default)]
pub(super) struct Book {
    total: usize,
    users: HashMap<Box<str>, usize>,
    tenants: HashMap<Box<str>, usize>,
    reservations: Vec<Reservation>,
}

#[derive(Debug)]
struct Reservation {
    token: [u8; 8],
    /// Only who made it can use it.
    user: Box<str>,
    place: (u8, u16),
    until: Instant,
}

impl Book {
    /// Counts one more allocation, if there may be one.
    pub(super) fn admit(&mut self, owner: &Owner, limits: &TurnLimits) -> Result<(), Refused> {
        let of = |map: &HashMap<Box<str>, usize>, name: &str| map.get(name).copied().unwrap_or(0);
        if self.total >= limits.allocations_max {
            return Err(Refused::Full);
        }
        if of(&self.users, &user_key(owner)) >= limits.per_user {
            return Err(Refused::UserQuota);
        }
        if of(&self.tenants, &owner.tenant) >= limits.per_tenant {
            return Err(Refused::TenantQuota);
        }
        self.total += 1;
        *self.users.entry(user_key(owner).into()).or_default() += 1;
        *self.tenants.entry(owner.tenant.as_str().into()).or_default() += 1;
        Ok(())
    }

    /// One is gone.
    pub(super) fn release(&mut self, owner: &Owner) {
        self.total = self.total.saturating_sub(1);
        less(&mut self.users, &user_key(owner));
        less(&mut self.tenants, &owner.tenant);
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Keeps a port for its user's next request; false when too many are kept.
    pub(super) fn reserve(
        &mut self,
        (token, owner): ([u8; 8], &Owner),
        place: (u8, u16),
        now: Instant,
        max: usize,
    ) -> bool {
        self.reservations.retain(|r| r.until > now);
        if self.reservations.len() >= max {
            return false;
        }
        let (user, until) = (user_key(owner).into(), now + RESERVATION);
        self.reservations.push(Reservation { token, user, place, until });
        true
    }

    /// The port kept for a token, which is then used up.
    pub(super) fn redeem(
        &mut self,
        token: &[u8],
        owner: &Owner,
        now: Instant,
    ) -> Option<(u8, u16)> {
        let user = user_key(owner);
        let mine = |r: &Reservation| r.token == token && *r.user == *user && r.until > now;
        let at = self.reservations.iter().position(mine)?;
        Some(self.reservations.swap_remove(at).place)
    }

    pub(super) fn is_reserved(&self, place: (u8, u16), now: Instant) -> bool {
        self.reservations.iter().any(|r| r.place == place && r.until > now)
    }

    /// Nothing is left behind: for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0 && self.users.is_empty() && self.tenants.is_empty()
    }
}

/// Users of two tenants may have one name.
fn user_key(owner: &Owner) -> String {
    format!("{}\n{}", owner.tenant, owner.user)
}

fn less(map: &mut HashMap<Box<str>, usize>, name: &str) {
    if let Some(count) = map.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            map.remove(name);
        }
    }
}
