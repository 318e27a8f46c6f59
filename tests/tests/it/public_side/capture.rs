//! The capture on the cable to carriers, as the story reads it.

use super::stage::{BACKUP, CARRIER, Stage};
use std::collections::BTreeSet;
use tests::capture::{self, Capture};

/// Begins to write down everything that crosses to carriers.
pub(super) fn start(stage: &Stage) -> Capture<'_> {
    let filter = format!("host {CARRIER} or host {BACKUP}");
    Capture::start(&stage.story, "lo", &filter, &format!("{CARRIER}/9"))
}

/// Ends it: what was sent to carriers, packet by packet, and the addresses it went between.
pub(super) fn end(capture: Capture<'_>) -> (Vec<String>, BTreeSet<String>) {
    let captured = capture.end();
    let to = format!("ip.dst == {CARRIER} || ip.dst == {BACKUP}");
    let text = |field: &String| String::from_utf8_lossy(&capture::bytes(field)).into_owned();
    let payloads = captured.fields(&to, &["udp.payload", "tcp.payload"]);
    let payloads = payloads.iter().flatten().map(text).filter(|text| !text.is_empty()).collect();
    // Where nobody listens the system says so and repeats the addresses.
    let addresses = captured.fields("ip", &["ip.src", "ip.dst"]);
    let words = addresses.iter().flatten().flat_map(|field| field.split([' ', ',']));
    (payloads, words.filter(|word| !word.is_empty()).map(String::from).collect())
}
