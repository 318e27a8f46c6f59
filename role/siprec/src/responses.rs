//! What the SRS answers.

use sip::Message;
use sip::body::Description;
use sip::dialog::{Dialog, DialogId, Role, retry_after_491};
use sip::transaction::ClientKey;

use crate::client::{Client, Present, Purpose};
use crate::event::{Event, Failure};
use crate::session::{Phase, Recorded, takes_any};

impl Client {
    pub(crate) fn handle_response(&mut self, at: Present, key: ClientKey, response: &Message) {
        let status = response.status().unwrap_or_default();
        if status < 200 {
            return;
        }
        if status < 300 && self.orphans.contains_key(&key) {
            return self.end_orphan(at, key, response);
        }
        match self.requests.get(&key).copied() {
            Some(Purpose::Invite(call)) if self.is_calling(call, key) => {
                self.invite_answered(at, call, response);
            }
            Some(Purpose::Change(call)) if self.is_pending(call, key) => {
                self.change_answered(at, call, response);
            }
            Some(Purpose::Check(call)) if self.is_pending(call, key) => {
                self.check_answered(at, call, status);
            }
            // A 2xx that comes again wants its ACK again.
            Some(Purpose::Invite(_) | Purpose::Change(_)) if status < 300 => {
                self.ack_again(response);
            }
            _ => {}
        }
    }

    /// No response at all came.
    pub(crate) fn handle_failure(&mut self, at: Present, key: ClientKey, why: Failure) {
        match self.requests.get(&key).copied() {
            Some(Purpose::Invite(call)) if self.is_calling(call, key) => self.fail(at, call, why),
            Some(Purpose::Change(call) | Purpose::Check(call)) if self.is_pending(call, key) => {
                self.fail(at, call, why);
            }
            _ => {}
        }
    }

    fn is_calling(&self, call: u64, wanted: ClientKey) -> bool {
        let phase = self.sessions.get(&call).map(|session| &session.phase);
        matches!(phase, Some(Phase::Calling { key, .. }) if *key == wanted)
    }

    fn is_pending(&mut self, call: u64, key: ClientKey) -> bool {
        self.recorded(call).is_some_and(|recorded| recorded.pending == Some(key))
    }

    /// The SRS took the call, or did not.
    fn invite_answered(&mut self, at: Present, call: u64, response: &Message) {
        let status = response.status().unwrap_or_default();
        if status >= 300 {
            return self.fail(at, call, Failure::Refused(status));
        }
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Phase::Calling { invite, .. } = &session.phase else { return };
        let (dialog, paused) = (Dialog::from_response(invite, response), session.paused);
        let mut dialog = match dialog {
            Ok(dialog) => dialog,
            Err(error) => return self.fail(at, call, Failure::Media(error.to_string())),
        };
        let ack = (dialog.local_seq(), self.send_ack(&dialog, dialog.local_seq()));
        let waiting = Phase::Waiting { resting: false };
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let before = std::mem::replace(&mut session.phase, waiting);
        let Phase::Calling { mut streams, .. } = before else { return };
        if let Err(why) = self.take(call, streams.number, response, paused) {
            self.send_bye(at, &mut dialog);
            self.media.end(call, streams.number);
            return self.fail(at, call, Failure::Media(why));
        }
        streams.rests = paused;
        let is_stale = streams.is_stale;
        let recorded = Recorded {
            dialog,
            streams,
            ack,
            pending: None,
            is_stale,
            is_adrift: false,
            answer: None,
        };
        if let Some(session) = self.sessions.get_mut(&call) {
            session.is_failed = false;
            session.phase = Phase::Recorded(Box::new(recorded));
        }
        self.works();
        self.tell(Event::Started { call });
        self.settle(at, call);
    }

