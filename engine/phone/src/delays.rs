//! How near TURN servers are, on each network (R6.2): measured once in a while, not for each call.

use crate::transports::NetworkId;
use crate::ways::NETWORKS_MAX;
use media::traversal::KnownDelay;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A figure is believed for so long: routes change, and servers come back.
const LIVES: Duration = Duration::from_secs(600);

/// What was measured, latest first.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    networks: VecDeque<(NetworkId, Instant, Vec<KnownDelay>)>,
}

impl Delays {
    /// Measured on this network. What is only repeated from here is as old as it was.
    pub fn note(&mut self, now: Instant, network: &NetworkId, measured: Vec<KnownDelay>) {
        if measured.is_empty() || self.on(now, network) == measured {
            return;
        }
        self.networks.retain(|(known, until, _)| known != network && now < *until);
        if measured.len() < 2 {
            // All but one are gone: they are looked for again.
            return;
        }
        self.networks.push_front((network.clone(), now + LIVES, measured));
        self.networks.truncate(NETWORKS_MAX);
    }

    /// What is known of this network.
    pub fn on(&self, now: Instant, network: &NetworkId) -> Vec<KnownDelay> {
        let here = self.networks.iter().find(|(known, until, _)| known == network && now < *until);
        here.map(|(_, _, delays)| delays.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Transport;

    #[test]
    fn r6_2_delays_are_kept_for_each_network_for_ten_minutes() {
        let now = sansio::testing::epoch();
        let one = |n: u8, ms| KnownDelay {
            server: ([198, 51, 100, n], 3478).into(),
            transport: Transport::Udp,
            delay: Duration::from_millis(ms),
        };
        let mut delays = Delays::default();
        let network = |n: usize| NetworkId(format!("n{n}"));
        delays.note(now, &network(0), vec![one(1, 10), one(2, 40)]);
        assert_eq!(delays.on(now, &network(0)).len(), 2);
        assert!(delays.on(now, &network(1)).is_empty());
        // The same figures again, from here: not believed for longer.
        delays.note(now + LIVES / 2, &network(0), vec![one(1, 10), one(2, 40)]);
        assert!(delays.on(now + LIVES, &network(0)).is_empty());
        delays.note(now, &network(0), vec![one(2, 40)]);
        assert!(delays.on(now, &network(0)).is_empty(), "one is dead: measured anew");
        for n in 0..NETWORKS_MAX + 3 {
            delays.note(now, &network(n), vec![one(1, 10), one(2, 40)]);
        }
        assert_eq!(delays.networks.len(), NETWORKS_MAX);
    }
}
