//! `whimbrel phone`: a phone in the terminal, or headless for scripts.
//!
//! ```text
//!   run ── setup: account, server, codecs ── instance ── link: connect
//!    └── Driver (engine + sockets + clock + sound) ── screen | headless
//! ```
//!
//! Start reading at [`run`], then `driver.rs`.

mod card;
mod driver;
mod headless;
mod instance;
mod link;
mod pace;
mod report;
mod screen;
mod servers;
mod setup;
mod signals;
mod sound;
mod texting;
mod transferring;

use crate::accounts::read_password;
use crate::cli::PhoneArgs;
use crate::config::NameServer;
use ::phone::{Account, Config, Phone};
use anyhow::{Result, anyhow, bail};
use driver::{Driver, Sound};
use instance::Instance;
use net::NetError;
use net::client::{ClientTransport, Endpoint};
use sansio::{Redacted, Transport};
use servers::Servers;
use setup::{Identity, Place};
use sip::locate::Ask;
use sound::{Sink, Source};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Runs the phone to its end. False when what was asked for did not come about (exit code 1).
///
/// # Errors
/// A field that makes no sense, a server that cannot be found, reached or trusted, an account it
/// refuses: with the value and the remedy.
pub async fn run(args: PhoneArgs) -> Result<bool> {
    let started = Instant::now();
    let texting = args.message.is_some();
    let headless =
        args.call.is_some() || args.answer || args.json || args.seconds.is_some() || texting;
    if !headless && !std::io::stdout().is_terminal() {
        bail!("the phone's screen needs a terminal; without one give --call URI or --answer");
    }
    net::install_crypto();
    let identity = Identity::parse(&args.account)?;
    let password = read_password(&args.password_file)?;
    let sound = Sound::new(Source::from_args(&args, headless)?, Sink::from_args(&args, headless)?);
    let notice = no_card(&sound);
    let (servers, endpoint, link) = connect(&args, &identity).await?;
    let account = format!("{}@{}", identity.user, identity.domain);
    // Kept to the end: it holds the lock on the instance.
    let instance = Instance::of(&account);
    let account = Account {
        user: identity.user,
        domain: identity.domain,
        password: Redacted::new(password),
        display_name: String::new(),
        instance: instance.urn.clone(),
    };
    let server = format!("{} {}", endpoint.transport, endpoint.addr);
    let config = Config { codecs: setup::codecs(args.codec), ..Config::default() };
    let mut phone = Phone::new(account, config, Box::new(net::OsEntropy));
    phone.register(started);
    let driver = Driver::start(phone, servers, link, sound);
    match headless {
        true if texting => texting::run(driver, &args).await,
        true => headless::run(driver, &args, started).await,
        false => screen::run(driver, server, notice).await,
    }
}

/// What the screen says where nothing can be said or heard.
fn no_card(sound: &Sound) -> Option<String> {
    let missing = match (&sound.source, &sound.sink) {
        (Source::Silence, Sink::Nowhere) => "no sound card",
        (Source::Silence, _) => "no microphone",
        (_, Sink::Nowhere) => "no loudspeaker",
        _ => return None,
    };
    let remedy = match cfg!(feature = "audio-device") {
        true => "connect one, or use --play, --tone and --record",
        false => "built without audio-device; use --play, --tone, --record",
    };
    Some(format!("{missing}: {remedy}"))
}

/// Connects to the first of the server's addresses that answers, and proves to be the server (or
/// the domain) that was asked for.
async fn connect(args: &PhoneArgs, who: &Identity) -> Result<(Servers, Endpoint, ClientTransport)> {
    if args.server.is_none()
        && let Some(found) = connect_by_domain(args, who).await?
    {
        return Ok(found);
    }
    let transport = setup::transport(args.transport);
    let (place, field) = match &args.server {
        Some(server) => (Place::parse(server).map_err(|e| e.context("--server"))?, "--server"),
        None => (Place::parse(&who.domain)?, "the domain of --account"),
    };
    let addresses = place.resolve(setup::default_port(transport), field).await?;
    let tls = match transport.is_secure() {
        true => Some(tls(args.ca.clone(), addresses[0].port())?),
        false => None,
    };
    let endpoints = |name: &str| -> Vec<Endpoint> {
        let endpoint = |addr| Endpoint {
            name: name.trim_matches(['[', ']']).to_string(),
            tls: tls.clone(),
            ..Endpoint::new(transport, addr)
        };
        addresses.iter().copied().map(endpoint).collect()
    };
    let mut named = endpoints(&place.host);
    let connected = match link::connect_any(&named).await {
        // The certificate of a server for many domains may prove the account's alone (RFC 5922 §4).
        Err(error) if args.server.is_some() && proves_another_name(&error) => {
            named = endpoints(&who.domain);
            link::connect_any(&named).await.map_err(|_| error)
        }
        connected => connected,
    };
    let (endpoint, link) = connected.map_err(explained)?;
    Ok((Servers::Fixed(named), endpoint, link))
}

