//! Each call of a compaction fails, in each way; and the leftovers of an earlier failure do no
//! harm later.
//!
//! `ANNALS_COMPACTION_SEEDS=0..12` tries all calls; each seed takes a twelfth of them.

use annals::fs::{Call, Fault, FaultFs, MemFs, Operation, Rule};
use annals::{CleanupPolicy, Error, Log, LogConfig};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use support::keyed::{Keyed, Shape, fetch_all, staged, table, winners};
use support::sim::Way;
use support::{Chance, DIR, Rec, T0, clock, read_all, say, seeds};

fn config() -> LogConfig {
    LogConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .clock(clock())
        .segment_bytes(700)
        .index_interval_bytes(0)
}

/// A log with closed segments, a part of them compacted, and what it holds.
fn prepared() -> (MemFs, Vec<Rec>) {
    let disk = MemFs::new();
    let log = Log::open(DIR, config().fs(disk.clone())).unwrap();
    let (mut model, mut chance) = (Keyed::default(), Chance(11));
    let shape = Shape { keys: 12, bytes: 50, at: T0 };
    (0..20).for_each(|_| model.append(&log, &mut chance, shape));
    log.roll().unwrap();
    log.compact().unwrap();
    (0..25).for_each(|_| model.append(&log, &mut chance, shape));
    log.roll().unwrap();
    let records = read_all(&log);
    (disk, records)
}

fn open(disk: &MemFs) -> Log {
    let log = Log::open(DIR, config().fs(disk.clone())).unwrap();
    assert_eq!(staged(disk), [""; 0]);
    assert_eq!(log.verify().unwrap(), []);
    log
}

/// The records lie between the state before and the state that compaction leads to.
fn check(log: &Log, before: &[Rec]) {
    let found = read_all(log);
    assert_eq!(fetch_all(log, 0), found);
    assert!(found.iter().all(|rec| before.contains(rec)), "a record from nowhere");
    let must = winners(before);
    assert!(must.iter().all(|rec| found.contains(rec)), "a record is gone");
    assert!(found.is_sorted_by(|a, b| a.offset < b.offset));
    assert_eq!(table(&found), table(before));
}

struct Failure {
    name: &'static str,
    fault: Fault,
    /// The error it must become, if it becomes one.
    explains: fn(&std::io::Error) -> bool,
}

fn failures() -> Vec<Failure> {
    let failure = |name, fault, explains| Failure { name, fault, explains };
    let full: fn(&std::io::Error) -> bool = |error| error.kind() == ErrorKind::StorageFull;
    vec![
        failure("full", Fault::Error(ErrorKind::StorageFull), full),
        failure(
            "full in the middle",
            Fault::PartialWrite { written: 30, kind: ErrorKind::StorageFull },
            full,
        ),
        failure("EIO", Fault::Errno(5), |error| error.raw_os_error() == Some(5)),
        failure("EMFILE", Fault::Errno(24), |error| error.raw_os_error() == Some(24)),
        failure("one byte at a time", Fault::ShortIo(1), |_| false),
    ]
}

