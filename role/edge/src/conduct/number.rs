//! What a called address says: a user of ours, a number at home, or one abroad.

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A name, or a number too short to be dialled outside.
    Inside,
    /// A number, maybe abroad.
    Number {
        /// The country, or the first digits of an unknown plan, as a number: 49, 1, 216.
        country: u16,
        /// Of another country than the configured one.
        foreign: bool,
        /// In a range that costs much.
        premium: bool,
        /// The number, as a hash.
        number: u32,
    },
}

/// Digits below which a number is an extension.
const OUTSIDE_MIN: usize = 7;

impl Destination {
    /// Reads `sip:user@domain`.
    pub(crate) fn of(address: &str, home: &str, premium: &[String]) -> Self {
        let bare = address.strip_prefix("sip:").unwrap_or(address);
        let user = bare.split(['@', ';']).next().unwrap_or_default();
        let international = user.starts_with('+') || user.starts_with("00");
        let digits = user.strip_prefix('+').or_else(|| user.strip_prefix("00")).unwrap_or(user);
        let is_number = digits.len() >= OUTSIDE_MIN && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_number {
            return Self::Inside;
        }
        let country = if international { country_of(digits) } else { "0" };
        let at_home = !international || home.is_empty() || digits.starts_with(home);
        Self::Number {
            country: country.parse().unwrap_or(0),
            foreign: !at_home || (home.is_empty() && international),
            premium: international
                && premium.iter().any(|range| digits.starts_with(range.as_str())),
            number: digits.bytes().fold(0x811c_9dc5, |hash, digit| {
                (hash ^ u32::from(digit)).wrapping_mul(0x0100_0193)
            }),
        }
    }

    /// Whether it leaves the country.
    pub(crate) fn is_foreign(self) -> bool {
        matches!(self, Self::Number { foreign: true, .. })
    }

    /// Whether it leaves this server.
    pub(crate) fn is_outside(self) -> bool {
        self != Self::Inside
    }
}

/// The country code at the start of an international number (ITU-T E.164): one digit for zones 1 and
/// 7, two for those listed, three for all else.
fn country_of(digits: &str) -> &str {
    const TWO: [&str; 44] = [
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46",
        "47", "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63",
        "64", "65", "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
    ];
    let len = match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        _ if digits.get(..2).is_some_and(|two| TWO.contains(&two)) => 2,
        _ => 3,
    };
    digits.get(..len).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Destination {
        Destination::of(address, "49", &["216".into(), "49900".into()])
    }

    #[test]
    fn users_extensions_home_and_abroad_are_told_apart() {
        assert_eq!(of("sip:alice@example.com"), Destination::Inside);
        assert_eq!(of("sip:110@example.com"), Destination::Inside);
        assert!(of("sip:03012345678@example.com").is_outside());
        assert!(!of("sip:03012345678@example.com").is_foreign());
        assert!(!of("sip:+493012345678@example.com").is_foreign());
        assert!(of("sip:+4312345678@example.com").is_foreign());
        let Destination::Number { country, premium, foreign, .. } = of("sip:0021671234567@x")
        else {
            panic!("a number")
        };
        assert_eq!((country, premium, foreign), (216, true, true));
        let Destination::Number { premium, foreign, .. } = of("sip:+4990012345678@x") else {
            panic!("a number")
        };
        assert_eq!((premium, foreign), (true, false), "dear, but at home");
    }

    #[test]
    fn country_codes_have_one_to_three_digits() {
        for (number, code) in [("12125550100", "1"), ("74951234567", "7"), ("442071234567", "44")] {
            assert_eq!(country_of(number), code);
        }
        assert_eq!(country_of("35312345678"), "353");
        assert_eq!(country_of("88213123456"), "882");
    }
}
