//! A child process takes calls, folding as it goes; we kill it midway and look.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const CHILD: &str = "WHIMBREL_TEST_RECORDS_KILL";

/// Not a story: the process the story below starts and kills. Does nothing on its own.
#[test]
fn child_that_calls_until_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(store_sql::SqlStore::open(dir).await.unwrap());
        let spine = spine(&dir.join("spine"));
        let first = spine.first_seq() << 32;
        let keeper = RecordKeeper::open(&spine, store, at(0)).await.unwrap();
        std::thread::spawn(move || {
            for call in first.. {
                write(&spine, 1, started(call));
                say(&format!("open {call}"));
                if !call.is_multiple_of(3) {
                    write(&spine, 2, ended(call, "bye"));
                    say(&format!("closed {call}"));
                }
            }
        });
        keeper.run().await;
    });
}

fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}

/// Every acknowledged call has one record after kill -9: closed as it was, or by the restart.
#[tokio::test]
async fn no_record_is_lost_to_kill_9() {
    let dir = Dir::new("kill");
    std::fs::create_dir_all(&dir.0).unwrap();
    let mut calls: BTreeMap<u64, bool> = BTreeMap::new();
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_that_calls_until_killed", "--nocapture"])
            .env(CHILD, &dir.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let number = |prefix| line.strip_prefix(prefix)?.parse::<u64>().ok();
            if let Some(call) = number("open ") {
                calls.entry(call).or_default();
            } else if let Some(call) = number("closed ") {
                calls.insert(call, true);
            } else {
                continue;
            }
            lines += 1;
            if lines == 600 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(lines >= 600);
    }
    let store = Arc::new(store_sql::SqlStore::open(&dir.0).await.unwrap());
    let spine = spine(&dir.0.join("spine"));
    let keeper = RecordKeeper::open(&spine, store.clone(), at(30)).await.unwrap();
    assert!(keeper.open_calls().is_empty());
    assert!(store.open_calls().await.unwrap().is_empty());
    for (call, closed) in calls {
        let cause = cause_of(&*store, call).await.unwrap_or_default();
        let restart = cause == SERVER_RESTART;
        assert!(cause == "bye" || restart, "call {call}: `{cause}`");
        assert!(!(closed && restart), "call {call} was closed before");
    }
}
