//! The short way of REGISTER and OPTIONS beside the long one: what comes out must be the same, byte
//! for byte, whatever came before.

use crate::lab::{DOMAIN, EMPTY, Lab, credentials, request, text};
use edge::{Config, Taken};
use sansio::{Entropy, SeededEntropy};
use sip::{HeaderName, Message};

const REGISTRAR: &str = "sip:example.com";

fn register(n: u8, user: &str, cseq: u64, extra: &str) -> String {
    request("REGISTER", n, user, REGISTRAR, extra)
        .replace(&format!("To: <{REGISTRAR}>"), &format!("To: <sip:{user}@{DOMAIN}>"))
        .replace("CSeq: 1 ", &format!("CSeq: {cseq} "))
        .replace("CSeq: 2 ", &format!("CSeq: {cseq} "))
}

/// The same server twice: one that takes every message the long way, one that takes the short way
/// where it can.
struct Pair {
    long: Lab,
    short: Lab,
    taken: [usize; 3],
}

impl Pair {
    fn new(config: &Config) -> Self {
        let lab = || Lab::with(1, config.clone());
        Self { long: lab(), short: lab(), taken: [0; 3] }
    }

    /// Phone `n` sends to both, which do the same; what it hears.
    fn send(&mut self, n: u8, message: &str) -> Option<Message> {
        self.long.send(n, message);
        let taken = self.short.send_plain(n, message);
        self.taken[taken as usize] += 1;
        assert_eq!(self.long.capture, self.short.capture, "after {message}");
        let told = |lab: &Lab| format!("{:?}", lab.events);
        assert_eq!(told(&self.long), told(&self.short), "after {message}");
        let counted = |lab: &Lab| format!("{:?}", lab.shards[0].counters());
        assert_eq!(counted(&self.long), counted(&self.short), "after {message}");
        assert_eq!(self.short.under_way(), self.long.under_way());
        self.short.inbox.clear();
        let heard = self.long.inbox.get_mut(&n)?.pop_front();
        self.long.inbox.clear();
        heard
    }
}

#[test]
fn a_known_phone_goes_the_short_way_and_a_stranger_the_long_one() {
    let mut pair = Pair::new(&Config::default());
    let challenge = pair.send(1, &register(1, "user1", 1, EMPTY)).unwrap();
    let auth = credentials(&challenge, "REGISTER", REGISTRAR, "user1", "pw-user1");
    let ok = pair.send(1, &register(1, "user1", 2, &format!("{auth}{EMPTY}"))).unwrap();
    assert_eq!((ok.status(), pair.taken), (Some(200), [2, 0, 0]), "a stranger so far");
    let challenge = pair.send(1, &register(1, "user1", 3, EMPTY)).unwrap();
    let auth = credentials(&challenge, "REGISTER", REGISTRAR, "user1", "pw-user1");
    let ok = pair.send(1, &register(1, "user1", 4, &format!("{auth}{EMPTY}"))).unwrap();
    assert_eq!((ok.status(), pair.taken), (Some(200), [2, 1, 1]));
    let options = request("OPTIONS", 1, "user1", REGISTRAR, EMPTY);
    assert!(text(pair.send(1, &options).unwrap().header(HeaderName::ALLOW)).contains("REGISTER"));
    assert_eq!(pair.taken, [2, 2, 1]);
}

