//! WWW-Authenticate, Authorization and their proxy twins: comma-separated parameters, and several
//! challenges in one value (RFC 7235 §2.1, RFC 3261 §25.1).

use std::borrow::Cow;

use memchr::memchr2;

use super::Algorithm;
use crate::text::{
    TOKEN, find_byte, is_lws, is_token_byte, quoted_len, span, strip_quotes, trim, trim_start,
    unquote,
};

/// One challenge of a WWW-Authenticate or Proxy-Authenticate value, of any scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a>(Auth<'a>);

/// The credentials of an Authorization or Proxy-Authorization value, of any scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    auth: Auth<'a>,
    /// What every check asks for, found in one pass; as on the wire.
    known: [Option<&'a [u8]>; KNOWN.len()],
}

/// The parameters kept apart, in the order of [`Known`].
const KNOWN: [&[u8]; 9] =
    [b"username", b"realm", b"nonce", b"uri", b"response", b"algorithm", b"cnonce", b"nc", b"qop"];

/// Places in [`KNOWN`].
#[derive(Debug, Clone, Copy)]
enum Known {
    Username,
    Realm,
    Nonce,
    Uri,
    Response,
    Algorithm,
    Cnonce,
    Nc,
    Qop,
}

/// The place of a parameter's name in [`KNOWN`]; no two of them agree in length and first letter.
#[inline]
fn place_of(name: &[u8]) -> Option<usize> {
    let place = match (name.len(), name.first()? | 0x20) {
        (8, b'u') => Known::Username,
        (5, b'r') => Known::Realm,
        (5, b'n') => Known::Nonce,
        (3, b'u') => Known::Uri,
        (8, b'r') => Known::Response,
        (9, b'a') => Known::Algorithm,
        (6, b'c') => Known::Cnonce,
        (2, b'n') => Known::Nc,
        (3, b'q') => Known::Qop,
        _ => return None,
    };
    name.eq_ignore_ascii_case(KNOWN[place as usize]).then_some(place as usize)
}

#[inline]
fn skip_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// The challenges of one header value, in order. Values of several lines are simply read one
/// after the other.
pub fn challenges(value: &[u8]) -> impl Iterator<Item = Challenge<'_>> {
    let mut rest = trim(value);
    std::iter::from_fn(move || {
        let (auth, after) = split_auth(rest)?;
        rest = after;
        Some(Challenge(auth))
    })
}

impl<'a> Challenge<'a> {
    /// The one to answer: the first of ours, for the server puts the one it likes best on top
    /// (RFC 8760 §2.4).
    pub fn choose(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().find(|c| c.is_supported())
    }

    /// The scheme as on the wire.
    pub fn scheme(&self) -> &'a [u8] {
        self.0.scheme
    }

    /// Whether [`answer`](super::answer) can answer it: Digest, an algorithm we know, and `qop`
    /// absent or with `auth` in it.
    pub fn is_supported(&self) -> bool {
        self.0.is_digest()
            && self.algorithm().is_some()
            && self.0.value("nonce").is_some()
            && self.0.value("realm").is_some()
            && (self.offers_auth() || self.0.value("qop").is_none())
    }

    /// The realm, unescaped.
    pub fn realm(&self) -> Cow<'a, [u8]> {
        unquote(self.0.raw("realm").unwrap_or_default())
    }

    pub(super) fn raw_realm(&self) -> &'a [u8] {
        self.0.value("realm").unwrap_or_default()
    }

    /// The nonce.
    pub fn nonce(&self) -> &'a [u8] {
        self.0.value("nonce").unwrap_or_default()
    }

    /// `opaque`, to be sent back.
    pub fn opaque(&self) -> Option<&'a [u8]> {
        self.0.value("opaque")
    }

    /// Whether only the nonce was too old: the password need not be asked for again.
    pub fn is_stale(&self) -> bool {
        self.0.value("stale").is_some_and(|v| v.eq_ignore_ascii_case(b"true"))
    }

    /// The algorithm, MD5 when none is named; `None` for one that is not ours.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.0.algorithm()
    }

    /// Whether `auth` is among the `qop` values.
    pub fn offers_auth(&self) -> bool {
        let listed = |qop: &[u8]| qop.split(|b| *b == b',').any(|q| is_word(q, b"auth"));
        self.0.value("qop").is_some_and(listed)
    }
}

