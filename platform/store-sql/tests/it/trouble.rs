//! Files that are damaged, missing, locked, full; and speed.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use sansio::WallTime;
use store::{Credentials, Ha1Set, NewUser, StoreError, Tenants, Users};
use store_sql::{DATABASE_FILE, KEY_FILE, SqlStore};

use super::Dir;

const CHILD: &str = "WHIMBREL_TEST_SQL_FULL";

fn at(secs: u64) -> WallTime {
    WallTime::from_secs(1_800_000_000 + secs)
}

fn users(range: std::ops::Range<u32>) -> Vec<NewUser> {
    // One hash for all: what is measured is the store.
    let ha1 = Ha1Set::from_password("user", "example.com", "secret");
    range.map(|i| NewUser { name: format!("user{i}"), ha1 }).collect()
}

#[tokio::test]
async fn what_is_stored_is_there_after_reopening_and_sealed_on_disk() {
    let dir = Dir::new();
    let store = SqlStore::open(&dir.0).await.unwrap();
    let tenant = store.add_tenant("example.com", at(0)).await.unwrap();
    let ha1 = Ha1Set::from_password("alice", "example.com", "secret");
    store.add_user(tenant.id, "alice", ha1, at(0)).await.unwrap();
    store.close().await;
    let bytes = fs::read(dir.0.join(DATABASE_FILE)).unwrap();
    assert!(!bytes.windows(16).any(|w| w == ha1.md5), "the HA1 lies open on the disk");
    let store = SqlStore::open(&dir.0).await.unwrap();
    assert_eq!(store.user(tenant.id, "alice").await.unwrap().unwrap().ha1, ha1);
    assert!(store.check().await.unwrap().is_empty());
}

#[cfg(unix)]
#[tokio::test]
async fn database_and_key_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let store = SqlStore::open(&dir.0).await.unwrap();
    store.add_tenant("example.com", at(0)).await.unwrap();
    for entry in fs::read_dir(&dir.0).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_named() {
    let dir = Dir::new();
    SqlStore::open(&dir.0).await.unwrap().close().await;
    let key = dir.0.join(KEY_FILE);
    fs::remove_file(&key).unwrap();
    let missing = SqlStore::open(&dir.0).await.unwrap_err();
    assert!(matches!(&missing, StoreError::BadKey { .. }), "{missing}");
    assert!(missing.to_string().contains("secret.key"), "{missing}");
    fs::write(&key, [7; 32]).unwrap();
    let wrong = SqlStore::open(&dir.0).await.unwrap_err();
    assert!(matches!(wrong, StoreError::WrongKey { .. }), "{wrong}");
}

#[tokio::test]
async fn a_damaged_database_is_named_with_its_remedy() {
    let dir = Dir::new();
    fs::write(dir.0.join(DATABASE_FILE), vec![b'x'; 9000]).unwrap();
    let error = SqlStore::open(&dir.0).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("whimbrel.db") && text.contains("restore a backup"), "{text}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let dir = Dir::new();
    let error = SqlStore::open(&dir.0.join("nowhere")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied { .. }), "{error:?}");
}

/// The CLI adds a user while the server runs: both have the file open.
#[tokio::test]
async fn two_openers_see_each_others_changes() {
    let dir = Dir::new();
    let server = SqlStore::open(&dir.0).await.unwrap();
    let cli = SqlStore::open(&dir.0).await.unwrap();
    let tenant = server.add_tenant("example.com", at(0)).await.unwrap();
    let credentials = Credentials::new();
    credentials.reload(&server).await.unwrap();
    let (a, b) = tokio::join!(
        cli.import(tenant.id, users(0..3000), at(1)),
        server.import(tenant.id, users(2000..4000), at(1)),
    );
    assert_eq!(a.unwrap().added + b.unwrap().added, 4000);
    assert_eq!(credentials.reload(&server).await.unwrap().changed, 4000);
    assert!(cli.remove_user(tenant.id, "user1").await.unwrap());
    assert_eq!(credentials.reload(&server).await.unwrap().removed, 1);
}

/// 100,000 users in under a minute, and a reload of them that phones do not notice.
#[tokio::test]
async fn a_hundred_thousand_users_are_imported_and_reloaded_quickly() {
    let dir = Dir::new();
    let store = SqlStore::open(&dir.0).await.unwrap();
    let tenant = store.add_tenant("example.com", at(0)).await.unwrap();
    let began = Instant::now();
    for start in (0..100_000).step_by(5000) {
        store.import(tenant.id, users(start..start + 5000), at(1)).await.unwrap();
    }
    let imported = began.elapsed();
    let credentials = Credentials::new();
    let began = Instant::now();
    assert_eq!(credentials.reload(&store).await.unwrap().changed, 100_000);
    let loaded = began.elapsed();
    store.set_ha1(tenant.id, "user7", users(0..1)[0].ha1, at(2)).await.unwrap();
    let began = Instant::now();
    assert_eq!(credentials.reload(&store).await.unwrap().changed, 1);
    let reloaded = began.elapsed();
    println!("import {imported:?}, first load {loaded:?}, reload of one {reloaded:?}");
    assert!(imported < Duration::from_secs(60), "{imported:?}");
    assert!(reloaded < Duration::from_secs(1), "{reloaded:?}");
}

/// Not a story: runs under a file size limit set by the story below.
#[tokio::test]
async fn child_with_a_full_disk() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = SqlStore::open(std::path::Path::new(&dir)).await.unwrap();
    let tenant = store.add_tenant("example.com", at(0)).await.unwrap();
    let mut kept = 0;
    let error = loop {
        match store.import(tenant.id, users(kept..kept + 500), at(1)).await {
            Ok(_) => kept += 500,
            Err(e) => break e,
        }
        assert!(kept < 100_000, "the limit does not work");
    };
    assert!(matches!(&error, StoreError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains("whimbrel.db"), "{error}");
    assert_eq!(store.count_users(tenant.id).await.unwrap(), u64::from(kept));
    println!("kept {kept}");
}

#[tokio::test]
async fn a_full_disk_refuses_with_its_name_and_keeps_what_was_committed() {
    let dir = Dir::new();
    let output = Command::new("sh")
        // 512-byte blocks; writes beyond fail with EFBIG once the signal is ignored.
        .args(["-c", "trap '' XFSZ; ulimit -f 4000; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "trouble::child_with_a_full_disk", "--nocapture"])
        .env(CHILD, &dir.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let kept: u64 =
        text.split("kept ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let store = SqlStore::open(&dir.0).await.unwrap();
    let tenant = store.tenant("example.com").await.unwrap().unwrap();
    assert_eq!(store.count_users(tenant.id).await.unwrap(), kept);
    assert!(store.check().await.unwrap().is_empty());
}
