//! The repositories of [`store`] on SQLite: `DATA/whimbrel.db`, secrets sealed with
//! `DATA/secret.key`. The only crate that knows SQL.
//!
//! ```text
//!   server ─┐                     ┌─ one writing connection (BEGIN IMMEDIATE)
//!           ├─► SqlStore ─────────┤
//!   CLI    ─┘   (own process)     └─ reading connections      WAL: readers never wait for writers
//! ```
//!
//! Contract: everything of [`store`]'s traits, told by the same suite of stories as the memory
//! store. Several processes may have the file open; a writer waits [`BUSY_TIMEOUT`] for another.
//! A commit survives `kill -9`; a power cut may cost the last commits, never consistency.
//! HA1 values are sealed with AES-256-GCM, bound to tenant and name: rows cannot be swapped.
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("store-sql-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).unwrap();
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use store::Tenants;
//! let store = store_sql::SqlStore::open(&dir).await?;
//! store.add_tenant("example.com", sansio::WallTime::from_secs(1)).await?;
//! assert_eq!(store.tenants().await?.len(), 1);
//! store.close().await;
//! # Ok::<(), store::StoreError>(())
//! # }).unwrap();
//! # std::fs::remove_dir_all(&dir).ok();
//! ```
//!
//! What this crate does not do: PostgreSQL (yet), decisions, clocks.
//!
//! Start reading at [`SqlStore`], then `migrations/sqlite`.

mod admins;
mod error;
mod numbers;
mod open;
mod records;
mod rows;
mod seal;
mod users;

pub use open::{BUSY_TIMEOUT, DATABASE_FILE, KEY_FILE, SqlStore};