/// Phones that register, refresh, guess, replay, come again and move, in every order.
#[test]
fn r2_7_no_order_of_requests_tells_the_short_way_from_the_long_one() {
    let mut taken = [0; 3];
    for seed in 0..60 {
        let mut dice = SeededEntropy::new(seed);
        let mut roll = |sides: u64| dice.next_u64() % sides;
        let config = Config {
            digest_algorithms: match seed % 3 {
                0 => vec!["MD5".into()],
                _ => vec!["SHA-256".into(), "MD5".into()],
            },
            limit_loopback: seed % 2 == 0,
            ..Config::default()
        };
        let mut pair = Pair::new(&config);
        let mut challenges: Vec<Message> = Vec::new();
        let mut sent: Vec<(u8, String)> = Vec::new();
        for step in 1..60 {
            let (n, user) =
                (1 + roll(2) as u8, ["user1", "user1", "user2", "nobody"][roll(4) as usize]);
            let password = if roll(6) == 0 { "guess".into() } else { format!("pw-{user}") };
            let message = match roll(10) {
                0..3 => register(n, user, step, EMPTY),
                3..7 if !challenges.is_empty() => {
                    let latest =
                        challenges.len() - 1 - (roll(3) as usize).min(challenges.len() - 1);
                    let meant = [REGISTRAR, "sip:EXAMPLE.com", "sip:other.example"];
                    let meant = meant[(roll(10) as usize).saturating_sub(7)];
                    let auth = credentials(&challenges[latest], "REGISTER", meant, user, &password);
                    let auth = auth.replace("nc=00000001", &format!("nc={:08x}", 1 + roll(2)));
                    register(n, user, step, &format!("{auth}{EMPTY}"))
                }
                7 if !sent.is_empty() => {
                    let (by, message) = &sent[roll(sent.len() as u64) as usize];
                    let (by, message) = (*by, message.clone());
                    challenges.extend(pair.send(by, &message).filter(|m| m.status() == Some(401)));
                    continue;
                }
                8 => request("OPTIONS", n, user, REGISTRAR, EMPTY),
                _ => register(n, user, step, &format!("Supported: path\r\n{EMPTY}"))
                    .replace("Lab/1", ["Lab/1", "Lab/2", "baresip v1.0"][roll(3) as usize]),
            };
            let message =
                message.replace("rport\r\n", ["rport\r\n", "x=y;rport\r\n"][roll(2) as usize]);
            challenges.extend(pair.send(n, &message).filter(|m| m.status() == Some(401)));
            sent.push((n, message));
        }
        (0..3).for_each(|at| taken[at] += pair.taken[at]);
    }
    assert!(taken.iter().all(|count| *count > 100), "each way was gone: {taken:?}");
}

#[test]
fn what_policy_does_not_simply_allow_goes_the_long_way() {
    let mut config = Config::default();
    let refuse = edge::MethodRule { initial: Some("refuse 403".into()), in_dialog: None };
    config.methods.phone.insert("OPTIONS".into(), refuse);
    let mut pair = Pair::new(&config);
    let refused = pair.send(1, &request("OPTIONS", 1, "user1", REGISTRAR, EMPTY)).unwrap();
    assert_eq!((refused.status(), pair.taken), (Some(403), [1, 0, 0]));
}

#[test]
fn an_answer_is_held_until_it_is_released_and_may_turn_into_a_refusal() {
    let mut lab = Lab::new(1);
    for cseq in [1, 3] {
        lab.send(1, register(1, "user1", cseq, EMPTY));
        let challenge = lab.next(1);
        let auth = credentials(&challenge, "REGISTER", REGISTRAR, "user1", "pw-user1");
        let message = register(1, "user1", cseq + 1, &format!("{auth}{EMPTY}"));
        if cseq == 1 {
            lab.send(1, message);
            assert_eq!(lab.next(1).status(), Some(200));
            continue;
        }
        assert_eq!(lab.hold_plain(1, &message), Taken::Bind);
        assert!(lab.shards[0].poll_transmit().is_none(), "the journal does not have it");
        let refusal = edge::Refusal {
            headers: vec![("Retry-After", "10".into())],
            ..edge::Refusal::new(500, "Disk Full")
        };
        lab.shards[0].refuse_held(0, &refusal);
        lab.shards[0].release_held();
        let refused = Message::parse(lab.shards[0].poll_transmit().unwrap().message).unwrap();
        assert_eq!((refused.status(), refused.reason()), (Some(500), b"Disk Full".as_slice()));
        assert_eq!(text(refused.header(HeaderName::RETRY_AFTER)), "10");
        assert!(refused.header(HeaderName::CONTACT).is_none());
        assert_eq!((refused.cseq().unwrap().number, refused.vias().count()), (cseq as u32 + 1, 1));
        assert!(lab.shards[0].poll_transmit().is_none());
    }
}
