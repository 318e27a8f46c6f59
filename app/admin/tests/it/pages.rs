//! Delivery of the pages, and the headers of everything.

use std::borrow::Cow;
use std::sync::Arc;

use admin::{Options, PageFile};
use axum::body::Body;
use axum::http::Request;

use crate::http::Site;

fn site() -> Site {
    let pages = Arc::new(|path: &str| {
        let immutable = path.starts_with("/assets/");
        (path == "/" || immutable).then(|| PageFile {
            bytes: Cow::Borrowed(b"content"),
            mime: "text/html; charset=utf-8",
            etag: "\"tag\"".to_owned(),
            immutable,
        })
    });
    Site::with(Options { pages: Some(pages), ..Options::default() })
}

#[tokio::test]
async fn pages_are_served_with_a_strict_policy() {
    let site = site();
    let request = Request::get("/").header("host", "pbx.example.com:8443");
    let reply = site.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.bytes.as_slice()), (200, b"content".as_slice()));
    let policy = reply.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "frame-ancestors 'none'",
        "wss://pbx.example.com:8443;",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(reply.header("cache-control"), "no-cache");
}

#[tokio::test]
async fn a_host_header_cannot_widen_the_policy() {
    let site = site();
    let request = Request::get("/").header("host", "x; script-src *");
    let reply = site.send(request.body(Body::empty()).unwrap()).await;
    assert!(!reply.header("content-security-policy").contains('*'));
}

#[tokio::test]
async fn hashed_files_are_kept_and_known_ones_not_sent_again() {
    let site = site();
    let reply = site.get("/assets/a.js", "").await;
    assert!(reply.header("cache-control").contains("immutable"));
    for (tag, status) in [("\"tag\"", 304), ("W/\"tag\", \"x\"", 304), ("\"old\"", 200)] {
        let request = Request::get("/").header("if-none-match", tag);
        let reply = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{tag}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let site = site();
    site.get("/nothing.js", "").await.problem(404, "not-found");
    site.get("/api/nothing", "").await.problem(404, "not-found");
    site.get("/api", "").await.problem(404, "not-found");
    site.call("POST", "/", "", None).await.problem(405, "method");
    let reply = site.call("PATCH", "/api/session", "", None).await;
    reply.problem(405, "method");
    Site::new().get("/", "").await.problem(404, "not-found");
}

#[tokio::test]
async fn every_response_carries_the_security_headers() {
    let site = site();
    for path in ["/", "/nothing.js", "/api/health", "/api/users", "/api/openapi.json"] {
        let reply = site.get(path, "").await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert!(
            reply.header("content-security-policy").starts_with("default-src 'none'"),
            "{path}"
        );
        assert!(reply.header("permissions-policy").contains("microphone=(self)"), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), "", "{path}");
    }
}
