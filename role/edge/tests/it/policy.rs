//! Encrypted media where policy says so (R3.1, design decision 11).

use crate::lab::{EMPTY, Lab, respond, text};
use crate::talk::{BOB, described, talk_in};
use edge::{Config, MediaEncryption, MediaProfile};
use sansio::Transport;
use sip::HeaderName;

pub const SAVP: &str = "v=0\r\nm=audio 4000 RTP/SAVP 0\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
const AVP: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";
const OSRTP: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";

/// Header lines and body.
pub fn body(headers: &str, sdp: &str) -> String {
    let length = sdp.len();
    format!("{headers}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}")
}

fn lab(policy: MediaEncryption) -> Lab {
    let mut lab = Lab::with(1, Config { media_encryption: policy, ..Config::default() });
    lab.world().transports.insert(1, Transport::Tls);
    lab.user("user2", &[2]);
    lab
}

#[test]
fn an_offer_in_clear_over_tls_is_refused_by_name_where_encryption_is_required() {
    let mut lab = lab(MediaEncryption::Required);
    lab.invite_with(1, "user1", BOB, |auth| body(auth, AVP));
    let refused = lab.find(1, "488");
    assert_eq!(refused.reason(), b"Encrypted Media Required");
    assert!(text(refused.header(HeaderName::from("Warning"))).contains("RTP/SAVP"));
    assert!(lab.is_empty(2));
    assert_eq!(lab.ended(), ["failed"]);
    lab.assert_nothing_left();
}

#[test]
fn an_offer_with_keys_over_tls_is_taken_under_both_policies() {
    for policy in [MediaEncryption::Required, MediaEncryption::Preferred] {
        for sdp in [SAVP, OSRTP] {
            let mut lab = lab(policy);
            lab.invite_with(1, "user1", BOB, |auth| body(auth, sdp));
            let invite = lab.find(2, "INVITE");
            lab.send(2, respond(2, &invite, 200, true));
            assert!(text(Some(lab.find(1, "200").body())).contains("answer-1-Sdes"));
        }
    }
}

#[test]
fn an_offer_in_clear_over_tls_is_taken_where_encryption_is_preferred() {
    let mut lab = lab(MediaEncryption::Preferred);
    lab.invite_with(1, "user1", BOB, |auth| body(auth, AVP));
    lab.find(2, "INVITE");
}

#[test]
fn an_offer_in_clear_over_udp_is_taken_even_where_encryption_is_required() {
    let mut lab = lab(MediaEncryption::Required);
    lab.world().transports.clear();
    lab.invite_with(1, "user1", BOB, |auth| body(auth, AVP));
    lab.find(2, "INVITE");
}

#[test]
fn a_device_on_tls_that_refuses_keys_is_tried_in_clear_only_where_preferred() {
    for (policy, again) in [(MediaEncryption::Required, false), (MediaEncryption::Preferred, true)]
    {
        let mut lab = lab(policy);
        lab.world().transports.insert(2, Transport::Tls);
        lab.world().media.insert(2, MediaProfile::Sdes);
        lab.invite_with(1, "user1", BOB, |auth| body(auth, SAVP));
        let invite = lab.find(2, "INVITE");
        assert!(text(Some(invite.body())).contains("offer-1-Sdes"));
        lab.send(2, respond(2, &invite, 488, false));
        lab.find(2, "ACK");
        if again {
            let second = lab.find(2, "INVITE");
            assert!(text(Some(second.body())).contains("offer-2-Plain"));
            lab.send(2, respond(2, &second, 200, true));
            lab.find(1, "200");
        } else {
            lab.find(1, "488");
            lab.assert_nothing_left();
        }
    }
}

#[test]
fn a_phone_on_websocket_that_is_no_browser_is_tried_with_keys_in_sdp() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.world().media.insert(2, MediaProfile::WebRtc);
    lab.invite(1, "user1", BOB);
    let browser = lab.next(2);
    assert!(text(Some(browser.body())).contains("offer-1-WebRtc"));
    lab.send(2, respond(2, &browser, 488, false));
    let ack = lab.next(2);
    assert_eq!(ack.method(), Some(sip::Method::ACK));
    let keys = lab.next(2);
    assert!(text(Some(keys.body())).contains("offer-2-Sdes"), "encrypted, whatever the policy");
    lab.send(2, respond(2, &keys, 488, false));
    assert_eq!(lab.find(1, "488").status(), Some(488), "and never in clear");
}

#[test]
fn a_delayed_offer_in_clear_from_tls_is_ended_where_encryption_is_required() {
    let mut lab = lab(MediaEncryption::Required);
    lab.world().transports.insert(2, Transport::Tls);
    lab.world().media.insert(2, MediaProfile::Sdes);
    lab.invite_with(1, "user1", BOB, |auth| format!("{auth}{EMPTY}"));
    let invite = lab.find(2, "INVITE");
    lab.send(2, respond(2, &invite, 200, true));
    lab.find(2, "ACK");
    lab.find(2, "BYE");
    lab.find(1, "488");
    assert_eq!(lab.ended(), ["failed"]);
    lab.assert_nothing_left();
}

#[test]
fn a_reinvite_cannot_take_the_encryption_off() {
    let lab = Lab::new(1);
    lab.world().transports.insert(2, Transport::Tls);
    lab.world().media.insert(2, MediaProfile::Sdes);
    let mut talk = talk_in(lab);
    let clear = talk.by_callee("INVITE", 1);
    talk.lab.send(2, described(&clear, AVP));
    talk.lab.find(2, "488");
    assert!(talk.lab.is_empty(1) && talk.lab.ended().is_empty());
}

