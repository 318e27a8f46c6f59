//! `[recording]`: which calls are recorded, by whom, and who has it rest.
//!
//! ```text
//!   edge: opened, described, answered, ended ──► Recorded ──► relay: a file here
//!   console, command line, phones: pause ─────►     │  └────► siprec: a recording server elsewhere
//!                                                   └──► CallRecording on the spine
//! ```

mod command;
mod keys;
mod srs;

pub use command::run;

use crate::config::{RecordedCalls, Recording};
use crate::present;
use anyhow::{Context, Result};
use cluster::{Event, Spine};
use edge::CallOpening;
use keys::TenantKeys;
use relay::recording::{RecordingError, RecordingGate, RecordingOrder, RecordingSetup};
use relay::{Relay, SessionId};
use siprec::metadata::Participant;
use siprec::{CallFacts, Flowing};
use srs::Srs;
pub use srs::SrsParts;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Below the data folder.
const KEYS: &str = "recording-keys";
const FILES: &str = "recordings";
/// Calls that are followed; further ones are not recorded.
const CALLS_MAX: usize = 100_000;
/// What records, in events.
const FILE: &str = "file";
const SIPREC: &str = "siprec";

/// Has calls recorded where the configuration says so.
pub struct Recorded {
    relay: Relay,
    spine: Spine,
    config: Recording,
    srs: Option<Srs>,
    calls: Mutex<BTreeMap<u64, Followed>>,
}

/// A call that is recorded from its answer on.
#[derive(Debug, Clone)]
struct Followed {
    tenant: String,
    /// The file's.
    name: String,
    session_id: String,
    participants: [Participant; 2],
    flowing: Flowing,
    answered: bool,
    paused: bool,
}

/// Why a recording does not rest or go on: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRecorded;

impl std::fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "no call with this number or Session-ID is being recorded: see calls list --json",
        )
    }
}

impl std::error::Error for NotRecorded {}

impl Recorded {
    /// Prepares relay and recording server; `None` where no call is recorded.
    pub fn start(
        data: &Path,
        config: &Recording,
        (relay, spine): (&Relay, &Spine),
        parts: SrsParts,
    ) -> Result<Option<Arc<Self>>> {
        if config.calls == RecordedCalls::None {
            if config.siprec.is_some() {
                tracing::warn!("[recording.siprec] is set, but recording.calls is \"none\"");
            }
            return Ok(None);
        }
        if config.files {
            let folder = config.folder.clone().unwrap_or_else(|| data.join(FILES));
            let setup = setup(folder, data.join(KEYS));
            let folder = setup.folder.display().to_string();
            relay.enable_recording(setup).with_context(|| format!("{folder}: no recordings"))?;
        }
        let srs = config.siprec.as_ref().map(|srs| Srs::start(srs, relay, spine, parts));
        Ok(Some(Arc::new(Self {
            relay: relay.clone(),
            spine: spine.clone(),
            config: config.clone(),
            srs: srs.transpose()?,
            calls: Mutex::default(),
        })))
    }

    /// A call begins: whose it is.
    pub fn note(&self, opening: &CallOpening) {
        let Some((_, domain)) = opening.from.rsplit_once('@') else { return };
        let tenant = domain.to_ascii_lowercase();
        if !concerns(&self.config.tenants, &tenant) {
            return;
        }
        let uri = |aor: &str| match aor.contains(':') {
            true => aor.to_owned(),
            false => format!("sip:{aor}"),
        };
        let caller = Participant { aor: uri(&opening.from), name: opening.caller_name.clone() };
        let callee = Participant { aor: uri(&opening.to), name: String::new() };
        let followed = Followed {
            tenant,
            name: format!("{}-{}", opening.at.as_millis(), opening.session_id),
            session_id: opening.session_id.clone(),
            participants: [caller, callee],
            flowing: Flowing { caller: true, callee: true },
            answered: false,
            paused: false,
        };
        let mut calls = self.calls();
        if calls.len() < CALLS_MAX {
            calls.insert(opening.call, followed);
        } else {
            tracing::error!(call = opening.call, "not recorded: {CALLS_MAX} calls are");
        }
    }

