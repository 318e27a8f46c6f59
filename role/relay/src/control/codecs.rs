//! Codecs of a description on its way: what the other side is offered, what the offerer is
//! answered, and what has to be done with packets because of it (R5.5, R5.6).
//!
//! ```text
//!   offer   [111 opus]            ── strip, only, mask, prefer, transcode ──►   [111 opus, 0 PCMU]
//!   answer  [111 opus]  ◄── common codec: it passes ──────────────────────────  [0 PCMU] ?
//!                       ◄── no common codec: the offerer's first that we have, transcoded
//! ```

mod agreement;
mod names;

use audio::CodecKind;
use sdp::{MediaLine, RtpMap};

use crate::RelayError;
use crate::api::{CodecPolicy, DtmfMode};
pub(super) use agreement::Agreement;
use names::{is_listed, is_swept};

/// Dynamic payload types, in the order we give them out (RFC 3551 §6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
/// All DTMF digits (RFC 4733 §2.4.1).
const EVENTS_FMTP: &str = "0-15";

/// A format of an m-line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub map: RtpMap,
    fmtp: Option<String>,
    /// We put it there; the offerer does not know it.
    pub added: bool,
}

impl Format {
    pub(super) fn is_events(&self) -> bool {
        self.map.encoding.eq_ignore_ascii_case("telephone-event")
    }

    pub(super) fn is_noise(&self) -> bool {
        self.map.encoding.eq_ignore_ascii_case("CN")
    }

    pub(super) fn is_audio(&self) -> bool {
        !self.is_events() && !self.is_noise()
    }

    /// The codec, if it is one that we can speak.
    pub(super) fn kind(&self) -> Option<CodecKind> {
        let kind = CodecKind::from_encoding_name(&self.map.encoding)?;
        (kind.clock_rate() == self.map.clock_rate).then_some(kind)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.map.encoding.eq_ignore_ascii_case(&other.map.encoding)
            && self.map.clock_rate == other.map.clock_rate
    }
}

/// The formats of an m-line, in its order.
pub(super) fn formats(media: &MediaLine) -> Vec<Format> {
    let format = |number: u8| {
        let map = media.rtpmap(number)?;
        let fmtp = media.fmtp(number).map(|fmtp| fmtp.params);
        Some(Format { map, fmtp, added: false })
    };
    media.payload_types().filter_map(format).take(64).collect()
}

/// An offer's codecs, as they came and as they left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    /// What the offerer said.
    pub theirs: Vec<Format>,
    /// Those of them that may be spoken with it, masked ones included.
    pub usable: Vec<Format>,
    /// What the other side was told.
    pub ours: Vec<Format>,
    /// The packet time that the offerer asks for.
    pub ptime_ms: Option<u32>,
    /// The longest it takes (RFC 8866 §6.4), if it says so.
    pub ptime_ms_max: Option<u32>,
}

/// An offer of ours, until it is answered: its codecs and the policies of both sides.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    offered: Offered,
    offerer: CodecPolicy,
    answerer: CodecPolicy,
}

impl Offer {
    pub(super) fn new(
        offered: Option<Offered>,
        offerer: &CodecPolicy,
        answerer: &CodecPolicy,
    ) -> Option<Box<Self>> {
        let (offerer, answerer) = (offerer.clone(), answerer.clone());
        offered.map(|offered| Box::new(Self { offered, offerer, answerer }))
    }

    pub(super) fn agree(&self, media: &mut MediaLine) -> Result<Agreement, RelayError> {
        Agreement::write(media, &self.offered, &self.answerer, &self.offerer)
    }
}

/// Writes the codecs of an offer for the side with the policy `toward`. `None` when nothing is
/// changed, and packets will pass as they are.
pub(super) fn write_offer(
    media: &mut MediaLine,
    from: &CodecPolicy,
    toward: &CodecPolicy,
) -> Result<Option<Offered>, RelayError> {
    if from.is_default() && toward.is_default() {
        return Ok(None);
    }
    let theirs = formats(media);
    let usable: Vec<Format> =
        theirs.iter().filter(|f| passes(from, f) && passes(toward, f)).cloned().collect();
    let is_masked = |f: &Format| is_listed(&toward.mask, f) || is_swept(&toward.mask, toward, f);
    let mut ours: Vec<Format> = usable.iter().filter(|f| !is_masked(f)).cloned().collect();
    add_codecs(&mut ours, &theirs, &usable, toward);
    match toward.dtmf {
        DtmfMode::Info | DtmfMode::Inband => ours.retain(|f| !f.is_events()),
        DtmfMode::Events => add_events(&mut ours, &theirs, true),
        DtmfMode::Pass => {
            let has_events = usable.iter().any(Format::is_events);
            add_events(&mut ours, &theirs, has_events);
        }
    }
    if !ours.iter().any(Format::is_audio) {
        return Err(RelayError::NoCodec);
    }
    prefer(&mut ours, toward);
    let (ptime_ms, ptime_ms_max) = (media.ptime_ms(), max_ptime(media));
    write_formats(media, &ours);
    write_ptime(media, toward.ptime_ms);
    Ok(Some(Offered { theirs, usable, ours, ptime_ms, ptime_ms_max }))
}

