//! `whimbrel turn`: the TURN server alone; and the one inside `whimbrel serve`.

use crate::addresses::Addresses;
use crate::cli::TurnArgs;
use crate::config::{self, Config};
use crate::{accounts, logging, present, serve};
use anyhow::{Context, Result, bail};
use net::{ServerTls, TlsConfig};
use relay::turn::{
    Account, Accounts, NamedUsers, RelayAddress, SharedSecret, Turn, TurnAccess, TurnConfig,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Credentials;

/// Runs it until told to stop.
pub async fn run(data: &Path, args: &TurnArgs) -> Result<()> {
    logging::init(&config::Log::default())?;
    net::install_crypto();
    let mut users = NamedUsers::default();
    let given = args.user.iter().cloned().chain(users_in(args.users_file.as_deref())?);
    let mut count = 0;
    for line in given {
        let Some((user, password)) = line.split_once(':') else {
            bail!("'{line}' is no user; write USER:PASSWORD");
        };
        users = users.with(user, &args.realm, password);
        count += 1;
    }
    let secret = args.secret_file.as_deref().map(secrets_in).transpose()?;
    if count == 0 && secret.is_none() {
        bail!("nobody could use it: give --user, --users-file or --secret-file");
    }
    let tls = match args.listen_tls.is_empty() {
        true => None,
        false => Some(open_tls(data, args)?),
    };
    let access = TurnAccess { accounts: Arc::new(users), secret, tls };
    let turn = Turn::start(alone(args)?, access).context("the TURN server cannot start")?;
    let places: Vec<String> = turn.addresses().iter().map(SocketAddr::to_string).collect();
    present::say(&format!("TURN on {}", places.join(", ")));
    if !turn.is_steered() {
        present::complain(
            "each relayed port has a socket of its own; with CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW it would cost a third",
        );
    }
    serve::stop_signal().await;
    Ok(())
}

/// The settings of the command line.
fn alone(args: &TurnArgs) -> Result<TurnConfig> {
    let defaults = TurnConfig::default();
    let given: Vec<RelayAddress> = args.relay_ip.iter().map(|relay| relay.0).collect();
    let relays = match given.is_empty() {
        true => relays_of(args.listen.iter().chain(&args.listen_tls).map(SocketAddr::ip)),
        false => given,
    };
    let (port_min, port_max) = (args.relay_ports.0, args.relay_ports.1);
    let own = relays.iter().flat_map(|relay| [relay.bind, relay.advertise]).collect();
    let mut limits = defaults.limits;
    limits.allocations_max = args.allocations;
    limits.per_user = args.per_user;
    limits.per_tenant = args.allocations;
    Ok(TurnConfig {
        listen: concrete(args.listen.iter().copied()),
        listen_tls: concrete(args.listen_tls.iter().copied()),
        relays,
        port_min,
        port_max,
        threads: args.threads,
        realm: args.realm.clone(),
        batch: Duration::from_micros(args.batch_us.into()),
        steer: true,
        peers: relay::turn::PeerPolicy {
            allow: args.allow_peer.clone(),
            deny: args.deny_peer.clone(),
            own,
            own_ports: vec![port_min..=port_max],
        },
        alternate: args.alternate,
        limits,
    })
}

/// The server inside `whimbrel serve`, if the configuration has one.
pub fn start(
    config: &Config,
    addresses: &Addresses,
    (tls, credentials): (&ServerTls, &Arc<Credentials>),
) -> Result<Option<Turn>> {
    let turn = &config.turn;
    if !turn.enabled {
        return Ok(None);
    }
    let at = |port: u16| concrete(addresses.interfaces.iter().map(|i| (i.bind, port).into()));
    let mut relays: Vec<RelayAddress> = Vec::new();
    for interface in &addresses.interfaces {
        let bind = own_address(interface.bind);
        let advertise = interface.advertise.unwrap_or(bind);
        if !relays.iter().any(|known| known.bind.is_ipv4() == bind.is_ipv4()) {
            relays.push(RelayAddress { bind, advertise });
        }
    }
    let rtp = (config.ports.rtp_min, config.ports.rtp_max);
    let realm = turn.realm.clone().or_else(|| config.domain.clone());
    let settings = TurnConfig {
        listen: at(turn.port),
        listen_tls: at(turn.tls_port),
        relays,
        port_min: turn.relay_min,
        port_max: turn.relay_max,
        threads: turn.threads.unwrap_or(0),
        realm: realm.unwrap_or_else(|| addresses.advertised.to_string()),
        batch: Duration::from_micros(turn.batch_us.into()),
        steer: true,
        // The lists were read when the configuration was.
        peers: turn.peers(addresses.ours(), rtp).unwrap_or_default(),
        alternate: turn.alternate,
        limits: turn.limits(),
    };
    let accounts = Arc::new(OfTheStore(Arc::clone(credentials)));
    let secret = turn.secret_file.as_deref().map(secrets_in).transpose()?;
    let access = TurnAccess { accounts, secret, tls: Some(tls.clone()) };
    let started = Turn::start(settings, access).context("the TURN server cannot start")?;
    tracing::info!(at = ?started.addresses(), steered = started.is_steered(), "TURN");
    Ok(Some(started))
}

/// Users with their SIP passwords: the key of TURN is the HA1 of digest authentication.
struct OfTheStore(Arc<Credentials>);

impl Accounts for OfTheStore {
    fn find(&self, username: &str, realm: &str) -> Option<Account> {
        let key = self.0.look(realm, username, |ha1| ha1.md5)?;
        let (user, tenant) = (username.to_owned(), realm.to_owned());
        Some(Account { key, user, tenant, expires: None })
    }
}

fn open_tls(data: &Path, args: &TurnArgs) -> Result<ServerTls> {
    serve::make_private(data)?;
    let files = args.certificate.clone().zip(args.key.clone());
    let files = files.map(|(cert, key)| net::CertificateFiles { cert, key });
    let addrs = args.listen_tls.iter().map(|addr| own_address(addr.ip())).collect();
    let (names, always) = (Vec::new(), Vec::new());
    let tls = TlsConfig { dir: data.join("tls"), names, always, addrs, files };
    Ok(ServerTls::open(tls, present::wall())?)
}

fn users_in(file: Option<&Path>) -> Result<Vec<String>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{}: the file of users cannot be read", file.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn secrets_in(file: &Path) -> Result<SharedSecret> {
    let text = accounts::read_password(file)
        .with_context(|| format!("{}: the secret of TURN", file.display()))?;
    Ok(SharedSecret::new(text.lines().filter(|line| !line.is_empty())))
}

