//! Each call to the file system fails once, for each call and each way to fail.
#![allow(
    dropping_copy_types,
    clippy::let_underscore_must_use,
    clippy::type_complexity,
    clippy::double_ended_iterator_last
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule, Survive};
use annals::{Error, Log, LogConfig, ReadLimits, Record, Result, Timestamp};
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use support::{Chance, DIR, Model, Rec, read_all};

fn config() -> LogConfig {
    LogConfig::default().segment_bytes(600).index_interval_bytes(0)
}

/// What the log must hold, and what it may hold besides since a call failed.
#[derive(Default)]
struct Ledger {
    /// Acknowledged, in the order of offsets.
    model: Model,
    /// Every record that was ever tried.
    tried: Vec<Rec>,
    /// A truncation failed: records from there on may be gone.
    cut: Option<u64>,
}

impl Ledger {
    fn append(&mut self, log: &Log, n: u64) -> Result<()> {
        let count = self.tried.len() as u64;
        let end = log.offsets().end;
        let recs: Vec<Rec> = (0..n)
            .map(|i| Rec {
                offset: end + i,
                time: (count as i64 * 31) % 97,
                key: None,
                value: Some(format!("{}-{}", count + i, "y".repeat(70)).into_bytes()),
            })
            .collect();
        self.tried.extend(recs.clone());
        let records = recs.iter().map(|rec| {
            Record::new(rec.value.clone().unwrap()).timestamp(Timestamp::from_millis(rec.time))
        });
        let appended = log.append_all(records.collect::<Vec<_>>())?;
        assert_eq!(appended.first, end);
        self.model.append(recs);
        Ok(())
    }

    fn flush(&mut self, log: &Log) -> Result<()> {
        let durable = log.flush()?;
        assert_eq!(durable, self.model.end);
        self.model.durable = durable;
        Ok(())
    }

    fn truncate(&mut self, log: &Log, target: u64) -> Result<()> {
        self.cut = Some(target.min(self.cut.unwrap_or(target)));
        match log.truncate_to(target) {
            Ok(()) => {
                self.model.truncate(target);
                self.model.durable = target;
                self.cut = None;
                Ok(())
            }
            Err(error) => {
                let kept = self.model.batches.iter().map(|b| b.last().unwrap().offset + 1);
                let kept = kept.filter(|end| *end <= target).max().unwrap_or(0);
                self.model.durable = self.model.durable.min(kept);
                Err(error)
            }
        }
    }

    /// Everything durable is there, nothing that was never tried, and no hole.
    fn check(&self, log: &Log) {
        let found = read_all(log);
        let end = log.offsets().end;
        assert!(end >= self.model.durable, "ends at {end}, {} was durable", self.model.durable);
        for want in self.model.records().take_while(|rec| rec.offset < self.model.durable) {
            assert!(found.contains(want), "record {} was durable and is gone", want.offset);
        }
        assert!(found.iter().all(|rec| self.tried.contains(rec)), "a record nobody appended");
        assert!(found.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        assert_eq!(log.verify().unwrap(), []);
    }
}

/// What a process does with a log; it stops at the first error of a call that says so.
fn work(fs: &FaultFs, ledger: &mut Ledger) -> Result<()> {
    let open = || Log::open(DIR, config().fs(fs.clone()));
    let log = open()?;
    let outcome = use_log(&log, ledger);
    let error = match outcome {
        Ok(()) => {
            log.close()?;
            ledger.model.durable = ledger.model.end;
            let log = open()?;
            ledger.check_open(&log)?;
            return ledger.append(&log, 1);
        }
        Err(error) => error,
    };
    ledger.check_after(&log, &error);
    Err(error)
}

fn use_log(log: &Log, ledger: &mut Ledger) -> Result<()> {
    for n in 0..6 {
        ledger.append(log, 1 + n % 3)?;
    }
    ledger.flush(log)?;
    ledger.append(log, 2)?;
    log.roll()?;
    ledger.append(log, 1)?;
    ledger.flush(log)?;
    ledger.append(log, 3)?;
    let end = log.offsets().end;
    ledger.truncate(log, end - 5)?;
    ledger.append(log, 3)?;
    log.read(0, ReadLimits::bytes(1000))?;
    log.get(1)?;
    log.offset_for_time(Timestamp::from_millis(50))?;
    let end = log.offsets().end;
    ledger.truncate(log, end - 2)?;
    ledger.append(log, 1)
}

impl Ledger {
    fn check_open(&self, log: &Log) -> Result<()> {
        for record in log.reader(0)?.records() {
            assert!(self.tried.contains(&record?.into()));
        }
        Ok(())
    }

