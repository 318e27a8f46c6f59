//! The check of R5.2: what a capture tells with and without the keys.

use std::time::Duration;

use audio::CodecKind;
use media::{MediaOutput, Security, Session};
use rtp::RtpPacket;
use rtp::srtp::{KeyMaterial, SrtpContext, Suite};
use sansio::SeededEntropy;

use crate::wire::config;

const TONE_HZ: f64 = 425.0;
const SECONDS: usize = 4;

/// Alice's packets to Bob of a call with a tone, and the answer and offer that agreed on its keys.
fn capture(security: Security) -> (Vec<Vec<u8>>, Vec<u8>, Vec<u8>) {
    let (mut entropy, mut now) = (SeededEntropy::new(5), sansio::testing::epoch());
    let codecs = [CodecKind::Pcmu];
    let mut alice = Session::new(config(0, &codecs, security), now, &mut entropy);
    let mut bob = Session::new(config(1, &codecs, security), now, &mut entropy);
    let offer = alice.create_offer(now);
    let answer = bob.handle_offer(now, &offer).unwrap();
    alice.handle_answer(now, &answer).unwrap();
    let (mut packets, mut phase) = (Vec::new(), 0.0_f64);
    for _ in 0..SECONDS * 50 {
        let frame: [i16; 960] = std::array::from_fn(|_| {
            phase += TONE_HZ * std::f64::consts::TAU / 48_000.0;
            (phase.sin() * 8_000.0) as i16
        });
        alice.capture(now, &frame);
        while let Some(output) = alice.poll_output() {
            if let MediaOutput::Transmit { bytes, rtcp: false, .. } = output
                && rtp::kind(&bytes) == rtp::PacketKind::Rtp
            {
                packets.push(bytes.to_vec());
            }
        }
        now += Duration::from_millis(20);
    }
    (packets, offer, answer)
}

/// What an eavesdropper hears of payloads it takes for G.711.
fn decode<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Vec<i16> {
    let mut decoder = CodecKind::Pcmu.decoder().unwrap();
    let mut sound = Vec::new();
    payloads.for_each(|payload| decoder.decode(payload, &mut sound).unwrap());
    sound
}

/// How much of a sound is the tone, whatever its phase: the length of its projection on sine and
/// cosine, between 0 and 1.
fn correlation(sound: &[i16]) -> f64 {
    let mean = sound.iter().map(|s| f64::from(*s)).sum::<f64>() / sound.len() as f64;
    let (mut sine, mut cosine, mut energy) = (0.0, 0.0, 0.0);
    for (n, sample) in sound.iter().enumerate() {
        let (value, angle) =
            (f64::from(*sample) - mean, n as f64 * TONE_HZ * std::f64::consts::TAU / 8_000.0);
        sine += value * angle.sin();
        cosine += value * angle.cos();
        energy += value * value;
    }
    (sine.hypot(cosine)) / (energy * sound.len() as f64 / 2.0).sqrt()
}

/// The payloads of what the packets carry, opened or as they are.
fn payloads(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets.iter().map(|p| RtpPacket::parse(p).unwrap().payload().to_vec()).collect()
}

#[test]
fn r5_2_a_captured_tone_is_noise_without_the_keys_and_the_tone_with_them() {
    let (clear, ..) = capture(Security::Plain);
    let heard = decode(payloads(&clear).iter().map(Vec::as_slice));
    assert!(correlation(&heard) > 0.95, "the check itself hears: {}", correlation(&heard));

    let (packets, offer, answer) = capture(Security::Sdes);
    assert!(packets.len() >= SECONDS * 49);
    let taken = payloads(&packets);
    // The tag stands where an eavesdropper would take it for sound; it is left out for a fair try.
    let heard = decode(taken.iter().map(|p| &p[..160]));
    assert!(correlation(&heard) < 0.05, "{}", correlation(&heard));

    let chosen = sdp::Session::parse(&answer).unwrap().media()[0].cryptos().next().unwrap();
    let offer = sdp::Session::parse(&offer).unwrap();
    let line = offer.media()[0].cryptos().find(|line| line.tag == chosen.tag).unwrap();
    let suite = Suite::from_name(line.suite.name()).unwrap();
    let key = KeyMaterial::from_concatenated(suite, &line.keys[0].key_and_salt).unwrap();
    let mut context = SrtpContext::new(suite, &key).unwrap();
    let mut opened = Vec::new();
    for packet in &packets {
        let (mut forged, mut buf) = (packet.clone(), packet.clone());
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(
            context.unprotect_rtp(&mut forged, packet.len()),
            Err(rtp::Error::Authentication),
            "a flipped tag"
        );
        let len = context.unprotect_rtp(&mut buf, packet.len()).unwrap();
        buf.truncate(len);
        opened.push(buf);
    }
    let heard = decode(payloads(&opened).iter().map(Vec::as_slice));
    assert!(correlation(&heard) > 0.95, "{}", correlation(&heard));
}
