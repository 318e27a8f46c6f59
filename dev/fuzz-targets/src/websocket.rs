//! The WebSocket of a browser: frames as they come, under the limits the server sets.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::ws;

/// What one SIP message may take, as in the server's limits.
const MESSAGE_MAX: usize = 65_535;

/// Frames of a client in pieces: the first byte says how large they are. Whole or in pieces, the
/// messages are the same, and none is larger than the limit or than what came.
pub fn websocket(data: &[u8]) {
    let [size, wire @ ..] = data else { return };
    let whole = messages(wire, wire.len().max(1));
    let pieces = messages(wire, usize::from(*size).max(1));
    assert_eq!(whole, pieces, "messages depend on how the bytes arrive");
    let total: usize = whole.iter().map(Bytes::len).sum();
    assert!(total <= wire.len(), "more came out than went in");
    for message in whole {
        assert!(message.len() <= MESSAGE_MAX);
        if let Ok(parsed) = sip::Message::parse(message) {
            // What we answer is a frame again, text or binary.
            let _ = ws::frame(parsed.bytes().clone());
        }
    }
}

fn messages(wire: &[u8], piece: usize) -> Vec<Bytes> {
    let config = Some(ws::config(MESSAGE_MAX));
    let mut socket = WebSocket::from_raw_socket(Pieces { wire, piece }, Role::Server, config);
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => messages.push(text.into()),
            Ok(Message::Binary(bytes)) => messages.push(bytes),
            Ok(_) => {}
            Err(_) => return messages,
        }
    }
}

/// Bytes that come in pieces; what is written is thrown away.
struct Pieces<'a> {
    wire: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.piece.min(buffer.len()).min(self.wire.len());
        let (now, later) = self.wire.split_at(len);
        buffer[..len].copy_from_slice(now);
        self.wire = later;
        Ok(len)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An input of the target: each message as the frames of a client, `fragment` bytes in each,
/// under a mask that leaves the text as it is.
pub fn client_frames(messages: &[&[u8]], fragment: usize) -> Vec<u8> {
    const TEXT: u8 = 1;
    const FINAL: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let mut input = vec![7];
    for message in messages {
        let mut parts = message.chunks(fragment).peekable();
        let mut opcode = TEXT;
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() { FINAL } else { 0 };
            input.push(opcode | last);
            match u8::try_from(part.len()) {
                Ok(len) if len < 126 => input.push(MASKED | len),
                _ => {
                    input.push(MASKED | 126);
                    let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
                    input.extend(len.to_be_bytes());
                }
            }
            input.extend([0; 4]);
            input.extend(part);
            opcode = 0;
        }
    }
    input
}
