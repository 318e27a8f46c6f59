//! Peers as they are configured.

use super::*;
use serde::Deserialize;

fn read(text: &str) -> Result<Peers, PeerError> {
    #[derive(Deserialize)]
    struct File {
        peer: Vec<PeerConfig>,
    }
    let file: File = toml::from_str(text).unwrap();
    Peers::new(&file.peer, &BTreeMap::new())
}

fn one(rest: &str) -> Result<Peers, PeerError> {
    read(&format!("[[peer]]\nname = \"a\"\naddress = \"192.0.2.9:5070\"\n{rest}"))
}

#[test]
fn r2_6_a_peer_is_known_by_where_it_sends_from() {
    let peers = read(
        "[[peer]]\nname = \"carrier\"\naddress = \"sbc.example.net\"\n\
         sources = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n\
         [[peer]]\nname = \"gateway\"\naddress = \"198.51.100.7:5062\"\n\
         [[peer]]\nname = \"half\"\naddress = \"h.example\"\nsources = [\"198.51.100.128/25\"]\n",
    )
    .unwrap();
    let from = |ip: &str| {
        let number = peers.by_source(ip.parse().unwrap())?;
        peers.get(number).map(|p| p.name.as_str())
    };
    assert_eq!(from("198.51.100.1"), Some("carrier"));
    assert_eq!(from("198.51.100.7"), Some("gateway"), "one address goes before its net");
    assert_eq!(from("198.51.100.200"), Some("half"), "the longer prefix");
    assert_eq!(from("::ffff:198.51.100.1"), Some("carrier"));
    assert_eq!(from("2001:db8:1::5"), Some("carrier"));
    assert_eq!(from("2001:db9::5"), None);
    assert_eq!(from("203.0.113.1"), None);
    let carrier = peers.get(0).unwrap();
    assert_eq!(peers.by_id(carrier.id), Some(0));
    assert_eq!(peers.by_id(1), None);
    assert!(carrier.hides && !carrier.keeps_privacy);
}

#[test]
fn r2_9_keys_do_not_travel_in_clear_unless_somebody_says_so() {
    let error = one("media = \"srtp\"\n").unwrap_err().to_string();
    assert!(error.contains("[[peer]] a: media") && error.contains("tls"), "{error}");
    assert!(one("media = \"srtp\"\nallow_keys_in_clear = true\n").is_ok());
    assert!(one("media = \"srtp\"\ntransport = \"tls\"\n").is_ok());
}

#[test]
fn a_peer_that_makes_no_sense_is_refused_with_its_field() {
    for (rest, says) in [
        ("zone = \"phone\"\ndomains = [\"a\"]\n", "zone phone is an access edge"),
        ("sources = [\"192.0.2.0/33\"]\n", "sources '192.0.2.0/33'"),
        ("responses = { \"200\" = \"stop\" }\n", "300 to 699"),
        ("responses = { \"404\" = \"perhaps\" }\n", "fail-over"),
        ("password = \"x\"\n", "username is missing"),
        ("identity = \"certificate\"\n", "needs transport = \"tls\""),
        ("identity = \"certificate\"\ntransport = \"tls\"\n", "set domain to the one"),
        ("profile = \"nothing\"\n", "nothing"),
        ("prefixes = [{ prefix = \"+4x\" }]\n", "digits"),
        ("prefixes = [{ prefix = \"0\", strip = 2 }]\n", "at most the prefix"),
    ] {
        let error = one(rest).unwrap_err().to_string();
        assert!(error.contains(says), "{rest}: {error}");
    }
    let twice =
        "[[peer]]\nname = \"a\"\naddress = \"b\"\n[[peer]]\nname = \"a\"\naddress = \"c\"\n";
    assert!(read(twice).unwrap_err().to_string().contains("used twice"));
}

#[test]
fn r2_10_a_peer_is_known_by_the_name_it_proved_and_by_its_sources_where_it_has_any() {
    let peers = read(
        "[[peer]]\nname = \"cloud\"\naddress = \"Cloud.example\"\ntransport = \"tls\"\n\
         identity = \"certificate\"\n\
         [[peer]]\nname = \"tight\"\naddress = \"192.0.2.9\"\ntransport = \"tls\"\n\
         identity = \"certificate\"\ndomain = \"tight.example\"\n\
         sources = [\"192.0.2.0/24\"]\n",
    )
    .unwrap();
    let by = |name: &str, ip: &str| peers.by_names(&[name.to_string()], ip.parse().unwrap());
    assert_eq!(by("cloud.example", "203.0.113.5"), Some(0));
    assert_eq!(by("other.example", "203.0.113.5"), None);
    assert_eq!(by("tight.example", "192.0.2.77"), Some(1));
    assert_eq!(by("tight.example", "203.0.113.5"), None);
    assert!(peers.have_certificates());
    assert_eq!(peers.get(1).unwrap().ask.server_name(), "tight.example");
    let twice = "[[peer]]\nname = \"a\"\naddress = \"x.example\"\ntransport = \"tls\"\n\
                 identity = \"certificate\"\n";
    let twice = format!("{twice}{}", twice.replace("\"a\"", "\"b\""));
    assert!(read(&twice).unwrap_err().to_string().contains("another peer's certificate"));
}
