//! Packets that do not pass as they come: transcoded sound, digits in another form.
//!
//! Entered only on calls whose sides do not understand each other; the others pay one comparison.

use std::time::Instant;

use media::transcode::{Coded, Digit, Plan, Transcoder};
use rtp::RtpPacket;
use rtp::srtp::MAX_TRAILER;

use super::{Bridge, BridgeEvent, Component, Forward, LegId, Port, Transmit};

/// Both ways between the caller and one branch.
#[derive(Debug)]
pub(super) struct Processing {
    caller: LegId,
    branch: LegId,
    to_branch: Option<Transcoder>,
    to_caller: Option<Transcoder>,
    /// Digits were put into streams that would pass as they come: these are renumbered, and stay so.
    injects: bool,
}

impl Processing {
    /// What is done with packets from this leg.
    fn from(&mut self, leg: LegId) -> Option<&mut Transcoder> {
        match leg {
            caller if caller == self.caller => self.to_branch.as_mut(),
            branch if branch == self.branch => self.to_caller.as_mut(),
            _ => None,
        }
    }

    /// Whether it is between this leg and another.
    pub(super) fn is_of(&self, leg: LegId) -> bool {
        leg == self.caller || leg == self.branch
    }

    fn other(&self, leg: LegId) -> LegId {
        if leg == self.caller { self.branch } else { self.caller }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let ways = self.to_branch.iter().chain(&self.to_caller);
        ways.filter_map(Transcoder::poll_timeout).min()
    }
}

impl Bridge {
    /// Works on packets between two joined legs, the caller's and a branch's, from now on. A way
    /// whose packets can pass as they come is left alone; one that is worked on already goes on with
    /// its numbers.
    ///
    /// # Errors
    /// When a codec library cannot start; packets pass as they come then.
    pub fn process(
        &mut self,
        (caller, branch): (LegId, LegId),
        (to_branch, to_caller): (Plan, Plan),
        ssrc: u32,
    ) -> Result<(), audio::Error> {
        let before = self.take_processing(caller).filter(|p| p.branch == branch);
        let injects = before.as_ref().is_some_and(|p| p.injects);
        let (to_branch_before, to_caller_before) =
            before.map_or((None, None), |p| (p.to_branch, p.to_caller));
        let to_branch = way(to_branch, to_branch_before, injects, ssrc)?;
        let to_caller = way(to_caller, to_caller_before, injects, !ssrc)?;
        if to_branch.is_some() || to_caller.is_some() {
            let this = Processing { caller, branch, to_branch, to_caller, injects };
            self.processing.push(this);
        }
        Ok(())
    }

    /// Packets of a stream pass as they come, but for those whose numbers changed when digits were
    /// put between them: these go on with theirs.
    pub fn forward_as_it_comes(&mut self, caller: LegId) {
        let Some(mut before) = self.take_processing(caller).filter(|p| p.injects) else { return };
        let branch = before.branch;
        let ways =
            [(caller, branch, &mut before.to_branch), (branch, caller, &mut before.to_caller)];
        for (from, toward, way) in ways {
            let plan = self.plan_of_injection(from, toward);
            let goes_on = |transcoder: &mut Transcoder| {
                plan.is_some_and(|plan| transcoder.set_plan(plan).is_ok())
            };
            *way = way.take().and_then(|mut t| goes_on(&mut t).then_some(t));
        }
        if before.to_branch.is_some() || before.to_caller.is_some() {
            self.processing.push(before);
        }
    }

    /// Works on packets of one way, between two legs that are joined, that passed as they came.
    pub(super) fn open_way(
        &mut self,
        now: Instant,
        (from, toward): (LegId, LegId),
        plan: Plan,
        ssrc: u32,
    ) -> Result<(), audio::Error> {
        let mut transcoder = Transcoder::new(plan, ssrc)?;
        transcoder.expect_packets(now);
        let of_caller = self.leg(from).is_some_and(|leg| leg.of_caller);
        let (caller, branch) = if of_caller { (from, toward) } else { (toward, from) };
        let before = self.take_processing(caller).filter(|p| p.branch == branch);
        let none = Processing { caller, branch, to_branch: None, to_caller: None, injects: true };
        let mut processing = before.unwrap_or(none);
        processing.injects = true;
        match of_caller {
            true => processing.to_branch = Some(transcoder),
            false => processing.to_caller = Some(transcoder),
        }
        self.processing.push(processing);
        Ok(())
    }

    /// Whether packets are worked on, to the branch and to the caller.
    pub fn is_processing(&self) -> (bool, bool) {
        let ways = &self.processing;
        (ways.iter().any(|p| p.to_branch.is_some()), ways.iter().any(|p| p.to_caller.is_some()))
    }

    /// Has a leg hear a key in its form of digits. False when nothing is converted towards it.
    pub fn send_digit(
        &mut self,
        now: Instant,
        toward: LegId,
        digit: char,
        duration_ms: u32,
    ) -> bool {
        let mut ways = std::mem::take(&mut self.processing);
        let sent = ways.iter_mut().find(|p| p.is_of(toward)).is_some_and(|processing| {
            let from = processing.other(toward);
            processing.from(from).is_some_and(|transcoder| {
                let sent = transcoder.send_digit(now, Digit { digit, duration_ms });
                self.take_digits(from, transcoder);
                sent
            })
        });
        self.processing = ways;
        sent
    }

