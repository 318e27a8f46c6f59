//! What parsing costs here, in nanoseconds: `cargo run --release -p sip --example parse_cost`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a stop-watch that prints")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use sip::{Edit, HeaderName, Message, response_to};

const INVITE: &[u8] = include_bytes!("../tests/vectors/typical/invite.dat");

fn main() {
    let bytes = Bytes::from_static(INVITE);
    let message = Message::parse(bytes.clone()).expect("a typical INVITE");
    println!(
        "{} bytes, {} headers, Message {} bytes",
        INVITE.len(),
        message.header_lines().count(),
        size_of::<Message>()
    );
    measure("parse", || drop(black_box(Message::parse(black_box(bytes.clone())))));
    measure("parse and typed Via, From, To, CSeq", || {
        let message = Message::parse(black_box(bytes.clone())).expect("a typical INVITE");
        let via = message.top_via().expect("a Via");
        let (from, to, cseq) = (message.from_(), message.to(), message.cseq());
        black_box((via.branch(), via.received(), via.rport()));
        black_box((from.map(|f| f.tag()), to.map(|t| t.tag()), cseq).2.map(|c| c.number).ok());
    });
    measure("forward", || {
        let edit = Edit::new(black_box(&message))
            .replace_first(HeaderName::MAX_FORWARDS, "68")
            .replace_request_uri("sip:bob@198.51.100.77:48211;transport=tls")
            .prepend(
                HeaderName::RECORD_ROUTE,
                "<sip:198.51.100.1:5061;transport=tls;lr;t=AbCdEfGhIjKlMnOpQrStUvWxYz0123456789>",
            )
            .prepend(
                HeaderName::VIA,
                "SIP/2.0/TLS 198.51.100.1:5061;branch=z9hG4bKw1f4c9a2.8d7e6f5a4b3c2d1e;rport",
            );
        drop(black_box(edit.finish()));
    });
    measure("answer", || drop(black_box(response_to(black_box(&message), 100, "").build())));
}

/// The best of many short rounds: on a busy machine most of them are interrupted.
fn measure(what: &str, mut work: impl FnMut()) {
    const CALLS: u32 = 1000;
    let mut best = f64::MAX;
    for _ in 0..1000 {
        let start = Instant::now();
        for _ in 0..CALLS {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    println!("{what}: {best:.0} ns");
}
