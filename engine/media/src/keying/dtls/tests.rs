//! Client and server over a link in memory, with virtual time and seeded loss.

use sansio::{Entropy, SeededEntropy};

use super::*;

struct Pair {
    now: Instant,
    ends: [DtlsEndpoint; 2],
    keys: [Option<SrtpKeys>; 2],
    loss_percent: u64,
    dice: SeededEntropy,
}

impl Pair {
    fn new(loss_percent: u64, seed: u64) -> (Self, [Certificate; 2]) {
        let now = sansio::testing::epoch();
        let certs = [Certificate::generate().unwrap(), Certificate::generate().unwrap()];
        let ends = [
            DtlsEndpoint::new(&certs[0], DtlsRole::Client, now).unwrap(),
            DtlsEndpoint::new(&certs[1], DtlsRole::Server, now).unwrap(),
        ];
        let dice = SeededEntropy::new(seed);
        (Self { now, ends, keys: [None, None], loss_percent, dice }, certs)
    }

    /// Runs for `limit` of virtual time or until both have keys.
    fn run(&mut self, limit: Duration) -> Result<(), KeyingError> {
        let end = self.now + limit;
        while self.now < end && self.keys.iter().any(Option::is_none) {
            for i in 0..2 {
                if self.ends[i].poll_timeout().is_some_and(|at| at <= self.now) {
                    self.ends[i].handle_timeout(self.now)?;
                }
                while let Some(output) = self.ends[i].poll_output() {
                    match output {
                        DtlsOutput::Transmit(_)
                            if self.dice.next_u64() % 100 < self.loss_percent => {}
                        DtlsOutput::Transmit(p) => self.ends[1 - i].handle_packet(self.now, &p)?,
                        DtlsOutput::Connected(keys) => self.keys[i] = Some(keys),
                        DtlsOutput::Closed => {}
                    }
                }
            }
            self.now += Duration::from_millis(10);
        }
        Ok(())
    }

    fn introduce(&mut self, certs: &[Certificate; 2]) {
        for i in 0..2 {
            self.ends[i].set_remote_fingerprint(certs[1 - i].fingerprint().clone()).unwrap();
        }
    }

    fn assert_keys_fit(&self) {
        let [Some(client), Some(server)] = &self.keys else { panic!("no keys: {:?}", self.ends) };
        assert_eq!(client.suite, server.suite);
        assert_eq!((&client.local, &client.remote), (&server.remote, &server.local));
        assert_ne!(client.local, client.remote);
    }
}

#[test]
fn a_handshake_gives_both_ends_the_same_srtp_keys() {
    let (mut pair, certs) = Pair::new(0, 1);
    pair.introduce(&certs);
    pair.run(Duration::from_secs(5)).unwrap();
    pair.assert_keys_fit();
    assert!(pair.ends.iter().all(DtlsEndpoint::is_connected));
}

#[test]
fn a_handshake_survives_loss() {
    for seed in 0..8 {
        let (mut pair, certs) = Pair::new(20, seed);
        pair.introduce(&certs);
        pair.run(Duration::from_secs(29)).unwrap();
        pair.assert_keys_fit();
    }
}

#[test]
fn keys_are_withheld_until_the_fingerprint_is_known() {
    let (mut pair, certs) = Pair::new(0, 1);
    pair.run(Duration::from_secs(2)).unwrap();
    assert!(pair.keys.iter().all(Option::is_none));
    pair.introduce(&certs);
    pair.run(Duration::from_secs(2)).unwrap();
    pair.assert_keys_fit();
}

#[test]
fn a_certificate_that_sdp_did_not_announce_is_refused() {
    let (mut pair, certs) = Pair::new(0, 1);
    pair.ends[1].set_remote_fingerprint(certs[1].fingerprint().clone()).unwrap();
    let refused = pair.run(Duration::from_secs(5));
    assert_eq!(refused, Err(KeyingError::FingerprintMismatch));
    assert!(pair.keys[1].is_none());
}

#[test]
fn a_silent_peer_ends_in_a_timeout_not_in_a_loop() {
    let (mut pair, _) = Pair::new(100, 1);
    let failed = pair.run(Duration::from_secs(120));
    assert!(matches!(failed, Err(KeyingError::Dtls(dimpl::Error::Timeout(_)))), "{failed:?}");
    assert_eq!(pair.ends[0].poll_timeout(), None);
}

#[test]
fn garbage_does_not_end_a_handshake() {
    let (mut pair, certs) = Pair::new(0, 1);
    pair.introduce(&certs);
    for len in 0..200 {
        let garbage: Vec<u8> =
            (0..len).map(|i| if i == 0 { 22 } else { len as u8 ^ i as u8 }).collect();
        pair.ends[1].handle_packet(pair.now, &garbage).unwrap();
    }
    pair.run(Duration::from_secs(5)).unwrap();
    pair.assert_keys_fit();
}
