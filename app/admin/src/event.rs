//! What is pushed to the console.

use serde::{Deserialize, Serialize};

use crate::model::{LiveCall, MediaQuality, Registration, Scope};

/// One change. In JSON an object whose `type` is the variant's name in snake case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LiveEvent {
    /// The state of now. First on every stream, and again after events were lost.
    Snapshot {
        /// All bindings in the scope.
        registrations: Vec<Registration>,
        /// All calls in the scope.
        calls: Vec<LiveCall>,
    },
    /// A binding was made or refreshed.
    Registered {
        /// The binding as it is now.
        registration: Registration,
    },
    /// A binding ended.
    Unregistered {
        /// Its identifier.
        id: String,
        /// Its address of record.
        aor: String,
    },
    /// A call started, rings or was answered.
    Call {
        /// The call as it is now.
        call: LiveCall,
    },
    /// A call ended.
    CallEnded {
        /// Its identifier.
        id: String,
        /// The caller.
        from: String,
        /// The party called.
        to: String,
        /// Why it ended.
        cause: String,
        /// When.
        ended_at_ms: u64,
        /// What came from the caller.
        caller_media: Option<MediaQuality>,
        /// What came from the party called.
        callee_media: Option<MediaQuality>,
    },
    /// The receiver fell behind and events were lost; never sent to a client, who gets a snapshot
    /// instead.
    Lagged,
}

impl LiveEvent {
    /// The name of the Server-Sent Event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Registered { .. } => "registered",
            Self::Unregistered { .. } => "unregistered",
            Self::Call { .. } => "call",
            Self::CallEnded { .. } => "call_ended",
            Self::Lagged => "lagged",
        }
    }

    /// Whether a receiver with this scope may see it.
    pub fn visible_to(&self, scope: &Scope) -> bool {
        match self {
            Self::Snapshot { .. } | Self::Lagged => true,
            Self::Registered { registration } => scope.covers(&registration.aor),
            Self::Unregistered { aor, .. } => scope.covers(aor),
            Self::Call { call } => scope.covers(&call.from) || scope.covers(&call.to),
            Self::CallEnded { from, to, .. } => scope.covers(from) || scope.covers(to),
        }
    }
}
