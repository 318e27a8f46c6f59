//! Bodies: a description and metadata in one (RFC 7866 §9.1), and what an SRS asks for.

use sip::{HeaderName, Message};

/// Type of the metadata (RFC 7865 §10.2, RFC 9806).
const METADATA: &str = "application/rs-metadata+xml";
/// Type of an SRS's wish for all of the metadata (RFC 7866 §9.2).
const METADATA_REQUEST: &[u8] = b"application/rs-metadata-request";

/// Content-Type and body of a request with both. The boundary must be in neither.
pub(crate) fn mixed(boundary: &str, sdp: &[u8], metadata: &str) -> (String, Vec<u8>) {
    let mut body = Vec::with_capacity(sdp.len() + metadata.len() + 256);
    for (kind, disposition, content) in [
        ("application/sdp", "session;handling=required", sdp),
        (METADATA, "recording-session", metadata.as_bytes()),
    ] {
        let head = format!(
            "--{boundary}\r\nContent-Type: {kind}\r\nContent-Disposition: {disposition}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/mixed;boundary={boundary}"), body)
}

/// Whether the SRS asks for all of the metadata.
pub(crate) fn asks_for_metadata(message: &Message) -> bool {
    let is = |value: Option<&[u8]>| {
        let bare = value.and_then(|v| v.split(|b| *b == b';').next()).unwrap_or_default();
        // With or without `+xml`, as for the metadata.
        bare.trim_ascii().to_ascii_lowercase().starts_with(METADATA_REQUEST)
    };
    if message.body().is_empty() {
        return false;
    }
    match sip::body::parts(message) {
        Some(parts) => parts.iter().any(|part| is(part.header("Content-Type"))),
        None => is(message.header(HeaderName::CONTENT_TYPE)),
    }
}
