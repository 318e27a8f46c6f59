//! Digest access authentication: arithmetic, challenges, credentials (RFC 7616, RFC 8760).
//!
//! The server sends one [`ChallengeBuilder`] per algorithm, strongest first; the phone takes the
//! first one it can ([`Challenge::choose`]) and answers with [`answer`]; the server recomputes with
//! the HA1 it keeps ([`verify`]). Nonces, their life and replay (`nc`) are policy and live in
//! `edge`. `qop=auth` and none (RFC 2069) are understood; `auth-int` and `userhash` are not.

mod header;

use md5::Md5;
use sha2::digest::Output;
use sha2::{Sha256, Sha512_256};
use subtle::ConstantTimeEq;

pub use header::{Challenge, ChallengeBuilder, Credentials, challenges};

/// A digest algorithm, by RFC 7616 §3.3 and RFC 8760 §2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`: what every phone knows.
    Md5,
    /// `MD5-sess`.
    Md5Sess,
    /// `SHA-256`.
    Sha256,
    /// `SHA-256-sess`.
    Sha256Sess,
    /// `SHA-512-256`.
    Sha512_256,
    /// `SHA-512-256-sess`.
    Sha512_256Sess,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Md5,
        Self::Md5Sess,
        Self::Sha256,
        Self::Sha256Sess,
        Self::Sha512_256,
        Self::Sha512_256Sess,
    ];

    /// The token of the `algorithm` parameter.
    pub fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sha512_256 => "SHA-512-256",
            Self::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    /// Reads the token, without regard to case.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.token().as_bytes().eq_ignore_ascii_case(token))
    }

    /// Whether HA1 is bound to nonce and cnonce (RFC 7616 §3.4.2).
    pub fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512_256Sess)
    }

    /// The hash of `parts` joined by colons, in lower-case hex.
    fn hash(self, parts: &[&[u8]]) -> HexHash {
        match self {
            Self::Md5 | Self::Md5Sess => HexHash::new(&joined::<Md5>(parts)),
            Self::Sha256 | Self::Sha256Sess => HexHash::new(&joined::<Sha256>(parts)),
            Self::Sha512_256 | Self::Sha512_256Sess => HexHash::new(&joined::<Sha512_256>(parts)),
        }
    }
}

/// A hash in lower-case hex, without memory of its own.
#[derive(Clone, Copy)]
struct HexHash {
    digits: [u8; 64],
    len: usize,
}

impl HexHash {
    fn new(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Self { digits, len: 2 * bytes.len().min(32) }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    fn into_string(self) -> String {
        self.as_bytes().iter().map(|b| char::from(*b)).collect()
    }
}

/// `H(user:realm:password)` in hex: what a server keeps instead of the password. The same for an
/// algorithm and its `-sess` form.
pub fn ha1(algorithm: Algorithm, user: &[u8], realm: &[u8], password: &[u8]) -> String {
    algorithm.hash(&[user, realm, password]).into_string()
}

/// What goes into a response besides HA1.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The method of the request.
    pub method: &'a [u8],
    /// The `uri` parameter, as written.
    pub uri: &'a [u8],
    /// The server's nonce.
    pub nonce: &'a [u8],
    /// `cnonce` and the eight hex digits of `nc` for `qop=auth`; `None` without qop.
    pub auth: Option<(&'a [u8], &'a [u8])>,
}

/// The `response` parameter (RFC 7616 §3.4.1). `ha1` is that of [`ha1`], whatever the algorithm's
/// `-sess`.
pub fn response(inputs: &Inputs<'_>, ha1: &str) -> String {
    respond(inputs, ha1.as_bytes()).into_string()
}

fn respond(inputs: &Inputs<'_>, ha1: &[u8]) -> HexHash {
    let ha2 = inputs.algorithm.hash(&[inputs.method, inputs.uri]);
    respond_with(inputs, ha1, &ha2)
}

fn respond_with(inputs: &Inputs<'_>, ha1: &[u8], ha2: &HexHash) -> HexHash {
    let Inputs { algorithm, nonce, auth, .. } = *inputs;
    let cnonce = auth.map_or(b"".as_slice(), |(cnonce, _)| cnonce);
    let session = algorithm.is_session().then(|| algorithm.hash(&[ha1, nonce, cnonce]));
    let ha1 = session.as_ref().map_or(ha1, HexHash::as_bytes);
    let ha2 = ha2.as_bytes();
    match auth {
        Some((cnonce, nc)) => algorithm.hash(&[ha1, nonce, nc, cnonce, b"auth", ha2]),
        None => algorithm.hash(&[ha1, nonce, ha2]),
    }
}

