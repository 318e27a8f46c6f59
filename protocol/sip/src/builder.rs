//! Making requests and responses.

use crate::message::Message;
use crate::method::Method;
use crate::name::HeaderName;
use crate::writer::{Decimal, Writer};

const TYPICAL_BYTES: usize = 1024;

/// Makes a request: headers stand in the order of the calls, Content-Length comes by itself, last.
#[derive(Debug, Clone)]
pub struct RequestBuilder {
    method: String,
    uri: Vec<u8>,
    lines: Writer,
    body: Vec<u8>,
}

impl RequestBuilder {
    /// A request of `method` to `uri`.
    pub fn new(method: Method<'_>, uri: impl AsRef<[u8]>) -> Self {
        let lines = Writer::with_capacity(TYPICAL_BYTES);
        let method = method.as_str().to_owned();
        Self { method, uri: uri.as_ref().to_vec(), lines, body: Vec::new() }
    }

    /// Adds a header line. A Content-Length is ignored: it is always our own.
    #[must_use]
    pub fn header<'n>(mut self, name: impl Into<HeaderName<'n>>, value: impl AsRef<[u8]>) -> Self {
        add(&mut self.lines, name.into(), value.as_ref());
        self
    }

    /// Copies all lines of that name from another message, byte-exact.
    #[must_use]
    pub fn copy(mut self, message: &Message, name: HeaderName<'_>) -> Self {
        copy_lines(&mut self.lines, message, name);
        self
    }

    /// Adds Content-Type and the body.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.lines.header(HeaderName::CONTENT_TYPE, content_type.as_bytes());
        self.body = body.as_ref().to_vec();
        self
    }

    /// The request.
    pub fn build(self) -> Message {
        let mut writer = Writer::with_capacity(TYPICAL_BYTES + self.body.len());
        let start = writer.request_line(&self.method, &self.uri);
        writer.append(&self.lines);
        let length = Decimal::new(self.body.len() as u64);
        writer.header(HeaderName::CONTENT_LENGTH, length.as_ref());
        writer.finish(start, &self.body)
    }
}

/// Makes a response to a request; see [`response_to`].
#[derive(Debug, Clone)]
pub struct ResponseBuilder {
    request: Message,
    status: u16,
    reason: String,
    to_tag: Option<String>,
    with_record_route: bool,
    lines: Writer,
    body: Vec<u8>,
}

/// A response to `request` by RFC 3261 §8.2.6.2: it copies every Via, From, To, Call-ID and CSeq
/// byte-exact (and Timestamp into a 100). An empty `reason` gets the usual phrase.
pub fn response_to(request: &Message, status: u16, reason: &str) -> ResponseBuilder {
    let reason = if reason.is_empty() { reason_phrase(status) } else { reason };
    ResponseBuilder {
        request: request.clone(),
        status,
        reason: reason.to_owned(),
        to_tag: None,
        with_record_route: false,
        lines: Writer::default(),
        body: Vec::new(),
    }
}

impl ResponseBuilder {
    /// Adds a tag to To, unless it has one already (RFC 3261 §8.2.6.2).
    #[must_use]
    pub fn to_tag(mut self, tag: &str) -> Self {
        self.to_tag = Some(tag.to_owned());
        self
    }

    /// Copies Record-Route, as dialog-forming responses must (RFC 3261 §12.1.1).
    #[must_use]
    pub fn record_route(mut self) -> Self {
        self.with_record_route = true;
        self
    }