impl<'a> Credentials<'a> {
    /// The credentials of one header line; `None` when there is not even a scheme.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let (scheme, params) = split_scheme(value)?;
        let mut known = [None; KNOWN.len()];
        for (name, value) in params_of(params) {
            if let Some(place) = place_of(name) {
                // Only the first of its name counts.
                known[place].get_or_insert(value);
            }
        }
        Some(Self { auth: Auth { scheme, params }, known })
    }

    /// The same for `Digest` parameters as nearly all write them: one pass, `None` for any other
    /// form (white space around `=`, escapes in quotes).
    pub(crate) fn parse_plain(value: &'a [u8]) -> Option<Self> {
        let params = value.strip_prefix(b"Digest ")?;
        let mut known = [None; KNOWN.len()];
        let mut rest = params;
        loop {
            rest = skip_spaces(rest);
            let (name, after) = rest.split_at(span(rest, TOKEN));
            let after = after.strip_prefix(b"=")?;
            let len = match after {
                [b'"', inner @ ..] => {
                    let len = find_byte(inner, b'"')?;
                    find_byte(&inner[..len], b'\\').is_none().then_some(len + 2)?
                }
                _ => Some(span(after, TOKEN)).filter(|len| *len > 0)?,
            };
            let (value, after) = after.split_at(len);
            if let Some(place) = place_of(name) {
                known[place].get_or_insert(value);
            }
            rest = match skip_spaces(after) {
                [] => break,
                [b',', rest @ ..] => rest,
                _ => return None,
            };
        }
        let params = trim_start(params);
        Some(Self { auth: Auth { scheme: &value[..6], params }, known })
    }

    /// The scheme as on the wire.
    pub fn scheme(&self) -> &'a [u8] {
        self.auth.scheme
    }

    /// Whether the scheme is Digest.
    pub fn is_digest(&self) -> bool {
        self.auth.is_digest()
    }

    /// Everything behind the scheme (a bearer token, for one).
    pub fn raw_params(&self) -> &'a [u8] {
        self.auth.params
    }

    /// The user name, unescaped.
    pub fn username(&self) -> Cow<'a, [u8]> {
        unquote(self.raw(Known::Username).unwrap_or_default())
    }

    /// The realm, unescaped.
    pub fn realm(&self) -> Cow<'a, [u8]> {
        unquote(self.raw(Known::Realm).unwrap_or_default())
    }

    /// The nonce.
    pub fn nonce(&self) -> &'a [u8] {
        self.value(Known::Nonce).unwrap_or_default()
    }

    /// The `uri` the response was made for.
    pub fn uri(&self) -> &'a [u8] {
        self.value(Known::Uri).unwrap_or_default()
    }

    /// The `response`, hex.
    pub fn response(&self) -> &'a [u8] {
        self.value(Known::Response).unwrap_or_default()
    }

    /// The algorithm, MD5 when none is named; `None` for one that is not ours.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.value(Known::Algorithm).map_or(Some(Algorithm::Md5), Algorithm::from_token)
    }

    /// The client nonce.
    pub fn cnonce(&self) -> Option<&'a [u8]> {
        self.value(Known::Cnonce)
    }

    /// The nonce count.
    pub fn nc(&self) -> Option<u32> {
        let text = std::str::from_utf8(self.nc_text()?).ok()?;
        u32::from_str_radix(text, 16).ok()
    }

    pub(super) fn nc_text(&self) -> Option<&'a [u8]> {
        self.value(Known::Nc).filter(|nc| nc.len() == 8 && nc.iter().all(u8::is_ascii_hexdigit))
    }

    /// The quality of protection.
    pub fn qop(&self) -> Option<&'a [u8]> {
        self.value(Known::Qop)
    }

    /// What the server asked to have back.
    pub fn opaque(&self) -> Option<&'a [u8]> {
        self.auth.value("opaque")
    }

    /// Any parameter, quotes removed, escapes kept.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.auth.value(name)
    }

    fn raw(&self, known: Known) -> Option<&'a [u8]> {
        self.known[known as usize]
    }

    fn value(&self, known: Known) -> Option<&'a [u8]> {
        self.raw(known).map(strip_quotes)
    }
}

