//! `whimbrel serve`: every role in one process, started in the order they need each other, and all
//! of them or none.

use crate::accounts;
use crate::addresses::{Addresses, host_port};
use crate::cli::ServeArgs;
use crate::conduct::Watch;
use crate::config::Config;
use crate::control;
use crate::first_run::{self, Newcomer, Places};
use crate::kept_bans::KeptBans;
use crate::metrics::Observed;
use crate::present;
use crate::recordings::Recorded;
use crate::reload::{self, Reloader};
use crate::wiring::{Domains, Gauges, MediaSides, Roles, RouterSnapshot};
use anyhow::{Context, Result, anyhow};
use edge::Note;
use net::http::{HttpOptions, HttpServer};
use net::{ServerTls, Shards};
use records::{OpenCalls, RecordKeeper};
use relay::Relay;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{Credentials, Store};
use store_sql::SqlStore;
use tokio::task::JoinHandle;

mod console;
mod precedence;
mod roles;

pub use console::{forget_removed, pause_recording};

/// How long calls may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);

/// What the parts share.
#[derive(Clone)]
pub struct Shared {
    pub store: SqlStore,
    pub domains: Arc<Domains>,
    pub credentials: Arc<Credentials>,
    pub location: Arc<registrar::LocationTable>,
    /// To remove the bindings of users that are gone.
    pub registrar: registrar::LocationShard,
    pub spine: cluster::Spine,
    pub calls: OpenCalls,
    pub relay: Relay,
    pub gauges: Arc<Gauges>,
    pub gate: net::Gate,
    pub kept_bans: KeptBans,
    pub conduct: Watch,
    pub router: RouterSnapshot,
    pub shards: Arc<Vec<net::ShardHandle<Note>>>,
    pub tls: ServerTls,
    /// What the TURN server counts, if there is one.
    pub turn: Option<Arc<relay::turn::Shared>>,
    /// Where calls are recorded.
    pub recorded: Option<Arc<Recorded>>,
}

/// A server with every part running.
struct Running {
    shared: Shared,
    shards: Shards<Note>,
    pbx: pbx::Services,
    turn: Option<relay::turn::Turn>,
    keeping: JoinHandle<()>,
    https: Vec<HttpServer>,
    ws: Option<HttpServer>,
    metrics: HttpServer,
}

/// Runs the server until it is told to stop.
pub async fn run(data: &Path, args: &ServeArgs) -> Result<()> {
    let config = load_config(args)?;
    let log = crate::logging::init(&config.log)?;
    net::install_crypto();
    make_private(data)?;
    let addresses = Addresses::new(&config, args);
    let Running { shared, shards, pbx, turn, keeping, https, ws, metrics } =
        start(data, &config, &addresses).await?;
    // Only now, when nothing can fail any more: what is shown once must be shown.
    let domain = first_domain(&config, args, &addresses);
    let newcomer = bootstrap(&shared, &domain, config.edge.core.is_none()).await?;
    let places = places(&addresses, &config, &https, &metrics);
    let console = tokio::spawn(console::serve(https, shared.clone()));
    let ws = ws.map(|ws| tokio::spawn(console::serve_ws(ws)));
    let observed = Observed::new(shared.clone());
    let watching = tokio::spawn(crate::metrics::serve(metrics, observed.clone()));
    let reloader = Reloader::new(
        args.config.clone(),
        config.clone(),
        log,
        (shared.tls.clone(), Arc::clone(&shared.domains)),
        Arc::clone(&shared.shards),
    );
    console::answer_commands(data, &shared, &reloader)?;
    precedence::step_back();
    tokio::spawn(reload::on_hangup(reloader));
    publish(&shared.tls, &config);
    tokio::spawn(shared.tls.clone().keep_fresh());
    tokio::spawn(console::housekeeping(shared.clone()));
    tokio::spawn(console::tell_bans(shared.clone()));
    tokio::spawn(crate::conduct::follow(shared.clone()));
    first_run::show(&places, &newcomer);
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
    if let Some(ws) = ws {
        ws.abort();
    }
    watching.abort();
    drop(pbx);
    drop(turn);
    tokio::task::spawn_blocking(move || shards.shutdown()).await?;
    shared.spine.stop();
    keeping.await?;
    shared.store.close().await;
    // A socket file without a server only confuses.
    let _ = std::fs::remove_file(control::socket_path(data));
    outcome
}

