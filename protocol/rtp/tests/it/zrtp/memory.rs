//! What two ends remember of each other, from call to call.

use rtp::zrtp::{Cache, Event, Output, Retained, Trust, Zid};
use sansio::WallTime;

use super::attacks::acquainted;
use super::link::{Link, end_with, secured};

pub fn keep(cache: &mut Cache, output: &Output) {
    if let Output::Event(Event::Retain { zid, retained }) = output {
        cache.retain(*zid, retained.clone());
    }
}

/// One more call of two with these memories: what each thinks of the other.
fn call(seed: u64, caches: &mut [Cache; 2], link: Link) -> [Trust; 2] {
    let mut link = link;
    let (mut alice, mut bob) =
        (end_with(seed, 1, caches[0].clone()), end_with(seed, 2, caches[1].clone()));
    link.run(&mut alice, &mut bob);
    for (events, cache) in link.events.iter().zip(caches) {
        events.iter().for_each(|event| keep(cache, &Output::Event(event.clone())));
    }
    let both = [secured(&link.events[0]), secured(&link.events[1])];
    assert_eq!(both[0].sas, both[1].sas);
    both.map(|secured| secured.trust)
}

/// R5.4: first contact, then a friend, then one whose string was compared, for as long as both keep
/// what they have.
#[test]
fn r5_4_a_string_compared_once_holds_for_all_calls_after() {
    let mut caches = [Cache::default(), Cache::default()];
    assert_eq!(call(1, &mut caches, Link::new(1)), [Trust::FirstContact; 2]);
    assert_eq!(call(2, &mut caches, Link::new(2)), [Trust::Remembered; 2]);
    let mut caches = acquainted(3);
    for seed in 4..10 {
        assert_eq!(call(seed, &mut caches, Link::new(seed)), [Trust::Verified; 2]);
    }
}

/// R5.4: whoever lost its memory is another to the one who did not, until the string is compared.
#[test]
fn r5_4_an_end_that_lost_its_memory_is_a_changed_key_until_the_string_is_compared() {
    let [alices, _] = acquainted(20);
    let before = alices.clone();
    let (mut alice, mut bob) = (end_with(21, 1, alices), end_with(21, 2, Cache::default()));
    let mut link = Link::new(21);
    link.run(&mut alice, &mut bob);
    let (a, b) = (secured(&link.events[0]), secured(&link.events[1]));
    assert_eq!((a.trust, b.trust), (Trust::Changed, Trust::FirstContact));
    let mut cache = before.clone();
    link.events[0].iter().for_each(|event| keep(&mut cache, &Output::Event(event.clone())));
    assert_eq!(cache, before, "kept until somebody compares");
    alice.set_verified(true);
    while let Some(output) = alice.poll_output() {
        keep(&mut cache, &output);
    }
    assert_ne!(cache, before);
    let mut bobs = Cache::default();
    link.events[1].iter().for_each(|event| keep(&mut bobs, &Output::Event(event.clone())));
    let trust = call(22, &mut [cache, bobs], Link::new(22));
    assert_eq!(trust, [Trust::Verified, Trust::Remembered]);
}

/// RFC 6189 §4.6.1: one end may be a call behind; the secret before the last still serves.
#[test]
fn r5_4_an_end_that_is_one_call_behind_is_known_by_the_secret_before() {
    let mut caches = acquainted(30);
    let behind = caches[1].clone();
    assert_eq!(call(31, &mut caches, Link::new(31)), [Trust::Verified; 2]);
    caches[1] = behind;
    assert_eq!(call(32, &mut caches, Link::new(32)), [Trust::Verified; 2]);
}

/// R5.4: a judgement can be taken back.
#[test]
fn r5_4_what_was_verified_can_be_taken_back() {
    let [alices, bobs] = acquainted(40);
    let (mut alice, mut bob) = (end_with(41, 1, alices.clone()), end_with(41, 2, bobs));
    let mut link = Link::new(41);
    link.run(&mut alice, &mut bob);
    alice.set_verified(false);
    let mut cache = alices;
    while let Some(output) = alice.poll_output() {
        keep(&mut cache, &output);
    }
    let known = cache.find(Zid([2; 12]), WallTime::default()).unwrap();
    assert!(!known.verified);
}

#[test]
fn what_is_remembered_is_not_shown() {
    let secret = Retained {
        rs1: [0xab; 32],
        rs2: None,
        verified: true,
        seen: WallTime::default(),
        expires: None,
    };
    let shown = format!("{secret:?}");
    assert!(shown.contains("verified: true") && !shown.contains("171"), "{shown}");
}
