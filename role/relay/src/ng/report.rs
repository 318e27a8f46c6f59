//! What a controller is told of a call and of the relay as a whole, under the names it knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::calls::Call;
use super::value::Value;
use crate::api::{LegStats, PeerTold, Protocol, SessionStats};

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Calls that were made.
    pub managed: u64,
    /// Calls that were refused.
    pub rejected: u64,
    /// Calls that ended for want of media.
    pub timeouts: u64,
    /// Calls a controller ended.
    pub regular: u64,
    /// RTP packets of ended calls, received.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets of ended calls that were dropped.
    pub errors: u64,
}

impl Totals {
    /// Adds the last figures of a call.
    pub fn add(&mut self, stats: &SessionStats) {
        for leg in &stats.legs {
            self.packets += leg.packets_received;
            self.bytes += leg.bytes_received;
            self.errors += errors(leg);
        }
    }
}

/// A call's figures, as `query` and `delete` tell them.
pub fn call(call: &Call, stats: &SessionStats, now: Duration) -> Vec<(&'static str, Value)> {
    let tag_of = |branch: Option<u32>| call.tag_of(branch);
    let mut parties: BTreeMap<Option<u32>, Vec<&LegStats>> = BTreeMap::new();
    for leg in &stats.legs {
        parties.entry(leg.branch).or_default().push(leg);
    }
    let tags: BTreeMap<Bytes, Value> = parties
        .into_iter()
        .map(|(branch, legs)| {
            // A leg is described from the side of the one who talks to it; media it sends us is its own.
            let partner = match branch {
                None => call.branches.last().map(|b| b.number),
                Some(_) => None,
            };
            let own = tag_of(branch);
            (own.clone(), tag(call, &legs, &own, &tag_of(partner), now))
        })
        .collect();
    let sum = |of: fn(&LegStats) -> u64| stats.legs.iter().map(of).sum::<u64>();
    let counted = |packets: u64, bytes: u64, errors: u64| {
        Value::dictionary([
            ("packets", Value::count(packets)),
            ("bytes", Value::count(bytes)),
            ("errors", Value::count(errors)),
        ])
    };
    let rtp = counted(sum(|l| l.packets_received), sum(|l| l.bytes_received), sum(errors));
    vec![
        ("created", Value::count(call.created.as_secs())),
        ("created_us", Value::count(call.created.subsec_micros())),
        ("last signal", Value::count(call.last_signal.as_secs())),
        ("SSRC", Value::Dictionary(Vec::new())),
        ("tags", Value::Dictionary(tags.into_iter().collect())),
        (
            "totals",
            Value::dictionary([("RTP", rtp), ("RTCP", counted(sum(|l| l.rtcp_received), 0, 0))]),
        ),
    ]
}

/// The relay's figures, as `statistics` tells them.
pub fn relay(totals: &Totals, sessions: usize, uptime_s: u64) -> Value {
    let current = Value::dictionary([
        ("sessionsown", Value::count(sessions as u64)),
        ("sessionsforeign", Value::Integer(0)),
        ("sessionstotal", Value::count(sessions as u64)),
    ]);
    let total = Value::dictionary([
        ("uptime", Value::text(uptime_s.to_string())),
        ("managedsessions", Value::count(totals.managed)),
        ("rejectedsessions", Value::count(totals.rejected)),
        ("timeoutsessions", Value::count(totals.timeouts)),
        ("regularterminatedsessions", Value::count(totals.regular)),
        ("relayedpackets", Value::count(totals.packets)),
        ("relayedpacketerrors", Value::count(totals.errors)),
        ("relayedbytes", Value::count(totals.bytes)),
    ]);
    Value::dictionary([("currentstatistics", current), ("totalstatistics", total)])
}

