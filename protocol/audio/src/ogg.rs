//! Ogg Opus files (RFC 3533, RFC 7845): two channels, a page each second.

use opus::{Application, Bitrate, Channels};

use crate::Error;

/// 20 ms of a page's second.
const PACKETS_PER_PAGE: usize = 50;
const FRAME: u64 = 960;
const BITRATE: i32 = 48_000;
/// A recording is written by the server, beside everything else.
const COMPLEXITY: i32 = 5;
const PACKET_MAX: usize = 1275;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Writes one file.
pub struct OggOpus {
    encoder: opus::Encoder,
    serial: u32,
    page: u32,
    granule: u64,
    packets: Vec<Vec<u8>>,
}

impl OggOpus {
    /// A stereo file; appends its header pages. `serial` is any number.
    ///
    /// # Errors
    /// [`Error::Codec`] when libopus cannot start.
    pub fn stereo(serial: u32, out: &mut Vec<u8>) -> Result<Self, Error> {
        let mut encoder =
            opus::Encoder::new(48_000, Channels::Stereo, Application::Voip).map_err(refused)?;
        encoder.set_bitrate(Bitrate::Bits(BITRATE)).map_err(refused)?;
        encoder.set_complexity(COMPLEXITY).map_err(refused)?;
        let skip = encoder.get_lookahead().map_err(refused)? as u16;
        let mut this = Self { encoder, serial, page: 0, granule: 0, packets: Vec::new() };
        let mut head = b"OpusHead\x01\x02".to_vec();
        head.extend_from_slice(&skip.to_le_bytes());
        head.extend_from_slice(&48_000_u32.to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]);
        this.packets.push(head);
        this.write_page(FIRST, out);
        let vendor = b"whimbrel";
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&[0; 4]);
        this.packets.push(tags);
        this.write_page(0, out);
        this.granule = u64::from(skip);
        Ok(this)
    }

    /// Takes 20 ms, left and right in turn, at 48 kHz.
    ///
    /// # Errors
    /// [`Error::FrameLength`], or what libopus says.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), Error> {
        if samples.len() as u64 != 2 * FRAME {
            return Err(Error::FrameLength { codec: "opus", samples: samples.len() });
        }
        let mut packet = vec![0; PACKET_MAX];
        let len = self.encoder.encode(samples, &mut packet).map_err(refused)?;
        packet.truncate(len);
        if self.packets.len() >= PACKETS_PER_PAGE {
            self.write_page(0, out);
        }
        self.packets.push(packet);
        self.granule += FRAME;
        Ok(())
    }

    /// Appends the last page.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.write_page(LAST, out);
    }

    fn write_page(&mut self, flags: u8, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"OggS\0");
        out.push(flags);
        out.extend_from_slice(&self.granule.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.page.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let mut lacing = Vec::new();
        for packet in &self.packets {
            lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
            lacing.push((packet.len() % 255) as u8);
        }
        // 50 packets of 48 kbit/s are 120 bytes each: far below the 255 segments of a page.
        out.push(lacing.len().min(255) as u8);
        out.extend_from_slice(&lacing);
        self.packets.drain(..).for_each(|packet| out.extend_from_slice(&packet));
        let sum = checksum(&out[start..]);
        out[start + 22..start + 26].copy_from_slice(&sum.to_le_bytes());
        self.page += 1;
    }
}

impl std::fmt::Debug for OggOpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpus").field("page", &self.page).finish_non_exhaustive()
    }
}

/// CRC-32 with 0x04c11db7, from the top bit, without inversion (RFC 3533 §6).
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| {
        let sum: u32 = sum ^ u32::from(*byte) << 24;
        (0..8).fold(sum, |s, _| (s << 1) ^ (0x04c1_1db7 & 0_u32.wrapping_sub(s >> 31)))
    })
}

fn refused(error: opus::Error) -> Error {
    Error::Codec { codec: "opus", reason: error.description() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tone;

    /// The pages, their numbers and sums are those of RFC 3533; each packet decodes.
    #[test]
    fn r5_12_an_ogg_file_has_whole_pages_and_its_packets_decode() {
        let mut file = Vec::new();
        let mut ogg = OggOpus::stereo(7, &mut file).unwrap();
        let mut left = Tone::new(440.0, 48_000, 8000.0);
        for _ in 0..125 {
            let frame: Vec<i16> = left.by_ref().take(960).flat_map(|l| [l, 0]).collect();
            ogg.push(&frame, &mut file).unwrap();
        }
        ogg.finish(&mut file);
        assert_eq!(checksum(b"123456789"), 0x89a1_897f, "the check value of this CRC");
        let mut decoder = opus::Decoder::new(48_000, Channels::Stereo).unwrap();
        let (mut at, mut pages, mut samples) = (0, 0_u32, Vec::new());
        while at < file.len() {
            let segments = usize::from(file[at + 26]);
            let lacing = &file[at + 27..at + 27 + segments];
            let body = at + 27 + segments;
            let end = body + lacing.iter().map(|n| usize::from(*n)).sum::<usize>();
            let mut page = file[at..end].to_vec();
            page[22..26].fill(0);
            assert_eq!(checksum(&page).to_le_bytes(), file[at + 22..at + 26], "page {pages}");
            assert_eq!(file[at + 18..at + 22], pages.to_le_bytes());
            let flags = [(0, FIRST), (4, LAST)].into_iter().find(|(n, _)| *n == pages);
            assert_eq!(file[at + 5], flags.map_or(0, |(_, flag)| flag));
            let mut start = body;
            for size in lacing.iter().map(|n| usize::from(*n)) {
                assert!(size < 255, "a packet in one segment");
                if pages >= 2 {
                    let mut frame = [0; 1920];
                    let packet = &file[start..start + size];
                    assert_eq!(decoder.decode(packet, &mut frame, false).unwrap(), 960);
                    samples.extend_from_slice(&frame);
                }
                start += size;
            }
            (at, pages) = (end, pages + 1);
        }
        assert_eq!(pages, 2 + 3, "two headers, and 2.5 seconds");
        let channel = |n| samples.iter().skip(n).step_by(2).copied().collect::<Vec<i16>>();
        assert!((crate::level::dbov(&channel(0)) + 15.3).abs() < 1.0);
        assert!(crate::level::dbov(&channel(1)) < -40.0, "the other side was silent");
    }
}
