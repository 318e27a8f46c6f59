//! Streams that come and go in a call: beside rtpengine, and what of them is heard.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use tests::Story;
use tests::browser;
use tests::ng::{Controller, Value, our_relay, rtpengine};

use super::meaning::{self, Meaning, answer_to, answer_without, offers_of_streams};
use super::{OURS, THEIRS};

/// One offer with its answer in a call.
struct Step {
    from_callee: bool,
    offer: String,
    /// The m-line that the answerer rejects.
    rejects: usize,
}

fn step(from_callee: bool, offer: &str) -> Step {
    Step { from_callee, offer: offer.to_owned(), rejects: usize::MAX }
}

/// Calls whose streams change.
fn changes() -> Vec<(&'static str, Vec<Step>)> {
    let named = |name: &str| {
        let offers = offers_of_streams().into_iter().chain(meaning::offers());
        offers.into_iter().find(|(n, _)| *n == name).expect("an offer").1
    };
    // rtpengine repeats an earlier packet time; a description of ours says what its offer says.
    let plain = named("plain").replace("a=ptime:20\r\n", "");
    let (video, fax) = (named("video"), named("fax"));
    let (off, fax_beside) = (named("video off"), named("fax, sound off"));
    let (sdes, sdes_video) = (named("SDES"), named("video, SDES"));
    let rejecting = |offer: &str, rejects| Step { rejects, ..step(false, offer) };
    vec![
        ("video rejected", vec![rejecting(&video, 1)]),
        ("sound rejected", vec![rejecting(&video, 0)]),
        ("video added by the caller", vec![step(false, &plain), step(false, &video)]),
        ("video added by the callee", vec![step(false, &plain), step(true, &video)]),
        ("video added and rejected", vec![step(false, &plain), rejecting(&video, 1)]),
        ("video removed", vec![step(false, &video), step(false, &off)]),
        ("video removed by the callee", vec![step(false, &video), step(true, &off)]),
        ("video again", vec![step(false, &video), step(false, &off), step(true, &video)]),
        ("video added, SDES", vec![step(false, &sdes), step(false, &sdes_video)]),
        ("fax instead of sound", vec![step(false, &plain), step(true, &fax)]),
        ("fax and sound again", vec![step(false, &plain), step(true, &fax), step(true, &plain)]),
        ("fax beside sound that is off", vec![step(false, &plain), step(true, &fax_beside)]),
    ]
}

