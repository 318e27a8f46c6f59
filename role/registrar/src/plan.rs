//! What a REGISTER changed.

use cluster::{Event, UnregisterReason, push_frame};
use sansio::WallTime;
use smallvec::SmallVec;

use crate::binding::{Binding, BindingKey};
use crate::codec::{Entry, encode_binding, encode_removal};
use crate::table::Bindings;

/// What one REGISTER changed: mostly one binding.
pub type Changes = SmallVec<[Change; 1]>;

/// The outcome of an accepted REGISTER: already in memory, not yet in the journal.
#[derive(Debug, Clone, Default)]
pub struct RegisterPlan {
    /// All bindings of the address of record as they are now, best first.
    pub bindings: Bindings,
    /// What changed, in order.
    pub changes: Changes,
}

/// One changed binding.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub key: BindingKey,
    /// The change's place among all changes.
    pub revision: u64,
    /// As it was.
    pub before: Option<Binding>,
    /// As it is; none if it was removed.
    pub after: Option<Binding>,
    /// Removed to make room for a newer one of the same phone.
    pub replaced: bool,
}

impl RegisterPlan {
    /// The Contact values of the 200 (RFC 3261 §10.3 step 8).
    pub fn contact_lines(&self, wall: WallTime) -> Vec<String> {
        let line = |binding| {
            let mut line = String::new();
            push_contact(binding, wall, &mut line);
            line
        };
        self.bindings.iter().map(line).collect()
    }

    /// The same values as whole header lines, appended to `out`.
    pub fn push_contact_lines(&self, wall: WallTime, out: &mut String) {
        self.bindings.iter().for_each(|binding| push_contact_line(binding, wall, out));
    }

    /// The same values in one text, separated by commas (RFC 3261 §7.3.1), appended to `out`.
    pub fn push_contacts(&self, wall: WallTime, out: &mut String) {
        for (at, binding) in self.bindings.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            push_contact(binding, wall, out);
        }
    }

    /// What the journal must hold before the 200.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.changes.iter().map(|change| match &change.after {
            Some(binding) => Entry::Set(binding.clone()),
            None => Entry::Remove { key: change.key, revision: change.revision },
        })
    }

    /// The same as frames, all or none of them; false if one is too long.
    pub(crate) fn push_frames(&self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let fits = self.changes.iter().all(|change| {
            push_frame(out, |out| match &change.after {
                Some(binding) => encode_binding(binding, out),
                None => encode_removal(change.key, change.revision, out),
            })
        });
        if !fits {
            out.truncate(before);
        }
        fits
    }

    /// What the spine should hear.
    pub fn events(&self, wall: WallTime) -> Vec<Event> {
        self.changes.iter().filter_map(|change| event_of(change, wall)).collect()
    }
}

/// The Contact line of a binding in a 200.
pub(crate) fn push_contact_line(binding: &Binding, wall: WallTime, out: &mut String) {
    out.push_str("Contact: ");
    push_contact(binding, wall, out);
    out.push_str("\r\n");
}

fn push_contact(binding: &Binding, wall: WallTime, out: &mut String) {
    use std::fmt::Write as _;
    // Rounded to the nearest second: a phone must not be told a longer life than it has by much.
    let left = (binding.expires_at().since(wall).as_millis() + 500) / 1000;
    let (contact, instance) = (binding.contact(), binding.instance());
    out.reserve(contact.len() + instance.map_or(0, str::len) + 64);
    out.push('<');
    out.push_str(contact);
    out.push_str(">;expires=");
    push_number(u64::try_from(left).unwrap_or(u64::MAX), out);
    if binding.q() != 1000 {
        // A String takes everything.
        let _ = write!(out, ";q=0.{:03}", binding.q());
    }
    if let Some(instance) = instance {
        out.push_str(";+sip.instance=\"");
        out.push_str(instance);
        out.push('"');
    }
    if binding.reg_id() != 0 {
        out.push_str(";reg-id=");
        push_number(u64::from(binding.reg_id()), out);
    }
}

/// In decimal: `write!` costs several times as much.
fn push_number(mut number: u64, out: &mut String) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

fn event_of(change: &Change, wall: WallTime) -> Option<Event> {
    if let Some(binding) = &change.after {
        return Some(Event::Registered {
            aor: binding.aor().to_owned(),
            binding: change.key.0,
            contact: binding.contact().to_owned(),
            source: binding.source().to_string(),
            transport: binding.transport().to_string(),
            user_agent: binding.user_agent().to_owned(),
            expires_secs: u32::try_from(binding.expires_at().since(wall).as_secs()).ok()?,
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
        binding: binding.key().0,
        contact: binding.contact().to_owned(),
        reason,
    }
}