/// Whether the credentials were made with the password behind `ha1`, in time that does not tell
/// how much of the response was right. False too for what we do not support: an unknown algorithm,
/// `auth-int`, `qop` without `cnonce` or `nc`.
pub fn verify(credentials: &Credentials<'_>, method: &[u8], ha1: &str) -> bool {
    verify_with(credentials, method, ha1.as_bytes(), &mut Ha2::default())
}

/// The hash of method and URI that was made last: phones of one domain register at one URI.
#[derive(Clone, Default)]
pub struct Ha2 {
    of: Option<(Algorithm, HexHash)>,
    method: Vec<u8>,
    uri: Vec<u8>,
}

impl std::fmt::Debug for Ha2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ha2(..)")
    }
}

impl Ha2 {
    fn of(&mut self, algorithm: Algorithm, method: &[u8], uri: &[u8]) -> HexHash {
        match self.of {
            Some((last, hash)) if last == algorithm && self.uri == uri && self.method == method => {
                hash
            }
            _ => {
                let hash = algorithm.hash(&[method, uri]);
                self.of = Some((algorithm, hash));
                self.method.clear();
                self.method.extend_from_slice(method);
                self.uri.clear();
                self.uri.extend_from_slice(uri);
                hash
            }
        }
    }
}

/// As [`verify`], for who verifies many.
pub fn verify_with(
    credentials: &Credentials<'_>,
    method: &[u8],
    ha1: &[u8],
    ha2: &mut Ha2,
) -> bool {
    let Some(algorithm) = credentials.algorithm() else { return false };
    let auth = match credentials.qop() {
        None => None,
        Some(qop) if qop.eq_ignore_ascii_case(b"auth") => {
            match (credentials.cnonce(), credentials.nc_text()) {
                (Some(cnonce), Some(nc)) => Some((cnonce, nc)),
                _ => return false,
            }
        }
        Some(_) => return false,
    };
    let (uri, nonce) = (credentials.uri(), credentials.nonce());
    let inputs = Inputs { algorithm, method, uri, nonce, auth };
    let want = respond_with(&inputs, ha1, &ha2.of(algorithm, method, uri));
    let given = credentials.response();
    let mut lower = [0; 64];
    let Some(lower) = lower.get_mut(..given.len()) else { return false };
    lower.copy_from_slice(given);
    lower.make_ascii_lowercase();
    lower.ct_eq(want.as_bytes()).into()
}

/// Who answers a challenge and for which request.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The user name, unescaped.
    pub username: &'a str,
    /// HA1 for the challenge's algorithm and realm.
    pub ha1: &'a str,
    /// The method of the request.
    pub method: &'a [u8],
    /// The Request-URI.
    pub uri: &'a [u8],
    /// A fresh client nonce, a token.
    pub cnonce: &'a str,
    /// How many requests used this nonce, from 1 on.
    pub nc: u32,
}

/// The value of an Authorization or Proxy-Authorization header that answers `challenge`; `None`
/// when its algorithm or qop is not ours ([`Challenge::is_supported`]).
pub fn answer(challenge: &Challenge<'_>, answer: &Answer<'_>) -> Option<String> {
    let algorithm = challenge.algorithm().filter(|_| challenge.is_supported())?;
    let nc = format!("{:08x}", answer.nc);
    let auth = challenge.offers_auth().then_some((answer.cnonce.as_bytes(), nc.as_bytes()));
    let Answer { method, uri, .. } = *answer;
    let nonce = challenge.nonce();
    let inputs = Inputs { algorithm, method, uri, nonce, auth };
    let response = response(&inputs, answer.ha1);
    let text = |bytes| String::from_utf8_lossy(bytes);
    let mut out = format!(
        "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\"",
        header::escape(answer.username),
        text(challenge.raw_realm()),
        text(nonce),
        text(uri),
    );
    out.push_str(&format!(", algorithm={}", algorithm.token()));
    if auth.is_some() || algorithm.is_session() {
        out.push_str(&format!(", cnonce=\"{}\"", answer.cnonce));
    }
    if auth.is_some() {
        out.push_str(&format!(", qop=auth, nc={nc}"));
    }
    if let Some(opaque) = challenge.opaque() {
        out.push_str(&format!(", opaque=\"{}\"", text(opaque)));
    }
    Some(out)
}

fn joined<D: sha2::Digest>(parts: &[&[u8]]) -> Output<D> {
    // Most fit into a few blocks: put together first, they are hashed in one go.
    let mut text = [0; 320];
    let len = parts.iter().map(|part| part.len() + 1).sum::<usize>().saturating_sub(1);
    if let Some(text) = text.get_mut(..len) {
        let mut at = 0;
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                text[at] = b':';
                at += 1;
            }
            text[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        return D::digest(&*text);
    }
    let mut hasher = D::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests;
