//! Where a story runs: on loopback, or in a network namespace of its own for phones that refuse
//! loopback. Each place has ports of its own, so that stories can run beside each other.

use crate::process::Process;
use crate::scratch::Scratch;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Places at a time on one machine.
const SLOTS: u16 = 40;
const SLOT_PORTS: u16 = 500;
/// Below the ephemeral ports of Linux, which start at 32768.
const FIRST_PORT: u16 = 12_000;

/// Addresses and ports of a story.
#[derive(Debug)]
pub struct Place {
    base: u16,
    server_ip: IpAddr,
    peer_ip: IpAddr,
    namespace: Option<Namespace>,
    /// Network namespaces beside it, by the process that holds each.
    rooms: Vec<u32>,
    /// Locked while the story runs.
    _slot: File,
}

impl Place {
    /// Server and peers on 127.0.0.1.
    pub fn loopback() -> Self {
        let (slot, base) = take_slot();
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { base, server_ip: ip, peer_ip: ip, namespace: None, rooms: Vec::new(), _slot: slot }
    }

    /// Server and peers on ::1.
    pub fn loopback6() -> Self {
        let mut place = Self::loopback();
        place.server_ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
        place.peer_ip = place.server_ip;
        place
    }

    /// Server and peers at the two ends of a virtual cable, in a namespace that lives as long as
    /// this value. Needs root, or a kernel that lets users make namespaces.
    pub fn network(scratch: &Scratch) -> Self {
        let mut place = Self::loopback();
        place.server_ip = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
        place.peer_ip = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
        place.namespace = Some(Namespace::start(scratch, "--net", CABLE));
        place
    }

    /// A host with two cables: at 198.51.100.1 to a room of phones (198.51.100.2), at 10.0.0.1 to a
    /// room with a core (10.0.0.2). Neither room knows a way to the other.
    pub fn edge_network(scratch: &Scratch) -> Self {
        let mut place = Self::loopback();
        place.server_ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
        place.peer_ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
        let namespace = Namespace::start(scratch, "--net", ROOMS);
        place.enter(namespace, 2);
        place
    }

    /// A host on the laboratory's Internet, with 198.51.100.1 and 198.51.100.2, and `rooms` empty
    /// rooms beside it. Who is where, [`crate::Lab`] is told.
    pub fn lab(scratch: &Scratch, rooms: usize) -> Self {
        let mut place = Self::loopback();
        place.server_ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
        place.peer_ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
        let namespace =
            Namespace::start(scratch, "--net", &EMPTY_ROOMS.replace("ROOMS", &rooms.to_string()));
        place.enter(namespace, rooms);
        place
    }

    fn enter(&mut self, namespace: Namespace, rooms: usize) {
        let out = namespace.holder.out();
        let ids = out.lines().find_map(|line| line.strip_prefix("rooms ")).unwrap_or_default();
        self.rooms = ids.split(' ').filter_map(|id| id.parse().ok()).collect();
        assert_eq!(self.rooms.len(), rooms, "{out}");
        self.namespace = Some(namespace);
    }

    /// A process in a room.
    pub fn room_process(&self, number: usize) -> u32 {
        self.rooms[number]
    }

    /// Arguments that run a program in a room beside the place: of phones (0), of the core (1).
    pub fn room(&self, number: usize) -> [String; 5] {
        let target = self.rooms[number].to_string();
        ["nsenter", "--target", &target, "--net", "--"].map(str::to_owned)
    }

    /// Server and peers on 127.0.0.1; the server's `folder` is a small disk of its own.
    pub fn small_disk(scratch: &Scratch, folder: &Path, megabytes: u32) -> Self {
        let mut place = Self::loopback();
        let folder = folder.display();
        let mount = format!("mkdir -p {folder}\nmount -t tmpfs -o size={megabytes}m none {folder}");
        place.namespace = Some(Namespace::start(scratch, "--mount", &mount));
        place
    }

    /// Where the server listens.
    pub fn server_ip(&self) -> IpAddr {
        self.server_ip
    }

    /// Where peers listen.
    pub fn peer_ip(&self) -> IpAddr {
        self.peer_ip
    }

    /// SIP over UDP and TCP.
    pub fn sip(&self) -> u16 {
        self.base
    }

    /// A second port for SIP over UDP and TCP, for servers that are given one.
    pub fn sip_alternate(&self) -> u16 {
        self.base + 4
    }

    /// SIP over TLS.
    pub fn sips(&self) -> u16 {
        self.base + 1
    }

    /// Console, API, SIP over WebSocket.
    pub fn https(&self) -> u16 {
        self.base + 2
    }

