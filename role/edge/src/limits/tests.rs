//! Who may guess how often, and who is never stopped by it.

use super::*;

const T0: WallTime = WallTime::from_secs(1_800_000_000);
const ALICE: &str = "alice";

fn attempts() -> Attempts {
    Attempts::new(&Guesses::default(), false, &Redacted::new([7; 32]))
}

/// With a port, as tries have it.
fn with_port(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 5060)
}

fn source(n: u32) -> IpAddr {
    // A prefix of its own for each.
    IpAddr::from((0x0b00_0000 + n * 256 + 9).to_be_bytes())
}

/// A stranger's wrong guess; true if it was looked at.
fn guess(attempts: &Attempts, at: WallTime, user: &str, from: IpAddr) -> bool {
    let account = attempts.account("example.com", user);
    let what = Try { account, source: with_port(from), device: &|| None };
    let permit = attempts.permit(at, &what, || false);
    if let Ok(permit) = &permit {
        attempts.wrong(at, permit);
    }
    permit.is_ok()
}

fn authenticate(attempts: &Attempts, at: WallTime, from: IpAddr, device: Option<&[u8]>) -> bool {
    let account = attempts.account("example.com", ALICE);
    let what = Try { account, source: with_port(from), device: &|| device };
    match attempts.permit(at, &what, || false) {
        Ok(permit) => {
            attempts.right(at, &what, &permit, (b"Phone/1", Algorithm::Sha256));
            true
        }
        Err(_) => false,
    }
}

/// Guesses of an hour that are looked at, when each source comes every second.
fn looked_at(sources: u32, user: &str) -> usize {
    let attempts = attempts();
    let mut hit = 0;
    for second in 0..3600 {
        let at = T0 + Duration::from_secs(second);
        // One after the other, so that each second a few of them come.
        for n in (0..sources).filter(|n| sources <= 10 || u64::from(n % 100) == second % 100) {
            hit += usize::from(guess(&attempts, at, user, source(n)));
        }
    }
    hit
}

#[test]
fn r2_8_guesses_at_an_account_are_limited_from_one_source_and_from_a_thousand() {
    let (one, many) = (looked_at(1, ALICE), looked_at(1000, ALICE));
    assert!((7..=15).contains(&one), "half of the budget: {one}");
    assert!((16..=30).contains(&many), "{many}");
    assert_eq!(looked_at(1000, "nobody-of-that-name"), many, "whether or not there is such a user");
}

#[test]
fn r2_8_the_owner_registers_throughout_guessing_from_a_thousand_sources() {
    let attempts = attempts();
    let home = source(5_000);
    let instance: &[u8] = b"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>";
    assert!(authenticate(&attempts, T0, home, Some(instance)));
    let (mut looked_at, mut moved) = (0, 6_000);
    for second in 1..3600 {
        let at = T0 + Duration::from_secs(second);
        for n in 0..10 {
            let from = source(((second as u32) * 10 + n) % 1000);
            looked_at += usize::from(guess(&attempts, at, ALICE, from));
        }
        if second % 60 == 0 {
            assert!(authenticate(&attempts, at, home, None), "at home, {second} s");
        }
        if second % 300 == 0 {
            moved += 1;
            let elsewhere = source(moved);
            assert!(authenticate(&attempts, at, elsewhere, Some(instance)), "moved, {second} s");
        }
    }
    assert!(looked_at <= 30, "{looked_at}");
}

#[test]
fn r2_8_a_guesser_behind_the_owners_own_address_does_not_stop_his_phone() {
    let attempts = attempts();
    let home = source(1);
    assert!(authenticate(&attempts, T0, home, Some(b"desk phone")));
    let mut looked_at = 0;
    for second in 0..3600 {
        let at = T0 + Duration::from_secs(second);
        looked_at += usize::from(guess(&attempts, at, ALICE, home));
        assert!(authenticate(&attempts, at, home, Some(b"desk phone")), "{second} s");
    }
    assert!(looked_at <= 60, "{looked_at}");
}

