//! What the edge does about an account that is held.

use super::{Action, Standing};
use crate::core::{EdgeCore, Present};
use crate::ports::Refusal;
use sip::{Aor, Message};

impl EdgeCore {
    /// Why a call of `caller` to `to` does not go on, if it is held.
    pub(crate) fn held(&mut self, at: Present, caller: &Aor, to: &str) -> Option<Refusal> {
        let refusal = match self.standings.of_call(at.wall, caller.as_str(), to) {
            Standing::Good | Standing::Challenged => return None,
            Standing::Throttled(seconds) => Refusal {
                headers: vec![("Retry-After", seconds.to_string())],
                ..Refusal::new(503, "Calls To Numbers Are Limited")
            },
            Standing::Blocked => Refusal::new(403, "Calls To Numbers Are Blocked"),
        };
        self.counters.calls_held += 1;
        Some(refusal)
    }

    /// Whether the password is asked for whatever the connection proved.
    pub(crate) fn is_challenged(&self, at: Present, caller: &Aor, request: &Message) -> bool {
        if self.standings.action() != Action::Challenge {
            return false;
        }
        let to = String::from_utf8_lossy(request.request_uri());
        self.standings.of_call(at.wall, caller.as_str(), &to) == Standing::Challenged
    }
}
