//! Marks of packets, by the names they have (RFC 2474, RFC 2597, RFC 3246).

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// A differentiated services code point: how routers on the way are to treat a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dscp(u8);

impl Dscp {
    /// For sound (RFC 4594 §4.1).
    pub const EF: Self = Self(46);
    /// For signalling (RFC 4594 §4.2).
    pub const CS5: Self = Self(40);

    /// Of its number, of which six bits count.
    pub fn of(number: u8) -> Self {
        Self(number & 0x3f)
    }

    /// The type of service octet with this mark.
    pub fn tos(self) -> u8 {
        self.0 << 2
    }

    /// For a default that serde asks for.
    pub fn of_media() -> Self {
        Self::EF
    }

    /// As [`Dscp::of_media`].
    pub fn of_signalling() -> Self {
        Self::CS5
    }
}

impl fmt::Display for Dscp {
    /// In the words of a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, drop) = (self.0 >> 3, self.0 >> 1 & 3);
        match self.0 {
            46 => f.write_str("EF"),
            0..64 if self.0 & 7 == 0 => write!(f, "CS{class}"),
            0..40 if self.0 & 1 == 0 && drop > 0 && class > 0 => write!(f, "AF{class}{drop}"),
            number => write!(f, "{number}"),
        }
    }
}

impl FromStr for Dscp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_uppercase();
        let digit = |at: usize, most: u8| {
            let digit = name.as_bytes().get(at)?.wrapping_sub(b'0');
            (digit <= most).then_some(digit)
        };
        let known = match (name.get(..2), name.len()) {
            _ if name == "EF" => Some(46),
            _ if name == "DE" || name == "OFF" => Some(0),
            (Some("CS"), 3) => digit(2, 7).map(|class| class << 3),
            (Some("AF"), 4) => match (digit(2, 4), digit(3, 3)) {
                (Some(class @ 1..), Some(drop @ 1..)) => Some(class << 3 | drop << 1),
                _ => None,
            },
            _ => name.parse().ok().filter(|number| *number < 64),
        };
        let remedy = "is no mark: EF, CS0 to CS7, AF11 to AF43, 0 to 63, or off";
        known.map(Self).ok_or_else(|| format!("{text:?} {remedy}"))
    }
}

impl<'de> Deserialize<'de> for Dscp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_8_marks_have_the_numbers_of_their_rfcs() {
        // RFC 2474 §4.2.2, RFC 2597 §6, RFC 3246 §2.7.
        for (name, octet) in [
            ("EF", 0xb8),
            ("cs5", 0xa0),
            ("CS0", 0),
            ("CS7", 0xe0),
            ("AF11", 10 << 2),
            ("AF31", 26 << 2),
            ("AF43", 38 << 2),
            ("46", 0xb8),
            ("off", 0),
        ] {
            assert_eq!(name.parse::<Dscp>().unwrap().tos(), octet, "{name}");
        }
        for number in 0..64 {
            let mark = Dscp::of(number);
            assert_eq!(mark.to_string().parse(), Ok(mark), "{mark}");
        }
        for wrong in ["", "CS8", "AF10", "AF14", "AF51", "AF1", "64", "E", "-1", "CS"] {
            let error = wrong.parse::<Dscp>().unwrap_err();
            assert!(error.contains("is no mark: EF"), "{error}");
        }
    }
}
