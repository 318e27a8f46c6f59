//! What a phone tells a script: one line per event, and a last one with the result.

use super::transports::word;
use crate::present::{say, wall};
use ::phone::{CallHandle, Cause, Link, PhoneEvent};
use media::MediaStats;
use rtp::zrtp::{Algorithm, Sas, Secured, Trust};
use serde_json::{Value, json};
use std::time::Duration;

/// What the call came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub registered: bool,
    pub answered: bool,
    cause: Option<Cause>,
    status: Option<u16>,
    reason: String,
    codec: String,
    encrypted: bool,
    secured: Option<Secured>,
    stats: Option<Box<MediaStats>>,
}

impl Outcome {
    /// Takes an event in; `ours` says whether it is of the call that was asked for.
    pub fn note(&mut self, event: &PhoneEvent, ours: bool) {
        match event {
            PhoneEvent::Registered { .. } => {
                self.registered = true;
                (self.status, self.reason) = (None, String::new());
            }
            PhoneEvent::RegistrationFailed { status, reason, .. } if !self.answered => {
                self.status = Some(*status);
                self.reason.clone_from(reason);
            }
            PhoneEvent::Answered { codec, encrypted, .. } if ours => {
                self.answered = true;
                self.codec.clone_from(codec);
                self.encrypted = *encrypted;
            }
            PhoneEvent::Secured { secured, .. } if ours => {
                self.encrypted = true;
                self.secured = Some(*secured);
            }
            PhoneEvent::Ended { cause, status, reason, stats, .. } if ours => {
                self.cause = Some(*cause);
                self.status = *status;
                self.reason.clone_from(reason);
                self.stats.clone_from(stats);
            }
            _ => {}
        }
    }

    /// The call could not even be placed.
    pub fn failed(&mut self, reason: String) {
        self.cause = Some(Cause::Failed);
        self.reason = reason;
    }

    /// Whether what was asked for came about: an answer for `--call`, a registration for the rest.
    pub fn is_success(&self, calling: bool) -> bool {
        if calling {
            self.answered
        } else {
            self.registered && self.cause.is_none_or(|_| self.answered)
        }
    }

    /// The last line.
    pub fn line(&self, calling: bool) -> Value {
        let result = match (self.answered, self.registered) {
            (true, _) => "answered",
            (false, true) if calling || self.cause.is_some() => "failed",
            (false, true) => "no-call",
            (false, false) => "not-registered",
        };
        json!({
            "event": "result",
            "result": result,
            "registered": self.registered,
            "answered": self.answered,
            "cause": self.cause.map(Cause::as_str),
            "status": self.status,
            "reason": self.reason,
            "codec": self.codec,
            "encrypted": self.encrypted,
            "sas": self.secured.map(|s| s.sas.letters()),
            "trust": self.secured.map(|s| trust(s.trust)),
            "quality": self.stats.as_deref().map(quality),
        })
    }

    /// One sentence for a person when it failed; none when the exit code says it all.
    pub fn complaint(&self, account: &str) -> Option<String> {
        if self.registered {
            return None;
        }
        let status = self.status?;
        let reason = &self.reason;
        Some(match status {
            401 | 403 | 407 => format!(
                "{account}: the server refused the account or its password ({status} {reason}): \
                 check --account and --password-file"
            ),
            404 => format!(
                "{account}: the server does not know this account ({status} {reason}): \
                 check --account"
            ),
            408 => format!(
                "{account}: the server does not answer: check --server and --transport, and that \
                 it runs"
            ),
            _ => format!("{account}: not registered ({status} {reason})"),
        })
    }
}

/// Why the registration failed, for a line of the screen.
pub fn describe(status: u16, reason: &str, retry: Option<Duration>) -> String {
    let what = match status {
        401 | 403 | 407 => format!("account or password refused ({status} {reason})"),
        408 => "the server does not answer".to_string(),
        _ => format!("{status} {reason}"),
    };
    match retry {
        Some(after) => format!("{what}; again in {} s", after.as_secs().max(1)),
        None => what,
    }
}

/// The figures of a call's media as JSON.
pub fn quality(stats: &MediaStats) -> Value {
    json!({
        "packets_sent": stats.packets_sent,
        "packets_received": stats.packets_received,
        "lost": stats.lost,
        "late": stats.late,
        "discarded": stats.discarded,
        "jitter_ms": round(stats.jitter_ms),
        "rtt_ms": stats.rtt_ms.map(round),
        "delay_ms": round(stats.delay_ms),
        "concealed_ms": stats.concealed_ms,
        "remote_lost": stats.remote_lost,
        "remote_jitter_ms": round(stats.remote_jitter_ms),
        "input_dbov": round(f64::from(stats.input_dbov)),
        "output_dbov": round(f64::from(stats.output_dbov)),
        "dscp_sent": stats.marks.sent.map(mark),
        "dscp_arrived": stats.marks.arrived.map(mark),
    })
}

