//! Who may pass: the session of a request, its role, and whether a browser was tricked into sending
//! it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::model::Session;
use crate::problem::Problem;
use crate::route::Access;

/// The header a page of ours sends with every change. A foreign page cannot: it would need a
/// preflight, which is never granted.
pub(crate) const CSRF_HEADER: &str = "x-whimbrel";
/// Longer tokens are not ours.
const TOKEN_LEN_MAX: usize = 512;

/// State of the guard of one route.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) api: Shared,
    pub(crate) access: Access,
}

/// The session a request was let through with; handlers of guarded routes take it from the
/// extensions.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Session);

/// The guard itself, as an axum middleware.
pub(crate) async fn check(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let change = !matches!(*request.method(), Method::GET | Method::HEAD);
    if change && from_foreign_page(request.headers()) {
        return csrf().into_response();
    }
    if guard.access != Access::Public {
        match admit(&guard, request.headers(), change).await {
            Ok(session) => request.extensions_mut().insert(Caller(session)),
            Err(problem) => return problem.into_response(),
        };
    }
    next.run(request).await
}

async fn admit(guard: &Guard, headers: &HeaderMap, change: bool) -> Result<Session, Problem> {
    let secure = guard.api.options.secure_cookie;
    let credential = credential(headers, secure).ok_or_else(Problem::not_signed_in)?;
    let session = guard.api.backend.session(credential.token()).await?;
    let session = session.ok_or_else(Problem::not_signed_in)?;
    if matches!(credential, Credential::Cookie(_)) && change && !headers.contains_key(CSRF_HEADER) {
        return Err(csrf());
    }
    if guard.access == Access::Admin && !session.is_admin() {
        return Err(Problem::forbidden());
    }
    Ok(session)
}

/// How a request says who it is.
enum Credential<'a> {
    Bearer(&'a str),
    Cookie(&'a str),
}

impl<'a> Credential<'a> {
    fn token(&self) -> &'a str {
        match self {
            Self::Bearer(token) | Self::Cookie(token) => token,
        }
    }
}

/// A request that carries `Authorization` is judged by it alone.
fn credential(headers: &HeaderMap, secure: bool) -> Option<Credential<'_>> {
    let found = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| Credential::Bearer(token.trim()))?
        }
        None => Credential::Cookie(cookie_value(headers, cookie_name(secure))?),
    };
    let token = found.token();
    let plausible = !token.is_empty() && token.len() <= TOKEN_LEN_MAX;
    plausible.then_some(found)
}

fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// `Set-Cookie` for a session that lasts `max_age_s` more seconds; 0 removes it.
pub(crate) fn set_cookie(token: &str, max_age_s: u64, secure: bool) -> Option<HeaderValue> {
    let name = cookie_name(secure);
    let only_tls = if secure { "; Secure" } else { "" };
    let line =
        format!("{name}={token}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{only_tls}");
    HeaderValue::from_str(&line).ok()
}

/// The `__Host-` prefix makes browsers refuse the cookie from another host, path or plain HTTP.
fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-whimbrel" } else { "whimbrel" }
}

/// Browsers say by themselves where a request comes from; programs say nothing.
fn from_foreign_page(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

fn csrf() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "csrf", "The request may come from a foreign page")
        .detail("A change signed in by cookie must carry X-Whimbrel and come from this site.")
        .remedy("Send `X-Whimbrel: 1`, or sign in by `Authorization: Bearer`.")
}
