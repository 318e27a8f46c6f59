//! Where the account's server is: named by `--server`, or found by the account's domain (RFC 3263),
//! anew for each connection, the servers that failed last.

use anyhow::Result;
use net::client::{ClientTransport, Endpoint};
use net::{Locator, NetError};
use sip::locate::Ask;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long one of several servers may take to answer.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(3);
/// From the start of one attempt to that of the next beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The servers a phone may connect to.
#[derive(Debug, Clone)]
pub enum Servers {
    /// These addresses, in this order. Where their certificates prove another name than was asked
    /// for, `or_named` will do.
    Fixed { endpoints: Vec<Endpoint>, or_named: Option<String> },
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
            Self::Fixed { endpoints, or_named } => match (connect_any(endpoints).await, or_named) {
                (Err(error), Some(name)) if proves_another_name(&error) => {
                    let named = |one: &Endpoint| Endpoint { name: name.clone(), ..one.clone() };
                    let named: Vec<Endpoint> = endpoints.iter().map(named).collect();
                    Ok(connect_any(&named).await.map_err(|_| error)?)
                }
                (connected, _) => Ok(connected?),
            },
            Self::Found { locator, ask, like } => find_and_connect(locator, ask, like).await,
        }
    }
}

/// Connects to one of `endpoints`, most wanted first: each has a head start before the next.
///
/// # Errors
/// The last one's.
pub async fn connect_any(endpoints: &[Endpoint]) -> Result<(Endpoint, ClientTransport), NetError> {
    let mut waiting: VecDeque<Endpoint> = endpoints.iter().cloned().collect();
    let mut trying = JoinSet::new();
    let mut last = None;
    while !(waiting.is_empty() && trying.is_empty()) {
        if let Some(endpoint) = waiting.pop_front() {
            trying.spawn(async move {
                let connected = ClientTransport::connect(endpoint.clone()).await;
                connected.map(|link| (endpoint, link))
            });
        }
        let patience = if waiting.is_empty() { Duration::MAX } else { HEAD_START };
        match tokio::time::timeout(patience, trying.join_next()).await {
            Ok(Some(Ok(Ok(connected)))) => return Ok(connected),
            Ok(Some(Ok(Err(error)))) => last = Some(last.filter(is_telling).unwrap_or(error)),
            // A head start is over; nothing here is aborted or panics.
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
    }
    Err(last.unwrap_or(NetError::Missing {
        path: "--server".into(),
        expected: "an address",
        remedy: "give --server HOST[:PORT]",
    }))
}

/// A certificate that is not trusted says more than another address that does not answer.
fn is_telling(error: &NetError) -> bool {
    use NetError::{Untrusted, WebSocketRefused, Wildcard};
    matches!(error, Untrusted { .. } | Wildcard { .. } | WebSocketRefused { .. })
}

pub fn proves_another_name(error: &NetError) -> bool {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
    let NetError::Untrusted { source: rustls::Error::InvalidCertificate(why), .. } = error else {
        return false;
    };
    matches!(why, NotValidForName | NotValidForNameContext { .. })
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
