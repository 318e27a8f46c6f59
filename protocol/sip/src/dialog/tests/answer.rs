//! 2xx retransmission and glare.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sansio::SeededEntropy;

use crate::dialog::{Answer, AnswerOutcome, Glare, Role, Verdict, retry_after_491};

fn answer(now: Instant) -> Answer {
    let (t1, t2) = (Duration::from_millis(500), Duration::from_secs(4));
    Answer::new(now, Bytes::from_static(b"200"), 10, t1, t2)
}

/// When the 2xx is sent again, in ms, if the ACK comes at `ack_ms`.
fn schedule(ack_ms: u128) -> (Vec<u128>, Option<AnswerOutcome>) {
    let start = sansio::testing::epoch();
    let mut answer = answer(start);
    let mut sent = Vec::new();
    while let Some(at) = answer.poll_timeout() {
        let ms = (at - start).as_millis();
        if ms >= ack_ms {
            assert!(!answer.handle_ack(9), "the ACK of another INVITE");
            assert!(answer.handle_ack(10));
            break;
        }
        answer.handle_timeout(at);
        sent.extend(answer.poll_transmit().map(|_| ms));
    }
    (sent, answer.outcome())
}

#[test]
fn a_2xx_is_sent_until_its_ack_comes() {
    let (sent, outcome) = schedule(4000);
    assert_eq!(sent, [500, 1500, 3500]);
    assert_eq!(outcome, Some(AnswerOutcome::Acknowledged));
}

#[test]
fn without_an_ack_it_gives_up_at_64_t1() {
    let (sent, outcome) = schedule(u128::MAX);
    assert_eq!(sent, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(outcome, Some(AnswerOutcome::Unacknowledged));
}

#[test]
fn a_late_ack_does_not_revive_it() {
    let start = sansio::testing::epoch();
    let mut answer = answer(start);
    answer.handle_timeout(start + Duration::from_secs(32));
    assert!(answer.handle_ack(10));
    assert_eq!(answer.outcome(), Some(AnswerOutcome::Unacknowledged));
    assert_eq!((answer.poll_timeout(), answer.poll_transmit()), (None, None));
}

#[test]
fn glare_is_answered_491_or_500() {
    let mut entropy = SeededEntropy::new(3);
    assert_eq!(Glare::default().judge(&mut entropy), Verdict::Accept);
    let ours = Glare { ours: true, theirs: false };
    assert_eq!(ours.judge(&mut entropy), Verdict::RequestPending);
    let theirs = Glare { ours: false, theirs: true };
    for _ in 0..50 {
        let Verdict::RetryAfter { seconds } = theirs.judge(&mut entropy) else { panic!() };
        assert!(seconds <= 10);
    }
    assert!(Glare::default().may_offer() && !ours.may_offer() && !theirs.may_offer());
}

#[test]
fn the_two_sides_of_a_glare_never_wait_equally_long() {
    let mut entropy = SeededEntropy::new(4);
    for _ in 0..200 {
        let owner = retry_after_491(Role::Uac, &mut entropy).as_millis();
        let other = retry_after_491(Role::Uas, &mut entropy).as_millis();
        assert!((2100..=4000).contains(&owner) && other <= 2000);
        assert_eq!((owner % 10, other % 10), (0, 0));
    }
}
