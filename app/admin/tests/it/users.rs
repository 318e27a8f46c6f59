//! Users, tenants, the web phone's account, and how bad requests are answered.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::http::Site;

#[tokio::test]
async fn an_administrator_adds_changes_and_removes_a_user() {
    let site = Site::new();
    let admin = site.admin().await;
    let (account, password) = ("Carol@EXAMPLE.com", "first password");
    let body = json!({ "account": account, "password": password });
    let added = site.call("POST", "/api/users", &admin, Some(body.clone())).await;
    assert_eq!(added.status, 201);
    assert_eq!(
        added.json()["account"],
        "Carol@example.com",
        "the domain has no case, the user has"
    );
    site.call("POST", "/api/users", &admin, Some(body)).await.problem(409, "exists");

    let path = "/api/users/Carol%40example.com";
    let set = json!({ "password": "second password" });
    let reply = site.call("PUT", &format!("{path}/password"), &admin, Some(set)).await;
    assert_eq!(reply.status, 204);
    let sign_in = json!({ "account": "Carol@example.com", "password": "second password" });
    let token = site.call("POST", "/api/session", "", Some(sign_in)).await.json()["token"].clone();
    assert_eq!(site.call("DELETE", path, &admin, None).await.status, 204);
    site.call("DELETE", path, &admin, None).await.problem(404, "not-found");
    site.get("/api/session", token.as_str().unwrap()).await.problem(401, "not-signed-in");
    let set = json!({ "password": "third password" });
    let reply = site.call("PUT", &format!("{path}/password"), &admin, Some(set)).await;
    reply.problem(404, "not-found");
}

#[tokio::test]
async fn the_list_of_users_is_paged_and_searched() {
    let site = Site::new();
    let admin = site.admin().await;
    let first = site.get("/api/users?limit=1", &admin).await.json();
    assert_eq!(first["items"][0]["account"], "alice@example.com");
    let next = first["next"].as_str().unwrap();
    let second = site.get(&format!("/api/users?limit=1&after={next}"), &admin).await.json();
    assert_eq!(second["items"][0]["account"], "bob@example.com");
    assert!(second["next"].is_null());
    let found = site.get("/api/users?search=bo", &admin).await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    for (query, kind, status) in [
        ("limit=0", "invalid-field", 422),
        ("limit=201", "invalid-field", 422),
        ("limit=x", "query", 400),
        ("lmit=1", "query", 400),
    ] {
        site.get(&format!("/api/users?{query}"), &admin).await.problem(status, kind);
    }
    let long = format!("/api/users?search={}", "x".repeat(300));
    site.get(&long, &admin).await.problem(422, "invalid-field");
}

#[tokio::test]
async fn a_bad_field_is_named_with_its_value_and_a_remedy() {
    let site = Site::new();
    let admin = site.admin().await;
    let add = async |body| site.call("POST", "/api/users", &admin, Some(body)).await;
    for account in [
        "carol",
        "@example.com",
        "carol@",
        "ca rol@example.com",
        "a\r\nb@example.com",
        "c;x@example.com",
    ] {
        let reply = add(json!({ "account": account, "password": "long enough" })).await;
        let problem = reply.problem(422, "invalid-field");
        assert_eq!(problem["field"], "account");
        assert!(!problem["value"].as_str().unwrap().contains('\n'));
    }
    let reply = add(json!({ "account": "carol@example.com", "password": "short" })).await;
    let problem = reply.problem(422, "invalid-field");
    assert_eq!((&problem["field"], &problem["value"]), (&json!("password"), &json!(null)));
    assert!(
        !String::from_utf8_lossy(&reply.bytes).contains("short\""),
        "a password is not repeated"
    );
    let reply = add(json!({ "account": "c@example.com" })).await;
    assert_eq!(reply.problem(400, "body")["field"], "password");
    let reply =
        add(json!({ "account": "c@example.com", "password": "long enough", "role": "admin" }))
            .await;
    assert_eq!(reply.problem(400, "body")["field"], "role");
    let reply = add(json!({ "account": "c@example.com", "password": 12_345_678 })).await;
    reply.problem(400, "body");
    assert!(!String::from_utf8_lossy(&reply.bytes).contains("12345678"));
    add(json!({ "account": "c@elsewhere.test", "password": "long enough" }))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn bodies_that_are_not_json_or_too_large_are_refused() {
    let site = Site::new();
    let admin = site.admin().await;
    let send = async |kind: &str, body: String| {
        let request = Request::post("/api/users")
            .header(header::AUTHORIZATION, format!("Bearer {admin}"))
            .header(header::CONTENT_TYPE, kind);
        site.send(request.body(Body::from(body)).unwrap()).await
    };
    send("text/plain", "{}".to_owned()).await.problem(415, "media-type");
    send("application/json", "{".to_owned()).await.problem(400, "body");
    send("application/json", String::new()).await.problem(400, "body");
    send("application/json; charset=utf-8", " ".repeat(20_000)).await.problem(413, "too-large");
}

#[tokio::test]
async fn tenants_are_listed() {
    let site = Site::new();
    let admin = site.admin().await;
    let list = site.get("/api/tenants", &admin).await.json();
    assert_eq!(list[0], json!({ "domain": "example.com", "users": 2 }));
}

#[tokio::test]
async fn the_web_phone_gets_a_token_of_its_own_and_an_administrator_none() {
    let site = Site::new();
    let alice = site.user("alice@example.com").await;
    for method in ["GET", "POST"] {
        let request = Request::builder().method(method).uri("/api/phone/session");
        let request = request.header("host", "pbx.example.com:8443");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {alice}"));
        let reply = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.header("cache-control"), "no-store");
        let facts = reply.json();
        assert_eq!(facts["aor"], "sip:alice@example.com");
        assert_eq!(facts["wss_url"], "wss://pbx.example.com:8443/sip");
        assert_eq!(facts["token"], "sip-token-alice");
        assert!(facts["expires_at_ms"].is_u64());
    }
    site.fake.state.lock().unwrap().wss_url = Some("wss://edge.example.com/sip".to_owned());
    let facts = site.get("/api/phone/session", &alice).await.json();
    assert_eq!(facts["wss_url"], "wss://edge.example.com/sip");
    let admin = site.admin().await;
    site.get("/api/phone/session", &admin).await.problem(404, "not-found");
}
