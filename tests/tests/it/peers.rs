//! `[[peer]]` against servers of others: calls out to and in from a Kamailio, and out to SIPp.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tests::handset::{StopAtEnd, answer, answer_at};
use tests::sipp::{Run, Setup};
use tests::{Handset, Process, Server, Story};

const START: Duration = Duration::from_secs(20);
const KAMAILIO: [u8; 4] = [127, 81, 0, 1];
const BEHIND_IT: [u8; 4] = [127, 81, 0, 2];

/// A record-routing proxy: what comes from us goes to the phone behind it, the rest to us.
fn kamailio(story: &Story, at: SocketAddr, phone: SocketAddr) -> Process {
    let ours = SocketAddr::new(story.place.server_ip(), story.place.sip());
    let our_ip = ours.ip();
    let config = format!(
        "#!KAMAILIO\ndebug=2\nlog_stderror=yes\nfork=yes\nchildren=2\ndisable_tcp=yes\ndns=no\n\
         auto_aliases=no\nlisten=udp:{at}\nloadmodule \"pv.so\"\nloadmodule \"sl.so\"\n\
         loadmodule \"tm.so\"\nloadmodule \"rr.so\"\nloadmodule \"maxfwd.so\"\n\
         loadmodule \"siputils.so\"\nloadmodule \"textops.so\"\nmodparam(\"rr\", \"enable_full_lr\", 1)\n\
         request_route {{\n if (!mf_process_maxfwd_header(\"10\")) {{ sl_send_reply(\"483\", \"Hops\"); exit; }}\n\
         if (has_totag()) {{\n  if (loose_route()) {{ t_relay(); exit; }}\n\
         if (is_method(\"ACK\")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}\n\
         sl_send_reply(\"404\", \"No Route\"); exit;\n }}\n\
         if (is_method(\"CANCEL\")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}\n\
         t_check_trans();\n record_route();\n\
         if (src_ip == {our_ip}) {{ $du = \"sip:{phone}\"; }} else {{ $du = \"sip:{ours}\"; }}\n\
         t_relay();\n exit;\n}}\n"
    );
    tests::kamailio::start(story, at, config)
}

#[test]
fn r2_10_calls_go_out_to_and_come_in_from_kamailio_and_out_to_sipp() {
    let story = Story::on_loopback("peers");
    story.add_users(&["alice", "bob"]);
    let port = story.place.peer_port(0);
    let at = |ip: [u8; 4]| SocketAddr::from((ip, port));
    let sipp_at = SocketAddr::new(story.place.peer_ip(), story.place.peer_port(1));
    let peer = |name: &str, at: SocketAddr, prefix: &str, profile: &str| {
        format!(
            "[[peer]]\nname = \"{name}\"\naddress = \"{at}\"\nprofile = \"{profile}\"\n\
             prefixes = [{{ prefix = \"{prefix}\" }}]\n\n"
        )
    };
    let config =
        peer("kamailio", at(KAMAILIO), "+4", "kamailio") + &peer("sipp", sipp_at, "+5", "plain");
    let mut server = Server::start_with(&story, &config);
    let _kamailio = kamailio(&story, at(KAMAILIO), at(BEHIND_IT));
    let setup = Setup {
        scenario: "callee",
        port: sipp_at.port(),
        media_port: story.place.peer_port(10),
        calls: 1,
        rate: 1,
        more: vec!["-timeout".into(), "60s".into()],
    };
    let sipp = Run::start(&story, "sipp-peer", &setup, None);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let stop = &stop;
        let own = SocketAddr::from(([127, 82, 0, 1], 0));
        let mut alice = Handset::at(&story, "alice", own);
        let mut bob = Handset::at(&story, "bob", own);
        let mut far = Handset::between(&story, "far", at(BEHIND_IT), at(KAMAILIO));
        assert_eq!(bob.register(), 200);
        scope.spawn(move || bob.serve_until(stop, answer));
        // In, through Kamailio, with a request inside of the call.
        let outcome = far.invite_changed(&story.address("bob"), |text| {
            text.replace("<sip:far@call.example>", "<sip:+4930555@carrier.example>")
        });
        assert_eq!(outcome.status(), 200, "{:?}", outcome.last);
        let mut talk = outcome.talk.expect("a call");
        assert_eq!(far.inside(&mut talk, "INFO", "").and_then(|m| m.status()), Some(200));
        assert_eq!(far.hang_up(&mut talk), 200);
        // Out, through Kamailio, and to SIPp.
        scope.spawn(move || far.serve_until(stop, |r| answer_at(r, at(BEHIND_IT))));
        for number in ["+4940123", "+5100"] {
            let outcome = alice.invite(&story.address(number), "");
            assert_eq!(outcome.status(), 200, "{number}: {:?}", outcome.last);
            let mut talk = outcome.talk.expect("a call");
            assert_eq!(alice.hang_up(&mut talk), 200, "{number}");
        }
    });
    sipp.expect_none_failed(START);
    server.wait_for("three records", START, || {
        let records = tests::server::records(&story);
        let good = records.iter().filter(|r| r["answered"] == true && r["cause"] == "bye");
        (good.count() == 3).then_some(())
    });
}

