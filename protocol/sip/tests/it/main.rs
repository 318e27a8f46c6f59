//! What strangers may send: the torture messages of RFC 4475 and RFC 5118, smuggling, and chaos.

mod frugal;
mod models;
mod properties;
mod rfc4475;
mod rfc5118;
mod smuggling;
mod tolerance;

use std::path::PathBuf;

/// The bytes of one vector, `rfc/name`.
#[expect(clippy::disallowed_methods, reason = "vectors are files")]
fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    std::fs::read(path.with_extension("dat")).unwrap_or_else(|e| panic!("{name}: {e}"))
}
