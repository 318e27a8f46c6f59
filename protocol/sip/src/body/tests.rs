//! RFC 5621, and what must not pass unseen.

use super::*;
use crate::RequestBuilder;
use crate::method::Method;

const OFFER: &[u8] = b"v=0\r\nm=audio 4000 RTP/AVP 0\r\n";

fn message(content_type: &str, body: &[u8]) -> Message {
    RequestBuilder::new(Method::INVITE, "sip:b@h")
        .header(HeaderName::VIA, "SIP/2.0/UDP h;branch=z9hG4bK1")
        .header(HeaderName::FROM, "<sip:a@h>;tag=1")
        .header(HeaderName::TO, "<sip:b@h>")
        .header(HeaderName::CALL_ID, "x")
        .header(HeaderName::CSEQ, "1 INVITE")
        .body(content_type, body)
        .build()
}

/// A SIP-T body: a description and an ISUP message, as in RFC 3372 §4.
fn sip_t() -> Vec<u8> {
    let isup: &[u8] = &[1, 0, b'\n', 3, 2, 0, 0xff, b'\r', b'\n', b'-', b'-', b'x'];
    [
        b"a preamble\r\n--unique-boundary-1\r\nContent-Type: application/SDP; charset=ISO-10646\r\n\r\n",
        OFFER,
        b"\r\n--unique-boundary-1\r\nContent-Type: application/ISUP; version=nxv3\r\n\
          Content-Disposition: signal; handling=optional\r\n\r\n",
        isup,
        b"\r\n--unique-boundary-1--\r\n",
    ]
    .concat()
}

const MIXED: &str = "multipart/mixed; boundary=\"unique-boundary-1\"";

#[test]
fn r1_6_a_description_is_found_alone_and_among_others() {
    assert_eq!(description(&message("application/sdp", OFFER)), Description::Sdp(OFFER));
    assert_eq!(description(&message("Application/SDP;x=y", OFFER)), Description::Sdp(OFFER));
    assert_eq!(description(&message(MIXED, &sip_t())), Description::Sdp(OFFER));
    assert_eq!(description(&message("application/isup", b"\x01")), Description::Absent);
    assert_eq!(description(&message("application/sdp", b"")), Description::Absent);
}

#[test]
fn r1_6_a_description_is_replaced_and_every_other_byte_stays() {
    let whole = message(MIXED, &sip_t());
    let edited =
        replace_description(Edit::new(&whole), &whole, b"v=0\r\nlonger than it was\r\n\r\n");
    let edited = edited.finish();
    let at = sip_t().windows(OFFER.len()).position(|w| w == OFFER).unwrap();
    let wanted = [
        &sip_t()[..at],
        b"v=0\r\nlonger than it was\r\n\r\n".as_slice(),
        &sip_t()[at + OFFER.len()..],
    ]
    .concat();
    assert_eq!(edited.body(), wanted);
    assert_eq!(edited.header_str(HeaderName::CONTENT_TYPE), Some(MIXED));
    let length = wanted.len().to_string();
    assert_eq!(edited.header_str(HeaderName::CONTENT_LENGTH), Some(length.as_str()));
    let alone = message("application/sdp", OFFER);
    assert_eq!(replace_description(Edit::new(&alone), &alone, b"v=1").finish().body(), b"v=1");
}

#[test]
fn r1_6_what_two_readers_could_read_differently_is_hidden() {
    let sdp = "Content-Type: application/sdp\r\n\r\nv=0\r\n";
    let bodies = [
        // Two descriptions, one in a nested body, one encoded.
        format!("--b\r\n{sdp}\r\n--b\r\n{sdp}\r\n--b--\r\n"),
        format!(
            "--b\r\nContent-Type: multipart/mixed;boundary=c\r\n\r\n--c\r\n{sdp}\r\n--c--\r\n\r\n--b--\r\n"
        ),
        format!("--b\r\nContent-Transfer-Encoding: base64\r\n{sdp}\r\n--b--\r\n"),
        // Not clean: no end, bare line feeds, text behind a delimiter, a head that never ends.
        format!("--b\r\n{sdp}\r\n"),
        format!("--b\n{sdp}\r\n--b--\r\n"),
        format!("--b\r\n{sdp}\n--b--\r\n"),
        format!("--b\r\n{sdp}\r\n--bx\r\n--b--\r\n"),
        "--b\r\nContent-Type: application/sdp\r\n--b--\r\n".to_string(),
        "nothing at all".to_string(),
    ];
    for body in bodies {
        let message = message("multipart/mixed;boundary=b", body.as_bytes());
        assert_eq!(description(&message), Description::Hidden, "{body:?}");
    }
    let unnamed = message("multipart/mixed", sip_t().as_slice());
    assert_eq!(description(&unnamed), Description::Hidden, "no boundary");
    let many = format!("{}--b--\r\n", "--b\r\n\r\nx\r\n".repeat(PARTS_MAX + 1));
    let many = message("multipart/mixed;boundary=b", many.as_bytes());
    assert_eq!(description(&many), Description::Hidden, "too many parts");
}

#[test]
fn r1_6_only_who_insists_is_refused() {
    let known = ["application/sdp"];
    assert!(!requires_other_than(&message(MIXED, &sip_t()), &known));
    let text = String::from_utf8_lossy(&sip_t()).replace("optional", "required");
    assert!(requires_other_than(&message(MIXED, text.as_bytes()), &known));
    assert!(!requires_other_than(&message("application/isup", b"\x01"), &known));
    let insists = Edit::new(&message("application/isup", b"\x01"))
        .append(HeaderName::CONTENT_DISPOSITION, "signal;handling=required")
        .finish();
    assert!(requires_other_than(&insists, &known));
}
