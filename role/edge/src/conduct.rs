//! Accounts that call as programs do: stolen passwords, pumped premium numbers (docs/design/0038,
//! GSMA FS.38).
//!
//! ```text
//!   spine ── CallStarted, CallAnswered, CallEnded ─► Conduct ─► score per account, fading
//!                                                      │ at the limit
//!                                                      ├─► Finding ─► audit event, list
//!                                                      └─► Standings ◄── the edge, at each INVITE
//! ```
//!
//! Sans-IO: events come in with their time, findings go out. Memory is bounded by
//! [`ACCOUNTS_MAX`] and [`CALLS_MAX`].

mod account;
mod held;
mod number;
mod standing;

use crate::config::ConfigError;
use account::Account;
use cluster::Event;
use number::Destination;
use sansio::WallTime;
use serde::Deserialize;
pub use standing::{Standing, Standings};
use std::collections::BTreeMap;
use std::time::Duration;

/// Accounts remembered; beyond it the one that was quiet longest is forgotten.
pub const ACCOUNTS_MAX: usize = 200_000;
/// Calls under way that are remembered.
pub const CALLS_MAX: usize = 100_000;

/// `[edge.conduct]`: accounts that call as programs do.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ConductConfig {
    /// What is done about them: `watch`, `throttle`, `challenge`, `block`. Calls to users of this
    /// server and emergency calls are never concerned.
    pub action: Action,
    /// The score at which it is done. One sign is 4 to 25.
    pub score: u32,
    /// How long until half of a score is forgotten, in minutes.
    pub half_life_min: u32,
    /// How long the action lasts after the last sign, in minutes.
    pub hold_min: u32,
    /// Calls to numbers a throttled account may begin in an hour.
    pub throttle_per_h: u32,
    /// The country of most calls, as its digits: `49`. Empty: no number is foreign, the first ones
    /// an account calls are its own.
    pub home: String,
    /// Ranges that cost the caller much, as they begin in international form without `+` or `00`.
    pub premium: Vec<String>,
    /// Calls of one account in a minute that are no burst.
    pub burst_per_min: u32,
    /// Below this a call to a foreign number is short, in seconds.
    pub short_s: u64,
    /// The hours at night, from and to, at `utc_offset_h`.
    pub night: (u8, u8),
    /// Hours that the users' clocks are ahead of UTC.
    pub utc_offset_h: i8,
    /// Media of one account in an hour that is much, in megabytes (G.711 both ways: 58 an hour).
    pub volume_mb_h: u64,
}

impl ConductConfig {
    /// Checks every field.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let wrong =
            |field, value: String, wanted| Err(ConfigError::Conduct { field, value, wanted });
        let numbers = [
            ("score", self.score, 1..=10_000, "1 to 10000"),
            ("half_life_min", self.half_life_min, 1..=525_600, "1 to 525600"),
            ("throttle_per_h", self.throttle_per_h, 1..=3_600, "1 to 3600"),
            ("burst_per_min", self.burst_per_min, 1..=10_000, "1 to 10000"),
            ("night", self.night.0.into(), 0..=24, "hours, each 0 to 24"),
            ("night", self.night.1.into(), 0..=24, "hours, each 0 to 24"),
        ];
        for (field, value, range, wanted) in numbers {
            if !range.contains(&value) {
                return wrong(field, value.to_string(), wanted);
            }
        }
        if !(-12..=14).contains(&self.utc_offset_h) {
            return wrong("utc_offset_h", self.utc_offset_h.to_string(), "-12 to 14");
        }
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !digits(&self.home) {
            return wrong("home", format!("'{}'", self.home), "the country's digits, such as 49");
        }
        match self.premium.iter().find(|range| range.is_empty() || !digits(range)) {
            Some(bad) => wrong("premium", format!("'{bad}'"), "digits, such as 881"),
            None => Ok(()),
        }
    }
}

/// What is done about an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is told, and nothing else.
    Watch,
    /// It may begin few calls to numbers.
    Throttle,
    /// It has to show its password for each call, whatever its connection proved.
    Challenge,
    /// It calls no numbers.
    Block,
}

impl Action {
    /// Its word in configuration, lists and events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Throttle => "throttle",
            Self::Challenge => "challenge",
            Self::Block => "block",
        }
    }
}

impl Default for ConductConfig {
    fn default() -> Self {
        Self {
            action: Action::Throttle,
            score: 100,
            half_life_min: 90,
            hold_min: 720,
            throttle_per_h: 4,
            home: String::new(),
            premium: PREMIUM.map(String::from).to_vec(),
            burst_per_min: 8,
            short_s: 12,
            night: (0, 5),
            utc_offset_h: 0,
            volume_mb_h: 600,
        }
    }
}

