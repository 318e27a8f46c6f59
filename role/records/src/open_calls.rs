//! The calls in progress, as seen from memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use sansio::WallTime;
use serde::Serialize;
use store::RecordOp;

/// The view; clones share it.
#[derive(Debug, Clone, Default)]
pub struct OpenCalls {
    calls: Arc<RwLock<BTreeMap<u64, OpenCall>>>,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallState {
    /// Being routed.
    Trying,
    /// A phone rings.
    Ringing,
    /// People talk.
    Answered,
}

/// One call in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenCall {
    /// The call's number.
    pub call: u64,
    /// RFC 7989 Session-ID.
    pub session_id: String,
    /// Call-ID of the caller's leg.
    pub call_id: String,
    /// The tenant's domain.
    pub tenant: String,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// Address and transport it came by.
    pub source: String,
    /// How far it has come.
    pub state: CallState,
    /// When it began.
    #[serde(with = "store::wall_millis")]
    pub started_at: WallTime,
    /// When it was answered.
    #[serde(with = "store::wall_millis::option")]
    pub answered_at: Option<WallTime>,
    /// Codecs agreed.
    pub codecs: Vec<String>,
}

impl OpenCalls {
    /// All, oldest first.
    pub fn list(&self) -> Vec<OpenCall> {
        let mut calls: Vec<OpenCall> = self.read().values().cloned().collect();
        calls.sort_by_key(|c| (c.started_at, c.call));
        calls
    }

    /// One by its number.
    pub fn call(&self, call: u64) -> Option<OpenCall> {
        self.read().get(&call).cloned()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether nobody talks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn apply(&self, op: &RecordOp) {
        let mut calls = self.calls.write().unwrap_or_else(PoisonError::into_inner);
        match op {
            RecordOp::Open(r) => {
                calls.entry(r.call).or_insert_with(|| OpenCall {
                    call: r.call,
                    session_id: r.session_id.clone(),
                    call_id: r.call_id.clone(),
                    tenant: r.tenant.clone(),
                    from: r.from.clone(),
                    to: r.to.clone(),
                    source: r.source.clone(),
                    state: CallState::Trying,
                    started_at: r.started_at,
                    answered_at: None,
                    codecs: Vec::new(),
                });
            }
            RecordOp::Ringing { call, .. } => {
                if let Some(call) = calls.get_mut(call).filter(|c| c.state == CallState::Trying) {
                    call.state = CallState::Ringing;
                }
            }
            RecordOp::Answered { call, at, codecs } => {
                if let Some(call) = calls.get_mut(call).filter(|c| c.answered_at.is_none()) {
                    call.state = CallState::Answered;
                    call.answered_at = Some(*at);
                    call.codecs.clone_from(codecs);
                }
            }
            RecordOp::Close { call, .. } => {
                calls.remove(call);
            }
            _ => {}
        }
    }

    pub(crate) fn clear(&self) {
        self.calls.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<u64, OpenCall>> {
        self.calls.read().unwrap_or_else(PoisonError::into_inner)
    }
}
