//! Trust zones: where a message comes from, and which methods are welcome from there (RFC 6665 §5,
//! RFC 7614).
//!
//! ```text
//!   source ─► Zone ┐
//!   method ────────┼─► Verdict: allow · refuse · redirect · rewrite
//!   To tag? ───────┘   one load from a flat array, built when the configuration is read
//! ```

use serde::Deserialize;
use sip::Method;
use std::collections::BTreeMap;

/// How far whoever sent a message is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zone {
    /// A user agent: proves who it is with each request.
    #[default]
    Phone,
    /// A carrier, gateway or other company's server: known by its address, trusted for what it says
    /// of its own callers.
    Peer,
    /// A server of our own behind the edge.
    Internal,
}

/// `[edge.methods]`: changes to the table of methods, by zone and method.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MethodRules {
    /// Of phones.
    pub phone: BTreeMap<String, MethodRule>,
    /// Of peers.
    pub peer: BTreeMap<String, MethodRule>,
    /// Of our own servers.
    pub internal: BTreeMap<String, MethodRule>,
}

/// What becomes of one method: `allow`, `refuse STATUS`, `redirect URI` (302) or `rewrite URI` (goes
/// there instead); the last two outside of dialogs only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MethodRule {
    /// Outside of dialogs.
    pub initial: Option<String>,
    /// Inside a dialog.
    pub in_dialog: Option<String>,
}

/// A rule that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("edge.methods.{zone}.{method}: {why}")]
pub struct MethodRuleError {
    zone: &'static str,
    method: String,
    why: String,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    Refuse(u16),
    /// 302 to the target of this number.
    Redirect(u8),
    /// On to the target of this number.
    Rewrite(u8),
}

/// Methods with a row of their own; the last row is for all others.
const METHODS: [&str; 12] = [
    "INVITE",
    "OPTIONS",
    "REGISTER",
    "MESSAGE",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "INFO",
    "REFER",
    "UPDATE",
    "PRACK",
    "BYE",
];
const ROWS: usize = METHODS.len() + 1;
const OTHER: usize = METHODS.len();
const ZONES: [(Zone, &str); 3] =
    [(Zone::Phone, "phone"), (Zone::Peer, "peer"), (Zone::Internal, "internal")];

/// The table, ready to use.
#[derive(Debug, Clone)]
pub(crate) struct MethodTable {
    /// By zone, method, in a dialog or not.
    verdicts: [[[Verdict; 2]; ROWS]; 3],
    targets: Vec<String>,
}

impl MethodTable {
    /// The default table with these changes.
    pub(crate) fn new(rules: &MethodRules) -> Result<Self, MethodRuleError> {
        let mut table = Self { verdicts: [[[Verdict::Allow; 2]; ROWS]; 3], targets: Vec::new() };
        for (zone, _) in ZONES {
            for row in 0..ROWS {
                table.verdicts[zone as usize][row] = default_of(zone, row);
            }
        }
        let changes = [&rules.phone, &rules.peer, &rules.internal];
        for ((zone, name), rules) in ZONES.into_iter().zip(changes) {
            for (method, rule) in rules {
                table.change(zone, method, rule).map_err(|why| MethodRuleError {
                    zone: name,
                    method: method.clone(),
                    why,
                })?;
            }
        }
        Ok(table)
    }

    /// What becomes of a request.
    #[inline]
    pub(crate) fn verdict(&self, zone: Zone, method: Method<'_>, in_dialog: bool) -> Verdict {
        self.verdicts[zone as usize][row(method.as_str())][usize::from(in_dialog)]
    }

    /// Where a redirect or rewrite goes.
    pub(crate) fn target(&self, number: u8) -> &str {
        self.targets.get(usize::from(number)).map_or("", String::as_str)
    }

    fn change(&mut self, zone: Zone, method: &str, rule: &MethodRule) -> Result<(), String> {
        let row = match method {
            "other" => OTHER,
            _ => METHODS.iter().position(|m| *m == method).ok_or_else(|| {
                format!("no row of that name; there are {} and other", METHODS.join(", "))
            })?,
        };
        for (in_dialog, rule) in [(false, &rule.initial), (true, &rule.in_dialog)] {
            if let Some(rule) = rule {
                let verdict = self.read(rule, in_dialog)?;
                self.verdicts[zone as usize][row][usize::from(in_dialog)] = verdict;
            }
        }
        Ok(())
    }

    fn read(&mut self, rule: &str, in_dialog: bool) -> Result<Verdict, String> {
        let (verb, rest) = rule.split_once(' ').unwrap_or((rule, ""));
        match (verb, rest.trim()) {
            ("allow", "") => Ok(Verdict::Allow),
            ("refuse", status) => {
                let status = if status.is_empty() { Ok(403) } else { status.parse() };
                let fits = status.ok().filter(|s| (400..700).contains(s));
                fits.map(Verdict::Refuse).ok_or_else(|| format!("'{rule}': a status is 400 to 699"))
            }
            ("redirect" | "rewrite", _) if in_dialog => {
                Err(format!("'{rule}' is for requests outside of dialogs: use allow or refuse"))
            }
            ("redirect" | "rewrite", uri) => {
                sip::SipUri::parse(uri.as_bytes())
                    .map_err(|_| format!("'{rule}': write a SIP URI behind {verb}"))?;
                let number = u8::try_from(self.targets.len())
                    .map_err(|_| "more than 255 redirects and rewrites".to_string())?;
                self.targets.push(uri.to_string());
                let redirect = verb == "redirect";
                let made = if redirect { Verdict::Redirect } else { Verdict::Rewrite };
                Ok(made(number))
            }
            _ => Err(format!("'{rule}' is not allow, refuse STATUS, redirect URI or rewrite URI")),
        }
    }
}

