//! Who is trusted, which versions are spoken, and swapping the certificate (R1.3).

use std::sync::Arc;

use net::client::{ClientTransport, Endpoint};
use net::{CertificateFiles, CloseReason, NetError, ServerTls, TlsConfig, client_config};
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use sansio::Transport;
use sip::locate::NextHop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::world::{Folder, World, any, config, options, server_tls, wall};

struct Secure {
    world: World,
    tls: net::ServerTls,
    folder: Folder,
}

fn secure() -> Secure {
    let folder = Folder::new();
    let tls = server_tls(&folder);
    let mut wanted = config(1).listen("lo", Transport::Tls, any());
    wanted.tls = Some(tls.sip_config());
    Secure { world: World::start(wanted), tls, folder }
}

impl Secure {
    fn endpoint(&self, name: &str) -> Endpoint {
        let ca = self.tls.ca_file().unwrap();
        let endpoint = Endpoint::new(Transport::Tls, self.world.addr(Transport::Tls));
        Endpoint {
            name: name.to_owned(),
            tls: Some(client_config(&[ca], false).unwrap()),
            ..endpoint
        }
    }
}

async fn ask(client: &mut ClientTransport) {
    client.send(options("z9hG4bKa", 5)).await.unwrap();
    assert!(client.recv().await.unwrap().is_some());
}

#[tokio::test]
async fn the_server_is_trusted_with_its_authority_under_its_names_only() {
    let secure = secure();
    for name in ["localhost", "example.com", "127.0.0.1"] {
        ask(&mut ClientTransport::connect(secure.endpoint(name)).await.unwrap()).await;
    }
    let error = ClientTransport::connect(secure.endpoint("example.org")).await.unwrap_err();
    assert!(matches!(error, NetError::Untrusted { .. }), "{error}");
    let system = Some(client_config(&[], true).unwrap());
    let endpoint = Endpoint { tls: system, ..secure.endpoint("localhost") };
    let error = ClientTransport::connect(endpoint).await.unwrap_err();
    assert!(matches!(error, NetError::Untrusted { .. }), "{error}");
    assert!(error.to_string().ends_with("name its authority with --ca FILE"), "{error}");
    let missing = secure.folder.path().join("none.pem");
    let error = client_config(std::slice::from_ref(&missing), false).unwrap_err().to_string();
    assert!(error.contains("none.pem") && error.contains("--ca"), "{error}");
}

#[tokio::test]
async fn tls_1_1_and_cbc_suites_are_refused() {
    let secure = secure();
    // RFC 8446 §6: an alert record, fatal, protocol_version or handshake_failure.
    assert_eq!(hello(&secure, [3, 2], [0xc0, 0x2b]).await, [0x15, 2, 70]);
    // TLS 1.2 with ECDHE-ECDSA-AES128-CBC-SHA only; with GCM instead the server goes on.
    assert_eq!(hello(&secure, [3, 3], [0xc0, 0x09]).await, [0x15, 2, 40]);
    assert_eq!(hello(&secure, [3, 3], [0xc0, 0x2b]).await[0], 0x16);
}

