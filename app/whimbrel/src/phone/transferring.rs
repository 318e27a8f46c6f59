//! `--transfer URI`: when the headless phone transfers its call, and what it does for it.

use super::driver::Driver;
use crate::cli::PhoneArgs;
use ::phone::{CallHandle, Cause, PhoneEvent};
use anyhow::Result;
use std::time::{Duration, Instant};

/// What becomes of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The other side calls the target.
    Blind,
    /// The target is talked to first, and the other side takes our place.
    Attended,
    /// The target is talked to first, and the other side comes in.
    Join,
}

/// A transfer the command line asked for.
pub struct Transferring {
    target: Option<String>,
    way: Way,
    after: Duration,
    due: Option<Instant>,
    /// The call to the target, of an attended one.
    consulted: Option<CallHandle>,
}

impl Transferring {
    pub fn new(args: &PhoneArgs) -> Self {
        let after = Duration::from_secs(args.transfer_after);
        let way = match (args.attended, args.join) {
            (true, _) => Way::Attended,
            (false, true) => Way::Join,
            (false, false) => Way::Blind,
        };
        Self { target: args.transfer.clone(), way, after, due: None, consulted: None }
    }

    /// The call is answered.
    pub fn start(&mut self, now: Instant) {
        self.due = self.target.as_ref().map(|_| now + self.after);
    }

    /// The call to the target, of an attended one.
    pub fn consulted(&self) -> Option<CallHandle> {
        self.consulted
    }

    /// The call that stays when the one transferred is over: that to the target, once the other
    /// side was brought in.
    pub fn stays(&mut self, cause: Cause) -> Option<CallHandle> {
        self.consulted.filter(|_| self.way == Way::Join && cause == Cause::Transferred)
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
        if self.way == Way::Blind {
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
                match self.way {
                    Way::Join => Ok(driver.phone.join_to(now, call, *answered)?),
                    Way::Blind | Way::Attended => {
                        Ok(driver.phone.transfer_to(now, call, *answered)?)
                    }
                }
            }
            _ => Ok(()),
        }
    }
}
