//! What a receiver tells a sender, read where it lies: no allocation, for whoever passes reports on.
//!
//! ```text
//!   SR, RR ─► blocks      (RFC 3550 §6.4)      XR    ─► VoIP metrics          (RFC 3611 §4.7)
//!   RTPFB  ─► TWCC: came or did not            PSFB  ─► REMB: no more than so many bits
//!   APP "WHIM" ─► the marks of packets, from phones of ours
//! ```

use super::ReportBlock;

/// One thing that was told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Told {
    /// A sender's report begins: its NTP timestamp's middle 32 bits, which blocks refer to.
    Sender {
        /// Who sends.
        ssrc: u32,
        /// The middle of the timestamp.
        ntp_middle: u32,
    },
    /// Of one source.
    Block(ReportBlock),
    /// What a listener would say of one source (RFC 3611 §4.7).
    Voip(VoipMetrics),
    /// The most it can take (draft-alvestrand-rmcat-remb-03 §2), in bits per second.
    MaxBitrate(u64),
    /// Packet by packet, whether they came (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    Transport {
        /// Packets it speaks of.
        packets: u32,
        /// Those that did not come.
        lost: u32,
    },
    /// How packets are marked.
    Marks(Marks),
}

/// VoIP metrics (RFC 3611 §4.7), as far as somebody uses them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VoipMetrics {
    /// Of which source.
    pub ssrc: u32,
    /// Share lost in the network, in 1/256.
    pub loss: u8,
    /// Share that came too late to be of use, in 1/256.
    pub discarded: u8,
    /// Mean opinion score for listening, where it is told.
    pub mos_lq: Option<f64>,
}

/// The marks (DSCP, RFC 2474) of packets, from one hop to the next: what its sender puts on them, and
/// with what the other side's arrive. No RFC has words for it; ours is an APP packet (RFC 3550 §6.7),
/// which others pass over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// On what it sends; `None` where the system refused it.
    pub sent: Option<u8>,
    /// On what comes to it; `None` where nothing came, or the system does not tell.
    pub arrived: Option<u8>,
}

const NAME: [u8; 4] = *b"WHIM";
/// The subtype of marks.
const MARKS: u8 = 1;
const UNKNOWN: u8 = 0xff;
const REMB: [u8; 4] = *b"REMB";

impl Marks {
    /// Bytes of a packet of it.
    pub const LEN: usize = 16;

    /// Of octets (RFC 2474 §3), without their two bits for congestion (RFC 3168).
    pub fn of_octets(sent: Option<u8>, arrived: Option<u8>) -> Self {
        let mark = |octet: u8| octet >> 2;
        Self { sent: sent.map(mark), arrived: arrived.map(mark) }
    }

    /// The APP packet, to stand behind a report.
    pub fn packet(&self, ssrc: u32) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = 0x80 | MARKS;
        out[1] = 204;
        out[3] = (Self::LEN / 4 - 1) as u8;
        out[4..8].copy_from_slice(&ssrc.to_be_bytes());
        out[8..12].copy_from_slice(&NAME);
        out[12] = self.sent.unwrap_or(UNKNOWN);
        out[13] = self.arrived.unwrap_or(UNKNOWN);
        out
    }

    fn read(part: &Part<'_>) -> Option<Self> {
        let data = part.body.get(8..10).filter(|_| part.body.get(4..8) == Some(&NAME[..]))?;
        let mark = |octet: u8| (octet < 64).then_some(octet);
        (part.count == MARKS).then(|| Self { sent: mark(data[0]), arrived: mark(data[1]) })
    }
}

/// Tells all that `compound` says. Nothing where it does not hold together to its last byte: so looks
/// what is encrypted end to end, whose first eight bytes alone are in clear.
pub fn told(compound: &[u8], mut tell: impl FnMut(Told)) {
    if !is_whole(compound) {
        return;
    }
    for part in parts(compound) {
        match part.kind {
            200 => {
                if let (Some(ssrc), Some(middle)) = (word(part.body, 0), part.body.get(6..10)) {
                    let ntp_middle =
                        u32::from_be_bytes([middle[0], middle[1], middle[2], middle[3]]);
                    tell(Told::Sender { ssrc, ntp_middle });
                }
                blocks(&part, 24, &mut tell);
            }
            201 => blocks(&part, 4, &mut tell),
            204 => Marks::read(&part).map(Told::Marks).into_iter().for_each(&mut tell),
            205 if part.count == 15 => transport(&part).into_iter().for_each(&mut tell),
            206 if part.count == 15 => max_bitrate(&part).into_iter().for_each(&mut tell),
            207 => extended(&part, &mut tell),
            _ => {}
        }
    }
}

