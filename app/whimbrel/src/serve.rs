//! `whimbrel serve`: every role in one process, started in the order they need each other, and all
//! of them or none.

use crate::addresses::{Addresses, host_port};
use crate::backend::ServerBackend;
use crate::cli::ServeArgs;
use crate::config::Config;
use crate::control::{self, Request};
use crate::first_run::{self, Places};
use crate::metrics::Observed;
use crate::present;
use crate::wiring::{
    DirectorySnapshot, Domains, EdgeShard, Gauges, INTERNAL, LocationSnapshot, Roles,
    RouterSnapshot, Services,
};
use anyhow::{Context, Result, anyhow};
use edge::{EdgeCore, Note, Place, Present, Snapshots};
use net::http::{ClientAddr, HttpOptions, HttpServer};
use net::{ServerTls, ShardContext, Shards, ShardsConfig, TlsConfig};
use records::{OpenCalls, RecordKeeper};
use registrar::{Location, LocationConfig};
use relay::{Relay, RelayEvent};
use sansio::Transport;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use store::{Credentials, FirstRun, Store};
use store_sql::SqlStore;

/// How long calls may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);

/// What the parts share.
#[derive(Clone)]
pub struct Shared {
    pub store: SqlStore,
    pub domains: Arc<Domains>,
    pub credentials: Arc<Credentials>,
    pub location: Arc<registrar::LocationTable>,
    pub spine: cluster::Spine,
    pub calls: OpenCalls,
    pub relay: Relay,
    pub gauges: Arc<Gauges>,
    pub router: RouterSnapshot,
    pub shards: Arc<Vec<net::ShardHandle<Note>>>,
    pub tls: ServerTls,
    pub https_port: u16,
}

/// Runs the server until it is told to stop.
pub async fn run(data: &Path, args: &ServeArgs) -> Result<()> {
    let config = load_config(args)?;
    crate::logging::init(&config.log)?;
    net::install_crypto();
    make_private(data)?;
    let addresses = Addresses::new(&config, args);
    let domain = first_domain(&config, args, &addresses);
    let (store, first) = open_store(data, &domain).await?;
    let domains = Arc::new(Domains::new(addresses.ours()));
    let credentials = Arc::new(Credentials::new());
    take_over(&store, &domains, &credentials).await?;
    let tls = open_tls(data, &config, &addresses, &domains)?;
    let wall = present::wall();
    let spine = cluster::Spine::open(&data.join("spine"), cluster::SpineConfig::default(), wall)?;
    let keeper = RecordKeeper::open(&spine, Arc::new(store.clone()), wall).await?;
    let calls = keeper.open_calls();
    let keeping = tokio::spawn(keeper.run());
    let shard_count = shard_count(&config);
    let location = open_location(data, &config, shard_count, wall)?;
    let notify: Arc<OnceLock<Arc<Vec<net::ShardHandle<Note>>>>> = Arc::default();
    let relay = start_relay(&config, &addresses, &notify)?;
    let services = Arc::new(Services::default());
    let router = RouterSnapshot {
        domains: Arc::clone(&domains),
        credentials: Arc::clone(&credentials),
        table: Arc::clone(location.table()),
        services: Arc::clone(&services),
    };
    let gauges = Arc::new(Gauges::default());
    let roles = Roles { relay: relay.clone(), spine: spine.clone(), gauges: Arc::clone(&gauges) };
    let parts = CoreParts {
        keys: crate::keys::load(data)?,
        edge: config.edge.clone(),
        addresses: addresses.clone(),
        https_port: config.ports.https,
        router: router.clone(),
        location: Arc::new(location),
        roles,
    };
    let table = Arc::clone(parts.location.table());
    let shards = start_shards(&config, &addresses, shard_count, &tls, parts)?;
    let handles = Arc::new(shards.handles().to_vec());
    // The relay speaks only of sessions that shards made: this is set before the first one.
    let _ = notify.set(Arc::clone(&handles));
    let https = HttpServer::bind(
        addresses.https(&config),
        HttpOptions {
            tls: Some(tls.https_config()),
            websockets: Some(shards.websocket_door()),
            ..HttpOptions::default()
        },
    )?;
    let metrics = HttpServer::bind(config.ports.metrics, HttpOptions::default())?;
    let pbx = start_services(&config, &addresses, &services)?;
    let shared = Shared {
        store,
        domains,
        credentials,
        location: table,
        spine,
        calls,
        relay,
        gauges,
        router,
        shards: handles,
        tls: tls.clone(),
        https_port: https.local_addr().port(),
    };
    let places = places(&addresses, &config, &https, &metrics);
    let console = tokio::spawn(serve_console(https, shared.clone()));
    let observed = Observed::new(shared.clone());
    let watching = tokio::spawn(crate::metrics::serve(metrics, observed.clone()));
    let answering = shared.clone();
    control::listen(data, move |request| handle_control(answering.clone(), request))?;
    publish(&tls, &config);
    tokio::spawn(tls.keep_fresh());
    tokio::spawn(housekeeping(shared.clone()));
    first_run::show(&places, first.as_ref());
    tracing::info!(console = places.console, "serving");
    let outcome = tokio::select! {
        () = stop_signal() => Ok(()),
        () = shards.failed() => Err(anyhow!("a signalling shard failed; see the log above")),
    };
    observed.stop();
    tracing::info!("stopping: no new calls, those in progress may end");
    if outcome.is_ok() && !shards.drain(DRAIN).await {
        tracing::warn!("calls still in progress are cut");
        hang_up_all(&shared).await;
    }
    console.abort();
    watching.abort();
    drop(pbx);
    tokio::task::spawn_blocking(move || shards.shutdown()).await?;
    shared.spine.stop();
    keeping.await?;
    shared.store.close().await;
    // A socket file without a server only confuses.
    let _ = std::fs::remove_file(control::socket_path(data));
    outcome
}

