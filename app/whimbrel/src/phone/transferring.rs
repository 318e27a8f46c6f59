//! `--transfer URI`: when the headless phone transfers its call, and what it does for it.

use super::driver::Driver;
use ::phone::{CallHandle, PhoneEvent};
use anyhow::Result;
use std::time::{Duration, Instant};

/// A transfer the command line asked for.
pub struct Transferring {
    target: Option<String>,
    attended: bool,
    after: Duration,
    due: Option<Instant>,
    /// The call to the target, of an attended one.
    consulted: Option<CallHandle>,
}

impl Transferring {
    pub fn new(target: Option<&str>, after_secs: u64, attended: bool) -> Self {
        let after = Duration::from_secs(after_secs);
        let target = target.map(str::to_owned);
        Self { target, attended, after, due: None, consulted: None }
    }

    /// The call is answered.
    pub fn start(&mut self, now: Instant) {
        self.due = self.target.as_ref().map(|_| now + self.after);
    }

    /// The call to the target, of an attended one.
    pub fn consulted(&self) -> Option<CallHandle> {
        self.consulted
    }

    /// Time passed: begins when it is due.
    ///
    /// # Errors
    /// As the engine says: no address, not answered, no link.
    pub fn handle_time(
        &mut self,
        now: Instant,
        driver: &mut Driver,
        call: CallHandle,
    ) -> Result<()> {
        if self.due.take_if(|due| *due <= now).is_none() {
            return Ok(());
        }
        let Some(target) = self.target.clone() else { return Ok(()) };
        if !self.attended {
            return Ok(driver.phone.transfer(now, call, &target)?);
        }
        driver.phone.set_hold(now, call, true)?;
        self.consulted = Some(driver.call(&target)?);
        Ok(())
    }

    /// The target answered: the two are joined.
    ///
    /// # Errors
    /// As the engine says.
    pub fn handle_event(
        &mut self,
        now: Instant,
        driver: &mut Driver,
        call: CallHandle,
        event: &PhoneEvent,
    ) -> Result<()> {
        match event {
            PhoneEvent::Answered { call: answered, .. } if self.consulted == Some(*answered) => {
                Ok(driver.phone.transfer_to(now, call, *answered)?)
            }
            _ => Ok(()),
        }
    }
}
