//! Which media a leg may have (design decision 11: no plain RTP where policy says encrypted).

use crate::config::{MediaAnchor, MediaEncryption};
use crate::core::EdgeCore;
use crate::forward::Forward;
use crate::ports::{MediaProfile, Refusal, Target};
use sansio::Transport;

impl EdgeCore {
    /// Whether a call's media crosses the relay (`edge.media_anchor`).
    pub(crate) fn needs_relay(&self, forward: &Forward, targets: &[Target]) -> bool {
        let alike = |target: &Target| target.media == forward.caller_media;
        self.config.media_anchor == MediaAnchor::Always || !targets.iter().all(alike)
    }

    /// Refuses an offer in clear from a party whose signalling is encrypted, where that is policy.
    /// An offer of RTP/AVP with keys beside it (RFC 8643) counts as encrypted: the relay answers it
    /// so.
    pub(crate) fn check_offer(&self, sdp: &[u8], transport: Transport) -> Result<(), Refusal> {
        let required = self.config.media_encryption == MediaEncryption::Required;
        let secure = matches!(transport, Transport::Tls | Transport::Wss);
        if !required || !secure || offered_profile(sdp) != Some(MediaProfile::Plain) {
            return Ok(());
        }
        let text = "offer RTP/SAVP with SDES keys, or set edge.media_encryption to preferred";
        Err(Refusal {
            status: 488,
            reason: "Encrypted Media Required".into(),
            headers: vec![
                ("Warning", format!("399 whimbrel \"{text}\"")),
                ("Reason", "SIP;cause=488;text=\"encrypted media required\"".into()),
            ],
        })
    }
}

/// The profile of a description's first audio stream. `None` without audio: nothing to encrypt.
pub(crate) fn offered_profile(sdp: &[u8]) -> Option<MediaProfile> {
    let text = String::from_utf8_lossy(sdp);
    let mut lines = text.lines().skip_while(|line| !is_audio(line));
    let proto = lines.next()?.split_ascii_whitespace().nth(2)?.to_ascii_uppercase();
    let keyed = lines
        .take_while(|line| !line.starts_with("m="))
        .any(|line| line.to_ascii_lowercase().starts_with("a=crypto:"));
    Some(if proto.contains("TLS") {
        MediaProfile::WebRtc
    } else if keyed || proto.contains("SAVP") {
        MediaProfile::Sdes
    } else {
        MediaProfile::Plain
    })
}

/// An audio line that is not rejected (port 0, RFC 3264 §6).
fn is_audio(line: &str) -> bool {
    let mut parts = line.split_ascii_whitespace();
    parts.next() == Some("m=audio") && parts.next().is_some_and(|port| port != "0")
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
