//! The hot path asks the allocator for nothing (design decision 2).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use sip::{Edit, HeaderName, Message, response_to};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promised us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised us.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Nineteen headers, two of them Via, credentials and a description: 1.6 kB.
const INVITE: &[u8] = include_bytes!("../vectors/typical/invite.dat");

fn allocations<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATIONS.get();
    let made = work();
    (ALLOCATIONS.get() - before, made)
}

#[test]
fn parsing_and_reading_a_normal_message_allocates_nothing() {
    let bytes = Bytes::from_static(INVITE);
    let (count, copy) = allocations(|| {
        let message = Message::parse(bytes).unwrap();
        let via = message.top_via().unwrap();
        assert!(via.branch().is_some() && via.received().is_some());
        assert!(message.from_tag().is_some() && message.to_tag().is_none());
        assert_eq!(message.cseq().unwrap().number, 2);
        assert_eq!(message.contacts().count(), 1);
        assert!(message.lists(HeaderName::SUPPORTED, "outbound"));
        assert!(message.header("x-device-info").is_some());
        message.clone()
    });
    assert_eq!(count, 0);
    assert_eq!(copy.header_lines().count(), 19);
}

/// A message is copied into transactions, forks and dialogs: it must stay small.
#[test]
fn a_message_is_two_cache_lines_and_24_headers_need_no_memory() {
    assert_eq!(size_of::<Message>(), 128);
    let with = |more: usize| {
        let text = std::str::from_utf8(INVITE).unwrap();
        let text = text.replace("Content-Type", &("X-More: 1\r\n".repeat(more) + "Content-Type"));
        let bytes = Bytes::from(text);
        allocations(|| Message::parse(bytes).unwrap())
    };
    for (more, want) in [(0, 0), (5, 0), (6, 2)] {
        let (count, message) = with(more);
        assert_eq!((count, message.header_lines().count()), (want, 19 + more));
    }
}

/// What a proxy does to every request and response it passes on.
#[test]
fn forwarding_allocates_the_new_message_and_nothing_else() {
    let request = Message::parse(Bytes::from_static(INVITE)).unwrap();
    let forward = || {
        Edit::new(&request)
            .replace_first(HeaderName::MAX_FORWARDS, "68")
            .replace_request_uri("sip:bob@198.51.100.77:48211;transport=tls")
            .prepend(HeaderName::RECORD_ROUTE, "<sip:198.51.100.1:5061;transport=tls;lr>")
            .remove_all(HeaderName::AUTHORIZATION)
            .prepend(HeaderName::VIA, "SIP/2.0/TLS 198.51.100.1:5061;branch=z9hG4bKw1f4c9a2")
            .finish()
    };
    // The first edit of a thread gets the memory that the later ones hand on.
    drop(forward());
    let (count, sent) = allocations(forward);
    assert_eq!(count, 1);
    assert_eq!(sent.max_forwards(), Some(68));

    let response = response_to(&sent, 180, "").to_tag("b").build();
    let back = || Edit::new(&response).remove_first(HeaderName::VIA).finish();
    let (count, returned) = allocations(back);
    assert_eq!(count, 1);
    assert_eq!(returned.vias().count(), 2);
}
