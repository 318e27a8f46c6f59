//! What a side's description says of its audio stream.

use sdp::{Crypto, Fingerprint, Session, Setup};

use crate::RelayError;
use crate::api::Protocol;
use crate::bridge::{LegSetup, PayloadType};

/// Payload types beyond this many are not remembered.
const PAYLOADS_MAX: usize = 64;

/// The audio stream of a description: the first that is not rejected and runs over RTP.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Its place among the m-lines.
    pub index: usize,
    /// How it is carried.
    pub protocol: Protocol,
    /// The transport as written.
    pub proto: String,
    pub setup: LegSetup,
    /// In its order of preference.
    pub payloads: Vec<PayloadType>,
    pub cryptos: Vec<Crypto>,
    pub fingerprint: Option<Fingerprint>,
    pub dtls_setup: Option<Setup>,
    pub ice: Option<(String, String)>,
    pub mid: Option<String>,
    pub bundled: bool,
}

impl Facts {
    pub(super) fn read(session: &Session) -> Result<Self, RelayError> {
        let index = audio_index(session).ok_or(RelayError::NoAudio)?;
        let media = &session.media()[index];
        let cryptos: Vec<Crypto> = media.cryptos().collect();
        let fingerprint = strongest(session.fingerprints_of(index));
        let mid = media.mid().map(str::to_owned);
        let ice = session.ice_credentials_of(index);
        let is_dtls = media.proto().to_ascii_uppercase().contains("TLS");
        // RFC 8643: keys beside RTP/AVP are an offer to encrypt if one can.
        let protocol = match (is_dtls, cryptos.is_empty()) {
            (true, _) => Protocol::WebRtc,
            (false, false) => Protocol::Srtp,
            (false, true) if media.proto().to_ascii_uppercase().contains("SAVP") => {
                return Err(media::keying::KeyingError::NoCommonSuite.into());
            }
            (false, true) => Protocol::Rtp,
        };
        let bundled = session.groups().any(|(kind, _)| kind == "BUNDLE");
        Ok(Self {
            index,
            protocol,
            proto: media.proto().to_owned(),
            setup: path(session, index, protocol),
            payloads: payloads(media),
            fingerprint,
            dtls_setup: session.setup_of(index),
            ice: ice.map(|(u, p)| (u.to_owned(), p.to_owned())),
            mid,
            bundled,
            cryptos,
        })
    }
}

/// Whether a transport is RTP in one of its dresses.
fn is_rtp(proto: &str) -> bool {
    let proto = proto.to_ascii_uppercase();
    matches!(
        proto.strip_prefix("UDP/TLS/").unwrap_or(&proto),
        "RTP/AVP" | "RTP/AVPF" | "RTP/SAVP" | "RTP/SAVPF"
    )
}

fn audio_index(session: &Session) -> Option<usize> {
    let usable = |m: &sdp::MediaLine| {
        m.kind().eq_ignore_ascii_case("audio") && !m.is_rejected() && is_rtp(m.proto())
    };
    session.media().iter().position(usable)
}

fn path(session: &Session, index: usize, protocol: Protocol) -> LegSetup {
    let media = &session.media()[index];
    let real = |addr: &std::net::SocketAddr| !addr.ip().is_unspecified() && addr.port() != 0;
    let rtp = session.rtp_addr_of(index);
    let on_hold =
        rtp.is_some_and(|addr| addr.ip().is_unspecified()) && protocol != Protocol::WebRtc;
    LegSetup {
        rtp: rtp.filter(real),
        rtcp: session.rtcp_addr_of(index).filter(real),
        signalled_from: None,
        rtcp_mux: protocol == Protocol::WebRtc && media.rtcp_mux(),
        held: on_hold || session.direction_of(index) != sdp::Direction::SendRecv,
    }
}

fn payloads(media: &sdp::MediaLine) -> Vec<PayloadType> {
    let payload = |number: u8| {
        let map = media.rtpmap(number)?;
        Some(PayloadType { number, encoding: map.encoding, clock_rate: map.clock_rate })
    };
    media.payload_types().filter_map(payload).take(PAYLOADS_MAX).collect()
}

/// SHA-256 where there is a choice, else the first.
fn strongest(mut prints: Vec<Fingerprint>) -> Option<Fingerprint> {
    let at = prints.iter().position(|p| p.hash == "sha-256").unwrap_or(0);
    (at < prints.len()).then(|| prints.swap_remove(at))
}
