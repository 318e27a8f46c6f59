//! The Whimbrel server, its phone and its command line.
//!
//! ```text
//!   cli.rs ─► serve.rs ── wiring/ ── edge, registrar, router, relay, records, pbx
//!         │      ├─ backend.rs ── admin, web (console, web phone)
//!         │      ├─ metrics.rs, control.rs (DATA/whimbrel.sock)
//!         ├─► phone.rs ── driver, headless, screen
//!         ├─► turn.rs (alone, and inside serve)
//!         ├─► accounts.rs, lists.rs (work with and without a running server)
//!         └─► doctor.rs
//! ```
//!
//! Start reading at `serve.rs`, then `wiring/shard.rs`.

mod accounts;
mod addresses;
mod backend;
mod bans;
mod cli;
mod conduct;
mod config;
mod control;
mod doctor;
mod first_run;
mod kept_bans;
mod keys;
mod lists;
mod logging;
mod metrics;
mod phone;
mod present;
mod recordings;
mod relay_alone;
mod reload;
mod serve;
mod turn;
mod wiring;

use anyhow::{Context, Result, bail};
use clap::Parser;
use cli::{Cli, Verb};
use std::path::Path;
use std::process::ExitCode;
use store_sql::SqlStore;

/// What a call needs is made on one thread and grows by pages: the system's allocator asks the kernel
/// for each of them (docs/design/0075-allocator.md).
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            present::complain(&format!("whimbrel: {error:#}"));
            ExitCode::from(1)
        }
    }
}

/// Runs a verb. False when what was asked about failed.
fn run(cli: Cli) -> Result<bool> {
    // Signalling shards and packet threads have threads of their own; the rest fits on this one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime cannot start")?;
    runtime.block_on(Box::pin(perform(cli)))
}

async fn perform(cli: Cli) -> Result<bool> {
    let data = cli.data.as_path();
    match cli.verb {
        Verb::Serve(args) => serve::run(data, &args).await?,
        Verb::Turn(args) => turn::run(data, &args).await?,
        Verb::Relay(args) => relay_alone::run(&args).await?,
        Verb::Phone(args) => {
            logging::init(&config::Log { level: "warn".into(), json: false })?;
            return phone::run(*args).await;
        }
        Verb::Doctor(args) => return doctor::run(data, &args).await,
        Verb::Reload(args) => reload::run(data, &args)?,
        Verb::Registrations(verb) => lists::show_registrations(data, &verb)?,
        Verb::Calls(verb) => lists::show_calls(data, &verb)?,
        Verb::Bans(verb) => return bans::run(data, &verb),
        Verb::Conduct(verb) => return conduct::run(data, &verb),
        Verb::Recording(verb) => return recordings::run(data, &verb),
        Verb::Route(verb) => lists::show_route(data, verb)?,
        Verb::Tenant(verb) => accounts::tenant(data, &open_store(data).await?, verb).await?,
        Verb::User(verb) => accounts::user(data, &open_store(data).await?, verb).await?,
        Verb::Admin(verb) => accounts::admin(&open_store(data).await?, verb).await?,
        Verb::Records(verb) => lists::records(&open_existing(data).await?, verb).await?,
    }
    Ok(true)
}

/// The store of a data folder; made if it is not there, so that users can be added before the first
/// start.
async fn open_store(data: &Path) -> Result<SqlStore> {
    serve::make_private(data)?;
    Ok(SqlStore::open(data).await?)
}

async fn open_existing(data: &Path) -> Result<SqlStore> {
    if !serve::database(data).exists() {
        bail!("{}: no data here yet; is --data right?", data.display());
    }
    Ok(SqlStore::open(data).await?)
}
