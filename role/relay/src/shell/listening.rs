//! Third parties, as the running relay offers them: see [`Control::subscribe`].

use std::time::Instant;

use bytes::Bytes;

use crate::api::{LegProfile, SessionId};
use crate::control::Wanted;
use crate::{Relay, RelayError};

impl Relay {
    /// Writes an offer for a third party who shall hear these sides; the subscription's number.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn subscribe(
        &self,
        session: SessionId,
        wanted: &[Wanted],
        profile: &LegProfile,
    ) -> Result<(u32, Bytes), RelayError> {
        self.control().subscribe(Instant::now(), session, wanted, profile)
    }

    /// Takes a third party's answer: copies flow from now on.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn subscribe_answer(
        &self,
        session: SessionId,
        number: u32,
        sdp: &[u8],
    ) -> Result<(), RelayError> {
        self.control().subscribe_answer(Instant::now(), session, number, sdp)
    }

    /// Nothing flows to a third party until its next answer. False when there is none.
    pub fn rest_subscription(&self, session: SessionId, number: u32) -> bool {
        self.control().rest_subscription(session, number)
    }

    /// Ends a subscription. False when there is none.
    pub fn unsubscribe(&self, session: SessionId, number: u32) -> bool {
        self.control().unsubscribe(session, number)
    }

    /// Whether the session is open.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.control().bridge(session).is_some()
    }
}
