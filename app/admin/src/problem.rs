//! Errors as the client sees them: `application/problem+json` (RFC 9457) with the field, its value
//! and the remedy.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::backend::BackendError;

/// What is wrong and what to do about it. Boxed: it is the rare half of many results.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone, Serialize)]
struct Parts {
    /// Names the kind of problem: `urn:whimbrel:problem:` and a word.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    remedy: Cow<'static, str>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem of the kind `word`, with a title that is the same for all of its kind.
    pub fn new(status: StatusCode, word: &str, title: &'static str) -> Self {
        Self(Box::new(Parts {
            kind: format!("urn:whimbrel:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: Cow::Borrowed(title),
            field: None,
            value: None,
            remedy: Cow::Borrowed("See /api/openapi.json for what this operation takes."),
            retry_after_s: None,
        }))
    }

    /// What happened this time.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The field at fault, and what stood there; never a secret.
    pub fn field(mut self, field: impl Into<Cow<'static, str>>, value: Option<&str>) -> Self {
        self.0.field = Some(field.into());
        self.0.value = value.map(shortened);
        self
    }

    /// What the client can do.
    pub fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.0.remedy = remedy.into();
        self
    }

    /// Sets `Retry-After`.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// A field of the request that is not acceptable.
    pub fn invalid(
        field: &'static str,
        value: Option<&str>,
        why: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-field", "A field is not acceptable")
            .detail(why)
            .field(field, value)
            .remedy("Correct the field and send the request again.")
    }

    /// Wrong name or password; the same for every reason.
    pub fn sign_in_refused() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "sign-in-refused", "Sign-in was refused")
            .detail("The account or the password is wrong.")
            .remedy(
                "Check both; the account is written user@domain. \
                 An administrator can set a new password.",
            )
    }

    /// No session came with the request, or one that is over.
    pub fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not-signed-in", "Not signed in")
            .detail("The request carries no session that is in force.")
            .remedy("Sign in with POST /api/session and send its token as `Authorization: Bearer`.")
    }

    /// Signed in, but not for this.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed")
            .detail("This operation is for administrators.")
            .remedy(
                "Sign in as administrator, for instance by the one-time link of `whimbrel serve`.",
            )
    }

    /// Nothing is there.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .detail(format!("There is no such {what}."))
            .remedy("Check the name; the matching list operation shows what there is.")
    }

    /// The status that goes with it.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Refused => Self::sign_in_refused(),
            BackendError::NotFound(what) => Self::not_found(what),
            BackendError::Exists(what) => {
                Self::new(StatusCode::CONFLICT, "exists", "It exists already")
                    .detail(format!("This {what} exists already."))
                    .remedy("Choose another name, or change the one that is there.")
            }
            BackendError::Invalid { field, reason } => Self::invalid(field, None, reason),
            BackendError::Unavailable(why) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now")
                    .detail(why)
                    .remedy("Try again in a few seconds.")
                    .retry_after(5)
            }
            BackendError::Internal(why) => {
                tracing::error!(%why, "an API request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed")
                    .detail("The server could not do this; its log says why.")
                    .remedy("Try again; if it stays, see the server's log and `whimbrel doctor`.")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry = self.0.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2 wants a challenge; Bearer makes no browser ask for a password by
            // itself.
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"whimbrel\""),
            );
        }
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// At most 128 characters of what the client sent, without control characters.
fn shortened(value: &str) -> String {
    value.chars().take(128).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
