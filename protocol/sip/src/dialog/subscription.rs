//! Subscriptions (RFC 6665): [`Subscriber`] and [`Notifier`], and the Subscription-State between
//! them.
//!
//! ```text
//!   subscriber                                             notifier
//!   new ──SUBSCRIBE──►                                     new ── NOTIFY pending | active ──►
//!   Pending, Active ◄── NOTIFY                             refresh: NOTIFY again
//!     ├─ before the end: Refresh                           expired, terminate: NOTIFY terminated
//!     ├─ no NOTIFY within 64*T1 (Timer N): GaveUp
//!     └─ NOTIFY terminated ──► Terminated
//! ```

use std::fmt;
use std::time::{Duration, Instant};

use crate::{HeaderName, Message, Params};

/// Timer N (§4.1.2.4): how long a subscriber waits for the NOTIFY that answers its SUBSCRIBE.
const TIMER_N: Duration = Duration::from_secs(32);

/// The longest subscription a notifier grants.
const EXPIRES_MAX: Duration = Duration::from_secs(86_400);

/// How far a subscription is (§4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Substate {
    /// Taken, and not yet decided by policy.
    Pending,
    /// Accepted.
    Active,
    /// Over.
    Terminated,
}

/// A Subscription-State value (§8.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    /// How far it is. What we do not know counts as active.
    pub state: Substate,
    /// How long it still lasts.
    pub expires: Option<Duration>,
    /// Why it ended.
    pub reason: Option<String>,
}

impl SubscriptionState {
    /// Parses a value.
    pub fn parse(value: &[u8]) -> Self {
        let semi = value.iter().position(|b| *b == b';').unwrap_or(value.len());
        let word = value[..semi].trim_ascii();
        let params = Params::new(&value[semi..]);
        let state = match word {
            w if w.eq_ignore_ascii_case(b"terminated") => Substate::Terminated,
            w if w.eq_ignore_ascii_case(b"pending") => Substate::Pending,
            _ => Substate::Active,
        };
        let seconds = params.value("expires").and_then(crate::text::number32);
        let reason = params.value("reason").map(|r| String::from_utf8_lossy(r).into_owned());
        Self { state, expires: seconds.map(|s| Duration::from_secs(s.into())), reason }
    }

    /// That of a NOTIFY; one without the header counts as active.
    pub fn of(notify: &Message) -> Self {
        Self::parse(notify.header(HeaderName::SUBSCRIPTION_STATE).unwrap_or_default())
    }

    /// An end, with its reason (§4.1.3): `noresource`, `timeout`, `rejected`, `deactivated` ...
    pub fn terminated(reason: &str) -> Self {
        Self { state: Substate::Terminated, expires: None, reason: Some(reason.into()) }
    }
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            Substate::Pending => "pending",
            Substate::Active => "active",
            Substate::Terminated => "terminated",
        })?;
        if let Some(expires) = self.expires {
            write!(f, ";expires={}", expires.as_secs())?;
        }
        match &self.reason {
            Some(reason) => write!(f, ";reason={reason}"),
            None => Ok(()),
        }
    }
}

/// One subscription of ours.
#[derive(Debug, Clone)]
pub struct Subscriber {
    state: Substate,
    /// What we ask for; zero fetches the state once (§4.4.3).
    wanted: Duration,
    /// When it ends unless refreshed.
    end: Option<Instant>,
    refresh_at: Option<Instant>,
    /// Until when a NOTIFY must come.
    notify_by: Option<Instant>,
}

/// What a [`Subscriber`] wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriberDue {
    /// Send SUBSCRIBE again in the dialog.
    Refresh,
    /// It is over: no NOTIFY came, or no refresh was accepted.
    GaveUp,
}

impl Subscriber {
    /// The SUBSCRIBE (or REFER) was sent at `now` and asks for `wanted`.
    pub fn new(now: Instant, wanted: Duration) -> Self {
        let notify_by = Some(now + TIMER_N);
        Self { state: Substate::Pending, wanted, end: None, refresh_at: None, notify_by }
    }

