//! The life of one shard's thread.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sansio::{NodeId, Transport};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;

use super::admission::{Admission, Permit};
use super::diagnostics::{Diagnostics, receive_marked_loop, reply_loop};
use super::dial::{self, Dialling};
use super::dialled::{DialLimits, DialTable};
use super::doorkeeper::{Doorkeeper, Load};
use super::engine::{Alarm, Engine, Origin, Parts};
use super::mail::Mail;
use super::udp::{UdpPort, receive_loop};
use super::udp_table::UdpTable;
use super::{DialledFlows, ShardContext, ShardHandle, UdpFlows, stream, websocket};
use crate::batch::{BATCH_MAX, RecvBatch};
use crate::config::{Limits, Listener};
use crate::core::ShardCore;
use crate::error::NetError;
use crate::gate::{Gate, Sign};
use crate::proof::Proof;
use crate::tos;

/// The largest UDP datagram.
const DATAGRAM_MAX: usize = 65_535;
/// How long shutdown waits for queues to be written.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
/// How often idle UDP flows are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Timers are looked at no more often: a busy shard has some in every millisecond, and to be woken
/// costs more than what most of them want done.
const TIMERS_EVERY: Duration = Duration::from_millis(10);
/// The rest after the system refused to accept (descriptors exhausted).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The kernel finds connections whose peer vanished in about twenty minutes: rarely enough not to
/// wake a phone's radio, which keeps its flow alive itself (RFC 5626 §4.4).
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15 * 60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(60);
const KEEPALIVE_RETRIES: u32 = 5;

/// How far the shards' life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    Draining,
    Stopping,
}

/// One shard's socket of one listener.
#[derive(Debug)]
pub(crate) enum Sockets {
    Udp(std::net::UdpSocket),
    Tcp(std::net::TcpListener),
    Tls(std::net::TcpListener),
}

impl Sockets {
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(socket) | Self::Tls(socket) => socket.local_addr(),
        }
        .ok()
    }
}

/// All a shard is grown from, besides its sockets and core.
pub(crate) struct Seed<N> {
    pub(crate) node: NodeId,
    pub(crate) handle: ShardHandle<N>,
    pub(crate) handles: Vec<ShardHandle<N>>,
    pub(crate) listeners: Arc<[Listener]>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) gate: Gate,
    pub(crate) overload_target: Duration,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) client_tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) proof: Proof,
    pub(crate) mail: Arc<[mpsc::Sender<Mail>]>,
    pub(crate) mail_end: mpsc::Receiver<Mail>,
    pub(crate) note_end: mpsc::Receiver<N>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) failed: Arc<watch::Sender<bool>>,
}

/// Starts a shard's thread.
pub(crate) fn spawn<C>(
    seed: Seed<C::Note>,
    sockets: Vec<Sockets>,
    make: impl FnOnce(ShardContext<C::Note>) -> C + Send + 'static,
) -> Result<JoinHandle<()>, NetError>
where
    C: ShardCore + 'static,
{
    let failed = |source| NetError::Thread { what: "a signalling shard", source };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let name = format!("shard-{}", seed.handle.shard);
    let alarm = Arc::clone(&seed.failed);
    let body = move || {
        let _alarm = Alarm(&alarm);
        let local = LocalSet::new();
        if let Err(error) = local.block_on(&runtime, run(seed, sockets, make)) {
            tracing::error!(%error, "shard could not take over its sockets");
            alarm.send_replace(true);
        }
    };
    std::thread::Builder::new().name(name).spawn(body).map_err(failed)
}

