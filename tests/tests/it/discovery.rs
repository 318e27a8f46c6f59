//! Next hops by name (R1.4): a phone finds its server by the domain, and another one when that is
//! gone; the server finds a carrier's living target beside a dead one.

use sip::{Frame, Message, StreamFramer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tests::dns::name_server;
use tests::handset::{StopAtEnd, answer};
use tests::story::tell;
use tests::{DOMAIN, Handset, Process, Server, Story};

const START: Duration = Duration::from_secs(30);

/// The story's domain: three servers by priority, the first and the last nobody's.
fn three_servers(story: &Story) -> String {
    let (none, sip, also_none) =
        (story.place.peer_port(8), story.place.sip(), story.place.peer_port(9));
    format!(
        "_sip._tcp 60 IN SRV 1 0 {none} host\n_sip._tcp 60 IN SRV 2 0 {sip} host\n\
         _sip._tcp 60 IN SRV 3 0 {also_none} host\n"
    )
}

#[test]
fn r1_4_a_phone_finds_a_living_server_by_its_domain_and_again_after_it_was_gone() {
    let story = Story::on_loopback("discovery");
    story.add_users(&["alice"]);
    let dns = story.place.peer_port(0);
    let _nsd = name_server(&story, dns, DOMAIN, &three_servers(&story));
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

/// Its port refuses.
#[test]
fn r1_4_with_the_first_of_two_targets_killed_a_call_is_set_up_within_two_seconds() {
    first_target_dies("killed-target", false);
}

/// Nothing answers there at all.
#[test]
fn r1_4_with_the_first_of_two_targets_silent_a_call_is_set_up_within_two_seconds() {
    first_target_dies("silent-target", true);
}

/// A carrier of two targets by SRV, of which the first one dies between two calls.
fn first_target_dies(name: &str, is_silent: bool) {
    let story = Story::on_loopback(name);
    story.add_users(&["alice", "bella", "carla"]);
    let (dns, first, second) =
        (story.place.peer_port(0), story.place.peer_port(1), story.place.peer_port(2));
    let srv = |service: &str| {
        format!("{service} 60 IN SRV 1 0 {first} host\n{service} 60 IN SRV 2 0 {second} host\n")
    };
    let records = srv("_sip._udp") + &srv("_sip._tcp");
    let _nsd = name_server(&story, dns, "carrier.example", &records);
    let peer = "name = \"carrier\"\naddress = \"carrier.example\"\n\
                sources = [\"127.0.0.1\"]\nprefixes = [{ prefix = \"+\" }]\n";
    let config = format!("[dns]\nservers = [\"127.0.0.1:{dns}\"]\n\n[[peer]]\n{peer}");
    let server = Server::start_with(&story, &config);
    let at = |port| SocketAddr::new(story.place.peer_ip(), port);
    let (stop, served, took) = (AtomicBool::new(false), Mutex::new(Vec::new()), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let serve = |port: u16, until: &'static AtomicBool| {
            let mut carrier = Handset::at(&story, "carrier", at(port));
            let served = &served;
            scope.spawn(move || {
                carrier.serve_until(until, |request| {
                    if request.method().is_some_and(|m| m.as_str() == "INVITE") {
                        served.lock().expect("no panic").push(port);
                    }
                    answer(request)
                });
            })
        };
        let call = |user: &str| {
            let own = SocketAddr::from(([127, 75, 0, 1], 0));
            let mut caller = Handset::at(&story, user, own);
            let begun = Instant::now();
            let outcome = caller.invite(&story.address("+4940123"), "");
            took.lock().expect("no panic").push(begun.elapsed());
            assert_eq!(outcome.status(), 200, "{:?}", outcome.last);
            caller.hang_up(&mut outcome.talk.expect("a call"));
        };
        let first_dies: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let until: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let _until = StopAtEnd(until);
        let one = serve(first, first_dies);
        let two = serve(second, until);
        call("alice");
        assert_eq!(*served.lock().expect("no panic"), [first], "the first by priority");
        drop(StopAtEnd(first_dies));
        one.join().expect("no panic");
        let _silence = is_silent.then(|| UdpSocket::bind(at(first)).expect("free again"));
        call("bella");
        call("carla");
        assert_eq!(*served.lock().expect("no panic"), [first, second, second]);
        drop(StopAtEnd(until));
        two.join().expect("no panic");
    });
    let took = took.into_inner().expect("no panic");
    tell(&format!(
        "with both {:?}, with the first dead {:?}, and the next {:?}",
        took[0], took[1], took[2]
    ));
    assert!(took[1] < Duration::from_secs(2), "the call after it died: {took:?}");
    assert!(took[2] < Duration::from_millis(300), "failure memory: {took:?}");
    assert!(!server.complaints().contains("panicked"));
}

