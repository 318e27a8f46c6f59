//! Kamailio as the controller: its `rtpengine` module, and our relay in that one's place.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tests::handset::{self, StopAtEnd};
use tests::ng::{Controller, our_relay};
use tests::{Handset, Process, Story};

use super::{Joined, OURS, THEIRS, meaning, studio};

const KAMAILIO: [u8; 4] = [127, 84, 0, 3];

/// A proxy between two phones that has its relay directed by the `rtpengine` module; `answered` is what
/// it does besides when a call is answered.
fn kamailio(
    story: &Story,
    at: SocketAddr,
    relay: SocketAddr,
    (callee, answered): (SocketAddr, &str),
) -> Process {
    let config = format!(
        "#!KAMAILIO\ndebug=2\nlog_stderror=yes\nfork=yes\nchildren=2\ndisable_tcp=yes\ndns=no\n\
         auto_aliases=no\nlisten=udp:{at}\nloadmodule \"pv.so\"\nloadmodule \"sl.so\"\n\
         loadmodule \"tm.so\"\nloadmodule \"rr.so\"\nloadmodule \"maxfwd.so\"\nloadmodule \"textops.so\"\n\
         loadmodule \"siputils.so\"\nloadmodule \"rtpengine.so\"\n\
         modparam(\"rtpengine\", \"rtpengine_sock\", \"udp:{relay}\")\n\
         request_route {{\n if (!mf_process_maxfwd_header(\"10\")) {{ sl_send_reply(\"483\", \"Hops\"); exit; }}\n\
         if (has_totag()) {{\n  if (is_method(\"BYE\")) {{ rtpengine_delete(); }}\n\
         if (loose_route()) {{ t_relay(); exit; }}\n\
         if (is_method(\"ACK\")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}\n\
         sl_send_reply(\"404\", \"No Route\"); exit;\n }}\n\
         if (is_method(\"CANCEL\")) {{ rtpengine_delete(); if (t_check_trans()) {{ t_relay(); }} exit; }}\n\
         t_check_trans();\n record_route();\n\
         if (is_method(\"INVITE\")) {{\n\
         if (!rtpengine_offer(\"replace-origin replace-session-connection ICE=remove\")) {{\n\
         sl_send_reply(\"500\", \"No Relay\"); exit; }}\n  t_on_reply(\"ANSWERED\");\n }}\n\
         $du = \"sip:{callee}\";\n t_relay();\n exit;\n}}\n\
         onreply_route[ANSWERED] {{\n if (has_body(\"application/sdp\")) {{\n\
         rtpengine_answer(\"replace-origin replace-session-connection ICE=remove\"); {answered} }}\n}}\n"
    );
    tests::kamailio::start(story, at, config)
}

/// Two phones, Kamailio and our relay in rtpengine's place: the call ends with its BYE.
fn with_a_call(
    story: &Story,
    (flags, answered): (&[&str], &str),
    meanwhile: impl FnOnce(&Joined, &mut Controller),
) {
    let port = story.place.peer_port(0);
    let flags = [&["--delete-delay", "0"], flags].concat();
    let (_relay, control) = our_relay(story, OURS.into(), port, &flags);
    let (proxy, callee) = (SocketAddr::from((KAMAILIO, port)), SocketAddr::from((THEIRS, port)));
    let _kamailio = kamailio(story, proxy, control, (callee, answered));
    let media = [(); 2].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
        socket
    });
    let ports = media.each_ref().map(|socket| socket.local_addr().expect("bound").port());
    // As long as the port it stands for.
    let own_sdp = |port: u16| handset::SDP.replace("m=audio 40000", &format!("m=audio {port:05}"));
    let stop = AtomicBool::new(false);
    let offered = Mutex::new(String::new());
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let (stop, offered) = (&stop, &offered);
        let mut bob = Handset::between(story, "bob", callee, proxy);
        let answer = own_sdp(ports[1]);
        scope.spawn(move || {
            bob.serve_until(stop, |request| {
                let is_invite = request.method().is_some_and(|m| m.as_str() == "INVITE");
                if !is_invite {
                    return handset::answer_at(request, callee);
                }
                *offered.lock().expect("no panic") = String::from_utf8_lossy(request.body()).into();
                let ok = sip::response_to(request, 200, "").to_tag("bob").record_route();
                let contact = format!("<sip:bob@{callee}>");
                vec![ok.header("Contact", &contact).body("application/sdp", &answer).build()]
            });
        });
        let own = SocketAddr::from(([127, 84, 0, 4], 0));
        let mut alice = Handset::between(story, "alice", own, proxy);
        let offer = format!("m=audio {:05}", ports[0]);
        let outcome =
            alice.invite_changed("bob@call.example", |text| text.replace("m=audio 40000", &offer));
        assert_eq!(outcome.status(), 200, "{:?}", outcome.last);
        let answered =
            String::from_utf8_lossy(outcome.last.as_ref().expect("a 200").body()).into_owned();
        let to_bob = offered.lock().expect("no panic").clone();
        for sdp in [&answered, &to_bob] {
            assert!(sdp.contains("c=IN IP4 127.84.0.1") && !sdp.contains("127.0.0.1"), "{sdp}");
        }
        let toward =
            [&answered, &to_bob].map(|sdp| SocketAddr::from((OURS, meaning::media_port(sdp))));
        let call = Joined { sockets: media, toward };
        let mut controller = Controller::of(control);
        meanwhile(&call, &mut controller);
        let sessions = |controller: &mut Controller| {
            let reply = controller.command("statistics", &[]);
            reply.at("statistics").at("currentstatistics").number("sessionstotal")
        };
        assert_eq!(sessions(&mut controller), 1);
        assert_eq!(alice.hang_up(&mut outcome.talk.expect("a call")), 200);
        assert_eq!(sessions(&mut controller), 0, "the BYE ended it");
    });
}

#[test]
fn ng_kamailio_has_a_call_relayed_by_us() {
    let story = Story::on_loopback("ng-kamailio");
    with_a_call(&story, (&[], ""), |call, _| {
        assert_eq!(call.say(0, 8, 1, b"hello bob").as_deref(), Some(&b"hello bob"[..]));
        assert_eq!(call.say(1, 8, 1, b"hello alice").as_deref(), Some(&b"hello alice"[..]));
    });
}

/// Its script records each call, and plays something to who answered: in a reply the module takes the
/// one who sent it for the one that is meant.
#[test]
fn ng_kamailio_has_a_call_recorded_and_sound_played_by_us() {
    let story = Story::on_loopback("ng-kamailio-plays");
    let folder = story.scratch.file("calls").display().to_string();
    let answered =
        format!("start_recording(); play_media(\"file={}\");", studio::tone_file(&story));
    with_a_call(&story, (&["--recording-dir", &folder], &answered), |call, _| {
        let (end, mut heard) = (Instant::now() + Duration::from_secs(5), 0);
        let mut buffer = [0; 2_000];
        while heard < 45 && Instant::now() < end {
            // 20 ms of sound, and nobody but the relay says anything.
            heard += usize::from(call.sockets[1].recv(&mut buffer).is_ok_and(|len| len == 172));
        }
        assert_eq!(heard, 45, "the announcement");
    });
    let recorded = std::fs::read_dir(format!("{folder}/relay")).expect("the folder of recordings");
    let sealed = recorded
        .filter_map(Result::ok)
        .filter(|file| file.path().extension().is_some_and(|ending| ending == "sealed"));
    assert_eq!(sealed.count(), 1);
}
