//! Tests of the response context (R4.2) and of forwarding (R2.3).

mod context;
mod forward;
mod promised;
mod random;
mod story;

use std::time::{Duration, Instant};

use super::{Action, Config, ResponseContext};
use crate::{HeaderName, Message, Method, RequestBuilder, ResponseBuilder, response_to};

/// The request as it came from upstream.
fn upstream(method: Method<'_>) -> Message {
    RequestBuilder::new(method, "sip:bob@example.com")
        .header(HeaderName::VIA, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKup")
        .header(HeaderName::MAX_FORWARDS, "70")
        .header(HeaderName::FROM, "<sip:alice@example.com>;tag=a1")
        .header(HeaderName::TO, "<sip:bob@example.com>")
        .header(HeaderName::CALL_ID, "call-1")
        .header(HeaderName::CSEQ, format!("1 {method}"))
        .build()
}

/// A context under test, whose branches are numbers.
struct Fork {
    context: ResponseContext<u32>,
    request: Message,
    start: Instant,
    now: Instant,
}

impl Fork {
    fn new(method: Method<'_>, branches: u32) -> Self {
        let now = sansio::testing::epoch();
        let request = upstream(method);
        let mut context = ResponseContext::new(Config::default(), request.clone());
        for id in 1..=branches {
            context.add_branch(now, id).unwrap();
        }
        Self { context, request, start: now, now }
    }

    fn response(&self, branch: u32, code: u16) -> ResponseBuilder {
        response_to(&self.request, code, "").to_tag(&format!("t{branch}"))
    }

    /// Branch `branch` answers `code`; what the context does about it.
    fn answer(&mut self, branch: u32, code: u16) -> Vec<String> {
        let message = self.response(branch, code).build();
        self.context.handle_response(self.now, &branch, message);
        self.actions()
    }

    fn actions(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.context.poll_action()).map(|a| word(&a)).collect()
    }

    fn forwarded(&mut self) -> Message {
        let found = std::iter::from_fn(|| self.context.poll_action()).find_map(|a| match a {
            Action::Forward { message, .. } => Some(message),
            _ => None,
        });
        found.expect("a response went upstream")
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn run_to(&mut self, ms: u64) -> Vec<String> {
        self.now = self.at(ms);
        self.context.handle_timeout(self.now);
        self.actions()
    }
}

fn word(action: &Action<u32>) -> String {
    match action {
        Action::Forward { branch, message } => {
            assert_eq!(message.vias().count(), 1, "our Via is taken off");
            let by = branch.map_or("proxy".into(), |b| b.to_string());
            format!("{} by {by}", message.status().unwrap())
        }
        Action::Cancel { branch, .. } => format!("cancel {branch}"),
        Action::Abandoned { branch } => format!("abandoned {branch}"),
        Action::Waiting => "waiting".into(),
        Action::Done => "done".into(),
    }
}
