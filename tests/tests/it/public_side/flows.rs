//! The run: what comes from carriers and goes to them.

use super::stage::{Flow, Who};
use tests::flow::{Callee, Caller, SDP};

/// A number that was granted to alice, and one that was not.
const NUMBER: &str = "P-Preferred-Identity: <sip:+49301234567@call.example>\n";
const NOT_HERS: &str = "P-Preferred-Identity: <sip:+4930999@call.example>\n";

/// A carrier's caller says who it is in its own words.
const ASSERTED: &str = "P-Asserted-Identity: <sip:+4930555@192.0.2.77>\n";

/// What comes from and goes to carriers; `vias` is how many stand in what a callee reads.
pub(super) fn flows(vias: u32) -> Vec<Flow> {
    let mut flows = inward(vias);
    flows.extend(outward(vias));
    flows
}

fn carrier() -> Caller {
    Caller::of_old(|text| {
        text.replace("From: <sip:[field0]@[domain]>", "From: <sip:[field0]@carrier.example>")
    })
}

fn inward(vias: u32) -> Vec<Flow> {
    let phone = || Callee::seeing(vias);
    let busy = |tag: &str| {
        let lines = "Reason: SIP;cause=486;text=\"inner-host\"\n";
        phone().invited().respond(486, tag, lines, "").expect("ACK")
    };
    let both = |one: Callee, two: Callee| vec![(Who::Bob(0), one), (Who::Bob(1), two)];
    let watched = |tag: &str| phone().asked("SUBSCRIBE", ".*").respond_plainly(200, tag, "");
    let text = "Content-Type: text/plain\n";
    let active = "Event: presence\nSubscription-State: active\n";
    vec![
        (
            "in-forked",
            (Who::Calling, {
                let caller = carrier().unchallenged("INVITE", ASSERTED, SDP).may(180).may(180);
                caller.expect(200).ack("").then("INFO", "", "").expect(200).hang_up()
            }),
            "bob",
            both(
                phone()
                    .invited()
                    .respond(180, "a", "", "")
                    .pause(300)
                    .respond(200, "a", "", SDP)
                    .expect("ACK")
                    .serve("INFO")
                    .serve("BYE"),
                phone()
                    .invited()
                    .respond(180, "b", "", "")
                    .serve("CANCEL")
                    .respond(487, "b", "", "")
                    .expect("ACK"),
            ),
        ),
        (
            "in-refused",
            (Who::Calling, carrier().unchallenged("INVITE", "", SDP).expect(486).ack_failure()),
            "bob",
            both(busy("a"), busy("b")),
        ),
        (
            "in-nobody",
            (Who::Calling, carrier().unchallenged("INVITE", "", SDP).expect(404).ack_failure()),
            "nobody",
            Vec::new(),
        ),
        // Under the name of one of our users: nobody is called.
        (
            "in-spoof",
            (Who::Calling, {
                let alice =
                    |text: String| text.replace("From: <sip:[field0]@", "From: <sip:alice@");
                let caller = Caller::of_old(alice).unchallenged("INVITE", "", SDP);
                caller.expect(403).ack_failure()
            }),
            "bob",
            Vec::new(),
        ),
        (
            "in-text",
            (Who::Calling, carrier().unchallenged("MESSAGE", text, "hello").expect(200)),
            "bob",
            both(phone().serve("MESSAGE"), phone().serve("MESSAGE")),
        ),
        (
            "in-watch",
            (Who::Calling, {
                let lines = "Event: presence\nExpires: 60\n";
                carrier().unchallenged("SUBSCRIBE", lines, "").expect(200).serve("NOTIFY")
            }),
            "bob",
            both(
                watched("a").pause(200).ask("NOTIFY", "a", active, ""),
                phone().asked("SUBSCRIBE", ".*").pause(500).respond_plainly(486, "b", ""),
            ),
        ),
    ]
}

