//! What `--ice` and `--turn` say: which servers help media through translators, and who we are there.

use super::setup::Place;
use super::ways::tls;
use crate::accounts::read_password;
use crate::cli::{IceArg, PhoneArgs};
use anyhow::{Result, anyhow, bail};
use ice::turn::Login;
use media::traversal::{SERVERS_MAX, TraversalConfig, TurnServer};
use net::client::Endpoint;
use sansio::Transport;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// How long a connection to a TURN server may take to stand.
const PATIENCE: Duration = Duration::from_secs(5);

/// The servers, and how to connect to them.
#[derive(Debug, Clone)]
pub struct Ice {
    wish: IceArg,
    servers: Vec<Server>,
}

#[derive(Debug, Clone)]
struct Server {
    turn: TurnServer,
    /// For TCP and TLS.
    endpoint: Option<Endpoint>,
}

/// A URI of RFC 7065: `turn:HOST[:PORT][?transport=udp|tcp]` or `turns:HOST[:PORT]`; `;cost=MS` behind
/// it has the server count as so much farther away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnUri {
    place: Place,
    transport: Transport,
    cost_ms: u16,
}

impl FromStr for TurnUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no TURN server: write turn:HOST[:PORT][?transport=udp|tcp] or \
                 turns:HOST[:PORT], and ;cost=MS behind it where it is to count as farther away"
            )
        };
        let (uri, cost_ms) = match text.split_once(";cost=") {
            Some((uri, cost)) => (uri, cost.parse().map_err(|_| wrong())?),
            None => (text, 0),
        };
        let (scheme, rest) = uri.split_once(':').ok_or_else(wrong)?;
        let (place, transport) = match rest.split_once("?transport=") {
            Some((place, transport)) => (place, Some(transport)),
            None => (rest, None),
        };
        let transport = match (scheme.to_ascii_lowercase().as_str(), transport) {
            ("turn", None | Some("udp")) => Transport::Udp,
            ("turn", Some("tcp")) => Transport::Tcp,
            ("turns", None | Some("tcp")) => Transport::Tls,
            _ => return Err(wrong()),
        };
        let place = Place::parse(place).map_err(|_| wrong())?;
        Ok(Self { place, transport, cost_ms })
    }
}

impl TurnUri {
    /// RFC 8656 §17: 3478, and 5349 over TLS.
    fn usual_port(&self) -> u16 {
        if self.transport == Transport::Tls { 5349 } else { 3478 }
    }
}

impl Ice {
    /// From the command line, the servers' addresses looked up.
    ///
    /// # Errors
    /// A server without an address, a password file that cannot be read.
    pub async fn find(args: &PhoneArgs, account: (&str, &str)) -> Result<Self> {
        let password = match &args.turn_password_file {
            Some(file) => read_password(file)?,
            None => account.1.to_string(),
        };
        let user = args.turn_user.clone().unwrap_or_else(|| account.0.to_string());
        let login = Login { user, password };
        let mut servers = Vec::new();
        for uri in &args.turn {
            let found = uri.place.resolve(uri.usual_port(), "--turn").await?;
            let transport = uri.transport;
            // Several addresses of a name are servers in several places; of one family, since a server
            // has the same to lend at its other one.
            let first = *found.first().ok_or_else(|| anyhow!("--turn has no address"))?;
            for addr in found.into_iter().filter(|addr| addr.is_ipv4() == first.is_ipv4()) {
                let turn =
                    TurnServer { addr, transport, login: login.clone(), cost_ms: uri.cost_ms };
                let tls = match transport.is_secure() {
                    true => Some(tls(args.ca.clone(), addr.port())?),
                    false => None,
                };
                let name = uri.place.host.clone();
                let like = Endpoint::new(transport, addr);
                let endpoint = Endpoint { name, tls, timeout: PATIENCE, ..like };
                let endpoint = (transport != Transport::Udp).then_some(endpoint);
                servers.push(Server { turn, endpoint });
            }
        }
        if servers.len() > SERVERS_MAX {
            bail!(
                "--turn names {} servers with their addresses; at most {SERVERS_MAX} are used: name fewer",
                servers.len()
            );
        }
        Ok(Self { wish: args.ice, servers })
    }

    /// What the engine is told on a link; `translated`: IPv4 is reached by a NAT64.
    pub fn on(&self, link: &::phone::Link, translated: bool) -> Option<TraversalConfig> {
        if self.wish == IceArg::Off {
            return None;
        }
        // Its SIP port answers Binding requests as well.
        let answers = link.transport == Transport::Udp && !translated;
        Some(TraversalConfig {
            stun: answers.then_some(link.server).into_iter().collect(),
            turn: self.servers.iter().map(|server| server.turn.clone()).collect(),
            relay_only: self.wish == IceArg::Relay,
            translated,
            udp_silent: false,
            trickle: true,
        })
    }

    /// How to connect to the server at this address by this transport.
    pub fn endpoint(&self, at: SocketAddr, transport: Transport) -> Option<Endpoint> {
        let is_it = |s: &&Server| s.turn.addr == at && s.turn.transport == transport;
        self.servers.iter().find(is_it)?.endpoint.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_servers_are_written_as_in_rfc_7065() {
        for (text, transport, port) in [
            ("turn:t.example", Transport::Udp, 3478),
            ("turn:t.example:443?transport=tcp", Transport::Tcp, 443),
            ("turns:[2001:db8::1]:443", Transport::Tls, 443),
            ("turns:t.example?transport=tcp", Transport::Tls, 5349),
        ] {
            let uri: TurnUri = text.parse().unwrap();
            assert_eq!(
                (uri.transport, uri.place.port.unwrap_or(uri.usual_port())),
                (transport, port)
            );
        }
        let uri: TurnUri = "turns:t.example:443;cost=30".parse().unwrap();
        assert_eq!((uri.cost_ms, uri.place.port), (30, Some(443)));
        for text in [
            "t.example",
            "turn:",
            "turns:t.example?transport=udp",
            "stun:t",
            "turn:h:0",
            "turn:h;cost=x",
        ] {
            let error = text.parse::<TurnUri>().unwrap_err();
            assert!(error.contains(text) && error.contains("turns:HOST"), "{error}");
        }
    }
}
