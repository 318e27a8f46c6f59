//! What REFER carries: [`ReferTo`] (RFC 3515), [`DialogRef`] of Replaces (RFC 3891) and Join (RFC
//! 3911), and the status line of its NOTIFYs ([`sipfrag`], RFC 3420).

use std::fmt;

use crate::name_addr::NameAddr;
use crate::params::Params;
use crate::{HeaderName, Message, SipUri};

/// Longest Refer-To URI followed.
const URI_MAX: usize = 2048;

/// Where a REFER sends its recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferTo {
    /// The URI to call, without the headers it carries.
    pub uri: String,
    /// The call to take over there: the unescaped Replaces.
    pub replaces: Option<String>,
    /// The call to join there: the unescaped Join.
    pub join: Option<String>,
}

/// Why a REFER is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferError {
    /// No Refer-To, or more than one (RFC 3515 §2.4.2).
    #[error("not exactly one Refer-To")]
    NotOne,
    /// It is no SIP URI that can be called.
    #[error("Refer-To is no SIP address")]
    BadTarget,
    /// It wants another method than INVITE.
    #[error("Refer-To wants a method other than INVITE")]
    BadMethod,
}

impl ReferError {
    /// With what to answer the REFER.
    pub fn status(self) -> u16 {
        match self {
            Self::NotOne | Self::BadTarget => 400,
            Self::BadMethod => 501,
        }
    }
}

impl ReferTo {
    /// That of a REFER.
    ///
    /// # Errors
    /// [`ReferError`].
    pub fn of(refer: &Message) -> Result<Self, ReferError> {
        let mut values = refer.headers(HeaderName::REFER_TO);
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(ReferError::NotOne);
        };
        Self::parse(value)
    }

    /// Parses a value: `<sip:carol@example.com;method=INVITE?Replaces=..>`.
    ///
    /// # Errors
    /// [`ReferError`].
    pub fn parse(value: &[u8]) -> Result<Self, ReferError> {
        let address = NameAddr::parse(value).map_err(|_| ReferError::BadTarget)?;
        let whole = address.uri();
        let (bare, headers) = match whole.iter().position(|b| *b == b'?') {
            Some(at) => (&whole[..at], &whole[at + 1..]),
            None => (whole, b"".as_slice()),
        };
        let uri = SipUri::parse(bare).map_err(|_| ReferError::BadTarget)?;
        if uri.user().is_none() || bare.len() > URI_MAX {
            return Err(ReferError::BadTarget);
        }
        let method = uri.param("method").map(|m| m.eq_ignore_ascii_case(b"INVITE"));
        if method == Some(false) {
            return Err(ReferError::BadMethod);
        }
        let text = std::str::from_utf8(bare).map_err(|_| ReferError::BadTarget)?;
        Ok(Self {
            uri: without_method(text),
            replaces: embedded(headers, "Replaces"),
            join: embedded(headers, "Join"),
        })
    }
}

/// A Refer-To whose Replaces and Join name other calls: `rename` tells a Call-ID's new name. `None`
/// if none of them changes; all else stays as it is written.
pub fn rename_calls(
    refer_to: &[u8],
    mut rename: impl FnMut(&str) -> Option<String>,
) -> Option<Vec<u8>> {
    let uri = NameAddr::parse(refer_to).ok()?.uri();
    let headers_at =
        crate::text::offset_in(refer_to, uri) + uri.iter().position(|b| *b == b'?')? + 1;
    let end = crate::text::offset_in(refer_to, uri) + uri.len();
    let mut changed = false;
    let pairs = refer_to[headers_at..end].split(|b| *b == b'&').map(|pair| {
        let renamed = renamed_pair(pair, &mut rename);
        changed |= renamed.is_some();
        renamed.unwrap_or_else(|| pair.to_vec())
    });
    let pairs = pairs.collect::<Vec<_>>().join(b"&".as_slice());
    changed.then(|| [&refer_to[..headers_at], &pairs, &refer_to[end..]].concat())
}

fn renamed_pair(pair: &[u8], rename: impl FnOnce(&str) -> Option<String>) -> Option<Vec<u8>> {
    let equals = pair.iter().position(|b| *b == b'=')?;
    let is = |name: &str| pair[..equals].eq_ignore_ascii_case(name.as_bytes());
    if !is("Replaces") && !is("Join") {
        return None;
    }
    let value = unescape(&pair[equals + 1..])?;
    let (call_id, params) = value.split_at(value.find(';').unwrap_or(value.len()));
    let value = rename(call_id.trim())? + params;
    Some([&pair[..=equals], escape(&value).as_bytes()].concat())
}

