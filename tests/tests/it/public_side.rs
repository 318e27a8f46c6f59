//! R2.2, R2.5, R2.10: SIPp as carriers that call and are called, over UDP and TCP, in a run of calls,
//! forks, failures, transfers, subscriptions and texts. What they read is looked at twice: at their
//! sockets, and in a capture of the public side by tshark.

mod capture;
mod flows;
mod stage;

use stage::{BACKUP, CARRIER, OUTSIDE, Stage, Who};
use std::collections::BTreeSet;
use std::path::Path;
use tests::Server;

/// What shows the inside.
const PHONE_MARKS: [&str; 5] = ["10.77.0.", "inner-host", "secretphone", "9.9.7", "inner room"];
/// What is nobody's business at all.
const OURS: [&str; 4] = ["whimbrel", "pw-", "rust", "sofia"];
/// What shows a carrier.
const CARRIER_MARKS: [&str; 4] = ["198.51.100.7", "carrier-core", "carriercore", "192.0.2.77"];

/// What SIPp received, message by message.
fn received(trace: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    let parts = text.split("-----------------------------------------------");
    let messages = parts.filter_map(|part| {
        let (head, message) = part.split_once("\n\n")?;
        head.contains("message received").then(|| message.trim_start().to_string())
    });
    messages.collect()
}

/// Method of a request, or status and method of a response.
fn kind(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let word = |text: &str, n| text.split(' ').nth(n).unwrap_or_default().to_string();
    let cseq = message.lines().find(|line| line.starts_with("CSeq:")).unwrap_or_default();
    match first.starts_with("SIP/2.0") {
        true => format!("{} {}", word(first, 1), word(cseq, 2).trim()),
        false => word(first, 0),
    }
}

/// The lines among these texts that have one of these marks.
fn marked<'t>(texts: impl IntoIterator<Item = &'t String>, marks: &[&str]) -> Vec<String> {
    let lines = texts.into_iter().flat_map(|text| text.lines());
    let has = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        marks.iter().any(|mark| lower.contains(mark))
    };
    lines.filter(has).map(String::from).collect()
}

