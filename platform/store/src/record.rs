//! One record per call, and the operations that keep it.

use sansio::WallTime;
use serde::{Deserialize, Serialize};

/// What became of a call. Opened at its INVITE, closed exactly once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CallRecord {
    /// The call's own number, random, never reused. The identity of the record.
    pub call: u64,
    /// RFC 7989 Session-ID: the same in phone log, relay, capture and trace.
    pub session_id: String,
    /// Call-ID of the caller's leg.
    pub call_id: String,
    /// The tenant's domain. Text, so that a record outlives its tenant.
    pub tenant: String,
    /// Who called.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// Address and transport the INVITE came by.
    pub source: String,
    /// The caller's User-Agent.
    pub user_agent: String,
    /// When the INVITE was accepted for routing.
    #[serde(with = "crate::wall_millis")]
    pub started_at: WallTime,
    /// When the first phone rang.
    #[serde(with = "crate::wall_millis::option")]
    pub ringing_at: Option<WallTime>,
    /// Whether it was answered.
    pub answered: bool,
    /// When it was answered.
    #[serde(with = "crate::wall_millis::option")]
    pub answered_at: Option<WallTime>,
    /// When it ended; none while it lasts.
    #[serde(with = "crate::wall_millis::option")]
    pub ended_at: Option<WallTime>,
    /// Why it ended, one word or hyphenated words: `bye`, `busy`, `media-silence`, `server-restart`.
    pub cause: String,
    /// The final SIP status the caller got; 0 if none.
    pub status: u16,
    /// Its Q.850 cause; 0 if none was named and its status stands for none.
    #[serde(default)]
    pub q850: u8,
    /// Whose doing the end was: `caller`, `callee` or `server`; empty when not known.
    #[serde(default)]
    pub ended_by: String,
    /// Codecs agreed, the caller's first.
    pub codecs: Vec<String>,
    /// What came from the caller.
    pub caller: MediaStats,
    /// What came from the callee.
    pub callee: MediaStats,
    /// When it was recorded, and by what; empty where it was not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recording: Vec<RecordingStep>,
}

/// A change of a call's recording.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordingStep {
    /// When.
    #[serde(with = "crate::wall_millis")]
    pub at: WallTime,
    /// What records: `file` or `siprec`.
    pub recorder: String,
    /// `started`, `paused`, `resumed`, `failed` or `lost`.
    pub state: String,
    /// Who wanted it, or why it failed; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl CallRecord {
    /// Whether the call goes on.
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }

    /// What became of it after its beginning, as steps: for a store that knows the call already.
    pub fn later_steps(&self) -> Vec<RecordOp> {
        let call = self.call;
        let ringing = self.ringing_at.map(|at| RecordOp::Ringing { call, at });
        let codecs = || self.codecs.clone();
        let answered = self.answered_at.map(|at| RecordOp::Answered { call, at, codecs: codecs() });
        let close = self.ended_at.map(|at| CallClose {
            at,
            cause: self.cause.clone(),
            status: self.status,
            q850: self.q850,
            ended_by: self.ended_by.clone(),
            caller: self.caller.clone(),
            callee: self.callee.clone(),
            recording: self.recording.clone(),
        });
        let close = close.map(|close| RecordOp::Close { call, close: Box::new(close) });
        [ringing, answered, close].into_iter().flatten().collect()
    }

    /// Closes it, if it goes on.
    pub fn close(&mut self, close: CallClose) -> bool {
        if !self.is_open() {
            return false;
        }
        self.ended_at = Some(close.at);
        if self.codecs.is_empty() {
            self.codecs = close.codecs();
        }
        self.cause = close.cause;
        self.status = close.status;
        self.q850 = close.q850;
        self.ended_by = close.ended_by;
        self.caller = close.caller;
        self.callee = close.callee;
        if !close.recording.is_empty() {
            self.recording = close.recording;
        }
        true
    }

    /// Seconds from answer to end; none if it was never answered or goes on.
    pub fn talked_secs(&self) -> Option<f64> {
        Some(self.ended_at?.since(self.answered_at?).as_secs_f64())
    }
}

