//! Headers that every response carries.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

const ALWAYS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "microphone=(self), camera=(), geolocation=(), payment=(), usb=()"),
];

/// For everything that is not a page.
const CSP_API: &str = "default-src 'none'; frame-ancestors 'none'";

/// Middleware: adds what the handler did not set itself.
pub(crate) async fn add(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        set_default(headers, HeaderName::from_static(name), value);
    }
    set_default(headers, header::CONTENT_SECURITY_POLICY, CSP_API);
    set_default(headers, header::CACHE_CONTROL, "no-store");
    response
}

/// The policy of the pages: own scripts, styles and connections, nothing inline, nothing from
/// elsewhere.
///
/// `host` is the request's `Host`: browsers differ on whether `'self'` covers `wss:` to the same
/// host.
pub(crate) fn page_policy(host: Option<&str>) -> String {
    let socket = match host.filter(|host| is_authority(host)) {
        Some(host) => format!(" wss://{host}"),
        None => String::new(),
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
         media-src 'self' blob:; manifest-src 'self'; connect-src 'self'{socket}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types svelte-trusted-html"
    )
}

/// `host[:port]` of characters that can end neither the directive nor the header.
pub(crate) fn is_authority(host: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    !host.is_empty() && host.len() <= 255 && host.bytes().all(fits)
}

fn set_default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
