//! Keeping a binding at the registrar (RFC 3261 §10.2, RFC 5626).
//!
//! ```text
//!   Off ──register──► Waiting ──link──► Trying ──200──► Registered
//!                        ▲                │ ▲                │
//!                        ├──(4xx..6xx)────┤ └─(refresh time)─┤
//!                        │  401, 403, 404 ▼                  │
//!                        │             Refused               │
//!                        └──────────(link broke)─────────────┘
//!   any ──unregister──► Leaving ──final──► Off
//! ```

use crate::event::PhoneEvent;
use crate::phone::{Phone, Timer};
use crate::requests::Purpose;
use sip::transaction::ClientKey;
use sip::{HeaderName, Message, Method, RequestBuilder};
use std::time::{Duration, Instant};

/// The first retry after a failure, and the longest (RFC 5626 §4.5).
const RETRY_MIN: Duration = Duration::from_secs(4);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// A registrar that wants longer lifetimes than this is not believed (423).
const EXPIRES_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The state of the binding.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    state: State,
    /// The REGISTER whose answer counts; answers to older ones do not.
    pending: Option<ClientKey>,
    /// The registrar holds a binding of this link.
    bound: bool,
    call_id: String,
    cseq: u32,
    failures: u32,
    /// What the registrar asked for instead of our expiry (423).
    min_expires: Duration,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Off,
    /// For a link, or for the time of the next try.
    Waiting,
    Trying,
    Registered,
    /// The account itself is refused: only [`Phone::register`] tries again.
    Refused,
    Leaving,
}

impl Registration {
    pub(crate) fn is_bound(&self) -> bool {
        self.bound
    }

    pub(crate) fn is_pending(&self, key: ClientKey) -> bool {
        self.pending == Some(key)
    }

    pub(crate) fn resent(&mut self, key: ClientKey) {
        self.pending = Some(key);
    }

    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.cseq += 1;
        self.cseq
    }

    /// The link the binding lived on is gone.
    pub(crate) fn link_lost(&mut self) {
        self.bound = false;
        if self.state == State::Registered {
            self.state = State::Waiting;
        }
    }
}

impl Phone {
    /// Registers, and stays registered.
    pub fn register(&mut self, now: Instant) {
        if !matches!(self.registration.state, State::Trying | State::Registered) {
            self.registration.state = State::Waiting;
        }
        self.resume_registration(now);
        self.drain(now);
    }

    /// Removes the binding. [`PhoneEvent::Unregistered`] follows in any case.
    pub fn unregister(&mut self, now: Instant) {
        self.timers.clear(&Timer::Register);
        if self.registration.bound || self.registration.state == State::Trying {
            self.registration.state = State::Leaving;
            self.send_register(now, Duration::ZERO);
        } else if self.registration.state != State::Leaving {
            self.registration.state = State::Off;
            self.tell(PhoneEvent::Unregistered);
        }
        self.drain(now);
    }

    /// Sends a REGISTER if we want to be registered, have a link, and none is under way.
    pub(crate) fn resume_registration(&mut self, now: Instant) {
        let wanted = matches!(self.registration.state, State::Waiting | State::Registered);
        if wanted && self.link.is_some() {
            self.timers.clear(&Timer::Register);
            let expires = self.config.expires.max(self.registration.min_expires);
            self.registration.state = State::Trying;
            self.send_register(now, expires);
        }
    }

