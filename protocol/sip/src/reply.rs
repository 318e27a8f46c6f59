//! Responses written straight to bytes, for who keeps no transaction (RFC 3261 §8.2.7).

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use bytes::Bytes;

use crate::builder::reason_phrase;
use crate::digest::ChallengeBuilder;
use crate::message::Message;
use crate::name::HeaderName;
use crate::text::{offset_in, split_list};
use crate::via::Via;
use crate::writer::Decimal;

/// Headers every response takes over as they are, besides Via (RFC 3261 §8.2.6.2).
const COPIED: [u8; 4] =
    [HeaderName::FROM.id(), HeaderName::TO.id(), HeaderName::CALL_ID.id(), HeaderName::CSEQ.id()];

/// Writes one response into a buffer that is used again and again: no index is made and nothing is
/// allocated before [`Reply::finish`] copies the bytes out.
///
/// It copies every Via, From, To, Call-ID and CSeq byte-exact, as [`crate::response_to`] does; the
/// lines stand in the order of the request. With a source given, the top Via gets `received` and
/// `rport` on the way (RFC 3261 §18.2.1, RFC 3581 §4), so the request itself need not be changed.
///
/// ```
/// use sip::{Message, Reply};
/// let request: Message = b"OPTIONS sip:b.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport\r\n\
///     From: <sip:a@b.example>;tag=1\r\nTo: <sip:b.example>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"
///     .as_slice().try_into()?;
/// let mut buffer = Vec::new();
/// let mut reply = Reply::begin(&mut buffer, &request, (200, ""), b"t1", "192.0.2.1:5061".parse().ok());
/// reply.header("Allow", b"INVITE");
/// let ok = Message::parse(reply.finish())?;
/// assert_eq!(ok.top_via()?.response_address(), "192.0.2.1:5061".parse().ok());
/// # Ok::<(), sip::ParseError>(())
/// ```
#[derive(Debug)]
pub struct Reply<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> Reply<'b> {
    /// Begins a response to `request` in `buffer`, which is emptied first. An empty `reason` gets
    /// the usual phrase; `to_tag` is added to a To without one, unless it is empty.
    pub fn begin(
        buffer: &'b mut Vec<u8>,
        request: &Message,
        (status, reason): (u16, &str),
        to_tag: &[u8],
        source: Option<SocketAddr>,
    ) -> Self {
        buffer.clear();
        let mut reply = Self::append(buffer, (status, reason));
        let (mut source, tag_missing) = (source, !to_tag.is_empty() && request.to_tag().is_none());
        for slot in request.slots() {
            if slot.id == 0 {
                continue;
            }
            let line = &request.bytes[slot.start..slot.end];
            if slot.id == HeaderName::VIA.id() {
                match source.take() {
                    Some(source) => reply.stamped_via(request.value_of(&slot), line, source),
                    None => reply.out.extend_from_slice(line),
                }
            } else if slot.id == HeaderName::TO.id() && tag_missing {
                reply.out.extend_from_slice(b"To: ");
                reply.out.extend_from_slice(request.value_of(&slot));
                reply.out.extend_from_slice(b";tag=");
                reply.out.extend_from_slice(to_tag);
                reply.out.extend_from_slice(b"\r\n");
            } else if COPIED.contains(&slot.id)
                || (status == 100 && slot.id == HeaderName::TIMESTAMP.id())
            {
                reply.out.extend_from_slice(line);
            }
        }
        reply
    }

    /// Begins a response behind what `out` holds, with its status line alone.
    pub(crate) fn append(out: &'b mut Vec<u8>, (status, reason): (u16, &str)) -> Self {
        let mut reply = Self { out };
        reply.status_line(status, if reason.is_empty() { reason_phrase(status) } else { reason });
        reply
    }

    /// Another response to the same request behind what `out` holds: the lines at `copied` are what
    /// the first one took over.
    pub fn again(out: &'b mut Vec<u8>, line: (u16, &str), copied: Range<usize>) -> Self {
        let reply = Self::append(out, line);
        reply.out.extend_from_within(copied);
        reply
    }

    /// How much is written, what stood there before included.
    #[expect(clippy::len_without_is_empty, reason = "a response is never empty")]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Adds lines that are whole, each with its CRLF.
    pub fn lines(&mut self, lines: &[u8]) {
        self.out.extend_from_slice(lines);
    }

    /// Adds the line of a challenge.
    pub fn challenge(&mut self, name: HeaderName<'_>, challenge: &ChallengeBuilder<'_>) {
        self.out.extend_from_slice(name.as_str().as_bytes());
        self.out.extend_from_slice(b": ");
        challenge.write(self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Adds a header line. Line breaks in the value become spaces.
    pub fn header<'n>(&mut self, name: impl Into<HeaderName<'n>>, value: impl AsRef<[u8]>) {
        self.out.extend_from_slice(name.into().as_str().as_bytes());
        self.out.extend_from_slice(b": ");
        self.push_clean(value.as_ref());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Ends the headers; the response has no body.
    pub fn finish(self) -> Bytes {
        Bytes::copy_from_slice(self.end())
    }

    /// The same, where the buffer itself is wanted.
    pub fn end(self) -> &'b mut Vec<u8> {
        self.out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        self.out
    }

    fn status_line(&mut self, status: u16, reason: &str) {
        debug_assert!((100..700).contains(&status), "no SIP status: {status}");
        let status = if (100..700).contains(&status) { status } else { 500 };
        let digits = [status / 100, status / 10 % 10, status % 10].map(|d| b'0' + d as u8);
        self.out.extend_from_slice(b"SIP/2.0 ");
        self.out.extend_from_slice(&digits);
        self.out.push(b' ');
        self.push_clean(reason.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn stamped_via(&mut self, value: &[u8], line: &[u8], source: SocketAddr) {
        let first = split_list(value).next().unwrap_or(value);
        let Some(stamp) = Via::parse(first).ok().and_then(|via| Stamp::new(via, source)) else {
            return self.out.extend_from_slice(line);
        };
        self.out.extend_from_slice(b"Via: ");
        stamp.write(self.out);
        self.out.extend_from_slice(&value[offset_in(value, first) + first.len()..]);
        self.out.extend_from_slice(b"\r\n");
    }

    fn push_clean(&mut self, value: &[u8]) {
        if memchr::memchr2(b'\r', b'\n', value).is_none() {
            return self.out.extend_from_slice(value);
        }
        let clean = |b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { *b };
        self.out.extend(value.iter().map(clean));
    }
}

/// A Via as it leaves again: with where its request truly came from.
pub(crate) struct Stamp<'v> {
    via: Via<'v>,
    source: SocketAddr,
    with_port: bool,
    with_address: bool,
}

impl<'v> Stamp<'v> {
    /// What has to be noted; `None` when the Via says the truth and asks for nothing.
    pub(crate) fn new(via: Via<'v>, source: SocketAddr) -> Option<Self> {
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let with_port = via.rport().is_some();
        let written = via.host().trim_matches(['[', ']']).parse() == Ok(source.ip());
        if written && !with_port && via.param("received").is_none() {
            return None;
        }
        Some(Self { via, source, with_port, with_address: with_port || !written })
    }

    /// Appends the Via value. What its sender wrote into the two parameters is thrown away.
    /// Tells where in `out` the branch begins.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Option<usize> {
        let mut branch_at = None;
        out.extend_from_slice(b"SIP/2.0/");
        out.extend_from_slice(self.via.transport_token());
        out.push(b' ');
        out.extend_from_slice(self.via.sent_by());
        for (name, text) in self.via.params().iter() {
            if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
                continue;
            }
            out.push(b';');
            out.extend_from_slice(name);
            if let Some(text) = text {
                out.push(b'=');
                if branch_at.is_none() && name.eq_ignore_ascii_case(b"branch") {
                    branch_at = Some(out.len());
                }
                out.extend_from_slice(text);
            }
        }
        if self.with_address {
            out.extend_from_slice(b";received=");
            push_ip(out, self.source.ip());
        }
        if self.with_port {
            out.extend_from_slice(b";rport=");
            out.extend_from_slice(Decimal::new(self.source.port().into()).as_ref());
        }
        branch_at
    }
}

