//! Which methods are welcome from where (R2.6).

use crate::lab::{EMPTY, Lab, credentials, request, text};
use crate::talk::{BOB, talk};
use edge::{Config, MethodRule};
use sip::{HeaderName, Message};

fn send(lab: &mut Lab, method: &str, extra: &str) -> Message {
    lab.send(1, request(method, 1, "user1", BOB, &format!("{extra}{EMPTY}")));
    lab.next(1)
}

fn lab(rules: &[(&str, &str)]) -> Lab {
    let mut config = Config::default();
    for (method, rule) in rules {
        let rule = MethodRule { initial: Some((*rule).into()), in_dialog: None };
        config.methods.phone.insert((*method).into(), rule);
    }
    let mut lab = Lab::with(1, config);
    lab.user("user2", &[2]);
    lab
}

#[test]
fn r2_6_unsolicited_requests_of_phones_are_refused_before_anybody_is_asked_for_a_password() {
    for (method, headers, status) in [
        ("NOTIFY", "Event: message-summary\r\nSubscription-State: active\r\n", 481),
        ("REFER", "Refer-To: <sip:+1900@premium.example>\r\n", 403),
        ("INFO", "", 481),
        ("UPDATE", "", 481),
        ("PRACK", "RAck: 1 1 INVITE\r\n", 481),
        ("BYE", "", 481),
        ("PUBLISH", "Event: presence\r\n", 405),
        ("NEWMETHOD", "", 405),
    ] {
        let mut lab = lab(&[]);
        let answer = send(&mut lab, method, headers);
        assert_eq!(answer.status(), Some(status), "{method}");
        assert!(lab.is_empty(2), "{method}");
        if status == 405 {
            assert!(text(answer.header(HeaderName::from("Allow"))).contains("INVITE"));
        }
        lab.assert_nothing_left();
    }
    for method in ["MESSAGE", "SUBSCRIBE", "OPTIONS"] {
        assert_eq!(send(&mut lab(&[]), method, "").status(), Some(407), "{method}");
    }
}

#[test]
fn r2_6_the_same_methods_pass_inside_a_dialog() {
    let mut talk = talk(1);
    for (at, method) in ["REFER", "NOTIFY", "INFO", "NEWMETHOD"].into_iter().enumerate() {
        let request = talk.by_caller(method, 3 + at as u32);
        talk.lab.send(1, request);
        talk.lab.find(2, method);
    }
    let publish = talk.by_caller("PUBLISH", 9);
    talk.lab.send(1, publish);
    talk.lab.find(1, "405");
}

#[test]
fn r2_6_rules_allow_refuse_redirect_and_rewrite() {
    let allowed = send(&mut lab(&[("REFER", "allow")]), "REFER", "Refer-To: <sip:x@y>\r\n");
    assert_eq!(allowed.status(), Some(407), "allowed to whoever proves who it is");
    assert_eq!(send(&mut lab(&[("MESSAGE", "refuse 603")]), "MESSAGE", "").status(), Some(603));
    let moved = send(&mut lab(&[("MESSAGE", "redirect sip:desk@example.com")]), "MESSAGE", "");
    assert_eq!(moved.status(), Some(302));
    assert_eq!(text(moved.header(HeaderName::CONTACT)), "<sip:desk@example.com>");
    let mut lab = lab(&[("MESSAGE", "rewrite sip:user3@example.com")]);
    lab.user("user3", &[3]);
    let challenge = send(&mut lab, "MESSAGE", "");
    let auth = credentials(&challenge, "MESSAGE", BOB, "user1", "pw-user1");
    lab.send(1, request("MESSAGE", 1, "user1", BOB, &format!("{auth}{EMPTY}")));
    lab.find(3, "MESSAGE");
    assert!(lab.is_empty(2));
}
