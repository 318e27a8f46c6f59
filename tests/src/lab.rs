//! The laboratory: namespaces joined by translators and bad links, for real programs.
//!
//! ```text
//!   room of alice ──TUN──┐                                        ┌──TUN── the server's namespace
//!                        └─► netlab: link ► NAT ► link ► Internet ─┘
//!   room of bob   ──TUN────►       (simnet::Net, in real time)
//! ```
//!
//! The kernel here has no netem, and nftables makes only one kind of NAT. So packets of TUN devices
//! go through the links and translators of `simnet`, the same that its stories use, and what those
//! do is tested there. Its program is `netlab` (`tests/src/bin/netlab.rs`), which can be used by
//! hand; [`Lab`] is a story's grip on it.
//!
//! The contract: UDP and TCP, and no fragments (its devices take 9,000 bytes); IPv4, and hosts of
//! IPv6 behind a NAT64. Chance follows a seed; the moment a packet comes is the machine's.
//!
//! Start reading at [`words`] for what it is told, then [`engine`].

pub mod behaviour;
pub mod engine;
pub mod packet;
pub mod stream;
pub mod tun;
pub mod words;

use crate::process::Process;
use crate::story::Story;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// The laboratory of a story.
#[derive(Debug)]
pub struct Lab<'s> {
    story: &'s Story,
    process: Process,
    program: String,
    log: PathBuf,
    told: usize,
}

/// A packet that a host sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Microseconds since the laboratory began.
    pub at_us: u64,
    /// The host.
    pub host: String,
    /// The host sent it; otherwise it reached the host.
    pub sent: bool,
    /// `RTP`, `RTCP`, `STUN`, `SIP INVITE`, `SIP 200`, `segment` (TCP), `channel RTP` (TURN) and so on.
    pub kind: String,
}

impl<'s> Lab<'s> {
    /// Starts `program`, which is `netlab`, in a story of [`Story::on_lab`]. The server's namespace
    /// is connected already, as the host `server` with both its addresses.
    pub fn start(story: &'s Story, program: &str, seed: u64) -> Self {
        let log = story.scratch.file("lab.log");
        let mut command = story.place.command(program);
        command.args(["run", &seed.to_string()]).arg(&log);
        let process = Process::start_told(&story.scratch, "netlab", command);
        let mut lab = Self { story, process, program: program.into(), log, told: 0 };
        let [first, second] = [story.place.server_ip(), story.place.peer_ip()];
        lab.tell(&format!("host server {first} {second}"));
        lab
    }

    /// Says a word (see [`words`]), which must be obeyed.
    pub fn tell(&mut self, line: &str) {
        self.process.say(line);
        self.told += 1;
        let told = self.told;
        let answer = self.process.wait_for(line, PATIENCE, |p| {
            let out = p.out();
            // The last one may be half written.
            out.split_inclusive('\n').nth(told - 1).filter(|l| l.ends_with('\n')).map(String::from)
        });
        assert_eq!(answer.trim(), "ok", "{line}");
    }

    /// Connects a room as a host.
    pub fn host(&mut self, name: &str, address: &str, behind: Option<&str>, room: usize) {
        let behind = behind.map(|nat| format!(" behind {nat}")).unwrap_or_default();
        let id = self.story.place.room_process(room);
        self.tell(&format!("host {name} {address}{behind} in {id}"));
    }

    /// Connects a room as a host of IPv6 alone, behind a NAT64.
    pub fn host_via64(&mut self, name: &str, address: &str, behind: &str, room: usize) {
        let id = self.story.place.room_process(room);
        self.tell(&format!("host {name} {address} behind {behind} via64 in {id}"));
    }

    /// Runs another verb of `netlab` in a room, to its end.
    pub fn run_in(&self, room: usize, arguments: &[&str]) -> String {
        self.start_in(room, arguments).finish(Duration::from_secs(60)).expect_code(0).out
    }

    /// The same without waiting.
    pub fn start_in(&self, room: usize, arguments: &[&str]) -> Process {
        let mut command = self.story.place.command("env");
        command.args(self.story.place.room(room)).arg(&self.program).args(arguments);
        Process::start(&self.story.scratch, "netlab-verb", command)
    }

    /// Everything seen so far.
    pub fn seen(&mut self) -> Vec<Seen> {
        self.tell("flush");
        let text = std::fs::read_to_string(&self.log).expect("the log");
        let read = |line: &str| {
            let value: Value = serde_json::from_str(line).ok()?;
            let text = |name: &str| value[name].as_str().map(String::from);
            let (host, kind) = (text("host")?, text("kind")?);
            let sent = value["what"] == "sent";
            Some(Seen { at_us: value["at_us"].as_u64()?, host, sent, kind })
        };
        text.lines().filter_map(read).collect()
    }
}
