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

macro_rules! torture {
    ($($(#[doc = $doc:literal])* $test:ident $section:literal $name:literal $verdict:expr;)*) => {
        /// Section of the RFC, name, verdict.
        const VERDICTS: [(&str, &str, Verdict); 49] = [$(($section, $name, $verdict)),*];

        $(
            $(#[doc = $doc])*
            #[test]
            fn $test() {
                assert_verdict($name, $verdict);
            }
        )*
    };
}

torture! {
    r1_1_3_1_1_1_wsinv "3.1.1.1" "wsinv" Valid;
    r1_1_3_1_1_2_intmeth "3.1.1.2" "intmeth" Valid;
    r1_1_3_1_1_3_esc01 "3.1.1.3" "esc01" Valid;
    r1_1_3_1_1_4_escnull "3.1.1.4" "escnull" Valid;
    r1_1_3_1_1_5_esc02 "3.1.1.5" "esc02" Valid;
    r1_1_3_1_1_6_lwsdisp "3.1.1.6" "lwsdisp" Valid;
    r1_1_3_1_1_7_longreq "3.1.1.7" "longreq" Valid;
    r1_1_3_1_1_8_dblreq "3.1.1.8" "dblreq" Valid;
    r1_1_3_1_1_9_semiuri "3.1.1.9" "semiuri" Valid;
    r1_1_3_1_1_10_transports "3.1.1.10" "transports" Valid;
    r1_1_3_1_1_11_mpart01 "3.1.1.11" "mpart01" Valid;
    r1_1_3_1_1_12_unreason "3.1.1.12" "unreason" Valid;
    r1_1_3_1_1_13_noreason "3.1.1.13" "noreason" Valid;
    r1_1_3_1_2_1_badinv01 "3.1.2.1" "badinv01" Refused(400);
    r1_1_3_1_2_2_clerr "3.1.2.2" "clerr" Refused(400);
    r1_1_3_1_2_3_ncl "3.1.2.3" "ncl" Refused(400);
    r1_1_3_1_2_4_scalar02 "3.1.2.4" "scalar02" Refused(400);
    r1_1_3_1_2_5_scalarlg "3.1.2.5" "scalarlg" Dropped;
    r1_1_3_1_2_6_quotbal "3.1.2.6" "quotbal" Refused(400);
    r1_1_3_1_2_7_ltgtruri "3.1.2.7" "ltgtruri" Refused(400);
    r1_1_3_1_2_8_lwsruri "3.1.2.8" "lwsruri" Refused(400);
    r1_1_3_1_2_9_lwsstart "3.1.2.9" "lwsstart" Refused(400);
    r1_1_3_1_2_10_trws "3.1.2.10" "trws" Refused(400);
    r1_1_3_1_2_11_escruri "3.1.2.11" "escruri" Refused(400);
    /// Only who needs the date may refuse it.
    r1_1_3_1_2_12_baddate "3.1.2.12" "baddate" Valid;
    r1_1_3_1_2_13_regbadct "3.1.2.13" "regbadct" Refused(400);
    r1_1_3_1_2_14_badaspec "3.1.2.14" "badaspec" Refused(400);
    r1_1_3_1_2_15_baddn "3.1.2.15" "baddn" Refused(400);
    r1_1_3_1_2_16_badvers "3.1.2.16" "badvers" Refused(505);
    r1_1_3_1_2_17_mismatch01 "3.1.2.17" "mismatch01" Refused(400);
    /// 501 rather than 400, says the RFC: it holds up better when methods are added.
    r1_1_3_1_2_18_mismatch02 "3.1.2.18" "mismatch02" Refused(501);
    r1_1_3_1_2_19_bigcode "3.1.2.19" "bigcode" Dropped;
    /// Transactions fall back to RFC 2543 matching.
    r1_1_3_2_1_badbranch "3.2.1" "badbranch" Valid;
    r1_1_3_3_1_insuf "3.3.1" "insuf" Refused(400);
    /// 416 is for whoever is asked to route it.
    r1_1_3_3_2_unkscm "3.3.2" "unkscm" Valid;
    r1_1_3_3_3_novelsc "3.3.3" "novelsc" Valid;
    r1_1_3_3_4_unksm2 "3.3.4" "unksm2" Valid;
    /// 420, 415 and 401 are for the user agent or the registrar.
    r1_1_3_3_5_bext01 "3.3.5" "bext01" Valid;
    r1_1_3_3_6_invut "3.3.6" "invut" Valid;
    r1_1_3_3_7_regaut01 "3.3.7" "regaut01" Valid;
    r1_1_3_3_8_multi01 "3.3.8" "multi01" Refused(400);
    r1_1_3_3_9_mcl01 "3.3.9" "mcl01" Refused(400);
    /// Transactions see that the second Via is not ours.
    r1_1_3_3_10_bcast "3.3.10" "bcast" Valid;
    /// 483 is for proxies; OPTIONS may be answered.
    r1_1_3_3_11_zeromf "3.3.11" "zeromf" Valid;
    r1_1_3_3_12_cparam01 "3.3.12" "cparam01" Valid;
    r1_1_3_3_13_cparam02 "3.3.13" "cparam02" Valid;
    r1_1_3_3_14_regescrt "3.3.14" "regescrt" Valid;
    r1_1_3_3_15_sdp01 "3.3.15" "sdp01" Valid;
    r1_1_3_4_1_inv2543 "3.4.1" "inv2543" Valid;
}

/// The verdict itself, and what follows from it: a valid message passes byte-exact in a datagram and
/// on a stream, a refused request can be answered, and a stream never sees another message.
fn assert_verdict(name: &str, verdict: Verdict) {
    let bytes = vector(&format!("rfc4475/{name}"));
    let got = match parse(name) {
        Ok(_) => Valid,
        Err(_) if bytes.starts_with(b"SIP/") => Dropped,
        Err(error) => Refused(error.status()),
    };
    assert_eq!(got, verdict, "{:?}", parse(name).err());
    match verdict {
        Valid => passes_byte_exact(name, &bytes),
        Refused(status) => can_be_answered(name, status),
        Dropped => assert!(Message::parse_lenient(bytes.clone().into()).is_none()),
    }
    let mut framer = StreamFramer::default();
    framer.push(&bytes);
    if let Ok(Some(sip::Frame::Message(frame))) = framer.next_frame() {
        match (parse(name), Message::parse(frame.clone())) {
            (Ok(datagram), Ok(framed)) => assert_eq!(datagram, framed),
            (Err(datagram), Err(framed)) => assert_eq!(datagram.status(), framed.status()),
            (datagram, framed) => panic!("datagram {datagram:?}, stream {framed:?}"),
        }
    }
}

fn passes_byte_exact(name: &str, bytes: &[u8]) {
    let message = valid(name);
    assert!(bytes.starts_with(message.bytes()));
    assert_eq!(Edit::new(&message).finish().bytes(), message.bytes());
    let pushed = Edit::new(&message).prepend(HeaderName::VIA, "SIP/2.0/UDP p").finish();
    let back = Edit::new(&pushed).remove_first(HeaderName::VIA).finish();
    assert_eq!(back.bytes(), message.bytes());
}

/// Also where the topmost Via is the fault: it is copied as it is, and the answer goes where the
/// request came from.
fn can_be_answered(name: &str, status: u16) {
    let lenient = Message::parse_lenient(vector(&format!("rfc4475/{name}")).into());
    let request = lenient.expect("a request that can be answered");
    let answer = response_to(&request, status, "").to_tag("x").build();
    assert_eq!(answer.status(), Some(status));
    assert_eq!(answer.call_id(), request.call_id());
    assert!(answer.headers(HeaderName::VIA).eq(request.headers(HeaderName::VIA)));
}

/// The 49 are all there, each once, in the order of the RFC.
#[test]
fn r1_1_every_message_gets_its_verdict() {
    let mut names: Vec<_> = VERDICTS.iter().map(|(_, name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 49);
    let valid = VERDICTS.iter().filter(|(_, _, verdict)| *verdict == Valid).count();
    assert_eq!(valid, 28);
    for (section, name, _) in VERDICTS {
        assert!(section.starts_with("3."), "{name}");
        assert!(!vector(&format!("rfc4475/{name}")).is_empty(), "{name}");
    }
}

fn parse(name: &str) -> Result<Message, sip::ParseError> {
    Message::parse(vector(&format!("rfc4475/{name}")).into())
}

fn valid(name: &str) -> Message {
    parse(name).unwrap_or_else(|e| panic!("{name}: {e}"))
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
