//! One phone's way to be reached.

use std::fmt;
use std::net::SocketAddr;

use sansio::{FlowId, Transport, WallTime};

/// Names a binding for as long as the phone keeps its instance: in tokens of calls in progress, in
/// the journal, on other nodes. The upper half is the address of record's, the lower the phone's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingKey(pub u64);

impl BindingKey {
    /// The key of a phone that names its instance (RFC 5626 §4.1), or else of its Contact URI.
    pub fn new(aor: &str, instance: Option<&str>, reg_id: u32, contact: &str) -> Self {
        let phone = match instance {
            Some(instance) => hash(instance.as_bytes(), 1 + u64::from(reg_id)),
            None => hash(contact.as_bytes(), 0),
        };
        Self((u64::from(Self::aor_half(aor)) << 32) | (phone >> 32))
    }

    /// The half that all bindings of an address of record share.
    pub(crate) fn aor_half(aor: &str) -> u32 {
        (hash(aor.as_bytes(), 0) >> 32) as u32
    }

    pub(crate) fn upper(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// FNV-1a with a finisher. Written to disk and sent to other nodes: it must never change.
fn hash(bytes: &[u8], salt: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ salt;
    let fnv = bytes.iter().fold(start, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    let mut mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

/// A binding (RFC 3261 §10): an address of record ↔ a contact, until it expires. All its text is
/// one allocation, which keeps a hundred thousand of them below 60 MB.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub key: BindingKey,
    /// When it ends.
    pub expires_at: WallTime,
    /// When it was registered or refreshed last.
    pub registered_at: WallTime,
    /// Order of changes across all shards; later ones win.
    pub revision: u64,
    /// The phone's flow, if it is of this run.
    pub flow: Option<FlowId>,
    /// The address the REGISTER came from.
    pub source: SocketAddr,
    /// Our address it came to.
    pub local: SocketAddr,
    /// CSeq of that REGISTER.
    pub cseq: u32,
    /// RFC 5626 reg-id; 0 for none.
    pub reg_id: u32,
    /// Preference in thousandths (RFC 3261 §20.10).
    pub q: u16,
    /// How the REGISTER came.
    pub transport: Transport,
    pub(crate) texts: Texts,
}

/// What a binding is made from.
#[derive(Debug, Clone)]
pub struct NewBinding<'a> {
    /// Address of record.
    pub aor: &'a str,
    /// Contact URI.
    pub contact: &'a str,
    /// `+sip.instance`, brackets kept; empty for none.
    pub instance: &'a str,
    /// Call-ID of the REGISTER.
    pub call_id: &'a str,
    /// User-Agent of the phone.
    pub user_agent: &'a str,
    /// Path values (RFC 3327), outermost first, joined by newlines.
    pub path: &'a str,
}

impl Binding {
    /// Address of record.
    pub fn aor(&self) -> &str {
        self.texts.part(0)
    }

    /// Contact URI, byte-exact.
    pub fn contact(&self) -> &str {
        self.texts.part(1)
    }

    /// The phone's instance, brackets kept.
    pub fn instance(&self) -> Option<&str> {
        Some(self.texts.part(2)).filter(|i| !i.is_empty())
    }

    /// Call-ID of the REGISTER.
    pub fn call_id(&self) -> &str {
        self.texts.part(3)
    }

    /// The phone's User-Agent.
    pub fn user_agent(&self) -> &str {
        self.texts.part(4)
    }

    /// Path values (RFC 3327), outermost first.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        self.texts.part(5).split('\n').filter(|p| !p.is_empty())
    }

    /// Whether it still counts.
    pub fn is_live(&self, wall: WallTime) -> bool {
        self.expires_at > wall
    }

    /// Bytes on the heap, this struct included.
    pub fn footprint(&self) -> usize {
        std::mem::size_of::<Self>() + self.texts.text.len()
    }
}

impl fmt::Debug for Binding {
    /// Without the personal parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("key", &self.key)
            .field("transport", &self.transport)
            .field("flow", &self.flow)
            .field("expires_at", &self.expires_at)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// Six texts in one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) text: Box<str>,
    pub(crate) ends: [u16; 6],
}

impl Texts {
    /// None if they are longer than 65,535 bytes together.
    pub(crate) fn new(new: &NewBinding<'_>) -> Option<Self> {
        let parts = [new.aor, new.contact, new.instance, new.call_id, new.user_agent, new.path];
        let mut text = String::with_capacity(parts.iter().map(|p| p.len()).sum());
        let mut ends = [0; 6];
        for (part, end) in parts.iter().zip(&mut ends) {
            text.push_str(part);
            *end = u16::try_from(text.len()).ok()?;
        }
        Some(Self { text: text.into_boxed_str(), ends })
    }

    /// From the journal: refuses ends that are out of order or inside a character.
    pub(crate) fn from_parts(text: &str, ends: [u16; 6]) -> Option<Self> {
        let ordered = ends.is_sorted() && usize::from(ends[5]) == text.len();
        let whole = ends.iter().all(|end| text.is_char_boundary(usize::from(*end)));
        (ordered && whole).then(|| Self { text: text.into(), ends })
    }

    fn part(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[usize::from(start)..usize::from(self.ends[at])]
    }
}
