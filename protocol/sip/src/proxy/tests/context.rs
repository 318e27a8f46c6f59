//! RFC 3261 §16.7, §16.8, §16.10.

use super::{Action, Fork};
use crate::proxy::Refusal;
use crate::{HeaderName, Method};

#[test]
fn provisionals_pass_and_100_does_not() {
    let mut fork = Fork::new(Method::INVITE, 2);
    assert_eq!(fork.answer(1, 100), [""; 0]);
    assert_eq!(fork.answer(1, 180), ["180 by 1"]);
    assert_eq!(fork.answer(2, 183), ["183 by 2"]);
}

#[test]
fn the_first_2xx_wins_and_the_others_are_cancelled_with_the_reason() {
    let mut fork = Fork::new(Method::INVITE, 3);
    let ok = fork.response(2, 200).build();
    fork.context.handle_response(fork.now, &2, ok);
    let mut reasons = Vec::new();
    while let Some(action) = fork.context.poll_action() {
        if let Action::Cancel { branch, reason } = action {
            reasons.push((branch, reason.unwrap()));
        }
    }
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"".to_owned();
    assert_eq!(reasons, [(1, reason.clone()), (3, reason)]);
    assert_eq!(fork.context.winner(), Some(&2));
    assert_eq!(fork.answer(1, 487), [""; 0]);
    assert_eq!(fork.answer(3, 487), ["done"]);
    assert!(fork.context.is_done());
}

#[test]
fn two_answers_within_milliseconds_both_go_upstream() {
    let mut fork = Fork::new(Method::INVITE, 2);
    assert_eq!(fork.answer(1, 200), ["200 by 1", "cancel 2"]);
    assert_eq!(fork.answer(2, 200), ["200 by 2", "done"]);
    assert_eq!(fork.context.winner(), Some(&1));
    // And so do their retransmissions.
    assert_eq!(fork.answer(2, 200), ["200 by 2"]);
    assert_eq!(fork.answer(1, 200), ["200 by 1"]);
}

#[test]
fn a_2xx_goes_upstream_even_after_a_failure_went() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.handle_timed_out(&1);
    assert_eq!(fork.actions(), ["408 by 1", "done"]);
    assert_eq!(fork.answer(1, 486), [""; 0]);
    assert_eq!(fork.answer(1, 200), ["200 by 1"]);
}

#[test]
fn the_best_failure_waits_for_all() {
    for (finals, best) in [
        ([486, 404, 480], "486 by 1"),
        ([404, 503, 302], "302 by 3"),
        ([500, 404, 502], "404 by 2"),
        ([408, 480, 486], "486 by 3"),
        ([486, 415, 404], "415 by 2"),
        ([415, 407, 486], "407 by 2"),
        ([503, 500, 503], "500 by 2"),
        ([503, 503, 503], "500 by proxy"),
    ] {
        let mut fork = Fork::new(Method::INVITE, 3);
        assert_eq!(fork.answer(1, finals[0]), [""; 0]);
        assert_eq!(fork.answer(1, finals[0]), [""; 0], "a retransmission does nothing");
        assert_eq!(fork.answer(2, finals[1]), [""; 0]);
        assert_eq!(fork.answer(3, finals[2]), [best, "done"], "{finals:?}");
    }
}

#[test]
fn a_6xx_cancels_the_others_but_waits_for_them() {
    let mut fork = Fork::new(Method::INVITE, 3);
    assert_eq!(fork.answer(2, 603), ["cancel 1", "cancel 3"]);
    assert_eq!(fork.context.add_branch(fork.now, 4), Err(Refusal::Decided));
    assert_eq!(fork.answer(1, 487), [""; 0]);
    assert_eq!(fork.answer(3, 487), ["603 by 2", "done"]);

    let mut crossed = Fork::new(Method::INVITE, 2);
    assert_eq!(crossed.answer(1, 600), ["cancel 2"]);
    assert_eq!(crossed.answer(2, 200), ["200 by 2", "done"]);
}

#[test]
fn challenges_of_all_branches_are_gathered() {
    let mut fork = Fork::new(Method::INVITE, 3);
    let asks = |fork: &Fork, branch, code, name, realm: &str| {
        fork.response(branch, code).header(name, format!("Digest realm=\"{realm}\"")).build()
    };
    let one = asks(&fork, 1, 401, HeaderName::WWW_AUTHENTICATE, "a");
    let two = asks(&fork, 2, 407, HeaderName::PROXY_AUTHENTICATE, "b");
    let three = asks(&fork, 3, 401, HeaderName::WWW_AUTHENTICATE, "c");
    for (id, message) in [(1, one), (2, two), (3, three)] {
        fork.context.handle_response(fork.now, &id, message);
    }
    let best = fork.forwarded();
    assert_eq!(best.status(), Some(401));
    let www: Vec<&[u8]> = best.headers(HeaderName::WWW_AUTHENTICATE).collect();
    assert_eq!(www, [b"Digest realm=\"a\"".as_slice(), b"Digest realm=\"c\""]);
    let proxy: Vec<&[u8]> = best.headers(HeaderName::PROXY_AUTHENTICATE).collect();
    assert_eq!(proxy, [b"Digest realm=\"b\"".as_slice()]);
}

