//! Which media a leg may have (design decision 11: no plain RTP where policy says encrypted).

use crate::call::described;
use crate::config::{MediaAnchor, MediaEncryption};
use crate::core::EdgeCore;
use crate::encryption::{Encryption, LegEnd, leg, refusal as encrypted};
use crate::forward::Forward;
use crate::ice_rule::WithoutIce;
use crate::ports::{MediaProfile, Refusal, Target};
use sansio::Transport;
use sip::{Edit, Message};

/// Where a call's media goes, fixed at its first offer (R5.1): what was keyed end to end cannot be taken
/// apart later, and what the relay has keys for need not be given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaPlan {
    /// Through the relay, which has keys and ports of its own on either side.
    Terminate(Why),
    /// Descriptions pass untouched, candidates and keys with them: the ends find their ways by ICE, move
    /// between direct and borrowed addresses, and nobody between them can decrypt.
    Forward,
}

/// Why media crosses the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// `edge.media_anchor` is `always`.
    Configured,
    /// The call is recorded.
    Recorded,
    /// A peer would learn where the phone is, and the other way round.
    Peer,
    /// Caller and a device speak different media: SRTP beside DTLS-SRTP, say; or it is a service of ours.
    Unlike,
    /// A rule of `[[edge.ice]]`: the offer has no candidates.
    WithoutIce,
}

