//! tshark on the cable to carriers.

use super::stage::{BACKUP, CARRIER, PATIENCE, Stage};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tests::process::Process;

/// A capture of everything that crosses to carriers.
pub(super) struct Capture<'s> {
    stage: &'s Stage,
    file: PathBuf,
    process: Process,
}

impl<'s> Capture<'s> {
    pub(super) fn start(stage: &'s Stage) -> Self {
        let file = stage.story.scratch.file("outside.pcap");
        let mut command = stage.story.place.command("tshark");
        let filter = format!("host {CARRIER} or host {BACKUP}");
        command.args(["-i", "lo", "-f", &filter, "-q", "-w"]).arg(&file);
        let mut process = Process::start(&stage.story.scratch, "tshark", command);
        process
            .wait_for("the capture", PATIENCE, |p| p.err().contains("Capturing on").then_some(()));
        Self { stage, file, process }
    }

    /// Ends it: what was sent to carriers, packet by packet, and the addresses it went between.
    pub(super) fn end(mut self) -> (Vec<String>, BTreeSet<String>) {
        // What stands in the file behind everything else.
        let mark = format!("echo end-of-the-run >/dev/udp/{CARRIER}/9");
        let file = self.file.clone();
        let place = &self.stage.story.place;
        self.process.wait_for("the end of the capture", PATIENCE, |_| {
            let mut command = place.command("bash");
            command.args(["-c", &mark]);
            let _ = command.status();
            let bytes = std::fs::read(&file).unwrap_or_default();
            bytes.windows(14).any(|w| w == b"end-of-the-run").then_some(())
        });
        self.process.signal("INT");
        self.process.wait(PATIENCE);
        let read = |filter: &str, fields: &[&str]| {
            let mut command = self.stage.story.place.command("tshark");
            command.arg("-r").arg(&self.file).args(["-Y", filter, "-T", "fields"]);
            command.args(fields.iter().flat_map(|field| ["-e", field]));
            Process::run(&self.stage.story.scratch, "read", command, PATIENCE).expect_code(0).out
        };
        let to = format!("ip.dst == {CARRIER} || ip.dst == {BACKUP}");
        let payloads = read(&to, &["udp.payload", "tcp.payload"]);
        let addresses = read("ip", &["ip.src", "ip.dst"]);
        // Where nobody listens the system says so and repeats the addresses.
        let words = addresses.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty());
        let words = words.map(String::from).collect();
        (payloads.lines().map(from_hex).filter(|text| !text.is_empty()).collect(), words)
    }
}

fn from_hex(line: &str) -> String {
    let digits: Vec<u8> = line.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = digits.chunks(2).filter_map(byte).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
