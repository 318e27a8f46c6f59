//! R1.9: peers that a packet filter cuts off are cleared in one session interval, and those who stay
//! refresh no more often than they may. Session timers alone are at work: the sound of who is left
//! goes on, and the relay's own silence is far away.

use serde_json::Value;
use sip::{HeaderName, Message, Method};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tests::capture::{self, Capture, Captured};
use tests::process::Process;
use tests::{Phone, Server, Story};

const START: Duration = Duration::from_secs(30);
/// The least RFC 4028 allows.
const INTERVAL: Duration = Duration::from_secs(90);
/// Until a request that nobody answers is given up (timer F).
const TIMER_F: Duration = Duration::from_secs(32);
const PHONES: usize = 0;
/// The server's cable to the room of phones.
const CABLE: &str = "outer";

/// Drops everything on the cable, both ways.
fn cut(story: &Story) {
    let rules = format!(
        "table inet cut {{\n\
         chain in {{ type filter hook input priority 0; iifname \"{CABLE}\" drop; }}\n\
         chain out {{ type filter hook output priority 0; oifname \"{CABLE}\" drop; }}\n}}\n"
    );
    let file = story.scratch.write("cut.nft", rules);
    let mut command = story.place.command("nft");
    command.arg("-f").arg(file);
    Process::run(&story.scratch, "nft", command, START).expect_code(0);
}

/// A call between two phones, each on the server's host or in the room at the end of the cable.
fn talking(story: &Story, [caller, callee]: [(&str, bool); 2]) -> [Phone; 2] {
    let of = |(user, in_room): (&str, bool)| match in_room {
        true => Phone::in_room(story, user, "udp", "pcmu", PHONES),
        false => Phone::of(story, user, "udp", "pcmu"),
    };
    let mut answering = of(callee).answer().seconds(400).start();
    answering.wait_event("registered", START);
    let mut calling = of(caller).call(&story.address(callee.0)).seconds(400).start();
    calling.wait_event("answered", START);
    answering.wait_event("answered", START);
    [calling, answering]
}

/// UPDATEs of one call that reached the server.
#[derive(Debug, Default)]
struct Refreshes {
    /// When each came.
    at: Vec<f64>,
    /// Bytes of descriptions in all of them.
    described: usize,
    /// Who sent them.
    by: BTreeSet<String>,
}

/// Requests that arrived, with when. Read by us: tshark takes some of our ports for others' protocols.
fn requests(captured: &Captured<'_>) -> Vec<(f64, Message)> {
    let read = |packet: Vec<String>| {
        let [at, payload] = &packet[..] else { return None };
        let message = Message::parse(capture::bytes(payload).into()).ok()?;
        Some((at.parse().ok()?, message))
    };
    let all = captured.fields("udp.payload", &["frame.time_epoch", "udp.payload"]);
    let all = all.into_iter().filter_map(read);
    all.filter(|(_, message): &(f64, Message)| message.is_request()).collect()
}

fn refreshes(requests: &[(f64, Message)]) -> BTreeMap<String, Refreshes> {
    let mut seen = BTreeSet::new();
    let mut by_call: BTreeMap<String, Refreshes> = BTreeMap::new();
    for (at, request) in requests.iter().filter(|(_, r)| r.method() == Some(Method::UPDATE)) {
        let text = |name| String::from_utf8_lossy(request.header(name).unwrap_or_default());
        let (call, number) = (text(HeaderName::CALL_ID), text(HeaderName::CSEQ));
        // `any` shows what crosses loopback twice, and a request may be sent twice.
        if seen.insert((call.to_string(), number.to_string())) {
            let refreshes = by_call.entry(call.to_string()).or_default();
            refreshes.at.push(*at);
            refreshes.described += request.body().len();
            refreshes.by.insert(text(HeaderName::FROM).to_string());
        }
    }
    by_call
}

