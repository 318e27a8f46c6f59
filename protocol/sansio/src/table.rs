//! Fixed tables of atomic cells under hashed keys: bounded memory about strangers, shared by all
//! shards without a lock.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Places a key may be in.
const WAYS: usize = 4;
/// Sets of one page. A page is made when its first key comes, so that a small server stays small.
const PAGE_SETS: usize = 64;

/// `key -> N cells`, of a fixed size: where all places of a key are taken, the least worthy goes.
/// Two threads that claim one place at once can mix up the counts of those two keys, never more.
#[derive(Debug)]
pub struct Table<const N: usize> {
    pages: Box<[OnceLock<Box<Page<N>>>]>,
}

type Page<const N: usize> = [Set<N>; PAGE_SETS];

/// The places of one set: of one cell each, a cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Set<const N: usize>([Slot<N>; WAYS]);

#[derive(Debug)]
struct Slot<const N: usize> {
    /// 0 for a free place.
    key: AtomicU64,
    cells: [AtomicU64; N],
}

impl<const N: usize> Table<N> {
    /// Room for about `entries`, rounded up to a power of two.
    pub fn new(entries: usize) -> Self {
        let pages = entries.div_ceil(WAYS * PAGE_SETS).next_power_of_two();
        Self { pages: (0..pages).map(|_| OnceLock::new()).collect() }
    }

    /// The cells under a key, a [`KeyedHasher::finish`].
    #[inline]
    pub fn get(&self, key: u64) -> Option<&[AtomicU64; N]> {
        let page = self.pages[self.page(key)].get()?;
        find(&page[set(key)].0, key).map(|slot| &slot.cells)
    }

    /// The cells under a key; one that is not there begins with zeroes, in the place of the one that
    /// `worth` rates lowest.
    pub fn claim(&self, key: u64, worth: impl Fn(&[AtomicU64; N]) -> u64) -> &[AtomicU64; N] {
        let page = self.pages[self.page(key)].get_or_init(fresh_page);
        let set = &page[set(key)].0;
        &find(set, key).unwrap_or_else(|| take_over(set, key, worth)).cells
    }

    fn page(&self, key: u64) -> usize {
        // The upper half chooses the page, the lower the set: `key` is a hash.
        (key >> 32) as usize & (self.pages.len() - 1)
    }
}

fn fresh_page<const N: usize>() -> Box<Page<N>> {
    let slot = |_| Slot { key: AtomicU64::new(0), cells: array::from_fn(|_| AtomicU64::new(0)) };
    Box::new(array::from_fn(|_| Set(array::from_fn(slot))))
}

fn set(key: u64) -> usize {
    key as usize & (PAGE_SETS - 1)
}

fn find<const N: usize>(set: &[Slot<N>; WAYS], key: u64) -> Option<&Slot<N>> {
    set.iter().find(|slot| slot.key.load(Relaxed) == key)
}

fn take_over<const N: usize>(
    set: &[Slot<N>; WAYS],
    key: u64,
    worth: impl Fn(&[AtomicU64; N]) -> u64,
) -> &Slot<N> {
    let rate = |slot: &Slot<N>| match slot.key.load(Relaxed) {
        0 => 0,
        _ => worth(&slot.cells).saturating_add(1),
    };
    let slot = set.iter().min_by_key(|slot| rate(slot)).unwrap_or(&set[0]);
    // Nobody finds the place while it changes hands.
    slot.key.store(0, Relaxed);
    for cell in &slot.cells {
        cell.store(0, Relaxed);
    }
    slot.key.store(key, Relaxed);
    slot
}

/// Hashes under a secret, so that nobody outside can choose what shares a place with whom: two
/// 64 x 64 -> 128 bit multiplications for 16 bytes. Not for signatures.
#[derive(Clone, Copy)]
pub struct KeyedHasher {
    state: u64,
    key: u64,
}

impl std::fmt::Debug for KeyedHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedHasher(..)")
    }
}

impl KeyedHasher {
    /// Under a secret.
    pub fn new(secret: [u8; 16]) -> Self {
        let word = |at: usize| u64::from_le_bytes(array::from_fn(|i| secret[at + i]));
        Self { state: word(0), key: word(8) | 1 }
    }

    /// One number more.
    #[inline]
    pub fn word(self, word: u64) -> Self {
        Self { state: fold(self.state ^ word, self.key), ..self }
    }

    /// Some bytes more, told apart by their length from any others.
    #[inline]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let hashed = words.iter().fold(self.word(bytes.len() as u64), |hasher, word| {
            hasher.word(u64::from_le_bytes(*word))
        });
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hashed.word(u64::from_le_bytes(last))
    }

    /// The hash; never 0, which stands for a free place.
    #[inline]
    pub fn finish(self) -> u64 {
        fold(self.state ^ 0x9e37_79b9_7f4a_7c15, self.key.rotate_left(29) | 1).max(1)
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64) ^ a.rotate_left(23)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> KeyedHasher {
        KeyedHasher::new(*b"0123456789abcdef")
    }

    #[test]
    fn a_full_set_gives_up_its_least_worthy_entry() {
        let table = Table::<1>::new(1);
        // All in one set: the lower six bits agree.
        let key = |n: u64| (n << 6) | 1;
        let set = |n: u64, value| {
            table.claim(key(n), |cells| cells[0].load(Relaxed))[0].store(value, Relaxed);
        };
        let get = |n: u64| table.get(key(n)).map(|cells| cells[0].load(Relaxed));
        for n in 1..=4 {
            set(n, 10 * n);
        }
        set(5, 7);
        assert_eq!(get(1), None, "it held 10");
        assert_eq!((get(4), get(5)), (Some(40), Some(7)));
        set(6, 8);
        assert_eq!((get(5), get(6)), (None, Some(8)));
    }

    #[test]
    fn hashes_depend_on_secret_bytes_and_their_borders() {
        let of = |a: &[u8], b: &[u8]| hasher().bytes(a).bytes(b).finish();
        assert_ne!(of(b"ab", b"c"), of(b"a", b"bc"));
        assert_ne!(of(b"", b"\0"), of(b"\0", b""));
        let other = KeyedHasher::new(*b"0123456789abcdeg");
        assert_ne!(hasher().bytes(b"alice").finish(), other.bytes(b"alice").finish());
        assert_eq!(hasher().bytes(b"alice").finish(), hasher().bytes(b"alice").finish());
    }

    #[test]
    fn a_hundred_thousand_names_spread_over_pages_and_sets() {
        let table = Table::<1>::new(1 << 18);
        let key = |n: u32| hasher().bytes(format!("user{n}@example.com").as_bytes()).finish();
        for n in 0..100_000 {
            table.claim(key(n), |_| 0)[0].store(1, Relaxed);
        }
        // 1.5 keys for each set of four: the tail beyond four loses about one in a hundred.
        assert!((0..100_000).filter(|n| table.get(key(*n)).is_some()).count() > 98_000);
    }
}