/// The length of `compound` without the packet of marks at its end: they are of one hop, and mean
/// nothing behind it.
pub fn without_marks(compound: &[u8]) -> usize {
    let mut at = 0;
    for part in parts(compound) {
        let end = at + 4 + part.body.len();
        if at > 0 && end == compound.len() && part.kind == 204 && Marks::read(&part).is_some() {
            return at;
        }
        at = end;
    }
    compound.len()
}

struct Part<'a> {
    kind: u8,
    /// The five bits: blocks, subtype or format.
    count: u8,
    /// What is behind the first word.
    body: &'a [u8],
}

fn parts(mut rest: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first_chunk::<4>()?;
        let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let body = behind.get(..words * 4)?;
        rest = &behind[words * 4..];
        Some(Part { kind: head[1], count: head[0] & 0x1f, body })
    })
}

fn is_whole(compound: &[u8]) -> bool {
    let mut at = 0;
    for part in parts(compound) {
        // Version 2, and a type that is RTCP's (RFC 5761 §4).
        if compound[at] >> 6 != 2 || !(192..=223).contains(&part.kind) {
            return false;
        }
        at += 4 + part.body.len();
    }
    at == compound.len()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

fn blocks(part: &Part<'_>, from: usize, tell: &mut impl FnMut(Told)) {
    let all = part.body.get(from..).unwrap_or_default().chunks_exact(24);
    for block in all.take(usize::from(part.count)) {
        let at = |at: usize| word(block, at).unwrap_or_default();
        let lost = at(4);
        tell(Told::Block(ReportBlock {
            ssrc: at(0),
            fraction_lost: (lost >> 24) as u8,
            // Sign-extends the 24 bits.
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            extended_sequence: at(8),
            jitter: at(12),
            last_sender_report: at(16),
            delay_since_last: at(20),
        }));
    }
}

fn extended(part: &Part<'_>, tell: &mut impl FnMut(Told)) {
    let mut rest = part.body.get(4..).unwrap_or_default();
    while let Some((head, behind)) = rest.split_first_chunk::<4>() {
        let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let Some(block) = behind.get(..words * 4) else { return };
        if head[0] == 7
            && let (Some(ssrc), Some(data)) = (word(block, 0), block.get(4..32))
        {
            // 127 is "not available" (RFC 3611 §4.7.5); otherwise 10 to 50.
            let mos = data[18];
            let mos_lq = (10..=50).contains(&mos).then(|| f64::from(mos) / 10.0);
            tell(Told::Voip(VoipMetrics { ssrc, loss: data[0], discarded: data[1], mos_lq }));
        }
        rest = &behind[words * 4..];
    }
}

fn max_bitrate(part: &Part<'_>) -> Option<Told> {
    let body = part.body.get(8..16).filter(|body| body[..4] == REMB)?;
    let exponent = u32::from(body[5] >> 2);
    let mantissa = u64::from(body[5] & 3) << 16 | u64::from(body[6]) << 8 | u64::from(body[7]);
    // A shift that loses bits says "more than anything".
    Some(Told::MaxBitrate(
        mantissa.checked_shl(exponent).filter(|b| b >> exponent == mantissa).unwrap_or(u64::MAX),
    ))
}

fn transport(part: &Part<'_>) -> Option<Told> {
    let packets = part.body.get(10..12).map(|n| u32::from(u16::from_be_bytes([n[0], n[1]])))?;
    let mut rest = part.body.get(16..)?;
    let (mut left, mut lost) = (packets, 0);
    while left > 0 {
        let (chunk, behind) = rest.split_first_chunk::<2>()?;
        let chunk = u16::from_be_bytes(*chunk);
        rest = behind;
        let (covered, missing) = match chunk >> 14 {
            // A run: a status of two bits, and how many have it.
            0 | 1 => {
                let run = u32::from(chunk & 0x1fff).min(left);
                (run, if chunk >> 13 & 3 == 0 { run } else { 0 })
            }
            2 => statuses(chunk, (1, 14), left),
            _ => statuses(chunk, (2, 7), left),
        };
        if covered == 0 {
            return None;
        }
        lost += missing;
        left -= covered;
    }
    Some(Told::Transport { packets, lost })
}

/// A vector of statuses of so many bits: how many it covers, and how many of those are "not received".
fn statuses(chunk: u16, (bits, symbols): (u16, u16), left: u32) -> (u32, u32) {
    let covered = u32::from(symbols).min(left);
    let is_lost = |n: &u16| chunk >> (14 - bits * (n + 1)) & ((1 << bits) - 1) == 0;
    (covered, (0..symbols).take(covered as usize).filter(is_lost).count() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Report, SenderInfo};
    use proptest::prelude::*;

    fn all(compound: &[u8]) -> Vec<Told> {
        let mut said = Vec::new();
        told(compound, |one| said.push(one));
        said
    }

    fn report(block: ReportBlock) -> Vec<u8> {
        let sender = Some(SenderInfo { ntp: 0x1122_3344_5566_7788, ..SenderInfo::default() });
        let report = Report { ssrc: 9, sender, blocks: &[block], cname: "c", bye: None };
        let mut out = vec![0; 200];
        let len = report.write(&mut out).unwrap();
        out.truncate(len);
        out
    }

    fn part(kind: u8, count: u8, words: &[u32]) -> Vec<u8> {
        let mut out = vec![0x80 | count, kind];
        out.extend((words.len() as u16).to_be_bytes());
        out.extend(words.iter().flat_map(|w| w.to_be_bytes()));
        out
    }

    #[test]
    fn r5_9_reports_are_read_where_they_lie() {
        let block = ReportBlock {
            ssrc: 7,
            fraction_lost: 26,
            cumulative_lost: -2,
            extended_sequence: 70_000,
            jitter: 12,
            last_sender_report: 5,
            delay_since_last: 6,
        };
        let compound = report(block);
        let sender = Told::Sender { ssrc: 9, ntp_middle: 0x3344_5566 };
        assert_eq!(all(&compound), [sender, Told::Block(block)]);
        // The same as what the library reads.
        let items = crate::rtcp::parse(&compound).unwrap();
        assert!(
            matches!(&items[0], crate::rtcp::Item::Report { blocks, .. } if blocks[0] == block)
        );
    }

    #[test]
    fn r5_9_voip_metrics_remb_and_transport_feedback_are_read() {
        // RFC 3611 §4.7: loss 13, discard 3, MOS-LQ 3.9 at the 19th octet behind the SSRC.
        let mut voip = vec![7, 13 << 24 | 3 << 16];
        voip.extend([0, 0, 0, 0x0000_2700, 0, 0]);
        let mut block = vec![7 << 24 | 8];
        block.extend(voip);
        let mut xr = vec![1];
        xr.extend(block);
        let told = all(&part(207, 0, &xr));
        let Some(Told::Voip(metrics)) = told.first() else { panic!("{told:?}") };
        assert_eq!((metrics.ssrc, metrics.loss, metrics.discarded), (7, 13, 3));
        assert_eq!(metrics.mos_lq, Some(3.9));

        // Exponent 1, mantissa 15,000.
        let remb = part(206, 15, &[1, 0, u32::from_be_bytes(REMB), 1 << 24 | 1 << 18 | 15_000, 7]);
        assert_eq!(all(&remb), [Told::MaxBitrate(30_000)]);

        // Twelve packets: a run of three lost, then seven of two bits (lost, small, ...), then a run.
        let vector = 0b11_00_01_01_00_01_01_01_u32;
        let words = [1, 2, 100 << 16 | 12, 0, 3 << 16 | vector, 0b001 << 29 | 2 << 16];
        assert_eq!(all(&part(205, 15, &words)), [Told::Transport { packets: 12, lost: 5 }]);
    }

    #[test]
    fn r5_8_marks_travel_one_hop() {
        let mut compound = report(ReportBlock::default());
        let plain = compound.clone();
        assert_eq!(without_marks(&compound), plain.len());
        let marks = Marks::of_octets(Some(0xb8), Some(0x01));
        assert_eq!(marks, Marks { sent: Some(46), arrived: Some(0) });
        compound.extend(marks.packet(9));
        assert_eq!(all(&compound).last(), Some(&Told::Marks(marks)));
        assert_eq!(crate::rtcp::parse(&compound).unwrap().len(), 3, "others pass over it");
        assert_eq!(without_marks(&compound), plain.len());
        let none = Marks::default();
        assert_eq!(all(&none.packet(9)), [Told::Marks(none)]);
        assert_eq!(without_marks(&none.packet(9)), Marks::LEN, "alone it stays");
    }

    #[test]
    fn what_is_encrypted_end_to_end_says_nothing() {
        let mut compound = report(ReportBlock::default());
        let keys = crate::srtp::KeyMaterial::new(&[7; 16], &[9; 14]);
        let suite = crate::srtp::Suite::AesCm128HmacSha1_80;
        let mut sender = crate::srtp::SrtpContext::new(suite, &keys).unwrap();
        let len = compound.len();
        compound.resize(len + crate::srtp::MAX_TRAILER, 0);
        let len = sender.protect_rtcp(&mut compound, len).unwrap();
        assert_eq!(all(&compound[..len]), []);
        assert_eq!(without_marks(&compound[..len]), len);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            parts in prop::collection::vec((any::<u8>(), 198..210_u8, prop::collection::vec(any::<u32>(), 0..12)), 0..4),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut packet: Vec<u8> = parts.iter().flat_map(|(c, k, w)| part(*k, c & 0x1f, w)).collect();
            let _ = all(&packet);
            packet.extend(&bytes);
            let _ = (all(&packet), without_marks(&packet));
            let _ = (all(&bytes), without_marks(&bytes));
        }
    }
}
