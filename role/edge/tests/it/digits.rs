//! R5.7: digits by INFO where a side wants them in another form.

use crate::lab::{respond, text};
use crate::talk::talk;
use edge::{Note, Pressed};
use sip::{HeaderName, Method};

const KEY: &str = "Signal=5\r\nDuration=250\r\n";

/// An INFO of the dialog with a key in it.
fn info(request: &str) -> String {
    let head = request.replace("Content-Length: 0\r\n\r\n", "");
    let content = "Content-Type: application/dtmf-relay\r\n";
    format!("{head}{content}Content-Length: {}\r\n\r\n{KEY}", KEY.len())
}

#[test]
fn r5_7_a_digit_that_the_relay_turns_into_something_else_goes_no_further() {
    let mut talk = talk(1);
    let request = info(&talk.by_caller("INFO", 3));
    talk.lab.send(1, &request);
    assert_eq!(talk.lab.next(1).status(), Some(200));
    assert!(talk.lab.is_empty(2), "the callee hears it as events or a tone");
    let asked = talk.lab.relay_log.last().unwrap();
    assert!(asked.contains("digit: '5'") && asked.contains("duration_ms: 250"), "{asked}");
    assert!(asked.contains("toward: Some("), "{asked}");
    // The same key again, as a retransmission over UDP, is the same request: it is answered once more
    // and not asked again.
    let before = talk.lab.relay_log.len();
    talk.lab.send(1, &request);
    assert_eq!(talk.lab.next(1).status(), Some(200));
    assert_eq!(talk.lab.relay_log.len(), before);
}

#[test]
fn r5_7_a_digit_that_nobody_converts_passes_as_it_came() {
    let mut talk = talk(1);
    talk.lab.refuse_relay = true;
    let request = info(&talk.by_callee("INFO", 1));
    talk.lab.send(2, &request);
    let got = talk.lab.next(1);
    assert_eq!((got.method(), got.body()), (Some(Method::INFO), KEY.as_bytes()));
    assert!(talk.lab.relay_log.last().unwrap().contains("toward: None"));
    talk.lab.send(1, respond(1, &got, 200, false));
    assert_eq!(talk.lab.next(2).status(), Some(200));
}

#[test]
fn r5_7_an_info_that_is_no_digit_is_not_asked_about() {
    let mut talk = talk(1);
    let before = talk.lab.relay_log.len();
    let request = talk.by_caller("INFO", 3);
    talk.lab.send(1, &request);
    assert_eq!(talk.lab.next(2).method(), Some(Method::INFO));
    assert_eq!(talk.lab.relay_log.len(), before);
}

#[test]
fn r5_7_a_key_heard_by_the_relay_is_told_by_info_in_the_others_name() {
    let mut talk = talk(1);
    let session = talk.call();
    for (by_caller, phone, other) in [(true, 2, 1), (false, 1, 2)] {
        let key = Pressed { session, by_caller, digit: '#', duration_ms: 120 };
        talk.lab.note(0, Note::Digit(key));
        let got = talk.lab.next(phone);
        assert_eq!(got.method(), Some(Method::INFO));
        assert_eq!(got.body(), b"Signal=#\r\nDuration=120\r\n");
        assert!(got.has_content_type("application/dtmf-relay"));
        assert!(talk.lab.is_empty(other));
        talk.lab.send(phone, respond(phone, &got, 200, false));
        assert!(talk.lab.is_empty(other), "whose INFO it was hears of nothing");
    }
    // What the caller sends after it is numbered above ours.
    let bye = talk.by_caller("BYE", 3);
    talk.lab.send(1, &bye);
    let got = talk.lab.next(2);
    assert!(
        text(got.header(HeaderName::CSEQ)).starts_with("4 "),
        "{:?}",
        got.header(HeaderName::CSEQ)
    );
}

#[test]
fn r5_12_a_recording_key_is_asked_about_and_goes_on_where_it_is_not_for_that_phone_to_say() {
    let mut talk = talk(1);
    let head = talk.by_caller("INFO", 3);
    talk.lab.send(1, head.replace("Content-Length", "Record: off\r\nContent-Length"));
    assert_eq!(talk.lab.next(1).status(), Some(200));
    assert!(talk.lab.is_empty(2), "done: nothing for the callee");
    let asked = talk.lab.relay_log.last().unwrap();
    assert!(asked.contains("by_caller: true") && asked.contains("of_ours: true"), "{asked}");
    assert!(asked.contains("on: false"), "{asked}");
    talk.lab.refuse_relay = true;
    let head = talk.by_callee("INFO", 1);
    talk.lab.send(2, head.replace("Content-Length", "Record: ON\r\nContent-Length"));
    assert_eq!(talk.lab.next(1).method(), Some(Method::INFO), "as any INFO");
    let asked = talk.lab.relay_log.last().unwrap();
    assert!(asked.contains("by_caller: false") && asked.contains("on: true"), "{asked}");
}