impl EdgeCore {
    /// Whether calls that begin here are recorded.
    fn records(&self, caller: &str) -> bool {
        let domain = caller.rsplit_once('@').map_or("", |(_, domain)| domain);
        let named = |names: &Vec<String>| {
            names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(domain))
        };
        self.config.recorded.as_ref().is_some_and(named)
    }

    /// What holds for a call to these targets.
    pub(crate) fn media_plan(&self, forward: &Forward, targets: &[Target]) -> MediaPlan {
        let caller = (forward.caller.as_str(), forward.caller_peer);
        let without_ice = || self.without_ice(described(&forward.request), caller);
        let peer = forward.caller_peer.is_some() || targets.iter().any(|t| t.peer.is_some());
        MediaPlan::Terminate(if self.config.media_anchor == MediaAnchor::Always {
            Why::Configured
        } else if self.records(&forward.caller) {
            Why::Recorded
        } else if peer {
            Why::Peer
        } else if targets.iter().any(|target| target.media != forward.caller_media) {
            Why::Unlike
        } else if without_ice() == Some(WithoutIce::Relay) {
            Why::WithoutIce
        } else {
            return MediaPlan::Forward;
        })
    }

    /// Refuses an offer that is not as `rule` says; without one, an offer in clear from a party
    /// whose signalling is encrypted, where that is policy. An offer of RTP/AVP with keys beside it
    /// (RFC 8643) counts as encrypted: the relay answers it so.
    pub(crate) fn check_offer(
        &self,
        sdp: &[u8],
        transport: Transport,
        rule: Option<Encryption>,
    ) -> Result<(), Refusal> {
        let secure = matches!(transport, Transport::Tls | Transport::Wss);
        let required = self.requires(rule, transport);
        if !secure && !self.config.keys_in_clear && insists_on_keys(sdp) {
            return Err(encrypted(
                "Encrypted Signalling Required",
                "SDES keys cross this transport in clear: register over TLS",
            ));
        }
        let profile = offered_profile(sdp);
        let forbidden = rule == Some(Encryption::Forbid);
        if forbidden && profile.is_some_and(|p| p != MediaProfile::Plain) {
            let text = "offer RTP/AVP without a=zrtp-hash: [[edge.encryption]] forbids to encrypt";
            return Err(encrypted("Encrypted Media Forbidden", text));
        }
        if !required || profile != Some(MediaProfile::Plain) {
            return Ok(());
        }
        Err(encrypted(
            "Encrypted Media Required",
            match (rule, secure) {
                (None, _) => {
                    "offer RTP/SAVP with SDES keys, or set edge.media_encryption to preferred"
                }
                (_, true) => {
                    "offer RTP/SAVP with SDES keys or DTLS-SRTP: [[edge.encryption]] asks it"
                }
                _ => "offer DTLS-SRTP, or SDES keys over TLS: [[edge.encryption]] asks it",
            },
        ))
    }

    /// What holds for the caller's leg and for that to a target.
    ///
    /// # Errors
    /// 488 when rules contradict each other.
    pub(crate) fn encryption(
        &self,
        (caller, caller_peer): (&str, Option<u16>),
        (called, target_peer): (&str, Option<u16>),
    ) -> Result<[Option<Encryption>; 2], Refusal> {
        let rules = &self.config.encryption;
        if rules.is_empty() {
            return Ok([None; 2]);
        }
        let owners = [caller, called].map(|aor| {
            let (user, domain) = parts(aor);
            let realm = self.directory.realm(domain);
            let realm = realm.map_or_else(|| domain.to_owned(), |realm| realm.to_string());
            let granted = || self.directory.number_owner(user);
            match self.directory.has_user(&realm, user) {
                true => (user.to_owned(), realm),
                false => granted().unwrap_or_else(|| (user.to_owned(), realm)),
            }
        });
        let numbers = [caller, called].map(|aor| parts(aor).0);
        let end = |at: usize, peer: Option<u16>| LegEnd {
            user: &owners[at].0,
            domain: &owners[at].1,
            number: numbers[at],
            peer: peer.and_then(|n| self.peers.get(n)).map(|peer| peer.name.as_str()),
        };
        let (caller, target) = (end(0, caller_peer), end(1, target_peer));
        Ok([leg(rules, &caller, &target)?, leg(rules, &target, &caller)?])
    }

    /// What holds for the two legs of a branch under way: the caller's, and the target's.
    pub(crate) fn legs(&self, forward: &Forward, target: &Target) -> [Option<Encryption>; 2] {
        let Some(called) = &forward.called else { return [None; 2] };
        let caller = (forward.caller.as_str(), forward.caller_peer);
        // Contradictions were refused when the call began.
        self.encryption(caller, (called, target.peer)).unwrap_or_default()
    }

    /// The targets whose legs can be as their rules say, each with the media to offer it; and what
    /// holds for the caller's leg.
    ///
    /// # Errors
    /// 488 when there are targets and none is left.
    pub(crate) fn encrypt_targets(
        &self,
        caller: (&str, Option<u16>),
        called: &str,
        targets: &mut Vec<Target>,
    ) -> Result<Option<Encryption>, Refusal> {
        let (mut callers, mut refused) = (Vec::new(), None);
        targets.retain_mut(|target| match self.encryption(caller, (called, target.peer)) {
            // Echo and tone are on this machine: nothing of theirs crosses a network.
            Ok([own, _]) if target.media == MediaProfile::Internal => {
                callers.push(own);
                true
            }
            Ok([own, theirs]) => {
                callers.push(own);
                target.media = self.media_under(theirs, target);
                true
            }
            Err(refusal) => {
                refused = Some(refusal);
                false
            }
        });
        match refused.filter(|_| targets.is_empty()) {
            Some(refusal) => Err(refusal),
            None if callers.contains(&Some(Encryption::Require)) => Ok(Some(Encryption::Require)),
            None => Ok(callers.into_iter().next().flatten()),
        }
    }

    /// What a branch to a target is offered first: where the caller's end can agree on keys with the
    /// other end (ZRTP), a phone is asked whether it can too.
    pub(crate) fn first_media(&self, forward: &Forward, target: &Target) -> MediaProfile {
        let between_ends = forward.caller_media == MediaProfile::EndToEnd
            && matches!(target.media, MediaProfile::Plain | MediaProfile::Sdes)
            && target.peer.is_none()
            && self.relay_session(forward) != 0
            && self.legs(forward, target)[1] != Some(Encryption::Forbid);
        if between_ends { MediaProfile::EndToEnd } else { target.media }
    }

    /// Refuses an answer in clear to an offer of keys between the two ends, where either leg must be
    /// encrypted: nothing else would encrypt it.
    pub(crate) fn check_end_to_end(
        &self,
        forward: &Forward,
        target: &Target,
        sdp: &[u8],
    ) -> Result<(), Refusal> {
        if offered_profile(sdp) == Some(MediaProfile::EndToEnd) {
            return Ok(());
        }
        let [caller, callee] = self.legs(forward, target);
        let ends = [(caller, forward.caller_reach.transport), (callee, target.reach.transport)];
        let required = ends.into_iter().any(|(rule, transport)| self.requires(rule, transport));
        if !required {
            return Ok(());
        }
        let text = "answer with a=zrtp-hash, or refuse the offer: this leg must be encrypted";
        Err(encrypted("Encrypted Media Required", text))
    }

    fn requires(&self, rule: Option<Encryption>, transport: Transport) -> bool {
        match rule {
            Some(rule) => rule == Encryption::Require,
            None => {
                transport.is_secure() && self.config.media_encryption == MediaEncryption::Required
            }
        }
    }

    /// What a target is offered first. Keys in SDP only where nobody on the way reads them.
    fn media_under(&self, rule: Option<Encryption>, target: &Target) -> MediaProfile {
        match rule {
            None => target.media,
            Some(Encryption::Forbid) => MediaProfile::Plain,
            Some(Encryption::Require | Encryption::Prefer) => match target.media {
                MediaProfile::Plain if self.hides_keys(target) => MediaProfile::Sdes,
                MediaProfile::Plain => MediaProfile::WebRtc,
                encrypted => encrypted,
            },
        }
    }

    fn hides_keys(&self, target: &Target) -> bool {
        let located = target.locate.as_ref().map(|ask| ask.fallback_transport());
        let transport = located.unwrap_or(target.reach.transport);
        matches!(transport, Transport::Tls | Transport::Wss) || self.config.keys_in_clear
    }

    /// What a target that refused `media` is offered next, if anything.
    pub(crate) fn media_after(
        &self,
        media: MediaProfile,
        rule: Option<Encryption>,
        target: &Target,
    ) -> Option<MediaProfile> {
        let clear = match rule {
            Some(rule) => rule == Encryption::Prefer,
            None => self.config.media_encryption == MediaEncryption::Preferred,
        };
        match media {
            // It does not agree on keys by itself: its leg is keyed by us, and so is the caller's.
            MediaProfile::EndToEnd => Some(target.media),
            // A phone on WebSocket that is no browser: its keys travel encrypted all the same.
            MediaProfile::WebRtc if rule.is_none() || self.hides_keys(target) => {
                Some(MediaProfile::Sdes)
            }
            MediaProfile::WebRtc | MediaProfile::Sdes if clear => Some(MediaProfile::Plain),
            _ => None,
        }
    }

    /// Whether a phone that refused what it was offered may be one that insists on ZRTP: the relay
    /// agrees on keys with it then, and says that it sits between (R5.3).
    pub(crate) fn mediated(
        &self,
        media: MediaProfile,
        rule: Option<Encryption>,
        target: &Target,
    ) -> Option<MediaProfile> {
        let phone = matches!(media, MediaProfile::Plain | MediaProfile::Sdes);
        let may = phone && target.peer.is_none() && rule != Some(Encryption::Forbid);
        may.then_some(MediaProfile::Mediated)
    }

    /// A request without the keys that came in clear beside RTP in clear (RFC 8643 §3.1): whoever
    /// read them on the way could read the media.
    pub(crate) fn without_clear_keys(&self, transport: Transport, request: Message) -> Message {
        let secure = matches!(transport, Transport::Tls | Transport::Wss);
        if secure || self.config.keys_in_clear {
            return request;
        }
        Self::without_keys(request)
    }

    /// A request without keys beside RTP in clear, where a rule forbids to encrypt.
    pub(crate) fn without_forbidden_keys(rule: Option<Encryption>, request: Message) -> Message {
        if rule == Some(Encryption::Forbid) { Self::without_keys(request) } else { request }
    }

    fn without_keys(request: Message) -> Message {
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

/// User and host of `sip:user@host`.
pub(crate) fn parts(aor: &str) -> (&str, &str) {
    let rest = aor.split_once(':').map_or(aor, |(_, rest)| rest);
    rest.rsplit_once('@').unwrap_or(("", rest))
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

/// Whether a description's first audio stream (its first stream, if it has no sound) is encrypted:
/// keys beside RTP in clear (RFC 8643) do not insist.
pub(crate) fn insists_on_encryption(sdp: &[u8]) -> bool {
    match offered_profile(sdp) {
        // Keys of the two ends cannot be taken off: they are agreed on by the media path.
        Some(MediaProfile::WebRtc | MediaProfile::EndToEnd) => true,
        Some(MediaProfile::Sdes) => insists_on_keys(sdp),
        _ => false,
    }
}

/// The profile of a description's first audio stream, or without one of its first stream: a fax or
/// a picture. The relay has nothing in clear beside what is encrypted. `None` without a stream:
/// nothing to encrypt.
pub(crate) fn offered_profile(sdp: &[u8]) -> Option<MediaProfile> {
    let first = if lines(sdp).any(is_audio) { is_audio } else { is_live };
    let mut lines = lines(sdp).skip_while(|line| !first(line));
    let proto = words(lines.next()?).nth(2)?.to_ascii_uppercase();
    let of_stream: Vec<&[u8]> = lines.take_while(|line| !line.starts_with(b"m=")).collect();
    let keyed = of_stream.iter().any(|line| is_key_line(line));
    let zrtp = of_stream.iter().any(|line| line.starts_with(b"a=zrtp-hash:"));
    let names = |part: &[u8]| proto.windows(part.len()).any(|window| window == part);
    Some(if names(b"TLS") {
        MediaProfile::WebRtc
    } else if keyed || names(b"SAVP") {
        MediaProfile::Sdes
    } else if zrtp {
        MediaProfile::EndToEnd
    } else {
        MediaProfile::Plain
    })
}

/// An audio line that is not rejected.
fn is_audio(line: &[u8]) -> bool {
    line.starts_with(b"m=audio ") && is_live(line)
}

/// An m-line that is not rejected (port 0, RFC 3264 §6).
fn is_live(line: &[u8]) -> bool {
    line.starts_with(b"m=") && words(line).nth(1).is_some_and(|port| port != b"0")
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
        let zrtp = "m=audio 4000 RTP/AVP 0\r\na=zrtp-hash:1.10 00ff\r\n";
        assert_eq!(profile(zrtp), Some(MediaProfile::EndToEnd));
        assert_eq!(profile(&format!("{osrtp}a=zrtp-hash:1.10 00ff\r\n")), Some(MediaProfile::Sdes));
        assert_eq!(profile("v=0\r\n"), None);
        let fax = "v=0\r\nm=audio 0 RTP/SAVP 0\r\nm=image 4000 udptl t38\r\n";
        assert_eq!(profile(fax), Some(MediaProfile::Plain), "a fax is in clear");
        assert_eq!(profile("m=video 4000 RTP/SAVPF 96\r\n"), Some(MediaProfile::Sdes));
    }
}
