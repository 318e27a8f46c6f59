//! Synthetic traces: fraud as it is reported, and ten thousand days of ordinary accounts.

use super::*;
use cluster::MediaSummary;
use sansio::{Entropy, SeededEntropy};

/// A Thursday, 00:00 UTC.
const MIDNIGHT: WallTime = WallTime::from_secs(1_800_057_600);
const MALLORY: &str = "sip:mallory@example.com";

fn config() -> ConductConfig {
    ConductConfig { home: "49".into(), ..ConductConfig::default() }
}

/// Events in the order of their time.
struct Trace {
    conduct: Conduct,
    next: u64,
    findings: Vec<Finding>,
}

impl Trace {
    fn new() -> Self {
        Self { conduct: Conduct::new(config()), next: 0, findings: Vec::new() }
    }

    fn event(&mut self, at: WallTime, event: &Event) {
        self.findings.extend(self.conduct.handle_event(at, event));
    }

    /// A whole call: begun at `at`, answered five seconds later, `talked` long.
    fn call(&mut self, at: WallTime, from: &str, to: &str, talked: Option<u64>) {
        self.next += 1;
        let call = self.next;
        self.event(at, &started(call, from, to));
        let secs = Duration::from_secs;
        if talked.is_some() {
            self.event(at + secs(5), &Event::CallAnswered { call, codecs: Vec::new() });
        }
        self.event(at + secs(5 + talked.unwrap_or(20)), &ended(call, talked.unwrap_or(0) * 16_000));
    }
}

fn started(call: u64, from: &str, to: &str) -> Event {
    Event::CallStarted {
        call,
        session_id: String::new(),
        call_id: String::new(),
        tenant: "example.com".into(),
        from: from.into(),
        to: to.into(),
        source: String::new(),
        user_agent: String::new(),
    }
}

fn ended(call: u64, bytes: u64) -> Event {
    let side = MediaSummary { bytes: bytes / 2, ..MediaSummary::default() };
    let (cause, by) = ("bye".into(), cluster::EndedBy::Caller);
    let (caller, callee) = (side.clone(), side);
    Event::CallEnded { call, cause, status: 200, q850: 16, by, caller, callee }
}

fn number(digits: &str, n: u64) -> String {
    format!("sip:+{digits}{:07}@example.com", 1_000_000 + n)
}

/// How many calls a fraud comes to before it is found.
fn calls_until_found(calls: impl Iterator<Item = (u64, String, Option<u64>)>) -> (u64, Finding) {
    let mut trace = Trace::new();
    for (count, (second, to, talked)) in (1..).zip(calls) {
        trace.call(MIDNIGHT + Duration::from_secs(second), MALLORY, &to, talked);
        if let Some(finding) = trace.findings.pop() {
            return (count, finding);
        }
    }
    panic!("never found: {:?}", trace.conduct.accounts);
}

#[test]
fn r2_13_fraud_is_found_before_the_twentieth_call() {
    // At night to a premium range, one a minute, for a minute each: revenue share.
    let share = (0..20).map(|n| (n * 60, number("216", n), Some(60)));
    // In the afternoon to an unlisted range, short, walking through it: test calls of a pump.
    let pump = (0..20).map(|n| (54_000 + n * 90, number("2557", n), Some(3)));
    // A burst of one-ring calls to numbers at home: Wangiri.
    let wangiri = (0..20).map(|n| (43_200 + n * 3, number("49171", n), None));
    // Everywhere, never answered: a stolen password tried out.
    let tried = (0..20).map(|n| (36_000 + n * 20, number(&(230 + n).to_string(), n), None));
    // Long calls at night side by side, to one place: a bypass.
    let bypass = (0..20).map(|n| (n * 30, number("2637", n), Some(25)));
    let traces: [(&str, Box<dyn Iterator<Item = _>>); 5] = [
        ("share", Box::new(share)),
        ("pump", Box::new(pump)),
        ("wangiri", Box::new(wangiri)),
        ("tried", Box::new(tried)),
        ("bypass", Box::new(bypass)),
    ];
    for (name, trace) in traces {
        let (calls, finding) = calls_until_found(trace);
        println!("{name}: found at call {calls} by {:?}", finding.signs);
        assert!(calls < 20, "{name}: {calls} calls, {finding:?}");
        assert_eq!((finding.aor.as_str(), finding.action), (MALLORY, Action::Throttle));
        assert!(!finding.signs.is_empty());
    }
}

#[test]
fn r2_13_an_account_used_as_a_tunnel_is_found_by_its_volume() {
    let mut trace = Trace::new();
    for call in 0..10 {
        let at = MIDNIGHT + Duration::from_secs(36_000 + call * 120);
        trace.event(at, &started(call, MALLORY, "sip:bob@example.com"));
        trace.event(at + Duration::from_secs(60), &ended(call, 700_000_000));
    }
    assert_eq!(trace.findings.len(), 1);
    assert_eq!(trace.findings[0].signs, ["volume"]);
}

