//! The phone in the terminal.
//!
//! ```text
//!   keys ──► State::handle_key ──► Command ──► Driver ──► Happened ──► State::handle_event
//!                 State ──► View ──► terminal, ten times a second and when something changed
//! ```
//!
//! Start reading at [`run`], then `state.rs` for what it does and `view.rs` for how it looks.

mod state;
mod terminal;
mod view;

use super::comparing::fits;
use super::driver::{Driver, Happened};
use super::link::named;
use super::signals::Signals;
use ::phone::{CallHandle, PhoneEvent};
use anyhow::Result;
use state::{Command, Registration, State};
use std::time::{Duration, Instant};
use terminal::{Input, Terminal};
use view::View;

/// Beats of twenty milliseconds between two drawings.
const DRAW_EVERY: u32 = 5;
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs the phone until its user quits. True unless it was never registered.
///
/// # Errors
/// No terminal, or a recording that cannot be written.
pub async fn run(driver: Driver, server: String, notice: Option<String>) -> Result<bool> {
    let mut signals = Signals::listen()?;
    let account = driver.phone.account();
    let account = format!("{}@{}", account.user, account.domain);
    let mut state = State::new(account, server, Instant::now());
    if let Some(notice) = notice {
        state.tell(notice);
    }
    let mut terminal = Terminal::take()?;
    let mut inputs = terminal::inputs();
    let mut screen = Screen { driver, registered: false, beats: 0 };
    loop {
        let again = tokio::select! {
            happened = screen.driver.next() => screen.happened(&mut state, happened?),
            input = inputs.recv() => match input {
                Some(Input::Key(key)) => {
                    let command = state.handle_key(key);
                    if matches!(command, Some(Command::Quit)) {
                        break;
                    }
                    screen.obey(&mut state, command);
                    true
                }
                Some(Input::Resized) => true,
                None => break,
            },
            () = signals.until(None) => break,
        };
        if again {
            terminal.inner.draw(|frame| frame.render_widget(View(&state), frame.area()))?;
        }
    }
    state.tell("saying goodbye ..".into());
    terminal.inner.draw(|frame| frame.render_widget(View(&state), frame.area()))?;
    screen.goodbye(&state, &mut signals).await?;
    screen.driver.finish().await?;
    Ok(screen.registered)
}

struct Screen {
    driver: Driver,
    registered: bool,
    beats: u32,
}

impl Screen {
    /// True when the screen should be drawn again.
    fn happened(&mut self, state: &mut State, happened: Happened) -> bool {
        state.handle_time(Instant::now());
        match happened {
            Happened::Event(event) => {
                self.registered |= matches!(event, PhoneEvent::Registered { .. });
                state.handle_event(&event);
                self.follow(state, &event);
                self.driver.talking = state.focus;
                self.driver.sound().muted = state.muted;
            }
            Happened::LinkUp(link) => {
                state.server = named(&link);
                state.registration = Registration::Trying;
            }
            Happened::Unreachable => {
                let none = "the server cannot be reached from here".into();
                state.registration = Registration::NotConnected(none);
            }
            Happened::LinkDown(why) => state.registration = Registration::NotConnected(why),
            Happened::Tick => {
                self.beats += 1;
                if !self.beats.is_multiple_of(DRAW_EVERY) {
                    return false;
                }
                let stats = state.focus.and_then(|call| self.driver.phone.stats(call));
                state.stats = stats.map(Box::new);
                let sound = self.driver.sound();
                state.levels = (sound.said.dbov(), sound.heard.dbov());
            }
        }
        true
    }

