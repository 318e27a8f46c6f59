//! What the laboratory is told, a line each.
//!
//! ```text
//!   nat home 203.0.113.1 port-restricted
//!   nat inner 100.64.0.7 symmetric behind home
//!   host server 198.51.100.1 198.51.100.2
//!   host alice 192.168.1.2 behind inner in 4711          the network namespace of process 4711
//!   host carol fd00::2 behind home via64 in 4712         IPv6 alone: `home` is a NAT64 (64:ff9b::/96)
//!   link alice delay_ms=20 jitter_ms=5 loss=0.01 burst=0.01,0.25,0.8 reorder=0.02 mtu=1400
//!   link home rate_kbps=256 queue_ms=200                 a translator's way to the Internet
//!   block alice udp          block alice udp:3478 tcp:5060          block alice all-but-tcp:443,5061
//!   forget home              as a router does that is switched off and on
//! ```

use simnet::{Burst, Link, NatConfig, Rate};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a network lets nobody send: datagrams (true) or segments to these ports.
pub type Blocked = Vec<(bool, RangeInclusive<u16>)>;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// A translator.
    Nat {
        /// Its name.
        name: String,
        /// Its public address.
        address: IpAddr,
        /// How it behaves.
        config: NatConfig,
        /// The translator it is behind.
        behind: Option<String>,
    },
    /// A host: a TUN device.
    Host {
        /// Its name.
        name: String,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// The translator it is behind.
        behind: Option<String>,
        /// The translator is a NAT64: what the host sends to its prefix goes on in IPv4.
        via64: bool,
        /// A process in the network namespace it is in; none for our own.
        room: Option<u32>,
    },
    /// What the link of a host, or of a translator, does from now on.
    Link {
        /// Whose.
        name: String,
        /// What.
        link: Link,
    },
    /// What a host's network drops from now on.
    Block {
        /// Whose.
        name: String,
        /// What.
        blocked: Blocked,
    },
    /// A translator loses its mappings.
    Forget {
        /// Which.
        name: String,
    },
    /// Everything seen so far is in the log when this is done.
    Flush,
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(line: &str) -> Result<Word, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["flush"] => Ok(Word::Flush),
        ["forget", name] => Ok(Word::Forget { name: name.into() }),
        ["nat", name, at, kind, ref rest @ ..] => {
            let (behind, rest) = option(rest, "behind");
            nothing_left(rest)?;
            let (address, config) = (address(at)?, nat(kind)?);
            Ok(Word::Nat { name: name.into(), address, config, behind })
        }
        ["host", name, ref rest @ ..] => {
            let many = rest.iter().take_while(|word| word.parse::<IpAddr>().is_ok()).count();
            let addresses =
                rest[..many].iter().map(|text| address(text)).collect::<Result<_, _>>()?;
            let (behind, rest) = option(&rest[many..], "behind");
            let via64 = rest.first() == Some(&"via64");
            let (room, rest) = option(&rest[usize::from(via64)..], "in");
            nothing_left(rest)?;
            let room = match room {
                Some(id) => Some(id.parse().map_err(|_| format!("`in {id}`: no process id"))?),
                None => None,
            };
            match many {
                0 => Err(format!("host {name}: give an address")),
                _ => Ok(Word::Host { name: name.into(), addresses, behind, via64, room }),
            }
        }
        ["link", name, ref rest @ ..] => Ok(Word::Link { name: name.into(), link: link(rest)? }),
        ["block", name, ref rest @ ..] => {
            let each = rest.iter().map(|text| blocked(text)).collect::<Result<Vec<_>, _>>()?;
            Ok(Word::Block { name: name.into(), blocked: each.concat() })
        }
        _ => Err(format!("`{line}`: no such word; nat, host, link, block, forget, flush")),
    }
}

/// A translator by the name people give it.
///
/// # Errors
/// No such kind.
pub fn nat(kind: &str) -> Result<NatConfig, String> {
    match kind {
        "full-cone" => Ok(NatConfig::full_cone()),
        "restricted" => Ok(NatConfig::restricted()),
        "port-restricted" => Ok(NatConfig::home()),
        "symmetric" => Ok(NatConfig::symmetric()),
        _ => Err(format!("`{kind}`: full-cone, restricted, port-restricted or symmetric")),
    }
}

