//! The registrar's decisions (RFC 3261 §10.3, RFC 5626 §6).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sansio::WallTime;

use crate::binding::{Binding, BindingKey, NewBinding, Numbers, Renewal};
use crate::plan::{Change, Changes, RegisterPlan};
use crate::refusal::{Refusal, RefusalReason};
use crate::request::{Contact, Contacts, RegisterRequest};
use crate::table::{Bindings, LocationTable, STRIPES, Slot, sort};

/// What a registration may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Least seconds; below it 423 with Min-Expires.
    pub min_expires: u32,
    /// Most seconds; more is shortened.
    pub max_expires: u32,
    /// Seconds when nothing is asked for.
    pub default_expires: u32,
    /// Most bindings of one address of record.
    pub max_contacts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_expires: 60, max_expires: 3600, default_expires: 600, max_contacts: 10 }
    }
}

/// A binding that was prolonged, and as it was before.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) key: BindingKey,
    pub(crate) revision: u64,
    pub(crate) before: Numbers,
}

/// The registrar of one shard, on the table all shards share. Does no I/O.
#[derive(Debug, Clone)]
pub struct Registrar {
    table: Arc<LocationTable>,
    limits: Limits,
    shard: usize,
    shards: usize,
}

impl Registrar {
    /// The only one.
    pub fn new(table: Arc<LocationTable>, limits: Limits) -> Self {
        Self::for_shard(table, limits, 0, 1)
    }

    /// One of `shards`; each looks after the expiry of its share of the table.
    pub fn for_shard(
        table: Arc<LocationTable>,
        limits: Limits,
        shard: usize,
        shards: usize,
    ) -> Self {
        debug_assert!(shard < shards, "a shard is one of the shards");
        Self { table, limits, shard, shards }
    }

    /// Decides and applies in memory. The plan's entries belong into the journal before the 200.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing was changed.
    pub fn handle_register(
        &self,
        wall: WallTime,
        request: &RegisterRequest<'_>,
    ) -> Result<RegisterPlan, Refusal> {
        let contacts = match &request.contacts {
            Contacts::Query => {
                let bindings = self.table.lookup(&request.aor, wall);
                return Ok(RegisterPlan { bindings, changes: Changes::new() });
            }
            Contacts::All if request.expires != Some(0) => {
                return Err(Refusal::new(RefusalReason::StarNeedsZero));
            }
            Contacts::All => None,
            Contacts::List(contacts) => Some(contacts),
        };
        let half = BindingKey::aor_half(&request.aor);
        self.table.update(half, |slot| {
            let mut step = Step::new(wall, request, half, slot);
            match contacts {
                None => step.remove_all()?,
                Some(contacts) => {
                    for contact in contacts {
                        step.apply(contact, self.interval(request, contact)?)?;
                    }
                }
            }
            step.finish(self.limits.max_contacts)
        })
    }

    /// The same for a phone that registers again from where it is with nothing new: its one binding
    /// is prolonged in place, and `seen` sees it, locked. `None` where anything is otherwise:
    /// [`Self::handle_register`] decides then.
    pub(crate) fn renew(
        &self,
        wall: WallTime,
        request: &RegisterRequest<'_>,
        seen: impl FnOnce(&Binding),
    ) -> Option<Renewed> {
        let Contacts::List(contacts) = &request.contacts else { return None };
        let [contact] = contacts.as_slice() else { return None };
        let secs = self.interval(request, contact).ok().filter(|secs| *secs > 0)?;
        if !request.path.is_empty() {
            return None;
        }
        let instance = contact.instance.as_deref().unwrap_or("");
        let (call_id, agent) = (&*request.call_id, &*request.user_agent);
        let texts = [&request.aor, &*contact.uri, instance, call_id, agent, ""];
        let origin = request.origin;
        self.table.renew(BindingKey::aor_half(&request.aor), |binding, number| {
            let same = binding.cseq() <= request.cseq
                && binding.is_live(wall)
                && (binding.q(), binding.reg_id()) == (contact.q, contact.reg_id)
                && binding.transport() == origin.transport
                && (binding.source(), binding.local()) == (origin.source, origin.local)
                && binding.has_texts(texts);
            if !same {
                return None;
            }
            let revision = number();
            let before = binding.renew(&Renewal {
                revision,
                expires_at: wall + Duration::from_secs(u64::from(secs)),
                registered_at: wall,
                flow: origin.flow,
                cseq: request.cseq,
            });
            seen(binding);
            Some(Renewed { key: binding.key(), revision, before })
        })
    }