/// What a carrier that is busy says.
fn busy(request: &Message) -> Vec<u8> {
    sip::response_to(request, 486, "Busy Here").to_tag("busy").build().bytes().to_vec()
}

/// RFC 3261 §18.1.1, read at the carrier's sockets.
#[test]
fn r1_2_an_invite_of_1400_bytes_reaches_a_carrier_by_tcp_and_a_small_one_by_udp() {
    let story = Story::on_loopback("large-invite");
    story.add_users(&["alice"]);
    let at = SocketAddr::new(story.place.peer_ip(), story.place.peer_port(0));
    let config = format!(
        "[[peer]]\nname = \"carrier\"\naddress = \"{at}\"\nprefixes = [{{ prefix = \"+\" }}]\n"
    );
    let _server = Server::start_with(&story, &config);
    let (stream, datagrams) = (TcpListener::bind(at).expect("free"), UdpSocket::bind(at));
    let datagrams = datagrams.expect("free");
    datagrams.set_read_timeout(Some(START)).expect("a timeout");
    // The caller's own socket is not the carrier's: it would be the carrier calling.
    let own = SocketAddr::from(([127, 75, 0, 1], 0));
    let mut alice = Handset::at(&story, "alice", own);
    let by_udp = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let (n, from) = datagrams.recv_from(&mut buffer).expect("an INVITE");
        let invite = Message::parse(buffer[..n].to_vec().into()).expect("SIP");
        datagrams.send_to(&busy(&invite), from).expect("sent");
        (
            n,
            String::from_utf8_lossy(invite.header(sip::HeaderName::VIA).unwrap_or_default())
                .into_owned(),
        )
    });
    assert_eq!(alice.invite(&story.address("+4940123"), "").status(), 486);
    let (small, via) = by_udp.join().expect("no panic");
    assert!(small < 1300 && via.starts_with("SIP/2.0/UDP"), "{small}: {via}");

    let by_tcp = std::thread::spawn(move || {
        let (mut stream, _) = stream.accept().expect("a connection");
        stream.set_read_timeout(Some(START)).expect("a timeout");
        let (mut framer, mut buffer) = (StreamFramer::default(), [0; 4096]);
        loop {
            let n = stream.read(&mut buffer).expect("an INVITE");
            framer.push(&buffer[..n]);
            if let Some(Frame::Message(bytes)) = framer.next_frame().expect("SIP") {
                let invite = Message::parse(bytes.clone()).expect("SIP");
                stream.write_all(&busy(&invite)).expect("sent");
                let via = invite.header(sip::HeaderName::VIA).unwrap_or_default();
                return (bytes.len(), String::from_utf8_lossy(via).into_owned());
            }
        }
    });
    let long = format!("Subject: {}\r\n", "x".repeat(1400));
    assert_eq!(alice.invite(&story.address("+4940123"), &long).status(), 486);
    let (large, via) = by_tcp.join().expect("no panic");
    assert!(large > 1400 && via.starts_with("SIP/2.0/TCP"), "{large}: {via}");
}

/// RFC 8305 at the running phone: of two addresses of its server the first says nothing at all.
#[test]
fn r1_4_of_two_addresses_a_silent_one_costs_the_phone_less_than_a_second() {
    let story = Story::on_loopback("silent-address");
    story.add_users(&["alice"]);
    let (dns, sip) = (story.place.peer_port(0), story.place.sip());
    // A listener whose queue is full: the kernel drops what else knocks.
    let silent = SocketAddr::from(([127, 76, 0, 1], sip));
    let (_listener, _queue) = tests::probe::deaf_listener(silent);
    let records = format!(
        "_sip._tcp 60 IN SRV 1 0 {sip} both\nboth 60 IN A 127.76.0.1\nboth 60 IN A 127.0.0.1\n"
    );
    let _nsd = name_server(&story, dns, DOMAIN, &records);
    let _server = Server::start(&story);
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut command = story.whimbrel();
        command.arg("phone").arg("--account").arg(story.address("alice"));
        command.arg("--password-file").arg(story.password_file("alice"));
        command.args(["--dns", &format!("127.0.0.1:{dns}"), "--transport", "tcp"]);
        command.args(["--answer", "--seconds", "3", "--json"]);
        let begun = Instant::now();
        let mut phone = Process::start(&story.scratch, "phone-alice", command);
        phone.wait_for("the registration", START, |p| {
            p.out().contains("\"registered\"").then_some(())
        });
        slow.push(begun.elapsed());
        phone.finish(START).expect_code(0);
    }
    tell(&format!("registered after {slow:?}"));
    assert!(slow.iter().all(|took| *took < Duration::from_millis(1500)), "{slow:?}");
}
