use super::*;

fn response(status: u16, headers: &str) -> Message {
    let text = format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:b@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{headers}\r\n"
    );
    Message::parse(text.into_bytes().into()).unwrap()
}

/// The IANA registry "Response Codes" of sip-parameters, without 1xx and 2xx.
const REGISTERED: [u16; 66] = [
    300, 301, 302, 305, 380, 400, 401, 402, 403, 404, 405, 406, 407, 408, 410, 412, 413, 414, 415,
    416, 417, 420, 421, 422, 423, 424, 425, 428, 429, 430, 433, 436, 437, 438, 439, 440, 469, 470,
    480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 500, 501, 502, 503, 504, 505,
    513, 555, 580, 600, 603, 604, 606, 607, 608,
];

#[test]
fn r1_8_every_registered_status_has_one_row() {
    let rows: Vec<u16> = ROWS.iter().map(|row| row.status).collect();
    assert_eq!(rows, REGISTERED, "in order, each once");
    for row in ROWS {
        assert!((1..=127).contains(&row.cause));
    }
}

#[test]
fn r1_8_a_status_nobody_registered_means_what_its_class_means() {
    let policy = ResponsePolicy::default();
    for (status, like) in [(399, 300), (409, 400), (477, 400), (499, 400), (599, 500), (699, 600)] {
        assert_eq!(policy.action(status), policy.action(like), "{status}");
        assert_eq!(cause_of(status), cause_of(like));
    }
    assert_eq!(policy.action(200), Action::Stop);
}

#[test]
fn r1_8_a_cause_says_more_than_the_status() {
    let policy = ResponsePolicy::default();
    for (status, cause, action) in [
        // Gateways without circuits that answer for the callee.
        (480, 34, Action::FailOver),
        (404, 3, Action::FailOver),
        (403, 38, Action::FailOver),
        (603, 42, Action::FailOver),
        // Gateways that hide a busy callee behind their own failure.
        (503, 17, Action::TellUser),
        (500, 1, Action::TellUser),
        (500, 19, Action::TellUser),
        // A cause that tells nothing leaves the status alone.
        (503, 31, Action::FailOver),
        (486, 127, Action::TellUser),
        // What a status asks for stands, whatever the cause.
        (407, 21, Action::Retry),
        (487, 41, Action::TellUser),
        (302, 34, Action::Redirect),
    ] {
        let message = response(status, &format!("Reason: Q.850;cause={cause}\r\n"));
        let decision = policy.decide(&message);
        assert_eq!(decision, Decision { action, cause }, "{status} with {cause}");
    }
}

#[test]
fn r1_8_an_operators_word_is_the_last() {
    let policy = ResponsePolicy::default().with(404, Action::FailOver).unwrap();
    assert_eq!(policy.decide_on(404, Some(1)).action, Action::FailOver);
    assert_eq!(policy.decide_on(486, None).action, Action::TellUser);
    assert!(ResponsePolicy::default().with(200, Action::Stop).is_none());
    for word in ["retry", "fail-over", "redirect", "tell-user", "stop"] {
        assert_eq!(Action::from_word(word).unwrap().as_str(), word);
    }
    assert_eq!(Action::from_word("perhaps"), None);
}

#[test]
fn r1_8_causes_are_read_among_other_reasons() {
    let named = |headers: &str| named_cause(&response(480, headers));
    assert_eq!(named("Reason: SIP;cause=480, q.850 ; cause = 34 ;text=\"a;b\"\r\n"), Some(34));
    assert_eq!(named("Reason: SIP;cause=480\r\nReason: Q.850;cause=16\r\n"), Some(16));
    for none in ["cause=0", "cause=128", "cause=x", "text=\"x\""] {
        assert_eq!(named(&format!("Reason: Q.850;{none}\r\n")), None, "{none}");
    }
    assert_eq!(reason_value(17), "Q.850;cause=17;text=\"User busy\"");
}

#[test]
fn r1_8_statuses_and_causes_follow_rfc3398_both_ways() {
    for (status, cause) in [(404, 1), (486, 17), (480, 18), (484, 28), (410, 22), (502, 38)] {
        assert_eq!(cause_of(status), cause, "{status}");
    }
    for (cause, status) in [(1, 404), (17, 486), (18, 408), (19, 480), (28, 484), (34, 503)] {
        assert_eq!(status_of(cause), status, "{cause}");
    }
    assert_eq!((cause_of(200), cause_of(607), cause_of(608)), (16, 21, 21));
    for status in 300..700 {
        let back = status_of(cause_of(status));
        assert!((400..700).contains(&back));
    }
}
