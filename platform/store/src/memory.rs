//! The store that forgets: for simulation and tests. Same behaviour, same tests as the others.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::account::{Admin, OneTimeLink, Session, Tenant, TenantId, User};
use crate::record::{CallRecord, FoldPosition};
use crate::repository::Reply;
use crate::token::TokenHash;

mod admins;
mod numbers;
mod records;
mod users;

/// All repositories in one mutex.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned state is whole: no method panics between two writes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    next_id: i64,
    version: u64,
    tenants: BTreeMap<String, Tenant>,
    users: BTreeMap<(TenantId, String), (User, u64)>,
    removed: BTreeMap<(String, String), u64>,
    numbers: BTreeMap<String, (TenantId, String)>,
    admins: BTreeMap<String, Admin>,
    links: BTreeMap<TokenHash, OneTimeLink>,
    sessions: BTreeMap<TokenHash, Session>,
    records: BTreeMap<u64, StoredRecord>,
    positions: BTreeMap<String, FoldPosition>,
}

impl State {
    fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn tenant_by_id(&self, id: TenantId) -> Option<&Tenant> {
        self.tenants.values().find(|t| t.id == id)
    }
}

#[derive(Debug, Clone)]
struct StoredRecord {
    record: CallRecord,
    opened_at: FoldPosition,
}

/// A reply that is ready at once.
fn ready<'a, T: Send + 'a>(result: Result<T, crate::StoreError>) -> Reply<'a, T> {
    Box::pin(std::future::ready(result))
}