/// A number from 0 to `below`.
fn dice(entropy: &mut SeededEntropy, below: u64) -> u64 {
    entropy.next_u64() % below
}

/// An ordinary day of an account: calls between eight and ten, most at home or inside, some abroad
/// to a few countries; one account in a hundred is an agent with two hundred calls.
fn day(entropy: &mut SeededEntropy, account: u64, day: u64, calls: &mut Vec<Call>) {
    let agent = account.is_multiple_of(100);
    let abroad = account.is_multiple_of(5);
    let count = if agent { 150 + dice(entropy, 100) } else { dice(entropy, 13) };
    let countries = ["43", "41", "33", "44", "1212", "48"];
    for n in 0..count {
        let second = day * 86_400 + 8 * 3600 + dice(entropy, 14 * 3600);
        let to = match dice(entropy, 10) {
            0..=2 => format!("sip:colleague{}@example.com", dice(entropy, 50)),
            3 if abroad && !agent => {
                let known = (account as usize / 5 + dice(entropy, 2) as usize) % countries.len();
                number(countries[known], dice(entropy, 20))
            }
            // One in two thousand calls a number that costs more, at any hour.
            4 if dice(entropy, 200) == 0 => number("49900", n),
            _ => number("4930", dice(entropy, 1_000)),
        };
        let talked = (dice(entropy, 4) > 0).then(|| 2 + dice(entropy, 600));
        calls.push((second, format!("sip:user{account}@example.com"), to, talked));
    }
    // One in fifty calls relatives abroad at night, and comes back to it.
    if account % 50 == 5 {
        for n in 0..3 {
            let to = number("998", dice(entropy, 3));
            let from = format!("sip:user{account}@example.com");
            calls.push((day * 86_400 + 3600 + n * 1200, from, to, Some(300)));
        }
    }
}

type Call = (u64, String, String, Option<u64>);

#[test]
fn r2_13_ten_thousand_days_of_good_accounts_have_fewer_than_ten_false_alarms() {
    let (accounts, days) = (2_000, 6);
    let mut entropy = SeededEntropy::new(13);
    let mut calls = Vec::new();
    for account in 0..accounts {
        for n in 0..days {
            day(&mut entropy, account, n, &mut calls);
        }
    }
    calls.sort();
    let mut trace = Trace::new();
    let total = calls.len();
    for (second, from, to, talked) in calls {
        trace.call(MIDNIGHT + Duration::from_secs(second), &from, &to, talked);
    }
    let (found, of) = (trace.findings.len() as u64, accounts * days);
    println!("{found} false alarms in {of} account-days of {total} calls");
    assert!(total > 50_000 && of >= 10_000);
    assert!(found * 1_000 < of, "{found} in {of}: {:?}", trace.findings);
    assert_eq!(trace.conduct.calls.len(), 0, "nothing is left of calls that ended");
}

#[test]
fn a_held_account_is_throttled_for_numbers_alone_and_cleared_by_an_operator() {
    let mut trace = Trace::new();
    let at = |second| MIDNIGHT + Duration::from_secs(second);
    for n in 0..8 {
        trace.call(at(n * 60), MALLORY, &number("216", n), Some(60));
    }
    assert_eq!(trace.findings.len(), 1, "told once: {:?}", trace.findings);
    let standings = trace.conduct.standings();
    let (abroad, bob) = (number("43", 1), "sip:bob@example.com");
    let of = |second, to: &str| standings.of_call(at(second), MALLORY, to);
    assert_eq!(of(1_000, &abroad), Standing::Good, "four an hour");
    assert_eq!(of(1_001, &abroad), Standing::Throttled(900));
    assert_eq!(of(1_002, bob), Standing::Good, "users here are not numbers");
    assert_eq!(of(1_900, &abroad), Standing::Good);
    assert_eq!(standings.of_call(at(1_901), "sip:other@example.com", &abroad), Standing::Good);
    assert_eq!(standings.list(at(1_901)).len(), 1);
    assert!(trace.conduct.clear(MALLORY) && !trace.conduct.clear(MALLORY));
    assert_eq!(of(1_902, &abroad), Standing::Good);
    assert_eq!(of(1_903, &abroad), Standing::Good);
}

#[test]
fn a_hold_ends_by_itself_and_each_action_is_its_own() {
    for (action, standing) in [
        (Action::Watch, Standing::Good),
        (Action::Challenge, Standing::Challenged),
        (Action::Block, Standing::Blocked),
    ] {
        let mut conduct = Conduct::new(ConductConfig { action, ..config() });
        for n in 0..8 {
            conduct.handle_event(MIDNIGHT, &started(n, MALLORY, &number("216", n)));
        }
        let of = |at| conduct.standings().of_call(at, MALLORY, &number("43", 1));
        assert_eq!(of(MIDNIGHT), standing, "{action:?}");
        assert_eq!(of(MIDNIGHT + Duration::from_secs(12 * 3600 + 1)), Standing::Good);
    }
}
