//! Which codecs two ends have in common.

use super::{Capabilities, Format};
use crate::MediaLine;

/// The common ground, with the numbers of the far end's description.
#[derive(Debug, Clone)]
pub(super) struct Agreed {
    pub(super) send: Format,
    pub(super) receive: Vec<Format>,
    pub(super) send_event: Option<Format>,
    pub(super) receive_events: Vec<Format>,
}

impl Agreed {
    pub(super) fn formats(&self) -> impl Iterator<Item = &Format> {
        self.receive.iter().chain(&self.receive_events)
    }
}

/// The codecs of `theirs` that `caps` has, in their order; `None` when there are none.
pub(super) fn common(theirs: &MediaLine, caps: &Capabilities) -> Option<Agreed> {
    let known = |ours: &[Format]| -> Vec<Format> {
        theirs
            .payload_types()
            .filter_map(|pt| theirs.rtpmap(pt))
            .filter_map(|map| {
                let format = ours.iter().find(|f| f.is_same_codec(&map))?;
                Some(Format { map, fmtp: format.fmtp.clone() })
            })
            .collect()
    };
    let receive = known(&caps.codecs);
    let send = receive.first()?.clone();
    let events = known(&caps.telephone_events);
    // Events share the clock of the audio they replace (RFC 4733 §2.1, §5); an end that offers
    // only 8 kHz events beside Opus gets those.
    let same_clock = |e: &&Format| e.map.clock_rate == send.map.clock_rate;
    let send_event = events.iter().find(same_clock).or(events.first()).cloned();
    Some(Agreed { send, receive, send_event, receive_events: events })
}
