//! Zones as tables, DNS as a lookup in them, time by hand.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sansio::SeededEntropy;
use sansio::testing::epoch;

use super::*;

/// A zone whose answers live for a minute.
#[derive(Default)]
struct Zone {
    records: BTreeMap<(String, Kind), Records>,
    asked: Vec<Query>,
    down: bool,
}

impl Zone {
    fn naptr(mut self, name: &str, records: &[(u16, u16, &str, &str)]) -> Self {
        let naptr = |(order, preference, service, to): &(u16, u16, &str, &str)| Naptr {
            order: *order,
            preference: *preference,
            flags: "s".into(),
            service: (*service).into(),
            replacement: (*to).into(),
        };
        let records = Records::Naptr(records.iter().map(naptr).collect());
        self.records.insert((name.into(), Kind::Naptr), records);
        self
    }

    fn srv(mut self, name: &str, records: &[(u16, u16, u16, &str)]) -> Self {
        let srv = |(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority: *priority,
            weight: *weight,
            port: *port,
            target: (*target).into(),
        };
        let records = Records::Srv(records.iter().map(srv).collect());
        self.records.insert((name.into(), Kind::Srv), records);
        self
    }

    fn host(mut self, name: &str, addresses: &[&str]) -> Self {
        for kind in [Kind::A, Kind::Aaaa] {
            let fits = |ip: &IpAddr| ip.is_ipv6() == (kind == Kind::Aaaa);
            let found: Vec<IpAddr> =
                addresses.iter().map(|a| a.parse().unwrap()).filter(fits).collect();
            if !found.is_empty() {
                self.records.insert((name.into(), kind), Records::Addresses(found));
            }
        }
        self
    }

    fn answer(&mut self, query: &Query) -> Records {
        self.asked.push(query.clone());
        if self.down {
            return Records::Failed;
        }
        let found = self.records.get(&(query.name.clone(), query.kind));
        found.cloned().unwrap_or(Records::Nothing)
    }
}

fn locator(policy: Policy) -> Locator {
    Locator::new(policy, Box::new(SeededEntropy::new(7)))
}

fn find(
    locator: &mut Locator,
    zone: &mut Zone,
    now: Instant,
    uri: &str,
) -> Result<Vec<NextHop>, LocateError> {
    let id = locator.ask(now, Ask::of_uri(uri.as_bytes()).unwrap());
    while let Some(query) = locator.poll_query() {
        let records = zone.answer(&query);
        locator.handle_records(now, query, records, Duration::from_secs(60));
    }
    let (got, result) = locator.poll_located().expect("an answer");
    assert_eq!(got, id);
    assert_eq!(locator.under_way(), 0);
    result
}

fn once(zone: Zone, uri: &str) -> Result<Vec<String>, LocateError> {
    let (mut zone, mut locator) = (zone, locator(Policy::default()));
    let hops = find(&mut locator, &mut zone, epoch(), uri)?;
    Ok(hops.iter().map(shown).collect())
}

fn shown(hop: &NextHop) -> String {
    let addrs: Vec<String> = hop.addrs.iter().map(SocketAddr::to_string).collect();
    format!("{} {}", hop.transport, addrs.join(" "))
}

#[test]
fn r1_4_literals_need_no_dns() {
    let ask = |uri: &str| shown(&Ask::of_uri(uri.as_bytes()).unwrap().literal().unwrap());
    assert_eq!(ask("sip:bob@192.0.2.1"), "UDP 192.0.2.1:5060");
    assert_eq!(ask("sips:bob@192.0.2.1"), "TLS 192.0.2.1:5061");
    assert_eq!(ask("sip:[2001:db8::1]:5070;transport=tcp"), "TCP [2001:db8::1]:5070");
    assert_eq!(ask("sip:a@b.example;maddr=192.0.2.9;transport=tls"), "TLS 192.0.2.9:5061");
    let detour = Ask::of_uri(b"sip:a@b.example;maddr=192.0.2.9;transport=tls").unwrap();
    assert_eq!(detour.server_name(), "b.example", "the domain is proved, not the detour");
}

