use bytes::Bytes;
use sansio::{FlowId, Transport};
use sip::Message;

use super::*;
use crate::request::Origin;

const AOR: &str = "sip:alice@example.com";

fn at(secs: u64) -> WallTime {
    WallTime::from_secs(1_000_000 + secs)
}

fn origin(id: u64, transport: Transport) -> Origin {
    let flow = FlowId { node: 0, shard: 0, id };
    let source = format!("192.0.2.{id}:5060").parse().unwrap();
    Origin { flow, transport, local: "198.51.100.1:5060".parse().unwrap(), source }
}

fn registrar() -> Registrar {
    Registrar::new(Arc::new(LocationTable::new()), Limits::default())
}

fn request(cseq: u32, flow: u64, contacts: Vec<Contact<'static>>) -> RegisterRequest<'static> {
    let mut request = RegisterRequest::new(AOR, "call-1", cseq, origin(flow, Transport::Udp));
    request.contacts = Contacts::List(contacts.into());
    request
}

fn phone(uri: &str, instance: &str, reg_id: u32) -> Contact<'static> {
    Contact { instance: Some(instance.to_owned().into()), reg_id, ..Contact::new(uri.to_owned()) }
}

fn uris(bindings: &[Binding]) -> Vec<String> {
    bindings.iter().map(|b| b.contact().to_owned()).collect()
}

fn reason(result: Result<RegisterPlan, Refusal>) -> (u16, RefusalReason) {
    let refusal = result.unwrap_err();
    (refusal.status(), refusal.reason)
}

#[test]
fn a_binding_lives_as_long_as_it_was_told() {
    let registrar = registrar();
    let contact = Contact { expires: Some(100), ..Contact::new("sip:a@h") };
    let plan = registrar.handle_register(at(0), &request(1, 1, vec![contact])).unwrap();
    assert_eq!(plan.contact_lines(at(0)), ["<sip:a@h>;expires=100"]);
    assert_eq!(registrar.next_expiry(), Some(at(100)));
    assert_eq!(registrar.table().lookup(AOR, at(99)).len(), 1);
    assert!(registrar.table().lookup(AOR, at(100)).is_empty());
    assert!(registrar.handle_timeout(at(99)).is_empty());
    let expired = registrar.handle_timeout(at(100));
    assert_eq!(uris(&expired), ["sip:a@h"]);
    assert_eq!((registrar.next_expiry(), registrar.table().len()), (None, 0));
}

#[test]
fn a_refresh_moves_the_end_a_query_changes_nothing_and_zero_removes_one() {
    let registrar = registrar();
    let with = |uri: &'static str, expires| Contact { expires, ..Contact::new(uri) };
    let both = vec![with("sip:a@h", Some(100)), with("sip:b@h", Some(100))];
    registrar.handle_register(at(0), &request(1, 1, both)).unwrap();
    let refresh = request(2, 1, vec![with("sip:a@h", Some(200))]);
    registrar.handle_register(at(50), &refresh).unwrap();
    let mut query = request(3, 1, Vec::new());
    query.contacts = Contacts::Query;
    let lines = |now| {
        let plan = registrar.handle_register(at(now), &query).unwrap();
        assert!(plan.changes.is_empty());
        let mut lines = plan.contact_lines(at(now));
        lines.sort();
        lines
    };
    assert_eq!(lines(60), ["<sip:a@h>;expires=190", "<sip:b@h>;expires=40"]);
    let removal = request(4, 1, vec![with("sip:b@h", Some(0))]);
    let plan = registrar.handle_register(at(61), &removal).unwrap();
    assert_eq!((plan.bindings.len(), plan.changes.len()), (1, 1));
    assert_eq!(lines(62), ["<sip:a@h>;expires=188"]);
}

#[test]
fn intervals_have_bounds_and_defaults() {
    let registrar = registrar();
    let mut brief = request(1, 1, vec![Contact::new("sip:a@h")]);
    brief.expires = Some(59);
    let refusal = registrar.handle_register(at(0), &brief).unwrap_err();
    assert_eq!(refusal.status(), 423);
    assert_eq!(refusal.headers(), [("Min-Expires", "60".to_owned())]);
    let long = Contact { expires: Some(u32::MAX), ..Contact::new("sip:a@h") };
    let plan = registrar.handle_register(at(0), &request(1, 1, vec![long])).unwrap();
    assert_eq!(plan.contact_lines(at(0)), ["<sip:a@h>;expires=3600"]);
    let plan = registrar.handle_register(at(0), &request(2, 1, vec![Contact::new("sip:a@h")]));
    assert_eq!(plan.unwrap().contact_lines(at(0)), ["<sip:a@h>;expires=600"]);
}

