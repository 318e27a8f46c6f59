//! `whimbrel phone --call | --answer`: one call without a screen, told as lines of JSON or text.

use super::driver::{Driver, Happened};
use crate::cli::PhoneArgs;
use crate::present::say;
use anyhow::Result;
use media::MediaStats;
use phone::{CallHandle, Cause, PhoneEvent};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// After a BYE of ours: how long its answer is awaited.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the call came to, for the last line and the exit code.
#[derive(Debug, Default)]
struct Outcome {
    answered: bool,
    cause: Option<Cause>,
    status: Option<u16>,
    reason: String,
    codec: String,
    encrypted: bool,
    registered: bool,
    stats: Option<Box<MediaStats>>,
}

/// Runs one headless phone to its end. True when the call was answered (or none was asked for and
/// the registration held).
pub async fn run(mut driver: Driver, args: &PhoneArgs, started: Instant) -> Result<bool> {
    let deadline = args.seconds.map(|s| started + Duration::from_secs(s));
    let mut outcome = Outcome::default();
    let mut call: Option<CallHandle> = None;
    let mut digits: Vec<char> = args.dtmf.as_deref().unwrap_or("").chars().collect();
    digits.reverse();
    let mut next_digit: Option<Instant> = None;
    loop {
        let happened = tokio::select! {
            happened = driver.next() => happened?,
            () = stop(deadline) => break,
        };
        match happened {
            Happened::Event(event) => {
                tell(args.json, &event);
                outcome.note(&event);
                match event {
                    PhoneEvent::Registered { .. } if call.is_none() => {
                        if let Some(target) = &args.call {
                            call = Some(driver.call(target).await?);
                        }
                    }
                    PhoneEvent::RegistrationFailed { retry: None, .. } => break,
                    PhoneEvent::Incoming { call: incoming, .. } if call.is_none() => {
                        if driver.answer(incoming).await.is_ok() {
                            call = Some(incoming);
                        }
                    }
                    PhoneEvent::Answered { .. } => {
                        next_digit = Some(Instant::now() + Duration::from_secs(1));
                    }
                    PhoneEvent::Ended { call: ended, .. } if Some(ended) == call => break,
                    _ => {}
                }
            }
            Happened::LinkDown(why) => tell_line(args.json, json!({"event": "link-down", "reason": why})),
            Happened::Tick => {
                if let (Some(call), Some(at)) = (call, next_digit)
                    && Instant::now() >= at
                {
                    next_digit = digits.pop().map(|digit| {
                        // A digit the far side cannot take is told by the missing echo.
                        let _ = driver.phone.dtmf(Instant::now(), call, digit);
                        Instant::now() + Duration::from_millis(300)
                    });
                }
            }
        }
    }
    goodbye(&mut driver, call, args.json, &mut outcome).await?;
    driver.finish().await?;
    outcome.tell(args);
    Ok(outcome.is_success(args))
}

/// Hangs up, unregisters, and waits a little for both to be heard.
async fn goodbye(
    driver: &mut Driver,
    call: Option<CallHandle>,
    json: bool,
    outcome: &mut Outcome,
) -> Result<()> {
    let now = Instant::now();
    if let Some(call) = call {
        // The call may be over already.
        let _ = driver.phone.hang_up(now, call);
    }
    driver.phone.unregister(now);
    let end = now + GOODBYE;
    loop {
        tokio::select! {
            happened = driver.next() => {
                if let Happened::Event(event) = happened? {
                    tell(json, &event);
                    outcome.note(&event);
                    if matches!(event, PhoneEvent::Unregistered) {
                        return Ok(());
                    }
                }
            }
            () = stop(Some(end)) => return Ok(()),
        }
    }
}

async fn stop(at: Option<Instant>) {
    let timed = async {
        match at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = timed => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl Outcome {
    fn note(&mut self, event: &PhoneEvent) {
        match event {
            PhoneEvent::Registered { .. } => self.registered = true,
            PhoneEvent::RegistrationFailed { status, reason, .. } => {
                self.status = Some(*status);
                self.reason.clone_from(reason);
            }
            PhoneEvent::Answered { codec, encrypted, .. } => {
                self.answered = true;
                self.codec.clone_from(codec);
                self.encrypted = *encrypted;
            }
            PhoneEvent::Ended { cause, status, reason, stats, .. } => {
                self.cause = Some(*cause);
                self.status = *status;
                self.reason.clone_from(reason);
                self.stats.clone_from(stats);
            }
            _ => {}
        }
    }

    fn is_success(&self, args: &PhoneArgs) -> bool {
        match args.call {
            Some(_) => self.answered,
            None => self.registered,
        }
    }

    fn tell(&self, args: &PhoneArgs) {
        let result = match (self.answered, self.registered) {
            (true, _) => "answered",
            (false, true) if args.call.is_some() => "failed",
            (false, true) => "no-call",
            (false, false) => "not-registered",
        };
        let line = json!({
            "event": "result",
            "result": result,
            "registered": self.registered,
            "answered": self.answered,
            "cause": self.cause.map(Cause::as_str),
            "status": self.status,
            "reason": self.reason,
            "codec": self.codec,
            "encrypted": self.encrypted,
            "quality": self.stats.as_deref().map(quality),
        });
        tell_line(args.json, line);
    }
}

/// The figures of a call's media as JSON.
pub fn quality(stats: &MediaStats) -> Value {
    json!({
        "packets_sent": stats.packets_sent,
        "packets_received": stats.packets_received,
        "lost": stats.lost,
        "jitter_ms": round(stats.jitter_ms),
        "rtt_ms": stats.rtt_ms.map(round),
        "delay_ms": round(stats.delay_ms),
        "concealed_ms": stats.concealed_ms,
        "level_dbov": round(f64::from(stats.level_dbov)),
    })
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn tell(as_json: bool, event: &PhoneEvent) {
    let line = match event {
        PhoneEvent::Registered { expires } => {
            json!({"event": "registered", "expires_s": expires.as_secs()})
        }
        PhoneEvent::Unregistered => json!({"event": "unregistered"}),
        PhoneEvent::RegistrationFailed { status, reason, retry } => json!({
            "event": "registration-failed", "status": status, "reason": reason,
            "retry_s": retry.map(|r| r.as_secs()),
        }),
        PhoneEvent::Incoming { call, from, display_name } => json!({
            "event": "incoming", "call": call.0, "from": from, "name": display_name,
        }),
        PhoneEvent::Ringing { call } => json!({"event": "ringing", "call": call.0}),
        PhoneEvent::EarlyMedia { call } => json!({"event": "early-media", "call": call.0}),
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
    };
    tell_line(as_json, line);
}

fn tell_line(as_json: bool, line: Value) {
    if as_json {
        say(&line.to_string());
        return;
    }
    let Value::Object(fields) = line else { return };
    let event = fields.get("event").and_then(Value::as_str).unwrap_or_default().to_string();
    let rest = fields
        .iter()
        .filter(|(key, value)| *key != "event" && !value.is_null())
        .map(|(key, value)| match value {
            Value::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        });
    say(format!("{event} {}", rest.collect::<Vec<_>>().join(" ")).trim_end());
}