#[test]
fn sips_goes_over_tls_or_nowhere() {
    let sips = "sips:user2@example.com";
    let mut udp = lab(MediaEncryption::Required);
    udp.invite_with(1, "user1", sips, |auth| body(auth, SAVP));
    let refused = udp.find(1, "480");
    assert!(text(refused.header(HeaderName::from("Warning"))).starts_with("380 "));
    let mut tls = lab(MediaEncryption::Required);
    tls.world().transports.insert(2, Transport::Tls);
    tls.invite_with(1, "user1", sips, |auth| body(auth, SAVP));
    tls.find(2, "INVITE");
}

#[test]
fn r2_13_a_held_account_calls_users_but_few_numbers() {
    use cluster::Event;
    let mut conduct = edge::Conduct::new(edge::ConductConfig::default());
    let wall = sansio::WallTime::from_secs(1_800_000_000);
    for call in 0..8 {
        let started = Event::CallStarted {
            call,
            session_id: String::new(),
            call_id: String::new(),
            tenant: "example.com".into(),
            from: "sip:user1@example.com".into(),
            to: format!("sip:+2167000000{call}@example.com"),
            source: String::new(),
            user_agent: String::new(),
        };
        conduct.handle_event(wall, &started);
    }
    let mut lab = crate::lab::Lab::new(1);
    lab.shards[0].follow_standings(conduct.standings());
    lab.user("user2", &[2]);
    let number = "sip:+21670000009@example.com";
    lab.invite_with(1, "user1", number, crate::lab::with_sdp);
    lab.find(1, "404");
    lab.invite_with(3, "user1", number, crate::lab::with_sdp);
    let refused = lab.find(3, "503");
    assert_eq!(refused.reason(), b"Calls To Numbers Are Limited");
    assert!(refused.header(sip::HeaderName::RETRY_AFTER).is_some());
    assert_eq!(lab.shards[0].counters().calls_held, 1);
    lab.invite_with(4, "user1", crate::talk::BOB, crate::lab::with_sdp);
    lab.find(2, "INVITE");
    lab.invite_with(5, "user3", number, crate::lab::with_sdp);
    lab.find(5, "404");
}

#[test]
fn r2_9_keys_never_travel_in_clear_unless_somebody_allows_it() {
    let call = |allowed: bool, sdp: &'static str| {
        let config = Config { keys_in_clear: allowed, ..Config::default() };
        let mut lab = Lab::with(1, config);
        lab.user("user2", &[2]);
        lab.invite_with(1, "user1", BOB, |auth| body(auth, sdp));
        lab
    };
    let mut insisting = call(false, SAVP);
    let refused = insisting.find(1, "488");
    assert_eq!(refused.reason(), b"Encrypted Signalling Required");
    assert!(text(refused.header(HeaderName::from("Warning"))).contains("TLS"));
    assert!(insisting.is_empty(2) && insisting.relay_log.is_empty(), "no media, not even a port");
    assert_eq!(insisting.ended(), ["failed"]);
    insisting.assert_nothing_left();
    let mut offering = call(false, OSRTP);
    let invite = offering.find(2, "INVITE");
    assert!(!text(Some(invite.body())).contains("crypto"), "{}", text(Some(invite.body())));
    offering.send(2, respond(2, &invite, 200, true));
    assert!(text(Some(offering.find(1, "200").body())).contains("answer-1-Plain"));
    for sdp in [SAVP, OSRTP] {
        let invite = call(true, sdp).find(2, "INVITE");
        assert!(text(Some(invite.body())).contains("crypto"));
    }
}

#[test]
fn r2_9_an_attacker_who_strips_the_keys_ends_the_call_and_hears_nothing() {
    // In the offer.
    let mut stripped = lab(MediaEncryption::Required);
    let without: &'static str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";
    stripped.invite_with(1, "user1", BOB, |auth| body(auth, without));
    assert_eq!(stripped.find(1, "488").reason(), b"Encrypted Media Required");
    assert!(stripped.is_empty(2) && stripped.relay_log.is_empty());
    // In the answer: the relay takes no answer in clear to an offer with keys.
    let mut answered = lab(MediaEncryption::Required);
    answered.world().transports.insert(2, Transport::Tls);
    answered.world().media.insert(2, MediaProfile::Sdes);
    answered.invite_with(1, "user1", BOB, |auth| body(auth, SAVP));
    let invite = answered.find(2, "INVITE");
    answered.refuse_answers = true;
    answered.send(2, respond(2, &invite, 200, true));
    answered.find(2, "ACK");
    answered.find(2, "BYE");
    answered.find(1, "488");
    assert_eq!(answered.ended(), ["failed"]);
    answered.assert_nothing_left();
}

#[test]
fn r2_9_sips_is_not_answered_by_sip() {
    let mut downgraded = lab(MediaEncryption::Required);
    downgraded.world().transports.clear();
    downgraded.invite_with(1, "user1", "sips:user2@example.com", |auth| body(auth, AVP));
    assert_eq!(downgraded.find(1, "480").status(), Some(480));
    assert!(downgraded.is_empty(2), "not over UDP, whatever the caller came by");
}