/// R3.1: one binding per device, whichever network it comes from; its key stays.
#[test]
fn fifty_network_changes_leave_one_binding() {
    let registrar = registrar();
    let mut keys = Vec::new();
    for change in 1..=50 {
        let contact = phone(&format!("sip:a@192.0.2.{change}"), "<urn:uuid:1>", 1);
        let plan = registrar
            .handle_register(at(change), &request(change as u32, change, vec![contact]))
            .unwrap();
        assert_eq!(plan.changes[0].before.is_some(), change > 1);
        keys.push(plan.bindings[0].key());
    }
    let found = registrar.table().lookup(AOR, at(51));
    assert_eq!(uris(&found), ["sip:a@192.0.2.50"]);
    assert_eq!(found[0].flow(), Some(origin(50, Transport::Udp).flow));
    keys.dedup();
    assert_eq!(keys.len(), 1);
    assert_eq!(registrar.table().by_key(keys[0], at(51)), Some(found[0].clone()));
}

#[test]
fn several_flows_of_one_device_are_kept_apart() {
    let registrar = registrar();
    let plan = registrar
        .handle_register(at(0), &request(1, 1, vec![phone("sip:a@h", "<urn:uuid:1>", 1)]))
        .unwrap();
    assert_eq!(plan.bindings.len(), 1);
    let mut second = request(1, 2, vec![phone("sip:a@h", "<urn:uuid:1>", 2)]);
    second.call_id = "call-2".into();
    let plan = registrar.handle_register(at(1), &second).unwrap();
    assert_eq!(plan.bindings.len(), 2);
    assert_eq!(plan.bindings[0].reg_id(), 2, "the newest first");
    let ringing = registrar.table().reachable(AOR, at(2));
    assert_eq!(ringing.iter().map(|b| b.reg_id()).collect::<Vec<_>>(), [2], "one flow rings");
}

#[test]
fn a_phone_that_begins_to_name_its_instance_does_not_ring_twice() {
    let registrar = registrar();
    registrar.handle_register(at(0), &request(1, 1, vec![Contact::new("sip:a@h")])).unwrap();
    let named = request(2, 1, vec![phone("sip:a@h", "<urn:uuid:1>", 0)]);
    let plan = registrar.handle_register(at(1), &named).unwrap();
    assert_eq!(plan.bindings.len(), 1);
    assert!(plan.changes[0].replaced && plan.changes[0].after.is_none());
    let goodbye = Contact { expires: Some(0), ..Contact::new("sip:a@h") };
    let plan = registrar.handle_register(at(2), &request(3, 1, vec![goodbye])).unwrap();
    assert!(plan.bindings.is_empty());
}

#[test]
fn a_new_contact_by_the_same_connection_replaces_the_old() {
    let registrar = registrar();
    let mut first = request(1, 1, vec![Contact::new("sip:a@h:1000")]);
    first.origin.transport = Transport::Tls;
    registrar.handle_register(at(0), &first).unwrap();
    let mut both = request(2, 1, vec![Contact::new("sip:a@h:2000"), Contact::new("sip:a@h:3000")]);
    both.origin.transport = Transport::Tls;
    let plan = registrar.handle_register(at(1), &both).unwrap();
    assert_eq!(plan.bindings.len(), 2, "contacts of one request stay side by side");
    assert!(!uris(&plan.bindings).contains(&"sip:a@h:1000".to_owned()));
}

#[test]
fn stars_remove_everything_and_stand_alone() {
    let registrar = registrar();
    let two = vec![Contact::new("sip:a@h"), Contact::new("sip:b@h")];
    registrar.handle_register(at(0), &request(1, 1, two)).unwrap();
    let mut star = request(2, 1, Vec::new());
    star.contacts = Contacts::All;
    let refused = reason(registrar.handle_register(at(1), &star));
    assert_eq!(refused, (400, RefusalReason::StarNeedsZero));
    star.expires = Some(0);
    let plan = registrar.handle_register(at(1), &star).unwrap();
    assert_eq!((plan.bindings.len(), plan.changes.len()), (0, 2));
    assert!(registrar.table().is_empty());
}

#[test]
fn an_older_request_is_refused_and_the_same_one_passes() {
    let registrar = registrar();
    let contact = || vec![Contact::new("sip:a@h")];
    registrar.handle_register(at(0), &request(5, 1, contact())).unwrap();
    let refused = reason(registrar.handle_register(at(1), &request(4, 1, contact())));
    assert_eq!(refused, (500, RefusalReason::OutOfOrder));
    assert!(registrar.handle_register(at(1), &request(5, 1, contact())).is_ok());
    let mut rebooted = request(1, 1, contact());
    rebooted.call_id = "call-2".into();
    assert!(registrar.handle_register(at(2), &rebooted).is_ok());
}

#[test]
fn a_refused_request_changes_nothing() {
    let registrar = registrar();
    let many = (0..10).map(|i| Contact::new(format!("sip:a{i}@h"))).collect();
    registrar.handle_register(at(0), &request(1, 1, many)).unwrap();
    let goodbye = Contact { expires: Some(0), ..Contact::new("sip:a0@h") };
    let three = vec![goodbye, Contact::new("sip:x@h"), Contact::new("sip:y@h")];
    let refused = reason(registrar.handle_register(at(1), &request(2, 1, three)));
    assert_eq!(refused, (403, RefusalReason::TooManyContacts));
    let found = uris(&registrar.table().lookup(AOR, at(1)));
    assert!(found.len() == 10 && found.contains(&"sip:a0@h".to_owned()));
    let refresh = request(3, 1, vec![Contact::new("sip:a0@h")]);
    assert!(registrar.handle_register(at(2), &refresh).is_ok(), "a refresh is no new contact");
}

