//! [`SessionTimer`]: a call whose peer vanished ends by itself (RFC 4028).

use std::fmt;
use std::time::{Duration, Instant};

use crate::{HeaderName, Message, Params};

/// The smallest interval anybody may ask for (§4).
pub const MIN_SE: Duration = Duration::from_secs(90);

/// A Min-SE above a day is not believed.
const MIN_SE_MAX: Duration = Duration::from_secs(86_400);

/// How long before the end of the interval a call without refresh is hung up, at most (§10).
const MARGIN: Duration = Duration::from_secs(32);

/// Refreshes sent in one interval: the first, and one more when that was refused.
const REFRESHES_MAX: u8 = 2;

/// Who sends refreshes, as one transaction names it: its UAC or its UAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

/// A Session-Expires value (§4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// The session interval.
    pub interval: Duration,
    /// Who refreshes; in a request `None` leaves it to the UAS.
    pub refresher: Option<Refresher>,
}

/// What one user agent wants of session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// The interval asked for; zero asks for none and follows the other side's wish.
    pub interval: Duration,
    /// Shorter ones are refused with 422.
    pub min_se: Duration,
}

/// The request wants an interval below our minimum: 422 with this Min-SE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session interval is below {} s", .0.as_secs())]
pub struct IntervalTooSmall(pub Duration);

/// The running timer of one user agent in one dialog.
///
/// ```text
///   we refresh:    ─── ½ interval: Refresh ── 2xx ─► (again)     refused: once more, half way to ▼
///                                     └─────────── no 2xx ─────────────────────────► Expired: BYE
///   they refresh:  ─── their refresh ─► (again)
///                  ─── interval − min(32 s, ⅓ interval) ───────────────────────────► Expired: BYE
/// ```
#[derive(Debug, Clone)]
pub struct SessionTimer {
    interval: Duration,
    we_refresh: bool,
    refreshes: u8,
    refresh_at: Instant,
    end: Instant,
}

/// What a [`SessionTimer`] wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionDue {
    /// Send an UPDATE without a description, or a re-INVITE.
    Refresh,
    /// No refresh came through: hang up.
    Expired,
}

impl SessionExpires {
    /// Parses a value. Parameters we do not know are ignored.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
        let interval = crate::text::number32(value[..end].trim_ascii())?;
        let refresher = match Params::new(value[end..].trim_ascii()).value("refresher") {
            Some(who) if who.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
            Some(who) if who.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
            _ => None,
        };
        Some(Self { interval: Duration::from_secs(interval.into()), refresher })
    }

    /// That of a message.
    pub fn of(message: &Message) -> Option<Self> {
        Self::parse(message.header(HeaderName::SESSION_EXPIRES)?)
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.interval.as_secs();
        match self.refresher {
            None => write!(f, "{seconds}"),
            Some(Refresher::Uac) => write!(f, "{seconds};refresher=uac"),
            Some(Refresher::Uas) => write!(f, "{seconds};refresher=uas"),
        }
    }
}

/// The Min-SE of a message; 90 s when it names none.
pub fn min_se(message: &Message) -> Duration {
    let named = message.header(HeaderName::MIN_SE).and_then(|value| {
        let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
        crate::text::number32(value[..end].trim_ascii())
    });
    named.map_or(MIN_SE, |s| Duration::from_secs(s.into())).max(MIN_SE)
}

/// Whether a message says its sender knows session timers.
pub fn supports_timer(message: &Message) -> bool {
    message.lists(HeaderName::SUPPORTED, "timer") || message.lists(HeaderName::REQUIRE, "timer")
}

impl SessionPolicy {
    /// What the UAS answers to an INVITE or UPDATE: the Session-Expires of its 2xx, if any (§9).
    /// With [`Refresher::Uac`] the 2xx carries `Require: timer` too.
    ///
    /// # Errors
    /// [`IntervalTooSmall`], to a peer that understands a 422.
    pub fn answer(&self, request: &Message) -> Result<Option<SessionExpires>, IntervalTooSmall> {
        let understood = supports_timer(request);
        let asked = SessionExpires::of(request);
        if self.interval.is_zero() && asked.is_none() {
            return Ok(None);
        }
        if understood && asked.is_some_and(|a| a.interval < self.min_se) {
            return Err(IntervalTooSmall(self.min_se));
        }
        let wanted = match asked {
            Some(asked) if self.interval.is_zero() => asked.interval,
            Some(asked) => asked.interval.min(self.interval),
            None => self.interval,
        };
        // Never below what the request or we call the minimum, never above a longer wish of theirs.
        let interval = wanted.max(min_se(request)).max(self.min_se);
        let refresher = match asked.and_then(|a| a.refresher) {
            _ if !understood => Refresher::Uas,
            Some(refresher) => refresher,
            None => Refresher::Uac,
        };
        Ok(Some(SessionExpires { interval, refresher: Some(refresher) }))
    }

    /// The UAC got a 422: asks for more next time. False when the peer's minimum is absurd, or was
    /// offered already.
    pub fn raise(&mut self, response: &Message) -> bool {
        let named = min_se(response);
        if named > MIN_SE_MAX || (named <= self.min_se && named <= self.interval) {
            return false;
        }
        self.min_se = self.min_se.max(named);
        self.interval = self.interval.max(named);
        true
    }
}

impl SessionTimer {
    /// Started, or started again, by a 2xx to INVITE or UPDATE at `now`.
    pub fn new(now: Instant, interval: Duration, we_refresh: bool) -> Self {
        let end = now + (interval - MARGIN.min(interval / 3));
        Self { interval, we_refresh, refreshes: 0, refresh_at: now + interval / 2, end }
    }

    /// Fires what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<SessionDue> {
        if now >= self.end {
            return Some(SessionDue::Expired);
        }
        if !self.may_refresh() || now < self.refresh_at {
            return None;
        }
        self.refreshes += 1;
        self.refresh_at = now + self.end.saturating_duration_since(now) / 2;
        Some(SessionDue::Refresh)
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Instant {
        if self.may_refresh() { self.refresh_at.min(self.end) } else { self.end }
    }

    /// The Session-Expires of a request of ours: it keeps the roles.
    pub fn header(&self) -> SessionExpires {
        let refresher = if self.we_refresh { Refresher::Uac } else { Refresher::Uas };
        SessionExpires { interval: self.interval, refresher: Some(refresher) }
    }

    /// The session interval.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether refreshing is ours.
    pub fn we_refresh(&self) -> bool {
        self.we_refresh
    }

    fn may_refresh(&self) -> bool {
        self.we_refresh && self.refreshes < REFRESHES_MAX
    }
}
