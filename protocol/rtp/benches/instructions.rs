//! How many instructions SRTP takes for a G.711 packet of 20 ms, counted by Callgrind: no clock, so
//! a busy machine counts the same. Above its limit a row fails `make test`.
//!
//! A limit is the count of the commit that last changed it, and 3 %. Lower it when the count falls.
//! Counts are those of x86-64 with AES-NI and AVX2; Debian's valgrind hides AVX-512 and the SHA
//! instructions from what it runs, so that HMAC-SHA1 counts much more than where they are: see
//! `time.rs` for the time.

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use rtp::srtp::{KeyMaterial, SrtpContext, Suite};

/// Header and 160 bytes of G.711.
const LEN: usize = 172;

/// A packet on its way, and the context it meets.
struct Work {
    context: SrtpContext,
    buf: [u8; 256],
    len: usize,
}

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    config.tool(callgrind);
    config
}

fn context(suite: Suite) -> SrtpContext {
    let keys = KeyMaterial::new(&vec![3; suite.key_len()], &vec![4; suite.salt_len()]);
    SrtpContext::new(suite, &keys).expect("keys of the right length")
}

fn clear(sequence: u16) -> [u8; 256] {
    let mut buf = [0x55; 256];
    let header = rtp::Header { payload_type: 0, sequence, timestamp: 1, ssrc: 7, marker: false };
    rtp::write_header(&mut buf, &header).expect("room for a header");
    buf
}

/// The second packet of a stream: what is done once is done.
fn to_protect(suite: Suite) -> Work {
    let mut context = context(suite);
    context.protect_rtp(&mut clear(1), LEN).expect("a fresh index");
    Work { context, buf: clear(2), len: LEN }
}

fn to_open(suite: Suite) -> Work {
    let mut sender = context(suite);
    let mut receiver = context(suite);
    let (mut first, mut second) = (clear(1), clear(2));
    let len = sender.protect_rtp(&mut first, LEN).expect("a fresh index");
    receiver.unprotect_rtp(&mut first, len).expect("an authentic packet");
    let len = sender.protect_rtp(&mut second, LEN).expect("a fresh index");
    Work { context: receiver, buf: second, len }
}

fn protect(work: &mut Work) -> usize {
    work.context.protect_rtp(&mut work.buf, work.len).expect("a fresh index")
}

fn unprotect(work: &mut Work) -> usize {
    work.context.unprotect_rtp(&mut work.buf, work.len).expect("an authentic packet")
}

// What is worked on is given back, so that nothing is freed inside of the count.
#[library_benchmark(config = at_most(4_760))]
#[bench::g711(to_protect(Suite::AesCm128HmacSha1_80))]
fn protect_cm_80(mut work: Work) -> (Work, usize) {
    let len = protect(&mut work);
    (work, len)
}

#[library_benchmark(config = at_most(4_820))]
#[bench::g711(to_open(Suite::AesCm128HmacSha1_80))]
fn unprotect_cm_80(mut work: Work) -> (Work, usize) {
    let len = unprotect(&mut work);
    (work, len)
}

#[library_benchmark(config = at_most(1_615))]
#[bench::g711(to_protect(Suite::AeadAes128Gcm))]
fn protect_gcm(mut work: Work) -> (Work, usize) {
    let len = protect(&mut work);
    (work, len)
}

#[library_benchmark(config = at_most(1_662))]
#[bench::g711(to_open(Suite::AeadAes128Gcm))]
fn unprotect_gcm(mut work: Work) -> (Work, usize) {
    let len = unprotect(&mut work);
    (work, len)
}

library_benchmark_group!(
    name = packet,
    benchmarks = [protect_cm_80, unprotect_cm_80, protect_gcm, unprotect_gcm]
);
main!(library_benchmark_groups = packet);
