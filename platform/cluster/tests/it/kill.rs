//! A child process writes and says what was acknowledged; we kill it midway and look.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use cluster::{Event, FsyncPolicy, Spine, SpineConfig};
use sansio::WallTime;

const CHILD: &str = "WHIMBREL_TEST_SPINE_CHILD";

fn config() -> SpineConfig {
    // Small segments, so that the kill also meets one being rolled.
    SpineConfig { fsync: FsyncPolicy::Never, segment_bytes: 20_000, ..SpineConfig::default() }
}

/// Not a story: the process the story below starts and kills. Does nothing on its own.
#[test]
fn child_that_writes_until_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let spine = Spine::open(Path::new(&dir), config(), WallTime::from_secs(1)).unwrap();
    for call in 0.. {
        let seq = spine.last_seq();
        spine.emit_durable(WallTime::from_secs(2), Event::CallRinging { call }, move |written| {
            if written.is_ok() {
                let mut out = std::io::stdout().lock();
                let _ = writeln!(out, "acknowledged {call}");
            }
        });
        while call > 64 && spine.last_seq() == seq && call % 64 == 0 {
            std::thread::yield_now();
        }
    }
}

/// R3.1: what was acknowledged is there after kill -9, three times in a row on one folder.
#[test]
fn acknowledged_events_survive_kill_9() {
    let dir = std::env::temp_dir().join(format!("wb-spine-kill-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let mut last_seq = 0;
    for round in 1..=3_usize {
        let acknowledged = run_and_kill(&dir, 700 * round);
        let spine = Spine::open(&dir, config(), WallTime::from_secs(3)).unwrap();
        let mut consumer = spine.consumer("check", last_seq).unwrap();
        let mut kept = BTreeSet::new();
        loop {
            let batch = consumer.read_ready(500).unwrap();
            let Some(last) = batch.last() else { break };
            assert_eq!(last.seq, last_seq + batch.len() as u64, "no number is missing");
            last_seq = last.seq;
            kept.extend(batch.iter().filter_map(|e| match e.event {
                Event::CallRinging { call } => Some(call),
                _ => None,
            }));
        }
        assert!(acknowledged.len() >= 700 * round);
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        consumer.commit(last_seq);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn run_and_kill(dir: &Path, after: usize) -> BTreeSet<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_writes_until_killed", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeSet::new();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut killed = false;
    for line in out.lines().map_while(Result::ok) {
        if let Some(Ok(call)) = line.strip_prefix("acknowledged ").map(str::parse) {
            acknowledged.insert(call);
        }
        if acknowledged.len() >= after && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    acknowledged
}
