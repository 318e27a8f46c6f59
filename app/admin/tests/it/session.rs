//! Signing in and out, and what keeps strangers and foreign pages away.

use std::net::IpAddr;

use admin::{LoginLimits, Options, Source};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::fake::{LINK, PASSWORD};
use crate::http::{Reply, Site};

#[tokio::test]
async fn sign_in_gives_a_token_and_the_same_as_a_guarded_cookie() {
    let site = Site::new();
    let body = json!({ "account": " alice@EXAMPLE.com ", "password": PASSWORD });
    let reply = site.call("POST", "/api/session", "", Some(body)).await;
    assert_eq!(reply.status, 201);
    let facts = reply.json();
    assert_eq!(
        (&facts["account"], &facts["roles"]),
        (&json!("alice@example.com"), &json!(["user"]))
    );
    let token = facts["token"].as_str().unwrap();
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with(&format!("__Host-whimbrel={token}; ")), "{cookie}");
    for part in ["Path=/", "HttpOnly", "SameSite=Strict", "Secure", "Max-Age=3"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(site.get("/api/session", token).await.json()["account"], "alice@example.com");
}

#[tokio::test]
async fn a_browser_may_keep_the_token_out_of_its_scripts() {
    let site = Site::new();
    let body = json!({ "account": "alice@example.com", "password": PASSWORD, "cookie_only": true });
    let reply = site.call("POST", "/api/session", "", Some(body)).await;
    assert!(reply.json().get("token").is_none());
    let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
    let seen = site.send(by_cookie("GET", "/api/session", &cookie, false)).await;
    assert_eq!(seen.json()["account"], "alice@example.com");
}

#[tokio::test]
async fn unknown_user_and_wrong_password_cannot_be_told_apart() {
    let site = Site::new();
    let attempt = async |account: &str, password: &str| {
        let body = json!({ "account": account, "password": password });
        site.call("POST", "/api/session", "", Some(body)).await
    };
    let wrong = attempt("alice@example.com", "wrong").await;
    wrong.problem(401, "sign-in-refused");
    let long = "x".repeat(1000);
    for (account, password) in [
        ("nobody@example.com", "wrong"),
        ("alice@nowhere.test", PASSWORD),
        ("", ""),
        ("a", &long),
        ("\u{0}@", "x"),
    ] {
        let other = attempt(account, password).await;
        assert_eq!((other.status, &other.bytes), (wrong.status, &wrong.bytes), "{account:?}");
        assert_eq!(other.headers, wrong.headers, "{account:?}");
    }
}

#[tokio::test]
async fn a_link_opens_one_session_only() {
    let site = Site::new();
    let redeem = async |token: &str| {
        site.call("POST", "/api/session/link", "", Some(json!({ "token": token }))).await
    };
    redeem("guess").await.problem(401, "link-refused");
    let first = redeem(LINK).await;
    assert_eq!((first.status.as_u16(), &first.json()["roles"]), (201, &json!(["admin"])));
    redeem(LINK).await.problem(401, "link-refused");
    redeem(&"x".repeat(5000)).await.problem(401, "link-refused");
}

#[tokio::test]
async fn looking_at_the_welcome_page_does_not_spend_the_link() {
    let site = Site::new();
    site.get(&format!("/welcome/{LINK}"), "").await;
    site.admin().await;
}