#[test]
fn upstream_cancel_cancels_all_and_ends_in_487() {
    let mut fork = Fork::new(Method::INVITE, 2);
    fork.context.add_promised(9, fork.at(30_000)).unwrap();
    fork.answer(1, 180);
    fork.context.handle_cancel(Some("SIP;cause=200"));
    assert_eq!(fork.actions(), ["cancel 1", "cancel 2", "abandoned 9"]);
    fork.context.handle_cancel(None);
    assert_eq!(fork.context.fulfil(fork.now, &9), Err(Refusal::Decided));
    assert_eq!(fork.context.add_branch(fork.now, 5), Err(Refusal::Decided));
    assert_eq!(fork.answer(2, 486), [""; 0]);
    assert_eq!(fork.answer(1, 487), ["487 by 1", "done"]);
}

#[test]
fn a_cancel_crossing_a_200_does_not_hide_it() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.handle_cancel(None);
    assert_eq!(fork.actions(), ["cancel 1"]);
    assert_eq!(fork.context.poll_timeout(), None, "Timer C has no more to do");
    assert_eq!(fork.answer(1, 180), ["180 by 1"]);
    assert_eq!(fork.context.poll_timeout(), None);
    assert_eq!(fork.answer(1, 200), ["200 by 1", "done"]);
}

#[test]
fn a_cancelled_branch_that_times_out_counts_as_487() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.handle_cancel(None);
    fork.context.handle_timed_out(&1);
    assert_eq!(fork.actions(), ["cancel 1", "487 by 1", "done"]);
}

#[test]
fn a_broken_flow_counts_as_503_and_goes_up_as_500() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.handle_flow_failed(&1);
    let sent = fork.forwarded();
    assert_eq!(sent.status(), Some(500));
    assert!(sent.to_tag().is_some());
}

/// As where a request is too large for a datagram, the hop takes no TCP, and says 503 by UDP after all.
#[test]
fn of_several_503_the_one_that_names_its_cause_goes_up() {
    let mut fork = Fork::new(Method::INVITE, 2);
    fork.context.handle_flow_failed(&1);
    let refusal = crate::response_to(&fork.request, 503, "Busy").to_tag("c");
    let refusal = refusal.header("Reason", "Q.850;cause=17").build();
    fork.context.handle_response(fork.now, &2, refusal);
    let sent = fork.forwarded();
    assert_eq!(sent.status(), Some(500));
    assert_eq!(sent.header(crate::HeaderName::REASON), Some(&b"Q.850;cause=17"[..]));
}

#[test]
fn timer_c_is_restarted_by_101_to_199_and_cancels_when_it_fires() {
    let mut fork = Fork::new(Method::INVITE, 1);
    assert_eq!(fork.context.poll_timeout(), Some(fork.at(181_000)));
    fork.now = fork.at(100_000);
    fork.answer(1, 100);
    assert_eq!(fork.context.poll_timeout(), Some(fork.at(181_000)));
    fork.answer(1, 180);
    assert_eq!(fork.context.poll_timeout(), Some(fork.at(281_000)));
    assert_eq!(fork.run_to(280_999), [""; 0]);
    assert_eq!(fork.run_to(281_000), ["cancel 1"]);
    assert_eq!(fork.context.poll_timeout(), None);
    assert_eq!(fork.answer(1, 487), ["487 by 1", "done"]);
}

#[test]
fn a_non_invite_forwards_one_final_and_cancels_nothing() {
    let mut fork = Fork::new(Method::OPTIONS, 3);
    assert_eq!(fork.context.poll_timeout(), None);
    assert_eq!(fork.answer(1, 183), [""; 0]);
    assert_eq!(fork.answer(1, 200), ["200 by 1"]);
    assert_eq!(fork.answer(1, 200), [""; 0]);
    assert_eq!(fork.answer(2, 200), [""; 0]);
    assert_eq!(fork.answer(3, 404), ["done"]);
}

#[test]
fn provisionals_after_the_final_go_nowhere() {
    let mut fork = Fork::new(Method::INVITE, 2);
    fork.answer(1, 200);
    assert_eq!(fork.answer(2, 180), [""; 0]);
}

#[test]
fn branches_are_limited_and_unique() {
    let mut fork = Fork::new(Method::INVITE, 64);
    assert_eq!(fork.context.add_branch(fork.now, 65), Err(Refusal::TooManyBranches));
    let mut fork = Fork::new(Method::INVITE, 1);
    assert_eq!(fork.context.add_branch(fork.now, 1), Err(Refusal::Duplicate));
    // A stranger's branch changes nothing.
    assert_eq!(fork.answer(7, 200), [""; 0]);
}
