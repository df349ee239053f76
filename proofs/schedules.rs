//! The real log, on the file system in memory, under thousands of schedules.
//!
//! Every lock, atomic, condition variable and yield of the crate is shuttle's, including those of
//! [`MemFs`], so threads can switch between any two of them. A thread that waits forever is
//! reported as a deadlock. Each test runs `ANNALS_SCHEDULES` schedules, 200 by default: half of
//! them random, half with few switches at bad moments.
//!
//! `cargo test --manifest-path proofs/Cargo.toml` runs these tests and `orderings.rs`. A schedule
//! that fails is printed. To run it again, pass it in `ANNALS_SCHEDULE`, with the name of the test.

#![allow(dropping_copy_types, reason = "what an append answers is dropped")]

use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule, CrashState};
use annals::{
    CleanupPolicy, Clock, Error, Log, LogConfig, Maintainer, MaintainerConfig, Offset, ReadLimits,
    Record, StartAt, Timestamp, TimestampType,
};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DIR: &str = "t-0";

fn check(body: fn()) {
    if let Ok(schedule) = std::env::var("ANNALS_SCHEDULE") {
        return shuttle::replay(body, &schedule);
    }
    let schedules = std::env::var("ANNALS_SCHEDULES").map_or(200, |n| n.parse().unwrap());
    let mut config = shuttle::Config::new();
    config.stack_size = 512 << 10;
    let random = RandomScheduler::new_from_seed(7, schedules - schedules / 2);
    shuttle::Runner::new(random, config.clone()).run(body);
    let few_changes = PctScheduler::new_from_seed(7, 4, schedules / 2);
    shuttle::Runner::new(few_changes, config).run(body);
}

/// A clock that never returns the same time twice, so that fsyncs take time, and their leaders
/// wait for other threads.
#[derive(Debug, Default)]
struct Ticking {
    ticks: AtomicU64,
    /// The number of the call, from 1 on, at which the clock panics.
    panics_at: AtomicU64,
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let looks = self.panics_at.load(Ordering::SeqCst);
        self.panics_at.store(looks.saturating_sub(1), Ordering::SeqCst);
        assert!(looks != 1, "the clock stands");
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.ticks.fetch_add(1, Ordering::SeqCst))
    }
}

fn config() -> LogConfig {
    LogConfig::default().index_interval_bytes(1).clock(Arc::new(Ticking::default()))
}

fn open(config: LogConfig) -> Log {
    Log::open(DIR, config.fs(MemFs::new())).unwrap()
}

/// Appends a batch of these values, and returns its offsets.
fn append(log: &Log, values: &[&str]) -> annals::Result<(Offset, Offset)> {
    let appended = log.append_all(values.iter().copied().map(Record::from))?;
    Ok((appended.first, appended.last))
}

fn values(log: &Log) -> Vec<(Offset, String)> {
    let records = log.reader(StartAt::Earliest).unwrap().records();
    records
        .map(|record| {
            let record = record.unwrap();
            (record.offset, record.value_str().unwrap().to_owned())
        })
        .collect()
}

/// Silences the messages of panics, because callbacks of some tests panic thousands of times.
fn quietly() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload_as_str().is_none_or(|message| !message.ends_with("stands")) {
                hook(info);
            }
        }));
    });
}

#[test]
fn reader_sees_whole_batches_below_end() {
    check(|| {
        let log = open(config());
        let reading = log.clone();
        let reader = thread::spawn(move || {
            let mut reader = reading.reader(0).unwrap();
            let mut next = 0;
            for _ in 0..3 {
                let end = reading.offsets().end;
                while let Some(mut batch) = reader.next_batch().unwrap() {
                    assert_eq!(batch.header().base_offset, next);
                    assert_eq!(batch.records().unwrap().count(), 2);
                    next = batch.header().next_offset();
                    assert!(next <= reading.offsets().end);
                }
                assert!(next >= end, "the log ended at {end}, and was read to {next}");
                if let Some(last) = end.checked_sub(1) {
                    assert_eq!(reading.get(last).unwrap().unwrap().offset, last);
                    let fetched = reading.read(last, ReadLimits::bytes(1)).unwrap();
                    assert_eq!(fetched.records().unwrap()[0].offset, last);
                    assert!(reading.offset_for_time(Timestamp::from_millis(0)).unwrap().is_some());
                }
            }
        });
        for _ in 0..4 {
            append(&log, &["a", "b"]).unwrap();
        }
        reader.join().unwrap();
    });
}

