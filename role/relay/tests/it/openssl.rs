//! `media::keying::dtls` against OpenSSL: both must export the same SRTP keys (RFC 5764 §4.2).

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use media::keying::dtls::{Certificate, DtlsEndpoint, DtlsOutput, DtlsRole};
use media::keying::{SrtpKeys, fingerprint_of};
use rtp::srtp::Suite;

const PATIENCE: Duration = Duration::from_secs(20);
/// Profiles by OpenSSL's names, our suites, and how long twice key and salt are (RFC 5764 §4.1.2,
/// RFC 7714 §14.2).
const PROFILES: [(&str, Suite, &str); 3] = [
    ("SRTP_AES128_CM_SHA1_80", Suite::AesCm128HmacSha1_80, "60"),
    ("SRTP_AEAD_AES_128_GCM", Suite::AeadAes128Gcm, "56"),
    ("SRTP_AEAD_AES_256_GCM", Suite::AeadAes256Gcm, "88"),
];

fn export<'a>(profile: &'a str, len: &'a str) -> [&'a str; 6] {
    ["-use_srtp", profile, "-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", len]
}

/// A running `openssl`, ended with the test.
struct OpenSsl {
    child: Child,
    lines: Receiver<String>,
}

impl OpenSsl {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tx, lines) = sync_channel(1000);
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| tx.send(line)).ok();
        });
        Self { child, lines }
    }

    fn line_with(&self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("openssl says it in time");
            if line.contains(part) {
                return line;
            }
        }
    }

    fn exported(&self) -> String {
        let line = self.line_with("Keying material: ");
        line.trim().rsplit(' ').next().unwrap().to_owned()
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate made by OpenSSL: PEM files, and its DER.
fn certificate(folder: &Path) -> (PathBuf, PathBuf, Vec<u8>) {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args("req -x509 -nodes -days 2 -subj /CN=test -newkey ec".split(' '))
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let mut convert = Command::new("openssl");
    let der = convert.args(["x509", "-outform", "DER", "-in"]).arg(&cert).output().unwrap().stdout;
    (cert, key, der)
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("relay-openssl-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs our end until it has keys, and a little longer for the last flight.
fn run(endpoint: &mut DtlsEndpoint, socket: &UdpSocket, mut peer: Option<SocketAddr>) -> SrtpKeys {
    let end = Instant::now() + PATIENCE;
    let mut keys = None;
    let mut buf = [0; 2048];
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while keys.is_none() {
        let now = Instant::now();
        assert!(now < end, "no handshake");
        if endpoint.poll_timeout().is_some_and(|at| at <= now) {
            endpoint.handle_timeout(now).unwrap();
        }
        if let Ok((len, from)) = socket.recv_from(&mut buf) {
            peer = Some(from);
            endpoint.handle_packet(Instant::now(), &buf[..len]).unwrap();
        }
        while let Some(output) = endpoint.poll_output() {
            match output {
                DtlsOutput::Transmit(bytes) => drop(socket.send_to(&bytes, peer.unwrap())),
                DtlsOutput::Connected(connected) => keys = Some(connected),
                DtlsOutput::Closed => panic!("closed"),
            }
        }
    }
    keys.unwrap()
}

/// client key ‖ server key ‖ client salt ‖ server salt, as OpenSSL prints it.
fn hex(client: &rtp::srtp::KeyMaterial, server: &rtp::srtp::KeyMaterial) -> String {
    let parts = [&client.key, &server.key, &client.salt, &server.salt];
    parts.iter().flat_map(|p| p.iter()).map(|b| format!("{b:02X}")).collect()
}

fn is_there() -> bool {
    Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success())
}

/// Our end as the server; OpenSSL asks for these profiles, `:` between them.
fn openssl_asks(profiles: &str, suite: Suite, len: &str) {
    let folder = folder(&format!("client-{suite:?}"));
    let (cert, key, der) = certificate(&folder);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ours = Certificate::generate().unwrap();
    let mut endpoint = DtlsEndpoint::new(&ours, DtlsRole::Server, Instant::now()).unwrap();
    endpoint.set_remote_fingerprint(fingerprint_of(&der)).unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let mut args = vec!["s_client", "-dtls1_2", "-connect", &addr, "-cert", cert, "-key", key];
    args.extend(export(profiles, len));
    let openssl = OpenSsl::start(&args);
    let keys = run(&mut endpoint, &socket, None);
    assert_eq!(keys.suite, suite);
    assert_eq!(openssl.exported(), hex(&keys.remote, &keys.local));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Our end as the client; OpenSSL takes this profile alone.
fn openssl_takes(profile: &str, suite: Suite, len: &str) {
    let folder = folder(&format!("server-{suite:?}"));
    let (cert, key, der) = certificate(&folder);
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let accept = format!("127.0.0.1:{port}");
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let mut args = vec!["s_server", "-dtls1_2", "-accept", &accept, "-cert", cert, "-key", key];
    args.extend(["-verify", "1"]);
    args.extend(export(profile, len));
    let openssl = OpenSsl::start(&args);
    openssl.line_with("ACCEPT");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ours = Certificate::generate().unwrap();
    let mut endpoint = DtlsEndpoint::new(&ours, DtlsRole::Client, Instant::now()).unwrap();
    endpoint.set_remote_fingerprint(fingerprint_of(&der)).unwrap();
    let keys = run(&mut endpoint, &socket, Some(accept.parse().unwrap()));
    assert_eq!(keys.suite, suite);
    assert_eq!(openssl.exported(), hex(&keys.local, &keys.remote));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn openssl_as_client_exports_our_keys() {
    if !is_there() {
        println!("skipped: no openssl here");
        return;
    }
    for (profile, suite, len) in PROFILES {
        openssl_asks(profile, suite, len);
    }
}

#[test]
fn openssl_as_server_exports_our_keys() {
    if !is_there() {
        println!("skipped: no openssl here");
        return;
    }
    for (profile, suite, len) in PROFILES {
        openssl_takes(profile, suite, len);
    }
}

/// RFC 5764 §4.1.1: the server chooses among the client's. A profile of 32-bit tags is none of
/// ours.
#[test]
fn the_strongest_profile_both_have_is_chosen() {
    if !is_there() {
        println!("skipped: no openssl here");
        return;
    }
    let all = "SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM";
    openssl_asks(all, Suite::AeadAes128Gcm, "56");
}
