//! What the phone wants sent, and what it tells its application.

use bytes::Bytes;
use media::MediaStats;
use rtp::zrtp::{Retained, Secured, Zid};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// A call of this phone; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallHandle(pub u32);

/// A text of ours on its way; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageHandle(pub u32);

/// A subscription of this phone; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionHandle(pub u32);

/// One thing to do or to know. Drain after every call into the phone.
#[derive(Debug)]
pub enum PhoneOutput {
    /// Send on the link: one SIP message, or a keep-alive.
    SendSip(Bytes),
    /// Send from the call's RTP socket, or its RTCP socket.
    SendMedia {
        /// The call.
        call: CallHandle,
        /// Where to.
        to: SocketAddr,
        /// The packet.
        bytes: Bytes,
        /// From the RTCP socket (RTP port + 1) when the two are not multiplexed.
        rtcp: bool,
    },
    /// What the ways of a media socket want (ICE, TURN).
    Way {
        /// The socket.
        local: SocketAddr,
        /// What.
        output: crate::WayOutput,
    },
    /// Something happened.
    Event(PhoneEvent),
}

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum PhoneEvent {
    /// Registered, or refreshed.
    Registered {
        /// For how long.
        expires: Duration,
    },
    /// The registration ended because we asked.
    Unregistered,
    /// Not registered; tried again after `retry`, or never when the account itself is refused.
    RegistrationFailed {
        /// The server's status; 408 for silence, 503 for a broken link.
        status: u16,
        /// Its words.
        reason: String,
        /// When the phone tries again by itself.
        retry: Option<Duration>,
    },
    /// Somebody calls.
    Incoming {
        /// The call.
        call: CallHandle,
        /// Who, as a URI.
        from: String,
        /// Whom they called: the Request-URI.
        target: String,
        /// Their display name.
        display_name: String,
        /// The call of ours it takes over (RFC 3891): to be answered at once.
        replaces: Option<CallHandle>,
        /// The call of ours it wants to be heard in (RFC 3911).
        joins: Option<CallHandle>,
    },
    /// The first sound of the other side came.
    Heard {
        /// The call.
        call: CallHandle,
    },
    /// ICE chose the way of a call's media.
    WaySelected {
        /// The call.
        call: CallHandle,
        /// By an address borrowed from a TURN server.
        relayed: bool,
        /// .. of this one.
        lender: Option<SocketAddr>,
        /// One like it carried an earlier call on this network.
        known: bool,
        /// STUN and TURN messages sent for it so far.
        messages: u32,
        /// Those of them that went to servers.
        gathering: u32,
    },
    /// [`crate::Phone::remembered_pairs`] gives something worth keeping.
    PairsLearned,
    /// How a call's packets are marked (DSCP), once that is known and when it changes: what we put on
    /// them, and with what they come.
    Marks {
        /// The call.
        call: CallHandle,
        /// The marks.
        marks: rtp::rtcp::Marks,
    },
    /// The way of a call's media is dead, and others are tried.
    WayLost {
        /// The call.
        call: CallHandle,
    },
    /// The other side wants us to call somebody in its place (REFER): follow or refuse.
    TransferRequested {
        /// The call.
        call: CallHandle,
        /// Whom to call, as a URI.
        target: String,
        /// Who says so: the Referred-By.
        by: String,
        /// We take over a call there is over there.
        attended: bool,
        /// We are to be heard in a call there is over there (RFC 3911).
        joins: bool,
    },
    /// How a transfer of ours goes.
    TransferProgress {
        /// The call.
        call: CallHandle,
        /// The SIP status the other side got.
        status: u16,
    },
    /// How a transfer of ours came out: below 300 the other side is where it should be, and the call
    /// ends; otherwise the call goes on.
    TransferEnded {
        /// The call.
        call: CallHandle,
        /// The SIP status the other side got, or that of our REFER.
        status: u16,
    },
    /// A text came.
    Message {
        /// From whom, as a URI.
        from: String,
        /// The text.
        text: String,
    },
    /// What came of a text of ours: taken below 300.
    MessageSent {
        /// The text.
        message: MessageHandle,
        /// The final status; 408 for silence, 503 for a broken link.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// An INFO came in a call with something that is no key pressed.
    Info {
        /// The call.
        call: CallHandle,
        /// What it is.
        content_type: String,
        /// It.
        body: Vec<u8>,
    },
    /// A subscription brought the state of what it is for.
    Notified {
        /// The subscription.
        subscription: SubscriptionHandle,
        /// What it is; empty without a body.
        content_type: String,
        /// It.
        body: Vec<u8>,
    },
    /// A subscription is over.
    SubscriptionEnded {
        /// The subscription.
        subscription: SubscriptionHandle,
        /// Why, in the notifier's word or with the status that ended it.
        reason: String,
    },
    /// The other side rings.
    Ringing {
        /// The call.
        call: CallHandle,
    },
    /// Media came before the answer.
    EarlyMedia {
        /// The call.
        call: CallHandle,
    },
    /// The other side sent our call on (RFC 3261 §8.1.3.4); it goes on there.
    Redirected {
        /// The call.
        call: CallHandle,
        /// Where to, as a URI.
        to: String,
    },
    /// Answered: both sides can talk.
    Answered {
        /// The call.
        call: CallHandle,
        /// The codec agreed.
        codec: String,
        /// Whether media is encrypted.
        encrypted: bool,
    },
    /// We hold, or no longer.
    Held {
        /// The call.
        call: CallHandle,
        /// Held now.
        held: bool,
    },
    /// The other side holds us, or no longer.
    HeldByPeer {
        /// The call.
        call: CallHandle,
        /// Held now.
        held: bool,
    },
    /// Both ends agreed on keys that nobody else has (RFC 6189), if the short string is the same on
    /// both; or our user has said whether it is.
    Secured {
        /// The call.
        call: CallHandle,
        /// The string, and what is known of the other side.
        secured: Secured,
    },
    /// They did not agree. A call that was to have them or nothing ends.
    NotSecured {
        /// The call.
        call: CallHandle,
        /// Why.
        reason: String,
    },
    /// Keep this about another side: a phone that is started again is to be given it.
    Retained {
        /// The other side.
        zid: Zid,
        /// What replaces what was kept of it.
        retained: Retained,
    },
    /// A digit came (RFC 4733).
    Dtmf {
        /// The call.
        call: CallHandle,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
    },
    /// The call is over.
    Ended {
        /// The call.
        call: CallHandle,
        /// Why.
        cause: Cause,
        /// The SIP status that ended it, where one did.
        status: Option<u16>,
        /// Its words.
        reason: String,
        /// The media's figures, if any flowed.
        stats: Option<Box<MediaStats>>,
    },
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// We hung up.
    HungUp,
    /// They hung up.
    PeerHungUp,
    /// We gave up before an answer.
    Cancelled,
    /// They gave up before we answered.
    Missed,
    /// They are busy (486, 600).
    Busy,
    /// They declined (603, 607).
    Declined,
    /// We declined.
    Rejected,
    /// Nobody answered (408, 480, 487).
    NoAnswer,
    /// There is no such user (404, 410, 604).
    NotFound,
    /// The account may not (401, 403, 407).
    Forbidden,
    /// No media both sides can use (415, 488, 606).
    NoCommonMedia,
    /// The server or the way to it failed (5xx, silence, a broken link).
    Network,
    /// Our side of a call whose other side is where we transferred it.
    Transferred,
    /// Another call took its place.
    Replaced,
    /// It was to be with keys of its two ends, and they did not agree on any.
    NotSecured,
    /// Anything else.
    Failed,
}

impl Cause {
    /// From the final status of an INVITE.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 | 407 => Self::Forbidden,
            404 | 410 | 604 => Self::NotFound,
            408 | 480 | 487 => Self::NoAnswer,
            415 | 488 | 606 => Self::NoCommonMedia,
            486 | 600 => Self::Busy,
            // RFC 8197: whoever was called does not want the call.
            603 | 607 => Self::Declined,
            500..=599 => Self::Network,
            _ => Self::Failed,
        }
    }

    /// The word for JSON and screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HungUp => "hung-up",
            Self::PeerHungUp => "peer-hung-up",
            Self::Cancelled => "cancelled",
            Self::Missed => "missed",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::Rejected => "rejected",
            Self::NoAnswer => "no-answer",
            Self::NotFound => "not-found",
            Self::Forbidden => "forbidden",
            Self::NoCommonMedia => "no-common-media",
            Self::Network => "network",
            Self::Transferred => "transferred",
            Self::Replaced => "replaced",
            Self::NotSecured => "not-secured",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a command to the phone did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhoneError {
    /// No such call, or it is over.
    #[error("there is no such call")]
    NoSuchCall,
    /// The command does not fit the call's state.
    #[error("the call is {0}, so this cannot be done now")]
    WrongState(&'static str),
    /// The link to the server is down.
    #[error("not connected to the server")]
    NotConnected,
    /// The target is not an address.
    #[error("'{0}' is not a SIP address: use user, user@domain or sip:user@domain")]
    BadTarget(String),
    /// Too many calls at once.
    #[error("too many of them at once (at most {0})")]
    TooManyCalls(usize),
    /// A text longer than a message may be.
    #[error("the text has {bytes} bytes; at most {max} can be sent")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The media session refused.
    #[error("media: {0}")]
    Media(String),
}