#[test]
fn tail_misses_no_append() {
    check(|| {
        let log = open(config());
        let mut tail = log.tail(0).unwrap();
        let tail = thread::spawn(move || {
            for offset in 0..3 {
                assert_eq!(tail.next_record(None).unwrap().unwrap().offset, offset);
            }
        });
        for _ in 0..3 {
            log.append("x").unwrap();
        }
        tail.join().unwrap();
    });
}

#[test]
fn tails_miss_no_group_append() {
    check(|| {
        let log = open(config());
        let mut threads = Vec::new();
        for _ in 0..2 {
            let mut tail = log.tail(0).unwrap();
            threads.push(thread::spawn(move || {
                (0..2).for_each(|n| assert_eq!(tail.next_record(None).unwrap().unwrap().offset, n));
            }));
            let log = log.clone();
            threads.push(thread::spawn(move || drop(log.append("x").unwrap())));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn task_misses_no_append() {
    check(|| {
        let log = open(config());
        let mut tail = log.tail(0).unwrap();
        let task = thread::spawn(move || {
            for offset in 0..2 {
                let next = std::future::poll_fn(|context| tail.poll_next(context));
                assert_eq!(shuttle::future::block_on(next).unwrap().offset, offset);
            }
        });
        for _ in 0..2 {
            log.append("x").unwrap();
        }
        task.join().unwrap();
    });
}

#[test]
fn tail_notices_truncation_below_position() {
    check(|| {
        let log = open(config());
        (0..3).for_each(|_| drop(log.append("x").unwrap()));
        let mut tail = log.tail(3).unwrap();
        let tail = thread::spawn(move || {
            assert!(matches!(tail.next_record(None), Err(Error::OffsetOutOfRange { .. })));
        });
        log.truncate_to(1).unwrap();
        tail.join().unwrap();
    });
}

#[test]
fn tail_and_task_notice_close() {
    check(|| {
        let log = open(config());
        let (mut one, mut other) = (log.tail(0).unwrap(), log.tail(0).unwrap());
        let tail = thread::spawn(move || assert!(matches!(one.next_record(None), Err(Error::Closed { .. }))));
        let task = thread::spawn(move || {
            let next = std::future::poll_fn(|context| other.poll_next(context));
            assert!(matches!(shuttle::future::block_on(next), Err(Error::Closed { .. })));
        });
        log.close().unwrap();
        tail.join().unwrap();
        task.join().unwrap();
    });
}

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
        fs.add_rule(Rule::new(Operation::Write, Fault::call(|_| panic!("the disk stands"))).nth(nth));
        append_from_three_past_a_failure(&log);
        fs.clear_rules();
        log.append("last").unwrap();
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
        let failing =
            fs.add_rule(Rule::new(Operation::Write, Fault::PartialWrite { written: 70, kind }).nth(nth));
        append_from_three_past_a_failure(&log);
        let failed = fs.hit_count(failing) > 0;
        fs.clear_rules();
        assert_eq!(log.append("last").is_ok(), full || !failed);
    });
}

/// Returns the end of the log that a loss of power would leave now.
fn end_after_power_failure(fs: &MemFs) -> Offset {
    let disk = fs.crash(CrashState::SyncedOnly);
    Log::open(DIR, LogConfig::default().fs(disk)).unwrap().offsets().end
}

#[test]
fn shared_flush_is_durable_for_each() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (log, fs) = (log.clone(), fs.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let offset = log.append("x").unwrap();
                        let durable = match thread {
                            0 => log.flush().unwrap(),
                            1 => log.flush_through(offset).unwrap(),
                            _ => shuttle::future::block_on(log.flush_async()).unwrap(),
                        };
                        assert!(durable > offset);
                        assert!(end_after_power_failure(&fs) > offset);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(log.offsets().durable, 6);
    });
}

