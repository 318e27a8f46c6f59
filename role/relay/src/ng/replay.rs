//! Answers to requests that may come again: UDP loses, and a controller that hears nothing repeats
//! its request with the same cookie.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A controller gives up before this.
const KEPT: Duration = Duration::from_secs(10);
/// Answers kept; beyond it the oldest go first.
const ANSWERS_MAX: usize = 20_000;

/// The latest answers by their cookies.
#[derive(Debug, Default)]
pub struct Replay {
    answers: HashMap<Bytes, Bytes>,
    order: VecDeque<(Instant, Bytes)>,
}

impl Replay {
    /// The answer a cookie had.
    pub fn find(&mut self, now: Instant, cookie: &[u8]) -> Option<Bytes> {
        self.forget(now);
        self.answers.get(cookie).cloned()
    }

    /// Keeps an answer.
    pub fn keep(&mut self, now: Instant, cookie: &[u8], answer: Bytes) {
        self.forget(now);
        let cookie = Bytes::copy_from_slice(cookie);
        if self.answers.insert(cookie.clone(), answer).is_none() {
            self.order.push_back((now, cookie));
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((since, cookie)) = self.order.front() {
            if now < *since + KEPT && self.order.len() < ANSWERS_MAX {
                return;
            }
            self.answers.remove(cookie);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_ten_seconds_and_the_oldest_goes_when_there_are_too_many() {
        let (mut replay, now) = (Replay::default(), Instant::now());
        replay.keep(now, b"1_a", Bytes::from("x"));
        assert_eq!(replay.find(now + KEPT - Duration::from_millis(1), b"1_a"), Some("x".into()));
        assert_eq!(replay.find(now + KEPT, b"1_a"), None);
        for n in 0..ANSWERS_MAX + 5 {
            replay.keep(now, format!("{n}").as_bytes(), Bytes::new());
        }
        assert!(replay.answers.len() <= ANSWERS_MAX && replay.order.len() == replay.answers.len());
        assert_eq!(replay.find(now, b"0"), None);
    }
}
