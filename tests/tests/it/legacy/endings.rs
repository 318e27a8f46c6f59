//! What ends calls, or keeps them from beginning.

use super::{BYE, Flow, answering, flow, talking};
use tests::flow::{Callee, Caller, SDP};

/// What ends calls, or keeps them from beginning.
pub(super) fn flows() -> Vec<Flow> {
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