async fn run<C: ShardCore + 'static>(
    seed: Seed<C::Note>,
    sockets: Vec<Sockets>,
    make: impl FnOnce(ShardContext<C::Note>) -> C,
) -> io::Result<()> {
    let mut phase = seed.phase.clone();
    let sheds = !seed.overload_target.is_zero();
    let (tls, listeners) = (seed.tls.clone(), Arc::clone(&seed.listeners));
    // Whichever interface a connection leaves by, it is the same signalling.
    let tos = listeners.first().map_or(0, |listener| listener.tos);
    let dialling = Dialling { tls: seed.client_tls.clone(), from: sources(&listeners), tos };
    let (engine, accepting, mail_end, note_end) = build(seed, sockets, make)?;
    let batch = Rc::new(RefCell::new(RecvBatch::new(BATCH_MAX, DATAGRAM_MAX)));
    for (index, listener) in listeners.iter().enumerate() {
        if listener.transport == Transport::Udp {
            let at = (index, listener.bind);
            if listener.report_tos {
                spawn_local(receive_marked_loop(Rc::clone(&engine), at));
            } else {
                spawn_local(receive_loop(Rc::clone(&engine), at, Rc::clone(&batch)));
            }
            spawn_local(unblock_loop(Rc::clone(&engine), index));
        }
    }
    for (listener, secure) in accepting {
        let acceptor = tls.clone().filter(|_| secure).map(TlsAcceptor::from);
        spawn_local(accept_loop(Rc::clone(&engine), listener, acceptor));
    }
    spawn_local(mail_loop(Rc::clone(&engine), mail_end, note_end));
    spawn_local(dial::dial_loop(Rc::clone(&engine), dialling));
    spawn_local(timer_loop(Rc::clone(&engine)));
    spawn_local(reply_loop(Rc::clone(&engine)));
    spawn_local(sweep_loop(Rc::clone(&engine)));
    if sheds {
        spawn_local(lag_loop(Rc::clone(&engine)));
    }

    engine.start();

    // An error means that the owner is gone, which ends the shard as well.
    if phase.wait_for(|p| *p >= Phase::Draining).await.is_ok() {
        engine.drain();
        engine.flush();
        let _ = phase.wait_for(|p| *p == Phase::Stopping).await;
    }
    engine.end_all();
    let give_up = Instant::now() + SHUTDOWN_MAX;
    while engine.open_connections() > 0 && Instant::now() < give_up {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

type Built<C> = (
    Rc<Engine<C>>,
    Vec<(TcpListener, bool)>,
    mpsc::Receiver<Mail>,
    mpsc::Receiver<<C as ShardCore>::Note>,
);

/// Registers the sockets with this thread's runtime and makes the core.
fn build<C: ShardCore>(
    seed: Seed<C::Note>,
    sockets: Vec<Sockets>,
    make: impl FnOnce(ShardContext<C::Note>) -> C,
) -> io::Result<Built<C>> {
    let mut ports = Vec::new();
    let mut accepting = Vec::new();
    for socket in sockets {
        ports.push(match socket {
            Sockets::Udp(socket) => {
                if seed.listeners.get(ports.len()).is_some_and(|l| l.report_tos) {
                    tos::watch(&socket)?;
                }
                Some(UdpPort::new(socket)?)
            }
            Sockets::Tcp(listener) | Sockets::Tls(listener) => {
                let secure = seed.listeners.get(ports.len()).map(|l| l.transport);
                let secure = secure == Some(Transport::Tls);
                accepting.push((TcpListener::from_std(listener)?, secure));
                None
            }
        });
    }
    let udp = Rc::new(RefCell::new(udp_table(&seed)));
    let dialled = Rc::new(RefCell::new(dial_table(&seed)));
    let load = Load::default();
    let core = make(ShardContext {
        node: seed.node,
        shard: seed.handle.shard,
        shards: u16::try_from(seed.handles.len()).unwrap_or(u16::MAX),
        listeners: Arc::clone(&seed.listeners),
        udp: UdpFlows { table: Rc::clone(&udp) },
        dialled: DialledFlows { table: Rc::clone(&dialled) },
        proved: seed.proof.flows.clone(),
        handle: seed.handle.clone(),
        load: load.clone(),
    });
    let diagnostics = Diagnostics::new(&seed.listeners, seed.limits.diagnostics);
    let parts = Parts {
        node: seed.node,
        handle: seed.handle,
        handles: seed.handles,
        limits: seed.limits,
        admission: seed.admission,
        doorkeeper: Doorkeeper::new(seed.gate, seed.overload_target, load),
        udp,
        dialled,
        proof: seed.proof,
        ports,
        diagnostics,
        mail: seed.mail,
        phase: seed.phase,
        drained: seed.drained,
        failed: seed.failed,
    };
    Ok((Rc::new(Engine::new(parts, core)), accepting, seed.mail_end, seed.note_end))
}

fn udp_table<N>(seed: &Seed<N>) -> UdpTable {
    let udp = seed.listeners.iter().enumerate().filter(|(_, l)| l.transport == Transport::Udp);
    let listeners = udp.map(|(index, l)| (index, l.bind)).collect();
    let limits = (seed.limits.udp_flows, seed.limits.udp_idle);
    UdpTable::new((seed.node, seed.handle.shard), listeners, limits, Instant::now())
}

fn dial_table<N>(seed: &Seed<N>) -> DialTable {
    let Limits { dialled: flows, dialled_per_peer: per_peer, connecting, .. } = *seed.limits;
    let limits = DialLimits { flows, per_peer, connecting };
    let aliases = seed.proof.aliases.clone();
    DialTable::new((seed.node, seed.handle.shard), limits, seed.client_tls.is_some(), aliases)
}

/// What we connect from: the addresses that listeners are bound to. None of a family with a
/// wildcard first: the system chooses there.
fn sources(listeners: &[Listener]) -> Vec<IpAddr> {
    let of = |v4: bool| {
        let near = listeners.iter().map(|l| l.bind.ip()).filter(move |ip| ip.is_ipv4() == v4);
        near.take_while(|ip| !ip.is_unspecified())
    };
    let mut all: Vec<IpAddr> = of(true).chain(of(false)).collect();
    all.dedup();
    all
}

async fn accept_loop<C: ShardCore + 'static>(
    engine: Rc<Engine<C>>,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
) {
    let mut phase = engine.phase.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Draining, or the owner is gone: the listener closes.
            _ = phase.wait_for(|p| *p >= Phase::Draining) => return,
        };
        match accepted {
            Ok((_, peer)) if !engine.doorkeeper.accepts(peer.ip(), &engine.counters) => {}
            Ok((tcp, peer)) => match engine.admission.admit(peer.ip()) {
                Some(permit) => {
                    let acceptor = acceptor.clone();
                    spawn_local(connection(Rc::clone(&engine), tcp, acceptor, permit));
                }
                None => engine.counters.refused.add(1),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<C: ShardCore + 'static>(
    engine: Rc<Engine<C>>,
    tcp: TcpStream,
    acceptor: Option<TlsAcceptor>,
    permit: Permit,
) {
    // Without an address the peer is already gone.
    let (Ok(local), Ok(peer)) = (tcp.local_addr(), tcp.peer_addr()) else { return };
    prepare(&tcp);
    let Some(acceptor) = acceptor else {
        let origin = Origin { transport: Transport::Tcp, local, peer };
        spawn_local(stream::serve(engine, Box::new(tcp), origin, permit));
        return;
    };
    match tokio::time::timeout(engine.limits.handshake, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => {
            let origin = Origin { transport: Transport::Tls, local, peer };
            if let Some(names) = proved_names(&engine, &tls, peer) {
                let served = stream::serve_proved(engine, Box::new(tls), origin, permit, names);
                spawn_local(served);
                return;
            }
            // A task of its own: this one has the size of a handshake, which idle flows need not.
            spawn_local(stream::serve(engine, Box::new(tls), origin, permit));
        }
        Ok(Err(error)) => {
            engine.counters.handshakes_failed.add(1);
            engine.doorkeeper.blame(peer.ip(), Sign::Handshake);
            tracing::debug!(%peer, %error, "TLS handshake failed");
        }
        Err(_) => {
            engine.counters.handshakes_failed.add(1);
            engine.doorkeeper.blame(peer.ip(), Sign::Handshake);
        }
    }
}

/// The names a client proved by its certificate; one that proves nobody is told of and changes
/// nothing.
fn proved_names<C: ShardCore, S>(
    engine: &Engine<C>,
    tls: &tokio_rustls::server::TlsStream<S>,
    peer: SocketAddr,
) -> Option<Arc<[String]>> {
    let chain = tls.get_ref().1.peer_certificates()?;
    match engine.proof.certificates.names(chain) {
        Ok(names) if names.is_empty() => None,
        Ok(names) => {
            tracing::info!(%peer, ?names, "a client proved its names by certificate");
            Some(names.into())
        }
        Err(error) => {
            tracing::warn!(%peer, %error, "a client certificate proves nobody");
            None
        }
    }
}

/// Neither option is vital: a connection works without them.
pub(crate) fn prepare(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
    let probes = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_RETRIES);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&probes);
}

