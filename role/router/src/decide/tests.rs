use super::*;
use crate::peer::{PeerRoute, PrefixRoute};
use crate::plan::Service;
use crate::policy::Directory;

struct Users;

impl Directory for Users {
    fn has_user(&self, domain: &str, user: &str) -> bool {
        domain == "example.com" && ["alice", "bob"].contains(&user)
    }

    fn number_owner(&self, number: &str) -> Option<(String, String)> {
        ["+4930123", "7001"].contains(&number).then(|| ("bob".into(), "example.com".into()))
    }
}

struct Phones(Vec<Place>);

impl Locations for Phones {
    fn places(&self, aor: &str, _wall: WallTime) -> Vec<Place> {
        if aor == "sip:bob@example.com" { self.0.clone() } else { Vec::new() }
    }
}

fn place(binding: u64, transport: Transport) -> Place {
    let contact = format!("sip:bob@192.0.2.{binding}");
    Place { binding, contact, instance: None, q: 1000, transport, reachable: true }
}

fn plan(user: &str, domain: &str, phones: Vec<Place>) -> Plan {
    let policy =
        PolicySnapshot::new(["Example.com"], Users).with_alias("192.0.2.99", "example.com");
    let facts = CallFacts {
        caller: "sip:alice@example.com",
        user,
        domain,
        method: "INVITE",
        from_peer: None,
    };
    decide(&policy, &Phones(phones), &facts, WallTime::from_secs(1))
}

fn call(user: &str, domain: &str, phones: Vec<Place>) -> (Outcome, Vec<String>) {
    let plan = plan(user, domain, phones);
    (plan.outcome, plan.steps.iter().map(Step::to_string).collect())
}

fn status(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Refuse { status, .. } => *status,
        _ => 0,
    }
}

#[test]
fn all_phones_ring_each_with_its_media() {
    let phones = vec![place(1, Transport::Udp), place(2, Transport::Tls), place(3, Transport::Wss)];
    let (outcome, steps) = call("bob", "EXAMPLE.com", phones);
    let Outcome::Fork { targets } = outcome else { panic!("{outcome:?}") };
    let media: Vec<_> = targets.iter().map(|t| (t.binding, t.media)).collect();
    let (rtp, srtp, web) = (MediaProfile::Rtp, MediaProfile::Srtp, MediaProfile::WebRtc);
    assert_eq!(media, [(1, rtp), (2, srtp), (3, web)]);
    assert_eq!(
        steps,
        [
            "example.com is served here",
            "sip:bob@example.com is a user",
            "ring sip:bob@192.0.2.1, registered by UDP, with plain RTP",
            "ring sip:bob@192.0.2.2, registered by TLS, with SRTP keyed by SDES",
            "ring sip:bob@192.0.2.3, registered by WSS, with WebRTC media",
        ]
    );
}

#[test]
fn refusals_say_why() {
    let (outcome, steps) = call("bob", "example.com", Vec::new());
    assert_eq!(status(&outcome), 480);
    assert_eq!(steps[2], "sip:bob@example.com has no phone that can be reached now: 480");
    let (outcome, steps) = call("mallory", "example.com", Vec::new());
    assert_eq!(status(&outcome), 404);
    assert_eq!(steps[1], "sip:mallory@example.com is neither a user nor a service: 404");
    let (outcome, steps) = call("bob", "elsewhere.example", vec![place(1, Transport::Udp)]);
    assert_eq!((status(&outcome), steps.len()), (403, 1));
}

#[test]
fn services_answer_in_every_tenant_and_aliases_lead_there() {
    for (user, service) in
        [("echo", Service::Echo), ("*43", Service::Echo), ("tone", Service::Tone)]
    {
        let (outcome, steps) = call(user, "192.0.2.99", Vec::new());
        assert_eq!(outcome, Outcome::Service { service });
        assert_eq!(steps[0], "192.0.2.99 stands for example.com");
    }
}

