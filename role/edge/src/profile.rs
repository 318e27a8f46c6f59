//! Peering profiles: how a kind of server wants to be spoken to, and how what it says is read.
//! They are data (`role/edge/profiles/*.toml`, `[profile.NAME]`), applied here.
//!
//! ```text
//!   out:  Request-URI, From, To ─ forms of numbers and hosts │ identity headers │ header rules │ SDP
//!   in:   header rules │ which header says who calls, and in which form its number is
//! ```

mod numbers;
mod speech;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use sip::HeaderName;
use std::collections::BTreeMap;

pub(crate) use speech::{Speech, codec_order};

/// `[profile.NAME]`: one of them. Every field has a default that changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// What it is for.
    pub description: String,
    /// Numbers in URIs: as they are, with `+`, or digits alone.
    pub number: NumberForm,
    /// URIs of numbers: `sip`, `user-phone` (`sip:..;user=phone`) or `tel` (in identity headers).
    pub uri: UriForm,
    /// The host of From: as it is, ours, or the peer's.
    pub from_host: HostForm,
    /// The host of To, likewise.
    pub to_host: HostForm,
    /// Whether From shows the identity that is asserted instead of what the phone wrote there.
    pub from_is_identity: bool,
    /// Which headers say who calls.
    pub identity: Vec<IdentityHeader>,
    /// What becomes of a caller that asks for privacy.
    pub privacy: PrivacyForm,
    /// Codecs offered, in this order, by their names in SDP; empty for all as they come.
    pub codecs: Vec<String>,
    /// Whether media before the answer passes.
    pub early_media: EarlyMedia,
    /// Whether session timers (RFC 4028) pass.
    pub session_timer: SessionTimer,
    /// Headers that go out even where topology is hidden.
    pub keep: Vec<String>,
    /// Headers changed on the way out.
    pub out: HeaderRules,
    /// Headers changed on the way in.
    #[serde(rename = "in")]
    pub inbound: HeaderRules,
    /// Which header says who calls, the first that is there; From otherwise.
    pub caller_from: Vec<IdentityHeader>,
    /// The country code for numbers in national form, `49`; they are left alone without one.
    pub country: String,
    /// The prefix of international numbers dialled without `+`.
    pub international_prefix: String,
    /// The prefix of national numbers.
    pub national_prefix: String,
    /// Digits without any prefix are a global number.
    pub bare_is_global: bool,
}

/// Numbers in URIs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberForm {
    /// As they are.
    #[default]
    AsIs,
    /// `+4930123456`.
    Plus,
    /// `4930123456`.
    Digits,
}

/// URIs of numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UriForm {
    /// `sip:NUMBER@HOST`.
    #[default]
    Sip,
    /// `sip:NUMBER@HOST;user=phone` (RFC 3261 §19.1.1).
    UserPhone,
    /// `tel:NUMBER` in identity headers, `;user=phone` elsewhere (RFC 3966).
    Tel,
}

/// Hosts of From and To.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostForm {
    /// As they are.
    #[default]
    AsIs,
    /// Our address as the peer sees it.
    Own,
    /// The peer's domain.
    Peer,
}

/// Headers that say who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityHeader {
    /// P-Asserted-Identity (RFC 3325).
    Pai,
    /// P-Preferred-Identity, for a server that takes us for a phone.
    Ppi,
    /// Remote-Party-ID, from before RFC 3325.
    Rpid,
    /// Diversion (RFC 5806): who forwarded.
    Diversion,
    /// From.
    From,
}

impl IdentityHeader {
    pub(crate) fn name(self) -> HeaderName<'static> {
        match self {
            Self::Pai => HeaderName::P_ASSERTED_IDENTITY,
            Self::Ppi => HeaderName::P_PREFERRED_IDENTITY,
            Self::Rpid => HeaderName::REMOTE_PARTY_ID,
            Self::Diversion => HeaderName::DIVERSION,
            Self::From => HeaderName::FROM,
        }
    }
}

/// A caller that asks for privacy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrivacyForm {
    /// `Privacy: id` goes out, From is what the phone wrote.
    #[default]
    Pass,
    /// From becomes anonymous, and `Privacy: id` goes out.
    AnonymousFrom,
}

/// Media before the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EarlyMedia {
    /// Passes.
    #[default]
    Pass,
    /// A 183 loses its description: the caller's phone rings by itself.
    Strip,
}

