//! One phone's way to be reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use sansio::{FlowId, Transport, WallTime};
use smallvec::SmallVec;

/// Names a binding for as long as the phone keeps its instance: in tokens of calls in progress, in
/// the journal, on other nodes. The upper half is the address of record's, the lower the phone's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingKey(pub u64);

impl BindingKey {
    /// The key of a phone that names its instance (RFC 5626 §4.1), or else of its Contact URI.
    pub fn new(aor: &str, instance: Option<&str>, reg_id: u32, contact: &str) -> Self {
        Self::of_phone(Self::aor_half(aor), instance, reg_id, contact)
    }

    /// The same, where the address of record's half is known already.
    pub(crate) fn of_phone(half: u32, instance: Option<&str>, reg_id: u32, contact: &str) -> Self {
        let phone = match instance {
            Some(instance) => hash(instance.as_bytes(), 1 + u64::from(reg_id)),
            None => hash(contact.as_bytes(), 0),
        };
        Self((u64::from(half) << 32) | (phone >> 32))
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

/// A binding (RFC 3261 §10): an address of record ↔ a contact, until it expires.
///
/// All of it is one allocation that clones share, packed: with its place in the table about 300
/// bytes for a usual phone. Little-endian:
///
/// ```text
///    0 key | 8 revision | 16 expires, 24 registered (ms) | 32 flow id, 40 node, 42 shard
///   44 cseq | 48 reg-id | 52 q | 54 transport | 55 flags | 56 six text ends
///   68 source, local: IP (4 or 16), port | the six texts
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    packed: Arc<[u8]>,
}

/// What a binding is made from.
#[derive(Debug, Clone)]
pub struct NewBinding<'a> {
    /// Its name.
    pub key: BindingKey,
    /// Order of changes across all shards; later ones win.
    pub revision: u64,
    /// When it ends.
    pub expires_at: WallTime,
    /// When it was registered or refreshed last.
    pub registered_at: WallTime,
    /// The phone's flow, if it is of this run.
    pub flow: Option<FlowId>,
    /// CSeq of that REGISTER.
    pub cseq: u32,
    /// RFC 5626 reg-id; 0 for none.
    pub reg_id: u32,
    /// Preference in thousandths (RFC 3261 §20.10).
    pub q: u16,
    /// How the REGISTER came.
    pub transport: Transport,
    /// The address the REGISTER came from.
    pub source: SocketAddr,
    /// Our address it came to.
    pub local: SocketAddr,
    /// Address of record, Contact URI, instance (brackets kept; empty for none), Call-ID,
    /// User-Agent, Path values (outermost first, joined by newlines).
    pub texts: [&'a str; 6],
}

const FLOW_AT: usize = 32;
const CSEQ_AT: usize = 44;
const FLAGS_AT: usize = 55;
const ENDS_AT: usize = 56;
const ADDRESSES_AT: usize = 68;

const HAS_FLOW: u8 = 1;
const SOURCE_IS_V6: u8 = 2;
const LOCAL_IS_V6: u8 = 4;

const TRANSPORTS: [Transport; 5] =
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

/// All that may differ between a registration and its refresh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal {
    pub(crate) revision: u64,
    pub(crate) expires_at: WallTime,
    pub(crate) registered_at: WallTime,
    pub(crate) flow: FlowId,
    pub(crate) cseq: u32,
}

/// The part of a packed binding before its texts' ends.
pub(crate) type Numbers = [u8; ENDS_AT];

fn numbers_of(bytes: &[u8]) -> Numbers {
    let mut numbers = [0; ENDS_AT];
    numbers.copy_from_slice(&bytes[..ENDS_AT]);
    numbers
}

