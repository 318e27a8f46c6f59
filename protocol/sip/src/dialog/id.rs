//! [`DialogId`].

use std::fmt;

use super::DialogError;
use crate::Message;

/// What names a dialog, seen from one side (RFC 3261 §12).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogId {
    /// The Call-ID.
    pub call_id: Box<[u8]>,
    /// Our tag.
    pub local_tag: Box<[u8]>,
    /// The peer's tag; empty for a peer of RFC 2543.
    pub remote_tag: Box<[u8]>,
}

impl DialogId {
    /// The dialog a received request belongs to: our tag is in To.
    pub fn of_request(request: &Message) -> Result<Self, DialogError> {
        let (from, to) = tags(request)?;
        Self::new(request, to.ok_or(DialogError::Missing("To tag"))?, from.unwrap_or_default())
    }

    /// The dialog a received response belongs to: our tag is in From.
    pub fn of_response(response: &Message) -> Result<Self, DialogError> {
        let (from, to) = tags(response)?;
        Self::new(response, from.ok_or(DialogError::Missing("From tag"))?, to.unwrap_or_default())
    }

    fn new(message: &Message, local: &[u8], remote: &[u8]) -> Result<Self, DialogError> {
        let call_id = message.call_id().ok_or(DialogError::Missing("Call-ID"))?;
        Ok(Self { call_id: call_id.into(), local_tag: local.into(), remote_tag: remote.into() })
    }
}

impl fmt::Debug for DialogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |part| String::from_utf8_lossy(part).into_owned();
        write!(f, "{};{};{}", text(&self.call_id), text(&self.local_tag), text(&self.remote_tag))
    }
}

type Tags<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn tags(message: &Message) -> Result<Tags<'_>, DialogError> {
    let from = message.from_().map_err(|_| DialogError::Missing("From"))?;
    let to = message.to().map_err(|_| DialogError::Missing("To"))?;
    Ok((from.tag(), to.tag()))
}
