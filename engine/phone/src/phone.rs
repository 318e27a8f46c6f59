//! The phone: one account, one link, its calls.

use crate::account::{Account, Config, Link};
use crate::auth::Authenticator;
use crate::call::{Call, State};
use crate::delays::Delays;
use crate::event::{CallHandle, Cause, PhoneError, PhoneEvent, PhoneOutput, SubscriptionHandle};
use crate::extensions::{ACCEPT, ALLOW, SUPPORTED, cannot_read, not_understood};
use crate::known_pairs::KnownPairs;
use crate::registration::Registration;
use crate::requests::Sent;
use crate::screening;
use crate::subscriptions::Subscription;
use crate::transports::NetworkId;
use crate::trickle::Tricklers;
use crate::ways::WayOutput;
use bytes::Bytes;
use sansio::{Entropy, FlowId, TimerQueue};
use sip::transaction::{Arrival, ClientKey, Layer, Output, ServerKey, TransactionKey};
use sip::{HeaderName, Message, Method, response_to};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The event packages of ours: that of REFER.
pub(crate) const ALLOW_EVENTS: &str = "refer";

/// The phone engine. See the [crate].
pub struct Phone {
    pub(crate) account: Account,
    pub(crate) config: Config,
    pub(crate) link: Option<Link>,
    pub(crate) layer: Layer,
    pub(crate) entropy: Box<dyn Entropy + Send>,
    pub(crate) auth: Authenticator,
    pub(crate) registration: Registration,
    pub(crate) calls: BTreeMap<CallHandle, Call>,
    pub(crate) requests: BTreeMap<ClientKey, Sent>,
    pub(crate) invites: BTreeMap<ServerKey, CallHandle>,
    pub(crate) subscriptions: BTreeMap<SubscriptionHandle, Subscription>,
    pub(crate) timers: TimerQueue<Timer>,
    pub(crate) ice: Option<media::traversal::TraversalConfig>,
    pub(crate) spare: Option<Box<media::traversal::Traversal>>,
    pub(crate) network: Option<NetworkId>,
    /// Networks that let no datagrams out, and how long that is believed.
    pub(crate) silent: BTreeMap<NetworkId, Instant>,
    /// Ways that were good, on each network.
    pub(crate) known_pairs: KnownPairs,
    /// Who takes candidates one after the other.
    pub(crate) tricklers: Tricklers,
    /// How near TURN servers are.
    pub(crate) delays: Delays,
    outputs: VecDeque<PhoneOutput>,
    pub(crate) flow: FlowId,
    next_call: u32,
}

/// The phone's own timers; transactions and media keep theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Refresh or retry the registration.
    Register,
    /// Keep the link's NAT binding (RFC 5626 §3.5).
    KeepAlive,
    /// An incoming call rang long enough.
    Ring(CallHandle),
    /// A re-INVITE met another (491): try again.
    Glare(CallHandle),
}

impl Phone {
    /// A phone that knows its account and waits for a link.
    pub fn new(account: Account, config: Config, mut entropy: Box<dyn Entropy + Send>) -> Self {
        let layer = Layer::new(sip::transaction::Config::default(), &mut *entropy);
        Self {
            account,
            config,
            link: None,
            layer,
            entropy,
            auth: Authenticator::default(),
            registration: Registration::default(),
            calls: BTreeMap::new(),
            requests: BTreeMap::new(),
            invites: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            timers: TimerQueue::new(),
            ice: None,
            spare: None,
            network: None,
            silent: BTreeMap::new(),
            known_pairs: KnownPairs::default(),
            tricklers: Tricklers::default(),
            delays: Delays::default(),
            outputs: VecDeque::new(),
            flow: FlowId { node: 0, shard: 0, id: 0 },
            next_call: 0,
        }
    }

    /// The driver connected. What was under way on an earlier link has failed.
    pub fn handle_link_up(&mut self, now: Instant, link: Link) {
        self.fail_link(now);
        self.flow.id += 1;
        self.link = Some(link);
        self.auth.forget();
        self.timers.set(Timer::KeepAlive, now + keep_alive(&link));
        self.resume_registration(now);
        self.restart_on_new_link(now);
        self.drain(now);
    }

    /// The link broke.
    pub fn handle_link_down(&mut self, now: Instant) {
        self.fail_link(now);
        self.drain(now);
    }

