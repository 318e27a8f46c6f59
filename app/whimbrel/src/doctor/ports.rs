//! Every port the server would listen on: free, or held by our own server.

use super::Patient;
use super::report::Report;
use sansio::Transport;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

const OTHER_PORT: &str = "stop what holds it, or choose other [ports] or another --listen-ip";

/// Tries to bind each port for a moment. An IPv6 wildcard is tried together with IPv4.
pub(super) fn check(report: &mut Report, patient: &Patient<'_>) {
    for (what, addr) in wanted(patient) {
        let tried = match what {
            "udp" => UdpSocket::bind(addr).map(drop),
            _ => TcpListener::bind(addr).map(drop),
        };
        tell(report, patient.running, (what, addr), tried);
    }
    let binds: BTreeSet<IpAddr> = patient.addresses.interfaces.iter().map(|i| i.bind).collect();
    for ip in binds {
        media(report, patient, ip);
    }
}

fn wanted(patient: &Patient<'_>) -> Vec<(&'static str, SocketAddr)> {
    let sip = patient.addresses.sip(&patient.config).into_iter();
    let mut wanted: Vec<_> = sip
        .map(|(_, transport, addr)| match transport {
            Transport::Udp => ("udp", addr),
            Transport::Tcp => ("tcp", addr),
            _ => ("tls", addr),
        })
        .collect();
    let https = patient.addresses.https(&patient.config);
    wanted.extend(https.into_iter().map(|addr| ("https", addr)));
    wanted.extend(patient.addresses.ws(&patient.config).map(|addr| ("ws", addr)));
    wanted.push(("metrics", patient.config.ports.metrics));
    wanted
}

fn tell(
    report: &mut Report,
    running: bool,
    (what, addr): (&str, SocketAddr),
    tried: io::Result<()>,
) {
    let name = format!("port {}/{what}", addr.port());
    let ip = addr.ip();
    match (tried, running) {
        (Ok(()), false) => report.ok(name, format!("free on {ip}")),
        (Ok(()), true) => report.warn(
            name,
            format!("the running server does not listen there on {ip}"),
            "it has another configuration: ask with that, or start it again with this one",
        ),
        (Err(e), true) if e.kind() == io::ErrorKind::AddrInUse => {
            report.ok(name, format!("held on {ip}, a server of ours runs"));
        }
        (Err(e), _) if e.kind() == io::ErrorKind::AddrInUse => {
            let remedy = format!("ss -lptun 'sport = :{}' names it; {OTHER_PORT}", addr.port());
            report.fail(name, format!("in use on {ip} by another program"), remedy);
        }
        (Err(e), _) if e.kind() == io::ErrorKind::PermissionDenied => {
            let remedy = "use a port above 1023, or grant CAP_NET_BIND_SERVICE";
            report.fail(name, format!("no permission to listen on {ip}"), remedy);
        }
        (Err(e), _) if e.kind() == io::ErrorKind::AddrNotAvailable => {
            let remedy = "correct --listen-ip, [[interface]] or ports.metrics";
            report.fail(name, format!("this machine has no address {ip}"), remedy);
        }
        (Err(e), _) => report.fail(name, format!("{ip}: {e}"), OTHER_PORT),
    }
}

/// The media ports of an address. A few that others hold are passed over by the relay.
fn media(report: &mut Report, patient: &Patient<'_>, ip: IpAddr) {
    let ports = &patient.config.ports;
    let name = format!("ports {}-{}/udp", ports.rtp_min, ports.rtp_max);
    let all = usize::from(ports.rtp_max - ports.rtp_min) + 1;
    let mut taken = 0;
    for port in ports.rtp_min..=ports.rtp_max {
        match UdpSocket::bind((ip, port)) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => taken += 1,
            // Said of the signalling ports already.
            Err(e) => {
                let remedy = "correct --listen-ip, [[interface]] or [ports]";
                return report.fail(name, format!("port {port} on {ip}: {e}"), remedy);
            }
        }
    }
    let free = all - taken;
    match (taken, patient.running) {
        (0, _) => report.ok(name, format!("all {all} free on {ip}")),
        (_, true) => {
            report.ok(name, format!("{free} of {all} free on {ip}, a server of ours runs"))
        }
        _ if taken * 10 <= all => {
            report
                .ok(name, format!("{free} of {all} free on {ip}: the relay passes over the rest"));
        }
        _ if free < 4 => report.fail(
            name,
            format!("{taken} of {all} in use on {ip} by other programs: room for no call"),
            "choose other ports.rtp_min and ports.rtp_max",
        ),
        _ => report.warn(
            name,
            format!("{taken} of {all} in use on {ip} by other programs"),
            "choose other ports.rtp_min and ports.rtp_max, or accept fewer calls",
        ),
    }
}
