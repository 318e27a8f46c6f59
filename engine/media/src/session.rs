//! One end of one call's audio.

mod config;
mod inbound;
mod loss;
mod negotiation;
mod outbound;
mod paths;
mod reports;
mod trickled;
mod zrtp;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audio::level::LevelMeter;
use audio::{CodecKind, PLAYOUT_FRAME};
use bytes::Bytes;
use rtp::rtcp::Marks;
use rtp::srtp::SrtpContext;
use rtp::zrtp::{Failure, Secured};
use sansio::{Entropy, SeededEntropy};
use sdp::Direction;
use sdp::offer_answer::{Capabilities, Negotiated, OfferAnswerError};

pub use config::{CodecChoice, Config, Security};

use crate::keying::sdes::LocalKeys;
use crate::keying::{KeyingError, SrtpKeys};
use crate::traversal::{RemoteIce, Traversal};
use inbound::Inbound;
use loss::Loss;
use outbound::Outbound;
use reports::Reports;
use zrtp::Zrtp;

/// Outputs that may wait; the oldest goes when nobody collects them.
const OUTPUTS_MAX: usize = 512;

/// One leg for an endpoint (phone, PBX): see the crate's picture and contract.
#[derive(Debug)]
pub struct Session {
    config: Config,
    id: u64,
    version: u64,
    direction: Direction,
    keys: LocalKeys,
    srtp: Option<Srtp>,
    zrtp: Option<Zrtp>,
    /// Our description last sent, and what it offered when it was an offer.
    local_sdp: Option<sdp::Session>,
    offered: Option<Capabilities>,
    negotiated: Option<Negotiated>,
    outbound: Outbound,
    inbound: Inbound,
    reports: Reports,
    marks: Marks,
    loss: Loss,
    input_level: LevelMeter,
    output_level: LevelMeter,
    outputs: VecDeque<MediaOutput>,
    traversal: Option<Traversal>,
    /// What the far end said of ICE.
    remote_ice: Option<RemoteIce>,
    /// The name of the stream (`a=mid`).
    mid: Option<String>,
    /// What came of the far end's candidates before its description.
    early_trickle: Option<sdp::Fragment>,
}

impl Session {
    /// A session that starts at `now`. `entropy` gives keys and identifiers and must be the
    /// operating system's outside tests.
    pub fn new(config: Config, now: Instant, entropy: &mut dyn Entropy) -> Self {
        let seeded = SeededEntropy::new(entropy.next_u64());
        let mut this = Self {
            id: entropy.next_u64() >> 2,
            version: 0,
            direction: Direction::SendRecv,
            keys: LocalKeys::new(entropy),
            srtp: None,
            zrtp: None,
            local_sdp: None,
            offered: None,
            negotiated: None,
            outbound: Outbound::new(entropy),
            inbound: Inbound::new(config.silence_after),
            reports: Reports::new(now, config.wall, entropy.token(16), seeded),
            marks: Marks::default(),
            loss: Loss::default(),
            input_level: LevelMeter::new(),
            output_level: LevelMeter::new(),
            outputs: VecDeque::new(),
            traversal: None,
            remote_ice: None,
            mid: None,
            early_trickle: None,
            config,
        };
        this.zrtp = Zrtp::of(&this.config, this.outbound.ssrc(), entropy);
        this
    }

    /// The same offer once more, for another phone that answers it: a forked call has a media
    /// session for each (RFC 3264 §4). It has streams and packet numbers of its own.
    pub fn fork(&self, now: Instant, entropy: &mut dyn Entropy) -> Self {
        let mut other = Self::new(self.config.clone(), now, entropy);
        (other.id, other.version) = (self.id, self.version);
        other.direction = self.direction;
        other.mid.clone_from(&self.mid);
        other.keys = self.keys.clone();
        let (ssrc, ours) = (other.outbound.ssrc(), self.zrtp.as_ref());
        other.zrtp = ours.map(|zrtp| zrtp.fork(&self.config, ssrc, entropy));
        other.local_sdp.clone_from(&self.local_sdp);
        other.offered.clone_from(&self.offered);
        if let Some(caps) = &self.offered {
            other.inbound.accept_formats(&caps.codecs, &caps.telephone_events);
        }
        other
    }

