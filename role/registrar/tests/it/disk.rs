//! Restarts, snapshots, full disks.

use registrar::RefusalReason;

use super::*;

const CHILD: &str = "WHIMBREL_TEST_LOCATION_FULL";

#[test]
fn bindings_come_back_without_their_flows() {
    let dir = Dir::new("back");
    let location = open(&dir.0, config(2, u64::MAX));
    let (a, b) = (location.shard(0), location.shard(1));
    register(&a, &request(1, 1, 600)).unwrap();
    register(&a, &request(2, 1, 600)).unwrap();
    register(&a, &request(3, 1, 60)).unwrap();
    // The phone moved to another shard, another one left there.
    let moved = register(&b, &request(1, 2, 700)).unwrap();
    register(&b, &request(2, 2, 0)).unwrap();
    drop((a, b));
    location.stop();
    let location = Location::open(&dir.0, config(1, u64::MAX), at(80)).unwrap();
    assert_eq!(location.loaded(), 1, "removed and expired ones stay away");
    let found = location.table().lookup(&aor(1), at(80));
    assert_eq!(found.len(), 1);
    let (was, is) = (&moved.bindings[0], &found[0]);
    assert_eq!(
        (is.key(), is.expires_at(), is.source()),
        (was.key(), was.expires_at(), was.source())
    );
    assert_eq!((is.flow(), is.instance(), is.cseq()), (None, was.instance(), 2));
    let by_source = location.table().on_flow(&aor(1), was.flow().unwrap(), was.source(), at(80));
    assert_eq!(by_source.map(|b| b.key()), Some(was.key()), "UDP is known by its address");
}

#[test]
fn a_removal_is_not_undone_by_a_snapshot_or_an_older_file() {
    undone("undone", FsyncPolicy::Never);
    undone("undone-synced", FsyncPolicy::Always);
}

fn undone(name: &str, fsync: FsyncPolicy) {
    let dir = Dir::new(name);
    let config = |shards, compact_bytes| synced(fsync, shards, compact_bytes);
    for round in 0..4_u32 {
        let location = open(&dir.0, config(3, 4_000));
        let cseq = round * 1000 + 1;
        for user in 0..60 {
            let shard = location.shard(user as usize % 3);
            register(&shard, &request(user, cseq, 600)).unwrap();
        }
        for user in 0..60 {
            // By another shard than the one that wrote it.
            let shard = location.shard((user as usize + 1) % 3);
            let expires = if user % 2 == 0 { 0 } else { 900 };
            register(&shard, &request(user, cseq + 1, expires)).unwrap();
        }
        location.stop();
        let location = open(&dir.0, config(3, 4_000));
        for user in 0..60 {
            let found = location.table().lookup(&aor(user), at(11));
            assert_eq!(found.len() as u64, user % 2, "user {user} round {round}");
        }
        location.stop();
    }
    assert!(dir.0.join("snapshot.bin").exists());
}

#[test]
fn journals_of_vanished_shards_and_torn_tails_are_read() {
    let dir = Dir::new("vanished");
    let location = open(&dir.0, config(4, u64::MAX));
    for user in 0..40 {
        register(&location.shard(user as usize % 4), &request(user, 1, 600)).unwrap();
    }
    location.stop();
    let torn = dir.0.join("journal-3.log");
    let mut bytes = std::fs::read(&torn).unwrap();
    bytes.extend_from_slice(&[7; 33]);
    std::fs::write(&torn, bytes).unwrap();
    let location = open(&dir.0, config(2, u64::MAX));
    assert_eq!(location.loaded(), 40);
    assert!(!torn.exists(), "its content is in the snapshot now");
    location.stop();
    assert_eq!(open(&dir.0, config(2, u64::MAX)).loaded(), 40);
}

#[test]
fn a_foreign_file_is_named_and_left_alone() {
    let dir = Dir::new("foreign");
    std::fs::create_dir_all(&dir.0).unwrap();
    std::fs::write(dir.0.join("journal-0.log"), "this is a letter, not a journal").unwrap();
    let error = Location::open(&dir.0, config(1, u64::MAX), at(0)).unwrap_err();
    assert!(error.to_string().contains("journal-0.log"), "{error}");
}

/// Not a story: runs under a file size limit set by the story below.
#[test]
fn child_with_a_full_disk() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let location = open(Path::new(&dir), config(1, u64::MAX));
    let shard = location.shard(0);
    let mut acknowledged = 0;
    let refusal = loop {
        match register(&shard, &request(acknowledged, 1, 600)) {
            Ok(_) => acknowledged += 1,
            Err(refusal) => break refusal,
        }
        assert!(acknowledged < 100_000, "the limit does not work");
    };
    assert_eq!((refusal.status(), refusal.phrase().as_str()), (500, "Disk Full"));
    assert!(matches!(refusal.reason, RefusalReason::NotWritten(_)));
    assert!(refusal.reason.to_string().contains("journal-0.log"));
    let table = location.table();
    assert_eq!(table.len() as u64, acknowledged, "what was refused is taken back");
    // The short entries of removals still fit for a while; the first that does not changes nothing.
    let removed = (0..acknowledged).take_while(|u| register(&shard, &request(*u, 2, 0)).is_ok());
    let removed = removed.count() as u64;
    assert!(removed < acknowledged, "the limit does not work");
    assert_eq!(table.lookup(&aor(removed), at(11)).len(), 1);
    let acknowledged = acknowledged - removed;
    println!("acknowledged {acknowledged}");
}

#[test]
fn a_full_disk_refuses_with_its_name_and_loses_nothing() {
    let dir = Dir::new("full");
    let acknowledged = on_a_full_disk("disk::child_with_a_full_disk", CHILD, &dir);
    assert!(acknowledged > 20);
    assert_eq!(open(&dir.0, config(1, u64::MAX)).loaded(), acknowledged);
}
