//! The kept inputs, replayed on any toolchain: each target over the torture messages, over their
//! lines and values, and over its own corpus in `fuzz/corpus`.

use std::path::{Path, PathBuf};

use fuzz_targets::{TARGETS, client_frames};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: PathBuf) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    paths.iter().filter_map(|p| std::fs::read(p).ok()).collect()
}

/// What parsers of any kind should have seen.
fn vectors() -> Vec<Vec<u8>> {
    let vectors = here().join("../../protocol/sip/tests/vectors");
    let folders = ["rfc4475", "rfc5118", "typical"];
    let mut all: Vec<_> = folders.iter().flat_map(|f| files(vectors.join(f))).collect();
    assert!(all.len() > 60);
    let frames: Vec<_> = all.iter().map(|m| client_frames(&[m, m], 100)).collect();
    all.extend(frames);
    all
}

fn replay(name: &str) {
    let target = |input: &[u8]| fuzz_targets::run(name, input);
    for input in vectors() {
        target(&input);
        input.split(|b| *b == b'\n').for_each(target);
        input.split(|b| *b == b':' || *b == b'\r').for_each(target);
        if let Some(body) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            target(&input[body + 4..]);
        }
    }
    let corpus = files(here().join("../../fuzz/corpus").join(name));
    assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
    corpus.iter().for_each(|input| target(input));
}

macro_rules! replayed {
    ($($test:ident $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                replay($name);
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$($name),*];
            assert!(TARGETS.iter().map(|(name, _)| *name).eq(replayed));
        }
    };
}

replayed! {
    r1_1_kept_sip_messages_break_nothing "sip_message";
    r1_1_kept_plain_requests_are_read_alike "sip_plain";
    r1_1_kept_sip_streams_break_nothing "sip_stream";
    r1_1_kept_uris_break_nothing "sip_uri";
    r1_1_kept_addresses_break_nothing "sip_address";
    r1_1_kept_credentials_break_nothing "sip_digest";
    r1_1_kept_descriptions_break_nothing "sdp_session";
    r1_1_kept_stun_messages_break_nothing "stun_message";
    r6_6_kept_turn_streams_break_nothing "turn_stream";
    r1_1_kept_websocket_frames_break_nothing "websocket";
    kept_packets_of_rtp_break_nothing "rtp_packet";
    kept_packets_of_srtp_break_nothing "srtp_packet";
    r5_4_kept_packets_of_zrtp_break_nothing "zrtp_packet";
}

/// The frames the corpus is made with are frames: the target sees the messages in them.
#[test]
fn a_message_in_frames_reaches_the_parser() {
    let message = &files(here().join("../../protocol/sip/tests/vectors/typical"))[1];
    assert!(message.starts_with(b"INVITE"));
    fuzz_targets::run("websocket", &client_frames(&[message], 60));
}
