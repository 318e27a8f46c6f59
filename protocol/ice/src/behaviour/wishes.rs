//! What a query asks for.

use std::time::Duration;

use super::{REPLY_DELAY, Refusal};
use crate::stun::{Message, attribute as attr};

/// The bits of CHANGE-REQUEST (RFC 5780 §7.2).
const CHANGE_IP: u8 = 4;
const CHANGE_PORT: u8 = 2;

/// Comprehension-required attributes of ours beside those of a check.
const OURS: [u16; 3] = [attr::CHANGE_REQUEST, attr::PADDING, attr::RESPONSE_PORT];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wishes {
    pub(super) change_ip: bool,
    pub(super) change_port: bool,
    pub(super) response_port: Option<u16>,
    pub(super) pads: bool,
    pub(super) delay: Option<Duration>,
}

impl Wishes {
    /// What a Binding request asks for; `None` if nothing of this module.
    pub(super) fn read(message: &Message<'_>) -> Option<Result<Self, Refusal>> {
        let ours = |kind: &u16| OURS.contains(kind) || *kind == REPLY_DELAY;
        message.attributes().map(|(kind, _)| kind).find(ours)?;
        Some(Self::read_all(message))
    }

    fn read_all(message: &Message<'_>) -> Result<Self, Refusal> {
        if !unknown(message).is_empty() {
            return Err(Refusal::UnknownAttribute);
        }
        let change = word(message, attr::CHANGE_REQUEST)?.map_or(0, |w| w[3]);
        let port = word(message, attr::RESPONSE_PORT)?.map(|w| u16::from_be_bytes([w[0], w[1]]));
        let delay = word(message, REPLY_DELAY)?.map(u32::from_be_bytes);
        let pads = message.attribute(attr::PADDING).is_some();
        // RFC 5780 §6.1: both together could be turned against somebody else's port.
        if port == Some(0) || (port.is_some() && pads) {
            return Err(Refusal::BadRequest);
        }
        Ok(Self {
            change_ip: change & CHANGE_IP != 0,
            change_port: change & CHANGE_PORT != 0,
            response_port: port,
            pads,
            delay: delay.map(|seconds| Duration::from_secs(seconds.into())),
        })
    }
}

/// Comprehension-required attributes nobody here knows.
pub(super) fn unknown(message: &Message<'_>) -> Vec<u16> {
    message.unknown_required().into_iter().filter(|kind| !OURS.contains(kind)).collect()
}

/// The four bytes of an attribute, if it is there.
fn word(message: &Message<'_>, kind: u16) -> Result<Option<[u8; 4]>, Refusal> {
    match message.attribute(kind).map(<[u8; 4]>::try_from) {
        None => Ok(None),
        Some(Ok(word)) => Ok(Some(word)),
        Some(Err(_)) => Err(Refusal::BadRequest),
    }
}