    /// After a failed call: either the log works as before, or it says that it is poisoned.
    fn check_after(&mut self, log: &Log, error: &Error) {
        let _ = log.offsets();
        match log.append("after") {
            Ok(offset) => {
                self.tried.push(Rec { offset, time: 0, key: None, value: Some(b"after".to_vec()) });
                let time = log.get(offset).unwrap().unwrap().timestamp.as_millis();
                self.tried.last_mut().unwrap().time = time;
                let durable = log.flush().unwrap();
                assert_eq!(durable, offset + 1);
                assert!(self.cut.is_some() || offset == self.model.end, "{error}");
                let found = read_all(log);
                assert!(found.iter().all(|rec| self.tried.contains(rec)));
            }
            Err(Error::Poisoned { .. }) => {
                assert!(matches!(log.flush(), Err(Error::Poisoned { .. })));
                assert!(matches!(log.roll(), Err(Error::Poisoned { .. })));
                assert!(matches!(log.truncate_to(0), Err(Error::Poisoned { .. })));
                assert!(log.clone().close().is_err(), "a poisoned log does not close in order");
            }
            Err(other) => panic!("after {error}: {other}"),
        }
    }
}

#[test]
fn each_call_fails_once_in_each_way() {
    let ways: [(&str, fn(u64) -> Fault); 11] = [
        ("full", |_| Fault::Error(ErrorKind::StorageFull)),
        ("over quota", |_| Fault::Error(ErrorKind::QuotaExceeded)),
        ("file too large", |_| Fault::Error(ErrorKind::FileTooLarge)),
        ("EIO", |_| Fault::Os(5)),
        ("EMFILE", |_| Fault::Os(24)),
        ("one byte at a time", |_| Fault::Short(1)),
        ("ends early", |_| Fault::Short(0)),
        ("full in the middle", |_| Fault::ErrorAfter { written: 30, kind: ErrorKind::StorageFull }),
        ("over quota in the middle", |_| Fault::ErrorAfter {
            written: 30,
            kind: ErrorKind::QuotaExceeded,
        }),
        ("file too large in the middle", |_| Fault::ErrorAfter {
            written: 30,
            kind: ErrorKind::FileTooLarge,
        }),
        ("EIO in the middle", |_| Fault::ErrorAfter { written: 90, kind: ErrorKind::Other }),
    ];
    let mut positions = 0;
    for (name, fault) in ways {
        for n in 1.. {
            let memory = MemFs::new();
            let fs = FaultFs::new(memory.clone());
            fs.record_trace(false);
            let rule = fs.add(Rule::any(fault(n)).nth(n));
            let mut ledger = Ledger::default();
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let result = work(&fs, &mut ledger);
                let fired = fs.fired(rule) > 0;
                assert!(fired || result.is_ok(), "{result:?}");
                fs.clear_rules();
                let disks = [
                    memory.kill(),
                    memory.crash(Survive::SyncedOnly),
                    memory.crash(Survive::Some { seed: n }),
                ];
                for disk in disks {
                    let log = Log::open(DIR, config().fs(disk)).unwrap();
                    ledger.check(&log);
                    let offset = log.append("on").unwrap();
                    log.flush().unwrap();
                    assert_eq!(log.get(offset).unwrap().unwrap().value_str(), Some("on"));
                }
                fired
            }));
            let Ok(fired) = run else { panic!("{name} at call {n}") };
            if !fired {
                break;
            }
            positions += 1;
        }
    }
    assert!(positions > 1300, "only {positions} positions");
    if std::env::var("ANNALS_FAULTS_COUNT").is_ok() {
        panic!("{positions} positions");
    }
}

/// Short reads and writes everywhere change nothing (trap: a short read ignored).
#[test]
fn short_reads_and_writes_everywhere_change_nothing() {
    for seed in 0..5 {
        let mut chance = Chance(seed);
        let fs = FaultFs::new(MemFs::new());
        fs.record_trace(false);
        fs.add(Rule::any(Fault::Short(1 + chance.below(50) as usize)).chance(0.7, seed));
        let mut ledger = Ledger::default();
        work(&fs, &mut ledger).unwrap();
        let log = Log::open(DIR, config().fs(fs)).unwrap();
        ledger.check(&log);
        ledger.model.check(&log);
    }
}

