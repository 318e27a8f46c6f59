//! What comes from the other side: its checks and its answers (RFC 8445 §7.2.5, §7.3).

use std::time::Instant;

use super::checks::{Check, State};
use super::{Agent, AgentEvent, Credentials, EARLY_MAX, Early, Path, Transmit};
use crate::stun::{BINDING, Builder, Class, Message};

impl Agent {
    /// A STUN message came this way. False when it is none of the agent's.
    pub fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        let Ok(message) = Message::parse(datagram) else { return false };
        if message.method() != BINDING {
            return false;
        }
        match message.class() {
            Class::Request => {
                self.handle_request(now, path, &message);
                true
            }
            Class::Success | Class::Error => self.handle_response(now, path, &message),
            Class::Indication => true,
        }
    }

    fn handle_request(&mut self, now: Instant, path: Path, message: &Message<'_>) {
        // RFC 8445 §7.3: without FINGERPRINT it is no check.
        if !message.has_fingerprint() {
            return;
        }
        let (Some(username), true) = (message.username(), message.has_integrity()) else {
            return self.refuse(path, message, 400, None);
        };
        let Some(credentials) = self.credentials_for(username) else {
            return self.refuse(path, message, 401, None);
        };
        if !message.verify_integrity(credentials.pwd.as_bytes()) {
            return self.refuse(path, message, 401, None);
        }
        let (pwd, current) = (credentials.pwd.clone(), *credentials == self.local);
        let is_next = Some(credentials) == self.next.as_ref();
        if !message.unknown_required().is_empty() {
            return self.refuse(path, message, 420, Some(&pwd));
        }
        if self.conflicts(message) {
            return self.refuse(path, message, 487, Some(&pwd));
        }
        let answer = Builder::new(Class::Success, message.transaction_id())
            .xor_mapped_address(path.remote)
            .finish(pwd.as_bytes());
        self.out.push_back(Transmit { path, bytes: answer });
        if !current && !is_next {
            return;
        }
        let (priority, nominates) = (message.priority().unwrap_or(0), message.use_candidate());
        if self.remote.is_some() && current {
            self.take_check(now, path, priority, nominates);
        } else if self.early.len() < EARLY_MAX {
            self.early.push(Early { path, priority, nominates });
        }
    }

    /// A good check came this way: the pair is checked from here too (RFC 8445 §7.3.1.4).
    pub(super) fn take_check(&mut self, now: Instant, path: Path, priority: u32, nominates: bool) {
        let was_known = self.pairs.iter().any(|p| p.path == path);
        self.add_pair(path, priority);
        let (controlling, lost) = (self.controlling, self.liveness.is_lost());
        let selected = self.selected;
        let Some(pair) = self.pair_mut(path) else { return };
        pair.heard = true;
        if nominates && !controlling {
            pair.nominated = true;
        }
        let (valid, wanted) = (pair.is_valid(), pair.nominated);
        if valid && wanted && selected != Some(path) {
            self.select(now, path);
        } else if !valid {
            pair.state = State::InProgress;
            let asked = self.triggered.contains(&path);
            let open = self.checks.iter().any(|c| c.path == path && now < c.sent_at + super::PACE);
            if !asked && !open {
                self.triggered.push_back(path);
            }
            self.next_check = self.next_check.or(Some(now));
        }
        if selected == Some(path) {
            self.liveness.heard(now);
        } else if selected.is_some() && !was_known && !lost {
            // They come from elsewhere: is the way of before still one?
            self.probe(now);
        } else if selected.is_some() && !nominates {
            self.open_ways(now);
        }
    }

    fn credentials_for(&self, username: &str) -> Option<&Credentials> {
        let (local, remote) = username.split_once(':')?;
        if local == self.local.ufrag {
            let fits = self.remote.as_ref().is_none_or(|known| known.ufrag == remote);
            return fits.then_some(&self.local);
        }
        let others = [&self.next, &self.previous];
        others.into_iter().flatten().find(|c| c.ufrag == local)
    }

    /// Both have the same role (RFC 8445 §7.3.1.1); true when they shall change theirs.
    fn conflicts(&mut self, message: &Message<'_>) -> bool {
        let theirs = match self.controlling {
            true => message.ice_controlling(),
            false => message.ice_controlled(),
        };
        let Some(theirs) = theirs else { return false };
        let we_keep =
            if self.controlling { self.tie_breaker >= theirs } else { self.tie_breaker < theirs };
        if !we_keep {
            self.switch_role();
        }
        we_keep
    }

    fn switch_role(&mut self) {
        if !self.remote_lite {
            self.controlling = !self.controlling;
        }
    }

    fn refuse(&mut self, path: Path, message: &Message<'_>, code: u16, pwd: Option<&str>) {
        let mut error = Builder::new(Class::Error, message.transaction_id()).error(code, "");
        if code == 420 {
            error = error.unknown_attributes(&message.unknown_required());
        }
        let bytes = match pwd {
            Some(pwd) => error.finish(pwd.as_bytes()),
            None => error.finish_unsigned(),
        };
        self.out.push_back(Transmit { path, bytes });
    }

    fn handle_response(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool {
        let id = message.transaction_id();
        let Some(at) = self.checks.iter().position(|c| c.id == id) else { return false };
        let Some(remote) = &self.remote else { return true };
        if !message.verify_integrity(remote.pwd.as_bytes()) {
            // 400 and 401 come unsigned: they may be anyone's, and the check is repeated.
            return true;
        }
        let check = self.checks.swap_remove(at);
        if message.class() == Class::Error {
            self.refused(now, &check, message.error_code().unwrap_or(500));
        } else if check.path == path {
            self.answered(now, &check, message);
        } else if let Some(pair) = self.pair_mut(check.path) {
            // RFC 8445 §7.2.5.2.1: the answer must come from where the check went.
            pair.state = State::Failed;
        }
        true
    }

    fn refused(&mut self, now: Instant, check: &Check, code: u16) {
        if code == 487 {
            // RFC 8445 §7.2.5.1; a role that was changed since is not changed back.
            if check.controlling == self.controlling {
                self.switch_role();
            }
            self.triggered.push_back(check.path);
            self.next_check = self.next_check.or(Some(now));
        } else if let Some(pair) = self.pair_mut(check.path).filter(|p| !p.is_valid()) {
            pair.state = State::Failed;
        }
    }

    fn answered(&mut self, now: Instant, check: &Check, message: &Message<'_>) {
        let path = check.path;
        self.moving.answered(path, &check.id);
        if let Some(mapped) = message.xor_mapped_address().filter(|_| path.via.0 == 0) {
            let is_host = self.locals.iter().any(|l| l.via.0 == 0 && l.addr == mapped);
            if !is_host && self.mapped.replace(mapped) != Some(mapped) {
                self.events.push_back(AgentEvent::Mapped(mapped));
            }
        }
        let Some(pair) = self.pair_mut(path) else { return };
        pair.state = State::Succeeded;
        (pair.heard, pair.answered) = (true, Some(now));
        let nominated = pair.nominated;
        self.first_valid.get_or_insert(now);
        // Further ones on it say nothing more.
        self.checks.retain(|c| c.path != path || c.nominates || c.once);
        let controlling = self.controlling;
        let chosen = (controlling && check.nominates) || (!controlling && nominated);
        if self.selected == Some(path) {
            self.liveness.answered(now, check.sent_at, self.ids.fraction());
            if self.liveness.was_lost() {
                self.select(now, path);
            }
        } else if chosen && (self.selected.is_none() || self.liveness.is_lost() || !controlling) {
            self.select(now, path);
        } else {
            self.reconsider(now);
        }
        self.nominate(now);
    }
}
