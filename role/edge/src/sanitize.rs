//! What a stranger wrote: what of it may go on to another leg, and how it is shown in events, logs
//! and pages (RFC 3261 §25, RFC 4475 §3.1.1, OWASP ASVS 5).
//!
//! The parser has refused CR and LF that stand alone, repeated and oversized messages; here is what
//! would still be somebody else's trouble: NUL and other control characters, bytes that are no
//! UTF-8, a header that may stand once and stands twice, XML that declares entities.

use sip::{HeaderName, Message};

/// Longest header value that goes on; the longest that phones need are certificates in Identity.
pub(crate) const VALUE_MAX: usize = 8 * 1024;

/// Headers that may stand once (RFC 3261 §7.3.1 and the RFCs of each), beside those the parser
/// knows: of two, two readers would take two.
const SINGLE: [HeaderName<'static>; 25] = [
    HeaderName::CONTENT_DISPOSITION,
    HeaderName::CONTENT_ENCODING,
    HeaderName::DATE,
    HeaderName::EVENT,
    HeaderName::EXPIRES,
    HeaderName::JOIN,
    HeaderName::MAX_BREADTH,
    HeaderName::MIN_EXPIRES,
    HeaderName::MIN_SE,
    HeaderName::ORGANIZATION,
    HeaderName::PRIORITY,
    HeaderName::RACK,
    HeaderName::REFER_TO,
    HeaderName::REFERRED_BY,
    HeaderName::REPLACES,
    HeaderName::REPLY_TO,
    HeaderName::RSEQ,
    HeaderName::SERVER,
    HeaderName::SESSION_EXPIRES,
    HeaderName::SESSION_ID,
    HeaderName::SUBJECT,
    HeaderName::SUBSCRIPTION_STATE,
    HeaderName::TARGET_DIALOG,
    HeaderName::TIMESTAMP,
    HeaderName::USER_AGENT,
];

/// The bit of each of them, by its number.
static SINGLE_BITS: [u32; 256] = {
    let mut bits = [0; 256];
    let mut at = 0;
    while at < SINGLE.len() {
        bits[SINGLE[at].id() as usize] = 1 << at;
        at += 1;
    }
    bits
};

/// Why a request must not go on as it is, as a reason phrase for a 400.
pub(crate) fn unfit(message: &Message) -> Option<&'static str> {
    let head = &message.bytes()[..message.bytes().len() - message.body().len()];
    if !is_clean(head) {
        return Some("Bad Characters");
    }
    // Shorter ones cannot hold a value that long.
    if head.len() > VALUE_MAX && message.header_lines().any(|(_, v)| v.len() > VALUE_MAX) {
        return Some("Header Too Long");
    }
    if repeats(message) {
        return Some("Repeated Header");
    }
    declares_entities(message).then_some("Bad XML")
}

/// A response or ACK with `?` for every byte that must not go on: it must come. `None` when there is
/// nothing to change.
pub(crate) fn cleaned(response: &Message) -> Option<Message> {
    let bytes = response.bytes();
    let head_len = bytes.len() - response.body().len();
    if is_clean(&bytes[..head_len]) {
        return None;
    }
    let mut text = bytes.to_vec();
    let readable = is_clean_text(&bytes[..head_len]);
    for (at, byte) in text[..head_len].iter_mut().enumerate() {
        let next = bytes.get(at + 1).copied().unwrap_or_default();
        let previous = at.checked_sub(1).map_or(0, |p| bytes[p]);
        let line_end = (*byte == b'\r' && next == b'\n') || (*byte == b'\n' && previous == b'\r');
        let bad = is_control(*byte) && !line_end && *byte != b'\t';
        if bad || (!readable && *byte >= 0x80) {
            *byte = b'?';
        }
    }
    Message::parse(text.into()).ok()
}

/// Printable, in UTF-8, with tabs and line ends and no other control characters. One pass over the
/// bytes, 32 at a time; a second one only where there is more than ASCII.
fn is_clean(head: &[u8]) -> bool {
    let (blocks, rest) = head.as_chunks::<32>();
    // Without a branch, so that it becomes a few instructions for all of them.
    let odd = |block: &[u8; 32]| block.iter().fold(0_u8, |odd, byte| odd | is_odd(*byte)) != 0;
    let plain = !blocks.iter().any(odd) && rest.iter().all(|byte| is_odd(*byte) == 0);
    plain || (!head.iter().any(|b| is_control(*b) && !is_layout(*b)) && is_clean_text(head))
}

/// Not zero for what is neither printable ASCII nor layout.
#[inline]
fn is_odd(byte: u8) -> u8 {
    let control = (byte < 0x20) & (byte != b'\r') & (byte != b'\n') & (byte != b'\t');
    u8::from(control | (byte >= 0x7f))
}

fn is_layout(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b'\t')
}

