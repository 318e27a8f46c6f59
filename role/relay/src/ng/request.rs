//! What a controller asks: an NG message read into types. Flags we do not know are left alone, as
//! the protocol asks: a controller's version may be newer than ours.

use std::net::IpAddr;

use bytes::Bytes;

use super::recording::Recording;
use super::value::Value;
use crate::api::{CODEC_NAMES_MAX, CodecPolicy, Protocol};
use crate::dialect::{DtlsWish, IceWish, MuxWish};

/// The longest Call-ID, tag, branch or label that is remembered.
pub(super) const NAME_MAX: usize = 512;

/// A command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Ping,
    Offer,
    Answer,
    Delete,
    Query,
    List,
    Statistics,
    Switch(Switch, bool),
    Record(Recording),
    PlayMedia,
    StopMedia,
    PlayDigit,
    Subscribe,
    SubscribeAnswer,
    Unsubscribe,
}

/// What of a party's media can be turned off and on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Everything the party sends.
    Media,
    /// What it sends becomes silence.
    Sound,
    /// Its telephone events.
    Dtmf,
}

impl Verb {
    /// Reads a command's name. `None` for one that is not known.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ping" => Self::Ping,
            "offer" => Self::Offer,
            "answer" => Self::Answer,
            "delete" => Self::Delete,
            "query" => Self::Query,
            "list" => Self::List,
            "statistics" => Self::Statistics,
            "block media" => Self::Switch(Switch::Media, true),
            "unblock media" => Self::Switch(Switch::Media, false),
            "silence media" => Self::Switch(Switch::Sound, true),
            "unsilence media" => Self::Switch(Switch::Sound, false),
            "block DTMF" => Self::Switch(Switch::Dtmf, true),
            "unblock DTMF" => Self::Switch(Switch::Dtmf, false),
            "start recording" => Self::Record(Recording::Start),
            "pause recording" => Self::Record(Recording::Pause),
            "stop recording" => Self::Record(Recording::Stop),
            "play media" => Self::PlayMedia,
            "stop media" => Self::StopMedia,
            "play DTMF" => Self::PlayDigit,
            "subscribe request" => Self::Subscribe,
            "subscribe answer" => Self::SubscribeAnswer,
            "unsubscribe" => Self::Unsubscribe,
            _ => return None,
        })
    }
}

/// Who a command is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parties {
    pub call_id: Bytes,
    /// The tag of the one whose description it is (in an answer: of the one who offered).
    pub from_tag: Option<Bytes>,
    pub to_tag: Option<Bytes>,
    /// Tells forked branches apart that have no tag yet.
    pub via_branch: Option<Bytes>,
    pub label: Option<Bytes>,
    /// The address of the one meant, where a tag is not given.
    pub address: Option<IpAddr>,
    /// Everyone in the call is meant.
    pub all: bool,
}

/// How the description for the other side shall be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Names of interfaces: toward the one who sent the description, toward the other.
    pub direction: Option<(String, String)>,
    pub transport: Option<String>,
    pub ice: IceWish,
    pub mux: MuxWish,
    pub dtls: DtlsWish,
    pub sdes_off: bool,
    pub replace_origin: bool,
    pub no_rtcp_attribute: bool,
    /// The address the SIP message came from.
    pub received_from: Option<IpAddr>,
    /// The address in SDP is to be believed, whatever the message's source.
    pub trust_address: bool,
    pub delete_delay: Option<u64>,
    /// What is done with codecs on the way to the other side.
    pub codecs: CodecPolicy,
    /// The call is recorded from now on, or no more.
    pub record: Option<bool>,
}

impl Wishes {
    /// How media is keyed toward the other side: as `transport` says, else as the offer was.
    pub fn protocol(&self, offered: Protocol) -> Protocol {
        let Some(transport) = &self.transport else { return offered };
        let transport = transport.to_ascii_uppercase();
        match (transport.contains("TLS"), transport.contains("SAVP")) {
            (true, _) => Protocol::WebRtc,
            (false, true) if self.sdes_off => Protocol::WebRtc,
            (false, true) => Protocol::Srtp,
            (false, false) => Protocol::Rtp,
        }
    }
}

/// A whole request.
#[derive(Debug, Clone)]
pub struct Request {
    pub parties: Parties,
    pub sdp: Option<Bytes>,
    pub wishes: Wishes,
    /// Of `list`: how many.
    pub limit: Option<usize>,
}

/// What is wrong with a request, in words for the controller's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("No call-id in message")]
    NoCallId,
    #[error("No from-tag in message")]
    NoFromTag,
    #[error("No to-tag in message")]
    NoToTag,
    #[error("No SDP body in message")]
    NoSdp,
    #[error("{0} is longer than {NAME_MAX} bytes")]
    TooLong(&'static str),
}

