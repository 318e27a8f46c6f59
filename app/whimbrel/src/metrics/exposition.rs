//! The families, encoded from one reading per scrape.

use super::reading::Reading;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;
use relay::LegTotals;
use std::fmt;

/// Of [`net::ShardStats`], the entries that go up and down.
const NET_GAUGES: [&str; 2] = ["connections", "udp_flows"];

/// Reads the server at each scrape.
pub(super) struct Exposition {
    read: Box<dyn Fn() -> Reading + Send + Sync>,
}

impl Exposition {
    /// Exposes whatever `read` reads.
    pub(super) fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read) }
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let reading = (self.read)();
        let mut families = Families(encoder);
        families.build()?;
        signalling(&mut families, &reading)?;
        media_and_events(&mut families, &reading)?;
        legs(&mut families, &reading)?;
        turn(&mut families, &reading)?;
        for (entry, value) in reading.net.entries() {
            families.net(entry, value)?;
        }
        process(&mut families, &reading)
    }
}

fn signalling(families: &mut Families<'_>, reading: &Reading) -> fmt::Result {
    families.gauge("whimbrel_calls", "Calls in progress", reading.calls)?;
    families.counter("whimbrel_sip_requests", "SIP requests taken in", reading.sip_requests)?;
    families.counter(
        "whimbrel_sip_malformed",
        "Messages that could not be read as SIP",
        reading.sip_malformed,
    )?;
    families.counter(
        "whimbrel_auth_failures",
        "Requests refused for wrong or stale credentials",
        reading.auth_failures,
    )?;
    families.counter(
        "whimbrel_guesses_refused",
        "Credentials not looked at, because too many before were wrong",
        reading.guesses_refused,
    )?;
    families.gauge(
        "whimbrel_accounts_held",
        "Accounts held because they call as programs do",
        reading.accounts_held,
    )?;
    families.counter(
        "whimbrel_calls_held",
        "Calls to numbers refused because their account is held",
        reading.calls_held,
    )?;
    families.counter(
        "whimbrel_identities_refused",
        "Requests refused because they named a caller that is not the authenticated user",
        reading.identities_refused,
    )?;
    families.counter(
        "whimbrel_route_tokens_refused",
        "Requests refused because their route token was forged or belongs to another call",
        reading.route_tokens_refused,
    )?;
    families.counter(
        "whimbrel_shard_handoffs",
        "Messages handed to the shard that owns their call",
        reading.shard_handoffs,
    )?;
    families.gauge("whimbrel_registrations", "Devices registered", reading.registrations)
}

fn recording_server(families: &mut Families<'_>, reading: &Reading) -> fmt::Result {
    let srs = &reading.srs;
    families.gauge(
        "whimbrel_siprec_calls",
        "Calls a recording server records now (recording.siprec)",
        srs.recording,
    )?;
    families.counter(
        "whimbrel_siprec_started",
        "Recordings the recording server took",
        srs.started,
    )?;
    families.counter(
        "whimbrel_siprec_failed",
        "Recordings the recording server did not take",
        srs.failed,
    )?;
    families.counter(
        "whimbrel_siprec_lost",
        "Recordings that ended before their calls",
        srs.lost,
    )?;
    families.counter(
        "whimbrel_siprec_calls_refused",
        "Calls refused because they must be recorded and could not be",
        srs.calls_refused,
    )
}

fn media_and_events(families: &mut Families<'_>, reading: &Reading) -> fmt::Result {
    families.gauge("whimbrel_relay_sessions", "Calls the relay carries", reading.relay_sessions)?;
    families.gauge(
        "whimbrel_relay_ports_in_use",
        "UDP ports the relay has open",
        reading.relay_ports_in_use,
    )?;
    families.gauge(
        "whimbrel_relay_kernel_streams",
        "Streams the kernel forwards by itself (media.fast_path)",
        reading.relay_kernel.0,
    )?;
    families.counter(
        "whimbrel_relay_kernel_packets",
        "RTP packets the kernel forwarded by itself",
        reading.relay_kernel.1,
    )?;
    recording_server(families, reading)?;
    families.counter(
        "whimbrel_spine_events_dropped",
        "Events a slow subscriber lost; records lose none",
        reading.spine_events_dropped,
    )?;
    families.gauge(
        "whimbrel_spine_last_seq",
        "Number of the last event written to disk",
        reading.spine_last_seq,
    )?;
    families.gauge_in(
        "whimbrel_certificate_expiry_timestamp",
        "When the server certificate ends, in Unix time",
        Unit::Seconds,
        reading.certificate_expiry_s,
    )
}

