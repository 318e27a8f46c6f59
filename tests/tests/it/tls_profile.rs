//! R1.3: what scanners say of the TLS ports: SIP over TLS, and HTTPS with SIP over WebSocket.

use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tests::process::Process;
use tests::{Phone, Server, Story};

const PATIENCE: Duration = Duration::from_secs(60);

/// sslyze, from `WHIMBREL_SSLYZE`, where `make test` puts it, or the PATH.
fn sslyze() -> String {
    if let Ok(path) = std::env::var("WHIMBREL_SSLYZE") {
        return path;
    }
    let cache =
        std::env::var("HOME").map(|home| format!("{home}/.cache/whimbrel/sslyze/bin/sslyze"));
    cache.ok().filter(|path| std::path::Path::new(path).exists()).unwrap_or("sslyze".into())
}

#[test]
fn r1_3_sslyze_finds_no_weak_protocol_and_no_weak_suite() {
    let story = Story::on_loopback("sslyze");
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    let report = story.scratch.file("sslyze.json");
    let mut command = story.place.command(&sslyze());
    for scan in [
        "sslv2",
        "sslv3",
        "tlsv1",
        "tlsv1_1",
        "tlsv1_2",
        "tlsv1_3",
        "resum",
        "heartbleed",
        "openssl_ccs",
        "fallback",
        "reneg",
        "compression",
        "early_data",
        "elliptic_curves",
    ] {
        command.arg(format!("--{scan}"));
    }
    command.arg("--mozilla_config=disable").arg("--json_out").arg(&report);
    let ports = [story.place.sips(), story.place.https()];
    command.args(ports.map(|port| format!("{}:{port}", story.place.server_ip())));
    Process::run(&story.scratch, "sslyze", command, PATIENCE).expect_code(0);
    let report = std::fs::read_to_string(report).expect("sslyze's report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let results = report["server_scan_results"].as_array().expect("results");
    assert_eq!(results.len(), 2, "{report:#}");
    for result in results {
        judge(&result["server_location"]["port"], &result["scan_result"]);
    }
}

/// A peer that follows our Record-Route over TLS looks for the name that stands in it.
#[test]
fn the_certificate_names_the_host_that_stands_in_via_and_record_route() {
    let story = Story::on_loopback("sip-name");
    story.add_users(&["alice"]);
    let interface =
        "[[interface]]\nname = \"a\"\nbind = \"127.0.0.1\"\nsip_name = \"sip.edge.example\"\n";
    let _server = Server::start_with(&story, interface);
    let verify = |name: &str| {
        let ca = story.data().join("tls/ca.pem");
        let (ca, port) = (ca.display(), story.place.sips());
        let line = format!(
            "sleep 0.4 | openssl s_client -connect 127.0.0.1:{port} -CAfile {ca} \
             -verify_return_error -verify_hostname {name}"
        );
        let mut command: Command = story.place.command("sh");
        command.args(["-c", &line]);
        let ended = Process::run(&story.scratch, "openssl-name", command, PATIENCE);
        (ended.out + &ended.err).contains("Verification: OK")
    };
    assert!(verify("sip.edge.example"));
    assert!(!verify("sip.other.example"), "openssl does check");
}

fn judge(port: &Value, scan: &Value) {
    let accepted = |protocol: &str| -> Vec<String> {
        let suites = &scan[format!("{protocol}_cipher_suites")]["result"]["accepted_cipher_suites"];
        let suites = suites.as_array().unwrap_or_else(|| panic!("{port}: {protocol} not scanned"));
        suites.iter().filter_map(|s| s["cipher_suite"]["name"].as_str()).map(String::from).collect()
    };
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert_eq!(accepted(old), Vec::<String>::new(), "{port}: {old}");
    }
    // RFC 9325 §4.2: forward secrecy and AEAD, nothing else.
    let strong = |suite: &String| {
        suite.starts_with("TLS_ECDHE_") && (suite.contains("_GCM_") || suite.contains("_CHACHA20_"))
    };
    let twelve = accepted("tls_1_2");
    assert!(!twelve.is_empty() && twelve.iter().all(strong), "{port}: {twelve:?}");
    assert_eq!(accepted("tls_1_3").len(), 3, "{port}: {:?}", accepted("tls_1_3"));
    let of = |check: &str| scan[check]["result"].clone();
    assert_eq!(of("heartbleed")["is_vulnerable_to_heartbleed"], false, "{port}");
    assert_eq!(of("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"], false, "{port}");
    assert_eq!(of("tls_compression")["supports_compression"], false, "{port}");
    let renegotiation = of("session_renegotiation");
    assert_eq!(renegotiation["is_vulnerable_to_client_renegotiation_dos"], false, "{port}");
    assert_eq!(renegotiation["supports_secure_renegotiation"], true, "{port}");
    // A request sent early could be replayed (RFC 8446 §8).
    assert_eq!(of("tls_1_3_early_data")["supports_early_data"], false, "{port}");
    let resumption = of("session_resumption");
    let fully = |kind: &str| resumption[kind] == "FULLY_SUPPORTED";
    let resumes = fully("tls_ticket_resumption_result") || fully("session_id_resumption_result");
    assert!(resumes, "{port}: {resumption:#}");
}

