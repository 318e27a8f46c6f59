//! Session timers as a proxy sees them (RFC 4028 §8): asked for on behalf of both sides, tracked for
//! each dialog, and the end of a call that nobody refreshed.
//!
//! ```text
//!  INVITE, UPDATE ─► interval too small: 422 ─► Session-Expires added or lowered ─► onward
//!  2xx ─► the deadline of its dialog; a Session-Expires for a caller that alone knows timers
//!  deadline ─► BYE both ways, record closed, relay released
//! ```

use crate::config::{Config, ConfigError};
use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogPhase, DialogTrack, Side};
use crate::ports::{EndCause, Refusal};
use sip::dialog::{MIN_SE, Refresher, SessionExpires, min_se, supports_timer};
use sip::{Edit, HeaderName, Message, Method};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What the configuration says, made ready, and when which call ends unless it is refreshed.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// The interval we ask for; zero leaves session timers to the two sides.
    expires: Duration,
    min_se: Duration,
    /// `expires` as it stands in a message.
    header: String,
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Sessions {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let (expires, min_se) = (config.session_expires_s, config.session_min_s);
        if min_se < MIN_SE.as_secs() {
            return Err(ConfigError::SessionMinTooShort(min_se));
        }
        if expires != 0 && expires < min_se {
            return Err(ConfigError::SessionExpiresTooShort { expires, min_se });
        }
        Ok(Self {
            expires: Duration::from_secs(expires),
            min_se: Duration::from_secs(min_se),
            header: expires.to_string(),
            deadlines: BTreeSet::new(),
        })
    }

    /// Takes over what another configuration says, for intervals agreed on from now.
    pub(crate) fn configure(&mut self, config: &Config) -> Result<(), ConfigError> {
        let deadlines = std::mem::take(&mut self.deadlines);
        match Self::new(config) {
            Ok(fresh) => *self = Self { deadlines, ..fresh },
            Err(error) => {
                self.deadlines = deadlines;
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Refuses an INVITE or UPDATE whose interval is below our minimum, when its sender understands
    /// that (§8.1). Costs one look at the index for a request without the header.
    pub(crate) fn refusal(&self, request: &Message) -> Option<Refusal> {
        let asked = SessionExpires::of(request)?;
        let refused = is_refresh(request) && asked.interval < self.min_se;
        (refused && supports_timer(request)).then(|| {
            let min_se = ("Min-SE", self.min_se.as_secs().to_string());
            Refusal { headers: vec![min_se], ..Refusal::new(422, sip::reason_phrase(422)) }
        })
    }

    /// Adds our wish to an INVITE or UPDATE on its way, lowers a longer one, and raises one whose
    /// sender would not understand a 422.
    pub(crate) fn ask<'m>(&self, edit: Edit<'m>, request: &Message) -> Edit<'m> {
        if self.expires.is_zero() || !is_refresh(request) {
            return edit;
        }
        let Some(asked) = SessionExpires::of(request) else {
            if request.header(HeaderName::MIN_SE).is_none() {
                return edit.append(HeaderName::SESSION_EXPIRES, &self.header);
            }
            let interval = self.expires.max(min_se(request)).as_secs().to_string();
            return edit.append(HeaderName::SESSION_EXPIRES, interval);
        };
        let interval = asked.interval.min(self.expires).max(min_se(request)).max(self.min_se);
        if interval == asked.interval {
            return edit;
        }
        let value = SessionExpires { interval, ..asked }.to_string();
        let edit = edit.set(HeaderName::SESSION_EXPIRES, value);
        match interval > asked.interval {
            true => edit.set(HeaderName::MIN_SE, self.min_se.as_secs().to_string()),
            false => edit,
        }
    }
}

