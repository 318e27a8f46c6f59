//! RTCP: building SR, RR, SDES and BYE, reading compounds (RFC 3550 §6), on top of `rtcp-types`.

mod told;

use std::time::Duration;

use rtcp_types::{
    Bye, Compound, CompoundBuilder, Packet, ReceiverReport, RtcpPacketWriterExt, Sdes, SdesChunk,
    SdesItem, SenderReport,
};
use sansio::WallTime;

use crate::Error;

pub use told::{Marks, Told, VoipMetrics, told, without_marks};

/// The usual interval between reports (RFC 3550 §6.2); spread it by a factor of 0.5 to 1.5.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_OFFSET_SECS: u64 = 2_208_988_800;

/// What one endpoint says about itself and about those it hears.
#[derive(Debug, Clone, Default)]
pub struct Report<'a> {
    /// Our synchronisation source.
    pub ssrc: u32,
    /// What we sent; without it the report is a receiver report.
    pub sender: Option<SenderInfo>,
    /// At most 31; more are left out.
    pub blocks: &'a [ReportBlock],
    /// The canonical name (RFC 7022), at most 255 bytes.
    pub cname: &'a str,
    /// When present the report ends with BYE and this reason (may be empty).
    pub bye: Option<&'a str>,
}

impl Report<'_> {
    /// Writes the compound packet; gives its length.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`], or [`Error::Rtcp`] when a text is too long.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Error> {
        let blocks = self.blocks.iter().take(31).map(ReportBlock::builder);
        let compound = Compound::builder();
        let compound = match self.sender {
            Some(s) => {
                let sr = SenderReport::builder(self.ssrc)
                    .ntp_timestamp(s.ntp)
                    .rtp_timestamp(s.rtp_timestamp)
                    .packet_count(s.packets)
                    .octet_count(s.octets);
                compound.add_packet(blocks.fold(sr, |sr, b| sr.add_report_block(b)))
            }
            None => {
                let rr = ReceiverReport::builder(self.ssrc);
                compound.add_packet(blocks.fold(rr, |rr, b| rr.add_report_block(b)))
            }
        };
        let item = SdesItem::builder(SdesItem::CNAME, self.cname);
        let chunk = SdesChunk::builder(self.ssrc).add_item(item);
        let compound = compound.add_packet(Sdes::builder().add_chunk(chunk));
        finish(self.with_bye(compound), out)
    }

    fn with_bye<'b>(&'b self, compound: CompoundBuilder<'b>) -> CompoundBuilder<'b> {
        match self.bye {
            Some("") => compound.add_packet(Bye::builder().add_source(self.ssrc)),
            Some(why) => compound.add_packet(Bye::builder().add_source(self.ssrc).reason(why)),
            None => compound,
        }
    }
}

/// The sender's part of a sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// 64-bit NTP timestamp; see [`ntp`].
    pub ntp: u64,
    /// The same instant on the RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

/// What a receiver says about one source (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the start, 24 bits signed.
    pub cumulative_lost: i32,
    /// Cycles and highest sequence number.
    pub extended_sequence: u32,
    /// In timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP timestamp, or 0.
    pub last_sender_report: u32,
    /// In 1/65536 s.
    pub delay_since_last: u32,
}

impl ReportBlock {
    /// The round trip this block proves (RFC 3550 §6.4.1), given the NTP time of its arrival.
    pub fn round_trip(&self, ntp_now: u64) -> Option<Duration> {
        if self.last_sender_report == 0 {
            return None;
        }
        let now = (ntp_now >> 16) as u32;
        let units = now.wrapping_sub(self.last_sender_report).wrapping_sub(self.delay_since_last);
        // A negative result (clock steps, a peer that lies) shows as more than half the range.
        (units < 0x8000_0000).then(|| Duration::from_secs_f64(f64::from(units) / 65536.0))
    }

    fn builder(&self) -> rtcp_types::ReportBlockBuilder {
        rtcp_types::ReportBlock::builder(self.ssrc)
            .fraction_lost(self.fraction_lost)
            .cumulative_lost((self.cumulative_lost & 0xff_ffff).cast_unsigned())
            .extended_sequence_number(self.extended_sequence)
            .interarrival_jitter(self.jitter)
            .last_sender_report_timestamp(self.last_sender_report)
            .delay_since_last_sender_report_timestamp(self.delay_since_last)
    }

    fn from_wire(b: &rtcp_types::ReportBlock<'_>) -> Self {
        // Sign-extends the 24 bits.
        let cumulative_lost = (b.cumulative_lost() << 8).cast_signed() >> 8;
        Self {
            ssrc: b.ssrc(),
            fraction_lost: b.fraction_lost(),
            cumulative_lost,
            extended_sequence: b.extended_sequence_number(),
            jitter: b.interarrival_jitter(),
            last_sender_report: b.last_sender_report_timestamp(),
            delay_since_last: b.delay_since_last_sender_report_timestamp(),
        }
    }
}

/// One packet of a received compound.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// SR or RR; `sender` is there for SR.
    Report {
        /// Who reports.
        ssrc: u32,
        /// What it sent.
        sender: Option<SenderInfo>,
        /// What it heard.
        blocks: Vec<ReportBlock>,
    },
    /// The canonical name of a source.
    Cname {
        /// The source.
        ssrc: u32,
        /// Its name, as bytes: it should be UTF-8 but need not be.
        name: Vec<u8>,
    },
    /// These sources leave.
    Bye {
        /// The sources.
        ssrcs: Vec<u32>,
    },
    /// A kind this crate does not interpret (feedback, APP, XR …).
    Other,
}

