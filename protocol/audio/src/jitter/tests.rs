use super::*;

const FRAME: u32 = 160;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

struct Bench {
    buffer: JitterBuffer,
    t0: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { buffer: JitterBuffer::new(8000), t0: sansio::testing::epoch() }
    }

    fn push(&mut self, at: u64, sequence: u16, timestamp: u32) -> Pushed {
        let payload = timestamp.to_be_bytes();
        let packet = Packet { sequence, timestamp, duration: FRAME, payload: &payload };
        self.buffer.push(self.t0 + ms(at), &packet)
    }

    /// The timestamp that is played, or what is missing.
    fn pop(&mut self, at: u64) -> Option<u32> {
        match self.buffer.pop(self.t0 + ms(at), Duration::ZERO) {
            Popped::Payload(p) => Some(u32::from_be_bytes([p[0], p[1], p[2], p[3]])),
            Popped::Missing { .. } | Popped::Waiting => None,
        }
    }

    /// Sends `n` packets in time from number and timestamp, playing along; what was heard.
    fn stream(&mut self, at: u64, n: u64, sequence: u16, timestamp: u32) -> Vec<Option<u32>> {
        (0..n)
            .map(|i| {
                let (seq, ts) = (i as u16, i as u32 * FRAME);
                self.push(at + 20 * i, sequence.wrapping_add(seq), timestamp.wrapping_add(ts));
                self.pop(at + 20 * i + 1)
            })
            .collect()
    }
}

#[test]
fn order_is_restored_and_doubles_are_dropped() {
    let mut b = Bench::new();
    assert_eq!(b.push(0, 10, 0), Pushed::Held);
    assert_eq!(b.push(5, 12, 320), Pushed::Held);
    assert_eq!(b.push(6, 12, 320), Pushed::Duplicate);
    assert_eq!(b.push(9, 11, 160), Pushed::Held);
    assert_eq!(b.pop(10), None, "the first waits 20 ms");
    assert_eq!([b.pop(25), b.pop(45), b.pop(65)], [Some(0), Some(160), Some(320)]);
    assert_eq!(b.buffer.stats().lost, 0);
    assert_eq!(b.buffer.stats().duplicates, 1);
}

#[test]
fn sequence_and_timestamp_wrap_unnoticed() {
    let mut b = Bench::new();
    let heard = b.stream(0, 20, 65_530, u32::MAX - 5 * FRAME + 1);
    assert!(heard[2..].iter().all(Option::is_some), "{heard:?}");
    assert_eq!((b.buffer.stats().lost, b.buffer.stats().late), (0, 0));
}

#[test]
fn a_lost_packet_costs_its_own_time_and_offers_the_next_for_repair() {
    let mut b = Bench::new();
    b.push(0, 0, 0);
    b.push(1, 2, 2 * FRAME);
    assert_eq!(b.pop(25), Some(0));
    let gap = b.buffer.pop(b.t0 + ms(45), Duration::ZERO);
    assert!(matches!(gap, Popped::Missing { samples: FRAME, next: Some(_) }), "{gap:?}");
    assert_eq!(b.pop(65), Some(2 * FRAME));
    let stats = b.buffer.stats();
    assert_eq!((stats.lost, stats.concealed_samples), (1, 160));
}

#[test]
fn silence_that_was_not_sent_is_no_loss() {
    let mut b = Bench::new();
    b.stream(0, 10, 0, 0);
    for i in 10..40 {
        b.pop(20 * i + 1);
    }
    let heard = b.stream(800, 10, 10, 40 * FRAME);
    assert!(heard[2..].iter().all(Option::is_some), "{heard:?}");
    assert_eq!((b.buffer.stats().lost, b.buffer.stats().concealed_samples), (0, 0));
}

#[test]
fn packets_of_another_kind_leave_no_hole() {
    let mut b = Bench::new();
    b.stream(0, 10, 0, 0);
    for i in 10..20 {
        b.buffer.skip(i as u16);
        b.pop(20 * i + 1);
    }
    b.stream(400, 10, 20, 20 * FRAME);
    assert_eq!((b.buffer.stats().lost, b.buffer.stats().concealed_samples), (0, 0));
}

#[test]
fn another_stream_begins_at_once() {
    for (sequence, timestamp) in [(40_000, 5), (11, 3_000_000_000), (10, 1 << 20)] {
        let mut b = Bench::new();
        b.stream(0, 10, 0, 0);
        let heard = b.stream(200, 10, sequence, timestamp);
        assert!(heard[3..].iter().all(Option::is_some), "{sequence} {timestamp}: {heard:?}");
    }
}

#[test]
fn after_an_outage_the_first_packet_is_played_in_its_time() {
    let mut b = Bench::new();
    b.stream(0, 50, 0, 0);
    for i in 50..100 {
        b.pop(20 * i + 1);
    }
    let heard = b.stream(2000, 10, 100, 100 * FRAME);
    assert!(heard[2..].iter().all(Option::is_some), "{heard:?}");
    assert_eq!(b.buffer.stats().late, 0);
}

#[test]
fn no_flood_is_held() {
    let mut b = Bench::new();
    for i in 0..5000_u32 {
        b.push(u64::from(i / 100), i as u16, i * FRAME);
    }
    assert!(b.buffer.held.len() <= HELD_MAX);
    assert!(b.buffer.stats().overflowed > 4000);
}