    fn obey(&mut self, state: &mut State, command: Option<Command>) {
        let Some(command) = command else { return };
        let done = match command {
            Command::Call(target) => self.call(state, &target),
            Command::Answer(call) => {
                self.hold_others(state, call);
                let answered = self.driver.answer(call);
                if answered.is_ok() {
                    state.focus = Some(call);
                }
                answered
            }
            Command::Decline(call) => self.phone(|phone, now| phone.reject(now, call)),
            Command::HangUp(call) => self.phone(|phone, now| phone.hang_up(now, call)),
            Command::Hold(call, held) => {
                if !held {
                    self.hold_others(state, call);
                }
                self.phone(|phone, now| phone.set_hold(now, call, held))
            }
            Command::Dtmf(call, digit) => self.phone(|phone, now| phone.dtmf(now, call, digit)),
            Command::Compare(call, theirs) => self.compare(state, call, &theirs),
            Command::Transfer(call, target) => {
                self.phone(|phone, now| phone.transfer(now, call, &target))
            }
            Command::TransferTo(call, other) => {
                self.phone(|phone, now| phone.transfer_to(now, call, other))
            }
            Command::JoinTo(call, other) => {
                self.phone(|phone, now| phone.join_to(now, call, other))
            }
            Command::Text(to, text) => {
                self.phone(|phone, now| phone.send_message(now, &to, &text).map(drop))
            }
            Command::Mute(muted) => {
                self.driver.sound().muted = muted;
                Ok(())
            }
            Command::Quit => Ok(()),
        };
        if let Err(error) = done {
            state.tell(format!("{error:#}"));
        }
        self.driver.talking = state.focus;
    }

    /// The other side sends us elsewhere: we go.
    fn follow(&mut self, state: &mut State, event: &PhoneEvent) {
        let PhoneEvent::TransferRequested { call, target, .. } = event else { return };
        match self.driver.follow(*call) {
            Ok(next) => state.add_outgoing(next, target),
            Err(error) => state.tell(format!("{error:#}")),
        }
    }

    fn call(&mut self, state: &mut State, target: &str) -> Result<()> {
        let call = self.driver.call(target)?;
        self.hold_others(state, call);
        state.add_outgoing(call, target);
        Ok(())
    }

    /// The other side read out its short string. Typed, because who only has to nod nods too easily.
    fn compare(&mut self, state: &mut State, call: CallHandle, theirs: &str) -> Result<()> {
        let alike = self.driver.phone.secured(call).is_some_and(|s| fits(theirs, s.sas));
        state.tell(match alike {
            true => "The strings are alike: verified".to_string(),
            false => "WARNING: the strings differ: somebody may listen. Hang up".to_string(),
        });
        self.phone(|phone, now| phone.set_verified(now, call, alike))
    }

    /// One conversation at a time: the others wait while `call` goes on.
    fn hold_others(&mut self, state: &State, call: CallHandle) {
        let others = state.calls.iter().filter(|view| view.call != call);
        for view in others.filter(|view| view.since.is_some() && !view.held) {
            // A call that ends in this moment needs no hold.
            let _ = self.driver.phone.set_hold(Instant::now(), view.call, true);
        }
    }

    fn phone(
        &mut self,
        command: impl FnOnce(&mut ::phone::Phone, Instant) -> Result<(), ::phone::PhoneError>,
    ) -> Result<()> {
        Ok(command(&mut self.driver.phone, Instant::now())?)
    }

    /// BYE to all, unregister, and a moment for both to be heard.
    async fn goodbye(&mut self, state: &State, signals: &mut Signals) -> Result<()> {
        let now = Instant::now();
        for view in &state.calls {
            // It may be over already.
            let _ = self.driver.phone.hang_up(now, view.call);
        }
        if !self.driver.phone.is_registered() {
            return Ok(());
        }
        self.driver.phone.unregister(now);
        loop {
            let happened = tokio::select! {
                happened = self.driver.next() => happened?,
                () = signals.until(Some(now + GOODBYE)) => return Ok(()),
            };
            match happened {
                Happened::Event(PhoneEvent::Unregistered) | Happened::LinkDown(_) => return Ok(()),
                _ => {}
            }
        }
    }
}
