//! Where the run is played: a server with two interfaces, phones inside, carriers outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::Story;
use tests::flow::{Callee, Caller};
use tests::process::Process;
use tests::sipp::{self, Run, Setup};

pub(super) const PATIENCE: Duration = Duration::from_secs(40);
/// The server's address where carriers are, and theirs. The phones are at 10.77.0.2.
pub(super) const OUTSIDE: &str = "198.51.100.1";
pub(super) const CARRIER: &str = "198.51.100.7";
pub(super) const BACKUP: &str = "198.51.100.8";
const INTERFACES: &str = "[[interface]]\nname = \"inside\"\nbind = \"10.77.0.1\"\n\n\
    [[interface]]\nname = \"outside\"\nbind = \"198.51.100.1\"\n\n";
/// Beyond the default, so that they cross.
const METHODS: &str = "[edge.methods.peer]\nSUBSCRIBE = { initial = \"allow\", in_dialog = \"allow\" }\n\
    REFER = { in_dialog = \"allow\" }\n\n";

/// What phones tell about themselves in every field they have.
const PHONE: &str = "User-Agent: SecretPhone/9.9.7\nServer: SecretPhone/9.9.7\n\
    Organization: inner-host\nCall-Info: <http://inner-host/x.png>;purpose=icon\n\
    X-Build: SecretPhone-9.9.7\nHistory-Info: <sip:x@inner-host>;index=1\n\
    Warning: 399 inner-host \"SecretPhone\"\nError-Info: <http://inner-host/err>\n";
/// What a carrier tells of itself.
const CORE: &str = "User-Agent: CarrierCore/5.5\nServer: CarrierCore/5.5\n\
    Organization: carrier-core\nX-Route: 192.0.2.77\n";
/// A scenario whose every message has these headers too.
fn talkative(xml: &str, lines: &str, room: &str) -> String {
    let with = |message: &str| {
        let at = message.find("\nContent-").map_or(0, |at| at + 1);
        format!("{}{lines}{}", &message[..at], &message[at..])
    };
    let mut parts = xml.split("<![CDATA[");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out += &format!("<![CDATA[{}", with(part));
    }
    out.replace("\ns=-\n", &format!("\ns={room}\n"))
        .replace("\no=- ", &format!("\no={} ", &room[..5]))
}

/// Who plays a part, and where.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Who {
    /// A phone of alice, who calls.
    Alice,
    /// Bob's two phones.
    Bob(u16),
    /// The first carrier, as caller or as callee.
    Calling,
    Called,
    /// The second one, over TCP.
    Backup,
}

/// One flow: what it is called, the caller, whom it calls, and those who are called.
pub(super) type Flow = (&'static str, (Who, Caller), &'static str, Vec<(Who, Callee)>);

/// A story with the outside in its namespace.
pub(super) struct Stage {
    pub(super) story: Story,
    hidden: bool,
}

impl Stage {
    pub(super) fn new(name: &str, hidden: bool) -> Self {
        let story = Story::on_network(name);
        for address in [OUTSIDE, CARRIER, BACKUP] {
            let mut command = story.place.command("ip");
            command.args(["addr", "add", &format!("{address}/32"), "dev", "lo"]);
            Process::run(&story.scratch, "address", command, PATIENCE).expect_code(0);
        }
        // What is outside is reached from outside, as where it is on another cable.
        for address in [CARRIER, BACKUP] {
            let mut command = story.place.command("ip");
            command.args(["route", "replace", "local", address, "dev", "lo", "table", "local"]);
            command.args(["src", OUTSIDE]);
            Process::run(&story.scratch, "route", command, PATIENCE).expect_code(0);
        }
        story.add_users(&["alice", "bob"]);
        let number = ["user", "number", "add", &story.address("alice"), "+49301234567"];
        story.cli(&number).expect_code(0);
        Self { story, hidden }
    }

    fn at(&self, who: Who) -> SocketAddr {
        let (ip, port) = match who {
            Who::Alice => ("10.77.0.2", 1),
            Who::Bob(n) => ("10.77.0.2", 2 + n),
            Who::Calling => (CARRIER, 5),
            Who::Called => (CARRIER, 6),
            Who::Backup => (BACKUP, 7),
        };
        SocketAddr::new(ip.parse().expect("an address"), self.story.place.peer_port(port))
    }

