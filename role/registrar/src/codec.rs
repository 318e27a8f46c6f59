//! Journal entries in bytes, compact: about 100 bytes plus the text.
//!
//! ```text
//!   1 kind | 8 revision | 8 key | Set only: 8 expires | 8 registered | 4 cseq | 4 reg-id | 2 q
//!   | 1 transport | source | local | 6 × 2 ends | text         address: 4 or 6 | IP | 2 port
//! ```
//! All numbers little-endian.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sansio::WallTime;

use crate::binding::{Binding, BindingKey, NewBinding, transport_code, transport_of};

const SET: u8 = 1;
const REMOVE: u8 = 2;
const WATERMARK: u8 = 3;

/// One line of the journal or of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A binding is so from now on. Its flow is not kept.
    Set(Binding),
    /// A binding is gone.
    Remove {
        /// Which.
        key: BindingKey,
        /// The change's place among all changes.
        revision: u64,
    },
    /// First in a snapshot: it holds every change up to this one.
    Watermark {
        /// The change.
        revision: u64,
    },
}

/// Appends an entry.
pub fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    match entry {
        Entry::Set(binding) => encode_binding(binding, out),
        Entry::Remove { key, revision } => encode_removal(*key, *revision, out),
        Entry::Watermark { revision } => {
            out.push(WATERMARK);
            out.extend_from_slice(&revision.to_le_bytes());
        }
    }
}

/// Reads an entry; none for anything [`encode_entry`] does not write.
pub fn decode_entry(bytes: &[u8]) -> Option<Entry> {
    let mut input = Input(bytes);
    let [kind] = input.take()?;
    let revision = u64::from_le_bytes(input.take()?);
    let entry = match kind {
        SET => Entry::Set(decode_binding(&mut input, revision)?),
        REMOVE => Entry::Remove { key: BindingKey(u64::from_le_bytes(input.take()?)), revision },
        WATERMARK => Entry::Watermark { revision },
        _ => return None,
    };
    input.0.is_empty().then_some(entry)
}

pub(crate) fn encode_binding(b: &Binding, out: &mut Vec<u8>) {
    out.push(SET);
    let (expires, registered) = (b.expires_at().as_millis(), b.registered_at().as_millis());
    for number in [b.revision(), b.key().0, expires, registered] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&b.cseq().to_le_bytes());
    out.extend_from_slice(&b.reg_id().to_le_bytes());
    out.extend_from_slice(&b.q().to_le_bytes());
    out.push(transport_code(b.transport()));
    encode_address(b.source(), out);
    encode_address(b.local(), out);
    let (ends, texts) = b.texts();
    out.extend_from_slice(ends);
    out.extend_from_slice(texts);
}

pub(crate) fn encode_removal(key: BindingKey, revision: u64, out: &mut Vec<u8>) {
    out.push(REMOVE);
    out.extend_from_slice(&revision.to_le_bytes());
    out.extend_from_slice(&key.0.to_le_bytes());
}

fn decode_binding(input: &mut Input<'_>, revision: u64) -> Option<Binding> {
    let key = BindingKey(u64::from_le_bytes(input.take()?));
    let expires_at = WallTime::from_millis(u64::from_le_bytes(input.take()?));
    let registered_at = WallTime::from_millis(u64::from_le_bytes(input.take()?));
    let cseq = u32::from_le_bytes(input.take()?);
    let reg_id = u32::from_le_bytes(input.take()?);
    let q = u16::from_le_bytes(input.take()?);
    let [code] = input.take()?;
    let transport = transport_of(code)?;
    let source = decode_address(input)?;
    let local = decode_address(input)?;
    let mut ends = [0; 6];
    for end in &mut ends {
        *end = u16::from_le_bytes(input.take()?);
    }
    let text = std::str::from_utf8(std::mem::take(&mut input.0)).ok()?;
    let texts = texts_of(text, ends)?;
    let flow = None;
    Binding::new(&NewBinding {
        key,
        revision,
        expires_at,
        registered_at,
        flow,
        cseq,
        reg_id,
        q,
        transport,
        source,
        local,
        texts,
    })
}

/// None for ends that are out of order or inside a character.
fn texts_of(text: &str, ends: [u16; 6]) -> Option<[&str; 6]> {
    if usize::from(ends[5]) != text.len() {
        return None;
    }
    let mut texts = [""; 6];
    let mut start = 0;
    for (part, end) in texts.iter_mut().zip(ends.map(usize::from)) {
        *part = text.get(start..end)?;
        start = end;
    }
    Some(texts)
}

fn encode_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
}

fn decode_address(input: &mut Input<'_>) -> Option<SocketAddr> {
    let ip = match input.take()? {
        [4] => IpAddr::V4(Ipv4Addr::from(input.take::<4>()?)),
        [6] => IpAddr::V6(Ipv6Addr::from(input.take::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_le_bytes(input.take()?)))
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sansio::Transport;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_entry(&bytes);
        }

        #[test]
        fn damaged_bindings_never_panic(at in any::<prop::sample::Index>(), value: u8) {
            let mut bytes = Vec::new();
            encode_entry(&Entry::Set(sample("sip:ü@x", "<urn:uuid:1>", 7)), &mut bytes);
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Some(Entry::Set(binding)) = decode_entry(&bytes) {
                let _ = (binding.aor().len(), binding.contact().len(), binding.path().count());
            }
        }

        #[test]
        fn bindings_round_trip(contact in ".{0,80}", instance in ".{0,60}", revision: u64) {
            let binding = sample(&contact, &instance, revision);
            let mut bytes = Vec::new();
            encode_entry(&Entry::Set(binding.clone()), &mut bytes);
            prop_assert_eq!(decode_entry(&bytes), Some(Entry::Set(binding)));
            bytes.push(0);
            prop_assert!(decode_entry(&bytes).is_none());
        }
    }

    fn sample(contact: &str, instance: &str, revision: u64) -> Binding {
        let aor = "sip:alice@example.com";
        Binding::new(&NewBinding {
            key: BindingKey::new(aor, Some(instance), 1, contact),
            revision,
            expires_at: WallTime::from_secs(10),
            registered_at: WallTime::from_secs(1),
            flow: None,
            cseq: 3,
            reg_id: 1,
            q: 500,
            transport: Transport::Wss,
            source: "192.0.2.1:5060".parse().unwrap(),
            local: "[2001:db8::1]:5061".parse().unwrap(),
            texts: [aor, contact, instance, "c", "u", ""],
        })
        .unwrap()
    }
}
