//! Whose media must, should or must not be encrypted (R5.2): `[[edge.encryption]]`.
//!
//! ```text
//!   caller ─── leg ───► relay ─── leg ───► phone or peer
//!      └─ the rule that fits it best           └─ the rule that fits it best
//!                 and what either's rule with every_leg asks of the other
//! ```
//!
//! Without a rule a leg is as `edge.media_encryption` and its transport say.

use crate::ports::Refusal;
use serde::Deserialize;

/// Most rules; more are a job for a tenant's own settings.
pub const RULES_MAX: usize = 1_000;

/// `[[edge.encryption]]`: whom it concerns, and what holds for their media. All that is named must
/// fit; of several rules that fit the most particular holds: the one with a user, then the one with
/// the longest number, then a peer, then a tenant. One that names nothing fits everybody.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionRule {
    /// Users of this tenant's domain, whichever phone they use.
    #[serde(default)]
    pub tenant: Option<String>,
    /// This user.
    #[serde(default)]
    pub user: Option<String>,
    /// Whose address begins so: whoever is called by such a number, user or behind a peer, and whoever
    /// calls with one for its name.
    #[serde(default)]
    pub number: Option<String>,
    /// This `[[peer]]`.
    #[serde(default)]
    pub peer: Option<String>,
    /// `require`, `prefer` or `forbid`.
    pub media: Encryption,
    /// With `require`: the other leg of their calls, too.
    #[serde(default)]
    pub every_leg: bool,
}

/// What holds for the media of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Encrypted, or no call: 488. Where keys in SDP would cross the network in clear, DTLS-SRTP.
    Require,
    /// Encrypted where the other can, else in clear.
    Prefer,
    /// In clear, or no call: 488.
    Forbid,
}

/// One end of a leg: the user and its tenant's domain, the number it is called by, and the peer it
/// lies behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LegEnd<'a> {
    pub user: &'a str,
    pub domain: &'a str,
    pub number: &'a str,
    pub peer: Option<&'a str>,
}

impl EncryptionRule {
    fn fits(&self, end: &LegEnd<'_>) -> bool {
        let same = |rule: &Option<String>, value: Option<&str>| {
            rule.as_deref().is_none_or(|r| value.is_some_and(|v| r.eq_ignore_ascii_case(v)))
        };
        // Who lies behind a peer is no user of a tenant, whatever its address says.
        let domain = Some(end.domain).filter(|_| end.peer.is_none());
        let user = self.user.as_deref().is_none_or(|u| u == end.user && end.peer.is_none());
        let number = self.number.as_deref().is_none_or(|n| end.number.starts_with(n));
        same(&self.tenant, domain) && same(&self.peer, end.peer) && user && number
    }

    fn rank(&self) -> (bool, usize, bool, bool) {
        let number = self.number.as_ref().map_or(0, |n| n.len());
        (self.user.is_some(), number, self.peer.is_some(), self.tenant.is_some())
    }

    /// Why it makes no sense, if it does not: the field, and what would do.
    pub(crate) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let digits = |n: &String| {
            let rest = n.strip_prefix('+').unwrap_or(n);
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
        };
        if self.user.is_some() && self.tenant.is_none() {
            return Some(("user", "the tenant beside it: two tenants may have a user of one name"));
        }
        if self.peer.is_some() && (self.tenant.is_some() || self.user.is_some()) {
            return Some(("peer", "a rule of its own: a peer is no user of a tenant"));
        }
        if self.number.as_ref().is_some_and(|n| !digits(n)) {
            return Some((
                "number",
                "the beginning of a number: digits, a plus before them or not",
            ));
        }
        if self.every_leg && self.media != Encryption::Require {
            return Some(("every_leg", "media = \"require\" beside it"));
        }
        None
    }
}

/// The rule for one end: of those that fit the most particular, of two alike the first.
fn rule_for<'r>(rules: &'r [EncryptionRule], end: &LegEnd<'_>) -> Option<&'r EncryptionRule> {
    rules.iter().rev().filter(|rule| rule.fits(end)).max_by_key(|rule| rule.rank())
}

