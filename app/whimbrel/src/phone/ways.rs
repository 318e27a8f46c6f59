//! The server by each transport of the account's policy.

use super::servers::{Servers, proves_another_name};
use super::setup::{Identity, Place};
use super::transports::{TransportList, TransportWay};
use crate::cli::PhoneArgs;
use crate::config::NameServer;
use anyhow::{Result, anyhow};
use net::NetError;
use net::client::Endpoint;
use sansio::Transport;
use sip::locate::Ask;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Where the server is, by each transport; never empty.
#[derive(Debug, Clone)]
pub struct Ways(Vec<(Transport, Servers)>);

impl Ways {
    /// From the command line: what it names, what DNS says serves the domain, or the domain's own
    /// addresses.
    ///
    /// # Errors
    /// A server that is no name or has no address, an authority that cannot be read.
    pub async fn find(args: &PhoneArgs, who: &Identity) -> Result<Self> {
        let mut ways = Vec::new();
        for way in ports_of(args)? {
            let found = match args.server {
                None => by_domain(args, who, way).await?,
                Some(_) => None,
            };
            let servers = match found {
                Some(servers) => servers,
                None => by_address(args, who, way).await?,
            };
            ways.push((way.transport, servers));
        }
        Ok(Self(ways))
    }

    /// The transports, most wanted first.
    pub fn order(&self) -> Vec<Transport> {
        self.0.iter().map(|(transport, _)| *transport).collect()
    }

    /// Where the server is by a transport of the policy.
    pub fn by(&self, transport: Transport) -> Servers {
        let found = self.0.iter().find(|(other, _)| *other == transport).or(self.0.first());
        // `find` makes at least one, since a policy is never empty.
        found.map_or(Servers::Fixed { endpoints: Vec::new(), or_named: None }, |(_, s)| s.clone())
    }

    /// One transport at these addresses.
    #[cfg(test)]
    pub fn fixed(transport: Transport, endpoints: Vec<Endpoint>) -> Self {
        Self(vec![(transport, Servers::Fixed { endpoints, or_named: None })])
    }

    /// Several ways.
    #[cfg(test)]
    pub fn several(ways: Vec<(Transport, Servers)>) -> Self {
        Self(ways)
    }
}

/// The policy; the port of `--server` is that of its first transport.
fn ports_of(args: &PhoneArgs) -> Result<Vec<TransportWay>> {
    let list: &TransportList = &args.transport;
    let mut ways = list.ways().to_vec();
    if let (Some(server), [first, ..]) = (&args.server, &mut ways[..]) {
        let place = Place::parse(server).map_err(|e| e.context("--server"))?;
        first.port = first.port.or(place.port);
    }
    Ok(ways)
}

async fn by_address(args: &PhoneArgs, who: &Identity, way: TransportWay) -> Result<Servers> {
    let (mut place, field) = match &args.server {
        Some(server) => (Place::parse(server).map_err(|e| e.context("--server"))?, "--server"),
        None => (Place::parse(&who.domain)?, "the domain of --account"),
    };
    place.port = None;
    let ips: Vec<IpAddr> = place.resolve(1, field).await?.iter().map(SocketAddr::ip).collect();
    let given = way.port.map(|port| vec![port]);
    let mut endpoints = Vec::new();
    for port in given.as_deref().unwrap_or(way.usual_ports()) {
        let tls = match way.transport.is_secure() {
            true => Some(tls(args.ca.clone(), *port)?),
            false => None,
        };
        endpoints.extend(ips.iter().map(|ip| Endpoint {
            name: place.host.clone(),
            tls: tls.clone(),
            ..Endpoint::new(way.transport, SocketAddr::new(*ip, *port))
        }));
    }
    // The certificate of a server for many domains may prove the account's alone (RFC 5922 §4).
    let domain = who.domain.trim_matches(['[', ']']).to_string();
    let or_named = args.server.is_some().then_some(domain);
    Ok(Servers::Fixed { endpoints, or_named })
}

/// What DNS says serves the domain. `None` for a domain without servers of its own in DNS, for
/// addresses, for a port that was named, and for WSS, whose port here is not the web's.
async fn by_domain(args: &PhoneArgs, who: &Identity, way: TransportWay) -> Result<Option<Servers>> {
    let name_server = match &args.dns {
        Some(text) => Some(NameServer::try_from(text.clone()).map_err(|e| anyhow!("--dns {e}"))?),
        None => None,
    };
    let Ok(mut ask) = Ask::host(&who.domain) else { return Ok(None) };
    if ask.literal().is_some() || way.transport == Transport::Wss || way.port.is_some() {
        return Ok(None);
    }
    ask.transport = Some(way.transport);
    let servers = name_server.into_iter().map(|server| server.0).collect();
    let config = net::LocatorConfig { servers, ..net::LocatorConfig::default() };
    let Ok(locator) = net::Locator::start(config) else { return Ok(None) };
    if let Err(error) = locator.find(ask.clone()).await {
        tracing::info!(%error, "asking the system for the domain's addresses");
        return Ok(None);
    }
    let tls = match way.transport.is_secure() {
        true => Some(tls(args.ca.clone(), way.usual_ports()[0])?),
        false => None,
    };
    let anywhere = Endpoint::new(way.transport, SocketAddr::from(([0, 0, 0, 0], 0)));
    let like = Box::new(Endpoint { name: who.domain.clone(), tls, ..anywhere });
    Ok(Some(Servers::Found { locator, ask: Box::new(ask), like }))
}

/// Trusts the system's authorities, `--ca`, and a server of ours on this machine.
pub fn tls(ca: Option<PathBuf>, port: u16) -> Result<Arc<rustls::ClientConfig>> {
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

/// What to do about a server that cannot be reached.
pub fn explained(error: NetError) -> anyhow::Error {
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
