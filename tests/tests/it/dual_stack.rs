//! One server on IPv4 and IPv6, and calls that cross from one to the other (R1.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tests::{Phone, Server, Story};

const START: Duration = Duration::from_secs(20);
const CALL: Duration = Duration::from_secs(60);

const INTERFACES: &str = "[[interface]]\nname = \"four\"\nbind = \"127.0.0.1\"\n\n\
                          [[interface]]\nname = \"six\"\nbind = \"::1\"\n";

#[test]
fn r1_2_a_phone_on_ipv6_and_one_on_ipv4_hear_each_other_over_every_transport() {
    let story = Story::on_loopback("dual-stack");
    story.add_users(&["alice", "bob"]);
    let _server = Server::start_with(&story, INTERFACES);
    let (four, six) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    for (transport, caller, by, callee) in [
        ("udp", four, "udp", six),
        ("tcp", six, "tcp", four),
        ("tls", four, "tls", six),
        ("wss", six, "tls", four),
    ] {
        let tone = ["--tone", "440"];
        let bob = Phone::at(&story, "bob", by, "opus", callee).answer().with(&tone);
        let mut bob = bob.seconds(30).start();
        bob.wait_event("registered", START);
        let alice = Phone::at(&story, "alice", transport, "opus", caller);
        let alice = alice.call(&story.address("bob")).with(&tone).seconds(5).start();
        let way = format!("{transport} from {caller} to {callee}");
        for phone in [alice.finish(CALL), bob.finish(CALL)] {
            let ended = phone.expect_answered();
            let heard = ended.result["quality"]["packets_received"].as_u64();
            assert!(heard > Some(50), "{way}: {:#?}", ended.result);
        }
    }
}