    /// A subscription that nobody asked for by SUBSCRIBE: a REFER's (RFC 3515 §2.4.4). It is not
    /// refreshed, and lasts until its NOTIFY says otherwise.
    pub fn implicit(now: Instant) -> Self {
        Self::new(now, Duration::ZERO)
    }

    /// A final response to a SUBSCRIBE of ours, with the lifetime it grants.
    pub fn handle_response(&mut self, now: Instant, status: u16, expires: Option<Duration>) {
        match status {
            200..300 => self.granted(now, expires.unwrap_or(self.wanted)),
            // A refresh that failed otherwise leaves the time that is left (§4.1.2.3).
            481 | 489 => self.state = Substate::Terminated,
            _ if self.end.is_none() => self.state = Substate::Terminated,
            _ => self.refresh_at = None,
        }
    }

    /// A NOTIFY came in the subscription.
    pub fn handle_notify(&mut self, now: Instant, said: &SubscriptionState) {
        self.notify_by = None;
        self.state = said.state;
        if let Some(expires) = said.expires {
            self.granted(now, expires);
        }
    }

    /// Fires what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<SubscriberDue> {
        if self.state == Substate::Terminated {
            return None;
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if is_due(self.notify_by) || is_due(self.end) {
            self.state = Substate::Terminated;
            return Some(SubscriberDue::GaveUp);
        }
        is_due(self.refresh_at).then(|| {
            self.refresh_at = None;
            SubscriberDue::Refresh
        })
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == Substate::Terminated {
            return None;
        }
        [self.notify_by, self.end, self.refresh_at].into_iter().flatten().min()
    }

    /// How far it is.
    pub fn state(&self) -> Substate {
        self.state
    }

    fn granted(&mut self, now: Instant, expires: Duration) {
        let expires = expires.min(EXPIRES_MAX);
        self.end = Some(now + expires);
        // Well before the end, as a registration is.
        let early = (expires / 4).min(Duration::from_secs(60));
        let refreshes = !self.wanted.is_zero() && !expires.is_zero();
        self.refresh_at = refreshes.then(|| now + (expires - early));
    }
}

/// One subscription of a peer's.
#[derive(Debug, Clone)]
pub struct Notifier {
    state: Substate,
    end: Instant,
}

impl Notifier {
    /// Taken at `now` for as long as asked, within a day. It begins active.
    pub fn new(now: Instant, asked: Duration) -> Self {
        Self { state: Substate::Active, end: now + asked.min(EXPIRES_MAX) }
    }

    /// SUBSCRIBE came again: zero ends it. A NOTIFY is due in any case (§4.2.1.3).
    pub fn refresh(&mut self, now: Instant, asked: Duration) {
        self.end = now + asked.min(EXPIRES_MAX);
        if asked.is_zero() {
            self.state = Substate::Terminated;
        }
    }

    /// It is over: the last NOTIFY says so.
    pub fn terminate(&mut self) {
        self.state = Substate::Terminated;
    }

    /// The Subscription-State of a NOTIFY sent at `now`; `reason` is for the last one.
    pub fn said(&self, now: Instant, reason: &str) -> SubscriptionState {
        match self.state {
            Substate::Terminated => SubscriptionState::terminated(reason),
            state => {
                let expires = Some(self.end.saturating_duration_since(now));
                SubscriptionState { state, expires, reason: None }
            }
        }
    }

    /// Whether it has just expired at `now`: a last NOTIFY is due, with `timeout`.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let expired = self.state != Substate::Terminated && now >= self.end;
        if expired {
            self.state = Substate::Terminated;
        }
        expired
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.state != Substate::Terminated).then_some(self.end)
    }

    /// How far it is.
    pub fn state(&self) -> Substate {
        self.state
    }
}
