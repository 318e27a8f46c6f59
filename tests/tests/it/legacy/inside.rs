//! Requests inside of a call.

use super::{BYE, Flow, answering, flow, talking};
use tests::flow::SDP;

/// Requests inside of a call.
pub(super) fn flows() -> Vec<Flow> {
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