/// Sends a ClientHello of one version with one suite; record type and first bytes of the answer.
async fn hello(secure: &Secure, version: [u8; 2], suite: [u8; 2]) -> [u8; 3] {
    let mut tcp = TcpStream::connect(secure.world.addr(Transport::Tls)).await.unwrap();
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    // No session, one suite, no compression; signature_algorithms, supported_groups, point formats.
    hello.extend([0, 0, 2, suite[0], suite[1], 1, 0, 0, 22]);
    hello.extend([0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0]);
    let mut record = vec![0x16, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    record.extend(hello);
    tcp.write_all(&record).await.unwrap();
    let mut answer = [0; 7];
    tcp.read_exact(&mut answer).await.unwrap();
    [answer[0], answer[5], answer[6]]
}

async fn handshake(
    secure: &Secure,
    config: &Arc<rustls::ClientConfig>,
) -> (HandshakeKind, rustls::ProtocolVersion, rustls::CipherSuite) {
    let tcp = TcpStream::connect(secure.world.addr(Transport::Tls)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.unwrap();
    tls.write_all(&options("z9hG4bKa", 0)).await.unwrap();
    // Reading the answer takes in the session ticket as well.
    tls.read_exact(&mut [0; 10]).await.unwrap();
    let session = tls.get_ref().1;
    let suite = session.negotiated_cipher_suite().unwrap().suite();
    (session.handshake_kind().unwrap(), session.protocol_version().unwrap(), suite)
}

#[tokio::test]
async fn tls_1_3_is_preferred_1_2_accepted_aead_only_and_sessions_are_resumed() {
    let secure = secure();
    let config = secure.endpoint("localhost").tls.unwrap();
    let (kind, version, suite) = handshake(&secure, &config).await;
    assert_ne!(kind, HandshakeKind::Resumed);
    assert_eq!(version, rustls::ProtocolVersion::TLSv1_3);
    // The client asks for AES-256 first; what costs the server less is as good.
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(handshake(&secure, &config).await.0, HandshakeKind::Resumed);

    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(secure.tls.ca_file().unwrap()).unwrap();
    use rustls::pki_types::pem::PemObject;
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let old = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(roots)
        .with_no_client_auth();
    let old = Arc::new(old);
    let (_, version, suite) = handshake(&secure, &old).await;
    assert_eq!(version, rustls::ProtocolVersion::TLSv1_2);
    let suite = format!("{suite:?}");
    assert!(suite.contains("GCM") || suite.contains("POLY1305"), "{suite}");
    assert_eq!(handshake(&secure, &old).await.0, HandshakeKind::Resumed);
}

#[tokio::test]
async fn a_new_certificate_is_used_at_once_and_old_connections_live_on() {
    let secure = secure();
    let mut old = ClientTransport::connect(secure.endpoint("localhost")).await.unwrap();
    ask(&mut old).await;
    assert!(ClientTransport::connect(secure.endpoint("new.example")).await.is_err());
    let before = secure.tls.fingerprint();
    let names = vec!["example.com".to_owned(), "new.example".to_owned()];
    assert!(secure.tls.set_names(names, wall()).unwrap());
    assert_ne!(secure.tls.fingerprint(), before);
    ask(&mut ClientTransport::connect(secure.endpoint("new.example")).await.unwrap()).await;
    ask(&mut old).await;
    assert!(!secure.tls.refresh(wall()).unwrap(), "nothing more to do");
}

/// `openssl s_client` with these arguments against an address; what it prints until it ends, or
/// until `file` has something in it.
fn s_client(
    addr: std::net::SocketAddr,
    arguments: &[&str],
    file: Option<&std::path::Path>,
) -> String {
    use std::process::{Command, Stdio};
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "openssl", "s_client", "-connect"]);
    command.arg(addr.to_string()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
    // With its input at an end it leaves before the ticket of TLS 1.3 comes.
    command.stdin(if file.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().unwrap();
    if let Some(file) = file {
        let begun = std::time::Instant::now();
        while std::fs::metadata(file).map_or(0, |m| m.len()) == 0 {
            assert!(begun.elapsed() < crate::world::PATIENCE, "no session was given");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        child.kill().unwrap();
    }
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn r1_3_openssl_resumes_its_session_at_any_shard_until_the_certificate_is_replaced() {
    let folder = Folder::new();
    let tls = server_tls(&folder);
    let mut wanted = config(4).listen("lo", Transport::Tls, any());
    wanted.tls = Some(tls.sip_config());
    let world = World::start(wanted);
    let addr = world.addr(Transport::Tls);
    let mut files = Vec::new();
    for version in ["-tls1_3", "-tls1_2"] {
        let file = folder.path().join(format!("session{version}"));
        let name = file.display().to_string();
        s_client(addr, &[version, "-sess_out", &name], Some(&file));
        // The kernel spreads eight connections over the shards' sockets.
        for n in 0..8 {
            let seen = s_client(addr, &[version, "-sess_in", &name], None);
            assert!(seen.contains("Reused, TLSv1."), "{version} {n}: {seen}");
        }
        files.push((version, name));
    }
    assert!(tls.set_names(vec!["new.example".to_owned()], wall()).unwrap());
    for (version, name) in files {
        let seen = s_client(addr, &[version, "-sess_in", &name], None);
        assert!(seen.contains("New, TLSv1."), "{version}: {seen}");
    }
}

/// A server whose certificate names `*.example.com`, by an authority of its own.
fn wildcard_server(folder: &Folder) -> (ServerTls, std::path::PathBuf) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["*.example.com".to_owned()]).unwrap();
    let cert = params.signed_by(&own, &issuer).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = CertificateFiles {
        cert: write("wildcard.pem", cert.pem()),
        key: write("wildcard.key", own.serialize_pem()),
    };
    let dir = folder.path().join("tls");
    let config = TlsConfig { dir, files: Some(files), ..TlsConfig::default() };
    (ServerTls::open(config, wall()).unwrap(), write("ca.pem", ca.pem()))
}

#[tokio::test]
async fn r1_3_a_wildcard_proves_a_web_server_and_no_sip_server() {
    let folder = Folder::new();
    let (tls, ca) = wildcard_server(&folder);
    let mut wanted = config(2).listen("lo", Transport::Tls, any());
    wanted.tls = Some(tls.sip_config());
    let world = World::start(wanted);
    let https = crate::transports::http(&world, Some(tls.https_config()));
    let trust = client_config(std::slice::from_ref(&ca), false).unwrap();
    let at = |transport, addr| Endpoint {
        name: "sip.example.com".to_owned(),
        tls: Some(Arc::clone(&trust)),
        ..Endpoint::new(transport, addr)
    };
    let by_tls = at(Transport::Tls, world.addr(Transport::Tls));
    let error = ClientTransport::connect(by_tls).await.unwrap_err();
    assert!(matches!(error, NetError::Wildcard { .. }), "{error}");
    assert!(error.to_string().contains("over WSS"), "{error}");
    // RFC 7118: that is HTTPS, whose rules allow it (RFC 9525 §6.3).
    ask(&mut ClientTransport::connect(at(Transport::Wss, https.local_addr())).await.unwrap()).await;

    // The same of a next hop of the server's.
    let mut ours = config(1);
    ours.client_tls = Some(client_config(std::slice::from_ref(&ca), false).unwrap());
    let we = World::start(ours);
    let addrs = vec![world.addr(Transport::Tls)];
    let hop = NextHop { transport: Transport::Tls, addrs, server_name: "sip.example.com".into() };
    let flow = crate::dialling::dial(&we, &hop).unwrap();
    crate::dialling::send(&we, flow, "z9hG4bKa");
    assert_eq!(we.next_closed(), (0, flow, CloseReason::Untrusted));
    https.shutdown();
}

/// Full handshakes and resumed ones, each at the client: processor time and bytes.
#[tokio::test]
async fn r1_3_a_resumed_handshake_costs_less_than_a_full_one_and_both_stay_within_their_limits() {
    const ROUNDS: u32 = 20;
    let secure = secure();
    let (mut full, mut resumed) = ((0, 0), (0, 0));
    let kept = secure.endpoint("localhost");
    ask(&mut ClientTransport::connect(kept.clone()).await.unwrap()).await;
    for _ in 0..ROUNDS {
        // A new configuration knows no session.
        for (endpoint, again, sum) in
            [(secure.endpoint("localhost"), false, &mut full), (kept.clone(), true, &mut resumed)]
        {
            let mut link = ClientTransport::connect(endpoint).await.unwrap();
            let cost = link.cost().handshake.unwrap();
            assert_eq!(cost.resumed, again);
            sum.0 += cost.cpu.as_micros();
            sum.1 += u128::from(cost.sent + cost.received);
            ask(&mut link).await;
            assert!(link.cost().received > cost.received, "it goes on counting");
        }
    }
    let mean = |sum: (u128, u128)| (sum.0 / u128::from(ROUNDS), sum.1 / u128::from(ROUNDS));
    let (full, resumed) = (mean(full), mean(resumed));
    let text = format!(
        "full {} us, {} bytes; resumed {} us, {} bytes",
        full.0, full.1, resumed.0, resumed.1
    );
    #[allow(clippy::print_stdout, reason = "the figures are what it is for")]
    {
        println!("handshake at the client: {text}");
    }
    assert!(resumed.1 * 10 < full.1 * 8, "{text}");
    assert!(resumed.0 < full.0, "{text}");
    // Far above what a quiet machine takes (0.6 ms and 0.4 ms here): a regression, not noise.
    assert!(full.0 < 10_000 && full.1 < 4_000 && resumed.1 < 1_500, "{text}");
}