    /// How packets are marked on the way (DSCP): what the driver's socket puts on them, and with what
    /// they come. The other side's next hop is told with each report.
    pub fn set_marks(&mut self, marks: Marks) {
        self.marks = marks;
    }

    /// Takes a datagram that arrived on the RTP or RTCP port.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.arrive(now, from, datagram);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(traversal) = &mut self.traversal {
            traversal.handle_timeout(now);
            self.drain_traversal();
        }
        let receives = self.negotiated.as_ref().is_some_and(|n| n.direction.receives());
        if let Some(event) = self.inbound.watch_silence(now, receives) {
            self.push(MediaOutput::Event(event));
        }
        self.zrtp_timeout(now);
        self.watch_loss(now);
        if self.negotiated.is_some() && self.reports.is_due(now) {
            self.send_report(now, None);
        }
    }

    /// Sends 20 ms of 48 kHz mono. While a digit is sent, it replaces the audio; on hold nothing is
    /// sent.
    pub fn capture(&mut self, now: Instant, frame: &[i16; PLAYOUT_FRAME]) {
        self.input_level.update(frame);
        let frame = if self.must_be_silent() { &[0; PLAYOUT_FRAME] } else { frame };
        let Some(n) = &self.negotiated else { return };
        let (to, sends) = (n.remote_rtp, n.direction.sends());
        self.traversal.iter_mut().for_each(|t| t.tick(now));
        for packet in self.outbound.capture(now, frame, sends) {
            self.transmit_rtp(to, packet);
        }
    }

    /// Gives the 20 ms of 48 kHz mono to be heard from `now` on; silence when there is nothing.
    pub fn play(&mut self, now: Instant, out: &mut [i16; PLAYOUT_FRAME]) {
        self.inbound.play(now, out);
        self.output_level.update(out);
    }

    /// Queues a digit (`0`-`9`, `*`, `#`, `A`-`D`) of `ms` milliseconds.
    ///
    /// # Errors
    /// [`MediaError::Dtmf`] when it is no digit, too many wait, or the far end takes none.
    pub fn send_dtmf(&mut self, _now: Instant, digit: char, ms: u32) -> Result<(), MediaError> {
        if self.must_be_silent() {
            return Err(MediaError::Dtmf { digit });
        }
        self.outbound.push_digit(digit, ms).ok_or(MediaError::Dtmf { digit })
    }

    /// Holds or resumes: the next offer or answer says so. Nothing is sent while we hold.
    pub fn set_hold(&mut self, hold: bool) {
        self.direction = if hold { Direction::SendOnly } else { Direction::SendRecv };
    }

    /// Says goodbye by RTCP. The session may be dropped after its outputs are collected.
    pub fn close(&mut self, now: Instant) {
        if self.negotiated.is_some() {
            self.send_report(now, Some(""));
        }
    }

    /// The next packet to send or event to tell.
    pub fn poll_output(&mut self) -> Option<MediaOutput> {
        self.outputs.pop_front()
    }

    /// When [`Session::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ways = self.traversal.as_ref().and_then(Traversal::poll_timeout);
        let n = self.negotiated.as_ref();
        let report = n.map(|_| self.reports.due());
        let silence = n.filter(|n| n.direction.receives());
        let silence = silence.and_then(|_| self.inbound.silence_deadline());
        let zrtp = self.zrtp.as_ref().and_then(Zrtp::poll_timeout);
        report.into_iter().chain(self.loss.due()).chain(silence).chain(ways).chain(zrtp).min()
    }

    /// Which way audio flows, seen from here; `None` before the first answer.
    pub fn direction(&self) -> Option<Direction> {
        self.negotiated.as_ref().map(|n| n.direction)
    }

    /// What both ends agreed on; `None` before the first answer.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// Whether the far end holds us: it does not want our audio.
    pub fn is_held_by_remote(&self) -> bool {
        self.negotiated.as_ref().is_some_and(|n| !n.direction.sends() && self.direction.sends())
    }

    /// Whether packets are encrypted.
    pub fn is_secure(&self) -> bool {
        self.srtp.is_some()
    }

    /// Where RTP goes.
    pub fn remote_rtp(&self) -> Option<SocketAddr> {
        self.negotiated.as_ref().map(|n| n.remote_rtp)
    }

    /// The figures so far.
    pub fn stats(&self) -> MediaStats {
        let inbound = self.inbound.totals();
        let playout = self.inbound.playout();
        MediaStats {
            codec: self.outbound.codec(),
            receive_codec: playout.map(audio::Playout::kind),
            secure: self.srtp.is_some(),
            packets_sent: self.outbound.packets(),
            bytes_sent: self.outbound.octets(),
            packets_received: inbound.received,
            bytes_received: self.inbound.octets(),
            lost: inbound.lost.max(0) as u64,
            late: playout.map_or(0, |p| p.stats().late),
            discarded: self.inbound.discarded(),
            jitter_ms: inbound.jitter.as_secs_f64() * 1e3,
            rtt_ms: self.reports.round_trip().map(|d| d.as_secs_f64() * 1e3),
            remote_lost: self.reports.remote_lost(),
            remote_jitter_ms: self.outbound.units_to_ms(self.reports.remote_jitter()),
            concealed_ms: self.inbound.concealed().as_millis() as u64,
            time_scaled_ms: playout.map_or(0, |p| p.time_scaled().as_millis() as u64),
            delay_ms: playout.map_or(0.0, |p| p.delay().as_secs_f64() * 1e3),
            input_dbov: self.input_level.dbov(),
            output_dbov: self.output_level.dbov(),
            marks: self.marks,
        }
    }

    fn transmit_rtp(&mut self, to: SocketAddr, mut packet: Vec<u8>) {
        if let Some(srtp) = &mut self.srtp {
            let len = packet.len();
            packet.resize(len + rtp::srtp::MAX_TRAILER, 0);
            match srtp.outbound.protect_rtp(&mut packet, len) {
                Ok(len) => packet.truncate(len),
                Err(_) => return,
            }
        }
        self.transmit(to, packet.into(), false);
    }

    fn push(&mut self, output: MediaOutput) {
        if self.outputs.len() == OUTPUTS_MAX {
            self.outputs.pop_front();
        }
        self.outputs.push_back(output);
    }
}

