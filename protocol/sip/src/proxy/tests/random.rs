//! Any order of events gives one outcome.

use std::time::Duration;

use proptest::prelude::*;

use super::Fork;
use crate::Method;

#[derive(Debug, Clone)]
enum Op {
    Add(u32),
    Promise(u32, u64),
    Fulfil(u32),
    Abandon(u32),
    Answer(u32, u16),
    TimedOut(u32),
    FlowFailed(u32),
    Cancel,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let id = || 0..6_u32;
    let status = prop::sample::select(&[100, 180, 200, 302, 401, 486, 503, 603][..]);
    prop_oneof![
        3 => id().prop_map(Op::Add),
        2 => (id(), 0..30_000_u64).prop_map(|(i, d)| Op::Promise(i, d)),
        2 => id().prop_map(Op::Fulfil),
        1 => id().prop_map(Op::Abandon),
        6 => (id(), status).prop_map(|(i, s)| Op::Answer(i, s)),
        1 => id().prop_map(Op::TimedOut),
        1 => id().prop_map(Op::FlowFailed),
        1 => Just(Op::Cancel),
        2 => (0..60_000_u64).prop_map(Op::Wait),
    ]
}

fn act(fork: &mut Fork, op: &Op) {
    let now = fork.now;
    match *op {
        // Refused or not: both are fine here.
        Op::Add(id) => _ = fork.context.add_branch(now, id),
        Op::Promise(id, ms) => {
            _ = fork.context.add_promised(id, now + Duration::from_millis(ms));
        }
        Op::Fulfil(id) => _ = fork.context.fulfil(now, &id),
        Op::Abandon(id) => fork.context.abandon(&id),
        Op::Answer(id, status) => {
            let message = fork.response(id, status).build();
            fork.context.handle_response(now, &id, message);
        }
        Op::TimedOut(id) => fork.context.handle_timed_out(&id),
        Op::FlowFailed(id) => fork.context.handle_flow_failed(&id),
        Op::Cancel => fork.context.handle_cancel(None),
        Op::Wait(ms) => {
            fork.now += Duration::from_millis(ms);
            fork.context.handle_timeout(fork.now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn one_outcome_whatever_happens(
        is_invite in any::<bool>(),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let method = if is_invite { Method::INVITE } else { Method::OPTIONS };
        let mut fork = Fork::new(method, 1);
        let mut seen = Vec::new();
        for op in &ops {
            act(&mut fork, op);
            seen.extend(fork.actions());
        }
        for id in 0..6 {
            fork.context.abandon(&id);
            fork.context.handle_timed_out(&id);
        }
        seen.extend(fork.actions());

        prop_assert_eq!(seen.iter().filter(|w| *w == "done").count(), 1, "{:?}", &seen);
        prop_assert!(fork.context.is_done() && fork.context.poll_timeout().is_none());
        let is_failure = |w: &&String| w.contains(" by ") && w.as_bytes()[0] >= b'3';
        let failures = seen.iter().filter(is_failure).count();
        let successes = seen.iter().filter(|w| w.starts_with("200 by")).count();
        prop_assert!(failures <= 1 && failures + successes >= 1, "{:?}", &seen);
        prop_assert!(is_invite || failures + successes == 1, "{:?}", &seen);
        let first_final = seen.iter().position(|w| w.contains(" by ") && !w.starts_with('1'));
        let last_provisional = seen.iter().rposition(|w| w.starts_with("180 by"));
        prop_assert!(last_provisional < first_final, "a 1xx behind the final: {:?}", &seen);
        let failed = seen.iter().position(|w| is_failure(&w));
        let succeeded = seen.iter().position(|w| w.starts_with("200 by"));
        if let (Some(failed), Some(succeeded)) = (failed, succeeded) {
            prop_assert!(failed < succeeded, "a failure behind a 2xx: {:?}", &seen);
        }
        // No branch is cancelled twice.
        let mut cancels: Vec<&String> = seen.iter().filter(|w| w.starts_with("cancel")).collect();
        let all = cancels.len();
        cancels.sort();
        cancels.dedup();
        prop_assert_eq!(cancels.len(), all);
    }
}
