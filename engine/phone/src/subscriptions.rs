//! Subscriptions of the application's (RFC 6665): SUBSCRIBE out, NOTIFYs in, refreshed until they
//! end. We notify of nothing but transfers: other SUBSCRIBEs are answered 489.

use crate::event::{PhoneError, PhoneEvent, SubscriptionHandle};
use crate::phone::{ALLOW_EVENTS, Phone};
use crate::requests::Purpose;
use sip::dialog::{Dialog, DialogId, Subscriber, SubscriberDue, SubscriptionState, Substate};
use sip::transaction::{ClientKey, ServerKey};
use sip::{HeaderName, Message, Method, RequestBuilder, response_to};
use std::time::{Duration, Instant};

/// Subscriptions at once.
const SUBSCRIPTIONS_MAX: usize = 16;

/// One subscription.
pub(crate) struct Subscription {
    event: String,
    wanted: Duration,
    subscriber: Subscriber,
    /// Our request, until its response or the first NOTIFY makes the dialog.
    request: Message,
    dialog: Option<Dialog>,
}

impl Subscription {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.subscriber.poll_timeout()
    }

    /// Whether a NOTIFY is of this subscription: its dialog, or one that our SUBSCRIBE may make.
    fn fits(&self, id: &DialogId, event: &str) -> bool {
        let same_event = event.split(';').next().unwrap_or_default().trim() == self.event;
        let ours = match &self.dialog {
            Some(dialog) => dialog.id() == id,
            None => {
                self.request.call_id() == Some(&id.call_id)
                    && self.request.from_tag() == Some(&id.local_tag)
            }
        };
        same_event && ours
    }
}