/// A mark by its name, or its number where it has none.
pub fn mark(dscp: u8) -> String {
    crate::config::Dscp::of(dscp).to_string()
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The link stands: by which transport, and to where.
pub fn link_line(link: &Link) -> Value {
    json!({
        "event": "link-up",
        "transport": word(link.transport),
        "server": link.server.to_string(),
    })
}

/// An event as one JSON object.
pub fn event_line(event: &PhoneEvent) -> Value {
    match event {
        PhoneEvent::Registered { expires } => {
            json!({"event": "registered", "expires_s": expires.as_secs()})
        }
        PhoneEvent::Unregistered => json!({"event": "unregistered"}),
        PhoneEvent::RegistrationFailed { status, reason, retry } => json!({
            "event": "registration-failed", "status": status, "reason": reason,
            "retry_s": retry.map(|r| r.as_secs()),
        }),
        PhoneEvent::Incoming { call, from, target, display_name, replaces, joins } => json!({
            "event": "incoming", "call": call.0, "from": from, "to": target,
            "name": display_name, "replaces": replaces.map(|c| c.0), "joins": joins.map(|c| c.0),
        }),
        PhoneEvent::Ringing { call } => json!({"event": "ringing", "call": call.0}),
        PhoneEvent::EarlyMedia { call } => json!({"event": "early-media", "call": call.0}),
        PhoneEvent::Redirected { call, to } => {
            json!({"event": "redirected", "call": call.0, "to": to})
        }
        PhoneEvent::Answered { call, codec, encrypted } => json!({
            "event": "answered", "call": call.0, "codec": codec, "encrypted": encrypted,
        }),
        PhoneEvent::Held { call, held } => json!({"event": "held", "call": call.0, "held": held}),
        PhoneEvent::HeldByPeer { call, held } => {
            json!({"event": "held-by-peer", "call": call.0, "held": held})
        }
        PhoneEvent::Dtmf { call, digit } => {
            json!({"event": "dtmf", "call": call.0, "digit": digit.to_string()})
        }
        PhoneEvent::Ended { call, cause, status, reason, .. } => json!({
            "event": "ended", "call": call.0, "cause": cause.as_str(), "status": status,
            "reason": reason,
        }),
        PhoneEvent::Heard { call } => {
            json!({"event": "heard", "call": call.0, "at_ms": wall().as_millis()})
        }
        PhoneEvent::WaySelected { call, relayed, lender, known, messages, gathering } => json!({
            "event": "way", "call": call.0, "relayed": relayed, "known": known,
            "by": lender.map(|at| at.to_string()), "at_ms": wall().as_millis(),
            "messages": messages, "gathering": gathering,
        }),
        PhoneEvent::Marks { call, marks } => json!({
            "event": "marks", "call": call.0, "sent": marks.sent.map(mark),
            "arrived": marks.arrived.map(mark),
        }),
        PhoneEvent::WayLost { call } => json!({"event": "way-lost", "call": call.0}),
        PhoneEvent::TransferRequested { call, target, by, attended, joins } => json!({
            "event": "transfer-requested", "call": call.0, "to": target, "by": by,
            "attended": attended, "joins": joins,
        }),
        PhoneEvent::TransferProgress { call, status } => {
            json!({"event": "transfer-progress", "call": call.0, "status": status})
        }
        PhoneEvent::TransferEnded { call, status } => {
            json!({"event": "transfer-ended", "call": call.0, "status": status})
        }
        PhoneEvent::Secured { call, secured } => secured_line(*call, secured),
        PhoneEvent::NotSecured { call, reason } => {
            json!({"event": "not-secured", "call": call.0, "reason": reason})
        }
        other => words_line(other),
    }
}

fn secured_line(call: CallHandle, secured: &Secured) -> Value {
    let code = |code: [u8; 4]| String::from_utf8_lossy(&code).trim().to_owned();
    json!({
        "event": "secured", "call": call.0, "sas": secured.sas.letters(),
        "words": secured.sas.words().join(" "), "trust": trust(secured.trust),
        "verified": secured.trust == Trust::Verified, "peer_verified": secured.peer_verified,
        "intermediary": secured.peer_is_mitm, "discloses": secured.peer_discloses,
        "peer": format!("{:?}", secured.peer), "cipher": code(secured.choice.cipher.code()),
        "key_agreement": code(secured.choice.agreement.code()),
    })
}

/// What nobody should overlook: a remembered phone that is another now.
pub fn warning_line(event: &PhoneEvent) -> Option<Value> {
    match event {
        PhoneEvent::Secured { call, secured } if secured.trust == Trust::Changed => Some(json!({
            "event": "key-changed", "call": call.0, "peer": format!("{:?}", secured.peer),
            "warning": CHANGED,
        })),
        _ => None,
    }
}

/// Two strings that are not alike.
pub fn differs_line(call: CallHandle, theirs: &str, ours: Sas) -> Value {
    json!({
        "event": "sas-differs", "call": call.0, "theirs": theirs, "ours": ours.letters(),
        "words": ours.words().join(" "),
        "warning": "the strings differ: somebody may listen. Hang up, and call by another way",
    })
}

/// The word for JSON and screens.
pub fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::FirstContact => "first-contact",
        Trust::Remembered => "remembered",
        Trust::Verified => "verified",
        Trust::Changed => "changed",
    }
}

