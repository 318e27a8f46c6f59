//! Requests as older stacks write them.

use super::{BYE, Flow, answering, flow};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use tests::flow::{Callee, Caller, SDP};
use tests::handset::{StopAtEnd, answer};
use tests::{Handset, Server, Story};

/// Requests as older stacks write them.
pub(super) fn flows() -> Vec<Flow> {
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

/// SIPp takes the blanks off the lines of its scenarios, so this one is played by small phones.
#[test]
fn r1_6_a_call_with_folded_headers_goes_through_and_each_reads_as_one_line() {
    let story = Story::on_loopback("folded");
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let own: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let (stop, heard) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let (stop, heard) = (&stop, &heard);
        let mut bob = Handset::at(&story, "bob", own);
        assert_eq!(bob.register(), 200);
        scope.spawn(move || {
            bob.serve_until(stop, |request| {
                let subject = request.header_str("Subject").map(String::from);
                heard.lock().expect("no panic").extend(subject);
                answer(request)
            });
        });
        let mut alice = Handset::at(&story, "alice", own);
        let outcome = alice.invite_changed(&story.address("bob"), |text| {
            text.replace("Max-Forwards: 70\r\n", "Max-Forwards:\r\n\t70\r\n")
                .replace("To: <", "To:\r\n <")
                .replace("CSeq: ", "CSeq:\r\n  ")
                .replace("Contact: <", "Subject: in\r\n two lines\r\nContact:\r\n <")
        });
        assert_eq!(outcome.status(), 200, "{:?}", outcome.last);
        assert_eq!(alice.hang_up(&mut outcome.talk.expect("a call")), 200);
    });
    let heard = heard.into_inner().expect("no panic");
    let unfolded = heard.first().map(|s| s.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(unfolded.as_deref(), Some("in two lines"), "{heard:?}");
}
