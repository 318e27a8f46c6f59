//! The NG control protocol of rtpengine: a controller (Kamailio, OpenSIPS) has its descriptions
//! written by this relay as it would by that one. Sans-IO: messages in, messages out.
//!
//! ```text
//!   "3_17 d7:command5:offer…"  ─► cookie, message ─► Request ─► Calls: session, branch, side
//!                                                                 └─► Control::offer / answer / …
//!   "3_17 d6:result2:ok3:sdp…" ◄─ cookie, reply  (kept for a request that comes again)
//! ```
//!
//! Start reading at [`Controlled::handle`].

mod bencode;
mod calls;
mod errand;
mod json;
mod playing;
mod recording;
mod replay;
mod report;
mod request;
mod subscribing;
mod value;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::RelayError;
use crate::api::{Description, LegProfile, Protocol, RelayEvent};
use crate::control::{Control, MediaSwitch};
use crate::dialect::{Dialect, DtlsWish, IceWish};
use crate::ports::Ports;
pub use bencode::BencodeError;
use calls::{Calls, Way};
use errand::Performed;
pub use errand::{Errand, Outcome, Task};
use replay::Replay;
use report::Totals;
use request::{Request, RequestError, Switch, Verb};
pub use value::Value;

/// A cookie is a few digits; what is longer is not NG.
const COOKIE_MAX: usize = 255;
/// How long a deleted call lives on when the controller does not say: late packets of a BYE that
/// was overtaken are still relayed.
const DELETE_DELAY: Duration = Duration::from_secs(30);
/// Call-IDs a `list` gives when it names no number.
const LIST_USUAL: usize = 32;

/// A relay under a controller's hand.
#[derive(Debug)]
pub struct Controlled {
    calls: Calls,
    replay: Replay,
    totals: Totals,
    started: Instant,
    delete_delay: Duration,
}

/// What came to pass with bytes that may hold a message.
#[derive(Debug)]
pub enum Handled {
    /// The reply to send.
    Reply(Bytes),
    /// The disk is needed first; [`Controlled::finish`] gives the reply.
    Errand(Box<Errand>),
    /// More bytes are needed.
    Incomplete,
    /// This is not NG: nothing is said to a stranger.
    Foreign,
}

impl Controlled {
    /// No calls yet.
    pub fn new(now: Instant) -> Self {
        Self {
            calls: Calls::default(),
            replay: Replay::default(),
            totals: Totals::default(),
            started: now,
            delete_delay: DELETE_DELAY,
        }
    }

    /// How long a deleted call lives on unless its deletion says otherwise.
    pub fn set_delete_delay(&mut self, delay: Duration) {
        self.delete_delay = delay;
    }

    /// Takes one whole message, as UDP and WebSocket carry it. `unix` is the time since 1970.
    pub fn handle<P: Ports>(
        &mut self,
        (now, unix): (Instant, Duration),
        control: &mut Control<P>,
        message: &Bytes,
    ) -> Handled {
        self.take((now, unix), control, message).map_or(Handled::Foreign, |(handled, _)| handled)
    }

    /// Takes one message from the front of a stream, and says how many bytes it was.
    pub fn handle_stream<P: Ports>(
        &mut self,
        at: (Instant, Duration),
        control: &mut Control<P>,
        buffered: &Bytes,
    ) -> (Handled, usize) {
        self.take(at, control, buffered).unwrap_or((Handled::Foreign, 0))
    }

    fn take<P: Ports>(
        &mut self,
        (now, unix): (Instant, Duration),
        control: &mut Control<P>,
        input: &Bytes,
    ) -> Option<(Handled, usize)> {
        let window = &input[..input.len().min(COOKIE_MAX + 1)];
        let Some(space) = memchr::memchr(b' ', window) else {
            let more = input.len() <= COOKIE_MAX && !input.is_empty();
            return more.then_some((Handled::Incomplete, 0));
        };
        let (cookie, body) = (input.slice(..space), input.slice(space + 1..));
        let is_json = body.first() == Some(&b'{');
        let (message, used) = match is_json {
            true => (json::read(&body).ok()?, body.len()),
            false => match bencode::read(&body) {
                Ok(read) => read,
                Err(BencodeError::Incomplete(_)) => return Some((Handled::Incomplete, 0)),
                Err(_) => return None,
            },
        };
        let used = space + 1 + used;
        if let Some(answer) = self.replay.find(now, &cookie) {
            return Some((Handled::Reply(answer), used));
        }
        let done = match self.perform((now, unix), control, &message) {
            Ok(Performed::Errand(task, then)) => {
                // A copy: the buffer it came in is a whole message long.
                let cookie = Bytes::copy_from_slice(&cookie);
                let errand = Errand { cookie, is_json, task, then };
                return Some((Handled::Errand(Box::new(errand)), used));
            }
            Ok(Performed::Told(entries)) => Ok(entries),
            Err(reason) => Err(reason),
        };
        Some((Handled::Reply(self.reply(now, (&cookie, is_json), done)), used))
    }

