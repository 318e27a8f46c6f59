//! Metrics and health, on a listener of their own.
//!
//! ```text
//!   GET /metrics        OpenMetrics 1.0 text; values are read when asked for
//!   GET /health/live    200 as long as the process runs
//!   GET /health/ready   200, or 503 with the reason: draining, or a silent database
//! ```
//!
//! No label and no value here names a person: the listener needs no sign-in. The families are
//! listed in `docs/reference/metrics.md`, which a test keeps true.

mod exposition;
mod reading;
#[cfg(test)]
mod tests;

use crate::serve::Shared;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use exposition::Exposition;
use net::http::HttpServer;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use reading::Reading;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store::Tenants;
use store_sql::SqlStore;

/// OpenMetrics 1.0, as scrapers ask for it.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long the database may take before the server counts as not ready.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

/// The server, as its watchers see it. Clones share it.
#[derive(Clone)]
pub struct Observed {
    inner: Arc<Inner>,
}

struct Inner {
    store: SqlStore,
    registry: Registry,
    draining: AtomicBool,
}

impl Observed {
    /// Of a running server.
    pub fn new(shared: Shared) -> Self {
        let store = shared.store.clone();
        let started = Instant::now();
        Self::with(store, move || Reading::of(&shared, started))
    }

    /// From now on not ready: no new calls should be sent here.
    pub fn stop(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
    }

    /// Of a store, and of whatever `read` reads at each scrape.
    fn with(store: SqlStore, read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Exposition::new(read)));
        let inner = Inner { store, registry, draining: AtomicBool::new(false) };
        Self { inner: Arc::new(inner) }
    }

    /// The whole exposition.
    fn scrape(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::with_capacity(8192);
        text::encode(&mut page, &self.inner.registry)?;
        Ok(page)
    }

    /// Why no new call should be sent here, if so.
    async fn unready(&self) -> Option<String> {
        if self.inner.draining.load(Ordering::Relaxed) {
            return Some("draining: the server is stopping".into());
        }
        match tokio::time::timeout(DATABASE_PATIENCE, self.inner.store.tenants()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                // The probe is open to anyone on this machine: paths stay in the log.
                tracing::warn!(%error, "not ready");
                Some("the database does not answer; the log says why".into())
            }
            Err(_) => Some("the database does not answer in time".into()),
        }
    }
}

/// Serves metrics and health until the task is ended.
pub async fn serve(server: HttpServer, observed: Observed) {
    let service = hyper_util::service::TowerToHyperService::new(router(observed));
    if let Err(error) = server.serve(service, std::future::pending()).await {
        tracing::error!(%error, "metrics and health stopped");
    }
}

fn router(observed: Observed) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(observed)
}

async fn metrics(State(observed): State<Observed>) -> Response {
    match observed.scrape() {
        Ok(page) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn live() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "live": true }))).into_response()
}

async fn ready(State(observed): State<Observed>) -> Response {
    let reason = observed.unready().await;
    let (status, body) = match reason {
        None => (StatusCode::OK, json!({ "ready": true, "version": env!("CARGO_PKG_VERSION") })),
        Some(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "ready": false, "reason": reason }))
        }
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