/// Starts the roles in the order they need each other. On an error nothing keeps running, and
/// nothing was promised to anybody.
async fn start(data: &Path, config: &Config, addresses: &Addresses) -> Result<Running> {
    let store = SqlStore::open(data).await?;
    let domains = Arc::new(Domains::new(addresses.ours()).with_peers(&config.peer));
    let (wall, credentials) = (present::wall(), Arc::new(Credentials::new()));
    take_over(&store, &domains, &credentials).await?;
    let tls = roles::open_tls(data, config, addresses, &domains)?;
    let spine = cluster::Spine::open(&data.join("spine"), cluster::SpineConfig::default(), wall)?;
    let keeper = RecordKeeper::open(&spine, Arc::new(store.clone()), wall).await?;
    let (calls, keeping) = (keeper.open_calls(), tokio::spawn(keeper.run()));
    let location = roles::open_location(data, config, wall)?;
    let registrar = location.shard(0);
    let (relay, handles_of_relay) = roles::start_relay(config, addresses, &spine)?;
    let router = RouterSnapshot {
        domains: Arc::clone(&domains),
        credentials: Arc::clone(&credentials),
        table: Arc::clone(location.table()),
        services: Arc::default(),
    };
    let (gauges, conduct) = (Arc::<Gauges>::default(), Watch::new(&config.edge.conduct));
    let (gate, kept_bans) = roles::make_gate(data, config)?;
    let (keys, guesses) = (crate::keys::load(data)?, &config.edge.guesses);
    let locator = roles::start_locator(config, addresses)?;
    let srs = roles::srs_parts(config, &tls, &locator, &handles_of_relay)?;
    let recorded = Recorded::start(data, &config.recording, (&relay, &spine), srs)?;
    let parts = roles::CoreParts {
        attempts: edge::Attempts::new(guesses, config.edge.limit_loopback, &keys.nonce),
        standings: conduct.standings(),
        keys,
        edge: config.edge.clone(),
        addresses: addresses.clone(),
        ports: (config.ports.https, config.ports.ws),
        router: router.clone(),
        location: Arc::new(location),
        roles: Roles {
            relay: relay.clone(),
            recorded: recorded.clone(),
            sides: MediaSides::new(&addresses.interfaces, &config.media),
            spine: spine.clone(),
            gauges: Arc::clone(&gauges),
            locator,
            gate: gate.clone(),
        },
    };
    let shards = roles::start_shards(config, addresses, &tls, parts)?;
    let handles = roles::hand_out(&shards, &handles_of_relay);
    let (https, ws) = roles::bind_web(config, addresses, &tls, &shards)?;
    let metrics = HttpServer::bind(config.ports.metrics, HttpOptions::default())?;
    let pbx = roles::start_services(config, addresses, &router.services)?;
    let turn = crate::turn::start(config, addresses, (&tls, &credentials))?;
    let shared = Shared {
        store,
        domains,
        credentials,
        location: Arc::clone(&router.table),
        registrar,
        spine,
        calls,
        relay,
        gauges,
        gate,
        kept_bans,
        conduct,
        router,
        shards: handles,
        tls,
        turn: turn.as_ref().map(relay::turn::Turn::watch),
        recorded,
    };
    Ok(Running { shared, shards, pbx, turn, keeping, https, ws, metrics })
}

/// On the first start: a tenant, two people, an administrator's link. Where tenants were added
/// before it, the link alone.
async fn bootstrap(shared: &Shared, domain: &str, has_users: bool) -> Result<Newcomer> {
    let wall = present::wall();
    let first = match has_users {
        true => store::bootstrap(&shared.store, &mut net::OsEntropy, wall, domain).await?,
        // The users of an access edge are the core's.
        false => None,
    };
    if let Some(first) = first {
        take_over(&shared.store, &shared.domains, &shared.credentials).await?;
        shared.tls.set_names(shared.domains.tenants(), wall)?;
        return Ok(Newcomer::FirstStart(first));
    }
    if store::Admins::admins(&shared.store).await?.is_empty() {
        return Ok(Newcomer::Administrator(accounts::admin_link(&shared.store).await?));
    }
    Ok(Newcomer::Nobody)
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

/// Takes tenants and users over from the store. True if users are gone since the last time.
pub async fn take_over(
    store: &dyn Store,
    domains: &Domains,
    credentials: &Arc<Credentials>,
) -> Result<bool> {
    let tenants = store.tenants().await?.into_iter().map(|t| t.domain).collect();
    domains.set(tenants, credentials);
    domains.numbers.reload(store).await?;
    Ok(credentials.reload(store).await?.removed > 0)
}

fn places(
    addresses: &Addresses,
    config: &Config,
    https: &[HttpServer],
    metrics: &HttpServer,
) -> Places {
    let https = https.first().map_or(config.ports.https, |first| first.local_addr().port());
    let ip = addresses.advertised;
    let at = |port| host_port(ip, port);
    Places {
        console: format!("https://{}", at(https)),
        sip: at(config.ports.sip),
        sips: at(config.ports.sips),
        metrics: format!("http://{}/metrics", metrics.local_addr()),
        program: std::env::args().next().unwrap_or_else(|| "whimbrel".into()),
    }
}

/// Leaves the authority's certificate where a phone on this machine finds it.
fn publish(tls: &ServerTls, config: &Config) {
    let turn = config.turn.enabled.then_some(config.turn.tls_port);
    for port in [config.ports.sips, config.ports.https].into_iter().chain(turn) {
        match tls.publish(port) {
            Ok(Some(path)) => tracing::info!(path = %path.display(), "authority published"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "phones here need --ca to trust this server"),
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

/// SIGTERM or Ctrl-C.
pub async fn stop_signal() {
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
