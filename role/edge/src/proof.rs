//! Peers known by their certificates (RFC 5922), and connections of theirs that serve for requests to
//! them (RFC 5923).
//!
//! ```text
//!   handshake ─► names proved on the flow ─► peer_by_proof ─► the peer, wherever it calls from
//!   its request, `alias` in its Via ───────► reuse_of ─► requests to it go by this connection
//!   its address without its certificate ───► 403, and a line in the log
//! ```

use crate::core::{EdgeCore, Present};
use sansio::Transport;
use sip::locate::NextHop;
use sip::transaction::{Arrival, ServerKey};
use sip::{Message, Via};
use std::net::SocketAddr;

impl EdgeCore {
    /// The peer whose name was proved on the flow; by its address only one that need not prove any.
    pub(crate) fn peer_by_proof(&self, arrival: &Arrival) -> Option<u16> {
        let ip = arrival.peer.ip();
        let proved = match arrival.transport {
            Transport::Tls => self.dialler.proved(arrival.flow),
            _ => None,
        };
        let proved = proved.and_then(|names| self.peers.by_names(&names, ip));
        let by_address = || {
            let number = self.peers.by_source(ip)?;
            self.peers.get(number).filter(|peer| !peer.by_certificate).map(|_| number)
        };
        proved.or_else(by_address)
    }

    /// Refuses what comes from the address of a peer that has to prove its name and did not. True if
    /// so. A peer that did may offer its connection for requests to it.
    pub(crate) fn refuses_unproved(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: &Message,
    ) -> bool {
        if !self.peers.have_certificates() {
            return false;
        }
        if let Some(number) = self.peer_by_proof(arrival) {
            self.reuse_of(arrival, number, request);
            return false;
        }
        let number = self.peers.by_source(arrival.peer.ip());
        let Some(peer) = number.and_then(|number| self.peers.get(number)) else { return false };
        let shown = match arrival.transport {
            Transport::Tls => self.dialler.proved(arrival.flow),
            _ => None,
        };
        tracing::warn!(
            peer = peer.name,
            source = %arrival.peer,
            transport = %arrival.transport,
            must_prove = peer.domain,
            proved = ?shown.as_deref().unwrap_or_default(),
            "refused: the peer must prove its name by a certificate of an authority in transport.ca"
        );
        self.reply(at, key, request, (403, "Certificate Required"), &[]);
        true
    }

    /// The same where nothing is refused: a ping of a peer's may offer its connection too.
    pub(crate) fn note_offer(&self, arrival: &Arrival, request: &Message) {
        if self.peers.have_certificates()
            && let Some(number) = self.peer_by_proof(arrival)
        {
            self.reuse_of(arrival, number, request);
        }
    }

    /// Takes a proved peer's offer of its connection: requests to where its Via says it listens go by
    /// it. Only over TLS (RFC 5923 §5: in clear nobody has proved anything).
    fn reuse_of(&self, arrival: &Arrival, number: u16, request: &Message) {
        let Some(peer) = self.peers.get(number).filter(|peer| peer.by_certificate) else { return };
        let Ok(via) = request.top_via() else { return };
        if !offers_reuse(&via) {
            return;
        }
        let port = via.port_or_default();
        let hop = NextHop {
            transport: Transport::Tls,
            addrs: vec![SocketAddr::new(arrival.peer.ip(), port)],
            server_name: peer.ask.server_name().to_owned(),
        };
        if self.dialler.alias(&hop, arrival.flow) {
            tracing::debug!(peer = peer.name, %hop, "its connection serves for requests to it");
        }
    }
}

/// Whether the sender wants the connection used for requests to it (RFC 5923 §4).
fn offers_reuse(via: &Via<'_>) -> bool {
    via.param("alias").is_some()
}
