//! Registrations that wait for one write: how a shard journals a batch of messages.

use registrar::RefusalReason;

use super::*;

const CHILD: &str = "WHIMBREL_TEST_LOCATION_STAGED";

type Outcome = (u64, Result<RegisterPlan, Refusal>);

fn flush(shard: &mut LocationShard) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    shard.flush(|token, result| outcomes.push((token, result)));
    outcomes
}

#[test]
fn a_staged_batch_is_told_in_order_and_comes_back_after_a_restart() {
    let dir = Dir::new("staged");
    let location = open(&dir.0, config(1, u64::MAX));
    let mut shard = location.shard(0);
    assert!(shard.can_stage());
    for user in 0..50 {
        let waits = shard.stage(at(10), &request(user, 1, 600), user).unwrap();
        assert!(waits.is_none(), "the answer waits for the write");
    }
    // In memory at once, in the journal not yet.
    assert_eq!(location.table().lookup(&aor(49), at(10)).len(), 1);
    let journal = dir.0.join("journal-0.log");
    let before = std::fs::metadata(&journal).unwrap().len();
    let outcomes = flush(&mut shard);
    assert!(std::fs::metadata(&journal).unwrap().len() > before + 50 * 100);
    assert!(outcomes.iter().map(|(token, _)| *token).eq(0..50));
    assert!(outcomes.iter().all(|(_, result)| result.as_ref().unwrap().bindings.len() == 1));
    assert!(!shard.has_staged() && flush(&mut shard).is_empty());
    // A query and a refusal wait for nothing.
    let mut query = request(1, 2, 0);
    query.contacts = Contacts::Query;
    assert_eq!(shard.stage(at(10), &query, 9).unwrap().unwrap().bindings.len(), 1);
    assert_eq!(shard.stage(at(10), &request(1, 2, 5), 9).unwrap_err().status(), 423);
    drop(shard);
    location.stop();
    assert_eq!(open(&dir.0, config(1, u64::MAX)).loaded(), 50);
}

#[test]
fn a_journal_that_waits_for_the_disk_stages_nothing_and_still_answers() {
    let dir = Dir::new("synced");
    let location = open(&dir.0, synced(FsyncPolicy::Always, 1, u64::MAX));
    let shard = location.shard(0);
    assert!(!shard.can_stage());
    assert_eq!(register(&shard, &request(1, 1, 600)).unwrap().bindings.len(), 1);
    drop(shard);
    location.stop();
    assert_eq!(open(&dir.0, config(1, u64::MAX)).loaded(), 1);
}

/// Not a story: runs under a file size limit set by the story below.
#[test]
fn child_that_stages_onto_a_full_disk() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let location = open(Path::new(&dir), config(1, u64::MAX));
    let mut shard = location.shard(0);
    let mut acknowledged = 0;
    let refused = loop {
        for user in acknowledged..acknowledged + 10 {
            // Twice in one batch: taken back, the earlier must not stay.
            shard.stage(at(10), &request(user, 1, 600), user).unwrap();
            shard.stage(at(10), &request(user, 2, 600), user).unwrap();
        }
        let outcomes = flush(&mut shard);
        match outcomes.iter().all(|(_, result)| result.is_ok()) {
            true => acknowledged += 10,
            false => break outcomes,
        }
        assert!(acknowledged < 100_000, "the limit does not work");
    };
    assert_eq!(refused.len(), 20);
    let is_full = |r: &Refusal| matches!(r.reason, RefusalReason::NotWritten(_));
    assert!(refused.iter().all(|(_, result)| result.as_ref().is_err_and(is_full)), "all or none");
    assert_eq!(location.table().len() as u64, acknowledged, "what was refused is taken back");
    println!("acknowledged {acknowledged}");
}

#[test]
fn a_batch_that_cannot_be_written_is_taken_back_as_a_whole() {
    let dir = Dir::new("staged-full");
    let acknowledged = on_a_full_disk("staged::child_that_stages_onto_a_full_disk", CHILD, &dir);
    assert!(acknowledged > 20);
    assert_eq!(open(&dir.0, config(1, u64::MAX)).loaded(), acknowledged);
}
