//! Writing messages.

use super::algorithms::{Algorithm, AuthTag, Choice, Cipher, HASH, KeyAgreement, SasType};
use super::keys::mac64;
use super::{PingAck, Secrets, Zid};

/// The version we speak.
pub(super) const VERSION: [u8; 4] = *b"1.10";

/// What is said in a Hello, beside what all of ours say.
pub(super) struct HelloParts {
    pub client: [u8; 16],
    pub h3: [u8; 32],
    pub zid: Zid,
    pub mitm: bool,
    pub agreements: Vec<KeyAgreement>,
}

/// A message that carries its type alone.
pub(super) fn bare(kind: &[u8; 8]) -> Vec<u8> {
    finish(begin(kind))
}

pub(super) fn hello(parts: &HelloParts, h2: &[u8; 32]) -> Vec<u8> {
    let mut out = begin(b"Hello   ");
    out.extend(VERSION);
    out.extend(parts.client);
    out.extend(parts.h3);
    out.extend(parts.zid.0);
    let counts =
        [Cipher::ALL.len(), AuthTag::ALL.len(), parts.agreements.len(), SasType::ALL.len()];
    let [ciphers, tags, agreements, strings] = counts.map(|n| n as u8);
    out.extend([u8::from(parts.mitm) << 5, 1, ciphers << 4 | tags, agreements << 4 | strings]);
    out.extend(HASH);
    names::<Cipher>(&mut out);
    names::<AuthTag>(&mut out);
    parts.agreements.iter().for_each(|a| out.extend(a.code()));
    names::<SasType>(&mut out);
    finish_with_code(out, h2)
}

pub(super) fn commit(
    (h2, h1): (&[u8; 32], &[u8; 32]),
    zid: Zid,
    choice: &Choice,
    hvi: &[u8; 32],
) -> Vec<u8> {
    let mut out = begin(b"Commit  ");
    out.extend(h2);
    out.extend(zid.0);
    out.extend(HASH);
    out.extend(choice.cipher.code());
    out.extend(choice.tag.code());
    out.extend(choice.agreement.code());
    out.extend(choice.sas.code());
    out.extend(hvi);
    finish_with_code(out, h1)
}

pub(super) fn dh_part(
    kind: &[u8; 8],
    (h1, h0): (&[u8; 32], &[u8; 32]),
    secrets: &Secrets,
    public_value: &[u8],
) -> Vec<u8> {
    let mut out = begin(kind);
    out.extend(h1);
    [secrets.rs1, secrets.rs2, secrets.aux, secrets.pbx].iter().for_each(|id| out.extend(id));
    out.extend(public_value);
    finish_with_code(out, h0)
}

pub(super) fn confirm(kind: &[u8; 8], mac: [u8; 8], iv: [u8; 16], sealed: &[u8]) -> Vec<u8> {
    let mut out = begin(kind);
    out.extend(mac);
    out.extend(iv);
    out.extend(sealed);
    finish(out)
}

pub(super) fn error(code: u32) -> Vec<u8> {
    let mut out = begin(b"Error   ");
    out.extend(code.to_be_bytes());
    finish(out)
}

pub(super) fn ping_ack(answer: &PingAck) -> Vec<u8> {
    let mut out = begin(b"PingACK ");
    out.extend(VERSION);
    out.extend(answer.endpoint);
    out.extend(answer.pinger);
    out.extend(answer.ssrc.to_be_bytes());
    finish(out)
}

fn begin(kind: &[u8; 8]) -> Vec<u8> {
    let mut out = vec![0x50, 0x5a, 0, 0];
    out.extend(kind);
    out
}

fn names<A: Algorithm>(out: &mut Vec<u8>) {
    A::ALL.iter().for_each(|a| out.extend(a.code()));
}

/// The code covers the length, so it is written first.
fn finish_with_code(mut out: Vec<u8>, image: &[u8; 32]) -> Vec<u8> {
    write_len(&mut out, 8);
    let code = mac64(image, &[&out]);
    out.extend(code);
    out
}

fn finish(mut out: Vec<u8>) -> Vec<u8> {
    write_len(&mut out, 0);
    out
}

fn write_len(out: &mut [u8], more: usize) {
    let words = ((out.len() + more) / 4) as u16;
    out[2..4].copy_from_slice(&words.to_be_bytes());
}
