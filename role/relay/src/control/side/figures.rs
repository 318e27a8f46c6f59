//! What is told of a leg.

use std::time::Instant;

use media::transcode::Coded;

use super::Side;
use crate::api::{LegStats, PeerTold};
use crate::bridge::{Bridge, Component, Leg};
use crate::config::Interface;

impl Side {
    /// The leg's figures.
    pub(in crate::control) fn stats(
        &self,
        now: Instant,
        (branch, tag, interfaces): (Option<u32>, &str, &[Interface]),
        bridge: &mut Bridge,
    ) -> Option<LegStats> {
        let coded = bridge.coded_for(self.id);
        let leg = bridge.leg_mut(self.id)?;
        let remote = leg.destination(now, Component::Rtp);
        let reception = leg.reception();
        let codec = leg.codec();
        let counters = &leg.counters;
        let since = |at: Instant| now.saturating_duration_since(at).as_millis() as u64;
        let dropped = counters.dropped;
        Some(LegStats {
            branch,
            stream: self.stream,
            media: self.media.to_owned(),
            tag: tag.to_owned(),
            protocol: self.protocol,
            interface: interfaces.get(self.interface).map_or_else(String::new, |i| i.name.clone()),
            port: self.addr.port(),
            remote,
            codec: codec.map(|c| c.encoding.clone()),
            payload_type: codec.map(|c| c.number),
            tos: counters.tos,
            tos_sent: leg.tos,
            told: told(leg, coded),
            held: leg.held,
            packets_received: counters.packets_received,
            bytes_received: counters.bytes_received,
            packets_sent: counters.packets_sent,
            bytes_sent: counters.bytes_sent,
            rtcp_received: counters.rtcp_received,
            lost: reception.lost,
            jitter_ms: reception.jitter.as_secs_f64() * 1e3,
            last_packet_ms: counters.last_received.map(since),
            moves: counters.moves,
            dropped_injected: dropped.injected,
            dropped_unauthenticated: dropped.unauthenticated + dropped.replayed,
            dropped_other: dropped.malformed + dropped.early + dropped.unsent,
        })
    }
}

fn told(leg: &Leg, coded: Option<Coded>) -> Option<PeerTold> {
    let feedback = leg.feedback()?;
    let (clock, _) = leg.clock_and_jitter();
    let bleached = leg.bleached();
    let told = PeerTold {
        reports: feedback.reports,
        lost: feedback.lost,
        loss_percent: feedback.loss_percent(),
        jitter_ms: f64::from(feedback.jitter) * 1e3 / f64::from(clock.max(1)),
        rtt_ms: feedback.round_trip.map(|rtt| rtt.as_secs_f64() * 1e3),
        mos: feedback.mos,
        max_bitrate: feedback.max_bitrate,
        transport_packets: feedback.transport.0,
        transport_lost: feedback.transport.1,
        dscp_put: feedback.marks.and_then(|marks| marks.sent),
        dscp_seen: feedback.marks.and_then(|marks| marks.arrived),
        adapted: coded.map_or(0, |coded| coded.changes),
        coded: coded.and_then(|coded| Some((coded.bitrate?, coded.ptime_ms))),
        bleached_from: bleached.from,
        bleached_toward: bleached.toward,
    };
    (told != PeerTold::default()).then_some(told)
}
