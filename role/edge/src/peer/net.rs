//! Addresses and prefixes, IPv4 and IPv6 alike.

use std::net::IpAddr;

/// A network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Net {
    address: u128,
    pub(super) bits: u8,
    is_v4: bool,
}

impl Net {
    /// `bits` beyond the address's own mean all of it.
    pub(super) fn new(ip: IpAddr, bits: u8) -> Self {
        let ip = ip.to_canonical();
        let (address, is_v4, most) = match ip {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true, 32),
            IpAddr::V6(v6) => (u128::from(v6), false, 128),
        };
        let bits = bits.min(most);
        Self { address: address & mask(bits), bits, is_v4 }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?),
            None => (text.parse().ok()?, 128),
        };
        let most = if ip.is_ipv4() { 32 } else { 128 };
        (text.find('/').is_none() || bits <= most).then(|| Self::new(ip, bits))
    }

    /// The address, and how many of its bits count.
    pub(super) fn parts(self) -> (IpAddr, u8) {
        match self.is_v4 {
            true => (IpAddr::V4(((self.address >> 96) as u32).into()), self.bits),
            false => (IpAddr::V6(self.address.into()), self.bits),
        }
    }

    pub(super) fn single(self) -> Option<IpAddr> {
        match (self.is_v4, self.bits) {
            (true, 32) => Some(IpAddr::V4(((self.address >> 96) as u32).into())),
            (false, 128) => Some(IpAddr::V6(self.address.into())),
            _ => None,
        }
    }

    pub(super) fn contains(self, ip: IpAddr) -> bool {
        let other = Self::new(ip, self.bits);
        self == other
    }
}

fn mask(bits: u8) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX << (128 - u32::from(bits)),
    }
}
