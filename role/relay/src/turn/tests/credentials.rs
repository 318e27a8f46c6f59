//! Who asks: addresses, challenges, nonces, credentials that end.

use super::*;

#[test]
fn rfc_8489_6_3_1_anybody_learns_its_address() {
    let mut world = world(|_| {});
    let answer = world.bare(CLIENT, stun::BINDING, &[]).unwrap();
    assert_eq!(answer.message().xor_mapped_address(), Some(CLIENT.parse().unwrap()));
    assert_eq!(answer.0.len(), 32, "nothing but that");
    let unknown = world.bare(CLIENT, stun::BINDING, &[(0x7ffe, vec![1])]).unwrap();
    assert_eq!((unknown.code(), unknown.0.len()), (420, 36));
    assert!(unknown.message().attribute(stun_attr::UNKNOWN_ATTRIBUTES).is_some());
    let with_fingerprint = Builder::request([7; 12]).finish_unsigned();
    let answer = world.exchange(CLIENT, &with_fingerprint).unwrap();
    assert!(answer.message().has_fingerprint(), "as it was asked");
}

#[test]
fn rfc_8489_9_2_4_strangers_are_challenged_and_all_wrong_credentials_look_alike() {
    let mut world = world(|_| {});
    let challenge = world.bare(CLIENT, method::ALLOCATE, &[udp()]).unwrap();
    let message = challenge.message();
    assert_eq!(message.attribute(attr::REALM), Some(REALM.as_bytes()));
    assert_eq!(message.attribute(stun_attr::SOFTWARE), None, "what we are is nobody's business");
    assert!(!message.has_integrity());
    let ask = |world: &mut World, who| world.ask_as(who, CLIENT, method::ALLOCATE, &[udp()]);
    let wrong = ask(&mut world, ("alice", "wrong"));
    let nobody = ask(&mut world, ("mallory", "secret"));
    let late = ask(&mut world, ("1600000000:alice", "x"));
    for answer in [&wrong, &nobody, &late] {
        assert_eq!((answer.code(), answer.0.len()), (401, wrong.0.len()));
        let kinds = |a: &Answer| a.message().attributes().map(|(k, _)| k).collect::<Vec<_>>();
        assert_eq!(kinds(answer), kinds(&wrong));
    }
    assert_eq!(world.refused(Refused::Credentials), 3);
    // Integrity without the rest of it.
    let builder = world.request(method::ALLOCATE, &[udp()]).username("alice");
    let bytes = builder.finish(&long_term_key("alice", REALM, "secret"));
    assert_eq!(world.exchange(CLIENT, &bytes).unwrap().code(), 400);
}

#[test]
fn rfc_8489_9_2_4_a_nonce_is_stale_after_its_time_and_for_another_address() {
    let mut world = world(|c| c.limits.nonce = Duration::from_secs(60));
    let nonce = world.nonce(CLIENT);
    let with = |world: &mut World, from: &str, nonce: &[u8]| {
        let builder = world.request(method::ALLOCATE, &[udp()]).username("alice");
        let builder = builder.attribute(attr::REALM, REALM.as_bytes());
        let key = long_term_key("alice", REALM, "secret");
        world.exchange(from, &builder.attribute(attr::NONCE, nonce).finish(&key)).unwrap()
    };
    let other = with(&mut world, "8.8.4.4:4000", &nonce);
    assert_eq!(other.code(), 438);
    let fresh = other.message().attribute(attr::NONCE).unwrap().to_vec();
    assert_eq!(with(&mut world, "8.8.4.4:4000", &fresh).code(), 0, "the new one is good");
    let mut forged = nonce.clone();
    forged[0] ^= 1;
    assert_eq!(with(&mut world, CLIENT, &forged).code(), 438);
    world.pass(61);
    assert_eq!(with(&mut world, CLIENT, &nonce).code(), 438);
    assert_eq!(world.refused(Refused::StaleNonce), 3);
}

#[test]
fn rfc_8489_10_a_full_server_sends_clients_to_another() {
    let other: SocketAddr = "198.41.0.9:3478".parse().unwrap();
    let mut world = world(|c| {
        c.limits.allocations_max = 1;
        c.alternate = Some(other);
    });
    world.allocate();
    let answer = world.ask_as(("bob", "other"), "8.8.4.4:1", method::ALLOCATE, &[udp()]);
    assert_eq!(answer.code(), 300);
    assert_eq!(answer.message().address(attr::ALTERNATE_SERVER), Some(other));
}

#[test]
fn r6_6_time_limited_credentials_end_for_new_allocations_and_not_for_calls_in_progress() {
    let mut world = world(|_| {});
    let secret = SharedSecret::new(["north"]);
    let until = |s: u64| WallTime::from_secs(1_700_000_000 + s);
    let (user, password) = secret.issue("carol", until(100)).unwrap();
    let carol = (user.as_str(), password.as_str());
    assert_eq!(world.ask_as(carol, CLIENT, method::ALLOCATE, &[udp()]).code(), 0);
    world.pass(100);
    assert_eq!(world.ask_as(carol, "8.8.8.8:1", method::ALLOCATE, &[udp()]).code(), 401);
    assert_eq!(world.ask_as(carol, CLIENT, method::REFRESH, &[]).code(), 0);
    // The same user with new credentials is the same user, another one is not.
    let (user, password) = secret.issue("carol", until(900)).unwrap();
    let renewed = (user.as_str(), password.as_str());
    assert_eq!(world.ask_as(renewed, CLIENT, method::REFRESH, &[]).code(), 0);
    let (user, password) = secret.issue("dave", until(900)).unwrap();
    let dave = (user.as_str(), password.as_str());
    assert_eq!(world.ask_as(dave, CLIENT, method::REFRESH, &[]).code(), 441);
    let (_, foreign) = SharedSecret::new(["south"]).issue("carol", until(900)).unwrap();
    let forged = (renewed.0, foreign.as_str());
    assert_eq!(world.ask_as(forged, "8.8.8.8:2", method::ALLOCATE, &[udp()]).code(), 401);
}

#[test]
fn r6_6_answers_to_strangers_are_short_and_limited_for_each_source() {
    let mut world = world(|c| (c.limits.unproved_per_s, c.limits.unproved_burst) = (10, 20));
    let challenge = world.bare(CLIENT, method::ALLOCATE, &[udp()]).unwrap();
    // Header, the bare code, realm and nonce: what RFC 8489 §9.2.4 demands and no byte more.
    assert_eq!(challenge.0.len(), 20 + 8 + (4 + 12) + (4 + 16));
    let many = |world: &mut World, from: &str, of| {
        (0..100).filter(|_| world.bare(from, of, &[]).is_some()).count()
    };
    assert_eq!(many(&mut world, CLIENT, method::ALLOCATE), 19);
    assert_eq!(many(&mut world, CLIENT, stun::BINDING), 0, "of one budget");
    assert_eq!(many(&mut world, "8.8.4.4:1", stun::BINDING), 20, "others have their own");
    assert_eq!(world.refused(Refused::Rate), 261);
    world.pass(1);
    assert_eq!(many(&mut world, CLIENT, method::REFRESH), 10);
}