/// UTF-8 without C1 control characters.
fn is_clean_text(head: &[u8]) -> bool {
    let text = std::str::from_utf8(head);
    text.is_ok_and(|text| !text.chars().any(|c| ('\u{80}'..='\u{9f}').contains(&c)))
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

fn repeats(message: &Message) -> bool {
    let mut seen = 0_u32;
    message.header_ids().any(|id| {
        let bit = SINGLE_BITS[usize::from(id)];
        let again = seen & bit != 0;
        seen |= bit;
        again
    })
}

/// XML that declares a document type or entities, in any encoding a parser would guess: nothing of
/// SIP needs it, and parsers behind us may expand it without end.
fn declares_entities(message: &Message) -> bool {
    let body = message.body();
    if body.is_empty() {
        return false;
    }
    let kind = message.header(HeaderName::CONTENT_TYPE).unwrap_or_default();
    let lower = kind.to_ascii_lowercase();
    let holds = |text: &[u8], what: &[u8]| text.windows(what.len()).any(|w| w == what);
    if !holds(&lower, b"xml") && !lower.starts_with(b"multipart/") {
        return false;
    }
    let plain: Vec<u8> = body.iter().filter(|b| **b != 0).map(u8::to_ascii_uppercase).collect();
    holds(&plain, b"<!DOCTYPE") || holds(&plain, b"<!ENTITY")
}

/// Text for an event or a log: control characters and what is no UTF-8 become `\u{fffd}`, marks that
/// turn the direction of what follows too, and it is cut to `limit` characters.
pub(crate) fn shown(text: &[u8], limit: usize) -> String {
    if text.len() <= limit
        && text.iter().all(|byte| (b' '..=b'~').contains(byte))
        && let Ok(text) = std::str::from_utf8(text)
    {
        return text.to_owned();
    }
    let text = String::from_utf8_lossy(text);
    let clean = |c: char| if is_unfit(c) { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(limit).map(clean).collect()
}

/// Control characters, line and paragraph separators, and bidirectional overrides.
fn is_unfit(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[u8], body: &[u8]) -> Message {
        let mut text = b"MESSAGE sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n"
            .to_vec();
        text.extend_from_slice(headers);
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(body);
        Message::parse(text.into()).unwrap()
    }

    #[test]
    fn blocks_of_bytes_are_judged_as_their_bytes() {
        for at in [0, 5, 31, 32, 40, 63, 64, 70] {
            for byte in 0..=u8::MAX {
                let mut head = vec![b'a'; 71];
                head[at] = byte;
                let clean = matches!(byte, b'\r' | b'\n' | b'\t' | b' '..=b'~');
                assert_eq!(is_clean(&head), clean, "{byte} at {at}");
            }
        }
        let long = "Grüße ".repeat(20);
        assert!(is_clean(long.as_bytes()));
        assert!(!is_clean(format!("{long}\u{7f}").as_bytes()));
        assert!(!is_clean(format!("{long}\u{85}").as_bytes()));
    }

    #[test]
    fn r2_4_what_would_be_trouble_elsewhere_goes_no_further() {
        for (headers, why) in [
            (b"Subject: a\0b\r\n".as_slice(), Some("Bad Characters")),
            (b"Subject: \x1b[2J\r\n", Some("Bad Characters")),
            (b"Subject: \x7f\r\n", Some("Bad Characters")),
            (b"Subject: \xff\xfe\r\n", Some("Bad Characters")),
            (b"Subject: \xc2\x85\r\n", Some("Bad Characters")),
            (b"Subject: \xc0\xaf\r\n", Some("Bad Characters")),
            ("Subject: Grüße 電話\t!\r\n".as_bytes(), None),
            (b"Subject: a\r\n b\r\n", None),
            (b"Subject: a\r\nsubject: b\r\n", Some("Repeated Header")),
            (b"s: a\r\nSubject: b\r\n", Some("Repeated Header")),
            (b"X-Own: a\r\nX-Own: b\r\n", None),
        ] {
            assert_eq!(
                unfit(&message(headers, b"")),
                why,
                "{:?}",
                String::from_utf8_lossy(headers)
            );
        }
        let long = format!("X-Own: {}\r\n", "x".repeat(VALUE_MAX + 1));
        assert_eq!(unfit(&message(long.as_bytes(), b"")), Some("Header Too Long"));
    }

    #[test]
    fn r2_4_xml_that_declares_entities_goes_no_further() {
        let kind = b"Content-Type: application/pidf+xml\r\n";
        let bomb = b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>";
        assert_eq!(unfit(&message(kind, bomb)), Some("Bad XML"));
        let wide: Vec<u8> = bomb.iter().flat_map(|b| [*b, 0]).collect();
        assert_eq!(unfit(&message(kind, &wide)), Some("Bad XML"));
        assert_eq!(unfit(&message(kind, b"<?xml version=\"1.0\"?><x>&amp;</x>")), None);
        assert_eq!(unfit(&message(b"Content-Type: text/plain\r\n", bomb)), None, "it is only text");
    }

    #[test]
    fn r2_4_a_response_comes_without_its_poison() {
        let text = b"SIP/2.0 486 Busy \x1b[2J\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
            Server: \xff\0\r\nSubject: a\tb\r\n\r\nbody\0";
        let dirty = Message::parse(text.as_slice().into()).unwrap();
        let clean = cleaned(&dirty).unwrap();
        assert_eq!(clean.reason(), b"Busy ?[2J");
        assert_eq!(clean.header(HeaderName::SERVER), Some(b"??".as_slice()));
        assert_eq!(clean.body(), b"body\0", "bodies are their readers' business");
        assert!(cleaned(&clean).is_none());
    }

    #[test]
    fn r2_4_nothing_shown_breaks_a_line_or_turns_it() {
        assert_eq!(shown(b"a\r\nb\0c\x1b[2J", 99), "a\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}[2J");
        assert_eq!(shown("x\u{202e}y\u{2028}z".as_bytes(), 99), "x\u{fffd}y\u{fffd}z");
        assert_eq!(shown(b"\xff\xfe<b>", 99), "\u{fffd}\u{fffd}<b>");
        assert_eq!(shown("ä".repeat(9).as_bytes(), 3), "äää");
    }
}
