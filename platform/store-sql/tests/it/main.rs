//! SQLite tells the suite's stories, and some of its own.

mod kill;
mod trouble;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

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