#[test]
fn bindings_are_sorted_by_preference_then_age() {
    let registrar = registrar();
    for (i, q) in [500, 1000, 1000].into_iter().enumerate() {
        let contact = Contact { q, ..Contact::new(format!("sip:a{i}@h")) };
        registrar.handle_register(at(i as u64), &request(1, 1, vec![contact])).unwrap();
    }
    let found = registrar.table().lookup(AOR, at(9));
    assert_eq!(uris(&found), ["sip:a2@h", "sip:a1@h", "sip:a0@h"]);
    assert!(registrar.table().lookup("sip:bob@example.com", at(9)).is_empty());
}

#[test]
fn flows_are_found_and_forgotten() {
    let registrar = registrar();
    let mut tls = request(1, 7, vec![phone("sip:a@h", "<urn:uuid:1>", 0)]);
    tls.origin.transport = Transport::Tls;
    let plan = registrar.handle_register(at(0), &tls).unwrap();
    let table = registrar.table();
    let Origin { flow, source, .. } = tls.origin;
    assert_eq!(table.on_flow(AOR, flow, source, at(1)), Some(plan.bindings[0].clone()));
    assert_eq!(table.forget_flow(AOR, flow), 1);
    assert_eq!(table.on_flow(AOR, flow, source, at(1)), None);
    assert_eq!(table.lookup(AOR, at(1)).len(), 1, "the binding itself stays");
    assert!(table.reachable(AOR, at(1)).is_empty());
}

#[test]
fn removed_users_lose_their_bindings() {
    let registrar = registrar();
    registrar.handle_register(at(0), &request(1, 1, vec![Contact::new("sip:a@h")])).unwrap();
    let plan = registrar.handle_user_removed(at(1), AOR);
    assert_eq!((plan.changes.len(), registrar.table().len()), (1, 0));
}

fn register(contact: &str, more: &str) -> Message {
    let text = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n\
         Call-ID: c1\r\nCSeq: 7 REGISTER\r\nMax-Forwards: 70\r\n{contact}{more}\
         Content-Length: 0\r\n\r\n"
    );
    Message::parse(Bytes::from(text)).unwrap()
}

#[test]
fn messages_are_read_with_all_their_parameters() {
    let message = register(
        "Contact: <sip:alice@192.0.2.1;transport=tls>;q=0.5;expires=300\
         ;+sip.instance=\"<urn:uuid:1>\";reg-id=2, <sip:b@h>\r\n",
        "Expires: 900\r\nUser-Agent: Test/1\r\nPath: <sip:p1;lr>, <sip:p2;lr>\r\n",
    );
    let request = RegisterRequest::read(AOR, &message, origin(1, Transport::Tls)).unwrap();
    let named = Contact {
        q: 500,
        expires: Some(300),
        ..phone("sip:alice@192.0.2.1;transport=tls", "<urn:uuid:1>", 2)
    };
    assert_eq!(request.contacts, Contacts::List(vec![named, Contact::new("sip:b@h")].into()));
    assert_eq!((request.cseq, request.expires), (7, Some(900)));
    let registrar = registrar();
    let plan = registrar.handle_register(at(0), &request).unwrap();
    let named = plan.bindings.iter().find(|b| b.reg_id() == 2).unwrap();
    assert_eq!(named.path().collect::<Vec<_>>(), ["<sip:p1;lr>", "<sip:p2;lr>"]);
    assert_eq!(named.user_agent(), "Test/1");
    let line = &plan.contact_lines(at(0))[1];
    assert_eq!(
        line,
        "<sip:alice@192.0.2.1;transport=tls>;expires=300;q=0.500\
         ;+sip.instance=\"<urn:uuid:1>\";reg-id=2"
    );
    let read = |contact: &str| {
        let message = register(contact, "");
        let request = RegisterRequest::read(AOR, &message, origin(1, Transport::Udp))?;
        Ok::<_, Refusal>(matches!(request.contacts, Contacts::All))
    };
    assert!(!read("").unwrap() && read("Contact: *\r\n").unwrap());
    let tel = read("Contact: <tel:+1>\r\n").unwrap_err();
    assert_eq!(tel.reason, RefusalReason::Malformed("Contact"));
}

/// The aim is 600 bytes per binding, with the slot it stands in.
#[test]
fn a_binding_is_small() {
    let registrar = registrar();
    let contact = phone(
        "sip:alice@192.168.100.100:54321;transport=tls;ob",
        "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>",
        1,
    );
    let mut request = request(1, 1, vec![contact]);
    request.call_id = "0123456789abcdef0123456789abcdef".into();
    request.user_agent = "Linphone/5.2.0 (Pixel 7) LinphoneSDK/5.3".into();
    let plan = registrar.handle_register(at(0), &request).unwrap();
    let footprint = plan.bindings[0].footprint();
    assert!(footprint <= 450, "{footprint}");
}
