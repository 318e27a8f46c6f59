//! How long one G.711 packet of 20 ms takes to protect and to open, on the processor as it is:
//! Callgrind hides its SHA and wide AES instructions, so that its counts say nothing about the time.
//!
//! Prints nanoseconds, the best and the median of many short runs. Run it alone on the machine:
//! `cargo bench --manifest-path protocol/rtp/benches/Cargo.toml --bench time`.

use std::hint::black_box;
use std::time::Instant;

use rtp::srtp::{KeyMaterial, SrtpContext, Suite};

const PACKETS: u32 = 20_000;
const RUNS: usize = 25;
/// Header and 160 bytes of G.711.
const LEN: usize = 172;

fn main() {
    println!("{:<26}{:>22}{:>22}", "suite", "protect ns (median)", "unprotect ns (median)");
    for suite in Suite::ALL {
        let mut runs: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            let [sealed, opened] = run(suite);
            runs[0].push(sealed);
            runs[1].push(opened);
        }
        let [protect, unprotect] = runs.map(|mut r| {
            r.sort_by(f64::total_cmp);
            format!("{:.0} ({:.0})", r[0], r[r.len() / 2])
        });
        println!("{:<26}{protect:>22}{unprotect:>22}", suite.name());
    }
}

/// Nanoseconds of one protection and one opening.
fn run(suite: Suite) -> [f64; 2] {
    let keys = KeyMaterial::new(&vec![3; suite.key_len()], &vec![4; suite.salt_len()]);
    let context = || SrtpContext::new(suite, &keys).expect("keys of the right length");
    let (mut sender, mut receiver) = (context(), context());
    let mut packets: Vec<([u8; 256], usize)> = (0..PACKETS).map(packet).collect();
    let each = |total: std::time::Duration| total.as_nanos() as f64 / f64::from(PACKETS);
    let start = Instant::now();
    for (buf, len) in &mut packets {
        *len = sender.protect_rtp(black_box(buf), *len).expect("a fresh index");
    }
    let sealed = each(start.elapsed());
    let start = Instant::now();
    for (buf, len) in &mut packets {
        *len = receiver.unprotect_rtp(black_box(buf), *len).expect("an authentic packet");
    }
    [sealed, each(start.elapsed())]
}

fn packet(n: u32) -> ([u8; 256], usize) {
    let mut buf = [0x55; 256];
    let (sequence, timestamp) = (n as u16, n * 160);
    let header =
        rtp::Header { payload_type: 0, sequence, timestamp, ssrc: 0x1234_5678, marker: false };
    rtp::write_header(&mut buf, &header).expect("room for a header");
    (buf, LEN)
}
