//! Runs the phone engine on tokio: its link, its media sockets, its clock, its sound.

use super::cost::Costs;
use super::ice::Ice;
use super::link::{LinkEvent, LinkTask, Linked};
use super::nat64::Nat64;
use super::network::Network;
use super::pace::Pace;
use super::pairs::PairsFile;
use super::places::{Arrival, Places, What};
use super::sound::{FRAME, Sink, Source};
use super::trust::TrustFile;
use ::phone::{CallHandle, Link, Phone, PhoneEvent, PhoneOutput};
use anyhow::{Result, anyhow};
use audio::level::LevelMeter;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// A phone with everything it needs to work.
pub struct Driver {
    /// In a box: futures that hold the driver are moved.
    pub phone: Box<Phone>,
    link: LinkTask,
    /// The present connection: its facts and its way out.
    connected: Option<(Link, mpsc::Sender<Bytes>)>,
    places: Places,
    ice: Ice,
    sound: Sound,
    /// What translates to IPv4, on a network that has IPv6 alone.
    nat64: Option<Nat64>,
    /// Where a lookup tells it.
    discovered: (mpsc::Sender<Nat64>, mpsc::Receiver<Nat64>),
    pace: Pace,
    /// Calls that were answered and are not over.
    answered: BTreeSet<CallHandle>,
    /// Calls that hear us before the answer.
    early: BTreeSet<CallHandle>,
    /// Calls that are heard together (RFC 3911).
    joined: BTreeSet<CallHandle>,
    /// The call that has the microphone and the loudspeaker.
    pub talking: Option<CallHandle>,
    events: VecDeque<PhoneEvent>,
    /// Where the keys of other phones are kept.
    trust: Option<TrustFile>,
    /// Where ways that were good are kept.
    pairs: Option<PairsFile>,
}

/// What is said and heard, and how loud.
pub struct Sound {
    pub source: Source,
    pub sink: Sink,
    /// Silence is sent instead of what the source says.
    pub muted: bool,
    pub said: LevelMeter,
    pub heard: LevelMeter,
}

/// Something the driver's owner should know.
#[derive(Debug)]
pub enum Happened {
    /// The engine says.
    Event(PhoneEvent),
    /// The link stands.
    LinkUp(Link),
    /// None of the account's transports works; tried again by itself.
    Unreachable,
    /// The link is down; tried again by itself.
    LinkDown(String),
    /// Twenty milliseconds passed.
    Tick,
}

impl Driver {
    /// Goes on from a first connection; when it breaks, it is made again.
    pub fn start(phone: Phone, link: Linked, ice: Ice, sound: Sound) -> Self {
        Self {
            phone: Box::new(phone),
            link: LinkTask::start(link),
            connected: None,
            places: Places::new(),
            ice,
            sound,
            nat64: None,
            discovered: mpsc::channel(1),
            pace: Pace::new(Instant::now()),
            answered: BTreeSet::new(),
            early: BTreeSet::new(),
            joined: BTreeSet::new(),
            talking: None,
            events: VecDeque::new(),
            trust: None,
            pairs: None,
        }
    }

    /// Keeps what the phone learns of others' keys there.
    pub fn remembering(self, trust: TrustFile) -> Self {
        Self { trust: Some(trust), ..self }
    }

    /// Tries first what was good in earlier calls, and keeps there what is.
    pub fn recalling(mut self, pairs: PairsFile) -> Self {
        self.phone.recall_pairs(Instant::now(), pairs.load());
        Self { pairs: Some(pairs), ..self }
    }

    /// Calls somebody.
    ///
    /// # Errors
    /// Not connected, no free ports, or a target the engine refuses.
    pub fn call(&mut self, target: &str) -> Result<CallHandle> {
        let local = self.bind()?;
        let call = self.phone.call(Instant::now(), target, local)?;
        self.places.adopt(call, local);
        self.talking = Some(call);
        self.flush();
        Ok(call)
    }

    /// Answers a ringing call.
    ///
    /// # Errors
    /// Not connected, no free ports, or no media both sides can use.
    pub fn answer(&mut self, call: CallHandle) -> Result<()> {
        let local = match self.places.of(call) {
            // Early media has its sockets.
            Some(local) => local,
            None => self.bind()?,
        };
        self.phone.answer(Instant::now(), call, local)?;
        self.places.adopt(call, local);
        self.talking = Some(call);
        self.flush();
        Ok(())
    }

    /// Sends sound to a caller before answering.
    ///
    /// # Errors
    /// Not connected, no free ports, or a caller that takes none.
    pub fn early_media(&mut self, call: CallHandle) -> Result<()> {
        let local = self.bind()?;
        self.phone.progress_with_media(Instant::now(), call, local)?;
        self.places.adopt(call, local);
        self.early.insert(call);
        self.talking = Some(call);
        self.flush();
        Ok(())
    }

    /// Calls where the other side of a call wants us.
    ///
    /// # Errors
    /// Not connected, no free ports, or no transfer wanted.
    pub fn follow(&mut self, call: CallHandle) -> Result<CallHandle> {
        let local = self.bind()?;
        let next = self.phone.follow_transfer(Instant::now(), call, local)?;
        self.places.adopt(next, local);
        self.talking = Some(next);
        self.flush();
        Ok(next)
    }