/// What a session wants from its driver.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaOutput {
    /// Send this datagram.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
        /// From the RTCP port; with `rtcp-mux` it is always false.
        rtcp: bool,
    },
    /// Connect to this TURN server of the traversal's.
    OpenStream {
        /// Which.
        server: u8,
    },
    /// Send by that connection.
    Stream {
        /// Which.
        server: u8,
        /// What.
        bytes: Bytes,
    },
    /// Close it, once what was sent by it is out.
    CloseStream {
        /// Which.
        server: u8,
    },
    /// Tell the application.
    Event(MediaEvent),
    /// Keep this about the far end: the next call's [`Config::zrtp`] is to know it.
    Retain {
        /// The far end.
        zid: rtp::zrtp::Zid,
        /// What replaces what was kept of it.
        retained: rtp::zrtp::Retained,
    },
}

/// What happened on the media path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MediaEvent {
    /// The first packet of audio arrived.
    Connected {
        /// What it is coded with.
        codec: CodecKind,
    },
    /// The far end pressed a key.
    Dtmf(char),
    /// No packet for so long, though the far end should send.
    Silent {
        /// How long.
        after: Duration,
    },
    /// Packets come again after [`MediaEvent::Silent`].
    Resumed,
    /// The far end's source said goodbye (RTCP BYE).
    RemoteLeft,
    /// A description can be written: all candidates are there that were worth waiting for.
    Gathered,
    /// [`Session::trickle`] has something to tell the far end.
    Untold,
    /// ICE chose a way.
    PathSelected {
        /// By an address borrowed from a TURN server.
        relayed: bool,
    },
    /// A translator maps us to another address than before.
    MappingChanged,
    /// The way is dead, and others are tried.
    PathLost,
    /// It stays dead: an ICE restart is wanted.
    RestartWanted,
    /// The far end's consent to be sent to ended (RFC 7675): nothing is sent.
    ConsentEnded,
    /// No way to the far end works.
    PathFailed,
    /// Both ends agreed on keys that nobody else has, if the short string is the same on both.
    Secured(Secured),
    /// They did not: why, or nothing where nobody speaks ZRTP.
    NotSecured(Option<Failure>),
}