/// Addresses to bind: a relay answers from the address it was reached at.
fn concrete(addrs: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for addr in addrs {
        let addr = SocketAddr::new(own_address(addr.ip()), addr.port());
        if !all.contains(&addr) {
            all.push(addr);
        }
    }
    all
}

/// One relay address of each family.
fn relays_of(addrs: impl Iterator<Item = IpAddr>) -> Vec<RelayAddress> {
    let mut relays: Vec<RelayAddress> = Vec::new();
    for bind in addrs.map(own_address) {
        if !relays.iter().any(|known| known.bind.is_ipv4() == bind.is_ipv4()) {
            relays.push(RelayAddress { bind, advertise: bind });
        }
    }
    relays
}

/// An address of this machine for one that stands for all of them.
fn own_address(ip: IpAddr) -> IpAddr {
    let (world, loopback): (IpAddr, IpAddr) = match ip {
        IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => {
            (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into())
        }
    };
    match ip.is_unspecified() {
        true => net::source_address(world).unwrap_or(loopback),
        false => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{CredentialChanges, CredentialEntry, Ha1Set};

    #[test]
    fn r6_6_users_of_the_realms_tenant_sign_in_with_their_sip_password() {
        let credentials = Arc::new(Credentials::new());
        let ha1 = Ha1Set::from_password("alice", "example.com", "secret");
        let (realm, user) = ("example.com".to_owned(), "alice".to_owned());
        let changed = vec![CredentialEntry { realm, user, ha1, version: 1 }];
        credentials.apply(CredentialChanges { version: 1, changed, removed: Vec::new() });
        let accounts = OfTheStore(credentials);
        let alice = accounts.find("alice", "example.com").unwrap();
        assert_eq!(alice.key, relay::turn::long_term_key("alice", "example.com", "secret"));
        assert_eq!((alice.tenant.as_str(), alice.expires), ("example.com", None));
        assert_eq!(accounts.find("alice", "other.example"), None);
        assert_eq!(accounts.find("bob", "example.com"), None);
    }

    #[test]
    fn a_wildcard_becomes_an_address_and_a_family_has_one_relay() {
        let any: Vec<SocketAddr> = vec!["0.0.0.0:3478".parse().unwrap()];
        let listen = concrete(any.iter().copied());
        assert!(!listen[0].ip().is_unspecified() && listen[0].port() == 3478);
        let ips = ["127.0.0.1", "127.0.0.2", "::1"].map(|ip| ip.parse().unwrap());
        let relays: Vec<IpAddr> = relays_of(ips.into_iter()).iter().map(|r| r.bind).collect();
        assert_eq!(relays, [ips[0], ips[2]]);
    }
}
