//! Whose offers must speak ICE (R6.3): `[[edge.ice]]`.
//!
//! An offer is of the class of the account that sends it. What it says later in the call is taken as
//! it comes: who began with ICE has its ways already.

use crate::core::EdgeCore;
use crate::encryption::refusal;
use crate::media_policy::parts;
use crate::ports::Refusal;
use serde::Deserialize;

/// `[[edge.ice]]`: whom it concerns, and what becomes of their offers without ICE. Of several that fit
/// the most particular holds: the one with a user, then one with a tenant, then one that names
/// nobody and is for everybody.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceRule {
    /// Users of this tenant's domain.
    #[serde(default)]
    pub tenant: Option<String>,
    /// This user of the tenant.
    #[serde(default)]
    pub user: Option<String>,
    /// `refuse` or `relay`.
    pub without: WithoutIce,
}

/// What becomes of a call whose offer has no ICE candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutIce {
    /// 488.
    Refuse,
    /// Its media goes through the relay, whatever `edge.media_anchor` says.
    Relay,
}

impl IceRule {
    fn fits(&self, user: &str, domain: &str) -> bool {
        let tenant = self.tenant.as_deref().is_none_or(|t| t.eq_ignore_ascii_case(domain));
        tenant && self.user.as_deref().is_none_or(|u| u == user)
    }

    /// Why it makes no sense, if it does not: the field, and what would do.
    pub(crate) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let alone = self.user.is_some() && self.tenant.is_none();
        let wanted = "the tenant beside it: two tenants may have a user of one name";
        alone.then_some(("user", wanted))
    }
}

impl EdgeCore {
    /// What holds for offers of this caller, if there is a rule; peers are no accounts.
    pub(crate) fn without_ice(
        &self,
        sdp: Option<&[u8]>,
        (caller, peer): (&str, Option<u16>),
    ) -> Option<WithoutIce> {
        let rules = &self.config.ice;
        if rules.is_empty() || peer.is_some() || sdp.is_none_or(offers_ice) {
            return None;
        }
        let (user, domain) = parts(caller);
        let realm = self.directory.realm(domain);
        let domain = realm.as_deref().unwrap_or(domain);
        let rank = |rule: &&IceRule| (rule.user.is_some(), rule.tenant.is_some());
        // Of two alike the first.
        let fitting = rules.iter().rev().filter(|rule| rule.fits(user, domain));
        fitting.max_by_key(rank).map(|rule| rule.without)
    }

    /// Refuses an offer without ICE where a rule demands it.
    pub(crate) fn check_ice(
        &self,
        sdp: Option<&[u8]>,
        caller: (&str, Option<u16>),
    ) -> Result<(), Refusal> {
        match self.without_ice(sdp, caller) {
            Some(WithoutIce::Refuse) => {
                let text = "offer ICE candidates: a rule of [[edge.ice]] asks it";
                Err(refusal("ICE Required", text))
            }
            Some(WithoutIce::Relay) | None => Ok(()),
        }
    }
}

/// Whether a description has what ICE needs: credentials, and a candidate unless they trickle
/// (RFC 8838).
fn offers_ice(sdp: &[u8]) -> bool {
    let has = |words: &[u8]| memchr::memmem::find(sdp, words).is_some();
    let trickles = has(b"a=ice-options:") && has(b"trickle");
    has(b"a=ice-ufrag:") && has(b"a=ice-pwd:") && (has(b"a=candidate:") || trickles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_3_ice_is_offered_by_credentials_and_candidates_or_by_those_to_come() {
        let ice = "m=audio 4000 RTP/AVP 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:x\r\n";
        assert!(!offers_ice(ice.as_bytes()), "nowhere to check");
        let candidate = format!("{ice}a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\r\n");
        assert!(offers_ice(candidate.as_bytes()));
        assert!(offers_ice(format!("{ice}a=ice-options:trickle\r\n").as_bytes()));
        assert!(!offers_ice(b"m=audio 4000 RTP/AVP 0\r\n"));
    }
}
