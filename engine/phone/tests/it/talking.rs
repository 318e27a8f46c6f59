//! R3: what one says, the other hears.

use crate::world::{World, frequency, last_second, seconds};
use audio::{CodecKind, Tone};
use media::Security;
use phone::{Config, PhoneEvent};
use sansio::Transport;

fn talk(codec: CodecKind, transport: Transport, loss: u64) -> World {
    let config = Config { codecs: vec![codec], ..Config::default() };
    let mut world = World::with_config(11, transport, &["alice", "bob"], &config);
    world.connect();
    world.loss = loss;
    world.voices =
        vec![Some(Tone::new(440.0, 48_000, 8000.0)), Some(Tone::new(1000.0, 48_000, 8000.0))];
    world.sound = true;
    world.run(seconds(4));
    world
}

fn agreed(world: &World, phone: usize) -> Option<(&str, bool)> {
    world.events[phone].iter().find_map(|e| match e {
        PhoneEvent::Answered { codec, encrypted, .. } => Some((codec.as_str(), *encrypted)),
        _ => None,
    })
}

#[test]
fn a_tone_is_heard_on_the_other_side_with_every_codec_and_keying() {
    for codec in [CodecKind::Opus, CodecKind::Pcmu] {
        for (transport, encrypted) in [(Transport::Tcp, false), (Transport::Tls, true)] {
            let world = talk(codec, transport, 0);
            for (phone, hz) in [(0, 1000.0), (1, 440.0)] {
                let heard = frequency(last_second(&world.heard[phone]));
                assert!((heard - hz).abs() < hz * 0.01, "{codec:?} {transport}: {heard} Hz");
                assert_eq!(agreed(&world, phone), Some((codec.encoding_name(), encrypted)));
            }
        }
    }
}

#[test]
fn a_tone_is_heard_through_loss() {
    let world = talk(CodecKind::Opus, Transport::Tls, 10);
    let heard = frequency(last_second(&world.heard[1]));
    assert!((heard - 440.0).abs() < 20.0, "{heard} Hz");
}

#[test]
fn the_end_of_a_call_tells_its_figures() {
    let mut world = talk(CodecKind::Opus, Transport::Tls, 0);
    let call = world.incoming(1).unwrap();
    world.tell(1, |p, now| p.hang_up(now, call)).unwrap();
    world.run(seconds(1));
    let stats = world.events[0].iter().find_map(|e| match e {
        PhoneEvent::Ended { stats, .. } => stats.as_deref(),
        _ => None,
    });
    let stats = stats.expect("figures");
    assert!(stats.packets_received > 190 && stats.packets_sent > 190 && stats.lost == 0);
    world.assert_clean();
}

#[test]
fn no_common_codec_is_told_to_both() {
    let only = |codec| Config { codecs: vec![codec], ..Config::default() };
    let mut world = World::with_config(12, Transport::Tls, &["alice"], &only(CodecKind::Pcmu));
    world.add_phone(12, Transport::Tls, "bob", only(CodecKind::Opus));
    refused_for_media(&mut world);
}

#[test]
fn plain_and_only_encrypted_do_not_meet() {
    let with = |security| Config { security: Some(security), ..Config::default() };
    let mut world = World::with_config(12, Transport::Tls, &["alice"], &with(Security::Plain));
    world.add_phone(12, Transport::Tls, "bob", with(Security::Sdes));
    // It does not even ring: nobody could do anything about it.
    world.call(0, "bob");
    world.run(seconds(2));
    assert_eq!(world.incoming(1), None);
    assert_eq!(world.ended(0), [phone::Cause::NoCommonMedia]);
    world.assert_clean();
}

fn refused_for_media(world: &mut World) {
    world.call(0, "bob");
    world.run(seconds(1));
    let (call, local) = (world.incoming(1).unwrap(), "192.0.2.11:9000".parse().unwrap());
    assert!(world.tell(1, |p, now| p.answer(now, call, local)).is_err());
    world.run(seconds(1));
    assert_eq!(world.ended(0), [phone::Cause::NoCommonMedia]);
    assert_eq!(world.ended(1), [phone::Cause::NoCommonMedia]);
    world.assert_clean();
}
