//! What an answer means for both sides, and for the packets between them.

use audio::CodecKind;
use media::transcode::{DigitForm, EventsOut, Input, Meaning, PTIMES_MS, Plan, SoundOut};
use sansio::Entropy;
use sdp::MediaLine;

use super::{Format, Offered, formats, max_ptime, write_formats, write_ptime};
use crate::RelayError;
use crate::api::{CodecPolicy, DtmfMode};
use crate::bridge::{Bridge, LegId, PayloadType};

/// 20 ms: what everybody sends who says nothing else.
const PTIME_MS: u32 = 20;
/// More would take longer than a conversation bears.
const LONGEST_MS: u32 = 60;

/// One side after the answer.
#[derive(Debug, Clone)]
pub(in crate::control) struct Way {
    /// What it may send us, by our numbers; the first is what it should.
    pub sends: Vec<Format>,
    /// What it understands, by its numbers; the first is what we send.
    pub hears: Vec<Format>,
    pub ptime_ms: Option<u32>,
    /// The longest packet time it takes, if somebody says so: itself, or a policy that has one.
    pub ptime_ms_max: Option<u32>,
    pub dtmf: DtmfMode,
}

/// What was agreed through us.
#[derive(Debug)]
pub(in crate::control) struct Agreement {
    pub offerer: Way,
    pub answerer: Way,
}

impl Agreement {
    /// Reads the answer to `offered` and writes the one for the offerer into its place.
    pub(in crate::control) fn write(
        media: &mut MediaLine,
        offered: &Offered,
        answerer: &CodecPolicy,
        offerer: &CodecPolicy,
    ) -> Result<Self, RelayError> {
        let answered = formats(media);
        let (wanted_ptime, longest) = (media.ptime_ms(), max_ptime(media));
        let is_common = |f: &Format| {
            let ours = offered.ours.iter().find(|o| o.is_same(f));
            ours.is_some_and(|o| !o.added)
        };
        let mut back: Vec<Format> =
            answered.iter().filter(|f| f.is_audio() && is_common(f)).cloned().collect();
        let passes = !back.is_empty();
        if !passes {
            if !answered.iter().any(|f| f.kind().is_some()) {
                return Err(RelayError::NoCodec);
            }
            back.push(translated(offered, offerer)?);
        }
        let events = events_back(&answered, offered, &back, answerer, offerer);
        back.extend(events);
        let noise = answered.iter().filter(|f| f.is_noise());
        back.extend(noise.filter(|f| offered.theirs.iter().any(|t| t.is_same(f))).cloned());
        write_formats(media, &back);
        if !passes {
            // It was the other side's wish, in the other side's codec.
            media.remove_attributes("ptime");
            media.remove_attributes("maxptime");
        }
        write_ptime(media, offerer.ptime_ms);
        // It may send what it said it hears, by the numbers that we gave.
        let said = offered.ours.iter().filter(|o| answered.iter().any(|a| a.is_same(o)));
        // By its own numbers, and nothing that it was not told.
        let own = |b: &Format| offered.theirs.iter().find(|t| t.is_same(b)).cloned();
        let hears = back.iter().filter_map(own).collect();
        Ok(Self {
            offerer: Way {
                sends: back,
                hears,
                ptime_ms: offerer.ptime_ms.or(offered.ptime_ms),
                ptime_ms_max: offerer.ptime_ms.or(offered.ptime_ms_max),
                dtmf: offerer.dtmf,
            },
            answerer: Way {
                sends: said.cloned().collect(),
                hears: answered,
                ptime_ms: answerer.ptime_ms.or(wanted_ptime),
                ptime_ms_max: answerer.ptime_ms.or(longest),
                dtmf: answerer.dtmf,
            },
        })
    }
}

/// The offerer's codec where none is common: its preferred one that we have.
fn translated(offered: &Offered, offerer: &CodecPolicy) -> Result<Format, RelayError> {
    let mut candidates: Vec<&Format> =
        offered.usable.iter().filter(|f| f.kind().is_some()).collect();
    candidates.sort_by_key(|f| super::names::position(&offerer.prefer, f).unwrap_or(usize::MAX));
    candidates.first().map(|f| (*f).clone()).ok_or(RelayError::NoCodec)
}

/// The offerer's events, where the other side has some too, or digits are converted.
fn events_back(
    answered: &[Format],
    offered: &Offered,
    back: &[Format],
    answerer: &CodecPolicy,
    offerer: &CodecPolicy,
) -> Option<Format> {
    let converts = matches!(answerer.dtmf, DtmfMode::Info | DtmfMode::Inband);
    let wanted = !matches!(offerer.dtmf, DtmfMode::Info | DtmfMode::Inband);
    if !wanted || !(converts || answered.iter().any(Format::is_events)) {
        return None;
    }
    let clock = back.first().map(|f| f.map.clock_rate);
    let theirs = || offered.theirs.iter().filter(|f| f.is_events());
    theirs().find(|f| Some(f.map.clock_rate) == clock).or_else(|| theirs().next()).cloned()
}

