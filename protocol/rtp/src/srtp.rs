//! SRTP and SRTCP in place (RFC 3711, RFC 4568 §6.2, RFC 7714), on the AES and HMAC of aws-lc.
//!
//! ```text
//!   SrtpContext ─ one master key, one direction
//!     ├─ SessionKeys rtp / rtcp      derived once (§4.3), cipher schedules kept
//!     └─ Stream per SSRC             highest index (ROC ‖ SEQ) + 128-packet replay window, for
//!                                    RTP and RTCP
//! ```
//!
//! A sender keeps the window too: an index is never used twice under a key, because that would
//! give the key stream away (RFC 3711 §9.1) and, with GCM, the authentication key.

mod cipher;
mod kdf;
mod replay;
#[cfg(test)]
mod tests;

use cipher::SessionKeys;
use replay::ReplayWindow;

use crate::Error;
use crate::packet::{be32, header_len};
use crate::sequence::extend;

/// Synchronisation sources one key may serve.
pub const MAX_STREAMS: usize = 1024;

/// How much longer a protected packet can be: room to leave behind a packet in its buffer.
pub const MAX_TRAILER: usize = 20;

/// The fixed part of an RTCP packet that stays in the clear (RFC 3711 §3.4).
const RTCP_HEADER: usize = 8;
/// E flag and index.
const RTCP_INDEX: usize = 4;
const E_FLAG: u32 = 0x8000_0000;

