//! `whimbrel serve`: started, asked, killed and started again.

use crate::process::Process;
use crate::story::Story;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// How long a start may take on a busy machine.
const READY: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Server<'a> {
    story: &'a Story,
    process: Process,
}

impl<'a> Server<'a> {
    /// Starts it on the story's data folder and waits until it is ready.
    pub fn start(story: &'a Story) -> Self {
        Self::start_with(story, "")
    }

    /// The same with more lines of configuration (whole tables).
    pub fn start_with(story: &'a Story, more: &str) -> Self {
        let process = Self::spawn(story, more);
        let mut server = Self { story, process };
        server.wait_ready();
        server
    }

    /// Starts it without waiting: for those that must not come up.
    pub fn spawn(story: &Story, more: &str) -> Process {
        let config = Self::config(story, more);
        let mut command = story.whimbrel();
        command.arg("serve").arg("--data").arg(story.data()).arg("--config").arg(config);
        // It would move every interface that the story names.
        if !more.contains("[[interface]]") {
            command.arg("--listen-ip").arg(story.place.server_ip().to_string());
        }
        Process::start(&story.scratch, "server", command)
    }

    /// Writes the configuration.
    pub fn config(story: &Story, more: &str) -> PathBuf {
        let place = &story.place;
        let (rtp_min, rtp_max) = place.rtp();
        let text = format!(
            "shards = 2\n\n[ports]\nsip = {}\nsips = {}\nhttps = {}\nrtp_min = {rtp_min}\n\
             rtp_max = {rtp_max}\nmetrics = \"127.0.0.1:{}\"\n\n{more}",
            place.sip(),
            place.sips(),
            place.https(),
            place.metrics(),
        );
        story.scratch.write("whimbrel.toml", text)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it logged and complained of.
    pub fn complaints(&self) -> String {
        self.process.out() + &self.process.err()
    }

    /// `kill -9`: nothing is written any more.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// SIGTERM: drains.
    pub fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// `registrations list --json`.
    pub fn registrations(&self) -> Vec<Value> {
        rows(self.story.cli_json(&["registrations", "list", "--json"]))
    }

    /// `calls list --json`.
    pub fn calls(&self) -> Vec<Value> {
        rows(self.story.cli_json(&["calls", "list", "--json"]))
    }

    /// `records list --json`, the latest 1,000.
    pub fn records(&self) -> Vec<Value> {
        records(self.story)
    }

    /// Waits until a look at the server satisfies.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        patience: Duration,
        look: impl Fn() -> Option<T>,
    ) -> T {
        self.process.wait_for(what, patience, |_| look())
    }

    fn wait_ready(&mut self) {
        let place = &self.story.place;
        let url = format!("http://127.0.0.1:{}/health/ready", place.metrics());
        let ask = || {
            let mut command = place.command("curl");
            command.args(["--silent", "--fail", "--max-time", "2", "--output", "/dev/null", &url]);
            command.output().is_ok_and(|o| o.status.success()).then_some(())
        };
        self.process.wait_for("/health/ready", READY, |_| ask());
    }
}

/// `records list --json`, the latest 1,000, with or without a running server.
pub fn records(story: &Story) -> Vec<Value> {
    rows(story.cli_json(&["records", "list", "--json", "--limit", "1000"]))
}

/// The rows of a list.
pub fn rows(value: Value) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        other => panic!("not a list: {other}"),
    }
}
