//! Reception statistics of one source (RFC 3550 §6.4.1, Appendices A.1, A.3, A.8).

use std::time::{Duration, Instant};

use crate::rtcp::ReportBlock;
use crate::sequence::sequence_distance;

/// A larger step forward is a restart, not loss (RFC 3550 A.1).
const MAX_DROPOUT: i32 = 3000;
/// A larger step back is a restart, not reordering (RFC 3550 A.1).
const MAX_MISORDER: i32 = 100;

/// Counts what arrives from one synchronisation source. There is no probation (RFC 3550 A.1 with
/// `MIN_SEQUENTIAL` 0): the source was announced in SDP, its first packet already counts.
#[derive(Debug, Clone)]
pub struct Receiver {
    clock_rate: u32,
    epoch: Option<Instant>,
    first: u64,
    highest: u64,
    restart_at: Option<u16>,
    received: u64,
    earlier_expected: u64,
    expected_prior: u64,
    received_prior: u64,
    transit: Option<i64>,
    last_timestamp: u32,
    jitter_x16: u64,
    last_report: Option<(u32, Instant)>,
}

impl Receiver {
    /// A receiver for a payload clock of `clock_rate` Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            epoch: None,
            first: 0,
            highest: 0,
            restart_at: None,
            received: 0,
            earlier_expected: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: None,
            last_timestamp: 0,
            jitter_x16: 0,
            last_report: None,
        }
    }

    /// Counts one packet that arrived at `now` and tells where it belongs.
    pub fn handle_packet(&mut self, now: Instant, sequence: u16, timestamp: u32) -> Arrival {
        let arrival = self.place(now, sequence);
        if arrival != Arrival::Suspicious {
            self.received += 1;
            self.measure_jitter(now, timestamp);
        }
        arrival
    }

    /// Takes in what was received and measured elsewhere since the last packet or count: how many
    /// packets, the newest number among them, and the jitter in sixteenths of the clock. A stream
    /// must have begun here.
    pub fn take_count(&mut self, packets: u64, newest: u16, jitter_x16: u32) {
        let step = sequence_distance((self.highest & 0xffff) as u16, newest);
        if let Ok(step @ 1..) = u64::try_from(step) {
            self.highest += step;
        }
        self.received += packets;
        self.jitter_x16 = jitter_x16.into();
        // The next packet here is the first of a new comparison.
        self.transit = None;
        self.restart_at = None;
    }

    /// The clock rate in Hz, and the jitter in sixteenths of its units (RFC 3550 §6.4.1).
    pub fn clock_and_jitter(&self) -> (u32, u32) {
        (self.clock_rate, u32::try_from(self.jitter_x16).unwrap_or(u32::MAX))
    }

    /// Whether a packet of this number is not older than the newest seen.
    pub fn is_newest(&self, sequence: u16) -> bool {
        self.epoch.is_none() || sequence_distance((self.highest & 0xffff) as u16, sequence) > 0
    }

    /// Remembers a sender report for the next report block: `ntp` is its 64-bit timestamp.
    pub fn handle_sender_report(&mut self, now: Instant, ntp: u64) {
        self.last_report = Some(((ntp >> 16) as u32, now));
    }

    /// A report block about `ssrc` for what came since the last call (RFC 3550 A.3).
    pub fn report_block(&mut self, now: Instant, ssrc: u32) -> ReportBlock {
        let expected = self.expected();
        let in_interval = expected.saturating_sub(self.expected_prior);
        let got = self.received.saturating_sub(self.received_prior);
        (self.expected_prior, self.received_prior) = (expected, self.received);
        let lost = in_interval.saturating_sub(got);
        let fraction_lost = (lost * 256).checked_div(in_interval).unwrap_or(0).min(255) as u8;
        let (last_sr, delay) = self.last_report.map_or((0, 0), |(lsr, at)| {
            (lsr, (now.saturating_duration_since(at).as_secs_f64() * 65536.0) as u32)
        });
        ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            extended_sequence: self.highest as u32,
            jitter: (self.jitter_x16 >> 4) as u32,
            last_sender_report: last_sr,
            delay_since_last: delay,
        }
    }

    /// Totals so far.
    pub fn stats(&self) -> ReceiverStats {
        let jitter = (self.jitter_x16 as f64 / 16.0) / f64::from(self.clock_rate);
        ReceiverStats {
            received: self.received,
            expected: self.expected(),
            lost: self.lost(),
            jitter: Duration::from_secs_f64(jitter),
        }
    }

    fn place(&mut self, now: Instant, sequence: u16) -> Arrival {
        if self.epoch.is_none() {
            self.epoch = Some(now);
            self.restart(sequence);
            return Arrival::InOrder(self.highest);
        }
        let step = sequence_distance((self.highest & 0xffff) as u16, sequence);
        let at = self.highest.wrapping_add_signed(i64::from(step));
        if (1..MAX_DROPOUT).contains(&step) {
            self.highest = at;
            self.restart_at = None;
            Arrival::InOrder(at)
        } else if (-MAX_MISORDER..=0).contains(&step) && at >= self.first {
            Arrival::Late(at)
        } else if self.restart_at == Some(sequence) {
            self.earlier_expected = self.expected();
            self.transit = None;
            self.restart(sequence);
            Arrival::Restarted(self.highest)
        } else {
            self.restart_at = Some(sequence.wrapping_add(1));
            Arrival::Suspicious
        }
    }

    /// Starts counting at `sequence`. One cycle up, so that a packet from before it stays positive.
    fn restart(&mut self, sequence: u16) {
        self.first = 0x1_0000 + u64::from(sequence);
        self.highest = self.first;
        self.restart_at = None;
    }

    fn measure_jitter(&mut self, now: Instant, timestamp: u32) {
        let Some(epoch) = self.epoch else { return };
        // Packets of one frame or one telephone event share a timestamp and say nothing new.
        if self.transit.is_some() && timestamp == self.last_timestamp {
            return;
        }
        let elapsed = now.saturating_duration_since(epoch).as_secs_f64();
        let arrival = (elapsed * f64::from(self.clock_rate)) as i64;
        let transit = arrival - i64::from(timestamp);
        self.last_timestamp = timestamp;
        if let Some(before) = self.transit.replace(transit) {
            // The difference is taken modulo 2^32, as timestamps are.
            let d = u64::from(((transit - before) as i32).unsigned_abs());
            self.jitter_x16 = (self.jitter_x16 + d).saturating_sub((self.jitter_x16 + 8) >> 4);
        }
    }

    fn expected(&self) -> u64 {
        let current = if self.epoch.is_some() { self.highest - self.first + 1 } else { 0 };
        self.earlier_expected + current
    }

    fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }
}