/// The configuration of `--config`, or the defaults.
pub fn load_config(args: &ServeArgs) -> Result<Config> {
    match &args.config {
        Some(file) => Ok(Config::load(file)?),
        None => Ok(Config::default()),
    }
}

/// Makes the data folder, for its owner only.
pub fn make_private(data: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.with_context(|| {
        format!("{}: the data folder cannot be made; choose another with --data", data.display())
    })
}

fn first_domain(config: &Config, args: &ServeArgs, addresses: &Addresses) -> String {
    let named = args.domain.clone().or_else(|| config.domain.clone());
    named.unwrap_or_else(|| addresses.advertised.to_string())
}

async fn open_store(data: &Path, domain: &str) -> Result<(SqlStore, Option<FirstRun>)> {
    let store = SqlStore::open(data).await?;
    let mut entropy = net::OsEntropy;
    let first = store::bootstrap(&store, &mut entropy, present::wall(), domain).await?;
    Ok((store, first))
}

/// Takes tenants and users over from the store.
pub async fn take_over(
    store: &dyn Store,
    domains: &Domains,
    credentials: &Arc<Credentials>,
) -> Result<()> {
    let tenants = store.tenants().await?.into_iter().map(|t| t.domain).collect();
    domains.set(tenants, credentials);
    credentials.reload(store).await?;
    Ok(())
}

fn open_tls(
    data: &Path,
    config: &Config,
    addresses: &Addresses,
    domains: &Domains,
) -> Result<ServerTls> {
    let files = config.tls.certificate.clone().zip(config.tls.key.clone());
    let files = files.map(|(cert, key)| net::CertificateFiles { cert, key });
    let mut addrs: Vec<IpAddr> = addresses.interfaces.iter().map(|i| i.bind).collect();
    addrs.extend(addresses.ours());
    let names = domains.tenants();
    let tls = TlsConfig { dir: data.join("tls"), names, addrs, files };
    Ok(ServerTls::open(tls, present::wall())?)
}

