//! Dialogs of user agents (RFC 3261 §12): what two phones remember of each other between requests.
//!
//! ```text
//!            INVITE + 101-199 with To tag            2xx
//!   (none) ───────────────────────────────► Early ───────► Confirmed
//!      │                                       │               │
//!      └────────────── 2xx ────────────────────┼───────────►   │ BYE either way, 481, 408
//!                           300-699, cancelled │               │
//!                                              ▼               ▼
//!                                            Terminated ◄──────┘
//! ```
//!
//! - [`Dialog`]: identity, route set, remote target, CSeq both ways; builds in-dialog requests and
//!   the ACK of a 2xx.
//! - [`DialogSet`]: the several dialogs one INVITE may create when it forks (§12.1, §13.2.2).
//! - [`Answer`]: a UAS's 2xx to INVITE, sent again until its ACK comes (§13.3.1.4).
//! - [`OfferAnswer`]: what is an offer, what an answer, and what may not be sent now.
//! - [`ReliableSender`], [`ReliableReceiver`]: provisional responses and their PRACK (RFC 3262).
//! - [`Subscriber`], [`Notifier`]: both ends of a subscription (RFC 6665).
//! - [`ReferTo`], [`DialogRef`]: what REFER, Replaces and Join say (RFC 3515, 3891, 3911).
//! - [`Glare`]: who must wait when both sides re-INVITE at once (§14).
//! - [`SessionTimer`]: refreshes, and the end of a call whose peer is gone (RFC 4028).
//!
//! ```
//! use sip::{Message, Method, dialog::{Dialog, Phase}};
//! # let invite = Message::parse(b"INVITE sip:bob@example.com SIP/2.0\r\n\
//! #   Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKup\r\nMax-Forwards: 70\r\n\
//! #   From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n\
//! #   Call-ID: 1@192.0.2.1\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.1>\r\n\r\n".as_slice().into())?;
//! # let ok = sip::response_to(&invite, 200, "OK").to_tag("2")
//! #     .header(sip::HeaderName::CONTACT, "<sip:bob@192.0.2.9>").build();
//! let mut dialog = Dialog::from_response(&invite, &ok).unwrap();
//! assert_eq!(dialog.phase(), Phase::Confirmed);
//! let ack = dialog.ack(1);                          // add Via and send, outside any transaction
//! let bye = dialog.request(Method::BYE).build();    // add Via and Contact with `Edit` or the builder
//! assert_eq!(bye.request_uri(), b"sip:bob@192.0.2.9");
//! assert_eq!(bye.cseq()?.number, 2);
//! # let _ = ack;
//! # Ok::<(), sip::ParseError>(())
//! ```
//!
//! What it does not do: it holds no transactions, no media, and of timers only those named above.
//!
//! Start reading at [`Dialog`].

mod answer;
mod glare;
mod id;
mod offer_answer;
mod refer;
mod reliable;
mod session_timer;
mod set;
mod state;
mod subscription;
#[cfg(test)]
mod tests;

pub use self::answer::{Answer, AnswerOutcome};
pub use self::glare::{Glare, Verdict, retry_after_491};
pub use self::id::DialogId;
pub use self::offer_answer::{Carrier, Meaning, OfferAnswer, OfferError};
pub use self::refer::{
    DialogRef, ReferError, ReferTo, granted_no_subscription, rename_calls, sipfrag, sipfrag_status,
    wants_no_subscription,
};
pub use self::reliable::{Acknowledged, RAck, Received, ReliableReceiver, ReliableSender, rseq_of};
pub use self::session_timer::{
    IntervalTooSmall, MIN_SE, Refresher, SessionDue, SessionExpires, SessionPolicy, SessionTimer,
    min_se, supports_timer,
};
pub use self::set::{Change, DialogSet};
pub use self::state::{Dialog, Phase, Role};
pub use self::subscription::{Notifier, Subscriber, SubscriberDue, SubscriptionState, Substate};

/// Why a message makes or fits no dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialogError {
    /// A header a dialog needs (From tag, To tag, Call-ID, CSeq, Contact) is missing or broken.
    #[error("no usable {0}")]
    Missing(&'static str),
    /// The response is not a 101-299 with a To tag.
    #[error("the response creates no dialog")]
    NotDialogForming,
    /// The CSeq number is not above the last one (RFC 3261 §12.2.2).
    #[error("request out of order")]
    OutOfOrder,
    /// The dialog is over.
    #[error("the dialog is terminated")]
    Terminated,
    /// More early dialogs of one INVITE than the set keeps.
    #[error("too many dialogs of one request")]
    TooMany,
}

impl DialogError {
    /// With what to answer a request that met this error.
    pub fn status(self) -> u16 {
        match self {
            Self::OutOfOrder => 500,
            Self::Terminated => 481,
            _ => 400,
        }
    }
}
