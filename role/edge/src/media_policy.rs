//! Which media a leg may have (design decision 11: no plain RTP where policy says encrypted).

use crate::call::described;
use crate::config::{MediaAnchor, MediaEncryption};
use crate::core::EdgeCore;
use crate::forward::Forward;
use crate::ports::{MediaProfile, Refusal, Target};
use sansio::Transport;
use sip::{Edit, Message};

impl EdgeCore {
    /// Whether a call's media crosses the relay (`edge.media_anchor`).
    pub(crate) fn needs_relay(&self, forward: &Forward, targets: &[Target]) -> bool {
        // What passes untouched would show a peer where the phone is, and the other way round.
        let peers = forward.caller_peer.is_some();
        let alike = |target: &Target| {
            !peers && target.peer.is_none() && target.media == forward.caller_media
        };
        self.config.media_anchor == MediaAnchor::Always || !targets.iter().all(alike)
    }

    /// Refuses an offer in clear from a party whose signalling is encrypted, where that is policy.
    /// An offer of RTP/AVP with keys beside it (RFC 8643) counts as encrypted: the relay answers it
    /// so.
    pub(crate) fn check_offer(&self, sdp: &[u8], transport: Transport) -> Result<(), Refusal> {
        let required = self.config.media_encryption == MediaEncryption::Required;
        let secure = matches!(transport, Transport::Tls | Transport::Wss);
        if !secure && !self.config.keys_in_clear && insists_on_keys(sdp) {
            return Err(encrypted(
                "Encrypted Signalling Required",
                "SDES keys cross this transport in clear: register over TLS",
            ));
        }
        if !required || !secure || offered_profile(sdp) != Some(MediaProfile::Plain) {
            return Ok(());
        }
        Err(encrypted(
            "Encrypted Media Required",
            "offer RTP/SAVP with SDES keys, or set edge.media_encryption to preferred",
        ))
    }

    /// A request without the keys that came in clear beside RTP in clear (RFC 8643 §3.1): whoever
    /// read them on the way could read the media.
    pub(crate) fn without_clear_keys(&self, transport: Transport, request: Message) -> Message {
        let secure = matches!(transport, Transport::Tls | Transport::Wss);
        if secure || self.config.keys_in_clear {
            return request;
        }
        let Some(sdp) = described(&request).filter(|sdp| has_keys(sdp) && !insists_on_keys(sdp))
        else {
            return request;
        };
        let text = String::from_utf8_lossy(sdp);
        let kept = text.lines().filter(|line| !is_key(line));
        let kept: String = kept.flat_map(|line| [line, "\r\n"]).collect();
        Edit::new(&request).replace_body("application/sdp", kept).finish()
    }
}

fn encrypted(reason: &str, text: &str) -> Refusal {
    Refusal {
        status: 488,
        reason: reason.into(),
        headers: vec![
            ("Warning", format!("399 whimbrel \"{text}\"")),
            ("Reason", format!("SIP;cause=488;text=\"{}\"", reason.to_ascii_lowercase())),
        ],
    }
}

/// Whether a description has SDES keys in it.
fn has_keys(sdp: &[u8]) -> bool {
    // Only behind a colon can its line begin.
    memchr::memchr_iter(b':', sdp).any(|colon| {
        let line = colon.checked_sub(8).map(|at| &sdp[at..=colon]);
        let begins = colon == 8 || colon.checked_sub(9).is_some_and(|at| sdp[at] == b'\n');
        begins && line.is_some_and(is_key_line)
    })
}

/// The lines of a description, without what ends them.
fn lines(sdp: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b'\n', sdp).chain(std::iter::once(sdp.len()));
    ends.scan(0, |from, end| Some(&sdp[std::mem::replace(from, end + 1).min(end)..end]))
}

fn is_key_line(line: &[u8]) -> bool {
    line.first() == Some(&b'a')
        && line.get(..9).is_some_and(|head| head.eq_ignore_ascii_case(b"a=crypto:"))
}

fn is_key(line: &str) -> bool {
    line.get(..9).is_some_and(|head| head.eq_ignore_ascii_case("a=crypto:"))
}

/// Whether a description wants SRTP with SDES keys or not at all.
fn insists_on_keys(sdp: &[u8]) -> bool {
    if !has_keys(sdp) {
        return false;
    }
    let text = String::from_utf8_lossy(sdp);
    let mut media = text.lines().filter(|line| line.starts_with("m="));
    media.any(|line| {
        let proto = line.split_ascii_whitespace().nth(2).unwrap_or_default();
        proto.eq_ignore_ascii_case("RTP/SAVP") || proto.eq_ignore_ascii_case("RTP/SAVPF")
    })
}

/// The profile of a description's first audio stream. `None` without audio: nothing to encrypt.
pub(crate) fn offered_profile(sdp: &[u8]) -> Option<MediaProfile> {
    let mut lines = lines(sdp).skip_while(|line| !is_audio(line));
    let proto = words(lines.next()?).nth(2)?.to_ascii_uppercase();
    let keyed = lines.take_while(|line| !line.starts_with(b"m=")).any(is_key_line);
    let names = |part: &[u8]| proto.windows(part.len()).any(|window| window == part);
    Some(if names(b"TLS") {
        MediaProfile::WebRtc
    } else if keyed || names(b"SAVP") {
        MediaProfile::Sdes
    } else {
        MediaProfile::Plain
    })
}

/// An audio line that is not rejected (port 0, RFC 3264 §6).
fn is_audio(line: &[u8]) -> bool {
    if !line.starts_with(b"m=audio") {
        return false;
    }
    let mut parts = words(line);
    parts.next() == Some(b"m=audio") && parts.next().is_some_and(|port| port != b"0")
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_live_audio_stream_decides() {
        let profile = |sdp: &str| offered_profile(sdp.as_bytes());
        assert_eq!(profile("v=0\r\nm=audio 4000 RTP/AVP 0\r\n"), Some(MediaProfile::Plain));
        assert_eq!(profile("v=0\r\nm=audio 4000 RTP/SAVP 0\r\n"), Some(MediaProfile::Sdes));
        assert_eq!(profile("v=0\nm=audio 9 UDP/TLS/RTP/SAVPF 111\n"), Some(MediaProfile::WebRtc));
        let osrtp = "m=audio 4000 RTP/AVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n";
        assert_eq!(profile(osrtp), Some(MediaProfile::Sdes));
        let video_only_encrypted = "m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/SAVP 96\r\n\
                                    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n";
        assert_eq!(profile(video_only_encrypted), Some(MediaProfile::Plain));
        let rejected = "m=audio 0 RTP/AVP 0\r\nm=audio 4000 RTP/SAVP 0\r\n";
        assert_eq!(profile(rejected), Some(MediaProfile::Sdes));
        assert_eq!(profile("v=0\r\n"), None);
    }
}