/// By interface, and by how the legs carried media.
fn legs(families: &mut Families<'_>, reading: &Reading) -> fmt::Result {
    families.counter(
        "whimbrel_marks_refused",
        "Sockets that the system did not let be marked (DSCP): what they send goes unmarked",
        reading.marks_refused,
    )?;
    let labelled = |value: &dyn Fn(&LegTotals) -> Vec<(&'static str, f64)>| {
        let of = |(interface, kind, totals): &(String, &'static str, LegTotals)| {
            let places = value(totals).into_iter();
            let place = |(word, n)| ([interface.clone(), (*kind).into(), String::from(word)], n);
            places.map(place).collect::<Vec<_>>()
        };
        reading.legs.iter().flat_map(of).collect::<Vec<_>>()
    };
    families.by_leg(
        "whimbrel_relay_legs_marked",
        "Legs that ended, by the mark (DSCP) that packets of their peers came with",
        Some("mark"),
        labelled(&|t| LegTotals::MARKS.into_iter().zip(t.marked.map(|n| n as f64)).collect()),
    )?;
    families.by_leg(
        "whimbrel_relay_legs_bleached",
        "Legs that ended whose marks the network changed, where a phone of ours tells them",
        Some("way"),
        labelled(&|t| vec![("from", t.bleached_from as f64), ("toward", t.bleached_toward as f64)]),
    )?;
    families.by_leg(
        "whimbrel_relay_legs_reported",
        "Legs that ended whose peers sent reports of reception (RTCP)",
        None,
        labelled(&|t| vec![("", t.reported as f64)]),
    )?;
    families.by_leg(
        "whimbrel_relay_told_lost",
        "Packets that peers of ended legs reported lost",
        None,
        labelled(&|t| vec![("", t.told_lost as f64)]),
    )?;
    families.by_leg(
        "whimbrel_relay_round_trip_seconds",
        "Last round trips of ended legs, added up: over legs reported it is their mean",
        None,
        labelled(&|t| vec![("", t.rtt_s)]),
    )
}

fn turn(families: &mut Families<'_>, reading: &Reading) -> fmt::Result {
    let turn = &reading.turn;
    families.gauge("whimbrel_turn_allocations", "Ports lent to TURN clients", turn.allocations)?;
    for (entry, help, value) in [
        ("allocated", "Allocations made", turn.allocated),
        ("to_peers", "Packets of TURN clients sent to their peers", turn.to_peers),
        ("bytes_to_peers", "Bytes of TURN clients sent to their peers", turn.bytes_to_peers),
        ("to_clients", "Packets of peers sent to TURN clients", turn.to_clients),
        ("bytes_to_clients", "Bytes of peers sent to TURN clients", turn.bytes_to_clients),
        ("unsent", "Packets of TURN that the system did not take", turn.unsent),
    ] {
        families.counter(&format!("whimbrel_turn_{entry}"), help, value)?;
    }
    for (why, value) in relay::turn::Refused::ALL.into_iter().zip(turn.refused) {
        let name = format!("whimbrel_turn_refused_{}", why.word());
        families.counter(&name, refused_help(why), value)?;
    }
    Ok(())
}

fn refused_help(why: relay::turn::Refused) -> &'static str {
    use relay::turn::Refused;
    match why {
        Refused::Credentials => "TURN requests refused for a wrong user, password or time",
        Refused::StaleNonce => "TURN requests with an old nonce; clients try again",
        Refused::Peer => "TURN requests for a peer that nobody may reach",
        Refused::UserQuota => "Allocations refused because the user has as many as one may have",
        Refused::TenantQuota => "Allocations refused because the tenant has as many as it may have",
        Refused::Full => "Allocations refused because the server has as many as it may have",
        Refused::Ports => "Allocations refused because no port was free",
        Refused::Request => "TURN requests that could not be met or made no sense",
        Refused::Rate => {
            "STUN and TURN requests of sources that proved nothing and asked too often"
        }
        Refused::Unpermitted => "Packets dropped for want of an allocation, permission or channel",
    }
}

