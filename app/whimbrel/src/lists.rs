//! `records ..`, `registrations list`, `calls list`, `route explain`.

use crate::cli::{ListVerb, RecordsVerb, RouteVerb};
use crate::control::{self, Request};
use crate::present;
use crate::wiring::RouterSnapshot;
use anyhow::{Result, anyhow, bail};
use registrar::LocationTable;
use sansio::WallTime;
use serde_json::{Value, json};
use std::path::Path;
use store::{CallRecord, RecordFilter, Store};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Rows asked for at a time by an export.
const PAGE: u32 = 1_000;
/// The most registrations one list shows.
const REGISTRATIONS_MAX: usize = 100_000;

/// `whimbrel records ..`.
pub async fn records(store: &dyn Store, verb: RecordsVerb) -> Result<()> {
    match verb {
        RecordsVerb::List { json, limit } => {
            let found = store.list(&RecordFilter::default(), limit, None).await?;
            let rows = found.iter().map(record).collect();
            let columns = [
                ("STARTED", "started"),
                ("FROM", "from"),
                ("TO", "to"),
                ("ANSWERED", "answered"),
                ("CAUSE", "cause"),
                ("Q850", "q850"),
                ("BY", "ended_by"),
                ("SECONDS", "talked_s"),
                ("CODECS", "codecs"),
            ];
            present::rows(json, rows, &columns);
        }
        RecordsVerb::Show { id, json } => {
            let found = find(store, &id).await?;
            let value = record(&found);
            match json {
                true => present::say(&value.to_string()),
                false => present::say(&serde_json::to_string_pretty(&value)?),
            }
        }
        RecordsVerb::Export { json: _ } => export(store).await?,
    }
    Ok(())
}

async fn find(store: &dyn Store, id: &str) -> Result<CallRecord> {
    let by_call_id = RecordFilter { call_id: Some(id.into()), ..RecordFilter::default() };
    if let Some(found) = store.list(&by_call_id, 1, None).await?.pop() {
        return Ok(found);
    }
    let mut before = None;
    loop {
        let page = store.list(&RecordFilter::default(), PAGE, before).await?;
        let Some(last) = page.last() else { bail!("no call with session id or Call-ID '{id}'") };
        before = Some(last.started_at);
        if let Some(found) = page.into_iter().find(|r| r.session_id == id) {
            return Ok(found);
        }
    }
}

async fn export(store: &dyn Store) -> Result<()> {
    let mut before = None;
    loop {
        let page = store.list(&RecordFilter::default(), PAGE, before).await?;
        let Some(last) = page.last() else { return Ok(()) };
        before = Some(last.started_at);
        for found in &page {
            present::say(&record(found).to_string());
        }
    }
}

/// A record as scripts see it.
pub fn record(r: &CallRecord) -> Value {
    let side = |m: &store::MediaStats| {
        json!({
            "codec": m.codec, "packets": m.packets, "lost": m.lost,
            "jitter_ms": m.jitter_ms, "bytes": m.bytes, "way": m.way.as_ref().map(way),
        })
    };
    json!({
        "session_id": r.session_id,
        "call_id": r.call_id,
        "tenant": r.tenant,
        "from": r.from,
        "to": r.to,
        "source": r.source,
        "user_agent": r.user_agent,
        "started": stamp(r.started_at),
        "ringing": r.ringing_at.map(stamp),
        "answered": r.answered,
        "answered_at": r.answered_at.map(stamp),
        "ended": r.ended_at.map(stamp),
        "cause": if r.is_open() { Value::Null } else { r.cause.clone().into() },
        "status": if r.status == 0 { Value::Null } else { r.status.into() },
        "q850": if r.q850 == 0 { Value::Null } else { r.q850.into() },
        "ended_by": if r.ended_by.is_empty() { Value::Null } else { r.ended_by.clone().into() },
        "talked_s": r.talked_secs().map(|s| (s * 1000.0).round() / 1000.0),
        "codecs": r.codecs,
        "caller": side(&r.caller),
        "callee": side(&r.callee),
        "recording": r.recording.iter().map(step).collect::<Vec<_>>(),
    })
}

fn step(step: &store::RecordingStep) -> Value {
    json!({
        "at": stamp(step.at), "recorder": step.recorder, "state": step.state, "why": step.why,
    })
}

/// What was heard of the way between a side and us.
fn way(way: &store::MediaWay) -> Value {
    let bleached = match (way.bleached_from, way.bleached_toward) {
        (true, true) => Some("both"),
        (true, false) => Some("from"),
        (false, true) => Some("toward"),
        (false, false) => None,
    };
    let mark = |dscp: u8| crate::config::Dscp::of(dscp).to_string();
    json!({
        "dscp": way.dscp.map(mark), "dscp_seen": way.dscp_seen.map(mark), "bleached": bleached,
        "reports": way.reports, "told_lost": way.told_lost,
        "told_jitter_ms": way.told_jitter_ms, "rtt_ms": way.rtt_ms, "mos": way.mos,
        "adapted": way.adapted,
    })
}