#[test]
fn what_cannot_be_looked_up_is_refused() {
    let ask = |uri: &str| Ask::of_uri(uri.as_bytes()).unwrap_err();
    assert_eq!(ask("tel:+15551234"), AskError::NotSip);
    assert_eq!(ask("sip:a@b.example;transport=sctp"), AskError::UnknownTransport);
    assert_eq!(ask("sips:a@b.example;transport=udp"), AskError::Insecure);
    assert_eq!(Ask::host("a..b"), Err(AskError::BadName));
    assert_eq!(Ask::host(&"a.".repeat(150)), Err(AskError::BadName));
}

#[test]
fn r1_4_naptr_leads_to_srv_and_addresses_of_both_families() {
    let zone = Zone::default()
        .naptr(
            "example.org",
            &[
                (20, 0, "SIP+D2T", "_sip._tcp.example.org."),
                (10, 0, "SIP+D2U", "_sip._udp.example.org."),
                (5, 0, "SIP+D2S", "_sip._sctp.example.org."),
            ],
        )
        .srv("_sip._udp.example.org", &[(1, 0, 5070, "a.example.org.")])
        .srv("_sip._tcp.example.org", &[(1, 0, 5080, "a.example.org.")])
        .host("a.example.org", &["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
    assert_eq!(
        once(zone, "sip:bob@Example.ORG").unwrap(),
        [
            "UDP [2001:db8::1]:5070",
            "UDP 192.0.2.1:5070",
            "UDP 192.0.2.2:5070",
            "TCP [2001:db8::1]:5080 192.0.2.1:5080 192.0.2.2:5080",
        ]
    );
}

#[test]
fn r2_9_a_secure_way_has_no_clear_substitute() {
    let zone = || {
        Zone::default()
            .naptr(
                "example.org",
                &[
                    (10, 0, "SIPS+D2T", "_sips._tcp.example.org"),
                    (20, 0, "SIP+D2U", "_sip._udp.example.org"),
                ],
            )
            .srv("_sips._tcp.example.org", &[(1, 0, 5061, "a.example.org")])
            .srv("_sip._udp.example.org", &[(1, 0, 5060, "a.example.org")])
            .host("a.example.org", &["192.0.2.1"])
    };
    assert_eq!(once(zone(), "sip:bob@example.org").unwrap(), ["TLS 192.0.2.1:5061"]);
    let clear = Zone::default().naptr("example.org", &[(1, 0, "SIP+D2U", "_sip._udp.example.org")]);
    let error = once(clear, "sips:bob@example.org").unwrap_err();
    assert_eq!(error, LocateError::NoCommonTransport("example.org".into()));
}

#[test]
fn the_name_to_be_proved_is_the_domain_not_the_server() {
    let mut zone = Zone::default()
        .srv("_sips._tcp.example.org", &[(1, 0, 5061, "sbc7.carrier.example")])
        .host("sbc7.carrier.example", &["192.0.2.1"]);
    let hops =
        find(&mut locator(Policy::default()), &mut zone, epoch(), "sips:x@example.org").unwrap();
    assert_eq!(hops[0].server_name, "example.org");
}

#[test]
fn naptr_records_of_one_order_go_by_preference() {
    let transports = |preferences: [u16; 2]| {
        let [udp, tcp] = preferences;
        let zone = Zone::default()
            .naptr(
                "example.org",
                &[
                    (10, udp, "SIP+D2U", "_sip._udp.example.org."),
                    (10, tcp, "SIP+D2T", "_sip._tcp.example.org."),
                ],
            )
            .srv("_sip._udp.example.org", &[(1, 0, 5070, "a.example.org.")])
            .srv("_sip._tcp.example.org", &[(1, 0, 5080, "a.example.org.")])
            .host("a.example.org", &["192.0.2.1"]);
        once(zone, "sip:bob@example.org").unwrap()
    };
    assert_eq!(transports([1, 2]), ["UDP 192.0.2.1:5070", "TCP 192.0.2.1:5080"]);
    assert_eq!(transports([2, 1]), ["TCP 192.0.2.1:5080", "UDP 192.0.2.1:5070"]);
}

#[test]
fn without_naptr_srv_says_what_is_offered_and_without_srv_the_host_itself_is_meant() {
    let zone = Zone::default()
        .srv("_sip._tcp.example.org", &[(1, 0, 5080, "a.example.org")])
        .host("a.example.org", &["192.0.2.1"]);
    assert_eq!(once(zone, "sip:example.org").unwrap(), ["TCP 192.0.2.1:5080"]);
    let bare = || Zone::default().host("example.org", &["192.0.2.7"]);
    assert_eq!(once(bare(), "sip:example.org").unwrap(), ["UDP 192.0.2.7:5060"]);
    assert_eq!(once(bare(), "sips:example.org").unwrap(), ["TLS 192.0.2.7:5061"]);
    assert_eq!(once(bare(), "sip:example.org:5099").unwrap(), ["UDP 192.0.2.7:5099"]);
    assert_eq!(once(bare(), "sip:example.org;transport=tcp").unwrap(), ["TCP 192.0.2.7:5060"]);
}

#[test]
fn a_service_declared_absent_is_absent() {
    let zone = Zone::default()
        .srv("_sip._udp.example.org", &[(0, 0, 0, ".")])
        .host("example.org", &["192.0.2.7"]);
    let error = once(zone, "sip:example.org;transport=udp").unwrap_err();
    assert_eq!(error, LocateError::NoSuchName("example.org".into()));
    assert!(matches!(once(Zone::default(), "sip:gone.example"), Err(LocateError::NoSuchName(_))));
}

#[test]
fn r1_4_priorities_are_strict_and_weights_split_the_load_within_five_percent() {
    let mut zone = Zone::default().srv(
        "_sip._udp.example.org",
        &[
            (1, 60, 5060, "a.example.org"),
            (1, 30, 5060, "b.example.org"),
            (1, 10, 5060, "c.example.org"),
            (1, 0, 5060, "d.example.org"),
            (2, 1, 5060, "e.example.org"),
        ],
    );
    for (n, host) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        zone = zone.host(&format!("{host}.example.org"), &[&format!("192.0.2.{}", n + 1)]);
    }
    let mut locator = locator(Policy::default());
    let mut first = [0u32; 5];
    for _ in 0..10_000 {
        let hops = find(&mut locator, &mut zone, epoch(), "sip:example.org;transport=udp").unwrap();
        assert_eq!(hops.len(), 5);
        assert_eq!(hops[4].addr().to_string(), "192.0.2.5:5060", "the next priority comes last");
        let IpAddr::V4(ip) = hops[0].addr().ip() else { panic!("IPv4 only") };
        first[usize::from(ip.octets()[3]) - 1] += 1;
    }
    let share = |n: usize| f64::from(first[n]) / 10_000.0;
    for (n, want) in [(0, 0.6), (1, 0.3), (2, 0.1)] {
        assert!((share(n) - want).abs() < 0.05 * want.max(0.3), "{first:?}");
    }
    assert!(share(3) < 0.01 && first[4] == 0, "{first:?}");
    assert_eq!(zone.asked.len(), 11, "one SRV and ten addresses: the rest came from the cache");
}

#[test]
fn r1_4_a_failed_server_comes_last_for_a_while() {
    let mut zone = Zone::default()
        .srv(
            "_sip._udp.example.org",
            &[
                (1, 0, 5060, "a.example.org"),
                (2, 0, 5060, "b.example.org"),
                (3, 0, 5060, "c.example.org"),
            ],
        )
        .host("a.example.org", &["192.0.2.1"])
        .host("b.example.org", &["192.0.2.2"])
        .host("c.example.org", &["192.0.2.3"]);
    let (mut locator, uri) = (locator(Policy::default()), "sip:example.org;transport=udp");
    let now = epoch();
    let order = |locator: &mut Locator, zone: &mut Zone, now| -> Vec<u8> {
        let hops = find(locator, zone, now, uri).unwrap();
        let last = |h: &NextHop| h.addr().to_string().as_bytes()[8] - b'0';
        hops.iter().map(last).collect()
    };
    assert_eq!(order(&mut locator, &mut zone, now), [1, 2, 3]);
    let hops = find(&mut locator, &mut zone, now, uri).unwrap();
    locator.handle_failed(now, &hops[0], None);
    assert_eq!(order(&mut locator, &mut zone, now), [2, 3, 1]);
    locator.handle_failed(now, &hops[1], Some(Duration::from_secs(5)));
    assert_eq!(order(&mut locator, &mut zone, now), [3, 1, 2]);
    assert_eq!(order(&mut locator, &mut zone, now + Duration::from_secs(6)), [2, 3, 1]);
    locator.handle_worked(&hops[0]);
    assert_eq!(order(&mut locator, &mut zone, now + Duration::from_secs(6)), [1, 2, 3]);
    locator.handle_failed(now, &hops[0], None);
    assert_eq!(order(&mut locator, &mut zone, now + Duration::from_secs(61)), [1, 2, 3]);
}

#[test]
fn r1_4_answers_are_cached_by_ttl_and_served_stale_while_the_name_servers_are_down() {
    let mut zone = Zone::default().host("example.org", &["192.0.2.7"]);
    let (mut locator, uri) = (locator(Policy::default()), "sip:example.org:5060");
    let now = epoch();
    find(&mut locator, &mut zone, now, uri).unwrap();
    assert_eq!(zone.asked.len(), 2);
    find(&mut locator, &mut zone, now + Duration::from_secs(59), uri).unwrap();
    assert_eq!(zone.asked.len(), 2, "the TTL is not over; the missing AAAA is remembered, too");
    find(&mut locator, &mut zone, now + Duration::from_secs(61), uri).unwrap();
    assert_eq!(zone.asked.len(), 4);
    zone.down = true;
    let hops = find(&mut locator, &mut zone, now + Duration::from_secs(600), uri).unwrap();
    assert_eq!(shown(&hops[0]), "UDP 192.0.2.7:5060");
    // A day later nobody believes it any more.
    let late = now + Duration::from_secs(25 * 3600);
    let error = find(&mut locator, &mut zone, late, uri).unwrap_err();
    assert_eq!(error, LocateError::Unanswered("example.org".into()));
}

#[test]
fn silent_name_servers_end_in_the_stale_answer_or_in_an_error() {
    let mut zone = Zone::default().host("example.org", &["192.0.2.7"]);
    let (mut locator, uri) = (locator(Policy::default()), "sip:example.org:5060");
    find(&mut locator, &mut zone, epoch(), uri).unwrap();
    let now = epoch() + Duration::from_secs(600);
    let stale = locator.ask(now, Ask::of_uri(uri.as_bytes()).unwrap());
    let never = locator.ask(now, Ask::of_uri(b"sip:other.example").unwrap());
    assert_eq!(locator.poll_located(), None);
    let at = locator.poll_timeout(now).unwrap();
    assert_eq!(at - now, Policy::default().stale_after);
    locator.handle_timeout(at);
    assert!(matches!(locator.poll_located(), Some((id, Ok(_))) if id == stale));
    let at = locator.poll_timeout(at).unwrap();
    locator.handle_timeout(at);
    let error = LocateError::Unanswered("other.example".into());
    assert_eq!(locator.poll_located(), Some((never, Err(error))));
    assert_eq!(locator.poll_timeout(at), None);
}

#[test]
fn an_answer_with_ttl_zero_serves_the_one_who_asked() {
    let mut locator = locator(Policy::default());
    let now = epoch();
    locator.ask(now, Ask::of_uri(b"sip:example.org:5060").unwrap());
    let later = now + Duration::from_millis(20);
    while let Some(query) = locator.poll_query() {
        let records = match query.kind {
            Kind::A => Records::Addresses(vec!["192.0.2.1".parse().unwrap()]),
            _ => Records::Nothing,
        };
        locator.handle_records(later, query, records, Duration::ZERO);
    }
    assert!(matches!(locator.poll_located(), Some((_, Ok(_)))));
}

#[test]
fn what_a_stranger_can_make_grow_is_bounded() {
    let policy = Policy { pending_max: 3, cache_max: 10, ..Policy::default() };
    let mut locator = locator(policy);
    let ask = |n: u32| Ask::host(&format!("h{n}.example")).unwrap();
    for n in 0..3 {
        locator.ask(epoch(), ask(n));
    }
    let id = locator.ask(epoch(), ask(3));
    assert_eq!(locator.poll_located(), Some((id, Err(LocateError::Busy))));
    for n in 0..100 {
        let query = Query { name: format!("n{n}.example"), kind: Kind::A };
        let hour = Duration::from_secs(3600);
        locator.handle_records(epoch(), query, Records::Nothing, hour);
        assert!(locator.cached() <= 10);
    }
    let zone = Zone::default()
        .srv("_sip._tcp.example.org", &[(1, 0, 5060, "a.example.org"); 200])
        .host("a.example.org", &["192.0.2.1"; 50]);
    let hops = once(zone, "sip:example.org;transport=tcp").unwrap();
    assert_eq!(hops.len(), Policy::default().hops_max);
    assert_eq!(hops[0].split(' ').count(), 7, "six addresses are raced at most");
}
