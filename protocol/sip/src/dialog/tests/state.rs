//! RFC 3261 §12, §13.2.2.

use super::{answer, invite, received, routes, set, uac, uas};
use crate::dialog::{Change, Dialog, DialogError, DialogId, Phase, Role};
use crate::{Edit, HeaderName, Message, Method, response_to};

#[test]
fn caller_and_callee_agree_on_the_dialog() {
    let (mut caller, mut callee) = (uac(200), uas());
    callee.confirm();
    assert_eq!((caller.phase(), callee.phase()), (Phase::Confirmed, Phase::Confirmed));
    assert_eq!((caller.role(), callee.role()), (Role::Uac, Role::Uas));
    let bye = caller.request(Method::BYE).build();
    assert_eq!(bye.request_uri(), b"sip:bob@b1.example.com");
    assert_eq!(routes(&bye), [b"<sip:p1;lr>".as_slice(), b"<sip:p2;lr>"]);
    assert_eq!(bye.cseq().unwrap().number, 11);
    assert_eq!(DialogId::of_request(&bye).unwrap(), *callee.id());
    assert_eq!(bye.header(HeaderName::FROM), invite().header(HeaderName::FROM));
    callee.handle_request(&bye).unwrap();
    assert_eq!(callee.phase(), Phase::Terminated);
    assert_eq!(callee.handle_request(&bye), Err(DialogError::Terminated));

    let back = uas().request(Method::BYE).build();
    assert_eq!(back.request_uri(), b"sip:alice@192.0.2.1;ob");
    assert_eq!(routes(&back), [b"<sip:p2;lr>".as_slice(), b"<sip:p1;lr>"]);
    assert_eq!(back.cseq().unwrap().number, 1);
    assert_eq!(DialogId::of_request(&back).unwrap(), *caller.id());
    assert_eq!(back.header(HeaderName::FROM), Some(b"Bob <sip:bob@example.com>;tag=b1".as_slice()));
}

#[test]
fn the_ack_of_a_2xx_has_the_invites_number_and_the_dialogs_route() {
    let mut dialog = uac(200);
    dialog.request(Method::INFO);
    let ack = dialog.ack(10).build();
    assert_eq!(ack.header(HeaderName::CSEQ), Some(b"10 ACK".as_slice()));
    assert_eq!(ack.request_uri(), b"sip:bob@b1.example.com");
    assert_eq!(routes(&ack).len(), 2);
}

#[test]
fn a_strict_first_route_goes_into_the_request_uri() {
    let ok = Edit::new(&answer(200, "b1"))
        .set(HeaderName::RECORD_ROUTE, "<sip:p2;lr>, <sip:strict.example.com>")
        .finish();
    let bye = Dialog::from_response(&invite(), &ok).unwrap().request(Method::BYE).build();
    assert_eq!(bye.request_uri(), b"sip:strict.example.com");
    assert_eq!(routes(&bye), [b"<sip:p2;lr>".as_slice(), b"<sip:bob@b1.example.com>"]);
}

#[test]
fn an_early_dialog_takes_route_and_target_from_the_2xx() {
    let mut dialog = uac(180);
    assert_eq!(dialog.phase(), Phase::Early);
    let ok = Edit::new(&answer(200, "b1"))
        .set(HeaderName::RECORD_ROUTE, "<sip:p9;lr>")
        .set(HeaderName::CONTACT, "<sip:bob@moved>")
        .finish();
    dialog.handle_response(&ok);
    assert_eq!(dialog.phase(), Phase::Confirmed);
    assert_eq!(dialog.remote_target(), b"sip:bob@moved");
    assert_eq!(dialog.route_set().collect::<Vec<_>>(), [b"<sip:p9;lr>".as_slice()]);
    // Once confirmed the route set stays.
    dialog.handle_response(&answer(200, "b1"));
    assert_eq!(dialog.route_set().len(), 1);
}

