//! R1.1: what is legal though rare, and what nobody knows: read where it must be, passed byte-exact.

use sip::{Edit, HeaderName, Message, NameAddr, StreamFramer, Uri};

fn request(start: &str, lines: &str, body: &str) -> Vec<u8> {
    format!(
        "{start}\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\n\
         Call-ID: 1\r\nCSeq: 1 {method}\r\n{lines}Content-Length: {len}\r\n\r\n{body}",
        method = start.split(' ').next().unwrap(),
        len = body.len(),
    )
    .into_bytes()
}

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes.to_vec().into()).unwrap()
}

/// Through a proxy's splice and a stream, with nothing changed but what the proxy adds.
fn passes(bytes: &[u8]) -> Message {
    let message = parse(bytes);
    let sent = Edit::new(&message).prepend(HeaderName::VIA, "SIP/2.0/TCP p").finish();
    let mut framer = StreamFramer::default();
    framer.push(sent.bytes());
    let Ok(Some(sip::Frame::Message(frame))) = framer.next_frame() else { panic!() };
    let received = Edit::new(&parse(&frame)).remove_first(HeaderName::VIA).finish();
    assert_eq!(received.bytes(), bytes);
    received
}

#[test]
fn r1_1_every_compact_form_is_its_long_name() {
    let compact = "u: a\r\na: b\r\nc: d/e\r\ne: f\r\nd: g\r\no: h\r\ny: i\r\nj: k\r\nr: <sip:l>\r\n\
                   b: <sip:m>\r\nx: 90\r\ns: n\r\nk: o\r\nm: <sip:p>\r\n";
    let names = "Allow-Events Accept-Contact Content-Type Content-Encoding Request-Disposition Event \
                 Identity Reject-Contact Refer-To Referred-By Session-Expires Subject Supported Contact";
    let text = String::from_utf8(request("OPTIONS sip:b@x SIP/2.0", compact, "")).unwrap();
    let text = text.replace("Via:", "V:").replace("From:", "F :").replace("To:", "T\t:");
    let text = text.replace("Call-ID:", "I:").replace("Content-Length:", "L :");
    let message = passes(text.as_bytes());
    for name in names.split_whitespace().chain("Via From To Call-ID Content-Length".split(' ')) {
        let values: Vec<_> = message.headers(HeaderName::from(name)).collect();
        assert!(matches!(values[..], [value] if !value.is_empty()), "{name}");
    }
    assert_eq!(
        (message.from_tag(), message.call_id()),
        (Some(b"1".as_slice()), Some(b"1".as_slice()))
    );
}

#[test]
fn r1_1_folded_values_are_read_and_pass_as_they_came() {
    let lines =
        "Subject: one\r\n two\r\n\tthree\r\nContact:\r\n <sip:a@x>\r\n ;q=0.5,\r\n <sip:b@x>\r\n";
    let message = passes(&request("OPTIONS sip:b@x SIP/2.0", lines, ""));
    assert_eq!(message.header(HeaderName::SUBJECT), Some(b"one   two  \tthree".as_slice()));
    let contacts: Vec<_> = message.contacts().map(Result::unwrap).collect();
    assert_eq!((contacts.len(), contacts[0].q()), (2, Some(500)));
}

#[test]
fn r1_1_a_multipart_body_passes_whole() {
    let body = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\nContent-Type: image/png\r\n\
                Content-Length: 3\r\n\r\n\u{1}\r\n\r\nINVITE sip:evil SIP/2.0\r\n--b--\r\n";
    let lines = "Content-Type: multipart/mixed;boundary=b\r\nMIME-Version: 1.0\r\n";
    let message = passes(&request("INVITE sip:b@x SIP/2.0", lines, body));
    assert_eq!(message.body(), body.as_bytes());
    assert!(message.has_content_type("multipart/mixed"));
}

#[test]
fn r1_1_utf8_and_escapes_are_kept_in_uris_and_names() {
    let lines = "Contact: \"J\u{f6}rg \u{65e5}\u{672c}\" <sip:j%C3%B6rg@x;p=%20>, \u{c9}va <sip:\u{e9}@x>\r\n";
    let message = passes(&request("OPTIONS sip:%61\u{fc}%2F@x SIP/2.0", lines, ""));
    let contacts: Vec<NameAddr<'_>> = message.contacts().map(Result::unwrap).collect();
    assert_eq!(
        contacts[0].display_name().unwrap().as_ref(),
        "J\u{f6}rg \u{65e5}\u{672c}".as_bytes()
    );
    assert_eq!(contacts[0].sip_uri().unwrap().user(), Some(b"j%C3%B6rg".as_slice()));
    assert_eq!(contacts[1].uri(), "sip:\u{e9}@x".as_bytes());
    let Ok(Uri::Sip(target)) = Uri::parse(message.request_uri()) else { panic!() };
    assert_eq!(target.user(), Some("%61\u{fc}%2F".as_bytes()));
}

#[test]
fn r1_1_header_bytes_that_are_not_utf8_pass_and_hide_nothing() {
    let mut bytes =
        request("OPTIONS sip:b@x SIP/2.0", "X-Raw: ~~~~\r\nSubject: ~~\r\nX-Next: 1\r\n", "");
    bytes.iter_mut().filter(|b| **b == b'~').for_each(|b| *b = 0xfe);
    let message = passes(&bytes);
    assert_eq!(message.header("x-raw"), Some([0xfe; 4].as_slice()));
    assert_eq!((message.header_str("x-raw"), message.header_str("x-next")), (None, Some("1")));
}

#[test]
fn r1_1_what_nobody_knows_passes_byte_exact() {
    let lines = "X-New;odd: no\r\n";
    assert!(Message::parse(request("OPTIONS sip:b@x SIP/2.0", lines, "").into()).is_err());
    let lines = "X-New : ;;,\"\r\nContact: <tel:+1;ext=2>;new=\"a;b\";x\r\nRoute: <new.scheme:any@thing?x>\r\n\
                 p-UNKNOWN:\r\n";
    for start in ["FETCH. new+scheme://a/b;c?d SIP/2.0", "OPTIONS sip:b@x;new;p=1 sip/2.0"] {
        let message = passes(&request(start, lines, "body"));
        assert_eq!(message.method().unwrap(), start.split(' ').next().unwrap());
        assert_eq!(message.header("P-Unknown"), Some(b"".as_slice()));
        let contact = message.contacts().next().unwrap().unwrap();
        assert_eq!(
            (contact.uri(), contact.param("NEW")),
            (b"tel:+1;ext=2".as_slice(), Some(b"a;b".as_slice()))
        );
        assert_eq!(message.routes().next().unwrap().unwrap().uri(), b"new.scheme:any@thing?x");
    }
}