/// Compacts while calls fail. Says whether one did.
fn fail(disk: &MemFs, before: &[Rec], failure: &Failure, n: u64, forever: bool) -> bool {
    let disk = disk.kill();
    let fs = FaultFs::new(disk.clone());
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    fs.clear_trace();
    let rule = match failure.name {
        // A directory is opened to be synced.
        "EMFILE" => Rule::new(Operation::Open, failure.fault.clone())
            .or(Operation::CreateNew)
            .or(Operation::SyncDir),
        _ => Rule::any(failure.fault.clone()),
    };
    let rule = fs.add_rule(if forever { rule.from_nth(n) } else { rule.nth(n) });
    let compacted = log.compact();
    let fired = fs.hit_count(rule) > 0;
    if forever {
        // Every call meanwhile gets an answer.
        (0..3).for_each(|offset| drop(log.get(offset)));
        drop((log.verify(), log.stats(), log.compact()));
    }
    fs.clear_rules();
    let failed: Vec<Call> = fs.trace().into_iter().filter(|call| call.result.is_err()).collect();
    match &compacted {
        Ok(_) => {}
        Err(Error::Io { source, .. }) => assert!((failure.explains)(source), "{source}"),
        Err(Error::Poisoned { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    check(&log, before);
    let poisoned = matches!(log.roll(), Err(Error::Poisoned { .. }));
    let first = failed.iter().find(|call| call.result != Err(ErrorKind::NotFound));
    if let Some(first) = first {
        let of_output = first.path.to_string_lossy().ends_with(".cleaned");
        let writes = matches!(first.operation, Operation::Write | Operation::CreateNew);
        assert!(!(poisoned && of_output && writes), "poisoned by a disk that is full: {first:?}");
    }
    if poisoned {
        assert!(matches!(log.compact(), Err(Error::Poisoned { .. })));
        assert!(matches!(log.maintain(), Err(Error::Poisoned { .. })));
        // Files of the replacement may have other names until the next opening.
        match log.verify() {
            Ok(_) | Err(Error::Poisoned { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    } else {
        log.compact().unwrap();
        assert_eq!(read_all(&log), winners(before));
        assert_eq!(log.verify().unwrap(), []);
        let left = staged(&disk);
        assert!(left.iter().all(|name| name.ends_with(".deleted")), "{left:?}");
    }
    drop(log);
    for way in [Way::Kill, Way::SyncedOnly, Way::Some(n)] {
        let disk = way.disk(&disk);
        let log = open(&disk);
        check(&log, before);
        log.compact().unwrap();
        assert_eq!(read_all(&log), winners(before));
        assert_eq!(log.verify().unwrap(), []);
    }
    fired
}

#[test]
fn compaction_survives_failure_of_each_call() {
    let (disk, before) = prepared();
    let mut count = 0;
    for seed in seeds("ANNALS_COMPACTION_SEEDS", 1) {
        for failure in failures() {
            for forever in [false, true] {
                let mut n = 1 + (seed + u64::from(forever)) % 12;
                loop {
                    let work = || fail(&disk, &before, &failure, n, forever);
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(panic) => {
                            say(&format!("{}, call {n}, forever {forever}", failure.name));
                            std::panic::resume_unwind(panic);
                        }
                    }
                    count += 1;
                    n += 12;
                }
            }
        }
    }
    say(&format!("{count} failures"));
    assert!(count > 100);
}

/// A segment that is being written is removed when there is no room for it. Where that fails too,
/// and the next pass joins the segments to other groups, a crash in the middle of it finds the
/// leftover beside a replacement.
#[test]
fn leftover_of_failed_pass_is_harmless() {
    let (base, before) = prepared();
    let mut leftovers = 0;
    for nth in 1..20 {
        let disk = base.kill();
        let fs = FaultFs::new(disk.clone());
        fs.record_trace(false);
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        // The log is written, its index cannot be, and from then on nothing can be removed.
        let (later, path) = (fs.clone(), ".log.cleaned");
        let written = Fault::call(move |_| {
            later.add_rule(Rule::new(Operation::Remove, Fault::Errno(5)).path(".cleaned"));
        });
        fs.add_rule(Rule::new(Operation::SyncAll, written).path(path).nth(nth));
        let full = Rule::new(Operation::CreateNew, Fault::Error(ErrorKind::StorageFull));
        fs.add_rule(full.path(".index.cleaned").nth(nth));
        if log.compact().is_ok() {
            break;
        }
        fs.clear_rules();
        leftovers += usize::from(!staged(&disk).is_empty());
        let images = Arc::new(Mutex::new(Vec::new()));
        let (taken, camera) = (Arc::clone(&images), disk.clone());
        fs.add_rule(Rule::any(Fault::call(move |_| taken.lock().unwrap().push(camera.kill()))));
        log.compact().unwrap();
        assert_eq!(read_all(&log), winners(&before));
        drop(log);
        for image in images.lock().unwrap().iter() {
            for way in [Way::Kill, Way::SyncedOnly] {
                check(&open(&way.disk(image)), &before);
            }
        }
    }
    assert!(leftovers > 2);
}
