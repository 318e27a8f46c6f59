//! Guessing at passwords: how often it is looked at, what a guesser learns, and that the owner never
//! notices.

use crate::lab::{DOMAIN, EMPTY, Lab, credentials, request, text};
use edge::EdgeEvent;
use sip::{HeaderName, Message};
use std::net::SocketAddr;
use std::time::Duration;

const REGISTRAR: &str = "sip:example.com";

fn register(n: u8, user: &str, serial: usize, extra: &str) -> String {
    request("REGISTER", n, user, REGISTRAR, extra)
        .replace(&format!("To: <{REGISTRAR}>"), &format!("To: <sip:{user}@{DOMAIN}>"))
        .replace("branch=z9hG4bK", &format!("branch=z9hG4bKs{serial}"))
}

/// A source in a prefix of its own.
fn stranger(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([10, high, low, 7], 5060))
}

/// Phone 1 registers as its owner does; true if it may.
fn owner_registers(lab: &mut Lab, user: &str, serial: usize) -> bool {
    lab.send(1, register(1, user, 2 * serial, EMPTY));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "REGISTER", REGISTRAR, user, &format!("pw-{user}"));
    lab.send(1, register(1, user, 2 * serial + 1, &format!("{auth}{EMPTY}")));
    lab.next(1).status() == Some(200)
}

/// An hour of guessing from `sources`, one guess a second: what each got, and how often the owner,
/// who comes once a minute, could not register.
fn an_hour(user: &str, sources: u16, owner: bool) -> (Vec<(u16, String)>, usize) {
    let mut lab = Lab::new(1);
    let mut refused = usize::from(owner && !owner_registers(&mut lab, user, 100_000));
    let mut answers = Vec::new();
    let mut challenge: Option<Message> = None;
    for second in 0..3_600_usize {
        let from = stranger((second % usize::from(sources)) as u16);
        // One nonce for all: what it is worth does not depend on who asked for it.
        if second % 240 == 0 {
            lab.send_from(9, from, register(9, user, 300_000 + second, EMPTY));
            challenge = Some(lab.next(9));
        }
        let guess = format!("guess-{second}");
        let nonce = challenge.as_ref().expect("a challenge");
        let auth = credentials(nonce, "REGISTER", REGISTRAR, user, &guess);
        lab.send_from(9, from, register(9, user, second, &format!("{auth}{EMPTY}")));
        let answer = lab.next(9);
        answers.push((answer.status().unwrap(), text(answer.header(HeaderName::RETRY_AFTER))));
        if owner && second % 60 == 30 {
            refused += usize::from(!owner_registers(&mut lab, user, 110_000 + second));
        }
        lab.advance(Duration::from_secs(1));
    }
    (answers, refused)
}

fn looked_at(answers: &[(u16, String)]) -> usize {
    assert!(answers.iter().all(|(status, _)| matches!(status, 403 | 503)));
    answers.iter().filter(|(status, _)| *status == 403).count()
}

#[test]
fn r2_8_guesses_that_reach_verification_are_few_and_the_owner_registers_throughout() {
    for sources in [1, 1_000] {
        let (answers, refused) = an_hour("user1", sources, true);
        let looked_at = looked_at(&answers);
        assert!((7..=30).contains(&looked_at), "{sources} sources: {looked_at}");
        assert_eq!(refused, 0, "{sources} sources");
    }
}

#[test]
fn r2_8_limits_tell_nothing_of_who_exists() {
    // The same statuses and the same Retry-After, in the same order: the lab's dice are seeded.
    assert_eq!(an_hour("user1", 100, false), an_hour("no-such", 100, false));
}

