//! Asks the server by another transport, on a connection of its own, whether it is there.

use super::servers::Servers;
use ::phone::{Account, Link, probe_request};
use net::client::ClientTransport;
use std::time::Duration;

/// Between two sendings of the question over UDP.
const AGAIN: Duration = Duration::from_millis(500);

/// True when anything of the server's came back. Whoever asks sets the limit of time.
pub async fn answers(servers: Servers, account: Account) -> bool {
    let Ok((_, mut link)) = servers.connect().await else { return false };
    let facts = facts(&link);
    let question = probe_request(&account, &facts, &mut net::OsEntropy);
    let answered = loop {
        if link.send(question.clone()).await.is_err() {
            break false;
        }
        let wait = if facts.transport.is_reliable() { Duration::MAX } else { AGAIN };
        match tokio::time::timeout(wait, link.recv()).await {
            Ok(received) => break matches!(received, Ok(Some(_))),
            Err(_) => continue,
        }
    };
    link.close().await;
    answered
}

/// What the engine knows of a connection.
pub fn facts(link: &ClientTransport) -> Link {
    Link { transport: link.transport(), local: link.local_addr(), server: link.peer_addr() }
}