/// Media received from one side of a call.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MediaStats {
    /// The codec it sent, empty if nothing came.
    pub codec: String,
    /// RTP packets received.
    pub packets: u64,
    /// RTP packets missing (RFC 3550 A.3).
    pub lost: u64,
    /// Interarrival jitter at the end (RFC 3550 A.8), milliseconds.
    pub jitter_ms: f64,
    /// RTP payload and header bytes received.
    pub bytes: u64,
    /// What was heard of the way itself, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<MediaWay>,
}

/// What a side's packets, and its reports on ours, tell of the network between it and us.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaWay {
    /// The mark (DSCP) its last packet came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp: Option<u8>,
    /// The mark ours come to it with, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp_seen: Option<u8>,
    /// Its marks are changed on the way to us.
    pub bleached_from: bool,
    /// Ours are changed on the way to it.
    pub bleached_toward: bool,
    /// Reports it sent of what it gets (RTCP).
    pub reports: u64,
    /// Packets of ours that it tells lost.
    pub told_lost: u64,
    /// Jitter of ours there, milliseconds.
    pub told_jitter_ms: f64,
    /// From us to it and back, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Its mean opinion score for listening, where it tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos: Option<f64>,
    /// How often we changed what we code for it, because of its reports.
    pub adapted: u32,
}

/// How a record is closed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallClose {
    /// When.
    pub at: WallTime,
    /// Why; see [`CallRecord::cause`].
    pub cause: String,
    /// The final SIP status the caller got; 0 if none.
    pub status: u16,
    /// See [`CallRecord::q850`].
    pub q850: u8,
    /// See [`CallRecord::ended_by`].
    pub ended_by: String,
    /// What came from the caller.
    pub caller: MediaStats,
    /// What came from the callee.
    pub callee: MediaStats,
    /// See [`CallRecord::recording`].
    pub recording: Vec<RecordingStep>,
}

impl CallClose {
    /// The codecs seen, the caller's first: for records whose answer did not name any.
    pub fn codecs(&self) -> Vec<String> {
        let mut seen = vec![self.caller.codec.clone(), self.callee.codec.clone()];
        seen.retain(|codec| !codec.is_empty());
        seen.dedup();
        seen
    }
}

/// A step in a record's life.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RecordOp {
    /// Opens one; a second time does nothing.
    Open(Box<CallRecord>),
    /// The first phone rang. Later ones, and those of unknown or closed calls, do nothing.
    Ringing {
        /// [`CallRecord::call`].
        call: u64,
        /// When.
        at: WallTime,
    },
    /// It was answered. Does nothing the second time, or when unknown or closed.
    Answered {
        /// [`CallRecord::call`].
        call: u64,
        /// When.
        at: WallTime,
        /// The codecs agreed.
        codecs: Vec<String>,
    },
    /// Closes it. Does nothing the second time or when unknown.
    Close {
        /// [`CallRecord::call`].
        call: u64,
        /// How.
        close: Box<CallClose>,
    },
}

/// A step with its place in the spine of events, so that a replay is recognised.
#[derive(Debug, Clone, PartialEq)]
pub struct SequencedOp {
    /// The event's sequence number.
    pub seq: u64,
    /// The step.
    pub op: RecordOp,
}

/// How far a consumer has folded the spine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FoldPosition {
    /// Which spine: numbers of another spine mean nothing here.
    pub epoch: u64,
    /// The last sequence number whose effect is stored; 0 for none.
    pub seq: u64,
}

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Records opened.
    pub opened: u64,
    /// Records closed; fewer are counted where some of those opened were known already.
    pub closed: u64,
    /// Steps left out because they were stored before.
    pub replayed: u64,
}

/// Which records to list; an empty filter matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordFilter {
    /// Only this tenant's domain.
    pub tenant: Option<String>,
    /// Only calls from or to this address.
    pub party: Option<String>,
    /// Only this Call-ID.
    pub call_id: Option<String>,
    /// Only calls started at or after.
    pub since: Option<WallTime>,
}

impl RecordFilter {
    /// Whether a record passes.
    pub fn matches(&self, record: &CallRecord) -> bool {
        self.tenant.as_ref().is_none_or(|t| *t == record.tenant)
            && self.party.as_ref().is_none_or(|p| *p == record.from || *p == record.to)
            && self.call_id.as_ref().is_none_or(|c| *c == record.call_id)
            && self.since.is_none_or(|s| record.started_at >= s)
    }
}