/// A gate that holds calls until it is opened or dropped.
fn gate() -> (Receiver<()>, std::sync::mpsc::Sender<()>, Fault) {
    let (reach, reached) = channel();
    let (open, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let fault = Fault::call(move |_| {
        let _ = reach.send(());
        let _ = wait.lock().unwrap().recv();
    });
    (reached, open, fault)
}

/// Trap: the leader of a group commit fails, and its followers wait for ever.
#[test]
fn a_failed_sync_reaches_all_who_wait_and_is_never_tried_again() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("durable").unwrap();
    log.flush().unwrap();
    let (reached, open, hold) = gate();
    fs.add(Rule::new(Operation::SyncData, hold).nth(1));
    fs.add(Rule::new(Operation::SyncData, Fault::Os(5)).nth(1));
    fs.clear_trace();
    log.append("lost").unwrap();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| log.flush())).collect();
        reached.recv().unwrap();
        log.append("lost too").unwrap();
        drop(open);
        for thread in waiting {
            let error = thread.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Io { .. } | Error::Poisoned { .. }), "{error}");
        }
    });
    assert!(matches!(log.flush(), Err(Error::Poisoned { .. })));
    assert!(matches!(log.append("no"), Err(Error::Poisoned { .. })));
    assert_eq!(log.offsets().durable, 1);
    assert_eq!(log.get(1).unwrap().unwrap().value_str(), Some("lost"), "reads go on");
    assert!(matches!(log.close(), Err(Error::Poisoned { .. })));
    assert_eq!(fs.count(Operation::SyncData), 1, "a sync that failed was tried again");
}

/// Trap: an error of a write forgotten, and a later sync says that all is well.
#[test]
fn a_failed_write_is_not_flushed_past() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("there").unwrap();
    fs.add(
        Rule::new(Operation::Write, Fault::ErrorAfter { written: 9, kind: ErrorKind::Other })
            .nth(1),
    );
    assert!(matches!(log.append("torn"), Err(Error::Io { .. })));
    assert!(matches!(log.append("next"), Err(Error::Poisoned { .. })));
    assert!(log.flush().is_err());
    assert_eq!(log.offsets().end, 1);
}

/// A quota and the largest size of a file are limits like a full disk: the medium is sound.
#[test]
fn no_room_of_any_kind_is_survived_and_all_other_failures_poison() {
    let rooms = [
        (ErrorKind::StorageFull, 28),
        (ErrorKind::QuotaExceeded, if cfg!(target_os = "macos") { 69 } else { 122 }),
        (ErrorKind::FileTooLarge, 27),
    ];
    for (kind, number) in rooms {
        for written in [None, Some(0), Some(1), Some(61), Some(70)] {
            for preallocate in [false, true] {
                let case = format!("{kind:?} after {written:?}, preallocate {preallocate}");
                let memory = MemFs::new();
                let fs = FaultFs::new(memory.clone());
                let config = config().preallocate(preallocate);
                let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
                log.append("before").unwrap();
                let fault = match written {
                    Some(written) => Fault::ErrorAfter { written, kind },
                    None if cfg!(unix) => Fault::Os(number),
                    None => Fault::Error(kind),
                };
                fs.add(Rule::new(Operation::Write, fault).path(".log").nth(1));
                let error = log.append("x".repeat(200)).unwrap_err();
                assert_eq!(error.kind(), annals::ErrorKind::StorageFull, "{case}: {error}");
                assert!(error.is_retryable(), "{case}");
                assert_eq!((log.offsets().end, read_all(&log).len()), (1, 1), "{case}");
                let log = if written == Some(61) {
                    drop(log);
                    Log::open(DIR, config.clone().fs(memory.kill())).unwrap()
                } else {
                    log
                };
                assert_eq!(log.recovery().dropped_bytes, 0, "{case}: it was taken back");
                assert_eq!(log.append("after").unwrap(), 1, "{case}");
                log.flush().unwrap();
                assert_eq!(log.verify().unwrap(), [], "{case}");
                let values: Vec<_> = read_all(&log).into_iter().map(|rec| rec.value).collect();
                assert_eq!(values, [Some(b"before".to_vec()), Some(b"after".to_vec())], "{case}");
            }
        }
    }
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    fs.add(Rule::new(Operation::Write, Fault::Error(ErrorKind::PermissionDenied)).nth(1));
    assert!(!log.append("x").unwrap_err().is_retryable());
    assert!(matches!(log.append("y"), Err(Error::Poisoned { .. })));
}

/// No room to be made: the file is as large as files may be, and the next one has room.
#[test]
fn where_a_file_may_grow_no_further_a_new_segment_helps() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    log.append("a").unwrap();
    let full = Fault::Error(ErrorKind::FileTooLarge);
    fs.add(Rule::new(Operation::Write, full).path("00000000000000000000.log"));
    for _ in 0..3 {
        let error = log.append("b").unwrap_err();
        assert_eq!(error.kind(), annals::ErrorKind::StorageFull);
    }
    log.roll().unwrap();
    assert_eq!(log.append("b").unwrap(), 1);
    log.close().unwrap();
}

