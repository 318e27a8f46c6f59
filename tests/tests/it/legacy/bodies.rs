//! Bodies: none, several, and other than one description.

use super::{BYE, Flow, answering, flow, talking};
use tests::flow::{Callee, Caller, SDP};

const ISUP: &str = "--edge1\nContent-Type: application/ISUP;version=itu-t92+\n\
    Content-Disposition: signal;handling=optional\n\n01002001030000\n--edge1";
const MULTIPART: &str = "Content-Type: multipart/mixed;boundary=edge1\nMIME-Version: 1.0\n";

fn multipart() -> String {
    format!("{ISUP}\nContent-Type: application/sdp\n\n{SDP}\n--edge1--\n")
}

fn held(how: &str) -> String {
    SDP.replace("c=IN IP[local_ip_type] [local_ip]", how)
}

/// Bodies that are not one description.
pub(super) fn flows() -> Vec<Flow> {
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
