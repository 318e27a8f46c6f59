//! One recording session, and what it needs of the relay.

use bytes::Bytes;
use sansio::WallTime;
use sdp::{Direction, Session as Sdp};
use sip::Message;
use sip::dialog::{Answer, Dialog};
use sip::transaction::ClientKey;

use crate::metadata::{Participant, Snapshot};

/// The relay, as the recording client sees it. Commands are done when they return.
pub trait MediaPort: Send {
    /// Writes the offer of two streams that only send, the caller's and the callee's, named by
    /// [`LABELS`](crate::metadata::LABELS); with `srtp` keys stand in it.
    ///
    /// # Errors
    /// Why there is none, for the log.
    fn offer(&mut self, facts: &CallFacts, srtp: bool) -> Result<Offered, String>;

    /// Takes the SRS's description: what it wants to hear flows from now on.
    ///
    /// # Errors
    /// Why it does not fit.
    fn answer(&mut self, call: u64, number: u32, sdp: &[u8]) -> Result<(), String>;

    /// Nothing flows until the next [`Self::answer`].
    fn rest(&mut self, call: u64, number: u32);

    /// Closes the streams.
    fn end(&mut self, call: u64, number: u32);

    /// Whether the call goes on.
    fn is_open(&mut self, call: u64) -> bool;
}

/// Two streams that were opened.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Their number, for later commands.
    pub number: u32,
    /// Their description.
    pub sdp: Bytes,
}

/// What is known of a call when it is answered.
#[derive(Debug, Clone)]
pub struct CallFacts {
    /// The call's number.
    pub call: u64,
    /// The branch that answered.
    pub branch: u32,
    /// The caller's half of the Session-ID (RFC 7989).
    pub session_id: String,
    /// Caller and callee.
    pub participants: [Participant; 2],
    /// When it was answered.
    pub answered_at: WallTime,
}

/// Who sends sound now: who holds, or is held, does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flowing {
    /// The caller does.
    pub caller: bool,
    /// The callee does.
    pub callee: bool,
}

/// A call that is recorded, or shall be.
pub(crate) struct Session {
    pub facts: CallFacts,
    pub snapshot: Snapshot,
    pub paused: bool,
    /// A failure was told: one that follows it at once is no news.
    pub is_failed: bool,
    pub phase: Phase,
}

impl Session {
    /// Which of the two streams carry sound.
    pub(crate) fn flows(&self) -> [bool; 2] {
        self.snapshot.sends.map(|sends| sends && !self.paused)
    }
}

/// How far a recording session has come.
///
/// ```text
///            connection      2xx, ACK
///   Waiting ──────────► Calling ─────► Recorded ──BYE──► gone
///      ▲                   │ refused      │ lost
///      └── retry_s ────────┴──────────────┘ (unless required)
/// ```
pub(crate) enum Phase {
    /// For the connection; or `resting` after a failure, until it is tried again.
    Waiting { resting: bool },
    /// The INVITE is out.
    Calling { key: ClientKey, invite: Message, streams: Streams },
    /// The SRS has it.
    Recorded(Box<Recorded>),
}

/// A confirmed dialog with the SRS.
pub(crate) struct Recorded {
    pub dialog: Dialog,
    pub streams: Streams,
    /// The last ACK, and the number of its INVITE: for a 2xx that comes again.
    pub ack: (u32, Bytes),
    /// A request of ours in the dialog that waits for its final response.
    pub pending: Option<ClientKey>,
    /// What the SRS was told is not how it is.
    pub is_stale: bool,
    /// The connection is gone; the dialog is taken up again by the next one.
    pub is_adrift: bool,
    /// A 2xx of ours that waits for its ACK.
    pub answer: Option<Answer>,
}

/// The two streams, as described to the SRS.
pub(crate) struct Streams {
    pub number: u32,
    /// The relay was told to send nothing.
    pub rests: bool,
    /// What the INVITE said is not how it is any more.
    pub is_stale: bool,
    sdp: Sdp,
}

impl Streams {
    pub(crate) fn new(offered: &Offered) -> Result<Self, String> {
        let sdp = Sdp::parse(&offered.sdp).map_err(|error| error.to_string())?;
        Ok(Self { number: offered.number, rests: false, is_stale: false, sdp })
    }

    /// The description for streams that carry sound or rest (RFC 7866 §7.1.1.1: `inactive` while
    /// nothing is to come). A change raises the version (RFC 3264 §8).
    pub(crate) fn describe(&mut self, flows: [bool; 2], is_first: bool) -> Vec<u8> {
        let before = self.sdp.to_bytes();
        for (media, flows) in self.sdp.media_mut().iter_mut().zip(flows) {
            media.set_direction(if flows { Direction::SendOnly } else { Direction::Inactive });
        }
        let origin = self.sdp.origin().filter(|_| !is_first && before != self.sdp.to_bytes());
        if let Some(mut origin) = origin {
            origin.version += 1;
            self.sdp.set_origin(&origin);
        }
        self.sdp.to_bytes()
    }
}

/// Whether an SRS's description takes any of our streams, even if it rests for now.
pub(crate) fn takes_any(sdp: &[u8]) -> bool {
    let Ok(sdp) = Sdp::parse(sdp) else { return false };
    sdp.media().iter().any(|media| !media.is_rejected())
}

/// Which streams an SRS's description wants to hear.
pub(crate) fn wants(sdp: &[u8]) -> [bool; 2] {
    let Ok(sdp) = Sdp::parse(sdp) else { return [false; 2] };
    [0, 1].map(|at| {
        sdp.media().get(at).is_some_and(|m| !m.is_rejected()) && sdp.direction_of(at).receives()
    })
}
