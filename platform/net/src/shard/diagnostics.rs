//! The shell around [`ice::behaviour::Server`]: what phones ask over STUN on the SIP ports to learn
//! what a NAT does to them (docs/reference/diagnostics.md).
//!
//! Only peers that talk SIP at a port are answered there, so that the port is of no use to
//! strangers. A second UDP port of an interface ([`crate::Listener::report_tos`]) also tells the type
//! of service octet; it receives one datagram per system call, the first port stays as fast as it is.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use ice::behaviour::{Handled, Limits, Port, Query, Reply, Server};
use sansio::Transport;
use tokio::sync::Notify;

use super::engine::{Engine, Origin};
use super::udp::message_in;
use crate::batch::BATCH_MAX;
use crate::config::Listener;
use crate::core::ShardCore;
use crate::{stun, tos};

/// The largest UDP datagram.
const DATAGRAM_MAX: usize = 65_535;

/// One shard's diagnostics.
#[derive(Debug)]
pub(crate) struct Diagnostics {
    server: RefCell<Server>,
    /// A reply was put off: the next deadline may have changed.
    waits: Notify,
}

impl Diagnostics {
    pub(crate) fn new(listeners: &[Listener], limits: Limits) -> Self {
        let udp = listeners.iter().enumerate().filter(|(_, l)| l.transport == Transport::Udp);
        let ports = udp.map(|(id, l)| {
            let ip = l.advertise.unwrap_or(l.bind.ip());
            Port { id, public: (ip, l.bind.port()).into() }
        });
        Self { server: RefCell::new(Server::new(ports.collect(), limits)), waits: Notify::new() }
    }
}

impl<C: ShardCore> Engine<C> {
    /// Answers STUN from a peer that talks SIP at this listener; anybody else gets nothing.
    pub(crate) fn handle_stun(
        &self,
        listener: usize,
        peer: SocketAddr,
        tos: Option<u8>,
        datagram: &[u8],
    ) {
        let mut table = self.udp.borrow_mut();
        if !table.knows(listener, peer) {
            return;
        }
        table.touch(listener, peer);
        drop(table);
        let query = Query { port: listener, peer, tos, datagram };
        match self.diagnostics.server.borrow_mut().handle_query(Instant::now(), query) {
            Handled::Plain => {
                if let Some(response) = stun::binding_response(datagram, peer) {
                    self.send_datagram(listener, peer, response.into());
                }
            }
            Handled::Now(reply) => self.send_reply(reply),
            Handled::Later => {
                self.counters.diagnosed.add(1);
                self.diagnostics.waits.notify_one();
            }
            Handled::Silent => {}
        }
    }

    fn send_reply(&self, reply: Reply) {
        self.counters.diagnosed.add(1);
        self.send_datagram(reply.port, reply.to, reply.datagram.into());
    }
}

/// Sends the delayed replies at their time. Never ends.
pub(crate) async fn reply_loop<C: ShardCore>(engine: Rc<Engine<C>>) {
    let Diagnostics { server, waits } = &engine.diagnostics;
    loop {
        let next = server.borrow().poll_timeout();
        let Some(at) = next else {
            waits.notified().await;
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = waits.notified() => continue,
        }
        server.borrow_mut().handle_timeout(Instant::now());
        while let Some(Reply { port, to, datagram }) = next_reply(server) {
            engine.send_datagram(port, to, datagram.into());
        }
        engine.flush();
    }
}

fn next_reply(server: &RefCell<Server>) -> Option<Reply> {
    server.borrow_mut().poll_reply()
}

/// Receives on a listener that reports the type of service octet, for as long as the shard lives.
pub(crate) async fn receive_marked_loop<C: ShardCore>(
    engine: Rc<Engine<C>>,
    (listener, local): (usize, SocketAddr),
) {
    let Some(Some(port)) = engine.ports.get(listener) else { return };
    let mut buffer = vec![0; DATAGRAM_MAX].into_boxed_slice();
    loop {
        if let Err(error) = port.readable().await {
            tracing::error!(%local, %error, "UDP listener ended");
            return;
        }
        for _ in 0..BATCH_MAX {
            match port.try_receive(|socket| tos::recv(socket, &mut buffer)) {
                Ok(None) => {}
                Ok(Some(marked)) => {
                    handle_marked(&engine, (listener, local), marked, &buffer[..marked.len]);
                }
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tracing::debug!(%local, %error, "UDP receive");
                    }
                    break;
                }
            }
        }
        engine.flush();
        tokio::task::yield_now().await;
    }
}

fn handle_marked<C: ShardCore>(
    engine: &Engine<C>,
    (listener, local): (usize, SocketAddr),
    marked: tos::Marked,
    datagram: &[u8],
) {
    let peer = marked.from;
    if ice::is_stun(datagram) {
        engine.counters.ignored.add(1);
        engine.handle_stun(listener, peer, marked.tos, datagram);
        return;
    }
    let origin = Origin { transport: Transport::Udp, local, peer };
    if let Some(datagram) = message_in(engine, listener, origin, datagram) {
        engine.receive(datagram.received());
    }
}