/// If a flush read the end after the list of segments, it would promise records in a segment that
/// it did not sync.
#[test]
fn flush_is_durable_during_rolls() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let rolling = log.clone();
        let roller = thread::spawn(move || {
            for _ in 0..2 {
                rolling.append("x").unwrap();
                rolling.roll().unwrap();
                rolling.append("y").unwrap();
            }
        });
        for _ in 0..3 {
            log.append("z").unwrap();
            let durable = log.flush().unwrap();
            assert!(end_after_power_failure(&fs) >= durable);
        }
        roller.join().unwrap();
    });
}

#[test]
fn failed_sync_fails_every_waiting_flush() {
    check(|| {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let nth = 1 + shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..3);
        let fault = Fault::Error(std::io::ErrorKind::Other);
        let failing = fs.add_rule(Rule::new(Operation::SyncData, fault).nth(nth));
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (log, memory) = (log.clone(), memory.clone());
                thread::spawn(move || {
                    let mut failed = false;
                    for _ in 0..2 {
                        let Ok(offset) = log.append("x") else { continue };
                        let flushed = match thread {
                            0 => shuttle::future::block_on(log.flush_async()),
                            _ => log.flush(),
                        };
                        match flushed {
                            Ok(durable) => {
                                assert!(!failed && durable > offset);
                                assert!(end_after_power_failure(&memory) > offset);
                            }
                            Err(_) => failed = true,
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        if fs.hit_count(failing) > 0 {
            assert!(matches!(log.append("y"), Err(Error::Poisoned { .. })));
        }
    });
}

#[test]
fn no_flush_hangs_when_sync_panics() {
    quietly();
    check(|| {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let panics = Fault::call(|_| panic!("the disk stands"));
        fs.add_rule(Rule::new(Operation::SyncData, panics).nth(1));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (log, memory) = (log.clone(), memory.clone());
                thread::spawn(move || {
                    let offset = log.append("x").unwrap();
                    let flushed = catch_unwind(AssertUnwindSafe(|| log.flush()));
                    if let Ok(durable) = flushed {
                        assert!(durable.unwrap() > offset);
                        assert!(end_after_power_failure(&memory) > offset);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(log.flush().unwrap(), 3);
    });
}

#[test]
fn truncation_is_never_read_as_damage() {
    check(|| {
        let log = open(config().segment_bytes(200));
        (0..5).for_each(|n| drop(append(&log, &[&format!("{n} old"), "second"]).unwrap()));
        let readers: Vec<_> = (0..2)
            .map(|which| {
                let log = log.clone();
                thread::spawn(move || {
                    let mut reader = log.reader(0).unwrap();
                    let mut looks = 0;
                    while looks < 3 {
                        match reader.next_record() {
                            Ok(Some(record)) if record.offset % 2 == 0 => {
                                let value = record.value_str().unwrap();
                                let number = (record.offset / 2).to_string();
                                assert_eq!(value.split_once(' ').unwrap().0, number);
                            }
                            Ok(Some(record)) => assert_eq!(record.value_str(), Some("second")),
                            Ok(None) => {
                                looks += 1;
                                reader.seek(StartAt::Earliest).unwrap();
                            }
                            Err(Error::OffsetOutOfRange { .. }) => {
                                reader.seek(StartAt::Earliest).unwrap();
                            }
                            Err(other) => panic!("{other}"),
                        }
                        if which == 1 {
                            match log.read(6, ReadLimits::bytes(1000)) {
                                Ok(_) | Err(Error::OffsetOutOfRange { .. }) => {}
                                Err(other) => panic!("{other}"),
                            }
                        }
                    }
                })
            })
            .collect();
        for target in [6, 2] {
            log.truncate_to(target).unwrap();
            for n in target / 2..4 {
                append(&log, &[&format!("{n} new"), "second"]).unwrap();
            }
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn verify_finds_nothing_during_rolls() {
    check(|| {
        let log = open(config().segment_bytes(200));
        let looking = log.clone();
        let looker = thread::spawn(move || {
            for _ in 0..2 {
                assert_eq!(looking.verify().unwrap(), []);
                let stats = looking.stats().unwrap();
                assert!(stats.segments.is_sorted_by_key(|segment| segment.next_offset));
            }
        });
        for _ in 0..4 {
            append(&log, &["a", "b"]).unwrap();
        }
        looker.join().unwrap();
    });
}

#[test]
fn verify_finds_nothing_during_truncation() {
    check(|| {
        let log = open(config().segment_bytes(200));
        (0..5).for_each(|_| drop(append(&log, &["first", "second"]).unwrap()));
        let (one, other) = (log.clone(), log.clone());
        let verifier = thread::spawn(move || {
            (0..2).for_each(|_| assert_eq!(one.verify().unwrap(), []));
        });
        let looker = thread::spawn(move || {
            for _ in 0..2 {
                let stats = other.stats().unwrap();
                assert_eq!(stats.bytes, stats.segments.iter().map(|segment| segment.bytes).sum());
                assert!(other.offset_for_time(Timestamp::from_millis(0)).unwrap().is_some());
                match other.get(4) {
                    Ok(record) => assert_eq!(record.unwrap().value_str(), Some("first")),
                    Err(error) => assert!(matches!(error, Error::OffsetOutOfRange { .. })),
                }
            }
        });
        for target in [6, 2] {
            log.truncate_to(target).unwrap();
            (target / 2..4).for_each(|_| drop(append(&log, &["first", "second"]).unwrap()));
        }
        verifier.join().unwrap();
        looker.join().unwrap();
    });
}

#[test]
fn truncation_append_and_flush_agree() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().segment_bytes(200).fs(fs.clone())).unwrap();
        (0..4).for_each(|_| drop(append(&log, &["a", "b"]).unwrap()));
        let (one, other) = (log.clone(), log.clone());
        let cutter = thread::spawn(move || match one.truncate_to(3) {
            Ok(()) => {}
            Err(other) => panic!("{other}"),
        });
        let flusher = thread::spawn(move || {
            for _ in 0..2 {
                other.flush().unwrap();
                let offsets = other.offsets();
                assert!(offsets.durable <= offsets.end, "{offsets:?}");
            }
        });
        (0..2).for_each(|_| drop(log.append("c").unwrap()));
        cutter.join().unwrap();
        flusher.join().unwrap();
        let end = log.flush().unwrap();
        assert_eq!((end, log.offsets().end), (end, end));
        assert_eq!(log.verify().unwrap(), []);
        assert_eq!(end_after_power_failure(&fs), end);
    });
}

#[test]
fn reader_continues_across_rolls() {
    check(|| {
        let log = open(config());
        let reading = log.clone();
        let reader = thread::spawn(move || {
            let mut reader = reading.reader(0).unwrap();
            let mut next = 0;
            for _ in 0..4 {
                let end = reading.offsets().end;
                while let Some(record) = reader.next_record().unwrap() {
                    assert_eq!(record.offset, next);
                    next += 1;
                }
                assert!(next >= end, "the log ended at {end}, and was read to {next}");
                if let Some(last) = end.checked_sub(1) {
                    assert_eq!(reading.get(last).unwrap().unwrap().offset, last);
                }
            }
        });
        let rolling = log.clone();
        let roller = thread::spawn(move || (0..2).for_each(|_| rolling.roll().unwrap()));
        (0..3).for_each(|_| drop(log.append("x").unwrap()));
        log.roll().unwrap();
        log.append("x").unwrap();
        roller.join().unwrap();
        reader.join().unwrap();
        assert_eq!(values(&log).len(), 4);
    });
}

/// Creates four segments of one record each; deletions will leave only the last.
fn four_segments() -> Log {
    let log = open(config());
    for (n, value) in (0..).zip(["0", "1", "2", "3"]) {
        log.append(Record::new(value).timestamp(Timestamp::from_millis(n))).unwrap();
        log.roll().unwrap();
    }
    log
}

#[test]
fn deletion_hides_no_remaining_record() {
    check(|| {
        let log = four_segments();
        let looking = log.clone();
        let looks = thread::spawn(move || {
            for offset in [0, 2, 3] {
                match looking.get(offset) {
                    Ok(found) => assert_eq!(found.unwrap().offset, offset),
                    Err(Error::OffsetOutOfRange { start, .. }) => assert!(offset < start),
                    Err(other) => panic!("{other}"),
                }
                let at = Timestamp::from_millis(i64::try_from(offset).unwrap());
                let (found, _) = looking.offset_for_time(at).unwrap().unwrap();
                assert!((offset..=3).contains(&found));
                assert!(looking.verify().unwrap().is_empty());
            }
        });
        let reading = log.clone();
        let reader = thread::spawn(move || {
            let mut reader = reading.reader(0).or_else(|_| reading.reader(3)).unwrap();
            let mut next = reader.offset();
            loop {
                match reader.next_record() {
                    Ok(Some(record)) => assert_eq!(record.offset, next),
                    Ok(None) => break assert_eq!(next, 4),
                    Err(Error::OffsetOutOfRange { requested, start, .. }) => {
                        break assert!(requested == next && next < start);
                    }
                    Err(other) => panic!("{other}"),
                }
                next += 1;
            }
        });
        log.delete_before(1).unwrap();
        log.delete_before(3).unwrap();
        looks.join().unwrap();
        reader.join().unwrap();
        assert_eq!(values(&log), [(3, "3".to_owned())]);
    });
}

/// Trap: segments to delete are chosen by offset, and after a truncation these offsets belong to
/// records that must stay.
#[test]
fn maintenance_keeps_appends_after_truncation() {
    check(|| {
        let log = open(config().retention_age(Duration::from_millis(1)));
        for value in ["0", "1", "2"] {
            log.append(Record::new(value).timestamp(Timestamp::from_millis(0))).unwrap();
        }
        let other = log.clone();
        let writer = thread::spawn(move || {
            match other.truncate_to(1) {
                Ok(()) | Err(Error::OffsetOutOfRange { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            ["young", "too"].map(|value| other.append(value).unwrap())
        });
        log.maintain().unwrap();
        for offset in writer.join().unwrap() {
            assert!(log.get(offset).unwrap().is_some(), "{offset} is gone");
        }
    });
}

#[test]
fn deletion_append_and_truncation_agree() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        append(&log, &["0", "1", "2"]).unwrap();
        let (one, two) = (log.clone(), log.clone());
        let cutter = thread::spawn(move || match one.truncate_to(1) {
            Ok(()) => {}
            Err(Error::OffsetOutOfRange { start, .. }) => assert_eq!(start, 2),
            Err(other) => panic!("{other}"),
        });
        let appender = thread::spawn(move || {
            append(&two, &["more"]).unwrap();
            two.roll().unwrap();
        });
        match log.delete_before(2) {
            Ok(start) => assert_eq!(start, 2),
            Err(Error::OffsetOutOfRange { end, .. }) => assert!(end < 2),
            Err(other) => panic!("{other}"),
        }
        cutter.join().unwrap();
        appender.join().unwrap();
        let (before, left) = (log.offsets(), values(&log));
        assert!(left.iter().all(|(offset, _)| *offset >= before.start));
        log.flush().unwrap();
        drop(log);
        let log = Log::open(DIR, config().fs(fs.crash(CrashState::SyncedOnly))).unwrap();
        assert_eq!((log.offsets().start, log.offsets().end), (before.start, before.end));
        assert_eq!(values(&log), left);
    });
}

/// Creates a log of three closed segments and an active one. Each closed segment has the keys `a`
/// and `b`.
fn superseded(config: LogConfig) -> (Log, MemFs) {
    let fs = MemFs::new();
    let log = Log::open(DIR, config.fs(fs.clone())).unwrap();
    for value in ["0", "1", "2"] {
        log.append_all(["a", "b"].map(|key| Record::new(value).key(key))).unwrap();
        log.roll().unwrap();
    }
    (log, fs)
}

fn compacting() -> LogConfig {
    config().cleanup_policy(CleanupPolicy::CompactAndDelete)
}

#[test]
fn compaction_hides_no_remaining_record() {
    check(|| {
        let (log, _) = superseded(compacting());
        let early = log.reader(StartAt::Earliest).unwrap();
        let cleaner = log.clone();
        let writer = thread::spawn(move || {
            let report = cleaner.compact().unwrap();
            assert_eq!((report.records_kept, report.records_removed), (2, 4));
            cleaner.append(Record::new("3").key("a")).unwrap();
        });
        let finder = log.clone();
        let looker = thread::spawn(move || {
            for offset in [4, 5] {
                assert_eq!(finder.get(offset).unwrap().unwrap().value_str(), Some("2"));
            }
            let fetched = finder.read(1, ReadLimits::default()).unwrap();
            let last = fetched.records().unwrap().iter().map(|record| record.offset).max();
            assert!(last >= Some(5), "{last:?}");
            assert_eq!(finder.verify().unwrap(), []);
        });
        let mut seen = Vec::new();
        for record in early.records() {
            seen.push(record.unwrap().offset);
        }
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
        assert!(seen.contains(&4) && seen.contains(&5), "{seen:?}");
        writer.join().unwrap();
        looker.join().unwrap();
        let left: Vec<_> = values(&log).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(left, [4, 5, 6]);
    });
}

#[test]
fn compaction_and_truncation_agree() {
    check(|| {
        let (log, fs) = superseded(compacting());
        let cleaner = log.clone();
        let compaction = thread::spawn(move || drop(cleaner.compact().unwrap()));
        let cutter = log.clone();
        let truncation = thread::spawn(move || {
            cutter.truncate_to(3).unwrap();
            cutter.append(Record::new("new").key("b")).unwrap()
        });
        compaction.join().unwrap();
        assert_eq!(truncation.join().unwrap(), 3);
        let there = values(&log);
        assert_eq!(there.last(), Some(&(3, "new".to_owned())));
        assert!(there.iter().all(|(_, value)| value != "2"), "{there:?}");
        assert!(log.get(2).unwrap().is_none_or(|record| record.value_str() == Some("1")));
        assert_eq!(log.verify().unwrap(), []);
        // The recorded first dirty offset is right: the rest is compacted next.
        log.roll().unwrap();
        log.compact().unwrap();
        drop(log);
        let again = Log::open(DIR, compacting().fs(fs.kill())).unwrap();
        let b = values(&again).into_iter().filter(|(_, value)| value != "1").collect::<Vec<_>>();
        assert_eq!(b.last(), Some(&(3, "new".to_owned())));
        assert_eq!(again.verify().unwrap(), []);
    });
}

#[test]
fn compaction_and_deletion_agree() {
    check(|| {
        let (log, _) = superseded(compacting());
        let cleaner = log.clone();
        let compaction = thread::spawn(move || drop(cleaner.compact().unwrap()));
        assert_eq!(log.delete_before(4).unwrap(), 4);
        compaction.join().unwrap();
        let left: Vec<_> = values(&log).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(left, [4, 5]);
        assert_eq!(log.verify().unwrap(), []);
    });
}

#[test]
fn close_ends_compaction_before_unlocking() {
    check(|| {
        let (log, fs) = superseded(compacting());
        let cleaner = log.clone();
        let compaction = thread::spawn(move || match cleaner.compact() {
            Ok(_) | Err(Error::Closed { .. }) => {}
            Err(error) => panic!("{error}"),
        });
        log.close().unwrap();
        // From that moment on, no thread writes there.
        let again = Log::open(DIR, compacting().fs(fs)).unwrap();
        let left = values(&again);
        assert!(left.ends_with(&[(4, "2".to_owned()), (5, "2".to_owned())]), "{left:?}");
        assert_eq!(again.verify().unwrap(), []);
        compaction.join().unwrap();
        assert_eq!(values(&again), left);
    });
}

#[test]
fn maintainer_and_logs_drop_in_any_order() {
    check(|| {
        let maintainer = Maintainer::new(MaintainerConfig::default()).unwrap();
        let (log, fs) = superseded(compacting());
        maintainer.add(&log).unwrap();
        let other = log.clone();
        let user = thread::spawn(move || {
            drop(other.pause_maintenance());
            drop(other);
        });
        maintainer.run_now();
        drop(maintainer);
        log.append(Record::new("3").key("a")).unwrap();
        log.close().unwrap();
        user.join().unwrap();
        let again = Log::open(DIR, compacting().fs(fs)).unwrap();
        assert_eq!(values(&again).last(), Some(&(6, "3".to_owned())));
    });
}

/// Trap: a closed log has no segments, and looks empty.
#[test]
fn close_is_not_taken_for_end_of_log() {
    check(|| {
        let log = four_segments();
        let reading = log.clone();
        let reader = thread::spawn(move || {
            let Ok(mut reader) = reading.reader(0) else { return };
            for next in 0..4 {
                match reader.next_record() {
                    Ok(record) => assert_eq!(record.unwrap().offset, next),
                    Err(Error::Closed { .. }) => break,
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let looking = log.clone();
        let looks = thread::spawn(move || {
            let is_closed = |error| assert!(matches!(error, Error::Closed { .. }), "{error}");
            match looking.get(1) {
                Ok(found) => assert_eq!(found.unwrap().offset, 1),
                Err(error) => is_closed(error),
            }
            match looking.offset_for_time(Timestamp::from_millis(2)) {
                Ok(found) => assert_eq!(found.unwrap().0, 2),
                Err(error) => is_closed(error),
            }
            match looking.read(3, ReadLimits::bytes(1)) {
                Ok(fetched) => assert!(!fetched.is_empty()),
                Err(error) => is_closed(error),
            }
            match looking.stats() {
                Ok(stats) => assert_eq!(stats.segments.len(), 5),
                Err(error) => is_closed(error),
            }
        });
        log.close().unwrap();
        reader.join().unwrap();
        looks.join().unwrap();
    });
}

#[test]
fn close_wakes_threads_and_loses_nothing() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().segment_bytes(200).fs(fs.clone())).unwrap();
        append(&log, &["x", "y"]).unwrap();
        fn closed<T>(result: annals::Result<T>) -> Option<T> {
            match result {
                Ok(done) => Some(done),
                Err(Error::Closed { .. }) => None,
                Err(other) => panic!("{other}"),
            }
        }
        let run = |work: fn(Log) -> u64| {
            let log = log.clone();
            thread::spawn(move || work(log))
        };
        let appender =
            |log: Log| (0..2).filter_map(|_| closed(append(&log, &["x", "y"]))).count() as u64;
        let appenders = [run(appender), run(appender)];
        let others = [
            run(|log| {
                let mut tail = closed(log.tail(0));
                while let Some(tail) = &mut tail
                    && closed(tail.next_record(None)).is_some()
                {}
                0
            }),
            run(|log| {
                closed(log.flush());
                closed(log.roll());
                0
            }),
            run(|log| {
                closed(shuttle::future::block_on(log.flush_async()));
                closed(log.get(1));
                0
            }),
        ];
        log.close().unwrap();
        // The directory is unlocked, although other handles still live.
        let reopened = Log::open(DIR, config().fs(fs)).unwrap();
        let appended: u64 = appenders.into_iter().map(|thread| thread.join().unwrap()).sum();
        others.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 0));
        let end = 2 + 2 * appended;
        assert_eq!((reopened.offsets().end, values(&reopened).len() as u64), (end, end));
    });
}
