//! The packet around a message (RFC 6189 §5): where RTP has version, sequence number, timestamp and
//! source, and a check sum behind.

use super::Message;
use super::crc::crc32c;
use crate::Error;
use crate::packet::{be32, is_zrtp};

/// Before the message.
const HEADER: usize = 12;
/// Behind it.
const CRC: usize = 4;
/// Preamble, length and type.
const MESSAGE_MIN: usize = 12;

/// One packet of ZRTP; reading copies nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Counts the sender's packets.
    pub sequence: u16,
    /// The RTP stream that it speaks for.
    pub ssrc: u32,
    /// The message.
    pub message: Message<'a>,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Checksum`], or [`Error::Zrtp`] for what has no form.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Error> {
        let needed = HEADER + MESSAGE_MIN + CRC;
        if datagram.len() < needed {
            return Err(Error::Truncated { needed, actual: datagram.len() });
        }
        if !is_zrtp(datagram) {
            return Err(Error::Zrtp);
        }
        let (covered, sum) = datagram.split_at(datagram.len() - CRC);
        if crc32c(covered) != sum {
            return Err(Error::Checksum);
        }
        let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
        let message = Message::parse(&covered[HEADER..])?;
        Ok(Self { sequence, ssrc: be32(datagram, 8), message })
    }
}

/// The packet that carries `message`.
pub fn seal(sequence: u16, ssrc: u32, message: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + message.len() + CRC);
    packet.extend([0x10, 0]);
    packet.extend(sequence.to_be_bytes());
    packet.extend(b"ZRTP");
    packet.extend(ssrc.to_be_bytes());
    packet.extend(message);
    let sum = crc32c(&packet);
    packet.extend(sum);
    packet
}