fn process(families: &mut Families<'_>, reading: &Reading) -> fmt::Result {
    let process = reading.process;
    families.gauge_in(
        "whimbrel_uptime",
        "How long this process serves",
        Unit::Seconds,
        process.uptime_s,
    )?;
    if let Some(bytes) = process.resident_bytes {
        let help = "Memory of this process that is in RAM";
        families.gauge_in("process_resident_memory", help, Unit::Bytes, bytes)?;
    }
    if let Some(fds) = process.open_fds {
        families.gauge("process_open_fds", "Files and sockets this process has open", fds)?;
    }
    Ok(())
}

/// Writes one family of one value each.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn build(&mut self) -> fmt::Result {
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        self.write("whimbrel_build", "The version that runs", None, &info)
    }

    fn gauge<N: EncodeGaugeValue>(&mut self, name: &str, help: &str, value: N) -> fmt::Result {
        self.write(name, help, None, &ConstGauge::new(value))
    }

    /// The unit becomes the end of the name.
    fn gauge_in<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        value: N,
    ) -> fmt::Result {
        self.write(name, help, Some(&unit), &ConstGauge::new(value))
    }

    /// `_total` becomes the end of the sample's name.
    fn counter<N: EncodeCounterValue>(&mut self, name: &str, help: &str, value: N) -> fmt::Result {
        self.write(name, help, None, &ConstCounter::new(value))
    }

    /// Counters of legs: by interface, kind and, if it has a name, what the third word says.
    fn by_leg(
        &mut self,
        name: &str,
        help: &str,
        third: Option<&str>,
        values: Vec<([String; 3], f64)>,
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for ([interface, carried, word], value) in values {
            let mut labels = vec![("interface", interface), ("kind", carried)];
            labels.extend(third.map(|third| (third, word)));
            ConstCounter::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn net(&mut self, entry: &str, value: u64) -> fmt::Result {
        let name = format!("whimbrel_net_{entry}");
        let help = net_help(entry);
        match NET_GAUGES.contains(&entry) {
            true => self.gauge(&name, help, value),
            false => self.counter(&name, help, value),
        }
    }

    fn write(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        metric: &impl EncodeMetric,
    ) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, unit, metric.metric_type())?;
        metric.encode(encoder)
    }
}

/// What an entry of [`net::ShardStats`] counts; its docs say more.
fn net_help(entry: &str) -> &'static str {
    match entry {
        "received" => "SIP messages received, all transports",
        "sent" => "SIP messages handed to the kernel or to a connection's queue",
        "rerouted" => "Messages passed to the shard that owns their transaction",
        "ignored" => "Datagrams that held no SIP message: keep-alives, STUN, noise",
        "diagnosed" => "STUN requests with diagnostic attributes that got, or will get, an answer",
        "dropped_no_flow" => "Messages dropped because their flow was gone",
        "dropped_mailbox" => "Messages and notes dropped because a shard's mailbox was full",
        "dropped_udp" => "Datagrams the kernel would not take",
        "refused" => "Connections refused by a limit",
        "shed_banned" => "Messages and connections dropped because their source is banned",
        "shed_source" => "Messages and connections dropped because their source sends too many",
        "shed_prefix" => "Messages dropped because their network sends too many",
        "shed_scanner" => "Messages dropped because they name a scanner as their sender",
        "shed_refused" => "Requests answered 503 because the shard cannot keep up",
        "shed_discarded" => "Requests dropped because the shard cannot even refuse them all",
        "accepted" => "Connections accepted or adopted",
        "dialled" => "Connections to next hops begun",
        "dials_failed" => "Connections to next hops that could not be made",
        "handshakes_failed" => "TLS handshakes that failed",
        "expelled" => "Connections closed for breaking framing or a limit",
        "connections" => "Connections open now",
        "udp_flows" => "UDP flows remembered now",
        _ => "A count of the signalling shards",
    }
}
