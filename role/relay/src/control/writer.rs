//! Writing a description for the other side: our address, our keys, nothing of the first side's
//! transport. What concerns codecs passes as it came.

use std::net::SocketAddr;

use media::keying::dtls::{Certificate, DtlsRole};
use sdp::{Candidate, Connection, Crypto, MediaLine, Section, Session, Setup};

use crate::api::Protocol;

/// Attributes that belong to one side's transport or to the WebRTC dialect, and die at the relay.
const HOP_BY_HOP: [&str; 22] = [
    "bundle-only",
    "cname",
    "connection",
    "extmap",
    "extmap-allow-mixed",
    "group",
    "identity",
    "mid",
    "msid",
    "msid-semantic",
    "rid",
    "rtcp",
    "rtcp-fb",
    "rtcp-mux",
    "rtcp-mux-only",
    "rtcp-rsize",
    "simulcast",
    "source-filter",
    "ssrc",
    "ssrc-group",
    "x-google-flag",
    "rtcp-xr",
];

/// What the description says of us.
pub(super) struct Face<'a> {
    /// Address and even port.
    pub addr: SocketAddr,
    pub protocol: Protocol,
    /// The transport of the m-line.
    pub proto: &'a str,
    /// SDES lines.
    pub cryptos: Vec<Crypto>,
    pub dtls: Option<DtlsFace<'a>>,
    /// Ufrag and password, when the side speaks ICE.
    pub ice: Option<(&'a str, &'a str)>,
    pub rtcp_mux: bool,
    pub mid: Option<&'a str>,
    pub bundled: bool,
    /// The m-lines the description must have, as the offer had them.
    pub shape: &'a [Rejected],
    /// Write `a=rtcp`.
    pub rtcp_attribute: bool,
    /// Also say where RTCP goes if the peer does not want it on RTP's port (RFC 5761 §5.1.1).
    pub rtcp_fallback: bool,
    /// Leave the address in `o=` as it came.
    pub keep_origin: bool,
}

/// The handshake's part.
pub(super) struct DtlsFace<'a> {
    pub certificate: &'a Certificate,
    pub setup: Setup,
}

/// A stream in the form that rejects it (RFC 3264 §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    kind: String,
    proto: String,
    formats: Vec<String>,
    mid: Option<String>,
}

impl Rejected {
    /// The m-lines of an offer, ready to be refused in its answer.
    pub(super) fn shape_of(session: &Session) -> Vec<Self> {
        let of = |m: &MediaLine| Self {
            kind: m.kind().to_owned(),
            proto: m.proto().to_owned(),
            formats: m.formats().to_vec(),
            mid: m.mid().map(str::to_owned),
        };
        session.media().iter().map(of).collect()
    }

    fn to_media_line(&self, with_mid: bool) -> MediaLine {
        let formats: Vec<&str> = self.formats.iter().map(String::as_str).collect();
        let mut line = MediaLine::new(&self.kind, 0, &self.proto, &formats);
        if let Some(mid) = self.mid.as_deref().filter(|_| with_mid) {
            line.add_attribute("mid", Some(mid));
        }
        line
    }
}

/// What we say of a role.
pub(super) fn setup_for(role: DtlsRole) -> Setup {
    match role {
        DtlsRole::Client => Setup::Active,
        DtlsRole::Server => Setup::Passive,
    }
}

/// Rewrites `session`, whose stream `audio` is relayed (`None`: all are rejected).
pub(super) fn write(mut session: Session, audio: Option<usize>, face: &Face<'_>) -> Vec<u8> {
    write_session_level(&mut session, face);
    for index in 0..session.media().len() {
        if Some(index) == audio {
            write_audio(&mut session.media_mut()[index], face);
            continue;
        }
        let own = Rejected::shape_of(&session).swap_remove(index);
        let line = face.shape.get(index).unwrap_or(&own);
        session.media_mut()[index] = line.to_media_line(face.mid.is_some());
    }
    for missing in face.shape.iter().skip(session.media().len()) {
        session.push_media(missing.to_media_line(face.mid.is_some()));
    }
    session.to_bytes()
}

fn write_session_level(session: &mut Session, face: &Face<'_>) {
    let ip = face.addr.ip();
    if let Some(mut origin) = session.origin().filter(|_| !face.keep_origin) {
        origin.address = ip.to_string();
        origin.ip6 = ip.is_ipv6();
        session.set_origin(&origin);
    }
    session.set_connection(&Connection::from(ip));
    clean(session);
    if face.ice.is_some() {
        session.add_attribute("ice-lite", None);
    }
    if let Some(mid) = face.mid.filter(|_| face.bundled) {
        session.add_attribute("group", Some(&format!("BUNDLE {mid}")));
    }
}

fn write_audio(media: &mut MediaLine, face: &Face<'_>) {
    // Two ends in clear may key themselves (RFC 6189 §8): packets of ZRTP pass between them. Where a
    // leg is keyed by us they do not, and nobody shall wait for them.
    let in_clear = face.protocol == Protocol::Rtp
        && matches!(media.proto(), "RTP/AVP" | "RTP/AVPF")
        && media.cryptos().next().is_none();
    let hashes: Vec<String> = match in_clear {
        true => media.attributes("zrtp-hash").map(str::to_owned).collect(),
        false => Vec::new(),
    };
    media.set_port(face.addr.port());
    media.set_proto(face.proto);
    media.remove_lines(b'c');
    clean(media);
    for hash in &hashes {
        media.add_attribute("zrtp-hash", Some(hash));
    }
    for crypto in &face.cryptos {
        media.add_crypto(crypto);
    }
    if let Some(mid) = face.mid {
        media.add_attribute("mid", Some(mid));
    }
    let one_port = face.rtcp_mux && !face.rtcp_fallback;
    let rtcp_port = face.addr.port() + u16::from(!one_port);
    if face.rtcp_attribute {
        media.add_attribute("rtcp", Some(&rtcp_port.to_string()));
    }
    if face.rtcp_mux {
        media.add_attribute("rtcp-mux", None);
    }
    if let Some(dtls) = &face.dtls {
        let print = dtls.certificate.fingerprint().to_string();
        media.add_attribute("fingerprint", Some(&print));
        media.add_attribute("setup", Some(dtls.setup.name()));
    }
    if let Some((ufrag, pwd)) = face.ice {
        media.add_attribute("ice-ufrag", Some(ufrag));
        media.add_attribute("ice-pwd", Some(pwd));
        media.add_candidate(&Candidate::host("1", 1, face.addr));
        if !one_port {
            let rtcp = SocketAddr::new(face.addr.ip(), rtcp_port);
            media.add_candidate(&Candidate::host("1", 2, rtcp));
        }
        media.add_attribute("end-of-candidates", None);
    }
    if face.protocol == Protocol::WebRtc && face.ice.is_some() {
        // Without it a browser's `track` event has no stream to play.
        media.add_attribute("msid", Some("whimbrel audio"));
    }
}

fn clean(section: &mut Section) {
    section.remove_ice();
    section.remove_keying();
    section.retain_attributes(|name, _| !HOP_BY_HOP.contains(&name));
}
