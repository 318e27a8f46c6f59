//! The relay alone under a controller's hand: beside rtpengine, by Kamailio, over each transport,
//! and after it was stopped.

mod kamailio;
mod meaning;
mod streams;
mod studio;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use meaning::{Meaning, answer_to, offers, offers_of_streams};
use tests::Story;
use tests::ng::{Controller, Value, our_relay, rtpengine};

const OURS: [u8; 4] = [127, 84, 0, 1];
const THEIRS: [u8; 4] = [127, 84, 0, 2];

/// What a controller may ask for, beside the description.
fn flag_sets() -> Vec<(&'static str, Vec<(&'static str, Value)>)> {
    vec![
        ("nothing", vec![]),
        ("ICE remove", vec![("ICE", "remove".into())]),
        ("ICE force", vec![("ICE", "force".into())]),
        ("RTP/AVP", vec![("transport-protocol", "RTP/AVP".into()), ("ICE", "remove".into())]),
        (
            "RTP/SAVP",
            vec![
                ("transport-protocol", "RTP/SAVP".into()),
                ("DTLS", "off".into()),
                ("ICE", "remove".into()),
            ],
        ),
        (
            "WebRTC",
            vec![
                ("transport-protocol", "UDP/TLS/RTP/SAVPF".into()),
                ("SDES", ["off"].into()),
                ("ICE", "force".into()),
                ("rtcp-mux", ["offer"].into()),
            ],
        ),
        (
            "AVPF, demux",
            vec![("transport-protocol", "RTP/AVPF".into()), ("rtcp-mux", ["demux"].into())],
        ),
        ("replace origin", vec![("replace", ["origin", "session-connection"].into())]),
    ]
}

/// Offers with their answers through both relays, of one stream and of several: what is said means
/// the same.
#[test]
fn ng_descriptions_mean_what_rtpengines_mean() {
    let story = Story::on_loopback("ng-meaning");
    let port = story.place.peer_port(0);
    let (_ours, our_control) = our_relay(&story, OURS.into(), port, &["--delete-delay", "0"]);
    let (_theirs, their_control) = rtpengine(&story, THEIRS.into(), port);
    let mut relays = [
        (Controller::of(our_control), IpAddr::from(OURS)),
        (Controller::of(their_control), IpAddr::from(THEIRS)),
    ];
    let (mut pairs, mut differences) = (0, Vec::new());
    for (what, offer) in offers().into_iter().chain(offers_of_streams()) {
        for (wish, flags) in flag_sets() {
            // rtpengine puts candidates to T.38, which has no checks (ITU-T T.38 §D.2): we do not.
            if what.starts_with("fax") && matches!(wish, "ICE force" | "WebRTC") {
                continue;
            }
            pairs += 1;
            let call = format!("{what} / {wish}");
            let [ours, theirs] = relays
                .each_mut()
                .map(|(controller, ip)| exchange(controller, *ip, &call, &offer, &flags));
            if ours != theirs {
                differences.push(format!("{call}\n  ours   {ours:?}\n  theirs {theirs:?}"));
            }
        }
    }
    assert!(pairs >= 180, "{pairs}");
    let count = differences.len();
    assert!(differences.is_empty(), "{count} of {pairs}:\n{}", differences.join("\n"));
}

