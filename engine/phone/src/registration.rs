//! Keeping a binding at the registrar (RFC 3261 §10.2, RFC 5626).
//!
//! ```text
//!   Off ──register──► Trying ──200──► Registered ──(before it expires)──► Trying
//!                       │  ▲                                              
//!              4xx..6xx ▼  │ (after a while)          unregister ──► Leaving ──► Off
//!                     Failed
//! ```

use crate::event::PhoneEvent;
use crate::phone::{Phone, Purpose, Timer};
use sip::{HeaderName, Message, Method, RequestBuilder};
use std::time::{Duration, Instant};

/// The first retry after a failure, and the longest (RFC 5626 §4.5).
const RETRY_MIN: Duration = Duration::from_secs(4);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The state of the binding.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    state: State,
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
    Trying,
    Registered,
    Failed,
    Leaving,
}

impl Registration {
    pub(crate) fn is_registered(&self) -> bool {
        self.state == State::Registered
    }

    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.cseq += 1;
        self.cseq
    }
}

impl Phone {
    /// Registers, and stays registered.
    pub fn register(&mut self, now: Instant) {
        if self.registration.state == State::Off {
            self.registration.state = State::Failed;
        }
        self.resume_registration(now);
        self.drain(now);
    }

    /// Removes the binding.
    pub fn unregister(&mut self, now: Instant) {
        self.timers.clear(&Timer::Register);
        if self.registration.state != State::Off {
            self.registration.state = State::Leaving;
            self.send_register(now, Duration::ZERO);
        }
        self.drain(now);
    }

    /// Sends a REGISTER if we want to be registered and have a link.
    pub(crate) fn resume_registration(&mut self, now: Instant) {
        let wanted = !matches!(self.registration.state, State::Off | State::Leaving);
        if wanted && self.link.is_some() {
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
        if self.send(now, &request, Purpose::Register).is_err() {
            self.register_failed(now, 503, "Not Connected");
        }
    }

    pub(crate) fn register_answered(&mut self, now: Instant, response: &Message) {
        match response.status().unwrap_or_default() {
            0..=199 => {}
            200..=299 if self.registration.state == State::Leaving => {
                self.registration.state = State::Off;
                self.tell(PhoneEvent::Unregistered);
            }
            200..=299 => self.registered(now, response),
            423 => {
                let min = response.header_str(HeaderName::MIN_EXPIRES);
                let min = min.and_then(|m| m.trim().parse().ok()).unwrap_or(3600);
                self.registration.min_expires = Duration::from_secs(min);
                self.resume_registration(now);
            }
            status => {
                let reason = String::from_utf8_lossy(response.reason()).into_owned();
                self.register_failed(now, status, &reason);
            }
        }
    }

    fn registered(&mut self, now: Instant, response: &Message) {
        let expires = self.granted(response);
        self.registration.state = State::Registered;
        self.registration.failures = 0;
        // Refresh well before the end, and never more often than every five seconds.
        let early = (expires / 4).min(Duration::from_secs(60));
        let refresh = (expires - early).max(Duration::from_secs(5));
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
        seconds.map_or(self.config.expires, |s| Duration::from_secs(u64::from(s)))
    }

    /// Failed: retried later, longer each time, unless the account itself is refused.
    pub(crate) fn register_failed(&mut self, now: Instant, status: u16, reason: &str) {
        if self.registration.state == State::Leaving {
            self.registration.state = State::Off;
            self.tell(PhoneEvent::Unregistered);
            return;
        }
        self.registration.state = State::Failed;
        let hopeless = matches!(status, 401 | 403 | 404 | 407);
        let retry = (!hopeless).then(|| self.backoff());
        if let Some(retry) = retry {
            self.timers.set(Timer::Register, now + retry);
        }
        self.tell(PhoneEvent::RegistrationFailed { status, reason: reason.into(), retry });
    }

    fn backoff(&mut self) -> Duration {
        let doubled = RETRY_MIN * 2_u32.pow(self.registration.failures.min(8));
        self.registration.failures += 1;
        let upper = doubled.min(RETRY_MAX);
        // Between half and all of it, so that phones do not come back in step.
        upper / 2 + upper.mul_f64((self.entropy.next_u64() % 1000) as f64 / 2000.0)
    }
}