    /// Whether a call may begin: not where it would have to be recorded and cannot be.
    pub fn admits(&self, call: u64) -> bool {
        let must = self.srs.as_ref().is_some_and(Srs::refuses_calls);
        let refused = must && self.calls().contains_key(&call);
        if let Some(srs) = self.srs.as_ref().filter(|_| refused) {
            srs.count_refused();
        }
        !refused
    }

    /// A call is answered by this branch: it is recorded from now on.
    pub fn answered(&self, call: u64, branch: u32) {
        let followed = {
            let mut calls = self.calls();
            let Some(followed) = calls.get_mut(&call).filter(|f| !f.answered) else { return };
            followed.answered = true;
            followed.clone()
        };
        let Followed { tenant, name, .. } = followed.clone();
        let order = RecordingOrder { session: SessionId(call), tenant, name, wav: self.config.wav };
        if self.config.files {
            self.start_file(&order);
        }
        if let Some(srs) = &self.srs {
            match AsConfigured.may_record(&order) {
                Ok(()) => srs.begin(facts(call, branch, &followed), followed.flowing),
                Err(why) => srs.not_begun(call, &why),
            }
        }
    }

    fn start_file(&self, order: &RecordingOrder) {
        let call = order.session.0;
        match self.relay.start_recording(order) {
            Ok(()) => {
                tracing::info!(call, tenant = order.tenant, "recording");
                self.tell(call, FILE, "started", "");
            }
            // Media that does not cross the relay cannot be recorded.
            Err(RecordingError::NoSession) => {
                tracing::warn!(call, "not recorded: no media here");
                self.tell(call, FILE, "failed", "its media does not cross the relay");
            }
            Err(error) => {
                tracing::error!(call, %error, "not recorded");
                self.tell(call, FILE, "failed", &error.to_string());
            }
        }
    }

    /// An answer crossed the relay: who sends sound now.
    pub fn agreed(&self, call: u64, from_caller: bool, sdp: &[u8]) {
        let Some((own, other)) = directions(sdp) else { return };
        let flowing = match from_caller {
            true => Flowing { caller: own, callee: other },
            false => Flowing { caller: other, callee: own },
        };
        let mut calls = self.calls();
        let Some(followed) = calls.get_mut(&call) else { return };
        let changed = std::mem::replace(&mut followed.flowing, flowing) != flowing;
        let runs = followed.answered;
        drop(calls);
        if let Some(srs) = self.srs.as_ref().filter(|_| changed && runs) {
            srs.set_flowing(call, flowing);
        }
    }

    /// Tells a participant by its description that the call is recorded (RFC 7866 §6.1.2: who is
    /// not aware of recording passes over it).
    pub fn mark(&self, call: u64, description: bytes::Bytes) -> bytes::Bytes {
        let state = match self.calls().get(&call) {
            Some(followed) if followed.paused => "paused",
            Some(_) => "on",
            None => return description,
        };
        let Ok(mut sdp) = sdp::Session::parse(&description) else { return description };
        for media in sdp.media_mut().iter_mut().filter(|m| m.kind() == "audio" && !m.is_rejected())
        {
            media.set_attribute("record", Some(state));
        }
        sdp.to_bytes().into()
    }

    /// Has the recording of a call rest, or go on. `by` is who wants it, for the record.
    ///
    /// # Errors
    /// Nothing of the call is recorded.
    pub fn set_paused(&self, call: u64, paused: bool, by: &str) -> Result<(), NotRecorded> {
        {
            let mut calls = self.calls();
            let followed = calls.get_mut(&call).filter(|followed| followed.answered);
            let followed = followed.ok_or(NotRecorded)?;
            if std::mem::replace(&mut followed.paused, paused) == paused {
                return Ok(());
            }
        }
        let state = if paused { "paused" } else { "resumed" };
        tracing::info!(call, state, by, "recording");
        if self.config.files && self.relay.pause_recording(SessionId(call), paused) {
            self.tell(call, FILE, state, by);
        }
        if let Some(srs) = &self.srs {
            srs.set_paused(call, paused);
            self.tell(call, SIPREC, state, by);
        }
        Ok(())
    }

