//! Processes that end with the story.

use crate::scratch::Scratch;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);
/// How long a program may take to end its children.
const GRACE: Duration = Duration::from_secs(5);
/// Lines of a log shown when something fails.
const TAIL: usize = 60;

/// A running program, its output in two files of the story's folder.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// It has children of its own, which it ends when it is asked to and leaves when it is killed.
    has_children: bool,
    out: PathBuf,
    err: PathBuf,
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Process {
    /// Starts `command`; `name` names its logs. It dies with the thread that started it.
    pub fn start(scratch: &Scratch, name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::spawn(scratch, name, command)
    }

    /// The same for a program that is told what to do by its standard input.
    pub fn start_told(scratch: &Scratch, name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        Self::spawn(scratch, name, command)
    }

    fn spawn(scratch: &Scratch, name: &str, mut command: Command) -> Self {
        let name = unused(scratch, name);
        let out = scratch.file(&format!("{name}.out"));
        let err = scratch.file(&format!("{name}.err"));
        let open = |path| File::create(path).expect("a log in the folder");
        command.stdout(open(&out)).stderr(open(&err));
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Self { name, child, has_children: false, out, err }
    }

    /// A program with children of its own: it is asked to end, for killed it would leave them.
    #[must_use]
    pub fn with_children(mut self) -> Self {
        self.has_children = true;
        self
    }

    /// Starts `command` and waits for its end.
    pub fn run(scratch: &Scratch, name: &str, command: Command, patience: Duration) -> Ended {
        Self::start(scratch, name, command).finish(patience)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A line for its standard input.
    pub fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("started to be told");
        if let Err(error) = writeln!(input, "{line}") {
            panic!("{}", self.complaint(&format!("being told `{line}` ({error})"), true));
        }
    }

    /// What it has said so far.
    pub fn out(&self) -> String {
        text(&self.out)
    }

    /// What it has complained of so far.
    pub fn err(&self) -> String {
        text(&self.err)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `find` gives something, looking again and again.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut find: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let end = Instant::now() + patience;
        loop {
            if let Some(found) = find(self) {
                return found;
            }
            let over = !self.is_running();
            if let (true, Some(found)) = (over, find(self)) {
                return found;
            }
            if over || Instant::now() > end {
                panic!("{}", self.complaint(what, over));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for its end.
    pub fn finish(mut self, patience: Duration) -> Ended {
        let status = self.wait(patience);
        Ended { code: status.code(), out: self.out(), err: self.err() }
    }

    /// Waits for its end; panics when it takes longer.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let end = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) if Instant::now() < end => std::thread::sleep(POLL),
                Ok(None) => panic!("{}", self.complaint("its end", false)),
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), "--", &id]).status();
        assert!(status.is_ok_and(|s| s.success()), "kill -{name} {id} ({})", self.name);
    }

    /// Ends it without asking, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn complaint(&self, what: &str, over: bool) -> String {
        let how = if over { "ended before" } else { "too long without" };
        format!(
            "{name}: {how} {what}\n--- {out}\n{}\n--- {err}\n{}",
            tail(&self.out()),
            tail(&self.err()),
            name = self.name,
            out = self.out.display(),
            err = self.err.display(),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_children && self.is_running() {
            // It fails only when it is gone already.
            let _ = Command::new("kill").args(["-TERM", "--", &self.id().to_string()]).status();
            let end = Instant::now() + GRACE;
            while self.is_running() && Instant::now() < end {
                std::thread::sleep(POLL);
            }
        }
        self.kill();
    }
}

impl Ended {
    /// Panics unless it ended with `code`.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "out: {}\nerr: {}", tail(&self.out), tail(&self.err));
        self
    }
}

/// The last lines of a long text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// `name`, or `name-2` and so on: a program may be started again.
fn unused(scratch: &Scratch, name: &str) -> String {
    let mut number = 1;
    let mut free = name.to_string();
    while scratch.file(&format!("{free}.out")).exists() {
        number += 1;
        free = format!("{name}-{number}");
    }
    free
}

fn text(path: &std::path::Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
