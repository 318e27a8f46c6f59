//! The media relay: it stands between the two sides of a call, writes each side's offer and answer
//! anew, and passes RTP and RTCP on, each leg keyed on its own.
//!
//! ```text
//!   SIP ──► Relay::offer / answer / delete / query ──► control: sessions, legs, SDP
//!                                                         │ ports, keys, paths
//!   phone A ═══ RTP, SRTP, DTLS, ICE ═══► bridge: open ─ latch ─ count ─ seal ═══► phone B
//!                                         (packet threads, one session on one thread)
//! ```
//!
//! The contract:
//! - Commands are plain data, can be repeated, and never wait for packets. The caller's leg keeps
//!   one set of ports, keys and ICE credentials whatever the branch; re-offers reuse the legs.
//! - Codecs pass as the two sides name them, unless a side's [`CodecPolicy`] says otherwise; packets
//!   are transcoded only where an answer has no codec of the offer's.
//! - Each m-line over RTP, UDPTL or UDP/BFCP is a stream with legs of its own; others are rejected
//!   on both sides.
//! - A peer's address is learned from its first packet and held: plain RTP moves only on the same
//!   IP address, in sequence, after silence; authenticated packets and ICE checks move at once.
//! - [`control`] and [`bridge`] are sans-IO: a simulation drives them with [`NumberedPorts`] and a
//!   clock of its own. Only `shell` has sockets, threads and the clock.
//!
//! ```
//! use relay::{Config, Description, Direction, LegProfile, Protocol, Relay, SessionId};
//!
//! let relay = Relay::start(Config::default(), |event| println!("{event:?}"))?;
//! let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
//!            m=audio 4000 RTP/AVP 0\r\n";
//! let offered = relay.offer(&Description {
//!     session: SessionId(1),
//!     branch: 1,
//!     direction: Direction::FromCaller,
//!     sdp: sdp.into(),
//!     from: LegProfile::new(Protocol::Rtp),
//!     toward: LegProfile::new(Protocol::Srtp),
//!     signalled_from: None,
//!     tag: "caller".to_owned(),
//! })?;
//! assert!(String::from_utf8_lossy(&offered).contains("RTP/SAVP"));
//! assert!(relay.delete(SessionId(1), None).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What this crate does not do: it knows no SIP, mixes nothing, and never sends media of its own but
//! what it is told to: digits, announcements, and copies for third parties.
//!
//! Start reading at [`Relay`], then [`control`], then [`bridge`].

mod api;
pub mod bridge;
mod config;
pub mod control;
mod dialect;
mod error;
pub mod ng;
mod ports;
mod shell;
pub mod turn;

pub use api::{
    CODEC_NAMES_MAX, CodecPolicy, Command, Description, Direction, DtmfMode, LegProfile, LegStats,
    PeerTold, Protocol, RelayEvent, SessionId, SessionStats,
};
pub use config::{Config, Interface};
pub use control::{Control, Wanted};
pub use dialect::{Dialect, DtlsWish, IceWish, MuxWish};
pub use error::RelayError;
pub use media::transcode::PTIMES_MS;
pub use ports::{
    NumberedPorts, OpenError, Opened, PairRange, PortOwner, Ports, Probe, SharedBridge,
};
pub use shell::recording;
pub use shell::{LegTotals, NgConduct, NgServer, Relay, Reply};