fn row(method: &str) -> usize {
    METHODS.iter().position(|m| *m == method).unwrap_or(OTHER)
}

/// What is welcome where nothing else is configured: outside of dialogs, then inside.
///
/// A phone may ring, ask, write and watch. What only makes sense in a dialog or subscription (RFC
/// 6665 §4.1.3, RFC 6086 §4.2.1) gets the status of a dialog that is not there; a REFER out of the
/// blue would make somebody's phone call at an attacker's wish (RFC 7614 §7).
fn default_of(zone: Zone, row: usize) -> [Verdict; 2] {
    use Verdict::{Allow, Refuse};
    let method = METHODS.get(row).copied().unwrap_or("other");
    match (zone, method) {
        (_, "UPDATE" | "PRACK" | "BYE") => [Refuse(481), Allow],
        (Zone::Internal, _) => [Allow, Allow],
        (_, "NOTIFY" | "INFO") => [Refuse(481), Allow],
        (Zone::Phone, "REFER") => [Refuse(403), Allow],
        (Zone::Phone, "PUBLISH") => [Refuse(405), Refuse(405)],
        (Zone::Phone, "other") => [Refuse(405), Allow],
        (Zone::Phone, _) => [Allow, Allow],
        // A carrier's REFER would have our users' phones call, and pay, where it says.
        (Zone::Peer, "REFER" | "SUBSCRIBE" | "PUBLISH" | "REGISTER") => [Refuse(403), Refuse(403)],
        (Zone::Peer, "other") => [Refuse(405), Refuse(405)],
        (Zone::Peer, _) => [Allow, Allow],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<MethodTable, MethodRuleError> {
        let mut rules = MethodRules::default();
        let rule = MethodRule { initial: Some(text.into()), in_dialog: None };
        rules.phone.insert("MESSAGE".into(), rule);
        MethodTable::new(&rules)
    }

    fn verdict(table: &MethodTable, zone: Zone, method: &'static str, inside: bool) -> Verdict {
        table.verdict(zone, Method::new(method.as_bytes()).unwrap(), inside)
    }

    #[test]
    fn r2_6_the_whole_default_table() {
        let table = MethodTable::new(&MethodRules::default()).unwrap();
        let line = |zone, method| {
            [false, true].map(|inside| match verdict(&table, zone, method, inside) {
                Verdict::Allow => 0,
                Verdict::Refuse(status) => status,
                other => panic!("{other:?}"),
            })
        };
        for (method, phone, peer, internal) in [
            ("INVITE", [0, 0], [0, 0], [0, 0]),
            ("OPTIONS", [0, 0], [0, 0], [0, 0]),
            ("REGISTER", [0, 0], [403, 403], [0, 0]),
            ("MESSAGE", [0, 0], [0, 0], [0, 0]),
            ("SUBSCRIBE", [0, 0], [403, 403], [0, 0]),
            ("NOTIFY", [481, 0], [481, 0], [0, 0]),
            ("PUBLISH", [405, 405], [403, 403], [0, 0]),
            ("INFO", [481, 0], [481, 0], [0, 0]),
            ("REFER", [403, 0], [403, 403], [0, 0]),
            ("UPDATE", [481, 0], [481, 0], [481, 0]),
            ("PRACK", [481, 0], [481, 0], [481, 0]),
            ("BYE", [481, 0], [481, 0], [481, 0]),
            ("NEWMETHOD", [405, 0], [405, 405], [0, 0]),
            ("invite", [405, 0], [405, 405], [0, 0]),
        ] {
            assert_eq!(line(Zone::Phone, method), phone, "phone {method}");
            assert_eq!(line(Zone::Peer, method), peer, "peer {method}");
            assert_eq!(line(Zone::Internal, method), internal, "internal {method}");
        }
    }

    #[test]
    fn r2_6_rules_change_one_cell_and_bad_ones_say_what_is_wrong() {
        let table = rules("rewrite sip:desk@example.com").unwrap();
        assert_eq!(verdict(&table, Zone::Phone, "MESSAGE", false), Verdict::Rewrite(0));
        assert_eq!(table.target(0), "sip:desk@example.com");
        assert_eq!(verdict(&table, Zone::Phone, "MESSAGE", true), Verdict::Allow);
        assert_eq!(verdict(&table, Zone::Peer, "MESSAGE", false), Verdict::Allow);
        let table = rules("refuse 603").unwrap();
        assert_eq!(verdict(&table, Zone::Phone, "MESSAGE", false), Verdict::Refuse(603));
        for (bad, says) in [
            ("refuse 200", "400 to 699"),
            ("redirect somewhere", "a SIP URI"),
            ("perhaps", "is not allow"),
        ] {
            let error = rules(bad).unwrap_err().to_string();
            assert!(error.starts_with("edge.methods.phone.MESSAGE: "), "{error}");
            assert!(error.contains(says), "{error}");
        }
        let mut inside = MethodRules::default();
        let rule = MethodRule { initial: None, in_dialog: Some("rewrite sip:a@b".into()) };
        inside.peer.insert("INFO".into(), rule.clone());
        assert!(MethodTable::new(&inside).unwrap_err().to_string().contains("outside of dialogs"));
        let mut unknown = MethodRules::default();
        unknown.internal.insert("RFEER".into(), rule);
        assert!(MethodTable::new(&unknown).unwrap_err().to_string().contains("REFER"));
    }
}