    /// The user is gone: all its bindings with it.
    pub fn handle_user_removed(&self, wall: WallTime, aor: &str) -> RegisterPlan {
        let removed = self.table.update(BindingKey::aor_half(aor), |slot| {
            let (gone, kept): (Bindings, Bindings) =
                std::mem::take(slot.bindings).into_iter().partition(|b| b.is_of(aor));
            *slot.bindings = kept;
            let live = gone.into_iter().filter(|b| b.is_live(wall));
            let changes = live.map(|b| removal(&slot, b, false)).collect();
            Ok::<_, Infallible>(RegisterPlan { bindings: Bindings::new(), changes })
        });
        match removed {
            Ok(plan) => plan,
            Err(never) => match never {},
        }
    }

    /// When [`Self::handle_timeout`] has something to do; it may find nothing when a phone has
    /// refreshed since.
    pub fn next_expiry(&self) -> Option<WallTime> {
        self.table.next_expiry(self.stripes())
    }

    /// Removes what has expired in this shard's share. Nothing needs journalling: entries carry
    /// their end.
    pub fn handle_timeout(&self, wall: WallTime) -> Vec<Binding> {
        self.stripes().flat_map(|stripe| self.table.sweep(stripe, wall)).collect()
    }

    /// The table all shards share.
    pub fn table(&self) -> &Arc<LocationTable> {
        &self.table
    }

    fn stripes(&self) -> impl Iterator<Item = usize> + use<> {
        (self.shard..STRIPES).step_by(self.shards)
    }

    /// The seconds a contact gets (RFC 3261 §10.3 step 7, §10.2.8).
    fn interval(
        &self,
        request: &RegisterRequest<'_>,
        contact: &Contact<'_>,
    ) -> Result<u32, Refusal> {
        let Limits { min_expires, max_expires, default_expires, .. } = self.limits;
        let asked = contact.expires.or(request.expires).unwrap_or(default_expires);
        if asked != 0 && asked < min_expires {
            return Err(Refusal::new(RefusalReason::IntervalTooBrief { min_expires }));
        }
        Ok(asked.min(max_expires))
    }
}

/// One REGISTER on its way through the bindings; nothing shows until [`Step::finish`].
struct Step<'a, 'r> {
    wall: WallTime,
    request: &'a RegisterRequest<'r>,
    /// The address of record's half of a key.
    half: u32,
    slot: Slot<'a>,
    changes: Changes,
}

impl<'a, 'r> Step<'a, 'r> {
    fn new(wall: WallTime, request: &'a RegisterRequest<'r>, half: u32, slot: Slot<'a>) -> Self {
        Self { wall, request, half, slot, changes: Changes::new() }
    }

    fn apply(&mut self, contact: &Contact<'_>, secs: u32) -> Result<(), Refusal> {
        let instance = contact.instance.as_deref();
        let key = BindingKey::of_phone(self.half, instance, contact.reg_id, &contact.uri);
        let mut at = self.position(|b| b.key() == key);
        if secs == 0 {
            // A phone may forget to name its instance when it says goodbye.
            at = at.or_else(|| self.position(|b| b.contact() == contact.uri));
            if let Some(at) = at {
                self.check_order(at)?;
                self.remove(at, false);
            }
            return Ok(());
        }
        if let Some(at) = at {
            self.check_order(at)?;
        }
        while let Some(twin) = self.position(|b| b.key() != key && self.is_twin(b, contact)) {
            self.remove(twin, true);
        }
        let binding = self.binding(key, contact, secs)?;
        let at = self.position(|b| b.key() == key);
        let wall = self.wall;
        let before = at.map(|at| self.slot.bindings.swap_remove(at)).filter(|b| b.is_live(wall));
        self.slot.bindings.push(binding.clone());
        let revision = binding.revision();
        self.changes.push(Change { key, revision, before, after: Some(binding), replaced: false });
        Ok(())
    }