#[test]
fn r2_8_a_device_registered_before_a_restart_is_no_stranger() {
    let attempts = attempts();
    for n in 0..1000 {
        guess(&attempts, T0, ALICE, source(n));
    }
    let account = attempts.account("example.com", ALICE);
    let what = Try { account, source: with_port(source(5_000)), device: &|| None };
    assert!(attempts.permit(T0, &what, || false).is_err(), "a stranger waits");
    assert!(attempts.permit(T0, &what, || true).is_ok());
}

#[test]
fn r2_8_one_source_and_one_prefix_are_limited_over_all_accounts() {
    let attempts = attempts();
    let spray = |from: &dyn Fn(u32) -> IpAddr| {
        let mut hit = 0;
        for n in 0..36_000_u32 {
            let at = T0 + Duration::from_millis(u64::from(n) * 100);
            hit += usize::from(guess(&attempts, at, &format!("user{n}"), from(n)));
        }
        hit
    };
    let one = spray(&|_| IpAddr::from([192, 0, 2, 1]));
    assert!((40..=60).contains(&one), "{one}");
    let prefix = spray(&|n| IpAddr::from([198, 51, 100, (n % 250) as u8]));
    assert!((140..=240).contains(&prefix), "{prefix}");
    let everywhere = spray(&source);
    assert!((1_800..=3_600).contains(&everywhere), "the tenant: {everywhere}");
    let v6 = |n: u32| IpAddr::from([0x2001, 0xdb8, 0, 0x1200, n as u16, 0, 0, 1]);
    assert_eq!(network(v6(1), 64), network(v6(2), 64));
    assert_ne!(network(v6(1), 64), network("2001:db8:0:1201::1".parse().unwrap(), 64));
    assert_eq!(network(v6(1), 56), network("2001:db8:0:12ff::1".parse().unwrap(), 56));
}

#[test]
fn limits_by_source_do_not_count_loopback_unless_told_to() {
    let near = IpAddr::from([127, 0, 0, 1]);
    let spray = |attempts: &Attempts| {
        (0..100).filter(|n| guess(attempts, T0, &format!("user{n}"), near)).count()
    };
    assert_eq!(spray(&attempts()), 100);
    let counting = Attempts::new(&Guesses::default(), true, &Redacted::new([7; 32]));
    assert!(spray(&counting) < 20);
}

#[test]
fn a_right_password_costs_a_stranger_nothing() {
    let attempts = attempts();
    for n in 0..200 {
        assert!(authenticate(&attempts, T0, source(n), None), "{n}");
    }
}

#[test]
fn what_a_user_agent_took_is_learned_for_its_account_and_source_alone() {
    let attempts = attempts();
    let account = attempts.account("example.com", ALICE);
    let what = Try { account, source: with_port(source(1)), device: &|| None };
    let permit = attempts.permit(T0, &what, || false).unwrap();
    assert!(attempts.right(T0, &what, &permit, (b"Old/1", Algorithm::Md5)), "news");
    assert!(!attempts.right(T0, &what, &permit, (b"Old/1", Algorithm::Md5)), "no news");
    let of = |account, from, agent: &[u8]| attempts.learned(T0, (account, from), agent);
    assert_eq!(of(account, source(1), b"Old/1"), Some(Algorithm::Md5));
    assert_eq!(of(account, source(1), b"Old/2"), None, "an update may know more");
    assert_eq!(of(account, source(2), b"Old/1"), None, "nothing to see from elsewhere");
    assert_eq!(of(attempts.account("example.com", "bob"), source(1), b"Old/1"), None);
    assert!(attempts.right(T0, &what, &permit, (b"Old/2", Algorithm::Sha256)), "it changed");
    let later = T0 + Duration::from_secs(KNOWN_FOR_S + 1);
    assert_eq!(attempts.learned(later, (account, source(1)), b"Old/2"), None);
}
