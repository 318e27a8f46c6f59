//! Offer and answer as RFC 6337 tabulates them, and two ends that exchange at random.

use std::collections::VecDeque;

use sansio::{Entropy, SeededEntropy};

use crate::dialog::{Carrier, Meaning, OfferAnswer, OfferError};
use Carrier::{Ack, Invite, Prack, PrackOk, Provisional, Reliable, Success, Update, UpdateOk};

/// Both ends of one dialog; what one sends, the other gets at once.
#[derive(Default)]
struct Pair([OfferAnswer; 2]);

impl Pair {
    /// Both ends must read it alike.
    fn pass(&mut self, from: usize, carrier: Carrier, described: bool) -> Meaning {
        let sent = self.0[from].send(carrier, described).expect("may be sent");
        let got = self.0[1 - from].receive(carrier, described).expect("is understood");
        assert_eq!(sent, got, "{carrier:?}");
        sent
    }
}

#[test]
fn r1_5_the_six_patterns_of_rfc_6337_are_exchanges() {
    let patterns: [&[(usize, Carrier, Meaning)]; 6] = [
        &[(0, Invite, Meaning::Offer), (1, Success, Meaning::Answer)],
        &[(1, Success, Meaning::Offer), (0, Ack, Meaning::Answer)],
        &[(0, Invite, Meaning::Offer), (1, Reliable, Meaning::Answer)],
        &[(1, Reliable, Meaning::Offer), (0, Prack, Meaning::Answer)],
        &[(0, Prack, Meaning::Offer), (1, PrackOk, Meaning::Answer)],
        &[(1, Update, Meaning::Offer), (0, UpdateOk, Meaning::Answer)],
    ];
    for steps in patterns {
        let mut pair = Pair::default();
        match steps[0].1 {
            Success | Reliable => assert_eq!(pair.pass(0, Invite, false), Meaning::Nothing),
            Prack => {
                pair.pass(0, Invite, true);
                pair.pass(1, Reliable, true);
            }
            _ => {}
        }
        for (from, carrier, meaning) in steps {
            assert_eq!(pair.pass(*from, *carrier, true), *meaning, "{steps:?}");
            let free = pair.0.iter().all(OfferAnswer::may_offer);
            assert_eq!(free, *meaning == Meaning::Answer, "{steps:?}");
        }
        assert!(pair.0.iter().all(|end| end.may_offer() && end.has_agreed()), "{steps:?}");
    }
}

#[test]
fn r1_5_what_says_it_again_is_not_looked_at() {
    let mut pair = Pair::default();
    pair.pass(0, Invite, true);
    assert_eq!(pair.pass(1, Provisional, true), Meaning::Preview);
    assert_eq!(pair.pass(1, Provisional, true), Meaning::Preview);
    assert_eq!(pair.pass(1, Reliable, true), Meaning::Answer);
    assert_eq!(pair.pass(1, Provisional, true), Meaning::Ignored);
    assert_eq!(pair.pass(1, Success, true), Meaning::Ignored);
    assert_eq!(pair.pass(0, Ack, false), Meaning::Nothing);
}

#[test]
fn r1_5_a_missing_answer_is_noticed_where_it_was_due() {
    let mut offered = OfferAnswer::default();
    offered.send(Invite, true).unwrap();
    assert_eq!(offered.receive(Success, false), Err(OfferError::NoAnswer));
    let mut previewed = OfferAnswer::default();
    previewed.send(Invite, true).unwrap();
    previewed.receive(Provisional, true).unwrap();
    assert_eq!(previewed.receive(Success, false), Ok(Meaning::AnswerWasPreviewed));
    let mut delayed = Pair::default();
    delayed.pass(0, Invite, false);
    delayed.pass(1, Success, true);
    assert_eq!(delayed.0[1].receive(Ack, false), Err(OfferError::NoAnswer));
    let mut reliable = Pair::default();
    reliable.pass(0, Invite, false);
    reliable.pass(1, Reliable, true);
    assert_eq!(reliable.0[1].receive(Prack, false), Err(OfferError::NoAnswer));
}

#[test]
fn r1_5_offers_that_meet_are_491_and_a_second_one_is_500() {
    let mut ours = OfferAnswer::default();
    ours.send(Update, true).unwrap();
    let met = ours.receive(Invite, true).unwrap_err();
    assert_eq!((met, met.status()), (OfferError::Pending, 491));
    assert_eq!(ours.receive(Invite, false), Err(OfferError::Pending), "its 2xx would offer");
    assert_eq!(ours.receive(Update, false), Ok(Meaning::Nothing), "a refresh may pass");
    let mut theirs = OfferAnswer::default();
    theirs.receive(Invite, true).unwrap();
    let again = theirs.receive(Update, true).unwrap_err();
    assert_eq!((again, again.status()), (OfferError::Unanswered, 500));
    assert_eq!(theirs.send(Update, true), Err(OfferError::Pending), "nor do we cross it");
}

#[test]
fn r1_5_a_refused_offer_leaves_what_was_agreed() {
    let mut pair = Pair::default();
    pair.pass(0, Invite, true);
    pair.pass(1, Success, true);
    for carrier in [Invite, Update] {
        pair.pass(1, carrier, true);
        assert!(!pair.0[0].may_offer());
        pair.0.iter_mut().for_each(|end| end.roll_back(carrier));
        assert!(pair.0.iter().all(|end| end.may_offer() && end.has_agreed()));
    }
}

