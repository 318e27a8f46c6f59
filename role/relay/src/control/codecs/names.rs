//! Names of codecs in policies.

use super::Format;
use crate::CODEC_NAMES_MAX;
use crate::api::CodecPolicy;

/// Every audio codec.
const ALL: &str = "all";

/// The place of a format in a list of names: `PCMU`, or with its clock `telephone-event/8000`.
pub(super) fn position(names: &[String], format: &Format) -> Option<usize> {
    let is_it = |name: &String| {
        let mut parts = name.trim().split('/');
        let encoding = parts.next().unwrap_or_default();
        let clock = parts.next().map(str::parse::<u32>);
        encoding.eq_ignore_ascii_case(&format.map.encoding)
            && clock.is_none_or(|clock| clock == Ok(format.map.clock_rate))
    };
    names.iter().take(CODEC_NAMES_MAX).position(is_it)
}

pub(super) fn is_listed(names: &[String], format: &Format) -> bool {
    position(names, format).is_some()
}

/// Whether `all` in the list takes this format, which [`CodecPolicy::except`] does not spare.
pub(super) fn is_swept(names: &[String], policy: &CodecPolicy, format: &Format) -> bool {
    let all = names.iter().take(CODEC_NAMES_MAX).any(|n| n.trim().eq_ignore_ascii_case(ALL));
    all && format.is_audio() && !is_listed(&policy.except, format)
}