async fn mail_loop<C: ShardCore + 'static>(
    engine: Rc<Engine<C>>,
    mut mail: mpsc::Receiver<Mail>,
    mut notes: mpsc::Receiver<C::Note>,
) {
    let (mut letters, mut slips) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            n = mail.recv_many(&mut letters, BATCH_MAX) => if n == 0 { return },
            n = notes.recv_many(&mut slips, BATCH_MAX) => if n == 0 { return },
        }
        for letter in letters.drain(..) {
            match letter {
                Mail::Adopt(adopted) => {
                    spawn_local(websocket::serve(Rc::clone(&engine), *adopted));
                }
                other => engine.open_mail(other),
            }
        }
        if !slips.is_empty() {
            engine.notes(slips.drain(..));
        }
        engine.flush();
        tokio::task::yield_now().await;
    }
}

async fn timer_loop<C: ShardCore>(engine: Rc<Engine<C>>) {
    let mut earliest = Instant::now();
    loop {
        let Some(at) = engine.deadline.get() else {
            engine.timer.notified().await;
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(at.max(earliest).into()) => {
                let now = Instant::now();
                earliest = now + TIMERS_EVERY;
                // The deadline may have moved while this slept: then it sleeps on.
                if engine.deadline.get().is_some_and(|at| at <= now) {
                    engine.timeout();
                    engine.flush();
                    tokio::task::yield_now().await;
                }
            }
            () = engine.timer.notified() => {}
        }
    }
}

