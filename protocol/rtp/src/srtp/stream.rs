//! What is remembered of each source: how far its indices have come, and which were used.

use super::replay::ReplayWindow;
use super::{E_FLAG, MAX_STREAMS};
use crate::Error;
use crate::sequence::extend;

/// The sources one key serves. The one in use is at hand, the others are looked up.
#[derive(Debug, Default)]
pub(super) struct Streams {
    current: Option<Stream>,
    others: Vec<Stream>,
}

impl Streams {
    /// The source, if it is known; the next look-up finds it first.
    pub(super) fn find(&mut self, ssrc: u32) -> Option<&mut Stream> {
        if self.current.as_ref().is_none_or(|s| s.ssrc != ssrc) {
            let at = self.others.iter().position(|s| s.ssrc == ssrc)?;
            // `others` has a place only beside a current one.
            std::mem::swap(self.current.as_mut()?, &mut self.others[at]);
        }
        self.current.as_mut()
    }

    /// The source, made if it is new. Only a second source asks for memory.
    pub(super) fn open(&mut self, ssrc: u32) -> Result<&mut Stream, Error> {
        if self.find(ssrc).is_none() {
            if self.others.len() + 1 >= MAX_STREAMS && self.current.is_some() {
                return Err(Error::TooManyStreams);
            }
            self.others.extend(self.current.take());
        }
        Ok(self.current.get_or_insert_with(|| Stream::new(ssrc)))
    }

    pub(super) fn snapshot(&self) -> Vec<StreamSnapshot> {
        self.current.iter().chain(&self.others).map(Stream::snapshot).collect()
    }

    pub(super) fn restore(streams: &[StreamSnapshot]) -> Self {
        let mut all = streams.iter().take(MAX_STREAMS).map(Stream::restore);
        Self { current: all.next(), others: all.collect() }
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

/// One source.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    ssrc: u32,
    pub(super) rtp: ReplayWindow,
    pub(super) rtcp: ReplayWindow,
}

impl Stream {
    fn new(ssrc: u32) -> Self {
        Self { ssrc, rtp: ReplayWindow::default(), rtcp: ReplayWindow::default() }
    }

    pub(super) fn rtp_index(&self, sequence: u16) -> u64 {
        self.rtp.highest().map_or(u64::from(sequence), |highest| extend(highest, sequence))
    }

    pub(super) fn next_rtcp_index(&self) -> Result<u32, Error> {
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
