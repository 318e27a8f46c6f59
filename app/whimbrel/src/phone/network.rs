//! Which network this machine is on, by its way out: the gateway and, where it is known, the
//! gateway's hardware address, since 192.168.1.1 is everywhere.

use ::phone::NetworkId;
use aws_lc_rs::digest::{SHA256, digest};
use std::fs;

/// A network, as it can be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `eth0 0101A8C0`, or the IPv6 gateway; empty without a way out.
    gateway: String,
    /// Unknown until something was sent there.
    hardware: Option<String>,
}

impl Network {
    /// The network of this moment.
    pub fn current() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let four = default_route(&read("/proc/net/route"));
        let Some((device, hop)) = four else {
            let six = default_route6(&read("/proc/net/ipv6_route"));
            return Self { gateway: six.unwrap_or_default(), hardware: None };
        };
        let hardware = hardware_of(&read("/proc/net/arp"), &device, hop);
        Self { gateway: format!("{device} {hop:08x}"), hardware }
    }

    /// Whether `later` is certainly another one.
    pub fn differs(&self, later: &Self) -> bool {
        let both = self.hardware.as_ref().zip(later.hardware.as_ref());
        self.gateway != later.gateway || both.is_some_and(|(one, other)| one != other)
    }

    /// Its name: a hash, since where somebody was is nobody's business.
    pub fn id(&self) -> NetworkId {
        let text = format!("{} {}", self.gateway, self.hardware.as_deref().unwrap_or_default());
        let hash = digest(&SHA256, text.as_bytes());
        NetworkId(hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Device and gateway of the default route with the lowest metric.
fn default_route(table: &str) -> Option<(String, u32)> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [device, "00000000", hop, _, _, _, metric, "00000000", ..] = fields[..] else {
            return None;
        };
        let hop = u32::from_str_radix(hop, 16).ok()?;
        Some((metric.parse::<u32>().ok()?, device.to_string(), hop))
    };
    table.lines().filter_map(route).min().map(|(_, device, hop)| (device, hop))
}

/// Gateway and device of the IPv6 default route with the lowest metric.
fn default_route6(table: &str) -> Option<String> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [to, "00", _, "00", hop, metric, _, _, _, device] = fields[..] else { return None };
        let real = to.bytes().all(|b| b == b'0') && device != "lo";
        real.then(|| (metric.to_string(), format!("{device} {hop}")))
    };
    table.lines().filter_map(route).min().map(|(_, gateway)| gateway)
}

/// The hardware address of an IPv4 neighbour. `/proc/net/route` has it in the host's byte order.
fn hardware_of(table: &str, device: &str, hop: u32) -> Option<String> {
    let address = std::net::Ipv4Addr::from(hop.to_ne_bytes()).to_string();
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [at, _, _, hardware, _, by] = fields[..] else { return None };
        let known = hardware != "00:00:00:00:00:00";
        (at == address && by == device && known).then(|| hardware.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
        wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";

    #[test]
    fn the_way_out_is_the_default_route_with_the_lowest_metric() {
        assert_eq!(default_route(ROUTES), Some(("eth0".into(), 0x0102_00C0)));
        assert_eq!(default_route("Iface\tDestination\n"), None);
    }

    #[test]
    fn a_gateway_is_known_by_its_hardware_once_that_is_known() {
        let table = "IP address HW type Flags HW address Mask Device\n\
                     192.0.2.1 0x1 0x2 02:00:00:00:00:01 * eth0\n\
                     192.0.2.2 0x1 0x0 00:00:00:00:00:00 * eth0\n";
        let hop = |last| u32::from_ne_bytes([192, 0, 2, last]);
        assert_eq!(hardware_of(table, "eth0", hop(1)).as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!(hardware_of(table, "eth0", hop(2)), None);
        assert_eq!(hardware_of(table, "wlan0", hop(1)), None);
        let network = |hardware: Option<&str>| Network {
            gateway: "eth0 1".into(),
            hardware: hardware.map(str::to_string),
        };
        let (unknown, one, other) = (network(None), network(Some("a")), network(Some("b")));
        assert!(one.differs(&other) && !unknown.differs(&one) && !one.differs(&unknown));
        assert!(one.id() != other.id() && one.id().0.len() == 16);
    }

    #[test]
    fn ipv6_routes_count_where_there_is_no_other() {
        let zero = "0".repeat(32);
        let hop = format!("fe80{}1", "0".repeat(27));
        let line = |to: &str, device: &str| {
            format!("{to} 00 {zero} 00 {hop} 00000400 00000001 00000000 00000003 {device}\n")
        };
        let table = line(&zero, "lo") + &line(&zero, "wlan0");
        assert_eq!(default_route6(&table), Some(format!("wlan0 {hop}")));
        assert_eq!(default_route6(&line(&zero, "lo")), None);
    }
}
