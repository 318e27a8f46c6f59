//! RFC 7616 §3.9, RFC 2617 §3.5, and headers as phones and servers write them.

use super::*;

const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

/// RFC 7616 §3.9.1: MD5 and SHA-256 for the same request.
#[test]
fn the_vectors_of_rfc_7616_hold() {
    let cases = [
        (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ];
    for (algorithm, want) in cases {
        let ha1 = ha1(algorithm, b"Mufasa", b"http-auth@example.org", b"Circle of Life");
        let auth = Some((CNONCE.as_bytes(), b"00000001".as_slice()));
        let (method, uri) = (b"GET".as_slice(), b"/dir/index.html".as_slice());
        let inputs = Inputs { algorithm, method, uri, nonce: NONCE.as_bytes(), auth };
        assert_eq!(response(&inputs, &ha1), want);
    }
}

/// The inputs of RFC 7616 §3.9.2. The RFC's own response cuts SHA-512 short instead of using
/// SHA-512/256, so the value here is OpenSSL's.
#[test]
fn sha_512_256_agrees_with_another_implementation() {
    let algorithm = Algorithm::Sha512_256;
    let user = "J\u{e4}s\u{f8}n Doe";
    let ha1 = ha1(algorithm, user.as_bytes(), b"api@example.org", b"Secret, or not?");
    let inputs = Inputs {
        algorithm,
        method: b"GET",
        uri: b"/doe.json",
        nonce: b"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        auth: Some((b"NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm", b"00000001")),
    };
    let want = "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c";
    assert_eq!(response(&inputs, &ha1), want);
}

/// RFC 2617 §3.5, without qop as RFC 2069 clients do it.
#[test]
fn without_qop_the_old_formula_applies() {
    let ha1 = ha1(Algorithm::Md5, b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
    assert_eq!(ha1, "939e7578ed9e3c518a452acee763bce9");
    let mut inputs = Inputs {
        algorithm: Algorithm::Md5,
        method: b"GET",
        uri: b"/dir/index.html",
        nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
        auth: Some((b"0a4f113b", b"00000001")),
    };
    assert_eq!(response(&inputs, &ha1), "6629fae49393a05397450978507c4ef1");
    inputs.auth = None;
    assert_eq!(response(&inputs, &ha1), "670fd8c2df070c60b045671b8b24ff02");
}

#[test]
fn what_a_phone_answers_the_server_accepts_and_nothing_else() {
    for algorithm in Algorithm::ALL {
        let built = ChallengeBuilder {
            realm: "ex\"ample, com",
            nonce: "n0nce",
            opaque: Some("op"),
            algorithm,
            stale: false,
        }
        .build();
        let challenge = Challenge::choose(challenges(built.as_bytes())).unwrap();
        assert_eq!(challenge.realm().as_ref(), b"ex\"ample, com");
        let ha1 = ha1(algorithm, b"al\"ice", &challenge.realm(), b"secret");
        let who = Answer {
            username: "al\"ice",
            ha1: &ha1,
            method: b"REGISTER",
            uri: b"sip:example.com",
            cnonce: "c",
            nc: 1,
        };
        let value = answer(&challenge, &who).unwrap();
        let credentials = Credentials::parse(value.as_bytes()).unwrap();
        assert_eq!(credentials.username().as_ref(), b"al\"ice");
        assert_eq!((credentials.nc(), credentials.opaque()), (Some(1), Some(b"op".as_slice())));
        assert!(verify(&credentials, b"REGISTER", &ha1));
        assert!(!verify(&credentials, b"INVITE", &ha1));
        assert!(!verify(&credentials, b"REGISTER", &ha1.replace('a', "b").replace('0', "1")));
        let cut = value.replace("qop=auth", "qop=auth-int");
        assert!(!verify(&Credentials::parse(cut.as_bytes()).unwrap(), b"REGISTER", &ha1));
    }
}

#[test]
fn several_challenges_of_one_value_are_told_apart() {
    let value = b"Digest realm=\"a, b\", nonce=\"1\", algorithm=NEW-1, qop=\"auth\" , \
        Basic realm=\"x\",Negotiate, Digest realm = \"c\",nonce=\"2\", qop=\"auth-int,auth\",stale=TRUE";
    let all: Vec<_> = challenges(value).collect();
    let schemes: Vec<_> = all.iter().map(|c| c.scheme()).collect();
    assert_eq!(schemes, [b"Digest".as_slice(), b"Basic", b"Negotiate", b"Digest"]);
    assert_eq!(all[0].realm().as_ref(), b"a, b");
    assert_eq!(all[0].algorithm(), None);
    let chosen = Challenge::choose(all).unwrap();
    assert_eq!((chosen.nonce(), chosen.is_stale()), (b"2".as_slice(), true));
    assert_eq!(chosen.algorithm(), Some(Algorithm::Md5));
}

#[test]
fn other_schemes_keep_their_parameters() {
    let bearer = Credentials::parse(b"Bearer eyJ.abc==").unwrap();
    assert!(!bearer.is_digest());
    assert_eq!(bearer.raw_params(), b"eyJ.abc==");
    assert!(Credentials::parse(b"\"").is_none());
    assert_eq!(challenges(b",, ,").count(), 0);
}
