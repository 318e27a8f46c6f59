//! Who may register, and what a scanner learns.

use crate::lab::{DOMAIN, EMPTY, Lab, credentials, request, text};
use edge::EdgeEvent;
use sip::HeaderName;
use sip::digest::{self, Algorithm};

const REGISTRAR: &str = "sip:example.com";

fn register(user: &str, extra: &str) -> String {
    request("REGISTER", 1, user, REGISTRAR, extra)
        .replace(&format!("To: <{REGISTRAR}>"), &format!("To: <sip:{user}@{DOMAIN}>"))
}

fn attempt(user: &str, password: &str) -> (Lab, sip::Message) {
    let mut lab = Lab::new(1);
    lab.send(1, register(user, EMPTY));
    let challenge = lab.next(1);
    assert_eq!(challenge.status(), Some(401));
    let auth = credentials(&challenge, "REGISTER", REGISTRAR, user, password);
    lab.send(1, register(user, &format!("{auth}{EMPTY}")));
    let answer = lab.next(1);
    (lab, answer)
}

#[test]
fn a_good_password_registers() {
    let (_, answer) = attempt("user1", "pw-user1");
    assert_eq!(answer.status(), Some(200));
    assert!(answer.header(HeaderName::CONTACT).is_some());
}

/// RFC 2617 §3.2.2.1: what clients of before qop answer, without nc and cnonce.
fn old_credentials(challenge: &sip::Message, password: &str) -> String {
    let offered = challenge.headers(HeaderName::WWW_AUTHENTICATE).flat_map(digest::challenges);
    let md5 = offered.into_iter().find(|c| c.algorithm() == Some(Algorithm::Md5)).expect("MD5");
    let (realm, nonce) = (text(Some(&md5.realm())), text(Some(md5.nonce())));
    let ha1 = digest::ha1(Algorithm::Md5, b"user1", realm.as_bytes(), password.as_bytes());
    let inputs = digest::Inputs {
        algorithm: Algorithm::Md5,
        method: b"REGISTER",
        uri: REGISTRAR.as_bytes(),
        nonce: md5.nonce(),
        auth: None,
    };
    let response = digest::response(&inputs, &ha1);
    format!(
        "Authorization: Digest username=\"user1\", realm=\"{realm}\", nonce=\"{nonce}\", \
         uri=\"{REGISTRAR}\", response=\"{response}\"\r\n"
    )
}

#[test]
fn a_client_without_qop_registers_once_by_a_nonce() {
    for (password, status) in [("pw-user1", 200), ("guess", 403)] {
        let mut lab = Lab::new(1);
        lab.send(1, register("user1", EMPTY));
        let auth = old_credentials(&lab.next(1), password);
        lab.send(1, register("user1", &format!("{auth}{EMPTY}")));
        assert_eq!(lab.next(1).status(), Some(status), "{password}");
        // Nothing in them counts: what is sent again by somebody else is a replay.
        lab.send(
            2,
            register("user1", &format!("{auth}{EMPTY}")).replace("branch=z9", "branch=z9hG4bKr"),
        );
        assert_ne!(lab.next(2).status(), Some(200), "{password}");
    }
}

#[test]
fn an_unknown_user_and_a_wrong_password_look_alike() {
    let (lab, wrong) = attempt("user1", "guess");
    let (_, unknown) = attempt("nobody", "guess");
    assert_eq!((wrong.status(), unknown.status()), (Some(403), Some(403)));
    assert_eq!(wrong.reason(), unknown.reason());
    let failed = |e: &&EdgeEvent| matches!(e, EdgeEvent::AuthFailed { .. });
    assert_eq!(lab.events.iter().filter(failed).count(), 1);
}

#[test]
fn the_challenges_of_one_response_share_nonce_and_opaque() {
    let mut lab = Lab::new(1);
    lab.send(1, register("user1", EMPTY));
    let challenge = lab.next(1);
    let all: Vec<_> = challenge
        .headers(HeaderName::WWW_AUTHENTICATE)
        .flat_map(sip::digest::challenges)
        .map(|c| (c.nonce().to_vec(), c.opaque().map(<[u8]>::to_vec)))
        .collect();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], all[1]);
}

#[test]
fn a_captured_register_cannot_be_replayed() {
    let mut lab = Lab::new(1);
    lab.send(1, register("user1", EMPTY));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "REGISTER", REGISTRAR, "user1", "pw-user1");
    let good = register("user1", &format!("{auth}{EMPTY}"));
    lab.send(1, &good);
    assert_eq!(lab.next(1).status(), Some(200));
    lab.send(1, good.replace("branch=z9hG4bK", "branch=z9hG4bKother"));
    let again = lab.next(1);
    assert_eq!(again.status(), Some(401));
    assert!(text(again.header(HeaderName::WWW_AUTHENTICATE)).contains("stale=true"));
}

#[test]
fn a_register_that_comes_again_is_answered_alike_without_a_transaction() {
    let mut lab = Lab::new(1);
    lab.send(1, register("user1", EMPTY));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "REGISTER", REGISTRAR, "user1", "pw-user1");
    let good = register("user1", &format!("{auth}{EMPTY}"));
    lab.send(1, &good);
    let first = lab.next(1);
    lab.send(1, &good);
    let second = lab.next(1);
    assert_eq!((first.status(), second.status()), (Some(200), Some(200)));
    assert_eq!(first.to_tag(), second.to_tag());
    assert_eq!(lab.under_way(), 0, "nothing is kept for Timer J");
    lab.send(2, &good);
    assert_eq!(lab.next(2).status(), Some(401), "the same bytes by another flow are a replay");
}

#[test]
fn one_user_cannot_register_another() {
    let mut lab = Lab::new(1);
    lab.send(1, register("user2", EMPTY));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "REGISTER", REGISTRAR, "user1", "pw-user1");
    lab.send(1, register("user2", &format!("{auth}{EMPTY}")));
    assert_eq!(lab.next(1).status(), Some(403));
}

#[test]
fn a_bearer_token_registers_its_own_user_only() {
    let mut lab = Lab::new(1);
    lab.send(1, register("user1", &format!("Authorization: Bearer token-of-user1\r\n{EMPTY}")));
    assert_eq!(lab.next(1).status(), Some(200));
    let mut lab = Lab::new(1);
    lab.send(1, register("user2", &format!("Authorization: Bearer  token-of-user1\r\n{EMPTY}")));
    assert_eq!(lab.next(1).status(), Some(403));
}

#[test]
fn a_malformed_request_is_answered_400_and_counted() {
    let mut lab = Lab::new(1);
    lab.send(1, register("user1", EMPTY).replace("Length: 0", "Length: 9999"));
    assert_eq!(lab.next(1).status(), Some(400));
    assert_eq!(lab.shards[0].counters().malformed, 1);
}
