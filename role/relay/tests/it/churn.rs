//! A day of calls in virtual time: made, forked, held, re-offered, joined by third parties, hung up,
//! and left behind by controllers that died. Whatever was counted adds up, and nothing stays.
//!
//! `WHIMBREL_CHURN_SEED=7 cargo nextest run -p relay churn` repeats a day.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audio::Wav;
use bytes::Bytes;
use media::keying::dtls::Certificate;
use relay::bridge::{BridgeEvent, Component, Port};
use relay::ng::{Controlled, Errand, Handled, Outcome};
use relay::{Config, Control, NumberedPorts, RelayEvent, SessionId};
use sansio::{Entropy, SeededEntropy};

use crate::memory::held;
use crate::peers::{Keys, Peer};
use crate::virtual_net::config;

const CALLS_PER_HOUR: u64 = 2_000;
const HOURS: u64 = 24;
/// All calls are let end this often, to see what is left.
const HOURS_OF_A_SHIFT: u64 = 6;
const HOUR: Duration = Duration::from_secs(3600);
/// The longest anything outlives its last word: a call that nobody answers, or that is held.
const LONGEST: Duration = Duration::from_secs(3_900);
const TALK_EVERY: Duration = Duration::from_secs(15);
const FRAME: Duration = Duration::from_millis(20);
/// What tables may have grown by at a busier hour. Three bytes kept of each call would be more.
const SLACK_BYTES: usize = 96 << 10;

/// What happens to a call next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Answer,
    Talk,
    /// Something that calls do besides.
    Change,
    HangUp,
    /// Its controller is gone: nobody says anything any more.
    Leave,
}

/// A call as its phones see it.
struct Call {
    name: String,
    session: SessionId,
    caller: Peer,
    /// By their branches; the one that answers is the first.
    callees: Vec<Peer>,
    answered: bool,
    held: bool,
    /// RTP packets by the address of the phone: sent by it, and sent to it.
    sent: BTreeMap<SocketAddr, u64>,
    got: BTreeMap<SocketAddr, u64>,
    /// Third parties come and go under this tag.
    ear: Option<String>,
}

struct Day {
    seed: u64,
    random: SeededEntropy,
    now: Instant,
    ng: Controlled,
    control: Control<NumberedPorts>,
    calls: HashMap<u64, Call>,
    /// Sessions that may be open.
    open: Vec<SessionId>,
    queue: BinaryHeap<Reverse<(Instant, u64, Step)>>,
    made: u64,
    cookie: u64,
    totals: BTreeMap<&'static str, u64>,
}