/// One end of the random exchange: the machine, and the number of the last offer it agreed on.
#[derive(Default)]
struct End {
    machine: OfferAnswer,
    /// The open request of ours, and the open one of theirs, with the number of the offer.
    ours: Option<(Carrier, u32)>,
    theirs: Option<(Carrier, u32)>,
    agreed: u32,
}

#[derive(Debug, Clone, Copy)]
enum Wire {
    Request(Carrier, u32),
    Response(Carrier, bool, u32),
    Ack(bool, u32),
}

/// Two ends offer by INVITE (with and without description) and UPDATE whenever they like, over
/// channels that delay but keep order, as one TCP connection each way does. Whenever all is quiet
/// both must have agreed on the same last offer.
#[test]
fn r1_5_two_ends_that_offer_at_random_agree_after_each_step() {
    let (mut agreements, mut glares) = (0, 0);
    for seed in 0..400 {
        let mut dice = SeededEntropy::new(seed);
        let mut ends = [End::default(), End::default()];
        let mut wires: [VecDeque<Wire>; 2] = Default::default();
        let mut numbers = 0;
        for _ in 0..300 {
            let who = (dice.next_u64() % 2) as usize;
            let action = dice.next_u64() % 6;
            match action {
                // A new offer.
                0 if ends[who].ours.is_none() => {
                    let carrier = if dice.next_u64().is_multiple_of(2) { Invite } else { Update };
                    let described = carrier == Update || !dice.next_u64().is_multiple_of(3);
                    if ends[who].machine.send(carrier, described).is_ok() {
                        numbers += 1;
                        let offer = if described { numbers } else { 0 };
                        ends[who].ours = Some((carrier, offer));
                        wires[1 - who].push_back(Wire::Request(carrier, offer));
                    }
                }
                // The other side's request is answered, sooner or later.
                1 => answer(&mut ends[who], &mut wires[1 - who], &mut dice, &mut numbers),
                _ => {
                    if let Some(wire) = wires[who].pop_front() {
                        glares += deliver(&mut ends[who], &mut wires[1 - who], wire);
                    }
                }
            }
            let quiet = wires.iter().all(VecDeque::is_empty)
                && ends.iter().all(|e| e.ours.is_none() && e.theirs.is_none());
            if quiet {
                assert_eq!(ends[0].agreed, ends[1].agreed, "seed {seed}");
                assert!(ends.iter().all(|e| e.machine.may_offer()), "seed {seed}");
                agreements += 1;
            }
        }
    }
    assert!(agreements > 1000 && glares > 200, "{agreements} agreements, {glares} glares");
}

fn answer(end: &mut End, wire: &mut VecDeque<Wire>, dice: &mut SeededEntropy, numbers: &mut u32) {
    let Some((carrier, offer)) = end.theirs else { return };
    if carrier == Success {
        return; // it waits for the ACK
    }
    let response = if carrier == Invite { Success } else { UpdateOk };
    if dice.next_u64().is_multiple_of(5) {
        end.machine.roll_back(carrier);
        end.theirs = None;
        return wire.push_back(Wire::Response(carrier, false, 0));
    }
    match end.machine.send(response, true).expect("an answer is owed, or an offer is free") {
        Meaning::Answer => {
            end.agreed = offer;
            end.theirs = None;
            wire.push_back(Wire::Response(carrier, true, offer));
        }
        Meaning::Offer => {
            *numbers += 1;
            end.theirs = Some((Success, *numbers));
            wire.push_back(Wire::Response(carrier, true, *numbers));
        }
        other => panic!("{other:?}"),
    }
}

/// Gives 1 for a request that met another.
fn deliver(end: &mut End, back: &mut VecDeque<Wire>, wire: Wire) -> u32 {
    match wire {
        Wire::Request(carrier, offer) => match end.machine.receive(carrier, offer != 0) {
            Ok(_) => {
                end.theirs = Some((carrier, offer));
                0
            }
            Err(error) => {
                assert!(matches!(error.status(), 491 | 500));
                back.push_back(Wire::Response(carrier, false, 0));
                1
            }
        },
        Wire::Response(carrier, false, _) => {
            end.machine.roll_back(carrier);
            end.ours = None;
            0
        }
        Wire::Response(carrier, true, number) => {
            let response = if carrier == Invite { Success } else { UpdateOk };
            match end.machine.receive(response, true).expect("fits") {
                Meaning::Answer => {
                    end.agreed = number;
                    if carrier == Invite {
                        back.push_back(Wire::Ack(false, 0));
                    }
                }
                Meaning::Offer => {
                    end.machine.send(Ack, true).expect("the answer");
                    end.agreed = number;
                    back.push_back(Wire::Ack(true, number));
                }
                other => panic!("{other:?}"),
            }
            end.ours = None;
            0
        }
        Wire::Ack(described, number) => {
            let meaning = end.machine.receive(Ack, described).expect("fits");
            if meaning == Meaning::Answer {
                end.agreed = number;
                end.theirs = None;
            }
            0
        }
    }
}