    /// What a phone wishes by its recording key. False where it may not.
    pub fn wish(&self, wish: edge::RecordWish) -> bool {
        let by = if wish.by_caller { "caller" } else { "callee" };
        self.config.phones_may_pause
            && wish.of_ours
            && self.set_paused(wish.session, !wish.on, by).is_ok()
    }

    /// The call with this number or Session-ID.
    pub fn find(&self, name: &str) -> Option<u64> {
        let calls = self.calls();
        let number = name.parse().ok().filter(|number| calls.contains_key(number));
        let named = |(call, followed): (&u64, &Followed)| {
            followed.session_id.eq_ignore_ascii_case(name).then_some(*call)
        };
        number.or_else(|| calls.iter().find_map(named))
    }

    /// A call is over.
    pub fn ended(&self, call: u64) {
        let gone = self.calls().remove(&call);
        if let Some(srs) = self.srs.as_ref().filter(|_| gone.is_some_and(|gone| gone.answered)) {
            srs.end(call);
        }
    }

    /// Figures of the recording server, and calls refused for want of one.
    pub fn figures(&self) -> Option<(&siprec::Figures, u64)> {
        self.srs.as_ref().map(Srs::figures)
    }

    fn tell(&self, call: u64, recorder: &str, state: &str, why: &str) {
        self.spine.emit(present::wall(), step(call, recorder, state, why));
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<u64, Followed>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether calls that begin in `tenant` are recorded.
fn concerns(tenants: &[String], tenant: &str) -> bool {
    tenants.is_empty() || tenants.iter().any(|t| t.eq_ignore_ascii_case(tenant))
}

/// A change of a call's recording, as the spine has it.
fn step(call: u64, recorder: &str, state: &str, why: &str) -> Event {
    let (recorder, state, why) = (recorder.to_owned(), state.to_owned(), why.to_owned());
    Event::CallRecording { call, recorder, state, why }
}

fn facts(call: u64, branch: u32, followed: &Followed) -> CallFacts {
    CallFacts {
        call,
        branch,
        session_id: followed.session_id.clone(),
        participants: followed.participants.clone(),
        answered_at: present::wall(),
    }
}

/// Whether who wrote a description sends sound, and whether it wants any.
fn directions(sdp: &[u8]) -> Option<(bool, bool)> {
    let sdp = sdp::Session::parse(sdp).ok()?;
    let at = sdp.media().iter().position(|m| m.kind() == "audio" && !m.is_rejected())?;
    let way = sdp.direction_of(at);
    Some((way.sends(), way.receives()))
}

/// Recordings below `folder`, sealed with keys below `keys`.
pub fn setup(folder: PathBuf, keys: PathBuf) -> RecordingSetup {
    let keys = Box::new(TenantKeys { folder: keys });
    RecordingSetup { folder, keys, gate: Box::new(AsConfigured) }
}

/// The operator has said so. Rules of consent will stand here, for files and recording servers alike.
struct AsConfigured;

impl RecordingGate for AsConfigured {
    fn may_record(&self, _: &RecordingOrder) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_12_calls_of_the_tenants_named_are_recorded_and_of_all_where_none_is() {
        let named = ["call.example".to_owned(), "Other.example".to_owned()];
        assert!(concerns(&[], "any.example"));
        assert!(concerns(&named, "call.example") && concerns(&named, "other.example"));
        assert!(!concerns(&named, "any.example"));
    }

    #[test]
    fn r5_12_an_answer_says_who_sends_and_who_is_held() {
        let sdp = |lines: &str| {
            let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
            directions(format!("{head}{lines}").as_bytes())
        };
        let audio = "m=audio 4000 RTP/AVP 0\r\n";
        assert_eq!(sdp(audio), Some((true, true)));
        assert_eq!(sdp(&format!("{audio}a=sendonly\r\n")), Some((true, false)));
        assert_eq!(sdp(&format!("{audio}a=inactive\r\n")), Some((false, false)));
        // The sound counts, wherever it stands.
        let rejected = "m=audio 0 RTP/AVP 0\r\nm=video 4002 RTP/AVP 96\r\na=sendonly\r\n";
        assert_eq!(sdp(&format!("{rejected}{audio}a=recvonly\r\n")), Some((false, true)));
        assert_eq!(sdp(rejected), None);
        assert_eq!(directions(b"no description"), None);
    }
}
