//! Calls with more than sound through the server: video beside it, and a fax in its place.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tests::handset::{self, StopAtEnd, with_body};
use tests::{Handset, Server, Story};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const FAX: &str = "a=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n";

/// The sockets of one phone's streams.
struct Streams([UdpSocket; 2]);

impl Streams {
    fn new() -> Self {
        Self([(); 2].map(|()| {
            let socket = UdpSocket::bind(SocketAddr::from((LOOPBACK, 0))).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
            socket
        }))
    }

    fn ports(&self) -> [u16; 2] {
        self.0.each_ref().map(|socket| socket.local_addr().expect("bound").port())
    }
}

fn head() -> String {
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n".to_owned()
}

fn sound_and_video([sound, video]: [u16; 2]) -> String {
    head()
        + &format!(
            "m=audio {sound} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n\
             m=video {video} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack pli\r\n"
        )
}

fn fax([port, _]: [u16; 2]) -> String {
    head() + &format!("m=image {port} udptl t38\r\n{FAX}")
}

/// The ports of a description's streams.
fn ports(sdp: &str) -> Vec<u16> {
    let lines = sdp.lines().filter(|line| line.starts_with("m="));
    lines.map(|line| line.split(' ').nth(1).expect("a port").parse().expect("a port")).collect()
}

fn text(message: &sip::Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

/// What one says the other hears, byte by byte, from the relay.
fn assert_heard(from: &UdpSocket, relay: SocketAddr, to: &UdpSocket, packet: &[u8]) {
    from.send_to(packet, relay).expect("sent");
    let mut buffer = [0; 2_000];
    let (len, source) = to.recv_from(&mut buffer).expect("it is heard");
    assert_eq!(&buffer[..len], packet);
    assert_ne!(source, from.local_addr().expect("bound"), "by way of the relay");
}

fn rtp(payload_type: u8, number: u8, source: u8) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type, 0, number, 0, 0, 0, number, 9, 9, 9, source];
    packet.extend([number; 60]);
    packet
}

/// Alice calls Bob with sound and video; both go both ways. Then she sends a fax: the call's sound
/// becomes T.38, and sound and video again.
#[test]
fn r5_1_video_and_a_fax_cross_the_server_both_ways() {
    let story = Story::on_loopback("media-streams");
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let (alices, bobs) = (Streams::new(), Streams::new());
    let (stop, offered) = (AtomicBool::new(false), Mutex::new(String::new()));
    let at = SocketAddr::from((LOOPBACK, 0));
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let (stop, offered, own) = (&stop, &offered, bobs.ports());
        let mut bob = Handset::at(&story, "bob", at);
        assert_eq!(bob.register(), 200);
        scope.spawn(move || {
            bob.serve_until(stop, |request| {
                if request.method().is_none_or(|m| m.as_str() != "INVITE") {
                    return handset::answer(request);
                }
                let sdp = text(request);
                let answer = match sdp.contains("m=image") {
                    true => fax(own),
                    false => sound_and_video(own),
                };
                *offered.lock().expect("no panic") = sdp;
                let ok = sip::response_to(request, 200, "").to_tag("bob").record_route();
                let contact = "<sip:bob@127.0.0.1:9>";
                vec![ok.header("Contact", contact).body("application/sdp", &answer).build()]
            });
        });
        let mut alice = Handset::at(&story, "alice", at);
        let own = alices.ports();
        let outcome = alice.invite_changed(&story.address("bob"), |invite| {
            with_body(&invite, &sound_and_video(own))
        });
        assert_eq!(outcome.status(), 200, "{:?}", outcome.last);
        let (mut talk, answer) = (outcome.talk.expect("a call"), outcome.last.expect("a 200"));
        let relay = story.place.server_ip();
        let told_bob = || offered.lock().expect("no panic").clone();
        let talk_both_ways = |answered: &str, number: u8| {
            let (to_alice, to_bob) = (ports(answered), ports(&told_bob()));
            assert!(answered.contains("a=rtcp-fb:96 nack pli"), "{answered}");
            for (stream, kind) in [(0, 8), (1, 96)] {
                let (a, b) = (&alices.0[stream], &bobs.0[stream]);
                let toward = SocketAddr::new(relay, to_alice[stream]);
                assert_heard(a, toward, b, &rtp(kind, number, 10 + stream as u8));
                let toward = SocketAddr::new(relay, to_bob[stream]);
                assert_heard(b, toward, a, &rtp(kind, number, 20 + stream as u8));
            }
        };
        talk_both_ways(&text(&answer), 1);
        let told_alice = alice.reinvite(&mut talk, &fax(own)).expect("an answer");
        assert_eq!(told_alice.status(), Some(200), "{told_alice:?}");
        let (to_alice, to_bob) = (ports(&text(&told_alice)), ports(&told_bob()));
        assert!(told_bob().contains(FAX) && text(&told_alice).contains(FAX));
        assert_eq!((to_alice.len(), to_bob.len()), (1, 1), "an m-line in the place of the sound's");
        for number in 0..50 {
            let packet = [0, number, 3, 0xc0, 0x01, 0x80, number];
            let toward = SocketAddr::new(relay, to_alice[0]);
            assert_heard(&alices.0[0], toward, &bobs.0[0], &packet);
            let toward = SocketAddr::new(relay, to_bob[0]);
            assert_heard(&bobs.0[0], toward, &alices.0[0], &packet);
        }
        let again = alice.reinvite(&mut talk, &sound_and_video(own)).expect("an answer");
        assert_eq!(again.status(), Some(200), "{again:?}");
        talk_both_ways(&text(&again), 2);
        assert_eq!(alice.hang_up(&mut talk), 200);
    });
}
