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

    /// A counter or gauge of the running server, without labels.
    pub fn metric(&self, name: &str) -> u64 {
        metric(self.story, name)
    }

    /// Seconds of processor time it has taken so far.
    pub fn cpu_s(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(&path).expect("a running process");
        // The name before the last bracket may hold anything; then fields 3 and on, of which 14
        // and 15 are ticks of 10 ms.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: f64 = fields.skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        ticks / 100.0
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

/// A counter or gauge of the running server, without labels.
pub fn metric(story: &Story, name: &str) -> u64 {
    let mut command = story.place.command("curl");
    let url = format!("http://127.0.0.1:{}/metrics", story.place.metrics());
    command.args(["--silent", "--fail", &url]);
    let text = Process::run(&story.scratch, "metrics", command, READY).expect_code(0).out;
    let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
    let value = line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}")) as u64
}

/// The rows of a list.
pub fn rows(value: Value) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        other => panic!("not a list: {other}"),
    }
}
