//! R1.6: call shapes of older and odder phones, each played by two SIPp through a running server.
//! Every flow has a name, a caller, a callee, and the end its record must tell.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tests::flow::{Callee, Caller, SDP};
use tests::sipp::{self, Run, Setup};
use tests::{Probe, Server, Story};

const PATIENCE: Duration = Duration::from_secs(40);
/// Flows at a time.
const WORKERS: usize = 4;

/// One flow: name, caller, callee, whether the call is answered, cause in the record.
type Flow = (&'static str, Caller, Callee, bool, &'static str);

const BYE: (bool, &str) = (true, "bye");

fn flow(
    name: &'static str,
    caller: Caller,
    callee: Callee,
    (answered, cause): (bool, &'static str),
) -> Flow {
    (name, caller, callee, answered, cause)
}

/// A caller whose call is answered and who is about to speak.
fn talking(lines: &str) -> Caller {
    Caller::new().invite(lines, SDP).may(180).expect(200).ack("")
}

/// A callee who answered.
fn answering() -> Callee {
    Callee::new().invited().respond(180, "a", "", "").respond(200, "a", "", SDP).expect("ACK")
}

fn held(how: &str) -> String {
    SDP.replace("c=IN IP[local_ip_type] [local_ip]", how)
}

const ISUP: &str = "--edge1\nContent-Type: application/ISUP;version=itu-t92+\n\
    Content-Disposition: signal;handling=optional\n\n01002001030000\n--edge1";
const MULTIPART: &str = "Content-Type: multipart/mixed;boundary=edge1\nMIME-Version: 1.0\n";

fn multipart() -> String {
    format!("{ISUP}\nContent-Type: application/sdp\n\n{SDP}\n--edge1--\n")
}

/// Early media, and several early dialogs.
fn early() -> Vec<Flow> {
    let rel = |n: u32| format!("Require: 100rel\nRSeq: {n}\n");
    let prack = |n: u32| format!("RAck: {n} 2 INVITE\n");
    let with_100rel = || Caller::new().invite("Supported: 100rel\n", SDP);
    vec![
        flow(
            "early_media_in_183",
            Caller::new().invite("", SDP).expect_with(183, "m=audio").expect(200).ack("").hang_up(),
            Callee::new()
                .invited()
                .respond(183, "a", "", SDP)
                .respond(200, "a", "", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "early_media_in_183_and_no_sdp_in_200",
            Caller::new().invite("", SDP).expect_with(183, "m=audio").expect(200).ack("").hang_up(),
            Callee::new()
                .invited()
                .respond(183, "a", "", SDP)
                .respond(200, "a", "", "")
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "early_media_in_180_with_p_early_media",
            Caller::new()
                .invite("P-Early-Media: supported\n", SDP)
                .expect_with(180, "P-Early-Media: sendrecv")
                .expect(200)
                .ack("")
                .hang_up(),
            Callee::new()
                .invited_with("P-Early-Media: supported")
                .respond(180, "a", "P-Early-Media: sendrecv\n", SDP)
                .respond(200, "a", "", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "early_media_with_prack",
            with_100rel()
                .expect_with(183, "RSeq: 1")
                .then("PRACK", &prack(1), "")
                .expect(200)
                .expect(200)
                .ack("")
                .hang_up(),
            Callee::new()
                .invited_with("100rel")
                .respond(183, "a", &rel(1), SDP)
                .serve("PRACK")
                .respond(200, "a", "", "")
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "two_reliable_provisionals",
            with_100rel()
                .expect_with(183, "RSeq: 1")
                .then("PRACK", &prack(1), "")
                .expect(200)
                .expect_with(180, "RSeq: 2")
                .then("PRACK", &prack(2), "")
                .expect(200)
                .expect(200)
                .ack("")
                .hang_up(),
            Callee::new()
                .invited()
                .respond(183, "a", &rel(1), SDP)
                .serve("PRACK")
                .respond(180, "a", &rel(2), "")
                .serve("PRACK")
                .respond(200, "a", "", "")
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "required_100rel",
            Caller::new()
                .invite("Require: 100rel\n", SDP)
                .expect_with(180, "RSeq: 7")
                .then("PRACK", &prack(7), "")
                .expect(200)
                .expect(200)
                .ack("")
                .hang_up(),
            Callee::new()
                .invited_with("Require: 100rel")
                .respond(180, "a", &rel(7), "")
                .serve("PRACK")
                .respond(200, "a", "", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "required_100rel_refused_by_the_phone",
            Caller::new()
                .invite("Require: 100rel\n", SDP)
                .expect_with(420, "Unsupported: 100rel")
                .ack_failure(),
            Callee::new().invited().respond(420, "a", "Unsupported: 100rel\n", "").expect("ACK"),
            (false, "failed"),
        ),
        flow(
            "update_in_an_early_dialog",
            with_100rel()
                .expect_with(183, "RSeq: 1")
                .then("PRACK", &prack(1), "")
                .expect(200)
                .then("UPDATE", "", SDP)
                .expect_with(200, "m=audio")
                .expect(200)
                .ack("")
                .hang_up(),
            Callee::new()
                .invited()
                .respond(183, "a", &rel(1), SDP)
                .serve("PRACK")
                .serve_with("UPDATE", SDP)
                .respond(200, "a", "", "")
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "several_early_dialogs",
            Caller::new()
                .invite("", SDP)
                .expect(180)
                .expect(183)
                .expect(183)
                .expect(200)
                .ack("")
                .hang_up(),
            Callee::new()
                .invited()
                .respond(180, "a", "", "")
                .respond(183, "b", "", SDP)
                .respond(183, "c", "", SDP)
                .respond(200, "c", "", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "the_to_tag_changes_with_the_answer",
            Caller::new().invite("", SDP).expect(180).expect(200).ack("").hang_up(),
            Callee::new()
                .invited()
                .respond(180, "a", "", "")
                .respond(200, "b", "", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "many_provisionals",
            Caller::new()
                .invite("", SDP)
                .expect(181)
                .expect(182)
                .expect(180)
                .expect(199)
                .expect(180)
                .expect(200)
                .ack("")
                .hang_up(),
            Callee::new()
                .invited()
                .respond(181, "a", "", "")
                .respond(182, "a", "", "")
                .respond(180, "a", "", "")
                .respond(199, "a", "", "")
                .respond(180, "b", "", "")
                .respond(200, "b", "", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "bye_in_an_early_dialog",
            Caller::new()
                .invite("", SDP)
                .expect(180)
                .then("BYE", "", "")
                .expect(200)
                .expect(487)
                .ack_failure(),
            Callee::new()
                .invited()
                .respond(180, "a", "", "")
                .serve("BYE")
                .respond(487, "a", "", "")
                .expect("ACK"),
            (false, "failed"),
        ),
    ]
}

/// Bodies that are not one description.
fn bodies() -> Vec<Flow> {
    let dialog = || Callee::new().invited().respond(180, "a", "", "");
    vec![
        flow(
            "multipart_offer_with_isup",
            Caller::new().invite(MULTIPART, &multipart()).may(180).expect(200).ack("").hang_up(),
            Callee::new()
                .invited_with("01002001030000.*m=audio.*--edge1--")
                .respond(180, "a", "", "")
                .respond(200, "a", "", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "multipart_answer_with_isup",
            Caller::new()
                .invite("", SDP)
                .may(180)
                .expect_with(200, "01002001030000.*m=audio.*--edge1--")
                .ack("")
                .hang_up(),
            dialog().respond(200, "a", MULTIPART, &multipart()).expect("ACK").serve("BYE"),
            BYE,
        ),
        flow(
            "isup_alone_is_an_offerless_invite",
            Caller::new()
                .invite("Content-Type: application/ISUP;version=itu-t92+\n", "0100200103")
                .may(180)
                .expect_with(200, "m=audio")
                .ack(SDP)
                .hang_up(),
            Callee::new()
                .invited_with("application/ISUP.*0100200103")
                .respond(200, "a", "", SDP)
                .expect_with("ACK", "m=audio")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "offerless_invite",
            Caller::new().invite("", "").may(180).expect_with(200, "m=audio").ack(SDP).hang_up(),
            dialog().respond(200, "a", "", SDP).expect_with("ACK", "m=audio").serve("BYE"),
            BYE,
        ),
        flow(
            "reinvite_without_sdp",
            talking("").then("INVITE", "", "").expect_with(200, "m=audio").ack(SDP).hang_up(),
            answering().serve_with("INVITE", SDP).expect_with("ACK", "m=audio").serve("BYE"),
            BYE,
        ),
        flow(
            "hold_by_the_null_address_and_back",
            talking("")
                .then("INVITE", "", &held("c=IN IP4 0.0.0.0"))
                .expect(200)
                .ack("")
                .then("INVITE", "", SDP)
                .expect(200)
                .ack("")
                .hang_up(),
            answering()
                .serve_with("INVITE", SDP)
                .expect("ACK")
                .serve_with("INVITE", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "hold_by_sendonly_and_back",
            talking("")
                .then("INVITE", "", &format!("{SDP}a=sendonly\n"))
                .expect_with(200, "a=recvonly")
                .ack("")
                .then("INVITE", "", SDP)
                .expect(200)
                .ack("")
                .hang_up(),
            answering()
                .expect_with("INVITE", "a=sendonly")
                .respond_plainly(200, "", &format!("{SDP}a=recvonly\n"))
                .expect("ACK")
                .serve_with("INVITE", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "info_with_dtmf",
            talking("")
                .then("INFO", "Content-Type: application/dtmf-relay\n", "Signal=5\nDuration=160\n")
                .expect(200)
                .hang_up(),
            answering()
                .expect_with("INFO", "application/dtmf-relay.*Signal=5")
                .respond_plainly(200, "", "")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "a_message_in_the_call",
            talking("")
                .then("MESSAGE", "Content-Type: text/plain\n", "hello\n")
                .expect(200)
                .hang_up(),
            answering().expect_with("MESSAGE", "hello").respond_plainly(200, "", "").serve("BYE"),
            BYE,
        ),
    ]
}

/// What ends calls, or keeps them from beginning.
fn endings() -> Vec<Flow> {
    let refused =
        |status, lines: &str| Callee::new().invited().respond(status, "a", lines, "").expect("ACK");
    let hears = |status| Caller::new().invite("", SDP).expect(status).ack_failure();
    let cancels = || Caller::new().invite("", SDP).expect(180).cancel().expect(200);
    vec![
        flow("redirected_302", hears(302), refused(302, ""), (false, "failed")),
        flow("ambiguous_300", hears(300), refused(300, ""), (false, "failed")),
        flow("busy_486", hears(486), refused(486, ""), (false, "busy")),
        flow("busy_everywhere_600", hears(600), refused(600, ""), (false, "busy")),
        flow("declined_603", hears(603), refused(603, ""), (false, "declined")),
        flow("gone_410", hears(410), refused(410, ""), (false, "failed")),
        flow(
            "not_acceptable_606",
            hears(606),
            refused(606, "Warning: 304 x \"media\"\n"),
            (false, "no-common-media"),
        ),
        flow(
            "cancelled_while_ringing",
            cancels().expect(487).ack_failure(),
            Callee::new()
                .invited()
                .respond(180, "a", "", "")
                .serve("CANCEL")
                .respond(487, "a", "", "")
                .expect("ACK"),
            (false, "cancelled"),
        ),
        flow(
            "a_late_cancel_loses_against_the_answer",
            cancels().expect(200).ack("").hang_up(),
            Callee::new()
                .invited()
                .respond(180, "a", "", "")
                .expect("CANCEL")
                .respond_plainly(200, "a", "")
                .respond(200, "a", "", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "the_callee_hangs_up",
            talking("").serve("BYE"),
            answering().ask("BYE", "a", "", ""),
            BYE,
        ),
        flow(
            "a_delayed_ack",
            Caller::new()
                .invite("", SDP)
                .may(180)
                .expect(200)
                .pause(900)
                .ack("")
                .pause(100)
                .hang_up(),
            answering().serve("BYE"),
            BYE,
        ),
    ]
}

/// Requests inside of a call.
fn inside() -> Vec<Flow> {
    vec![
        flow(
            "glare_is_retried",
            talking("")
                .then("INVITE", "", SDP)
                .expect(491)
                .ack_failure()
                .pause(50)
                .then("INVITE", "", SDP)
                .expect(200)
                .ack("")
                .hang_up(),
            answering()
                .expect("INVITE")
                .respond_plainly(491, "", "")
                .expect("ACK")
                .serve_with("INVITE", SDP)
                .expect("ACK")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "refer_with_notify",
            talking("")
                .then("REFER", "Refer-To: <sip:carol@example.com>\n", "")
                .expect(202)
                .serve("NOTIFY")
                .serve("NOTIFY")
                .hang_up(),
            answering()
                .expect_with("REFER", "Refer-To: .sip:carol@example.com")
                .respond_plainly(202, "", "")
                .ask("NOTIFY", "a", &notify("active"), "SIP/2.0 100 Trying\n")
                .ask("NOTIFY", "a", &notify("terminated"), "SIP/2.0 200 OK\n")
                .serve("BYE"),
            BYE,
        ),
        flow(
            "options_in_the_call",
            talking("").then("OPTIONS", "", "").expect(200).hang_up(),
            answering().serve("OPTIONS").serve("BYE"),
            BYE,
        ),
        flow(
            "a_method_nobody_knows_in_the_call",
            talking("").then("FROBNICATE", "", "").expect(200).hang_up(),
            answering().serve("FROBNICATE").serve("BYE"),
            BYE,
        ),
        flow(
            "the_callee_reinvites",
            talking("").answer_reinvite().hang_up(),
            answering().reinvite("a").serve("BYE"),
            BYE,
        ),
    ]
}

fn notify(state: &str) -> String {
    format!(
        "Event: refer\nSubscription-State: {state}\nContent-Type: message/sipfrag;version=2.0\n"
    )
}

/// Requests as older stacks write them.
fn shapes() -> Vec<Flow> {
    let old =
        |mangle| Caller::of_old(mangle).invite("", SDP).may(180).expect(200).ack("").hang_up();
    let usual = || answering().serve("BYE");
    let plain =
        || Callee::new().expect("INVITE").respond_plainly(200, "a", SDP).expect("ACK").serve("BYE");
    vec![
        flow("without_rport", old(|t| t.replace(";rport", "")), usual(), BYE),
        flow("without_branch", old(|t| t.replace(";branch=[branch]", "")), usual(), BYE),
        flow("without_max_forwards", old(|t| t.replace("Max-Forwards: 70\n", "")), usual(), BYE),
        flow(
            "compact_headers",
            old(|t| {
                let names = [("Via:", "v:"), ("From:", "f:"), ("To:", "t:"), ("Call-ID:", "i:")];
                let more = [("Contact:", "m:"), ("Content-Length:", "l:"), ("Content-Type:", "c:")];
                names.iter().chain(&more).fold(t, |t, (long, short)| t.replace(long, short))
            }),
            plain(),
            BYE,
        ),
        flow(
            "a_contact_with_odd_parameters",
            old(|t| {
                t.replace(
                    "[local_port]>\n",
                    "[local_port];ob;x-a=b%3Bc;lr=on>;q=0.5;+sip.x=\"<y>\"\n",
                )
            }),
            usual(),
            BYE,
        ),
        flow(
            "headers_in_another_case_and_order",
            old(|t| {
                t.replace("Max-Forwards: 70\n", "")
                    .replace("CSeq:", "mAX-fORWARDS : 70\nCSeq:")
                    .replace("Contact:", "CONTACT  :")
            }),
            usual(),
            BYE,
        ),
    ]
}

#[test]
fn r1_6_calls_of_every_legacy_shape_end_as_they_should() {
    let story = Story::on_loopback("legacy");
    let flows: Vec<Flow> =
        [early(), bodies(), endings(), inside(), shapes()].into_iter().flatten().collect();
    assert!(flows.len() >= 40, "{} flows", flows.len());
    let users = |kind: char| (0..flows.len()).map(move |n| format!("{kind}{n}"));
    story.import_users(&users('l').chain(users('r')).collect::<Vec<_>>());
    let mut server = Server::start(&story);
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((n, flow)) = flows.get(next.load(Ordering::Relaxed)).and_then(|_| {
            let n = next.fetch_add(1, Ordering::Relaxed);
            flows.get(n).map(|flow| (n, flow))
        }) {
            if let Err(why) = play(&story, n, flow) {
                wrong.lock().expect("no worker panics with it").push(format!("{}: {why}", flow.0));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let mut wrong = wrong.into_inner().expect("no worker panicked");
    let records = server.wait_for("a closed record of each", Duration::from_secs(40), || {
        let records = tests::server::records(&story);
        let closed = records.iter().filter(|r| !r["ended"].is_null()).count();
        (closed >= flows.len() || !wrong.is_empty()).then_some(records)
    });
    for (n, (name, _, _, answered, cause)) in flows.iter().enumerate() {
        let from = format!("sip:{}", story.address(&format!("l{n}")));
        let mine: Vec<_> = records.iter().filter(|r| r["from"] == *from).collect();
        let [record] = mine[..] else {
            wrong.push(format!("{name}: {} records", mine.len()));
            continue;
        };
        if record["answered"] != *answered || record["cause"] != *cause {
            wrong.push(format!("{name}: {} {}", record["answered"], record["cause"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), flows.len(), wrong.join("\n"));
    assert!(!server.complaints().contains("panicked"));
}

/// Registers the callee, then plays both sides.
fn play(story: &Story, n: usize, (name, caller, callee, _, _): &Flow) -> Result<(), String> {
    let (left, right) = (format!("l{n}"), format!("r{n}"));
    let at = |side: usize| story.place.peer_port(u16::try_from(2 * n + side).expect("few flows"));
    let mut probe = Probe::at(story, at(1));
    let (_, registered) = probe.register(&right, &story.password(&right));
    if registered.and_then(|m| m.status()) != Some(200) {
        return Err("the callee is not registered".into());
    }
    drop(probe);
    let file = |side: &str, xml: String| -> PathBuf {
        story.scratch.write(&format!("{name}-{side}.xml"), xml)
    };
    let users = sipp::users_file(story, &format!("{name}.csv"), &[(left, right)]);
    let setup = |side: usize| Setup {
        scenario: "",
        port: at(side),
        media_port: 0,
        calls: 1,
        rate: 1,
        more: ["-timeout", "15s", "-timeout_error", "-recv_timeout", "9000"]
            .map(String::from)
            .to_vec(),
    };
    let start = |side: &str, number, xml, users| {
        let (name, server) = (format!("{name}-{side}"), story.place.server_ip());
        let server = SocketAddr::new(server, story.place.sip());
        Run::start_xml(story, &name, (&file(side, xml), server), &setup(number), users)
    };
    let callee = start("callee", 1, callee.xml(), None);
    let caller = start("caller", 0, caller.xml(), Some(users.as_path()));
    let (caller, callee) = (caller.outcome(PATIENCE), callee.outcome(PATIENCE));
    caller.map_err(|e| format!("caller {e}"))?;
    callee.map_err(|e| format!("callee {e}"))
}
