//! What the screen shows, and what keys and events do to it. No terminal, no clock.

use crate::phone::report::{CHANGED, describe};
use ::phone::{CallHandle, PhoneEvent};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use media::MediaStats;
use rtp::zrtp::{Secured, Trust};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Calls remembered for the list.
const RECENT_MAX: usize = 50;
/// Longest address that can be typed.
const DIAL_MAX: usize = 200;
/// Longest name of somebody who calls.
const WHO_MAX: usize = 100;
/// How long a notice stays.
const NOTICE: Duration = Duration::from_secs(8);

/// Everything on the screen.
#[derive(Debug)]
pub struct State {
    pub account: String,
    /// How the server is reached, as `TLS 192.0.2.1:5061`.
    pub server: String,
    pub registration: Registration,
    /// The dial line; `None` while letters are commands.
    pub dial: Option<String>,
    /// What the dial line is for.
    pub dial_for: DialFor,
    /// Newest last.
    pub calls: Vec<CallView>,
    /// The call the keys act on.
    pub focus: Option<CallHandle>,
    /// Newest first.
    pub recent: VecDeque<Recent>,
    /// Which of `recent` the dial line shows.
    recalled: Option<usize>,
    pub muted: bool,
    pub notice: Option<(String, Instant)>,
    /// Figures of the focused call.
    pub stats: Option<Box<MediaStats>>,
    /// Levels of what is said and heard, in dBov.
    pub levels: (f32, f32),
    pub now: Instant,
}

/// What a line being typed is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFor {
    /// An address to call.
    Call,
    /// Where to transfer this call.
    Transfer(CallHandle),
    /// A text for this address.
    Text(String),
    /// The short string that the other side of this call reads out.
    Compare(CallHandle),
}

/// How the account stands with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    Trying,
    Registered,
    Failed(String),
    NotConnected(String),
}

/// One call on the screen.
#[derive(Debug, Clone, PartialEq)]
pub struct CallView {
    pub call: CallHandle,
    /// The address, as one can call it.
    pub who: String,
    /// The name they give themselves.
    pub name: String,
    pub incoming: bool,
    pub phase: Phase,
    pub held: bool,
    pub held_by_peer: bool,
    pub codec: String,
    pub encrypted: bool,
    /// Keys of the two phones alone, and their short string.
    pub secured: Option<Secured>,
    /// When it was answered.
    pub since: Option<Instant>,
    /// Digits sent and received.
    pub digits: String,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Calling,
    Ringing,
    EarlyMedia,
    /// Here: answer or decline.
    Incoming,
    Talking,
}

/// A call that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    pub who: String,
    pub incoming: bool,
    pub lasted: Option<Duration>,
    pub how: String,
}

/// What the driver shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Call(String),
    Answer(CallHandle),
    Decline(CallHandle),
    HangUp(CallHandle),
    Hold(CallHandle, bool),
    Mute(bool),
    Dtmf(CallHandle, char),
    /// What the other side says its short string is.
    Compare(CallHandle, String),
    Transfer(CallHandle, String),
    /// Joins the other sides of two calls.
    TransferTo(CallHandle, CallHandle),
    /// Brings the other side of the first call into the second one.
    JoinTo(CallHandle, CallHandle),
    Text(String, String),
    Quit,
}

impl State {
    /// Before anything happened.
    pub fn new(account: String, server: String, now: Instant) -> Self {
        Self {
            account,
            server,
            registration: Registration::Trying,
            dial: None,
            dial_for: DialFor::Call,
            calls: Vec::new(),
            focus: None,
            recent: VecDeque::new(),
            recalled: None,
            muted: false,
            notice: None,
            stats: None,
            levels: (audio::level::FLOOR_DBOV, audio::level::FLOOR_DBOV),
            now,
        }
    }