/// What holds for the leg to `end` of a call whose other end is `other`.
///
/// # Errors
/// 488 when one rule forbids what another requires.
pub(crate) fn leg(
    rules: &[EncryptionRule],
    end: &LegEnd<'_>,
    other: &LegEnd<'_>,
) -> Result<Option<Encryption>, Refusal> {
    let own = rule_for(rules, end).map(|rule| rule.media);
    if !rule_for(rules, other).is_some_and(|rule| rule.every_leg) {
        return Ok(own);
    }
    if own == Some(Encryption::Forbid) {
        let why = "one [[edge.encryption]] rule requires encryption on every leg, another forbids";
        return Err(refusal("Encryption Required And Forbidden", why));
    }
    Ok(Some(Encryption::Require))
}

/// 488 with its reason, for people and for programs.
pub(crate) fn refusal(reason: &str, text: &str) -> Refusal {
    Refusal {
        status: 488,
        reason: reason.into(),
        headers: vec![
            ("Warning", format!("399 whimbrel \"{text}\"")),
            ("Reason", format!("SIP;cause=488;text=\"{}\"", reason.to_ascii_lowercase())),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(media: Encryption) -> EncryptionRule {
        let none = || None;
        let (tenant, user, number, peer) = (none(), none(), none(), none());
        EncryptionRule { tenant, user, number, peer, media, every_leg: false }
    }

    fn end<'a>(user: &'a str, domain: &'a str, peer: Option<&'a str>) -> LegEnd<'a> {
        LegEnd { user, domain, number: user, peer }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn the_most_particular_rule_that_fits_holds() {
        use Encryption::{Forbid, Prefer, Require};
        let rules = [
            rule(Prefer),
            EncryptionRule { tenant: some("bank.example"), ..rule(Require) },
            EncryptionRule { tenant: some("bank.example"), user: some("fax"), ..rule(Forbid) },
            EncryptionRule { number: some("+49"), ..rule(Forbid) },
            EncryptionRule { number: some("+4930"), ..rule(Require) },
            EncryptionRule { peer: some("carrier"), ..rule(Forbid) },
        ];
        let other = end("x", "elsewhere.example", Some("none"));
        for (who, expected) in [
            (end("alice", "bank.example", None), Require),
            (end("alice", "BANK.example", None), Require),
            (end("fax", "bank.example", None), Forbid),
            (end("alice", "shop.example", None), Prefer),
            (end("+4940123", "shop.example", None), Forbid),
            (end("+4930123", "bank.example", None), Require),
            (end("+1555", "carrier.example", Some("carrier")), Forbid),
            (end("+4930123", "carrier.example", Some("carrier")), Require),
            (end("fax", "bank.example", Some("imposter")), Prefer),
        ] {
            assert_eq!(leg(&rules, &who, &other), Ok(Some(expected)), "{who:?}");
        }
        assert_eq!(leg(&[], &other, &other), Ok(None));
    }

    #[test]
    fn every_leg_reaches_the_other_end_and_meets_a_ban() {
        let regulated = EncryptionRule {
            tenant: some("bank.example"),
            every_leg: true,
            ..rule(Encryption::Require)
        };
        let clear = EncryptionRule { peer: some("old"), ..rule(Encryption::Forbid) };
        let rules = [regulated, clear];
        let (bank, shop) = (end("a", "bank.example", None), end("b", "shop.example", None));
        assert_eq!(leg(&rules, &shop, &bank), Ok(Some(Encryption::Require)));
        assert_eq!(leg(&rules, &shop, &shop), Ok(None));
        let old = end("c", "old.example", Some("old"));
        let refused = leg(&rules, &old, &bank).unwrap_err();
        assert_eq!(
            (refused.status, refused.reason.as_str()),
            (488, "Encryption Required And Forbidden")
        );
        assert_eq!(leg(&rules, &old, &shop), Ok(Some(Encryption::Forbid)));
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_told() {
        let fault = |rule: EncryptionRule| rule.fault().map(|(field, _)| field);
        let base = || rule(Encryption::Prefer);
        assert_eq!(fault(base()), None);
        assert_eq!(fault(EncryptionRule { user: some("a"), ..base() }), Some("user"));
        assert_eq!(fault(EncryptionRule { number: some("49-30"), ..base() }), Some("number"));
        let both = EncryptionRule { tenant: some("t"), peer: some("p"), ..base() };
        assert_eq!(fault(both), Some("peer"));
        assert_eq!(fault(EncryptionRule { every_leg: true, ..base() }), Some("every_leg"));
    }
}
