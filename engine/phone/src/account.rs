//! Who the phone is, and how it reaches its server.

use sansio::{Redacted, Transport, WallTime};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A SIP account.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user part of the address of record.
    pub user: String,
    /// Its domain.
    pub domain: String,
    /// The password.
    pub password: Redacted<String>,
    /// Shown to the other side, when not empty.
    pub display_name: String,
    /// RFC 5626 instance: a `urn:uuid:`, the same for as long as the phone is installed.
    pub instance: String,
}

/// The phone's one flow to its server, as the driver opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its transport.
    pub transport: Transport,
    /// Our address on it.
    pub local: SocketAddr,
    /// The server's address on it.
    pub server: SocketAddr,
}

/// What can be tuned.
#[derive(Debug, Clone)]
pub struct Config {
    /// The User-Agent we name ourselves.
    pub user_agent: String,
    /// The registration's lifetime we ask for.
    pub expires: Duration,
    /// How long an incoming call rings before we answer 480.
    pub ring_timeout: Duration,
    /// Calls at once; more are answered 486.
    pub calls_max: usize,
    /// Codecs in order of preference.
    pub codecs: Vec<media::CodecChoice>,
    /// Hang up when the other side should send and nothing came for this long; `None` never does.
    pub silence_max: Option<Duration>,
    /// The session interval we ask for (RFC 4028): a call whose peer vanished ends within it. Zero
    /// asks for none, and follows the other side's wish.
    pub session_expires: Duration,
    /// Shorter session intervals are refused; below 90 s it counts as 90 s.
    pub session_min: Duration,
    /// Whether 180 is sent reliably (RFC 3262) to callers who can take it so. To those who insist it
    /// always is, and media before the answer is wherever it can be.
    pub reliable_ringing: bool,
    /// Whether INVITE leaves the offer to the callee (RFC 3261 §13.2.1).
    pub delayed_offer: bool,
    /// Whether an answered call is changed by UPDATE instead of re-INVITE, where the peer takes it.
    pub reoffer_by_update: bool,
    /// How media is encrypted; `None` follows the link: SDES on TLS and WSS, clear elsewhere.
    pub security: Option<media::Security>,
    /// Who we are in ZRTP, and whom we remember, where `security` speaks it.
    pub zrtp: Option<media::ZrtpIdentity>,
    /// What time of day it was at some instant: for what is remembered, and for RTCP.
    pub wall: Option<(Instant, WallTime)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user_agent: concat!("Whimbrel/", env!("CARGO_PKG_VERSION")).into(),
            expires: Duration::from_secs(600),
            ring_timeout: Duration::from_secs(120),
            calls_max: 8,
            codecs: media::Config::new(SocketAddr::from(([0, 0, 0, 0], 0))).codecs,
            silence_max: None,
            reliable_ringing: false,
            delayed_offer: false,
            reoffer_by_update: false,
            session_expires: Duration::from_secs(1800),
            session_min: Duration::from_secs(90),
            security: None,
            zrtp: None,
            wall: None,
        }
    }
}

impl Config {
    /// The time of day.
    pub(crate) fn wall_at(&self, now: Instant) -> WallTime {
        self.wall.map_or(WallTime::default(), |(at, wall)| wall + now.saturating_duration_since(at))
    }
}

impl Account {
    /// `sip:user@domain`.
    pub fn aor(&self) -> String {
        format!("sip:{}@{}", self.user, self.domain)
    }

    /// The From or To value, without a tag.
    pub(crate) fn name_addr(&self) -> String {
        let escaped = self.display_name.replace('\\', "\\\\").replace('"', "\\\"");
        match escaped.is_empty() {
            true => format!("<{}>", self.aor()),
            false => format!("\"{escaped}\" <{}>", self.aor()),
        }
    }

    /// The Contact URI on `link`. Behind a WebSocket there is no address to name (RFC 7118 §5).
    pub(crate) fn contact_uri(&self, link: &Link) -> String {
        let transport = link.transport.uri_token();
        match link.transport {
            Transport::Ws | Transport::Wss => {
                let host = self.instance.rsplit('-').next().unwrap_or("phone");
                format!("sip:{}@{host}.invalid;transport={transport}", self.user)
            }
            Transport::Udp => format!("sip:{}@{}", self.user, link.local),
            _ => format!("sip:{}@{};transport={transport}", self.user, link.local),
        }
    }

    /// The sent-by of our Vias on `link`.
    pub(crate) fn sent_by(&self, link: &Link) -> String {
        match link.transport {
            Transport::Ws | Transport::Wss => {
                let host = self.instance.rsplit('-').next().unwrap_or("phone");
                format!("{host}.invalid")
            }
            _ => link.local.to_string(),
        }
    }
}
