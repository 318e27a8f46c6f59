//! Framer and parser must agree on where every message ends, or one message can hide another.

use sip::{Frame, Message, ParseErrorKind, StreamFramer};

const BYE: &str = "BYE sip:b@x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK2\r\nFrom: <sip:a@x>;tag=1\r\n\
    To: <sip:b@x>;tag=2\r\nCall-ID: 1\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n";

fn carrier(length_lines: &str) -> String {
    format!(
        "MESSAGE sip:b@x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
         To: <sip:b@x>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n{length_lines}\r\n\r\n{BYE}"
    )
}

fn frames(text: &str) -> Result<Vec<Message>, ParseErrorKind> {
    let mut framer = StreamFramer::default();
    framer.push(text.as_bytes());
    let mut out = Vec::new();
    loop {
        match framer.next_frame() {
            Ok(Some(Frame::Message(bytes))) => out.push(Message::parse(bytes).unwrap()),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(out),
            Err(sip::FrameError::Length(error)) => return Err(error.kind),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn r1_1_a_body_stays_a_body_however_its_length_is_spelt() {
    let n = BYE.len();
    for lines in [
        format!("Content-Length: {n}"),
        format!("Content-Length : {n}"),
        format!("Content-Length\t :{n}  "),
        format!("cOnTeNt-LeNgTh:\r\n  {n}"),
        format!("L: {n}"),
        format!("l :000000{n}"),
        format!("Content-Length: {n}\r\nl: {n}"),
    ] {
        let got = frames(&carrier(&lines)).unwrap();
        assert_eq!(got.len(), 1, "{lines}");
        assert_eq!(got[0].body(), BYE.as_bytes(), "{lines}");
    }
}

#[test]
fn r1_1_lengths_nobody_can_agree_on_are_refused_by_both() {
    let n = BYE.len();
    for (lines, kind) in [
        (format!("Content-Length: 0\r\nContent-Length: {n}"), ParseErrorKind::Repeated),
        (format!("l: {n}\r\nContent-Length : 0"), ParseErrorKind::Repeated),
        ("Content-Length: 18446744073709551615".into(), ParseErrorKind::Range),
        ("Content-Length: 4294967296".into(), ParseErrorKind::Range),
        (format!("Content-Length: +{n}"), ParseErrorKind::Syntax),
        (format!("Content-Length: {n}, {n}"), ParseErrorKind::Syntax),
        ("Content-Length: 0x10".into(), ParseErrorKind::Syntax),
        ("Content-Length:".into(), ParseErrorKind::Syntax),
    ] {
        let text = carrier(&lines);
        assert_eq!(frames(&text).unwrap_err(), kind, "{lines}");
        assert_eq!(Message::parse(text.into()).unwrap_err().kind, kind, "{lines}");
    }
}

#[test]
fn r1_1_a_line_of_bad_utf8_hides_nothing_behind_it() {
    let text = carrier(&format!("X-Name: \u{1}\u{1}\r\nContent-Length: {}", BYE.len()));
    let mut bytes = text.into_bytes();
    for byte in bytes.iter_mut().filter(|b| **b == 1) {
        *byte = 0xff;
    }
    let mut framer = StreamFramer::default();
    framer.push(&bytes);
    let Ok(Some(Frame::Message(frame))) = framer.next_frame() else { panic!() };
    assert_eq!(frame.len(), bytes.len());
    assert_eq!(Message::parse(frame).unwrap().body(), BYE.as_bytes());
}

/// A peer that ends lines at a bare LF or CR would see a header we do not.
#[test]
fn r1_1_bare_line_ends_are_refused() {
    for sneaky in ["X: a\nContent-Length: 9", "X: a\rContent-Length: 9", "X: a\n\nBYE"] {
        let text = carrier(&format!("{sneaky}\r\nContent-Length: {}", BYE.len()));
        assert_eq!(Message::parse(text.into()).unwrap_err().kind, ParseErrorKind::Syntax);
    }
}
