//! Logs: to standard error, one span per call, personal data only through `Redacted`.

use crate::config::Log;
use anyhow::{Result, anyhow};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging as `[log]` says; `WHIMBREL_LOG` goes before it.
pub fn init(log: &Log) -> Result<()> {
    let level = std::env::var("WHIMBREL_LOG").unwrap_or_else(|_| log.level.clone());
    let filter = EnvFilter::try_new(&level)
        .map_err(|e| anyhow!("log.level '{level}': {e}; use error, warn, info, debug or trace"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.json {
        true => builder.json().finish().try_init(),
        false => builder.with_target(false).finish().try_init(),
    };
    started.map_err(|e| anyhow!("logging cannot start: {e}"))
}
