//! Loss of power, between segments and during the recovery from it.
#![allow(clippy::unwrap_used, reason = "tests")]

use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule, Survive};
use annals::{Event, Listener, Log, LogConfig, Offset, Record, StartAt};
use std::io::ErrorKind;
use std::sync::{Arc, OnceLock};

const DIR: &str = "orders-0";

fn open(fs: impl Fs) -> annals::Result<Log> {
    Log::open(DIR, LogConfig::default().fs(fs))
}

/// Appends one durable record and 200 more in segments of 40, of which any part may survive.
fn half_written() -> MemFs {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    log.append("0").unwrap();
    log.flush().unwrap();
    for n in 1..200 {
        log.append(format!("{n} {}", "x".repeat(100))).unwrap();
        if n % 40 == 0 {
            log.roll().unwrap();
        }
    }
    fs
}

fn offsets(log: &Log) -> Vec<Offset> {
    let records = log.reader(StartAt::Earliest).unwrap().records();
    records.map(|record| record.unwrap().offset).collect()
}

/// A closed segment could come back short, at the edge of a batch, with the next one intact:
/// the log was opened with the records between them missing.
#[test]
fn no_hole_between_segments() {
    let fs = half_written();
    for seed in 0..500 {
        let log = open(fs.crash(Survive::Some { seed })).unwrap();
        let found = offsets(&log);
        assert!(!found.is_empty(), "seed {seed}");
        assert!(found.iter().copied().eq(0..found.len() as u64), "seed {seed}: {found:?}");
    }
}

/// The first opening after the loss of power noted the new run of the machine before it had
/// recovered; when it failed, the second one took the loss for damage, or a hole for a gap.
#[test]
fn a_recovery_that_fails_leaves_the_next_one_as_wise() {
    let fs = half_written();
    for seed in 0..60 {
        let disk = fs.crash(Survive::Some { seed });
        let expected = offsets(&open(disk.kill()).unwrap());
        for nth in 1.. {
            let disk = disk.kill();
            let faulty = FaultFs::new(disk.clone());
            let changes = Rule::new(Operation::SetLen, Fault::Error(ErrorKind::StorageFull))
                .or(Operation::Remove)
                .or(Operation::Rename)
                .or(Operation::SyncDir)
                .or(Operation::SyncAll)
                .nth(nth);
            let rule = faulty.add(changes);
            drop(open(faulty.clone()));
            let done = faulty.fired(rule) == 0;
            let log = open(disk.kill()).unwrap_or_else(|e| panic!("seed {seed}, call {nth}: {e}"));
            assert_eq!(offsets(&log), expected, "seed {seed}, call {nth}");
            if done {
                break;
            }
        }
    }
}

/// What truncating inside a batch leaves is no hole.
#[test]
fn a_gap_left_by_truncating_stays() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    log.append_all((0..10).map(|n| Record::from(n.to_string()))).unwrap();
    log.append_all((10..20).map(|n| Record::from(n.to_string()))).unwrap();
    log.truncate_to(15).unwrap();
    assert_eq!(log.append("15").unwrap(), 15);
    for how in [Survive::Everything, Survive::SyncedOnly] {
        let log = open(fs.crash(how)).unwrap();
        assert!(log.offsets().end >= 15, "{how:?}");
    }
    assert_eq!(open(fs.crash(Survive::Everything)).unwrap().offsets().end, 16);
}

/// Events of a truncation came while its lock was held, so a listener that truncated hung.
#[test]
fn a_listener_may_truncate() {
    #[derive(Debug, Default)]
    struct Again(OnceLock<Log>);
    impl Listener for Again {
        fn on_event(&self, event: &Event) {
            if let (Event::Truncated { end: 2 }, Some(log)) = (event, self.0.get()) {
                log.truncate_to(1).unwrap();
            }
        }
    }
    let listener = Arc::new(Again::default());
    let config = LogConfig::default().fs(MemFs::new()).listener(listener.clone());
    let log = Log::open(DIR, config).unwrap();
    for n in 0..4 {
        log.append(n.to_string()).unwrap();
    }
    listener.0.set(log.clone()).unwrap();
    log.truncate_to(2).unwrap();
    assert_eq!(log.offsets().end, 1);
}