impl fmt::Display for ReferTo {
    /// The value of a Refer-To.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.uri)?;
        let headers = [("Replaces", &self.replaces), ("Join", &self.join)];
        let given = headers.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (between, (name, value)) in ["?", "&"].into_iter().zip(given) {
            write!(f, "{between}{name}={}", escape(value))?;
        }
        f.write_str(">")
    }
}

/// A dialog named from outside it: the value of Replaces or Join, as seen by who gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogRef {
    /// The Call-ID.
    pub call_id: String,
    /// The recipient's tag.
    pub to_tag: String,
    /// The tag of its peer.
    pub from_tag: String,
    /// Only while it rings (RFC 3891 §6.1).
    pub early_only: bool,
}

impl DialogRef {
    /// Parses a value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let semi = value.iter().position(|b| *b == b';')?;
        let params = Params::new(&value[semi..]);
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let found = Self {
            call_id: text(value[..semi].trim_ascii())?,
            to_tag: text(params.value("to-tag")?)?,
            from_tag: text(params.value("from-tag")?)?,
            early_only: params.value("early-only").is_some(),
        };
        let whole = [&found.call_id, &found.to_tag, &found.from_tag];
        whole.iter().all(|part| !part.is_empty()).then_some(found)
    }
}

impl fmt::Display for DialogRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call_id, to_tag, from_tag, early_only } = self;
        let early = if *early_only { ";early-only" } else { "" };
        write!(f, "{call_id};to-tag={to_tag};from-tag={from_tag}{early}")
    }
}

/// The body of a REFER's NOTIFY: one status line (RFC 3515 §2.4.5).
pub fn sipfrag(status: u16, reason: &str) -> String {
    let reason = if reason.is_empty() { crate::reason_phrase(status) } else { reason };
    let clean: String = reason.chars().filter(|c| !c.is_control()).collect();
    format!("SIP/2.0 {status} {clean}\r\n")
}

/// The status a `message/sipfrag` body begins with.
pub fn sipfrag_status(body: &[u8]) -> Option<u16> {
    let rest = body.strip_prefix(b"SIP/2.0 ".as_slice())?;
    let digits = rest.get(..3)?;
    let status = crate::text::number32(digits).and_then(|n| u16::try_from(n).ok())?;
    ((100..700).contains(&status) && rest.get(3).is_none_or(|b| b.is_ascii_whitespace()))
        .then_some(status)
}

/// Whether a REFER wants no NOTIFYs (RFC 4488, RFC 7614).
pub fn wants_no_subscription(refer: &Message) -> bool {
    said_no(refer) || refer.lists(HeaderName::REQUIRE, "nosub")
}

/// Whether the response to a REFER of ours says that no NOTIFY will come.
pub fn granted_no_subscription(request: &Message, response: &Message) -> bool {
    said_no(response) || request.lists(HeaderName::REQUIRE, "nosub")
}

/// `Refer-Sub: false`, in any case (RFC 4488 §4: `refer-sub-value` is a token of the grammar, and
/// those are read without regard to case, RFC 3261 §7.3.1).
fn said_no(message: &Message) -> bool {
    let value = message.header_str(HeaderName::REFER_SUB).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("false")
}

/// A header in the URI, unescaped.
fn embedded(headers: &[u8], name: &str) -> Option<String> {
    headers.split(|b| *b == b'&').find_map(|pair| {
        let equals = pair.iter().position(|b| *b == b'=')?;
        let is_it = pair[..equals].eq_ignore_ascii_case(name.as_bytes());
        is_it.then(|| unescape(&pair[equals + 1..])).flatten()
    })
}

/// Percent escapes undone; `None` when what results could break out of a header line.
fn unescape(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |b: &u8| char::from(*b).to_digit(16);
                out.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            (byte, _) => out.push(*byte),
        }
    }
    let text = String::from_utf8(out).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

/// Escapes what may not stand in a URI's header value (RFC 3261 §25.1 `hvalue`).
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()[]/?:+$".contains(&b);
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match plain(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The URI without its `method` parameter, which may not stand in a Request-URI (RFC 3261 §19.1.1).
fn without_method(uri: &str) -> String {
    let mut parts = uri.split(';');
    let first = parts.next().unwrap_or_default().to_owned();
    let kept = parts
        .filter(|part| !part.split('=').next().unwrap_or_default().eq_ignore_ascii_case("method"));
    kept.fold(first, |uri, part| uri + ";" + part)
}