impl Day {
    fn new(seed: u64) -> Self {
        let config = Config { sessions_max: 1_000, held_silence_s: 3_600, ..config() };
        let ports = NumberedPorts::new(1, config.port_min, config.port_max);
        let certificate = Certificate::generate().unwrap();
        let control = Control::new(config, ports, certificate, Box::new(SeededEntropy::new(seed)));
        let now = Instant::now();
        let mut ng = Controlled::new(now);
        ng.set_delete_delay(Duration::from_secs(5));
        Self {
            seed,
            random: SeededEntropy::new(seed ^ 0x5eed),
            now,
            ng,
            control,
            calls: HashMap::new(),
            open: Vec::new(),
            queue: BinaryHeap::new(),
            made: 0,
            cookie: 0,
            totals: BTreeMap::new(),
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn seconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_secs(from + self.below(to - from))
    }

    fn count(&mut self, what: &'static str) {
        *self.totals.entry(what).or_default() += 1;
    }

    fn plan(&mut self, after: Duration, call: u64, step: Step) {
        self.queue.push(Reverse((self.now + after, call, step)));
    }

    /// Says something to the relay; the reply, which has to be good.
    fn say(&mut self, entries: &[(&str, &str)]) -> String {
        self.cookie += 1;
        let entry = |(k, v): &(&str, &str)| format!("{}:{k}{}:{v}", k.len(), v.len());
        let body: String = entries.iter().map(entry).collect();
        let message = Bytes::from(format!("{} d{body}e", self.cookie));
        let at = (self.now, Duration::from_secs(1_700_000_000));
        let reply = match self.ng.handle(at, &mut self.control, &message) {
            Handled::Reply(reply) => reply,
            Handled::Errand(errand) => self.run(*errand),
            other => panic!("seed {}: {other:?}", self.seed),
        };
        let reply = String::from_utf8(reply.to_vec()).unwrap();
        assert!(!reply.contains("6:result5:error"), "seed {}: {entries:?}: {reply}", self.seed);
        reply
    }

    /// The disk: there is a short sound, and recordings are not kept.
    fn run(&mut self, errand: Errand) -> Bytes {
        let sound = Outcome::Sound(Ok(Wav::mono(8000, vec![1000; 640])));
        self.ng.finish(self.now, &mut self.control, errand, sound)
    }

    /// A description out of a reply.
    fn sdp(&mut self, entries: &[(&str, &str)]) -> Vec<u8> {
        let reply = self.say(entries);
        let (_, rest) = reply.split_once("3:sdp").expect("a description");
        let (len, rest) = rest.split_once(':').unwrap();
        rest.as_bytes()[..len.parse::<usize>().unwrap()].to_vec()
    }

    fn peer(&mut self, number: u64, host: u64) -> Peer {
        let port = 4000 + 2 * (number % 20_000);
        let addr = format!("192.0.{}.{host}:{port}", number % 250);
        let ssrc = (number as u32) << 3 | host as u32;
        if self.below(4) == 0 { Peer::sdes(&addr, ssrc) } else { Peer::plain(&addr, ssrc) }
    }

    /// A call begins: to one phone, or forked to several.
    fn begin(&mut self) {
        self.made += 1;
        let number = self.made;
        let name = format!("call-{number}");
        let caller = self.peer(number, 1);
        let forks = if self.below(7) == 0 { 2 + self.below(2) } else { 1 };
        let offer = String::from_utf8(caller.describe(None)).unwrap();
        let mut callees = Vec::new();
        for fork in 0..forks {
            let mut callee = self.peer(number, 2 + fork);
            let proto = if matches!(callee.keys, Keys::Plain) { "RTP/AVP" } else { "RTP/SAVP" };
            let via = format!("via-{fork}");
            let offered = self.sdp(&[
                ("call-id", &name),
                ("command", "offer"),
                ("from-tag", "a"),
                ("transport-protocol", proto),
                ("via-branch", &via),
                ("sdp", &offer),
            ]);
            callee.take(&offered, false);
            callees.push(callee);
        }
        let port = callees[0].remote.unwrap().port();
        let session = self.control.ports().owner(0, port).expect("its port").session;
        let (sent, got) = (BTreeMap::new(), BTreeMap::new());
        let call = Call {
            name,
            session,
            caller,
            callees,
            answered: false,
            held: false,
            sent,
            got,
            ear: None,
        };
        self.calls.insert(number, call);
        self.open.push(session);
        let ring = self.seconds(1, 20);
        match self.below(100) {
            0..8 => self.plan(ring, number, Step::HangUp),
            8..10 => self.plan(ring, number, Step::Leave),
            _ => self.plan(ring, number, Step::Answer),
        }
    }

    fn step(&mut self, number: u64, step: Step) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        let goes_on = match step {
            Step::Answer => {
                self.answer(&mut call, number);
                true
            }
            Step::Talk => {
                self.talk(&mut call);
                self.plan(TALK_EVERY, number, Step::Talk);
                true
            }
            Step::Change => {
                self.change(&mut call);
                let next = self.seconds(5, 60);
                self.plan(next, number, Step::Change);
                true
            }
            Step::HangUp => {
                self.hang_up(&call);
                false
            }
            Step::Leave => {
                self.count(if call.answered { "left" } else { "left ringing" });
                false
            }
        };
        if goes_on {
            self.calls.insert(number, call);
        }
    }