/// Ranges often met in reports of revenue-share fraud: premium services and small networks whose
/// calls end elsewhere. An operator's own list is better.
const PREMIUM: [&str; 20] = [
    "1900", "44909", "44906", "49900", "43900", "33899", "3989", "34806", "881", "882", "883",
    "979", "216", "220", "224", "232", "252", "371", "372", "677",
];

/// An account whose score reached the limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Whose.
    pub aor: String,
    /// Its score.
    pub score: f32,
    /// The signs it is made of, each once: `premium`, `burst` …
    pub signs: Vec<&'static str>,
    /// What is done.
    pub action: Action,
}

/// Scores of all accounts.
#[derive(Debug)]
pub struct Conduct {
    config: ConductConfig,
    accounts: BTreeMap<String, Account>,
    calls: BTreeMap<u64, Call>,
    standings: Standings,
}

/// A call under way.
#[derive(Debug)]
struct Call {
    account: String,
    foreign: bool,
    answered_at: Option<WallTime>,
}

impl Conduct {
    /// Nobody is known yet.
    pub fn new(config: ConductConfig) -> Self {
        let hold = Duration::from_secs(u64::from(config.hold_min) * 60);
        let standings = Standings::new(config.action, hold, config.throttle_per_h);
        Self { config, accounts: BTreeMap::new(), calls: BTreeMap::new(), standings }
    }

    /// What the edge asks at each call.
    pub fn standings(&self) -> Standings {
        self.standings.clone()
    }

    /// Something happened; what it says of an account, if that is news.
    pub fn handle_event(&mut self, at: WallTime, event: &Event) -> Option<Finding> {
        match event {
            Event::CallStarted { call, from, to, .. } => self.call_started(at, *call, (from, to)),
            Event::CallAnswered { call, .. } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.answered_at = Some(at);
                }
                None
            }
            Event::CallEnded { call, caller, callee, .. } => {
                self.call_ended(at, *call, caller.bytes + callee.bytes)
            }
            _ => None,
        }
    }

    /// An operator says that an account is good: whether it was held.
    pub fn clear(&mut self, aor: &str) -> bool {
        if let Some(account) = self.accounts.get_mut(aor) {
            account.clear();
        }
        self.standings.clear(aor)
    }

    fn call_started(
        &mut self,
        at: WallTime,
        call: u64,
        (from, to): (&str, &str),
    ) -> Option<Finding> {
        let destination = Destination::of(to, &self.config.home, &self.config.premium);
        if self.calls.len() < CALLS_MAX {
            let foreign = destination.is_foreign();
            let open = Call { account: from.to_string(), foreign, answered_at: None };
            self.calls.insert(call, open);
        }
        self.make_room(from);
        let config = &self.config;
        let account = self.accounts.entry(from.to_string()).or_default();
        account.call_started(at, &destination, config);
        self.judge(at, from)
    }

    fn call_ended(&mut self, at: WallTime, call: u64, bytes: u64) -> Option<Finding> {
        let Call { account: aor, foreign, answered_at } = self.calls.remove(&call)?;
        let account = self.accounts.get_mut(&aor)?;
        let talked = answered_at.map(|then| at.since(then));
        account.call_ended(at, (talked.filter(|_| foreign), bytes), &self.config);
        self.judge(at, &aor)
    }

    fn judge(&mut self, at: WallTime, aor: &str) -> Option<Finding> {
        let account = self.accounts.get_mut(aor)?;
        let score = account.score(at, &self.config);
        if score < self.config.score as f32 {
            return None;
        }
        let (signs, is_news) = (account.signs(), self.standings.hold(aor, at, score));
        let action = self.config.action;
        is_news.then(|| Finding { aor: aor.to_string(), score, signs, action })
    }

    /// Forgets a quiet account when a new one comes to a full table. Quiet is looked for among a
    /// few: a stranger cannot get here without an account.
    fn make_room(&mut self, newcomer: &str) {
        if self.accounts.len() < ACCOUNTS_MAX || self.accounts.contains_key(newcomer) {
            return;
        }
        let behind = self.accounts.range(newcomer.to_string()..).chain(self.accounts.iter());
        let quiet = behind.take(64).min_by_key(|(_, account)| account.heard());
        if let Some(aor) = quiet.map(|(aor, _)| aor.clone()) {
            self.accounts.remove(&aor);
        }
    }
}

#[cfg(test)]
mod tests;