#[test]
fn ng_streams_that_come_and_go_mean_what_rtpengines_mean() {
    let story = Story::on_loopback("ng-changes");
    let port = story.place.peer_port(0);
    let (_ours, our_control) = our_relay(&story, OURS.into(), port, &["--delete-delay", "0"]);
    let (_theirs, their_control) = rtpengine(&story, THEIRS.into(), port);
    let mut relays = [(Controller::of(our_control), OURS), (Controller::of(their_control), THEIRS)];
    let mut differences = Vec::new();
    for (what, steps) in changes() {
        let told = relays.each_mut().map(|(controller, ip)| {
            let told = steps.iter().flat_map(|step| perform(controller, what, step));
            let told: Vec<Meaning> = told.map(|sdp| Meaning::of(&sdp, IpAddr::from(*ip))).collect();
            let call = [("call-id", Value::from(what)), ("from-tag", "caller".into())];
            assert_eq!(controller.command("delete", &call).text("result"), "ok");
            told
        });
        if told[0] != told[1] {
            differences.push(format!("{what}\n  ours   {:?}\n  theirs {:?}", told[0], told[1]));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What both sides were told.
fn perform(controller: &mut Controller, call: &str, step: &Step) -> [String; 2] {
    let tags = if step.from_callee { ["callee", "caller"] } else { ["caller", "callee"] };
    let names =
        [("call-id", Value::from(call)), ("from-tag", tags[0].into()), ("to-tag", tags[1].into())];
    let with = |sdp: &str| [&names[..], &[("sdp", sdp.into())]].concat();
    let offered = controller.sdp("offer", &with(&step.offer));
    let answer = match step.rejects {
        usize::MAX => answer_to(&offered),
        rejected => answer_without(&offered, rejected),
    };
    let answered = controller.sdp("answer", &with(&answer));
    [offered, answered]
}

/// Sound, video and a fax of one call each reach the other side by ports of their own, and a fax that
/// takes the sound's place goes byte by byte.
#[test]
fn ng_each_stream_of_a_call_is_heard() {
    let story = Story::on_loopback("ng-streams");
    let (_relay, control) = our_relay(&story, OURS.into(), story.place.peer_port(0), &[]);
    let mut controller = Controller::of(control);
    let sockets = [(); 4].map(|()| {
        let socket = UdpSocket::bind((IpAddr::from(OURS), 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
        socket
    });
    let port = |n: usize| sockets[n].local_addr().expect("bound").port();
    let ip = IpAddr::from(OURS);
    let head = format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n");
    let sdp = |n: usize| {
        format!(
            "{head}m=audio {} RTP/AVP 0\r\nm=video {} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n",
            port(n),
            port(n + 1)
        )
    };
    let mut say = |name: &str, sdp: &str| {
        let names = [("call-id", Value::from("c")), ("from-tag", "a".into())];
        let more = [("to-tag", "b".into()), ("sdp", sdp.into())];
        controller.sdp(name, &[&names[..], &more[..]].concat())
    };
    let (to_b, to_a) = (say("offer", &sdp(0)), say("answer", &sdp(2)));
    let ports = |sdp: &str| -> Vec<u16> {
        let lines = sdp.lines().filter(|l| l.starts_with("m="));
        lines.map(|l| l.split(' ').nth(1).expect("a port").parse().expect("a port")).collect()
    };
    let (to_a, to_b) = (ports(&to_a), ports(&to_b));
    let pass = |from: usize, toward: u16, to: usize, packet: &[u8]| {
        sockets[from].send_to(packet, SocketAddr::new(ip, toward)).expect("sent");
        let mut buffer = [0; 2_000];
        let len = sockets[to].recv(&mut buffer).expect("it is heard");
        assert_eq!(&buffer[..len], packet);
    };
    let rtp = |kind: u8, from: u8| [0x80, kind, 0, 1, 0, 0, 0, 1, 9, 9, 9, from, 1, 2, 3, 4];
    pass(0, to_a[0], 2, &rtp(0, 0));
    pass(1, to_a[1], 3, &rtp(96, 1));
    pass(2, to_b[0], 0, &rtp(0, 2));
    pass(3, to_b[1], 1, &rtp(96, 3));
    let fax = |n: usize| format!("{head}m=image {} udptl t38\r\na=T38FaxVersion:0\r\n", port(n));
    let (fax_to_b, fax_to_a) = (say("offer", &fax(0)), say("answer", &fax(2)));
    let (fax_to_a, fax_to_b) = (ports(&fax_to_a)[0], ports(&fax_to_b)[0]);
    for number in 0..20_u8 {
        pass(0, fax_to_a, 2, &[0, number, 1, 6, number]);
        pass(2, fax_to_b, 0, &[0, number, 1, 7, number]);
    }
}

/// Two pages of Chromium, whose bundles are taken apart: both hear and see each other. One that
/// insists on its bundle is heard.
#[test]
fn ng_two_pages_of_chromium_hear_and_see_each_other() {
    let story = Story::on_loopback("ng-chromium");
    let (_relay, control) = our_relay(&story, OURS.into(), story.place.peer_port(0), &[]);
    let (ip, port) = (control.ip().to_string(), control.port().to_string());
    let nothing = std::path::Path::new("");
    let page = browser::Run::start(&story, "streams.mjs", nothing, &[&ip, &port]);
    let steps = page.finish(Duration::from_secs(120));
    let step = |name: &str| {
        let found = steps.iter().find(|step| step["step"] == name);
        let found = found.unwrap_or_else(|| panic!("no {name}: {steps:#?}"));
        assert!(found["refused"].is_null(), "{found:#}");
        found
    };
    for name in ["balanced", "max-bundle-callee", "max-bundle"] {
        for who in ["alice", "bob"] {
            let heard = &step(name)[who];
            assert_eq!(heard["state"], "connected", "{name}: {heard:#}");
            assert!(heard["audio"]["packets"].as_u64() > Some(50), "{name}: {heard:#}");
            if name != "max-bundle" {
                assert!(heard["video"]["frames"].as_u64() > Some(20), "{name}: {heard:#}");
            }
        }
    }
}
