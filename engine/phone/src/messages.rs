//! Words and signals: MESSAGE (RFC 3428), outside of any call, and INFO (RFC 6086) inside one.

use crate::call::State;
use crate::event::{CallHandle, MessageHandle, PhoneError, PhoneEvent};
use crate::phone::Phone;
use crate::requests::Purpose;
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, Method, PressedKey, RequestBuilder, response_to};
use std::time::Instant;

/// The longest text sent or taken (RFC 3428 §8: a MESSAGE stays below the path's MTU).
const TEXT_MAX: usize = 1300;

/// Messages on their way at once.
const SENDING_MAX: usize = 32;

/// The INFO packages we take, and say so in Recv-Info.
pub(crate) const INFO_PACKAGES: &str = "dtmf, trickle-ice";

impl Phone {
    /// Sends a text to `target`. [`PhoneEvent::MessageSent`] tells what came of it.
    ///
    /// # Errors
    /// A target that is no address, no link, too many messages on their way, or more than 1,300
    /// bytes.
    pub fn send_message(
        &mut self,
        now: Instant,
        target: &str,
        text: &str,
    ) -> Result<MessageHandle, PhoneError> {
        let uri = self.target_uri(target)?;
        if text.len() > TEXT_MAX {
            return Err(PhoneError::TooLong { bytes: text.len(), max: TEXT_MAX });
        }
        let under_way = |p: &Purpose| matches!(p, Purpose::Message(_));
        if self.requests.values().filter(|s| under_way(&s.purpose)).count() >= SENDING_MAX {
            return Err(PhoneError::TooManyCalls(SENDING_MAX));
        }
        let handle = MessageHandle(self.next_handle().0);
        let (tag, call_id) = (self.entropy.token(10), self.entropy.token(24));
        let message = RequestBuilder::new(Method::MESSAGE, &uri)
            .header(HeaderName::MAX_FORWARDS, "70")
            .header(HeaderName::FROM, format!("{};tag={tag}", self.account.name_addr()))
            .header(HeaderName::TO, format!("<{uri}>"))
            .header(HeaderName::CALL_ID, call_id)
            .header(HeaderName::CSEQ, "1 MESSAGE")
            .header(HeaderName::USER_AGENT, &self.config.user_agent)
            .body("text/plain;charset=UTF-8", text)
            .build();
        self.send(now, &message, Purpose::Message(handle))?;
        self.drain(now);
        Ok(handle)
    }

    /// The final response to a MESSAGE of ours, or what stands for it.
    pub(crate) fn message_answered(&mut self, message: MessageHandle, status: u16, reason: &str) {
        if status >= 200 {
            self.tell(PhoneEvent::MessageSent { message, status, reason: reason.into() });
        }
    }

    /// A MESSAGE of theirs. It makes no dialog and is answered at once (RFC 3428 §7).
    pub(crate) fn handle_message(&mut self, now: Instant, key: ServerKey, request: &Message) {
        let is_text = request.has_content_type("text/plain") || request.content_type().is_none();
        if !is_text {
            let refused = response_to(request, 415, "").header(HeaderName::ACCEPT, "text/plain");
            return self.reply(now, &key, refused);
        }
        if request.body().len() > TEXT_MAX {
            return self.reply(now, &key, response_to(request, 513, ""));
        }
        let text = String::from_utf8_lossy(request.body()).into_owned();
        let from = request.from_().map(|f| String::from_utf8_lossy(f.uri()).into_owned());
        self.reply(now, &key, response_to(request, 200, "OK"));
        self.tell(PhoneEvent::Message { from: from.unwrap_or_default(), text });
    }

    /// Sends an INFO of `package` in a call, such as `dtmf` with `Signal=5`.
    ///
    /// # Errors
    /// No such call, or one that is not active; no link.
    pub fn send_info(
        &mut self,
        now: Instant,
        call: CallHandle,
        package: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        let state = entry.state;
        let dialog = entry.dialog.as_mut().filter(|_| state == State::Active);
        let Some(dialog) = dialog else { return Err(PhoneError::WrongState(state.name())) };
        let info = dialog
            .request(Method::INFO)
            .header(HeaderName::INFO_PACKAGE, package)
            .header(HeaderName::CONTENT_DISPOSITION, "Info-Package")
            .header(HeaderName::SESSION_ID, &entry.session_id)
            .body(content_type, body)
            .build();
        self.send(now, &info, Purpose::Info(call))?;
        self.drain(now);
        Ok(())
    }

    /// An INFO of theirs: a key pressed, a package of the application's, or nothing we know.
    pub(crate) fn handle_info(
        &mut self,
        now: Instant,
        call: CallHandle,
        key: ServerKey,
        request: &Message,
    ) {
        let package = request.header_str(HeaderName::INFO_PACKAGE).unwrap_or_default();
        let known = INFO_PACKAGES.split(", ").any(|p| p.eq_ignore_ascii_case(name_of(package)));
        if !package.is_empty() && !known {
            // RFC 6086 §4.2.2: the packages we take stand in the refusal.
            let refused = response_to(request, 469, "Bad Info Package");
            let refused = refused.header(HeaderName::RECV_INFO, INFO_PACKAGES);
            return self.respond(now, &key, refused.build());
        }
        if name_of(package).eq_ignore_ascii_case("trickle-ice") {
            return self.handle_trickle(now, call, key, request);
        }
        let pressed = PressedKey::of(request);
        self.respond(now, &key, response_to(request, 200, "OK").build());
        match pressed {
            Some(PressedKey { digit, .. }) => self.tell(PhoneEvent::Dtmf { call, digit }),
            None if !request.body().is_empty() => {
                let content_type = request.header_str(HeaderName::CONTENT_TYPE).unwrap_or_default();
                self.tell(PhoneEvent::Info {
                    call,
                    content_type: content_type.into(),
                    body: request.body().to_vec(),
                });
            }
            None => {}
        }
    }
}

fn name_of(package: &str) -> &str {
    package.split(';').next().unwrap_or_default().trim()
}
