//! The hot path asks the allocator for nothing (design decision 2).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use sip::{HeaderName, Message};

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

const INVITE: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bK776asdhds;rport;received=192.0.2.1\r\n\
    Via: SIP/2.0/TCP client.example.com;branch=z9hG4bK74b43\r\n\
    Record-Route: <sip:p1.example.com;lr>\r\nMax-Forwards: 69\r\n\
    From: \"Alice Liddell\" <sip:alice@example.com>;tag=9fxced76sl\r\n\
    To: Bob <sip:bob@example.com>\r\nCall-ID: 3848276298220188511@client.example.com\r\n\
    CSeq: 2 INVITE\r\nContact: <sip:alice@client.example.com;transport=tcp>;+sip.instance=\"<urn:uuid:1>\"\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO\r\n\
    Supported: replaces, timer, outbound\r\nUser-Agent: Some Phone/1.0\r\n\
    Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\n\
    P-Preferred-Identity: <sip:alice@example.com>\r\nX-Vendor: something\r\n\
    Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

#[test]
fn parsing_and_reading_a_normal_message_allocates_nothing() {
    let bytes = Bytes::from_static(INVITE);
    let before = ALLOCATIONS.get();
    let message = Message::parse(bytes).unwrap();
    let via = message.top_via().unwrap();
    assert!(via.branch().is_some() && via.received().is_some());
    assert!(message.from_tag().is_some() && message.to_tag().is_none());
    assert_eq!(message.cseq().unwrap().number, 2);
    assert_eq!(message.contacts().count(), 1);
    assert!(message.lists(HeaderName::SUPPORTED, "outbound"));
    assert!(message.header("x-vendor").is_some());
    let copy = message.clone();
    assert_eq!(ALLOCATIONS.get() - before, 0);
    drop(copy);
}