/// RFC 4028 knows no interval below 90 s: this takes two and a half minutes.
#[test]
#[ignore = "waits for a whole session interval: make test-long"]
fn r1_9_what_a_packet_filter_cuts_off_is_gone_in_one_interval_and_refreshes_are_few() {
    let story = Story::on_edge_network("vanishing");
    story.add_users(&["alice", "bob", "carol", "dave", "erin", "frank"]);
    let more = format!(
        "[edge]\nsession_expires_s = {}\n\n[media]\nsilence_s = 3600\n",
        INTERVAL.as_secs()
    );
    let mut server = Server::start_with(&story, &more);
    let ip = story.place.server_ip();
    let filter = format!("udp dst port {}", story.place.sip());
    let capture = Capture::start(&story, "any", &filter, &format!("{ip}/{}", story.place.sip()));
    let begun = Instant::now();
    // Who is in the room vanishes: one side of the first call, both of the second, none of the third.
    let [mut alice, bob] = talking(&story, [("alice", false), ("bob", true)]);
    let both = talking(&story, [("carol", true), ("dave", true)]);
    let stay = talking(&story, [("erin", false), ("frank", false)]);
    // The first refresh of each comes at half an interval.
    std::thread::sleep((INTERVAL / 2 + Duration::from_secs(8)).saturating_sub(begun.elapsed()));
    assert_eq!(server.calls().len(), 3, "{:#?}", server.calls());
    cut(&story);
    let vanished = Instant::now();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(server.metric("whimbrel_relay_sessions"), 3, "they may come back yet");
    // Before expiry and 32 s; and a moment, for what asks is another process.
    let patience = INTERVAL + TIMER_F + Duration::from_secs(2);
    alice.wait_event("ended", patience);
    let told = vanished.elapsed();
    let left = |count: u64| {
        let relayed = server_metric(&story);
        let open = story.cli_json(&["calls", "list", "--json"]);
        (relayed == count && open.as_array().map_or(0, Vec::len) as u64 == count).then_some(())
    };
    let patience = patience.saturating_sub(vanished.elapsed());
    server.wait_for("an end of what nobody refreshes", patience, || left(1));
    let gone = vanished.elapsed();
    tests::story::tell(&format!("alice was told after {told:.1?}, all was gone after {gone:.1?}"));
    check_records(&mut server, &story);
    let whole = begun.elapsed();
    check_refreshes(capture, whole);
    drop((bob, both));
    for phone in stay.into_iter().chain([alice]) {
        phone.interrupt();
        phone.finish(START).expect_answered();
    }
}

fn server_metric(story: &Story) -> u64 {
    tests::server::metric(story, "whimbrel_relay_sessions")
}

/// The two calls of those who vanished are closed, and for what it was.
fn check_records(server: &mut Server<'_>, story: &Story) {
    let closed = server.wait_for("two closed records", START, || {
        let records = tests::server::records(story);
        let closed = |r: &&Value| !r["ended"].is_null();
        let closed: Vec<Value> = records.iter().filter(closed).cloned().collect();
        (closed.len() == 2).then_some(closed)
    });
    let cause = |user: &str| {
        let from = format!("sip:{}", story.address(user));
        let record = closed.iter().find(|r| r["from"] == from.as_str());
        record.unwrap_or_else(|| panic!("{user} called: {closed:#?}"))["cause"].clone()
    };
    // The phone that stayed hung up; of those who both vanished only the server knows.
    assert_eq!((cause("alice"), cause("carol")), ("bye".into(), "session-expired".into()));
}

/// Refreshes are UPDATEs without a description, two at most in an interval, and INVITEs began calls.
fn check_refreshes(capture: Capture<'_>, whole: Duration) {
    let captured = capture.end();
    let requests = requests(&captured);
    let by_call = refreshes(&requests);
    assert_eq!(by_call.len(), 3, "all three calls were refreshed: {by_call:#?}");
    for (call, refreshes) in &by_call {
        assert_eq!(refreshes.described, 0, "{call}: {refreshes:?}");
        let stays = refreshes.by.iter().any(|who| who.contains("erin") || who.contains("frank"));
        // The first of them begins an interval; where a peer is gone, two in it find that out.
        let most = if stays { 3 } else { 4 };
        for some in refreshes.at.windows(most) {
            let apart = some[most - 1] - some[0];
            assert!(apart >= INTERVAL.as_secs_f64() - 0.5, "{call}: {most} in {apart:.1} s");
        }
        let least = usize::try_from(whole.as_secs() / INTERVAL.as_secs()).unwrap_or_default();
        assert!(!stays || refreshes.at.len() >= least, "who stays refreshes: {refreshes:?}");
        tests::story::tell(&format!("{call}: {refreshes:?} in {whole:.0?}"));
    }
    let tagged = |r: &Message| r.to().is_ok_and(|to| to.params().value("tag").is_some());
    let is_again = |r: &Message| r.method() == Some(Method::INVITE) && tagged(r);
    assert!(!requests.iter().any(|(_, r)| is_again(r)), "no re-INVITE");
}
