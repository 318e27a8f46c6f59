//! The port through which the API reaches the server. `app/whimbrel` implements it; the tests have
//! one in memory.

use std::future::Future;
use std::pin::Pin;

use futures_util::Stream;

use crate::event::LiveEvent;
use crate::model::{
    Health, LiveCall, Page, PageRequest, PhoneAccount, Record, Registration, Scope, Session,
    Tenant, User,
};

/// A boxed answer, so that the port can be a trait object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send + 'a>>;

/// Live events, in order. A stream that fell behind yields [`LiveEvent::Lagged`] instead of what it
/// lost; it ends when the server stops.
pub type EventStream = Pin<Box<dyn Stream<Item = LiveEvent> + Send>>;

/// What the API asks of the server.
///
/// Who may ask is decided before: by the route's entry in the table and by [`Scope`]. `account` is
/// always `user@domain` with the domain in lower case; passwords are the plain ones, to be hashed
/// at once and never logged.
pub trait Backend: Send + Sync + 'static {
    /// Checks name and password and opens a session.
    ///
    /// [`BackendError::Refused`] for a name that does not exist as for a wrong password, after the
    /// same work.
    fn sign_in<'a>(&'a self, login: &'a str, password: &'a str) -> Answer<'a, Session>;

    /// Opens a session by a one-time link; the link is spent even if the answer is lost.
    fn redeem_link<'a>(&'a self, token: &'a str) -> Answer<'a, Session>;

    /// The session of a bearer token; `None` when it is unknown, over or revoked.
    fn session<'a>(&'a self, token: &'a str) -> Answer<'a, Option<Session>>;

    /// Ends a session; ending one that is over is fine.
    fn sign_out<'a>(&'a self, token: &'a str) -> Answer<'a, ()>;

    /// All domains.
    fn tenants(&self) -> Answer<'_, Vec<Tenant>>;

    /// Users of all domains in alphabetical order.
    fn users(&self, page: PageRequest) -> Answer<'_, Page<User>>;

    /// Adds a user. [`BackendError::Exists`]: there is one; [`BackendError::NotFound`]: its domain
    /// is not served.
    fn add_user<'a>(&'a self, account: &'a str, password: &'a str) -> Answer<'a, User>;

    /// Removes a user, its sessions and registrations.
    fn remove_user<'a>(&'a self, account: &'a str) -> Answer<'a, ()>;

    /// Sets a user's password and ends its sessions.
    fn set_password<'a>(&'a self, account: &'a str, password: &'a str) -> Answer<'a, ()>;

    /// The bindings that are in force.
    fn registrations(&self, scope: Scope) -> Answer<'_, Vec<Registration>>;

    /// The calls that are going on.
    fn calls(&self, scope: Scope) -> Answer<'_, Vec<LiveCall>>;

    /// Ends a call both ways. [`BackendError::NotFound`]: no such call goes on.
    fn hang_up<'a>(&'a self, call: &'a str) -> Answer<'a, ()>;

    /// Has the recording of a call rest, or go on; `by` is who wants it.
    /// [`BackendError::NotFound`]: nothing of it is recorded.
    fn pause_recording<'a>(&'a self, call: &'a str, paused: bool, by: &'a str) -> Answer<'a, ()>;

    /// Call records, newest first.
    fn records(&self, scope: Scope, page: PageRequest) -> Answer<'_, Page<Record>>;

    /// What happens from now on, everyone's.
    fn subscribe(&self) -> EventStream;

    /// A short-lived token and the account's facts for the web phone.
    ///
    /// [`BackendError::NotFound`]: the session (an administrator's) has no phone account.
    fn phone_account<'a>(&'a self, session: &'a Session) -> Answer<'a, PhoneAccount>;

    /// How the server does.
    fn health(&self) -> Answer<'_, Health>;
}

/// Why the server did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Name, password or link do not fit. Says no more, so that a scanner learns nothing.
    #[error("the credentials do not fit")]
    Refused,
    /// What was named does not exist.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// What was to be added exists.
    #[error("this {0} exists already")]
    Exists(&'static str),
    /// A value the server does not accept.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// Why, as a sentence's end.
        reason: String,
    },
    /// The server cannot now; asking again later may help.
    #[error("not available: {0}")]
    Unavailable(String),
    /// The server is at fault. The text goes to the log, not to the client.
    #[error("{0}")]
    Internal(String),
}
