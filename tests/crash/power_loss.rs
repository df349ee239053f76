//! Loss of power, between segments and during the recovery from it.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{Event, Listener, Log, LogConfig, Offset, Record, Timestamp};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use support::{Heard, name, offsets, read_file, write_file};

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

/// A closed segment could come back short, at the edge of a batch, with the next one intact:
/// the log was opened with the records between them missing.
#[test]
fn power_loss_leaves_no_hole() {
    let fs = half_written();
    for seed in 0..500 {
        let log = open(fs.crash(CrashState::Random { seed })).unwrap();
        let found = offsets(&log);
        assert!(!found.is_empty(), "seed {seed}");
        assert!(found.iter().copied().eq(0..found.len() as u64), "seed {seed}: {found:?}");
    }
}

/// The first opening after the loss of power noted the new run of the machine before it had
/// recovered; when it failed, the second one took the loss for damage, or a hole for a gap.
#[test]
fn failed_recovery_still_knows_power_loss() {
    let fs = half_written();
    for seed in 0..60 {
        let disk = fs.crash(CrashState::Random { seed });
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
            let rule = faulty.add_rule(changes);
            drop(open(faulty.clone()));
            let done = faulty.hit_count(rule) == 0;
            let log = open(disk.kill()).unwrap_or_else(|e| panic!("seed {seed}, call {nth}: {e}"));
            assert_eq!(offsets(&log), expected, "seed {seed}, call {nth}");
            if done {
                break;
            }
        }
    }
}

/// Offsets that a truncation inside a batch leaves out are no hole.
#[test]
fn gap_left_by_truncation_stays() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    log.append_all((0..10).map(|n| Record::from(n.to_string()))).unwrap();
    log.append_all((10..20).map(|n| Record::from(n.to_string()))).unwrap();
    log.truncate_to(15).unwrap();
    assert_eq!(log.append("15").unwrap(), 15);
    for how in [CrashState::AllWrites, CrashState::SyncedOnly] {
        let log = open(fs.crash(how)).unwrap();
        assert!(log.offsets().end >= 15, "{how:?}");
    }
    assert_eq!(open(fs.crash(CrashState::AllWrites)).unwrap().offsets().end, 16);
}

/// Events of a truncation came while its lock was held, so a listener that truncated hung.
#[test]
fn listener_may_truncate_from_event() {
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

/// Two segments of two batches each: offsets 0 and 1, 2 and 3. All of it is durable.
fn two_segments() -> MemFs {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    for n in 0..4 {
        if n == 2 {
            log.roll().unwrap();
        }
        log.append(n.to_string()).unwrap();
    }
    log.flush().unwrap();
    fs.crash(CrashState::AllWrites)
}

/// A replacement of a segment, in which its second batch is left out, as `stage` names it.
fn replace(fs: &MemFs, base: Offset, stage: &str) {
    let bytes = read_file(fs, DIR, &name(base, "log"));
    write_file(fs, DIR, &name(base, stage), &bytes[..bytes.len() / 2]);
}

/// A replacement of several segments counts only when it is complete, and the rest that an
/// interrupted opening leaves of it does not count either.
#[test]
fn replacement_counts_only_when_complete() {
    let cases: [(&[_], &[_]); 4] = [
        (&[(2, "log.swap")], &[0, 1, 2]),
        (&[(2, "log.swap"), (2, "index.cleaned")], &[0, 1, 2, 3]),
        (&[(2, "log.swap"), (0, "log.cleaned")], &[0, 1, 2, 3]),
        (&[(0, "log.swap"), (2, "log.cleaned")], &[0, 2, 3]),
    ];
    for (left, expected) in cases {
        let fs = two_segments();
        for (base, stage) in left {
            match *stage {
                "index.cleaned" => write_file(&fs, DIR, &name(*base, stage), b""),
                _ => replace(&fs, *base, stage),
            }
        }
        let memory = fs.crash(CrashState::AllWrites);
        let fs = FaultFs::new(memory.clone());
        let images = Arc::new(Mutex::new(vec![]));
        let (disk, taken) = (memory.clone(), Arc::clone(&images));
        fs.add_rule(Rule::any(Fault::call(move |_| {
            let crash = |seed| disk.crash(CrashState::Random { seed });
            taken.lock().unwrap().extend((0..20).map(crash));
        })));
        assert_eq!(offsets(&open(fs).unwrap()), expected, "{left:?}");
        for image in images.lock().unwrap().iter() {
            assert_eq!(offsets(&open(image.clone()).unwrap()), expected, "{left:?}");
        }
    }
}

/// The files of a complete replacement take their names whether what they replace is there still
/// or not.
#[test]
fn replacement_is_completed_from_any_step() {
    for gone in [false, true] {
        let fs = two_segments();
        replace(&fs, 2, "log.swap");
        if gone {
            fs.remove(&Path::new(DIR).join(name(2, "log"))).unwrap();
        }
        let heard = Arc::new(Heard::default());
        let log = Log::open(DIR, LogConfig::default().fs(fs).listener(heard.clone())).unwrap();
        assert_eq!(offsets(&log), [0, 1, 2]);
        let heard = heard.0.lock().unwrap();
        let completed = |event: &&Event| matches!(event, Event::SwapCompleted { path } if path.ends_with(name(2, "log")));
        assert_eq!(heard.iter().filter(completed).count(), 1, "{heard:?}");
    }
}

/// A flush covers the indexes of closed segments: none is rebuilt after a power loss.
#[test]
fn flushed_segments_keep_their_indexes() {
    let fs = MemFs::new();
    let config = || LogConfig::default().index_interval_bytes(0);
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    for n in 0..16 {
        log.append(Record::new("x").timestamp(Timestamp::from_millis(n))).unwrap();
        if n % 4 == 3 {
            log.roll().unwrap();
        }
    }
    log.flush().unwrap();
    let heard = Arc::new(Heard::default());
    let disk = fs.crash(CrashState::SyncedOnly);
    let log = Log::open(DIR, config().fs(disk).listener(heard.clone())).unwrap();
    for n in 0..16 {
        assert_eq!(log.get(n).unwrap().unwrap().offset, n);
        let time = Timestamp::from_millis(n as i64);
        assert_eq!(log.offset_for_time(time).unwrap(), Some((n, time)));
    }
    let heard = heard.0.lock().unwrap();
    assert!(!heard.iter().any(|event| matches!(event, Event::IndexRebuilt { .. })), "{heard:?}");
}

/// A flush that finds no descriptor has synced no names; the next one does, whatever else it can
/// write.
#[test]
fn next_flush_syncs_missed_names() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let log = open(fs.clone()).unwrap();
    log.append("0").unwrap();
    log.roll().unwrap();
    log.append("1").unwrap();
    let no_descriptor = fs.add_rule(Rule::new(Operation::SyncDir, Fault::Errno(24)));
    log.flush().unwrap_err();
    fs.remove_rule(no_descriptor);
    // No room for the recovery point, whose file would sync the directory too.
    fs.add_rule(Rule::new(Operation::CreateNew, Fault::Error(ErrorKind::StorageFull)));
    assert_eq!(log.flush().unwrap(), 2);
    assert_eq!(offsets(&open(memory.crash(CrashState::SyncedOnly)).unwrap()), [0, 1]);
}
