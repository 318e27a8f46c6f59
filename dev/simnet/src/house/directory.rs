//! Users in memory: who they are, where they are, and that a call to one rings every phone of theirs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use edge::{CallFacts, Directory, Locations, MediaProfile, Plan, Reach, Router, Target};
use registrar::{Binding, BindingKey, LocationTable};
use sansio::{FlowId, Redacted, Transport, WallTime};
use sip::digest::{self, Algorithm};

use super::HouseSetup;

#[derive(Clone)]
pub(super) struct Users {
    domain: String,
    address: String,
    passwords: Arc<BTreeMap<String, String>>,
    table: Arc<LocationTable>,
}

impl Users {
    pub(super) fn new(setup: &HouseSetup, table: Arc<LocationTable>) -> Self {
        let (domain, address) = (setup.domain.clone(), setup.address.to_string());
        Self { domain, address, passwords: Arc::new(setup.users.clone()), table }
    }
}

impl Directory for Users {
    fn is_local(&self, domain: &str) -> bool {
        domain == self.domain || domain == self.address
    }

    fn realm(&self, domain: &str) -> Option<std::sync::Arc<str>> {
        self.is_local(domain).then(|| self.domain.as_str().into())
    }

    fn ha1(&self, realm: &str, user: &str, algorithm: Algorithm) -> Option<Redacted<String>> {
        let password = self.passwords.get(user)?;
        let ha1 = digest::ha1(algorithm, user.as_bytes(), realm.as_bytes(), password.as_bytes());
        Some(Redacted::new(ha1))
    }

    fn bearer(&self, _token: &str, _wall: WallTime) -> Option<String> {
        None
    }
}

impl Locations for Users {
    fn reach(&self, binding: u64, wall: WallTime) -> Option<Reach> {
        self.table.by_key(BindingKey(binding), wall).map(|b| reach(&b))
    }

    fn binding_on(&self, aor: &str, flow: FlowId, source: SocketAddr) -> Option<u64> {
        // Snapshots are read without a clock: an expired binding no longer matters to a live flow.
        let found = self.table.on_flow(aor, flow, source, WallTime::from_millis(0));
        found.map(|binding| binding.key().0)
    }
}

impl Router for Users {
    fn plan(&self, facts: &CallFacts<'_>, wall: WallTime) -> Plan {
        if !self.passwords.contains_key(facts.user) {
            return Plan::Refuse { status: 404, reason: "Not Found".into() };
        }
        let aor = format!("sip:{}@{}", facts.user, self.domain);
        let bindings = self.table.lookup(&aor, wall);
        if bindings.is_empty() {
            return Plan::Refuse { status: 480, reason: "Temporarily Unavailable".into() };
        }
        Plan::Fork(bindings.iter().map(target).collect())
    }
}

fn target(binding: &Binding) -> Target {
    // As `router` decides it: who registers by WebSocket is taken for a browser.
    let media = match binding.transport() {
        Transport::Ws | Transport::Wss => MediaProfile::WebRtc,
        Transport::Tls => MediaProfile::Sdes,
        _ => MediaProfile::Plain,
    };
    Target {
        uri: binding.contact().to_owned(),
        reach: reach(binding),
        binding: binding.key().0,
        path: binding.path().map(str::to_owned).collect(),
        media,
        locate: None,
        peer: None,
    }
}

fn reach(binding: &Binding) -> Reach {
    Reach {
        transport: binding.transport(),
        flow: binding.flow(),
        local: binding.local(),
        peer: binding.source(),
    }
}
