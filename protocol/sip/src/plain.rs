//! The two requests a server sees most, in the form most phones write them, read in one pass.
//!
//! [`Plain::read`] takes a REGISTER or OPTIONS that came whole in a datagram and holds nothing but
//! what is read here: printable ASCII, one Via that asks for `rport`, no folds, no lists, no escapes
//! in users, no body, no header that changes what is done (Route, Path, Require …). Of anything else
//! it says nothing: that is for [`crate::Message`]. What it takes, [`crate::Message::parse`] takes
//! too, and reads alike; a property test holds the two together.

mod fields;

use std::net::SocketAddr;

pub use fields::PlainContact;
use fields::{Address, Sent};

use crate::digest::Credentials;
use crate::message::line_end;
use crate::method::Method;
use crate::name::{HeaderName as H, id_of};
use crate::name_addr::lenient_seconds;
use crate::reply::{Reply, push_ip};
use crate::text::{find_byte, is_token, number, number32};
use crate::writer::Decimal;

/// The longest request read so.
const BYTES_MAX: usize = 2048;
/// The most header lines.
const LINES_MAX: usize = 24;

/// A plain request: slices of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a> {
    text: &'a str,
    is_register: bool,
    target: &'a str,
    sent: Sent<'a>,
    from: Address<'a>,
    to: Address<'a>,
    call_id: &'a str,
    cseq: u32,
    contact: Option<PlainContact<'a>>,
    expires: Option<u32>,
    user_agent: &'a str,
    credentials: Option<Credentials<'a>>,
    /// The lines a response takes over, in their order.
    copied: [Copied; 5],
    copies: usize,
}

/// A line a response takes over: where it is, and what becomes of it on the way.
#[derive(Debug, Clone, Copy, Default)]
struct Copied {
    place: u8,
    start: u16,
    end: u16,
}

/// What each header is taken for; 0 for those that make a request another's business.
static PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut at = 0;
    while at < ONCE.len() {
        places[ONCE[at].id() as usize] = at as u8 + 1;
        at += 1;
    }
    at = 0;
    while at < FREE.len() {
        places[FREE[at].id() as usize] = ANY;
        at += 1;
    }
    places
};

/// Headers that may stand once. The first five must be there and are copied into a response.
const ONCE: [H<'static>; 15] = [
    H::VIA,
    H::FROM,
    H::TO,
    H::CALL_ID,
    H::CSEQ,
    H::MAX_FORWARDS,
    H::CONTACT,
    H::EXPIRES,
    H::USER_AGENT,
    H::AUTHORIZATION,
    H::CONTENT_LENGTH,
    H::ACCEPT,
    H::DATE,
    H::EVENT,
    H::ORGANIZATION,
];
const VIA: u8 = 1;
const FROM: u8 = 2;
const TO: u8 = 3;
const CALL_ID: u8 = 4;
const CSEQ: u8 = 5;
const MAX_FORWARDS: u8 = 6;
const CONTACT: u8 = 7;
const EXPIRES: u8 = 8;
const USER_AGENT: u8 = 9;
const AUTHORIZATION: u8 = 10;
const CONTENT_LENGTH: u8 = 11;
const ACCEPT: u8 = 12;
const NEEDED: u32 = 0b11_1110;

/// Headers that may stand as often as they like and say nothing to us.
const FREE: [H<'static>; 6] = [
    H::ALLOW,
    H::SUPPORTED,
    H::ALLOW_EVENTS,
    H::ACCEPT_ENCODING,
    H::ACCEPT_LANGUAGE,
    H::P_ACCESS_NETWORK_INFO,
];
const ANY: u8 = u8::MAX;

