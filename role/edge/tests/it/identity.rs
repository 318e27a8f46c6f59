//! Nobody calls under another's name (R2.5).

use crate::lab::{EMPTY, Lab, credentials, request, text, with_sdp};
use crate::talk::{BOB, talk};
use edge::{Config, EdgeEvent};
use sip::{HeaderName, Message};

/// user1 owns +4930123456 and 7001, user3 owns +4930999999.
fn lab() -> Lab {
    lab_with(Config::default())
}

fn lab_with(config: Config) -> Lab {
    let mut lab = Lab::with(1, config);
    lab.user("user2", &[2]);
    for (number, user) in [("+4930123456", "user1"), ("7001", "user1"), ("+4930999999", "user3")] {
        lab.world().numbers.insert(number.into(), user.into());
    }
    lab
}

/// Phone 1, which knows user1's password, invites user2 with a request changed by `edit`. What it
/// got for it beside challenges and 100.
fn call(lab: &mut Lab, edit: impl Fn(String) -> String) -> Option<Message> {
    let first = edit(request("INVITE", 1, "user1", BOB, &with_sdp("")));
    lab.send(1, first);
    let challenge = lab.next(1);
    if challenge.status() != Some(407) {
        return Some(challenge);
    }
    let auth = credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
    let second = edit(request("INVITE", 1, "user1", BOB, &with_sdp(&auth)));
    lab.send(1, second);
    let answer = lab.next(1);
    (answer.status() != Some(100)).then_some(answer)
}

fn with_line(line: &str) -> impl Fn(String) -> String {
    let line = format!("{line}\r\nUser-Agent");
    move |invite| invite.replacen("User-Agent", &line, 1)
}

fn with_from(from: &str) -> impl Fn(String) -> String {
    let from = format!("From: {from};tag=from1\r\n");
    move |invite| invite.replacen("From: <sip:user1@example.com>;tag=from1\r\n", &from, 1)
}

fn with_contact(contact: &str) -> impl Fn(String) -> String {
    let contact = format!("Contact: {contact}\r\n");
    move |invite| invite.replacen("Contact: <sip:user1@192.0.2.1:5060>\r\n", &contact, 1)
}

