//! What a command needs of the disk: left to the shell, which does it without anything held, and
//! comes back with what became of it.
//!
//! ```text
//!   Controlled::handle ─► Handled::Errand ─► shell: files ─► Controlled::finish ─► the reply
//! ```

use std::path::PathBuf;
use std::time::Instant;

use audio::Wav;
use bytes::Bytes;

use super::playing::Playing;
use super::{Controlled, Entries};
use crate::api::SessionId;
use crate::control::Control;
use crate::ports::Ports;

/// A task, and what its outcome is for.
#[derive(Debug)]
pub struct Errand {
    pub(super) cookie: Bytes,
    pub(super) is_json: bool,
    /// What is to be done.
    pub task: Task,
    pub(super) then: Then,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Record a session, or go on recording it.
    Record {
        /// The session.
        session: SessionId,
        /// The file's name without its endings.
        name: String,
    },
    /// Leave out what is said from now on.
    PauseRecording(SessionId),
    /// End a recording.
    StopRecording(SessionId),
    /// Read sound from a WAV file.
    Fetch {
        /// The file.
        path: PathBuf,
        /// Nobody who shall hear it hears more than this rate holds, in Hz.
        rate_max: u32,
    },
}

/// What became of a task. Reasons are for the controller's log.
#[derive(Debug)]
pub enum Outcome {
    /// It was done, or why not.
    Done(Result<(), String>),
    /// The sound, or why there is none.
    Sound(Result<Wav, String>),
}

/// What the outcome is for.
#[derive(Debug)]
pub(super) enum Then {
    /// The reply tells it.
    Tell,
    /// The reply is this, whatever it was.
    Reply(Entries),
    Play(Playing),
}

/// What a command came to.
pub(super) enum Performed {
    Told(Entries),
    Errand(Task, Then),
}

impl From<Entries> for Performed {
    fn from(entries: Entries) -> Self {
        Self::Told(entries)
    }
}

impl Controlled {
    /// Takes what became of an errand; the reply to send.
    pub fn finish<P: Ports>(
        &mut self,
        now: Instant,
        control: &mut Control<P>,
        errand: Errand,
        outcome: Outcome,
    ) -> Bytes {
        let Errand { cookie, is_json, then, .. } = errand;
        let done = match (then, outcome) {
            (Then::Reply(entries), Outcome::Done(Err(why))) => {
                tracing::warn!(%why, "a call is not recorded");
                Ok(entries)
            }
            (Then::Reply(entries), _) => Ok(entries),
            (Then::Play(playing), Outcome::Sound(sound)) => {
                sound.and_then(|sound| playing.begin(now, control, &sound))
            }
            (_, Outcome::Done(done)) => done.map(|()| Vec::new()),
            (Then::Tell, Outcome::Sound(sound)) => sound.map(|_| Vec::new()),
        };
        self.reply(now, (&cookie, is_json), done)
    }
}
