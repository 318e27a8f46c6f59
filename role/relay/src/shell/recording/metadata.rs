//! What stands beside a recording: nothing of what was said, and nobody's name.

use serde::{Deserialize, Serialize};

/// `NAME.json`, written at the start and again at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The relay session: the call's number in events and records.
    pub session: u64,
    /// Whose it is.
    pub tenant: String,
    /// Which key opens the file.
    pub key_id: String,
    /// `opus` (in Ogg) or `wav`.
    pub format: String,
    /// Left is the caller, right the callee.
    pub channels: [String; 2],
    /// Unix time in milliseconds.
    pub started_ms: u64,
    /// The same at its end; missing while it runs, and for ever where the server died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Length without pauses.
    pub duration_ms: u64,
    /// When nothing was written.
    pub pauses: Vec<Pause>,
    /// Packets that the recorder was too busy for.
    pub packets_lost: u64,
}

/// A pause, in Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Its beginning.
    pub from_ms: u64,
    /// Its end; missing while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<u64>,
}
