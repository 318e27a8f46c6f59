//! A call as it begins: its numbers, what is remembered of it, and what its record opens with.

use crate::call::Call;
use crate::core::{EdgeCore, Present};
use crate::forward::Forward;
use crate::media_policy::MediaPlan;
use crate::ports::CallOpening;
use sansio::push_hex;
use sip::transaction::ServerKey;
use sip::{HeaderName, Message};

/// Longest text of a header that goes into a record.
pub(crate) const SHOWN_MAX: usize = 256;
/// Characters of a name that a caller gives itself.
const NAME_MAX: usize = 128;

impl EdgeCore {
    pub(crate) fn open_call(
        &mut self,
        at: Present,
        key: ServerKey,
        forward: &mut Forward,
        (to, media): (String, MediaPlan),
    ) -> CallOpening {
        let request = &forward.request;
        let given = session_id(request);
        let session_id = given.clone().unwrap_or_else(|| {
            let mut id = String::with_capacity(32);
            for _ in 0..2 {
                push_hex(&mut id, self.entropy.next_u64(), 16);
            }
            id
        });
        if given.is_none() {
            forward.added_session_id = Some(session_id.clone());
        }
        let request = &forward.request;
        // Non-zero, and never above what SQL and JSON count exactly.
        let call = (self.entropy.next_u64() >> 11).max(1);
        // Even without a description yet: whatever comes later must not cross untouched.
        let relay_session = if media == MediaPlan::Forward { 0 } else { call };
        let span = tracing::info_span!("call", call, session_id = %session_id);
        tracing::debug!(parent: &span, ?media, "media plan");
        self.counters.calls += 1;
        self.calls_live += 1;
        self.calls.insert(
            call,
            Box::new(Call {
                invite: Some(key),
                relay_session,
                session_id: session_id.clone(),
                dialogs: Vec::new(),
                answered: false,
                ended: false,
                under_way: 0,
                session_due: None,
                heard: None,
                span,
            }),
        );
        let text =
            |name| crate::sanitize::shown(request.header(name).unwrap_or_default(), SHOWN_MAX);
        let name = request.from_().ok().and_then(|from| from.display_name());
        let caller_name = crate::sanitize::shown(&name.unwrap_or_default(), NAME_MAX);
        CallOpening {
            call,
            session_id,
            call_id: text(HeaderName::CALL_ID),
            from: forward.caller.clone(),
            to,
            source: format!("{}:{}", forward.arrival.transport, forward.arrival.peer),
            user_agent: text(HeaderName::USER_AGENT),
            caller_name,
            at: at.wall,
        }
    }
}

/// The caller's half of the Session-ID (RFC 7989), if it sent one. All zeros stand for none.
fn session_id(request: &Message) -> Option<String> {
    let given = request.header(HeaderName::SESSION_ID)?;
    let id = given.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let good = id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit);
    let nil = id.iter().all(|b| *b == b'0');
    (good && !nil).then(|| String::from_utf8_lossy(id).to_ascii_lowercase())
}