/// Offer and answer of one call; what both sides were told.
fn exchange(
    controller: &mut Controller,
    ip: IpAddr,
    call: &str,
    offer: &str,
    flags: &[(&'static str, Value)],
) -> [Meaning; 2] {
    let names = [("call-id", Value::from(call)), ("from-tag", "caller".into())];
    let with = |more: &[(&'static str, Value)]| -> Vec<(&'static str, Value)> {
        names.iter().cloned().chain(more.iter().map(|(k, v)| (*k, v.clone()))).collect()
    };
    let mut ask = with(flags);
    ask.push(("sdp", offer.into()));
    let offered = controller.sdp("offer", &ask);
    let kept = flags.iter().filter(|(key, _)| *key != "transport-protocol" && *key != "rtcp-mux");
    // As controllers do: toward the one who offered, what is said of ICE is turned round.
    let mut tell = with(&kept.cloned().collect::<Vec<_>>());
    tell.retain(|(key, value)| {
        *key != "ICE" || *value == Value::from("remove") && !offer.contains("ice-ufrag")
    });
    tell.push(("to-tag", "callee".into()));
    tell.push(("sdp", answer_to(&offered).as_str().into()));
    let answered = controller.sdp("answer", &tell);
    let deleted = controller.command("delete", &names);
    assert_eq!(deleted.text("result"), "ok");
    [Meaning::of(&offered, ip), Meaning::of(&answered, ip)]
}

/// A call forked to two phones: each has ports of its own, and the one that answers is heard.
#[test]
fn ng_forked_branches_are_told_apart_as_rtpengine_does() {
    let story = Story::on_loopback("ng-forked");
    let port = story.place.peer_port(0);
    let (_ours, our_control) = our_relay(&story, OURS.into(), port, &[]);
    let (_theirs, their_control) = rtpengine(&story, THEIRS.into(), port);
    let (_, offer) = offers().swap_remove(0);
    for (control, ip) in [(our_control, OURS), (their_control, THEIRS)] {
        let mut controller = Controller::of(control);
        let mut say = |name: &str, via: &str, to: &str, sdp: &str| {
            let mut entries = vec![
                ("call-id", Value::from("forked")),
                ("from-tag", "caller".into()),
                ("via-branch", via.into()),
                ("sdp", sdp.into()),
            ];
            if !to.is_empty() {
                entries.push(("to-tag", to.into()));
            }
            let sdp = controller.sdp(name, &entries);
            meaning::media_port(&sdp)
        };
        let (first, second) = (say("offer", "one", "", &offer), say("offer", "two", "", &offer));
        let again = say("offer", "one", "", &offer);
        assert_ne!(first, second, "{ip:?}");
        assert_eq!(first, again, "{ip:?}: said again");
        let caller = say("answer", "two", "phone2", &answer_to(&offer));
        let other = say("answer", "one", "phone1", &answer_to(&offer));
        assert!(caller > 0 && other > 0, "{ip:?}");
    }
}

/// Two parties with a socket each, joined by the relay.
struct Joined {
    sockets: [UdpSocket; 2],
    /// Where each sends.
    toward: [SocketAddr; 2],
}

impl Joined {
    fn new(controller: &mut Controller, ip: IpAddr, call: &str) -> Self {
        Self::with(controller, ip, call, &[])
    }

    /// A call of which a controller says more.
    fn with(
        controller: &mut Controller,
        ip: IpAddr,
        call: &str,
        more: &[(&'static str, Value)],
    ) -> Self {
        let sockets = [(); 2].map(|()| {
            let socket = UdpSocket::bind((ip, 0)).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
            socket
        });
        let sdp = |socket: &UdpSocket| {
            let port = socket.local_addr().expect("bound").port();
            format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
            )
        };
        let names = [&[("call-id", Value::from(call)), ("from-tag", "a".into())], more].concat();
        let with = |more: &[(&'static str, Value)]| [&names[..], more].concat();
        let to_b = controller.sdp("offer", &with(&[("sdp", sdp(&sockets[0]).as_str().into())]));
        let answer = [("to-tag", "b".into()), ("sdp", sdp(&sockets[1]).as_str().into())];
        let to_a = controller.sdp("answer", &with(&answer));
        let at = |sdp: &str| SocketAddr::new(ip, meaning::media_port(sdp));
        Self { toward: [at(&to_a), at(&to_b)], sockets }
    }

    /// Has one party send a packet; what the other hears, if anything.
    fn say(&self, from: usize, payload_type: u8, sequence: u16, payload: &[u8]) -> Option<Vec<u8>> {
        self.send(from, payload_type, sequence, payload);
        let mut buffer = [0; 2_000];
        let len = self.sockets[1 - from].recv(&mut buffer).ok()?;
        Some(buffer[12..len].to_vec())
    }

    fn send(&self, from: usize, payload_type: u8, sequence: u16, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 160).to_be_bytes());
        packet.extend([7, 7, 7, from as u8]);
        packet.extend(payload);
        self.sockets[from].send_to(&packet, self.toward[from]).expect("sent");
    }

    fn set_patience(&self, patience: Duration) {
        for socket in &self.sockets {
            socket.set_read_timeout(Some(patience)).expect("a timeout");
        }
    }
}

#[test]
fn ng_media_is_blocked_silenced_and_let_through_again_and_counted() {
    let story = Story::on_loopback("ng-switches");
    let (_relay, control) = our_relay(&story, OURS.into(), story.place.peer_port(0), &[]);
    let mut controller = Controller::of(control);
    let call = Joined::new(&mut controller, OURS.into(), "switches");
    let sound = [1, 2, 3, 4];
    let mut sequence = 0;
    let mut next = || {
        sequence += 1;
        sequence
    };
    assert_eq!(call.say(0, 0, next(), &sound).as_deref(), Some(&sound[..]));
    assert_eq!(call.say(1, 0, next(), &sound).as_deref(), Some(&sound[..]));
    let mut switch = |command: &str| {
        let of_a = [("call-id", "switches".into()), ("from-tag", "a".into())];
        let reply = controller.command(command, &of_a);
        assert_eq!(reply.text("result"), "ok", "{command}: {reply:?}");
    };
    call.set_patience(Duration::from_millis(300));
    switch("block media");
    assert_eq!(call.say(0, 0, next(), &sound), None);
    assert!(call.say(1, 0, next(), &sound).is_some(), "only the caller is blocked");
    switch("unblock media");
    switch("block DTMF");
    assert_eq!(call.say(0, 101, next(), &[1, 10, 0, 160]), None);
    switch("unblock DTMF");
    assert!(call.say(0, 101, next(), &[1, 10, 0, 160]).is_some());
    switch("silence media");
    assert_eq!(call.say(0, 0, next(), &sound).as_deref(), Some(&[0xff; 4][..]));
    switch("unsilence media");
    assert_eq!(call.say(0, 0, next(), &sound).as_deref(), Some(&sound[..]));

    let query = controller.command("query", &[("call-id", "switches".into())]);
    let rtp = query.at("totals").at("RTP");
    assert_eq!(rtp.number("packets"), 8, "{query:?}");
    let tags = query.at("tags");
    for (tag, partner) in [("a", "b"), ("b", "a")] {
        assert_eq!(tags.at(tag).text("in dialogue with"), partner);
    }
    let list = controller.command("list", &[]);
    assert_eq!(list.at("calls"), &["switches"].into());
    let statistics = controller.command("statistics", &[]);
    assert_eq!(statistics.at("statistics").at("currentstatistics").number("sessionstotal"), 1);
}

#[test]
fn ng_errors_name_what_is_wrong_and_a_repeated_cookie_gets_the_same_reply() {
    let story = Story::on_loopback("ng-errors");
    let (_relay, control) = our_relay(&story, OURS.into(), story.place.peer_port(0), &[]);
    let mut controller = Controller::of(control);
    let (_, offer) = offers().swap_remove(0);
    let full =
        [("call-id", Value::from("c")), ("from-tag", "a".into()), ("sdp", offer.as_str().into())];
    let mut reason = |name: &str, without: &str| {
        let entries: Vec<_> = full.iter().filter(|(key, _)| *key != without).cloned().collect();
        let reply = controller.command(name, &entries);
        assert_eq!(reply.text("result"), "error", "{name} without {without}: {reply:?}");
        reply.text("error-reason").to_owned()
    };
    assert_eq!(reason("offer", "call-id"), "No call-id in message");
    assert_eq!(reason("offer", "from-tag"), "No from-tag in message");
    assert_eq!(reason("offer", "sdp"), "No SDP body in message");
    assert_eq!(reason("answer", ""), "No to-tag in message");
    assert_eq!(reason("query", ""), "Unknown call-id");
    assert_eq!(reason("no such command", ""), "Unrecognized command");
    let gone =
        controller.command("delete", &[("call-id", "nobody".into()), ("from-tag", "x".into())]);
    assert!(gone.text("warning").contains("not found"), "{gone:?}");
    let replies = [(); 2].map(|()| controller.command_as("77_1", "offer", &full));
    assert_eq!(replies[0].text("sdp"), replies[1].text("sdp"), "the same ports");
}

/// Bare messages over TCP, in pieces and two at once, and JSON over WebSocket.
#[test]
fn ng_is_spoken_over_tcp_and_websocket_on_the_same_port() {
    let story = Story::on_loopback("ng-transports");
    let (_relay, control) = our_relay(&story, OURS.into(), story.place.peer_port(0), &[]);
    let mut tcp = TcpStream::connect(control).expect("a connection");
    tcp.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let hear = |stream: &mut TcpStream, end: &str| {
        let (mut text, mut chunk) = (String::new(), [0; 4_096]);
        while !text.contains(end) {
            let n = stream.read(&mut chunk).unwrap_or_else(|e| panic!("{e}: {text:?}"));
            assert!(n > 0, "closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&chunk[..n]));
        }
        text
    };
    for piece in
        ["1_1 d7:comm", "and4:pinge", "1_2 d7:command4:ping", "e1_3 {\"command\":\"ping\"}"]
    {
        tcp.write_all(piece.as_bytes()).expect("sent");
        tcp.flush().expect("sent");
        std::thread::sleep(Duration::from_millis(30));
    }
    let said = hear(&mut tcp, "1_3 ");
    assert!(said.starts_with("1_1 d6:result4:ponge1_2 d6:result4:ponge"), "{said:?}");

    let mut ws = TcpStream::connect(control).expect("a connection");
    ws.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let upgrade = "GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: ng.rtpengine.com\r\n\r\n";
    ws.write_all(upgrade.as_bytes()).expect("sent");
    let head = hear(&mut ws, "\r\n\r\n");
    assert!(head.contains("101") && head.to_lowercase().contains("ng.rtpengine.com"), "{head}");
    // RFC 6455 §5.2: one masked text frame, the mask being zero.
    let message = b"9_9 {\"command\":\"ping\"}";
    let mut frame = vec![0x81, 0x80 | message.len() as u8, 0, 0, 0, 0];
    frame.extend(message);
    ws.write_all(&frame).expect("sent");
    assert!(hear(&mut ws, "pong").contains("9_9 {\"result\":\"pong\"}"));
}

/// rtpengine 10.5 stays deaf on a stream whose queue was found full five times. Here every stream
/// goes on by itself after the process was stopped for two seconds under load.
#[test]
fn ng_every_stream_goes_on_after_a_stall() {
    const CALLS: usize = 40;
    let story = Story::on_loopback("ng-stall");
    let (relay, control) = our_relay(&story, OURS.into(), story.place.peer_port(0), &[]);
    let mut controller = Controller::of(control);
    let calls: Vec<Joined> = (0..CALLS)
        .map(|n| Joined::new(&mut controller, OURS.into(), &format!("stall-{n}")))
        .collect();
    for call in &calls {
        assert!(call.say(0, 0, 1, &[5; 160]).is_some() && call.say(1, 0, 1, &[5; 160]).is_some());
        call.set_patience(Duration::from_millis(500));
    }
    relay.signal("STOP");
    let stopped = Instant::now();
    // 200 packets a second and stream: four times what a phone sends, for two seconds.
    let mut sequence = 1_u16;
    while stopped.elapsed() < Duration::from_secs(2) {
        sequence += 1;
        for call in &calls {
            call.send(0, 0, sequence, &[6; 160]);
            call.send(1, 0, sequence, &[6; 160]);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    relay.signal("CONT");
    // What waited comes first, as far as there was room for it; each goes on saying something.
    let mut left: Vec<(usize, usize)> =
        (0..CALLS).flat_map(|call| [(call, 0), (call, 1)]).collect();
    let (deadline, mut buffer) = (Instant::now() + Duration::from_secs(5), [0; 2_000]);
    calls.iter().for_each(|call| call.set_patience(Duration::from_millis(1)));
    while !left.is_empty() && Instant::now() < deadline {
        sequence += 1;
        left.retain(|(call, from)| {
            let (call, mark) = (&calls[*call], [*from as u8 + 100; 160]);
            call.send(*from, 0, sequence, &mark);
            let socket = &call.sockets[1 - from];
            let mut heard = std::iter::from_fn(|| {
                socket.recv(&mut buffer).ok().map(|len| buffer[12..len] == mark)
            });
            !heard.any(|mark| mark)
        });
    }
    assert!(left.is_empty(), "{} of {} streams stay deaf", left.len(), 2 * CALLS);
}

/// Ten thousand streams come and go: no port and no socket stays behind (nor memory: see
/// `relay::it memory`).
#[test]
fn ng_ten_thousand_streams_leave_nothing_behind() {
    const CALLS: usize = 500;
    const ROUNDS: usize = 10;
    let story = Story::on_loopback("ng-churn");
    let (relay, control) =
        our_relay(&story, OURS.into(), story.place.peer_port(0), &["--delete-delay", "0"]);
    let mut controller = Controller::of(control);
    let (_, offer) = offers_of_streams().swap_remove(0);
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", relay.id())).expect("its descriptors").count();
    let before = descriptors();
    let room = (usize::from(story.place.rtp().1 - story.place.rtp().0)) / 8;
    let at_once = CALLS.min(room - 2);
    let rounds = ROUNDS * CALLS / 2 / at_once + 1;
    for round in 0..rounds {
        let names = |n: usize| {
            [("call-id", Value::from(format!("{round}-{n}").as_str())), ("from-tag", "a".into())]
        };
        for n in 0..at_once {
            let with = |more: &[(&'static str, Value)]| [&names(n)[..], more].concat();
            let offered = controller.sdp("offer", &with(&[("sdp", offer.as_str().into())]));
            let answer = answer_to(&offered);
            controller
                .sdp("answer", &with(&[("to-tag", "b".into()), ("sdp", answer.as_str().into())]));
        }
        if round == 0 {
            assert_eq!(descriptors(), before + 8 * at_once, "four sockets a stream");
        }
        for n in 0..at_once {
            assert_eq!(controller.command("delete", &names(n)).text("result"), "ok");
        }
        assert_eq!(descriptors(), before, "round {round}");
    }
    let statistics = controller.command("statistics", &[]);
    // Sound and video, each in two legs.
    let streams = 4 * statistics.at("statistics").at("totalstatistics").number("managedsessions");
    assert!(streams >= 10_000, "{streams}");
    assert_eq!(statistics.at("statistics").at("currentstatistics").number("sessionstotal"), 0);
}
