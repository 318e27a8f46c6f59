//! Each built-in profile, message in and message out, as the files of `tests/golden` say.
//! `WHIMBREL_WRITE_GOLDEN=1 cargo test -p edge golden` writes them anew; read the difference.

use super::*;
use sip::{Edit, Message};

fn request(text: &str) -> Message {
    Message::parse(text.replace('\n', "\r\n").into_bytes().into()).unwrap()
}

/// What a phone of ours sends: the caller in national words, identity from before RFC 3325.
const OUT: &str = "INVITE sip:+4940555@peer.example.net SIP/2.0
Via: SIP/2.0/TLS 198.51.100.1:5061;branch=z9hG4bK1
Max-Forwards: 69
From: \"Alice A.\" <sip:alice@example.com>;tag=a1
To: <sip:+4940555@example.com>
Call-ID: 1
CSeq: 2 INVITE
Contact: <sip:v@198.51.100.1:5061>
Supported: timer, replaces
Session-Expires: 1800
Min-SE: 90
Remote-Party-ID: <sip:alice@example.com>
History-Info: <sip:x@example.com>;index=1
P-Access-Network-Info: 3GPP
User-Agent: Phone/1

";

/// What such a server sends.
const IN: &str = "INVITE sip:+4930123456@198.51.100.1 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bK2
Max-Forwards: 69
From: \"Bob\" <sip:+4940777@peer.example.net>;tag=b1
To: <sip:+4930123456@198.51.100.1>
Call-ID: 2
CSeq: 1 INVITE
Contact: <sip:192.0.2.11>
P-Asserted-Identity: \"Bob\" <sip:+4940888@peer.example.net;user=phone>
Remote-Party-ID: <sip:+4940999@peer.example.net>;party=calling
X-Asterisk-HangupCause: Normal
X-FS-Support: update_display
X-MS-TenantId: 4711
X-RTP-Stat: x
P-RTP-Stat: x
Cisco-Guid: 1-2-3
Call-Info: <urn:x-cisco>;purpose=x
P-Charging-Vector: icid-value=1

";

/// Everything the golden file of one profile holds.
fn golden(name: &str) -> String {
    let profile = Profile::find(name, &BTreeMap::new()).unwrap();
    let speech = |private, trusted| Speech {
        profile: &profile,
        peer_host: "peer.example.net",
        own_host: "198.51.100.1:5061",
        caller: "sip:alice@example.com",
        number: Some("+4930123456"),
        private,
        trusted,
    };
    let out = request(OUT);
    let sent = |private, trusted| {
        let speech = speech(private, trusted);
        let edit =
            Edit::new(&out).replace_request_uri(speech.target("+4940555", "peer.example.net"));
        shown(&speech.outbound(edit, &out).finish())
    };
    let came = request(IN);
    let caller = Speech::caller_of(&profile, &came).unwrap();
    let sdp = "v=0\r\nm=audio 4000 RTP/AVP 0 8 9 96 101\r\na=rtpmap:96 opus/48000/2\r\n\
               a=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\n";
    let ordered = codec_order(sdp.as_bytes(), &profile.codecs);
    let ordered = String::from_utf8(ordered.unwrap_or_else(|| sdp.into())).unwrap();
    format!(
        "{}\n\n=== out\n{}\n=== out, private\n{}\n=== out, private, to whoever keeps it\n{}\n\
         === in\n{}\n=== caller\n{}@{}\n\n=== offer\n{}",
        profile.description,
        sent(false, false),
        sent(true, false),
        sent(true, true),
        shown(&Speech::inbound(&profile, &came)),
        caller.0,
        caller.1,
        ordered.replace("\r\n", "\n"),
    )
}

fn shown(message: &Message) -> String {
    String::from_utf8_lossy(message.bytes()).replace("\r\n", "\n").trim_end().to_string() + "\n"
}

#[test]
fn r2_10_golden_messages_of_every_built_in_profile() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    for (name, _) in BUILT_IN {
        let file = format!("{folder}/{name}.txt");
        let is = golden(name);
        if std::env::var_os("WHIMBREL_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&file, &is).unwrap();
        }
        let want = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(is, want, "{file}");
    }
}