pub(crate) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (i, octet) in ip.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(Decimal::new(octet.into()).as_ref());
            }
        }
        IpAddr::V6(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response_to;

    fn request(via: &str) -> Message {
        let text = format!(
            "REGISTER sip:a.example SIP/2.0\r\n{via}Via: SIP/2.0/UDP second.example;branch=z9hG4bK2\r\n\
             f: <sip:a@a.example>;tag=1\r\nTo: <sip:a@a.example>\r\ni: x\r\nCSeq: 1 REGISTER\r\n\r\n"
        );
        Message::parse(text.into_bytes().into()).unwrap()
    }

    fn reply(request: &Message, source: Option<&str>) -> Message {
        let mut buffer = b"left over".to_vec();
        let source = source.map(|s| s.parse().unwrap());
        let mut reply = Reply::begin(&mut buffer, request, (401, ""), b"tag7", source);
        reply.header("X-Note", "a\r\nX-Evil: b");
        Message::parse(reply.finish()).unwrap()
    }

    #[test]
    fn a_reply_says_what_a_built_response_says() {
        let request = request("Via: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport\r\n");
        let stamped =
            crate::proxy::forward::received_from(&request, "192.0.2.9:1024".parse().unwrap());
        let built = response_to(&stamped, 401, "").to_tag("tag7").header("X-Note", "a  X-Evil: b");
        let (built, reply) = (built.build(), reply(&request, Some("192.0.2.9:1024")));
        for name in ["Via", "From", "To", "Call-ID", "CSeq", "X-Note", "Content-Length"] {
            let values =
                |m: &Message| m.values(name.into()).map(<[u8]>::to_vec).collect::<Vec<_>>();
            assert_eq!(values(&reply), values(&built), "{name}");
        }
        assert_eq!((reply.status(), reply.reason()), (built.status(), built.reason()));
    }

    #[test]
    fn a_truthful_via_stays_byte_exact_and_the_others_of_its_line_too() {
        let request =
            request("Via: SIP/2.0/UDP 10.0.0.1 ; branch=z9hG4bK1, SIP/2.0/UDP b.example\r\n");
        let first = |m: &Message| String::from_utf8_lossy(m.header("Via").unwrap()).into_owned();
        let came = first(&request);
        assert_eq!(first(&reply(&request, Some("10.0.0.1:5060"))), came);
        assert_eq!(first(&reply(&request, None)), came);
        let moved = first(&reply(&request, Some("10.0.0.2:5060")));
        assert_eq!(
            moved,
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=10.0.0.2, SIP/2.0/UDP b.example"
        );
    }
}
