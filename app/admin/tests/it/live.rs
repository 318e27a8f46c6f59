//! Registrations, calls, records and the event stream; and that nobody sees what is another's.

use std::time::Duration;

use admin::{CallState, LiveCall, LiveEvent, MediaQuality, Record, Registration};
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures_util::StreamExt;
use serde_json::Value;

use crate::fake::Fake;
use crate::http::Site;

const ALICE: &str = "alice@example.com";

#[tokio::test]
async fn lists_show_all_to_an_administrator_and_a_user_its_own() {
    let site = Site::new();
    fill(&site.fake);
    let (admin, alice) = (site.admin().await, site.user(ALICE).await);
    for leaky in [false, true] {
        site.fake.state.lock().unwrap().leaky = leaky;
        for (path, all, own) in [("/api/registrations", 2, 1), ("/api/calls", 2, 1)] {
            assert_eq!(
                site.get(path, &admin).await.json().as_array().unwrap().len(),
                all,
                "{path}"
            );
            let seen = site.get(path, &alice).await.json();
            assert_eq!(seen.as_array().unwrap().len(), own, "{path}");
            assert!(!seen.to_string().contains("dave"), "{path}");
        }
        let all = site.get("/api/records", &admin).await.json();
        assert_eq!(all["items"].as_array().unwrap().len(), 3);
        let seen = site.get("/api/records", &alice).await.json();
        assert_eq!(seen["items"].as_array().unwrap().len(), 2);
        assert!(!seen.to_string().contains("dave"));
    }
}

#[tokio::test]
async fn records_are_paged_and_carry_what_the_contract_says() {
    let site = Site::new();
    fill(&site.fake);
    let admin = site.admin().await;
    let first = site.get("/api/records?limit=2", &admin).await.json();
    let record = &first["items"][0];
    for field in ["session_id", "call_id", "from", "to", "answered", "cause"] {
        assert!(!record[field].is_null(), "{field}");
    }
    let next = first["next"].as_str().unwrap();
    let rest = site.get(&format!("/api/records?limit=2&after={next}"), &admin).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let found = site.get("/api/records?search=dave", &admin).await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn r5_12_an_administrator_has_a_recording_rest_and_nobody_else() {
    let site = Site::new();
    fill(&site.fake);
    let (admin, alice) = (site.admin().await, site.user(ALICE).await);
    let path = |verb: &str| format!("/api/calls/c1/recording/{verb}");
    assert_eq!(site.call("POST", &path("pause"), &admin, None).await.status, 204);
    assert_eq!(site.call("POST", &path("resume"), &admin, None).await.status, 204);
    site.call("POST", &path("pause"), &alice, None).await.problem(403, "forbidden");
    let unknown = "/api/calls/c9/recording/pause";
    site.call("POST", unknown, &admin, None).await.problem(404, "not-found");
    let pauses = site.fake.state.lock().unwrap().pauses.clone();
    let told: Vec<_> = pauses.iter().map(|(call, paused, _)| (call.as_str(), *paused)).collect();
    assert_eq!(told, [("c1", true), ("c1", false)]);
    assert!(!pauses[0].2.is_empty(), "by whom");
}

#[tokio::test]
async fn an_administrator_hangs_up_a_call_once() {
    let site = Site::new();
    fill(&site.fake);
    let admin = site.admin().await;
    assert_eq!(site.call("DELETE", "/api/calls/c1", &admin, None).await.status, 204);
    site.call("DELETE", "/api/calls/c1", &admin, None).await.problem(404, "not-found");
    site.call("DELETE", "/api/calls/%FF", &admin, None).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_stream_starts_with_a_snapshot_and_pushes_each_change() {
    let site = Site::new();
    fill(&site.fake);
    let admin = site.admin().await;
    let mut stream = Events::open(&site, &admin).await;
    let (name, snapshot) = stream.next().await.unwrap();
    assert_eq!(name, "snapshot");
    assert_eq!(snapshot["registrations"].as_array().unwrap().len(), 2);
    assert_eq!(snapshot["calls"].as_array().unwrap().len(), 2);
    site.call("DELETE", "/api/calls/c1", &admin, None).await;
    let (name, ended) = stream.next().await.unwrap();
    assert_eq!(
        (name.as_str(), &ended["id"], &ended["type"]),
        ("call_ended", &"c1".into(), &"call_ended".into())
    );
}

#[tokio::test]
async fn a_user_is_told_of_its_own_only() {
    let site = Site::new();
    let alice = site.user(ALICE).await;
    let mut stream = Events::open(&site, &alice).await;
    stream.next().await.unwrap();
    site.fake.tell(LiveEvent::Registered { registration: registration("r9", "dave") });
    site.fake.tell(LiveEvent::Call { call: call("c9", "dave", "bob") });
    site.fake.tell(LiveEvent::Unregistered { id: "r9".into(), aor: "sip:dave@example.com".into() });
    site.fake.tell(LiveEvent::Call { call: call("c8", "bob", "alice") });
    let (name, seen) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &seen["call"]["id"]), ("call", &"c8".into()));
}

