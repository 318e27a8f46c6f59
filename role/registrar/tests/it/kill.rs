//! A child process registers phones and says who got a 200; we kill it midway and look.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const CHILD: &str = "WHIMBREL_TEST_LOCATION_KILL";

/// Not a story: the process the story below starts and kills. Does nothing on its own.
#[test]
fn child_that_registers_until_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    // Journals so small that snapshots are being taken all the time.
    let location = open(Path::new(&dir), config(3, 20_000));
    let first = location.loaded() as u64;
    let answered = Arc::new(AtomicU64::new(0));
    for n in 0_u64.. {
        let user = first + n;
        let counter = Arc::clone(&answered);
        let shard = location.shard(user as usize % 3);
        shard.register(at(10), &request(user, 1, 3600), move |result| {
            if result.is_ok() {
                let _ = writeln!(std::io::stdout().lock(), "acknowledged {user}");
            }
            counter.fetch_add(1, Ordering::Relaxed);
        });
        while n - answered.load(Ordering::Relaxed).min(n) > 200 {
            std::thread::yield_now();
        }
    }
}

/// R3.1: no acknowledged binding is lost to kill -9, three times in a row on one folder.
#[test]
fn acknowledged_bindings_survive_kill_9() {
    let dir = Dir::new("kill");
    let mut acknowledged = BTreeSet::new();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_that_registers_until_killed", "--nocapture"])
            .env(CHILD, &dir.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let Some(Ok(user)) = line.strip_prefix("acknowledged ").map(str::parse::<u64>) else {
                continue;
            };
            acknowledged.insert(user);
            lines += 1;
            if lines == 500 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(lines >= 500 * round);
        let location = open(&dir.0, config(3, 20_000));
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|user| location.table().lookup(&aor(**user), at(11)).len() != 1)
            .collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
        location.stop();
    }
}
