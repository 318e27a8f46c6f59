//! The memory store tells the suite's stories.

use store::MemoryStore;

async fn memory() -> Box<MemoryStore> {
    Box::new(MemoryStore::new())
}

store::suite_tests!(memory);
