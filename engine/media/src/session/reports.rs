//! RTCP: reports out every five seconds or so, or when loss is heard that the far end must know of;
//! reports in.

use std::time::{Duration, Instant};

use rtp::rtcp::{self, Item, Marks, Report, ReportBlock, SenderInfo};
use sansio::{Entropy, SeededEntropy, WallTime};

use super::{MediaEvent, MediaOutput, Session};

/// Longer than any compound we write.
const BUFFER: usize = 512;

/// The RTCP side of a session.
#[derive(Debug)]
pub(super) struct Reports {
    started: Instant,
    wall: WallTime,
    cname: String,
    entropy: SeededEntropy,
    due: Instant,
    round_trip: Option<Duration>,
    remote: ReportBlock,
    packets_at_last: u64,
}

impl Reports {
    pub(super) fn new(
        started: Instant,
        wall: WallTime,
        cname: String,
        entropy: SeededEntropy,
    ) -> Self {
        let mut this = Self {
            started,
            wall,
            cname,
            entropy,
            due: started,
            round_trip: None,
            remote: ReportBlock::default(),
            packets_at_last: 0,
        };
        // The first comes after half the interval (RFC 3550 §6.2).
        this.due = started + this.interval() / 2;
        this
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// The next one is due now: what it says cannot wait.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = self.due.min(now);
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(super) fn remote_lost(&self) -> u64 {
        u64::try_from(self.remote.cumulative_lost).unwrap_or(0)
    }

    pub(super) fn remote_jitter(&self) -> u32 {
        self.remote.jitter
    }

    /// Half to one and a half times five seconds (RFC 3550 §6.3.1).
    fn interval(&mut self) -> Duration {
        let percent = 50 + (self.entropy.next_u64() % 101) as u32;
        rtcp::INTERVAL * percent / 100
    }

    /// NTP time with microseconds, though the wall clock is only told in milliseconds.
    fn ntp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started);
        let fraction = u64::from(since.subsec_nanos()) << 32;
        rtcp::ntp(self.wall)
            .wrapping_add((since.as_secs() << 32).wrapping_add(fraction / 1_000_000_000))
    }
}

impl Session {
    pub(super) fn send_report(&mut self, now: Instant, bye: Option<&str>) {
        let interval = self.reports.interval();
        self.reports.due = now + interval;
        if self.must_be_silent() {
            return;
        }
        let Some((to, mux)) = self.negotiated.as_ref().map(|n| (n.remote_rtcp, n.rtcp_mux)) else {
            return;
        };
        let blocks: Vec<ReportBlock> = self.inbound.report_block(now).into_iter().collect();
        let packets = self.outbound.packets();
        let sent = packets > self.reports.packets_at_last;
        self.reports.packets_at_last = packets;
        let sender = sent.then(|| SenderInfo {
            ntp: self.reports.ntp(now),
            rtp_timestamp: self.outbound.timestamp_at(now),
            packets: packets as u32,
            octets: self.outbound.octets() as u32,
        });
        let cname = &self.reports.cname;
        let report = Report { ssrc: self.outbound.ssrc(), sender, blocks: &blocks, cname, bye };
        let mut buf = vec![0; BUFFER];
        let written = report.write(&mut buf).map(|len| match bye {
            // A BYE is the last that is said (RFC 3550 §6.1).
            Some(_) => len,
            None => append_marks(&mut buf, len, self.marks, self.outbound.ssrc()),
        });
        let written = written.and_then(|len| match &mut self.srtp {
            Some(srtp) => srtp.outbound.protect_rtcp(&mut buf, len),
            None => Ok(len),
        });
        if let Ok(len) = written {
            buf.truncate(len);
            self.traversal.iter_mut().for_each(|t| t.tick(now));
            self.transmit(to, buf.into(), !mux);
        }
    }

    pub(super) fn handle_rtcp(&mut self, now: Instant, buf: &mut [u8]) {
        let insists = self.insists_on_keys();
        let len = match &mut self.srtp {
            Some(srtp) => srtp.inbound.unprotect_rtcp(buf, buf.len()),
            None if insists => return,
            None => Ok(buf.len()),
        };
        let Ok(items) = len.and_then(|len| rtcp::parse(&buf[..len])) else {
            return self.inbound.discard();
        };
        for item in items {
            match item {
                Item::Report { ssrc, sender, blocks } => {
                    if let Some(sender) = sender {
                        self.inbound.handle_sender_report(now, ssrc, sender.ntp);
                    }
                    let ours = self.outbound.ssrc();
                    if let Some(block) = blocks.into_iter().find(|b| b.ssrc == ours) {
                        self.handle_block(now, block);
                    }
                }
                Item::Bye { ssrcs } if ssrcs.iter().any(|s| self.inbound.is_source(*s)) => {
                    self.push(MediaOutput::Event(MediaEvent::RemoteLeft));
                }
                _ => {}
            }
        }
    }

    fn handle_block(&mut self, now: Instant, block: ReportBlock) {
        let round_trip = block.round_trip(self.reports.ntp(now));
        self.reports.round_trip = round_trip.or(self.reports.round_trip);
        self.outbound.note_loss(block.fraction_lost);
        self.note_loss(now, (u32::from(block.fraction_lost) * 100 / 256) as u8);
        self.reports.remote = block;
    }
}

/// Puts what is known of marks behind a report; its length then.
fn append_marks(buf: &mut [u8], len: usize, marks: Marks, ssrc: u32) -> usize {
    let room = buf.get_mut(len..len + Marks::LEN).filter(|_| marks != Marks::default());
    let Some(room) = room else { return len };
    room.copy_from_slice(&marks.packet(ssrc));
    len + Marks::LEN
}