/// The call is refused with 403 naming the header, nothing reaches the callee, and one event tells
/// who tried to be whom.
fn assert_refused(edit: impl Fn(String) -> String, header: &str, what: &str) {
    let mut lab = lab();
    let answer = call(&mut lab, edit).unwrap_or_else(|| panic!("{what} passed"));
    assert_eq!(answer.status(), Some(403), "{what}");
    assert_eq!(text(Some(answer.reason())), format!("Not Your {header}"), "{what}");
    assert!(lab.is_empty(2), "{what} reached the callee");
    let told = lab.events.iter().filter_map(|event| match event {
        EdgeEvent::IdentityRefused { user, header, .. } => Some((user.reveal().clone(), *header)),
        EdgeEvent::AuthFailed { .. } => panic!("{what} counts as a wrong password"),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{what}");
    assert_eq!((told[0].0.as_str(), told[0].1), ("user1@example.com", header), "{what}");
    assert_eq!(lab.shards[0].counters().identities_refused, 1);
    lab.assert_nothing_left();
}

fn assert_passes(edit: impl Fn(String) -> String, what: &str) -> Message {
    let mut lab = lab();
    let answer = call(&mut lab, edit);
    assert!(answer.is_none(), "{what}: {answer:?}");
    lab.find(2, "INVITE")
}

#[test]
fn r2_5_a_from_of_somebody_else_is_refused_in_every_spelling() {
    for from in [
        "<sip:user2@example.com>",
        "<sip:user3@example.com>",
        "<sip:%75ser3@example.com>",
        "<sips:user3@example.com>",
        "sip:user3@example.com",
        "<sip:user3@EXAMPLE.com>",
        "<sip:user3@198.51.100.1>",
        "<sip:user3@example.com;user=phone>",
        "<sip:User1@example.com>",
        "<sip:user1;x=y@example.com>",
        "<sip:user1%40evil@example.com>",
        "<sip:user1%20@example.com>",
        "<sip:user1%00@example.com>",
        "<sip:nobody@example.com>",
        "<sip:+4930999999@example.com>",
        "<sip:+49-30-999999@example.com;user=phone>",
        "<sip:+4930123456;rn=+4930999999@example.com;user=phone>",
        "<sip:4930123456@example.com;user=phone>",
        "<tel:+4930999999>",
        "<tel:+49-30-99-99-99>",
        "<tel:+4930123456;rn=+4930999999>",
        "<tel:+4930123456;phone-context=example.com>",
        "<tel:7001;phone-context=elsewhere.example>",
        "<tel:112>",
    ] {
        let mut lab = lab();
        let answer = call(&mut lab, with_from(from));
        let answer = answer.unwrap_or_else(|| panic!("{from} passed"));
        // What is no number at all is no From.
        assert!(matches!(answer.status(), Some(400 | 403)), "{from}: {answer:?}");
        assert!(lab.is_empty(2), "{from}");
    }
    assert_refused(with_from("<sip:user3@example.com>"), "From", "another user");
    assert_refused(with_from("<sip:+4930999999@example.com>"), "From", "another's number");
    assert_refused(with_from("<tel:+4930999999>"), "From", "another's tel");
}

#[test]
fn r2_5_own_names_and_granted_numbers_pass() {
    for from in [
        "<sip:user1@example.com>",
        "Alice <sip:%75ser1@example.com>",
        "<sips:user1@example.com>",
        "<sip:user1@198.51.100.1:5060>",
        "<sip:+4930123456@example.com>",
        "<sip:+49-30-12(34)56@example.com;user=phone>",
        "\"+49 30 123456\" <sip:+4930123456@example.com;user=phone>",
        "<sip:7001@example.com>",
        "<tel:+49-30-123456>",
        "<tel:7001;phone-context=example.com>",
        "\"user1@example.com\" <sip:user1@example.com>",
    ] {
        let invite = assert_passes(with_from(from), from);
        let sent = text(invite.header(HeaderName::FROM));
        assert!(sent.starts_with(from), "byte for byte: {sent}");
    }
}

#[test]
fn r2_5_a_display_name_claims_no_other_number_or_address() {
    for display in [
        "\"+49 30 999999\"",
        "\"+4930999999\"",
        "\"sip:user3@example.com\"",
        "\"user3@example.com\"",
        "\"Support <tel:+4930999999>\"",
        "\"110\"",
        "\"\\+\\4\\9\\3\\0\\9\\9\\9\\9\\9\\9\"",
    ] {
        let from = format!("{display} <sip:user1@example.com>");
        assert_refused(with_from(&from), "From", &from);
    }
    let config = Config { check_display_names: false, ..Config::default() };
    let passed = call(&mut lab_with(config), with_from("\"110\" <sip:user1@example.com>"));
    assert!(passed.is_none(), "where it is not checked: {passed:?}");
}

#[test]
fn r2_5_every_header_that_names_the_caller_is_checked() {
    for (header, name) in [
        ("P-Asserted-Identity", "P-Asserted-Identity"),
        ("P-Preferred-Identity", "P-Preferred-Identity"),
        ("Remote-Party-ID", "Remote-Party-ID"),
        ("Diversion", "Diversion"),
    ] {
        for value in [
            "<sip:user3@example.com>",
            "<tel:+4930999999>",
            "\"Boss\" <sip:boss@elsewhere.example>;party=calling",
            "<sip:user1@example.com>, <sip:user3@example.com>",
            "<tel:+4930123456>, <tel:+4930999999>",
            "\"+4930999999\" <sip:user1@example.com>",
            "<sip:user1@elsewhere.example>",
            "<urn:service:sos>",
        ] {
            assert_refused(with_line(&format!("{header}: {value}")), name, value);
        }
        let twice =
            format!("{header}: <sip:user1@example.com>\r\n{header}: <sip:user3@example.com>");
        assert_refused(with_line(&twice), name, "the second of two");
        let lower = format!("{}: <sip:user3@example.com>", header.to_lowercase());
        assert_refused(with_line(&lower), name, "in small letters");
        let own = assert_passes(with_line(&format!("{header}: <tel:+4930123456>")), header);
        if header != "Diversion" {
            assert!(own.header(HeaderName::from(header)).is_none(), "not for phones to hear");
        }
        let mut lab = lab();
        let unreadable = call(&mut lab, with_line(&format!("{header}: <sip:"))).unwrap();
        assert_eq!(unreadable.status(), Some(400), "{header}");
    }
}

#[test]
fn r2_5_a_contact_leads_to_its_sender() {
    for contact in [
        "<sip:user2@example.com>",
        "<sip:user3@192.0.2.1:5060>",
        "<sip:%75ser3@192.0.2.1:5060>",
        "<sip:+4930999999@192.0.2.1>",
        "<sip:4930@192.0.2.1>, <sip:user3@example.com>",
        "<sip:+15550100@192.0.2.1>",
        "<sip:anything@example.com>",
    ] {
        assert_refused(with_contact(contact), "Contact", contact);
    }
    for contact in [
        "<sip:192.0.2.1:5060>",
        "<sip:k3j2h1@192.0.2.1:5060;transport=udp>",
        "<sip:q9@abcdef.invalid;transport=ws>",
        "<sip:+4930123456@192.0.2.1>",
        "<sip:7001@192.0.2.1>",
        "<sip:user1@example.com>",
    ] {
        assert_passes(with_contact(contact), contact);
    }
}

#[test]
fn r2_5_an_anonymous_call_is_authenticated_all_the_same() {
    let hidden = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    let private = |invite: String| {
        let line = "P-Preferred-Identity: <tel:+4930123456>\r\nPrivacy: id";
        with_line(line)(with_from(hidden)(invite))
    };
    let invite = assert_passes(private, "anonymous");
    assert!(text(invite.header(HeaderName::FROM)).starts_with(hidden));
    for name in ["P-Preferred-Identity", "P-Asserted-Identity"] {
        assert!(invite.header(name).is_none(), "{name} tells who calls");
    }
    assert_passes(with_from("<sip:anonymous@example.com>"), "anonymous at home");
    let mut lab = lab();
    let stranger = with_from(hidden);
    lab.send(1, stranger(request("INVITE", 1, "user1", BOB, &with_sdp(""))));
    let challenge = lab.next(1);
    assert_eq!(challenge.status(), Some(407), "nobody calls without a password");
    let auth = credentials(&challenge, "INVITE", BOB, "user1", "wrong");
    lab.send(1, stranger(request("INVITE", 1, "user1", BOB, &with_sdp(&auth))));
    assert_eq!(lab.next(1).status(), Some(403));
    let elsewhere = with_line("P-Preferred-Identity: <sip:user3@example.com>");
    let both = |invite: String| elsewhere(with_from(hidden)(invite));
    assert_refused(both, "P-Preferred-Identity", "anonymous under another's preferred name");
}

#[test]
fn r2_5_a_message_is_checked_like_a_call() {
    let mut lab = lab();
    let spoofed = |auth: &str| {
        let message = request("MESSAGE", 1, "user1", BOB, &format!("{auth}{EMPTY}"));
        message.replacen("<sip:user1@example.com>", "<sip:user3@example.com>", 1)
    };
    lab.send(1, spoofed(""));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "MESSAGE", BOB, "user1", "pw-user1");
    lab.send(1, spoofed(&auth));
    assert_eq!(text(Some(lab.next(1).reason())), "Not Your From");
    assert!(lab.is_empty(2));
}

#[test]
fn r2_5_nobody_takes_another_name_inside_a_dialog() {
    let mut talk = talk(1);
    let renamed = |request: String, from: &str, to: &str| {
        let branch = format!("z9hG4bK{}", to.len());
        request.replacen(from, to, 1).replacen("z9hG4bKINFO11", &branch, 1)
    };
    let update = talk.by_caller("INFO", 3);
    let spoofed = renamed(update, "<sip:user1@example.com>", "<sip:user3@example.com>");
    talk.lab.send(1, spoofed);
    assert_eq!(text(Some(talk.lab.find(1, "403").reason())), "Not Your From");
    let shown = talk.by_caller("INFO", 4);
    let spoofed = renamed(shown, "<sip:user1@example.com>", "\"110\" <sip:user1@example.com>");
    talk.lab.send(1, spoofed);
    talk.lab.find(1, "403");
    let named = talk.by_caller("INFO", 5);
    let named = renamed(named, "<sip:user1@example.com>", "\"Alice\" <sip:user1@example.com>");
    talk.lab.send(1, named);
    talk.lab.find(2, "INFO");
}
