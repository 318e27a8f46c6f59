//! `start recording`, `pause recording`, `stop recording`, and `record call` of offers.

use std::time::Duration;

use super::calls::Call;
use super::errand::{Performed, Task, Then};
use super::request::Request;
use super::{Controlled, Entries, named};
use crate::api::SessionId;

/// Characters of a Call-ID in a file's name.
const CALL_ID_MAX: usize = 100;

/// What is to become of a call's recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// It begins, or goes on.
    Start,
    /// Nothing is written for a while.
    Pause,
    /// It ends.
    Stop,
}

impl Controlled {
    /// The whole call is meant, whichever party is named.
    pub(super) fn record(
        &mut self,
        request: &Request,
        what: Recording,
        unix: Duration,
    ) -> Result<Performed, String> {
        let call_id = named(request)?;
        let call = self.calls.get(call_id).ok_or("Unknown call-id")?;
        let task = match what {
            Recording::Start => start(call.session, call_id, unix),
            Recording::Pause => Task::PauseRecording(call.session),
            Recording::Stop => Task::StopRecording(call.session),
        };
        Ok(Performed::Errand(task, Then::Tell))
    }

    /// What an offer or answer says of recording is done besides: the call goes on without.
    pub(super) fn recorded(
        &self,
        request: &Request,
        unix: Duration,
        entries: Entries,
    ) -> Performed {
        let call_id = &request.parties.call_id;
        let session = self.calls.get(call_id).map(|call: &Call| call.session);
        match (request.wishes.record, session) {
            (Some(true), Some(session)) => {
                Performed::Errand(start(session, call_id, unix), Then::Reply(entries))
            }
            (Some(false), Some(session)) => {
                Performed::Errand(Task::StopRecording(session), Then::Reply(entries))
            }
            _ => Performed::Told(entries),
        }
    }
}

fn start(session: SessionId, call_id: &[u8], unix: Duration) -> Task {
    Task::Record { session, name: name(session, call_id, unix) }
}

/// The time, the session and the Call-ID, as far as that may stand in a file's name.
fn name(session: SessionId, call_id: &[u8], unix: Duration) -> String {
    let kept = |b: &u8| match b {
        b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.') => char::from(*b),
        _ => '_',
    };
    let call_id: String = call_id.iter().take(CALL_ID_MAX).map(kept).collect();
    format!("{}-{}-{call_id}", unix.as_millis(), session.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_gives_a_name_that_stays_in_its_folder() {
        let of = |call_id: &[u8]| name(SessionId(7), call_id, Duration::from_millis(1_234));
        assert_eq!(of(b"a-1@host.example"), "1234-7-a-1_host.example");
        assert_eq!(of(b"../../etc/passwd\0"), "1234-7-.._.._etc_passwd_");
        assert!(of(&[b'x'; 500]).len() < 200);
    }
}