fn shard_count(config: &Config) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.shards.unwrap_or_else(|| u16::try_from(cores.clamp(1, 16)).unwrap_or(1))
}

fn open_location(
    data: &Path,
    config: &Config,
    shards: u16,
    wall: sansio::WallTime,
) -> Result<Location> {
    let settings = LocationConfig {
        shards: usize::from(shards),
        limits: config.registrar.limits(),
        ..LocationConfig::default()
    };
    let location = Location::open(&data.join("location"), settings, wall)?;
    tracing::info!(bindings = location.loaded(), "locations loaded");
    Ok(location)
}

fn start_relay(
    config: &Config,
    addresses: &Addresses,
    notify: &Arc<OnceLock<Arc<Vec<net::ShardHandle<Note>>>>>,
) -> Result<Relay> {
    let mut interfaces: Vec<relay::Interface> = addresses
        .interfaces
        .iter()
        .map(|i| relay::Interface { name: i.name.clone(), bind: i.bind, advertise: i.advertise })
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
        ..relay::Config::default()
    };
    let shards = Arc::clone(notify);
    let tell = move |event: RelayEvent| {
        tracing::debug!(?event, "relay");
        if let (RelayEvent::MediaSilent { session }, Some(shards)) = (event, shards.get()) {
            // The session does not say which shard tracks it; the others know no such call.
            for shard in shards.iter() {
                // A shard too busy to hear it is told again at the next silence.
                let _ = shard.notify(Note::MediaSilent(session.0));
            }
        }
    };
    Relay::start(settings, tell).context("the media relay cannot start")
}

/// What every shard's core is made from.
struct CoreParts {
    keys: edge::Keys,
    edge: edge::Config,
    addresses: Addresses,
    https_port: u16,
    router: RouterSnapshot,
    location: Arc<Location>,
    roles: Roles,
}

impl CoreParts {
    fn core(&self, context: &ShardContext<Note>) -> Result<EdgeShard, edge::ConfigError> {
        let mut listeners: Vec<edge::Listener> = context
            .listeners
            .iter()
            .map(|l| edge::Listener {
                transport: l.transport,
                bind: l.bind,
                advertise: host_port(self.addresses.advertise(&l.interface), l.bind.port()),
            })
            .collect();
        for transport in [Transport::Wss, Transport::Ws] {
            listeners.push(edge::Listener {
                transport,
                bind: (self.addresses.interfaces[0].bind, self.https_port).into(),
                advertise: host_port(self.addresses.advertised, self.https_port),
            });
        }
        let place = Place {
            node: context.node,
            shard: context.shard,
            shards: context.shards,
            listeners,
        };
        let directory = DirectorySnapshot {
            domains: Arc::clone(&self.router.domains),
            credentials: Arc::clone(&self.router.credentials),
        };
        let snapshots = Snapshots {
            directory: Box::new(directory),
            locations: Box::new(LocationSnapshot(Arc::clone(&self.router.table))),
            router: Box::new(self.router.clone()),
        };
        let entropy = Box::new(net::OsEntropy);
        let core = EdgeCore::new(place, self.edge.clone(), &self.keys, snapshots, entropy)?;
        let present = Present { now: Instant::now(), wall: present::wall() };
        let location = self.location.shard(usize::from(context.shard));
        Ok(EdgeShard::new(core, location, self.roles.clone(), context.handle.clone(), present))
    }
}

