//! What we receive: one source at a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audio::{CodecKind, PLAYOUT_FRAME, Playout};
use rtp::dtmf::{self, DtmfEvent};
use rtp::{Arrival, ReceiverStats, RtpPacket};
use sdp::Direction;
use sdp::offer_answer::Format;

use super::{MediaEvent, MediaOutput, Session};

/// RFC 3389 comfort noise at 8 kHz.
const COMFORT_NOISE: u8 = 13;
/// Plain RTP from another address is believed when the known one was silent this long.
const RELATCH_AFTER: Duration = Duration::from_secs(1);

/// One RTP stream in.
#[derive(Debug)]
pub(super) struct Inbound {
    codecs: Vec<Format>,
    events: Vec<Format>,
    source: Option<Source>,
    earlier: ReceiverStats,
    earlier_concealed: Duration,
    octets: u64,
    discarded: u64,
    receives: bool,
    silence_after: Duration,
    quiet_since: Option<Instant>,
    silent: bool,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    from: SocketAddr,
    last_at: Instant,
    receiver: rtp::Receiver,
    dtmf: dtmf::Receiver,
    playout: Option<Playout>,
}

impl Inbound {
    pub(super) fn new(silence_after: Duration) -> Self {
        Self {
            codecs: Vec::new(),
            events: Vec::new(),
            source: None,
            earlier: ReceiverStats::default(),
            earlier_concealed: Duration::ZERO,
            octets: 0,
            discarded: 0,
            receives: true,
            silence_after,
            quiet_since: None,
            silent: false,
        }
    }

    pub(super) fn accept_formats(&mut self, codecs: &[Format], events: &[Format]) {
        self.codecs = codecs.to_vec();
        self.events = events.to_vec();
    }

    pub(super) fn configure(&mut self, now: Instant, direction: Direction) {
        if direction.receives() && (!self.receives || self.quiet_since.is_none()) {
            self.quiet_since = Some(now);
            self.silent = false;
        }
        self.receives = direction.receives();
    }

    pub(super) fn play(&mut self, now: Instant, out: &mut [i16; PLAYOUT_FRAME]) {
        match self.source.as_mut().and_then(|s| s.playout.as_mut()) {
            Some(playout) => playout.pull(now, out),
            None => out.fill(0),
        }
        if !self.receives {
            out.fill(0);
        }
    }

    /// Takes a packet; `trusted` when SRTP proved it or it comes from the announced address. Gives what it means to the application.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &RtpPacket<'_>,
        trusted: bool,
    ) -> Vec<MediaEvent> {
        let mut happened = Vec::new();
        let Some(format) = self.format(packet.payload_type()) else {
            self.discarded += 1;
            return happened;
        };
        let rate = format.map_or(8000, CodecKind::clock_rate);
        if !self.select_source(now, from, packet, rate, trusted) {
            self.discarded += 1;
            return happened;
        }
        let Some(source) = &mut self.source else { return happened };
        self.octets += packet.payload().len() as u64;
        self.quiet_since = Some(now);
        if std::mem::take(&mut self.silent) {
            happened.push(MediaEvent::Resumed);
        }
        let arrival = source.receiver.handle_packet(now, packet.sequence(), packet.timestamp());
        match arrival {
            Arrival::Suspicious => return happened,
            Arrival::Restarted(_) => source.playout.iter_mut().for_each(Playout::reset),
            Arrival::InOrder(_) | Arrival::Late(_) => {}
        }
        match format {
            Some(kind) => {
                source.audio(now, kind, packet, &mut happened, &mut self.earlier_concealed);
            }
            None => source.other(packet, &mut happened),
        }
        happened
    }

    /// The event to tell when nothing came for too long.
    pub(super) fn watch_silence(&mut self, now: Instant, receives: bool) -> Option<MediaEvent> {
        let since = self.quiet_since?;
        if self.silent || !receives || now < since + self.silence_after {
            return None;
        }
        self.silent = true;
        Some(MediaEvent::Silent { after: self.silence_after })
    }

    pub(super) fn silence_deadline(&self) -> Option<Instant> {
        self.quiet_since.filter(|_| !self.silent).map(|since| since + self.silence_after)
    }

    /// A report block about the source, if there is one.
    pub(super) fn report_block(&mut self, now: Instant) -> Option<rtp::rtcp::ReportBlock> {
        let source = self.source.as_mut()?;
        Some(source.receiver.report_block(now, source.ssrc))
    }

    pub(super) fn handle_sender_report(&mut self, now: Instant, ssrc: u32, ntp: u64) {
        if let Some(source) = self.source.as_mut().filter(|s| s.ssrc == ssrc) {
            source.receiver.handle_sender_report(now, ntp);
        }
    }

    pub(super) fn is_source(&self, ssrc: u32) -> bool {
        self.source.as_ref().is_some_and(|s| s.ssrc == ssrc)
    }

    pub(super) fn playout(&self) -> Option<&Playout> {
        self.source.as_ref()?.playout.as_ref()
    }

    pub(super) fn concealed(&self) -> Duration {
        self.earlier_concealed + self.playout().map_or(Duration::ZERO, Playout::concealed)
    }

    pub(super) fn totals(&self) -> ReceiverStats {
        let now = self.source.as_ref().map(|s| s.receiver.stats()).unwrap_or_default();
        add(self.earlier, now)
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) fn discarded(&self) -> u64 {
        self.discarded
    }

    pub(super) fn discard(&mut self) {
        self.discarded += 1;
    }

    /// What a payload type is: a codec, `Some(None)` for events and comfort noise, or unknown.
    fn format(&self, payload_type: u8) -> Option<Option<CodecKind>> {
        let is_it = |f: &&Format| f.map.payload_type == payload_type;
        if let Some(format) = self.codecs.iter().find(is_it) {
            return CodecKind::from_encoding_name(&format.map.encoding).map(Some);
        }
        let other = payload_type == COMFORT_NOISE || self.events.iter().any(|f| is_it(&f));
        other.then_some(None)
    }

    /// Decides whether a packet's source is the one we hear, or becomes it. A new source is
    /// believed when it is trusted, comes from the address heard so far, or that one fell silent.
    fn select_source(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &RtpPacket<'_>,
        rate: u32,
        trusted: bool,
    ) -> bool {
        if let Some(source) = &mut self.source {
            let silent = now.saturating_duration_since(source.last_at) >= RELATCH_AFTER;
            if source.from != from && !trusted && !silent {
                return false;
            }
            if source.ssrc == packet.ssrc() {
                (source.from, source.last_at) = (from, now);
                return true;
            }
            self.earlier = add(self.earlier, source.receiver.stats());
            let concealed = source.playout.as_ref().map(Playout::concealed);
            self.earlier_concealed += concealed.unwrap_or_default();
        }
        self.source = Some(Source {
            ssrc: packet.ssrc(),
            from,
            last_at: now,
            receiver: rtp::Receiver::new(rate),
            dtmf: dtmf::Receiver::new(),
            playout: None,
        });
        true
    }
}

