use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::*;
use crate::event::MediaSummary;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("wb-spine-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn open(&self, config: SpineConfig) -> Spine {
        Spine::open(&self.0, config, at(1)).unwrap()
    }

    fn segments(&self) -> usize {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries
            .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "log"))
            .count()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(secs: u64) -> WallTime {
    WallTime::from_secs(secs)
}

fn write(spine: &Spine, event: Event) -> Result<u64, LogError> {
    let (done, written) = sync_channel(1);
    spine.emit_durable(at(9), event, move |r| done.send(r).unwrap());
    written.recv_timeout(Duration::from_secs(10)).unwrap()
}

fn ringing(spine: &Spine, calls: std::ops::Range<u64>) {
    for call in calls {
        write(spine, Event::CallRinging { call }).unwrap();
    }
}

fn calls(events: &[Arc<Envelope>]) -> Vec<u64> {
    let call = |e: &Arc<Envelope>| match e.event {
        Event::CallRinging { call } => Some(call),
        _ => None,
    };
    events.iter().filter_map(call).collect()
}

#[test]
fn events_survive_reopening_and_numbers_go_on() {
    let dir = Dir::new("reopen");
    let spine = dir.open(SpineConfig::default());
    ringing(&spine, 1..4);
    let (epoch, last) = (spine.epoch(), spine.last_seq());
    assert_eq!((spine.first_seq(), last), (1, 4));
    spine.stop();
    assert_eq!(write(&spine, Event::CallRinging { call: 9 }), Err(LogError::Closed));
    drop(spine);
    let spine = dir.open(SpineConfig::default());
    assert_eq!((spine.epoch(), spine.first_seq()), (epoch, 5));
    let mut all = spine.consumer("a", 0).unwrap();
    let events = all.read_ready(100).unwrap();
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(calls(&events), [1, 2, 3]);
    let mut some = spine.consumer("b", 3).unwrap();
    assert_eq!(some.read_ready(1).unwrap()[0].seq, 4);
    assert_eq!(some.read_ready(9).unwrap()[0].seq, 5);
    assert!(some.read_ready(9).unwrap().is_empty());
}

#[test]
fn one_process_has_the_folder() {
    let dir = Dir::new("lock");
    let _spine = dir.open(SpineConfig::default());
    let second = Spine::open(&dir.0, SpineConfig::default(), at(1));
    assert!(matches!(second, Err(LogError::InUse { .. })));
}

#[test]
fn segments_roll_and_go_when_every_consumer_has_passed() {
    let dir = Dir::new("roll");
    let config = SpineConfig { segment_bytes: 500, ..SpineConfig::default() };
    let spine = dir.open(config.clone());
    let mut fast = spine.consumer("fast", 0).unwrap();
    let slow = spine.consumer("slow", 0).unwrap();
    ringing(&spine, 0..60);
    assert!(dir.segments() > 5);
    let mut seen = Vec::new();
    loop {
        let batch = fast.read_ready(7).unwrap();
        if batch.is_empty() {
            break;
        }
        seen.extend(calls(&batch));
    }
    assert_eq!(seen, (0..60).collect::<Vec<_>>());
    fast.commit(fast.position());
    assert!(dir.segments() > 5, "slow still needs them");
    slow.commit(30);
    let kept = dir.segments();
    slow.commit(fast.position());
    assert!(dir.segments() < kept);
    assert_eq!(dir.segments(), 1);
    drop((fast, slow, spine));
    let spine = dir.open(config);
    assert_eq!(spine.first_seq(), 62);
    ringing(&spine, 60..90);
    assert!(dir.segments() > 2, "both consumers are remembered");
}

#[test]
fn a_full_backlog_names_the_consumer_that_is_stuck() {
    let dir = Dir::new("backlog");
    let config = SpineConfig { segment_bytes: 300, log_bytes: 2000, ..SpineConfig::default() };
    let spine = dir.open(config);
    ringing(&spine, 0..100);
    assert!(dir.segments() < 12, "without consumers the oldest go");
    let stuck = spine.consumer("stuck", spine.last_seq()).unwrap();
    let refused = (0..100).find_map(|call| write(&spine, Event::CallRinging { call }).err());
    assert!(matches!(refused, Some(LogError::Backlog { consumer, .. }) if consumer == "stuck"));
    stuck.commit(spine.last_seq());
    ringing(&spine, 0..1);
}

