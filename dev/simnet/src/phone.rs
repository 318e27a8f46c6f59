//! A phone engine on a host, with a person who talks and listens.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use phone::{Account, CallHandle, Config, Link, Phone, PhoneError, PhoneEvent, PhoneOutput};
use sansio::{SeededEntropy, Transport, WallTime};
use sip::{Frame, StreamFramer};

use crate::node::{Node, StreamEvent, Transmit};

mod stepping;

use stepping::Stepping;

/// How often sound is captured and played.
const FRAME: Duration = Duration::from_millis(20);

/// Samples of one frame at 48 kHz.
const FRAME_SAMPLES: usize = 960;

/// The first media port; each call takes two.
const MEDIA_PORT: u16 = 30_000;

/// How long a phone waits before it connects again.
const RECONNECT_AFTER: Duration = Duration::from_secs(2);

/// What the person does when it rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Lets it ring.
    Waits,
    /// Answers at once.
    Answers,
    /// Declines.
    Declines,
}

/// How a phone is set up in a story.
#[derive(Debug, Clone)]
pub struct PhoneSetup {
    /// Who it is.
    pub account: Account,
    /// The engine's settings.
    pub config: Config,
    /// Where its server is.
    pub server: SocketAddr,
    /// How it speaks to it: UDP, TCP, TLS or WSS.
    pub transport: Transport,
    /// Instead of these two: by which transports it may, most wanted first, and where each is.
    pub ways: Vec<(Transport, SocketAddr)>,
    /// What its person does.
    pub habit: Habit,
}

/// One sound frame that was played to the person.
#[derive(Debug, Default, Clone, Copy)]
pub struct Ear {
    /// Frames in which something was to be heard.
    pub loud: u32,
    /// Frames of silence.
    pub silent: u32,
}

/// A node that carries a [`Phone`].
pub struct PhoneNode {
    /// The engine.
    pub phone: Phone,
    /// Everything it told its application.
    pub events: Vec<PhoneEvent>,
    /// What the person heard, per call.
    pub heard: BTreeMap<CallHandle, Ear>,
    setup: PhoneSetup,
    local: SocketAddr,
    stepping: Option<Stepping>,
    framer: StreamFramer,
    connected: bool,
    reconnect_at: Option<Instant>,
    media: BTreeMap<CallHandle, SocketAddr>,
    next_port: u16,
    next_frame: Option<Instant>,
    frames: u32,
    outgoing: VecDeque<Transmit>,
}

impl PhoneNode {
    /// A phone at `address`. Call [`PhoneNode::connect`] to switch it on.
    pub fn new(setup: PhoneSetup, address: &str, seed: u64) -> Self {
        let address: IpAddr =
            address.parse().unwrap_or_else(|_| panic!("`{address}` is no IP address"));
        let entropy = Box::new(SeededEntropy::new(seed));
        Self {
            phone: Phone::new(setup.account.clone(), setup.config.clone(), entropy),
            events: Vec::new(),
            heard: BTreeMap::new(),
            local: SocketAddr::new(address, 5060),
            stepping: Stepping::new(&setup.ways),
            setup,
            framer: StreamFramer::default(),
            connected: false,
            reconnect_at: None,
            media: BTreeMap::new(),
            next_port: MEDIA_PORT,
            next_frame: None,
            frames: 0,
            outgoing: VecDeque::new(),
        }
    }

    /// Switches the phone on: it connects and registers, and keeps doing so.
    pub fn connect(&mut self, now: Instant) {
        self.phone.register(now);
        match self.stepping {
            Some(_) => self.join(now),
            None => self.open_link(now),
        }
        self.settle(now);
    }

    /// Calls somebody.
    ///
    /// # Errors
    /// As [`Phone::call`].
    pub fn call(&mut self, now: Instant, target: &str) -> Result<CallHandle, PhoneError> {
        let local = self.media_address();
        let call = self.phone.call(now, target, local)?;
        self.media.insert(call, local);
        self.settle(now);
        Ok(call)
    }

    /// Answers.
    ///
    /// # Errors
    /// As [`Phone::answer`].
    pub fn answer(&mut self, now: Instant, call: CallHandle) -> Result<(), PhoneError> {
        let local = self.media.get(&call).copied().unwrap_or_else(|| self.media_address());
        self.media.insert(call, local);
        self.phone.answer(now, call, local)?;
        self.settle(now);
        Ok(())
    }

