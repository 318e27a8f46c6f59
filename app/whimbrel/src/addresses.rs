//! Which addresses the server binds, and which it writes into messages (design decision 12).

use crate::cli::ServeArgs;
use crate::config::{Config, Dscp, Interface, TransportName};
use sansio::Transport;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses of a running server.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub interfaces: Vec<Interface>,
    /// What others reach us at, by default.
    pub advertised: IpAddr,
}

impl Addresses {
    /// From configuration and command line.
    pub fn new(config: &Config, args: &ServeArgs) -> Self {
        let public = args.public_ip.or(config.public_ip);
        let mut interfaces = config.interface.clone();
        if interfaces.is_empty() {
            interfaces.push(Interface {
                name: "default".into(),
                bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                advertise: None,
                sip_name: None,
                transports: vec![TransportName::Udp, TransportName::Tcp, TransportName::Tls],
                dscp_media: Dscp::EF,
                dscp_signalling: Dscp::CS5,
            });
        }
        for interface in &mut interfaces {
            if let Some(ip) = args.listen_ip {
                interface.bind = ip;
            }
            let own = match interface.bind.is_unspecified() {
                true => primary(interface.bind.is_ipv4()),
                false => interface.bind,
            };
            let fits = |ip: &IpAddr| ip.is_ipv4() == interface.bind.is_ipv4();
            interface.advertise = interface.advertise.or(public.filter(fits)).or(Some(own));
        }
        let first = interfaces[0].advertise.unwrap_or(interfaces[0].bind);
        Self { interfaces, advertised: first }
    }

    /// The names that stand in our Via and Record-Route: whoever reaches us by them over TLS must
    /// find them in our certificate.
    pub fn sip_names(&self) -> Vec<String> {
        self.interfaces.iter().filter_map(|i| i.sip_name.clone()).collect()
    }

    /// SIP listeners for `net`: interface, transport, address.
    pub fn sip(&self, config: &Config) -> Vec<(String, Transport, SocketAddr)> {
        let mut all = Vec::new();
        for interface in &self.interfaces {
            let mut add = |transport, port| {
                all.push((interface.name.clone(), transport, (interface.bind, port).into()));
            };
            for transport in &interface.transports {
                let (transport, port) = match transport {
                    TransportName::Udp => (Transport::Udp, config.ports.sip),
                    TransportName::Tcp => (Transport::Tcp, config.ports.sip),
                    TransportName::Tls => (Transport::Tls, config.ports.sips),
                };
                add(transport, port);
            }
            // Last, so that what is written into messages is the first port where it matters not.
            for transport in &interface.transports {
                match (transport, config.ports.sip_alternate) {
                    (TransportName::Udp, Some(port)) => add(Transport::Udp, port),
                    (TransportName::Tcp, Some(port)) => add(Transport::Tcp, port),
                    _ => {}
                }
            }
        }
        all
    }

    /// What an interface writes into messages.
    pub fn advertise(&self, interface: &str) -> IpAddr {
        let found = self.interfaces.iter().find(|i| i.name == interface);
        found.and_then(|i| i.advertise).unwrap_or(self.advertised)
    }

    /// The interface of this name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.name == name)
    }

    /// What an interface writes into Via and Record-Route for a port: its name, else its address.
    pub fn sent_by(&self, interface: &str, port: u16) -> String {
        let found = self.interfaces.iter().find(|i| i.name == interface);
        match found.and_then(|i| i.sip_name.as_ref()) {
            Some(name) => format!("{name}:{port}"),
            None => host_port(self.advertise(interface), port),
        }
    }

    /// Where HTTPS listens: on every interface, the first one's address first.
    pub fn https(&self, config: &Config) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> = Vec::new();
        for interface in &self.interfaces {
            let addr = (interface.bind, config.ports.https).into();
            if !all.contains(&addr) {
                all.push(addr);
            }
        }
        all
    }

    /// Where SIP over WebSocket in clear listens, if it does.
    pub fn ws(&self, config: &Config) -> Option<SocketAddr> {
        config.ports.ws.map(|port| (self.interfaces[0].bind, port).into())
    }

    /// Every address that means this server.
    pub fn ours(&self) -> Vec<IpAddr> {
        let pairs = self.interfaces.iter().flat_map(|i| [Some(i.bind), i.advertise]);
        let mut all: Vec<IpAddr> = pairs.flatten().filter(|ip| !ip.is_unspecified()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Where a service on this machine reaches the first UDP listener.
    pub fn local_udp(&self, config: &Config) -> SocketAddr {
        let udp = self.interfaces.iter().find(|i| i.transports.contains(&TransportName::Udp));
        let bind = udp.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |i| i.bind);
        let ip = if bind.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { bind };
        (ip, config.ports.sip).into()
    }
}

/// `host:port`, IPv6 in brackets.
pub fn host_port(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip, port).to_string()
}

/// The address this machine would reach the world from.
fn primary(v4: bool) -> IpAddr {
    let world: IpAddr = match v4 {
        true => Ipv4Addr::new(192, 0, 2, 1).into(),
        false => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    net::source_address(world).unwrap_or(match v4 {
        true => Ipv4Addr::LOCALHOST.into(),
        false => Ipv6Addr::LOCALHOST.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_ip_moves_every_interface_and_public_ip_is_what_is_written() {
        let args = ServeArgs {
            listen_ip: Some(IpAddr::from([127, 0, 0, 9])),
            public_ip: Some(IpAddr::from([198, 51, 100, 7])),
            ..ServeArgs::default()
        };
        let addresses = Addresses::new(&Config::default(), &args);
        let sip = addresses.sip(&Config::default());
        assert_eq!(sip.len(), 3);
        assert_eq!(sip[2].2.to_string(), "127.0.0.9:5061");
        assert_eq!(addresses.advertised, IpAddr::from([198, 51, 100, 7]));
        assert_eq!(addresses.local_udp(&Config::default()).to_string(), "127.0.0.9:5060");
        assert_eq!(addresses.ours().len(), 2);
    }

    #[test]
    fn a_dual_stack_server_writes_the_right_family_and_serves_https_on_both() {
        let interface = |name: &str, bind: &str| Interface {
            name: name.into(),
            bind: bind.parse().unwrap(),
            advertise: None,
            sip_name: (name == "six").then(|| "sip.example.com".into()),
            transports: vec![TransportName::Udp],
            dscp_media: Dscp::EF,
            dscp_signalling: Dscp::CS5,
        };
        let interfaces = vec![interface("four", "127.0.0.1"), interface("six", "::1")];
        let config = Config { interface: interfaces, ..Config::default() };
        let public_ip = Some(IpAddr::from([198, 51, 100, 7]));
        let args = ServeArgs { public_ip, ..ServeArgs::default() };
        let addresses = Addresses::new(&config, &args);
        assert_eq!(addresses.advertise("four").to_string(), "198.51.100.7");
        assert_eq!(addresses.advertise("six").to_string(), "::1");
        assert_eq!(addresses.sent_by("four", 5060), "198.51.100.7:5060");
        assert_eq!(addresses.sent_by("six", 5060), "sip.example.com:5060");
        let https: Vec<String> = addresses.https(&config).iter().map(|a| a.to_string()).collect();
        assert_eq!(https, ["127.0.0.1:8443", "[::1]:8443"]);
    }

    #[test]
    fn by_default_a_real_address_is_advertised() {
        let addresses = Addresses::new(&Config::default(), &ServeArgs::default());
        assert!(!addresses.advertised.is_unspecified());
        assert!(addresses.local_udp(&Config::default()).ip().is_loopback());
    }
}