#[test]
fn r2_10_a_profile_of_the_configuration_goes_before_a_built_in_one() {
    let own: Profile =
        toml::from_str("description = \"mine\"\n[out]\nremove = [\"X-A\"]\n").unwrap();
    let configured = BTreeMap::from([("plain".to_string(), own.clone())]);
    assert_eq!(Profile::find("plain", &configured), Ok(own));
    let unknown = Profile::find("nothing", &configured).unwrap_err().to_string();
    assert!(unknown.contains("sipconnect") && unknown.contains("[profile.NAME]"), "{unknown}");
}

#[test]
fn r2_10_rules_cannot_touch_what_dialogs_rest_on() {
    for rule in [
        "[out]\nremove = [\"Via\"]",
        "[in]\nremove = [\"m\"]",
        "[out]\nreplace = { Call-ID = \"x\" }",
        "[out]\nrename = { X-A = \"To\" }",
        "[out]\nadd = { \"X Y\" = \"z\" }",
        "[out]\nadd = { X-Y = \"a\\r\\nVia: b\" }",
    ] {
        let profile: Profile = toml::from_str(rule).unwrap();
        let configured = BTreeMap::from([("mine".to_string(), profile)]);
        assert!(Profile::find("mine", &configured).is_err(), "{rule}");
    }
}

#[test]
fn r2_10_header_rules_remove_rename_replace_and_add() {
    let rules = "[in]\nremove = [\"X-FS-Support\"]\nrename = { Cisco-Guid = \"X-Guid\" }\n\
                 replace = { Call-Info = \"<urn:none>\" }\nadd = { X-Trunk = \"a\", Cisco-Guid = \"no\" }\n";
    let profile: Profile = toml::from_str(rules).unwrap();
    let done = Speech::inbound(&profile, &request(IN));
    assert!(done.header("X-FS-Support").is_none());
    assert_eq!(done.header("X-Guid"), Some(b"1-2-3".as_slice()));
    assert_eq!(done.header("Call-Info"), Some(b"<urn:none>".as_slice()));
    assert_eq!(done.header("X-Trunk"), Some(b"a".as_slice()));
}

#[test]
fn r2_10_numbers_are_read_in_every_form_a_country_writes_them() {
    let text = "country = \"49\"\ninternational_prefix = \"00\"\nnational_prefix = \"0\"\n";
    let german: Profile = toml::from_str(text).unwrap();
    for (dialled, global) in [
        ("+49 30 123", None),
        ("+4930123", Some("+4930123")),
        ("004930123", Some("+4930123")),
        ("030123", Some("+4930123")),
        ("0030-2101", Some("+302101")),
        ("123", None),
        ("alice", None),
    ] {
        assert_eq!(german.to_global(dialled).as_deref(), global, "{dialled}");
    }
    let bare: Profile = toml::from_str("bare_is_global = true\nnumber = \"digits\"").unwrap();
    assert_eq!(bare.to_global("4930123").as_deref(), Some("+4930123"));
    assert_eq!(bare.to_peer("+49-30-123"), "4930123");
    assert_eq!(bare.to_peer("alice"), "alice");
}

#[test]
fn r2_10_codecs_come_in_the_peers_order_and_no_others() {
    let sdp = b"v=0\r\nm=audio 4000 RTP/AVP 0 8 18 101\r\na=rtpmap:101 telephone-event/8000\r\n\
                a=fmtp:18 annexb=no\r\nm=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n";
    let codecs = ["pcma", "PCMU"].map(String::from);
    let ordered = String::from_utf8(codec_order(sdp, &codecs).unwrap()).unwrap();
    assert!(ordered.contains("m=audio 4000 RTP/AVP 8 0 101\r\n"), "{ordered}");
    assert!(!ordered.contains("a=fmtp:18"), "{ordered}");
    assert!(ordered.contains("m=video 5000 RTP/AVP 99\r\na=rtpmap:99"), "{ordered}");
    assert_eq!(codec_order(sdp, &["opus".to_string()]), None, "nothing in common: as it is");
}
