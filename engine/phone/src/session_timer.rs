//! Session timers of calls (RFC 4028): negotiated by INVITE and UPDATE, kept up by the refresher,
//! and the end of a call whose peer is gone.

use crate::call::State;
use crate::event::{CallHandle, Cause};
use crate::phone::Phone;
use sip::dialog::{
    Refresher, SessionDue, SessionExpires, SessionPolicy, SessionTimer, supports_timer,
};
use sip::transaction::ServerKey;
use sip::{Edit, HeaderName, Message, RequestBuilder, ResponseBuilder, response_to};
use std::time::Instant;

/// A call's session timer: what is wanted, and what runs.
#[derive(Debug, Clone)]
pub(crate) struct SessionClock {
    pub policy: SessionPolicy,
    pub timer: Option<SessionTimer>,
}

impl SessionClock {
    /// The headers of an INVITE or UPDATE of ours.
    pub(crate) fn dress_request(&self, builder: RequestBuilder) -> RequestBuilder {
        let wanted = SessionExpires { interval: self.policy.interval, refresher: None };
        if wanted.interval.is_zero() && self.timer.is_none() {
            return builder;
        }
        let value = self.timer.as_ref().map_or(wanted, |timer| {
            let interval = timer.interval().max(self.policy.min_se);
            SessionExpires { interval, ..timer.header() }
        });
        let min_se = self.policy.min_se.as_secs().to_string();
        builder
            .header(HeaderName::SESSION_EXPIRES, value.to_string())
            .header(HeaderName::MIN_SE, min_se)
    }

    /// A 2xx to a request of ours says what holds from now on; without a Session-Expires nothing
    /// does (§7.2).
    pub(crate) fn accepted(&mut self, now: Instant, response: &Message) {
        self.timer = SessionExpires::of(response).map(|granted| {
            let interval = granted.interval.max(sip::dialog::MIN_SE);
            SessionTimer::new(now, interval, granted.refresher != Some(Refresher::Uas))
        });
    }

    /// The headers of our 2xx to their INVITE or UPDATE, which starts the timer again.
    pub(crate) fn dress_response(
        &mut self,
        now: Instant,
        request: &Message,
        builder: ResponseBuilder,
    ) -> ResponseBuilder {
        // One that is too small was refused before it came here.
        let Ok(Some(answer)) = self.policy.answer(request) else { return builder };
        let we_refresh = answer.refresher == Some(Refresher::Uas);
        self.timer = Some(SessionTimer::new(now, answer.interval, we_refresh));
        let builder = builder.header(HeaderName::SESSION_EXPIRES, answer.to_string());
        match we_refresh {
            true => builder,
            false => builder.header(HeaderName::REQUIRE, "timer"),
        }
    }
}

impl Phone {
    /// A fresh clock for a call.
    pub(crate) fn new_clock(&self) -> SessionClock {
        let policy = SessionPolicy {
            interval: self.config.session_expires,
            min_se: self.config.session_min.max(sip::dialog::MIN_SE),
        };
        SessionClock { policy, timer: None }
    }

    /// Refuses an INVITE or UPDATE whose interval is too small. True when it was.
    pub(crate) fn refuse_interval(
        &mut self,
        now: Instant,
        key: &ServerKey,
        policy: SessionPolicy,
        request: &Message,
    ) -> bool {
        let Err(small) = policy.answer(request) else { return false };
        let min_se = small.0.as_secs().to_string();
        let refusal = response_to(request, 422, "").header(HeaderName::MIN_SE, min_se);
        self.reply(now, key, refusal);
        true
    }

    /// A 422 to a request of ours: the same request with the interval the peer wants. `None` when
    /// it cannot be had.
    pub(crate) fn with_longer_interval(
        &mut self,
        call: CallHandle,
        request: &Message,
        response: &Message,
    ) -> Option<Message> {
        if response.status() != Some(422) || !supports_timer(request) {
            return None;
        }
        let clock = &mut self.calls.get_mut(&call)?.clock;
        if !clock.policy.raise(response) {
            return None;
        }
        let (interval, min_se) = (clock.policy.interval, clock.policy.min_se);
        let refresher = SessionExpires::of(request).and_then(|s| s.refresher);
        let value = SessionExpires { interval, refresher }.to_string();
        let edit = Edit::new(request).set(HeaderName::SESSION_EXPIRES, value);
        Some(edit.set(HeaderName::MIN_SE, min_se.as_secs().to_string()).finish())
    }

    /// What a call's session timer wants.
    pub(crate) fn session_timeout(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if entry.state != State::Active {
            return;
        }
        let due = entry.clock.timer.as_mut().and_then(|timer| timer.handle_timeout(now));
        match due {
            Some(SessionDue::Refresh) => self.refresh(now, call),
            Some(SessionDue::Expired) => {
                self.send_bye(now, call);
                self.end(now, call, Cause::Network, Some(408), "session-expired");
            }
            None => {}
        }
    }

    /// An UPDATE without a description where the peer takes one, else a re-INVITE that offers what
    /// holds already (§7.4).
    fn refresh(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get(&call) else { return };
        if entry.peer.update {
            self.send_update(now, call, false);
        } else if entry.offering.is_none() && entry.answer.is_none() {
            // A re-INVITE under way is a refresh by itself.
            self.send_offer(now, call);
        }
    }
}
