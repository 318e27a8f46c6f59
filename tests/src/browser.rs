//! Headless Chromium on the server's own pages, driven by the scripts in `tests/browser/`.

use crate::process::Process;
use crate::story::Story;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// A running script with its browser.
#[derive(Debug)]
pub struct Run {
    process: Process,
}

impl Run {
    /// Runs `script` (in `tests/browser/`) against the story's server. The browser's microphone
    /// hears `microphone`.
    pub fn start(story: &Story, script: &str, microphone: &Path, arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
        let mut command = story.place.command("node");
        command.arg(folder.join(script));
        command.arg(format!("https://{}:{}", story.place.server_ip(), story.place.https()));
        command.args(arguments);
        command.env("WHIMBREL_MICROPHONE", microphone).env("HOME", story.scratch.path());
        Self { process: Process::start(&story.scratch, "browser", command) }
    }

    /// Waits for the script to say that it came to `step`.
    pub fn wait_step(&mut self, step: &str, patience: Duration) -> Value {
        self.process.wait_for(&format!("step {step}"), patience, |p| {
            steps(&p.out()).into_iter().find(|s| s["step"] == step)
        })
    }

    /// Waits for its end, which must be a good one; every step it told.
    pub fn finish(self, patience: Duration) -> Vec<Value> {
        steps(&self.process.finish(patience).expect_code(0).out)
    }
}

fn steps(out: &str) -> Vec<Value> {
    out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
