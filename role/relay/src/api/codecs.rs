//! What is done with codecs and digits on their way to a side (R5.5, R5.6, R5.7).

use serde::{Deserialize, Serialize};

/// Names in one list beyond this many are not looked at.
pub const CODEC_NAMES_MAX: usize = 32;

/// Which codecs a side is offered, in which order, and which we translate for it.
///
/// Names are those of rtpmap lines, in any case: `opus`, `PCMU`. A name may carry a rate, which then
/// has to be equal: `telephone-event/8000`. `all` in [`CodecPolicy::strip`] and
/// [`CodecPolicy::mask`] is every audio codec; telephone events and comfort noise only go by name.
///
/// The default changes nothing: descriptions pass with their codecs as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodecPolicy {
    /// Not offered to this side, and not spoken with the other on this side's account.
    pub strip: Vec<String>,
    /// Stays although `strip` or `mask` says `all`.
    pub except: Vec<String>,
    /// If there are any, only these are offered.
    pub only: Vec<String>,
    /// These first and in this order; the others follow in the order that they had.
    pub prefer: Vec<String>,
    /// Not offered to this side, but spoken with the other: transcoded.
    pub mask: Vec<String>,
    /// Offered to this side in addition, and transcoded when it chooses no codec of the other's.
    /// Names of codecs that we do not have count for nothing.
    pub transcode: Vec<String>,
    /// The packet time this side is asked for, and sent by us where we transcode, in milliseconds:
    /// 10, 20, 30, 40 or 60.
    pub ptime_ms: Option<u32>,
    /// How this side sends and receives digits.
    pub dtmf: DtmfMode,
}

impl CodecPolicy {
    /// Whether descriptions and packets pass as they come.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a name in [`CodecPolicy::transcode`] is that of a codec we have.
    pub fn can_transcode(name: &str) -> bool {
        audio::CodecKind::from_encoding_name(name.trim()).is_some()
    }
}

/// How a side sends and receives keys pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DtmfMode {
    /// As the two sides agree; nothing is converted.
    #[default]
    Pass,
    /// RFC 4733 telephone events.
    Events,
    /// SIP INFO: see [`crate::RelayEvent::Digit`] and [`crate::Command::SendDigit`].
    Info,
    /// Tones in the sound (ITU-T Q.23).
    Inband,
}
