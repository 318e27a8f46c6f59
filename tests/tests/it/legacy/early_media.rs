//! Early media, with and without PRACK, and several early dialogs.

use super::{BYE, Flow, flow};
use tests::flow::{Callee, Caller, SDP};

/// Early media, and several early dialogs.
pub(super) fn flows() -> Vec<Flow> {
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