impl EdgeCore {
    /// A 2xx to an INVITE or UPDATE passes in a dialog: its interval counts from now. When the
    /// answering side knows no timers and the asking one does, the latter is told to refresh (§8.2).
    pub(crate) fn session_granted<'m>(
        &mut self,
        at: Present,
        (call, callee_tag): (u64, &[u8]),
        request: &Message,
        (edit, response): (Edit<'m>, &Message),
    ) -> Edit<'m> {
        let confirmed = |d: &DialogTrack| d.phase == DialogPhase::Confirmed;
        let dialog = self.calls.get_mut(&call).and_then(|c| c.dialog(callee_tag));
        let is_open = dialog.is_some_and(|d| confirmed(d));
        if !is_refresh(request) || self.sessions.expires.is_zero() || !is_open {
            return edit;
        }
        let (granted, edit) = match SessionExpires::of(response) {
            Some(granted) => (granted.interval, edit),
            None if supports_timer(request) => {
                let interval = self.sessions.expires.max(min_se(request));
                let interval = SessionExpires::of(request)
                    .map_or(interval, |asked| interval.min(asked.interval.max(MIN_SE)));
                let refresher = Some(Refresher::Uac);
                let value = SessionExpires { interval, refresher }.to_string();
                let told = edit
                    .append(HeaderName::SESSION_EXPIRES, value)
                    .append(HeaderName::REQUIRE, "timer");
                (interval, told)
            }
            // Neither side knows them: silence of the media is what ends such a call.
            None => return edit,
        };
        self.watch_session(at, call, callee_tag, at.now + granted.max(MIN_SE));
        edit
    }

    fn watch_session(&mut self, at: Present, call: u64, callee_tag: &[u8], until: Instant) {
        let Some(dialog) = self.calls.get_mut(&call).and_then(|c| c.dialog(callee_tag)) else {
            return;
        };
        dialog.session_until = Some(until);
        self.schedule_session(at, call);
    }

    /// One entry for each call: the earliest of its dialogs.
    fn schedule_session(&mut self, at: Present, call: u64) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let live = entry.dialogs.iter().filter(|d| d.phase != DialogPhase::Over);
        let due = live.filter_map(|d| d.session_until).min().map(|due| due.max(at.now));
        let was = std::mem::replace(&mut entry.session_due, due);
        if was == due {
            return;
        }
        if let Some(was) = was {
            self.sessions.deadlines.remove(&(was, call));
        }
        if let Some(due) = due {
            self.sessions.deadlines.insert((due, call));
        }
    }

    /// A call is over: nothing is to be refreshed any more.
    pub(crate) fn forget_session(&mut self, call: u64) {
        let due = self.calls.get_mut(&call).and_then(|c| c.session_due.take());
        if let Some(due) = due {
            self.sessions.deadlines.remove(&(due, call));
        }
    }

    /// Ends what nobody refreshed.
    pub(crate) fn sessions_timeout(&mut self, at: Present) {
        while let Some((due, call)) = self.sessions.deadlines.first().copied() {
            if due > at.now {
                return;
            }
            self.sessions.deadlines.pop_first();
            self.session_expired(at, call);
        }
    }

    fn session_expired(&mut self, at: Present, call: u64) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.session_due = None;
        let live = entry.dialogs.iter().filter(|d| d.phase == DialogPhase::Confirmed);
        let (over, left): (Vec<_>, Vec<_>) =
            live.partition(|d| d.session_until.is_some_and(|until| until <= at.now));
        let over: Vec<_> = over.into_iter().cloned().collect();
        if over.is_empty() {
            return self.schedule_session(at, call);
        }
        if left.is_empty() {
            tracing::info!(call, "no session refresh came");
            return self.hang_up(at, call, EndCause::SessionExpired);
        }
        for mut dialog in over {
            self.send_bye(at, &mut dialog, Side::Caller, EndCause::SessionExpired);
            self.send_bye(at, &mut dialog, Side::Callee, EndCause::SessionExpired);
            self.end_dialog(at, call, dialog.callee.tag.as_bytes());
        }
        self.schedule_session(at, call);
    }
}

/// The two methods that refresh a session (§3).
fn is_refresh(request: &Message) -> bool {
    matches!(request.method(), Some(Method::INVITE | Method::UPDATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(expires: u64) -> Sessions {
        let config = Config { session_expires_s: expires, ..Config::default() };
        Sessions::new(&config).unwrap()
    }

    fn request(method: &str, extra: &str) -> Message {
        let text = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 1 {method}\r\n{extra}\r\n"
        );
        Message::parse(text.into_bytes().into()).unwrap()
    }

    fn asked(sessions: &Sessions, request: &Message) -> (String, String) {
        let edited = sessions.ask(Edit::new(request), request).finish();
        let text = |name| edited.header_str(name).unwrap_or_default().to_string();
        (text(HeaderName::SESSION_EXPIRES), text(HeaderName::MIN_SE))
    }

    #[test]
    fn r1_9_an_interval_is_added_lowered_or_raised_as_section_8_1_says() {
        let ours = sessions(600);
        let table = [
            ("", "600", ""),
            ("Min-SE: 900\r\n", "900", "900"),
            ("Session-Expires: 300;refresher=uas\r\n", "300;refresher=uas", ""),
            ("Session-Expires: 1800;refresher=uac\r\n", "600;refresher=uac", ""),
            ("Session-Expires: 1800\r\nMin-SE: 1200\r\n", "1200", "1200"),
            ("Session-Expires: 30\r\n", "90", "90"),
        ];
        for (given, expires, min_se) in table {
            let got = asked(&ours, &request("INVITE", given));
            assert_eq!((got.0.as_str(), got.1.as_str()), (expires, min_se), "{given}");
        }
        assert_eq!(asked(&ours, &request("BYE", "")).0, "", "only INVITE and UPDATE refresh");
        assert_eq!(asked(&sessions(0), &request("INVITE", "")).0, "", "off");
    }

    #[test]
    fn r1_9_only_who_understands_a_422_gets_one() {
        let ours = sessions(600);
        let small = "Session-Expires: 30\r\n";
        assert_eq!(ours.refusal(&request("INVITE", small)), None);
        let known = request("UPDATE", &format!("{small}Supported: timer\r\n"));
        let refusal = ours.refusal(&known).unwrap();
        assert_eq!((refusal.status, refusal.headers), (422, vec![("Min-SE", "90".to_string())]));
    }

    #[test]
    fn r1_9_intervals_that_make_no_sense_are_refused_by_name() {
        let bad = |expires, min| {
            let config =
                Config { session_expires_s: expires, session_min_s: min, ..Config::default() };
            Sessions::new(&config).unwrap_err().to_string()
        };
        assert!(bad(1800, 30).contains("edge.session_min_s is 30"));
        assert!(bad(100, 300).contains("edge.session_expires_s is 100"));
    }
}