impl Phone {
    /// Subscribes to `event` of `target` for `wanted`, refreshed by itself; zero asks for the state
    /// once. [`PhoneEvent::Notified`] brings it.
    ///
    /// # Errors
    /// A target that is no address, no link, or too many subscriptions.
    pub fn subscribe(
        &mut self,
        now: Instant,
        target: &str,
        event: &str,
        wanted: Duration,
    ) -> Result<SubscriptionHandle, PhoneError> {
        let uri = self.target_uri(target)?;
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(PhoneError::TooManyCalls(SUBSCRIPTIONS_MAX));
        }
        let handle = SubscriptionHandle(self.next_handle().0);
        let (tag, call_id) = (self.entropy.token(10), self.entropy.token(24));
        let request = RequestBuilder::new(Method::SUBSCRIBE, &uri)
            .header(HeaderName::MAX_FORWARDS, "70")
            .header(HeaderName::FROM, format!("{};tag={tag}", self.account.name_addr()))
            .header(HeaderName::TO, format!("<{uri}>"))
            .header(HeaderName::CALL_ID, call_id)
            .header(HeaderName::CSEQ, "1 SUBSCRIBE")
            .header(HeaderName::CONTACT, self.contact())
            .header(HeaderName::EVENT, event)
            .header(HeaderName::EXPIRES, wanted.as_secs().to_string())
            .header(HeaderName::USER_AGENT, &self.config.user_agent)
            .build();
        self.send(now, &request, Purpose::Subscribe(handle))?;
        let subscriber = Subscriber::new(now, wanted);
        let event = event.to_owned();
        let subscription = Subscription { event, wanted, subscriber, request, dialog: None };
        self.subscriptions.insert(handle, subscription);
        self.drain(now);
        Ok(handle)
    }

    /// Ends a subscription. Its last NOTIFY tells that it is over.
    pub fn unsubscribe(&mut self, now: Instant, handle: SubscriptionHandle) {
        if let Some(subscription) = self.subscriptions.get_mut(&handle) {
            subscription.wanted = Duration::ZERO;
            self.resubscribe(now, handle);
        }
        self.drain(now);
    }

    fn resubscribe(&mut self, now: Instant, handle: SubscriptionHandle) {
        let contact = self.contact();
        let Some(subscription) = self.subscriptions.get_mut(&handle) else { return };
        let Some(dialog) = subscription.dialog.as_mut() else { return };
        let request = dialog
            .request(Method::SUBSCRIBE)
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::EVENT, &subscription.event)
            .header(HeaderName::EXPIRES, subscription.wanted.as_secs().to_string())
            .build();
        // Without a link the time that is left runs out.
        let _ = self.send(now, &request, Purpose::Subscribe(handle));
    }

    /// The next CSeq of a SUBSCRIBE that is sent again with credentials.
    pub(crate) fn subscribe_cseq(&mut self, handle: SubscriptionHandle, sent: u32) -> u32 {
        let subscription = self.subscriptions.get_mut(&handle);
        match subscription.and_then(|s| s.dialog.as_mut()) {
            Some(dialog) => {
                // Building a request is what moves the dialog's own count on.
                let _ = dialog.request(Method::SUBSCRIBE);
                dialog.local_seq()
            }
            None => sent.saturating_add(1),
        }
    }

    /// It went out: while there is no dialog, its answer or NOTIFY makes one.
    pub(crate) fn subscribe_resent(&mut self, handle: SubscriptionHandle, key: ClientKey) {
        let request = self.requests.get(&key).map(|sent| sent.request.clone());
        if let (Some(subscription), Some(request)) = (self.subscriptions.get_mut(&handle), request)
        {
            subscription.request = request;
        }
    }

    /// A response to a SUBSCRIBE of ours, or what stands for one.
    pub(crate) fn subscribe_answered(
        &mut self,
        now: Instant,
        handle: SubscriptionHandle,
        status: u16,
        response: Option<&Message>,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(&handle) else { return };
        if status < 200 {
            return;
        }
        let expires = response.and_then(Message::expires).map(|s| Duration::from_secs(s.into()));
        subscription.subscriber.handle_response(now, status, expires);
        if let (None, Some(response), 200..300) = (&subscription.dialog, response, status) {
            // The NOTIFY may have been faster (§4.1.2.4).
            subscription.dialog = Dialog::from_response(&subscription.request, response).ok();
        }
        if subscription.subscriber.state() == Substate::Terminated {
            self.subscription_over(handle, &format!("{status}"));
        }
    }

    /// A NOTIFY outside of calls. False when it is of no subscription of ours.
    pub(crate) fn handle_notify(
        &mut self,
        now: Instant,
        key: ServerKey,
        request: &Message,
    ) -> bool {
        let event = request.header_str(HeaderName::EVENT).unwrap_or_default();
        let Ok(id) = DialogId::of_request(request) else { return false };
        let found = self.subscriptions.iter_mut().find(|(_, s)| s.fits(&id, event));
        let Some((handle, subscription)) = found else { return false };
        let handle = *handle;
        if subscription.dialog.is_none() {
            subscription.dialog = dialog_of(&subscription.request, request);
        }
        let checked = subscription.dialog.as_mut().map(|d| d.handle_request(request));
        if let Some(Err(error)) = checked {
            self.respond(now, &key, response_to(request, error.status(), "").build());
            return true;
        }
        let said = SubscriptionState::of(request);
        subscription.subscriber.handle_notify(now, &said);
        let over = said.state == Substate::Terminated;
        self.respond(now, &key, response_to(request, 200, "OK").build());
        let content_type = request.header_str(HeaderName::CONTENT_TYPE).unwrap_or_default();
        self.tell(PhoneEvent::Notified {
            subscription: handle,
            content_type: content_type.into(),
            body: request.body().to_vec(),
        });
        if over {
            self.subscription_over(handle, said.reason.as_deref().unwrap_or("terminated"));
        }
        true
    }

    /// A SUBSCRIBE of theirs.
    pub(crate) fn handle_subscribe(&mut self, now: Instant, key: ServerKey, request: &Message) {
        let refused = response_to(request, 489, "").header(HeaderName::ALLOW_EVENTS, ALLOW_EVENTS);
        self.reply(now, &key, refused);
    }

    /// Refreshes what is due, and ends what heard nothing.
    pub(crate) fn subscriptions_timeout(&mut self, now: Instant) {
        let due: Vec<(SubscriptionHandle, SubscriberDue)> = self
            .subscriptions
            .iter_mut()
            .filter_map(|(handle, s)| Some((*handle, s.subscriber.handle_timeout(now)?)))
            .collect();
        for (handle, what) in due {
            match what {
                SubscriberDue::Refresh => self.resubscribe(now, handle),
                SubscriberDue::GaveUp => self.subscription_over(handle, "timeout"),
            }
        }
    }

    fn subscription_over(&mut self, subscription: SubscriptionHandle, reason: &str) {
        if self.subscriptions.remove(&subscription).is_some() {
            self.tell(PhoneEvent::SubscriptionEnded { subscription, reason: reason.into() });
        }
    }
}

/// The dialog a NOTIFY makes that comes before the response to its SUBSCRIBE: as the response, it
/// names the peer's tag and Contact.
fn dialog_of(subscribe: &Message, notify: &Message) -> Option<Dialog> {
    let tag = String::from_utf8_lossy(notify.from_tag()?).into_owned();
    let contact = notify.header(HeaderName::CONTACT)?;
    let routes = notify.values(HeaderName::RECORD_ROUTE);
    let mut stand_in = response_to(subscribe, 202, "").to_tag(&tag);
    // As the UAS of this request we see the route set the other way round (RFC 3261 §12.1.1).
    for route in routes.collect::<Vec<_>>().into_iter().rev() {
        stand_in = stand_in.header(HeaderName::RECORD_ROUTE, route);
    }
    let stand_in = stand_in.header(HeaderName::CONTACT, contact).build();
    Dialog::from_response(subscribe, &stand_in).ok()
}
