//! The recording server of `[recording.siprec]`, on the relay's streams and the edge's calls.

use super::{SIPREC, step};
use crate::present;
use anyhow::{Context, Result};
use cluster::Spine;
use edge::Note;
use net::ShardHandle;
use relay::{LegProfile, Protocol, Relay, SessionId, Wanted};
use siprec::metadata::LABELS;
use siprec::{CallFacts, Event, Figures, Flowing, MediaPort, Offered, Recorder, Setup};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The shards, once they run.
pub type ToShards = Arc<OnceLock<Arc<Vec<ShardHandle<Note>>>>>;

/// What the client needs besides.
pub struct SrsParts {
    pub locator: net::Locator,
    pub tls: Arc<rustls::ClientConfig>,
    pub shards: ToShards,
}

/// The running client, and what its failures mean for calls.
pub(super) struct Srs {
    recorder: Recorder,
    required: bool,
    spine: Spine,
    shards: ToShards,
    refused: AtomicU64,
}

impl Srs {
    pub(super) fn start(
        config: &siprec::Config,
        relay: &Relay,
        spine: &Spine,
        parts: SrsParts,
    ) -> Result<Self> {
        let SrsParts { locator, tls, shards } = parts;
        let media = RelayStreams { relay: relay.clone(), interface: config.interface.clone() };
        let required = config.required;
        let (told, ends) = (spine.clone(), Arc::clone(&shards));
        let on_event = move |event| handle(&event, &told, required.then_some(&ends));
        let recorder = Recorder::start(Setup {
            config: config.clone(),
            media: Box::new(media),
            locator,
            tls,
            on_event: Box::new(on_event),
        });
        let recorder = recorder.context("[recording.siprec]")?;
        let (spine, refused) = (spine.clone(), AtomicU64::new(0));
        Ok(Self { recorder, required, spine, shards, refused })
    }

    pub(super) fn begin(&self, facts: CallFacts, flowing: Flowing) {
        let call = facts.call;
        if !self.recorder.begin(facts) {
            return self.not_begun(call, "the recording client does not keep up");
        }
        self.recorder.set_flowing(call, flowing);
    }

    /// A call is not even offered.
    pub(super) fn not_begun(&self, call: u64, why: &str) {
        tracing::error!(call, why, "not recorded by the recording server");
        self.spine.emit(present::wall(), step(call, SIPREC, "failed", why));
        if self.required {
            end_call(&self.shards, call);
        }
    }

    pub(super) fn set_flowing(&self, call: u64, flowing: Flowing) {
        self.recorder.set_flowing(call, flowing);
    }

    pub(super) fn set_paused(&self, call: u64, paused: bool) {
        self.recorder.set_paused(call, paused);
    }

    pub(super) fn end(&self, call: u64) {
        self.recorder.end(call);
    }

    /// Whether calls that must be recorded cannot be now.
    pub(super) fn refuses_calls(&self) -> bool {
        self.required && self.recorder.figures().is_failing()
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn figures(&self) -> (&Figures, u64) {
        (self.recorder.figures(), self.refused.load(Ordering::Relaxed))
    }
}

/// Writes down what became of a recording; a call that must have one ends without it.
fn handle(event: &Event, spine: &Spine, required: Option<&ToShards>) {
    let call = event.call();
    let (state, why) = match event {
        Event::Failed { is_news: false, .. } => return,
        Event::Started { .. } => ("started", String::new()),
        Event::Failed { why, .. } => ("failed", why.to_string()),
        Event::Lost { why, .. } => ("lost", why.to_string()),
        // Its end is that of the call.
        Event::Ended { .. } => return,
    };
    match why.is_empty() {
        true => tracing::info!(call, "recorded by the recording server"),
        false => tracing::error!(call, why, "not recorded by the recording server"),
    }
    spine.emit(present::wall(), step(call, SIPREC, state, &why));
    if let Some(shards) = required.filter(|_| event.is_final()) {
        end_call(shards, call);
    }
}

fn end_call(shards: &ToShards, call: u64) {
    for shard in shards.get().iter().flat_map(|shards| shards.iter()) {
        // The other shards know no such call.
        if shard.notify(Note::NotRecorded(call)).is_err() {
            tracing::error!(call, "a shard is too busy to end a call that is not recorded");
        }
    }
}

/// Copies of what both sides of a call send.
struct RelayStreams {
    relay: Relay,
    interface: Option<String>,
}

impl MediaPort for RelayStreams {
    fn offer(&mut self, facts: &CallFacts, srtp: bool) -> Result<Offered, String> {
        let sources = [None, Some(facts.branch)];
        let wanted = sources.into_iter().zip(LABELS);
        let wanted: Vec<Wanted> = wanted
            .map(|(source, label)| Wanted { source, label: Some(label.to_owned()) })
            .collect();
        let protocol = if srtp { Protocol::Srtp } else { Protocol::Rtp };
        let profile = LegProfile { interface: self.interface.clone(), ..LegProfile::new(protocol) };
        let offered = self.relay.subscribe(SessionId(facts.call), &wanted, &profile);
        let (number, sdp) = offered.map_err(|error| error.to_string())?;
        Ok(Offered { number, sdp })
    }

    fn answer(&mut self, call: u64, number: u32, sdp: &[u8]) -> Result<(), String> {
        let taken = self.relay.subscribe_answer(SessionId(call), number, sdp);
        taken.map_err(|error| error.to_string())
    }

    fn rest(&mut self, call: u64, number: u32) {
        self.relay.rest_subscription(SessionId(call), number);
    }

    fn end(&mut self, call: u64, number: u32) {
        self.relay.unsubscribe(SessionId(call), number);
    }

    fn is_open(&mut self, call: u64) -> bool {
        self.relay.is_open(SessionId(call))
    }
}
