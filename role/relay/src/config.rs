//! The relay's settings.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of one relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where media comes in, at least one. Profiles name them.
    pub interfaces: Vec<Interface>,
    /// First port for RTP; an odd one counts as the next even one.
    pub port_min: u16,
    /// Last port for RTCP.
    pub port_max: u16,
    /// Packet threads; 0 for one per core.
    pub threads: usize,
    /// Microseconds a busy packet thread rests before it looks for packets again, so that one
    /// wake-up finds several: more is cheaper and later. At most 1,000.
    pub rest_us: u64,
    /// Read each port's socket by itself, also where the kernel could lead them to one.
    pub socket_per_port: bool,
    /// Network interfaces on which the kernel forwards established plain streams by itself (XDP):
    /// those that media comes and leaves by. Empty for none.
    pub fast_path: Vec<String>,
    /// Seconds without RTP after which an answered call that nobody holds is reported silent.
    pub silence_s: u64,
    /// Seconds without RTP after which an answered call that somebody holds is reported silent too; 0
    /// for never: whoever directs the relay ends it.
    pub held_silence_s: u64,
    /// Sessions at once.
    pub sessions_max: usize,
    /// Branches of one session.
    pub branches_max: usize,
    /// Streams of one session; m-lines beyond are rejected. At most 64.
    pub streams_max: usize,
}

impl Config {
    /// [`Config::rest_us`] as a duration.
    pub fn rest(&self) -> Duration {
        Duration::from_micros(self.rest_us.min(1_000))
    }

    /// [`Config::silence_s`] as a duration.
    pub fn silence(&self) -> Duration {
        Duration::from_secs(self.silence_s.max(1))
    }

    /// [`Config::held_silence_s`] as a duration.
    pub fn held_silence(&self) -> Option<Duration> {
        (self.held_silence_s > 0).then(|| Duration::from_secs(self.held_silence_s))
    }
}

impl Config {
    /// [`Config::streams_max`] within what a session can hold.
    pub(crate) fn streams(&self) -> usize {
        self.streams_max.clamp(1, 64)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: vec![Interface::default()],
            port_min: 10_000,
            port_max: 20_000,
            threads: 0,
            rest_us: 400,
            socket_per_port: false,
            fast_path: Vec::new(),
            silence_s: 60,
            held_silence_s: 0,
            sessions_max: 100_000,
            branches_max: 32,
            streams_max: 8,
        }
    }
}

/// One address for media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interface {
    /// The name profiles use.
    pub name: String,
    /// The local address sockets bind to.
    pub bind: IpAddr,
    /// The address in SDP and candidates; differs behind a 1:1 NAT. `None` for `bind`.
    pub advertise: Option<IpAddr>,
    /// The type of service octet of what leaves by it (RFC 2474); 0 for none.
    pub tos: u8,
}

impl Interface {
    /// An interface that advertises what it binds.
    pub fn new(name: &str, bind: IpAddr) -> Self {
        Self { name: name.to_owned(), bind, advertise: None, tos: 0 }
    }

    /// What goes into SDP.
    pub fn advertised(&self) -> IpAddr {
        self.advertise.unwrap_or(self.bind)
    }
}

impl Default for Interface {
    fn default() -> Self {
        Self::new("default", IpAddr::from([127, 0, 0, 1]))
    }
}