    /// One whole SIP message came by the link. A request that cannot be read is refused if it can
    /// be answered; anything else is ignored.
    pub fn handle_sip(&mut self, now: Instant, bytes: Bytes) {
        let Some(link) = self.link else { return };
        let message = match Message::parse(bytes.clone()) {
            Ok(message) => message,
            Err(error) => return self.refuse_malformed(bytes, error.status()),
        };
        let message = match message.is_request() {
            true => sip::proxy::forward::received_from(&message, link.server),
            false => message,
        };
        let arrival = Arrival { flow: self.flow, transport: link.transport, peer: link.server };
        self.layer.handle_message(now, arrival, message);
        self.drain(now);
    }

    /// A packet came to a call's media socket.
    pub fn handle_media(
        &mut self,
        now: Instant,
        call: CallHandle,
        from: SocketAddr,
        packet: &[u8],
    ) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(media) = entry.media.as_mut() else { return };
        // Before the answer several phones may send: each to its own media.
        let other = match media.remote_rtp() == Some(from) {
            true => None,
            false => entry.early.media_from(from),
        };
        other.unwrap_or(media).handle_datagram(now, from, packet);
        self.drain_media(now, call);
    }

    /// How packets of a call's media socket are marked. For every packet if you like: only what
    /// changed is told.
    pub fn set_marks(&mut self, call: CallHandle, marks: rtp::rtcp::Marks) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if entry.marks == marks {
            return;
        }
        entry.marks = marks;
        entry.media.iter_mut().for_each(|media| media.set_marks(marks));
        if entry.marks_told < MARKS_TOLD_MAX && marks.arrived.is_some() {
            entry.marks_told += 1;
            self.tell(PhoneEvent::Marks { call, marks });
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.layer.handle_timeout(now);
        while let Some(timer) = self.timers.pop_due(now) {
            self.handle_timer(now, timer);
        }
        let calls: Vec<CallHandle> = self.calls.keys().copied().collect();
        for handle in calls {
            self.call_timeout(now, handle);
        }
        self.subscriptions_timeout(now);
        self.spare_timeout(now);
        self.drain(now);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(Call::poll_timeout).min();
        let subscriptions =
            self.subscriptions.values().filter_map(Subscription::poll_timeout).min();
        let spare = self.spare_wakes();
        [self.layer.poll_timeout(), self.timers.next_deadline(), calls, subscriptions, spare]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do or know.
    pub fn poll_output(&mut self) -> Option<PhoneOutput> {
        self.outputs.pop_front()
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether the server holds a binding of ours.
    pub fn is_registered(&self) -> bool {
        self.registration.is_bound()
    }

    /// Twenty milliseconds from the microphone, 960 samples at 48 kHz. Dropped while the call has
    /// no media or is on hold.
    pub fn capture(&mut self, now: Instant, call: CallHandle, samples: &[i16; 960]) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if let (Some(media), true) = (entry.media.as_mut(), entry.state.has_media()) {
            media.capture(now, samples);
            self.drain_media(now, call);
        }
    }

    /// Twenty milliseconds for the loudspeaker, 960 samples at 48 kHz; silence where there is none.
    pub fn play(&mut self, now: Instant, call: CallHandle, samples: &mut [i16; 960]) {
        let media = self.calls.get_mut(&call).and_then(|c| c.media.as_mut());
        match media {
            Some(media) => media.play(now, samples),
            None => samples.fill(0),
        }
    }

    /// Whether nothing is under way: no call, and no request that waits for an answer or for its
    /// retransmissions to die out.
    pub fn is_idle(&self) -> bool {
        let maps_empty = self.calls.is_empty() && self.requests.is_empty();
        maps_empty
            && self.subscriptions.is_empty()
            && self.invites.is_empty()
            && self.layer.is_empty()
    }

    /// Whether the call is answered and has media.
    pub fn is_talking(&self, call: CallHandle) -> bool {
        self.calls.get(&call).is_some_and(|c| c.state == State::Active && c.media.is_some())
    }

    /// The figures of a call's media so far.
    pub fn stats(&self, call: CallHandle) -> Option<media::MediaStats> {
        self.calls.get(&call)?.media.as_ref().map(media::Session::stats)
    }

    /// What both ends agreed on for a call's media; `None` before the first answer.
    pub fn negotiated(&self, call: CallHandle) -> Option<&sdp::offer_answer::Negotiated> {
        self.calls.get(&call)?.media.as_ref()?.negotiated()
    }

    pub(crate) fn put(&mut self, output: PhoneOutput) {
        self.outputs.push_back(output);
    }

    pub(crate) fn tell(&mut self, event: PhoneEvent) {
        self.outputs.push_back(PhoneOutput::Event(event));
    }

    pub(crate) fn next_handle(&mut self) -> CallHandle {
        self.next_call += 1;
        CallHandle(self.next_call)
    }

    /// Sends bytes past the transaction layer.
    pub(crate) fn send_again(&mut self, bytes: Bytes) {
        self.outputs.push_back(PhoneOutput::SendSip(bytes));
    }

    /// Answers a request. What its transaction does not live to send (a call answered after the
    /// link it came by broke) goes by the present link.
    pub(crate) fn respond(&mut self, now: Instant, key: &ServerKey, response: Message) {
        if !self.layer.respond(now, key, response.clone()) {
            self.send_again(response.bytes().clone());
        }
    }

    /// The Contact value on the present link.
    pub(crate) fn contact(&self) -> String {
        self.link.map_or(String::new(), |l| format!("<{}>", self.account.contact_uri(&l)))
    }

    fn fail_link(&mut self, now: Instant) {
        if self.link.take().is_some() {
            self.layer.handle_flow_failed(now, self.flow);
            self.timers.clear(&Timer::KeepAlive);
            self.drain(now);
            self.registration.link_lost();
        }
    }

    fn handle_timer(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Register => self.resume_registration(now),
            Timer::KeepAlive => {
                if let Some(link) = self.link {
                    self.outputs.push_back(PhoneOutput::SendSip(Bytes::from_static(b"\r\n\r\n")));
                    self.timers.set(Timer::KeepAlive, now + keep_alive(&link));
                }
            }
            Timer::Ring(call) => self.rang_out(now, call),
            Timer::Glare(call) => self.retry_offer(now, call),
        }
    }

    /// Runs the transaction layer and every call's media dry.
    pub(crate) fn drain(&mut self, now: Instant) {
        self.drain_layer(now);
        let calls: Vec<CallHandle> = self.calls.keys().copied().collect();
        for call in calls {
            self.drain_media(now, call);
        }
    }

    pub(crate) fn drain_layer(&mut self, now: Instant) {
        while let Some(output) = self.layer.poll_output() {
            self.handle_output(now, output);
        }
    }

    fn handle_output(&mut self, now: Instant, output: Output) {
        match output {
            Output::Transmit { flow, message, .. } if self.link.is_some() && flow == self.flow => {
                self.outputs.push_back(PhoneOutput::SendSip(message));
            }
            Output::Request { key: Some(key), message, .. } => {
                self.handle_request(now, key, message);
            }
            Output::Request { key: None, message, .. } => self.handle_ack(now, &message),
            Output::Cancel { invite, .. } => self.handle_cancel(now, invite),
            Output::Response { key, message } => self.handle_response(now, key, &message),
            Output::TimedOut { key } => self.handle_silence(now, key, 408),
            Output::FlowFailed { key } => self.handle_silence(now, key, 503),
            Output::StrayResponse { message, .. } => self.handle_stray(&message),
            Output::Terminated { key: TransactionKey::Client(key), .. } => {
                self.handle_terminated(now, key);
            }
            Output::Terminated { key: TransactionKey::Server(key), .. } => {
                self.invites.remove(&key);
            }
            Output::Transmit { .. } | Output::Ack { .. } => {}
        }
    }

    fn handle_request(&mut self, now: Instant, key: ServerKey, request: Message) {
        let method = request.method().unwrap_or(Method::OPTIONS);
        if self.layer.is_merged(&request) {
            // The same request by two ways of a fork: answered once (RFC 3261 §8.2.2.2).
            self.reply(now, &key, response_to(&request, 482, "Merged Request"));
        } else if let Some(unknown) = not_understood(&request) {
            let refused = response_to(&request, 420, "").header(HeaderName::UNSUPPORTED, unknown);
            self.reply(now, &key, refused);
        } else if let Some(refusal) = screening::refusal(&request) {
            self.reply(now, &key, refusal);
        } else if cannot_read(&request) {
            let refused = response_to(&request, 415, "").header(HeaderName::ACCEPT, ACCEPT);
            self.reply(now, &key, refused);
        } else if request.to_tag().is_some() {
            self.handle_in_dialog(now, key, &request);
        } else if method == Method::INVITE {
            self.handle_invite(now, key, request);
        } else if method == Method::OPTIONS {
            let ok = response_to(&request, 200, "OK")
                .header(HeaderName::ALLOW, ALLOW)
                .header(HeaderName::SUPPORTED, SUPPORTED)
                .header(HeaderName::ACCEPT, ACCEPT);
            self.reply(now, &key, ok);
        } else if method == Method::MESSAGE {
            self.handle_message(now, key, &request);
        } else if method == Method::SUBSCRIBE {
            self.handle_subscribe(now, key, &request);
        } else if method == Method::NOTIFY {
            // Out of the blue (RFC 6665 §4.1.3).
            self.reply(now, &key, response_to(&request, 481, ""));
        } else if method == Method::REFER {
            // Only who talks to us may send us elsewhere (RFC 5589 §5).
            self.reply(now, &key, response_to(&request, 403, ""));
        } else {
            let refused = response_to(&request, 405, "Method Not Allowed");
            self.reply(now, &key, refused.header(HeaderName::ALLOW, ALLOW));
        }
    }

    /// Answers with a fresh To tag.
    pub(crate) fn reply(&mut self, now: Instant, key: &ServerKey, response: sip::ResponseBuilder) {
        let tag = self.entropy.token(10);
        self.layer.respond(now, key, response.to_tag(&tag).build());
    }

    pub(crate) fn drain_media(&mut self, now: Instant, handle: CallHandle) {
        let Some(call) = self.calls.get_mut(&handle) else { return };
        let Some(media) = call.media.as_mut() else { return };
        let (mut events, mut kept) = (Vec::new(), None);
        let mut opened = Vec::new();
        let local = media.traversal().map(media::traversal::Traversal::local);
        let way = |output| local.map(|local| PhoneOutput::Way { local, output });
        while let Some(output) = media.poll_output() {
            match output {
                media::MediaOutput::Transmit { to, bytes, rtcp } => {
                    let out = PhoneOutput::SendMedia { call: handle, to, bytes, rtcp };
                    self.outputs.push_back(out);
                }
                media::MediaOutput::OpenStream { server } => opened.push(server),
                media::MediaOutput::Stream { server, bytes } => {
                    self.outputs.extend(way(WayOutput::Stream { server, bytes }));
                }
                media::MediaOutput::CloseStream { server } => {
                    self.outputs.extend(way(WayOutput::CloseStream { server }));
                }
                media::MediaOutput::Event(event) => events.push(event),
                media::MediaOutput::Retain { zid, retained } => kept = Some((zid, retained)),
            }
        }
        for (server, local) in opened.into_iter().zip(local.into_iter().cycle()) {
            self.open_stream(local, server);
        }
        if let Some((zid, retained)) = kept {
            self.retain(zid, retained);
        }
        for event in events {
            self.media_event(now, handle, event);
        }
    }

    fn media_event(&mut self, now: Instant, call: CallHandle, event: media::MediaEvent) {
        let active = self.calls.get(&call).is_some_and(|c| c.state == State::Active);
        match event {
            media::MediaEvent::Connected { .. } => self.tell(PhoneEvent::Heard { call }),
            media::MediaEvent::Gathered => {
                self.gathered(now, call);
                self.drain_layer(now);
            }
            media::MediaEvent::PathSelected { relayed } => self.tell_way(now, call, relayed),
            media::MediaEvent::Untold => {
                self.trickle(now, call);
                self.drain_layer(now);
            }
            media::MediaEvent::PathLost => self.tell(PhoneEvent::WayLost { call }),
            media::MediaEvent::RestartWanted | media::MediaEvent::ConsentEnded => {
                self.restart_ice(now, call);
                self.drain_layer(now);
            }
            media::MediaEvent::Dtmf(digit) => self.tell(PhoneEvent::Dtmf { call, digit }),
            media::MediaEvent::Secured(secured) => self.tell(PhoneEvent::Secured { call, secured }),
            media::MediaEvent::NotSecured(why) => self.not_secured(now, call, why),
            media::MediaEvent::Silent { .. } if active && self.config.silence_max.is_some() => {
                self.send_bye(now, call);
                self.end(now, call, Cause::Network, None, "media-silence");
                self.drain_layer(now);
            }
            _ => {}
        }
    }

    pub(crate) fn live_calls(&self) -> usize {
        self.calls.values().filter(|c| c.state != State::Ended).count()
    }

    pub(crate) fn new_session_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.entropy.next_u64(), self.entropy.next_u64())
    }

    /// A live call.
    pub(crate) fn call_mut(&mut self, call: CallHandle) -> Result<&mut Call, PhoneError> {
        match self.calls.get_mut(&call) {
            Some(entry) if entry.state != State::Ended => Ok(entry),
            _ => Err(PhoneError::NoSuchCall),
        }
    }
}

/// How often a call tells of changed marks: two senders' by turns would be news with every packet.
const MARKS_TOLD_MAX: u8 = 8;

/// How often a keep-alive goes out (RFC 5626 §4.4): UDP bindings live half a minute.
fn keep_alive(link: &Link) -> Duration {
    Duration::from_secs(if link.transport.is_reliable() { 95 } else { 25 })
}