    fn remove_all(&mut self) -> Result<(), Refusal> {
        while let Some(at) = self.position(|_| true) {
            self.check_order(at)?;
            self.remove(at, false);
        }
        Ok(())
    }

    fn finish(self, max: usize) -> Result<RegisterPlan, Refusal> {
        let ours = |b: &&Binding| b.is_of(&self.request.aor) && b.is_live(self.wall);
        let mut bindings: Bindings = self.slot.bindings.iter().filter(ours).cloned().collect();
        let grew = self.changes.iter().any(|c| c.before.is_none() && c.after.is_some());
        if grew && bindings.len() > max {
            return Err(Refusal::new(RefusalReason::TooManyContacts));
        }
        sort(&mut bindings);
        Ok(RegisterPlan { bindings, changes: self.changes })
    }

    fn position(&self, wanted: impl Fn(&Binding) -> bool) -> Option<usize> {
        self.slot.bindings.iter().position(|b| b.is_of(&self.request.aor) && wanted(b))
    }

    /// RFC 3261 §10.3 step 7. An equal CSeq passes: after a crash the phone sends again what we
    /// had written but not answered.
    fn check_order(&self, at: usize) -> Result<(), Refusal> {
        let binding = &self.slot.bindings[at];
        let stale = self.request.cseq < binding.cseq()
            && binding.call_id() == self.request.call_id
            && binding.is_live(self.wall);
        if stale { Err(Refusal::new(RefusalReason::OutOfOrder)) } else { Ok(()) }
    }

    /// Whether a binding is this phone's under another key: the same Contact URI with and without
    /// instance, or a new URI by the same connection and Call-ID (one phone, one flow: R3.1).
    fn is_twin(&self, binding: &Binding, contact: &Contact<'_>) -> bool {
        let one_unnamed = binding.instance().is_none() || contact.instance.is_none();
        let same_uri = one_unnamed && binding.contact() == contact.uri;
        let origin = self.request.origin;
        let both_unnamed = binding.instance().is_none() && contact.instance.is_none();
        let same_flow = both_unnamed
            && origin.transport.is_reliable()
            && binding.flow() == Some(origin.flow)
            && binding.call_id() == self.request.call_id
            && binding.cseq() < self.request.cseq;
        same_uri || same_flow
    }

    fn remove(&mut self, at: usize, replaced: bool) {
        let binding = self.slot.bindings.swap_remove(at);
        self.changes.push(removal(&self.slot, binding, replaced));
    }

    fn binding(
        &self,
        key: BindingKey,
        contact: &Contact<'_>,
        secs: u32,
    ) -> Result<Binding, Refusal> {
        let request = self.request;
        // Empty, as it mostly is, it takes no memory.
        let path = request.path.join("\n");
        let instance = contact.instance.as_deref().unwrap_or("");
        let (call_id, agent) = (&*request.call_id, &*request.user_agent);
        let binding = Binding::new(&NewBinding {
            key,
            revision: self.slot.next_revision(),
            expires_at: self.wall + Duration::from_secs(u64::from(secs)),
            registered_at: self.wall,
            flow: Some(request.origin.flow),
            cseq: request.cseq,
            reg_id: contact.reg_id,
            q: contact.q,
            transport: request.origin.transport,
            source: request.origin.source,
            local: request.origin.local,
            texts: [&request.aor, &contact.uri, instance, call_id, agent, &path],
        });
        binding.ok_or(Refusal::new(RefusalReason::Malformed("Contact")))
    }
}

fn removal(slot: &Slot<'_>, binding: Binding, replaced: bool) -> Change {
    let (key, revision) = (binding.key(), slot.next_revision());
    Change { key, revision, before: Some(binding), after: None, replaced }
}

#[cfg(test)]
mod tests;
