//! Redirections of our INVITE (RFC 3261 §8.1.3.4): followed to other users of our own domain, one
//! after the other, each once.
//!
//! Whoever is called chooses where a redirection leads, and the caller pays: numbers, other domains
//! and less secure addresses are the user's to call.

use crate::call::{Call, State};
use crate::early::EarlyDialogs;
use crate::event::{CallHandle, PhoneEvent};
use crate::phone::Phone;
use sip::{Aor, Edit, Message, SipUri};

/// Places one call is sent on to.
const TARGETS_MAX: usize = 5;

/// Where a call was, and where it may still go.
#[derive(Debug, Default)]
pub(crate) struct Redirections {
    /// As they compare.
    tried: Vec<String>,
    /// The best last.
    waiting: Vec<(u16, String)>,
}

impl Redirections {
    /// Takes the places a response names that are worth trying.
    fn take(&mut self, from: &SipUri<'_>, domain: &str, response: &Message) {
        self.note(&spelled(from));
        for contact in response.contacts().flatten() {
            let Ok(uri) = contact.sip_uri() else { continue };
            let key = spelled(&uri);
            let known = self.tried.contains(&key) || self.waiting.iter().any(|(_, w)| *w == key);
            let safe = uri.is_sips() || !from.is_sips();
            let ours = uri.host().eq_ignore_ascii_case(domain);
            // Escaped digits are digits.
            let person = !is_number(Aor::from_uri(&uri).user());
            if !known && safe && ours && person && self.left() {
                self.waiting.push((preference(contact.param("q")), key));
            }
        }
        // Stable: of equals the first named is the last, and next.
        self.waiting.reverse();
        self.waiting.sort_by_key(|(q, _)| *q);
    }

    fn next(&mut self) -> Option<String> {
        let (_, uri) = self.waiting.pop()?;
        self.note(&uri);
        Some(uri)
    }

    fn note(&mut self, uri: &str) {
        if !self.tried.iter().any(|tried| tried == uri) {
            self.tried.push(uri.to_owned());
        }
    }

    /// The first place is where the call was meant to go.
    fn left(&self) -> bool {
        self.tried.len() + self.waiting.len() <= TARGETS_MAX
    }
}

impl Call {
    /// Before anybody described media to us: what one of them said would not fit the next.
    fn may_go_on(&self) -> bool {
        match self.state {
            State::Calling => true,
            State::Early => self.early.selected().is_none(),
            _ => false,
        }
    }
}

impl Phone {
    /// Our INVITE to the next place, when the response sends us on, or when a place that we were
    /// sent to failed and another is left. `None` when that is the end of it.
    pub(crate) fn redirected(
        &mut self,
        call: CallHandle,
        request: &Message,
        response: &Message,
    ) -> Option<Message> {
        let entry = self.calls.get_mut(&call).filter(|entry| entry.may_go_on())?;
        match response.status()? {
            300..400 => {
                let from = SipUri::parse(request.request_uri()).ok()?;
                entry.redirections.take(&from, &self.account.domain, response);
            }
            // Of a 6xx nobody else is to be asked (RFC 3261 §21.6).
            400..600 => {}
            _ => return None,
        }
        let to = entry.redirections.next()?;
        entry.early = EarlyDialogs::default();
        self.tell(PhoneEvent::Redirected { call, to: to.clone() });
        Some(Edit::new(request).replace_request_uri(to).finish())
    }
}

/// User and host in one spelling: what a redirection says besides is not for us.
fn spelled(uri: &SipUri<'_>) -> String {
    let aor = Aor::from_uri(uri);
    if uri.is_sips() { aor.as_str().replacen("sip:", "sips:", 1) } else { aor.as_str().to_owned() }
}

/// Whether calling it may cost money. What is still escaped could be one to whoever reads it.
fn is_number(user: &str) -> bool {
    user.bytes().all(|b| b.is_ascii_digit() || b"+-.()*#".contains(&b)) || user.contains('%')
}

/// `q` in thousandths; 1 when it is not said.
fn preference(q: Option<&[u8]>) -> u16 {
    let said = q.and_then(|q| std::str::from_utf8(q).ok()).and_then(|q| q.parse::<f32>().ok());
    let q = said.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0);
    (q * 1000.0) as u16
}