    /// Writes a reply, and keeps it for a request that comes again.
    fn reply(
        &mut self,
        now: Instant,
        (cookie, is_json): (&Bytes, bool),
        done: Result<Entries, String>,
    ) -> Bytes {
        let reply = match done {
            Ok(mut entries) => {
                if entries.iter().all(|(key, _)| *key != "result") {
                    entries.push(("result", Value::text("ok")));
                }
                Value::dictionary(entries)
            }
            Err(reason) => refusal(&reason),
        };
        let mut out = BytesMut::with_capacity(1024);
        out.extend_from_slice(cookie);
        out.extend_from_slice(b" ");
        match is_json {
            true => out.extend_from_slice(&json::write(&reply)),
            false => bencode::write(&reply, &mut out),
        }
        // Exactly as long as it is: it is kept for a while.
        let out = Bytes::from(out.to_vec().into_boxed_slice());
        self.replay.keep(now, cookie, out.clone());
        out
    }

    /// Ends calls whose deletion is due.
    pub fn handle_timeout<P: Ports>(&mut self, now: Instant, control: &mut Control<P>) {
        while let Some(call) = self.calls.take_due(now) {
            self.totals.timeouts += u64::from(call.ends.is_none());
            if let Some(stats) = control.delete(now, call.session, None) {
                self.totals.add(&stats);
            }
        }
    }