fn start_shards(
    config: &Config,
    addresses: &Addresses,
    count: u16,
    tls: &ServerTls,
    parts: CoreParts,
) -> Result<Shards<Note>> {
    // Checked before, so that no shard can fail on it.
    parts.edge.algorithms()?;
    let mut settings = ShardsConfig::new();
    settings.shards = count;
    settings.tls = Some(tls.sip_config());
    for (interface, transport, bind) in addresses.sip(config) {
        settings = settings.listen(&interface, transport, bind);
    }
    let shards = Shards::start(settings, move |context| match parts.core(&context) {
        Ok(core) => core,
        Err(error) => unreachable!("the edge's configuration was checked: {error}"),
    })?;
    Ok(shards)
}

fn start_services(
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

async fn serve_console(https: HttpServer, shared: Shared) {
    let backend = Arc::new(ServerBackend::new(shared));
    let pages: admin::Pages = Arc::new(|path| {
        let asset = web::asset(path)?;
        let web::Asset { bytes, mime, etag, immutable } = asset;
        Some(admin::PageFile { bytes, mime, etag, immutable })
    });
    let options = admin::Options { pages: Some(pages), ..admin::Options::default() };
    let router = admin::router(backend, options).layer(axum::middleware::map_request(name_source));
    let service = hyper_util::service::TowerToHyperService::new(router);
    if let Err(error) = https.serve(service, std::future::pending()).await {
        tracing::error!(%error, "the console stopped");
    }
}

/// Tells the API who asks, for its limits.
async fn name_source(mut request: axum::extract::Request) -> axum::extract::Request {
    if let Some(client) = request.extensions().get::<ClientAddr>().copied() {
        request.extensions_mut().insert(admin::Source(client.peer.ip()));
    }
    request
}

async fn handle_control(shared: Shared, request: Request) -> Result<Value> {
    match request {
        Request::Ping => Ok(json!({ "version": env!("CARGO_PKG_VERSION") })),
        Request::Reload => {
            take_over(&shared.store, &shared.domains, &shared.credentials).await?;
            shared.tls.set_names(shared.domains.tenants(), present::wall())?;
            Ok(Value::Null)
        }
        Request::Registrations => Ok(crate::lists::registrations(&shared.location)),
        Request::Calls => Ok(serde_json::to_value(shared.calls.list())?),
        Request::Explain { from, to } => Ok(crate::lists::explain(&shared.router, &from, &to)),
    }
}

fn places(
    addresses: &Addresses,
    config: &Config,
    https: &HttpServer,
    metrics: &HttpServer,
) -> Places {
    let ip = addresses.advertised;
    let at = |port| host_port(ip, port);
    Places {
        console: format!("https://{}", at(https.local_addr().port())),
        sip: at(config.ports.sip),
        sips: at(config.ports.sips),
        metrics: format!("http://{}/metrics", metrics.local_addr()),
        program: std::env::args().next().unwrap_or_else(|| "whimbrel".into()),
    }
}

/// Leaves the authority's certificate where a phone on this machine finds it.
fn publish(tls: &ServerTls, config: &Config) {
    for port in [config.ports.sips, config.ports.https] {
        match tls.publish(port) {
            Ok(Some(path)) => tracing::info!(path = %path.display(), "authority published"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "phones here need --ca to trust this server"),
        }
    }
}

/// Once a minute: users changed by another process, links and sessions that are over.
async fn housekeeping(shared: Shared) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        let wall = present::wall();
        if let Err(error) = store::Admins::purge_expired(&shared.store, wall).await {
            tracing::warn!(%error, "expired sessions stay for now");
        }
        if let Err(error) =
            take_over(&shared.store, &shared.domains, &shared.credentials).await
        {
            tracing::warn!(%error, "users are as they were a minute ago");
        }
    }
}

async fn hang_up_all(shared: &Shared) {
    for call in shared.calls.list() {
        for shard in shared.shards.iter() {
            // The other shards know no such call.
            let _ = shard.notify(Note::HangUp(call.call));
        }
    }
    // Long enough for the BYEs to leave and the ends to be written.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Where the database of a data folder is, for messages.
pub fn database(data: &Path) -> PathBuf {
    data.join(store_sql::DATABASE_FILE)
}

