//! What happened: the typed events of the whole server.

pub(crate) mod json;

use sansio::WallTime;
use serde::{Deserialize, Deserializer, Serialize};

/// An event with its time and, if it is of a durable kind, its place in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Its number, from 1, without gaps; 0 for kinds that are not kept.
    pub seq: u64,
    /// When it happened.
    #[serde(with = "wall_millis")]
    pub at: WallTime,
    /// What happened.
    pub event: Event,
}

/// What happened. `call` is the call's own number, the same in all its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A process began to write this spine. Every event before it is of an earlier run. Durable.
    ServerStarted {
        /// The program's version.
        version: String,
    },
    /// A phone registered or refreshed.
    Registered {
        /// Address of record.
        aor: String,
        /// The binding's key.
        binding: u64,
        /// Its Contact URI.
        contact: String,
        /// Address it came from.
        source: String,
        /// `UDP`, `TLS`, `WSS` …
        transport: String,
        /// The phone's User-Agent.
        user_agent: String,
        /// Seconds it lives.
        expires_secs: u32,
        /// Whether the binding was there before.
        refresh: bool,
    },
    /// A binding ended.
    Unregistered {
        /// Address of record.
        aor: String,
        /// The binding's key.
        binding: u64,
        /// Its Contact URI.
        contact: String,
        /// Why.
        reason: UnregisterReason,
    },
    /// An INVITE was accepted for routing. Durable.
    CallStarted {
        /// The call's number.
        call: u64,
        /// RFC 7989 Session-ID.
        session_id: String,
        /// Call-ID of the caller's leg.
        call_id: String,
        /// The tenant's domain.
        tenant: String,
        /// Who called.
        from: String,
        /// Who was called.
        to: String,
        /// Address and transport it came by.
        source: String,
        /// The caller's User-Agent.
        user_agent: String,
    },
    /// The first phone rings. Durable.
    CallRinging {
        /// The call's number.
        call: u64,
    },
    /// The call was answered. Durable.
    CallAnswered {
        /// The call's number.
        call: u64,
        /// Codecs agreed, the caller's first.
        codecs: Vec<String>,
    },
    /// The call is over. Durable.
    CallEnded {
        /// The call's number.
        call: u64,
        /// `bye`, `cancelled`, `busy`, `declined`, `not-found`, `media-silence` …
        cause: String,
        /// The final SIP status the caller got; 0 if none.
        status: u16,
        /// Its Q.850 cause; 0 if none was named and its status stands for none.
        #[serde(default)]
        q850: u8,
        /// Whose doing it was.
        #[serde(default)]
        by: EndedBy,
        /// What came from the caller.
        caller: MediaSummary,
        /// What came from the callee.
        callee: MediaSummary,
    },
    /// A call's recording began, rests, goes on, or could not be. It ends with the call. Durable.
    CallRecording {
        /// The call's number.
        call: u64,
        /// What records: `file` or `siprec`.
        recorder: String,
        /// `started`, `paused`, `resumed`, `failed` or `lost`.
        state: String,
        /// Who wanted it, or why it failed; may be empty.
        why: String,
    },
    /// Credentials were wrong or missing where they were needed.
    AuthFailed {
        /// The realm asked for.
        realm: String,
        /// The user named.
        user: String,
        /// Address it came from.
        source: String,
        /// The method.
        method: String,
    },
    /// A source is not listened to for a while: it behaved as scanners do.
    SourceBanned {
        /// Its address.
        source: String,
        /// `scanner`, `flood`, `missing-user`, `wrong-password` …
        sign: String,
        /// For how long.
        seconds: u64,
        /// Which ban of this source in a row it is, from 1.
        count: u32,
    },
    /// An account calls as programs do. Durable: what was done about it must be found later.
    AccountSuspected {
        /// Whose.
        aor: String,
        /// Its score.
        #[serde(deserialize_with = "finite")]
        score: f64,
        /// What it is made of: `premium`, `burst`, `night` …
        signs: Vec<String>,
        /// `watch`, `throttle`, `challenge`, `block`.
        action: String,
    },
    /// Somebody authenticated and claimed to be somebody else (RFC 3325 §5).
    IdentityRefused {
        /// Who it is, proven: user@domain, or `peer:NAME`.
        user: String,
        /// Address it came from.
        source: String,
        /// The method.
        method: String,
        /// The header that claimed.
        header: String,
        /// What it claimed, without control characters, cut to 128 characters.
        claimed: String,
    },
    /// Marks (DSCP) of a call's packets do not come through: the network takes them off, or puts others
    /// on. The call goes on.
    MarksBleached {
        /// The call's number.
        call: u64,
        /// `caller` or `callee`: whose leg.
        side: String,
        /// `from`: of what that side sends; `toward`: of what it gets; `both`.
        way: String,
    },
    /// How a running call sounds.
    QualityReport {
        /// The call's number.
        call: u64,
        /// From the caller.
        caller: MediaSummary,
        /// From the callee.
        callee: MediaSummary,
    },
}

impl Event {
    /// Whether events of this kind are written to the log.
    pub fn is_durable(&self) -> bool {
        matches!(
            self,
            Self::ServerStarted { .. }
                | Self::CallStarted { .. }
                | Self::CallRinging { .. }
                | Self::CallAnswered { .. }
                | Self::CallEnded { .. }
                | Self::CallRecording { .. }
                | Self::AccountSuspected { .. }
        )
    }
}

/// Whose doing the end of a call was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// Events of before this was told do not say.
    #[default]
    Unknown,
    /// Who called.
    Caller,
    /// Who was called, or a server on its side.
    Callee,
    /// The server.
    Server,
}

impl EndedBy {
    /// The word in records; empty when not known.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Caller => "caller",
            Self::Callee => "callee",
            Self::Server => "server",
        }
    }
}

/// Why a binding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UnregisterReason {
    /// The phone asked for it.
    Removed,
    /// It was not refreshed.
    Expired,
    /// Another registration of the same phone took its place.
    Replaced,
    /// Its user was removed.
    UserRemoved,
}

/// Media received from one side.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MediaSummary {
    /// The codec it sent; empty if nothing came.
    pub codec: String,
    /// RTP packets received.
    pub packets: u64,
    /// RTP packets missing.
    pub lost: u64,
    /// Interarrival jitter, milliseconds.
    #[serde(deserialize_with = "finite")]
    pub jitter_ms: f64,
    /// RTP bytes received.
    pub bytes: u64,
    /// What was heard of the way itself, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<Box<MediaWay>>,
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bleached_from: bool,
    /// Ours are changed on the way to it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bleached_toward: bool,
    /// Reports it sent of what it gets (RTCP).
    pub reports: u64,
    /// Packets of ours that it tells lost.
    pub told_lost: u64,
    /// Jitter of ours there, milliseconds.
    #[serde(deserialize_with = "finite")]
    pub told_jitter_ms: f64,
    /// From us to it and back, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Its mean opinion score for listening, where it tells one (RTCP XR).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos: Option<f64>,
    /// How often we changed what we code for it, because of its reports.
    #[serde(skip_serializing_if = "is_zero")]
    pub adapted: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// JSON has no NaN: it is written as null, which must not make an event unreadable.
fn finite<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(d)?.unwrap_or(0.0))
}

mod wall_millis {
    use sansio::WallTime;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &WallTime, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(at.as_millis())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<WallTime, D::Error> {
        u64::deserialize(d).map(WallTime::from_millis)
    }
}
