//! Calls that a request names beside its own: the one to replace, to join, to refer to.

use crate::core::EdgeCore;
use sip::dialog::rename_calls;
use sip::{Edit, HeaderName, Message};

/// Headers whose value begins with the Call-ID of a dialog (RFC 3891, RFC 3911, RFC 4538).
const CALL_ID_FIRST: [HeaderName<'static>; 3] =
    [HeaderName::REPLACES, HeaderName::JOIN, HeaderName::TARGET_DIALOG];

impl EdgeCore {
    /// The calls a request names, by the Call-IDs the other side knows them by: also in a Refer-To,
    /// which has that side say them to a third.
    pub(crate) fn dialogs_across<'m>(
        &self,
        mut edit: Edit<'m>,
        request: &Message,
        hides: bool,
    ) -> Edit<'m> {
        for name in CALL_ID_FIRST {
            let Some(value) = request.header(name) else { continue };
            let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
            let (call_id, rest) = value.split_at(end);
            let across = self.call_id_across(call_id.trim_ascii(), hides);
            if across != call_id {
                edit = edit.set(name, [&across, rest].concat());
            }
        }
        let Some(refer_to) = request.header(HeaderName::REFER_TO) else { return edit };
        let renamed = rename_calls(refer_to, |call_id| {
            let across = self.call_id_across(call_id.as_bytes(), hides);
            (across != call_id.as_bytes()).then(|| String::from_utf8_lossy(&across).into_owned())
        });
        match renamed {
            Some(value) => edit.set(HeaderName::REFER_TO, value),
            None => edit,
        }
    }
}