/// Where a packet belongs. The numbers are extended sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The newest so far.
    InOrder(u64),
    /// Overtaken or doubled: not newer than one that came before.
    Late(u64),
    /// The source started again elsewhere: two packets in a row say so.
    Restarted(u64),
    /// Far from everything seen: a stray packet, or the first of a restart. Not counted.
    Suspicious,
}

/// Totals of a [`Receiver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverStats {
    /// Packets that arrived, duplicates included.
    pub received: u64,
    /// Packets the sequence numbers say were sent.
    pub expected: u64,
    /// Expected minus received; negative when duplicates outnumber losses.
    pub lost: i64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(r: &mut Receiver, t0: Instant, packets: impl IntoIterator<Item = (u64, u16)>) {
        for (ms, seq) in packets {
            r.handle_packet(t0 + Duration::from_millis(ms), seq, u32::from(seq).wrapping_mul(160));
        }
    }

    #[test]
    fn loss_is_counted_across_the_wrap() {
        let (t0, mut r) = (sansio::testing::epoch(), Receiver::new(8000));
        feed(&mut r, t0, [(0, 65533), (20, 65534), (60, 0), (80, 1)]);
        let stats = r.stats();
        assert_eq!((stats.received, stats.expected, stats.lost), (4, 5, 1));
        let block = r.report_block(t0, 1);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (51, 1));
        assert_eq!(r.report_block(t0, 1).fraction_lost, 0, "nothing new since");
    }

    #[test]
    fn an_even_stream_has_no_jitter_and_an_uneven_one_has() {
        let (t0, mut r) = (sansio::testing::epoch(), Receiver::new(8000));
        feed(&mut r, t0, (0..50).map(|i| (20 * i, i as u16)));
        assert_eq!(r.stats().jitter, Duration::ZERO);
        feed(&mut r, t0, (50..400).map(|i| (20 * i + 10 * (i % 2), i as u16)));
        let ms = r.stats().jitter.as_secs_f64() * 1e3;
        assert!((9.0..10.5).contains(&ms), "{ms}");
    }

    #[test]
    fn a_restart_is_believed_on_its_second_packet() {
        let (t0, mut r) = (sansio::testing::epoch(), Receiver::new(8000));
        feed(&mut r, t0, [(0, 10), (20, 11)]);
        assert_eq!(r.handle_packet(t0, 40_000, 0), Arrival::Suspicious);
        assert!(matches!(r.handle_packet(t0, 40_001, 160), Arrival::Restarted(_)));
        assert_eq!(r.stats().received, 3);
        assert_eq!(r.stats().lost, 0);
        assert!(matches!(r.handle_packet(t0, 40_001, 160), Arrival::Late(_)));
    }

    #[test]
    fn what_was_counted_elsewhere_goes_on_from_here_and_back() {
        let (t0, mut r) = (sansio::testing::epoch(), Receiver::new(8000));
        feed(&mut r, t0, [(0, 65_530), (20, 65_531)]);
        // 100 numbers on, two of them lost.
        r.take_count(98, 95, 320);
        let stats = r.stats();
        assert_eq!((stats.received, stats.expected, stats.lost), (100, 102, 2));
        assert_eq!(stats.jitter, Duration::from_micros(2500));
        assert_eq!(r.handle_packet(t0 + Duration::from_secs(3), 96, 0), Arrival::InOrder(131_168));
        assert_eq!(r.stats().jitter, Duration::from_micros(2500), "nothing to compare with");
    }

    #[test]
    fn a_report_block_names_the_last_sender_report() {
        let (t0, mut r) = (sansio::testing::epoch(), Receiver::new(8000));
        feed(&mut r, t0, [(0, 1)]);
        r.handle_sender_report(t0, 0x1111_2222_3333_4444);
        let block = r.report_block(t0 + Duration::from_millis(500), 5);
        assert_eq!((block.last_sender_report, block.delay_since_last), (0x2222_3333, 32768));
    }
}
