//! What the server remembers: tenants, users, administrators, sign-ins, call records.
//!
//! ```text
//!    roles, app ──► trait Store ──┬── MemoryStore            (here: simulation, tests)
//!                   = Tenants     └── store_sql::SqlStore    (SQLite; the only crate that knows SQL)
//!                   + Users, Numbers
//!                   + Admins          Credentials ◄── reload() ── Users::credentials_since
//!                   + Records             ▲
//!                                         └── signalling shards: lookup(realm, user), no I/O
//! ```
//!
//! Contract: every method is one transaction; an error means nothing was changed. Lists are
//! limited by the caller and never unbounded. Secrets (HA1) are sealed at rest by the stores that
//! write to disk; passwords of administrators are kept as Argon2 hashes, tokens as SHA-256.
//! The traits are dyn-safe: hold an `Arc<dyn Store>`.
//!
//! ```
//! use sansio::{SeededEntropy, WallTime};
//! use store::{Credentials, MemoryStore, Tenants, Users};
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let store = MemoryStore::new();
//! let now = WallTime::from_secs(1);
//! let tenant = store.add_tenant("example.com", now).await?;
//! let ha1 = store::Ha1Set::from_password("alice", "example.com", "secret");
//! store.add_user(tenant.id, "alice", ha1, now).await?;
//! let credentials = Credentials::new();
//! credentials.reload(&store).await?;
//! assert!(credentials.lookup("example.com", "alice").is_some());
//! # Ok::<(), store::StoreError>(())
//! # }).unwrap();
//! ```
//!
//! What this crate does not do: no SQL, no files, no clock, no HTTP, no policy about who may call
//! whom, no location of phones (that is the registrar's journal).
//!
//! Start reading at [`Store`], then [`CallRecord`].

mod account;
mod bootstrap;
mod credentials;
mod error;
mod ha1;
mod memory;
pub mod names;
mod number_snapshot;
pub mod password;
mod record;
mod repository;
#[cfg(feature = "suite")]
pub mod suite;
mod time;
mod token;

pub use account::{
    Admin, AdminId, GrantedNumber, ImportReport, NewUser, OneTimeLink, Session, SessionKind,
    Subject, Tenant, TenantId, User, UserId,
};
pub use bootstrap::{DemoUser, FirstRun, LINK_LIFETIME, bootstrap, issue_link};
pub use credentials::{CredentialChanges, CredentialEntry, Credentials, Reloaded};
pub use error::StoreError;
pub use ha1::Ha1Set;
pub use memory::MemoryStore;
pub use number_snapshot::NumberSnapshot;
pub use record::{
    Applied, CallClose, CallRecord, FoldPosition, MediaStats, MediaWay, RecordFilter, RecordOp,
    RecordingStep, SequencedOp,
};
pub use repository::{Admins, MAX_PAGE, Numbers, Records, Reply, Store, Tenants, Users};
pub use time::wall_millis;
pub use token::{Token, TokenHash};