/// Connects to what DNS says serves the domain. `None` for a domain without servers of its own in
/// DNS, for addresses, and for WSS, whose port here is not the web's: the domain's own addresses
/// are then tried, as the system finds them.
async fn connect_by_domain(
    args: &PhoneArgs,
    who: &Identity,
) -> Result<Option<(Servers, Endpoint, ClientTransport)>> {
    let transport = setup::transport(args.transport);
    let name_server = match &args.dns {
        Some(text) => Some(NameServer::try_from(text.clone()).map_err(|e| anyhow!("--dns {e}"))?),
        None => None,
    };
    let Ok(mut ask) = Ask::host(&who.domain) else { return Ok(None) };
    if ask.literal().is_some() || transport == Transport::Wss {
        return Ok(None);
    }
    ask.transport = Some(transport);
    let servers = name_server.into_iter().map(|server| server.0).collect();
    let config = net::LocatorConfig { servers, ..net::LocatorConfig::default() };
    let Ok(locator) = net::Locator::start(config) else { return Ok(None) };
    if let Err(error) = locator.find(ask.clone()).await {
        tracing::info!(%error, "asking the system for the domain's addresses");
        return Ok(None);
    }
    let tls = match transport.is_secure() {
        true => Some(tls(args.ca.clone(), setup::default_port(transport))?),
        false => None,
    };
    let anywhere = Endpoint::new(transport, std::net::SocketAddr::from(([0, 0, 0, 0], 0)));
    let like = Box::new(Endpoint { name: who.domain.clone(), tls, ..anywhere });
    let servers = Servers::Found { locator, ask: Box::new(ask), like };
    let (endpoint, link) = servers
        .connect()
        .await
        .map_err(|error| error.downcast::<NetError>().map_or_else(|other| other, explained))?;
    Ok(Some((servers, endpoint, link)))
}

/// Trusts the system's authorities, `--ca`, and a server of ours on this machine.
fn tls(ca: Option<PathBuf>, port: u16) -> Result<Arc<rustls::ClientConfig>> {
    let given: Vec<PathBuf> = ca.into_iter().collect();
    if let Some(published) = net::published_ca(port) {
        let all: Vec<PathBuf> = given.iter().cloned().chain([published]).collect();
        match net::client_config(&all, true) {
            Ok(config) => return Ok(config),
            // What somebody else left there must not stop us.
            Err(error) => tracing::info!(%error, "the published authority is left out"),
        }
    }
    Ok(net::client_config(&given, true)?)
}

fn proves_another_name(error: &NetError) -> bool {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
    let NetError::Untrusted { source: rustls::Error::InvalidCertificate(why), .. } = error else {
        return false;
    };
    matches!(why, NotValidForName | NotValidForNameContext { .. })
}

/// What to do about a server that cannot be reached.
fn explained(error: NetError) -> anyhow::Error {
    let remedy = match &error {
        NetError::Connect { transport: Transport::Udp | Transport::Tcp, .. } => {
            "check that the server runs, and --server and --transport"
        }
        NetError::Connect { .. } => {
            "check that the server runs and speaks TLS there, and --server and --transport"
        }
        NetError::Untrusted { .. } if proves_another_name(&error) => {
            "name the server as its certificate does, with --server"
        }
        // Its text has the remedy; the cause is in it and need not be said twice.
        _ => return anyhow!("{error}"),
    };
    anyhow!("{error}: {remedy}")
}