/// Makes the value of one WWW-Authenticate or Proxy-Authenticate line.
#[derive(Debug, Clone, Copy)]
pub struct ChallengeBuilder<'a> {
    /// The realm.
    pub realm: &'a str,
    /// The nonce, without quotes or backslashes.
    pub nonce: &'a str,
    /// The opaque value, without quotes or backslashes.
    pub opaque: Option<&'a str>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Whether only the nonce was too old.
    pub stale: bool,
}

impl ChallengeBuilder<'_> {
    /// `Digest realm="…", nonce="…", …, qop="auth"`.
    pub fn build(&self) -> String {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out);
        // Made of texts.
        String::from_utf8(out).unwrap_or_default()
    }

    /// Appends the same. Line breaks in the realm become spaces.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let (opaque_at, opaque) = match self.opaque {
            Some(opaque) => ("\", opaque=\"", opaque),
            None => ("", ""),
        };
        out.extend_from_slice(b"Digest realm=\"");
        match self.realm.bytes().any(|b| matches!(b, b'\\' | b'"' | b'\r' | b'\n')) {
            true => {
                let realm = escape(self.realm).replace(['\r', '\n'], " ");
                out.extend_from_slice(realm.as_bytes());
            }
            false => out.extend_from_slice(self.realm.as_bytes()),
        }
        let stale = if self.stale { "\", stale=true, algorithm=" } else { "\", algorithm=" };
        let algorithm = self.algorithm.token();
        let parts = ["\", nonce=\"", self.nonce, opaque_at, opaque, stale, algorithm];
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b", qop=\"auth\"");
    }
}

/// For the inside of a quoted string.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Scheme and parameters, not yet looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Auth<'a> {
    scheme: &'a [u8],
    params: &'a [u8],
}

impl<'a> Auth<'a> {
    fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"Digest")
    }

    /// A parameter's value as on the wire. Only the first of its name counts.
    fn raw(&self, name: &str) -> Option<&'a [u8]> {
        params_of(self.params)
            .find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.raw(name).map(strip_quotes)
    }

    fn algorithm(&self) -> Option<Algorithm> {
        self.value("algorithm").map_or(Some(Algorithm::Md5), Algorithm::from_token)
    }
}

/// `name=value`, trimmed, of each parameter that has a value.
fn params_of(params: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = params;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = item_end(rest);
            let item = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if let Some((name, value)) = crate::text::split_once(item, b'=') {
                return Some((trim(name), trim(value)));
            }
        }
        None
    })
}

/// The first challenge of a list and what follows it.
fn split_auth(list: &[u8]) -> Option<(Auth<'_>, &[u8])> {
    let list = skip_commas(list);
    let (scheme, params) = split_scheme(list)?;
    if let [b',', after @ ..] = params {
        let after = skip_commas(after);
        if starts_challenge(after) {
            return Some((Auth { scheme, params: b"" }, after));
        }
    }
    let mut end = 0;
    loop {
        end += item_end(&params[end..]);
        let after = skip_commas(&params[end..]);
        if after.is_empty() || starts_challenge(after) {
            return Some((Auth { scheme, params: &params[..end] }, after));
        }
        end = params.len() - after.len();
    }
}

/// `scheme` and the trimmed rest.
fn split_scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|b| !is_token_byte(*b)).unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], trim_start(&text[end..])))
}

/// Whether a new challenge begins here, rather than one more `name=value`.
fn starts_challenge(text: &[u8]) -> bool {
    match split_scheme(text) {
        Some((_, [b'=', ..])) => false,
        Some((_, [] | [b',', ..])) => true,
        Some((word, _)) => text.get(word.len()).is_some_and(|b| is_lws(*b)),
        None => false,
    }
}

/// Where an item ends: at a comma outside quotes, or at the end.
fn item_end(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr2(b',', b'"', &text[at..]) {
        at += found;
        if text[at] == b',' {
            return at;
        }
        match quoted_len(&text[at..]) {
            Some(len) => at += len,
            None => return text.len(),
        }
    }
    text.len()
}

fn skip_commas(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && (*first == b',' || is_lws(*first))
    {
        text = rest;
    }
    text
}

fn is_word(text: &[u8], word: &[u8]) -> bool {
    trim(text).eq_ignore_ascii_case(word)
}
