//! R1.1: RFC 4475, all 49 messages by name.

use sip::{Edit, HeaderName, Message, Method, ParseErrorKind, StreamFramer, Uri, response_to};

use super::vector;

/// What a parser must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Well-formed; what to do with it is for the layers above.
    Valid,
    /// To be answered with this status.
    Refused(u16),
    /// A response that must be dropped.
    Dropped,
}

use Verdict::{Dropped, Refused, Valid};

/// Section of the RFC, name, verdict.
const VERDICTS: [(&str, &str, Verdict); 49] = [
    ("3.1.1.1", "wsinv", Valid),
    ("3.1.1.2", "intmeth", Valid),
    ("3.1.1.3", "esc01", Valid),
    ("3.1.1.4", "escnull", Valid),
    ("3.1.1.5", "esc02", Valid),
    ("3.1.1.6", "lwsdisp", Valid),
    ("3.1.1.7", "longreq", Valid),
    ("3.1.1.8", "dblreq", Valid),
    ("3.1.1.9", "semiuri", Valid),
    ("3.1.1.10", "transports", Valid),
    ("3.1.1.11", "mpart01", Valid),
    ("3.1.1.12", "unreason", Valid),
    ("3.1.1.13", "noreason", Valid),
    ("3.1.2.1", "badinv01", Refused(400)),
    ("3.1.2.2", "clerr", Refused(400)),
    ("3.1.2.3", "ncl", Refused(400)),
    ("3.1.2.4", "scalar02", Refused(400)),
    ("3.1.2.5", "scalarlg", Dropped),
    ("3.1.2.6", "quotbal", Refused(400)),
    ("3.1.2.7", "ltgtruri", Refused(400)),
    ("3.1.2.8", "lwsruri", Refused(400)),
    ("3.1.2.9", "lwsstart", Refused(400)),
    ("3.1.2.10", "trws", Refused(400)),
    ("3.1.2.11", "escruri", Refused(400)),
    // Only who needs the date may refuse it.
    ("3.1.2.12", "baddate", Valid),
    ("3.1.2.13", "regbadct", Refused(400)),
    ("3.1.2.14", "badaspec", Refused(400)),
    ("3.1.2.15", "baddn", Refused(400)),
    ("3.1.2.16", "badvers", Refused(505)),
    ("3.1.2.17", "mismatch01", Refused(400)),
    ("3.1.2.18", "mismatch02", Refused(400)),
    ("3.1.2.19", "bigcode", Dropped),
    // Transactions fall back to RFC 2543 matching.
    ("3.2.1", "badbranch", Valid),
    ("3.3.1", "insuf", Refused(400)),
    // 416 is for whoever is asked to route it.
    ("3.3.2", "unkscm", Valid),
    ("3.3.3", "novelsc", Valid),
    ("3.3.4", "unksm2", Valid),
    // 420, 415 and 401 are for the user agent or the registrar.
    ("3.3.5", "bext01", Valid),
    ("3.3.6", "invut", Valid),
    ("3.3.7", "regaut01", Valid),
    ("3.3.8", "multi01", Refused(400)),
    ("3.3.9", "mcl01", Refused(400)),
    // Transactions see that the second Via is not ours.
    ("3.3.10", "bcast", Valid),
    // 483 is for proxies; OPTIONS may be answered.
    ("3.3.11", "zeromf", Valid),
    ("3.3.12", "cparam01", Valid),
    ("3.3.13", "cparam02", Valid),
    ("3.3.14", "regescrt", Valid),
    ("3.3.15", "sdp01", Valid),
    ("3.4.1", "inv2543", Valid),
];

fn parse(name: &str) -> Result<Message, sip::ParseError> {
    Message::parse(vector(&format!("rfc4475/{name}")).into())
}

