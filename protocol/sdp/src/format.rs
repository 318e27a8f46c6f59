//! Payload formats and direction: `a=rtpmap`, `a=fmtp`, `a=sendrecv` and its kin.

use std::fmt;

/// An `a=rtpmap` line (RFC 8866 §6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    /// Payload type.
    pub payload_type: u8,
    /// Encoding name as written; compared without case.
    pub encoding: String,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Channels; 1 when not written.
    pub channels: u8,
}

impl RtpMap {
    /// Reads the value of an `a=rtpmap` line.
    pub fn parse(value: &str) -> Option<Self> {
        let (payload_type, rest) = value.trim().split_once(' ')?;
        let mut parts = rest.trim().split('/');
        let encoding = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let clock_rate = parts.next()?.parse().ok().filter(|rate| *rate > 0)?;
        let channels = parts.next().map_or(Some(1), |c| c.parse().ok())?;
        let payload_type = payload_type.parse().ok().filter(|pt| *pt < 128)?;
        Some(Self { payload_type, encoding, clock_rate, channels })
    }

    /// What a static payload type means without an rtpmap (RFC 3551 §6), for voice.
    pub fn of_static(payload_type: u8) -> Option<Self> {
        let (encoding, clock_rate) = match payload_type {
            0 => ("PCMU", 8000),
            3 => ("GSM", 8000),
            4 => ("G723", 8000),
            8 => ("PCMA", 8000),
            9 => ("G722", 8000),
            13 => ("CN", 8000),
            18 => ("G729", 8000),
            _ => return None,
        };
        Some(Self { payload_type, encoding: encoding.into(), clock_rate, channels: 1 })
    }
}

impl fmt::Display for RtpMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.payload_type, self.encoding, self.clock_rate)?;
        if self.channels > 1 { write!(f, "/{}", self.channels) } else { Ok(()) }
    }
}

/// An `a=fmtp` line (RFC 8866 §6.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fmtp {
    /// Payload type.
    pub payload_type: u8,
    /// The rest, as written.
    pub params: String,
}

impl Fmtp {
    /// Reads the value of an `a=fmtp` line.
    pub fn parse(value: &str) -> Option<Self> {
        let (payload_type, params) = value.trim().split_once(' ')?;
        let payload_type = payload_type.parse().ok().filter(|pt| *pt < 128)?;
        Some(Self { payload_type, params: params.trim().to_owned() })
    }

    /// The value of one `name=value` of a `;`-separated list.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.split(';').find_map(|p| {
            let (n, value) = p.split_once('=')?;
            n.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl fmt::Display for Fmtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.payload_type, self.params)
    }
}

/// Which way media flows, from the describer's point of view (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways; the default.
    #[default]
    SendRecv,
    /// Out only.
    SendOnly,
    /// In only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// All four.
    pub const ALL: [Self; 4] = [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive];

    /// From who may send and who may receive.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The attribute's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// By the attribute's name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name().eq_ignore_ascii_case(name))
    }

    /// Whether the describer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the describer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same flow seen from the other end.
    pub fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow.
    pub fn and(self, other: Self) -> Self {
        Self::new(self.sends() && other.sends(), self.receives() && other.receives())
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_round_trip() {
        for text in ["111 opus/48000/2", "0 PCMU/8000", "101 telephone-event/8000"] {
            assert_eq!(RtpMap::parse(text).map(|m| m.to_string()).as_deref(), Some(text));
        }
        assert_eq!(RtpMap::parse("128 x/8000"), None);
        assert_eq!(RtpMap::parse("96 x/0"), None);
        let fmtp = Fmtp::parse("111 minptime=10; useinbandfec=1").expect("a good line");
        assert_eq!(fmtp.param("UseInbandFec"), Some("1"));
        assert_eq!(fmtp.param("maxptime"), None);
    }

    #[test]
    fn directions_reverse_and_meet() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        assert_eq!(SendOnly.reversed(), RecvOnly);
        assert_eq!(SendRecv.and(RecvOnly), RecvOnly);
        assert_eq!(SendOnly.and(RecvOnly), Inactive);
        assert_eq!(Direction::parse("INACTIVE"), Some(Inactive));
    }
}
