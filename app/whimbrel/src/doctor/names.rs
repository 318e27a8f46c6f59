//! DNS: each tenant's domain leads here.

use super::Patient;
use super::report::Report;
use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);
/// For all domains together; a server of thousands is not kept waiting for a dead resolver.
const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "DNS";

/// Resolves the tenants' domains. One line for what is in order, one for each that is not.
pub(super) async fn check(report: &mut Report, patient: &Patient<'_>) {
    let started = Instant::now();
    let mut good = 0;
    for (done, domain) in patient.tenants.iter().enumerate() {
        if started.elapsed() > PATIENCE {
            let left = patient.tenants.len() - done;
            report.warn(NAME, format!("{left} domains not looked at"), "see to the resolver");
            break;
        }
        let bare = domain.trim_matches(['[', ']']);
        if bare.parse::<IpAddr>().is_ok() {
            good += 1;
            continue;
        }
        let port = patient.config.ports.sip;
        let lookup = tokio::net::lookup_host((bare, port));
        let found: BTreeSet<IpAddr> = match tokio::time::timeout(LOOKUP_PATIENCE, lookup).await {
            Ok(Ok(found)) => found.map(|addr| addr.ip()).collect(),
            Ok(Err(_)) | Err(_) => BTreeSet::new(),
        };
        match found.iter().any(|ip| is_ours(patient, *ip)) {
            true => good += 1,
            false => stray(report, patient, domain, &found),
        }
    }
    if good > 0 {
        report.ok(NAME, format!("domains that lead here: {good} of {}", patient.tenants.len()));
    }
}

fn stray(report: &mut Report, patient: &Patient<'_>, domain: &str, found: &BTreeSet<IpAddr>) {
    let ours = patient.addresses.advertised;
    let kind = if ours.is_ipv4() { "A" } else { "AAAA" };
    let detail = match found.is_empty() {
        true => format!("{domain} does not resolve"),
        false => {
            let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
            format!("{domain} resolves to {}, which is not here", found.join(", "))
        }
    };
    let remedy = format!(
        "add the record: {domain} {kind} {ours}; or set public_ip; phones can also be given the \
         address as --server"
    );
    report.warn(NAME, detail, remedy);
}

/// Whether packets to an address reach this server: it is configured, or, when listening on a
/// wildcard, one of this machine's (only those can be bound).
fn is_ours(patient: &Patient<'_>, ip: IpAddr) -> bool {
    let interfaces = &patient.addresses.interfaces;
    let wildcard =
        interfaces.iter().any(|i| i.bind.is_unspecified() && i.bind.is_ipv4() == ip.is_ipv4());
    patient.addresses.ours().contains(&ip) || (wildcard && UdpSocket::bind((ip, 0)).is_ok())
}
