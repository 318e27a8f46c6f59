//! Descriptions for a controller to pass, answers to them, and what a description means to a phone.

use std::collections::BTreeSet;
use std::net::IpAddr;

const CRYPTO: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 \
    inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
const DTLS: &str = "a=setup:actpass\r\na=fingerprint:sha-256 \
    AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\n";
const ICE: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\n\
    a=candidate:1 1 UDP 2130706431 127.0.0.9 40000 typ host\r\n";
const ICE_RTCP: &str = "a=candidate:1 2 UDP 2130706430 127.0.0.9 40001 typ host\r\n";
const CODECS: &str = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";

fn offer(proto: &str, formats: &str, lines: &[&str]) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n\
         m=audio 40000 {proto} {formats}\r\n{}",
        lines.concat()
    )
}

/// Offers of phones, gateways and browsers.
pub fn offers() -> Vec<(&'static str, String)> {
    let usual = "0 8 101";
    let avp = |lines: &[&str]| offer("RTP/AVP", usual, &[&[CODECS], lines].concat());
    vec![
        ("plain", avp(&["a=ptime:20\r\n", "a=sendrecv\r\n"])),
        ("shared port", avp(&["a=rtcp-mux\r\n"])),
        ("ICE", avp(&[ICE, ICE_RTCP])),
        ("ICE, shared port", avp(&[ICE, "a=rtcp-mux\r\n"])),
        ("on hold", avp(&["a=sendonly\r\n"])),
        ("inactive", avp(&["a=inactive\r\n"])),
        ("RTCP elsewhere", avp(&["a=rtcp:40123\r\n"])),
        ("AVPF", offer("RTP/AVPF", usual, &[CODECS, "a=rtcp-fb:* nack\r\n"])),
        ("SDES", offer("RTP/SAVP", usual, &[CODECS, CRYPTO])),
        ("SDES, shared port", offer("RTP/SAVP", usual, &[CODECS, CRYPTO, "a=rtcp-mux\r\n"])),
        (
            "browser",
            offer(
                "UDP/TLS/RTP/SAVPF",
                usual,
                &[CODECS, DTLS, ICE, "a=rtcp-mux\r\n", "a=mid:0\r\n"],
            ),
        ),
        (
            "many codecs",
            offer(
                "RTP/AVP",
                "96 97 9 18 0",
                &["a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
                   a=rtpmap:97 iLBC/8000\r\na=fmtp:97 mode=30\r\n"],
            ),
        ),
    ]
}

const VIDEO: &str = "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";
const FAX: &str = "m=image 40020 udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\n\
    a=T38FaxUdpEC:t38UDPRedundancy\r\n";

/// Offers with more than sound, or without any.
pub fn offers_of_streams() -> Vec<(&'static str, String)> {
    let sound = |proto: &str, lines: &[&str]| offer(proto, "0 8 101", &[&[CODECS], lines].concat());
    let video = |proto: &str, lines: &[&str]| {
        format!("m=video 40010 {proto} 96 97\r\n{VIDEO}{}", lines.concat())
    };
    let plain = sound("RTP/AVP", &[]);
    let alone = &plain[..plain.find("m=").expect("a stream")];
    let browser = "UDP/TLS/RTP/SAVPF";
    let ice_of_video = ICE.replace("40000", "40010");
    let text = "m=text 40030 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\n";
    vec![
        ("video", plain.clone() + &video("RTP/AVP", &[])),
        ("video with feedback", plain.clone() + &video("RTP/AVPF", &[])),
        ("video on hold", plain.clone() + &video("RTP/AVP", &["a=sendonly\r\n"])),
        ("video alone", alone.to_owned() + &video("RTP/AVP", &[])),
        ("video off", plain.clone() + &video("RTP/AVP", &[]).replace("40010", "0")),
        ("video, SDES", sound("RTP/SAVP", &[CRYPTO]) + &video("RTP/SAVP", &[CRYPTO])),
        (
            "video, browser",
            sound(browser, &[DTLS, ICE, "a=rtcp-mux\r\na=mid:0\r\n"])
                + &video(browser, &[DTLS, &ice_of_video, "a=rtcp-mux\r\na=mid:1\r\n"]),
        ),
        ("text", plain.clone() + text),
        ("video and text", plain.clone() + &video("RTP/AVP", &[]) + text),
        ("fax", alone.to_owned() + FAX),
        ("fax beside sound", plain.clone() + FAX),
        ("fax, sound off", plain.replace("audio 40000", "audio 0") + FAX),
    ]
}

/// A description with each m-line alone, the session's lines before it.
fn sections(sdp: &str) -> Vec<String> {
    let mut parts = sdp.split("\r\nm=");
    let head = parts.next().unwrap_or_default();
    parts.map(|section| format!("{head}\r\nm={}\r\n", section.trim_end())).collect()
}

/// What a phone answers, but for one m-line that it rejects.
pub fn answer_without(offered: &str, rejected: usize) -> String {
    let answers = sections(offered).into_iter().enumerate().map(|(n, section)| {
        let answer = answer_to_stream(&section, 42_000 + 2 * n);
        let (head, media) = answer.split_at(answer.find("m=").expect("a stream"));
        let port = format!(" {} ", 42_000 + 2 * n);
        let media = if n == rejected { media.replacen(&port, " 0 ", 1) } else { media.to_owned() };
        (head.to_owned(), media)
    });
    let answers: Vec<(String, String)> = answers.collect();
    let media = answers.iter().map(|(_, media)| media.as_str());
    answers[0].0.clone() + &media.collect::<String>()
}

/// What a phone answers: the first two codecs, and of the transport what it was offered.
pub fn answer_to(offered: &str) -> String {
    answer_without(offered, usize::MAX)
}

fn answer_to_stream(offered: &str, port: usize) -> String {
    let line = |kind: &str| offered.lines().find(|l| l.starts_with(kind)).unwrap_or_default();
    let m: Vec<&str> = line("m=").split_whitespace().collect();
    let kept: Vec<&str> = m[3..].iter().take(2).copied().collect();
    let port = if m[1] == "0" { 0 } else { port };
    let mut answer = format!(
        "v=0\r\no=- 2 2 IN IP4 127.0.0.8\r\ns=-\r\nc=IN IP4 127.0.0.8\r\nt=0 0\r\n\
         {} {port} {} {}\r\n",
        m[0],
        m[2],
        kept.join(" ")
    );
    for l in offered.lines() {
        let about = |name: &str| kept.iter().any(|f| l.starts_with(&format!("a={name}:{f} ")));
        if about("rtpmap")
            || about("fmtp")
            || l == "a=rtcp-mux"
            || l.starts_with("a=mid:")
            || l.starts_with("a=ptime:")
            || l.starts_with("a=T38")
        {
            answer += l;
            answer += "\r\n";
        }
    }
    let has = |what: &str| offered.contains(what);
    let direction = match () {
        () if has("a=sendonly") => "a=recvonly\r\n",
        () if has("a=inactive") => "a=inactive\r\n",
        () => "a=sendrecv\r\n",
    };
    answer += direction;
    if has("a=ice-ufrag") {
        answer += ICE;
        answer += if has("a=rtcp-mux") { "" } else { ICE_RTCP };
    }
    if has("a=fingerprint") {
        answer += &DTLS.replace("actpass", "active");
    } else if let Some(crypto) = offered.lines().find(|l| l.starts_with("a=crypto")) {
        answer += &own_key(crypto);
    }
    answer
}

/// A key of one's own for the suite of an offered line.
fn own_key(crypto: &str) -> String {
    let words: Vec<&str> = crypto.split_whitespace().collect();
    let key = words[2].strip_prefix("inline:").expect("a key");
    let key: String = key.split('|').next().expect("a key").replace('A', "B");
    format!("{} {} inline:{key}\r\n", words[0], words[1])
}

/// The port of the first stream.
pub fn media_port(sdp: &str) -> u16 {
    let m = sdp.lines().find(|l| l.starts_with("m=")).expect("a stream");
    m.split_whitespace().nth(1).expect("a port").parse().expect("a port")
}

/// How media is keyed. rtpengine offers SDES beside DTLS and the other way round: what the transport
/// of the stream names counts, and for either part in the handshake there are reasons.
#[derive(Debug, PartialEq, Eq)]
pub enum Keying {
    /// Not at all.
    None,
    /// Keys in `a=crypto`.
    Sdes,
    /// A handshake, whose part the peer may choose or not.
    Dtls { open: bool },
    /// The transport promises what the lines do not hold.
    Missing,
}

impl Keying {
    fn of(proto: &str, sdp: &str) -> Self {
        let has = |what: &str| sdp.contains(what);
        match (proto.contains("TLS"), proto.contains("SAVP")) {
            (true, _) if has("a=fingerprint:") && has("a=setup:") => {
                Self::Dtls { open: has("a=setup:actpass") }
            }
            (false, true) if has("a=crypto:") => Self::Sdes,
            (false, false) => Self::None,
            _ => Self::Missing,
        }
    }
}

/// What a phone does with a description.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning(Vec<Stream>);

impl Meaning {
    /// Of a description written by the relay at `ip`.
    pub fn of(sdp: &str, ip: IpAddr) -> Self {
        Self(sections(sdp).iter().map(|section| Stream::of(section, ip)).collect())
    }
}

/// What a phone does with a stream.
#[derive(Debug, PartialEq, Eq)]
enum Stream {
    /// Nothing; its kind.
    Rejected(String),
    /// It is sent and received.
    Used(Box<Used>),
}

#[derive(Debug, PartialEq, Eq)]
struct Used {
    kind: String,
    /// Media goes to the relay.
    to_relay: bool,
    proto: String,
    formats: Vec<String>,
    codecs: BTreeSet<String>,
    direction: String,
    /// Where RTCP goes: this much above RTP.
    rtcp: i32,
    shared_port: bool,
    keying: Keying,
    /// The components that ICE is spoken for.
    ice: BTreeSet<String>,
    /// The address in `o=` is the one the sender wrote.
    origin_kept: bool,
    ptime: Option<String>,
    fax: BTreeSet<String>,
}

impl Stream {
    fn of(sdp: &str, ip: IpAddr) -> Self {
        let attribute = |name: &str| {
            let prefix = format!("a={name}:");
            sdp.lines().find_map(|l| l.strip_prefix(&prefix)).map(str::to_owned)
        };
        let m: Vec<&str> = sdp
            .lines()
            .find(|l| l.starts_with("m="))
            .expect("a stream")
            .split_whitespace()
            .collect();
        let port: i32 = m[1].parse().expect("a port");
        if port == 0 {
            return Self::Rejected(m[0].to_owned());
        }
        let shared_port = sdp.lines().any(|l| l == "a=rtcp-mux");
        let explicit = attribute("rtcp").and_then(|r| r.split(' ').next()?.parse::<i32>().ok());
        let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
        let direction = directions.iter().find(|d| sdp.lines().any(|l| l == format!("a={d}")));
        // The name of a static type may be left out (RFC 3551 §6).
        let of_format = |l: &&str| l.starts_with("a=rtpmap:") || l.starts_with("a=fmtp:");
        let fixed = ["a=rtpmap:0 ", "a=rtpmap:8 ", "a=rtpmap:9 ", "a=rtpmap:18 "];
        let stated = |l: &&str| !fixed.iter().any(|s| l.starts_with(s));
        Self::Used(Box::new(Used {
            kind: m[0].to_owned(),
            to_relay: sdp.contains(&format!("c=IN IP4 {ip}")),
            proto: m[2].to_owned(),
            formats: m[3..].iter().map(|f| (*f).to_owned()).collect(),
            codecs: sdp.lines().filter(of_format).filter(stated).map(str::to_owned).collect(),
            direction: direction.unwrap_or(&"sendrecv").to_string(),
            rtcp: explicit.unwrap_or(port + i32::from(!shared_port)) - port,
            shared_port,
            keying: Keying::of(m[2], sdp),
            ice: sdp
                .lines()
                .filter(|_| sdp.contains("a=ice-ufrag:"))
                .filter_map(|l| l.strip_prefix("a=candidate:"))
                .filter(|c| c.contains(&ip.to_string()))
                .filter_map(|c| c.split(' ').nth(1).map(str::to_owned))
                .collect(),
            origin_kept: !sdp.lines().any(|l| l.starts_with("o=") && l.ends_with(&ip.to_string())),
            ptime: attribute("ptime"),
            fax: sdp.lines().filter(|l| l.starts_with("a=T38")).map(str::to_owned).collect(),
        }))
    }
}
