//! Sound that the relay plays to one side: coded in that side's codec, a frame at a time.

use std::time::{Duration, Instant};

use audio::{CodecKind, Encoder, Wav};
use rtp::srtp::MAX_TRAILER;
use rtp::{HEADER_LEN, Header};

use super::PayloadType;

/// How much sound is in a packet.
const PTIME: Duration = Duration::from_millis(20);
const FRAMES_PER_S: u32 = 50;
/// Frames made at once: what a late timer may have missed. Further behind, the sound waits.
const CATCH_UP_MAX: u32 = 10;
/// The longest sound that is played, an hour: it is held in memory as samples.
pub const SOUND_MAX: Duration = Duration::from_secs(3600);

/// How often sound is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounds {
    /// As often as this, at least once.
    pub times: u32,
    /// And, counted from the beginning, no longer than this.
    pub within: Option<Duration>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { times: 1, within: None }
    }
}

/// Sound under way to one side.
#[derive(Debug)]
pub struct Player {
    encoder: Box<dyn Encoder>,
    samples: Vec<i16>,
    /// The next sample to play.
    at: usize,
    /// Samples and ticks of a frame.
    frame: usize,
    ticks: u32,
    rounds_left: u32,
    ends: Option<Instant>,
    header: Header,
    next: Instant,
}

impl Player {
    /// Sound for a side that understands `codec`. It is a stream of its own, from `ssrc`.
    ///
    /// # Errors
    /// When we do not have the codec, or cannot convert to its rate.
    pub fn new(
        now: Instant,
        sound: &Wav,
        codec: &PayloadType,
        rounds: Rounds,
        ssrc: u32,
    ) -> Result<Self, audio::Error> {
        let kind = playable(codec).ok_or(audio::Error::Rate { rate: codec.clock_rate })?;
        let rate = working_rate(kind, sound.rate);
        let samples = sound.to_mono(rate)?;
        Ok(Self {
            encoder: kind.relay_encoder(rate)?,
            samples,
            at: 0,
            frame: (rate / FRAMES_PER_S) as usize,
            ticks: kind.clock_rate() / FRAMES_PER_S,
            rounds_left: rounds.times.max(1),
            ends: rounds.within.map(|within| now + within),
            header: Header {
                payload_type: codec.number,
                sequence: ssrc as u16,
                timestamp: ssrc,
                ssrc,
                marker: true,
            },
            next: now,
        })
    }

    /// When the next packet is due.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// Whether all was played.
    pub(super) fn is_over(&self) -> bool {
        self.rounds_left == 0 || self.ends.is_some_and(|ends| self.next >= ends)
    }

    /// Hands over the packets that are due, each with room for protection behind it.
    pub(super) fn play(&mut self, now: Instant, mut send: impl FnMut(Vec<u8>, usize)) {
        if now > self.next + PTIME * CATCH_UP_MAX {
            self.next = now;
        }
        while self.next <= now && !self.is_over() {
            let mut packet = Vec::with_capacity(HEADER_LEN + 320 + MAX_TRAILER);
            packet.resize(HEADER_LEN, 0);
            // There is room for the header; a frame of 20 ms is none that a codec here refuses.
            let _ = rtp::write_header(&mut packet, &self.header);
            let frame = self.take_frame();
            let coded = self.encoder.encode(&frame, &mut packet).is_ok();
            let len = packet.len();
            packet.resize(len + MAX_TRAILER, 0);
            if coded {
                send(packet, len);
            }
            let header = &mut self.header;
            header.marker = false;
            header.sequence = header.sequence.wrapping_add(1);
            header.timestamp = header.timestamp.wrapping_add(self.ticks);
            self.next += PTIME;
        }
    }

    /// A frame; the rest of the last one is silence.
    fn take_frame(&mut self) -> Vec<i16> {
        let end = self.samples.len().min(self.at + self.frame);
        let mut frame = self.samples[self.at..end].to_vec();
        frame.resize(self.frame, 0);
        self.at = end;
        if self.at >= self.samples.len() {
            self.at = 0;
            self.rounds_left -= 1;
        }
        frame
    }
}

