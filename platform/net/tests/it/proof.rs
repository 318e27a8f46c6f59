//! Certificates shown and judged on both sides of a connection (RFC 5922), and connections used by
//! all shards (RFC 5923).

use std::path::PathBuf;
use std::sync::Arc;

use net::{ServerTls, ShardsConfig, TlsConfig, Transmit, client_config};
use sansio::{FlowId, Transport};
use sip::locate::NextHop;

use crate::world::{Folder, Note, Seen, World, any, config, options, wall};

/// An authority of its own, and a server certificate for `name`.
fn tls_of(folder: &Folder, name: &str) -> ServerTls {
    let dir = folder.path().join(name);
    let (names, addrs) = (vec![name.to_owned()], Vec::new());
    ServerTls::open(TlsConfig { dir, names, addrs, ..TlsConfig::default() }, wall()).unwrap()
}

/// A server of so many shards that asks clients for certificates of this authority.
fn asking(tls: &ServerTls, trusted: PathBuf, shards: u16) -> World {
    let mut theirs = config(shards).listen("lo", Transport::Tls, any());
    theirs.tls = Some(tls.sip_config());
    theirs.peer_certificates = tls.peer_certificates();
    theirs.peer_certificates.ask(&[trusted]).unwrap();
    World::start(theirs)
}

fn dial(world: &World, shard: u16, hop: &NextHop) -> FlowId {
    world.note(shard, Note::Dial(hop.clone()));
    loop {
        if let Seen::Flow(flow) = world.next() {
            return flow.unwrap();
        }
    }
}

fn proved(world: &World, flow: FlowId) -> String {
    world.note(flow.shard, Note::Proved(flow));
    loop {
        if let Seen::Note(_, names) = world.next() {
            return names;
        }
    }
}

/// Connects and asks; our flow, and theirs.
fn ask(we: &World, they: &World, hop: &NextHop) -> (FlowId, FlowId) {
    let ours = dial(we, 0, hop);
    we.note(0, Note::Transmit(Transmit::on(ours, options("z9hG4bKa", 10))));
    let theirs = they.next_received().1.flow;
    we.next_received();
    (ours, theirs)
}

#[test]
fn r2_10_each_side_proves_its_name_by_its_certificate_and_a_strange_one_proves_nobody() {
    let folder = Folder::new();
    let (they_tls, we_tls) = (tls_of(&folder, "they.example"), tls_of(&folder, "we.example"));
    let they = asking(&they_tls, we_tls.ca_file().unwrap(), 1);
    let addrs = vec![they.addr(Transport::Tls)];
    let hop = NextHop { transport: Transport::Tls, addrs, server_name: "they.example".into() };
    let their_ca = [they_tls.ca_file().unwrap()];
    let with = |client_tls| ShardsConfig { client_tls: Some(client_tls), ..config(1) };

    let we = World::start(with(we_tls.client_config(&their_ca).unwrap()));
    let (ours, theirs) = ask(&we, &they, &hop);
    assert_eq!(proved(&they, theirs), "localhost we.example", "the client");
    assert_eq!(proved(&we, ours), "they.example", "the server, the name we asked for");
    we.note(0, Note::Close(ours));
    they.next_closed();
    assert_eq!(proved(&they, theirs), "", "forgotten with the connection");

    let stranger = tls_of(&folder, "stranger.example");
    let strange = World::start(with(stranger.client_config(&their_ca).unwrap()));
    let (_, theirs) = ask(&strange, &they, &hop);
    assert_eq!(proved(&they, theirs), "", "it is served and proves nobody");
    let nobody = World::start(with(client_config(&their_ca, false).unwrap()));
    let (_, theirs) = ask(&nobody, &they, &hop);
    assert_eq!(proved(&they, theirs), "");

    they_tls.peer_certificates().stop();
    let again = World::start(with(we_tls.client_config(&their_ca).unwrap()));
    let (_, theirs) = ask(&again, &they, &hop);
    assert_eq!(proved(&they, theirs), "", "nobody is asked any more");
}

#[test]
fn r1_2_a_connection_the_peer_opened_serves_all_shards_until_it_closes() {
    let folder = Folder::new();
    let (they_tls, we_tls) = (tls_of(&folder, "they.example"), tls_of(&folder, "we.example"));
    let mut theirs = config(3).listen("lo", Transport::Tls, any());
    theirs.tls = Some(they_tls.sip_config());
    theirs.client_tls = Some(they_tls.client_config(&[]).unwrap());
    let they = World::start(theirs);
    let addrs = vec![they.addr(Transport::Tls)];
    let hop = NextHop { transport: Transport::Tls, addrs, server_name: "they.example".into() };
    let client = client_config(&[they_tls.ca_file().unwrap()], false).unwrap();
    let client_tls = Some(Arc::clone(&client));
    let we = World::start(ShardsConfig { client_tls, ..config(1) });
    let (ours, accepted) = ask(&we, &they, &hop);
    // Where we say that we listen, nobody does.
    let back = NextHop { addrs: vec!["127.0.0.9:5061".parse().unwrap()], ..hop };
    let back = NextHop { server_name: "WE.example".into(), ..back };
    they.note(accepted.shard, Note::Alias(back.clone(), accepted));
    // The shard that was told first: once it has answered, the alias is known to all.
    for shard in (0..3).map(|n| (accepted.shard + n) % 3) {
        assert_eq!(dial(&they, shard, &back), accepted, "shard {shard}");
        they.note(shard, Note::Transmit(Transmit::on(accepted, options("z9hG4bKb", 10))));
        assert_eq!(we.next_received().1.flow, ours);
    }
    we.note(0, Note::Close(ours));
    they.next_closed();
    for shard in 0..3 {
        assert_ne!(dial(&they, shard, &back), accepted, "shard {shard}");
    }
    drop(we_tls);
}