    fn answer(&mut self, call: &mut Call, number: u64) {
        let last = (call.callees.len() - 1) as u64;
        let winner = self.below(last + 1) as usize;
        call.callees.swap(0, winner);
        let via = format!("via-{winner}");
        let offered = self.offered_to(call, winner);
        let answer = call.callees[0].describe(Some(&offered));
        let answer = String::from_utf8(answer).unwrap();
        let answered = self.sdp(&[
            ("call-id", &call.name),
            ("command", "answer"),
            ("from-tag", "a"),
            ("sdp", &answer),
            ("to-tag", "b"),
            ("via-branch", &via),
        ]);
        call.caller.take(&answered, true);
        call.answered = true;
        // The others are told that it is over, as a proxy does.
        for fork in (0..call.callees.len()).filter(|fork| *fork != winner) {
            let via = format!("via-{fork}");
            let name = call.name.clone();
            self.say(&[
                ("call-id", &name),
                ("command", "delete"),
                ("from-tag", "a"),
                ("via-branch", &via),
            ]);
        }
        call.callees.truncate(1);
        self.count("answered");
        self.plan(Duration::from_millis(100), number, Step::Talk);
        let change = self.seconds(5, 60);
        self.plan(change, number, Step::Change);
        let end = self.seconds(10, 110);
        let step = if self.below(20) == 0 { Step::Leave } else { Step::HangUp };
        self.plan(end, number, step);
    }

    /// The offer to a branch once more: its keys are needed to answer it.
    fn offered_to(&mut self, call: &Call, fork: usize) -> Vec<u8> {
        let offer = String::from_utf8(call.caller.describe(None)).unwrap();
        let proto =
            if matches!(call.callees[0].keys, Keys::Plain) { "RTP/AVP" } else { "RTP/SAVP" };
        let (name, via) = (call.name.clone(), format!("via-{fork}"));
        self.sdp(&[
            ("call-id", &name),
            ("command", "offer"),
            ("from-tag", "a"),
            ("transport-protocol", proto),
            ("via-branch", &via),
            ("sdp", &offer),
        ])
    }

    /// A packet each way, and what arrives is whole.
    fn talk(&mut self, call: &mut Call) {
        for from_caller in [true, false] {
            self.packet(call, from_caller);
        }
        self.count("talked");
    }

    fn packet(&mut self, call: &mut Call, from_caller: bool) {
        let callee = &mut call.callees[0];
        let (from, to) =
            if from_caller { (&mut call.caller, callee) } else { (callee, &mut call.caller) };
        let packet = from.rtp();
        let (ours, addr, ssrc) = (from.remote.unwrap().port(), from.addr, from.ssrc);
        let before = call.got.get(&to.addr).copied().unwrap_or_default();
        let (whom, own) = (to.addr, to);
        *call.sent.entry(addr).or_default() += 1;
        for (to, bytes) in self.deliver(addr, ours, &packet) {
            *call.got.entry(to).or_default() += 1;
            if to == whom {
                let (header, payload) = own.open(&bytes).expect("a packet that opens");
                let is_event = header.payload_type == 101;
                assert!(is_event || payload == [ssrc as u8; 160], "seed {}", self.seed);
            }
        }
        let after = call.got.get(&whom).copied().unwrap_or_default();
        assert!(after > before, "seed {}: {} hears nothing", self.seed, call.name);
    }

    /// One packet to one of our ports; what leaves because of it.
    fn deliver(
        &mut self,
        from: SocketAddr,
        port: u16,
        packet: &[u8],
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let owner = self.control.ports().owner(0, port).cloned();
        let owner = owner.unwrap_or_else(|| panic!("seed {}: port {port} closed", self.seed));
        let mut buf = [packet, &[0; 64]].concat();
        let mut bridge = owner.bridge.lock();
        let at = Port { leg: owner.leg, component: Component::Rtp };
        let forward = bridge.handle_packet(self.now, at, from, &mut buf, packet.len());
        let mut out: Vec<_> = forward.map(|f| (f.to, buf[..f.len].to_vec())).into_iter().collect();
        while let Some(t) = bridge.poll_transmit() {
            out.push((t.to, t.bytes));
        }
        while bridge.poll_event().is_some() {}
        out
    }

    /// Twenty milliseconds in which a call's timers are looked at.
    fn pass_frame(&mut self, call: &mut Call) {
        self.now += FRAME;
        let Some(bridge) = self.control.bridge(call.session) else { return };
        let mut bridge = bridge.lock();
        bridge.handle_timeout(self.now);
        while let Some(t) = bridge.poll_transmit() {
            *call.got.entry(t.to).or_default() += 1;
        }
    }