/// The codec of a payload type, if sound can be played in it.
pub fn playable(codec: &PayloadType) -> Option<CodecKind> {
    let kind = CodecKind::from_encoding_name(&codec.encoding)?;
    (kind.clock_rate() == codec.clock_rate).then_some(kind)
}

/// The rate a codec works at for sound of another: Opus at the lowest that loses nothing.
fn working_rate(kind: CodecKind, sound: u32) -> u32 {
    match (kind, sound) {
        (CodecKind::Opus, ..=8000) => 8000,
        (CodecKind::Opus, ..=16_000) => 16_000,
        _ => kind.sample_rate(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(encoding: &str, clock_rate: u32) -> PayloadType {
        PayloadType { number: 96, encoding: encoding.to_owned(), clock_rate }
    }

    fn packets(player: &mut Player, mut now: Instant) -> Vec<(Duration, Vec<u8>)> {
        let (began, mut all) = (now, Vec::new());
        while !player.is_over() {
            player.play(now, |packet, len| all.push((now - began, packet[..len].to_vec())));
            now += Duration::from_millis(10);
        }
        all
    }

    #[test]
    fn every_codec_plays_a_second_in_fifty_packets_whatever_the_rate_of_the_file() {
        let now = Instant::now();
        for (name, clock, ticks) in
            [("PCMU", 8000, 160), ("PCMA", 8000, 160), ("G722", 8000, 160), ("opus", 48_000, 960)]
        {
            for rate in [8000, 16_000, 44_100, 48_000] {
                let sound = Wav::mono(rate, vec![500; rate as usize]);
                let codec = payload(name, clock);
                let mut player = Player::new(now, &sound, &codec, Rounds::default(), 7).unwrap();
                let all = packets(&mut player, now);
                assert_eq!(all.len(), 50, "{name} from {rate}");
                for (n, (at, packet)) in (0_u32..).zip(&all) {
                    let packet = rtp::RtpPacket::parse(packet).unwrap();
                    assert_eq!(*at, PTIME * n, "at its time");
                    assert_eq!(packet.marker(), n == 0);
                    assert_eq!(packet.timestamp(), 7 + n * ticks, "{name}");
                    assert_eq!(packet.sequence(), 7 + n as u16);
                }
            }
        }
    }

    #[test]
    fn sound_is_repeated_and_cut_off_at_its_time() {
        let now = Instant::now();
        let sound = Wav::mono(8000, vec![1; 810]);
        let count = |rounds| {
            let mut player = Player::new(now, &sound, &payload("PCMA", 8000), rounds, 1).unwrap();
            packets(&mut player, now).len()
        };
        assert_eq!(count(Rounds::default()), 6, "the last ten samples have a packet too");
        assert_eq!(count(Rounds { times: 3, within: None }), 18);
        assert_eq!(count(Rounds { times: 0, within: None }), 6);
        assert_eq!(count(Rounds { times: 99, within: Some(Duration::from_secs(1)) }), 50);
    }

    #[test]
    fn a_timer_that_was_late_makes_no_flood() {
        let now = Instant::now();
        let sound = Wav::mono(8000, vec![1; 80_000]);
        let codec = payload("PCMU", 8000);
        let mut player = Player::new(now, &sound, &codec, Rounds::default(), 1).unwrap();
        let mut count = 0;
        player.play(now, |_, _| count += 1);
        player.play(now + Duration::from_secs(5), |_, _| count += 1);
        assert_eq!(count, 2);
        player.play(now + Duration::from_millis(5060), |_, _| count += 1);
        assert_eq!(count, 5);
    }

    #[test]
    fn what_we_cannot_code_is_refused() {
        let sound = Wav::mono(8000, vec![1; 8000]);
        for codec in [payload("GSM", 8000), payload("opus", 8000), payload("CN", 8000)] {
            let refused = Player::new(Instant::now(), &sound, &codec, Rounds::default(), 1);
            assert!(refused.is_err(), "{codec:?}");
        }
    }
}
