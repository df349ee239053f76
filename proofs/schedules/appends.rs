//! Appends of three threads at once, through rolls, panics and failed writes.

use super::{DIR, Ticking, append, check, config, open, quietly, values};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{Log, LogConfig, TimestampType};
use shuttle::thread;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Three threads append two batches each, of one, two and three records.
fn append_from_three(config: LogConfig) {
    let log = open(config);
    let threads: Vec<_> = [&["a"][..], &["b", "c"], &["d", "e", "f"]]
        .into_iter()
        .map(|batch| {
            let log = log.clone();
            thread::spawn(move || {
                [0, 1].map(|_| {
                    let (first, last) = append(&log, batch).unwrap();
                    assert_eq!(last - first + 1, batch.len() as u64);
                    // A thread that has appended a batch can read it.
                    assert!(log.offsets().end > last);
                    assert_eq!(log.get(first).unwrap().unwrap().value_str(), Some(batch[0]));
                    (first, batch)
                })
            })
        })
        .collect();
    let mut appended: Vec<_> =
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    appended.sort();
    let told: Vec<_> = appended
        .iter()
        .flat_map(|(first, batch)| (*first..).zip(batch.iter().map(|v| v.to_string())))
        .collect();
    assert_eq!(told, values(&log));
    assert_eq!(told.len(), 12);
    assert_eq!(log.offsets().end, 12);
    assert_eq!(log.verify().unwrap(), []);
}

#[test]
fn concurrent_appends_get_distinct_offsets() {
    check(|| append_from_three(config()));
}

#[test]
fn appends_get_distinct_offsets_across_rolls() {
    check(|| append_from_three(config().segment_bytes(200)));
}

#[test]
fn appends_get_distinct_offsets_with_append_time() {
    check(|| append_from_three(config().timestamp_type(TimestampType::LogAppendTime)));
}

#[test]
fn concurrent_appends_that_flush_are_durable() {
    check(|| append_from_three(config().flush_messages(1)));
}

/// Three threads append twice each, and one call of `fs` or of the clock panics or fails
/// meanwhile. Each append that returned an offset has its record there; each other append fails;
/// no thread hangs.
fn append_from_three_past_a_failure(log: &Log) {
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let log = log.clone();
            thread::spawn(move || {
                [0, 1].map(|count| {
                    let value = format!("{thread}:{count}");
                    let appended = catch_unwind(AssertUnwindSafe(|| log.append(value.as_str())));
                    appended.ok()?.ok().map(|offset| (offset, value))
                })
            })
        })
        .collect();
    let mut told: Vec<_> =
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).flatten().collect();
    told.sort();
    let there = values(&log);
    assert_eq!(
        there.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
        Vec::from_iter(0..there.len() as u64)
    );
    for appended in &told {
        assert!(there.contains(appended), "{appended:?} of {told:?} in {there:?}");
    }
    let once: BTreeSet<_> = there.iter().map(|(_, value)| value).collect();
    assert_eq!(once.len(), there.len(), "{there:?}");
    assert_eq!(log.verify().unwrap(), []);
}

#[test]
fn no_append_hangs_when_clock_panics() {
    quietly();
    check(|| {
        let clock = Arc::new(Ticking::default());
        let config = config().timestamp_type(TimestampType::LogAppendTime);
        let log = open(config.clock(clock.clone()));
        log.append("first").unwrap();
        // Any of the clock reads of the appends: before the lock is taken and while it is held.
        let at = 1 + shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..10);
        clock.panics_at.store(at, Ordering::SeqCst);
        append_from_three_past_a_failure(&log);
        clock.panics_at.store(0, Ordering::SeqCst);
        log.append("last").unwrap();
    });
}

#[test]
fn no_append_hangs_when_fs_panics() {
    quietly();
    check(|| {
        let fs = FaultFs::new(MemFs::new());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        log.append("first").unwrap();
        let nth = 1 + shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..4);
        let failing = fs.add_rule(
            Rule::new(Operation::Write, Fault::call(|_| panic!("the disk stands"))).nth(nth),
        );
        append_from_three_past_a_failure(&log);
        let panicked = fs.hit_count(failing) > 0;
        fs.clear_rules();
        // The write may be half done, so the log accepts no more.
        assert_eq!(log.append("last").is_ok(), !panicked);
    });
}

#[test]
fn no_append_hangs_when_write_fails() {
    check(|| {
        use std::io::ErrorKind::{Other, StorageFull};
        let mut chance = shuttle::rand::thread_rng();
        let fs = FaultFs::new(MemFs::new());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        log.append("first").unwrap();
        let full = shuttle::rand::Rng::r#gen(&mut chance);
        let kind = if full { StorageFull } else { Other };
        let nth = 1 + shuttle::rand::Rng::gen_range(&mut chance, 0..4);
        let failing = fs.add_rule(
            Rule::new(Operation::Write, Fault::PartialWrite { written: 70, kind }).nth(nth),
        );
        append_from_three_past_a_failure(&log);
        let failed = fs.hit_count(failing) > 0;
        fs.clear_rules();
        assert_eq!(log.append("last").is_ok(), full || !failed);
    });
}
