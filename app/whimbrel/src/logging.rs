//! Logs: to standard error, one span per call, personal data only through `Redacted`.

use crate::config::Log;
use anyhow::{Result, anyhow};
use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// What changes the level of a running process.
#[derive(Clone)]
pub struct LogHandle(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl LogHandle {
    /// The filter `[log]` asks for; `WHIMBREL_LOG` goes before it.
    ///
    /// # Errors
    /// A level or filter that makes no sense.
    pub fn filter(&self, log: &Log) -> Result<EnvFilter> {
        filter(log)
    }

    /// From now on logs what the filter lets pass.
    pub fn set(&self, filter: EnvFilter) {
        (self.0)(filter);
    }
}

/// Starts logging as `[log]` says.
pub fn init(log: &Log) -> Result<LogHandle> {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(log)?).with_writer(std::io::stderr);
    // A subscriber that is gone has nothing to filter.
    let (started, handle) = if log.json {
        let builder = builder.json().with_filter_reloading();
        let handle = builder.reload_handle();
        let set = move |filter| drop(handle.reload(filter));
        (builder.finish().try_init(), LogHandle(Arc::new(set)))
    } else {
        // Colours are for people at a terminal: in a file or a journal they are control characters.
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let builder = builder.with_ansi(colours).with_target(false).with_filter_reloading();
        let handle = builder.reload_handle();
        let set = move |filter| drop(handle.reload(filter));
        (builder.finish().try_init(), LogHandle(Arc::new(set)))
    };
    started.map_err(|e| anyhow!("logging cannot start: {e}"))?;
    Ok(handle)
}

fn filter(log: &Log) -> Result<EnvFilter> {
    let level = std::env::var("WHIMBREL_LOG").unwrap_or_else(|_| log.level.clone());
    EnvFilter::try_new(&level)
        .map_err(|e| anyhow!("log.level '{level}': {e}; use error, warn, info, debug or trace"))
}