#[test]
fn one_phone_with_several_flows_rings_once_and_dead_flows_are_skipped() {
    let named = |n, reachable| {
        let instance = Some("<urn:uuid:1>".to_owned());
        Place { instance, reachable, ..place(n, Transport::Tls) }
    };
    let phones = vec![named(1, false), named(2, true), named(3, true), place(4, Transport::Udp)];
    let (outcome, steps) = call("bob", "example.com", phones);
    let Outcome::Fork { targets } = outcome else { panic!("{outcome:?}") };
    assert_eq!(targets.iter().map(|t| t.binding).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(steps[2], "not sip:bob@192.0.2.1: its TLS connection is gone");
    assert_eq!(steps[4], "not sip:bob@192.0.2.3: the same phone has a better registration");
}

#[test]
fn a_call_rings_so_many_phones_and_no_more() {
    let many = (0..25).map(|n| place(n, Transport::Udp)).collect();
    let (outcome, steps) = call("bob", "example.com", many);
    assert!(matches!(outcome, Outcome::Fork { targets } if targets.len() == TARGETS_MAX));
    assert_eq!(steps.last().unwrap(), "5 more phones are left out: too many for one call");
}

#[test]
fn plans_are_written_as_json() {
    let json = serde_json::to_value(plan("bob", "example.com", vec![place(1, Transport::Udp)]));
    let json = json.unwrap();
    assert_eq!(json["outcome"]["action"], "fork");
    assert_eq!(json["steps"][2]["step"], "phone-chosen");
    assert_eq!(json["steps"][2]["media"], "rtp");
}

fn prefix(prefix: &str, strip: usize, add: &str) -> PrefixRoute {
    PrefixRoute { prefix: prefix.into(), strip, add: add.into() }
}

fn peers() -> std::sync::Arc<[PeerRoute]> {
    let peer = |name: &str, priority, prefixes: Vec<PrefixRoute>, domains: &[&str]| PeerRoute {
        name: name.into(),
        host: format!("{name}.example.net"),
        domains: domains.iter().map(|d| (*d).to_owned()).collect(),
        prefixes,
        priority,
        internal: name == "core",
    };
    [
        peer("cheap", 20, vec![prefix("+", 0, ""), prefix("0", 1, "+49")], &[]),
        peer("good", 10, vec![prefix("+", 0, "")], &["partner.example"]),
        peer("local", 90, vec![prefix("+4940", 3, "0")], &[]),
        peer("core", 50, vec![prefix("+4989", 0, "")], &["home.example"]),
    ]
    .into()
}

fn via_peers(user: &str, domain: &str, from_peer: Option<&str>) -> (Vec<String>, Vec<String>) {
    let policy = PolicySnapshot::new(["example.com"], Users).with_peers(peers());
    let caller = "sip:alice@example.com";
    let facts = CallFacts { caller, user, domain, method: "INVITE", from_peer };
    let plan =
        decide(&policy, &Phones(vec![place(1, Transport::Udp)]), &facts, WallTime::from_secs(1));
    let targets = match &plan.outcome {
        Outcome::Peers { targets } => {
            targets.iter().map(|t| format!("{}: {}@{}", t.name, t.user, t.host)).collect()
        }
        Outcome::Fork { .. } => vec!["rings".to_owned()],
        Outcome::Refuse { status, .. } => vec![status.to_string()],
        Outcome::Service { service } => vec![service.to_string()],
    };
    (targets, plan.steps.iter().map(Step::to_string).collect())
}

#[test]
fn numbers_go_to_peers_the_longest_prefix_first_then_by_priority() {
    let (targets, steps) = via_peers("+4940555", "example.com", None);
    let want = [
        "local: 040555@local.example.net",
        "good: +4940555@good.example.net",
        "cheap: +4940555@cheap.example.net",
    ];
    assert_eq!(targets, want);
    assert_eq!(steps[1], "peer local takes +4940: 040555@local.example.net");
    assert_eq!(via_peers("030555", "example.com", None).0, ["cheap: +4930555@cheap.example.net"]);
    assert_eq!(via_peers("555", "example.com", None).0, ["404"]);
    assert_eq!(via_peers("carol", "example.com", None).0, ["404"]);
}

#[test]
fn a_domain_behind_a_peer_is_asked_for_as_it_is() {
    let (targets, steps) = via_peers("carol", "Partner.example", None);
    assert_eq!(targets, ["good: carol@partner.example"]);
    assert_eq!(steps, ["the domain lies behind peer good: carol@partner.example"]);
    assert_eq!(via_peers("carol", "elsewhere.example", None).0, ["403"]);
}

#[test]
fn granted_numbers_ring_their_user_whoever_calls() {
    for from in [None, Some("cheap")] {
        let (targets, steps) = via_peers("+4930123", "example.com", from);
        assert_eq!(targets, ["rings"]);
        assert_eq!(steps[1], "+4930123 is the number of sip:bob@example.com");
        assert_eq!(via_peers("7001", "example.com", from).0, ["rings"]);
    }
    assert_eq!(via_peers("+4930123", "198.51.100.1", Some("cheap")).0, ["rings"]);
    assert_eq!(via_peers("+4930123", "198.51.100.1", None).0, ["403"]);
}

#[test]
fn r2_1_a_peering_edge_leads_carriers_to_servers_of_ours_and_those_to_carriers() {
    for domain in ["example.com", "198.51.100.1"] {
        // In: to the core, and to no carrier, though two take every number.
        let (targets, steps) = via_peers("+4989555", domain, Some("cheap"));
        assert_eq!(targets, ["core: +4989555@core.example.net"], "{domain}");
        assert_eq!(steps.last().unwrap(), "peer core takes +4989: +4989555@core.example.net");
        // Out: to every carrier, and not back.
        let (targets, _) = via_peers("+4989555", domain, Some("core"));
        assert_eq!(
            targets,
            ["good: +4989555@good.example.net", "cheap: +4989555@cheap.example.net"]
        );
    }
    assert_eq!(via_peers("carol", "home.example", Some("cheap")).0, ["core: carol@home.example"]);
    assert_eq!(via_peers("carol", "home.example", Some("core")).0, ["403"]);
    assert_eq!(
        via_peers("carol", "partner.example", Some("core")).0[0],
        "good: carol@partner.example"
    );
}

#[test]
fn a_peer_is_never_led_to_another() {
    let (targets, steps) = via_peers("+4940555", "example.com", Some("cheap"));
    assert_eq!(targets, ["404"]);
    assert_eq!(
        steps[1],
        "calls from peer cheap go to users and servers of ours, no other peer gets them"
    );
    assert_eq!(via_peers("carol", "partner.example", Some("cheap")).0, ["403"]);
    assert_eq!(via_peers("bob", "example.com", Some("cheap")).0, ["rings"]);
}