#[test]
fn r2_8_a_refused_guess_says_when_to_come_back() {
    let mut lab = Lab::new(1);
    lab.send(1, register(1, "user1", 0, EMPTY));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "REGISTER", REGISTRAR, "user1", "wrong");
    let mut last = None;
    for serial in 1..12 {
        lab.send(1, register(1, "user1", serial, &format!("{auth}{EMPTY}")));
        last = Some(lab.next(1));
    }
    let last = last.unwrap();
    assert_eq!((last.status(), last.reason()), (Some(503), b"Too Many Attempts".as_slice()));
    let retry: u64 = text(last.header(HeaderName::RETRY_AFTER)).parse().unwrap();
    assert!((1..=600).contains(&retry), "{retry}");
    assert!(lab.shards[0].counters().guesses_refused > 3);
    lab.advance(Duration::from_secs(retry));
    lab.send(1, register(1, "user1", 77, &format!("{auth}{EMPTY}")));
    assert_eq!(lab.next(1).status(), Some(403), "looked at again");
}

#[test]
fn a_user_agent_is_asked_next_time_for_what_it_took_and_others_see_nothing_of_it() {
    let mut lab = Lab::new(1);
    let offered = |lab: &mut Lab, n: u8, serial| {
        lab.send(n, register(n, "user1", serial, EMPTY));
        lab.next(n).headers(HeaderName::WWW_AUTHENTICATE).count()
    };
    assert_eq!(offered(&mut lab, 1, 500), 2);
    assert!(owner_registers(&mut lab, "user1", 1));
    assert_eq!(offered(&mut lab, 1, 501), 1, "the one it answered");
    assert_eq!(offered(&mut lab, 2, 502), 2, "from elsewhere nothing changed");
    let update = register(1, "user1", 503, EMPTY).replace("Lab/1", "Lab/2");
    lab.send(1, update);
    assert_eq!(lab.next(1).headers(HeaderName::WWW_AUTHENTICATE).count(), 2, "an update");
}

#[test]
fn r2_7_a_sweep_over_missing_users_is_told_from_the_phones_of_an_office_and_answered_alike() {
    let mut lab = Lab::new(1);
    let mut ask = |user: &str, serial: usize| {
        lab.send_from(9, stranger(1), register(9, user, serial, EMPTY));
        let answer = lab.next(9);
        let names = answer.headers(HeaderName::WWW_AUTHENTICATE).count();
        let missing = |e: &EdgeEvent| {
            matches!(e, EdgeEvent::Suspicious { sign: net::Sign::MissingUser { .. }, .. })
        };
        (answer.status(), names, lab.events.drain(..).filter(missing).count())
    };
    assert_eq!(ask("user7", 1), (Some(401), 2, 0));
    assert_eq!(ask("nobody", 2), (Some(401), 2, 1));
}

#[test]
fn a_peer_that_authenticates_is_told_of_once_in_a_while() {
    let mut lab = Lab::new(1);
    let told = |lab: &mut Lab, serial| {
        assert!(owner_registers(lab, "user1", serial));
        let is = |e: &EdgeEvent| matches!(e, EdgeEvent::Authenticated { .. });
        lab.events.drain(..).filter(is).count()
    };
    assert_eq!(told(&mut lab, 1), 1);
    assert_eq!(told(&mut lab, 2), 0, "known");
    lab.advance(Duration::from_secs(660));
    assert_eq!(told(&mut lab, 3), 1, "so that the gate does not forget it");
}

#[test]
fn feedback_goes_back_in_the_response_and_only_to_who_asked() {
    let mut lab = Lab::new(1);
    lab.shards[0].set_load(250);
    let mut via = |request: String| {
        lab.send(1, request);
        text(lab.next(1).header(HeaderName::VIA))
    };
    let plain = register(1, "user1", 1, EMPTY);
    assert!(!via(plain.clone()).contains(";oc"));
    let asking = plain.replace(";branch=z9hG4bKs1", ";oc;oc-algo=\"loss\";branch=z9hG4bKs2");
    let told = via(asking);
    assert!(told.contains(";oc=25;oc-algo=\"loss\";oc-validity=1000;oc-seq="), "{told}");
    assert!(told.contains("branch=z9hG4bKs2"), "{told}");
}
