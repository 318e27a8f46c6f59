//! All bindings in memory, shared by every shard.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sansio::{FlowId, WallTime};

use crate::binding::{Binding, BindingKey};
use crate::codec::Entry;
use crate::plan::RegisterPlan;

/// Stripes: enough that shards rarely meet, few enough that a sweep is short.
pub(crate) const STRIPES: usize = 256;

type Slots = BTreeMap<u32, Vec<Arc<Binding>>>;

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
    pub fn lookup(&self, aor: &str, wall: WallTime) -> Vec<Arc<Binding>> {
        let half = BindingKey::aor_half(aor);
        let slots = self.stripe(half).read();
        let all = slots.get(&half).map(Vec::as_slice).unwrap_or_default();
        let live = all.iter().filter(|b| b.is_live(wall) && b.aor() == aor);
        let mut found: Vec<Arc<Binding>> = live.cloned().collect();
        drop(slots);
        sort(&mut found);
        found
    }

    /// What to ring: the live bindings a message can reach now, one per phone (its best flow: RFC
    /// 5626 §5.3), best first. A phone on a connection that is gone has to register again first.
    pub fn reachable(&self, aor: &str, wall: WallTime) -> Vec<Arc<Binding>> {
        let mut found = self.lookup(aor, wall);
        found.retain(|b| b.flow.is_some() || !b.transport.is_reliable());
        let mut seen: Vec<String> = Vec::new();
        found.retain(|binding| match binding.instance() {
            Some(instance) if seen.iter().any(|s| s == instance) => false,
            Some(instance) => {
                seen.push(instance.to_owned());
                true
            }
            None => true,
        });
        found
    }

    /// One binding, while it lives.
    pub fn by_key(&self, key: BindingKey, wall: WallTime) -> Option<Arc<Binding>> {
        let slots = self.stripe(key.upper()).read();
        let all = slots.get(&key.upper())?;
        all.iter().find(|b| b.key == key && b.is_live(wall)).cloned()
    }

    /// The binding of an address of record that lives on this flow, or (after a restart, by a
    /// datagram) came from this address.
    pub fn on_flow(
        &self,
        aor: &str,
        flow: FlowId,
        source: SocketAddr,
        wall: WallTime,
    ) -> Option<Arc<Binding>> {
        let all = self.lookup(aor, wall);
        let by_flow = all.iter().find(|b| b.flow == Some(flow));
        let by_source = || all.iter().find(|b| !b.transport.is_reliable() && b.source == source);
        by_flow.or_else(by_source).cloned()
    }

    /// The flow has closed: the bindings of `aor` on it wait for their phones to register again.
    pub fn forget_flow(&self, aor: &str, flow: FlowId) -> usize {
        let half = BindingKey::aor_half(aor);
        let mut slots = self.stripe(half).write();
        let Some(slot) = slots.get_mut(&half) else { return 0 };
        let on_it = slot.iter_mut().filter(|b| b.flow == Some(flow) && b.aor() == aor);
        on_it.map(|b| Arc::make_mut(b).flow = None).count()
    }

    /// All live bindings, up to `limit`, in no meaningful but a stable order.
    pub fn list(&self, wall: WallTime, limit: usize) -> Vec<Arc<Binding>> {
        let mut found = Vec::new();
        for stripe in &self.stripes {
            let slots = stripe.read();
            let live = slots.values().flatten().filter(|b| b.is_live(wall));
            found.extend(live.take(limit - found.len()).cloned());
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

    /// Changes the bindings of one address of record under its lock.
    pub(crate) fn update<T>(&self, aor: &str, change: impl FnOnce(Slot<'_>) -> T) -> T {
        let half = BindingKey::aor_half(aor);
        let stripe = self.stripe(half);
        let mut slots = stripe.write();
        let mut bindings = slots.remove(&half).unwrap_or_default();
        let before = bindings.len();
        let outcome = change(Slot { bindings: &mut bindings, revision: &self.revision });
        self.count_changed(before, bindings.len());
        let earliest = bindings.iter().map(|b| b.expires_at.as_millis()).min();
        if let Some(earliest) = earliest {
            stripe.earliest.fetch_min(earliest, Ordering::Relaxed);
            bindings.shrink_to_fit();
            slots.insert(half, bindings);
        }
        outcome
    }

    /// Takes back what could not be written, where nothing newer has come since.
    pub(crate) fn revert(&self, aor: &str, plan: &RegisterPlan) {
        self.update(aor, |slot| {
            for change in plan.changes.iter().rev() {
                let at = slot.bindings.iter().position(|b| b.key == change.key);
                let current = at.map(|at| slot.bindings[at].revision);
                if current != change.after.as_ref().map(|b| b.revision) {
                    continue;
                }
                if let Some(at) = at {
                    slot.bindings.swap_remove(at);
                }
                slot.bindings.extend(change.before.clone());
            }
        });
    }

    /// From the journal: the latest revision of a binding wins.
    pub(crate) fn restore(&self, binding: Arc<Binding>) {
        self.saw_revision(binding.revision);
        let aor = binding.aor().to_owned();
        self.update(&aor, |slot| match slot.bindings.iter_mut().find(|b| b.key == binding.key) {
            Some(old) if old.revision >= binding.revision => {}
            Some(old) => *old = binding,
            None => slot.bindings.push(binding),
        });
    }

    /// From the journal: the binding was removed by this change.
    pub(crate) fn remove_older(&self, key: BindingKey, revision: u64) {
        let stripe = self.stripe(key.upper());
        let mut slots = stripe.write();
        let Some(slot) = slots.get_mut(&key.upper()) else { return };
        let before = slot.len();
        slot.retain(|b| b.key != key || b.revision > revision);
        self.count_changed(before, slot.len());
        if slot.is_empty() {
            slots.remove(&key.upper());
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
        self.stripes.iter().map(|stripe| {
            stripe.read().values().flatten().map(|b| Entry::Set(Arc::clone(b))).collect()
        })
    }

    /// When the first binding of these stripes may expire.
    pub(crate) fn next_expiry(&self, stripes: impl Iterator<Item = usize>) -> Option<WallTime> {
        let earliest = stripes.map(|s| self.stripes[s].earliest.load(Ordering::Relaxed)).min()?;
        (earliest != u64::MAX).then(|| WallTime::from_millis(earliest))
    }

    /// Removes what has expired in one stripe.
    pub(crate) fn sweep(&self, stripe: usize, wall: WallTime) -> Vec<Arc<Binding>> {
        let stripe = &self.stripes[stripe];
        if stripe.earliest.load(Ordering::Relaxed) > wall.as_millis() {
            return Vec::new();
        }
        let mut expired = Vec::new();
        let mut earliest = u64::MAX;
        let mut slots = stripe.write();
        slots.retain(|_, bindings| {
            expired.extend(bindings.extract_if(.., |b| !b.is_live(wall)));
            let first = bindings.iter().map(|b| b.expires_at.as_millis()).min();
            earliest = earliest.min(first.unwrap_or(u64::MAX));
            !bindings.is_empty()
        });
        stripe.earliest.store(earliest, Ordering::Relaxed);
        drop(slots);
        self.count_changed(expired.len(), 0);
        expired
    }

    fn stripe(&self, half: u32) -> &Stripe {
        &self.stripes[half as usize % STRIPES]
    }

    fn count_changed(&self, before: usize, after: usize) {
        if after >= before {
            self.count.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.count.fetch_sub(before - after, Ordering::Relaxed);
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
}

/// The bindings of one address of record (and of the few that share its hash), locked.
pub(crate) struct Slot<'a> {
    pub(crate) bindings: &'a mut Vec<Arc<Binding>>,
    revision: &'a AtomicU64,
}

impl Slot<'_> {
    /// The next change's number. Given out under the lock: a snapshot that began later has it.
    pub(crate) fn next_revision(&self) -> u64 {
        self.revision.fetch_add(1, Ordering::SeqCst) + 1
    }
}

pub(crate) fn sort(bindings: &mut [Arc<Binding>]) {
    bindings.sort_by(|a, b| {
        b.q.cmp(&a.q)
            .then_with(|| b.registered_at.cmp(&a.registered_at))
            .then_with(|| b.revision.cmp(&a.revision))
    });
}
