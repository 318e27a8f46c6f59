//! A carrier that is known by its certificate, played by OpenSSL: its calls, and calls to it by the
//! connection it opened (RFC 5922, RFC 5923).

use sip::{HeaderName, Message, response_to};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};
use tests::{DOMAIN, Phone, Process, Server, Story};

const START: Duration = Duration::from_secs(20);
const CALL: Duration = Duration::from_secs(60);
const CARRIER: &str = "127.0.0.2";

/// OpenSSL's client or server, spoken to by its standard input.
struct OpenSsl {
    child: Child,
    say: ChildStdin,
    out: PathBuf,
    heard: usize,
}

impl OpenSsl {
    fn start(story: &Story, name: &str, arguments: &[&str]) -> Self {
        let mut command = story.place.command("openssl");
        let (out, err) = (story.scratch.file(name), story.scratch.file(&format!("{name}.err")));
        command.args(arguments).current_dir(story.scratch.path()).stdin(Stdio::piped());
        command
            .stdout(File::create(&out).expect("a log"))
            .stderr(File::create(err).expect("a log"));
        let mut child = command.spawn().expect("openssl");
        let say = child.stdin.take().expect("piped");
        Self { child, say, out, heard: 0 }
    }

    /// A client of the server's TLS port that shows this certificate.
    fn client(story: &Story, name: &str, certificate: &str) -> Self {
        let to = format!("{}:{}", story.place.server_ip(), story.place.sips());
        let (cert, key) = (format!("{certificate}.pem"), format!("{certificate}.key"));
        let from = format!("{CARRIER}:0");
        let arguments =
            ["s_client", "-quiet", "-connect", &to, "-bind", &from, "-cert", &cert, "-key", &key];
        Self::start(story, name, &arguments)
    }

    fn say(&mut self, text: &[u8]) {
        self.say.write_all(text).and_then(|()| self.say.flush()).expect("openssl listens");
    }

