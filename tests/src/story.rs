//! One story: a folder, a place, and the users it needs.

use crate::place::Place;
use crate::process::{Ended, Process};
use crate::scratch::Scratch;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The domain every story serves.
pub const DOMAIN: &str = "call.example";
/// How long a verb of the command line may take.
const CLI_PATIENCE: Duration = Duration::from_secs(60);

/// A story under way.
#[derive(Debug)]
pub struct Story {
    /// Where it runs. First, so that it ends before the folder goes.
    pub place: Place,
    /// Its folder.
    pub scratch: Scratch,
    binary: PathBuf,
    /// Locked while the story runs: shared, or alone for those that measure sound.
    machine: File,
    verbs: AtomicU32,
    refuses_marks: AtomicBool,
}

impl Story {
    /// A story on loopback.
    pub fn on_loopback(name: &str) -> Self {
        let scratch = Scratch::new(name);
        Self::new(Place::loopback(), scratch)
    }

    /// A story on ::1.
    pub fn on_loopback6(name: &str) -> Self {
        let scratch = Scratch::new(name);
        Self::new(Place::loopback6(), scratch)
    }

    /// A story in a network namespace of its own.
    pub fn on_network(name: &str) -> Self {
        let scratch = Scratch::new(name);
        Self::new(Place::network(&scratch), scratch)
    }

    /// A story on a host between a room of phones and a room with a core.
    pub fn on_edge_network(name: &str) -> Self {
        let scratch = Scratch::new(name);
        Self::new(Place::edge_network(&scratch), scratch)
    }

    /// A story on a host of the laboratory's Internet, with so many rooms for phones.
    pub fn on_lab(name: &str, rooms: usize) -> Self {
        let scratch = Scratch::new(name);
        Self::new(Place::lab(&scratch, rooms), scratch)
    }

    /// A story on loopback whose data folder is a disk of so many megabytes.
    pub fn on_small_disk(name: &str, megabytes: u32) -> Self {
        let scratch = Scratch::new(name);
        let place = Place::small_disk(&scratch, &scratch.file("data"), megabytes);
        Self::new(place, scratch)
    }

    /// Waits until no other story runs, and keeps them waiting: for those that measure sound in
    /// real time.
    pub fn alone(self) -> Self {
        self.machine.unlock().expect("held since the start");
        self.machine.lock().expect("the machine, alone");
        self
    }

    fn new(place: Place, scratch: Scratch) -> Self {
        let run = scratch.file("run");
        std::fs::create_dir_all(&run).expect("a folder for run files");
        private(&run);
        let machine = std::env::temp_dir().join("whimbrel-test-machine");
        let machine = File::options().create(true).append(true).open(machine).expect("a lock file");
        machine.lock_shared().expect("the machine, shared");
        Self {
            place,
            scratch,
            binary: binary(),
            machine,
            verbs: AtomicU32::new(0),
            refuses_marks: AtomicBool::new(false),
        }
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.scratch.file("data")
    }

    /// Where phones keep what they remember.
    pub fn state(&self) -> PathBuf {
        self.scratch.file("state")
    }

    /// `user@domain`.
    pub fn address(&self, user: &str) -> String {
        format!("{user}@{DOMAIN}")
    }

    /// The password of a user added by [`Story::add_users`].
    pub fn password(&self, user: &str) -> String {
        format!("pw-{user}")
    }

    /// `whimbrel` in this place, with folders for run files and state of the story's own.
    pub fn whimbrel(&self) -> Command {
        let mut command = self.place.command(&self.binary.to_string_lossy());
        command.env("XDG_RUNTIME_DIR", self.scratch.file("run")).env("RUST_BACKTRACE", "1");
        command.env("XDG_STATE_HOME", self.state());
        if self.refuses_marks.load(Ordering::Relaxed) {
            crate::refusal::refuse_marks(&mut command);
        }
        command
    }

    /// Whether the system refuses marks of packets to what [`Story::whimbrel`] starts from now on.
    pub fn refuse_marks(&self, refuse: bool) {
        self.refuses_marks.store(refuse, Ordering::Relaxed);
    }

    /// `whimbrel` in a room beside the place.
    pub fn whimbrel_in(&self, room: usize) -> Command {
        let mut command = self.place.command("env");
        let run = self.scratch.file("run");
        command.arg(format!("XDG_RUNTIME_DIR={}", run.display()));
        command.arg(format!("XDG_STATE_HOME={}", self.state().display()));
        command.args(self.place.room(room)).arg(&self.binary);
        command
    }

    /// A verb of the command line on the story's data folder, and how it ended.
    pub fn cli(&self, arguments: &[&str]) -> Ended {
        let mut command = self.whimbrel();
        command.arg("--data").arg(self.data()).args(arguments);
        let number = self.verbs.fetch_add(1, Ordering::Relaxed);
        let name = format!("cli-{number}-{}", arguments.first().copied().unwrap_or("none"));
        Process::run(&self.scratch, &name, command, CLI_PATIENCE)
    }

    /// What a verb with `--json` prints.
    pub fn cli_json(&self, arguments: &[&str]) -> serde_json::Value {
        let ended = self.cli(arguments).expect_code(0);
        serde_json::from_str(&ended.out)
            .unwrap_or_else(|e| panic!("{arguments:?} printed no JSON: {e}\n{}", ended.out))
    }

    /// Adds the tenant and these users.
    pub fn add_users(&self, users: &[&str]) {
        self.cli(&["tenant", "add", DOMAIN]).expect_code(0);
        for user in users {
            let file = self.password_file(user);
            let address = self.address(user);
            let file = file.to_string_lossy();
            self.cli(&["user", "add", &address, "--password-file", &file]).expect_code(0);
        }
    }

    /// Adds the tenant and many users at once.
    pub fn import_users(&self, users: &[String]) {
        self.cli(&["tenant", "add", DOMAIN]).expect_code(0);
        let mut text = String::from("user,password\n");
        for user in users {
            text += &format!("{},{}\n", self.address(user), self.password(user));
        }
        let file = self.scratch.write("users.csv", text);
        self.cli(&["user", "import", &file.to_string_lossy()]).expect_code(0);
    }

    /// A file with a user's password.
    pub fn password_file(&self, user: &str) -> PathBuf {
        self.scratch.write(&format!("{user}.password"), format!("{}\n", self.password(user)))
    }
}

/// The server's binary: `WHIMBREL_BIN`, or next to this test's own build; built when missing.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("WHIMBREL_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("the path of this test");
    let folder = own.parent().and_then(Path::parent).expect("target/debug");
    let path = folder.join("whimbrel");
    if !path.exists() {
        let target = folder.parent().expect("the target folder");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--locked", "-p", "whimbrel", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(target)
            .status();
        assert!(status.is_ok_and(|s| s.success()), "cargo build -p whimbrel");
    }
    path
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("0700");
}

/// Says what was measured, for `--nocapture` and for a story that fails.
#[allow(clippy::print_stdout, reason = "tests may say what they found")]
pub fn tell(what: &str) {
    println!("{what}");
}

/// How many other threads of this machine run or want to, now.
pub fn others_running() -> f64 {
    let now = || {
        let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let running = text.split(' ').nth(3).and_then(|field| field.split('/').next());
        // One of them reads this.
        running.and_then(|n| n.parse::<f64>().ok()).map_or(0.0, |n| n - 1.0)
    };
    let samples = 50;
    let sum: f64 = (0..samples)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            now()
        })
        .sum();
    sum / f64::from(samples)
}
