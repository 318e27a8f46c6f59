//! What each fuzz target does with its input: one function per parser of bytes.
//!
//! ```text
//!   fuzz/fuzz_targets/NAME.rs ──┐                       libFuzzer, coverage-guided
//!                               ├──► TARGETS: NAME ──► parse, read everything, keep the promises
//!   tests/it (cargo test) ──────┘                       torture messages, fuzz/corpus/NAME
//! ```
//!
//! A target may panic only when a promise is broken, so whatever the fuzzer calls a crash is a bug.
//! The functions know nothing of the fuzzer, so that an ordinary test replays the corpora.
//!
//! What this crate does not do: it makes no input and measures no coverage; `fuzz/` does.

mod media;
mod packets;
mod plain;
mod signalling;
mod websocket;
#[expect(dead_code, reason = "of the server's file the fuzzer needs one half")]
#[path = "../../../platform/net/src/ws.rs"]
mod ws;

pub use websocket::client_frames;

/// Takes one input; panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its corpus folder.
pub const TARGETS: [(&str, Target); 13] = [
    ("sip_message", signalling::sip_message),
    ("sip_plain", plain::sip_plain),
    ("sip_stream", signalling::sip_stream),
    ("sip_uri", signalling::sip_uri),
    ("sip_address", signalling::sip_address),
    ("sip_digest", signalling::sip_digest),
    ("sdp_session", media::sdp_session),
    ("stun_message", media::stun_message),
    ("turn_stream", media::turn_stream),
    ("websocket", websocket::websocket),
    ("rtp_packet", packets::rtp_packet),
    ("srtp_packet", packets::srtp_packet),
    ("zrtp_packet", packets::zrtp_packet),
];

/// Runs the target of that name; a name that is none is our own mistake.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("no fuzz target is called {name}"));
    target(data);
}
