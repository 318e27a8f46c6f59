//! What is agreed, and what is refused.

use audio::CodecKind::{Opus, Pcma, Pcmu};
use media::{MediaError, Security};
use sdp::offer_answer::OfferAnswerError;

use crate::wire::{Wire, config};

fn pair(a: Security, b: Security) -> Wire {
    Wire::new(3, [config(0, &[Opus, Pcmu], a), config(1, &[Opus, Pcmu], b)])
}

#[test]
fn security_is_agreed_or_refused_by_policy() {
    use Security::{Plain, Sdes, SdesOptional};
    let table = [
        (Plain, Plain, Some(false)),
        (Sdes, Sdes, Some(true)),
        (SdesOptional, SdesOptional, Some(true)),
        (SdesOptional, Plain, Some(false)),
        (Plain, SdesOptional, Some(false)),
        (Sdes, SdesOptional, Some(true)),
        (SdesOptional, Sdes, Some(true)),
        (Plain, Sdes, None),
        (Sdes, Plain, None),
    ];
    for (a, b, want) in table {
        let mut w = pair(a, b);
        let offer = w.alice.create_offer(w.now);
        let answer = w.bob.handle_offer(w.now, &offer);
        match want {
            Some(secure) => {
                w.alice.handle_answer(w.now, &answer.expect("agreed")).expect("agreed");
                assert_eq!(
                    (w.alice.is_secure(), w.bob.is_secure()),
                    (secure, secure),
                    "{a:?} {b:?}"
                );
            }
            None => assert!(answer.is_err(), "{a:?} {b:?}"),
        }
    }
}

#[test]
fn refusals_are_typed() {
    let mut w = pair(Security::Plain, Security::Sdes);
    let offer = w.alice.create_offer(w.now);
    assert_eq!(w.bob.handle_offer(w.now, &offer), Err(MediaError::SecurityRequired));
    let mut w =
        Wire::new(3, [config(0, &[Pcma], Security::Plain), config(1, &[Pcmu], Security::Plain)]);
    let offer = w.alice.create_offer(w.now);
    let refused = w.bob.handle_offer(w.now, &offer);
    assert_eq!(refused, Err(MediaError::OfferAnswer(OfferAnswerError::NoCommonCodec)));
    assert!(matches!(w.bob.handle_offer(w.now, b"hello"), Err(MediaError::Sdp(_))));
    assert_eq!(w.bob.handle_answer(w.now, &offer), Err(MediaError::UnexpectedAnswer));
}

#[test]
fn a_re_offer_keeps_identity_numbers_and_keys() {
    let mut w = pair(Security::Sdes, Security::Sdes);
    w.connect();
    let first = sdp::Session::parse(&w.bob.create_offer(w.now)).expect("our own");
    let second = sdp::Session::parse(&w.bob.create_offer(w.now)).expect("our own");
    let (a, b) = (first.origin().expect("o="), second.origin().expect("o="));
    assert_eq!((a.session_id, a.version + 1), (b.session_id, b.version));
    let lines = |s: &sdp::Session| s.media()[0].cryptos().collect::<Vec<_>>();
    assert_eq!(lines(&first), lines(&second));
}

#[test]
fn a_re_offer_by_the_answerer_keeps_the_numbers_of_the_offerer() {
    let mut w = pair(Security::Plain, Security::Plain);
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 101 96\r\na=rtpmap:101 opus/48000/2\r\n\
        a=rtpmap:96 telephone-event/48000\r\n";
    w.bob.handle_offer(w.now, text.as_bytes()).expect("agreed");
    let offer = w.bob.create_offer(w.now);
    let offer = sdp::Session::parse(&offer).expect("our own");
    let audio = &offer.media()[0];
    assert_eq!(audio.rtpmap(101).map(|m| m.encoding).as_deref(), Some("opus"));
    assert_eq!(audio.payload_types().collect::<Vec<_>>(), [101, 0, 96], "8 kHz events had 101");
    let answer = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4002 RTP/AVP 0\r\n";
    w.bob.handle_answer(w.now, answer.as_bytes()).expect("agreed");
    assert_eq!(w.bob.stats().codec, Some(Pcmu));
    assert_eq!(w.bob.remote_rtp(), "192.0.2.1:4002".parse().ok());
}
