//! Promised and late branches: how a phone woken by a push joins a call.

use super::Fork;
use crate::Method;
use crate::proxy::Refusal;

#[test]
fn a_promise_holds_the_failure_back_until_its_deadline() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.add_promised(9, fork.at(20_000)).unwrap();
    assert_eq!(fork.answer(1, 486), ["waiting"]);
    assert_eq!(fork.context.poll_timeout(), Some(fork.at(20_000)));
    assert_eq!(fork.run_to(19_999), [""; 0]);
    assert_eq!(fork.run_to(20_000), ["abandoned 9", "486 by 1", "done"]);
}

#[test]
fn a_promised_phone_that_wakes_up_can_answer() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.add_promised(9, fork.at(20_000)).unwrap();
    fork.context.handle_timed_out(&1);
    assert_eq!(fork.actions(), ["waiting"]);
    fork.now = fork.at(15_000);
    fork.context.fulfil(fork.now, &9).unwrap();
    assert_eq!(fork.context.fulfil(fork.now, &9), Err(Refusal::Duplicate));
    assert_eq!(fork.context.poll_timeout(), Some(fork.at(196_000)), "Timer C of the new branch");
    assert_eq!(fork.answer(9, 180), ["180 by 9"]);
    assert_eq!(fork.answer(9, 200), ["200 by 9", "done"]);
}

#[test]
fn an_answer_elsewhere_ends_the_promise_at_once() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.add_promised(9, fork.at(20_000)).unwrap();
    assert_eq!(fork.answer(1, 200), ["200 by 1", "abandoned 9", "done"]);
    assert_eq!(fork.context.fulfil(fork.now, &9), Err(Refusal::Decided));
}

#[test]
fn a_promise_kept_too_late_is_refused() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.add_promised(9, fork.at(1000)).unwrap();
    fork.run_to(1000);
    assert_eq!(fork.context.fulfil(fork.now, &9), Err(Refusal::Decided));
    assert_eq!(fork.context.fulfil(fork.now, &8), Err(Refusal::Decided));
}

#[test]
fn only_promises_and_none_kept_is_480() {
    let mut fork = Fork::new(Method::INVITE, 0);
    fork.context.add_promised(1, fork.at(1000)).unwrap();
    fork.context.add_promised(2, fork.at(2000)).unwrap();
    fork.context.abandon(&2);
    assert_eq!(fork.actions(), ["waiting"]);
    assert_eq!(fork.run_to(1000), ["abandoned 1", "480 by proxy", "done"]);
}

#[test]
fn only_promises_and_a_cancel_is_487_at_once() {
    let mut fork = Fork::new(Method::INVITE, 0);
    fork.context.add_promised(1, fork.at(1000)).unwrap();
    fork.context.handle_cancel(None);
    assert_eq!(fork.actions(), ["abandoned 1", "487 by proxy", "done"]);
}

#[test]
fn the_next_group_can_be_tried_when_only_a_promise_holds() {
    let mut fork = Fork::new(Method::INVITE, 1);
    fork.context.add_promised(99, fork.at(60_000)).unwrap();
    assert_eq!(fork.answer(1, 480), ["waiting"]);
    fork.context.add_branch(fork.now, 2).unwrap();
    fork.context.add_branch(fork.now, 3).unwrap();
    assert_eq!(fork.answer(2, 486), [""; 0]);
    assert_eq!(fork.answer(3, 404), ["waiting"]);
    fork.context.abandon(&99);
    assert_eq!(fork.actions(), ["486 by 2", "done"]);
}
