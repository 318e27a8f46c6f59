//! The pages over a backend in memory, for developing them: `cargo run -p admin --example pages
//! [PORT]`.
//!
//! Plain HTTP on this machine; alice@example.com and bob@example.com sign in with `correct horse`,
//! the administrator at `/welcome/one-time-link`. A call comes and goes every few seconds. There is
//! no SIP behind it.

use std::sync::Arc;
use std::time::Duration;

use admin::{
    CallState, LiveCall, LiveEvent, MediaQuality, Options, PageFile, Record, Registration,
};

#[path = "../tests/it/fake.rs"]
mod fake;

use fake::{Fake, LINK, PASSWORD, now_ms};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8080);
    let fake = Arc::new(Fake::new());
    fake.state
        .lock()
        .expect("nobody else holds it yet")
        .links
        .extend((0..20).map(|i| format!("{LINK}-{i}")));
    fill(&fake);
    tokio::spawn(live(fake.clone()));
    let pages = Arc::new(|path: &str| {
        web::asset(path).map(|asset| PageFile {
            bytes: asset.bytes,
            mime: asset.mime,
            etag: asset.etag,
            immutable: asset.immutable,
        })
    });
    let behind_tls = std::env::var_os("BEHIND_TLS").is_some();
    let options = Options { pages: Some(pages), secure_cookie: behind_tls, ..Options::default() };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    say(&format!("http://127.0.0.1:{port}/welcome/{LINK}, or alice@example.com: {PASSWORD}"));
    axum::serve(listener, admin::router(fake, options)).await
}

fn fill(fake: &Fake) {
    let mut state = fake.state.lock().expect("no holder panics");
    state.registrations = vec![
        registration(1, "alice", "wss", "Whimbrel web phone"),
        registration(2, "bob", "tls", "baresip v1.0.0 (x86_64/linux)"),
    ];
    let causes = ["bye", "busy", "bye", "no-answer", "bye", "server-restart", "cancelled"];
    state.records = (0..120).map(|i| record(i, causes[i as usize % causes.len()])).collect();
}

/// One call after the other: starts, rings, is answered, ends.
async fn live(fake: Arc<Fake>) {
    for i in 1000.. {
        let mut call = call(i);
        for state in [CallState::Started, CallState::Ringing, CallState::Answered] {
            call.state = state;
            if state == CallState::Answered {
                call.answered_at_ms = Some(now_ms());
                call.codecs = vec!["opus".to_owned(), "pcma".to_owned()];
            }
            {
                let mut held = fake.state.lock().expect("no holder panics");
                held.calls.retain(|live| live.id != call.id);
                held.calls.push(call.clone());
            }
            fake.tell(LiveEvent::Call { call: call.clone() });
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        {
            let mut held = fake.state.lock().expect("no holder panics");
            held.calls.retain(|live| live.id != call.id);
            held.records.insert(0, record(i, "bye"));
        }
        fake.tell(LiveEvent::CallEnded {
            id: call.id,
            from: call.from,
            to: call.to,
            cause: "bye".to_owned(),
            ended_at_ms: now_ms(),
            caller_media: None,
            callee_media: None,
        });
    }
}

fn registration(id: u64, user: &str, transport: &str, agent: &str) -> Registration {
    Registration {
        id: id.to_string(),
        aor: format!("sip:{user}@example.com"),
        contact: format!("sip:{user}@192.0.2.{id}"),
        transport: transport.to_owned(),
        source: format!("192.0.2.{id}:50{id}62"),
        user_agent: Some(agent.to_owned()),
        registered_at_ms: now_ms(),
        expires_at_ms: now_ms() + 280_000 * id,
    }
}

fn call(id: u64) -> LiveCall {
    LiveCall {
        id: id.to_string(),
        session_id: format!("{id:032x}"),
        call_id: format!("call-{id}"),
        from: "sip:alice@example.com".to_owned(),
        to: "sip:bob@example.com".to_owned(),
        state: CallState::Started,
        started_at_ms: now_ms(),
        answered_at_ms: None,
        codecs: Vec::new(),
    }
}

fn record(i: u64, cause: &str) -> Record {
    let at = now_ms() - (i % 1000) * 1_800_000 - 20_000;
    let answered = matches!(cause, "bye" | "server-restart");
    let lost = if i % 5 == 4 { 40 } else { i % 3 };
    let quality = |lost| MediaQuality { packets: 900, lost, jitter_ms: 3.4, rtt_ms: Some(18.0) };
    let (from, to) = if i.is_multiple_of(2) { ("alice", "bob") } else { ("bob", "alice") };
    Record {
        session_id: format!("{i:032x}"),
        call_id: format!("7f3c{i}@192.0.2.1"),
        from: format!("sip:{from}@example.com"),
        to: format!("sip:{to}@example.com"),
        answered,
        started_at_ms: at,
        answered_at_ms: answered.then_some(at + 4000),
        ended_at_ms: Some(at + 20_000),
        duration_ms: answered.then_some(16_000),
        cause: Some(cause.to_owned()),
        status: Some(if answered { 200 } else { 486 }),
        q850: Some(if answered { 16 } else { 17 }),
        ended_by: Some("callee".into()),
        codecs: if answered { vec!["opus".to_owned()] } else { Vec::new() },
        source: "192.0.2.1:50162".to_owned(),
        user_agent: Some("Whimbrel web phone".to_owned()),
        caller_media: answered.then(|| quality(lost)),
        callee_media: answered.then(|| quality(0)),
    }
}

fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