/// What was read in a whole run.
struct Seen {
    /// By carriers, at their sockets: the flow and the message.
    carriers: Vec<(&'static str, String)>,
    /// By bob's phones.
    phones: Vec<(&'static str, String)>,
    /// On the cable to carriers.
    cable: Vec<String>,
    addresses: BTreeSet<String>,
}

fn run(name: &str, hidden: bool) -> Seen {
    let stage = Stage::new(name, hidden);
    let server = Server::start_with(&stage.story, &stage.configuration());
    stage.register();
    let capture = capture::start(&stage);
    let flows = flows::flows(if hidden { 1 } else { 2 });
    let wrong: Vec<String> = flows.iter().filter_map(|flow| stage.play(flow).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (cable, addresses) = capture::end(capture);
    assert!(!server.complaints().contains("panicked"));
    let by = |who: &[Who]| {
        let all = flows.iter().flat_map(|flow| who.iter().map(move |who| (flow.0, *who)));
        let read =
            |(name, who)| received(&stage.trace(name, who)).into_iter().map(move |m| (name, m));
        all.flat_map(read).collect::<Vec<_>>()
    };
    let carriers = by(&[Who::Calling, Who::Called, Who::Backup]);
    Seen { carriers, phones: by(&[Who::Bob(0), Who::Bob(1)]), cable, addresses }
}

/// The values of a header in the INVITE that a carrier read in this flow.
fn header(seen: &Seen, flow: &str, name: &str) -> Vec<String> {
    let invite = seen.carriers.iter().find(|(at, m)| *at == flow && m.starts_with("INVITE"));
    let (_, invite) = invite.unwrap_or_else(|| panic!("an INVITE in {flow}"));
    let values = invite.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values.map(String::from).collect()
}

#[test]
fn r2_2_a_capture_of_the_public_side_and_the_carriers_sockets_show_nothing_of_the_inside() {
    let (open, hidden) = std::thread::scope(|scope| {
        let open = scope.spawn(|| run("shown-outside", false));
        let hidden = run("hidden-outside", true);
        (open.join().expect("the run without hiding"), hidden)
    });
    let of = |seen: &Seen| seen.carriers.iter().map(|(_, m)| kind(m)).collect::<BTreeSet<_>>();
    // Everything there is, with and without hiding; what the other side wrote shows without.
    let written = [
        "INVITE",
        "ACK",
        "BYE",
        "REFER",
        "UPDATE",
        "NOTIFY",
        "MESSAGE",
        "SUBSCRIBE",
        "180 INVITE",
        "200 INVITE",
        "486 INVITE",
        "200 INFO",
        "200 BYE",
        "200 MESSAGE",
        "200 SUBSCRIBE",
        "200 NOTIFY",
        "200 REFER",
    ];
    let ours = ["CANCEL", "404 INVITE", "403 INVITE"];
    for kind_of in written.iter().chain(&ours) {
        for seen in [&open, &hidden] {
            assert!(of(seen).contains(*kind_of), "no {kind_of} among {:?}", of(seen));
            let on_cable = seen.cable.iter().any(|m| kind(m) == **kind_of);
            assert!(on_cable, "no {kind_of} in the capture");
        }
    }
    for kind_of in &written {
        let mut these = open.carriers.iter().filter(|(_, m)| kind(m) == *kind_of);
        let shown = these.any(|(_, m)| !marked([m], &PHONE_MARKS).is_empty());
        assert!(shown, "the control: {kind_of} shows the inside where nothing is hidden");
    }
    assert!(!marked(&open.cable, &PHONE_MARKS).is_empty(), "the control of the capture");
    let at_phones = |seen: &Seen| {
        let marks: Vec<&str> = CARRIER_MARKS.to_vec();
        marked(seen.phones.iter().map(|(_, m)| m), &marks)
    };
    assert!(!at_phones(&open).is_empty(), "the control: phones see the carrier");
    let all: Vec<&str> = PHONE_MARKS.iter().chain(&OURS).copied().collect();
    let none = Vec::<String>::new();
    assert_eq!(marked(hidden.carriers.iter().map(|(_, m)| m), &all), none, "at the carriers");
    assert_eq!(marked(&hidden.cable, &all), none, "in the capture");
    assert_eq!(at_phones(&hidden), none, "at bob's phones");
    let outside = [OUTSIDE, CARRIER, BACKUP].map(String::from);
    assert_eq!(hidden.addresses, BTreeSet::from(outside), "the addresses of the capture");
    // Who calls, as carriers and phones read it.
    for (flow, name) in [("out-transferred", "alice"), ("out-by-number", "+49301234567")] {
        let asserted = header(&hidden, flow, "P-Asserted-Identity");
        assert_eq!(asserted, [format!("<sip:{name}@call.example>")], "{flow}");
        assert_eq!(header(&hidden, flow, "P-Preferred-Identity"), none, "{flow}");
    }
    assert_eq!(header(&hidden, "out-private", "P-Asserted-Identity"), none, "asked for privacy");
    let heard =
        |flow: &str| hidden.carriers.iter().any(|(at, m)| *at == flow && m.starts_with("INVITE"));
    assert!(!heard("out-spoof"), "a number that is not hers is called by nobody");
    let rung = |flow: &str| hidden.phones.iter().any(|(at, _)| *at == flow);
    assert!(rung("in-forked") && !rung("in-spoof"), "nobody calls as alice but alice");
    let callers: BTreeSet<&str> = hidden
        .phones
        .iter()
        .filter(|(_, m)| m.starts_with("INVITE"))
        .filter_map(|(_, m)| m.lines().find(|line| line.starts_with("From:"))?.split(';').next())
        .collect();
    assert_eq!(callers, BTreeSet::from(["From: <sip:+4930555@carrier.example>"]));
    let claims = hidden.phones.iter().any(|(_, m)| m.contains("P-Asserted-Identity"));
    assert!(!claims, "a carrier's word is not for phones");
}