impl Agreement {
    /// Tells both legs, and has the packets between them worked on where they need it. The legs
    /// are the answerer's and the offerer's, and the caller's of the two again.
    pub(in crate::control) fn apply(
        &self,
        (answerer, offerer): (LegId, LegId),
        caller: LegId,
        bridge: &mut Bridge,
        entropy: &mut dyn Entropy,
    ) -> Result<(), RelayError> {
        for (id, way) in [(answerer, &self.answerer), (offerer, &self.offerer)] {
            if let Some(leg) = bridge.leg_mut(id) {
                leg.set_payloads(way.payloads().into());
            }
        }
        let to_answerer = self.offerer.plan_to(&self.answerer);
        let to_offerer = self.answerer.plan_to(&self.offerer);
        let (branch, plans) = match offerer == caller {
            true => (answerer, (to_answerer, to_offerer)),
            false => (offerer, (to_offerer, to_answerer)),
        };
        bridge.process((caller, branch), plans, entropy.next_u64() as u32)?;
        Ok(())
    }
}

impl Way {
    /// Payload types for the leg's statistics.
    pub(in crate::control) fn payloads(&self) -> Vec<PayloadType> {
        let mut list: Vec<&Format> = self.sends.iter().collect();
        list.extend(
            self.hears
                .iter()
                .filter(|f| self.sends.iter().all(|s| s.map.payload_type != f.map.payload_type)),
        );
        let payload = |f: &Format| PayloadType {
            number: f.map.payload_type,
            encoding: f.map.encoding.clone(),
            clock_rate: f.map.clock_rate,
        };
        list.into_iter().map(payload).collect()
    }

    /// What becomes of the packets that this side sends, on their way to `to`.
    pub(in crate::control) fn plan_to(&self, to: &Self) -> Plan {
        let events = to.hears.iter().filter(|f| f.is_events());
        let sound = to.hears.iter().find_map(|f| f.kind().map(|kind| (kind, f)));
        let clock = sound.map(|(kind, _)| kind.clock_rate());
        let events = events.min_by_key(|f| Some(f.map.clock_rate) != clock);
        let (digits_in, digits_out) = self.digits_to(to, events.is_some());
        // Tones are in the sound: it has to be opened to find them, and to put them there.
        let opens = digits_in != digits_out
            && (digits_in == DigitForm::Inband || digits_out == DigitForm::Inband);
        let mut inputs: Vec<Input> = Vec::new();
        for format in &self.sends {
            let payload_type = format.map.payload_type;
            if inputs.iter().any(|input| input.payload_type == payload_type) {
                continue;
            }
            if let Some(meaning) = meaning(format, &to.hears, opens) {
                let clock_rate = format.map.clock_rate;
                inputs.push(Input { payload_type, clock_rate, meaning });
            }
        }
        let ptime_ms = to.ptime_ms.filter(|ms| PTIMES_MS.contains(ms)).unwrap_or(PTIME_MS);
        let decodes = inputs.iter().any(|input| matches!(input.meaning, Meaning::Sound(_)));
        Plan {
            inputs,
            sound: sound.filter(|_| decodes || digits_out == DigitForm::Inband).map(
                |(codec, f)| SoundOut {
                    codec,
                    payload_type: f.map.payload_type,
                    ptime_ms,
                    ptime_ms_max: to.longest_ms(codec, ptime_ms),
                },
            ),
            events: events.map(|f| EventsOut {
                payload_type: f.map.payload_type,
                clock_rate: f.map.clock_rate,
            }),
            comfort_noise: to.hears.iter().find(|f| f.is_noise()).map(|f| f.map.payload_type),
            digits_in,
            digits_out,
        }
    }

    /// The longest packet time it may be sent where its way turns bad. Opus is decoded at any length,
    /// the others as was said.
    fn longest_ms(&self, codec: CodecKind, ptime_ms: u32) -> u32 {
        let said = match codec {
            CodecKind::Opus => self.ptime_ms_max.unwrap_or(LONGEST_MS),
            _ => self.ptime_ms_max.unwrap_or(ptime_ms),
        };
        said.max(ptime_ms)
    }

    /// How digits come from here and leave to there. A side that says nothing has events where it
    /// knows them; digits are converted only where one of the two says how it wants them.
    fn digits_to(&self, to: &Self, to_has_events: bool) -> (DigitForm, DigitForm) {
        let said = |mode| match mode {
            DtmfMode::Pass => None,
            DtmfMode::Events => Some(DigitForm::Events),
            DtmfMode::Info => Some(DigitForm::Info),
            DtmfMode::Inband => Some(DigitForm::Inband),
        };
        let here = said(self.dtmf);
        let there = said(to.dtmf);
        if here.is_none() && there.is_none() {
            return (DigitForm::Events, DigitForm::Events);
        }
        let known = |has_events| match has_events {
            true => DigitForm::Events,
            false => DigitForm::Inband,
        };
        let from_has_events = self.sends.iter().any(Format::is_events);
        (
            here.unwrap_or_else(|| known(from_has_events)),
            there.unwrap_or_else(|| known(to_has_events)),
        )
    }
}

fn meaning(format: &Format, hears: &[Format], opens: bool) -> Option<Meaning> {
    if format.is_events() {
        return Some(Meaning::Events);
    }
    if format.is_noise() {
        return Some(Meaning::ComfortNoise);
    }
    let same = hears.iter().find(|f| f.is_same(format)).map(|f| f.map.payload_type);
    let kind: Option<CodecKind> = format.kind();
    match (same, kind) {
        (Some(payload_type), _) if !opens => Some(Meaning::Pass { payload_type }),
        (_, Some(kind)) => Some(Meaning::Sound(kind)),
        // No tones can be found in a codec that we do not have; its sound still passes.
        (Some(payload_type), None) => Some(Meaning::Pass { payload_type }),
        (None, None) => None,
    }
}