/// What is said of a changed key.
pub const CHANGED: &str = "not the phone it was, or it has forgotten this one: compare the string \
                           before you say anything";

/// The events of texts, signals and subscriptions.
fn words_line(event: &PhoneEvent) -> Value {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    match event {
        PhoneEvent::Message { from, text } => {
            json!({"event": "message", "from": from, "text": text})
        }
        PhoneEvent::MessageSent { status, reason, .. } => {
            json!({"event": "message-sent", "status": status, "reason": reason})
        }
        PhoneEvent::Info { call, content_type, body } => json!({
            "event": "info", "call": call.0, "type": content_type, "body": text(body),
        }),
        PhoneEvent::Notified { subscription, content_type, body } => json!({
            "event": "notified", "subscription": subscription.0, "type": content_type,
            "body": text(body),
        }),
        PhoneEvent::SubscriptionEnded { subscription, reason } => json!({
            "event": "subscription-ended", "subscription": subscription.0, "reason": reason,
        }),
        _ => Value::Null,
    }
}

/// Prints a line: the JSON object, or `event key=value ..` for people.
pub fn tell(as_json: bool, line: &Value) {
    say(&if as_json { line.to_string() } else { plain(line) });
}

fn plain(line: &Value) -> String {
    let Value::Object(fields) = line else { return line.to_string() };
    let mut text = fields.get("event").and_then(Value::as_str).unwrap_or_default().to_string();
    for (key, value) in fields {
        match value {
            _ if key == "event" => {}
            Value::Null => {}
            Value::String(word) if word.is_empty() => {}
            // What came from the network must not steer the terminal.
            Value::String(word) => {
                let clean: String = word.chars().filter(|c| !c.is_control()).collect();
                text += &format!(" {key}={clean}");
            }
            other => text += &format!(" {key}={other}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(cause: Cause, status: u16) -> PhoneEvent {
        let reason = "Not Found".into();
        PhoneEvent::Ended { call: CallHandle(1), cause, status: Some(status), reason, stats: None }
    }

    fn registered() -> PhoneEvent {
        PhoneEvent::Registered { expires: Duration::from_secs(600) }
    }

    #[test]
    fn a_call_that_was_answered_is_a_success_however_it_ended() {
        let mut outcome = Outcome::default();
        outcome.note(&registered(), false);
        assert!(!outcome.is_success(true) && outcome.is_success(false));
        let answered =
            PhoneEvent::Answered { call: CallHandle(1), codec: "opus".into(), encrypted: true };
        outcome.note(&answered, true);
        outcome.note(&ended(Cause::PeerHungUp, 200), true);
        assert!(outcome.is_success(true) && outcome.is_success(false));
        let line = outcome.line(true);
        assert_eq!(
            (line["result"].as_str(), line["codec"].as_str()),
            (Some("answered"), Some("opus"))
        );
        assert_eq!(line["cause"], "peer-hung-up");
    }

    #[test]
    fn a_refused_call_fails_and_says_why() {
        let mut outcome = Outcome::default();
        outcome.note(&registered(), false);
        outcome.note(&ended(Cause::Busy, 486), false);
        assert_eq!(outcome.line(false)["result"], "no-call");
        outcome.note(&ended(Cause::NotFound, 404), true);
        assert!(!outcome.is_success(true));
        assert_eq!(outcome.line(true)["result"], "failed");
        assert_eq!(outcome.line(true)["status"], 404);
        assert_eq!(outcome.complaint("alice@x"), None);
    }

    #[test]
    fn a_wrong_password_is_told_with_the_remedy() {
        let mut outcome = Outcome::default();
        let refused =
            PhoneEvent::RegistrationFailed { status: 403, reason: "Forbidden".into(), retry: None };
        outcome.note(&refused, false);
        let complaint = outcome.complaint("alice@x").unwrap();
        assert!(complaint.contains("password") && complaint.contains("403"), "{complaint}");
        assert_eq!(outcome.line(true)["result"], "not-registered");
        assert!(!outcome.is_success(true) && !outcome.is_success(false));
    }

    #[test]
    fn plain_lines_carry_no_control_characters() {
        let line = json!({"event": "incoming", "name": "\u{1b}[2Jx", "none": null, "call": 1});
        assert_eq!(plain(&line), "incoming call=1 name=[2Jx");
    }
}