    pub(super) fn processes(&self, from: LegId) -> bool {
        self.processing.iter().any(|p| match from {
            caller if caller == p.caller => p.to_branch.is_some(),
            branch => branch == p.branch && p.to_caller.is_some(),
        })
    }

    /// Takes an RTP packet through; what leaves at once. Several at once wait in the outbox, in
    /// their order.
    pub(super) fn process_rtp(
        &mut self,
        now: Instant,
        from: LegId,
        buf: &mut [u8],
        len: usize,
    ) -> Option<Forward> {
        let mut ways = std::mem::take(&mut self.processing);
        let forward = ways.iter_mut().find_map(|p| p.from(from)).and_then(|transcoder| {
            let packet = RtpPacket::parse(&buf[..len]).ok()?;
            transcoder.handle_packet(now, &packet);
            self.take_digits(from, transcoder);
            self.send_processed(now, from, transcoder, buf)
        });
        self.processing = ways;
        forward
    }

    /// The sender's report tells of the stream that leaves; what it reports of ours tells the
    /// encoder that serves it.
    pub(super) fn process_rtcp(&mut self, now: Instant, from: LegId, rtcp: &mut [u8]) {
        let Some(processing) = self.processing.iter_mut().find(|p| p.is_of(from)) else { return };
        let other = processing.other(from);
        if let Some(transcoder) = processing.from(other) {
            transcoder.handle_report(now, rtcp);
        }
        if let Some(transcoder) = processing.from(from) {
            transcoder.rewrite_report(rtcp);
        }
    }

    /// How sound is coded for a leg, where it is.
    pub fn coded_for(&self, toward: LegId) -> Option<Coded> {
        let processing = self.processing.iter().find(|p| p.is_of(toward))?;
        let way = match toward {
            caller if caller == processing.caller => &processing.to_caller,
            _ => &processing.to_branch,
        };
        way.as_ref()?.coded()
    }

    pub(super) fn process_timeout(&mut self, now: Instant) {
        let mut ways = std::mem::take(&mut self.processing);
        for processing in &mut ways {
            for from in [processing.caller, processing.branch] {
                let Some(transcoder) = processing.from(from) else { continue };
                if transcoder.poll_timeout().is_some_and(|at| at <= now) {
                    transcoder.handle_timeout(now);
                    self.take_digits(from, transcoder);
                    // No buffer at hand: all of it waits in the outbox.
                    let _ = self.send_processed(now, from, transcoder, &mut []);
                }
            }
        }
        self.processing = ways;
    }

    fn take_processing(&mut self, caller: LegId) -> Option<Processing> {
        let at = self.processing.iter().position(|p| p.caller == caller)?;
        Some(self.processing.swap_remove(at))
    }

    fn take_digits(&mut self, from: LegId, transcoder: &mut Transcoder) {
        while let Some(Digit { digit, duration_ms }) = transcoder.poll_digit() {
            self.events.push_back(BridgeEvent::Digit { from, digit, duration_ms });
        }
    }

    fn send_processed(
        &mut self,
        now: Instant,
        from: LegId,
        transcoder: &mut Transcoder,
        buf: &mut [u8],
    ) -> Option<Forward> {
        let (target, leg) = self.target(from)?;
        let port = Port { leg: target, component: Component::Rtp };
        // The usual case is one packet for one: it leaves by the buffer that the first came in.
        let mut waiting: Option<usize> = None;
        let mut more: Vec<Vec<u8>> = Vec::new();
        while let Some(packet) = transcoder.poll_packet() {
            let fits = packet.len() + MAX_TRAILER <= buf.len();
            if waiting.is_none() && more.is_empty() && fits {
                buf[..packet.len()].copy_from_slice(packet);
                waiting = Some(packet.len());
                continue;
            }
            if let Some(len) = waiting.take() {
                more.push(buf[..len].to_vec());
            }
            more.push(packet.to_vec());
        }
        if let Some(len) = waiting {
            let (to, len) = leg.send_rtp(now, buf, len)?;
            return Some(Forward { port, source: leg.source, tos: leg.tos, to, len });
        }
        for mut bytes in more {
            let len = bytes.len();
            bytes.resize(len + MAX_TRAILER, 0);
            let leg = self.leg_mut(target)?;
            if let Some((to, len)) = leg.send_rtp(now, &mut bytes, len) {
                bytes.truncate(len);
                self.push(Transmit { port, to, bytes });
            }
        }
        None
    }
}

fn way(
    plan: Plan,
    before: Option<Transcoder>,
    injects: bool,
    ssrc: u32,
) -> Result<Option<Transcoder>, audio::Error> {
    if plan.is_identity() && !(injects && before.is_some()) {
        return Ok(None);
    }
    match before {
        Some(mut transcoder) => {
            transcoder.set_plan(plan)?;
            Ok(Some(transcoder))
        }
        None => Transcoder::new(plan, ssrc).map(Some),
    }
}
