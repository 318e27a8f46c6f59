//! `whimbrel phone --call | --answer`: one call without a screen, told as lines of JSON or text.

use super::comparing::{Comparing, fits};
use super::driver::{Driver, Happened};
use super::report::{self, Outcome};
use super::signals::Signals;
use super::transferring::Transferring;
use crate::cli::PhoneArgs;
use crate::present::wall;
use ::phone::{CallHandle, PhoneEvent};
use anyhow::{Result, bail};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// After a BYE of ours: how long its answer is awaited.
const GOODBYE: Duration = Duration::from_secs(2);
/// Attempts to register at all, before the account or its server is given up.
const ATTEMPTS: u32 = 3;
/// From the answer to the first DTMF digit, and from digit to digit.
const FIRST_DIGIT: Duration = Duration::from_secs(1);
const NEXT_DIGIT: Duration = Duration::from_millis(300);

/// One headless phone.
struct Headless<'a> {
    driver: Driver,
    args: &'a PhoneArgs,
    outcome: Outcome,
    call: Option<CallHandle>,
    attempts: u32,
    /// Registering fails for want of a link, which says nothing of the account.
    linked: bool,
    digits: Digits,
    transferring: Transferring,
    /// The call a transfer took us from, until the new one is answered.
    before: Option<CallHandle>,
    /// When a call with early media is to be answered.
    answer_at: Option<Instant>,
    comparing: Comparing,
}

/// Runs one headless phone to its end. True when what was asked for came about: the call was
/// answered, or (with `--answer`) nobody called while the phone was registered.
///
/// # Errors
/// Not registered, with what to do; or a recording that cannot be written.
pub async fn run(driver: Driver, args: &PhoneArgs, started: Instant) -> Result<bool> {
    let mut signals = Signals::listen()?;
    let deadline = args.seconds.map(|s| started + Duration::from_secs(s));
    let digits = Digits::new(args.dtmf.as_deref().unwrap_or_default());
    let outcome = Outcome::default();
    let transferring = Transferring::new(args);
    let (call, before, answer_at) = (None, None, None);
    let mut phone = Headless {
        driver,
        args,
        outcome,
        call,
        attempts: 0,
        linked: true,
        digits,
        transferring,
        before,
        answer_at,
        comparing: Comparing::start(args.compare),
    };
    loop {
        let happened = tokio::select! {
            happened = phone.driver.next() => happened?,
            line = phone.comparing.next() => {
                phone.compare(line);
                continue;
            }
            () = signals.until(deadline) => break,
        };
        if phone.handle(happened) {
            break;
        }
    }
    phone.goodbye(&mut signals).await?;
    let calling = args.call.is_some();
    let Headless { driver, outcome, .. } = phone;
    let costs = driver.costs();
    driver.finish().await?;
    let mut line = outcome.line(calling);
    line["cost"] = costs.lock().unwrap_or_else(PoisonError::into_inner).line(Instant::now());
    report::tell(args.json, &line);
    if let Some(complaint) = outcome.complaint(&args.account) {
        bail!(complaint);
    }
    Ok(outcome.is_success(calling))
}

