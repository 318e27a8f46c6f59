//! A Kamailio of the story's own configuration.

use crate::process::Process;
use crate::story::Story;
use std::net::SocketAddr;
use std::time::Duration;

const START: Duration = Duration::from_secs(20);

/// Starts it with `config`, which has it listen on `at` over UDP and answer 483 to what is out of hops.
pub fn start(story: &Story, at: SocketAddr, config: String) -> Process {
    let dir = story.scratch.path().display();
    let file = story.scratch.write("kamailio.cfg", config);
    let mut command = story.place.command("/usr/sbin/kamailio");
    command.args(["-DD", "-E", "-m", "64", "-M", "8", "-w"]).arg(story.scratch.path());
    command.args(["-Y", &dir.to_string(), "-P"]).arg(story.scratch.file("kamailio.pid"));
    command.arg("-f").arg(file);
    let mut process = Process::start(&story.scratch, "kamailio", command).with_children();
    let probe = std::net::UdpSocket::bind((at.ip(), 0)).expect("an address of loopback");
    probe.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let local = probe.local_addr().expect("bound");
    // Out of hops: it answers by itself.
    let ping = format!(
        "OPTIONS sip:x@{at} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKping;rport\r\n\
         Max-Forwards: 0\r\nFrom: <sip:p@x>;tag=1\r\nTo: <sip:x@x>\r\nCall-ID: ping\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    process.wait_for("an answer of Kamailio", START, |_| {
        // Nobody may listen yet.
        let _ = probe.send_to(ping.as_bytes(), at);
        probe.recv(&mut [0; 2_000]).is_ok().then_some(())
    });
    process
}