    /// SIP over WebSocket in clear, for servers that are given such a port.
    pub fn ws(&self) -> u16 {
        self.base + 5
    }

    /// Metrics and health.
    pub fn metrics(&self) -> u16 {
        self.base + 3
    }

    /// Of a TURN server: UDP and TCP, then TLS.
    pub fn turn(&self) -> (u16, u16) {
        (self.base + 6, self.base + 7)
    }

    /// The first and the last port it lends.
    pub fn relayed(&self) -> (u16, u16) {
        (self.base + 420, self.base + 499)
    }

    /// First and last port of the server's media.
    pub fn rtp(&self) -> (u16, u16) {
        (self.base + 20, self.base + 349)
    }

    /// A port for the story's own peers, `n` from 0 to 149.
    pub fn peer_port(&self, n: u16) -> u16 {
        assert!(n < SLOT_PORTS - 350, "a story has 150 ports for its peers");
        self.base + 350 + n
    }

    /// A program that runs here and dies with the thread that starts it.
    pub fn command(&self, program: &str) -> Command {
        let mut command;
        match &self.namespace {
            None => command = Command::new("setpriv"),
            Some(namespace) => {
                command = Command::new("nsenter");
                let target = namespace.holder.id().to_string();
                // The holder's root too: a mount namespace entered from a chroot starts outside it.
                command.args(["--target", &target, "--root", "--wd", namespace.kind]);
                if !is_root() {
                    command.args(["--user", "--preserve-credentials"]);
                }
                command.args(["--", "setpriv"]);
            }
        }
        command.args(["--pdeathsig", "KILL", "--", program]);
        command
    }
}

/// A namespace, alive as long as the process that holds it.
#[derive(Debug)]
struct Namespace {
    /// The argument of `unshare` and `nsenter`.
    kind: &'static str,
    holder: Process,
}

impl Namespace {
    fn start(scratch: &Scratch, kind: &'static str, set_up: &str) -> Self {
        let mut hold = Command::new("setpriv");
        hold.args(["--pdeathsig", "KILL", "--", "unshare", kind]);
        if !is_root() {
            hold.args(["--user", "--map-root-user"]);
        }
        hold.args(["sh", "-c", &format!("set -e\n{set_up}\necho ready\nexec sleep infinity")]);
        let mut holder = Process::start(scratch, "namespace", hold);
        holder.wait_for("the namespace", Duration::from_secs(10), |p| {
            p.out().contains("ready").then_some(())
        });
        Self { kind, holder }
    }
}

/// A cable with both ends in the new namespace. No link-local addresses: they appear late, and
/// Chromium then gives up what it was loading.
const CABLE: &str = "ip link set lo up
ip link add wire0 type veth peer name wire1
ip link set wire0 addrgenmode none
ip link set wire1 addrgenmode none
ip addr add 10.77.0.1/24 dev wire0
ip addr add 10.77.0.2/24 dev wire1
ip link set wire0 up
ip link set wire1 up";

/// Two rooms, each on a cable of its own to the host between them.
const ROOMS: &str = "ip link set lo up
room() {
    setpriv --pdeathsig KILL unshare --net sleep infinity &
    room=$!
    while [ \"$(readlink /proc/$room/ns/net)\" = \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.02; done
    ip link add $1 type veth peer name eth0 netns $room
    ip addr add $2 dev $1
    ip link set $1 up
    nsenter --target $room --net ip link set lo up
    nsenter --target $room --net ip addr add $3 dev eth0
    nsenter --target $room --net ip link set eth0 up
}
room outer 198.51.100.1/24 198.51.100.2/24
phones=$room
room inner 10.0.0.1/24 10.0.0.2/24
echo rooms $phones $room";

/// Rooms without any cable.
const EMPTY_ROOMS: &str = "ip link set lo up
list=rooms
for n in $(seq ROOMS); do
    setpriv --pdeathsig KILL unshare --net sleep infinity &
    room=$!
    while [ \"$(readlink /proc/$room/ns/net)\" = \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.02; done
    nsenter --target $room --net ip link set lo up
    list=\"$list $room\"
done
echo $list";

fn take_slot() -> (File, u16) {
    let dir = std::env::temp_dir().join("whimbrel-test-ports");
    std::fs::create_dir_all(&dir).expect("a folder for the port locks");
    for slot in 0..SLOTS {
        let path = dir.join(slot.to_string());
        let Ok(file) = File::options().create(true).append(true).open(path) else { continue };
        if file.try_lock().is_ok() {
            return (file, FIRST_PORT + slot * SLOT_PORTS);
        }
    }
    panic!("all {SLOTS} port ranges are taken: are other stories still running?");
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}