impl Headless<'_> {
    /// True at the end.
    fn handle(&mut self, happened: Happened) -> bool {
        match happened {
            Happened::Event(event) => {
                self.tell(&event);
                return self.react(event);
            }
            Happened::LinkDown(why) => {
                self.linked = false;
                report::tell(self.args.json, &json!({"event": "link-down", "reason": why}));
            }
            Happened::LinkUp(link) => {
                self.linked = true;
                report::tell(self.args.json, &report::link_line(&link));
            }
            Happened::Unreachable => {
                self.attempts += 1;
                return self.is_lost();
            }
            Happened::Tick => {
                let now = Instant::now();
                self.tick(now);
                if let (Some(call), Some(digit)) = (self.call, self.digits.next(now)) {
                    // A digit the far side cannot take shows in its silence.
                    let _ = self.driver.phone.dtmf(now, call, digit);
                }
            }
        }
        false
    }

    fn react(&mut self, event: PhoneEvent) -> bool {
        match event {
            PhoneEvent::Registered { .. } => match (&self.args.call, self.call) {
                (Some(target), None) => {
                    let at_ms = wall().as_millis();
                    report::tell(self.args.json, &json!({"event": "calling", "at_ms": at_ms}));
                    let placed = self.driver.call(target);
                    self.call = placed.as_ref().ok().copied();
                    placed.map_err(|error| self.outcome.failed(format!("{error:#}"))).is_err()
                }
                _ => false,
            },
            PhoneEvent::RegistrationFailed { retry, .. } => {
                self.attempts += u32::from(self.linked);
                self.call.is_none() && retry.is_none() || self.is_lost()
            }
            PhoneEvent::Incoming { call, replaces, joins, .. } => {
                // What takes over or joins a call of ours the driver has answered already.
                match replaces {
                    Some(old) if self.call == Some(old) => self.call = Some(call),
                    None if joins.is_none() => self.take(call),
                    _ => {}
                }
                false
            }
            PhoneEvent::TransferRequested { call, .. } => {
                self.follow(call);
                false
            }
            PhoneEvent::Secured { .. } => {
                if let Some(line) = self.comparing.take() {
                    self.compare(line);
                }
                false
            }
            PhoneEvent::Answered { call, .. } => {
                if self.call == Some(call) {
                    self.before = None;
                    self.digits.start(Instant::now());
                    self.transferring.start(Instant::now());
                }
                self.consult(&event);
                false
            }
            PhoneEvent::Ended { call, cause, .. } if self.call == Some(call) => {
                // A transfer that led nowhere leaves the call it came from.
                let stays = self.transferring.stays(cause);
                self.call = self.before.take().or(stays);
                self.call.is_none()
            }
            _ => false,
        }
    }

    /// Somebody typed what the other side says its string is.
    fn compare(&mut self, line: String) {
        let secured = self.call.and_then(|call| Some((call, *self.driver.phone.secured(call)?)));
        let Some((call, secured)) = secured else { return self.comparing.keep(line) };
        let alike = fits(&line, secured.sas);
        // The call may have ended in this moment.
        let _ = self.driver.phone.set_verified(Instant::now(), call, alike);
        if !alike {
            report::tell(self.args.json, &report::differs_line(call, &line, secured.sas));
        }
    }

    /// It never registered, and was patient enough.
    fn is_lost(&self) -> bool {
        self.call.is_none() && !self.outcome.registered && self.attempts >= ATTEMPTS
    }

    /// Begins what is due.
    fn tick(&mut self, now: Instant) {
        let Some(call) = self.call else { return };
        if self.answer_at.take_if(|at| *at <= now).is_some() {
            self.answer(call);
        }
        if let Err(error) = self.transferring.handle_time(now, &mut self.driver, call) {
            tracing::warn!("the call cannot be transferred: {error:#}");
        }
    }

    fn consult(&mut self, event: &PhoneEvent) {
        let Some(call) = self.call else { return };
        let now = Instant::now();
        if let Err(error) = self.transferring.handle_event(now, &mut self.driver, call, event) {
            tracing::warn!("the call cannot be transferred: {error:#}");
        }
    }

    /// The other side sends us elsewhere.
    fn follow(&mut self, call: CallHandle) {
        match self.driver.follow(call) {
            Ok(next) => (self.before, self.call) = (Some(call), Some(next)),
            Err(error) => tracing::warn!("the transfer cannot be followed: {error:#}"),
        }
    }

    /// Answers the first call; a second one is declined.
    fn take(&mut self, call: CallHandle) {
        if self.args.answer && self.call.is_none() {
            self.call = Some(call);
            let early = self.args.early_media.map(Duration::from_secs);
            match early.map(|early| (early, self.driver.early_media(call))) {
                Some((early, Ok(()))) => self.answer_at = Some(Instant::now() + early),
                Some((_, Err(error))) => {
                    tracing::warn!("no early media: {error:#}");
                    self.answer(call);
                }
                None => self.answer(call),
            }
        } else {
            // It may have ended in this very moment.
            let _ = self.driver.phone.reject(Instant::now(), call);
        }
    }

    fn answer(&mut self, call: CallHandle) {
        if let Err(error) = self.driver.answer(call) {
            tracing::warn!("the call cannot be answered: {error:#}");
            // When the engine refused, the call is over already and says so itself.
            let _ = self.driver.phone.hang_up(Instant::now(), call);
        }
    }

    /// Hangs up, unregisters, and waits a little for both to be heard.
    async fn goodbye(&mut self, signals: &mut Signals) -> Result<()> {
        let now = Instant::now();
        for call in self.call.into_iter().chain(self.transferring.consulted()) {
            // The call may be over already.
            let _ = self.driver.phone.hang_up(now, call);
        }
        let mut waits = self.driver.phone.is_registered();
        if waits {
            self.driver.phone.unregister(now);
        }
        let end = Some(now + GOODBYE);
        loop {
            let happened = tokio::select! {
                happened = self.driver.next() => happened?,
                () = signals.until(end) => return Ok(()),
            };
            match happened {
                Happened::Event(event) => {
                    self.tell(&event);
                    waits &= !matches!(event, PhoneEvent::Unregistered);
                }
                Happened::LinkDown(_) => waits = false,
                Happened::Tick if !waits => return Ok(()),
                Happened::Tick | Happened::LinkUp(_) | Happened::Unreachable => {}
            }
        }
    }

    fn tell(&mut self, event: &PhoneEvent) {
        let ours = match event {
            PhoneEvent::Answered { call, .. }
            | PhoneEvent::Secured { call, .. }
            | PhoneEvent::Ended { call, .. } => self.call == Some(*call),
            _ => false,
        };
        self.outcome.note(event, ours);
        report::tell(self.args.json, &report::event_line(event));
        if let Some(warning) = report::warning_line(event) {
            report::tell(self.args.json, &warning);
        }
    }
}

/// DTMF digits that go out one after the other.
struct Digits {
    rest: VecDeque<char>,
    due: Option<Instant>,
}

impl Digits {
    fn new(digits: &str) -> Self {
        Self { rest: digits.chars().collect(), due: None }
    }

    fn start(&mut self, now: Instant) {
        self.due = Some(now + FIRST_DIGIT);
    }

    fn next(&mut self, now: Instant) -> Option<char> {
        self.due.filter(|due| *due <= now)?;
        self.due = Some(now + NEXT_DIGIT);
        self.rest.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_go_out_once_each_after_the_answer() {
        let t0 = sansio::testing::epoch();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut digits = Digits::new("1#");
        assert_eq!(digits.next(at(5000)), None);
        digits.start(t0);
        assert_eq!(digits.next(at(980)), None);
        assert_eq!(digits.next(at(1000)), Some('1'));
        assert_eq!(digits.next(at(1020)), None);
        assert_eq!(digits.next(at(1300)), Some('#'));
        assert_eq!(digits.next(at(2000)), None);
    }
}
