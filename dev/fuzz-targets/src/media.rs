//! Descriptions and connectivity checks: what media is set up with.

use ice::stun::{self, Builder, Class};
use ice::turn;
use sdp::Session;

/// One session description: read through, printed, read again.
pub fn sdp_session(data: &[u8]) {
    if let Ok(fragment) = sdp::Fragment::parse(data) {
        let again = sdp::Fragment::parse(&fragment.to_bytes());
        assert!(again.is_ok() || fragment.to_bytes().len() > sdp::FRAGMENT_MAX);
    }
    let Ok(mut session) = Session::parse(data) else { return };
    let printed = session.to_bytes();
    let again = Session::parse(&printed);
    assert_eq!(again.as_ref(), Ok(&session), "what is printed reads as what was read");
    assert!(printed.starts_with(data), "no byte of what came is changed");
    read_section(&session);
    let _ = session.origin();
    for (index, media) in session.media().iter().enumerate() {
        read_section(media);
        let _ = (media.kind(), media.port(), media.is_rejected(), media.proto());
        assert!(media.payload_types().count() <= media.formats().len());
        let _ = (session.direction_of(index), session.connection_of(index));
        let _ = (session.rtp_addr_of(index), session.rtcp_addr_of(index));
        let _ = (session.fingerprints_of(index), session.setup_of(index));
        let _ = session.ice_credentials_of(index);
    }
    session.media_mut().iter_mut().for_each(|media| {
        media.set_port(9);
        media.remove_ice();
        media.remove_keying();
    });
    let edited = Session::parse(&session.to_bytes());
    assert_eq!(edited.as_ref(), Ok(&session), "an edited description is one");
}

fn read_section(section: &sdp::Section) {
    let _ = (section.connection(), section.own_direction(), section.fingerprint(), section.rtcp());
    let _ = (section.rtpmaps().count(), section.cryptos().count(), section.candidates().count());
    let _ = (section.ptime_ms(), section.setup(), section.ice_ufrag(), section.ice_pwd());
    let _ = (section.groups().count(), section.ice_options().count(), section.mid());
    for payload_type in 0..=127 {
        let _ = (section.rtpmap(payload_type), section.fmtp(payload_type));
    }
    for (name, _) in section.all_attributes() {
        assert!(section.has_attribute(name));
    }
}

/// One STUN message: read through, verified, answered.
pub fn stun_message(data: &[u8]) {
    let Ok(message) = stun::Message::parse(data) else { return };
    assert!(ice::is_stun(data));
    let _ = (message.class(), message.method(), message.username(), message.priority());
    let _ = (message.use_candidate(), message.ice_controlling(), message.ice_controlled());
    let _ = (message.error_code(), message.xor_mapped_address(), message.has_fingerprint());
    let unknown = message.unknown_required();
    assert!(message.attributes().count() * 4 <= data.len() && unknown.len() * 4 <= data.len());
    assert!(!message.has_integrity() || !message.verify_integrity(b"not the key"));
    let answer = Builder::new(Class::Error, message.transaction_id())
        .error(420, "Unknown Attribute")
        .unknown_attributes(&unknown)
        .finish(b"key");
    let answer = stun::Message::parse(&answer);
    let answer = answer.unwrap_or_else(|e| panic!("our own answer cannot be read: {e}"));
    assert_eq!((answer.error_code(), answer.verify_integrity(b"key")), (Some(420), true));
}

/// A stream of a TURN client: cut into messages, each read as ChannelData or STUN; and its beginning
/// as a datagram that a peer sent, wrapped up for the client.
pub fn turn_stream(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(len)) = turn::stream_frame(rest) {
        assert!(len >= 4 && len % 4 == 0, "every message moves on, and is padded");
        if len > rest.len() {
            break;
        }
        let (frame, behind) = rest.split_at(len);
        rest = behind;
        match turn::channel_data(frame) {
            Some((number, range)) => {
                let header = turn::channel_header(number, range.len() as u16);
                assert_eq!(header, frame[..4]);
                assert_eq!(range.end.next_multiple_of(4), len);
            }
            None => stun_message(frame),
        }
    }
    let payload = &data[..data.len().min(1500)];
    let mut slot = vec![0; 48 + payload.len() + 3];
    slot[48..48 + payload.len()].copy_from_slice(payload);
    let peer = ([192, 0, 2, 1], 4000).into();
    let range = turn::data_indication(&mut slot, 48, payload.len(), (peer, [7; 12]));
    let message = stun::Message::parse(&slot[range]).unwrap_or_else(|e| panic!("ours: {e}"));
    assert_eq!(message.attribute(turn::attribute::DATA), Some(payload));
    assert_eq!(message.xor_address(turn::attribute::XOR_PEER_ADDRESS), Some(peer));
}