fn valid(name: &str) -> Message {
    parse(name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn r1_1_every_message_gets_its_verdict() {
    for (section, name, verdict) in VERDICTS {
        let is_response = vector(&format!("rfc4475/{name}")).starts_with(b"SIP/");
        let got = match parse(name) {
            Ok(_) => Valid,
            Err(_) if is_response => Dropped,
            Err(error) => Refused(error.status()),
        };
        assert_eq!(got, verdict, "{section} {name}: {:?}", parse(name).err());
    }
}

/// Every refused request can be answered, also where its topmost Via is the fault: it is copied as
/// it is, and the answer goes where the request came from.
#[test]
fn r1_1_refused_requests_can_be_answered() {
    for (_, name, verdict) in VERDICTS {
        let Refused(status) = verdict else { continue };
        let lenient = Message::parse_lenient(vector(&format!("rfc4475/{name}")).into());
        let request = lenient.unwrap_or_else(|| panic!("{name}"));
        let answer = response_to(&request, status, "").to_tag("x").build();
        assert_eq!(answer.status(), Some(status));
        assert_eq!(answer.call_id(), request.call_id(), "{name}");
        assert!(answer.headers(HeaderName::VIA).eq(request.headers(HeaderName::VIA)), "{name}");
    }
}

/// What is valid is passed on byte-exact, and an edit moves nothing else.
#[test]
fn r1_1_valid_messages_pass_byte_exact() {
    for (_, name, verdict) in VERDICTS {
        if verdict != Valid {
            continue;
        }
        let bytes = vector(&format!("rfc4475/{name}"));
        let message = valid(name);
        assert!(bytes.starts_with(message.bytes()), "{name}");
        assert_eq!(Edit::new(&message).finish().bytes(), message.bytes(), "{name}");
        let pushed = Edit::new(&message).prepend(HeaderName::VIA, "SIP/2.0/UDP p").finish();
        let back = Edit::new(&pushed).remove_first(HeaderName::VIA).finish();
        assert_eq!(back.bytes(), message.bytes(), "{name}");
    }
}

#[test]
fn wsinv_is_read_through_all_its_white_space() {
    let m = valid("wsinv");
    assert_eq!(m.to_tag(), Some(b"1918181833n".as_slice()));
    assert_eq!(m.from_().unwrap().display_name().unwrap().as_ref(), b"J Rosenberg \\\"");
    assert_eq!(m.max_forwards(), Some(68));
    assert_eq!(m.cseq().unwrap().number, 9);
    let vias: Vec<_> = m.vias().map(|v| v.unwrap()).collect();
    assert_eq!(
        vias.iter().map(sip::Via::host).collect::<Vec<_>>(),
        ["192.0.2.2", "spindle.example.com", "192.168.255.111"]
    );
    assert_eq!(vias[2].branch(), Some(b"z9hG4bK30239".as_slice()));
    let contact = m.contacts().next().unwrap().unwrap();
    assert_eq!((contact.q(), contact.param("newparam")), (Some(330), Some(b"newvalue".as_slice())));
    assert_eq!(contact.display_name().unwrap().as_ref(), b"Quoted string \"\"");
    assert_eq!(m.header(HeaderName::SUBJECT), Some(b"".as_slice()));
    assert_eq!(m.header("UnknownHeaderWithUnusualValue"), Some(b";;,,;;,;".as_slice()));
    assert_eq!(m.body().len(), 150);
}

#[test]
fn intmeth_keeps_its_method_and_odd_tokens() {
    let m = valid("intmeth");
    let method = m.method().unwrap();
    assert_eq!(method, "!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(m.cseq().unwrap().method, method);
    assert_eq!(m.from_tag(), Some(b"_token~1'+`*%!-.".as_slice()));
    assert_eq!(m.to().unwrap().display_name().unwrap().as_ref(), b"BEL:\x07 NUL:\x00 DEL:\x7f");
    let Ok(Uri::Sip(uri)) = Uri::parse(m.request_uri()) else { panic!() };
    assert_eq!(uri.password(), Some(b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)".as_slice()));
}

#[test]
fn escapes_are_kept_and_never_widen_what_they_stand_in() {
    let m = valid("esc01");
    let Ok(Uri::Sip(uri)) = Uri::parse(m.request_uri()) else { panic!() };
    assert_eq!(
        (uri.user(), uri.host()),
        (Some(b"sips%3Auser%40example.com".as_slice()), "example.net")
    );
    let m = valid("esc02");
    assert_ne!(m.method(), Some(Method::REGISTER));
    assert_eq!(m.contacts().count(), 2);
    assert_eq!(valid("escnull").contacts().count(), 2);
    let m = valid("semiuri");
    let Ok(Uri::Sip(uri)) = Uri::parse(m.request_uri()) else { panic!() };
    assert_eq!(uri.user(), Some(b"user;par=u%40example.net".as_slice()));
}

#[test]
fn long_and_many_values_are_all_there() {
    let m = valid("longreq");
    assert_eq!(m.vias().count(), 34);
    assert!(m.vias().all(|v| v.is_ok()));
    assert_eq!(valid("transports").vias().count(), 5);
    assert_eq!(valid("unreason").reason().len(), 74);
    assert_eq!(valid("noreason").reason(), b"");
}

/// §3.1.1.8: over UDP the second request is surplus; on a stream it is the next message.
#[test]
fn dblreq_is_one_request_in_a_datagram_and_two_on_a_stream() {
    assert_eq!(valid("dblreq").method(), Some(Method::REGISTER));
    let mut framer = StreamFramer::default();
    framer.push(&vector("rfc4475/dblreq"));
    let mut methods = Vec::new();
    // The bytes left over make no third message: the RFC's Content-Length is one short.
    while methods.len() < 2 {
        match framer.next_frame().unwrap() {
            Some(sip::Frame::Message(bytes)) => {
                methods.push(Message::parse(bytes).unwrap().method().unwrap().to_string());
            }
            Some(_) => {}
            None => break,
        }
    }
    assert_eq!(methods, ["REGISTER", "INVITE"]);
}

/// §3.3.12 and §3.3.13: brackets decide whose parameter it is.
#[test]
fn contact_parameters_belong_where_the_brackets_say() {
    let (one, two) = (valid("cparam01"), valid("cparam02"));
    let bare = one.contacts().next().unwrap().unwrap();
    assert_eq!(bare.param("unknownparam"), Some(b"".as_slice()));
    assert!(!bare.sip_uri().unwrap().has_param("unknownparam"));
    let bracketed = two.contacts().next().unwrap().unwrap();
    assert_eq!(bracketed.param("unknownparam"), None);
    assert!(bracketed.sip_uri().unwrap().has_param("unknownparam"));
    let m = valid("regescrt");
    let escaped = m.contacts().next().unwrap().unwrap();
    assert_eq!(escaped.sip_uri().unwrap().headers(), b"Route=%3Csip:sip.example.com%3E");
}

#[test]
fn faults_name_their_kind() {
    let kind = |name| parse(name).unwrap_err().kind;
    assert_eq!(kind("clerr"), ParseErrorKind::Incomplete);
    assert_eq!(kind("scalar02"), ParseErrorKind::Range);
    assert_eq!(kind("scalarlg"), ParseErrorKind::Range);
    assert_eq!(kind("badvers"), ParseErrorKind::Version);
    assert_eq!(kind("mismatch01"), ParseErrorKind::Mismatch);
    assert_eq!(kind("insuf"), ParseErrorKind::Missing);
    assert_eq!(kind("multi01"), ParseErrorKind::Repeated);
    assert_eq!(kind("mcl01"), ParseErrorKind::Repeated);
}
