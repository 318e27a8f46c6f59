//! A phone finds its server by the domain, and another one when that is gone (R1.4).

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::{DOMAIN, Process, Server, Story};

const START: Duration = Duration::from_secs(30);

/// nsd with the story's domain: three servers by priority, the first and the last nobody's.
fn name_server(story: &Story, port: u16) -> Process {
    let dir = story.scratch.file("nsd").display().to_string();
    std::fs::create_dir_all(&dir).expect("a folder for nsd");
    let (none, sip, also_none) =
        (story.place.peer_port(8), story.place.sip(), story.place.peer_port(9));
    let zone = format!(
        "$ORIGIN {DOMAIN}.\n@ 60 IN SOA ns hostmaster 1 3600 600 86400 60\n@ 60 IN NS ns\n\
         ns 60 IN A 127.0.0.1\nhost 60 IN A 127.0.0.1\n\
         _sip._tcp 60 IN SRV 1 0 {none} host\n_sip._tcp 60 IN SRV 2 0 {sip} host\n\
         _sip._tcp 60 IN SRV 3 0 {also_none} host\n"
    );
    story.scratch.write("nsd/zone", zone);
    let config = format!(
        "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{dir}\"\n \
         database: \"\"\n pidfile: \"{dir}/pid\"\n xfrdfile: \"{dir}/xfrd\"\n xfrdir: \"{dir}\"\n \
         zonelistfile: \"{dir}/list\"\n cookie-secret-file: \"\"\n server-count: 1\n logfile: \"{dir}/log\"\n\
         remote-control:\n control-enable: no\nzone:\n name: {DOMAIN}\n zonefile: zone\n"
    );
    let file = story.scratch.write("nsd/nsd.conf", config);
    let mut command: Command = story.place.command("/usr/sbin/nsd");
    command.arg("-d").arg("-c").arg(file);
    let nsd = Process::start(&story.scratch, "nsd", command);
    wait_for_answer(port);
    nsd
}

fn wait_for_answer(port: u16) {
    let mut query = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    query.extend(b"\x04call\x07example\x00\x00\x06\x00\x01");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let begun = Instant::now();
    while begun.elapsed() < START {
        if socket.send_to(&query, ("127.0.0.1", port)).is_ok() && socket.recv(&mut [0; 600]).is_ok()
        {
            return;
        }
    }
    panic!("nsd does not answer");
}

#[test]
fn r1_4_a_phone_finds_a_living_server_by_its_domain_and_again_after_it_was_gone() {
    let story = Story::on_loopback("discovery");
    story.add_users(&["alice"]);
    let dns = story.place.peer_port(0);
    let _nsd = name_server(&story, dns);
    let server = Server::start(&story);
    let mut command = story.whimbrel();
    command.arg("phone").arg("--account").arg(story.address("alice"));
    command.arg("--password-file").arg(story.password_file("alice"));
    command.args(["--dns", &format!("127.0.0.1:{dns}"), "--transport", "tcp"]);
    command.args(["--answer", "--seconds", "90", "--json"]);
    let mut phone = Process::start(&story.scratch, "phone-alice", command);
    let registered = |p: &Process| p.out().matches("\"registered\"").count();
    phone.wait_for("the registration", START, |p| (registered(p) >= 1).then_some(()));
    // The first server of the list refused; the second one took the phone.
    drop(server);
    phone.wait_for("the loss", START, |p| p.out().contains("down").then_some(()));
    let _again = Server::start(&story);
    phone.wait_for("the next registration", START, |p| (registered(p) >= 2).then_some(()));
}
