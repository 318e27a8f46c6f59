//! Delivers the console's and the web phone's files, which another crate holds.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::headers::page_policy;
use crate::problem::Problem;

/// Looks a file up by the request's path; `None`: there is none.
pub type Pages = Arc<dyn Fn(&str) -> Option<PageFile> + Send + Sync>;

/// One file to be served.
#[derive(Debug, Clone)]
pub struct PageFile {
    /// The content.
    pub bytes: Cow<'static, [u8]>,
    /// Value for `Content-Type`.
    pub mime: &'static str,
    /// Strong entity tag, quotes included.
    pub etag: String,
    /// May be cached for a year without asking.
    pub immutable: bool,
}

/// The response for `path`.
pub(crate) fn reply(pages: Option<&Pages>, path: &str, request: &HeaderMap) -> Response {
    let Some(file) = pages.and_then(|pages| pages(path)) else {
        return Problem::not_found("page").into_response();
    };
    let known = request
        .get_all(header::IF_NONE_MATCH)
        .into_iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == file.etag);
    let cache = if file.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let bytes = match file.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Response::new(Body::from(bytes))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(etag) = HeaderValue::from_str(&file.etag) {
        headers.insert(header::ETAG, etag);
    }
    let host = request.get(header::HOST).and_then(|host| host.to_str().ok());
    if let Ok(policy) = HeaderValue::from_str(&page_policy(host)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
