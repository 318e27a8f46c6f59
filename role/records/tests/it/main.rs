//! Records through restarts.

mod kill;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use cluster::{EndedBy, Event, FsyncPolicy, MediaSummary, Spine, SpineConfig};
use records::{RecordKeeper, SERVER_RESTART};
use sansio::WallTime;
use store::{MemoryStore, RecordFilter, Records, Store};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("wb-rec-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(secs: u64) -> WallTime {
    WallTime::from_secs(1_800_000_000 + secs)
}

fn spine(dir: &Path) -> Spine {
    let config =
        SpineConfig { fsync: FsyncPolicy::Never, segment_bytes: 30_000, ..SpineConfig::default() };
    Spine::open(dir, config, at(0)).unwrap()
}

fn started(call: u64) -> Event {
    Event::CallStarted {
        call,
        session_id: format!("{call:032x}"),
        call_id: format!("call-{call}"),
        tenant: "example.com".into(),
        from: "sip:alice@example.com".into(),
        to: "sip:bob@example.com".into(),
        source: "UDP:192.0.2.1:5060".into(),
        user_agent: "Test".into(),
    }
}

fn ended(call: u64, cause: &str) -> Event {
    let side = MediaSummary { codec: "opus".into(), packets: 50, ..MediaSummary::default() };
    let (cause, caller, callee) = (cause.into(), side.clone(), side);
    Event::CallEnded { call, cause, status: 200, q850: 16, by: EndedBy::Callee, caller, callee }
}

fn write(spine: &Spine, secs: u64, event: Event) {
    let (done, written) = sync_channel(1);
    spine.emit_durable(at(secs), event, move |r| done.send(r).unwrap());
    written.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
}

async fn cause_of(store: &dyn Store, call: u64) -> Option<String> {
    store.record(call).await.unwrap().filter(|r| !r.is_open()).map(|r| r.cause)
}

#[tokio::test]
async fn a_call_becomes_a_record_and_leaves_the_view() {
    let dir = Dir::new("call");
    let spine = spine(&dir.0);
    let store = Arc::new(MemoryStore::new());
    let keeper = RecordKeeper::open(&spine, store.clone(), at(0)).await.unwrap();
    let view = keeper.open_calls();
    let running = tokio::spawn(keeper.run());
    write(&spine, 1, started(1));
    write(&spine, 2, Event::CallRinging { call: 1 });
    write(&spine, 3, Event::CallAnswered { call: 1, codecs: vec!["opus".into()] });
    while view.call(1).is_none_or(|c| c.answered_at.is_none()) {
        tokio::task::yield_now().await;
    }
    write(&spine, 9, ended(1, "bye"));
    write(&spine, 10, ended(1, "media-silence"));
    spine.stop();
    running.await.unwrap();
    assert!(view.is_empty());
    let record = store.record(1).await.unwrap().unwrap();
    assert_eq!((record.cause.as_str(), record.talked_secs()), ("bye", Some(6.0)));
    assert_eq!((record.ringing_at, record.caller.packets), (Some(at(2)), 50));
    assert_eq!((record.q850, record.ended_by.as_str()), (16, "callee"));
}

/// Calls of an earlier run are closed at start; those taken while we start are not.
#[tokio::test]
async fn a_restart_closes_what_it_cut_short() {
    let dir = Dir::new("restart");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let first = spine(&dir.0);
    let keeper = RecordKeeper::open(&first, store.clone(), at(0)).await.unwrap();
    let running = tokio::spawn(keeper.run());
    write(&first, 1, started(1));
    write(&first, 2, started(2));
    write(&first, 3, ended(2, "busy"));
    first.stop();
    running.await.unwrap();
    drop(first);
    // This run's keeper never came to fold.
    let second = spine(&dir.0);
    write(&second, 4, started(3));
    write(&second, 5, started(4));
    write(&second, 5, ended(4, "bye"));
    drop(second);

    let third = spine(&dir.0);
    write(&third, 19, started(5));
    let keeper = RecordKeeper::open(&third, store.clone(), at(20)).await.unwrap();
    for (call, cause) in [(1, SERVER_RESTART), (2, "busy"), (3, SERVER_RESTART), (4, "bye")] {
        assert_eq!(cause_of(&*store, call).await.as_deref(), Some(cause), "call {call}");
    }
    let view = keeper.open_calls();
    let running = tokio::spawn(keeper.run());
    third.stop();
    running.await.unwrap();
    assert_eq!(cause_of(&*store, 5).await, None, "it is of this run");
    assert_eq!(view.list().iter().map(|c| c.call).collect::<Vec<_>>(), [5]);
    let all = store.list(&RecordFilter::default(), 99, None).await.unwrap();
    assert_eq!(all.len(), 5);
}

/// Someone deleted DATA/spine: its numbers begin again, and records go on.
#[tokio::test]
async fn a_new_spine_is_not_taken_for_the_old_one() {
    let dir = Dir::new("epoch");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for round in 0..2_u64 {
        let spine = Spine::open(&dir.0, SpineConfig::default(), at(round)).unwrap();
        let keeper = RecordKeeper::open(&spine, store.clone(), at(0)).await.unwrap();
        write(&spine, 1, started(10 + round));
        write(&spine, 2, ended(10 + round, "bye"));
        spine.stop();
        keeper.run().await;
        drop(spine);
        std::fs::remove_dir_all(&dir.0).unwrap();
    }
    assert_eq!(cause_of(&*store, 11).await.as_deref(), Some("bye"));
}
