//! The location service on a real file system.

mod disk;
mod kill;
mod short;
mod speed;
mod staged;

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use cluster::FsyncPolicy;
use registrar::{
    Contact, Contacts, JournalConfig, Location, LocationConfig, LocationShard, Origin, Refusal,
    RegisterPlan, RegisterRequest,
};
use sansio::{FlowId, Transport, WallTime};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("wb-loc-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(secs: u64) -> WallTime {
    WallTime::from_secs(1_800_000_000 + secs)
}

fn config(shards: usize, compact_bytes: u64) -> LocationConfig {
    synced(FsyncPolicy::Never, shards, compact_bytes)
}

fn synced(fsync: FsyncPolicy, shards: usize, compact_bytes: u64) -> LocationConfig {
    let journal = JournalConfig { fsync, compact_bytes, ..JournalConfig::default() };
    LocationConfig { shards, journal, ..LocationConfig::default() }
}

fn open(dir: &Path, config: LocationConfig) -> Location {
    Location::open(dir, config, at(10)).unwrap()
}

fn aor(user: u64) -> String {
    format!("sip:user{user}@example.com")
}

fn request(user: u64, cseq: u32, expires: u32) -> RegisterRequest<'static> {
    let flow = FlowId { node: 0, shard: 0, id: user };
    let source = "192.0.2.1:5060".parse().unwrap();
    let local = "198.51.100.1:5060".parse().unwrap();
    let origin = Origin { flow, transport: Transport::Udp, local, source };
    let mut request = RegisterRequest::new(aor(user), "call", cseq, origin);
    let mut contact = Contact::new(format!("sip:user{user}@192.0.2.1:5060;transport=udp"));
    contact.expires = Some(expires);
    contact.instance = Some(format!("<urn:uuid:00000000-0000-0000-0000-{user:012}>").into());
    request.contacts = Contacts::List(vec![contact].into());
    request
}

/// Runs a test of this binary in `dir` (told by the variable `child`) with files limited to 32 kB, as
/// on a full disk: how many registrations it says were acknowledged.
fn on_a_full_disk(test: &str, child: &str, dir: &Dir) -> usize {
    let output = std::process::Command::new("sh")
        // 512-byte blocks; writes beyond fail with EFBIG once the signal is ignored.
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(child, &dir.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let acknowledged = text.split("acknowledged ").nth(1).unwrap();
    acknowledged.split_whitespace().next().unwrap().parse().unwrap()
}

fn register(shard: &LocationShard, request: &RegisterRequest<'_>) -> Result<RegisterPlan, Refusal> {
    let (done, outcome) = sync_channel(1);
    shard.register(at(10), request, move |result| done.send(result).unwrap());
    outcome.recv_timeout(Duration::from_secs(20)).unwrap()
}