    /// The next message that begins so.
    fn hear(&mut self, begin: &str) -> Message {
        let end = Instant::now() + START;
        loop {
            let text = std::fs::read(&self.out).expect("its log");
            let rest = String::from_utf8_lossy(&text[self.heard..]).into_owned();
            if let Some(at) = rest.find(begin)
                && let Some(head) = rest[at..].find("\r\n\r\n")
            {
                let length = rest[at..at + head]
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length:")?.trim().parse().ok());
                let whole = at + head + 4 + length.unwrap_or(0);
                if rest.len() >= whole {
                    self.heard += whole;
                    let bytes = rest.as_bytes()[at..whole].to_vec();
                    return Message::parse(bytes.into()).expect("a SIP message");
                }
            }
            assert!(Instant::now() < end, "no {begin} in {rest}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and certificates for these names signed by it.
fn authority(story: &Story, authority: &str, certificates: &[(&str, &str)]) -> PathBuf {
    let run = |line: String| {
        let mut command = story.place.command("sh");
        command.args(["-ec", &line]).current_dir(story.scratch.path());
        Process::run(&story.scratch, "openssl-req", command, START).expect_code(0);
    };
    let new = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    run(format!(
        "{new} -x509 -keyout {authority}.key -out {authority}.pem -subj '/CN={authority}' -days 9 \
         -addext basicConstraints=critical,CA:TRUE"
    ));
    for (file, name) in certificates {
        let extensions = format!(
            "subjectAltName=URI:sip:{name},DNS:{name}\nextendedKeyUsage=serverAuth,clientAuth\n"
        );
        story.scratch.write(&format!("{file}.ext"), extensions);
        run(format!(
            "{new} -keyout {file}.key -out {file}.csr -subj '/CN={file}'\n\
             openssl x509 -req -in {file}.csr -CA {authority}.pem -CAkey {authority}.key -days 9 \
             -set_serial 7 -extfile {file}.ext -out {file}.pem"
        ));
    }
    story.scratch.file(&format!("{authority}.pem"))
}

fn config(story: &Story, ca: &Path) -> String {
    let (ca, port) = (ca.display(), story.place.peer_port(0));
    format!(
        "[transport]\nca = [\"{ca}\"]\n\n[[peer]]\nname = \"carrier\"\n\
         address = \"{CARRIER}:{port}\"\ntransport = \"tls\"\nidentity = \"certificate\"\n\
         domain = \"carrier.example\"\nsources = [\"{CARRIER}\"]\nmedia = \"rtp\"\n\
         prefixes = [{{ prefix = \"+\" }}]\n"
    )
}

fn request(method: &str, to: &str, via: &str, number: u32) -> String {
    format!(
        "{method} {to} SIP/2.0\r\nVia: SIP/2.0/TLS {via};branch=z9hG4bKc{number};alias\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+4940777@carrier.example>;tag=c{number}\r\n\
         To: <{to}>\r\nCall-ID: carrier-{number}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:+4940777@{via};transport=tls>\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn r1_2_calls_to_a_carrier_go_by_the_connection_it_opened_and_proved() {
    let story = Story::on_loopback("alias");
    story.add_users(&["alice"]);
    let ca = authority(&story, "ca", &[("carrier", "carrier.example")]);
    authority(&story, "strangers", &[("stranger", "carrier.example")]);
    let server = Server::start_with(&story, &config(&story, &ca));
    // Nobody listens where the carrier says it does: its connection is the only way to it.
    let via = format!("{CARRIER}:{}", story.place.peer_port(0));
    let alice = || {
        let number = format!("+4940555@{DOMAIN}");
        Phone::of(&story, "alice", "tls", "pcma").call(&number).seconds(20).start()
    };
    let without = alice().finish(CALL);
    assert_eq!(without.result["answered"], false, "{:#?}", without.result);

    let mut carrier = OpenSsl::client(&story, "carrier.out", "carrier");
    carrier.say(request("OPTIONS", &format!("sip:{DOMAIN}"), &via, 1).as_bytes());
    assert_eq!(carrier.hear("SIP/2.0").status(), Some(200));
    let calling = alice();
    let invite = carrier.hear("INVITE ");
    assert!(invite.request_uri().starts_with(b"sip:+4940555@carrier.example"), "{invite:?}");
    let our_via = String::from_utf8_lossy(invite.header(HeaderName::VIA).unwrap_or_default());
    assert!(our_via.contains(";alias"), "we offer ours too: {our_via}");
    let busy = response_to(&invite, 486, "Busy Here").to_tag("busy").build();
    carrier.say(busy.bytes());
    assert_eq!(carrier.hear("ACK ").method(), Some(sip::Method::ACK));
    let ended = calling.finish(CALL);
    assert_eq!((&ended.result["cause"], &ended.result["status"]), (&"busy".into(), &486.into()));

    // Its address with a certificate of somebody else's authority is refused, and said why.
    let mut stranger = OpenSsl::client(&story, "stranger.out", "stranger");
    stranger.say(request("INVITE", &format!("sip:alice@{DOMAIN}"), &via, 2).as_bytes());
    assert_eq!(stranger.hear("SIP/2.0 4").status(), Some(403));
    let log = server.complaints();
    for line in ["a client certificate proves nobody", "the peer must prove its name"] {
        assert!(log.contains(line), "no `{line}` in {log}");
    }
}

#[test]
fn r2_10_we_show_our_certificate_to_a_carrier_that_asks_and_check_the_name_in_its() {
    let story = Story::on_loopback("mutual-tls");
    story.add_users(&["alice"]);
    let names = [("carrier", "carrier.example"), ("other", "other.example")];
    let ca = authority(&story, "ca", &names);
    let server = Server::start_with(&story, &config(&story, &ca));
    let at = format!("{CARRIER}:{}", story.place.peer_port(0));
    let our_ca = story.data().join("tls/ca.pem");
    let our_ca = our_ca.display().to_string();
    let listen = |name: &str| {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let asks = ["-Verify", "2", "-verify_return_error", "-CAfile", &our_ca];
        let mut all = vec!["s_server", "-quiet", "-accept", &at, "-cert", &cert, "-key", &key];
        all.extend(asks);
        OpenSsl::start(&story, &format!("{name}.out"), &all)
    };
    let call = || {
        let number = format!("+4940555@{DOMAIN}");
        Phone::of(&story, "alice", "tls", "pcma").call(&number).seconds(15).start()
    };
    let mut carrier = listen("carrier");
    std::thread::sleep(Duration::from_millis(500));
    let calling = call();
    // OpenSSL lets nobody in whose certificate it does not trust.
    let invite = carrier.hear("INVITE ");
    carrier.say(response_to(&invite, 486, "Busy Here").to_tag("busy").build().bytes());
    assert_eq!(calling.finish(CALL).result["status"], 486);
    drop(carrier);

    let mut other = listen("other");
    std::thread::sleep(Duration::from_millis(500));
    let ended = call().finish(CALL);
    assert_eq!(ended.result["answered"], false);
    assert!(std::fs::read(&other.out).is_ok_and(|said| said.is_empty()), "it hears nothing");
    other.heard = 0;
    let log = server.complaints();
    assert!(log.contains("its certificate is not trusted"), "{log}");
}
