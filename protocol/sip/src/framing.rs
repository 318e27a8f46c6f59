//! Cutting a byte stream into messages (RFC 3261 §18.3, RFC 5626 §3.5.1).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::error::ParseError;
use crate::limits::Limits;
use crate::message::body_length;

/// Cuts what a TCP or TLS connection delivers into whole messages and keep-alives.
///
/// Each byte is looked at once, however small the pieces it comes in. The length of a body comes
/// from the code the parser uses, so the two never disagree about where a message ends. After an
/// error the connection is lost: every later call gives the same error.
#[derive(Debug)]
pub struct StreamFramer {
    buffer: BytesMut,
    /// How much of the buffer has been searched for the end of the headers.
    scanned: usize,
    /// Length of the message at the front, once its headers are complete.
    need: Option<usize>,
    /// A lone CRLF was reported; another makes it a ping.
    half_ping: bool,
    failed: Option<FrameError>,
    limits: Limits,
}

impl Default for StreamFramer {
    fn default() -> Self {
        Self::new(Limits::DEFAULT)
    }
}

impl StreamFramer {
    /// A framer at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        let buffer = BytesMut::new();
        Self { buffer, scanned: 0, need: None, half_ping: false, failed: None, limits }
    }

    /// Takes bytes as they come. Drain [`StreamFramer::next_frame`] before pushing more: what is
    /// held is at most one message and one read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole message or keep-alive; `None` when more bytes are needed.
    ///
    /// # Errors
    /// A message whose end cannot be known, or that is too large. Close the connection, after
    /// answering [`StreamFramer::refused`] if it can be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(ping) = self.keep_alive() {
            return Ok(Some(ping));
        }
        match self.message() {
            Ok(Some(message)) => Ok(Some(Frame::Message(message))),
            Ok(None) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// After an error, the bytes of the message that caused it, as far as they came: for
    /// [`Message::parse_lenient`](crate::Message::parse_lenient).
    pub fn refused(&self) -> Option<Bytes> {
        self.failed.map(|_| {
            let end = self.buffer.len().min(self.limits.message_bytes_max);
            Bytes::copy_from_slice(&self.buffer[..end])
        })
    }

    /// Bytes held back until their message is whole.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn keep_alive(&mut self) -> Option<Frame> {
        if self.need.is_some() || !self.buffer.starts_with(b"\r\n") {
            self.half_ping &= b"\r\n".starts_with(&self.buffer);
            return None;
        }
        if self.half_ping {
            self.half_ping = false;
            self.skip(2);
            return Some(Frame::Ping);
        }
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.skip(4);
            return Some(Frame::Ping);
        }
        match self.buffer.get(2) {
            Some(b'\r') if self.buffer.len() == 3 => None,
            more => {
                self.half_ping = more.is_none();
                self.skip(2);
                Some(Frame::Pong)
            }
        }
    }

    fn skip(&mut self, len: usize) {
        self.buffer.advance(len);
        self.scanned = 0;
    }

    fn message(&mut self) -> Result<Option<Bytes>, FrameError> {
        let need = match self.need {
            Some(need) => need,
            None => {
                let Some(head) = self.find_head_end() else {
                    return match self.buffer.len() > self.limits.message_bytes_max {
                        true => Err(FrameError::TooLarge),
                        false => Ok(None),
                    };
                };
                let body = body_length(&self.buffer[..head]).map_err(FrameError::Length)?;
                head.saturating_add(body)
            }
        };
        if need > self.limits.message_bytes_max {
            return Err(FrameError::TooLarge);
        }
        if self.buffer.len() < need {
            self.need = Some(need);
            self.buffer.reserve(need - self.buffer.len());
            return Ok(None);
        }
        self.need = None;
        self.scanned = 0;
        let message = self.buffer.split_to(need).freeze();
        if self.buffer.is_empty() {
            // An empty rest would keep the message's memory for as long as the connection is idle.
            self.buffer = BytesMut::new();
        }
        Ok(Some(message))
    }

    /// Behind the blank line, searching on from where the last search ended.
    fn find_head_end(&mut self) -> Option<usize> {
        while let Some(found) = memchr(b'\n', &self.buffer[self.scanned..]) {
            self.scanned += found + 1;
            if self.buffer[..self.scanned].ends_with(b"\r\n\r\n") {
                return Some(self.scanned);
            }
        }
        self.scanned = self.buffer.len();
        None
    }
}

/// What a stream delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, not yet parsed.
    Message(Bytes),
    /// Double CRLF: answer with one CRLF (RFC 5626 §4.4.1).
    Ping,
    /// Single CRLF: the answer to our ping. A ping that arrives in halves shows as this, then as
    /// [`Frame::Ping`].
    Pong,
}

/// Why a stream cannot be cut any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Beyond [`Limits::message_bytes_max`].
    #[error("message too large")]
    TooLarge,
    /// No Content-Length that could be believed.
    #[error("length of the message unknown: {0}")]
    Length(ParseError),
}

impl FrameError {
    /// The status with which a request is answered before the connection is closed.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 513,
            Self::Length(error) => error.status(),
        }
    }
}

#[cfg(test)]
mod tests;
