//! Reads requests, with refusals that name the field.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::Source;
use crate::guard::Caller;
use crate::model::PageRequest;
use crate::problem::Problem;

/// No request of this API needs more.
const BODY_LEN_MAX: usize = 16 * 1024;
const PAGE_LIMIT_MAX: usize = 200;
const PAGE_LIMIT_DEFAULT: usize = 50;
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=256;

/// A body of `application/json`.
///
/// Insisting on the content type also keeps foreign pages out: a plain form cannot send it without
/// a preflight.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let essence = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "The body must be JSON",
            )
            .field("Content-Type", kind)
            .remedy("Send JSON with `Content-Type: application/json`."));
        }
        let body = Limited::new(request.into_body(), BODY_LEN_MAX).collect().await;
        let body = body.map_err(|_| too_large())?.to_bytes();
        serde_json::from_slice(&body).map(Self).map_err(|error| bad_json(&error))
    }
}

/// The one parameter of a path, percent-decoded.
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = found.map_err(|_| Problem::not_found("name"))?;
        Ok(Self(name))
    }
}

/// The paging parameters of a list.
pub(crate) struct Paging(pub(crate) PageRequest);

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::<PagingQuery>::from_request_parts(parts, state).await;
        let Query(asked) = asked.map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, "query", "The query cannot be read")
                .detail(error.body_text())
        })?;
        let limit = asked.limit.unwrap_or(PAGE_LIMIT_DEFAULT);
        if !(1..=PAGE_LIMIT_MAX).contains(&limit) {
            let sent = limit.to_string();
            return Err(Problem::invalid("limit", Some(&sent), "It must be from 1 to 200."));
        }
        let short = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= 256);
        if !short(&asked.after) || !short(&asked.search) {
            return Err(Problem::invalid("search", None, "It is longer than 256 bytes."));
        }
        let search = asked.search.filter(|search| !search.is_empty());
        Ok(Self(PageRequest { limit, after: asked.after, search }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PagingQuery {
    limit: Option<usize>,
    after: Option<String>,
    search: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // The guard put it there; a route that forgot its guard refuses.
        parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::not_signed_in)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.get::<Source>().copied().unwrap_or_default())
    }
}

/// `user@domain` with the domain in lower case.
///
/// # Errors
/// Which rule the text breaks.
pub(crate) fn account(text: &str) -> Result<String, Problem> {
    let wrong = |why| Problem::invalid("account", Some(text), why);
    let (user, domain) = text.rsplit_once('@').ok_or_else(|| wrong("It must be user@domain."))?;
    let user_fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()+=$&".contains(&b);
    if user.is_empty() || user.len() > 64 || !user.bytes().all(user_fits) {
        return Err(wrong(
            "The part before @ takes 1 to 64 letters, digits and -_.!~*'()+=$& only.",
        ));
    }
    let domain_fits = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if domain.is_empty() || domain.len() > 253 || !domain.bytes().all(domain_fits) {
        return Err(wrong("The part after @ must be a host name."));
    }
    Ok(format!("{user}@{}", domain.to_ascii_lowercase()))
}

/// # Errors
/// The password is too short or too long; the problem does not repeat it.
pub(crate) fn password(text: &str) -> Result<&str, Problem> {
    if PASSWORD_CHARS.contains(&text.chars().count()) {
        Ok(text)
    } else {
        Err(Problem::invalid("password", None, "It must have 8 to 256 characters."))
    }
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
        .detail("At most 16384 bytes are taken.")
}

/// serde names the field between back-quotes.
fn bad_json(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let field = text.split('`').nth(1).map(str::to_owned);
    let problem = Problem::new(StatusCode::BAD_REQUEST, "body", "The body cannot be read")
        // A message of serde's may quote a value, which may be a password: only its kind is told
        // for those.
        .detail(if error.is_data() && text.starts_with("invalid") {
            format!(
                "A value has the wrong type at line {}, column {}.",
                error.line(),
                error.column()
            )
        } else {
            text.clone()
        });
    match field.filter(|_| text.contains("field")) {
        Some(field) => problem.field(field, None),
        None => problem,
    }
}