    /// When [`Controlled::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.calls.poll_timeout()
    }

    /// Takes what the relay noticed: a call nobody talks in is ended.
    pub fn handle_event<P: Ports>(
        &mut self,
        now: Instant,
        control: &mut Control<P>,
        event: &RelayEvent,
    ) {
        let RelayEvent::MediaSilent { session } = event else { return };
        let Some(call_id) = self.calls.call_id_of(*session) else { return };
        self.calls.remove(&call_id);
        self.totals.timeouts += 1;
        if let Some(stats) = control.delete(now, *session, None) {
            self.totals.add(&stats);
        }
    }

    fn perform<P: Ports>(
        &mut self,
        at: (Instant, Duration),
        control: &mut Control<P>,
        message: &Value,
    ) -> Result<Performed, String> {
        let name = message.get("command").and_then(Value::str).unwrap_or_default();
        let verb = Verb::parse(name).ok_or("Unrecognized command")?;
        let request = Request::read(message).map_err(|error| error.to_string())?;
        let (now, unix) = at;
        let whole = (&request, message);
        let told = match verb {
            Verb::Ping => Ok(vec![("result", Value::text("pong"))]),
            Verb::Offer => {
                let offered = self.offer(at, control, &request)?;
                return Ok(self.recorded(&request, unix, offered));
            }
            Verb::Answer => {
                let answered = self.answer(at, control, &request)?;
                return Ok(self.recorded(&request, unix, answered));
            }
            Verb::Delete => self.delete(at, control, &request),
            Verb::Query => self.query(at, control, &request),
            Verb::List => Ok(self.list(request.limit)),
            Verb::Statistics => Ok(self.statistics(now, control)),
            Verb::Switch(switch, on) => self.switch(control, &request, (switch, on)),
            Verb::Record(what) => return self.record(&request, what, unix),
            Verb::PlayMedia => return self.play_media(now, control, whole),
            Verb::StopMedia => self.stop_media(control, &request),
            Verb::PlayDigit => self.play_digit(now, control, whole),
            Verb::Subscribe => self.subscribe(now, control, whole),
            Verb::SubscribeAnswer => self.subscribe_answer(now, control, &request),
            Verb::Unsubscribe => self.unsubscribe(control, &request),
        };
        told.map(Performed::Told)
    }

    fn offer<P: Ports>(
        &mut self,
        at: (Instant, Duration),
        control: &mut Control<P>,
        request: &Request,
    ) -> Result<Entries, String> {
        let sdp = checked(request)?;
        let known = self.calls.get(&request.parties.call_id).is_some();
        let call = self.calls.open(&request.parties, at);
        call.last_signal = at.1;
        let branches = call.branches.len();
        let way = call.offer(&request.parties);
        let description = describe(request, way, sdp, true);
        match control.offer(at.0, &description) {
            Ok(sdp) => {
                call.note_label(&request.parties, way);
                self.totals.managed += u64::from(!known);
                Ok(vec![("sdp", Value::String(sdp))])
            }
            Err(error) => {
                // A branch that was only made for this offer: nobody will answer it.
                call.branches.truncate(branches);
                if !known {
                    self.calls.remove(&request.parties.call_id);
                    self.totals.rejected += 1;
                }
                Err(reason(&error))
            }
        }
    }

    fn answer<P: Ports>(
        &mut self,
        at: (Instant, Duration),
        control: &mut Control<P>,
        request: &Request,
    ) -> Result<Entries, String> {
        let sdp = checked(request)?;
        if request.parties.to_tag.is_none() {
            return Err(RequestError::NoToTag.to_string());
        }
        let call = self.calls.get_mut(&request.parties.call_id).ok_or("Unknown call-id")?;
        call.last_signal = at.1;
        let way = call.answer(&request.parties).ok_or("No offer is open in this call")?;
        let description = describe(request, way, sdp, false);
        let sdp = control.answer(at.0, &description).map_err(|error| reason(&error))?;
        call.note_label(&request.parties, way);
        self.calls.note_answer(&request.parties.call_id);
        Ok(vec![("sdp", Value::String(sdp))])
    }

    fn delete<P: Ports>(
        &mut self,
        at: (Instant, Duration),
        control: &mut Control<P>,
        request: &Request,
    ) -> Result<Entries, String> {
        let call_id = named(request)?;
        let Some(call) = self.calls.get_mut(call_id) else {
            let warning = "Call-ID not found or tags didn't match";
            return Ok(vec![("warning", Value::text(warning))]);
        };
        let stats = control.query(at.0, call.session);
        let entries = stats.map(|stats| report::call(call, &stats, at.1)).unwrap_or_default();
        if let Some(one) = call.one_branch(&request.parties) {
            let branch = call.branches.remove(one);
            control.delete(at.0, call.session, Some(branch.number));
            return Ok(entries);
        }
        let delay = request.wishes.delete_delay.map_or(self.delete_delay, Duration::from_secs);
        self.totals.regular += u64::from(call.ends.is_none());
        self.calls.end_at(call_id, at.0 + delay);
        self.handle_timeout(at.0, control);
        Ok(entries)
    }

    fn query<P: Ports>(
        &mut self,
        at: (Instant, Duration),
        control: &mut Control<P>,
        request: &Request,
    ) -> Result<Entries, String> {
        let call = self.calls.get(named(request)?).ok_or("Unknown call-id")?;
        let stats = control.query(at.0, call.session).ok_or("Unknown call-id")?;
        Ok(report::call(call, &stats, at.1))
    }

    fn list(&self, limit: Option<usize>) -> Entries {
        let names = self.calls.names(limit.unwrap_or(LIST_USUAL)).cloned();
        vec![("calls", Value::List(names.map(Value::String).collect()))]
    }

    fn statistics<P: Ports>(&self, now: Instant, control: &Control<P>) -> Entries {
        let uptime = now.saturating_duration_since(self.started).as_secs();
        vec![("statistics", report::relay(&self.totals, control.len(), uptime))]
    }

    fn switch<P: Ports>(
        &mut self,
        control: &mut Control<P>,
        request: &Request,
        (switch, on): (Switch, bool),
    ) -> Result<Entries, String> {
        let call = self.calls.get(named(request)?).ok_or("Unknown call-id")?;
        let meant = call.meant(&request.parties);
        if meant.is_empty() {
            return Err("Unknown from-tag".to_owned());
        }
        let switch = match switch {
            Switch::Media => MediaSwitch::Block,
            Switch::Sound => MediaSwitch::Silence,
            Switch::Dtmf => MediaSwitch::BlockDtmf,
        };
        for branch in meant {
            control.switch(call.session, branch, switch, on);
        }
        Ok(Vec::new())
    }
}

