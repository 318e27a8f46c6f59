//! What a leg's peer tells of what is sent to it: how much is lost, how long it takes, and whether the
//! marks of packets come through (docs/design/0126-marks-that-arrive-are-told.md,
//! docs/design/0127-reports-are-read-on-their-way.md).
//!
//! ```text
//!   peer ── SR, RR, XR, REMB, TWCC, marks ──► Feedback ──► the call's figures
//!                     │ as they came, without marks        └─► BridgeEvent::MarksLost, once each way
//!                     ▼
//!                 other leg
//! ```
//!
//! Read where they lie; a leg that hears of anything has one small box for it, from its first report on.

use std::time::{Duration, Instant};

use rtp::rtcp::{Marks, ReportBlock, Told};

use super::{Bridge, BridgeEvent, Forward, Leg, LegId, Port};

/// Sender reports passed to the peer that it may still refer to: it names the last, and one or two are
/// on their way.
const SENT_MAX: usize = 4;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Feedback {
    /// Reports of reception.
    pub reports: u64,
    /// Packets lost since the start, as the last one says.
    pub lost: i64,
    /// The share lost before the last report, in 1/256.
    pub fraction_lost: u8,
    /// Jitter of the last one, in units of the codec's clock.
    pub jitter: u32,
    /// From us to the peer and back.
    pub round_trip: Option<Duration>,
    /// What a listener would say (RFC 3611 §4.7).
    pub mos: Option<f64>,
    /// The most bits per second that the peer can take (REMB).
    pub max_bitrate: Option<u64>,
    /// Packets that transport-wide feedback spoke of, and those of them that did not come.
    pub transport: (u64, u64),
    /// What a phone of ours says of marks.
    pub marks: Option<Marks>,
    /// Sender reports that went to the peer, newest last.
    sent: [Option<(u32, Instant)>; SENT_MAX],
    told: Bleached,
}

/// Marks that do not come through as they were put on packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bleached {
    /// Of what comes from the peer.
    pub from: bool,
    /// Of what goes to the peer.
    pub toward: bool,
}

impl Feedback {
    /// The share of packets lost, in percent.
    pub fn loss_percent(&self) -> f64 {
        f64::from(self.fraction_lost) * 100.0 / 256.0
    }

    fn hear(&mut self, now: Instant, told: Told, first: &mut bool) {
        match told {
            Told::Block(block) => {
                self.round_trip = self.round_trip_by(now, &block).or(self.round_trip);
                // The stream's own stands first; others are of what repairs it.
                if std::mem::take(first) {
                    self.reports += 1;
                    self.lost = block.cumulative_lost.into();
                    self.fraction_lost = block.fraction_lost;
                    self.jitter = block.jitter;
                }
            }
            Told::Voip(metrics) => self.mos = metrics.mos_lq.or(self.mos),
            Told::MaxBitrate(bits) => self.max_bitrate = Some(bits),
            Told::Transport { packets, lost } => {
                self.transport.0 += u64::from(packets);
                self.transport.1 += u64::from(lost);
            }
            Told::Marks(marks) => self.marks = Some(marks),
            Told::Sender { .. } => {}
        }
    }

    /// By a report that went through us: when it went is known, and how long the peer kept it.
    fn round_trip_by(&self, now: Instant, block: &ReportBlock) -> Option<Duration> {
        let is_it = |sent: &&(u32, Instant)| sent.0 == block.last_sender_report;
        let (_, at) = self.sent.iter().flatten().rev().find(is_it)?;
        let kept = Duration::from_secs_f64(f64::from(block.delay_since_last) / 65_536.0);
        now.saturating_duration_since(*at).checked_sub(kept)
    }

    fn note_sent(&mut self, now: Instant, ntp_middle: u32) {
        self.sent.rotate_left(1);
        self.sent[SENT_MAX - 1] = Some((ntp_middle, now));
    }
}

impl Leg {
    /// What the peer tells; nothing before its first report.
    pub fn feedback(&self) -> Option<&Feedback> {
        self.feedback.as_deref()
    }

