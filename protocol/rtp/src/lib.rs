//! RTP, RTCP, telephone events, SRTP and ZRTP: the packets of a call, without sockets or clocks.
//!
//! ```text
//!   datagram ──► kind() ──► Rtp  ──► srtp::SrtpContext ──► RtpPacket ──► Receiver (loss, jitter)
//!               RFC 5761 │           (in place)                     └──► dtmf::Receiver
//!                        └─► Rtcp ──► srtp::SrtpContext ──► rtcp::parse
//! ```
//!
//! Contract: everything works on slices the caller owns. A packet from the network is data from a
//! stranger: parsers return an [`Error`], never panic. SRTP transforms in place and returns the new
//! length; a context serves one direction of one master key.
//!
//! ```
//! use rtp::srtp::{KeyMaterial, SrtpContext, Suite};
//!
//! let keys = KeyMaterial::new(&[7; 16], &[9; 14]);
//! let suite = Suite::AesCm128HmacSha1_80;
//! let mut sender = SrtpContext::new(suite, &keys)?;
//! let mut receiver = SrtpContext::new(suite, &keys)?;
//!
//! let mut buf = [0_u8; 200];
//! let header = rtp::Header { payload_type: 0, sequence: 1, timestamp: 160, ssrc: 5, marker: true };
//! let len = rtp::write_packet(&mut buf, &header, &[0xff; 160])?;
//! let len = sender.protect_rtp(&mut buf, len)?;
//! let len = receiver.unprotect_rtp(&mut buf, len)?;
//! assert_eq!(rtp::RtpPacket::parse(&buf[..len])?.payload(), &[0xff; 160]);
//! # Ok::<(), rtp::Error>(())
//! ```
//!
//! What this crate does not do: but for ZRTP it negotiates no keys (`media::keying`), buffers no audio
//! (`audio::JitterBuffer`), decides no RTCP schedule beyond [`rtcp::INTERVAL`], opens no socket.
//!
//! Start reading at [`RtpPacket`], then [`srtp::SrtpContext`], then [`zrtp::Endpoint`].

mod error;
mod packet;
mod receiver;
mod sequence;

pub mod dtmf;
pub mod rtcp;
pub mod srtp;
pub mod zrtp;

pub use error::Error;
pub use packet::{
    HEADER_LEN, Header, PacketKind, RtpPacket, is_zrtp, kind, write_header, write_packet,
};
pub use receiver::{Arrival, Receiver, ReceiverStats};
pub use sequence::{extend, is_newer, sequence_distance};
