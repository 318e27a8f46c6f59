//! A real name server (nsd) with records of the story's own.

use crate::process::Process;
use crate::story::Story;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(30);

/// nsd on a port of 127.0.0.1, with `records` below `zone` (`@`, `host` is 127.0.0.1).
pub fn name_server(story: &Story, port: u16, zone: &str, records: &str) -> Process {
    let dir = story.scratch.file("nsd").display().to_string();
    std::fs::create_dir_all(&dir).expect("a folder for nsd");
    let text = format!(
        "$ORIGIN {zone}.\n@ 60 IN SOA ns hostmaster 1 3600 600 86400 60\n@ 60 IN NS ns\n\
         ns 60 IN A 127.0.0.1\nhost 60 IN A 127.0.0.1\n{records}"
    );
    story.scratch.write("nsd/zone", text);
    let config = format!(
        "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{dir}\"\n \
         database: \"\"\n pidfile: \"{dir}/pid\"\n xfrdfile: \"{dir}/xfrd\"\n xfrdir: \"{dir}\"\n \
         zonelistfile: \"{dir}/list\"\n cookie-secret-file: \"\"\n server-count: 1\n logfile: \"{dir}/log\"\n\
         remote-control:\n control-enable: no\nzone:\n name: {zone}\n zonefile: zone\n"
    );
    let file = story.scratch.write("nsd/nsd.conf", config);
    let mut command = story.place.command("/usr/sbin/nsd");
    command.arg("-d").arg("-c").arg(file);
    let nsd = Process::start(&story.scratch, "nsd", command);
    wait_for_answer(port, zone);
    nsd
}

fn wait_for_answer(port: u16, zone: &str) {
    let mut query = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in zone.split('.') {
        query.push(u8::try_from(label.len()).expect("a short label"));
        query.extend(label.as_bytes());
    }
    query.extend(b"\x00\x00\x06\x00\x01");
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