    /// What a re-INVITE of ours came to.
    fn change_answered(&mut self, at: Present, call: u64, response: &Message) {
        let status = response.status().unwrap_or_default();
        let paused = self.sessions.get(&call).is_some_and(|session| session.paused);
        let Some(recorded) = self.recorded(call) else { return };
        recorded.pending = None;
        recorded.dialog.handle_response(response);
        match status {
            200..300 => {
                let number = response.cseq().map_or(0, |cseq| cseq.number);
                let (dialog, streams) = (recorded.dialog.clone(), recorded.streams.number);
                let ack = self.send_ack(&dialog, number);
                let taken = self.take(call, streams, response, paused);
                if let Some(recorded) = self.recorded(call) {
                    recorded.ack = (number, ack);
                    recorded.streams.rests = paused;
                }
                match taken {
                    Ok(()) => self.settle(at, call),
                    Err(why) => self.drop_session(at, call, Failure::Media(why)),
                }
            }
            // Both changed it at once (RFC 3261 §14.1).
            491 => {
                recorded.is_stale = true;
                let pause = retry_after_491(Role::Uac, &mut *self.entropy);
                self.timers.set(call, at.now + pause);
            }
            408 | 481 => self.fail(at, call, Failure::Forgotten),
            // It goes on as it was, which will not do where it was to be taken up again.
            _ if recorded.streams.rests && !paused => {
                self.drop_session(at, call, Failure::Refused(status));
            }
            _ => {
                tracing::warn!(call, status, "siprec: the SRS refused a change");
                self.settle(at, call);
            }
        }
    }

    fn check_answered(&mut self, at: Present, call: u64, status: u16) {
        if matches!(status, 408 | 481) {
            return self.fail(at, call, Failure::Forgotten);
        }
        // Whoever knows no OPTIONS still knew the dialog.
        if let Some(recorded) = self.recorded(call) {
            recorded.pending = None;
        }
        self.settle(at, call);
    }

    /// Goes on with what has changed meanwhile, or rests until the next question.
    pub(crate) fn settle(&mut self, at: Present, call: u64) {
        let Some(recorded) = self.recorded(call) else { return };
        match recorded.is_stale {
            true if recorded.answer.is_none() => self.send_change(at, call),
            _ => self.timers.set(call, at.now + self.config.check_after()),
        }
    }

    /// Ends a session that cannot go on.
    pub(crate) fn drop_session(&mut self, at: Present, call: u64, why: Failure) {
        if let Some(recorded) = self.recorded(call) {
            let mut dialog = recorded.dialog.clone();
            self.send_bye(at, &mut dialog);
        }
        self.fail(at, call, why);
    }

    /// Takes the SRS's answer.
    fn take(
        &mut self,
        call: u64,
        number: u32,
        response: &Message,
        paused: bool,
    ) -> Result<(), String> {
        let Description::Sdp(sdp) = sip::body::description(response) else {
            return Err("its answer describes nothing".to_owned());
        };
        if !takes_any(sdp) {
            return Err("it takes no stream".to_owned());
        }
        // In a pause not a single packet may leave: the answer to the resume counts.
        if paused { Ok(()) } else { self.media.answer(call, number, sdp) }
    }

    /// An INVITE that was given up is answered: the SRS is told that nothing comes.
    fn end_orphan(&mut self, at: Present, key: ClientKey, response: &Message) {
        let Some(invite) = self.orphans.remove(&key) else { return };
        if let Ok(mut dialog) = Dialog::from_response(&invite, response) {
            self.send_ack(&dialog, dialog.local_seq());
            self.send_bye(at, &mut dialog);
        }
    }

    /// A 2xx came once more.
    pub(crate) fn ack_again(&mut self, response: &Message) {
        let (Ok(id), Ok(cseq)) = (DialogId::of_response(response), response.cseq()) else { return };
        let number = cseq.number;
        let found = self.sessions.values().find_map(|session| match &session.phase {
            Phase::Recorded(recorded) if *recorded.dialog.id() == id => Some(&recorded.ack),
            _ => None,
        });
        if let Some((_, ack)) = found.filter(|(seq, _)| *seq == number) {
            let ack = ack.clone();
            self.transmit(ack);
        }
    }
}