    /// Runs until something happens that the owner should know. Safe to cancel.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub async fn next(&mut self) -> Result<Happened> {
        loop {
            self.flush();
            self.link.set_busy(self.places.has_calls());
            if let Some(event) = self.events.pop_front() {
                self.note(&event);
                return Ok(Happened::Event(event));
            }
            let timeout = self.phone.poll_timeout();
            tokio::select! {
                event = self.link.next() => {
                    if let Some(happened) = self.link_event(event) {
                        return Ok(happened);
                    }
                }
                arrival = self.places.next() => self.arrived(Instant::now(), arrival),
                Some(found) = self.discovered.1.recv() => {
                    self.nat64 = Some(found);
                    self.set_ice(Instant::now());
                }
                () = sleep_until(self.pace.next().into()) => {
                    self.pace.beat(Instant::now());
                    self.exchange()?;
                    return Ok(Happened::Tick);
                }
                () = until(timeout) => self.phone.handle_timeout(Instant::now()),
            }
        }
    }

    /// What staying reachable has cost so far.
    pub fn costs(&self) -> Arc<Mutex<Costs>> {
        self.link.costs()
    }

    /// The last words: what the engine still wants sent, and the recording's end.
    ///
    /// # Errors
    /// The recording cannot be written.
    pub async fn finish(mut self) -> Result<()> {
        self.flush();
        self.connected = None;
        let finished = self.sound.sink.finish();
        self.link.finish().await;
        finished
    }

    /// Queues what the engine wants sent; keeps its events.
    pub fn flush(&mut self) {
        while let Some(output) = self.phone.poll_output() {
            match output {
                PhoneOutput::SendSip(bytes) => self.send_sip(bytes),
                PhoneOutput::SendMedia { call, to, bytes, rtcp } => {
                    if let Some(local) = self.places.of(call) {
                        let to = self.nat64.map_or(to, |nat| nat.toward(to));
                        self.places.send(local, to, &bytes, rtcp);
                    }
                }
                PhoneOutput::Way { local, output } => {
                    self.places.follow(local, output, (&self.ice, self.nat64));
                }
                PhoneOutput::Event(PhoneEvent::Retained { zid, retained }) => {
                    self.trust.iter_mut().for_each(|file| file.keep(zid, retained.clone()));
                }
                PhoneOutput::Event(PhoneEvent::PairsLearned) => {
                    if let Some(file) = &self.pairs {
                        file.save(&self.phone.remembered_pairs(Instant::now()));
                    }
                }
                PhoneOutput::Event(event) => self.events.push_back(event),
            }
        }
    }

    /// Whether the call was answered and is not over.
    pub fn is_answered(&self, call: CallHandle) -> bool {
        self.answered.contains(&call)
    }

    /// The sound, to mute it and to look at its levels.
    pub fn sound(&mut self) -> &mut Sound {
        &mut self.sound
    }

    fn note(&mut self, event: &PhoneEvent) {
        match event {
            // Whoever takes over or joins a call of ours need not ring (RFC 3891 §3, RFC 3911 §4).
            PhoneEvent::Incoming { call, replaces, joins, .. }
                if replaces.is_some() || joins.is_some() =>
            {
                self.joined.extend(joins.iter().flat_map(|old| [*old, *call]));
                if let Err(error) = self.answer(*call) {
                    tracing::warn!("a call cannot be taken over: {error:#}");
                }
            }
            PhoneEvent::Answered { call, .. } => {
                self.answered.insert(*call);
            }
            PhoneEvent::Ended { call, .. } => {
                self.answered.remove(call);
                self.early.remove(call);
                self.joined.remove(call);
                self.places.release(*call);
                let prepared = self.phone.prepared(Instant::now());
                self.places.tidy(prepared);
                self.talking = self.talking.filter(|talking| talking != call);
            }
            _ => {}
        }
    }

    fn send_sip(&mut self, bytes: Bytes) {
        let Some((_, send)) = &self.connected else { return };
        if send.try_send(bytes).is_err() {
            // Stalled or gone. Without its sender the link's task closes it and connects anew.
            self.connected = None;
        }
    }

    fn link_event(&mut self, event: LinkEvent) -> Option<Happened> {
        let now = Instant::now();
        match event {
            LinkEvent::Up { facts, send } => {
                self.connected = Some((facts, send));
                self.look_for_nat64(&facts);
                self.phone.set_network(now, Network::current().id());
                self.set_ice(now);
                self.phone.handle_link_up(now, facts);
                Some(Happened::LinkUp(facts))
            }
            LinkEvent::Message(bytes) => {
                self.phone.handle_sip(now, bytes);
                None
            }
            LinkEvent::Down(why) => {
                self.connected = None;
                self.phone.handle_link_down(now);
                Some(Happened::LinkDown(why))
            }
            LinkEvent::Exhausted => Some(Happened::Unreachable),
        }
    }

    /// Another link may be on another network.
    fn look_for_nat64(&mut self, link: &Link) {
        self.nat64 = Nat64::of_server(link.server);
        if self.nat64.is_none() && link.local.is_ipv6() {
            let tell = self.discovered.0.clone();
            tokio::spawn(async move {
                if let Some(found) = Nat64::discover().await {
                    // Nobody waits for it any more: the phone has ended.
                    let _ = tell.send(found).await;
                }
            });
        }
    }

    /// Twenty milliseconds of sound each way. Said and recorded is only what both sides share: from
    /// the answer on. Before it, early media is heard.
    fn exchange(&mut self) -> Result<()> {
        let Some(call) = self.talking else { return Ok(()) };
        let now = Instant::now();
        let answered = self.is_answered(call) || self.early.contains(&call);
        if answered && self.joined.contains(&call) {
            return self.exchange_joined(now);
        }
        let mut frame = [0; FRAME];
        if answered {
            self.sound.source.read(&mut frame);
            if self.sound.muted {
                frame.fill(0);
            }
            self.sound.said.update(&frame);
            self.phone.capture(now, call, &frame);
        }
        self.phone.play(now, call, &mut frame);
        self.sound.heard.update(&frame);
        if answered || self.sound.sink.is_live() {
            self.sound.sink.write(&frame)?;
        }
        Ok(())
    }

    /// The same where several are in one conversation: each hears us and all the others.
    fn exchange_joined(&mut self, now: Instant) -> Result<()> {
        let mut ours = [0; FRAME];
        self.sound.source.read(&mut ours);
        if self.sound.muted {
            ours.fill(0);
        }
        self.sound.said.update(&ours);
        let calls: Vec<CallHandle> = self.joined.intersection(&self.answered).copied().collect();
        let mut heard = vec![[0; FRAME]; calls.len()];
        for (call, frame) in calls.iter().zip(&mut heard) {
            self.phone.play(now, *call, frame);
        }
        for (at, call) in calls.iter().enumerate() {
            let others = heard.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| f);
            self.phone.capture(now, *call, &mixed(others.chain([&ours])));
        }
        let all = mixed(heard.iter());
        self.sound.heard.update(&all);
        self.sound.sink.write(&all)
    }

    /// Ports for a call's media, on the link's address: those that are prepared, where there are.
    fn bind(&mut self) -> Result<SocketAddr> {
        let (facts, _) =
            self.connected.as_ref().ok_or_else(|| anyhow!("not connected to the server"))?;
        let ip = facts.local.ip();
        let prepared = self.phone.prepared(Instant::now()).filter(|local| local.ip() == ip);
        prepared.map_or_else(|| self.places.bind(ip), Ok)
    }

    /// What there is on this link to find ways with; they are found before there is a call.
    fn set_ice(&mut self, now: Instant) {
        let Some((facts, _)) = &self.connected else { return };
        let ice = self.ice.on(facts, self.nat64.is_some());
        let asks = ice.as_ref().is_some_and(|ice| !(ice.stun.is_empty() && ice.turn.is_empty()));
        self.phone.set_ice(now, ice);
        if asks && self.phone.prepared(now).is_none() {
            match self.places.bind(facts.local.ip()) {
                Ok(local) => self.phone.prepare(now, local),
                // A call will try again, and tell.
                Err(error) => tracing::info!(%error, "no port to prepare"),
            }
        }
        // What belonged to another network is closed, its last words sent.
        self.flush();
        self.places.tidy(self.phone.prepared(now));
    }

    fn arrived(&mut self, now: Instant, Arrival { local, what }: Arrival) {
        match what {
            What::Packet { from, bytes } => {
                let from = self.nat64.map_or(from, |nat| nat.back(from));
                match self.places.call_at(local) {
                    Some(call) => {
                        self.phone.set_marks(call, self.places.marks(local));
                        self.phone.handle_media(now, call, from, &bytes);
                    }
                    None => self.phone.handle_prepared(now, from, &bytes),
                }
            }
            What::Stream { server, event } => self.phone.handle_stream(now, local, server, event),
        }
    }
}

impl Sound {
    /// Unmuted.
    pub fn new(source: Source, sink: Sink) -> Self {
        Self { source, sink, muted: false, said: LevelMeter::new(), heard: LevelMeter::new() }
    }
}

/// Voices laid over each other.
fn mixed<'f>(voices: impl Iterator<Item = &'f [i16; FRAME]>) -> [i16; FRAME] {
    let mut sum = [0; FRAME];
    for voice in voices {
        for (out, sample) in sum.iter_mut().zip(voice) {
            *out = i16::saturating_add(*out, *sample);
        }
    }
    sum
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_are_laid_over_each_other_and_do_not_wrap() {
        let (loud, soft, other) = ([30_000; FRAME], [100; FRAME], [-40; FRAME]);
        assert_eq!(mixed([&soft, &other].into_iter())[7], 60);
        assert_eq!(mixed([&loud, &loud].into_iter())[7], i16::MAX);
        assert_eq!(mixed(std::iter::empty())[7], 0);
    }
}