fn in_dialog(method: Method<'_>, seq: u32, contact: &str) -> Message {
    let mut peer = uac(200);
    let built = peer.request(method).header(HeaderName::CONTACT, contact).build();
    Edit::new(&built)
        .set(HeaderName::CSEQ, format!("{seq} {method}"))
        .prepend(HeaderName::VIA, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2")
        .finish()
}

#[test]
fn lower_cseq_is_500_and_gaps_are_fine() {
    let mut dialog = uas();
    dialog.confirm();
    let late = dialog.handle_request(&in_dialog(Method::INFO, 9, "<sip:x>")).unwrap_err();
    assert_eq!((late, late.status()), (DialogError::OutOfOrder, 500));
    assert!(dialog.handle_request(&in_dialog(Method::INFO, 10, "<sip:x>")).is_err());
    dialog.handle_request(&in_dialog(Method::INFO, 400, "<sip:x>")).unwrap();
    assert_eq!(dialog.remote_seq(), Some(400));
    // ACK carries the number of its INVITE.
    dialog.handle_request(&in_dialog(Method::ACK, 10, "<sip:x>")).unwrap();
    // The caller has heard no request of the callee yet: any number will do.
    let mut caller = uac(200);
    caller.handle_request(&in_dialog(Method::INFO, 1, "<sip:x>")).unwrap();
}

#[test]
fn only_target_refresh_requests_move_the_target() {
    let mut dialog = uas();
    dialog.handle_request(&in_dialog(Method::INFO, 11, "<sip:wrong>")).unwrap();
    assert_eq!(dialog.remote_target(), b"sip:alice@192.0.2.1;ob");
    dialog.handle_request(&in_dialog(Method::UPDATE, 12, "<sip:alice@new>")).unwrap();
    assert_eq!(dialog.remote_target(), b"sip:alice@new");
}

#[test]
fn responses_end_a_dialog_where_the_rfc_says_so() {
    for (method, status, expected) in [
        (Method::INVITE, 491, Phase::Confirmed),
        (Method::INVITE, 481, Phase::Terminated),
        (Method::INFO, 408, Phase::Terminated),
        (Method::BYE, 200, Phase::Terminated),
        (Method::BYE, 500, Phase::Terminated),
    ] {
        let mut dialog = uac(200);
        let request =
            dialog.request(method).header(HeaderName::VIA, "SIP/2.0/UDP a;branch=z9hG4bK3");
        dialog.handle_response(&response_to(&request.build(), status, "").build());
        assert_eq!(dialog.phase(), expected, "{method} {status}");
    }
}

#[test]
fn a_forked_invite_makes_a_dialog_for_each_phone() {
    let mut set = set();
    assert_eq!(set.handle_response(&response_to(&invite(), 100, "").build()), Ok(None));
    let change = |set: &mut super::DialogSet, status, tag: &str| {
        set.handle_response(&answer(status, tag)).unwrap().unwrap()
    };
    let id = |tag: &str| DialogId::of_response(&answer(200, tag)).unwrap();
    assert_eq!(change(&mut set, 180, "b1"), Change::Early(id("b1")));
    assert_eq!(change(&mut set, 183, "b2"), Change::Early(id("b2")));
    assert_eq!(change(&mut set, 180, "b1"), Change::Progress(id("b1")));
    assert_eq!(change(&mut set, 200, "b2"), Change::Confirmed { id: id("b2"), first: true });
    assert_eq!(change(&mut set, 200, "b2"), Change::AckAgain(id("b2")));
    assert_eq!(change(&mut set, 200, "b3"), Change::Confirmed { id: id("b3"), first: false });
    assert_eq!(set.dialogs().len(), 3);
    let ack = set.dialog(&id("b3")).unwrap().ack(10).build();
    assert_eq!(ack.request_uri(), b"sip:bob@b3.example.com");
    assert_eq!(set.take(&id("b2")).unwrap().phase(), Phase::Confirmed);
    // What was taken out is still known.
    assert_eq!(change(&mut set, 200, "b2"), Change::AckAgain(id("b2")));
    assert_eq!(change(&mut set, 200, "b1"), Change::Confirmed { id: id("b1"), first: false });
}

#[test]
fn a_failed_invite_ends_its_early_dialogs() {
    let mut set = set();
    set.handle_response(&answer(180, "b1")).unwrap();
    assert_eq!(set.handle_response(&answer(486, "b1")), Ok(Some(Change::Failed)));
    assert_eq!(set.dialogs().len(), 0);
}

#[test]
fn early_dialogs_are_limited_and_answers_less_so() {
    let mut set = set();
    for n in 0..32 {
        set.handle_response(&answer(180, &format!("t{n}"))).unwrap();
    }
    assert_eq!(set.handle_response(&answer(180, "t99")), Err(DialogError::TooMany));
    assert!(matches!(
        set.handle_response(&answer(200, "t99")),
        Ok(Some(Change::Confirmed { first: true, .. }))
    ));
    for n in 100..163 {
        set.handle_response(&answer(200, &format!("t{n}"))).unwrap();
    }
    assert_eq!(set.handle_response(&answer(200, "t163")), Err(DialogError::TooMany));
}

#[test]
fn what_makes_no_dialog_says_why() {
    let from = |response: &Message| Dialog::from_response(&invite(), response).unwrap_err();
    let trying = response_to(&invite(), 100, "").build();
    assert_eq!(from(&trying), DialogError::NotDialogForming);
    let bare = response_to(&invite(), 200, "").to_tag("b1").build();
    assert_eq!(from(&bare), DialogError::Missing("Contact"));
    let no_contact = Edit::new(&received()).remove_all(HeaderName::CONTACT).finish();
    assert_eq!(Dialog::from_request(&no_contact, "b1").unwrap_err().status(), 400);
}

#[test]
fn a_sips_request_makes_a_secure_dialog() {
    let secure = Edit::new(&invite()).replace_request_uri("sips:bob@example.com").finish();
    assert!(Dialog::from_response(&secure, &answer(200, "b1")).unwrap().is_secure());
    assert!(!uac(200).is_secure());
}
