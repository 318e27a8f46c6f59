//! The server's role cores on a simulated host: edge, registrar and relay, joined as
//! `app/whimbrel` joins them, with everything else in memory.
//!
//! What is simpler than the real wiring: answers come at once, users are a table, and routing forks
//! to every binding of a known user.

mod directory;
mod relaying;
mod shard;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use edge::{Config, EdgeCore, EdgeEvent, Keys, Listener, Place, Snapshots};
use registrar::{Limits, LocationTable, Registrar};
use sansio::{Redacted, SeededEntropy, Transport};

use crate::server::{Server, USUAL_PORTS};
use directory::Users;
pub use relaying::RelayPlane;
pub use shard::EdgeShard;

/// A server for one domain.
#[derive(Debug, Clone)]
pub struct HouseSetup {
    /// The address its host has.
    pub address: IpAddr,
    /// The domain it serves.
    pub domain: String,
    /// Users and their passwords.
    pub users: BTreeMap<String, String>,
    /// How many shards.
    pub shards: u16,
    /// The edge's settings.
    pub edge: Config,
}

/// A server of role cores.
pub type House = Server<EdgeShard, RelayPlane>;

/// Builds a server. Its keys and ports follow from `seed`.
pub fn house(setup: &HouseSetup, seed: u64) -> House {
    let table = Arc::new(LocationTable::new());
    let users = Users::new(setup, Arc::clone(&table));
    let media = RelayPlane::new(setup.address, seed);
    let keys = Keys { nonce: Redacted::new([3; 32]), token: (1, Redacted::new([5; 16])) };
    let events: Arc<Mutex<Vec<EdgeEvent>>> = Arc::default();
    let make = |shard| {
        let snapshots = Snapshots {
            directory: Box::new(users.clone()),
            locations: Box::new(users.clone()),
            router: Box::new(users.clone()),
        };
        let place = Place { node: 0, shard, shards: setup.shards, listeners: listeners(setup) };
        let entropy = Box::new(SeededEntropy::new(seed.wrapping_mul(31) + u64::from(shard)));
        let core = EdgeCore::new(place, setup.edge.clone(), &keys, snapshots, entropy);
        let core = core.unwrap_or_else(|error| panic!("the edge's configuration: {error}"));
        let registrar = Registrar::for_shard(
            Arc::clone(&table),
            Limits::default(),
            usize::from(shard),
            usize::from(setup.shards),
        );
        EdgeShard::new(core, registrar, media.clone(), Arc::clone(&events))
    };
    Server::with_media(&setup.address.to_string(), setup.shards, make, media.clone())
}

fn listeners(setup: &HouseSetup) -> Vec<Listener> {
    let listener = |port, transport: Transport| {
        let bind = SocketAddr::new(setup.address, port);
        Listener { transport, bind, advertise: bind.to_string() }
    };
    USUAL_PORTS.iter().map(|l| listener(l.port, l.transport)).collect()
}