#[test]
fn r1_3_openssl_is_refused_below_1_2_and_resumes_above() {
    let story = Story::on_loopback("openssl");
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    for port in [story.place.sips(), story.place.https()] {
        let connect = |arguments: &[&str]| {
            let target = format!("{}:{port}", story.place.server_ip());
            let mut line = format!("sleep 0.4 | openssl s_client -connect {target}");
            for argument in arguments {
                line += &format!(" '{argument}'");
            }
            let mut command: Command = story.place.command("sh");
            command.args(["-c", &line]).current_dir(story.scratch.path());
            let ended = Process::run(&story.scratch, "openssl", command, PATIENCE);
            ended.out + &ended.err
        };
        // Their own floor is off: the refusal must be ours.
        for old in ["-tls1", "-tls1_1"] {
            let said = connect(&[old, "-cipher", "DEFAULT:@SECLEVEL=0"]);
            assert!(said.contains("alert") && said.contains("Cipher is (NONE)"), "{old}: {said}");
        }
        let said = connect(&[
            "-tls1_2",
            "-cipher",
            "AES128-SHA:AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA",
        ]);
        assert!(said.contains("Cipher is (NONE)"), "CBC or no forward secrecy: {said}");
        let said = connect(&[]);
        assert!(said.contains("New, TLSv1.3, Cipher is TLS_AES_"), "1.3 is preferred: {said}");
        for version in ["-tls1_2", "-tls1_3"] {
            let session = format!("session{version}-{port}");
            let first = connect(&[version, "-sess_out", &session]);
            assert!(first.contains("New, TLSv1."), "{version}: {first}");
            let second = connect(&[version, "-sess_in", &session]);
            assert!(second.contains("Reused, TLSv1."), "{version} on {port}: {second}");
        }
    }
}

/// The phone's account of handshakes, registrations and an hour: nothing of a handshake in clear, and
/// a registration over UDP that costs about what is on the wire.
#[test]
fn r1_3_our_phone_says_what_staying_reachable_costs() {
    let story = Story::on_loopback("phone-cost");
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    for (transport, handshakes) in [("udp", 0), ("tls", 1), ("wss", 1)] {
        let phone = Phone::of(&story, "alice", transport, "opus").answer().seconds(3).start();
        let ended = phone.finish(Duration::from_secs(30));
        let cost = &ended.result["cost"];
        assert_eq!(cost["handshakes"], handshakes, "{transport}: {cost:#}");
        assert_eq!(cost["refreshes"], 2, "{transport}: registered, and taken off again: {cost:#}");
        let figure = |name: &str| cost[name].as_f64().unwrap_or(0.0);
        if handshakes > 0 {
            assert!((0.05..500.0).contains(&figure("handshake_cpu_ms")), "{transport}: {cost:#}");
            assert!(
                (1_000.0..6_000.0).contains(&figure("handshake_bytes")),
                "{transport}: {cost:#}"
            );
        }
        // Two requests and two responses at first, then two with the known nonce.
        assert!((600.0..6_000.0).contains(&figure("refresh_bytes")), "{transport}: {cost:#}");
        assert!(
            cost["cpu_ms_per_hour"].is_null(),
            "three seconds tell nothing of an hour: {cost:#}"
        );
        tests::story::tell(&format!("{transport}: {cost}"));
    }
}
