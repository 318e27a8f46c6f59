//! The decision.

use sansio::{Transport, WallTime};

use crate::peer::{Way, by_domain, by_number, open_to};
use crate::plan::{MediaProfile, Outcome, PeerTarget, Plan, Target};
use crate::policy::PolicySnapshot;
use crate::step::Step;

/// Most phones that ring for one call.
pub const TARGETS_MAX: usize = 20;

/// Where phones are, as of now.
pub trait Locations {
    /// The live bindings of an address of record, best first.
    fn places(&self, aor: &str, wall: WallTime) -> Vec<Place>;
}

/// One binding, as far as routing cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The binding's key.
    pub binding: u64,
    /// Its Contact URI.
    pub contact: String,
    /// The phone's instance.
    pub instance: Option<String>,
    /// Preference in thousandths.
    pub q: u16,
    /// How it registered.
    pub transport: Transport,
    /// Whether a message can reach it now: always for UDP, otherwise while its connection lives.
    pub reachable: bool,
}

/// What is known of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallFacts<'a> {
    /// The authenticated caller's address of record.
    pub caller: &'a str,
    /// The user part called, unescaped.
    pub user: &'a str,
    /// The host called.
    pub domain: &'a str,
    /// The method.
    pub method: &'a str,
    /// The peer it came from.
    pub from_peer: Option<&'a str>,
}

/// Decides. Pure: same arguments, same plan.
pub fn decide(
    policy: &PolicySnapshot,
    locations: &dyn Locations,
    facts: &CallFacts<'_>,
    wall: WallTime,
) -> Plan {
    let dialled = facts.domain.to_ascii_lowercase();
    let Some(domain) = policy.domain(&dialled).map(str::to_owned) else {
        return foreign(policy, locations, facts, dialled, wall);
    };
    let mut steps = vec![if domain == dialled {
        Step::DomainServed { domain: dialled }
    } else {
        Step::DomainAlias { alias: dialled, domain: domain.clone() }
    }];
    let outcome = within(policy, locations, facts, &domain, wall, &mut steps);
    Plan { tenant: Some(domain), outcome, steps }
}

/// A domain that is not ours: that of a number granted here or lying behind a server of ours, when a
/// peer asks for it; or one that lies behind a peer.
fn foreign(
    policy: &PolicySnapshot,
    locations: &dyn Locations,
    facts: &CallFacts<'_>,
    domain: String,
    wall: WallTime,
) -> Plan {
    let (mut steps, peers) = (Vec::new(), policy.peers());
    if facts.from_peer.is_some()
        && let Some((user, home)) = policy.number_owner(facts.user)
    {
        let outcome = granted(policy, locations, (facts.user, &user, &home), wall, &mut steps);
        return Plan { tenant: Some(home), outcome, steps };
    }
    let mut ways = open_to(by_domain(peers, &domain), peers, facts.from_peer);
    if ways.is_empty() && facts.from_peer.is_some() && is_number(facts.user) {
        ways = open_to(by_number(peers, facts.user), peers, facts.from_peer);
    }
    if !ways.is_empty() {
        let outcome = hand_over(&ways, (facts.user, &domain), &mut steps);
        return Plan { tenant: None, outcome, steps };
    }
    steps.push(match facts.from_peer {
        Some(peer) => Step::NoTransit { peer: peer.to_owned() },
        None => Step::DomainForeign { domain },
    });
    Plan { tenant: None, outcome: refuse(403, "Relaying Not Allowed"), steps }
}