    /// Speaks to a caller before answering.
    ///
    /// # Errors
    /// As [`Phone::progress_with_media`].
    pub fn progress(&mut self, now: Instant, call: CallHandle) -> Result<(), PhoneError> {
        let local = self.media_address();
        self.phone.progress_with_media(now, call, local)?;
        self.media.insert(call, local);
        self.listen(now, call);
        self.settle(now);
        Ok(())
    }

    /// Goes where the other side of a call sends us.
    fn follow(&mut self, now: Instant, call: CallHandle) -> Result<(), PhoneError> {
        let local = self.media_address();
        let next = self.phone.follow_transfer(now, call, local)?;
        self.media.insert(next, local);
        Ok(())
    }

    fn listen(&mut self, now: Instant, call: CallHandle) {
        self.heard.entry(call).or_default();
        self.next_frame.get_or_insert(now + FRAME);
    }

    /// Any other command of the engine.
    pub fn with_phone<R>(&mut self, now: Instant, f: impl FnOnce(&mut Phone, Instant) -> R) -> R {
        let result = f(&mut self.phone, now);
        self.settle(now);
        result
    }

    /// The newest call of a kind of event.
    pub fn last_call(
        &self,
        kind: impl Fn(&PhoneEvent) -> Option<CallHandle>,
    ) -> Option<CallHandle> {
        self.events.iter().rev().find_map(kind)
    }

    fn link(&self) -> Link {
        let (transport, server) = (self.setup.transport, self.setup.server);
        Link { transport, local: self.local, server }
    }

    fn open_link(&mut self, now: Instant) {
        self.reconnect_at = None;
        if self.setup.transport == Transport::Udp {
            self.connected = true;
            return self.phone.handle_link_up(now, self.link());
        }
        // A new connection has a new port, as from a real system.
        let port = self.local.port();
        self.local.set_port(if port < 40_000 { 40_000 } else { port + 1 });
        self.framer = StreamFramer::default();
        self.outgoing.push_back(Transmit::Connect { from: self.local, to: self.setup.server });
    }

    fn media_address(&mut self) -> SocketAddr {
        let port = self.next_port;
        self.next_port += 2;
        SocketAddr::new(self.local.ip(), port)
    }

    /// Collects what the engine wants, and lets the person act on it.
    fn settle(&mut self, now: Instant) {
        while let Some(output) = self.phone.poll_output() {
            match output {
                PhoneOutput::SendSip(bytes) => {
                    self.step_sent(now, &bytes);
                    self.send_sip(bytes);
                }
                PhoneOutput::SendMedia { call, to, bytes, rtcp } => {
                    if let Some(from) = self.media.get(&call).copied() {
                        let from = SocketAddr::new(from.ip(), from.port() + u16::from(rtcp));
                        self.outgoing.push_back(Transmit::Datagram { from, to, bytes });
                    }
                }
                // It speaks no ICE.
                PhoneOutput::Way { .. } => {}
                PhoneOutput::Event(event) => self.happened(now, event),
            }
        }
    }

    /// The transport it uses, or tries.
    pub fn transport(&self) -> Transport {
        self.setup.transport
    }

    fn send_sip(&mut self, bytes: Bytes) {
        let (from, to) = (self.local, self.setup.server);
        let bytes = self.worded(bytes);
        self.outgoing.push_back(if self.setup.transport == Transport::Udp {
            Transmit::Datagram { from, to, bytes }
        } else {
            Transmit::Send { from, to, bytes }
        });
    }

    fn happened(&mut self, now: Instant, event: PhoneEvent) {
        match &event {
            // Who takes a call of ours over, or joins it, does not ring.
            PhoneEvent::Incoming { call, replaces: Some(_), .. }
            | PhoneEvent::Incoming { call, joins: Some(_), .. } => {
                drop(self.answer(now, *call));
            }
            // A transfer that cannot be followed is told to who wants it.
            PhoneEvent::TransferRequested { call, .. } => drop(self.follow(now, *call)),
            PhoneEvent::Incoming { call, .. } => {
                let call = *call;
                match self.setup.habit {
                    Habit::Waits => {}
                    // A call that is gone again was hung up in between: nothing to do.
                    Habit::Answers => drop(self.answer(now, call)),
                    Habit::Declines => drop(self.phone.reject(now, call)),
                }
            }
            PhoneEvent::Answered { call, .. } | PhoneEvent::EarlyMedia { call } => {
                self.listen(now, *call);
            }
            PhoneEvent::Ended { call, .. } => {
                self.media.remove(call);
                if self.media.is_empty() {
                    self.next_frame = None;
                }
            }
            _ => {}
        }
        self.events.push(event);
    }

