//! What a final response means for whoever forwards or placed the call: try again, try elsewhere,
//! follow, tell the user, or stop (RFC 3261 §8.1.3, §16.7, §21); and what it is in Q.850 (RFC 3326,
//! RFC 3398).
//!
//! ```text
//!   status ──► row of the table ──┐
//!   Reason: Q.850;cause=n ────────┼─► Decision { action, cause }
//!   overrides of one peer ────────┘
//! ```
//!
//! The table is data: each registered status has a row, a status nobody registered means what the
//! first of its class means (RFC 3261 §8.1.3.2). Gateways disagree about which status goes with
//! which cause; a Q.850 cause in the response says more than its status and goes before it, except
//! where an operator has given the status an action of its own.

mod q850;
mod table;

use crate::{HeaderName, Message};

pub use q850::{cause_of, status_of};
pub use table::{ROWS, Row};

/// What to do about a final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The same place may accept the request once it is changed: credentials, an interval, a moment
    /// later.
    Retry,
    /// This place cannot serve the call; another may.
    FailOver,
    /// The response says where to go.
    Redirect,
    /// The callee's side has spoken: the caller should know, and nobody else should be asked.
    TellUser,
    /// The request itself is at fault: it would fail everywhere.
    Stop,
}

impl Action {
    /// The word in configuration and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::FailOver => "fail-over",
            Self::Redirect => "redirect",
            Self::TellUser => "tell-user",
            Self::Stop => "stop",
        }
    }

    /// From the word in a configuration.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Retry, Self::FailOver, Self::Redirect, Self::TellUser, Self::Stop];
        all.into_iter().find(|action| action.as_str() == word)
    }
}

/// What was decided about one response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Its Q.850 cause: the one it names, else the one its status stands for.
    pub cause: u8,
}

const FIRST: u16 = 300;
const LAST: u16 = 699;
const COUNT: usize = (LAST - FIRST + 1) as usize;

/// The table as one peer sees it. A look-up is one load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponsePolicy {
    actions: [Action; COUNT],
    /// Set by an operator: not even a cause overrules it.
    fixed: [bool; COUNT],
}

impl Default for ResponsePolicy {
    fn default() -> Self {
        let mut actions = [Action::Stop; COUNT];
        for (at, action) in actions.iter_mut().enumerate() {
            *action = row_of(FIRST + at as u16).action;
        }
        Self { actions, fixed: [false; COUNT] }
    }
}

impl ResponsePolicy {
    /// The same with another action for one status. `None` for what is no final failure.
    #[must_use]
    pub fn with(mut self, status: u16, action: Action) -> Option<Self> {
        let at = index(status)?;
        self.actions[at] = action;
        self.fixed[at] = true;
        Some(self)
    }

    /// The action of a status without a cause; [`Action::Stop`] for what is no final failure.
    pub fn action(&self, status: u16) -> Action {
        index(status).map_or(Action::Stop, |at| self.actions[at])
    }

    /// What to do about a response.
    pub fn decide(&self, response: &Message) -> Decision {
        self.decide_on(response.status().unwrap_or(500), named_cause(response))
    }

    /// What to do about a status and the cause that came with it.
    pub fn decide_on(&self, status: u16, named: Option<u8>) -> Decision {
        let cause = named.unwrap_or_else(|| cause_of(status));
        let fixed = index(status).is_some_and(|at| self.fixed[at]);
        let told = named.filter(|_| !fixed && status >= 400 && !is_about_request(status));
        let action = told.and_then(q850::action).unwrap_or_else(|| self.action(status));
        Decision { action, cause }
    }
}

/// Statuses whose meaning is exact: no cause changes what they ask for.
fn is_about_request(status: u16) -> bool {
    matches!(status, 401 | 407 | 420..=423 | 481..=483 | 487 | 491 | 494)
}

fn index(status: u16) -> Option<usize> {
    (FIRST..=LAST).contains(&status).then(|| usize::from(status - FIRST))
}

/// The row of a status: its own, or that of its class.
pub fn row_of(status: u16) -> &'static Row {
    let class = status / 100 * 100;
    let find = |wanted| ROWS.iter().find(|row| row.status == wanted);
    find(status).or_else(|| find(class)).unwrap_or(&ROWS[0])
}

/// The Q.850 cause a message names in its Reason headers (RFC 3326 §2).
pub fn named_cause(message: &Message) -> Option<u8> {
    message.values(HeaderName::REASON).find_map(|value| {
        let mut parts = value.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        if !parts.next()?.eq_ignore_ascii_case(b"Q.850") {
            return None;
        }
        let cause = parts.find_map(|part| {
            let (name, value) = crate::text::split_once(part, b'=')?;
            name.trim_ascii().eq_ignore_ascii_case(b"cause").then(|| value.trim_ascii())
        })?;
        let number = crate::text::number(cause)?;
        u8::try_from(number).ok().filter(|n| (1..=127).contains(n))
    })
}

/// A Reason value for a Q.850 cause, with the recommendation's words.
pub fn reason_value(cause: u8) -> String {
    format!("Q.850;cause={cause};text=\"{}\"", q850::name(cause))
}

#[cfg(test)]
mod tests;