    /// Adds a header line. A Content-Length is ignored: it is always our own.
    #[must_use]
    pub fn header<'n>(mut self, name: impl Into<HeaderName<'n>>, value: impl AsRef<[u8]>) -> Self {
        add(&mut self.lines, name.into(), value.as_ref());
        self
    }

    /// Adds Content-Type and the body.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.lines.header(HeaderName::CONTENT_TYPE, content_type.as_bytes());
        self.body = body.as_ref().to_vec();
        self
    }

    /// The response.
    pub fn build(self) -> Message {
        let request = &self.request;
        let mut writer = Writer::with_capacity(TYPICAL_BYTES + self.body.len());
        let start = writer.status_line(self.status, &self.reason);
        copy_lines(&mut writer, request, HeaderName::VIA);
        if self.with_record_route {
            copy_lines(&mut writer, request, HeaderName::RECORD_ROUTE);
        }
        copy_lines(&mut writer, request, HeaderName::FROM);
        match (&self.to_tag, request.header(HeaderName::TO)) {
            (Some(tag), Some(to)) if request.to_tag().is_none() => {
                writer.header_of(HeaderName::TO, &[to, b";tag=", tag.as_bytes()]);
            }
            _ => copy_lines(&mut writer, request, HeaderName::TO),
        }
        copy_lines(&mut writer, request, HeaderName::CALL_ID);
        copy_lines(&mut writer, request, HeaderName::CSEQ);
        if self.status == 100 {
            copy_lines(&mut writer, request, HeaderName::TIMESTAMP);
        }
        writer.append(&self.lines);
        let length = Decimal::new(self.body.len() as u64);
        writer.header(HeaderName::CONTENT_LENGTH, length.as_ref());
        writer.finish(start, &self.body)
    }
}

/// The phrase RFC 3261 §21 and its extensions give a status.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        _ => failure_phrase(status),
    }
}

fn failure_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => "Unknown",
    }
}

fn add(lines: &mut Writer, name: HeaderName<'_>, value: &[u8]) {
    if name != HeaderName::CONTENT_LENGTH {
        lines.header(name, value);
    }
}

fn copy_lines(lines: &mut Writer, message: &Message, name: HeaderName<'_>) {
    for slot in message.named(name) {
        lines.copy_line(message, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register() -> RequestBuilder {
        RequestBuilder::new(Method::REGISTER, "sip:example.com")
            .header(HeaderName::VIA, "SIP/2.0/UDP a.b;branch=z9hG4bK1")
            .header(HeaderName::FROM, "<sip:a@example.com>;tag=1")
            .header(HeaderName::TO, "<sip:a@example.com>")
            .header(HeaderName::CALL_ID, "x")
            .header(HeaderName::CSEQ, "1 REGISTER")
    }

    #[test]
    fn what_is_built_parses_to_the_same_index() {
        let built = register().header("X-Note", "hello").body("text/plain", "hi").build();
        let parsed = Message::parse(built.bytes().clone()).unwrap();
        assert!(built.header_lines().eq(parsed.header_lines()));
        assert_eq!(built.body(), b"hi");
        assert_eq!(built.header(HeaderName::CONTENT_LENGTH), Some(b"2".as_slice()));
        assert_eq!((built.method(), built.request_uri()), (parsed.method(), parsed.request_uri()));
    }

    #[test]
    fn no_value_can_break_out_of_its_line() {
        let built = register()
            .header("X-Note", "a\r\nX-Evil: b\nc")
            .header(HeaderName::CONTENT_LENGTH, "99")
            .build();
        let parsed = Message::parse(built.bytes().clone()).unwrap();
        assert_eq!(parsed.header("x-evil"), None);
        assert_eq!(parsed.header("x-note"), Some(b"a  X-Evil: b c".as_slice()));
    }

    #[test]
    fn responses_copy_what_they_must() {
        let request = register().header(HeaderName::TIMESTAMP, "5").build();
        let ok = response_to(&request, 200, "").to_tag("z").header("X", "1").build();
        assert_eq!((ok.status(), ok.reason()), (Some(200), b"OK".as_slice()));
        assert_eq!(ok.to_tag(), Some(b"z".as_slice()));
        assert!(ok.header(HeaderName::TIMESTAMP).is_none());
        let again = response_to(&ok, 100, "").to_tag("y").build();
        assert_eq!(again.to_tag(), Some(b"z".as_slice()));
        assert!(Message::parse(ok.bytes().clone()).is_ok());
    }
}
