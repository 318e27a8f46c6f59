//! All bindings in memory, shared by every shard.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;
use sansio::{FlowId, WallTime};
use smallvec::SmallVec;

use crate::binding::{Binding, BindingKey, Numbers};
use crate::codec::Entry;
use crate::plan::RegisterPlan;

/// Stripes: enough that shards rarely meet, few enough that a sweep is short.
pub(crate) const STRIPES: usize = 256;

/// The bindings of one address of record: mostly one or two.
pub type Bindings = SmallVec<[Binding; 2]>;

/// Bindings by the address of record's half of their key: all that share it are found together.
type Slots = HashTable<Binding>;

/// The location table: address of record → bindings. A lookup takes one read lock of 256 and
/// clones pointers; nothing waits for a disk.
#[derive(Debug)]
pub struct LocationTable {
    stripes: Vec<Stripe>,
    revision: AtomicU64,
    count: AtomicUsize,
}

#[derive(Debug)]
struct Stripe {
    slots: RwLock<Slots>,
    /// No binding of this stripe expires before; milliseconds.
    earliest: AtomicU64,
}

impl Default for LocationTable {
    fn default() -> Self {
        let stripe = || Stripe { slots: RwLock::default(), earliest: AtomicU64::new(u64::MAX) };
        Self {
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
            revision: AtomicU64::new(0),
            count: AtomicUsize::new(0),
        }
    }
}

impl LocationTable {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The live bindings of an address of record: by q, then the newest first.
    pub fn lookup(&self, aor: &str, wall: WallTime) -> Bindings {
        let half = BindingKey::aor_half(aor);
        let slots = self.stripe(half).read();
        let live = of_half(&slots, half).filter(|b| b.is_live(wall) && b.is_of(aor));
        let mut found: Bindings = live.cloned().collect();
        drop(slots);
        sort(&mut found);
        found
    }

    /// What to ring: the live bindings a message can reach now, one per phone (its best flow: RFC
    /// 5626 §5.3), best first. A phone on a connection that is gone has to register again first.
    pub fn reachable(&self, aor: &str, wall: WallTime) -> Bindings {
        let mut found = self.lookup(aor, wall);
        found.retain(|b| b.flow().is_some() || !b.transport().is_reliable());
        let mut at = 0;
        while at < found.len() {
            let (before, rest) = found.split_at(at);
            let instance = rest[0].instance();
            if instance.is_some() && before.iter().any(|b| b.instance() == instance) {
                found.remove(at);
            } else {
                at += 1;
            }
        }
        found
    }

    /// One binding, while it lives.
    pub fn by_key(&self, key: BindingKey, wall: WallTime) -> Option<Binding> {
        let slots = self.stripe(key.upper()).read();
        let found = slots.find(spread(key.upper()), |b| b.key() == key)?;
        found.is_live(wall).then(|| found.clone())
    }

    /// The binding of an address of record that lives on this flow, or (after a restart, by a
    /// datagram) came from this address.
    pub fn on_flow(
        &self,
        aor: &str,
        flow: FlowId,
        source: SocketAddr,
        wall: WallTime,
    ) -> Option<Binding> {
        let all = self.lookup(aor, wall);
        let by_flow = all.iter().find(|b| b.flow() == Some(flow));
        let is_it = |b: &&Binding| !b.transport().is_reliable() && b.source() == source;
        by_flow.or_else(|| all.iter().find(is_it)).cloned()
    }

    /// The flow has closed: the bindings of `aor` on it wait for their phones to register again.
    pub fn forget_flow(&self, aor: &str, flow: FlowId) -> usize {
        let half = BindingKey::aor_half(aor);
        let mut slots = self.stripe(half).write();
        let on_it = slots
            .iter_hash_mut(spread(half))
            .filter(|b| b.key().upper() == half && b.flow() == Some(flow) && b.is_of(aor));
        on_it.map(|b| *b = b.without_flow()).count()
    }

    /// All live bindings, up to `limit`, in no meaningful but a stable order.
    pub fn list(&self, wall: WallTime, limit: usize) -> Vec<Binding> {
        let mut found = Vec::new();
        for stripe in &self.stripes {
            let mut live = stripe.sorted();
            live.retain(|b| b.is_live(wall));
            found.extend(live.into_iter().take(limit - found.len()));
            if found.len() >= limit {
                break;
            }
        }
        found
    }