    fn change(&mut self, call: &mut Call) {
        match self.below(6) {
            0 | 1 => self.reoffer(call),
            2 => {
                let tag = if self.below(2) == 0 { "a" } else { "b" };
                let name = call.name.clone();
                self.say(&[
                    ("call-id", &name),
                    ("code", "5"),
                    ("command", "play DTMF"),
                    ("duration", "60"),
                    ("from-tag", tag),
                ]);
                for _ in 0..10 {
                    self.packet(call, tag == "a");
                    self.now += FRAME;
                }
                self.count("digits");
            }
            3 => {
                let name = call.name.clone();
                self.say(&[
                    ("call-id", &name),
                    ("command", "play media"),
                    ("file", "/there.wav"),
                    ("from-tag", "b"),
                ]);
                (0..6).for_each(|_| self.pass_frame(call));
                self.count("played");
            }
            4 => self.subscribe(call),
            _ => {
                let name = call.name.clone();
                self.say(&[("call-id", &name), ("command", "query")]);
                self.count("queried");
            }
        }
    }

    /// The caller holds or goes on, or the callee asks once more; the other answers.
    fn reoffer(&mut self, call: &mut Call) {
        let from_caller = self.below(3) > 0;
        let hold = from_caller && !call.held;
        let (from, to) = if from_caller { ("a", "b") } else { ("b", "a") };
        let callee = &mut call.callees[0];
        let (asks, told) =
            if from_caller { (&mut call.caller, callee) } else { (callee, &mut call.caller) };
        let mut offer =
            String::from_utf8(asks.describe(None)).unwrap().replace("a=sendrecv\r\n", "");
        offer.push_str(if hold { "a=sendonly\r\n" } else { "a=sendrecv\r\n" });
        let names = [("call-id", call.name.as_str()), ("from-tag", from), ("to-tag", to)];
        let with = |command, sdp| [&names[..], &[("command", command), ("sdp", sdp)]].concat();
        let offered = self.sdp(&with("offer", &offer));
        told.take(&offered, false);
        let answer = String::from_utf8(told.describe(Some(&offered))).unwrap();
        let answered = self.sdp(&with("answer", &answer));
        asks.take(&answered, true);
        call.held = hold || (call.held && !from_caller);
        self.count("re-offers");
    }

    /// A third party comes, or goes; some are there to the end.
    fn subscribe(&mut self, call: &mut Call) {
        let name = call.name.clone();
        if let Some(tag) = call.ear.take() {
            self.say(&[("call-id", &name), ("command", "unsubscribe"), ("to-tag", &tag)]);
            self.count("unsubscribed");
            return;
        }
        let tag = format!("ear-{}", self.cookie);
        self.sdp(&[
            ("call-id", &name),
            ("command", "subscribe request"),
            ("flags", "all"),
            ("to-tag", &tag),
            ("transport-protocol", "RTP/AVP"),
        ]);
        let stream = "m=audio 30000 RTP/AVP 0 101\r\na=recvonly\r\n";
        let answer = format!(
            "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
             {stream}{stream}"
        );
        let command = ("command", "subscribe answer");
        self.say(&[("call-id", &name), command, ("sdp", &answer), ("to-tag", &tag)]);
        call.ear = Some(tag);
        self.count("subscribed");
    }

    /// The relay's figures are those of the phones; then the call ends.
    fn hang_up(&mut self, call: &Call) {
        let stats = self.control.query(self.now, call.session).expect("a session");
        let of = |counts: &BTreeMap<SocketAddr, u64>, addr| counts.get(&addr).copied().unwrap_or(0);
        for (leg, phone) in stats.legs.iter().zip([&call.caller, &call.callees[0]]) {
            if call.answered {
                let counted = (leg.packets_received, leg.packets_sent);
                let seen = (of(&call.sent, phone.addr), of(&call.got, phone.addr));
                assert_eq!(counted, seen, "seed {}: {}: {leg:?}", self.seed, call.name);
                let dropped = leg.dropped_injected + leg.dropped_unauthenticated;
                assert_eq!((dropped, leg.moves), (0, 0), "seed {}: {leg:?}", self.seed);
            }
        }
        let name = call.name.clone();
        self.say(&[("call-id", &name), ("command", "delete"), ("from-tag", "a")]);
        self.count("hung up");
    }

