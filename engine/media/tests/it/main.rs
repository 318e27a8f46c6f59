//! Two sessions over a virtual network, in virtual time.

mod adaptation;
mod calls;
mod descriptions;
mod digits;
mod hostile;
mod quality;
mod secrecy;
mod transcoding;
mod wire;
mod zrtp;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(calls: u64, bytes: i64) {
    // A thread that is ending has no counters left, and none that asks.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + calls));
    let _ = BYTES.try_with(|n| n.set(n.get() + bytes));
}

// SAFETY: everything is the system allocator's work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread so far.
fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Bytes this thread holds.
fn allocated_bytes() -> i64 {
    BYTES.with(Cell::get)
}
