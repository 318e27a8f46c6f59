//! RFC 6665 on both sides.

use std::time::{Duration, Instant};

use crate::dialog::{Notifier, Subscriber, SubscriberDue, SubscriptionState, Substate};

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn said(value: &str) -> SubscriptionState {
    SubscriptionState::parse(value.as_bytes())
}

fn run(subscriber: &mut Subscriber, t0: Instant) -> Vec<(u64, SubscriberDue)> {
    let mut out = Vec::new();
    while let Some(at) = subscriber.poll_timeout() {
        out.extend(subscriber.handle_timeout(at).map(|due| ((at - t0).as_secs(), due)));
    }
    out
}

#[test]
fn a_subscription_state_is_read_and_written() {
    let active = said("active;expires=60");
    assert_eq!((active.state, active.expires), (Substate::Active, Some(seconds(60))));
    assert_eq!(active.to_string(), "active;expires=60");
    let over = said("TERMINATED ;reason=noresource;retry-after=5");
    assert_eq!((over.state, over.reason.as_deref()), (Substate::Terminated, Some("noresource")));
    assert_eq!(over.to_string(), "terminated;reason=noresource");
    assert_eq!(said("pending").state, Substate::Pending);
    assert_eq!(said("something-new").state, Substate::Active, "§8.2.3: extension states");
}

#[test]
fn a_subscriber_refreshes_before_the_end_and_gives_up_at_it() {
    let t0 = sansio::testing::epoch();
    let mut subscriber = Subscriber::new(t0, seconds(600));
    subscriber.handle_response(t0, 200, Some(seconds(600)));
    subscriber.handle_notify(t0, &said("active;expires=600"));
    let all = run(&mut subscriber, t0);
    assert_eq!(all, [(540, SubscriberDue::Refresh), (600, SubscriberDue::GaveUp)]);
}

#[test]
fn a_subscriber_that_hears_no_notify_gives_up_by_timer_n() {
    let t0 = sansio::testing::epoch();
    let mut subscriber = Subscriber::new(t0, seconds(600));
    subscriber.handle_response(t0, 202, None);
    assert_eq!(run(&mut subscriber, t0), [(32, SubscriberDue::GaveUp)]);
    let mut refused = Subscriber::new(t0, seconds(600));
    refused.handle_response(t0, 489, None);
    assert_eq!((refused.state(), refused.poll_timeout()), (Substate::Terminated, None));
}

#[test]
fn a_refresh_that_fails_leaves_the_time_that_is_left() {
    let t0 = sansio::testing::epoch();
    let mut subscriber = Subscriber::new(t0, seconds(600));
    subscriber.handle_response(t0, 200, Some(seconds(600)));
    subscriber.handle_notify(t0, &said("active"));
    subscriber.handle_response(t0 + seconds(540), 503, None);
    assert_eq!(run(&mut subscriber, t0), [(600, SubscriberDue::GaveUp)]);
    let mut gone = Subscriber::new(t0, seconds(600));
    gone.handle_notify(t0, &said("terminated;reason=noresource"));
    assert_eq!(gone.poll_timeout(), None);
}

#[test]
fn r1_7_an_implicit_subscription_lasts_as_its_notify_says() {
    let t0 = sansio::testing::epoch();
    let mut refer = Subscriber::implicit(t0);
    refer.handle_notify(t0, &said("active;expires=60"));
    assert_eq!(run(&mut refer, t0), [(60, SubscriberDue::GaveUp)], "and is not refreshed");
}

#[test]
fn a_notifier_counts_down_expires_and_says_why() {
    let t0 = sansio::testing::epoch();
    let mut notifier = Notifier::new(t0, seconds(60));
    assert_eq!(notifier.said(t0 + seconds(10), "").to_string(), "active;expires=50");
    notifier.refresh(t0 + seconds(30), seconds(60));
    assert_eq!(notifier.poll_timeout(), Some(t0 + seconds(90)));
    assert!(!notifier.handle_timeout(t0 + seconds(89)));
    assert!(notifier.handle_timeout(t0 + seconds(90)));
    let last = notifier.said(t0 + seconds(90), "timeout");
    assert_eq!(last.to_string(), "terminated;reason=timeout");
    assert!(!notifier.handle_timeout(t0 + seconds(91)), "once");
    let mut ended = Notifier::new(t0, seconds(60));
    ended.refresh(t0, Duration::ZERO);
    assert_eq!(ended.state(), Substate::Terminated);
}