    /// Speaks and listens for 20 ms on every call.
    fn sound(&mut self, now: Instant) {
        self.next_frame = Some(now + FRAME);
        self.frames += 1;
        let spoken = tone(self.frames);
        let calls: Vec<CallHandle> = self.heard.keys().copied().collect();
        for call in calls.into_iter().filter(|call| self.media.contains_key(call)) {
            self.phone.capture(now, call, &spoken);
            let mut played = [0; FRAME_SAMPLES];
            self.phone.play(now, call, &mut played);
            let ear = self.heard.entry(call).or_default();
            let loud = played.iter().any(|s| s.unsigned_abs() > 1000);
            *(if loud { &mut ear.loud } else { &mut ear.silent }) += 1;
        }
    }
}

impl Node for PhoneNode {
    fn handle_packet(
        &mut self,
        now: Instant,
        wall: WallTime,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        if self.probe_heard(now, wall, to) {
            self.step(now);
        } else if to.port() == self.local.port() && ice::stun::is_stun(bytes) {
            self.step_kept_alive();
        } else if to.port() == self.local.port() {
            self.step_heard(now, wall);
            self.step(now);
            self.phone.handle_sip(now, Bytes::copy_from_slice(bytes));
        } else {
            let port = to.port() & !1;
            let call = self.media.iter().find(|(_, at)| at.port() == port).map(|(call, _)| *call);
            if let Some(call) = call {
                self.phone.handle_media(now, call, from, bytes);
            }
        }
        self.settle(now);
    }

    fn handle_stream(&mut self, now: Instant, wall: WallTime, event: StreamEvent) {
        if self.probe_stream(now, wall, &event) {
            self.step(now);
            return self.settle(now);
        }
        match event {
            StreamEvent::Opened { local, .. } if local == self.local => {
                self.connected = true;
                self.stepped();
                self.phone.handle_link_up(now, self.link());
            }
            StreamEvent::Received { local, bytes, .. } if local == self.local => {
                self.framer.push(&bytes);
                while let Ok(Some(frame)) = self.framer.next_frame() {
                    match frame {
                        Frame::Message(message) => {
                            self.step_heard(now, wall);
                            self.phone.handle_sip(now, message);
                        }
                        // A server only answers.
                        Frame::Pong | Frame::Ping => self.step_kept_alive(),
                    }
                }
            }
            StreamEvent::Closed { local, .. } if local == self.local => {
                if std::mem::take(&mut self.connected) {
                    self.phone.handle_link_down(now);
                }
                match &mut self.stepping {
                    Some(stepping) => stepping.machine.handle_failed(now),
                    None => self.reconnect_at = Some(now + RECONNECT_AFTER),
                }
            }
            _ => {}
        }
        self.step(now);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant, wall: WallTime) {
        if let Some(stepping) = &mut self.stepping {
            stepping.machine.handle_timeout(now, wall);
            self.step(now);
        }
        if self.reconnect_at.is_some_and(|at| at <= now) {
            self.open_link(now);
        }
        if self.next_frame.is_some_and(|at| at <= now) {
            self.sound(now);
        }
        if self.phone.poll_timeout().is_some_and(|at| at <= now) {
            self.phone.handle_timeout(now);
        }
        self.settle(now);
    }

    fn handle_address_changed(&mut self, now: Instant, _wall: WallTime, local: IpAddr) {
        self.local.set_ip(local);
        self.media.values_mut().for_each(|at| at.set_ip(local));
        if std::mem::take(&mut self.connected) {
            self.phone.handle_link_down(now);
        }
        match self.stepping {
            Some(_) => self.join(now),
            None => self.open_link(now),
        }
        self.settle(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let phone = self.phone.poll_timeout();
        let stepping = self.stepping.as_ref().and_then(|s| s.machine.poll_timeout());
        [phone, stepping, self.reconnect_at, self.next_frame].into_iter().flatten().min()
    }
}

/// Frame `number` of a 400 Hz sawtooth: loud, and cheap to make.
fn tone(number: u32) -> [i16; FRAME_SAMPLES] {
    let start = number.wrapping_mul(960);
    std::array::from_fn(|i| {
        // 120 samples per period, 16 steps each: below 10,000, so it fits.
        let phase = (start.wrapping_add(i as u32) % 120) as i16;
        (phase - 60) * 160
    })
}
