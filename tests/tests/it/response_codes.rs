//! R1.8: what a carrier answers through a running server: each of some eighty statuses, and what
//! vendors write beside them, leads where its row of the table says.

use sip::Message;
use sip::response_policy::{Action, ROWS, ResponsePolicy};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tests::handset::{StopAtEnd, answer};
use tests::{Handset, Server, Story};

/// Statuses nobody registered; they mean what the first of their class means.
const UNREGISTERED: [u16; 14] =
    [399, 409, 411, 418, 426, 451, 477, 479, 499, 506, 510, 550, 601, 699];
/// What vendors say beside a status, and whether the next carrier is asked.
const VARIANTS: [(u16, &str, bool); 6] = [
    (480, "Q.850;cause=34;text=\"No circuit\"", true),
    (404, "SIP;cause=404, Q.850;cause=3", true),
    (503, "Q.850;cause=17", false),
    (500, "Q.850;cause=1", false),
    (486, "Q.850;cause=17;text=\"busy\"", false),
    (603, "Q.850;cause=21", false),
];

/// One call: the number that is dialled tells the carrier what to say.
struct Try {
    number: String,
    status: u16,
    reason: &'static str,
    goes_on: bool,
}

fn tries() -> Vec<Try> {
    let policy = ResponsePolicy::default();
    let statuses = ROWS.iter().map(|row| row.status).chain(UNREGISTERED);
    let plain = statuses.map(|status| (status, "", policy.action(status) == Action::FailOver));
    let all = plain.chain(VARIANTS).enumerate();
    let number = |n: usize| format!("+49{:04}", 1000 + n);
    all.map(|(n, (status, reason, goes_on))| Try { number: number(n), status, reason, goes_on })
        .collect()
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

#[test]
fn r1_8_each_of_eighty_statuses_leads_where_its_row_says_through_a_running_server() {
    let story = Story::on_loopback("codes");
    let tries = tries();
    assert!(tries.len() >= 80, "{} statuses", tries.len());
    // A user for each call: one that calls ninety numbers is held.
    let users: Vec<String> = (0..tries.len()).map(|n| format!("c{n}")).collect();
    story.import_users(&users);
    let at = |n| SocketAddr::new(story.place.peer_ip(), story.place.peer_port(n));
    let mut server = Server::start_with(&story, &peers(&tries, at(0), at(1)));
    let said: BTreeMap<&str, &Try> = tries.iter().map(|t| (t.number.as_str(), t)).collect();
    let asked: [Mutex<Vec<String>>; 2] = Default::default();
    let stop = AtomicBool::new(false);
    let wrong = std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        for (n, asked) in asked.iter().enumerate() {
            let mut carrier = Handset::at(&story, "carrier", at(n as u16));
            let (said, stop) = (&said, &stop);
            scope.spawn(move || {
                carrier.serve_until(stop, |request| {
                    let number = number_of(request);
                    let is_invite = request.method().is_some_and(|m| m.as_str() == "INVITE");
                    if !is_invite || n == 1 {
                        asked.lock().expect("no panic").push(number);
                        return answer(request);
                    }
                    asked.lock().expect("no panic").push(number.clone());
                    let Some(t) = said.get(number.as_str()) else { return Vec::new() };
                    let mut refusal = sip::response_to(request, t.status, "Carrier").to_tag("c");
                    if !t.reason.is_empty() {
                        refusal = refusal.header("Reason", t.reason);
                    }
                    vec![refusal.build()]
                });
            });
        }
        let mut wrong = Vec::new();
        for (t, user) in tries.iter().zip(&users) {
            // Not where the carriers are: what comes from there is theirs.
            let own = SocketAddr::from(([127, 74, 0, 1], 0));
            let mut caller = Handset::at(&story, user, own);
            let outcome = caller.invite(&story.address(&t.number), "");
            let heard = outcome.status();
            if let Some(mut talk) = outcome.talk {
                caller.hang_up(&mut talk);
            }
            let was_asked = |n: usize| asked[n].lock().expect("no panic").contains(&t.number);
            let expected = match t.status {
                _ if t.goes_on => 200,
                // RFC 3261 §16.7: a 503 is not for upstream.
                503 => 500,
                status => status,
            };
            if !was_asked(0) || was_asked(1) != t.goes_on || heard != expected {
                wrong.push(format!(
                    "{} {}: the caller heard {heard}, not {expected}; asked: {} {}",
                    t.status,
                    t.reason,
                    was_asked(0),
                    was_asked(1)
                ));
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), tries.len(), wrong.join("\n"));
    assert!(!server.complaints().contains("panicked"));
    let through = tries.iter().filter(|t| t.goes_on).count();
    server.wait_for("a record of each call", Duration::from_secs(10), || {
        let records = tests::server::records(&story);
        let answered = records.iter().filter(|r| r["answered"] == true).count();
        (records.len() == tries.len() && answered == through).then_some(())
    });
}