/// Reads a compound packet. Reduced-size RTCP (RFC 5506) is accepted.
///
/// # Errors
/// [`Error::Rtcp`] when any part is malformed: nothing of it is used then.
pub fn parse(bytes: &[u8]) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    for packet in Compound::parse(bytes).map_err(|_| Error::Rtcp)? {
        match packet.map_err(|_| Error::Rtcp)? {
            Packet::Sr(sr) => items.push(Item::Report {
                ssrc: sr.ssrc(),
                sender: Some(SenderInfo {
                    ntp: sr.ntp_timestamp(),
                    rtp_timestamp: sr.rtp_timestamp(),
                    packets: sr.packet_count(),
                    octets: sr.octet_count(),
                }),
                blocks: sr.report_blocks().map(|b| ReportBlock::from_wire(&b)).collect(),
            }),
            Packet::Rr(rr) => items.push(Item::Report {
                ssrc: rr.ssrc(),
                sender: None,
                blocks: rr.report_blocks().map(|b| ReportBlock::from_wire(&b)).collect(),
            }),
            Packet::Sdes(sdes) => items.extend(cnames(&sdes)),
            Packet::Bye(bye) => items.push(Item::Bye { ssrcs: bye.ssrcs().collect() }),
            _ => items.push(Item::Other),
        }
    }
    Ok(items)
}

/// The 64-bit NTP timestamp of a time of day (RFC 3550 §4).
pub fn ntp(at: WallTime) -> u64 {
    let millis = at.as_millis();
    let fraction = ((millis % 1000) << 32) / 1000;
    ((millis / 1000 + NTP_OFFSET_SECS) << 32) | fraction
}

fn cnames(sdes: &Sdes<'_>) -> Vec<Item> {
    let of_chunk = |chunk: &SdesChunk<'_>| {
        let ssrc = chunk.ssrc();
        let item = chunk.items().find(|i| i.type_() == SdesItem::CNAME);
        item.map(|i| Item::Cname { ssrc, name: i.value().to_vec() })
    };
    sdes.chunks().filter_map(of_chunk).collect()
}

fn finish(compound: CompoundBuilder<'_>, out: &mut [u8]) -> Result<usize, Error> {
    compound.write_into(out).map_err(|e| match e {
        rtcp_types::RtcpWriteError::OutputTooSmall(needed) => {
            Error::BufferTooSmall { needed, have: out.len() }
        }
        _ => Error::Rtcp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sender_report_with_bye_reads_back() {
        let block = ReportBlock {
            ssrc: 7,
            fraction_lost: 3,
            cumulative_lost: -2,
            extended_sequence: 70_000,
            jitter: 12,
            last_sender_report: 5,
            delay_since_last: 6,
        };
        let sender = SenderInfo { ntp: 1 << 40, rtp_timestamp: 8, packets: 9, octets: 10 };
        let report = Report {
            ssrc: 1,
            sender: Some(sender),
            blocks: &[block],
            cname: "c@whimbrel",
            bye: Some("done"),
        };
        let mut buf = [0; 256];
        let len = report.write(&mut buf).unwrap();
        assert_eq!(crate::kind(&buf[..len]), crate::PacketKind::Rtcp);
        assert_eq!(
            parse(&buf[..len]).unwrap(),
            [
                Item::Report { ssrc: 1, sender: Some(sender), blocks: vec![block] },
                Item::Cname { ssrc: 1, name: b"c@whimbrel".to_vec() },
                Item::Bye { ssrcs: vec![1] },
            ]
        );
        assert!(matches!(report.write(&mut buf[..20]), Err(Error::BufferTooSmall { .. })));
    }

    #[test]
    fn the_round_trip_example_of_rfc_3550_holds() {
        // RFC 3550 §6.4.1, Figure 2: 46864.500 - 46853.125 - 5.250 = 6.125 s.
        let block = ReportBlock {
            last_sender_report: 0xb705_2000,
            delay_since_last: 0x0005_4000,
            ..ReportBlock::default()
        };
        let now = 0xb710_8000_u64 << 16;
        assert_eq!(block.round_trip(now), Some(Duration::from_millis(6125)));
        assert_eq!(ReportBlock::default().round_trip(now), None);
    }

    #[test]
    fn ntp_counts_from_1900() {
        assert_eq!(ntp(WallTime::from_millis(500)) >> 32, NTP_OFFSET_SECS);
        assert_eq!(ntp(WallTime::from_millis(500)) & 0xffff_ffff, 1 << 31);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail_without_panic(
            kind in 192..224_u8, bytes in prop::collection::vec(any::<u8>(), 0..120), len in 0..40_u16,
        ) {
            let mut packet = vec![0x80 | (bytes.first().copied().unwrap_or(0) & 0x3f), kind];
            packet.extend(len.to_be_bytes());
            packet.extend(&bytes);
            let _ = parse(&packet);
            let _ = parse(&bytes);
        }

        #[test]
        fn well_framed_garbage_never_panics(
            parts in prop::collection::vec((any::<u8>(), 198..210_u8, prop::collection::vec(any::<u32>(), 0..12)), 1..4),
        ) {
            let mut packet = Vec::new();
            for (first, kind, words) in parts {
                packet.extend([0x80 | (first & 0x1f), kind]);
                packet.extend((words.len() as u16).to_be_bytes());
                packet.extend(words.iter().flat_map(|w| w.to_be_bytes()));
            }
            let _ = parse(&packet);
        }
    }
}