#[tokio::test]
async fn attempts_are_limited_by_account_and_source() {
    let login = LoginLimits { per_account: 3, ..LoginLimits::default() };
    let site = Site::with(Options { login, ..Options::default() });
    let attempt = async |source: &str, account: &str, password: &str| {
        let body = json!({ "account": account, "password": password }).to_string();
        let source: IpAddr = source.parse().unwrap();
        let request = Request::post("/api/session").extension(Source(source));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        site.send(request.body(Body::from(body)).unwrap()).await
    };
    let (here, alice) = ("192.0.2.7", "alice@example.com");
    for _ in 0..3 {
        attempt(here, alice, "wrong").await.problem(401, "sign-in-refused");
    }
    let held = attempt(here, alice, PASSWORD).await;
    held.problem(429, "too-many-attempts");
    assert!(held.header("retry-after").parse::<u64>().unwrap() > 0);
    attempt(here, "nobody@example.com", "wrong").await.problem(401, "sign-in-refused");
    assert_eq!(attempt("192.0.2.8", alice, PASSWORD).await.status, 201, "the owner elsewhere");
    for _ in 0..10 {
        assert_eq!(
            attempt("192.0.2.8", alice, PASSWORD).await.status,
            201,
            "success costs nothing"
        );
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_and_removes_the_cookie() {
    let site = Site::new();
    let token = site.user("alice@example.com").await;
    let reply = site.call("DELETE", "/api/session", &token, None).await;
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").contains("Max-Age=0"));
    site.get("/api/session", &token).await.problem(401, "not-signed-in");
}

#[tokio::test]
async fn a_change_by_cookie_needs_the_header_that_foreign_pages_cannot_send() {
    let site = Site::new();
    let token = site.admin().await;
    let cookie = format!("other=1; __Host-whimbrel={token}; x");
    let path = "/api/calls/1";
    site.send(by_cookie("DELETE", path, &cookie, false)).await.problem(403, "csrf");
    site.send(by_cookie("DELETE", path, &cookie, true)).await.problem(404, "not-found");
    for site_name in ["cross-site", "same-site", "nonsense"] {
        let mut request = by_cookie("DELETE", path, &cookie, true);
        request.headers_mut().insert("sec-fetch-site", site_name.parse().unwrap());
        site.send(request).await.problem(403, "csrf");
    }
    let mut request = by_cookie("DELETE", path, &cookie, true);
    request.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
    site.send(request).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_foreign_page_cannot_sign_a_browser_in() {
    let site = Site::new();
    let body = json!({ "account": "alice@example.com", "password": PASSWORD }).to_string();
    let form = |kind: &str, site: &str| {
        let request = Request::post("/api/session").header("sec-fetch-site", site);
        request.header(header::CONTENT_TYPE, kind).body(Body::from(body.clone())).unwrap()
    };
    site.send(form("text/plain", "none")).await.problem(415, "media-type");
    site.send(form("application/json", "cross-site")).await.problem(403, "csrf");
}

#[tokio::test]
async fn odd_credentials_are_no_session() {
    let site = Site::new();
    let token = site.user("alice@example.com").await;
    let with = |name: &str, value: String| {
        Request::get("/api/session").header(name, value).body(Body::empty()).unwrap()
    };
    let refused = |reply: Reply| reply.problem(401, "not-signed-in");
    refused(site.send(with("authorization", format!("Basic {token}"))).await);
    refused(site.send(with("authorization", "Bearer".to_owned())).await);
    refused(site.send(with("authorization", "Bearer  ".to_owned())).await);
    refused(site.send(with("authorization", format!("Bearer {}", "x".repeat(4000)))).await);
    refused(site.send(with("cookie", format!("whimbrel={token}"))).await);
    let reply = site.send(with("authorization", format!("bearer {token}"))).await;
    assert_eq!(reply.status, 200);
    // A wrong bearer is not rescued by a right cookie.
    let mut both = with("cookie", format!("__Host-whimbrel={token}"));
    both.headers_mut().insert("authorization", "Bearer no".parse().unwrap());
    let reply = site.send(both).await;
    assert!(reply.header("www-authenticate").starts_with("Bearer"));
    refused(reply);
}

fn by_cookie(method: &str, path: &str, cookie: &str, with_header: bool) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header(header::COOKIE, cookie);
    if with_header {
        request = request.header("x-whimbrel", "1");
    }
    request.body(Body::empty()).unwrap()
}