impl<'a> Plain<'a> {
    /// Reads a datagram; `None` for what is not plain, whether or not it is sound.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let is_register = bytes.starts_with(b"REGISTER sip:");
        if !is_register && !bytes.starts_with(b"OPTIONS sip:") {
            return None;
        }
        if bytes.len() > BYTES_MAX || !is_printable(bytes) {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let start_end = line_end(bytes, 0).ok()?;
        let uri_at = if is_register { 13 } else { 12 };
        let target = text.get(uri_at..start_end - 2)?.strip_suffix(" SIP/2.0")?;
        let target = fields::is_host(target).then_some(target)?;
        let mut plain = Self::empty(text, is_register, target);
        plain.read_lines(start_end)?;
        // Who asks where it is registered asks seldom; an OPTIONS needs no credentials.
        match is_register {
            true => plain.contact.is_some() && !plain.to.user.is_empty(),
            false => plain.credentials.is_none(),
        }
        .then_some(plain)
    }

    fn empty(text: &'a str, is_register: bool, target: &'a str) -> Self {
        Self {
            text,
            is_register,
            target,
            sent: Sent::default(),
            from: Address::default(),
            to: Address::default(),
            call_id: "",
            cseq: 0,
            contact: None,
            expires: None,
            user_agent: "",
            credentials: None,
            copied: [Copied::default(); 5],
            copies: 0,
        }
    }

    fn read_lines(&mut self, mut at: usize) -> Option<()> {
        let bytes = self.text.as_bytes();
        let mut seen = 0_u32;
        for _ in 0..=LINES_MAX {
            let end = line_end(bytes, at).ok()?;
            if end == at + 2 {
                return (seen & NEEDED == NEEDED && end == bytes.len()).then_some(());
            }
            let line = self.text.get(at..end - 2)?;
            let colon = find_byte(line.as_bytes(), b':')?;
            let name = &line.as_bytes()[..colon];
            let place = place_of(name);
            if place != ANY {
                let bit = 1_u32 << place;
                if place == 0 || seen & bit != 0 {
                    return None;
                }
                seen |= bit;
                let value = line.get(colon + 1..)?;
                let value = value.strip_prefix(' ').unwrap_or(value);
                let is_trim = !value.starts_with(' ') && !value.ends_with(' ');
                self.take(place, if is_trim { value } else { value.trim_matches(' ') })?;
                if place <= CSEQ {
                    self.copied[self.copies] = Copied { place, start: at as u16, end: end as u16 };
                    self.copies += 1;
                }
            }
            at = end;
        }
        None
    }

    fn take(&mut self, place: u8, value: &'a str) -> Option<()> {
        match place {
            VIA => self.sent = Sent::read(value)?,
            FROM => {
                self.from = Address::read(value)?;
                return (!self.from.tag.is_empty()).then_some(());
            }
            TO => {
                self.to = Address::read(value)?;
                return self.to.tag.is_empty().then_some(());
            }
            CALL_ID => {
                self.call_id = value;
                let is_word = find_byte(value.as_bytes(), b' ').is_none();
                return (!value.is_empty() && value.len() <= 256 && is_word).then_some(());
            }
            CSEQ => {
                let (number, method) = value.split_once(' ')?;
                self.cseq = number32(number.as_bytes())?;
                return (method.trim_start_matches(' ') == self.method().as_str()).then_some(());
            }
            MAX_FORWARDS => {
                let hops = number(value.as_bytes()).filter(|hops| *hops <= 255)?;
                return (self.is_register || hops > 0).then_some(());
            }
            CONTACT => self.contact = Some(PlainContact::read(value)?),
            EXPIRES => self.expires = Some(lenient_seconds(value.as_bytes())),
            USER_AGENT => self.user_agent = value,
            AUTHORIZATION => self.credentials = Some(Credentials::parse_plain(value.as_bytes())?),
            CONTENT_LENGTH => return (value == "0").then_some(()),
            // Who accepts `message/sip` best may want its request back.
            ACCEPT => return (!value.starts_with(['m', 'M'])).then_some(()),
            _ => {}
        }
        Some(())
    }

