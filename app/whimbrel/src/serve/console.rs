//! What people and programs ask the running server: console, API, control socket; and its
//! housekeeping.

use super::{Shared, take_over};
use crate::backend::ServerBackend;
use crate::control::{self, Request};
use crate::present;
use crate::recordings::NotRecorded;
use crate::reload::Reloader;
use anyhow::Result;
use net::http::{ClientAddr, HttpServer};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Serves console, API and web phone until the task is dropped.
pub async fn serve(https: Vec<HttpServer>, shared: Shared) {
    let backend = Arc::new(ServerBackend::new(shared));
    let pages: admin::Pages = Arc::new(|path| {
        let asset = web::asset(path)?;
        let web::Asset { bytes, mime, etag, immutable } = asset;
        Some(admin::PageFile { bytes, mime, etag, immutable })
    });
    let options = admin::Options { pages: Some(pages), ..admin::Options::default() };
    let router = admin::router(backend, options).layer(axum::middleware::map_request(name_source));
    let service = hyper_util::service::TowerToHyperService::new(router);
    let serving = https.into_iter().map(|server| {
        let service = service.clone();
        async move {
            if let Err(error) = server.serve(service, std::future::pending()).await {
                tracing::error!(%error, "the console stopped");
            }
        }
    });
    futures_util::future::join_all(serving).await;
}

/// Serves SIP over WebSocket in clear, and nothing else, until the task is dropped.
pub async fn serve_ws(ws: HttpServer) {
    let nothing_else = hyper_util::service::TowerToHyperService::new(axum::Router::<()>::new());
    if let Err(error) = ws.serve(nothing_else, std::future::pending()).await {
        tracing::error!(%error, "SIP over WebSocket in clear stopped");
    }
}

/// Tells the API who asks, for its limits.
async fn name_source(mut request: axum::extract::Request) -> axum::extract::Request {
    if let Some(client) = request.extensions().get::<ClientAddr>().copied() {
        request.extensions_mut().insert(admin::Source(client.peer.ip()));
    }
    request
}

/// Answers the command line on the control socket.
pub fn answer_commands(data: &Path, shared: &Shared, reloader: &Reloader) -> Result<()> {
    let (shared, reloader) = (shared.clone(), reloader.clone());
    control::listen(data, move |request| handle_control(shared.clone(), reloader.clone(), request))
}

async fn handle_control(shared: Shared, reloader: Reloader, request: Request) -> Result<Value> {
    match request {
        Request::Ping => Ok(json!({ "version": env!("CARGO_PKG_VERSION") })),
        Request::Reload => {
            follow_store(&shared).await?;
            shared.tls.set_names(shared.domains.tenants(), present::wall())?;
            Ok(Value::Null)
        }
        Request::Configure => reloader.reload(),
        Request::Registrations => Ok(crate::lists::registrations(&shared.location)),
        Request::Calls => Ok(serde_json::to_value(shared.calls.list())?),
        Request::Bans => Ok(crate::bans::list(&shared.gate)),
        Request::Unban { source } => {
            let lifted = crate::bans::lift(&shared.gate, source);
            shared.kept_bans.write(&shared.gate, present::wall());
            Ok(json!({ "lifted": lifted }))
        }
        Request::Conduct => Ok(shared.conduct.list()),
        Request::Pardon { account } => Ok(json!({ "cleared": shared.conduct.clear(&account) })),
        Request::PauseRecording { call, paused } => {
            pause_recording(&shared, &call, paused, "command line")?;
            Ok(Value::Null)
        }
        Request::Explain { from, to } => Ok(crate::lists::explain(&shared.router, &from, &to)),
    }
}

/// Has the recording of a call, by number or Session-ID, rest or go on.
pub fn pause_recording(
    shared: &Shared,
    call: &str,
    paused: bool,
    by: &str,
) -> Result<(), NotRecorded> {
    let recorded = shared.recorded.as_ref().ok_or(NotRecorded)?;
    let call = recorded.find(call).ok_or(NotRecorded)?;
    recorded.set_paused(call, paused, by)
}

/// Once a minute: users changed by another process, links and sessions that are over.
pub async fn housekeeping(shared: Shared) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        let wall = present::wall();
        if let Err(error) = store::Admins::purge_expired(&shared.store, wall).await {
            tracing::warn!(%error, "expired sessions stay for now");
        }
        if let Err(error) = follow_store(&shared).await {
            tracing::warn!(%error, "users are as they were a minute ago");
        }
    }
}

/// Every second: sources that were banned, for whoever follows the spine.
pub async fn tell_bans(shared: Shared) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let mut begun = false;
        while let Some(ban) = shared.gate.poll_begun() {
            let event = cluster::Event::SourceBanned {
                source: ban.source.to_string(),
                sign: ban.sign.word().to_string(),
                seconds: ban.left.as_secs(),
                count: ban.count,
            };
            shared.spine.emit(present::wall(), event);
            begun = true;
        }
        if begun {
            shared.kept_bans.write(&shared.gate, present::wall());
        }
    }
}

/// Takes over what another process changed in the store. Devices of users that are gone are
/// forgotten with them.
async fn follow_store(shared: &Shared) -> Result<()> {
    if take_over(&shared.store, &shared.domains, &shared.credentials).await? {
        forget_removed(shared);
    }
    Ok(())
}

/// Removes the bindings of users that no longer exist.
pub fn forget_removed(shared: &Shared) {
    let wall = present::wall();
    let is_gone = |aor: &str| {
        let parts = aor.strip_prefix("sip:").and_then(|a| a.split_once('@'));
        parts.is_none_or(|(user, domain)| !shared.credentials.contains(domain, user))
    };
    for binding in shared.location.list(wall, usize::MAX) {
        let aor = binding.aor().to_string();
        if !is_gone(&aor) {
            continue;
        }
        let spine = shared.spine.clone();
        shared.registrar.remove_user(wall, &aor, move |removed| match removed {
            Ok(plan) => plan.events(wall).into_iter().for_each(|event| spine.emit(wall, event)),
            Err(error) => tracing::warn!(%error, "a removed user's devices stay until they expire"),
        });
    }
}