    /// How many bindings there are, expired ones included until the next sweep.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes the bindings of one address of record under its lock; an error changes nothing.
    pub(crate) fn update<T, E>(
        &self,
        half: u32,
        change: impl FnOnce(Slot<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let stripe = self.stripe(half);
        let mut slots = stripe.write();
        let mut bindings: Bindings = of_half(&slots, half).cloned().collect();
        let outcome = change(Slot { bindings: &mut bindings, revision: &self.revision })?;
        self.put_back(&mut slots, half, &bindings);
        if let Some(earliest) = bindings.iter().map(|b| b.expires_at().as_millis()).min() {
            stripe.earliest.fetch_min(earliest, Ordering::Relaxed);
        }
        Ok(outcome)
    }

    /// Changes the only binding of an address of record in place, if `change` finds that it can: it
    /// gets the binding and what makes the change's number. `None` if it did not, or if there are
    /// more bindings or none.
    pub(crate) fn renew<T>(
        &self,
        half: u32,
        change: impl FnOnce(&mut Binding, &mut dyn FnMut() -> u64) -> Option<T>,
    ) -> Option<T> {
        let stripe = self.stripe(half);
        let mut slots = stripe.write();
        let mut mine = slots.iter_hash_mut(spread(half)).filter(|b| b.key().upper() == half);
        let (only, None) = (mine.next()?, mine.next()) else { return None };
        let mut number = || self.revision.fetch_add(1, Ordering::SeqCst) + 1;
        let done = change(only, &mut number)?;
        let expires_at = only.expires_at().as_millis();
        stripe.earliest.fetch_min(expires_at, Ordering::Relaxed);
        Some(done)
    }

    /// Takes back what [`Self::renew`] did, where nothing newer has come since.
    pub(crate) fn undo_renewal(&self, (key, revision): (BindingKey, u64), before: &Numbers) {
        let stripe = self.stripe(key.upper());
        let mut slots = stripe.write();
        let is_it = |b: &Binding| b.key() == key && b.revision() == revision;
        match slots.find_mut(spread(key.upper()), is_it) {
            Some(binding) => {
                binding.put_back(before);
                let expires_at = binding.expires_at().as_millis();
                stripe.earliest.fetch_min(expires_at, Ordering::Relaxed);
            }
            None => tracing::debug!(%key, "a newer change stays"),
        }
    }

    /// Takes back what could not be written, where nothing newer has come since.
    pub(crate) fn revert(&self, plan: &RegisterPlan) {
        for change in plan.changes.iter().rev() {
            let reverted = self.update(change.key.upper(), |slot| {
                let at = slot.bindings.iter().position(|b| b.key() == change.key);
                let current = at.map(|at| slot.bindings[at].revision());
                if current != change.after.as_ref().map(Binding::revision) {
                    return Err(());
                }
                if let Some(at) = at {
                    slot.bindings.swap_remove(at);
                }
                slot.bindings.extend(change.before.clone());
                Ok(())
            });
            if reverted.is_err() {
                tracing::debug!(key = %change.key, "a newer change stays");
            }
        }
    }

    /// From the journal: the latest revision of a binding wins.
    pub(crate) fn restore(&self, binding: Binding) {
        self.saw_revision(binding.revision());
        let key = binding.key();
        let stripe = self.stripe(key.upper());
        let mut slots = stripe.write();
        let expires_at = binding.expires_at().as_millis();
        match slots.find_mut(spread(key.upper()), |b| b.key() == key) {
            Some(old) if old.revision() >= binding.revision() => return,
            Some(old) => *old = binding,
            None => {
                slots.insert_unique(spread(key.upper()), binding, hash_of);
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        stripe.earliest.fetch_min(expires_at, Ordering::Relaxed);
    }

    /// From the journal: the binding was removed by this change.
    pub(crate) fn remove_older(&self, key: BindingKey, revision: u64) {
        let mut slots = self.stripe(key.upper()).write();
        let is_older = |b: &Binding| b.key() == key && b.revision() <= revision;
        if let Ok(entry) = slots.find_entry(spread(key.upper()), is_older) {
            entry.remove();
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// New changes are later than this one.
    pub(crate) fn saw_revision(&self, revision: u64) {
        self.revision.fetch_max(revision, Ordering::Relaxed);
    }

    /// The latest change given out.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// Every binding, stripe by stripe; each stripe is as of one moment.
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = Vec<Entry>> {
        self.stripes.iter().map(|stripe| stripe.sorted().into_iter().map(Entry::Set).collect())
    }

    /// When the first binding of these stripes may expire.
    pub(crate) fn next_expiry(&self, stripes: impl Iterator<Item = usize>) -> Option<WallTime> {
        let earliest = stripes.map(|s| self.stripes[s].earliest.load(Ordering::Relaxed)).min()?;
        (earliest != u64::MAX).then(|| WallTime::from_millis(earliest))
    }

    /// Removes what has expired in one stripe.
    pub(crate) fn sweep(&self, stripe: usize, wall: WallTime) -> Vec<Binding> {
        let stripe = &self.stripes[stripe];
        if stripe.earliest.load(Ordering::Relaxed) > wall.as_millis() {
            return Vec::new();
        }
        let mut slots = stripe.write();
        let mut expired: Vec<Binding> = slots.extract_if(|b| !b.is_live(wall)).collect();
        let earliest = slots.iter().map(|b| b.expires_at().as_millis()).min();
        stripe.earliest.store(earliest.unwrap_or(u64::MAX), Ordering::Relaxed);
        if slots.len() < slots.capacity() / 4 {
            slots.shrink_to_fit(hash_of);
        }
        drop(slots);
        self.count.fetch_sub(expired.len(), Ordering::Relaxed);
        expired.sort_by_key(Binding::key);
        expired
    }

    fn stripe(&self, half: u32) -> &Stripe {
        &self.stripes[half as usize % STRIPES]
    }

    /// Makes the bindings of this half what they are now.
    fn put_back(&self, slots: &mut Slots, half: u32, bindings: &Bindings) {
        let hash = spread(half);
        let is_gone = |b: &Binding| {
            b.key().upper() == half && bindings.iter().all(|kept| kept.key() != b.key())
        };
        while let Ok(gone) = slots.find_entry(hash, is_gone) {
            gone.remove();
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        for binding in bindings {
            let key = binding.key();
            match slots.find_mut(hash, |b| b.key() == key) {
                Some(old) => *old = binding.clone(),
                None => {
                    slots.insert_unique(hash, binding.clone(), hash_of);
                    self.count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Stripe {
    // No code panics while it holds a stripe half-changed, so a poisoned one is whole.
    fn read(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All bindings; the table's own order says nothing and may differ between runs.
    fn sorted(&self) -> Vec<Binding> {
        let mut all: Vec<Binding> = self.read().iter().cloned().collect();
        all.sort_by_key(Binding::key);
        all
    }
}

/// The bindings of one address of record (and of the few that share its hash), locked.
pub(crate) struct Slot<'a> {
    pub(crate) bindings: &'a mut Bindings,
    revision: &'a AtomicU64,
}

impl Slot<'_> {
    /// The next change's number. Given out under the lock: a snapshot that began later has it.
    pub(crate) fn next_revision(&self) -> u64 {
        self.revision.fetch_add(1, Ordering::SeqCst) + 1
    }
}

fn of_half(slots: &Slots, half: u32) -> impl Iterator<Item = &Binding> {
    slots.iter_hash(spread(half)).filter(move |b| b.key().upper() == half)
}

/// The halves of one stripe share their low bits: both ends of a table's hash must differ.
fn spread(half: u32) -> u64 {
    let mixed = u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

fn hash_of(binding: &Binding) -> u64 {
    spread(binding.key().upper())
}

pub(crate) fn sort(bindings: &mut [Binding]) {
    if bindings.len() < 2 {
        return;
    }
    bindings.sort_by(|a, b| {
        b.q()
            .cmp(&a.q())
            .then_with(|| b.registered_at().cmp(&a.registered_at()))
            .then_with(|| b.revision().cmp(&a.revision()))
    });
}
