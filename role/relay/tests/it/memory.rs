//! What a call costs in memory, beside the sockets' in the kernel.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use media::keying::dtls::Certificate;
use relay::ng::{Controlled, Handled};
use relay::{Config, Control, NumberedPorts};
use sansio::SeededEntropy;

/// Counts what is allocated and not freed; a test has a process of its own.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are allocated and not freed.
pub fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

const CALLS: usize = 500;

const SOUND: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 5000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n";
const VIDEO: &str = "m=video 5002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\n";

fn request(command: &str, call: usize, to_tag: Option<&str>, video: &str) -> Bytes {
    let sdp = [SOUND, video].concat();
    let id = format!("call-{call}");
    let mut text = format!(
        "{call}{command} d7:call-id{}:{id}7:command{}:{command}8:from-tag1:a3:sdp{}:{sdp}",
        id.len(),
        command.len(),
        sdp.len()
    );
    if let Some(tag) = to_tag {
        text.push_str(&format!("6:to-tag{}:{tag}", tag.len()));
    }
    text.push('e');
    BytesMut::from(text.as_bytes()).freeze()
}

/// The relay's part of "memory per relayed call" in docs/reference/performance.md.
#[test]
fn a_plain_call_takes_less_than_five_kilobytes_of_the_relay() {
    let certificate = Certificate::generate().unwrap();
    let ports = NumberedPorts::new(1, 10_000, 60_000);
    let mut control =
        Control::new(Config::default(), ports, certificate, Box::new(SeededEntropy::new(1)));
    let (now, mut ng) = (Instant::now(), Controlled::new(Instant::now()));
    let before = HELD.load(Ordering::Relaxed);
    for call in 0..CALLS {
        for (command, to) in [("offer", None), ("answer", Some("b"))] {
            let handled =
                ng.handle((now, Duration::ZERO), &mut control, &request(command, call, to, ""));
            let Handled::Reply(reply) = handled else { panic!("{handled:?}") };
            assert!(memchr::memmem::find(&reply, b"6:result2:ok").is_some(), "{reply:?}");
        }
    }
    assert_eq!(control.len(), CALLS);
    let with_answers = (HELD.load(Ordering::Relaxed) - before) / CALLS;
    drop(ng);
    let alone = (HELD.load(Ordering::Relaxed) - before) / CALLS;
    println!("{alone} bytes a call, {with_answers} with the controller's answers of 10 s");
    assert!(alone < 5_000, "{alone} bytes a call");
    assert!(with_answers < 7_500, "{with_answers} bytes a call");
}

/// Ten thousand streams, two a call, leave nothing behind: after as many calls again there is not a byte more.
#[test]
fn ten_thousand_streams_leave_no_memory_behind() {
    let certificate = Certificate::generate().unwrap();
    let ports = NumberedPorts::new(1, 10_000, 60_000);
    let mut control =
        Control::new(Config::default(), ports, certificate, Box::new(SeededEntropy::new(1)));
    let start = Instant::now();
    let mut ng = Controlled::new(start);
    ng.set_delete_delay(Duration::ZERO);
    // With room for all rounds: what it takes would count.
    let mut held = Vec::with_capacity(11);
    for round in 0..11_u64 {
        // Later than any reply is kept.
        let now = start + Duration::from_secs(20 * round);
        for command in ["offer", "answer", "delete"] {
            for call in 0..CALLS {
                let to = (command == "answer").then_some("b");
                let handled = ng.handle(
                    (now, Duration::ZERO),
                    &mut control,
                    &request(command, call, to, VIDEO),
                );
                assert!(matches!(handled, Handled::Reply(_)));
            }
        }
        assert!(control.is_empty());
        held.push(HELD.load(Ordering::Relaxed));
    }
    // The first rounds make room in the tables.
    assert_eq!(held[10], held[5], "{held:?}");
}
