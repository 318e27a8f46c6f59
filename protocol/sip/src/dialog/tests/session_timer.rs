//! RFC 4028, from the header to the hang-up.

use std::time::{Duration, Instant};

use super::invite;
use crate::dialog::{
    IntervalTooSmall, MIN_SE, Refresher, SessionDue, SessionExpires, SessionPolicy, SessionTimer,
};
use crate::{Edit, HeaderName, Message, response_to};

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn policy(interval: u64) -> SessionPolicy {
    SessionPolicy { interval: seconds(interval), min_se: MIN_SE }
}

fn asking(expires: &str, min: &str, supported: bool) -> Message {
    let (base, mut names) = (invite(), Vec::new());
    if !expires.is_empty() {
        names.push((HeaderName::SESSION_EXPIRES, expires));
    }
    if !min.is_empty() {
        names.push((HeaderName::MIN_SE, min));
    }
    if supported {
        names.push((HeaderName::SUPPORTED, "100rel, timer"));
    }
    let add = |edit: Edit<'static>, (name, value)| edit.append(name, value);
    let base: &'static Message = Box::leak(Box::new(base));
    names.into_iter().fold(Edit::new(base), add).finish()
}

/// Everything a timer does until `until`, with the second it does it in.
fn run(timer: &mut SessionTimer, t0: Instant, until: u64) -> Vec<(u64, SessionDue)> {
    let mut out = Vec::new();
    while timer.poll_timeout() <= t0 + seconds(until) {
        let now = timer.poll_timeout();
        let Some(due) = timer.handle_timeout(now) else { continue };
        out.push(((now - t0).as_secs(), due));
        if due == SessionDue::Expired {
            break;
        }
    }
    out
}

#[test]
fn r1_9_values_are_read_and_written() {
    let parse = |text: &str| SessionExpires::parse(text.as_bytes());
    let value = parse("1800;refresher=UAC;x=y").unwrap();
    assert_eq!((value.interval, value.refresher), (seconds(1800), Some(Refresher::Uac)));
    assert_eq!(value.to_string(), "1800;refresher=uac");
    assert_eq!(parse(" 90 ;refresher=uas").unwrap().refresher, Some(Refresher::Uas));
    assert_eq!(parse("90;refresher=both").unwrap().to_string(), "90");
    for broken in ["", ";refresher=uac", "x", "-1", "99999999999"] {
        assert_eq!(parse(broken), None, "{broken}");
    }
}

#[test]
fn r1_9_the_uas_chooses_as_table_2_of_rfc_4028_says() {
    // (Session-Expires, UAC supports timer, refresher answered)
    let table = [
        ("", false, Refresher::Uas),
        ("", true, Refresher::Uac),
        ("600", false, Refresher::Uas),
        ("600", true, Refresher::Uac),
        ("600;refresher=uac", true, Refresher::Uac),
        ("600;refresher=uas", true, Refresher::Uas),
        ("600;refresher=uac", false, Refresher::Uas),
    ];
    for (asked, supported, refresher) in table {
        let answer = policy(1800).answer(&asking(asked, "", supported)).unwrap().unwrap();
        assert_eq!(answer.refresher, Some(refresher), "{asked} {supported}");
        assert_eq!(answer.interval.as_secs(), if asked.is_empty() { 1800 } else { 600 });
    }
    assert_eq!(policy(0).answer(&asking("", "", true)), Ok(None));
    let followed = policy(0).answer(&asking("600", "", true)).unwrap().unwrap();
    assert_eq!(followed.to_string(), "600;refresher=uac");
}

#[test]
fn r1_9_intervals_stay_between_the_minimum_and_the_wish() {
    let interval = |asked, min, supported| {
        let answer = policy(300).answer(&asking(asked, min, supported));
        answer.map(|a| a.unwrap().interval.as_secs())
    };
    assert_eq!(interval("1800", "", true), Ok(300), "lowered to ours");
    assert_eq!(interval("1800", "900", true), Ok(900), "not below their minimum");
    assert_eq!(interval("30", "", true), Err(IntervalTooSmall(MIN_SE)));
    assert_eq!(interval("30", "", false), Ok(90), "who knows no 422 is not refused");
}

#[test]
fn r1_9_a_422_is_obeyed_once() {
    let refusal = response_to(&invite(), 422, "").header(HeaderName::MIN_SE, "3600").build();
    let mut asked = policy(1800);
    assert!(asked.raise(&refusal));
    assert_eq!((asked.interval, asked.min_se), (seconds(3600), seconds(3600)));
    assert!(!asked.raise(&refusal), "it had its will");
    let absurd = response_to(&invite(), 422, "").header(HeaderName::MIN_SE, "4000000").build();
    assert!(!asked.raise(&absurd));
}

#[test]
fn r1_9_a_refresher_asks_at_half_and_at_most_twice() {
    use SessionDue::{Expired, Refresh};
    let t0 = sansio::testing::epoch();
    let mut timer = SessionTimer::new(t0, seconds(1800), true);
    let all = run(&mut timer, t0, 10_000);
    assert_eq!(all, [(900, Refresh), (1334, Refresh), (1768, Expired)]);
    let mut short = SessionTimer::new(t0, seconds(90), true);
    assert_eq!(run(&mut short, t0, 200).last(), Some(&(60, Expired)));
    assert_eq!(timer.header().to_string(), "1800;refresher=uac");
}

#[test]
fn r1_9_who_waits_for_refreshes_hangs_up_before_the_end() {
    let t0 = sansio::testing::epoch();
    let mut timer = SessionTimer::new(t0, seconds(90), false);
    assert_eq!(run(&mut timer, t0, 200), [(60, SessionDue::Expired)]);
    let mut timer = SessionTimer::new(t0, seconds(1800), false);
    assert_eq!(run(&mut timer, t0, 2000), [(1768, SessionDue::Expired)]);
    assert_eq!(timer.header().to_string(), "1800;refresher=uas");
}