/// Session timers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionTimer {
    /// Pass.
    #[default]
    Pass,
    /// Are taken off, for servers that do them wrong.
    Strip,
}

/// Changes to headers, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderRules {
    /// Taken off.
    pub remove: Vec<String>,
    /// Given another name.
    pub rename: BTreeMap<String, String>,
    /// Given another value, where they are there.
    pub replace: BTreeMap<String, String>,
    /// Added, where they are not there.
    pub add: BTreeMap<String, String>,
}

/// What is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Nobody has written it.
    #[error("there is no profile '{name}'; built in are {}; others are [profile.NAME]", known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// It touches what SIP itself rests on, or what is no header.
    #[error("profile '{profile}': header '{header}' {why}")]
    Header {
        /// The profile.
        profile: String,
        /// The header.
        header: String,
        /// Why not.
        why: &'static str,
    },
    /// A built-in file does not read; a test keeps this from happening.
    #[error("profile '{0}' does not read: {1}")]
    Unreadable(String, String),
}

/// The built-in ones.
const BUILT_IN: [(&str, &str); 9] = [
    ("plain", include_str!("../profiles/plain.toml")),
    ("sipconnect", include_str!("../profiles/sipconnect.toml")),
    ("asterisk", include_str!("../profiles/asterisk.toml")),
    ("freeswitch", include_str!("../profiles/freeswitch.toml")),
    ("kamailio", include_str!("../profiles/kamailio.toml")),
    ("opensips", include_str!("../profiles/opensips.toml")),
    ("teams", include_str!("../profiles/teams.toml")),
    ("cucm", include_str!("../profiles/cucm.toml")),
    ("ims", include_str!("../profiles/ims.toml")),
];

/// Headers a rule may not touch: dialogs and transactions rest on them, or they have fields here.
const UNTOUCHABLE: [HeaderName<'static>; 14] = [
    HeaderName::VIA,
    HeaderName::FROM,
    HeaderName::TO,
    HeaderName::CALL_ID,
    HeaderName::CSEQ,
    HeaderName::CONTACT,
    HeaderName::ROUTE,
    HeaderName::RECORD_ROUTE,
    HeaderName::MAX_FORWARDS,
    HeaderName::CONTENT_LENGTH,
    HeaderName::CONTENT_TYPE,
    HeaderName::AUTHORIZATION,
    HeaderName::PROXY_AUTHORIZATION,
    HeaderName::SESSION_ID,
];

impl Profile {
    /// The profile of that name: the configuration's, else a built-in one.
    pub(crate) fn find(
        name: &str,
        configured: &BTreeMap<String, Self>,
    ) -> Result<Self, ProfileError> {
        let found = match configured.get(name) {
            Some(profile) => profile.clone(),
            None => {
                let known = || BUILT_IN.iter().map(|(name, _)| (*name).to_string()).collect();
                let (_, text) =
                    BUILT_IN.iter().find(|(built_in, _)| *built_in == name).ok_or_else(|| {
                        ProfileError::Unknown { name: name.to_string(), known: known() }
                    })?;
                toml::from_str(text).map_err(|error: toml::de::Error| {
                    ProfileError::Unreadable(name.to_string(), error.message().to_string())
                })?
            }
        };
        found.check(name)?;
        Ok(found)
    }

    fn check(&self, name: &str) -> Result<(), ProfileError> {
        let error = |header: &str, why| ProfileError::Header {
            profile: name.to_string(),
            header: header.to_string(),
            why,
        };
        for rules in [&self.out, &self.inbound] {
            let renamed = rules.rename.iter().flat_map(|(from, to)| [from, to]);
            let valued = rules.replace.iter().chain(&rules.add);
            let named = rules.remove.iter().chain(renamed).chain(valued.clone().map(|(n, _)| n));
            for header in named {
                let known = HeaderName::new(header.as_bytes());
                let known = known.ok_or_else(|| error(header, "is no header name"))?;
                if UNTOUCHABLE.contains(&known) {
                    return Err(error(header, "cannot be changed by a rule"));
                }
            }
            for (header, value) in valued {
                if value.chars().any(char::is_control) {
                    return Err(error(header, "has a value with control characters"));
                }
            }
        }
        Ok(())
    }
}
