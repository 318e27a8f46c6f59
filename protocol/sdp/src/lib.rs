//! SDP (RFC 8866) as lines that stay as they came, and offer/answer (RFC 3264) on top.
//!
//! ```text
//!   bytes ──parse──► Session ─┬─ Section: v= o= s= c= t= a=…        (session level)
//!                             └─ MediaLine* ─ Section: m= c= b= a=… (one per m-line)
//!                      │  typed views read a line when asked; setters replace or insert one line
//!                      ▼
//!                   to_bytes: every line nobody edited is byte-exact, in its place
//! ```
//!
//! The contract: parsing checks the shape (`x=value` lines, `v=0` first, readable m-lines, limits)
//! and nothing else, so an SBC forwards what it does not understand. Views return `None` for what
//! is absent or unreadable. Nothing here panics on input.
//!
//! ```
//! let text = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
//!              m=audio 49170 RTP/AVP 0\r\na=x-vendor:kept\r\na=sendonly\r\n";
//! let mut session = sdp::Session::parse(text)?;
//! assert_eq!(session.direction_of(0), sdp::Direction::SendOnly);
//! let audio = &mut session.media_mut()[0];
//! audio.set_port(30000);
//! audio.set_connection(&sdp::Connection::from("203.0.113.5".parse::<std::net::IpAddr>()?));
//! audio.add_attribute("rtcp-mux", None);
//! let out = String::from_utf8(session.to_bytes())?;
//! assert!(out.contains("m=audio 30000 RTP/AVP 0\r\nc=IN IP4 203.0.113.5\r\na=x-vendor:kept\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What this crate does not do: it opens no port, holds no SRTP key schedule, runs no ICE, and does
//! not negotiate video. It never drops or reorders a line it was not asked to.
//!
//! Start reading at [`Session`], then [`Section`], then [`offer_answer`].

mod address;
mod candidate;
mod crypto;
mod dtls;
mod error;
mod format;
mod fragment;
mod line;
mod media_line;
pub mod offer_answer;
mod section;
mod session;

pub use address::{Connection, Origin, RtcpAddress};
pub use candidate::Candidate;
pub use crypto::{Crypto, CryptoSuite, InlineKey};
pub use dtls::{Fingerprint, Setup};
pub use error::ParseError;
pub use format::{Direction, Fmtp, RtpMap};
pub use fragment::{FRAGMENT_MAX, Fragment, FragmentStream, TRICKLE_TYPE};
pub use line::Line;
pub use media_line::MediaLine;
pub use section::Section;
pub use session::{Limits, Session};