    fn send_register(&mut self, now: Instant, expires: Duration) {
        if self.registration.call_id.is_empty() {
            self.registration.call_id = self.entropy.token(24);
        }
        let number = self.registration.next_cseq();
        let uri = format!("sip:{}", self.account.domain);
        let name = self.account.name_addr();
        let tag = self.entropy.token(10);
        let contact =
            format!("{};+sip.instance=\"<{}>\";reg-id=1", self.contact(), self.account.instance);
        let request = RequestBuilder::new(Method::REGISTER, uri)
            .header(HeaderName::MAX_FORWARDS, "70")
            .header(HeaderName::FROM, format!("{name};tag={tag}"))
            .header(HeaderName::TO, name)
            .header(HeaderName::CALL_ID, &self.registration.call_id)
            .header(HeaderName::CSEQ, format!("{number} REGISTER"))
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::EXPIRES, expires.as_secs().to_string())
            .header(HeaderName::SUPPORTED, "path, outbound")
            .header(HeaderName::USER_AGENT, &self.config.user_agent)
            .build();
        match self.send(now, &request, Purpose::Register) {
            Ok(key) => self.registration.pending = Some(key),
            Err(_) => self.register_failed(now, 503, "Not Connected", None),
        }
    }

    /// A response to the REGISTER that counts.
    pub(crate) fn register_answered(&mut self, now: Instant, sent: &Message, response: &Message) {
        let status = response.status().unwrap_or_default();
        if status < 200 {
            return;
        }
        self.registration.pending = None;
        match status {
            200..=299 if self.registration.state == State::Leaving => self.left(),
            200..=299 => self.registered(now, response),
            423 if self.registration.state == State::Trying
                && self.take_minimum(sent, response) =>
            {
                self.registration.state = State::Waiting;
                self.resume_registration(now);
            }
            _ => {
                let reason = String::from_utf8_lossy(response.reason()).into_owned();
                let after = response.header_str(HeaderName::RETRY_AFTER);
                let after = after.and_then(seconds).map(|s| s.min(RETRY_MAX));
                self.register_failed(now, status, &reason, after);
            }
        }
    }

    /// The registrar's minimum, unless we asked for as much already or it is absurd.
    fn take_minimum(&mut self, sent: &Message, response: &Message) -> bool {
        let min = response.header_str(HeaderName::MIN_EXPIRES).and_then(seconds);
        let asked = Duration::from_secs(sent.expires().unwrap_or_default().into());
        let Some(min) = min.filter(|min| *min > asked && *min <= EXPIRES_MAX) else { return false };
        self.registration.min_expires = min;
        true
    }

    fn registered(&mut self, now: Instant, response: &Message) {
        let expires = self.granted(response);
        self.registration.state = State::Registered;
        self.registration.bound = true;
        self.registration.failures = 0;
        // Refresh well before the end, and never more often than every second.
        let early = (expires / 4).min(Duration::from_secs(60));
        let refresh = (expires - early).max(Duration::from_secs(1));
        self.timers.set(Timer::Register, now + refresh);
        self.tell(PhoneEvent::Registered { expires });
    }

    /// The lifetime the registrar granted to *our* contact.
    fn granted(&self, response: &Message) -> Duration {
        let ours = self.link.map(|l| self.account.contact_uri(&l)).unwrap_or_default();
        let contact = response
            .contacts()
            .filter_map(Result::ok)
            .find(|c| c.uri() == ours.as_bytes())
            .and_then(|c| c.expires());
        let seconds = contact.or_else(|| response.expires());
        seconds.map_or(self.config.expires, |s| Duration::from_secs(u64::from(s))).min(EXPIRES_MAX)
    }

    /// Failed: retried later, longer each time, unless the account itself is refused.
    pub(crate) fn register_failed(
        &mut self,
        now: Instant,
        status: u16,
        reason: &str,
        after: Option<Duration>,
    ) {
        self.registration.pending = None;
        if self.registration.state == State::Leaving {
            return self.left();
        }
        self.registration.bound = false;
        let hopeless = matches!(status, 401 | 403 | 404 | 407);
        self.registration.state = if hopeless { State::Refused } else { State::Waiting };
        let retry = (!hopeless).then(|| self.backoff().max(after.unwrap_or_default()));
        if let Some(retry) = retry {
            self.timers.set(Timer::Register, now + retry);
        }
        self.tell(PhoneEvent::RegistrationFailed { status, reason: reason.into(), retry });
    }

    fn left(&mut self) {
        self.registration.state = State::Off;
        self.registration.bound = false;
        self.tell(PhoneEvent::Unregistered);
    }

    fn backoff(&mut self) -> Duration {
        let doubled = RETRY_MIN * 2_u32.pow(self.registration.failures.min(8));
        self.registration.failures += 1;
        let upper = doubled.min(RETRY_MAX);
        // Between half and all of it, so that phones do not come back in step.
        upper / 2 + upper.mul_f64((self.entropy.next_u64() % 1000) as f64 / 2000.0)
    }
}

/// The number at the start of Min-Expires or Retry-After.
fn seconds(value: &str) -> Option<Duration> {
    let digits = value.trim().split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse::<u32>().ok().map(|s| Duration::from_secs(s.into()))
}