    /// REGISTER or OPTIONS.
    pub fn method(&self) -> Method<'static> {
        if self.is_register { Method::REGISTER } else { Method::OPTIONS }
    }

    /// Whether it is a REGISTER; otherwise it is an OPTIONS.
    pub fn is_register(&self) -> bool {
        self.is_register
    }

    /// The host of the Request-URI, which is all there is of it; in lower case.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// User and host of To, in the spelling of [`crate::Aor`].
    pub fn to(&self) -> (&'a str, &'a str) {
        (self.to.user, self.to.host)
    }

    /// The address of record of To: `sip:user@host`.
    pub fn aor(&self) -> &'a str {
        self.to.uri
    }

    /// The address of record of From.
    pub fn from_aor(&self) -> &'a str {
        self.from.uri
    }

    /// The tag of From.
    pub fn from_tag(&self) -> &'a str {
        self.from.tag
    }

    /// Call-ID: a word of at most 256 bytes.
    pub fn call_id(&self) -> &'a str {
        self.call_id
    }

    /// The number of CSeq.
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The branch of the Via; empty if it has none.
    pub fn branch(&self) -> &'a str {
        self.sent.branch
    }

    /// The one Contact. A REGISTER has it.
    pub fn contact(&self) -> Option<PlainContact<'a>> {
        self.contact
    }

    /// Expires in seconds, as [`crate::Message::expires`] reads it.
    pub fn expires(&self) -> Option<u32> {
        self.expires
    }

    /// User-Agent; empty if there is none.
    pub fn user_agent(&self) -> &'a str {
        self.user_agent
    }

    /// The digest credentials of a REGISTER.
    pub fn credentials(&self) -> Option<&Credentials<'a>> {
        self.credentials.as_ref()
    }

    /// Begins a response behind what `out` holds, as [`Reply::begin`] would write it.
    pub fn reply<'b>(
        &self,
        out: &'b mut Vec<u8>,
        (status, reason): (u16, &str),
        to_tag: &[u8],
        source: SocketAddr,
    ) -> Reply<'b> {
        let mut reply = Reply::append(out, (status, reason));
        for line in &self.copied[..self.copies] {
            match line.place {
                VIA => self.sent.write(reply.out(), source),
                TO => {
                    let out = reply.out();
                    out.extend_from_slice(b"To: ");
                    out.extend_from_slice(self.to.value.as_bytes());
                    out.extend_from_slice(b";tag=");
                    out.extend_from_slice(to_tag);
                    out.extend_from_slice(b"\r\n");
                }
                _ => {
                    let whole = usize::from(line.start)..usize::from(line.end);
                    reply.out().extend_from_slice(&self.text.as_bytes()[whole]);
                }
            }
        }
        reply
    }
}

/// What a header is taken for: the usual spellings are compared, any other is looked up.
#[inline]
fn place_of(name: &[u8]) -> u8 {
    match name {
        b"Via" => VIA,
        b"From" => FROM,
        b"To" => TO,
        b"Call-ID" => CALL_ID,
        b"CSeq" => CSEQ,
        b"Max-Forwards" => MAX_FORWARDS,
        b"Contact" => CONTACT,
        b"Expires" => EXPIRES,
        b"User-Agent" => USER_AGENT,
        b"Authorization" => AUTHORIZATION,
        b"Content-Length" => CONTENT_LENGTH,
        b"Allow" | b"Supported" => ANY,
        _ => match id_of(name) {
            0 if is_token(name) => ANY,
            id => PLACES[usize::from(id)],
        },
    }
}

impl Sent<'_> {
    /// The Via line with where the request truly came from.
    fn write(&self, out: &mut Vec<u8>, source: SocketAddr) {
        out.extend_from_slice(b"Via: ");
        out.extend_from_slice(self.before.as_bytes());
        out.extend_from_slice(self.behind.as_bytes());
        out.extend_from_slice(b";received=");
        push_ip(out, source.ip().to_canonical());
        out.extend_from_slice(b";rport=");
        out.extend_from_slice(Decimal::new(source.port().into()).as_ref());
        out.extend_from_slice(b"\r\n");
    }
}

/// Printable ASCII and line ends: many bytes at a time.
fn is_printable(bytes: &[u8]) -> bool {
    let odd = |b: &u8| {
        u8::from(b.wrapping_sub(b' ') > b'~' - b' ') & u8::from(*b != b'\r') & u8::from(*b != b'\n')
    };
    bytes.iter().fold(0, |any, b| any | odd(b)) == 0
}

#[cfg(test)]
mod tests;