impl Binding {
    /// Packs it; none if the texts are longer than 65,535 bytes together.
    pub fn new(new: &NewBinding<'_>) -> Option<Self> {
        let mut packed: SmallVec<[u8; 512]> = SmallVec::new();
        for number in [
            new.key.0,
            new.revision,
            new.expires_at.as_millis(),
            new.registered_at.as_millis(),
            new.flow.map_or(0, |flow| flow.id),
        ] {
            packed.extend_from_slice(&number.to_le_bytes());
        }
        let (node, shard) = new.flow.map_or((0, 0), |flow| (flow.node, flow.shard));
        packed.extend_from_slice(&node.to_le_bytes());
        packed.extend_from_slice(&shard.to_le_bytes());
        packed.extend_from_slice(&new.cseq.to_le_bytes());
        packed.extend_from_slice(&new.reg_id.to_le_bytes());
        packed.extend_from_slice(&new.q.to_le_bytes());
        packed.push(transport_code(new.transport));
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        packed.push(
            flag(new.flow.is_some(), HAS_FLOW)
                | flag(new.source.is_ipv6(), SOURCE_IS_V6)
                | flag(new.local.is_ipv6(), LOCAL_IS_V6),
        );
        let mut end = 0_u16;
        for text in &new.texts {
            end = end.checked_add(u16::try_from(text.len()).ok()?)?;
            packed.extend_from_slice(&end.to_le_bytes());
        }
        for address in [new.source, new.local] {
            match address.ip() {
                IpAddr::V4(ip) => packed.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => packed.extend_from_slice(&ip.octets()),
            }
            packed.extend_from_slice(&address.port().to_le_bytes());
        }
        for text in &new.texts {
            packed.extend_from_slice(text.as_bytes());
        }
        Some(Self { packed: Arc::from(packed.as_slice()) })
    }

    /// Its name.
    pub fn key(&self) -> BindingKey {
        BindingKey(self.long(0))
    }

    /// Order of changes across all shards; later ones win.
    pub fn revision(&self) -> u64 {
        self.long(8)
    }

    /// When it ends.
    pub fn expires_at(&self) -> WallTime {
        WallTime::from_millis(self.long(16))
    }

    /// When it was registered or refreshed last.
    pub fn registered_at(&self) -> WallTime {
        WallTime::from_millis(self.long(24))
    }

    /// The phone's flow, if it is of this run.
    pub fn flow(&self) -> Option<FlowId> {
        let has_flow = self.packed[FLAGS_AT] & HAS_FLOW != 0;
        let (node, shard) = (self.short(FLOW_AT + 8), self.short(FLOW_AT + 10));
        has_flow.then(|| FlowId { node, shard, id: self.long(FLOW_AT) })
    }

    /// CSeq of the REGISTER.
    pub fn cseq(&self) -> u32 {
        u32::from_le_bytes(self.bytes(CSEQ_AT))
    }

    /// RFC 5626 reg-id; 0 for none.
    pub fn reg_id(&self) -> u32 {
        u32::from_le_bytes(self.bytes(48))
    }

    /// Preference in thousandths (RFC 3261 §20.10).
    pub fn q(&self) -> u16 {
        self.short(52)
    }

    /// How the REGISTER came.
    pub fn transport(&self) -> Transport {
        transport_of(self.packed[54]).unwrap_or(Transport::Udp)
    }

    /// The address the REGISTER came from.
    pub fn source(&self) -> SocketAddr {
        self.address(ADDRESSES_AT, self.packed[FLAGS_AT] & SOURCE_IS_V6 != 0)
    }

    /// Our address it came to.
    pub fn local(&self) -> SocketAddr {
        let flags = self.packed[FLAGS_AT];
        let source = if flags & SOURCE_IS_V6 == 0 { 6 } else { 18 };
        self.address(ADDRESSES_AT + source, flags & LOCAL_IS_V6 != 0)
    }

    /// Address of record.
    pub fn aor(&self) -> &str {
        self.text(0)
    }

    /// Contact URI, byte-exact.
    pub fn contact(&self) -> &str {
        self.text(1)
    }

    /// The phone's instance, brackets kept.
    pub fn instance(&self) -> Option<&str> {
        Some(self.text(2)).filter(|i| !i.is_empty())
    }

    /// Call-ID of the REGISTER.
    pub fn call_id(&self) -> &str {
        self.text(3)
    }

    /// The phone's User-Agent.
    pub fn user_agent(&self) -> &str {
        self.text(4)
    }

