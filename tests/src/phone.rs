//! `whimbrel phone`, headless, told by its JSON lines.

use crate::process::Process;
use crate::story::Story;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A phone of ours.
#[derive(Debug)]
pub struct Phone {
    process: Process,
}

/// How a phone is to be started.
#[derive(Debug)]
pub struct PhoneSetup<'a> {
    story: &'a Story,
    user: String,
    command: Command,
}

/// How it ended.
#[derive(Debug)]
pub struct PhoneEnded {
    /// Exit code.
    pub code: Option<i32>,
    /// Every event.
    pub events: Vec<Value>,
    /// The last line: the call's result and quality.
    pub result: Value,
}

impl Phone {
    /// A phone of `user` that reaches the story's server by `transport` and prefers `codec`.
    pub fn of<'a>(story: &'a Story, user: &str, transport: &str, codec: &str) -> PhoneSetup<'a> {
        Self::at(story, user, transport, codec, story.place.server_ip())
    }

    /// The same, at one of several addresses of the server.
    pub fn at<'a>(
        story: &'a Story,
        user: &str,
        transport: &str,
        codec: &str,
        ip: IpAddr,
    ) -> PhoneSetup<'a> {
        let place = &story.place;
        let port = match transport {
            "tls" => place.sips(),
            "wss" => place.https(),
            _ => place.sip(),
        };
        let mut command = story.whimbrel();
        command.arg("phone").arg("--account").arg(story.address(user));
        command.arg("--password-file").arg(story.password_file(user));
        command.arg("--server").arg(SocketAddr::new(ip, port).to_string());
        command.args(["--transport", transport, "--codec", codec, "--json"]);
        PhoneSetup { story, user: user.into(), command }
    }

    /// The same in a room beside the place.
    pub fn in_room<'a>(
        story: &'a Story,
        user: &str,
        transport: &str,
        codec: &str,
        room: usize,
    ) -> PhoneSetup<'a> {
        Self::in_room_at(story, user, (transport, codec), room, story.place.server_ip())
    }

    /// The same, where the server has another address as seen from there.
    pub fn in_room_at<'a>(
        story: &'a Story,
        user: &str,
        (transport, codec): (&str, &str),
        room: usize,
        ip: IpAddr,
    ) -> PhoneSetup<'a> {
        let outside = Self::at(story, user, transport, codec, ip);
        let mut command = story.whimbrel_in(room);
        // Behind the program; its environment is that of the room.
        command.args(outside.command.get_args().skip_while(|a| *a != "phone"));
        PhoneSetup { command, ..outside }
    }

    /// Waits for the first event of this name.
    pub fn wait_event(&mut self, name: &str, patience: Duration) -> Value {
        self.process.wait_for(&format!("event {name}"), patience, |p| {
            events(&p.out()).into_iter().find(|e| e["event"] == name)
        })
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Value> {
        events(&self.process.out())
    }

    /// What it complained of.
    pub fn complaints(&self) -> String {
        self.process.err()
    }

    /// Types a line on its standard input; it must have been started with [`PhoneSetup::start_told`].
    pub fn say(&mut self, line: &str) {
        self.process.say(line);
    }

    /// Waits for the first event of this name of which `wanted` holds.
    pub fn wait_for(
        &mut self,
        name: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.process.wait_for(&format!("event {name}"), patience, |p| {
            events(&p.out()).into_iter().find(|e| e["event"] == name && wanted(e))
        })
    }

    /// Asks it to hang up and end, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.process.signal("INT");
    }

    /// Waits for its end.
    pub fn finish(self, patience: Duration) -> PhoneEnded {
        let ended = self.process.finish(patience);
        let events = events(&ended.out);
        let result = events.last().cloned().unwrap_or_default();
        assert_eq!(result["event"], "result", "{}\n{}", ended.out, ended.err);
        PhoneEnded { code: ended.code, events, result }
    }
}

impl PhoneSetup<'_> {
    /// Places a call.
    pub fn call(mut self, target: &str) -> Self {
        self.command.args(["--call", target]);
        self
    }

    /// Answers the next call.
    pub fn answer(mut self) -> Self {
        self.command.arg("--answer");
        self
    }

    /// Says a file.
    pub fn play(mut self, file: &Path) -> Self {
        self.command.arg("--play").arg(file);
        self
    }

    /// Writes what is heard.
    pub fn record(mut self, file: &Path) -> Self {
        self.command.arg("--record").arg(file);
        self
    }

    /// Ends so many seconds after its start.
    pub fn seconds(mut self, seconds: u32) -> Self {
        self.command.args(["--seconds", &seconds.to_string()]);
        self
    }

    /// Any other arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Starts it with a standard input to type on.
    pub fn start_told(self) -> Phone {
        let name = format!("phone-{}", self.user);
        Phone { process: Process::start_told(&self.story.scratch, &name, self.command) }
    }

    /// Starts it.
    pub fn start(self) -> Phone {
        let name = format!("phone-{}", self.user);
        Phone { process: Process::start(&self.story.scratch, &name, self.command) }
    }
}

impl PhoneEnded {
    /// The digits heard.
    pub fn digits(&self) -> String {
        self.events
            .iter()
            .filter(|e| e["event"] == "dtmf")
            .filter_map(|e| e["digit"].as_str())
            .collect()
    }

    /// Panics unless a call was answered and nothing went wrong.
    pub fn expect_answered(self) -> Self {
        assert_eq!(self.code, Some(0), "{:#?}", self.events);
        assert_eq!(self.result["answered"], true, "{:#?}", self.events);
        self
    }
}

fn events(out: &str) -> Vec<Value> {
    // The last line may be half written.
    out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
