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

    /// The same user of another host.
    #[must_use]
    pub fn at_host(&self, host: &str) -> Self {
        let user = self.at.map(|at| &self.text[SCHEME.len()..at]);
        Self::from_parts(user.map(str::as_bytes), host)
    }

    fn from_parts(user: Option<&[u8]>, host: &str) -> Self {
        let mut text =
            String::with_capacity(SCHEME.len() + user.map_or(0, <[u8]>::len) + 1 + host.len());
        text.push_str(SCHEME);
        let at = user.map(|user| {
            match std::str::from_utf8(user) {
                Ok(plain) if plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    text.push_str(plain);
                }
                _ => text.push_str(&normal(user)),
            }
            text.push('@');
            text.len() - 1
        });
        let host_at = text.len();
        text.push_str(host);
        text[host_at..].make_ascii_lowercase();
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

/// A user part in its one spelling: escapes of unreserved characters decoded, everything else that
/// may not stand unescaped, and every reserved character that was escaped, as upper-case `%XX`
/// (RFC 3261 §19.1.4: a reserved character and its escape differ).
pub(super) fn normal(user: &[u8]) -> String {
    const MARKS: &[u8] = b"-_.!~*'()";
    const RESERVED: &[u8] = b"&=+$,;?/:";
    let mut out = String::with_capacity(user.len());
    let mut rest = user;
    while let [byte, tail @ ..] = rest {
        let (byte, reserved) = match (*byte, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                rest = after;
                (hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0), b"".as_slice())
            }
            (byte, tail) => {
                rest = tail;
                (byte, RESERVED)
            }
        };
        if byte.is_ascii_alphanumeric() || MARKS.contains(&byte) || reserved.contains(&byte) {
            out.push(char::from(byte));
        } else {
            push_escaped(&mut out, byte);
        }
    }
    out
}

fn push_escaped(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
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
        assert_ne!(aor("a%3Bb@x"), aor("a;b@x"));
        assert_eq!(aor("*43#@x"), aor("*43%23@x"));
        assert_eq!(aor("example.com").user(), "");
        assert!("a@b@c".parse::<Aor>().is_err());
    }
}