type Entries = Vec<(&'static str, Value)>;

fn refusal(reason: &str) -> Value {
    Value::dictionary([("result", Value::text("error")), ("error-reason", Value::text(reason))])
}

fn named(request: &Request) -> Result<&Bytes, String> {
    let call_id = &request.parties.call_id;
    if call_id.is_empty() { Err(RequestError::NoCallId.to_string()) } else { Ok(call_id) }
}

/// The description of a request that must have one, and the names it must have.
fn checked(request: &Request) -> Result<Bytes, String> {
    named(request)?;
    if request.parties.from_tag.is_none() {
        return Err(RequestError::NoFromTag.to_string());
    }
    request.sdp.clone().ok_or_else(|| RequestError::NoSdp.to_string())
}

fn reason(error: &RelayError) -> String {
    match error {
        RelayError::Sdp(_) => format!("Failed to parse SDP ({error})"),
        RelayError::PortsExhausted { .. } => format!("Ran out of ports ({error})"),
        _ => error.to_string(),
    }
}

fn describe(request: &Request, way: Way, sdp: Bytes, is_offer: bool) -> Description {
    let wishes = &request.wishes;
    let offered = transport_of(&sdp);
    let dialect = Dialect {
        // Its INFO are not seen by us.
        trickle: false,
        transport: wishes.transport.clone(),
        each_stream: true,
        ice: wishes.ice,
        mux: wishes.mux,
        dtls: wishes.dtls,
        rtcp_attribute: !wishes.no_rtcp_attribute,
        keep_origin: !wishes.replace_origin,
    };
    let (from, toward) = match (&wishes.direction, is_offer) {
        (Some((from, toward)), true) => (Some(from.clone()), Some(toward.clone())),
        _ => (None, None),
    };
    let protocol = match wishes.protocol(offered) {
        Protocol::WebRtc if wishes.dtls == DtlsWish::Off => Protocol::Srtp,
        protocol => protocol,
    };
    let profile = |protocol, interface| LegProfile {
        interface,
        dialect: dialect.clone(),
        ..LegProfile::new(protocol)
    };
    // A message's source is a hint of where media comes from only if the controller says so.
    let trusted = wishes.received_from.filter(|_| !wishes.trust_address);
    Description {
        session: way.session,
        branch: way.branch,
        direction: way.direction,
        sdp,
        // What is said of ICE is said of the description that is written.
        from: LegProfile {
            dialect: Dialect { ice: IceWish::AsOffered, ..dialect.clone() },
            ..profile(offered, from)
        },
        toward: LegProfile { codecs: wishes.codecs.clone(), ..profile(protocol, toward) },
        signalled_from: trusted,
        tag: tag_text(request, is_offer),
    }
}

/// The tag of the one whose description it is.
fn tag_text(request: &Request, is_offer: bool) -> String {
    let parties = &request.parties;
    let tag = if is_offer { &parties.from_tag } else { &parties.to_tag };
    tag.as_ref().map(|tag| String::from_utf8_lossy(tag).into_owned()).unwrap_or_default()
}

/// How the sender's media is keyed, by its first stream over RTP: what the other side gets unless
/// the controller names a transport.
fn transport_of(sdp: &[u8]) -> Protocol {
    let lines = sdp.split(|b| *b == b'\n').filter(|line| line.starts_with(b"m="));
    let mut protos = lines.filter_map(|line| line.split(|b| *b == b' ').nth(2));
    let proto = protos.find(|proto| proto.windows(4).any(|part| part == b"RTP/"));
    let written = String::from_utf8_lossy(proto.unwrap_or(b"RTP/AVP")).to_ascii_uppercase();
    match (written.contains("TLS"), written.contains("SAVP")) {
        (true, _) => Protocol::WebRtc,
        (false, true) => Protocol::Srtp,
        (false, false) => Protocol::Rtp,
    }
}
