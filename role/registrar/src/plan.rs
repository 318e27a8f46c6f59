//! What a REGISTER changed.

use std::sync::Arc;

use cluster::{Event, UnregisterReason};
use sansio::WallTime;

use crate::binding::{Binding, BindingKey};
use crate::codec::Entry;

/// The outcome of an accepted REGISTER: already in memory, not yet in the journal.
#[derive(Debug, Clone, Default)]
pub struct RegisterPlan {
    /// All bindings of the address of record as they are now, best first.
    pub bindings: Vec<Arc<Binding>>,
    /// What changed, in order.
    pub changes: Vec<Change>,
}

/// One changed binding.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub key: BindingKey,
    /// The change's place among all changes.
    pub revision: u64,
    /// As it was.
    pub before: Option<Arc<Binding>>,
    /// As it is; none if it was removed.
    pub after: Option<Arc<Binding>>,
    /// Removed to make room for a newer one of the same phone.
    pub replaced: bool,
}

impl RegisterPlan {
    /// The Contact values of the 200 (RFC 3261 §10.3 step 8).
    pub fn contact_lines(&self, wall: WallTime) -> Vec<String> {
        self.bindings.iter().map(|b| contact_line(b, wall)).collect()
    }

    /// What the journal must hold before the 200.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.changes.iter().map(|change| match &change.after {
            Some(binding) => Entry::Set(Arc::clone(binding)),
            None => Entry::Remove { key: change.key, revision: change.revision },
        })
    }

    /// What the spine should hear.
    pub fn events(&self, wall: WallTime) -> Vec<Event> {
        self.changes.iter().filter_map(|change| event_of(change, wall)).collect()
    }
}

fn contact_line(binding: &Binding, wall: WallTime) -> String {
    use std::fmt::Write as _;
    // Rounded to the nearest second: a phone must not be told a longer life than it has by much.
    let left = (binding.expires_at.since(wall).as_millis() + 500) / 1000;
    let mut line = format!("<{}>;expires={left}", binding.contact());
    if binding.q != 1000 {
        let _ = write!(line, ";q=0.{:03}", binding.q);
    }
    if let Some(instance) = binding.instance() {
        let _ = write!(line, ";+sip.instance=\"{instance}\"");
    }
    if binding.reg_id != 0 {
        let _ = write!(line, ";reg-id={}", binding.reg_id);
    }
    line
}

fn event_of(change: &Change, wall: WallTime) -> Option<Event> {
    if let Some(binding) = &change.after {
        return Some(Event::Registered {
            aor: binding.aor().to_owned(),
            binding: change.key.0,
            contact: binding.contact().to_owned(),
            source: binding.source.to_string(),
            transport: binding.transport.to_string(),
            user_agent: binding.user_agent().to_owned(),
            expires_secs: u32::try_from(binding.expires_at.since(wall).as_secs()).ok()?,
            refresh: change.before.is_some(),
        });
    }
    let binding = change.before.as_ref()?;
    let reason =
        if change.replaced { UnregisterReason::Replaced } else { UnregisterReason::Removed };
    Some(unregistered(binding, reason))
}

/// The event of a binding that ended.
pub(crate) fn unregistered(binding: &Binding, reason: UnregisterReason) -> Event {
    Event::Unregistered {
        aor: binding.aor().to_owned(),
        binding: binding.key.0,
        contact: binding.contact().to_owned(),
        reason,
    }
}
