//! Packets of media: RTP, RTCP, SRTP, SRTCP and ZRTP.

use rtp::srtp::{KeyMaterial, SrtpContext, Suite};
use rtp::{PacketKind, RtpPacket, rtcp, zrtp};

/// One datagram as a relay meets it: told apart, read through as RTP and as RTCP.
pub fn rtp_packet(data: &[u8]) {
    let kind = rtp::kind(data);
    assert!(!rtp::is_zrtp(data) || kind == PacketKind::Other);
    if let Ok(packet) = RtpPacket::parse(data) {
        let header = packet.header();
        assert!(matches!(kind, PacketKind::Rtp | PacketKind::Rtcp), "of version 2");
        assert!(packet.payload().len() + rtp::HEADER_LEN <= data.len());
        assert_eq!(header.ssrc, packet.ssrc());
    }
    rtcp::told(data, drop);
    assert!(rtcp::without_marks(data) <= data.len());
    let items = rtcp::parse(data).map_or(0, |items| items.len());
    assert!(items * 4 <= data.len(), "no report takes less than a word");
}

/// The first byte chooses a suite. The rest must be refused as a forgery, which leaves no trace, and,
/// where it is a packet, be the same again when it was protected and opened.
pub fn srtp_packet(data: &[u8]) {
    let Some((choice, packet)) = data.split_first() else { return };
    let suite = Suite::ALL[usize::from(*choice) % Suite::ALL.len()];
    let keys = KeyMaterial::new(&vec![7; suite.key_len()], &vec![9; suite.salt_len()]);
    let context = || SrtpContext::new(suite, &keys).expect("keys of the right length");
    let (mut sender, mut receiver) = (context(), context());
    let room = |packet: &[u8]| [packet, &[0; rtp::srtp::MAX_TRAILER]].concat();
    let (mut buf, len) = (room(packet), packet.len());
    assert!(receiver.unprotect_rtp(&mut buf, len).is_err(), "nobody has the key");
    buf = room(packet);
    assert!(receiver.unprotect_rtcp(&mut buf, len).is_err(), "nobody has the key");
    assert!(receiver.snapshot().is_empty(), "a forgery is not remembered");

    buf = room(packet);
    if let Ok(sealed) = sender.protect_rtp(&mut buf, len) {
        let kept = buf.clone();
        assert_eq!(receiver.unprotect_rtp(&mut buf, sealed), Ok(len));
        assert_eq!(buf[..len], *packet);
        buf = kept;
        assert!(receiver.unprotect_rtp(&mut buf, sealed).is_err(), "a replay");
    }
    buf = room(packet);
    if let Ok(sealed) = sender.protect_rtcp(&mut buf, len) {
        assert_eq!(receiver.unprotect_rtcp(&mut buf, sealed), Ok(len));
        assert_eq!(buf[..len], *packet);
    }
}

/// One packet of ZRTP, as it is and as the message of one whose check sum fits: read through, and
/// given to an end in the middle of an agreement, which must not come to keys by it.
pub fn zrtp_packet(data: &[u8]) {
    let sealed = zrtp::seal(1, 2, data);
    for datagram in [data, &sealed] {
        let Ok(packet) = zrtp::Packet::parse(datagram) else { continue };
        assert!(rtp::is_zrtp(datagram));
        if let zrtp::Message::Hello(hello) = packet.message {
            let hash = zrtp::HelloHash::of(&hello);
            assert!(hash.fits(&hello));
            let _ = (hello.client(), hello.zid(), hello.is_mitm(), hello.signs());
            assert!(hello.algorithms::<zrtp::Cipher>().count() <= 7);
            assert!(hello.algorithms::<zrtp::SasType>().count() <= 7);
        }
        let setup = zrtp::Setup::new(7, zrtp::Zid([7; 12]));
        let mut end = zrtp::Endpoint::new(setup, &mut sansio::SeededEntropy::new(1));
        let now = sansio::testing::epoch();
        end.start(now);
        end.handle_packet(now, datagram);
        end.handle_packet(now, datagram);
        while end.poll_output().is_some() {}
        assert!(end.secured().is_none(), "keys come of two keys");
    }
}
