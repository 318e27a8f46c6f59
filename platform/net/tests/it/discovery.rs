//! Next hops from a real authoritative server (nsd, on loopback).

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use net::{Located, Locator, LocatorConfig};
use sip::locate::{Ask, LocateError, NextHop, Policy};

use crate::world::Folder;

const ZONE: &str = "\
$ORIGIN example.test.
@ 3600 IN SOA ns hostmaster 1 3600 600 86400 2
@ 3600 IN NS ns
ns 3600 IN A 127.0.0.1
@ 3600 IN NAPTR 10 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp
@ 3600 IN NAPTR 20 50 \"s\" \"SIP+D2U\" \"\" _sip._udp
@ 3600 IN NAPTR 5 50 \"s\" \"SIP+D2S\" \"\" _sip._sctp
_sip._tcp 3600 IN SRV 1 0 5080 both
_sip._udp 3600 IN SRV 1 70 5061 a
_sip._udp 3600 IN SRV 1 30 5062 b
_sip._udp 3600 IN SRV 2 0 5063 c
a 3600 IN A 127.0.0.11
b 3600 IN A 127.0.0.12
c 3600 IN A 127.0.0.13
both 3600 IN A 127.0.0.14
both 3600 IN AAAA ::1
brief 1 IN A 127.0.0.15
alias 3600 IN CNAME a
";

/// An nsd that ends with the test.
struct Nsd {
    child: Child,
    addr: SocketAddr,
    _folder: Folder,
}

impl Nsd {
    fn start() -> Self {
        let folder = Folder::new();
        let dir = folder.path().display().to_string();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(folder.path().join("zone"), ZONE).unwrap();
        let config = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{dir}\"\n \
             database: \"\"\n pidfile: \"{dir}/pid\"\n xfrdfile: \"{dir}/xfrd\"\n xfrdir: \"{dir}\"\n \
             zonelistfile: \"{dir}/list\"\n cookie-secret-file: \"\"\n server-count: 1\n logfile: \"{dir}/log\"\n\
             remote-control:\n control-enable: no\n\
             zone:\n name: example.test\n zonefile: zone\n"
        );
        let file = folder.path().join("nsd.conf");
        std::fs::write(&file, config).unwrap();
        let nsd = ["/usr/sbin/nsd", "nsd"].into_iter().find(|p| {
            Command::new(p).arg("-v").stderr(Stdio::null()).stdout(Stdio::null()).status().is_ok()
        });
        let nsd = nsd.expect("nsd, from Debian's package of that name (scripts/setup.sh test)");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", nsd, "-d", "-c"]).arg(&file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, addr: ([127, 0, 0, 1], port).into(), _folder: folder };
        server.wait();
        server
    }

    /// Until it answers: a query for the zone's SOA record.
    fn wait(&self) {
        let mut query = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        query.extend(b"\x07example\x04test\x00\x00\x06\x00\x01");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            let sent = socket.send_to(&query, self.addr);
            if sent.is_ok() && socket.recv(&mut [0; 600]).is_ok() {
                return;
            }
        }
        panic!("nsd does not answer on {}", self.addr);
    }

    fn locator(&self) -> Locator {
        let config = LocatorConfig { servers: vec![self.addr], policy: Policy::default() };
        Locator::start(config).unwrap()
    }

    /// The whole group: nsd forks, and its children die with it.
    fn stop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn find(locator: &Locator, uri: &str) -> Located {
    locator.find(Ask::of_uri(uri.as_bytes()).unwrap()).await
}

fn shown(hops: &[NextHop]) -> Vec<String> {
    let addrs = |h: &NextHop| {
        let addrs: Vec<String> = h.addrs.iter().map(SocketAddr::to_string).collect();
        format!("{} {}", h.transport, addrs.join(" "))
    };
    hops.iter().map(addrs).collect()
}

#[tokio::test]
async fn r1_4_a_real_name_server_leads_to_the_hops_in_order() {
    let nsd = Nsd::start();
    let locator = nsd.locator();
    let hops = find(&locator, "sip:bob@example.test").await.unwrap();
    let shown_hops = shown(&hops);
    assert_eq!(shown_hops[0], "TCP [::1]:5080 127.0.0.14:5080", "both families, to be raced");
    assert_eq!(shown_hops.len(), 4);
    assert_eq!(shown_hops[3], "UDP 127.0.0.13:5063");
    assert_eq!(hops[0].server_name, "example.test");
    let host = find(&locator, "sip:bob@alias.example.test:5070").await.unwrap();
    assert_eq!(shown(&host), ["UDP 127.0.0.11:5070"], "CNAMEs are followed");
    let none = find(&locator, "sip:bob@none.example.test").await.unwrap_err();
    assert_eq!(none, LocateError::NoSuchName("none.example.test".into()));
}

#[tokio::test]
async fn r1_4_the_load_is_split_by_weight_within_five_percent() {
    let nsd = Nsd::start();
    let locator = nsd.locator();
    let mut first_is_a = 0;
    for _ in 0..4000 {
        let hops = find(&locator, "sip:bob@example.test;transport=udp").await.unwrap();
        let ports: Vec<u16> = hops.iter().map(|h| h.addr().port()).collect();
        assert!(matches!(ports[..], [5061, 5062, 5063] | [5062, 5061, 5063]), "{ports:?}");
        first_is_a += u32::from(ports[0] == 5061);
    }
    let share = f64::from(first_is_a) / 4000.0;
    assert!((share - 0.7).abs() < 0.05, "{share}");
}

#[tokio::test]
async fn r1_4_a_server_that_failed_is_avoided_by_everyone() {
    let nsd = Nsd::start();
    let locator = nsd.locator();
    let uri = "sip:bob@example.test;transport=udp";
    for _ in 0..3 {
        let hops = find(&locator, uri).await.unwrap();
        locator.clone().failed(hops[0].clone(), None);
        let after = find(&locator, uri).await.unwrap();
        assert_eq!(after.last(), Some(&hops[0]));
        locator.worked(hops[0].clone());
    }
}

#[tokio::test]
async fn r1_4_what_was_known_serves_while_the_name_server_is_down() {
    let mut nsd = Nsd::start();
    let locator = nsd.locator();
    let uri = "sip:bob@brief.example.test:5060";
    let before = find(&locator, uri).await.unwrap();
    nsd.stop();
    // Beyond the record's TTL of one second, the negative one's of two.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let begun = Instant::now();
    assert_eq!(find(&locator, uri).await.unwrap(), before);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let unknown = find(&locator, "sip:bob@other.example.test:5060").await.unwrap_err();
    assert_eq!(unknown, LocateError::Unanswered("other.example.test".into()));
}