/// Figures of a session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MediaStats {
    /// What we send.
    pub codec: Option<CodecKind>,
    /// What we receive.
    pub receive_codec: Option<CodecKind>,
    /// Whether packets are encrypted.
    pub secure: bool,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Packets the network lost.
    pub lost: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Packets refused: not authentic, malformed, of an unknown payload type or source.
    pub discarded: u64,
    /// Interarrival jitter (RFC 3550) of what we receive.
    pub jitter_ms: f64,
    /// Round trip by RTCP.
    pub rtt_ms: Option<f64>,
    /// Packets the far end says it lost.
    pub remote_lost: u64,
    /// Jitter the far end measures.
    pub remote_jitter_ms: f64,
    /// Sound that was invented because packets were missing.
    pub concealed_ms: u64,
    /// Sound removed or added to change the delay.
    pub time_scaled_ms: u64,
    /// How long sound waits in the jitter buffer now.
    pub delay_ms: f64,
    /// Level of what is captured.
    pub input_dbov: f32,
    /// Level of what is heard.
    pub output_dbov: f32,
    /// How packets are marked (DSCP).
    pub marks: Marks,
}

/// Why a description cannot be used, or a command not be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The description cannot be read: 400.
    #[error(transparent)]
    Sdp(#[from] sdp::ParseError),
    /// The two ends do not agree: 488.
    #[error(transparent)]
    OfferAnswer(#[from] OfferAnswerError),
    /// No keys could be agreed on: 488.
    #[error(transparent)]
    Keying(#[from] KeyingError),
    /// This end requires encryption and the description has none: 488.
    #[error("the far end does not encrypt, and this end requires it")]
    SecurityRequired,
    /// The codec could not start.
    #[error(transparent)]
    Audio(#[from] audio::Error),
    /// An answer came without an offer.
    #[error("an answer without an offer")]
    UnexpectedAnswer,
    /// No digit, too many waiting, or the far end takes none.
    #[error("digit {digit:?} cannot be sent")]
    Dtmf {
        /// The digit.
        digit: char,
    },
}

/// Both directions of an encrypted stream.
#[derive(Debug)]
struct Srtp {
    keys: SrtpKeys,
    outbound: SrtpContext,
    inbound: SrtpContext,
}

impl Srtp {
    /// Contexts for `keys`. A direction whose key stays goes on where it was: a fresh context
    /// would forget the roll-over counter and what was replayed.
    fn update(former: Option<Self>, keys: SrtpKeys) -> Result<Self, KeyingError> {
        let refused = |_| KeyingError::NoCommonSuite;
        let (mut outbound, mut inbound) = (None, None);
        if let Some(former) = former.filter(|f| f.keys.suite == keys.suite) {
            outbound = (former.keys.local == keys.local).then_some(former.outbound);
            inbound = (former.keys.remote == keys.remote).then_some(former.inbound);
        }
        let outbound = outbound.map_or_else(|| keys.outbound().map_err(refused), Ok)?;
        let inbound = inbound.map_or_else(|| keys.inbound().map_err(refused), Ok)?;
        Ok(Self { keys, outbound, inbound })
    }
}
