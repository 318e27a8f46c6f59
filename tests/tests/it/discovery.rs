//! Next hops by name (R1.4): a phone finds its server by the domain, and another one when that is
//! gone; the server finds a carrier's living target beside a dead one.

use std::net::{SocketAddr, UdpSocket};
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