    /// Which marks are lost: known where a phone of ours speaks of them.
    pub fn bleached(&self) -> Bleached {
        let Some(marks) = self.feedback().and_then(|f| f.marks) else { return Bleached::default() };
        let differs = |sent: Option<u8>, arrived: Option<u8>| {
            sent.filter(|sent| *sent != 0)
                .zip(arrived)
                .is_some_and(|(sent, arrived)| sent != arrived)
        };
        Bleached {
            from: differs(marks.sent, self.counters.tos.map(|tos| tos >> 2)),
            toward: differs(Some(self.tos >> 2), marks.arrived),
        }
    }

    /// Takes what the peer's compound says; which loss of marks is new with it.
    fn hear(&mut self, now: Instant, compound: &[u8]) -> Option<Bleached> {
        let feedback = self.feedback.get_or_insert_default();
        let mut first = true;
        rtp::rtcp::told(compound, |told| feedback.hear(now, told, &mut first));
        let (before, now) = (feedback.told, self.bleached());
        let new = Bleached { from: now.from && !before.from, toward: now.toward && !before.toward };
        if new == Bleached::default() {
            return None;
        }
        let told = Bleached { from: now.from || before.from, toward: now.toward || before.toward };
        self.feedback.iter_mut().for_each(|feedback| feedback.told = told);
        Some(new)
    }

    /// A compound goes to the peer: its answer will name the sender report in it.
    pub(super) fn note_report_sent(&mut self, now: Instant, compound: &[u8]) {
        rtp::rtcp::told(compound, |told| {
            if let Told::Sender { ntp_middle, .. } = told {
                self.feedback.get_or_insert_default().note_sent(now, ntp_middle);
            }
        });
    }
}

impl Bridge {
    /// Passes a clear compound of a leg's on, read and where needed rewritten on its way.
    pub(super) fn pass_rtcp(
        &mut self,
        now: Instant,
        from: LegId,
        buf: &mut [u8],
        len: usize,
    ) -> Option<Forward> {
        let len = self.hear_report(now, from, &buf[..len]);
        self.copy_rtcp(now, from, &buf[..len]);
        self.process_rtcp(now, from, &mut buf[..len]);
        let (target, leg) = self.target(from)?;
        leg.note_report_sent(now, &buf[..len]);
        let (to, len, component) = leg.send_rtcp(now, buf, len)?;
        let port = Port { leg: target, component };
        Some(Forward { port, source: leg.source_of(component), tos: leg.tos, to, len })
    }

    /// Reads a compound of a leg's; how much of it goes on. Marks are of one hop.
    fn hear_report(&mut self, now: Instant, from: LegId, compound: &[u8]) -> usize {
        if let Some(new) = self.leg_mut(from).and_then(|leg| leg.hear(now, compound)) {
            let Bleached { from: inbound, toward: outbound } = new;
            self.events.push_back(BridgeEvent::MarksLost { leg: from, inbound, outbound });
        }
        rtp::rtcp::without_marks(compound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_9_the_round_trip_is_from_us_to_the_peer_and_back() {
        let start = sansio::testing::epoch();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut feedback = Feedback::default();
        for n in 1..=6 {
            feedback.note_sent(at(u64::from(n) * 100), n);
        }
        let block = |last_sender_report, kept_ms: u32| ReportBlock {
            last_sender_report,
            delay_since_last: kept_ms * 65_536 / 1000,
            ..ReportBlock::default()
        };
        let mut first = true;
        feedback.hear(at(740), Told::Block(block(6, 100)), &mut first);
        let ms = feedback.round_trip.unwrap().as_secs_f64() * 1e3;
        assert!((39.0..42.0).contains(&ms), "{ms}");
        // Too old, a lie, and none at all: what was known stays.
        for block in [block(2, 0), block(6, 5000), block(0, 0)] {
            feedback.hear(at(800), Told::Block(block), &mut first);
            assert_eq!(feedback.round_trip.unwrap().as_secs_f64() * 1e3, ms);
        }
        assert_eq!(feedback.reports, 1, "further blocks are of other streams");
    }
}