    /// A key was pressed.
    pub fn handle_key(&mut self, key: KeyEvent) -> Option<Command> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.handle_control(key.code);
        }
        match key.code {
            KeyCode::Up => self.recall(1),
            KeyCode::Down => self.recall(-1),
            KeyCode::Esc => self.close_dial(),
            KeyCode::Tab => self.next_focus(),
            KeyCode::Enter => return self.enter(),
            KeyCode::Backspace => self.erase(),
            KeyCode::Char(c) if self.dial.is_some() => self.type_char(c),
            KeyCode::Char(c) => return self.handle_letter(c),
            _ => {}
        }
        None
    }

    /// The engine says something.
    pub fn handle_event(&mut self, event: &PhoneEvent) {
        match event {
            PhoneEvent::Registered { .. } => self.registration = Registration::Registered,
            PhoneEvent::Unregistered => self.registration = Registration::Trying,
            PhoneEvent::RegistrationFailed { status, reason, retry } => {
                let words = describe(*status, reason, *retry);
                self.registration = Registration::Failed(clean(&words, WHO_MAX));
            }
            PhoneEvent::Incoming { call, from, display_name, .. } => {
                self.add_call(*call, caller(from), Phase::Incoming);
                let name = clean(display_name, WHO_MAX);
                self.change(*call, |view| view.name = name);
            }
            PhoneEvent::Ringing { call } => self.advance(*call, Phase::Ringing),
            PhoneEvent::EarlyMedia { call } => self.advance(*call, Phase::EarlyMedia),
            PhoneEvent::Answered { call, codec, encrypted } => {
                let now = self.now;
                self.change(*call, |view| {
                    view.phase = Phase::Talking;
                    view.since = Some(now);
                    view.codec.clone_from(codec);
                    view.encrypted = *encrypted;
                });
                self.focus = Some(*call);
            }
            PhoneEvent::Secured { call, secured } => {
                if secured.trust == Trust::Changed {
                    self.tell(format!("WARNING: {CHANGED}"));
                }
                self.change(*call, |view| {
                    (view.encrypted, view.secured) = (true, Some(*secured));
                });
            }
            PhoneEvent::NotSecured { reason, .. } => {
                self.tell(format!("No keys between the two phones: {reason}"));
            }
            PhoneEvent::Held { call, held } => self.change(*call, |view| view.held = *held),
            PhoneEvent::HeldByPeer { call, held } => {
                self.change(*call, |view| view.held_by_peer = *held);
            }
            PhoneEvent::Dtmf { call, digit } => {
                self.tell(format!("They pressed {digit}"));
                self.change(*call, |view| view.digits.push(*digit));
            }
            PhoneEvent::Ended { call, cause, reason, .. } => {
                self.end(*call, cause.as_str(), reason);
            }
            other => self.handle_words(other),
        }
    }

    /// Transfers and texts.
    fn handle_words(&mut self, event: &PhoneEvent) {
        let words = match event {
            PhoneEvent::TransferRequested { target, .. } => {
                format!("They send us to {}", caller(target))
            }
            PhoneEvent::WayLost { .. } => "No sound gets through: trying other ways".to_string(),
            PhoneEvent::Redirected { to, .. } => format!("Sent on to {}", caller(to)),
            PhoneEvent::TransferProgress { status, .. } => {
                format!("Transfer: {status} {}", sip::reason_phrase(*status))
            }
            PhoneEvent::TransferEnded { status: ..300, .. } => "Transferred".to_string(),
            PhoneEvent::TransferEnded { status, .. } => {
                format!("Not transferred: {status} {}", sip::reason_phrase(*status))
            }
            PhoneEvent::Message { from, text } => format!("{}: {text}", caller(from)),
            PhoneEvent::MessageSent { status: ..300, .. } => "Text sent".to_string(),
            PhoneEvent::MessageSent { status, reason, .. } => {
                format!("Text not sent: {status} {reason}")
            }
            _ => return,
        };
        self.tell(words);
    }

    /// A call of ours is under way.
    pub fn add_outgoing(&mut self, call: CallHandle, target: &str) {
        self.add_call(call, clean(target, WHO_MAX), Phase::Calling);
        self.focus = Some(call);
    }

    /// Says something for a few seconds.
    pub fn tell(&mut self, words: String) {
        self.notice = Some((clean(&words, DIAL_MAX), self.now + NOTICE));
    }

    /// Time passed.
    pub fn handle_time(&mut self, now: Instant) {
        self.now = now;
        self.notice.take_if(|(_, until)| *until <= now);
    }

    /// The call the keys act on.
    pub fn focused(&self) -> Option<&CallView> {
        self.calls.iter().find(|view| Some(view.call) == self.focus)
    }

    /// The call that rings here.
    pub fn ringing(&self) -> Option<&CallView> {
        self.calls.iter().find(|view| view.phase == Phase::Incoming)
    }

    fn handle_control(&mut self, code: KeyCode) -> Option<Command> {
        match code {
            KeyCode::Char('c' | 'd') => return Some(Command::Quit),
            KeyCode::Char('u') => self.dial = self.dial.as_ref().map(|_| String::new()),
            _ => {}
        }
        None
    }

    /// A letter while the dial line is closed: a command where one fits, else the line opens.
    fn handle_letter(&mut self, letter: char) -> Option<Command> {
        let ringing = self.ringing().map(|view| view.call);
        let focused = self.focused().cloned();
        match (letter, ringing, focused) {
            ('q', ..) => return Some(Command::Quit),
            ('/' | ':' | ' ', ..) => self.dial = Some(String::new()),
            ('a', Some(call), _) => return Some(Command::Answer(call)),
            ('d', Some(call), _) => return Some(Command::Decline(call)),
            ('x', _, Some(view)) => return Some(Command::HangUp(view.call)),
            ('m', _, Some(_)) => {
                self.muted = !self.muted;
                return Some(Command::Mute(self.muted));
            }
            ('v', _, Some(view)) if view.secured.is_some() => {
                (self.dial, self.dial_for) = (Some(String::new()), DialFor::Compare(view.call));
            }
            ('h', _, Some(view)) if view.phase == Phase::Talking => {
                return Some(Command::Hold(view.call, !view.held));
            }
            ('t', _, Some(view)) if view.since.is_some() => {
                // With a second conversation its other side is whom to transfer to.
                if let Some(other) = self.second_conversation(view.call) {
                    return Some(Command::TransferTo(other, view.call));
                }
                (self.dial, self.dial_for) = (Some(String::new()), DialFor::Transfer(view.call));
            }
            ('j', _, Some(view)) if view.since.is_some() => {
                let other = self.second_conversation(view.call)?;
                return Some(Command::JoinTo(other, view.call));
            }
            ('w', _, Some(view)) => {
                (self.dial, self.dial_for) = (Some(String::new()), DialFor::Text(view.who));
            }
            ('0'..='9' | '*' | '#', _, Some(view)) if view.since.is_some() => {
                self.change(view.call, |view| view.digits.push(letter));
                return Some(Command::Dtmf(view.call, letter));
            }
            (_, None, None) => self.type_char(letter),
            _ => {}
        }
        None
    }

    fn second_conversation(&self, first: CallHandle) -> Option<CallHandle> {
        let second = |v: &&CallView| v.since.is_some() && v.call != first;
        self.calls.iter().find(second).map(|view| view.call)
    }

    fn type_char(&mut self, c: char) {
        let line = self.dial.get_or_insert_default();
        if !c.is_control() && line.chars().count() < DIAL_MAX {
            line.push(c);
        }
    }

    fn erase(&mut self) {
        let Some(line) = self.dial.as_mut() else { return };
        if line.pop().is_none() {
            self.close_dial();
        }
    }

    fn close_dial(&mut self) {
        (self.dial, self.recalled, self.dial_for) = (None, None, DialFor::Call);
    }

    fn enter(&mut self) -> Option<Command> {
        let target = self.dial.as_ref()?.trim().to_string();
        let what = self.dial_for.clone();
        self.close_dial();
        let command = match what {
            DialFor::Call => Command::Call(target.clone()),
            DialFor::Transfer(call) => Command::Transfer(call, target.clone()),
            DialFor::Compare(call) => Command::Compare(call, target.clone()),
            DialFor::Text(who) => Command::Text(who, target.clone()),
        };
        (!target.is_empty()).then_some(command)
    }

    /// Older (+1) or newer (-1) addresses into the dial line.
    fn recall(&mut self, step: isize) {
        let last = self.recent.len().checked_sub(1);
        let (Some(last), true) = (last, self.focused().is_none()) else { return };
        let next = match self.recalled {
            None if step > 0 => Some(0),
            None => None,
            Some(at) => at.checked_add_signed(step).map(|at| at.min(last)),
        };
        self.recalled = next;
        self.dial = next.map(|at| self.recent[at].who.clone());
    }

    fn next_focus(&mut self) {
        let at = self.calls.iter().position(|view| Some(view.call) == self.focus);
        let after = at.map_or(0, |at| at + 1);
        let ordered = self.calls.iter().skip(after).chain(self.calls.iter().take(after));
        let next = ordered.into_iter().find(|view| view.phase != Phase::Incoming);
        self.focus = next.map(|view| view.call);
    }

    fn add_call(&mut self, call: CallHandle, who: String, phase: Phase) {
        self.calls.push(CallView {
            call,
            who,
            name: String::new(),
            incoming: phase == Phase::Incoming,
            phase,
            held: false,
            held_by_peer: false,
            codec: String::new(),
            encrypted: false,
            secured: None,
            since: None,
            digits: String::new(),
        });
    }

    fn advance(&mut self, call: CallHandle, phase: Phase) {
        // 180 after 183: what is heard stays heard.
        self.change(call, |view| {
            if matches!(view.phase, Phase::Calling | Phase::Ringing) {
                view.phase = phase;
            }
        });
    }

    fn change(&mut self, call: CallHandle, how: impl FnOnce(&mut CallView)) {
        if let Some(view) = self.calls.iter_mut().find(|view| view.call == call) {
            how(view);
        }
    }

    fn end(&mut self, call: CallHandle, cause: &str, reason: &str) {
        let Some(at) = self.calls.iter().position(|view| view.call == call) else { return };
        let view = self.calls.remove(at);
        if self.focus == Some(call) {
            self.focus = None;
            self.stats = None;
            self.next_focus();
        }
        // The next conversation does not begin muted.
        self.muted &= !self.calls.is_empty();
        let how = match (reason.is_empty(), view.since) {
            (false, None) => format!("{cause} ({reason})"),
            _ => cause.to_string(),
        };
        self.tell(format!("{}: {how}", view.who));
        self.recent.push_front(Recent {
            who: view.who,
            incoming: view.incoming,
            lasted: view.since.map(|since| self.now.saturating_duration_since(since)),
            how: clean(&how, WHO_MAX),
        });
        self.recent.truncate(RECENT_MAX);
    }
}

/// Who calls, as one can call back: the address without scheme and parameters.
fn caller(from: &str) -> String {
    let bare = from.strip_prefix("sip:").unwrap_or(from);
    clean(bare.split([';', '?']).next().unwrap_or(bare), WHO_MAX)
}

/// Text from the network without what could steer a terminal or turn text around.
fn clean(text: &str, chars_max: usize) -> String {
    let harmless = |c: &char| {
        !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(harmless).take(chars_max).collect()
}

#[cfg(test)]
mod tests;
