//! A child process adds users and says who is committed; we kill it midway and look.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use sansio::WallTime;
use store::{Ha1Set, Tenants, Users};
use store_sql::SqlStore;

use super::Dir;

const CHILD: &str = "WHIMBREL_TEST_SQL_KILL";

/// Not a story: the process the story below starts and kills. Does nothing on its own.
#[tokio::test]
async fn child_that_adds_until_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = SqlStore::open(Path::new(&dir)).await.unwrap();
    let now = WallTime::from_secs(1);
    let tenant = store.add_tenant("example.com", now).await.unwrap();
    for i in 0.. {
        let name = format!("user{i}");
        let ha1 = Ha1Set::from_password(&name, "example.com", "x");
        store.add_user(tenant.id, &name, ha1, now).await.unwrap();
        writeln!(std::io::stdout().lock(), "committed {name}").unwrap();
    }
}

/// No subscriber is lost to kill -9.
#[tokio::test]
async fn committed_users_survive_kill_9() {
    let dir = Dir::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_adds_until_killed", "--nocapture"])
        .env(CHILD, &dir.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut committed = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        committed.extend(line.strip_prefix("committed ").map(str::to_owned));
        if committed.len() == 100 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(committed.len() >= 100);
    let store = SqlStore::open(&dir.0).await.unwrap();
    let tenant = store.tenant("example.com").await.unwrap().unwrap();
    for name in &committed {
        assert!(store.user(tenant.id, name).await.unwrap().is_some(), "{name} is lost");
    }
    assert!(store.check().await.unwrap().is_empty());
}