impl Source {
    fn audio(
        &mut self,
        now: Instant,
        kind: CodecKind,
        packet: &RtpPacket<'_>,
        happened: &mut Vec<MediaEvent>,
        concealed: &mut Duration,
    ) {
        // Audio after a digit whose end was lost ends it.
        self.dtmf.finish();
        if self.playout.as_ref().is_none_or(|p| p.kind() != kind) {
            if self.playout.is_none() {
                happened.push(MediaEvent::Connected { codec: kind });
            }
            *concealed += self.playout.as_ref().map(Playout::concealed).unwrap_or_default();
            self.playout = Playout::new(kind).ok();
        }
        if let Some(playout) = &mut self.playout {
            playout.push(now, packet.sequence(), packet.timestamp(), packet.payload());
        }
    }

    fn other(&mut self, packet: &RtpPacket<'_>, happened: &mut Vec<MediaEvent>) {
        if let Some(playout) = &mut self.playout {
            playout.skip(packet.sequence());
        }
        if packet.payload_type() == COMFORT_NOISE {
            let level = packet.payload().first().map_or(-127.0, |level| -f32::from(level & 0x7f));
            self.playout.iter_mut().for_each(|p| p.comfort_noise(level));
            return;
        }
        for event in self.dtmf.handle_payload(packet.timestamp(), packet.payload()) {
            if let Some(DtmfEvent::Started(digit)) = event {
                happened.push(MediaEvent::Dtmf(digit));
            }
        }
    }
}

impl Session {
    pub(super) fn handle_rtp(&mut self, now: Instant, from: SocketAddr, buf: &mut [u8]) {
        let taken_up = if self.srtp.is_none() { self.take_up_pending(buf) } else { None };
        let insists = self.insists_on_keys();
        let len = match (&mut self.srtp, taken_up) {
            (_, Some(len)) => Ok(len),
            (Some(srtp), None) => srtp.inbound.unprotect_rtp(buf, buf.len()),
            // Before the keys are known nothing can be told from noise.
            (None, None) if insists => return,
            (None, None) => Ok(buf.len()),
        };
        let packet = len.and_then(|len| RtpPacket::parse(&buf[..len]));
        let Ok(packet) = packet else { return self.inbound.discard() };
        let announced = self.negotiated.as_ref().is_some_and(|n| n.remote_rtp == from);
        let trusted = announced || self.srtp.is_some();
        for event in self.inbound.handle(now, from, &packet, trusted) {
            self.push(MediaOutput::Event(event));
        }
    }
}

fn add(a: ReceiverStats, b: ReceiverStats) -> ReceiverStats {
    ReceiverStats {
        received: a.received + b.received,
        expected: a.expected + b.expected,
        lost: a.lost + b.lost,
        jitter: b.jitter,
    }
}
