//! Generous bounds: they catch a quadratic, not a slow machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::*;

const PHONES: u64 = 100_000;

/// 100,000 bindings are written in groups and loaded again in about a second (unoptimised too).
#[test]
fn a_hundred_thousand_bindings_load_quickly() {
    let dir = Dir::new("speed");
    let location = open(&dir.0, config(2, u64::MAX));
    let answered = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    for user in 0..PHONES {
        let counter = Arc::clone(&answered);
        let shard = location.shard(user as usize % 2);
        shard.register(at(10), &request(user, 1, 3600), move |result| {
            result.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        });
        while user - answered.load(Ordering::Relaxed).min(user) > 20_000 {
            std::thread::yield_now();
        }
    }
    location.stop();
    assert_eq!(answered.load(Ordering::Relaxed), PHONES);
    let written = began.elapsed();
    let began = Instant::now();
    let location = open(&dir.0, config(2, u64::MAX));
    let loaded = began.elapsed();
    assert_eq!(location.loaded() as u64, PHONES);
    println!("written in {written:?}, loaded and snapshot in {loaded:?}");
    assert!(loaded < Duration::from_secs(10), "{loaded:?}");
    let bytes: usize = location.table().list(at(11), 1000).iter().map(|b| b.footprint()).sum();
    assert!(bytes / 1000 < 450, "{}", bytes / 1000);
}
