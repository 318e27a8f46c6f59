//! The service: what all handlers share, and the router made from the table.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::backend::Backend;
use crate::guard;
use crate::headers;
use crate::limiter::{LoginLimiter, LoginLimits};
use crate::pages::{self, Pages};
use crate::problem::Problem;
use crate::route::ROUTES;

/// Event streams open at once, over all sessions.
const STREAMS_MAX: usize = 256;

/// What the operator may set.
#[derive(Clone)]
pub struct Options {
    /// Limits of sign-in attempts.
    pub login: LoginLimits,
    /// The session cookie goes over TLS only. Off: for developing the pages over plain HTTP on this
    /// machine.
    pub secure_cookie: bool,
    /// The pages; without them only the API is served.
    pub pages: Option<Pages>,
}

impl Default for Options {
    fn default() -> Self {
        Self { login: LoginLimits::default(), secure_cookie: true, pages: None }
    }
}

/// The address a request came from; the listener puts it into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source(pub IpAddr);

impl Default for Source {
    /// What all requests of a listener that says nothing share.
    fn default() -> Self {
        Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }
}

/// The whole service: `/api` by the table, everything else the pages.
pub fn router(backend: Arc<dyn Backend>, options: Options) -> Router {
    let shared: Shared = Arc::new(Api {
        backend,
        limiter: Mutex::new(LoginLimiter::new(options.login.clone())),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        options,
    });
    let mut router = Router::new();
    for route in ROUTES {
        let guarded = guard::Guard { api: Arc::clone(&shared), access: route.access };
        let handler = (route.mount)().layer(middleware::from_fn_with_state(guarded, guard::check));
        router = router.route(route.path, handler);
    }
    router
        .fallback(fallback)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(headers::add))
        .with_state(shared)
}

/// What every handler is given.
pub(crate) type Shared = Arc<Api>;

pub(crate) struct Api {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) limiter: Mutex<LoginLimiter>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) options: Options,
}

async fn fallback(
    State(api): State<Shared>,
    method: Method,
    uri: Uri,
    request_headers: axum::http::HeaderMap,
) -> Response {
    if uri.path() == "/api" || uri.path().starts_with("/api/") {
        return Problem::not_found("operation").into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return method_not_allowed().await;
    }
    pages::reply(api.options.pages.as_ref(), uri.path(), &request_headers)
}

async fn method_not_allowed() -> Response {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", "The path has no such method")
        .into_response()
}