    pub(super) fn configuration(&self) -> String {
        let hide = if self.hidden { "" } else { "hide_topology = false\n" };
        let phones = if self.hidden { "" } else { "hide_from_phones = \"off\"\n" };
        let phones =
            format!("[edge]\n# SIPp knows no other.\ndigest_algorithms = [\"MD5\"]\n{phones}\n");
        let peer = |name: &str, who, transport: &str, priority: u16| {
            format!(
                "[[peer]]\nname = \"{name}\"\naddress = \"{}\"\ntransport = \"{transport}\"\n\
                 prefixes = [{{ prefix = \"+49\" }}]\npriority = {priority}\n{hide}\n",
                self.at(who)
            )
        };
        let peers = peer("carrier", Who::Called, "udp", 1) + &peer("backup", Who::Backup, "tcp", 2);
        format!("{phones}{METHODS}{INTERFACES}{peers}")
    }

    /// Everything that `who` reads in this flow is written here.
    pub(super) fn trace(&self, flow: &str, who: Who) -> PathBuf {
        self.story.scratch.file(&format!("{flow}-{}.messages", self.at(who).port()))
    }

    fn start(&self, flow: &str, who: Who, scenario: &str, users: Option<&Path>) -> Run {
        let at = self.at(who);
        let name = format!("{flow}-{}", at.port());
        let file = self.story.scratch.write(&format!("{name}.xml"), scenario);
        let mut more: Vec<String> = ["-timeout", "15s", "-timeout_error", "-recv_timeout", "9000"]
            .map(String::from)
            .to_vec();
        more.extend([
            "-i".into(),
            at.ip().to_string(),
            "-trace_msg".into(),
            "-message_file".into(),
        ]);
        more.push(self.trace(flow, who).display().to_string());
        if who == Who::Backup {
            more.extend(["-t".into(), "t1".into()]);
        }
        let outside = matches!(who, Who::Calling | Who::Called | Who::Backup);
        let server = if outside { OUTSIDE } else { "10.77.0.1" };
        let server = SocketAddr::new(server.parse().expect("one"), self.story.place.sip());
        let setup = Setup { scenario: "", port: at.port(), media_port: 0, calls: 1, rate: 1, more };
        Run::start_xml(&self.story, &name, (&file, server), &setup, users)
    }

    pub(super) fn play(&self, (name, (who, caller), callee, called): &Flow) -> Result<(), String> {
        let words = |who: Who| match who {
            Who::Alice | Who::Bob(_) => (PHONE, "inner room"),
            _ => (CORE, "carrier-core"),
        };
        let text = |who, xml: String| talkative(&xml, words(who).0, words(who).1);
        let from = if *who == Who::Alice { "alice" } else { "+4930555" };
        let users = [(from.to_string(), (*callee).to_string())];
        let users = sipp::users_file(&self.story, &format!("{name}.csv"), &users);
        let parts: Vec<Run> = called
            .iter()
            .map(|(who, callee)| self.start(name, *who, &text(*who, callee.xml()), None))
            .collect();
        let caller = self.start(name, *who, &text(*who, caller.xml()), Some(&users));
        let caller = caller.outcome(PATIENCE).map_err(|e| format!("{name}: caller {e}"));
        let parts: Vec<_> = parts.into_iter().map(|part| part.outcome(PATIENCE)).collect();
        caller?;
        parts.into_iter().collect::<Result<(), _>>().map_err(|e| format!("{name}: callee {e}"))
    }

    /// Bob's two phones.
    pub(super) fn register(&self) {
        let rows = [("bob".to_string(), "bob".to_string())];
        let users = sipp::users_file(&self.story, "bob.csv", &rows);
        for n in 0..2 {
            let port = self.at(Who::Bob(n)).port();
            let setup = Setup {
                scenario: "register",
                port,
                media_port: 0,
                calls: 1,
                rate: 1,
                more: Vec::new(),
            };
            Run::start(&self.story, &format!("register-{n}"), &setup, Some(&users))
                .expect_none_failed(PATIENCE);
        }
    }
}
