//! What the first bytes tell of a message: enough to decide, under overload, whether it is worth
//! parsing at all.

use memchr::memchr;

/// A message at a glance. Nothing is checked; what is missing reads as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance<'a> {
    /// The request's method as written; `None` for a response.
    pub method: Option<&'a [u8]>,
    /// Whether To carries a tag: the request belongs to a dialog.
    pub has_to_tag: bool,
    /// The Call-ID; empty if there is none.
    pub call_id: &'a [u8],
    /// Whether it shows credentials.
    pub has_credentials: bool,
    /// Whether it is an emergency by its address (`urn:service:sos`, RFC 5031) or its
    /// Resource-Priority (`esnet`, RFC 7135).
    pub is_emergency: bool,
    /// The User-Agent; empty if there is none.
    pub user_agent: &'a [u8],
}

impl<'a> Glance<'a> {
    /// Reads the start line and the headers, one pass.
    pub fn of(message: &'a [u8]) -> Self {
        let (start, mut rest) = line(message);
        let is_response = start.starts_with(b"SIP/2.0 ");
        let mut words = start.split(|b| *b == b' ');
        let method = words.next().filter(|_| !is_response);
        let target = words.next().filter(|_| !is_response).unwrap_or_default();
        let mut seen = Self {
            method,
            has_to_tag: false,
            call_id: b"",
            has_credentials: false,
            is_emergency: starts_with(target, b"urn:service:sos"),
            user_agent: b"",
        };
        while !rest.is_empty() {
            let (header, after) = line(rest);
            if header.is_empty() {
                break;
            }
            seen.note(header);
            rest = after;
        }
        seen
    }

    /// Whether it asks for something new that may be put off: a request outside of a dialog, other
    /// than ACK, CANCEL and BYE, which end work rather than make it.
    pub fn begins_work(&self) -> bool {
        let ends = [b"ACK".as_slice(), b"CANCEL", b"BYE", b"PRACK"];
        self.method.is_some_and(|method| !self.has_to_tag && !ends.contains(&method))
    }

    fn note(&mut self, header: &'a [u8]) {
        let Some(colon) = memchr(b':', header) else { return };
        let (name, value) = (header[..colon].trim_ascii_end(), &header[colon + 1..]);
        match name.len() {
            1 if name.eq_ignore_ascii_case(b"t") => self.has_to_tag = has_tag(value),
            1 if name.eq_ignore_ascii_case(b"i") => self.call_id = value.trim_ascii(),
            2 if name.eq_ignore_ascii_case(b"to") => self.has_to_tag = has_tag(value),
            7 if name.eq_ignore_ascii_case(b"call-id") => self.call_id = value.trim_ascii(),
            10 if name.eq_ignore_ascii_case(b"user-agent") => self.user_agent = value.trim_ascii(),
            13 if name.eq_ignore_ascii_case(b"authorization") => self.has_credentials = true,
            19 if name.eq_ignore_ascii_case(b"proxy-authorization") => self.has_credentials = true,
            17 if name.eq_ignore_ascii_case(b"resource-priority") => {
                self.is_emergency |= starts_with(value.trim_ascii_start(), b"esnet.");
            }
            _ => {}
        }
    }
}

/// The first line without its end, and what follows.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'\n', bytes) {
        Some(end) => (bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]), &bytes[end + 1..]),
        None => (bytes, b""),
    }
}

/// Whether a To carries a tag among its own parameters, behind the URI.
fn has_tag(to: &[u8]) -> bool {
    let params = memchr(b'>', to).map_or(to, |end| &to[end..]);
    params.split(|b| *b == b';').skip(1).any(|param| starts_with(param.trim_ascii_start(), b"tag"))
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] =
        b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\nTo: \"tag\" <sip:bob@example.com;tag=no>\r\nCall-ID: x@y \r\n\
        User-Agent: Phone/1\r\nContent-Length: 0\r\n\r\nTo: <sip:b@c>;tag=body\r\n";

    #[test]
    fn a_new_request_is_told_from_one_in_a_dialog() {
        let new = Glance::of(INVITE);
        assert_eq!(new.method, Some(b"INVITE".as_slice()));
        assert!(new.begins_work() && !new.has_to_tag && !new.has_credentials && !new.is_emergency);
        assert_eq!((new.call_id, new.user_agent), (b"x@y".as_slice(), b"Phone/1".as_slice()));
        let text = String::from_utf8(INVITE.to_vec()).unwrap();
        let inside = text.replace("tag=no>", "x>;tag=77").replace("Call-ID", "i");
        let inside = Glance::of(inside.as_bytes());
        assert!(inside.has_to_tag && !inside.begins_work());
        assert_eq!(inside.call_id, b"x@y");
    }

    #[test]
    fn responses_and_what_ends_work_begin_none() {
        for start in
            ["SIP/2.0 200 OK", "ACK sip:a SIP/2.0", "BYE sip:a SIP/2.0", "CANCEL a SIP/2.0"]
        {
            let message = format!("{start}\r\nTo: <sip:a@b>\r\n\r\n");
            assert!(!Glance::of(message.as_bytes()).begins_work(), "{start}");
        }
        assert!(Glance::of(b"REGISTER sip:a SIP/2.0\nt: <sip:a@b>\n\n").begins_work());
    }

    #[test]
    fn emergencies_and_credentials_are_seen_whatever_the_case() {
        assert!(Glance::of(b"INVITE URN:service:sos.fire SIP/2.0\r\n\r\n").is_emergency);
        assert!(
            Glance::of(b"INVITE sip:a SIP/2.0\r\nresource-PRIORITY: esnet.1\r\n\r\n").is_emergency
        );
        assert!(
            !Glance::of(b"INVITE sip:a SIP/2.0\r\nResource-Priority: dsn.flash\r\n\r\n")
                .is_emergency
        );
        assert!(Glance::of(b"REGISTER sip:a SIP/2.0\r\nauthorization : x\r\n\r\n").has_credentials);
    }

    #[test]
    fn noise_is_looked_at_without_a_panic() {
        for noise in [b"".as_slice(), b"\r\n\r\n", b"x", b":", b"INVITE", b"\0\xff\n:\n;"] {
            let _ = Glance::of(noise);
        }
    }
}