fn within(
    policy: &PolicySnapshot,
    locations: &dyn Locations,
    facts: &CallFacts<'_>,
    domain: &str,
    wall: WallTime,
    steps: &mut Vec<Step>,
) -> Outcome {
    let user = facts.user;
    if policy.has_user(domain, user) {
        return ring(locations, format!("sip:{user}@{domain}"), wall, steps);
    }
    // Users come first: one who has the name of a service keeps it.
    if let Some(service) = policy.service(user) {
        steps.push(Step::ServiceNamed { user: user.to_owned(), service });
        return Outcome::Service { service };
    }
    // A tenant's own extensions are its own: only global numbers reach another tenant's user.
    if let Some((owner, home)) = policy.number_owner(user)
        && (user.starts_with('+') || home == domain)
    {
        return granted(policy, locations, (user, &owner, &home), wall, steps);
    }
    let aor = format!("sip:{user}@{domain}");
    let ways = if is_number(user) { by_number(policy.peers(), user) } else { Vec::new() };
    let closed = !ways.is_empty();
    let ways = open_to(ways, policy.peers(), facts.from_peer);
    match facts.from_peer {
        _ if !ways.is_empty() => hand_over(&ways, (user, domain), steps),
        Some(peer) if closed => {
            steps.push(Step::NoTransit { peer: peer.to_owned() });
            refuse(404, "Not Found")
        }
        _ => {
            steps.push(Step::UserUnknown { aor });
            refuse(404, "Not Found")
        }
    }
}

fn granted(
    policy: &PolicySnapshot,
    locations: &dyn Locations,
    (number, user, domain): (&str, &str, &str),
    wall: WallTime,
    steps: &mut Vec<Step>,
) -> Outcome {
    let aor = format!("sip:{user}@{domain}");
    steps.push(Step::NumberGranted { number: number.to_owned(), aor: aor.clone() });
    if !policy.has_user(domain, user) {
        steps.push(Step::UserUnknown { aor });
        return refuse(404, "Not Found");
    }
    ring(locations, aor, wall, steps)
}

fn ring(locations: &dyn Locations, aor: String, wall: WallTime, steps: &mut Vec<Step>) -> Outcome {
    steps.push(Step::UserKnown { aor: aor.clone() });
    let targets = choose(locations.places(&aor, wall), steps);
    if targets.is_empty() {
        steps.push(Step::NoPhone { aor });
        return refuse(480, "Temporarily Unavailable");
    }
    Outcome::Fork { targets }
}

fn hand_over(ways: &[Way<'_>], (user, domain): (&str, &str), steps: &mut Vec<Step>) -> Outcome {
    let target = |way: &Way<'_>| {
        let (user, host) = way.dialled(user, domain);
        let prefix = way.rule.map(|rule| rule.prefix.clone());
        let (peer, dialled) = (way.peer.name.clone(), format!("{user}@{host}"));
        steps.push(Step::PeerChosen { peer, prefix, dialled });
        PeerTarget { peer: way.number, name: way.peer.name.clone(), user, host }
    };
    Outcome::Peers { targets: ways.iter().take(TARGETS_MAX).map(target).collect() }
}

/// Digits, maybe behind a plus, and what a keypad has beside them.
fn is_number(user: &str) -> bool {
    let digits = user.strip_prefix('+').unwrap_or(user);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#'))
}

/// One target per phone: its best flow that can be reached.
fn choose(places: Vec<Place>, steps: &mut Vec<Step>) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let mut instances: Vec<String> = Vec::new();
    let mut count = 0;
    for place in places {
        let Place { binding, contact, instance, q, transport, reachable } = place;
        let media = MediaProfile::of(transport);
        let transport = transport.via_token();
        if !reachable {
            steps.push(Step::Unreachable { contact, transport });
        } else if instance.as_ref().is_some_and(|i| instances.contains(i)) {
            steps.push(Step::OtherFlow { contact });
        } else if targets.len() == TARGETS_MAX {
            count += 1;
        } else {
            instances.extend(instance);
            steps.push(Step::PhoneChosen { contact: contact.clone(), transport, media });
            targets.push(Target { binding, contact, q, media });
        }
    }
    if count > 0 {
        steps.push(Step::PhonesLeftOut { count });
    }
    targets
}

fn refuse(status: u16, reason: &'static str) -> Outcome {
    Outcome::Refuse { status, reason }
}

#[cfg(test)]
mod tests;
