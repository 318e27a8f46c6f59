//! SQLite tells the suite's stories, and some of its own.

mod kill;
mod trouble;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use store::{CallClose, CallRecord, RecordFilter, RecordOp, Records, SequencedOp};
use store_sql::SqlStore;

/// A store in a folder of its own, gone when dropped.
struct Fresh {
    store: SqlStore,
    _dir: Dir,
}

impl Deref for Fresh {
    type Target = SqlStore;

    fn deref(&self) -> &SqlStore {
        &self.store
    }
}

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("wb-sql-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn sqlite() -> Fresh {
    let dir = Dir::new();
    Fresh { store: SqlStore::open(&dir.0).await.unwrap(), _dir: dir }
}

store::suite_tests!(sqlite);

/// More calls than the largest statement takes, by every size of statement there is.
#[tokio::test]
async fn many_calls_of_one_bunch_are_rows() {
    let store = sqlite().await;
    let row = |call: u64| {
        let at = sansio::WallTime::from_secs(call);
        let mut record = CallRecord { call, started_at: at, ..CallRecord::default() };
        record.close(CallClose { at, cause: "bye".into(), ..CallClose::default() });
        SequencedOp { seq: call, op: RecordOp::Open(Box::new(record)) }
    };
    let ops: Vec<SequencedOp> = (1..=256 + 64 + 16 + 4 + 1).map(row).collect();
    let applied = store.apply("records", 1, &ops, 9999).await.unwrap();
    assert_eq!((applied.opened, applied.closed), (341, 341));
    let all = store.list(&RecordFilter::default(), 1000, None).await.unwrap();
    assert_eq!(all.len(), 341);
    assert!(all.iter().all(|r| r.cause == "bye" && !r.is_open()));
    assert_eq!(store.position("records").await.unwrap().seq, 9999);
}
