//! R2.7: ten times what a server can do is offered to it. It goes on near its best, and whoever is
//! in a call notices nothing.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::cap::Cap;
use tests::crowd::{Crowd, Pace};
use tests::handset::{StopAtEnd, answer};
use tests::story::tell;
use tests::{Handset, Server, Story};

/// Of one processor: what is left of it must be enough for ten times the load.
const CAP_PERCENT: u64 = 10;
const USERS: usize = 400;
/// Calls that are held meanwhile.
const CALLS: usize = 10;
const SETTLE: Duration = Duration::from_secs(5);
const LASTS: Duration = Duration::from_secs(4);

/// The part of the peak that must be reached. A debug build has a few dozen calls a second to count
/// and takes longer to look at what it sheds: a third tells shedding from collapse there (a fifth).
/// `WHIMBREL_GOODPUT=0.9` with a release build is the requirement.
fn goodput_min() -> f64 {
    std::env::var("WHIMBREL_GOODPUT").ok().and_then(|s| s.parse().ok()).unwrap_or(0.33)
}

#[test]
fn load_r2_7_at_ten_times_the_load_calls_go_on_and_none_in_a_dialog_is_shed() {
    let story = Story::on_loopback("overload").alone();
    let users: Vec<String> = (0..USERS).map(|n| format!("o{n:03}")).collect();
    story.import_users(&users);
    let mut server = Server::start_with(&story, "[edge]\nmedia_anchor = \"when-needed\"\n");
    let cap = Cap::on(server.process(), CAP_PERCENT);
    let (stop, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let inside = Mutex::new(Vec::new());
    let (peak, ten) = std::thread::scope(|scope| {
        let (_end, _over) = (StopAtEnd(&stop), StopAtEnd(&over));
        let mut callers = Vec::new();
        for n in 0..CALLS {
            let own: SocketAddr = "127.0.0.1:0".parse().expect("an address");
            let mut callee = Handset::at(&story, &users[2 * n], own);
            let mut caller = Handset::at(&story, &users[2 * n + 1], own);
            assert_eq!(callee.register(), 200);
            let over = &over;
            scope.spawn(move || callee.serve_until(over, answer));
            let talk = caller.invite(&story.address(&users[2 * n]), "").talk;
            let mut talk = talk.expect("a call before it begins");
            let (stop, inside) = (&stop, &inside);
            callers.push(scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = caller.inside(&mut talk, "INFO", "");
                    inside.lock().expect("no panic").push(answer.and_then(|m| m.status()));
                    std::thread::sleep(Duration::from_millis(300));
                }
                let ended = Some(caller.hang_up(&mut talk));
                inside.lock().expect("no panic").push(ended);
            }));
        }
        let mut crowd = Crowd::new(&story, &users[2 * CALLS..]);
        let peak = crowd.run(Pace::Window(64), Duration::from_secs(1), Duration::from_secs(3));
        // Only what was said during the overload counts.
        inside.lock().expect("no panic").clear();
        let ten = crowd.run(Pace::Rate(10.0 * peak.goodput()), SETTLE, LASTS);
        stop.store(true, Ordering::Relaxed);
        // They hang up while it goes on.
        crowd.run(Pace::Rate(10.0 * peak.goodput()), Duration::ZERO, Duration::from_secs(2));
        for caller in callers {
            caller.join().expect("no caller panics");
        }
        (peak, ten)
    });
    let inside = inside.into_inner().expect("no panic");
    let shed = |why: &str| server.metric(&format!("whimbrel_net_shed_{why}_total"));
    tell(&format!(
        "{} at {CAP_PERCENT} %: peak {:.0}/s; offered {:.0}/s, good {:.0}/s, {} refused in {:.0} s; \
         {} requests inside of calls; refused {}, discarded {} in all",
        cap.by,
        peak.goodput(),
        ten.offered as f64 / ten.seconds,
        ten.goodput(),
        ten.refused,
        ten.seconds,
        inside.len(),
        shed("refused"),
        shed("discarded"),
    ));
    assert!(ten.offered as f64 >= 9.5 * peak.goodput() * ten.seconds, "not offered: {ten:?}");
    assert!(shed("refused") > 0 && ten.refused > 0, "some are told to come later");
    assert!(ten.goodput() >= goodput_min() * peak.goodput(), "{ten:?} of {peak:?}");
    assert!(inside.len() >= 5 * CALLS, "{inside:?}");
    assert!(inside.iter().all(|status| *status == Some(200)), "{inside:?}");
}