impl Request {
    /// Reads what a message says beside its command.
    ///
    /// # Errors
    /// When a name is too long to be remembered.
    pub fn read(message: &Value) -> Result<Self, RequestError> {
        let mut wishes = Wishes { ice: IceWish::AsOffered, ..Wishes::default() };
        wishes.mux.as_offered = true;
        for (key, value) in message.entries() {
            let Ok(key) = std::str::from_utf8(key) else { continue };
            wishes.take(&key.replace(['_', ' '], "-"), value);
        }
        let flags = message.get("flags");
        let all = flags.is_some_and(|f| f.words().any(|w| w == "all"))
            || message.get("all").and_then(Value::str).is_some_and(|all| all != "none");
        Ok(Self {
            parties: Parties {
                call_id: name(message, "call-id")?.unwrap_or_default(),
                from_tag: name(message, "from-tag")?,
                to_tag: name(message, "to-tag")?.filter(|tag| !tag.is_empty()),
                via_branch: name(message, "via-branch")?.filter(|branch| !branch.is_empty()),
                label: name(message, "label")?.or(name(message, "from-label")?),
                address: message.get("address").and_then(Value::str).and_then(|a| a.parse().ok()),
                all,
            },
            sdp: message.get("sdp").and_then(Value::bytes).cloned(),
            wishes,
            limit: message.get("limit").and_then(Value::number).and_then(|n| n.try_into().ok()),
        })
    }
}

fn name(message: &Value, key: &'static str) -> Result<Option<Bytes>, RequestError> {
    let Some(bytes) = message.get(key).and_then(Value::bytes) else { return Ok(None) };
    if bytes.len() > NAME_MAX {
        return Err(RequestError::TooLong(key));
    }
    // A copy: the request's buffer would be kept by a slice of it.
    Ok(Some(Bytes::copy_from_slice(bytes)))
}

impl Wishes {
    fn take(&mut self, key: &str, value: &Value) {
        match key {
            "flags" => value.words().for_each(|flag| self.take_flag(flag)),
            "replace" => value.words().for_each(|what| self.replace_origin |= what == "origin"),
            "direction" => {
                let mut words = value.words();
                if let (Some(from), Some(toward)) = (words.next(), words.next()) {
                    self.direction = Some((from.to_owned(), toward.to_owned()));
                }
            }
            "transport-protocol" => self.transport = value.str().map(str::to_owned),
            "ICE" => self.ice = ice(value.str().unwrap_or_default()),
            "rtcp-mux" => value.words().for_each(|word| self.take_mux(word)),
            "DTLS" => self.dtls = dtls(value.str().unwrap_or_default()),
            "SDES" => value
                .words()
                .for_each(|word| self.sdes_off |= matches!(word, "off" | "no" | "disable")),
            "received-from" => self.received_from = received_from(value),
            "codec" => value.entries().iter().for_each(|(verb, names)| {
                let verb = std::str::from_utf8(verb).unwrap_or_default();
                names.words().for_each(|name| self.take_codec(verb, name));
            }),
            "ptime" => {
                self.codecs.ptime_ms = value.number().and_then(|n| n.try_into().ok());
            }
            "record-call" => match value.str().unwrap_or_default() {
                "yes" | "on" | "1" | "true" => self.record = Some(true),
                "no" | "off" | "0" | "false" => self.record = Some(false),
                _ => {}
            },
            "delete-delay" => self.delete_delay = value.number().and_then(|n| n.try_into().ok()),
            _ => {}
        }
    }

    /// Flags may stand for keys of their own: `ICE=remove`, `rtcp-mux-demux`, `SDES-off`.
    fn take_flag(&mut self, flag: &str) {
        let plain = flag.replace(['_', ' '], "-");
        match plain.as_str() {
            "trust-address" => self.trust_address = true,
            "no-rtcp-attribute" => self.no_rtcp_attribute = true,
            "replace-origin" => self.replace_origin = true,
            "record-call" => self.record = Some(true),
            _ => {
                if let Some((key, word)) = plain.split_once('=') {
                    self.take(key, &Value::text(word));
                } else if let Some(word) = plain.strip_prefix("rtcp-mux-") {
                    self.take_mux(word);
                } else if let Some((verb, name)) =
                    plain.strip_prefix("codec-").and_then(|rest| rest.split_once('-'))
                {
                    self.take_codec(verb, name);
                } else if let Some(word) = plain.strip_prefix("SDES-") {
                    self.take("SDES", &Value::text(word));
                }
            }
        }
    }

