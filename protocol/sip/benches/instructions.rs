//! How many instructions the paths of every message take, counted by Callgrind: no clock, so a busy
//! machine counts the same. Above its limit a row fails `make test`.
//!
//! A limit is the count of the commit that last changed it, and 3 %. Lower it when the count falls.
//! Counts are those of x86-64 with AVX2; Debian's valgrind hides AVX-512 from what it runs.

use bytes::Bytes;
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use sip::{Edit, HeaderName, Message, response_to};

/// Nineteen headers, two of them Via, credentials and a description: 1.6 kB.
const INVITE: &[u8] = include_bytes!("../tests/vectors/typical/invite.dat");
const TARGET: &str = "sip:bob@198.51.100.77:48211;transport=tls";
const ROUTE: &str =
    "<sip:198.51.100.1:5061;transport=tls;lr;t=AbCdEfGhIjKlMnOpQrStUvWxYz0123456789>";
const VIA: &str = "SIP/2.0/TLS 198.51.100.1:5061;branch=z9hG4bKw1f4c9a2.8d7e6f5a4b3c2d1e;rport";

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    config.tool(callgrind);
    config
}

/// The INVITE, with everything done once that is done once a process: linking, features of the
/// processor, the memory that edits hand on.
fn invite() -> Bytes {
    let bytes = Bytes::from_static(INVITE);
    let message = read(bytes.clone());
    drop((forward(&message), answer(&message), strip(&message)));
    bytes
}

fn parsed() -> Message {
    Message::parse(invite()).expect("a typical INVITE")
}

fn read(bytes: Bytes) -> Message {
    let message = Message::parse(bytes).expect("a typical INVITE");
    let (via, cseq) = (message.top_via(), message.cseq());
    let typed = via.is_ok_and(|v| v.branch().is_some() && v.received().is_some())
        && cseq.is_ok_and(|c| c.number == 2)
        && message.from_tag().is_some()
        && message.to_tag().is_none();
    assert!(typed, "a typical INVITE");
    message
}

fn forward(request: &Message) -> Message {
    Edit::new(request)
        .replace_first(HeaderName::MAX_FORWARDS, "68")
        .replace_request_uri(TARGET)
        .prepend(HeaderName::RECORD_ROUTE, ROUTE)
        .prepend(HeaderName::VIA, VIA)
        .finish()
}

fn answer(request: &Message) -> Message {
    response_to(request, 180, "").to_tag("8d7e6f5a4b3c2d1e").build()
}

fn strip(message: &Message) -> Message {
    Edit::new(message).remove_first(HeaderName::VIA).finish()
}

#[library_benchmark(config = at_most(15_400))]
#[bench::invite(invite())]
fn parse(bytes: Bytes) -> Message {
    Message::parse(bytes).expect("a typical INVITE")
}

// The figure of the issue: parse, then Via, From, To and CSeq.
#[library_benchmark(config = at_most(18_220))]
#[bench::invite(invite())]
fn parse_and_read(bytes: Bytes) -> Message {
    read(bytes)
}

// What is read is given back, so that nothing is freed inside of the count.
#[library_benchmark(config = at_most(5_090))]
#[bench::invite(parsed())]
fn edit_and_forward(request: Message) -> (Message, Message) {
    let made = forward(&request);
    (request, made)
}

#[library_benchmark(config = at_most(3_120))]
#[bench::invite(parsed())]
fn strip_top_via(message: Message) -> (Message, Message) {
    let made = strip(&message);
    (message, made)
}

#[library_benchmark(config = at_most(3_930))]
#[bench::invite(parsed())]
fn respond(request: Message) -> (Message, Message) {
    let made = answer(&request);
    (request, made)
}

library_benchmark_group!(
    name = message,
    benchmarks = [parse, parse_and_read, edit_and_forward, strip_top_via, respond]
);
main!(library_benchmark_groups = message);
