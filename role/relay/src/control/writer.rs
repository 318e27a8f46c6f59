//! Writing a description for the other side: our address, our keys, nothing of the first side's
//! transport. What concerns codecs passes as it came.

use std::net::{IpAddr, SocketAddr};

use media::keying::dtls::{Certificate, DtlsRole};
use rtp::zrtp::HelloHash;
use sdp::{Candidate, Connection, Crypto, MediaLine, Section, Session, Setup};

use crate::api::Protocol;
use crate::bridge::Carries;

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

/// Those of them that two ends with pictures agree on through us: packets pass as they are, so that
/// what is said of sources, feedback and header extensions holds.
const END_TO_END: [&str; 7] =
    ["cname", "extmap", "extmap-allow-mixed", "rtcp-fb", "rtcp-rsize", "ssrc", "ssrc-group"];

/// Header extensions that name m-lines and layers of one side's description (RFC 9143 §15,
/// RFC 8852).
const EXTENSIONS_OF_ONE_SIDE: [&str; 3] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
];

/// What the description says of us, of one stream.
pub(super) struct Face<'a> {
    /// Address and even port.
    pub addr: SocketAddr,
    pub carries: Carries,
    pub protocol: Protocol,
    /// The transport of the m-line; `None` for that which it has.
    pub proto: Option<&'a str>,
    /// SDES lines.
    pub cryptos: Vec<Crypto>,
    /// The hash of our own Hello, where we agree on keys with this side (RFC 6189 §8).
    pub zrtp: Option<HelloHash>,
    pub dtls: Option<DtlsFace<'a>>,
    /// Ufrag and password, when the side speaks ICE.
    pub ice_options: Option<&'static str>,
    pub ice: Option<(&'a str, &'a str)>,
    pub rtcp_mux: bool,
    pub mid: Option<&'a str>,
    pub bundled: bool,
    /// Write `a=rtcp`.
    pub rtcp_attribute: bool,
    /// Also say where RTCP goes if the peer does not want it on RTP's port (RFC 5761 §5.1.1).
    pub rtcp_fallback: bool,
}

impl Face<'_> {
    /// Of a stream without keys, ICE or RTCP.
    pub(super) fn in_clear(addr: SocketAddr) -> Self {
        Self {
            addr,
            carries: Carries::Datagrams,
            protocol: Protocol::Rtp,
            proto: None,
            cryptos: Vec::new(),
            zrtp: None,
            dtls: None,
            ice: None,
            ice_options: None,
            rtcp_mux: false,
            mid: None,
            bundled: false,
            rtcp_attribute: false,
            rtcp_fallback: false,
        }
    }
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
    pub(super) fn shape_of(session: &Session) -> Box<[Self]> {
        session.media().iter().map(Self::of).collect()
    }

    fn of(media: &MediaLine) -> Self {
        Self {
            kind: media.kind().to_owned(),
            proto: media.proto().to_owned(),
            formats: media.formats().to_vec(),
            mid: media.mid().map(str::to_owned),
        }
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

/// A whole description's faces.
pub(super) struct Faces<'a> {
    /// By the m-lines; `None` for a stream that is rejected.
    pub streams: Vec<Option<Face<'a>>>,
    /// Our address, and whether that in `o=` stays as it came.
    pub ip: IpAddr,
    pub keep_origin: bool,
    /// The m-lines an answer must have, as the offer had them.
    pub shape: &'a [Rejected],
}

impl Faces<'_> {
    fn any(&self, is: impl Fn(&Face<'_>) -> bool) -> bool {
        self.streams.iter().flatten().any(is)
    }
}

/// Rewrites `session`.
pub(super) fn write(mut session: Session, faces: &Faces<'_>) -> Vec<u8> {
    write_session_level(&mut session, faces);
    let with_mid = faces.any(|face| face.mid.is_some());
    for index in 0..session.media().len() {
        if let Some(face) = faces.streams.get(index).and_then(Option::as_ref) {
            write_stream(&mut session.media_mut()[index], face);
            continue;
        }
        let line = match faces.shape.get(index) {
            Some(offered) => offered.to_media_line(with_mid),
            // Our own offer: the others' mids are the places of their m-lines.
            None => {
                let mut own = Rejected::of(&session.media()[index]);
                own.mid = Some(index.to_string());
                own.to_media_line(with_mid)
            }
        };
        session.media_mut()[index] = line;
    }
    for missing in faces.shape.iter().skip(session.media().len()) {
        session.push_media(missing.to_media_line(with_mid));
    }
    session.to_bytes()
}

fn write_session_level(session: &mut Session, faces: &Faces<'_>) {
    if let Some(mut origin) = session.origin().filter(|_| !faces.keep_origin) {
        origin.address = faces.ip.to_string();
        origin.ip6 = faces.ip.is_ipv6();
        session.set_origin(&origin);
    }
    session.set_connection(&Connection::from(faces.ip));
    let allows_mixed = session.has_attribute("extmap-allow-mixed");
    clean(session, &[]);
    if allows_mixed && faces.any(|face| face.carries == Carries::Rtp) {
        session.add_attribute("extmap-allow-mixed", None);
    }
    if faces.any(|face| face.ice.is_some()) {
        session.add_attribute("ice-lite", None);
    }
    // Each stream has a transport of its own: the bundle is of one (RFC 9143 §7.3.3).
    let mut bundled = faces.streams.iter().flatten().filter(|face| face.bundled);
    if let Some(mid) = bundled.find_map(|face| face.mid) {
        session.add_attribute("group", Some(&format!("BUNDLE {mid}")));
    }
}

fn write_stream(media: &mut MediaLine, face: &Face<'_>) {
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
    if let Some(proto) = face.proto {
        media.set_proto(proto);
    }
    media.remove_lines(b'c');
    match face.carries {
        Carries::Rtp => {
            clean(media, &END_TO_END);
            let of_one = |value: &str| EXTENSIONS_OF_ONE_SIDE.iter().any(|uri| value.contains(uri));
            media.retain_attributes(|name, value| name != "extmap" || !value.is_some_and(of_one));
        }
        Carries::Sound | Carries::Datagrams => clean(media, &[]),
    }
    for hash in &hashes {
        media.add_attribute("zrtp-hash", Some(hash));
    }
    if let Some(hash) = face.zrtp {
        media.add_attribute("zrtp-hash", Some(&hash.to_string()));
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
    if let Some(options) = face.ice_options {
        media.add_attribute("ice-options", Some(options));
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
        let track = format!("whimbrel {}", media.kind());
        media.add_attribute("msid", Some(&track));
    }
}

fn clean(section: &mut Section, kept: &[&str]) {
    section.remove_ice();
    section.remove_keying();
    section.retain_attributes(|name, _| !HOP_BY_HOP.contains(&name) || kept.contains(&name));
}