async fn unblock_loop<C: ShardCore>(engine: Rc<Engine<C>>, listener: usize) {
    if let Some(Some(port)) = engine.ports.get(listener) {
        port.unblock(&engine.counters).await;
    }
}

/// Measures how long a task waits for its turn: what streams and timers feel of an overload.
async fn lag_loop<C: ShardCore>(engine: Rc<Engine<C>>) {
    loop {
        let due = tokio::time::Instant::now() + engine.next_weighing();
        tokio::time::sleep_until(due).await;
        engine.weigh(due.elapsed());
    }
}

async fn sweep_loop<C: ShardCore>(engine: Rc<Engine<C>>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY.min(engine.limits.udp_idle)).await;
        let mut table = engine.udp.borrow_mut();
        table.set_now(Instant::now());
        table.expire();
        engine.counters.udp_flows.set(table.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{CloseReason, Received, Transmit};
    use sansio::{FlowId, WallTime};
    use tokio_rustls::server::TlsStream;

    struct Deaf;

    impl ShardCore for Deaf {
        type Note = ();
        fn handle_received(&mut self, _: Instant, _: WallTime, _: Received) {}
        fn handle_flow_closed(&mut self, _: Instant, _: FlowId, _: CloseReason) {}
        fn handle_note(&mut self, _: Instant, _: WallTime, (): ()) {}
        fn handle_timeout(&mut self, _: Instant, _: WallTime) {}
        fn poll_transmit(&mut self) -> Option<Transmit> {
            None
        }
        fn poll_note(&mut self) -> Option<(u16, ())> {
            None
        }
        fn poll_timeout(&mut self) -> Option<Instant> {
            None
        }
    }

    /// How much a task of this function takes.
    fn size<A, B, F>(_: impl Fn(A, B, Origin, Permit) -> F) -> usize {
        size_of::<F>()
    }

    /// Tens of thousands of phones hold a connection each: what its task takes counts.
    #[test]
    fn an_idle_connection_takes_a_small_task() {
        let task = size(stream::serve::<Deaf, Box<TlsStream<TcpStream>>>);
        assert!(task <= 1280, "{task} bytes");
        println!("{task} bytes, the TLS session {}", size_of::<TlsStream<TcpStream>>());
    }
}
