//! The address of record: who a user is, in one spelling.

use std::fmt;
use std::str::FromStr;

use super::SipUri;
use crate::error::ParseError;

/// An address of record, `sip:user@host`, in the one spelling under which it is looked up: host in
/// lower case, escapes of the user that need none decoded and the others in upper-case hex
/// (RFC 3261 §19.1.4 and §10.3), no password, port, parameters or headers. `sips:` and `sip:` of
/// one user are the same user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor {
    text: String,
    at: Option<usize>,
}

const SCHEME: &str = "sip:";

impl Aor {
    /// From user (as it stands in a URI) and host.
    pub fn new(user: &str, host: &str) -> Self {
        Self::from_parts(Some(user.as_bytes()), host)
    }

    /// The address of record a SIP URI names.
    pub fn from_uri(uri: &SipUri<'_>) -> Self {
        Self::from_parts(uri.user(), uri.host())
    }

    fn from_parts(user: Option<&[u8]>, host: &str) -> Self {
        let mut text = String::from(SCHEME);
        let at = user.map(|user| {
            push_normal(&mut text, user);
            text.push('@');
            text.len() - 1
        });
        text.extend(host.chars().map(|c| c.to_ascii_lowercase()));
        Self { text, at }
    }

    /// `sip:user@host`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The user, normalised; empty for a bare domain.
    pub fn user(&self) -> &str {
        self.at.map_or("", |at| &self.text[SCHEME.len()..at])
    }

    /// The domain in lower case.
    pub fn host(&self) -> &str {
        self.at.map_or(&self.text[SCHEME.len()..], |at| &self.text[at + 1..])
    }
}

impl FromStr for Aor {
    type Err = ParseError;

    /// Reads `sip:user@host`, or a bare `user@host`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let lower = text.get(..5).unwrap_or(text).to_ascii_lowercase();
        if lower.starts_with("sip:") || lower.starts_with("sips:") {
            return SipUri::parse(text.as_bytes()).map(|uri| Self::from_uri(&uri));
        }
        SipUri::parse(format!("sip:{text}").as_bytes()).map(|uri| Self::from_uri(&uri))
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn push_normal(out: &mut String, user: &[u8]) {
    let mut rest = user;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, after @ ..]) = (*byte, tail)
            && let (Some(h), Some(l)) = (hex(*high), hex(*low))
        {
            rest = after;
            push_byte(out, h * 16 + l);
        } else {
            push_byte(out, *byte);
        }
    }
}

/// Characters a user part may show unescaped (RFC 3261 §25.1 `user`); all others are escaped.
fn push_byte(out: &mut String, byte: u8) {
    const PLAIN: &[u8] = b"-_.!~*'()&=+$,;?/#";
    if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
        out.push(char::from(byte));
    } else {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        out.push('%');
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(text: &str) -> Aor {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_address_are_one_key() {
        let want = aor("alice@atlanta.com");
        for same in ["sip:%61lice@AtLanTa.CoM", "sips:alice:pw@atlanta.com:5061;transport=tcp?x=y"]
        {
            assert_eq!(aor(same), want, "{same}");
        }
        assert_eq!(want.to_string(), "sip:alice@atlanta.com");
        assert_eq!((want.user(), want.host()), ("alice", "atlanta.com"));
    }

    #[test]
    fn the_user_keeps_its_case_and_its_needed_escapes() {
        assert_ne!(aor("Alice@a.b"), aor("alice@a.b"));
        assert_eq!(aor("a%2540b%40c@x").user(), "a%2540b%40c");
        assert_eq!(aor("a%c3%a9@x"), aor("a\u{e9}@x"));
        assert_eq!(aor("example.com").user(), "");
        assert!("a@b@c".parse::<Aor>().is_err());
    }
}
