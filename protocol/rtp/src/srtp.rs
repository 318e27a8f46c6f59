//! SRTP and SRTCP in place (RFC 3711, RFC 4568 §6.2, RFC 6188, RFC 7714), on the AES of aws-lc.
//!
//! ```text
//!   SrtpContext ─ one master key, one direction; half a kilobyte, 1.1 with GCM
//!     ├─ Transform (RTP)    derived once (§4.3), schedule of the cipher and states of HMAC kept
//!     ├─ Derived (RTCP)     the derived keys as they are: a packet every few seconds
//!     └─ Stream per SSRC    highest index (ROC ‖ SEQ) + 128-packet replay window, for RTP and RTCP
//! ```
//!
//! No packet asks for memory, but the first of a second source under the same key.
//!
//! A sender keeps the window too: an index is never used twice under a key, because that would
//! give the key stream away (RFC 3711 §9.1) and, with GCM, the authentication key.

mod aws;
mod cipher;
mod hmac;
mod kdf;
mod replay;
mod stream;
mod suite;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use cipher::{RtcpTransform, Transform};
use kdf::Derived;
use stream::Streams;

use crate::Error;
use crate::packet::{be32, header_len};

pub use stream::StreamSnapshot;
pub use suite::{KeyMaterial, Suite};

/// Synchronisation sources one key may serve.
pub const MAX_STREAMS: usize = 1024;

/// How much longer a protected packet can be: room to leave behind a packet in its buffer.
pub const MAX_TRAILER: usize = 20;

/// The fixed part of an RTCP packet that stays in the clear (RFC 3711 §3.4).
const RTCP_HEADER: usize = 8;
/// E flag and index.
const RTCP_INDEX: usize = 4;
const E_FLAG: u32 = 0x8000_0000;

/// Protects what we send, or opens what we receive, under one master key. Use one context per
/// direction: each keeps what it has seen.
#[derive(Debug)]
pub struct SrtpContext {
    suite: Suite,
    rtp: Transform,
    rtcp: Derived,
    streams: Streams,
}

impl SrtpContext {
    /// Derives the session keys.
    ///
    /// # Errors
    /// [`Error::BadKey`] when key or salt have the wrong length.
    pub fn new(suite: Suite, keys: &KeyMaterial) -> Result<Self, Error> {
        if keys.key.len() != suite.key_len() || keys.salt.len() != suite.salt_len() {
            return Err(Error::BadKey);
        }
        let rtp = Derived::new(suite, keys, 0)?;
        Ok(Self {
            suite,
            rtp: Transform::new(suite, &rtp, suite.rtp_tag_len())?,
            rtcp: Derived::new(suite, keys, kdf::RTCP)?,
            streams: Streams::default(),
        })
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Encrypts and authenticates the RTP packet in `buf[..len]`; gives the new length. The buffer
    /// needs [`MAX_TRAILER`] bytes of room behind the packet.
    ///
    /// # Errors
    /// A malformed packet, no room, an index already used or too old, too many sources.
    pub fn protect_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, Error> {
        let header = checked(buf, len).and_then(header_len)?;
        let tag = self.suite.rtp_tag_len();
        room(buf, len + tag)?;
        let (ssrc, sequence) = (be32(buf, 8), u16::from_be_bytes([buf[2], buf[3]]));
        let stream = self.streams.open(ssrc)?;
        let index = stream.rtp_index(sequence);
        stream.rtp.check(index)?;
        self.rtp.seal_rtp(&mut buf[..len + tag], header, ssrc, index)?;
        stream.rtp.accept(index);
        Ok(len + tag)
    }

    /// Checks and decrypts the SRTP packet in `buf[..len]`; gives the new length. On an error the
    /// packet's payload may be garbage and nothing is remembered of it.
    ///
    /// # Errors
    /// A malformed packet, a replay, a failed authentication, too many sources.
    pub fn unprotect_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, Error> {
        let header = checked(buf, len).and_then(header_len)?;
        let tag = self.suite.rtp_tag_len();
        if len < header + tag {
            return Err(Error::Truncated { needed: header + tag, actual: len });
        }
        let (ssrc, sequence) = (be32(buf, 8), u16::from_be_bytes([buf[2], buf[3]]));
        let packet = &mut buf[..len];
        if let Some(stream) = self.streams.find(ssrc) {
            let index = stream.rtp_index(sequence);
            stream.rtp.check(index)?;
            self.rtp.open_rtp(packet, header, ssrc, index)?;
            stream.rtp.accept(index);
        } else {
            // Nothing is remembered of a source before its first authentic packet.
            let index = u64::from(sequence);
            self.rtp.open_rtp(packet, header, ssrc, index)?;
            self.streams.open(ssrc)?.rtp.accept(index);
        }
        Ok(len - tag)
    }

    /// Encrypts and authenticates the RTCP compound in `buf[..len]`; gives the new length.
    ///
    /// # Errors
    /// A malformed packet, no room, an exhausted key, too many sources.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, Error> {
        rtcp_checked(buf, len, RTCP_HEADER)?;
        let total = len + self.suite.rtcp_tag_len() + RTCP_INDEX;
        room(buf, total)?;
        let ssrc = be32(buf, 4);
        let rtcp = RtcpTransform { suite: self.suite, keys: &self.rtcp };
        let stream = self.streams.open(ssrc)?;
        let index = stream.next_rtcp_index()?;
        rtcp.seal(&mut buf[..total], len, ssrc, index)?;
        stream.rtcp.accept(u64::from(index));
        Ok(total)
    }

    /// Checks and decrypts the SRTCP packet in `buf[..len]`; gives the new length.
    ///
    /// # Errors
    /// A malformed packet, a replay, a failed authentication, too many sources.
    pub fn unprotect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, Error> {
        let trailer = self.suite.rtcp_tag_len() + RTCP_INDEX;
        rtcp_checked(buf, len, RTCP_HEADER + trailer)?;
        let ssrc = be32(buf, 4);
        let word_at = if self.suite.is_aead() { len - RTCP_INDEX } else { len - trailer };
        let word = be32(buf, word_at);
        let index = u64::from(word & !E_FLAG);
        if let Some(stream) = self.streams.find(ssrc) {
            stream.rtcp.check(index)?;
        }
        let rtcp = RtcpTransform { suite: self.suite, keys: &self.rtcp };
        rtcp.open(&mut buf[..len], ssrc, word)?;
        self.streams.open(ssrc)?.rtcp.accept(index);
        Ok(len - trailer)
    }

    /// What must be carried to another node to go on with this key (ROC, windows, SRTCP index).
    pub fn snapshot(&self) -> Vec<StreamSnapshot> {
        self.streams.snapshot()
    }

    /// Goes on where a snapshot was taken. Sources beyond [`MAX_STREAMS`] are left out.
    pub fn restore(&mut self, streams: &[StreamSnapshot]) {
        self.streams = Streams::restore(streams);
    }
}

fn checked(buf: &[u8], len: usize) -> Result<&[u8], Error> {
    buf.get(..len).ok_or(Error::BufferTooSmall { needed: len, have: buf.len() })
}

fn rtcp_checked(buf: &[u8], len: usize, needed: usize) -> Result<(), Error> {
    let packet = checked(buf, len)?;
    if len < needed {
        return Err(Error::Truncated { needed, actual: len });
    }
    if packet[0] >> 6 != 2 { Err(Error::Version(packet[0] >> 6)) } else { Ok(()) }
}

fn room(buf: &[u8], needed: usize) -> Result<(), Error> {
    if buf.len() < needed {
        return Err(Error::BufferTooSmall { needed, have: buf.len() });
    }
    Ok(())
}
