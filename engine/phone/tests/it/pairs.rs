//! R6.5: pairs that carried one call are tried first in the next one.

use crate::network::{Lets, RTT, TURN, World, addr};
use sansio::Transport;
use std::time::Duration;

/// The TURN servers died in the outage: who gathers anew waits for them.
#[test]
fn r6_5_the_next_call_after_an_outage_is_heard_within_300_ms() {
    let all = Lets { media: true, turn: true };
    let dead = Lets { turn: false, ..all };
    let mut world = World::new(&[Transport::Udp], all);
    let first = world.call();
    assert_eq!((first, world.known), (2 * RTT + 2 * RTT, Some(false)), "gathered, called, checked");
    world.outage(false);
    world.lets = dead;
    let soon = world.call();
    assert_eq!((soon, world.known), (2 * RTT, Some(true)), "what was prepared is there still");
    world.outage(true);
    let next = world.call();
    assert_eq!(
        (next, world.known),
        (2 * RTT, Some(true)),
        "called and checked: nothing is gathered"
    );
    assert!(next < Duration::from_millis(300));
    let cold = World::new(&[Transport::Udp], dead).call();
    assert_eq!(cold, media::traversal::GATHER_MAX + 2 * RTT);
    println!("R6.5: the next call is heard after {next:?}; gathering in full takes {cold:?}");
}

/// Where datagrams come to nothing, the stream that was good is opened at once.
#[test]
fn r6_5_the_next_call_by_a_stream_gives_datagrams_no_head_start() {
    let blocked = Lets { media: false, turn: false };
    let mut world = World::new(&[Transport::Udp, Transport::Tcp], blocked);
    let cold = world.call();
    let kept = world.kept.clone();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].pair.by, Some((addr(TURN), Transport::Tcp)));
    // The process ends, and what it kept of the network is there: the pair is known to be good.
    let mut again = World::new(&[Transport::Udp, Transport::Tcp], blocked);
    again.phone.recall_pairs(again.now, kept);
    again.call();
    assert_eq!(again.known, Some(true));
    world.outage(true);
    let next = world.call();
    assert_eq!(world.known, Some(true));
    // .. and its pair has not to wait for the check on the one that is wanted more.
    assert_eq!(cold - next, media::traversal::HEAD_START + ice::agent::PACE);
    println!("R6.5: by a stream the next call is heard after {next:?}, the first after {cold:?}");
}

/// What led to bob may lead nowhere today. A server hears checks from an address it was not told of;
/// a phone behind a translator has to be told, by a restart.
#[test]
fn r6_5_a_known_way_that_leads_nowhere_costs_a_restart_at_most_and_no_call() {
    for picky in [false, true] {
        let all = Lets { media: true, turn: true };
        let blocked = Lets { media: false, turn: false };
        let mut world = World::new(&[Transport::Udp, Transport::Tcp], all);
        world.picky = picky;
        world.call();
        world.outage(true);
        world.lets = blocked;
        let took = world.call();
        assert_eq!(world.offer.contains("typ relay"), picky, "{}", world.offer);
        assert!(took < Duration::from_millis(if picky { 1_100 } else { 700 }), "{took:?}");
        // .. and is not believed a second time.
        world.outage(true);
        world.lets = blocked;
        let again = world.call();
        assert!(!picky || again < took, "{again:?}, and {took:?} before");
    }
}