/// What was to be taken back could not be: what the file holds is not known.
#[test]
fn no_room_and_no_way_back_poisons() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        log.append("a").unwrap();
        fs.add(Rule::new(Operation::Write, Fault::ErrorAfter { written: 40, kind }).path(".log"));
        fs.add(Rule::new(Operation::SetLen, Fault::Os(5)).path(".log"));
        assert!(log.append("b").is_err());
        assert!(matches!(log.append("c"), Err(Error::Poisoned { .. })));
        let log = Log::open(DIR, config().fs(memory.kill())).unwrap();
        assert_eq!((log.offsets().end, log.recovery().dropped_bytes), (1, 40));
    }
}

/// Trap: a sync under a lock that others need.
#[test]
fn while_a_sync_is_slow_everything_else_goes_on() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("a").unwrap();
    let (reached, open, hold) = gate();
    fs.add(Rule::new(Operation::SyncData, hold).nth(1));
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| log.flush());
        reached.recv().unwrap();
        assert_eq!(log.offsets().end, 1);
        assert_eq!(log.append("b").unwrap(), 1);
        log.roll().unwrap();
        assert_eq!(log.append("c").unwrap(), 2);
        assert_eq!(read_all(&log).len(), 3);
        assert_eq!(log.tail(2).unwrap().next(Some(Duration::ZERO)).unwrap().unwrap().offset, 2);
        assert_eq!(log.stats().unwrap().segments.len(), 2);
        drop(open);
        assert_eq!(flush.join().unwrap().unwrap(), 1);
    });
    assert_eq!(log.flush().unwrap(), 3);
}

/// Trap: one offset, two contents, after a sync that failed.
#[test]
fn after_a_failed_sync_there_is_one_history() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("one").unwrap();
    log.flush().unwrap();
    fs.add(Rule::new(Operation::SyncData, Fault::Os(5)).nth(1));
    log.append("two").unwrap();
    assert!(log.flush().is_err());
    for how in [Survive::SyncedOnly, Survive::Everything] {
        let disk = memory.crash(how);
        let log = Log::open(DIR, LogConfig::default().fs(disk.clone())).unwrap();
        let end = log.offsets().end;
        let value = log.append("three").unwrap();
        assert_eq!(value, end);
        log.flush().unwrap();
        let before = read_all(&log);
        let log = Log::open(DIR, LogConfig::default().fs(disk.crash(Survive::SyncedOnly))).unwrap();
        assert_eq!(read_all(&log), before);
    }
}

/// No descriptor to open a closed segment's files with: nothing was synced, and nothing is lost.
#[test]
fn a_flush_that_finds_no_descriptor_fails_alone() {
    for number in [23, 24] {
        for nth in 1..=3 {
            let memory = MemFs::new();
            let fs = FaultFs::new(memory.clone());
            let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
            // More segments than stay open.
            for n in 0..20 {
                assert_eq!(log.append("x").unwrap(), n);
                log.roll().unwrap();
            }
            fs.add(Rule::new(Operation::Open, Fault::Os(number)).from_nth(nth));
            for _ in 0..2 {
                let error = log.flush().unwrap_err();
                assert_eq!(error.kind(), annals::ErrorKind::TooManyFiles, "{error}");
                assert_eq!(log.offsets().durable, 0);
            }
            assert_eq!(log.append("still").unwrap(), 20);
            fs.clear_rules();
            assert_eq!(log.flush().unwrap(), 21);
            let disk = memory.crash(Survive::SyncedOnly);
            let log = Log::open(DIR, LogConfig::default().fs(disk)).unwrap();
            assert_eq!(read_all(&log).len(), 21);
        }
    }
}

/// A sync that fails is not excused by its error number.
#[test]
fn a_sync_that_was_tried_and_failed_poisons_whatever_the_error() {
    for number in [4, 5, 23, 24, 28] {
        let fs = FaultFs::new(MemFs::new());
        let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
        log.append("x").unwrap();
        log.roll().unwrap();
        fs.add(Rule::new(Operation::SyncData, Fault::Os(number)).path("index").nth(1));
        assert!(log.flush().is_err());
        assert!(matches!(log.flush(), Err(Error::Poisoned { .. })), "{number}");
        assert_eq!(log.offsets().durable, 0);
    }
}