#[tokio::test]
async fn consumers_wake_and_end_with_the_spine() {
    let dir = Dir::new("wake");
    let spine = dir.open(SpineConfig::default());
    let mut consumer = spine.consumer("records", spine.last_seq()).unwrap();
    let emitter = spine.clone();
    let thread = std::thread::spawn(move || {
        emitter.emit(at(1), Event::CallRinging { call: 7 });
        emitter.stop();
    });
    assert_eq!(calls(&consumer.next_batch(10).await.unwrap().unwrap()), [7]);
    assert_eq!(consumer.next_batch(10).await.unwrap(), None);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_slow_subscriber_loses_events_and_knows_how_many() {
    let dir = Dir::new("lag");
    let spine = dir.open(SpineConfig { subscriber_queue: 4, ..SpineConfig::default() });
    let mut slow = spine.subscribe();
    ringing(&spine, 0..20);
    let first = slow.next().await.unwrap();
    assert_eq!(first.event, Event::CallRinging { call: 16 });
    assert_eq!(slow.lagged(), 16);
    let transient = Event::AuthFailed {
        realm: "r".into(),
        user: "u".into(),
        source: "s".into(),
        method: "REGISTER".into(),
    };
    let seq = spine.last_seq();
    assert_eq!(write(&spine, transient.clone()), Ok(0));
    assert_eq!(spine.last_seq(), seq, "not kept");
    while let Some(event) = slow.try_next() {
        if event.event == transient {
            return;
        }
    }
    panic!("the transient event did not arrive");
}

#[tokio::test]
async fn who_follows_durable_kinds_makes_nobody_tell_the_others() {
    let dir = Dir::new("kept");
    let spine = dir.open(SpineConfig::default());
    let mut kept = spine.follow_kept();
    assert!(!spine.has_subscribers());
    let page = spine.subscribe();
    assert!(spine.has_subscribers());
    let fleeting = Event::AuthFailed {
        realm: "r".into(),
        user: "u".into(),
        source: "s".into(),
        method: "REGISTER".into(),
    };
    assert_eq!(write(&spine, fleeting), Ok(0));
    ringing(&spine, 7..9);
    assert!(kept.wait().await);
    assert_eq!(calls(&kept.take()), [7, 8], "one bunch, nothing that is not kept");
    assert!(kept.take().is_empty());
    drop(page);
    assert!(!spine.has_subscribers());
    spine.stop();
    assert!(!kept.wait().await);
}

#[test]
fn memory_holds_what_somebody_has_yet_to_read() {
    let dir = Dir::new("tail");
    let spine = dir.open(SpineConfig::default());
    let in_memory = || spine.shared.segments.first_in_memory();
    ringing(&spine, 0..10);
    assert_eq!(in_memory(), None, "nobody reads along");
    let mut records = spine.consumer("records", spine.last_seq()).unwrap();
    let mut follower = spine.follow_kept();
    let first = spine.last_seq() + 1;
    ringing(&spine, 10..20);
    assert_eq!(calls(&records.read_ready(5).unwrap()), (10..15).collect::<Vec<_>>());
    assert_eq!(in_memory(), Some(first), "the follower has read nothing");
    assert_eq!(follower.take().len(), 10);
    assert_eq!(in_memory(), Some(first + 5));
    drop(records);
    assert_eq!(in_memory(), None);
}

/// A callback may itself emit: nobody holds the writer while it runs.
#[test]
fn who_is_told_may_emit() {
    let dir = Dir::new("again");
    let spine = dir.open(SpineConfig::default());
    let again = spine.clone();
    spine.emit_durable(at(1), Event::CallRinging { call: 1 }, move |_| {
        again.emit(at(2), Event::CallRinging { call: 2 });
    });
    assert_eq!(spine.last_seq(), 3);
}

#[test]
fn figures_that_json_cannot_write_do_not_cost_the_event() {
    let dir = Dir::new("nan");
    let spine = dir.open(SpineConfig::default());
    let caller = MediaSummary { jitter_ms: f64::NAN, ..MediaSummary::default() };
    let callee = MediaSummary::default();
    let cause = "bye".to_owned();
    let by = crate::EndedBy::Caller;
    let ended =
        Event::CallEnded { call: u64::MAX, cause, status: 200, q850: 16, by, caller, callee };
    write(&spine, ended).unwrap();
    let events = spine.consumer("x", 1).unwrap().read_ready(9).unwrap();
    assert!(matches!(events[0].event, Event::CallEnded { call: u64::MAX, .. }));
}

#[test]
fn entries_too_long_for_a_frame_are_refused_alone() {
    let dir = Dir::new("long");
    let spine = dir.open(SpineConfig::default());
    let codecs = vec!["x".repeat(crate::frame::MAX_PAYLOAD)];
    let long = write(&spine, Event::CallAnswered { call: 1, codecs });
    assert_eq!(long, Err(LogError::TooLong));
    assert_eq!(write(&spine, Event::CallRinging { call: 1 }), Ok(2));
}

/// A log of the version before is read after an upgrade.
#[test]
fn an_end_that_names_no_cause_is_still_an_end() {
    let side = r#"{"codec":"","packets":0,"lost":0,"jitter_ms":0.0,"bytes":0}"#;
    let old = format!(
        r#"{{"kind":"call-ended","call":1,"cause":"bye","status":200,"caller":{side},"callee":{side}}}"#
    );
    let Event::CallEnded { q850, by, .. } = serde_json::from_str(&old).unwrap() else {
        panic!("another event");
    };
    assert_eq!((q850, by), (0, crate::EndedBy::Unknown));
}