fn outward(vias: u32) -> Vec<Flow> {
    let called = || Callee::seeing(vias).invited().respond(180, "c", "", "");
    let answers = || called().respond(200, "c", "", SDP).expect("ACK");
    let alice = || Caller::new().invite("", SDP).may(180);
    let talks = || alice().expect(200).ack("");
    let refer = "Refer-To: <sip:carol@call.example>\nReferred-By: <sip:alice@10.77.0.2>\n";
    // To an address inside: refused where carriers are not to see it.
    let refer_inside = |caller: Caller| match vias {
        1 => caller.then("REFER", "Refer-To: <sip:bob@10.77.0.2:9>\n", "").expect(403),
        _ => caller,
    };
    let news = "Event: refer\nSubscription-State: terminated\n\
        Content-Type: message/sipfrag;version=2.0\n";
    let active = "Event: presence\nSubscription-State: active\n";
    let flow = |name, caller, callee, called| {
        let flow: Flow = (name, (Who::Alice, caller), callee, vec![(Who::Called, called)]);
        flow
    };
    vec![
        flow(
            "out-transferred",
            refer_inside(talks()).then("REFER", refer, "").expect(200).serve("NOTIFY").hang_up(),
            "+4940101",
            answers().serve("REFER").ask("NOTIFY", "c", news, "SIP/2.0 200 OK\n").serve("BYE"),
        ),
        flow(
            "out-asked-to-transfer",
            talks().serve("REFER").then("NOTIFY", news, "SIP/2.0 200 OK\n").expect(200).hang_up(),
            "+4940102",
            answers()
                .ask("REFER", "c", "Refer-To: <sip:+4940999@carrier.example>\n", "")
                .serve("NOTIFY")
                .serve("BYE"),
        ),
        flow(
            "out-held",
            talks()
                .then("INVITE", "", SDP)
                .expect(200)
                .ack("")
                .then("UPDATE", "", "")
                .expect(200)
                .hang_up(),
            "+4940103",
            answers().serve_with("INVITE", SDP).expect("ACK").serve("UPDATE").serve("BYE"),
        ),
        flow(
            "out-cancelled",
            Caller::new()
                .invite("", SDP)
                .expect(180)
                .cancel()
                .expect(200)
                .expect(487)
                .ack_failure(),
            "+4940104",
            called().serve("CANCEL").respond(487, "c", "", "").expect("ACK"),
        ),
        flow(
            "out-refused",
            alice().expect(486).ack_failure(),
            "+4940105",
            called().respond(486, "c", "", "").expect("ACK"),
        ),
        flow(
            "out-by-number",
            Caller::new().invite(NUMBER, SDP).may(180).expect(486).ack_failure(),
            "+4940109",
            called().respond(486, "c", "", "").expect("ACK"),
        ),
        flow(
            "out-private",
            Caller::new().invite("Privacy: id\n", SDP).may(180).expect(486).ack_failure(),
            "+4940110",
            called().respond(486, "c", "", "").expect("ACK"),
        ),
        // Under a number that is not hers: nobody is called.
        (
            "out-spoof",
            (Who::Alice, Caller::new().invite(NOT_HERS, SDP).expect(403).ack_failure()),
            "+4940111",
            Vec::new(),
        ),
        flow(
            "out-text",
            Caller::new().challenged("MESSAGE", "Content-Type: text/plain\n", "hello").expect(200),
            "+4940106",
            Callee::seeing(vias).serve("MESSAGE"),
        ),
        flow(
            "out-watch",
            Caller::new()
                .challenged("SUBSCRIBE", "Event: presence\nExpires: 60\n", "")
                .expect(200)
                .serve("NOTIFY"),
            "+4940107",
            Callee::seeing(vias)
                .asked("SUBSCRIBE", ".*")
                .respond_plainly(200, "c", "")
                // It may overtake the response (RFC 6665), which SIPp does not expect.
                .pause(200)
                .ask("NOTIFY", "c", active, ""),
        ),
        // The last one: who failed is asked last for a while.
        (
            "out-by-the-other",
            (Who::Alice, talks().hang_up()),
            "+4940108",
            vec![
                (Who::Called, called().respond(503, "c", "", "").expect("ACK")),
                (Who::Backup, answers().serve("BYE")),
            ],
        ),
    ]
}