/// A server without users between two carriers and a core of ours (R2.1).
#[test]
fn r2_1_a_peering_edge_joins_carriers_and_the_core_and_no_two_carriers() {
    let story = Story::on_loopback("peering-edge");
    story.add_users(&[]);
    let port = story.place.peer_port(0);
    let at = |n: u8| SocketAddr::from(([127, 83, 0, n], port));
    let (carrier, other, core) = (at(1), at(2), at(3));
    let peer = |name: &str, at: SocketAddr, prefix: &str, zone: &str| {
        format!(
            "[[peer]]\nname = \"{name}\"\naddress = \"{at}\"\nzone = \"{zone}\"\n\
             prefixes = [{{ prefix = \"{prefix}\" }}]\n\n"
        )
    };
    let config = peer("carrier", carrier, "+", "peer")
        + &peer("other", other, "+1", "peer")
        + &peer("core", core, "+4930", "internal");
    let mut server = Server::start_with(&story, &config);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let stop = &stop;
        let mut far = Handset::at(&story, "far", carrier);
        let mut second = Handset::at(&story, "second", other);
        let mut inner = Handset::at(&story, "inner", core);
        let call = |phone: &mut Handset<'_>, who: &str, number: &str| {
            let from = format!("<sip:{who}@{who}.example>");
            phone.invite_changed(&story.address(number), |text| {
                text.replace(&format!("<sip:{who}@call.example>"), &from)
            })
        };
        // Out: the core calls by the first carrier.
        let carrier_serves = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _end = StopAtEnd(&carrier_serves);
            let far = &mut far;
            let until = &carrier_serves;
            scope.spawn(move || far.serve_until(until, |r| answer_at(r, carrier)));
            let outcome = call(&mut inner, "inner", "+4940123");
            assert_eq!(outcome.status(), 200, "{:?}", outcome.last);
            assert_eq!(inner.hang_up(&mut outcome.talk.expect("a call")), 200);
        });
        // In: a carrier reaches the core, and not the other carrier.
        scope.spawn(move || inner.serve_until(stop, |r| answer_at(r, core)));
        let outcome = call(&mut far, "far", "+4930555");
        assert_eq!(outcome.status(), 200, "{:?}", outcome.last);
        assert_eq!(far.hang_up(&mut outcome.talk.expect("a call")), 200);
        assert_eq!(call(&mut second, "second", "+4940123").status(), 404, "no transit");
        assert_eq!(call(&mut far, "far", "+1555").status(), 404, "no transit");
    });
    server.wait_for("two answered calls", START, || {
        let records = tests::server::records(&story);
        let good = records.iter().filter(|r| r["answered"] == true && r["cause"] == "bye");
        (good.count() == 2).then_some(())
    });
}