    /// Path values (RFC 3327), outermost first.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        self.text(5).split('\n').filter(|p| !p.is_empty())
    }

    /// Whether it still counts.
    pub fn is_live(&self, wall: WallTime) -> bool {
        self.expires_at() > wall
    }

    /// Bytes on the heap: the packed ones and the counts of who shares them.
    pub fn footprint(&self) -> usize {
        self.packed.len() + 2 * size_of::<usize>()
    }

    /// Registered again with nothing new but when, by which flow and in which order: in place,
    /// unless somebody shares it. The numbers as they were, for [`Self::put_back`].
    pub(crate) fn renew(&mut self, to: &Renewal) -> Numbers {
        let bytes = Arc::make_mut(&mut self.packed);
        let before = numbers_of(bytes);
        let times = [to.revision, to.expires_at.as_millis(), to.registered_at.as_millis()];
        for (at, number) in (8..).step_by(8).zip(times) {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[FLOW_AT..FLOW_AT + 8].copy_from_slice(&to.flow.id.to_le_bytes());
        bytes[FLOW_AT + 8..FLOW_AT + 10].copy_from_slice(&to.flow.node.to_le_bytes());
        bytes[FLOW_AT + 10..CSEQ_AT].copy_from_slice(&to.flow.shard.to_le_bytes());
        bytes[CSEQ_AT..CSEQ_AT + 4].copy_from_slice(&to.cseq.to_le_bytes());
        bytes[FLAGS_AT] |= HAS_FLOW;
        before
    }

    /// Takes a [`Self::renew`] back.
    pub(crate) fn put_back(&mut self, before: &Numbers) {
        Arc::make_mut(&mut self.packed)[..ENDS_AT].copy_from_slice(before);
    }

    /// Whether these are its texts, in the order of [`NewBinding::texts`].
    pub(crate) fn has_texts(&self, texts: [&str; 6]) -> bool {
        let all = &self.packed[self.texts_at()..];
        let mut start = 0;
        texts.iter().enumerate().all(|(at, text)| {
            let end = self.end(at);
            let same = all[start..end] == *text.as_bytes();
            start = end;
            same
        })
    }

    /// Its flow is gone.
    pub(crate) fn without_flow(&self) -> Self {
        let mut packed = Arc::clone(&self.packed);
        let bytes = Arc::make_mut(&mut packed);
        bytes[FLOW_AT..FLOW_AT + 12].fill(0);
        bytes[FLAGS_AT] &= !HAS_FLOW;
        Self { packed }
    }

    /// Whether this is its address of record; without reading the text as text.
    pub(crate) fn is_of(&self, aor: &str) -> bool {
        self.part(0) == aor.as_bytes()
    }

    /// One text's bytes: equal ones are compared cheaper so.
    pub(crate) fn part(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.end(at - 1) };
        let texts = self.texts_at();
        &self.packed[texts + start..texts + self.end(at)]
    }

    /// Where each text ends, and all of them.
    pub(crate) fn texts(&self) -> (&[u8], &[u8]) {
        (&self.packed[ENDS_AT..ADDRESSES_AT], &self.packed[self.texts_at()..])
    }

    fn text(&self, at: usize) -> &str {
        // They were texts when they were packed.
        std::str::from_utf8(self.part(at)).unwrap_or_default()
    }

    fn texts_at(&self) -> usize {
        let flags = self.packed[FLAGS_AT];
        let extra = u32::from(flags & SOURCE_IS_V6 != 0) + u32::from(flags & LOCAL_IS_V6 != 0);
        ADDRESSES_AT + 12 + 12 * extra as usize
    }

    fn end(&self, at: usize) -> usize {
        usize::from(self.short(ENDS_AT + 2 * at))
    }

    fn address(&self, at: usize, is_v6: bool) -> SocketAddr {
        if is_v6 {
            let ip = Ipv6Addr::from(self.bytes::<16>(at));
            return SocketAddr::new(IpAddr::V6(ip), self.short(at + 16));
        }
        SocketAddr::new(IpAddr::V4(Ipv4Addr::from(self.bytes::<4>(at))), self.short(at + 4))
    }

    fn long(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    fn short(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.packed[at..at + N]);
        bytes
    }
}

impl fmt::Debug for Binding {
    /// Without the personal parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("key", &self.key())
            .field("transport", &self.transport())
            .field("flow", &self.flow())
            .field("expires_at", &self.expires_at())
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

/// A transport in one byte, in memory and in the journal.
pub(crate) fn transport_code(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Ws => 4,
        Transport::Wss => 5,
    }
}

pub(crate) fn transport_of(code: u8) -> Option<Transport> {
    TRANSPORTS.get(usize::from(code).checked_sub(1)?).copied()
}
