//! Flows across shards, to unknown peers, and at the end of the server's life.

use std::collections::BTreeMap;
use std::time::Duration;

use net::client::{ClientTransport, Endpoint};
use net::{CloseReason, FlowTarget, NetError, Shards, ShardsConfig, Transmit, branch_prefix};
use sansio::{FlowId, ShardId, Transport};
use tokio::net::TcpStream;

use crate::world::{Echo, Note, PATIENCE, Seen, World, any, config, options, response};

/// UDP clients until every shard of the world has one.
async fn one_client_per_shard(
    world: &World,
    count: usize,
) -> BTreeMap<ShardId, (FlowId, ClientTransport)> {
    let mut clients = BTreeMap::new();
    for _ in 0..500 {
        let endpoint = Endpoint::new(Transport::Udp, world.addr(Transport::Udp));
        let mut client = ClientTransport::connect(endpoint).await.unwrap();
        client.send(options("z9hG4bKa", 0)).await.unwrap();
        client.recv().await.unwrap().unwrap();
        let (shard, received) = world.next_received();
        assert_eq!(received.flow.shard, shard);
        clients.entry(shard).or_insert((received.flow, client));
        if clients.len() == count {
            return clients;
        }
    }
    panic!("the kernel reached only shards {:?}", clients.keys());
}

#[tokio::test]
async fn four_shards_send_on_each_others_flows() {
    let world = World::start(config(4));
    let mut clients = one_client_per_shard(&world, 4).await;
    for from in 0..4 {
        for (shard, (flow, client)) in &mut clients {
            let message = options(&format!("z9hG4bKfrom{from}to{shard}"), 0);
            world.note(from, Note::Transmit(Transmit::on(*flow, message.clone())));
            let got = tokio::time::timeout(PATIENCE, client.recv()).await.unwrap();
            assert_eq!(got.unwrap(), Some(message));
        }
    }
}

#[tokio::test]
async fn a_response_reaches_the_shard_that_made_its_branch() {
    let world = World::start(config(4));
    let mut clients = one_client_per_shard(&world, 4).await;
    for (_, client) in clients.values_mut() {
        for owner in 0..4 {
            client.send(response(&(branch_prefix(0, owner) + "abc"))).await.unwrap();
            let (shard, received) = world.next_received();
            assert_eq!(shard, owner, "came by {}", received.flow);
        }
        // A foreign branch, another node's and one beyond the last shard stay where they landed.
        for branch in ["z9hG4bKabc".to_owned(), branch_prefix(1, 0), branch_prefix(0, 9)] {
            client.send(response(&branch)).await.unwrap();
            let (shard, received) = world.next_received();
            assert_eq!(shard, received.flow.shard);
        }
    }
    assert_eq!(world.shards.stats().rerouted, 4 * 3);
}

#[tokio::test]
async fn a_tcp_flow_is_reached_from_all_shards_and_its_loss_is_told_to_the_sender() {
    let world = World::start(config(4));
    let endpoint = Endpoint::new(Transport::Tcp, world.addr(Transport::Tcp));
    let mut client = ClientTransport::connect(endpoint).await.unwrap();
    client.send(options("z9hG4bKa", 0)).await.unwrap();
    client.recv().await.unwrap().unwrap();
    let flow = world.next_received().1.flow;
    for from in 0..4 {
        let message = options(&format!("z9hG4bKfrom{from}"), 0);
        world.note(from, Note::Transmit(Transmit::on(flow, message.clone())));
        assert_eq!(client.recv().await.unwrap(), Some(message));
    }
    client.close().await;
    assert_eq!(world.next_closed(), (flow.shard, flow, CloseReason::PeerClosed));
    for from in 0..4 {
        world.note(from, Note::Transmit(Transmit::on(flow, options("z9hG4bKb", 0))));
        assert_eq!(world.next_closed(), (from, flow, CloseReason::NoSuchFlow));
    }
    let elsewhere = FlowId { node: 7, shard: 0, id: 1 };
    world.note(0, Note::Transmit(Transmit::on(elsewhere, options("z9hG4bKb", 0))));
    assert_eq!(world.next_closed(), (0, elsewhere, CloseReason::NoSuchFlow));
}

