//! How each role is started from configuration and command line.

use crate::addresses::Addresses;
use crate::config::Config;
use crate::kept_bans::KeptBans;
use crate::present;
use crate::recordings::SrsParts;
use crate::wiring::{
    DirectorySnapshot, Domains, EdgeShard, Flows, INTERNAL, LocationSnapshot, Roles,
    RouterSnapshot, Services,
};
use anyhow::{Context, Result};
use edge::{EdgeCore, Note, Place, Present, Snapshots};
use net::http::{HttpOptions, HttpServer};
use net::{ServerTls, ShardContext, Shards, ShardsConfig, TlsConfig};
use registrar::{Location, LocationConfig};
use relay::{Relay, RelayEvent};
use sansio::Transport;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The certificate: the operator's, or the own authority's.
pub fn open_tls(
    data: &Path,
    config: &Config,
    addresses: &Addresses,
    domains: &Domains,
) -> Result<ServerTls> {
    let files = config.tls.certificate.clone().zip(config.tls.key.clone());
    let files = files.map(|(cert, key)| net::CertificateFiles { cert, key });
    let mut addrs: Vec<IpAddr> = addresses.interfaces.iter().map(|i| i.bind).collect();
    addrs.extend(addresses.ours());
    let (names, always) = (domains.tenants(), addresses.sip_names());
    let tls = TlsConfig { dir: data.join("tls"), names, always, addrs, files };
    Ok(ServerTls::open(tls, present::wall())?)
}

fn shard_count(config: &Config) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.shards.unwrap_or_else(|| u16::try_from(cores.clamp(1, 16)).unwrap_or(1))
}

/// The bindings of earlier runs, and the journals.
pub fn open_location(data: &Path, config: &Config, wall: sansio::WallTime) -> Result<Location> {
    let settings = LocationConfig {
        shards: usize::from(shard_count(config)),
        limits: config.registrar.limits(),
        ..LocationConfig::default()
    };
    let location = Location::open(&data.join("location"), settings, wall)?;
    tracing::info!(bindings = location.loaded(), "locations loaded");
    Ok(location)
}

/// The shards the relay tells its events to, once they run.
pub type ToShards = Arc<OnceLock<Arc<Vec<net::ShardHandle<Note>>>>>;

