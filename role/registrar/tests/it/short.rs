//! The short way of a registration, beside the long one: same answers, same table, same journal.

use std::process::Command;

use proptest::prelude::*;
use registrar::RefusalReason;

use super::*;

const CHILD: &str = "WHIMBREL_TEST_LOCATION_SHORT";

/// One REGISTER of few phones of few users, so that they meet.
#[derive(Debug, Clone)]
struct Ask {
    user: u64,
    phone: u64,
    cseq: u32,
    expires: u32,
    named: bool,
    moved: bool,
    call: u8,
    after: u64,
    ends_batch: bool,
}

fn asks() -> impl Strategy<Value = Ask> {
    let numbers = (0_u64..2, 0_u64..3, 1_u32..6, prop::sample::select(vec![0, 5, 60, 90, 9_000]));
    let rest =
        (prop::bool::weighted(0.8), prop::bool::weighted(0.1), 0_u8..5, 0_u64..40, any::<bool>());
    (numbers, rest).prop_map(
        |((user, phone, cseq, expires), (named, moved, call, after, ends_batch))| Ask {
            user,
            phone,
            cseq,
            expires,
            named,
            moved,
            call: call.min(1),
            after,
            ends_batch,
        },
    )
}

impl Ask {
    fn request(&self) -> RegisterRequest<'static> {
        let mut request = request(self.user, self.cseq, self.expires);
        let flow = FlowId { node: 0, shard: 0, id: 100 * self.user + self.phone };
        let port = if self.moved { 5070 } else { 5060 };
        request.origin.flow = flow;
        request.origin.source = ([192, 0, 2, self.phone as u8], port).into();
        request.call_id = format!("call-{}", self.call).into();
        let Contacts::List(contacts) = &mut request.contacts else { unreachable!() };
        contacts[0].uri = format!("sip:u@192.0.2.{}", self.phone).into();
        contacts[0].instance = self.named.then(|| format!("<urn:uuid:{}>", self.phone).into());
        request
    }
}

/// What a phone hears: the Contact lines, or the status and phrase of a refusal.
type Heard = Vec<(u64, Result<String, (u16, String)>)>;

fn refused(refusal: &Refusal) -> (u16, String) {
    (refusal.status(), refusal.phrase())
}

fn lines(plan: &RegisterPlan, wall: WallTime) -> String {
    plan.contact_lines(wall).iter().map(|line| format!("Contact: {line}\r\n")).collect()
}

fn by_long(shard: &mut LocationShard, asks: &[Ask]) -> Heard {
    let (mut heard, mut wall) = (Heard::new(), at(10));
    for (token, ask) in (0..).zip(asks) {
        wall = wall + Duration::from_secs(ask.after);
        shard.expire(wall);
        match shard.stage(wall, &ask.request(), token) {
            Ok(None) => {}
            Ok(Some(plan)) => heard.push((token, Ok(lines(&plan, wall)))),
            Err(refusal) => heard.push((token, Err(refused(&refusal)))),
        }
        if ask.ends_batch {
            shard.flush(|token, result| {
                heard.push((token, result.map(|p| lines(&p, wall)).map_err(|r| refused(&r))));
            });
        }
    }
    heard.sort_by_key(|(token, _)| *token);
    heard
}

fn by_short(shard: &mut LocationShard, asks: &[Ask]) -> Heard {
    let (mut heard, mut wall) = (Heard::new(), at(10));
    for (token, ask) in (0..).zip(asks) {
        wall = wall + Duration::from_secs(ask.after);
        shard.expire(wall);
        let mut contacts = String::new();
        match shard.stage_answered(wall, &ask.request(), token, &mut contacts) {
            Ok(()) => heard.push((token, Ok(contacts))),
            Err(refusal) => heard.push((token, Err(refused(&refusal)))),
        }
        if ask.ends_batch {
            shard.flush(|token, _| panic!("{token} was told twice"));
        }
    }
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_short_way_and_the_long_one_differ_in_nothing(asks in prop::collection::vec(asks(), 1..24)) {
        let (one, other) = (Dir::new("short-a"), Dir::new("short-b"));
        let asks: Vec<Ask> = asks.into_iter().map(|ask| Ask { ends_batch: true, ..ask }).collect();
        let (long, short) = (open(&one.0, config(1, u64::MAX)), open(&other.0, config(1, u64::MAX)));
        let heard = by_long(&mut long.shard(0), &asks);
        prop_assert_eq!(&heard, &by_short(&mut short.shard(0), &asks));
        let far = at(0);
        prop_assert_eq!(long.table().list(far, 99), short.table().list(far, 99));
        let journal = |dir: &Dir| std::fs::read(dir.0.join("journal-0.log")).unwrap();
        prop_assert_eq!(journal(&one), journal(&other));
    }
}

#[test]
fn a_refresh_is_prolonged_in_place_and_who_looks_meanwhile_keeps_what_was() {
    let dir = Dir::new("short-place");
    let location = open(&dir.0, config(1, u64::MAX));
    let mut shard = location.shard(0);
    let mut bind = |cseq, secs, wall| {
        let mut contacts = String::new();
        shard.stage_answered(wall, &request(1, cseq, secs), 0, &mut contacts).unwrap();
        shard.flush(|_, _| panic!("it was answered"));
        contacts
    };
    bind(1, 600, at(10));
    let looked = location.table().lookup(&aor(1), at(10)).pop().unwrap();
    assert!(bind(2, 700, at(20)).contains(";expires=700;"));
    let now = location.table().lookup(&aor(1), at(20)).pop().unwrap();
    assert_eq!((looked.cseq(), looked.expires_at()), (1, at(610)));
    assert_eq!((now.cseq(), now.expires_at(), now.key()), (2, at(720), looked.key()));
    assert!(now.revision() > looked.revision());
}

/// Not a story: runs under a file size limit set by the story below.
#[test]
fn child_that_refreshes_onto_a_full_disk() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let location = open(Path::new(&dir), config(1, u64::MAX));
    let mut shard = location.shard(0);
    let mut contacts = String::new();
    let mut written = 0;
    let failed = loop {
        let (cseq, wall) = (written + 1, at(10 + u64::from(written)));
        // A refresh and, in the same batch, its refresh; beside them a new binding.
        for (token, ask) in [request(1, cseq, 600), request(1, cseq, 900), request(2, cseq, 600)]
            .into_iter()
            .enumerate()
        {
            shard.stage_answered(wall, &ask, token as u64, &mut contacts).unwrap();
        }
        let mut failed = Vec::new();
        shard.flush(|token, result| failed.push((token, result.unwrap_err())));
        if !failed.is_empty() {
            break failed;
        }
        written += 1;
        assert!(written < 100_000, "the limit does not work");
    };
    assert!(failed.iter().map(|(token, _)| *token).eq(0..3), "all or none");
    assert!(failed.iter().all(|(_, r)| matches!(r.reason, RefusalReason::NotWritten(_))));
    let binding = location.table().lookup(&aor(1), at(10)).pop().unwrap();
    assert_eq!(binding.cseq(), written, "what was refused is taken back");
    assert_eq!(binding.expires_at(), at(10 + u64::from(written) - 1 + 900));
    println!("written {written}");
}

#[test]
fn a_refresh_that_cannot_be_written_is_taken_back() {
    let dir = Dir::new("short-full");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "short::child_that_refreshes_onto_a_full_disk", "--nocapture"])
        .env(CHILD, &dir.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("written"), "{text}");
    assert_eq!(open(&dir.0, config(1, u64::MAX)).loaded(), 2);
}
