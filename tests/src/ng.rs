//! A controller of media relays: rtpengine's NG protocol over UDP, for our relay and for that one.
//! Written for these stories alone, so that a mistake of the relay's reader is not shared.

use crate::process::Process;
use crate::story::Story;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

const START: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(5);

/// A value of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(i64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A dictionary.
    Map(BTreeMap<String, Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<const N: usize> From<[&str; N]> for Value {
    fn from(words: [&str; N]) -> Self {
        Self::List(words.into_iter().map(Self::from).collect())
    }
}

impl Value {
    /// The value of a key; panics without it.
    pub fn at(&self, key: &str) -> &Value {
        let Self::Map(map) = self else { panic!("no dictionary: {self:?}") };
        map.get(key).unwrap_or_else(|| panic!("no {key:?} in {self:?}"))
    }

    /// The text of a key; empty without it.
    pub fn text(&self, key: &str) -> &str {
        match self {
            Self::Map(map) => match map.get(key) {
                Some(Self::Text(text)) => text,
                _ => "",
            },
            _ => "",
        }
    }

    /// The number of a key; panics without it.
    pub fn number(&self, key: &str) -> i64 {
        let Self::Number(n) = self.at(key) else { panic!("{key:?} is no number in {self:?}") };
        *n
    }

    /// As bencode.
    pub fn bencode(&self) -> String {
        let text = |t: &str| format!("{}:{t}", t.len());
        match self {
            Self::Number(n) => format!("i{n}e"),
            Self::Text(t) => text(t),
            Self::List(list) => format!("l{}e", list.iter().map(Self::bencode).collect::<String>()),
            Self::Map(map) => {
                let entry = |(k, v): (&String, &Value)| text(k) + &v.bencode();
                format!("d{}e", map.iter().map(entry).collect::<String>())
            }
        }
    }

    /// Reads bencode; what is left behind the value.
    pub fn read(text: &str) -> (Self, &str) {
        let (first, rest) = text.split_at(1);
        match first {
            "i" => {
                let (digits, rest) = rest.split_once('e').expect("an end of a number");
                (Self::Number(digits.parse().expect("a number")), rest)
            }
            "l" => {
                let (mut list, mut rest) = (Vec::new(), rest);
                while !rest.starts_with('e') {
                    let (value, left) = Self::read(rest);
                    list.push(value);
                    rest = left;
                }
                (Self::List(list), &rest[1..])
            }
            "d" => {
                let (mut map, mut rest) = (BTreeMap::new(), rest);
                while !rest.starts_with('e') {
                    let (key, left) = Self::read(rest);
                    let (value, left) = Self::read(left);
                    let Self::Text(key) = key else { panic!("a key {key:?}") };
                    map.insert(key, value);
                    rest = left;
                }
                (Self::Map(map), &rest[1..])
            }
            _ => {
                let (len, rest) = text.split_once(':').expect("a length");
                let (value, rest) = rest.split_at(len.parse().expect("a length"));
                (Self::Text(value.to_owned()), rest)
            }
        }
    }
}

/// A controller of one relay.
#[derive(Debug)]
pub struct Controller {
    socket: UdpSocket,
    next: u32,
}

impl Controller {
    /// A controller of the relay at `relay`.
    pub fn of(relay: SocketAddr) -> Self {
        let socket = UdpSocket::bind((relay.ip(), 0)).expect("an address of loopback");
        socket.connect(relay).expect("a route");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, next: 0 }
    }

    /// Sends a command and waits for its reply.
    pub fn command(&mut self, name: &str, entries: &[(&str, Value)]) -> Value {
        self.next += 1;
        self.command_as(&format!("{}_{}", std::process::id(), self.next), name, entries)
    }

    /// The same under a cookie of one's own.
    pub fn command_as(&mut self, cookie: &str, name: &str, entries: &[(&str, Value)]) -> Value {
        let mut map: BTreeMap<String, Value> =
            entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        map.insert("command".into(), name.into());
        let message = format!("{cookie} {}", Value::Map(map).bencode());
        self.socket.send(message.as_bytes()).expect("a command sent");
        let mut buffer = vec![0; 65_535];
        let len = self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let (echoed, body) = text.split_once(' ').expect("a cookie");
        assert_eq!(echoed, cookie);
        Value::read(body).0
    }

    /// The description that came of an `offer` or `answer`; panics if it was refused.
    pub fn sdp(&mut self, name: &str, entries: &[(&str, Value)]) -> String {
        let reply = self.command(name, entries);
        assert_eq!(reply.text("result"), "ok", "{name} {entries:?}: {reply:?}");
        reply.text("sdp").to_owned()
    }
}

/// Our relay, alone, at `ip`.
pub fn our_relay(story: &Story, ip: IpAddr, port: u16, more: &[&str]) -> (Process, SocketAddr) {
    let (control, (min, max)) = (SocketAddr::new(ip, port), story.place.rtp());
    let mut command = story.whimbrel();
    command.args(["relay", "--ng", &control.to_string(), "--listen-ip", &ip.to_string()]);
    command.args(["--rtp-ports", &format!("{min}-{max}"), "--threads", "2"]).args(more);
    (started(Process::start(&story.scratch, "relay", command), control), control)
}

/// rtpengine at `ip`.
pub fn rtpengine(story: &Story, ip: IpAddr, port: u16) -> (Process, SocketAddr) {
    let (control, (min, max)) = (SocketAddr::new(ip, port), story.place.rtp());
    let mut command = story.place.command("rtpengine");
    command.args(["--table=-1", "--foreground", "--log-stderr", "--log-level=4", "--no-fallback"]);
    command.args([format!("--interface={ip}"), format!("--listen-ng={control}")]);
    command.args([format!("--port-min={min}"), format!("--port-max={max}")]);
    command.args(["--num-threads=1", "--delete-delay=0"]);
    // The package's file opens ports that several at once cannot share.
    command.arg("--config-file=none");
    (started(Process::start(&story.scratch, "rtpengine", command), control), control)
}

fn started(mut process: Process, control: SocketAddr) -> Process {
    let socket = UdpSocket::bind((control.ip(), 0)).expect("an address of loopback");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    process.wait_for("a pong", START, |_| {
        // Nobody may listen yet.
        let _ = socket.send_to(b"0_0 d7:command4:pinge", control);
        socket.recv(&mut [0; 100]).is_ok().then_some(())
    });
    process
}
