//! Keys in INFO, as phones send them that know no telephone events: `application/dtmf-relay`
//! (`Signal=5`, `Duration=160`) and `application/dtmf` (`5`). No RFC has them; all phones do.

use crate::{Message, Method};

/// What phones press that say nothing of it.
const DURATION_MS: u32 = 160;
/// Longer keys are held, not dialled.
const DURATION_MS_MAX: u32 = 10_000;

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PressedKey {
    /// `0-9*#A-D`.
    pub digit: char,
    /// How long it was down, 1 to 10,000.
    pub duration_ms: u32,
}

impl PressedKey {
    /// Reads the key in an INFO; `None` where there is none.
    pub fn of(request: &Message) -> Option<Self> {
        if request.method() != Some(Method::INFO) {
            return None;
        }
        let body = std::str::from_utf8(request.body()).ok()?;
        let field = |wanted: &str| {
            body.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        let (key, duration) = if request.has_content_type("application/dtmf-relay") {
            (field("Signal")?, field("Duration").and_then(|ms| ms.parse().ok()))
        } else if request.has_content_type("application/dtmf") {
            (body.trim(), None)
        } else {
            return None;
        };
        // Some number the star and the hash as RFC 4733 does.
        let key = match key {
            "10" => "*",
            "11" => "#",
            key => key,
        };
        let mut chars = key.chars();
        let digit = chars.next().filter(|_| chars.next().is_none())?.to_ascii_uppercase();
        let duration_ms = duration.unwrap_or(DURATION_MS).clamp(1, DURATION_MS_MAX);
        "0123456789*#ABCD".contains(digit).then_some(Self { digit, duration_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeaderName, RequestBuilder};

    fn request(method: Method, content_type: &str, body: &str) -> Message {
        let number = format!("1 {}", method.as_str());
        RequestBuilder::new(method, "sip:a@b")
            .header(HeaderName::VIA, "SIP/2.0/UDP h;branch=z9hG4bK1")
            .header(HeaderName::FROM, "<sip:a@b>;tag=1")
            .header(HeaderName::TO, "<sip:c@d>;tag=2")
            .header(HeaderName::CALL_ID, "x")
            .header(HeaderName::CSEQ, number)
            .body(content_type, body)
            .build()
    }

    #[test]
    fn r5_7_keys_in_info_are_read_as_phones_write_them_with_their_duration() {
        for (content_type, body, wanted) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=250\r\n", Some(('5', 250))),
            ("application/dtmf-relay", "signal = *\nduration = 99999", Some(('*', 10_000))),
            ("application/dtmf-relay", "Signal=11\r\n", Some(('#', 160))),
            ("application/dtmf", "d", Some(('D', 160))),
            ("application/dtmf-relay", "Duration=160\r\n", None),
            ("application/dtmf-relay", "Signal=55\r\n", None),
            ("application/media_control+xml", "5", None),
            ("text/plain", "5", None),
        ] {
            let key = PressedKey::of(&request(Method::INFO, content_type, body));
            assert_eq!(key.map(|k| (k.digit, k.duration_ms)), wanted, "{content_type} {body}");
        }
        assert_eq!(PressedKey::of(&request(Method::MESSAGE, "application/dtmf", "5")), None);
    }
}
