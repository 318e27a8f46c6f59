//! Making and checking certificate fingerprints (RFC 8122 §5).

use aws_lc_rs::digest;
use sdp::Fingerprint;

/// The SHA-256 fingerprint of a DER certificate.
pub fn fingerprint_of(certificate: &[u8]) -> Fingerprint {
    let digest = digest::digest(&digest::SHA256, certificate).as_ref().to_vec();
    Fingerprint { hash: "sha-256".to_owned(), digest }
}

/// Whether `print` is a fingerprint of `certificate`. MD2, MD5 and what we do not know never fit
/// (RFC 8122 §5).
pub fn fingerprint_fits(print: &Fingerprint, certificate: &[u8]) -> bool {
    let algorithm = match print.hash.as_str() {
        "sha-1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha-256" => &digest::SHA256,
        "sha-384" => &digest::SHA384,
        "sha-512" => &digest::SHA512,
        _ => return false,
    };
    digest::digest(algorithm, certificate).as_ref() == print.digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_fits_its_certificate_only() {
        let print = fingerprint_of(b"certificate");
        assert!(fingerprint_fits(&print, b"certificate"));
        assert!(!fingerprint_fits(&print, b"another"));
        assert_eq!(Fingerprint::parse(&print.to_string()), Some(print.clone()));
        let md5 = Fingerprint { hash: "md5".to_owned(), ..print };
        assert!(!fingerprint_fits(&md5, b"certificate"));
    }
}
