//! A packet of an encrypted stream asks the allocator for nothing, and a context is small: a relay
//! holds four of them for each call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use rtp::rtcp::Report;
use rtp::srtp::{KeyMaterial, SrtpContext, Suite};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get().wrapping_add(layout.size()));
        // SAFETY: as the caller promised us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: as the caller promised us.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn context(suite: Suite) -> SrtpContext {
    let keys = KeyMaterial::new(&vec![3; suite.key_len()], &vec![4; suite.salt_len()]);
    SrtpContext::new(suite, &keys).unwrap()
}

/// Protects and opens `count` packets of RTP and a report for each hundred.
fn run(sender: &mut SrtpContext, receiver: &mut SrtpContext, first: u32, count: u32) {
    let mut buf = [0; 256];
    for n in first..first + count {
        let sequence = n as u16;
        let header =
            rtp::Header { payload_type: 0, sequence, timestamp: n, ssrc: 7, marker: false };
        let len = rtp::write_packet(&mut buf, &header, &[0x55; 160]).unwrap();
        let len = sender.protect_rtp(&mut buf, len).unwrap();
        // A forger's packet costs no memory either.
        buf[20] ^= 1;
        assert!(receiver.unprotect_rtp(&mut buf.clone(), len).is_err());
        buf[20] ^= 1;
        assert_eq!(receiver.unprotect_rtp(&mut buf, len), Ok(172));
        if n % 100 == 0 {
            let len = Report { ssrc: 7, cname: "x", ..Report::default() }.write(&mut buf).unwrap();
            let sealed = sender.protect_rtcp(&mut buf, len).unwrap();
            assert_eq!(receiver.unprotect_rtcp(&mut buf, sealed), Ok(len));
        }
    }
}

#[test]
fn srtp_and_srtcp_allocate_nothing_for_a_packet() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = (context(suite), context(suite));
        // Writing a report may allocate; that is not what is counted here.
        let mut buf = [0; 256];
        let before = ALLOCATIONS.get();
        Report { ssrc: 7, cname: "x", ..Report::default() }.write(&mut buf).unwrap();
        let report = ALLOCATIONS.get() - before;
        run(&mut sender, &mut receiver, 1, 1);
        let before = ALLOCATIONS.get();
        run(&mut sender, &mut receiver, 2, 998);
        assert_eq!(ALLOCATIONS.get() - before, 9 * report, "{suite:?}");
    }
}

/// With one stream, everything counted: a call's media may take 12 KiB.
#[test]
fn a_context_takes_half_a_kilobyte_and_gcm_one() {
    for suite in Suite::ALL {
        let before = BYTES.get();
        let (mut sender, mut receiver) = (context(suite), context(suite));
        run(&mut sender, &mut receiver, 1, 200);
        let heap = (BYTES.get() - before) / 2;
        let whole = size_of::<SrtpContext>() + heap;
        let limit = if suite.name().contains("GCM") { 1_200 } else { 512 };
        assert!(whole <= limit, "{suite:?}: {} + {heap}", size_of::<SrtpContext>());
    }
}
