//! R1.8: what a carrier answers through a running server: each of some eighty statuses, and what
//! vendors write beside them, leads where RFCs and good sense have it, at the server and at our phone.
//! The table here is written from the RFCs, not from the product; the product's own is held to it.

use sip::Message;
use sip::response_policy::{Action, ROWS, ResponsePolicy};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tests::handset::{StopAtEnd, answer, answer_at};
use tests::{Handset, Phone, Server, Story};

const PATIENCE: Duration = Duration::from_secs(40);
/// Where the carriers are: what comes from there is theirs.
const CARRIERS: [u8; 4] = [127, 79, 0, 1];
/// Phones at a time.
const WORKERS: usize = 6;

/// Whether another carrier is to be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Next {
    /// It may well say yes.
    Ask,
    /// The answer is the callee's, the caller's fault, or a request for something.
    Stop,
}
use Next::{Ask, Stop};

/// A status, whether the next carrier is asked, the Q.850 cause it stands for, and what a person who
/// called is told.
type Row = (u16, Next, u8, &'static str);

/// Causes are those of RFC 3398 §8.2.6.1 where it has one; 127 is interworking.
const TABLE: [Row; 80] = [
    // RFC 3261 §16.7 step 4, §8.1.3.4: who called may go there, no proxy has to; here nothing is named.
    // Q.850: 23, redirection.
    (300, Stop, 23, "failed"),
    (301, Stop, 23, "failed"),
    (302, Stop, 23, "failed"),
    (305, Stop, 23, "failed"),
    (380, Stop, 23, "failed"),
    (399, Stop, 23, "failed"),
    // RFC 3261 §21.4: "should not retry the same request without modification".
    (400, Stop, 41, "failed"),
    (401, Stop, 21, "forbidden"),
    (402, Stop, 21, "failed"),
    (403, Stop, 21, "forbidden"),
    (404, Stop, 1, "not-found"),
    (405, Stop, 63, "failed"),
    (406, Stop, 79, "failed"),
    (407, Stop, 21, "forbidden"),
    // §21.4.9: this server was too slow; RFC 3263 §4.3 has the next one tried.
    (408, Ask, 102, "no-answer"),
    // RFC 3261 §8.1.3.2: what nobody registered is as x00.
    (409, Stop, 41, "failed"),
    (410, Stop, 22, "not-found"),
    (411, Stop, 41, "failed"),
    // RFC 3903 §11.2.1.
    (412, Stop, 127, "failed"),
    (413, Stop, 127, "failed"),
    (414, Stop, 127, "failed"),
    (415, Stop, 79, "no-common-media"),
    (416, Stop, 127, "failed"),
    // RFC 4412 §4.6.2.
    (417, Stop, 127, "failed"),
    (418, Stop, 41, "failed"),
    // §21.4.15 to 17, RFC 4028 §6: something is missing that the caller may add.
    (420, Stop, 127, "failed"),
    (421, Stop, 127, "failed"),
    (422, Stop, 127, "failed"),
    (423, Stop, 127, "failed"),
    // RFC 6442 §4.4, RFC 8876 §5: what was said of a place or an alert is wrong everywhere.
    (424, Stop, 127, "failed"),
    (425, Stop, 127, "failed"),
    (426, Stop, 41, "failed"),
    // RFC 8224 §6.2.2: this verifier insists; another may not.
    (428, Ask, 127, "failed"),
    // RFC 3892 §5.
    (429, Stop, 127, "failed"),
    // RFC 5626 §11.6: that flow is gone, another stands. Q.850: 38, out of order.
    (430, Ask, 38, "failed"),
    // RFC 5079 §4: the callee takes no anonymous calls.
    (433, Stop, 21, "failed"),
    (436, Ask, 127, "failed"),
    (437, Ask, 127, "failed"),
    (438, Ask, 127, "failed"),
    // RFC 5626 §11.6, RFC 5393 §5 (a fork too wide: 25, routing error), RFC 6086 §4.2.2, RFC 5360 §5.9.2.
    (439, Stop, 127, "failed"),
    (440, Stop, 25, "failed"),
    (451, Stop, 41, "failed"),
    (469, Stop, 127, "failed"),
    (470, Stop, 21, "failed"),
    (477, Stop, 41, "failed"),
    (479, Stop, 41, "failed"),
    // §21.4.18: the callee was reached and cannot be had.
    (480, Stop, 18, "no-answer"),
    (481, Stop, 41, "failed"),
    (482, Stop, 25, "failed"),
    (483, Stop, 25, "failed"),
    (484, Stop, 28, "failed"),
    (485, Stop, 1, "failed"),
    (486, Stop, 17, "busy"),
    // Nobody cancelled: whoever answered for the callee gave up. Q.850: 16.
    (487, Stop, 16, "no-answer"),
    // §21.4.26, RFC 3398: by its Warning; 65 without.
    (488, Stop, 65, "no-common-media"),
    // RFC 6665 §8.3.2, RFC 3261 §21.4.27, §23, RFC 3329 §2.3.1.
    (489, Stop, 127, "failed"),
    (491, Stop, 127, "failed"),
    (493, Stop, 127, "failed"),
    (494, Stop, 127, "failed"),
    (499, Stop, 41, "failed"),
    // §21.5: "the server itself has erred"; another one may not.
    (500, Ask, 41, "network"),
    (501, Ask, 79, "network"),
    (502, Ask, 38, "network"),
    (503, Ask, 41, "network"),
    (504, Ask, 102, "network"),
    (505, Ask, 127, "network"),
    (506, Ask, 41, "network"),
    (510, Ask, 41, "network"),
    // §21.5.7, RFC 8599 §4.2, RFC 3312 §8: of this request and this callee.
    (513, Stop, 127, "network"),
    (550, Ask, 41, "network"),
    (555, Stop, 127, "network"),
    (580, Stop, 47, "network"),
    // §21.6: of the callee, everywhere.
    (600, Stop, 17, "busy"),
    (601, Stop, 17, "failed"),
    (603, Stop, 21, "declined"),
    (604, Stop, 1, "not-found"),
    (606, Stop, 65, "no-common-media"),
    // RFC 8197 §3: the callee does not want the call. RFC 8688 §3: a machine decided so.
    (607, Stop, 21, "declined"),
    (608, Stop, 21, "failed"),
    (699, Stop, 17, "failed"),
];
/// What vendors say beside a status, whether the next carrier is asked, and the cause that is kept.
const VARIANTS: [(u16, &str, Next, u8, &str); 6] = [
    (480, "Q.850;cause=34;text=\"No circuit\"", Ask, 34, "no-answer"),
    (404, "SIP;cause=404, Q.850;cause=3", Ask, 3, "not-found"),
    (503, "Q.850;cause=17", Stop, 17, "network"),
    (500, "Q.850;cause=1", Stop, 1, "network"),
    (486, "Q.850;cause=17;text=\"busy\"", Stop, 17, "busy"),
    (603, "Q.850;cause=21", Stop, 21, "declined"),
];

/// One call: the number that is dialled tells the carrier what to say.
struct Try {
    number: String,
    status: u16,
    reason: &'static str,
    next: Next,
    cause: u8,
    told: &'static str,
}

fn tries() -> Vec<Try> {
    let plain = TABLE.iter().map(|(status, next, cause, told)| (*status, "", *next, *cause, *told));
    let number = |n: usize| format!("+49{:04}", 1000 + n);
    let made = plain.chain(VARIANTS).enumerate();
    made.map(|(n, (status, reason, next, cause, told))| Try {
        number: number(n),
        status,
        reason,
        next,
        cause,
        told,
    })
    .collect()
}

#[test]
fn r1_8_the_products_table_is_the_one_of_the_rfcs() {
    let policy = ResponsePolicy::default();
    for (status, next, cause, _) in TABLE {
        let asks = policy.action(status) == Action::FailOver;
        assert_eq!(asks, next == Ask, "{status}");
        assert_eq!(sip::response_policy::cause_of(status), cause, "{status}");
    }
    let missing: Vec<u16> = ROWS
        .iter()
        .map(|row| row.status)
        .filter(|status| !TABLE.iter().any(|(known, ..)| known == status))
        .collect();
    assert_eq!(missing, [0; 0], "each status that is registered is here");
}

/// For each number two carriers of its own, as one that failed is asked last for a while.
fn peers(tries: &[Try], first: SocketAddr, second: SocketAddr) -> String {
    let peer = |t: &Try, kind: &str, at: SocketAddr, priority: u16| {
        format!(
            "[[peer]]\nname = \"{kind}{n}\"\naddress = \"{at}\"\npriority = {priority}\n\
             prefixes = [{{ prefix = \"{number}\" }}]\n\n",
            n = &t.number[1..],
            number = t.number,
        )
    };
    tries.iter().map(|t| peer(t, "first", first, 1) + &peer(t, "second", second, 2)).collect()
}

fn number_of(request: &Message) -> String {
    let uri = String::from_utf8_lossy(request.request_uri()).into_owned();
    let user = uri.strip_prefix("sip:").and_then(|rest| rest.split('@').next());
    user.unwrap_or_default().to_string()
}

/// One of the two carriers, until it is to stop; the number of each INVITE goes into `asked`.
fn carry(
    story: &Story,
    (n, at): (usize, SocketAddr),
    said: &BTreeMap<&str, &Try>,
    asked: &Mutex<Vec<String>>,
    stop: &AtomicBool,
) {
    let mut carrier = Handset::at(story, "carrier", at);
    carrier.serve_until(stop, |request| {
        let number = number_of(request);
        if request.method().is_none_or(|m| m.as_str() != "INVITE") {
            return answer_at(request, at);
        }
        asked.lock().expect("no panic").push(number.clone());
        if n == 1 {
            return answer_at(request, at);
        }
        let Some(t) = said.get(number.as_str()) else { return Vec::new() };
        let mut refusal = sip::response_to(request, t.status, "Carrier").to_tag("c");
        if !t.reason.is_empty() {
            refusal = refusal.header("Reason", t.reason);
        }
        vec![refusal.build()]
    });
}

/// Our phone calls; what was wrong with what it told.
fn call(story: &Story, user: &str, t: &Try) -> Option<String> {
    let phone = Phone::of(story, user, "udp", "pcma").call(&story.address(&t.number)).seconds(30);
    let mut phone = phone.start();
    if t.next == Ask {
        phone.wait_event("answered", PATIENCE);
        phone.interrupt();
    }
    let result = phone.finish(PATIENCE).result;
    let heard = match t.status {
        // RFC 3261 §16.7: a 503 is not for upstream.
        503 => 500,
        status => status,
    };
    let right = match t.next {
        Ask => result["answered"] == true,
        Stop => {
            result["answered"] == false && result["status"] == heard && result["cause"] == t.told
        }
    };
    (!right).then(|| format!("{} {}, as {}: {result}", t.status, t.reason, t.told))
}

#[test]
fn r1_8_each_of_eighty_statuses_leads_where_its_row_says_through_a_running_server() {
    let story = Story::on_loopback("codes");
    let tries = tries();
    // A user for each call: one that calls ninety numbers is held.
    let users: Vec<String> = (0..tries.len()).map(|n| format!("c{n}")).collect();
    story.import_users(&users);
    let at = |n| SocketAddr::from((CARRIERS, story.place.peer_port(n)));
    let mut server = Server::start_with(&story, &peers(&tries, at(0), at(1)));
    let said: BTreeMap<&str, &Try> = tries.iter().map(|t| (t.number.as_str(), t)).collect();
    let asked: [Mutex<Vec<String>>; 2] = Default::default();
    let (stop, next, wrong) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let (story, said, stop, next) = (&story, &said, &stop, &next);
        for (n, asked) in asked.iter().enumerate() {
            scope.spawn(move || carry(story, (n, at(n as u16)), said, asked, stop));
        }
        let work = || {
            while let Some(n) =
                Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < tries.len())
            {
                wrong.lock().expect("no panic").extend(call(story, &users[n], &tries[n]));
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
    });
    let mut wrong = wrong.into_inner().expect("no panic");
    let invites = |n: usize, t: &Try| {
        asked[n].lock().expect("no panic").iter().filter(|number| **number == t.number).count()
    };
    let records = server.wait_for("a closed record of each call", PATIENCE, || {
        let records = tests::server::records(&story);
        let closed = records.iter().filter(|r| !r["ended"].is_null()).count();
        (closed == tries.len()).then_some(records)
    });
    for t in &tries {
        let asked = (invites(0, t), invites(1, t));
        if asked != (1, usize::from(t.next == Ask)) {
            wrong.push(format!("{} {}: the carriers were asked {asked:?}", t.status, t.reason));
        }
        let to = format!("sip:{}", story.address(&t.number));
        let Some(record) = records.iter().find(|r| r["to"] == *to) else {
            wrong.push(format!("{}: no record of {to}", t.status));
            continue;
        };
        let kept = match t.next {
            Ask => record["answered"] == true,
            Stop => record["answered"] == false && record["q850"] == t.cause,
        };
        if !kept {
            wrong.push(format!("{} {}, cause {}: {record}", t.status, t.reason, t.cause));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(!server.complaints().contains("panicked"));
}

#[test]
fn r1_8_our_phone_follows_a_redirect_to_another_user_and_to_no_number() {
    let story = Story::on_loopback("redirected");
    story.add_users(&["alice", "bob", "carol", "bill", "cora"]);
    let server = Server::start(&story);
    let own = SocketAddr::from(([127, 74, 0, 1], 0));
    let (stop, asked) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let to_carol = format!("<sip:{}>;q=0.5, <sip:+49900123@call.example>", story.address("carol"));
    let away = "<sip:+49900123@call.example>, <tel:+49900123>, <sip:cora@elsewhere.example>".into();
    for ([called, other], contacts, answered) in
        [(["bob", "carol"], to_carol, true), (["bill", "cora"], away, false)]
    {
        stop.store(false, Ordering::Relaxed);
        asked.lock().expect("no panic").clear();
        let result = std::thread::scope(|scope| {
            let _end = StopAtEnd(&stop);
            for (user, contacts) in [(called, Some(&contacts)), (other, None)] {
                let mut phone = Handset::at(&story, user, own);
                assert_eq!(phone.register(), 200, "{user}");
                let (asked, stop) = (&asked, &stop);
                scope.spawn(move || {
                    phone.serve_until(stop, |request| {
                        let is_invite = request.method().is_some_and(|m| m.as_str() == "INVITE");
                        let Some(contacts) = contacts.filter(|_| is_invite) else {
                            asked.lock().expect("no panic").push(user);
                            return answer(request);
                        };
                        let moved = sip::response_to(request, 302, "").to_tag("b");
                        vec![moved.header("Contact", contacts.as_str()).build()]
                    });
                });
            }
            let phone = Phone::of(&story, "alice", "udp", "pcma").call(&story.address(called));
            let mut phone = phone.seconds(30).start();
            if answered {
                let sent_on = phone.wait_event("redirected", PATIENCE);
                assert_eq!(sent_on["to"], format!("sip:{}", story.address("carol")));
                phone.wait_event("answered", PATIENCE);
                phone.interrupt();
            }
            phone.finish(PATIENCE).result
        });
        assert_eq!(result["answered"], answered, "{contacts}: {result}");
        assert_eq!(asked.lock().expect("no panic").contains(&other), answered, "{contacts}");
        assert!(answered || result["status"] == 302, "{result}");
    }
    assert!(!server.complaints().contains("panicked"));
}
