//! Floods, scanners and the good users beside them.

use super::*;
use sansio::SeededEntropy;

struct Place {
    gate: Gate,
    now: Instant,
}

fn place() -> Place {
    with(GatePolicy::default())
}

fn with(policy: GatePolicy) -> Place {
    let now = Instant::now();
    Place { gate: Gate::new(policy, now, &mut SeededEntropy::new(1)), now }
}

impl Place {
    /// How many of `count` messages get in, sent evenly over `over`.
    fn send(&mut self, peer: SocketAddr, count: u32, over: Duration) -> u32 {
        let mut passed = 0;
        for _ in 0..count {
            self.now += over / count;
            let verdict = self.gate.admit(self.now, peer, || b"Phone/1");
            passed += u32::from(verdict == Verdict::Pass);
        }
        passed
    }

    fn blame(&mut self, peer: SocketAddr, sign: Sign) -> Option<Ban> {
        self.gate.blame(self.now, peer.ip(), sign)
    }
}

fn peer(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn r2_7_a_flood_is_cut_to_its_rate_and_then_banned_while_peers_that_authenticated_pass() {
    let mut place = place();
    let (flood, good) = (peer("192.0.2.1:5060"), peer("192.0.2.1:6000"));
    place.gate.prove(place.now, good);
    let passed = place.send(flood, 30_000, Duration::from_secs(1));
    assert!((500..=700).contains(&passed), "burst and rate: {passed}");
    assert_eq!(place.send(good, 200, Duration::from_secs(1)), 200, "behind the same NAT");
    // A quarter of the signs count there: 8,000 too many ban it, 29,400 were.
    assert_eq!(place.gate.bans(place.now).len(), 1);
    assert_eq!(place.send(flood, 100, Duration::from_secs(1)), 0);
    assert_eq!(place.send(good, 200, Duration::from_secs(1)), 200);
    assert_eq!(place.gate.accept(place.now, good.ip()), Verdict::Pass, "shared with good users");
}

#[test]
fn r2_7_a_network_of_sources_is_cut_to_the_rate_of_its_prefix() {
    let mut place = place();
    let mut passed = 0;
    for n in 0..30_000_u32 {
        let source = peer(&format!("198.51.100.{}:5060", n % 250));
        passed += place.send(source, 1, Duration::from_micros(100));
    }
    assert!((2_000..=3_300).contains(&passed), "three seconds: {passed}");
}

#[test]
fn r2_7_a_scanner_is_banned_at_its_first_message_twice_as_long_each_time() {
    let mut place = place();
    let scanner = peer("[2001:db8::7]:5060");
    let beside = peer("[2001:db8::8]:5060");
    let mut lasted = Vec::new();
    for _ in 0..8 {
        let verdict = place.gate.admit(place.now, scanner, || b"Friendly-Scanner v1");
        assert_eq!(verdict, Verdict::Drop(Shed::Scanner));
        assert_eq!(place.send(beside, 1, Duration::ZERO), 0, "the same /64");
        let ban = place.gate.bans(place.now)[0];
        assert_eq!(ban.sign.word(), "scanner");
        lasted.push(ban.left.as_secs());
        assert_eq!(place.gate.accept(place.now, scanner.ip()), Verdict::Drop(Shed::Banned));
        place.now += ban.left + Duration::from_millis(1);
        assert!(place.gate.bans(place.now).is_empty());
    }
    assert_eq!(lasted, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
    place.now += Duration::from_secs(8 * 3600);
    place.gate.admit(place.now, scanner, || b"friendly-scanner");
    assert_eq!(place.gate.bans(place.now)[0].left.as_secs(), 60, "forgiven");
}

#[test]
fn r2_7_a_sweep_over_missing_users_is_banned_and_one_wrong_setting_is_not() {
    let mut place = place();
    let (sweep, wrong) = (peer("203.0.113.1:5060"), peer("203.0.113.2:5060"));
    // Names as hashes: spread over all bits.
    let name = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let banned =
        (1..100).find(|n| place.blame(sweep, Sign::MissingUser { name: name(*n) }).is_some());
    assert!(banned.is_some_and(|n| n <= 40), "{banned:?}");
    for _ in 0..2_000 {
        place.now += Duration::from_secs(30);
        assert_eq!(place.blame(wrong, Sign::MissingUser { name: 7 << 58 }), None);
        assert_eq!(place.blame(wrong, Sign::WrongPassword { name: 9 << 58 }), None);
    }
}

#[test]
fn a_ban_is_lifted_and_what_led_to_it_forgotten() {
    let mut place = place();
    let source = peer("203.0.113.1:5060");
    for _ in 0..10 {
        place.blame(source, Sign::Astray);
    }
    assert_eq!(place.send(source, 1, Duration::ZERO), 0);
    assert!(place.gate.lift(place.now, source.ip()));
    assert!(!place.gate.lift(place.now, source.ip()), "there is none any more");
    assert_eq!(place.send(source, 1, Duration::ZERO), 1);
    assert_eq!(place.blame(source, Sign::Astray), None, "from the beginning");
}

#[test]
fn loopback_and_exempt_networks_are_never_limited() {
    let exempt = vec![("10.0.0.0".parse().unwrap(), 8), ("2001:db8::".parse().unwrap(), 32)];
    let near = with(GatePolicy { exempt, ..GatePolicy::default() });
    for ip in ["127.0.0.9", "::1", "::ffff:127.0.0.1", "10.9.8.7", "2001:db8:1::1"] {
        let ip = ip.parse().unwrap();
        assert!(near.gate.exempts(ip), "{ip}");
        assert_eq!(near.gate.blame(near.now, ip, Sign::Scanner), None);
    }
    assert!(!near.gate.exempts("11.0.0.1".parse().unwrap()));
    let strict = with(GatePolicy { limit_loopback: true, ..GatePolicy::default() });
    assert!(!strict.gate.exempts("127.0.0.9".parse().unwrap()));
    assert!(Gate::open(near.now).exempts("11.0.0.1".parse().unwrap()));
}

#[test]
fn memory_of_sources_is_bounded_and_a_ban_outlives_a_million_spoofed_ones() {
    let mut place = place();
    let scanner = peer("203.0.113.1:5060");
    place.blame(scanner, Sign::Scanner);
    for n in 0..1_000_000_u32 {
        let source = SocketAddr::from(((0x0b00_0000 + n).to_be_bytes(), 5060));
        place.gate.admit(place.now, source, || b"");
    }
    let verdict = place.gate.admit(place.now, scanner, || b"");
    assert_eq!(verdict, Verdict::Drop(Shed::Banned));
}
