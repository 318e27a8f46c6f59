//! What goes on now.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;

use crate::api::Shared;
use crate::extract::Named;
use crate::guard::Caller;
use crate::model::{Health, LiveCall, Registration};
use crate::openapi;
use crate::problem::Problem;

pub(super) async fn health(State(api): State<Shared>) -> Result<Json<Health>, Problem> {
    Ok(Json(api.backend.health().await?))
}

pub(super) async fn document() -> Json<Value> {
    Json(openapi::document())
}

pub(super) async fn registrations(
    State(api): State<Shared>,
    Caller(session): Caller,
) -> Result<Json<Vec<Registration>>, Problem> {
    let scope = session.scope();
    let mut list = api.backend.registrations(scope.clone()).await?;
    // The backend was told the scope; a mistake there must still show nobody else's.
    list.retain(|registration| scope.covers(&registration.aor));
    Ok(Json(list))
}

pub(super) async fn calls(
    State(api): State<Shared>,
    Caller(session): Caller,
) -> Result<Json<Vec<LiveCall>>, Problem> {
    let scope = session.scope();
    let mut list = api.backend.calls(scope.clone()).await?;
    list.retain(|call| scope.covers(&call.from) || scope.covers(&call.to));
    Ok(Json(list))
}

pub(super) async fn hang_up(
    State(api): State<Shared>,
    Caller(session): Caller,
    Named(id): Named,
) -> Result<StatusCode, Problem> {
    api.backend.hang_up(&id).await?;
    tracing::info!(by = %session.account, call = %id, "a call was ended through the API");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause_recording(
    state: State<Shared>,
    caller: Caller,
    id: Named,
) -> Result<StatusCode, Problem> {
    set_recording_paused(state, caller, id, true).await
}

pub(super) async fn resume_recording(
    state: State<Shared>,
    caller: Caller,
    id: Named,
) -> Result<StatusCode, Problem> {
    set_recording_paused(state, caller, id, false).await
}

async fn set_recording_paused(
    State(api): State<Shared>,
    Caller(session): Caller,
    Named(id): Named,
    paused: bool,
) -> Result<StatusCode, Problem> {
    api.backend.pause_recording(&id, paused, &session.account).await?;
    tracing::info!(by = %session.account, call = %id, paused, "a recording was changed through the API");
    Ok(StatusCode::NO_CONTENT)
}