    /// Lets time pass up to `end`: steps, deletions, and calls that fell silent.
    fn run_until(&mut self, end: Instant) {
        let mut look = self.now;
        while self.now < end {
            let next = self.queue.peek().map(|Reverse((at, ..))| *at);
            let next = next.unwrap_or(end).min(end).min(look).max(self.now);
            self.now = next;
            if self.now >= look {
                look = self.now + Duration::from_secs(4);
                self.look_after_timers();
            }
            while let Some(Reverse((at, call, step))) = self.queue.peek().copied() {
                if at > self.now {
                    break;
                }
                self.queue.pop();
                self.step(call, step);
            }
            if self.queue.is_empty() && self.control.is_empty() {
                self.now = end;
            }
        }
    }

    fn look_after_timers(&mut self) {
        self.ng.handle_timeout(self.now, &mut self.control);
        let mut open = std::mem::take(&mut self.open);
        open.retain(|session| self.control.bridge(*session).is_some());
        for session in open.iter().copied() {
            let Some(bridge) = self.control.bridge(session) else { continue };
            let mut silent = false;
            {
                let mut bridge = bridge.lock();
                if bridge.poll_timeout().is_some_and(|at| at <= self.now) {
                    bridge.handle_timeout(self.now);
                }
                while bridge.poll_transmit().is_some() {}
                while let Some(event) = bridge.poll_event() {
                    silent |= event == BridgeEvent::MediaSilent;
                }
            }
            drop(bridge);
            if silent {
                let event = RelayEvent::MediaSilent { session };
                self.ng.handle_event(self.now, &mut self.control, &event);
                self.count("silent");
            }
        }
        self.open = open;
    }

    /// Nothing is open, and nothing is kept but tables.
    fn assert_empty(&mut self) -> usize {
        self.now += Duration::from_secs(30);
        self.say(&[("command", "ping")]);
        self.now += Duration::from_secs(30);
        self.say(&[("command", "ping")]);
        assert_eq!((self.control.len(), self.control.ports().in_use()), (0, 0), "{}", self.seed);
        assert!(self.calls.is_empty() && self.queue.is_empty(), "seed {}", self.seed);
        assert_eq!(self.ng.poll_timeout(), None, "seed {}: no end is awaited", self.seed);
        let told = self.say(&[("command", "list")]);
        assert!(told.contains("5:callsle"), "seed {}: {told}", self.seed);
        (self.calls, self.queue, self.open) = (HashMap::new(), BinaryHeap::new(), Vec::new());
        held()
    }
}

#[test]
fn r5_a_day_of_calls_leaves_nothing_behind_and_every_packet_is_counted() {
    let seed = std::env::var("WHIMBREL_CHURN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut day = Day::new(seed);
    let mut left = Vec::with_capacity(8);
    for _ in 0..HOURS / HOURS_OF_A_SHIFT {
        let ends = day.now + HOUR * HOURS_OF_A_SHIFT as u32;
        let between = Duration::from_micros(3_600_000_000 / CALLS_PER_HOUR);
        let mut next = day.now;
        while day.now < ends {
            day.begin();
            next += between;
            day.run_until(next);
        }
        day.run_until(day.now + LONGEST);
        left.push(day.assert_empty());
    }
    println!("seed {seed}: {:?}, {left:?} bytes held after each shift", day.totals);
    assert!(day.made >= CALLS_PER_HOUR * HOURS * 95 / 100, "{}", day.made);
    for what in [
        "answered",
        "left",
        "left ringing",
        "silent",
        "re-offers",
        "digits",
        "played",
        "subscribed",
    ] {
        assert!(
            day.totals.get(what).is_some_and(|n| *n > 100),
            "seed {seed}: {what}: {:?}",
            day.totals
        );
    }
    // The first shift makes room in the tables.
    let (first, last) = (left[0], left[left.len() - 1]);
    assert!(last <= first + SLACK_BYTES, "seed {seed}: {left:?}");
}
