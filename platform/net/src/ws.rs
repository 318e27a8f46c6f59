//! What both ends of a SIP WebSocket share (RFC 7118).

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The subprotocol (RFC 7118 §4.1).
pub(crate) const SUBPROTOCOL: &str = "sip";

/// Small buffers (a phone says little), and the limit on a message.
pub(crate) fn config(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
}

/// A SIP message as a frame: text where it is UTF-8, which is what browsers' stacks expect.
pub(crate) fn frame(message: Bytes) -> Message {
    match message.clone().try_into() {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(message),
    }
}