/// `whimbrel registrations list`.
pub fn show_registrations(data: &Path, verb: &ListVerb) -> Result<()> {
    let ListVerb::List { json } = verb;
    let found = ask(data, &Request::Registrations)?;
    let columns = [
        ("AOR", "aor"),
        ("CONTACT", "contact"),
        ("TRANSPORT", "transport"),
        ("SOURCE", "source"),
        ("EXPIRES", "expires"),
        ("USER AGENT", "user_agent"),
    ];
    present::rows(*json, rows(found), &columns);
    Ok(())
}

/// `whimbrel calls list`.
pub fn show_calls(data: &Path, verb: &ListVerb) -> Result<()> {
    let ListVerb::List { json } = verb;
    let found = ask(data, &Request::Calls)?;
    let columns = [
        ("FROM", "from"),
        ("TO", "to"),
        ("STATE", "state"),
        ("CODECS", "codecs"),
        ("RECORDING", "recording"),
    ];
    present::rows(*json, rows(found), &columns);
    Ok(())
}

/// `whimbrel route explain`.
pub fn show_route(data: &Path, verb: RouteVerb) -> Result<()> {
    let RouteVerb::Explain { from, to, json } = verb;
    let found = ask(data, &Request::Explain { from, to })?;
    if json {
        present::say(&found.to_string());
        return Ok(());
    }
    for (at, step) in rows(found["steps"].clone()).iter().enumerate() {
        present::say(&format!("{}. {}", at + 1, step.as_str().unwrap_or_default()));
    }
    present::say(found["outcome"].as_str().unwrap_or_default());
    Ok(())
}

/// Registrations, for the control socket.
pub fn registrations(table: &LocationTable) -> Value {
    let bindings = table.list(present::wall(), REGISTRATIONS_MAX);
    let row = |b: &registrar::Binding| {
        json!({
            "aor": b.aor(),
            "contact": b.contact(),
            "transport": b.transport().to_string(),
            "source": b.source().to_string(),
            "connected": b.flow().is_some(),
            "expires": stamp(b.expires_at()),
            "user_agent": b.user_agent(),
        })
    };
    bindings.iter().map(row).collect()
}

/// A decision with its steps, for the control socket.
pub fn explain(router: &RouterSnapshot, from: &str, to: &str) -> Value {
    let bare = to.strip_prefix("sip:").unwrap_or(to);
    // A phone completes a bare name with its own domain.
    let own = from.rsplit_once('@').map_or("", |(_, domain)| domain);
    let (user, host) = bare.split_once('@').unwrap_or((bare, own));
    let domain = router.domains.realm(host).map_or_else(|| host.to_string(), |r| r.to_string());
    let facts =
        edge::CallFacts { caller: from, user, domain: &domain, method: "INVITE", from_peer: None };
    let plan = router.decide(&facts, present::wall());
    let outcome = match &plan.outcome {
        router::Outcome::Fork { targets } => format!("rings {} target(s)", targets.len()),
        router::Outcome::Peers { targets } => {
            let names: Vec<&str> = targets.iter().map(|t| t.name.as_str()).collect();
            format!("goes to peer {}", names.join(", then "))
        }
        router::Outcome::Service { service } => format!("answered by the {service} service"),
        router::Outcome::Refuse { status, reason } => format!("answered {status} {reason}"),
    };
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    json!({ "steps": steps, "outcome": outcome })
}

fn ask(data: &Path, request: &Request) -> Result<Value> {
    control::ask(data, request)?.ok_or_else(|| {
        anyhow!("no server runs on {}; start it with `whimbrel serve`", data.display())
    })
}

fn rows(value: Value) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    }
}

fn stamp(at: WallTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_carries_what_scripts_rely_on() {
        let open = CallRecord {
            session_id: "s".into(),
            call_id: "c".into(),
            from: "sip:a@b".into(),
            to: "sip:c@b".into(),
            started_at: WallTime::from_secs(1_800_000_000),
            ..CallRecord::default()
        };
        let value = record(&open);
        for field in ["session_id", "call_id", "from", "to", "answered", "cause"] {
            assert!(value.get(field).is_some(), "{field}");
        }
        assert_eq!(value["started"], "2027-01-15T08:00:00Z");
        assert_eq!(value["cause"], Value::Null, "the call goes on");
        assert_eq!((&value["q850"], &value["ended_by"]), (&Value::Null, &Value::Null));
        let ended_by = "callee".to_owned();
        let over = record(&CallRecord { q850: 17, ended_by, ..CallRecord::default() });
        assert_eq!((&over["q850"], &over["ended_by"]), (&json!(17), &json!("callee")));
    }
}
