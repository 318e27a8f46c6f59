//! Who may phone.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use crate::api::Shared;
use crate::extract::{self, JsonBody, Named, Paging};
use crate::guard::Caller;
use crate::model::{Page, Tenant, User};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddUser {
    account: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetPassword {
    password: String,
}

pub(super) async fn tenants(State(api): State<Shared>) -> Result<Json<Vec<Tenant>>, Problem> {
    Ok(Json(api.backend.tenants().await?))
}

pub(super) async fn list(
    State(api): State<Shared>,
    Paging(asked): Paging,
) -> Result<Json<Page<User>>, Problem> {
    Ok(Json(api.backend.users(asked).await?))
}

pub(super) async fn add(
    State(api): State<Shared>,
    Caller(session): Caller,
    JsonBody(asked): JsonBody<AddUser>,
) -> Result<(StatusCode, Json<User>), Problem> {
    let account = extract::account(&asked.account)?;
    let password = extract::password(&asked.password)?;
    let user = api.backend.add_user(&account, password).await?;
    tracing::info!(by = %session.account, "a user was added through the API");
    Ok((StatusCode::CREATED, Json(user)))
}

pub(super) async fn remove(
    State(api): State<Shared>,
    Caller(session): Caller,
    Named(name): Named,
) -> Result<StatusCode, Problem> {
    api.backend.remove_user(&extract::account(&name)?).await?;
    tracing::info!(by = %session.account, "a user was removed through the API");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn set_password(
    State(api): State<Shared>,
    Caller(session): Caller,
    Named(name): Named,
    JsonBody(asked): JsonBody<SetPassword>,
) -> Result<StatusCode, Problem> {
    let account = extract::account(&name)?;
    api.backend.set_password(&account, extract::password(&asked.password)?).await?;
    tracing::info!(by = %session.account, "a password was set through the API");
    Ok(StatusCode::NO_CONTENT)
}