/// Whether a policy lets a format through at all.
fn passes(policy: &CodecPolicy, format: &Format) -> bool {
    let stripped = is_listed(&policy.strip, format) || is_swept(&policy.strip, policy, format);
    let among = policy.only.is_empty() || !format.is_audio() || is_listed(&policy.only, format);
    !stripped && among
}

/// Codecs that we would translate for this side, unless nothing of the offerer's can be.
fn add_codecs(ours: &mut Vec<Format>, theirs: &[Format], usable: &[Format], toward: &CodecPolicy) {
    if !usable.iter().any(|f| f.kind().is_some()) {
        return;
    }
    for name in toward.transcode.iter().take(crate::CODEC_NAMES_MAX) {
        let encoding = name.split('/').next().unwrap_or(name);
        let Some(kind) = CodecKind::from_encoding_name(encoding) else { continue };
        if ours.iter().any(|f| f.kind() == Some(kind)) {
            continue;
        }
        let number = kind.static_payload_type().filter(|n| is_free(*n, ours, theirs));
        let Some(number) = number.or_else(|| free_number(ours, theirs)) else { return };
        let map = RtpMap {
            payload_type: number,
            encoding: kind.encoding_name().to_owned(),
            clock_rate: kind.clock_rate(),
            channels: kind.rtpmap_channels(),
        };
        let fmtp = kind.format_parameters().map(str::to_owned);
        let events = ours.iter().position(|f| !f.is_audio()).unwrap_or(ours.len());
        ours.insert(events, Format { map, fmtp, added: true });
    }
}

/// Events at the clock of each codec offered (RFC 4733 §2.1), where events are wanted.
fn add_events(ours: &mut Vec<Format>, theirs: &[Format], wanted: bool) {
    if !wanted {
        return;
    }
    // What the offerer has at its own clock is left as it is: only codecs of ours need more.
    let any = ours.iter().any(Format::is_events);
    let mut clocks: Vec<u32> = ours
        .iter()
        .filter(|f| f.is_audio() && (f.added || !any))
        .map(|f| f.map.clock_rate)
        .collect();
    clocks.dedup();
    for clock_rate in clocks {
        if ours.iter().any(|f| f.is_events() && f.map.clock_rate == clock_rate) {
            continue;
        }
        let Some(payload_type) = free_number(ours, theirs) else { return };
        let encoding = "telephone-event".to_owned();
        let map = RtpMap { payload_type, encoding, clock_rate, channels: 1 };
        ours.push(Format { map, fmtp: Some(EVENTS_FMTP.to_owned()), added: true });
    }
}

/// Puts what is preferred first, in the order of preference; the rest keeps its order.
fn prefer(ours: &mut [Format], toward: &CodecPolicy) {
    let list = if toward.prefer.is_empty() { &toward.only } else { &toward.prefer };
    ours.sort_by_key(|f| names::position(list, f).unwrap_or(usize::MAX));
}

fn is_free(number: u8, ours: &[Format], theirs: &[Format]) -> bool {
    ours.iter().chain(theirs).all(|f| f.map.payload_type != number)
}

fn free_number(ours: &[Format], theirs: &[Format]) -> Option<u8> {
    DYNAMIC.into_iter().find(|number| is_free(*number, ours, theirs))
}

/// Sets the formats of an m-line; lines of formats that stay are left as they were.
pub(super) fn write_formats(media: &mut MediaLine, formats: &[Format]) {
    let numbers: Vec<String> = formats.iter().map(|f| f.map.payload_type.to_string()).collect();
    let before: Vec<u8> = media.payload_types().collect();
    let stays = |value: Option<&str>| {
        let number = value.and_then(|v| v.split_ascii_whitespace().next());
        // `rtcp-fb:*` concerns all.
        number.is_none_or(|n| n == "*" || numbers.iter().any(|kept| kept == n))
    };
    media.retain_attributes(|name, value| {
        !matches!(name, "rtpmap" | "fmtp" | "rtcp-fb") || stays(value)
    });
    media.set_formats(&numbers.iter().map(String::as_str).collect::<Vec<_>>());
    for format in formats {
        if before.contains(&format.map.payload_type) {
            continue;
        }
        media.add_attribute("rtpmap", Some(&format.map.to_string()));
        if let Some(fmtp) = &format.fmtp {
            media.add_attribute("fmtp", Some(&format!("{} {fmtp}", format.map.payload_type)));
        }
    }
}

/// `a=maxptime`, in milliseconds.
pub(super) fn max_ptime(media: &MediaLine) -> Option<u32> {
    media.attribute("maxptime")?.trim().parse().ok().filter(|ms| (1..=200).contains(ms))
}

pub(super) fn write_ptime(media: &mut MediaLine, ptime_ms: Option<u32>) {
    if let Some(ms) = ptime_ms.filter(|ms| media::transcode::PTIMES_MS.contains(ms)) {
        media.remove_attributes("maxptime");
        media.set_attribute("ptime", Some(&ms.to_string()));
    }
}
