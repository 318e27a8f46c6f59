//! Sends requests to the router without a socket.

use std::sync::Arc;

use admin::{Options, router};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use crate::fake::{Fake, LINK, PASSWORD};

/// A router over a fake backend.
pub struct Site {
    pub fake: Arc<Fake>,
    service: TowerToHyperService<Router>,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts a problem of this status and kind that has all its parts.
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:whimbrel:problem:{kind}"), "{text}");
        assert_eq!(problem["status"], status);
        for part in ["title", "detail", "remedy"] {
            assert!(problem[part].as_str().is_some_and(|s| !s.is_empty()), "{part}: {text}");
        }
        problem
    }
}

impl Site {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let fake = Arc::new(Fake::new());
        let service = TowerToHyperService::new(router(fake.clone(), options));
        Self { fake, service }
    }

    /// The response with its body still open.
    pub async fn open(&self, request: Request<Body>) -> axum::response::Response {
        self.service.call(request).await.unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.open(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Reply { status: parts.status, headers: parts.headers, bytes }
    }

    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.call("GET", path, token, None).await
    }

    /// A program's request: bearer token (none when empty), JSON body.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    pub async fn user(&self, account: &str) -> String {
        let body = json!({ "account": account, "password": PASSWORD });
        let reply = self.call("POST", "/api/session", "", Some(body)).await;
        assert_eq!(reply.status, 201);
        reply.json()["token"].as_str().unwrap().to_owned()
    }

    pub async fn admin(&self) -> String {
        let reply =
            self.call("POST", "/api/session/link", "", Some(json!({ "token": LINK }))).await;
        assert_eq!(reply.status, 201);
        reply.json()["token"].as_str().unwrap().to_owned()
    }
}