/// A crypto suite: the names of RFC 4568 §6.2 and RFC 7714 §14.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the suites' registered names")]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`: a 4-byte tag on RTP, 10 on RTCP.
    AesCm128HmacSha1_32,
    /// `AEAD_AES_128_GCM`
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM`
    AeadAes256Gcm,
}

impl Suite {
    /// All, the strongest first.
    pub const ALL: [Self; 4] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
    ];

    /// The name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Reads the name in `a=crypto`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Master key length in bytes.
    pub fn key_len(self) -> usize {
        if self == Self::AeadAes256Gcm { 32 } else { 16 }
    }

    /// Master salt length in bytes.
    pub fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }

    fn rtp_tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    fn rtcp_tag_len(self) -> usize {
        if self.is_aead() { 16 } else { 10 }
    }
}

/// A master key and salt. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial {
    /// The master key, [`Suite::key_len`] bytes.
    pub key: Vec<u8>,
    /// The master salt, [`Suite::salt_len`] bytes.
    pub salt: Vec<u8>,
}

impl KeyMaterial {
    /// Copies key and salt.
    pub fn new(key: &[u8], salt: &[u8]) -> Self {
        Self { key: key.to_vec(), salt: salt.to_vec() }
    }

    /// Splits `key ‖ salt`, as `inline:` and DTLS export carry it.
    ///
    /// # Errors
    /// [`Error::BadKey`] when the length does not fit.
    pub fn from_concatenated(suite: Suite, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != suite.key_len() + suite.salt_len() {
            return Err(Error::BadKey);
        }
        let (key, salt) = bytes.split_at(suite.key_len());
        Ok(Self::new(key, salt))
    }
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaterial([redacted])")
    }
}

/// Protects what we send, or opens what we receive, under one master key. Use one context per
/// direction: each keeps what it has seen.
#[derive(Debug)]
pub struct SrtpContext {
    suite: Suite,
    rtp: SessionKeys,
    rtcp: SessionKeys,
    streams: Vec<Stream>,
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
        Ok(Self {
            suite,
            rtp: SessionKeys::derive(suite, keys, false)?,
            rtcp: SessionKeys::derive(suite, keys, true)?,
            streams: Vec::new(),
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
        let at = self.stream(ssrc)?;
        let index = self.streams[at].rtp_index(sequence);
        self.streams[at].rtp.check(index)?;
        self.rtp.seal_rtp(&mut buf[..len + tag], header, ssrc, index)?;
        self.streams[at].rtp.accept(index);
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
        let known = self.find(ssrc);
        let index = known.map_or(u64::from(sequence), |i| self.streams[i].rtp_index(sequence));
        if let Some(i) = known {
            self.streams[i].rtp.check(index)?;
        }
        self.rtp.open_rtp(&mut buf[..len], header, ssrc, index)?;
        let i = self.stream(ssrc)?;
        self.streams[i].rtp.accept(index);
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
        let at = self.stream(ssrc)?;
        let index = self.streams[at].next_rtcp_index()?;
        self.rtcp.seal_rtcp(&mut buf[..total], len, ssrc, index)?;
        self.streams[at].rtcp.accept(u64::from(index));
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
        if let Some(i) = self.find(ssrc) {
            self.streams[i].rtcp.check(index)?;
        }
        self.rtcp.open_rtcp(&mut buf[..len], ssrc, word)?;
        let i = self.stream(ssrc)?;
        self.streams[i].rtcp.accept(index);
        Ok(len - trailer)
    }

    /// What must be carried to another node to go on with this key (ROC, windows, SRTCP index).
    pub fn snapshot(&self) -> Vec<StreamSnapshot> {
        self.streams.iter().map(Stream::snapshot).collect()
    }

    /// Goes on where a snapshot was taken. Sources beyond [`MAX_STREAMS`] are left out.
    pub fn restore(&mut self, streams: &[StreamSnapshot]) {
        self.streams = streams.iter().take(MAX_STREAMS).map(Stream::restore).collect();
    }

    fn find(&self, ssrc: u32) -> Option<usize> {
        self.streams.iter().position(|s| s.ssrc == ssrc)
    }

    /// The stream's place, made if it is new. The one in use is kept in front.
    fn stream(&mut self, ssrc: u32) -> Result<usize, Error> {
        match self.find(ssrc) {
            Some(0) => {}
            Some(i) => self.streams.swap(0, i),
            None if self.streams.len() >= MAX_STREAMS => return Err(Error::TooManyStreams),
            None => {
                self.streams.push(Stream::new(ssrc));
                let last = self.streams.len() - 1;
                self.streams.swap(0, last);
            }
        }
        Ok(0)
    }
}

/// The state of one source, as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamSnapshot {
    /// The source.
    pub ssrc: u32,
    /// Highest RTP index (ROC ‖ SEQ) used or accepted.
    pub rtp_highest: Option<u64>,
    /// Bit `n` is set when index `highest - n` was used.
    pub rtp_window: u128,
    /// Highest SRTCP index used or accepted.
    pub rtcp_highest: Option<u64>,
    /// As for RTP.
    pub rtcp_window: u128,
}

#[derive(Debug, Clone)]
struct Stream {
    ssrc: u32,
    rtp: ReplayWindow,
    rtcp: ReplayWindow,
}

impl Stream {
    fn new(ssrc: u32) -> Self {
        Self { ssrc, rtp: ReplayWindow::default(), rtcp: ReplayWindow::default() }
    }

    fn rtp_index(&self, sequence: u16) -> u64 {
        self.rtp.highest().map_or(u64::from(sequence), |highest| extend(highest, sequence))
    }

    fn next_rtcp_index(&self) -> Result<u32, Error> {
        let next = self.rtcp.highest().map_or(1, |highest| highest + 1);
        // RFC 3711 §9.2: 2^31 SRTCP packets per key.
        u32::try_from(next).ok().filter(|n| n & E_FLAG == 0).ok_or(Error::KeyExhausted)
    }

    fn snapshot(&self) -> StreamSnapshot {
        StreamSnapshot {
            ssrc: self.ssrc,
            rtp_highest: self.rtp.highest(),
            rtp_window: self.rtp.bits(),
            rtcp_highest: self.rtcp.highest(),
            rtcp_window: self.rtcp.bits(),
        }
    }

    fn restore(s: &StreamSnapshot) -> Self {
        Self {
            ssrc: s.ssrc,
            rtp: ReplayWindow::restore(s.rtp_highest, s.rtp_window),
            rtcp: ReplayWindow::restore(s.rtcp_highest, s.rtcp_window),
        }
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
