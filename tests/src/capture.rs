//! What crosses a cable, by tshark.

use crate::process::Process;
use crate::story::Story;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);
/// Sent at the end: what stands in the file behind everything else.
const MARK: &str = "end-of-the-capture";

/// A capture under way.
#[derive(Debug)]
pub struct Capture<'s> {
    story: &'s Story,
    file: PathBuf,
    process: Process,
    /// Where the mark goes: it must match the filter.
    mark_to: String,
}

/// A capture that is over.
#[derive(Debug)]
pub struct Captured<'s> {
    story: &'s Story,
    file: PathBuf,
}

impl<'s> Capture<'s> {
    /// Begins to write down what crosses `interface` and matches `filter`. A datagram to `mark_to`
    /// (`ADDRESS/PORT`) must match it too: it will tell the end.
    pub fn start(story: &'s Story, interface: &str, filter: &str, mark_to: &str) -> Self {
        let file = story.scratch.file("capture.pcap");
        let mut command = story.place.command("tshark");
        command.args(["-i", interface, "-f", filter, "-q", "-w"]).arg(&file);
        let mut process = Process::start(&story.scratch, "tshark", command);
        process
            .wait_for("the capture", PATIENCE, |p| p.err().contains("Capturing on").then_some(()));
        Self { story, file, process, mark_to: mark_to.into() }
    }

    /// Ends it, when everything so far is in the file.
    pub fn end(mut self) -> Captured<'s> {
        let mark = format!("echo {MARK} >/dev/udp/{}", self.mark_to);
        let file = self.file.clone();
        let place = &self.story.place;
        self.process.wait_for("the end of the capture", PATIENCE, |_| {
            let mut command = place.command("bash");
            command.args(["-c", &mark]);
            let _ = command.status();
            let bytes = std::fs::read(&file).unwrap_or_default();
            bytes.windows(MARK.len()).any(|w| w == MARK.as_bytes()).then_some(())
        });
        self.process.signal("INT");
        self.process.wait(PATIENCE);
        Captured { story: self.story, file: self.file }
    }
}

impl Captured<'_> {
    /// Of each packet that a display filter shows, these fields.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut command = self.story.place.command("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", filter, "-T", "fields"]);
        command.args(fields.iter().flat_map(|field| ["-e", field]));
        let read = Process::run(&self.story.scratch, "tshark-read", command, PATIENCE);
        let out = read.expect_code(0).out;
        out.lines().map(|line| line.split('\t').map(String::from).collect()).collect()
    }
}

/// A field of bytes, as tshark writes it.
pub fn bytes(field: &str) -> Vec<u8> {
    let digits: Vec<u8> = field.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).filter_map(byte).collect()
}