fn tag(call: &Call, legs: &[&LegStats], own: &Bytes, partner: &Bytes, now: Duration) -> Value {
    let media = |leg: &&LegStats| {
        let sends = (!leg.held).then_some("send");
        Value::dictionary([
            ("index", Value::count(leg.stream as u64 + 1)),
            ("type", Value::text(leg.media.as_str())),
            ("protocol", Value::text(protocol(leg))),
            ("streams", Value::List(vec![stream(leg, now)])),
            ("flags", Value::texts(["initialized"].into_iter().chain(sends))),
        ])
    };
    Value::dictionary([
        ("tag", Value::String(own.clone())),
        ("created", Value::count(call.created.as_secs())),
        ("in dialogue with", Value::String(partner.clone())),
        ("medias", Value::List(legs.iter().map(media).collect())),
    ])
}

fn stream(leg: &LegStats, now: Duration) -> Value {
    let since =
        leg.last_packet_ms.map_or(0, |ms| now.saturating_sub(Duration::from_millis(ms)).as_secs());
    let mut entries = vec![
        ("local port", Value::count(leg.port)),
        ("last packet", Value::count(since)),
        ("flags", Value::texts(["RTP", "filled"])),
        (
            "stats",
            Value::dictionary([
                ("packets", Value::count(leg.packets_received)),
                ("bytes", Value::count(leg.bytes_received)),
                ("errors", Value::count(errors(leg))),
            ]),
        ),
    ];
    entries.extend(leg.tos.map(|tos| ("DSCP", Value::count(tos >> 2))));
    entries.push(("DSCP sent", Value::count(leg.tos_sent >> 2)));
    entries.extend(leg.told.as_ref().map(|told| ("reported", reported(told))));
    entries.extend(leg.remote.map(|remote| ("endpoint", endpoint(remote))));
    Value::dictionary(entries)
}

/// What the peer tells of what it gets. Whole numbers, as bencode has no others.
fn reported(told: &PeerTold) -> Value {
    let whole = |value: f64| Value::Integer(value.round() as i64);
    let mut entries = vec![
        ("reports", Value::count(told.reports)),
        ("lost", Value::Integer(told.lost)),
        ("loss percent", whole(told.loss_percent)),
        ("jitter ms", whole(told.jitter_ms)),
    ];
    entries.extend(told.rtt_ms.map(|ms| ("round trip ms", whole(ms))));
    entries.extend(told.mos.map(|mos| ("MOS x10", whole(mos * 10.0))));
    entries.extend(told.max_bitrate.map(|bits| ("REMB", Value::count(bits))));
    if told.transport_packets > 0 {
        entries.push(("TWCC packets", Value::count(told.transport_packets)));
        entries.push(("TWCC lost", Value::count(told.transport_lost)));
    }
    if let Some((bits, ms)) = told.coded {
        entries.push(("coded bits", Value::count(bits)));
        entries.push(("coded ms", Value::count(ms)));
        entries.push(("adapted", Value::count(told.adapted)));
    }
    entries.extend(told.dscp_put.map(|dscp| ("DSCP put", Value::count(dscp))));
    entries.extend(told.dscp_seen.map(|dscp| ("DSCP seen", Value::count(dscp))));
    let bleached = [(told.bleached_from, "from"), (told.bleached_toward, "toward")];
    if bleached.iter().any(|(is, _)| *is) {
        let ways = bleached.into_iter().filter_map(|(is, way)| is.then_some(way));
        entries.push(("bleached", Value::texts(ways)));
    }
    Value::dictionary(entries)
}

fn endpoint(remote: SocketAddr) -> Value {
    Value::dictionary([
        ("family", Value::text(if remote.is_ipv4() { "IPv4" } else { "IPv6" })),
        ("address", Value::text(remote.ip().to_string())),
        ("port", Value::count(remote.port())),
    ])
}

fn protocol(leg: &LegStats) -> &'static str {
    match leg.protocol {
        _ if leg.media == "image" => "udptl",
        Protocol::Rtp | Protocol::Zrtp => "RTP/AVP",
        Protocol::Srtp => "RTP/SAVP",
        Protocol::WebRtc => "UDP/TLS/RTP/SAVPF",
    }
}

fn errors(leg: &LegStats) -> u64 {
    leg.dropped_injected + leg.dropped_unauthenticated + leg.dropped_other
}