    /// A codec may carry options behind its clock rate (`opus/48000/2///maxaveragebitrate=…`), which
    /// are not taken.
    fn take_codec(&mut self, verb: &str, name: &str) {
        let end = name.match_indices('/').nth(1).map_or(name.len(), |(at, _)| at);
        let name = if name == "full" { "all" } else { &name[..end] };
        let codecs = &mut self.codecs;
        let lists: &mut [&mut Vec<String>] = match verb {
            "strip" => &mut [&mut codecs.strip],
            "except" => &mut [&mut codecs.except],
            "offer" => &mut [&mut codecs.except, &mut codecs.prefer],
            "transcode" | "set" => &mut [&mut codecs.transcode],
            "mask" | "consume" => &mut [&mut codecs.mask],
            _ => return,
        };
        for list in lists.iter_mut().filter(|list| list.len() < CODEC_NAMES_MAX) {
            list.push(name.to_owned());
        }
    }

    fn take_mux(&mut self, word: &str) {
        match word {
            "offer" => self.mux.offer = true,
            "require" => self.mux.offer = true,
            "demux" => self.mux.demux = true,
            "accept" => self.mux.accept = true,
            "reject" => self.mux.reject = true,
            _ => {}
        }
    }
}

fn ice(word: &str) -> IceWish {
    match word.to_ascii_lowercase().as_str() {
        "remove" => IceWish::Remove,
        "force" | "force-relay" | "force relay" => IceWish::Force,
        _ => IceWish::AsOffered,
    }
}

fn dtls(word: &str) -> DtlsWish {
    match word.to_ascii_lowercase().as_str() {
        "off" | "no" | "disable" => DtlsWish::Off,
        "passive" => DtlsWish::Passive,
        "active" => DtlsWish::Active,
        _ => DtlsWish::Any,
    }
}

/// `["IP4", "192.0.2.1"]`, or the address alone.
fn received_from(value: &Value) -> Option<IpAddr> {
    value.words().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(entries: Vec<(&str, Value)>) -> Request {
        Request::read(&Value::dictionary(entries)).unwrap()
    }

    #[test]
    fn flags_are_read_as_controllers_write_them() {
        let wishes = request(vec![
            ("ICE", Value::text("remove")),
            ("DTLS", Value::text("off")),
            ("SDES", Value::texts(["off"])),
            ("flags", Value::texts(["trust-address", "never heard of", "no rtcp attribute"])),
            ("rtcp-mux", Value::texts(["offer", "demux"])),
            ("replace", Value::texts(["origin", "session-connection"])),
            ("direction", Value::texts(["internal", "external"])),
            ("received-from", Value::texts(["IP4", "192.0.2.9"])),
            ("transport-protocol", Value::text("RTP/SAVPF")),
            ("delete-delay", Value::Integer(0)),
        ])
        .wishes;
        assert_eq!(
            (wishes.ice, wishes.dtls, wishes.sdes_off),
            (IceWish::Remove, DtlsWish::Off, true)
        );
        assert!(wishes.trust_address && wishes.no_rtcp_attribute && wishes.replace_origin);
        assert!(wishes.mux.offer && wishes.mux.demux && !wishes.mux.accept);
        assert_eq!(wishes.direction, Some(("internal".into(), "external".into())));
        assert_eq!(wishes.received_from, Some([192, 0, 2, 9].into()));
        assert_eq!(wishes.protocol(Protocol::Rtp), Protocol::WebRtc, "SRTP without SDES is DTLS");
        assert_eq!(wishes.delete_delay, Some(0));
    }

    #[test]
    fn keys_may_stand_among_the_flags() {
        let flags = Value::texts(["ICE=force", "rtcp-mux-accept", "SDES-off", "replace-origin"]);
        let wishes = request(vec![("flags", flags)]).wishes;
        assert_eq!(wishes.ice, IceWish::Force);
        assert!(wishes.mux.accept && wishes.sdes_off && wishes.replace_origin);
    }

    #[test]
    fn codecs_are_read_from_their_dictionary_and_from_flags() {
        let codec = Value::dictionary([
            ("mask", Value::texts(["PCMU"])),
            ("transcode", Value::texts(["opus/48000/2///stereo=1"])),
        ]);
        let flags = Value::texts(["codec-strip-all", "codec-offer-PCMA", "codec-never-G729"]);
        let codecs = request(vec![("codec", codec), ("flags", flags)]).wishes.codecs;
        assert_eq!(
            (&codecs.mask[..], &codecs.transcode[..]),
            (&["PCMU".into()][..], &["opus/48000".into()][..])
        );
        assert_eq!(
            (&codecs.strip[..], &codecs.except[..]),
            (&["all".into()][..], &["PCMA".into()][..])
        );
        assert_eq!(codecs.prefer, ["PCMA"]);
    }

    #[test]
    fn names_are_limited() {
        let long = Value::text("x".repeat(NAME_MAX + 1));
        let refused = Request::read(&Value::dictionary([("call-id", long)]));
        assert_eq!(refused.unwrap_err(), RequestError::TooLong("call-id"));
    }
}
