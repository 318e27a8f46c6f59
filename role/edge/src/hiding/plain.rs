//! Words that tell nothing of the inside: phrases, texts and descriptions as everybody writes them.

use sip::{HeaderName, Message};

/// A response with the phrase its status has, whatever was written there.
pub(crate) fn with_plain_phrase(response: &Message) -> Option<Message> {
    let status = response.status()?;
    let phrase = sip::reason_phrase(status);
    if response.reason() == phrase.as_bytes() {
        return None;
    }
    let bytes = response.bytes();
    let end = bytes.windows(2).position(|w| w == b"\r\n")?;
    let mut text = format!("SIP/2.0 {status} {phrase}").into_bytes();
    text.extend_from_slice(&bytes[end..]);
    Message::parse(text.into()).ok()
}

/// `X-..` and vendor extensions (`P-Asterisk-..` is none that is registered).
pub(super) fn is_private_extension(name: &str) -> bool {
    name.get(..2).is_some_and(|head| head.eq_ignore_ascii_case("x-"))
}

/// Contact parameters that name a device or a registration (RFC 5626, RFC 5627).
pub(super) fn is_identifying(name: &str) -> bool {
    let names = ["+sip.instance", "reg-id", "pub-gruu", "temp-gruu", "expires", "q", "received"];
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

pub(super) fn is_urn(value: &[u8]) -> bool {
    value
        .strip_prefix(b"<")
        .is_some_and(|v| v.get(..4).is_some_and(|s| s.eq_ignore_ascii_case(b"urn:")))
}

/// A Warning with its code alone: agent and text tell about the inside (RFC 3261 §20.43).
pub(super) fn warning(value: &[u8]) -> String {
    let code: String = value.iter().take(3).map(|b| char::from(*b)).collect();
    let known = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    format!("{} edge \"Not shown\"", if known { code.as_str() } else { "399" })
}

/// Reasons with protocol and cause, without texts.
pub(super) fn reasons(message: &Message) -> String {
    let values = message.values(HeaderName::REASON).map(|value| {
        let text = String::from_utf8_lossy(value).into_owned();
        let mut parts = text.split(';').map(str::trim);
        let protocol = parts.next().unwrap_or_default().to_string();
        let is_cause = |p: &&str| p.get(..5).is_some_and(|n| n.eq_ignore_ascii_case("cause"));
        let cause = parts.find(is_cause).map(|c| format!(";{c}")).unwrap_or_default();
        protocol + &cause
    });
    values.collect::<Vec<_>>().join(", ")
}

/// A session description with nothing but media in it: the relay's addresses stand already in `c=`
/// and `o=`; names, tools and contact lines go (RFC 8866 §5.2-5.7).
pub(crate) fn plain_description(sdp: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(sdp);
    let address = text.lines().find_map(|line| line.strip_prefix("c="));
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let kind = line.get(..2).unwrap_or_default();
        match kind {
            "i=" | "u=" | "e=" | "p=" => continue,
            "s=" => out.push_str("s=-"),
            "o=" => out.push_str(&origin(line, address)),
            "a=" if line.starts_with("a=tool:") || line.starts_with("a=X-") => continue,
            _ => out.push_str(line),
        }
        out.push_str("\r\n");
    }
    out.into_bytes()
}

fn origin(line: &str, address: Option<&str>) -> String {
    let mut parts = line[2..].split(' ').skip(1);
    let id = parts.next().unwrap_or("0");
    let version = parts.next().unwrap_or("0");
    format!("o=- {id} {version} {}", address.unwrap_or("IN IP4 0.0.0.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2_2_a_description_keeps_its_media_and_nothing_else() {
        let sdp =
            b"v=0\r\no=alice 12 3 IN IP4 10.0.0.7\r\ns=Asterisk PBX\r\ni=x\r\nu=http://pbx\r\n\
            e=a@b\r\np=+49\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\na=tool:Secret/1\r\n\
            m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n";
        let plain = String::from_utf8(plain_description(sdp)).unwrap();
        let want = "v=0\r\no=- 12 3 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\n\
            t=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n";
        assert_eq!(plain, want);
    }

    #[test]
    fn r2_2_texts_go_and_codes_stay() {
        assert_eq!(warning(b"370 pbx.inner:5060 \"No bandwidth\""), "370 edge \"Not shown\"");
        assert_eq!(warning(b"nonsense"), "399 edge \"Not shown\"");
        let text = b"SIP/2.0 503 Asterisk is down\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
            Reason: Q.850;cause=34;text=\"pbx1; full\", SIP;cause=503;text=\"x\"\r\n\r\n";
        let message = Message::parse(text.as_slice().into()).unwrap();
        assert_eq!(reasons(&message), "Q.850;cause=34, SIP;cause=503");
        let plain = with_plain_phrase(&message).unwrap();
        assert_eq!(plain.reason(), b"Service Unavailable");
        assert!(with_plain_phrase(&plain).is_none());
    }
}
