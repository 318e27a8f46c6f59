use super::*;
use crate::stun::attribute;

const PWD: &str = "0123456789abcdefghijkl";

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 4000))
}

fn check(agent: &mut Lite, now: Instant, n: u8, build: impl Fn(Builder) -> Builder) -> Outcome {
    let request = build(Builder::request([n; 12]).username("loc:rem").ice_controlling(1));
    let mut out = Vec::new();
    let event = agent.handle(now, addr(n), &request.finish(PWD.as_bytes()), &mut out);
    Outcome { event, out }
}

struct Outcome {
    event: LiteEvent,
    out: Vec<u8>,
}

impl Outcome {
    fn code(&self) -> Option<u16> {
        Message::parse(&self.out).unwrap().error_code()
    }
}

#[test]
fn a_check_is_answered_and_a_nomination_selects() {
    let (now, mut agent) = (sansio::testing::epoch(), Lite::new("loc", PWD));
    agent.set_remote("rem", "x");
    let seen = check(&mut agent, now, 1, |b| b.priority(5));
    assert_eq!(seen.event, LiteEvent::Checked(addr(1)));
    let response = Message::parse(&seen.out).unwrap();
    assert_eq!(response.xor_mapped_address(), Some(addr(1)));
    assert!(response.verify_integrity(PWD.as_bytes()) && response.has_fingerprint());
    assert_eq!(agent.selected(), Some(addr(1)), "media may flow before nomination");
    let chosen = check(&mut agent, now, 2, |b| b.priority(4).use_candidate());
    assert_eq!(chosen.event, LiteEvent::Nominated(addr(2)));
    assert_eq!(agent.selected(), Some(addr(2)));
}

#[test]
fn wrong_credentials_are_401_and_missing_ones_400() {
    let (now, mut agent) = (sansio::testing::epoch(), Lite::new("loc", PWD));
    agent.set_remote("rem", "x");
    let mut send = |request: Vec<u8>| {
        let mut out = Vec::new();
        let event = agent.handle(now, addr(1), &request, &mut out);
        let code = Message::parse(&out).ok().and_then(|m| m.error_code());
        (event, code)
    };
    let named = |name| Builder::request([1; 12]).username(name);
    assert_eq!(send(named("loc:rem").finish(b"wrong")), (LiteEvent::Respond, Some(401)));
    assert_eq!(send(named("no:rem").finish(PWD.as_bytes())).1, Some(401));
    assert_eq!(send(named("loc:no").finish(PWD.as_bytes())).1, Some(401));
    assert_eq!(send(named("loc:rem").finish_unsigned()).1, Some(400));
    assert_eq!(send(Builder::request([1; 12]).finish(PWD.as_bytes())).1, Some(400));
    assert!(!agent.has_consent(now) && agent.selected().is_none());
}

#[test]
fn unknown_attributes_are_420_and_role_conflicts_487() {
    let (now, mut agent) = (sansio::testing::epoch(), Lite::new("loc", PWD));
    let unknown = check(&mut agent, now, 1, |b| b.attribute(0x7abc, b"?"));
    assert_eq!((unknown.event, unknown.code()), (LiteEvent::Respond, Some(420)));
    let listed = Message::parse(&unknown.out).unwrap();
    assert_eq!(listed.attribute(attribute::UNKNOWN_ATTRIBUTES), Some(&[0x7a, 0xbc][..]));
    let conflict = check(&mut agent, now, 1, |b| b.ice_controlled(7).use_candidate());
    assert_eq!((conflict.event, conflict.code()), (LiteEvent::Respond, Some(487)));
    assert!(agent.selected().is_none());
}

#[test]
fn a_moved_phone_renominates_and_aggressive_nomination_sorts_by_priority() {
    let (t0, mut agent) = (sansio::testing::epoch(), Lite::new("loc", PWD));
    check(&mut agent, t0, 1, |b| b.priority(100).use_candidate());
    let lower = check(&mut agent, t0, 2, |b| b.priority(50).use_candidate());
    assert_eq!(lower.event, LiteEvent::Checked(addr(2)));
    let higher = check(&mut agent, t0, 3, |b| b.priority(200).use_candidate());
    assert_eq!(higher.event, LiteEvent::Nominated(addr(3)));
    let later = t0 + RENOMINATION;
    let moved = check(&mut agent, later, 2, |b| b.priority(50).use_candidate());
    assert_eq!(moved.event, LiteEvent::Nominated(addr(2)));
}

#[test]
fn consent_ends_thirty_seconds_after_the_last_check() {
    let (t0, mut agent) = (sansio::testing::epoch(), Lite::new("loc", PWD));
    check(&mut agent, t0, 1, |b| b);
    assert!(agent.has_consent(t0 + Duration::from_secs(29)));
    assert!(!agent.has_consent(t0 + CONSENT_TIMEOUT));
    check(&mut agent, t0 + Duration::from_secs(29), 1, |b| b);
    assert!(agent.has_consent(t0 + Duration::from_secs(58)));
}

#[test]
fn a_restart_keeps_the_old_path_until_the_new_is_nominated() {
    let (now, mut agent) = (sansio::testing::epoch(), Lite::new("loc", PWD));
    check(&mut agent, now, 1, |b| b.use_candidate());
    agent.restart("new", "lmnopqrstuvwxyz0123456");
    assert_eq!(check(&mut agent, now, 1, |b| b).code(), None, "old credentials still hold");
    let request = Builder::request([3; 12]).username("new:r2").use_candidate();
    let mut out = Vec::new();
    let request = request.finish(b"lmnopqrstuvwxyz0123456");
    let later = now + RENOMINATION;
    assert_eq!(agent.handle(later, addr(3), &request, &mut out), LiteEvent::Nominated(addr(3)));
    assert_eq!(check(&mut agent, now, 1, |b| b).code(), Some(401));
}

#[test]
fn the_list_of_paths_is_bounded() {
    let (t0, mut agent) = (sansio::testing::epoch(), Lite::new("loc", PWD));
    check(&mut agent, t0, 1, |b| b.use_candidate());
    for n in 2..100 {
        check(&mut agent, t0 + Duration::from_millis(u64::from(n)), n, |b| b);
    }
    assert_eq!(agent.paths.len(), MAX_PATHS);
    assert!(agent.is_checked(addr(1)), "the selected path stays");
}

#[test]
fn responses_and_foreign_stun_are_ignored() {
    let (now, mut agent) = (sansio::testing::epoch(), Lite::new("loc", PWD));
    let mut out = vec![1];
    let response = Builder::new(Class::Success, [1; 12]).finish(PWD.as_bytes());
    assert_eq!(agent.handle(now, addr(1), &response, &mut out), LiteEvent::Ignored);
    assert!(out.is_empty());
}