fn link(words: &[&str]) -> Result<Link, String> {
    let mut link = Link { delay: Duration::ZERO, ..Link::lan() };
    let mut queue = Duration::from_millis(200);
    for word in words {
        let (key, value) = word.split_once('=').ok_or(format!("`{word}`: write KEY=VALUE"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("`{word}`: no number"));
        let ms = || number().map(|n| Duration::from_secs_f64(n.max(0.0) / 1_000.0));
        match key {
            "delay_ms" => link.delay = ms()?,
            "jitter_ms" => link.jitter = ms()?,
            "loss" => link.loss = number()?,
            "duplicate" => link.duplicate = number()?,
            "reorder" => link.reorder = number()?,
            "queue_ms" => queue = ms()?,
            "mtu" => link.mtu = Some(number()? as usize),
            "rate_kbps" => {
                link.rate = Some(Rate { bits_per_s: (number()? * 1_000.0) as u64, queue });
            }
            "burst" => {
                let parts: Vec<f64> = value.split(',').flat_map(str::parse).collect();
                let [begins, ends, loss] = parts[..] else {
                    return Err(format!(
                        "`{word}`: write burst=BEGINS,ENDS,LOSS, each from 0 to 1"
                    ));
                };
                link.burst = Some(Burst { begins, ends, loss });
            }
            _ => {
                return Err(format!(
                    "`{word}`: delay_ms, jitter_ms, loss, duplicate, reorder, burst, rate_kbps, \
                     queue_ms or mtu"
                ));
            }
        }
    }
    link.rate = link.rate.map(|rate| Rate { queue, ..rate });
    Ok(link)
}

fn blocked(text: &str) -> Result<Blocked, String> {
    let all = 0..=u16::MAX;
    let port = |port: &str| port.parse::<u16>().map_err(|_| format!("`{text}`: no port"));
    match text.split_once(':').unwrap_or((text, "")) {
        ("udp", "") => Ok(vec![(true, all)]),
        ("tcp", "") => Ok(vec![(false, all)]),
        ("udp", one) => port(one).map(|port| vec![(true, port..=port)]),
        ("tcp", one) => port(one).map(|port| vec![(false, port..=port)]),
        ("all-but-tcp", open) => {
            let mut open = open.split(',').map(port).collect::<Result<Vec<u16>, _>>()?;
            open.sort_unstable();
            let mut blocked = vec![(true, all)];
            let mut from = Some(0);
            for port in open {
                let below = port.checked_sub(1);
                blocked
                    .extend(from.zip(below).filter(|(a, b)| a <= b).map(|(a, b)| (false, a..=b)));
                from = port.checked_add(1);
            }
            blocked.extend(from.map(|from| (false, from..=u16::MAX)));
            Ok(blocked)
        }
        _ => Err(format!("`{text}`: udp, tcp, udp:PORT, tcp:PORT or all-but-tcp:PORT,PORT")),
    }
}

/// The word behind `key`, where the words begin with it, and what follows.
fn option<'w>(words: &'w [&'w str], key: &str) -> (Option<String>, &'w [&'w str]) {
    match words {
        [first, value, rest @ ..] if *first == key => (Some((*value).to_string()), rest),
        _ => (None, words),
    }
}

fn nothing_left(words: &[&str]) -> Result<(), String> {
    match words {
        [] => Ok(()),
        [word, ..] => Err(format!("`{word}` is one word too many")),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}`: no IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let inner = parse("nat inner 100.64.0.7 symmetric behind home").unwrap();
        let (config, behind) = (NatConfig::symmetric(), Some("home".to_string()));
        let address = "100.64.0.7".parse().unwrap();
        assert_eq!(inner, Word::Nat { name: "inner".into(), address, config, behind });
        let host = parse("host server 198.51.100.1 198.51.100.2").unwrap();
        assert!(matches!(host, Word::Host { addresses, room: None, .. } if addresses.len() == 2));
        let host = parse("host alice 192.168.1.2 behind inner in 4711").unwrap();
        assert!(matches!(host, Word::Host { room: Some(4711), behind: Some(_), via64: false, .. }));
        let host = parse("host carol fd00::2 behind home via64 in 4712").unwrap();
        assert!(matches!(host, Word::Host { room: Some(4712), via64: true, .. }));
        let Word::Link { link, .. } =
            parse("link a delay_ms=20 burst=0.1,0.5,1 rate_kbps=64 queue_ms=50 mtu=1400").unwrap()
        else {
            panic!("a link");
        };
        assert_eq!((link.delay, link.mtu), (Duration::from_millis(20), Some(1_400)));
        assert_eq!(link.burst, Some(Burst { begins: 0.1, ends: 0.5, loss: 1.0 }));
        let queue = Duration::from_millis(50);
        assert_eq!(link.rate, Some(Rate { bits_per_s: 64_000, queue }));
        let block = parse("block a all-but-tcp:443").unwrap();
        let blocked = vec![(true, 0..=65_535), (false, 0..=442), (false, 444..=65_535)];
        assert_eq!(block, Word::Block { name: "a".into(), blocked });
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (line, says) in [
            ("nat a 1.2.3 symmetric", "1.2.3"),
            ("nat a 1.2.3.4 moody", "full-cone"),
            ("nat a 1.2.3.4 symmetric beside b", "beside"),
            ("host a behind b", "address"),
            ("host a 1.2.3.4 in there", "there"),
            ("link a delay=3", "delay_ms"),
            ("link a loss=much", "much"),
            ("block a icmp", "icmp"),
            ("dance", "no such word"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
