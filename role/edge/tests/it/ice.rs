//! Whose offers must speak ICE (R6.3): `[[edge.ice]]`.

use crate::lab::{Lab, respond, text};
use crate::policy::body;
use crate::talk::BOB;
use edge::{Config, ConfigError, IceRule, MediaAnchor};
use sip::HeaderName;

const PLAIN: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";
const ICE: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789\r\n\
    a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\r\n";

fn lab(rules: &[&str]) -> Lab {
    let ice: Vec<IceRule> = rules.iter().map(|text| toml::from_str(text).unwrap()).collect();
    let anchor = MediaAnchor::WhenNeeded;
    let mut lab = Lab::with(1, Config { ice, media_anchor: anchor, ..Config::default() });
    lab.user("user2", &[2]);
    lab
}

#[test]
fn r6_3_an_offer_without_candidates_is_refused_or_anchored_as_the_rule_says() {
    let tenant = "tenant = \"example.com\"\nwithout = ";
    let user = "tenant = \"example.com\"\nuser = \"user1\"\nwithout = ";
    for (rules, sdp, refused, anchored) in [
        (vec![], PLAIN, false, false),
        (vec![format!("{tenant}\"refuse\"")], PLAIN, true, false),
        (vec![format!("{tenant}\"refuse\"")], ICE, false, false),
        (vec![format!("{tenant}\"relay\"")], PLAIN, false, true),
        (vec![format!("{tenant}\"relay\"")], ICE, false, false),
        (vec!["without = \"refuse\"".to_owned(), format!("{user}\"relay\"")], PLAIN, false, true),
        (vec!["tenant = \"other.example\"\nwithout = \"refuse\"".to_owned()], PLAIN, false, false),
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let mut lab = lab(&rules);
        lab.invite_with(1, "user1", BOB, |auth| body(auth, sdp));
        if refused {
            let refusal = lab.find(1, "488");
            assert_eq!(text(Some(refusal.reason())), "ICE Required");
            let warning = text(refusal.header(HeaderName::from("Warning")));
            assert!(warning.contains("[[edge.ice]]"), "{warning}");
            assert!(lab.is_empty(2) && lab.relay_log.is_empty(), "no media, not even a port");
            lab.assert_nothing_left();
            continue;
        }
        let invite = lab.find(2, "INVITE");
        assert_eq!(!lab.relay_log.is_empty(), anchored, "{rules:?} {sdp}");
        lab.send(2, respond(2, &invite, 200, true));
        lab.find(1, "200");
    }
}

#[test]
fn r6_3_an_ice_rule_that_makes_no_sense_is_refused_at_the_start() {
    let rule: IceRule = toml::from_str("user = \"alice\"\nwithout = \"relay\"").unwrap();
    let error = Config { ice: vec![rule], ..Config::default() }.check().unwrap_err();
    assert!(matches!(error, ConfigError::Ice { number: 1, field: "user", .. }), "{error}");
    assert!(error.to_string().contains("[[edge.ice]] number 1: user needs the tenant"), "{error}");
    let wrong: Result<IceRule, _> = toml::from_str("without = \"hope\"");
    assert!(wrong.unwrap_err().to_string().contains("expected `refuse` or `relay`"));
}
