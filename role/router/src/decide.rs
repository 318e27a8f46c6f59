//! The decision.

use sansio::{Transport, WallTime};

use crate::plan::{MediaProfile, Outcome, Plan, Target};
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
        let steps = vec![Step::DomainForeign { domain: dialled }];
        return Plan { tenant: None, outcome: refuse(403, "Relaying Not Allowed"), steps };
    };
    let mut steps = vec![if domain == dialled {
        Step::DomainServed { domain: dialled }
    } else {
        Step::DomainAlias { alias: dialled, domain: domain.clone() }
    }];
    let outcome = within(policy, locations, (facts.user, &domain), wall, &mut steps);
    Plan { tenant: Some(domain), outcome, steps }
}

fn within(
    policy: &PolicySnapshot,
    locations: &dyn Locations,
    (user, domain): (&str, &str),
    wall: WallTime,
    steps: &mut Vec<Step>,
) -> Outcome {
    let aor = format!("sip:{user}@{domain}");
    if !policy.has_user(domain, user) {
        // Users come first: one who has the name of a service keeps it.
        if let Some(service) = policy.service(user) {
            steps.push(Step::ServiceNamed { user: user.to_owned(), service });
            return Outcome::Service { service };
        }
        steps.push(Step::UserUnknown { aor });
        return refuse(404, "Not Found");
    }
    steps.push(Step::UserKnown { aor: aor.clone() });
    let targets = choose(locations.places(&aor, wall), steps);
    if targets.is_empty() {
        steps.push(Step::NoPhone { aor });
        return refuse(480, "Temporarily Unavailable");
    }
    Outcome::Fork { targets }
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
