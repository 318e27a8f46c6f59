//! Signing in and out.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::api::{Api, Shared, Source};
use crate::extract::JsonBody;
use crate::guard::{Caller, set_cookie};
use crate::model::{Role, Session};
use crate::problem::Problem;

/// Longer names or tokens cannot be right.
const INPUT_LEN_MAX: usize = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    account: String,
    password: String,
    /// Browsers: the token goes into the cookie only, out of any script's reach.
    #[serde(default)]
    cookie_only: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedeemLink {
    token: String,
    #[serde(default)]
    cookie_only: bool,
}

#[derive(Serialize)]
struct SessionToken {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(flatten)]
    session: SessionFacts,
}

#[derive(Serialize)]
pub(super) struct SessionFacts {
    account: String,
    roles: Vec<Role>,
    expires_at_ms: u64,
}

pub(super) async fn sign_in(
    State(api): State<Shared>,
    source: Source,
    JsonBody(asked): JsonBody<SignIn>,
) -> Result<Response, Problem> {
    if asked.account.len() > INPUT_LEN_MAX || asked.password.len() > INPUT_LEN_MAX {
        return Err(Problem::sign_in_refused());
    }
    let login = match asked.account.trim().rsplit_once('@') {
        Some((user, domain)) => format!("{user}@{}", domain.to_ascii_lowercase()),
        None => asked.account.trim().to_owned(),
    };
    let login = login.strip_prefix("sip:").unwrap_or(&login);
    charge(&api, source.0, login)?;
    let session = api.backend.sign_in(login, &asked.password).await?;
    refund(&api, source.0, login);
    Ok(opened(&api, session, asked.cookie_only))
}

pub(super) async fn redeem(
    State(api): State<Shared>,
    source: Source,
    JsonBody(asked): JsonBody<RedeemLink>,
) -> Result<Response, Problem> {
    // No account can have this name, so links and passwords do not spend each other's attempts.
    let bucket = "\u{0}link";
    charge(&api, source.0, bucket)?;
    if asked.token.len() > INPUT_LEN_MAX {
        return Err(link_refused());
    }
    let found = api.backend.redeem_link(&asked.token).await;
    let session = found.map_err(|error| match Problem::from(error) {
        problem if problem.status() == StatusCode::UNAUTHORIZED => link_refused(),
        other => other,
    })?;
    refund(&api, source.0, bucket);
    Ok(opened(&api, session, asked.cookie_only))
}

pub(super) async fn current(Caller(session): Caller) -> Json<SessionFacts> {
    Json(facts(session))
}

pub(super) async fn sign_out(
    State(api): State<Shared>,
    Caller(session): Caller,
) -> Result<Response, Problem> {
    api.backend.sign_out(session.token.reveal()).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = set_cookie("", 0, api.options.secure_cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn opened(api: &Api, session: Session, cookie_only: bool) -> Response {
    let token = session.token.reveal().clone();
    let cookie = set_cookie(&token, seconds_left(session.expires_at_ms), api.options.secure_cookie);
    let body = SessionToken { token: (!cookie_only).then_some(token), session: facts(session) };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/api/session"));
    response
}

fn facts(session: Session) -> SessionFacts {
    let Session { account, roles, expires_at_ms, .. } = session;
    SessionFacts { account, roles, expires_at_ms }
}

fn charge(api: &Api, source: IpAddr, account: &str) -> Result<(), Problem> {
    let Ok(mut limiter) = api.limiter.lock() else {
        return Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The server failed",
        ));
    };
    limiter.charge(Instant::now(), source, account).map_err(too_often)
}

fn refund(api: &Api, source: IpAddr, account: &str) {
    if let Ok(mut limiter) = api.limiter.lock() {
        limiter.refund(Instant::now(), source, account);
    }
}

fn too_often(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", "Too many sign-in attempts")
        .detail(format!("Sign-in from here is held for {seconds} s after too many failures."))
        .remedy("Wait that long, then try again.")
        .retry_after(seconds)
}

fn link_refused() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "link-refused", "The link is not valid")
        .detail("The link was used before, has expired, or was never given out.")
        .remedy("Ask whoever runs the server for a new one: `whimbrel admin link` prints it.")
}

fn seconds_left(expires_at_ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(expires_at_ms).saturating_sub(now).as_secs()
}