#[tokio::test]
async fn a_udp_peer_never_heard_of_is_reached() {
    let world = World::start(config(2));
    let local = world.addr(Transport::Udp);
    let endpoint = Endpoint::new(Transport::Udp, local);
    let mut client = ClientTransport::connect(endpoint).await.unwrap();
    let peer = client.local_addr();
    let message = options("z9hG4bKa", 0);
    let to = FlowTarget::Udp { local, peer };
    world.note(0, Note::Transmit(Transmit { to, message: message.clone() }));
    assert_eq!(client.recv().await.unwrap(), Some(message.clone()));
    // The flow can be named beforehand and is the one used.
    world.note(1, Note::UdpFlow(local, peer));
    let Seen::Flow(Some(flow)) = world.next() else { panic!("no flow") };
    assert_eq!(flow.shard, 1);
    world.note(0, Note::Transmit(Transmit::on(flow, message.clone())));
    assert_eq!(client.recv().await.unwrap(), Some(message));
    world.note(0, Note::UdpFlow(local, "[::1]:9".parse().unwrap()));
    assert!(matches!(world.next(), Seen::Flow(None)), "there is no IPv6 listener");
}

#[tokio::test]
async fn notes_timers_and_requested_closing() {
    let world = World::start(config(3));
    world.note(0, Note::Tell(2, "hello".to_owned()));
    assert!(matches!(world.next(), Seen::Note(2, text) if text == "hello"));
    world.note(1, Note::WakeIn(Duration::from_secs(3600)));
    world.note(1, Note::WakeIn(Duration::from_millis(5)));
    assert!(matches!(world.next(), Seen::Timeout(1)));

    let endpoint = Endpoint::new(Transport::Tcp, world.addr(Transport::Tcp));
    let mut client = ClientTransport::connect(endpoint).await.unwrap();
    client.send(options("z9hG4bKa", 0)).await.unwrap();
    let flow = world.next_received().1.flow;
    world.note(flow.shard, Note::Close(flow));
    assert!(client.recv().await.unwrap().is_some(), "the answer was written first");
    assert_eq!(client.recv().await.unwrap(), None);
}

#[tokio::test]
async fn draining_refuses_connections_keeps_flows_and_waits_for_the_cores() {
    let world = World::start_with(config(2), true);
    let tcp = world.addr(Transport::Tcp);
    let mut client = ClientTransport::connect(Endpoint::new(Transport::Tcp, tcp)).await.unwrap();
    client.send(options("z9hG4bKa", 0)).await.unwrap();
    client.recv().await.unwrap().unwrap();
    assert!(!world.shards.drain(Duration::from_millis(50)).await, "the cores are busy");
    assert!(TcpStream::connect(tcp).await.is_err(), "nothing listens any more");
    client.send(options("z9hG4bKb", 0)).await.unwrap();
    client.recv().await.unwrap().unwrap();
    world.note(0, Note::Done);
    world.note(1, Note::Done);
    assert!(world.shards.drain(PATIENCE).await);
    tokio::task::spawn_blocking(move || world.shards.shutdown()).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), None);
}

#[test]
fn starting_is_all_or_nothing_and_names_the_port_in_use() {
    let taken = std::net::TcpListener::bind(any()).unwrap();
    let free = std::net::UdpSocket::bind(any()).unwrap().local_addr().unwrap();
    let start = |tcp| {
        let config = ShardsConfig { shards: 4, ..ShardsConfig::new() }
            .listen("lo", Transport::Udp, free)
            .listen("lo", Transport::Tcp, tcp);
        Shards::<Note>::start::<Echo, _>(config, |_| unreachable!("no core is made"))
    };
    let addr = taken.local_addr().unwrap();
    let error = start(addr).unwrap_err();
    let port = addr.port();
    assert!(
        error.to_string().starts_with(&format!("port {port}/tcp on 127.0.0.1 is in use: stop"))
    );
    std::net::UdpSocket::bind(free).expect("the UDP port was given back");

    let config = ShardsConfig::new().listen("wan", Transport::Tls, any());
    let error = Shards::<Note>::start::<Echo, _>(config, |_| unreachable!()).unwrap_err();
    assert!(matches!(error, NetError::BadListener { .. }), "{error}");
    assert!(error.to_string().contains("interface wan: a TLS listener"), "{error}");
}

#[tokio::test]
async fn a_second_server_does_not_share_the_first_ones_ports() {
    let world = World::start(config(4));
    for transport in [Transport::Udp, Transport::Tcp] {
        let config = ShardsConfig::new().listen("lo", transport, world.addr(transport));
        let error = Shards::<Note>::start::<Echo, _>(config, |_| unreachable!()).unwrap_err();
        assert!(matches!(error, NetError::PortInUse { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_core_that_panics_is_reported() {
    let world = World::start(config(2));
    let failed = world.shards.failed();
    assert!(tokio::time::timeout(Duration::from_millis(20), world.shards.failed()).await.is_err());
    world.note(1, Note::Panic);
    tokio::time::timeout(PATIENCE, failed).await.unwrap();

    let unborn = Shards::<Note>::start::<Echo, _>(config(1), |_| panic!("a bug at birth")).unwrap();
    tokio::time::timeout(PATIENCE, unborn.failed()).await.unwrap();
}
