//! Messages whole, in crumbs, in a row, and those meant to smuggle.

use super::*;
use crate::ParseErrorKind;

fn message(length: &str, body: &str) -> String {
    format!(
        "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n{length}\r\n\r\n{body}"
    )
}

fn frames(framer: &mut StreamFramer) -> Vec<Frame> {
    std::iter::from_fn(|| framer.next_frame().unwrap()).collect()
}

fn only_error(text: &str) -> FrameError {
    let mut framer = StreamFramer::default();
    framer.push(text.as_bytes());
    let error = framer.next_frame().unwrap_err();
    framer.push(b"more");
    assert_eq!(framer.next_frame(), Err(error));
    assert!(framer.refused().is_some());
    error
}

#[test]
fn messages_in_a_row_come_out_one_by_one_however_they_arrive() {
    let (a, b) = (message("Content-Length: 3", "abc"), message("l :0", ""));
    let all = format!("{a}\r\n\r\n{b}{a}");
    let want = [
        Frame::Message(a.clone().into()),
        Frame::Ping,
        Frame::Message(b.into()),
        Frame::Message(a.into()),
    ];
    let mut framer = StreamFramer::default();
    framer.push(all.as_bytes());
    assert_eq!(frames(&mut framer), want);
    let mut crumbs = Vec::new();
    for byte in all.as_bytes() {
        framer.push(&[*byte]);
        crumbs.extend(frames(&mut framer));
    }
    crumbs.retain(|f| *f != Frame::Pong);
    assert_eq!(crumbs, want);
    assert_eq!(framer.buffered(), 0);
}

#[test]
fn keep_alives_are_told_apart() {
    let mut framer = StreamFramer::default();
    framer.push(b"\r\n\r\n");
    assert_eq!(frames(&mut framer), [Frame::Ping]);
    framer.push(b"\r\n");
    assert_eq!(frames(&mut framer), [Frame::Pong]);
    framer.push(b"\r\n");
    assert_eq!(frames(&mut framer), [Frame::Ping]);
    framer.push(b"\r\n");
    assert_eq!(frames(&mut framer), [Frame::Pong]);
    let m = message("Content-Length: 0", "");
    framer.push(m.as_bytes());
    assert_eq!(frames(&mut framer), [Frame::Message(m.into())]);
    framer.push(b"\r\n\r\n");
    assert_eq!(frames(&mut framer), [Frame::Ping]);
}

/// A body that looks like a request must stay a body.
#[test]
fn an_untrimmed_content_length_smuggles_nothing() {
    let bye = "BYE sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    for name in ["Content-Length ", "content-length\t", "L", "l  "] {
        let text = message(&format!("{name}: {}", bye.len()), bye);
        let mut framer = StreamFramer::default();
        framer.push(text.as_bytes());
        assert_eq!(frames(&mut framer), [Frame::Message(text.into())]);
    }
    let folded = message(&format!("Content-Length:\r\n {}", bye.len()), bye);
    let mut framer = StreamFramer::default();
    framer.push(folded.as_bytes());
    assert_eq!(frames(&mut framer), [Frame::Message(folded.into())]);
}

#[test]
fn lengths_that_cannot_be_believed_end_the_connection() {
    let kind = |length| match only_error(&message(length, "abc")) {
        FrameError::Length(error) => error.kind,
        other => panic!("{other}"),
    };
    assert_eq!(kind("Content-Length: 3\r\nl: 4"), ParseErrorKind::Repeated);
    assert_eq!(kind("Content-Length: 18446744073709551615"), ParseErrorKind::Range);
    assert_eq!(kind("Content-Length: 99999999999999999999999"), ParseErrorKind::Range);
    assert_eq!(kind("Content-Length: -1"), ParseErrorKind::Syntax);
    assert_eq!(kind("Content-Length: 3, 3"), ParseErrorKind::Syntax);
    assert_eq!(kind("Content-Length:"), ParseErrorKind::Syntax);
    assert_eq!(kind("Content-Type: text/plain"), ParseErrorKind::Missing);
    let huge = message("Content-Length: 4294967295", "");
    assert_eq!((only_error(&huge), only_error(&huge).status()), (FrameError::TooLarge, 513));
}

#[test]
fn headers_without_end_are_refused_at_the_limit() {
    let mut framer = StreamFramer::default();
    let mut pushed = 0;
    loop {
        framer.push(b"X-Pad: 0123456789\r\n");
        pushed += 19;
        match framer.next_frame() {
            Ok(None) => assert!(pushed <= 66_000),
            Ok(other) => panic!("{other:?}"),
            Err(error) => return assert_eq!(error, FrameError::TooLarge),
        }
    }
}

/// The search for the end of the headers never starts over: a byte is looked at once.
#[test]
fn dribbled_headers_cost_linear_time() {
    let mut text = message("Content-Length: 0", "");
    text.insert_str(text.len() - 2, &"X-Pad: 0123456789\r\n".repeat(3300));
    let mut framer = StreamFramer::default();
    let mut looked_at = 0;
    for byte in text.as_bytes() {
        let before = framer.scanned;
        framer.push(&[*byte]);
        let done = framer.next_frame().unwrap().is_some();
        looked_at += if done { 1 } else { framer.scanned - before };
    }
    assert_eq!(looked_at, text.len());
}