#[tokio::test]
async fn a_stream_that_fell_behind_gets_the_state_anew() {
    let site = Site::new();
    let admin = site.admin().await;
    let mut stream = Events::open(&site, &admin).await;
    stream.next().await.unwrap();
    for i in 0..200 {
        site.fake
            .tell(LiveEvent::Registered { registration: registration(&format!("x{i}"), "bob") });
    }
    fill(&site.fake);
    let (name, seen) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), seen["calls"].as_array().unwrap().len()), ("snapshot", 2));
}

#[tokio::test(start_paused = true)]
async fn a_stream_lives_on_heartbeats_and_ends_with_its_session() {
    let site = Site::new();
    let admin = site.admin().await;
    let mut stream = Events::open(&site, &admin).await;
    stream.next().await.unwrap();
    assert!(stream.raw().await.unwrap().starts_with(':'), "a comment keeps the connection open");
    site.call("DELETE", "/api/session", &admin, None).await;
    assert_eq!(stream.raw().await, None);
    drop(stream);
    assert_eq!(site.fake.listeners(), 0);
}

#[tokio::test]
async fn streams_are_limited_and_given_back() {
    let site = Site::new();
    let admin = site.admin().await;
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(Events::open(&site, &admin).await);
    }
    let refused = site.get("/api/events", &admin).await;
    refused.problem(503, "streams");
    open.pop();
    Events::open(&site, &admin).await;
}

/// Reads Server-Sent Events.
struct Events(BodyDataStream);

impl Events {
    async fn open(site: &Site, token: &str) -> Self {
        let request =
            Request::get("/api/events").header("authorization", format!("Bearer {token}"));
        let response = site.open(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body().into_data_stream())
    }

    async fn raw(&mut self) -> Option<String> {
        let chunk = tokio::time::timeout(Duration::from_secs(60), self.0.next()).await;
        let bytes = chunk.expect("an event within a minute")?.unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let text = self.raw().await?;
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                return Some((name.to_owned(), serde_json::from_str(data).unwrap()));
            }
        }
    }
}

fn fill(fake: &Fake) {
    let mut state = fake.state.lock().unwrap();
    state.registrations = vec![registration("r1", "alice"), registration("r2", "dave")];
    state.calls = vec![call("c1", "alice", "bob"), call("c2", "dave", "bob")];
    state.records = vec![
        record("s1", "alice", "bob"),
        record("s2", "bob", "alice"),
        record("s3", "dave", "bob"),
    ];
}

pub fn registration(id: &str, user: &str) -> Registration {
    Registration {
        id: id.to_owned(),
        aor: format!("sip:{user}@example.com"),
        contact: format!("sip:{user}@192.0.2.1:5062"),
        transport: "udp".to_owned(),
        source: "192.0.2.1:5062".to_owned(),
        user_agent: Some("test".to_owned()),
        registered_at_ms: 1,
        expires_at_ms: 2,
    }
}

pub fn call(id: &str, from: &str, to: &str) -> LiveCall {
    LiveCall {
        id: id.to_owned(),
        session_id: format!("session-{id}"),
        call_id: format!("call-{id}"),
        from: format!("sip:{from}@example.com"),
        to: format!("sip:{to}@example.com"),
        state: CallState::Ringing,
        started_at_ms: 1,
        answered_at_ms: None,
        codecs: vec!["opus".to_owned()],
    }
}

pub fn record(id: &str, from: &str, to: &str) -> Record {
    let quality = MediaQuality { packets: 100, lost: 1, jitter_ms: 2.5, rtt_ms: Some(20.0) };
    Record {
        session_id: id.to_owned(),
        call_id: format!("call-{id}"),
        from: format!("sip:{from}@example.com"),
        to: format!("sip:{to}@example.com"),
        answered: true,
        started_at_ms: 1,
        answered_at_ms: Some(2),
        ended_at_ms: Some(3),
        duration_ms: Some(1),
        cause: Some("bye".to_owned()),
        status: Some(200),
        q850: Some(16),
        ended_by: Some("caller".into()),
        codecs: vec!["opus".to_owned()],
        source: "192.0.2.1:5062".to_owned(),
        user_agent: None,
        caller_media: Some(quality),
        callee_media: None,
    }
}
