//! SIPp: many registrations and calls at once, by the scenarios in `tests/tests/sipp/`.

use crate::process::{Process, tail};
use crate::story::{DOMAIN, Story};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A running SIPp.
#[derive(Debug)]
pub struct Run {
    process: Process,
    name: String,
    errors: PathBuf,
    log: PathBuf,
}

/// How a SIPp is to be started.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The scenario's name, without `.xml`.
    pub scenario: &'a str,
    /// Its local port.
    pub port: u16,
    /// Its first media port; with 0 it finds one.
    pub media_port: u16,
    /// Calls in all.
    pub calls: usize,
    /// New calls per second.
    pub rate: u32,
    /// More arguments.
    pub more: Vec<String>,
}

impl Run {
    /// Starts it; `users` has a line per call with `user;callee`.
    pub fn start(story: &Story, name: &str, setup: &Setup<'_>, users: Option<&Path>) -> Self {
        let scenario = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/sipp/{}.xml", setup.scenario));
        let server = SocketAddr::new(story.place.server_ip(), story.place.sip());
        Self::start_xml(story, name, (&scenario, server), setup, users)
    }

    /// Starts it on a scenario of the story's own, towards `server`.
    pub fn start_xml(
        story: &Story,
        name: &str,
        (scenario, server): (&Path, SocketAddr),
        setup: &Setup<'_>,
        users: Option<&Path>,
    ) -> Self {
        let place = &story.place;
        let errors = story.scratch.file(&format!("{name}.errors"));
        let log = story.scratch.file(&format!("{name}.log"));
        let mut command = place.command("sipp");
        command.current_dir(story.scratch.path());
        command.arg(server.to_string()).arg("-sf").arg(scenario);
        command.args(["-i", &place.peer_ip().to_string(), "-p", &setup.port.to_string()]);
        if setup.media_port > 0 {
            command.args(["-mp", &setup.media_port.to_string()]);
        }
        command.args(["-m", &setup.calls.to_string(), "-r", &setup.rate.to_string()]);
        command.args(["-key", "domain", DOMAIN, "-nostdin", "-trace_err", "-error_file"]);
        command.arg(&errors).args(["-trace_logs", "-log_file"]).arg(&log);
        if let Some(users) = users {
            command.arg("-inf").arg(users);
        }
        command.args(&setup.more);
        let process = Process::start(&story.scratch, name, command);
        Self { process, name: name.into(), errors, log }
    }

    /// Waits for its end and panics unless every call succeeded.
    pub fn expect_none_failed(mut self, patience: Duration) {
        let status = self.process.wait(patience);
        if !status.success() {
            self.give_up(&status.to_string());
        }
    }

    /// Waits for its end; what went wrong, if anything.
    ///
    /// # Errors
    /// The tail of what SIPp complained of.
    pub fn outcome(mut self, patience: Duration) -> Result<(), String> {
        let status = self.process.wait(patience);
        if status.success() {
            return Ok(());
        }
        let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
        let head: String = errors.chars().take(1_500).collect();
        Err(format!("{}: {status}\n{head}{}", self.name, self.process.err()))
    }

    /// What the scenario's `<log>` actions wrote so far, whole lines only.
    pub fn logged(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(String::from).collect()
    }

    /// Waits until so many lines were logged.
    pub fn wait_logged(&mut self, lines: usize, patience: Duration) {
        let end = Instant::now() + patience;
        while self.logged().len() < lines {
            let over = !self.process.is_running() || Instant::now() > end;
            // It may have logged its last words since.
            if over && self.logged().len() < lines {
                self.give_up(&format!("{} of {lines} lines logged", self.logged().len()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether it still plays.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Ends it.
    pub fn kill(mut self) {
        self.process.kill();
    }

    fn give_up(&self, why: &str) -> ! {
        let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
        let out = tail(&self.process.out());
        panic!("{}: {why}\n{out}\n--- errors\n{}", self.name, tail(&errors));
    }
}

/// A file of users for SIPp, one after the other: `user;callee;password`.
pub fn users_file(story: &Story, name: &str, rows: &[(String, String)]) -> PathBuf {
    let mut text = String::from("SEQUENTIAL\n");
    for (user, callee) in rows {
        let password = story.password(user);
        text += &format!("{user};{callee};[authentication username={user} password={password}];\n");
    }
    story.scratch.write(name, text)
}