/// The relay, and where to put the shards it tells its events to.
pub fn start_relay(
    config: &Config,
    addresses: &Addresses,
    spine: &cluster::Spine,
) -> Result<(Relay, ToShards)> {
    let mut interfaces: Vec<relay::Interface> = addresses
        .interfaces
        .iter()
        .map(|i| relay::Interface {
            name: i.name.clone(),
            bind: i.bind,
            advertise: i.advertise,
            tos: i.dscp_media.tos(),
        })
        .collect();
    let loopback = match interfaces[0].bind {
        IpAddr::V6(v6) if !v6.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    interfaces.push(relay::Interface::new(INTERNAL, loopback));
    let settings = relay::Config {
        interfaces,
        port_min: config.ports.rtp_min,
        port_max: config.ports.rtp_max,
        threads: config.media.threads.unwrap_or(0),
        silence_s: config.media.silence_s,
        rest_us: config.media.rest_us,
        socket_per_port: config.media.socket_per_port,
        fast_path: config.media.fast_path.clone(),
        ..relay::Config::default()
    };
    let notify = ToShards::default();
    let shards = Arc::clone(&notify);
    let spine = spine.clone();
    let tell = move |event: RelayEvent| {
        tracing::debug!(?event, "relay");
        if let Some(bleached) = crate::wiring::marks_bleached(&event) {
            spine.emit(present::wall(), bleached);
        }
        let note = || match event {
            RelayEvent::MediaSilent { session } => Some(Note::MediaSilent(session.0)),
            RelayEvent::Digit { session, branch, digit, duration_ms } => {
                let (session, by_caller) = (session.0, branch.is_none());
                Some(Note::Digit(edge::Pressed { session, by_caller, digit, duration_ms }))
            }
            _ => None,
        };
        // The session does not say which shard tracks it; the others know no such call.
        for shard in shards.get().iter().flat_map(|shards| shards.iter()) {
            let Some(note) = note() else { return };
            // A shard too busy to hear of silence is told again; a digit is lost.
            let _ = shard.notify(note);
        }
    };
    let relay = Relay::start(settings, tell).context("the media relay cannot start")?;
    Ok((relay, notify))
}

/// What every shard's core is made from.
pub struct CoreParts {
    pub keys: edge::Keys,
    pub edge: edge::Config,
    pub addresses: Addresses,
    /// HTTPS, and SIP over WebSocket in clear, where that comes in.
    pub ports: (u16, Option<u16>),
    pub router: RouterSnapshot,
    pub location: Arc<Location>,
    pub roles: Roles,
    pub attempts: edge::Attempts,
    pub standings: edge::Standings,
}

impl CoreParts {
    fn core(&self, context: &ShardContext<Note>) -> Result<EdgeShard, edge::ConfigError> {
        let mut listeners: Vec<edge::Listener> = context
            .listeners
            .iter()
            .map(|l| edge::Listener {
                transport: l.transport,
                bind: l.bind,
                advertise: self.addresses.sent_by(&l.interface, l.bind.port()),
            })
            .collect();
        let (https, ws) = self.ports;
        for (transport, port) in [(Transport::Wss, https), (Transport::Ws, ws.unwrap_or(https))] {
            listeners.extend(self.addresses.interfaces.iter().map(|i| edge::Listener {
                transport,
                bind: (i.bind, port).into(),
                advertise: self.addresses.sent_by(&i.name, port),
            }));
        }
        let place =
            Place { node: context.node, shard: context.shard, shards: context.shards, listeners };
        let directory = DirectorySnapshot {
            domains: Arc::clone(&self.router.domains),
            credentials: Arc::clone(&self.router.credentials),
        };
        let snapshots = Snapshots {
            directory: Box::new(directory),
            locations: Box::new(LocationSnapshot(Arc::clone(&self.router.table))),
            router: Box::new(self.router.clone()),
        };
        let entropy = Box::new(net::PooledEntropy::default());
        let core = EdgeCore::new(place, self.edge.clone(), &self.keys, snapshots, entropy)?;
        let flows = Flows::new(context, self.roles.gate.clone());
        let mut core = core.dialling(Box::new(flows));
        core.share_attempts(self.attempts.clone());
        core.follow_standings(self.standings.clone());
        let present = Present { now: Instant::now(), wall: present::wall() };
        let location = self.location.shard(usize::from(context.shard));
        let handle = context.handle.clone();
        let shard = EdgeShard::new(core, location, self.roles.clone(), handle, present);
        Ok(shard.with_load(context.load.clone()))
    }
}

/// What finds next hops by name, in the address families we listen on.
pub fn start_locator(config: &Config, addresses: &Addresses) -> Result<net::Locator> {
    let binds = || addresses.interfaces.iter().map(|i| i.bind);
    let policy = sip::locate::Policy {
        v4: binds().any(|ip| ip.is_ipv4()),
        v6: binds().any(|ip| ip.is_ipv6()),
        avoid: std::time::Duration::from_secs(config.dns.avoid_s),
        ..sip::locate::Policy::default()
    };
    let servers = config.dns.servers.iter().map(|server| server.0).collect();
    Ok(net::Locator::start(net::LocatorConfig { servers, policy })?)
}

/// The running shards, for whoever speaks to them; the relay and the recorder among them.
pub fn hand_out(shards: &Shards<Note>, later: &ToShards) -> Arc<Vec<net::ShardHandle<Note>>> {
    let handles = Arc::new(shards.handles().to_vec());
    // They speak only of calls that shards made: this is set before the first one.
    let _ = later.set(Arc::clone(&handles));
    handles
}

/// What a client of a recording server needs.
pub fn srs_parts(
    config: &Config,
    tls: &ServerTls,
    locator: &net::Locator,
    shards: &ToShards,
) -> Result<SrsParts> {
    let tls = tls.client_config(&config.transport.ca)?;
    Ok(SrsParts { locator: locator.clone(), tls, shards: Arc::clone(shards) })
}

/// Who is listened to, as configured and as it was before the last stop.
pub fn make_gate(data: &Path, config: &Config) -> Result<(net::Gate, KeptBans)> {
    let policy = config.edge.gate_policy()?;
    let gate = net::Gate::new(policy, Instant::now(), &mut net::OsEntropy);
    let kept = KeptBans::of(data);
    kept.resume(&gate, crate::present::wall());
    Ok((gate, kept))
}

/// The signalling shards, all of them or none.
pub fn start_shards(
    config: &Config,
    addresses: &Addresses,
    tls: &ServerTls,
    parts: CoreParts,
) -> Result<Shards<Note>> {
    // Checked before, so that no shard can fail on it.
    parts.edge.check()?;
    for network in &parts.edge.open_from {
        tracing::warn!(%network, "edge.open_from: whoever sends from here calls in anybody's name");
    }
    let mut settings = ShardsConfig::new();
    settings.shards = shard_count(config);
    settings.tls = Some(tls.sip_config());
    settings.client_tls = Some(tls.client_config(&config.transport.ca)?);
    settings.peer_certificates = tls.peer_certificates();
    if parts.edge.knows_by_certificate() {
        settings.peer_certificates.ask(&config.transport.ca).context("[transport] ca")?;
    }
    config.transport.limit(&mut settings.limits);
    settings.gate = Some(parts.roles.gate.clone());
    settings.overload_target = config.edge.admission.overload_target();
    for (interface, transport, bind) in addresses.sip(config) {
        let alternate = Some(bind.port()) == config.ports.sip_alternate;
        settings.listeners.push(net::Listener {
            advertise: Some(addresses.advertise(&interface)),
            report_tos: alternate && transport == Transport::Udp,
            tos: addresses.interface(&interface).map_or(0, |i| i.dscp_signalling.tos()),
            interface,
            transport,
            bind,
        });
    }
    let shards = Shards::start(settings, move |context| match parts.core(&context) {
        Ok(core) => core,
        Err(error) => unreachable!("the edge's configuration was checked: {error}"),
    })?;
    Ok(shards)
}

/// The console's listeners, and that for SIP over WebSocket in clear.
pub fn bind_web(
    config: &Config,
    addresses: &Addresses,
    tls: &ServerTls,
    shards: &Shards<Note>,
) -> Result<(Vec<HttpServer>, Option<HttpServer>)> {
    Ok((bind_https(config, addresses, tls, shards)?, bind_ws(config, addresses, shards)?))
}

/// The console's listeners, one for each address, which hand SIP over WebSocket to the shards.
fn bind_https(
    config: &Config,
    addresses: &Addresses,
    tls: &ServerTls,
    shards: &Shards<Note>,
) -> Result<Vec<HttpServer>> {
    let options = HttpOptions {
        tls: Some(tls.https_config()),
        websockets: Some(shards.websocket_door()),
        ..HttpOptions::default()
    };
    let bind = |addr| Ok(HttpServer::bind(addr, options.clone())?);
    addresses.https(config).into_iter().map(bind).collect()
}

/// The listener for SIP over WebSocket in clear, if the configuration wants one.
fn bind_ws(
    config: &Config,
    addresses: &Addresses,
    shards: &Shards<Note>,
) -> Result<Option<HttpServer>> {
    let Some(addr) = addresses.ws(config) else { return Ok(None) };
    let websockets = Some(shards.websocket_door());
    let options = HttpOptions { websockets, ..HttpOptions::default() };
    Ok(Some(HttpServer::bind(addr, options)?))
}

/// Echo and tone.
pub fn start_services(
    config: &Config,
    addresses: &Addresses,
    services: &Services,
) -> Result<pbx::Services> {
    let server = addresses.local_udp(config);
    let running = pbx::Services::start(pbx::Config::new(server, server.ip()))
        .context("the echo and tone services cannot start")?;
    let reach = edge::Reach {
        transport: Transport::Udp,
        flow: None,
        local: (addresses.interfaces[0].bind, config.ports.sip).into(),
        peer: running.addr,
    };
    services.set(reach);
    Ok(running)
}
