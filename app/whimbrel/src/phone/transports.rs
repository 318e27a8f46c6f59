//! `--transport`: by which transports the server may be reached, most wanted first.

use sansio::Transport;
use std::fmt;
use std::str::FromStr;

/// The account's policy: never empty, nothing twice, and never from encrypted to clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportList(Vec<TransportWay>);

/// One transport, and the port where it is not the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportWay {
    pub transport: Transport,
    pub port: Option<u16>,
}

impl TransportList {
    /// The ways, most wanted first.
    pub fn ways(&self) -> &[TransportWay] {
        &self.0
    }
}

impl TransportWay {
    /// Where a server listens unless told otherwise. WSS: where no network blocks it, then where a
    /// server of ours has it by default.
    pub fn usual_ports(&self) -> &'static [u16] {
        match self.transport {
            Transport::Udp | Transport::Tcp => &[5060],
            Transport::Tls => &[5061],
            Transport::Ws | Transport::Wss => &[443, 8443],
        }
    }
}

impl FromStr for TransportList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text == "auto" { "udp,tcp,tls,wss" } else { text };
        let mut ways: Vec<TransportWay> = Vec::new();
        for part in text.split(',') {
            let way = way(part.trim())?;
            if ways.iter().any(|other| other.transport == way.transport) {
                return Err(format!("{part} stands there twice: name each transport once"));
            }
            // Whoever blocks TLS must not get the call in clear for it (R2.9).
            if let Some(before) = ways.last()
                && before.transport.is_secure()
                && !way.transport.is_secure()
            {
                return Err(format!(
                    "{part} after {} would give the call in clear to whoever blocks encryption: \
                     name clear transports first, or not at all",
                    word(before.transport)
                ));
            }
            ways.push(way);
        }
        Ok(Self(ways))
    }
}

impl fmt::Display for TransportList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, way) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(word(way.transport))?;
            if let Some(port) = way.port {
                write!(f, ":{port}")?;
            }
        }
        Ok(())
    }
}

fn way(part: &str) -> Result<TransportWay, String> {
    let (name, port) = match part.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (part, None),
    };
    let transport = match name {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        "wss" => Transport::Wss,
        _ => return Err(format!("'{name}' is no transport: udp, tcp, tls, wss, or auto alone")),
    };
    let port = port.map(|port| match port.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("port '{port}' of {name} is not a number from 1 to 65535")),
    });
    Ok(TransportWay { transport, port: port.transpose()? })
}

/// As it is written in the list.
pub fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Ws | Transport::Wss => "wss",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_ports_and_written_as_they_were() {
        for text in ["udp", "tls,wss", "udp:5070,tcp,tls:5062,wss:443"] {
            assert_eq!(text.parse::<TransportList>().unwrap().to_string(), text);
        }
        let auto: TransportList = "auto".parse().unwrap();
        assert_eq!(auto.to_string(), "udp,tcp,tls,wss");
        assert_eq!(auto.ways()[3].usual_ports(), [443, 8443]);
    }

    #[test]
    fn r2_9_no_list_falls_from_encrypted_to_clear() {
        let error = |text: &str| text.parse::<TransportList>().unwrap_err();
        assert!(error("tls,udp").contains("udp after tls would give the call in clear"));
        assert!(error("udp,wss,tcp").contains("tcp after wss"));
        assert!(error("tls,tls").contains("twice"));
        assert!(error("sctp").contains("'sctp' is no transport"));
        assert!(error("udp:0").contains("port '0' of udp"));
    }
}
