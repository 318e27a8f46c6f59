//! What the web phone needs to register.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::Serialize;

use crate::api::Shared;
use crate::backend::BackendError;
use crate::guard::Caller;
use crate::headers::is_authority;
use crate::problem::Problem;

#[derive(Serialize)]
pub(super) struct PhoneSession {
    aor: String,
    wss_url: String,
    token: String,
    expires_at_ms: u64,
    display_name: String,
}

pub(super) async fn session(
    State(api): State<Shared>,
    Caller(session): Caller,
    headers: HeaderMap,
) -> Result<Json<PhoneSession>, Problem> {
    let found = api.backend.phone_account(&session).await;
    let account = found.map_err(|error| match error {
        BackendError::NotFound(_) => no_account(),
        other => other.into(),
    })?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| is_authority(host)).unwrap_or("localhost");
    Ok(Json(PhoneSession {
        aor: account.aor,
        wss_url: account.wss_url.unwrap_or_else(|| format!("wss://{host}/sip")),
        token: account.token.into_revealed(),
        expires_at_ms: account.expires_at_ms,
        display_name: account.display_name,
    }))
}

fn no_account() -> Problem {
    Problem::not_found("phone account")
        .detail("This session has no phone account: it is an administrator's.")
        .remedy("Sign in as a user (user@domain and its password) to use the web phone.")
}
