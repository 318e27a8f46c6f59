//! Where the account's server is: named by `--server`, or found by the account's domain (RFC 3263),
//! anew for each connection, the servers that failed last.

use super::link::connect_any;
use anyhow::Result;
use net::Locator;
use net::client::{ClientTransport, Endpoint};
use sip::locate::Ask;
use std::time::Duration;

/// How long one of several servers may take to answer.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(3);

/// The servers a phone may connect to.
#[derive(Debug, Clone)]
pub enum Servers {
    /// These addresses, in this order.
    Fixed(Vec<Endpoint>),
    /// Whatever serves the domain.
    Found {
        locator: Locator,
        ask: Box<Ask>,
        /// All but the address.
        like: Box<Endpoint>,
    },
}

impl Servers {
    /// Connects to the first that answers.
    ///
    /// # Errors
    /// The last one's, or what the name servers say.
    pub async fn connect(&self) -> Result<(Endpoint, ClientTransport)> {
        match self {
            Self::Fixed(endpoints) => Ok(connect_any(endpoints).await?),
            Self::Found { locator, ask, like } => find_and_connect(locator, ask, like).await,
        }
    }
}

async fn find_and_connect(
    locator: &Locator,
    ask: &Ask,
    like: &Endpoint,
) -> Result<(Endpoint, ClientTransport)> {
    let hops = locator.find(ask.clone()).await?;
    let several = hops.len() > 1 || hops.iter().any(|hop| hop.addrs.len() > 1);
    let timeout = if several { ONE_OF_SEVERAL.min(like.timeout) } else { like.timeout };
    let mut last = None;
    for hop in hops {
        let transport = hop.transport;
        let at = |addr: &std::net::SocketAddr| Endpoint {
            transport,
            addr: *addr,
            timeout,
            ..like.clone()
        };
        let endpoints: Vec<Endpoint> = hop.addrs.iter().map(at).collect();
        match connect_any(&endpoints).await {
            Ok(connected) => {
                locator.worked(hop);
                return Ok(connected);
            }
            Err(error) => {
                tracing::info!(%hop, %error, "no connection to this server of the domain");
                locator.failed(hop, None);
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) => Err(error.into()),
        // A lookup gives at least one hop.
        None => anyhow::bail!("{} has no server", ask.host),
    }
}
