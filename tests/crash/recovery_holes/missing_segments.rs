//! Segments that are missing at the start or in the middle, after a deletion, a crash or a close.

use super::{append, close_with_topic, dense, tiny};
use annals::fs::{CrashState, FaultFs, Fs, MemFs};
use annals::*;
use std::path::Path;
use support::images::Images;
use support::{DIR, name, offsets, read_file, store, write_file};

/// A loss of power may bring a segment back that was deleted, and take the one in which the log
/// started then.
#[test]
fn log_opens_when_deleted_segment_returns() {
    for appended in [0, 6] {
        let fs = MemFs::new();
        let log = dense(&fs);
        log.flush().unwrap();
        let segment = read_file(&fs, DIR, &name(2, "log"));
        append(&log, 12..12 + appended);
        log.delete_before(12).unwrap();
        let disk = fs.crash(CrashState::AllWrites);
        for entry in disk.list(Path::new(DIR)).unwrap() {
            if entry.name.ends_with(".log") && entry.name != name(16, "log") {
                disk.remove(&Path::new(DIR).join(entry.name)).unwrap();
            }
        }
        write_file(&disk, DIR, &name(2, "log"), &segment);
        let log = Log::open(DIR, tiny(&disk)).unwrap();
        assert_eq!((log.offsets().start, log.offsets().end), (12, 12));
    }
}

/// An inner segment that is gone, or empty, or whose end is gone, is damage in a log that was
/// never compacted: it opened with a hole.
#[test]
fn missing_segment_is_corruption_when_uncompacted() {
    for flushed in [false, true] {
        let fs = MemFs::new();
        let log = dense(&fs);
        if flushed {
            log.flush().unwrap();
        }
        for base in (0..10).step_by(2) {
            for how in 0..3 {
                let disk = fs.kill();
                let bytes = read_file(&disk, DIR, &name(base, "log"));
                match how {
                    0 if base == 0 => continue,
                    0 => disk.remove(&Path::new(DIR).join(name(base, "log"))).unwrap(),
                    how => {
                        let kept = bytes.len() / 2 * (how - 1);
                        write_file(&disk, DIR, &name(base, "log"), &bytes[..kept]);
                    }
                }
                let case = format!("{base}, {how}, flushed: {flushed}");
                let Err(Error::Corrupt(found)) = Log::open(DIR, tiny(&disk)) else {
                    panic!("{case}: it opens");
                };
                let CorruptionKind::OffsetsMissing { to, .. } = found.reason else {
                    panic!("{case}: {found}")
                };
                assert_eq!(to, base + 2, "{case}");
                let rest = |how| {
                    let config = tiny(&disk.kill()).on_corruption(how);
                    offsets(&Log::open(DIR, config).unwrap())
                };
                let lost = base + u64::from(how == 2);
                let gone = lost..base + 2;
                assert_eq!(rest(OnCorruption::Truncate), (0..lost).collect::<Vec<_>>(), "{case}");
                let kept: Vec<u64> = (0..12).filter(|offset| !gone.contains(offset)).collect();
                assert_eq!(rest(OnCorruption::Quarantine), kept, "{case}");
            }
        }
    }
}

/// A log of 12 offsets by itself or in a store, with `start` deleted from its front, after its
/// process ended.
fn killed(dir: &str, start: u64) -> MemFs {
    let fs = MemFs::new();
    if dir != DIR {
        close_with_topic(&fs);
    }
    let log = Log::open(dir, tiny(&fs)).unwrap();
    append(&log, 0..12);
    if start > 0 {
        log.delete_before(start).unwrap();
    }
    fs.kill()
}

/// The start of a log is stored before anything below it is removed. After an unclean end, a log
/// without its first segments began later, and nothing said so.
#[test]
fn missing_front_is_corruption_after_crash() {
    for (dir, start) in [(DIR, 0), (DIR, 5), ("d/t-0", 0), ("d/t-0", 5)] {
        let fs = killed(dir, start);
        for first in (start / 2 * 2 + 2..12).step_by(2) {
            for disk in [fs.kill(), fs.crash(CrashState::AllWrites)] {
                for base in (0..first).step_by(2) {
                    disk.remove(&Path::new(dir).join(name(base, "log"))).ok();
                }
                let case = format!("{dir}, {start}, {first}");
                let Err(Error::Corrupt(found)) = Log::open(dir, tiny(&disk)) else {
                    panic!("{case}: it opens");
                };
                assert_eq!(found.reason, CorruptionKind::OffsetsMissing { from: start, to: first });
                for choice in [OnCorruption::Truncate, OnCorruption::Quarantine] {
                    let disk = disk.kill();
                    drop(Log::open(dir, tiny(&disk).on_corruption(choice)).unwrap());
                    // From then on it is known to begin there.
                    let log = Log::open(dir, tiny(&disk.kill())).unwrap();
                    assert_eq!(log.offsets().start, first, "{case}");
                    assert_eq!(offsets(&log), (first..12).collect::<Vec<_>>(), "{case}");
                }
            }
        }
    }
}

/// A segment that was not synced may be lost in a power loss, while the name of the next one is
/// there. If all segments before it were deleted, the log began after the hole.
#[test]
fn front_lost_with_power_removes_rest() {
    for dir in [DIR, "d/t-0"] {
        let fs = killed(dir, 0);
        let log = Log::open(dir, tiny(&fs)).unwrap();
        assert_eq!(log.delete_before(12).unwrap(), 12);
        append(&log, 12..18);
        let disk = fs.crash(CrashState::AllWrites);
        let mut bases = Vec::new();
        for entry in disk.list(Path::new(dir)).unwrap() {
            bases.extend(entry.name.strip_suffix(".log").map(|base| base.parse::<u64>().unwrap()));
        }
        bases.sort_unstable();
        for base in &bases[..bases.len() - 1] {
            disk.remove(&Path::new(dir).join(name(*base, "log"))).unwrap();
        }
        assert!(bases.last().is_some_and(|last| *last > 12), "{bases:?}");
        let log = Log::open(dir, tiny(&disk)).unwrap();
        assert_eq!((log.offsets().start, log.offsets().end), (12, 12));
        assert!(!log.recovery().clean_shutdown && log.recovery().truncated_bytes > 0);
    }
}

/// Nothing that a deletion leaves, at whatever moment it stops, is taken for a loss.
#[test]
fn log_opens_wherever_deletion_stopped() {
    for dir in [DIR, "d/t-0"] {
        for full in [false, true] {
            let memory = killed(dir, 3);
            if full {
                // Nothing was set aside in a directory that was full before it was first opened.
                let above = if dir == DIR { DIR } else { "d" };
                for entry in memory.list(Path::new(above)).unwrap() {
                    if entry.name.starts_with(".reserved") {
                        memory.remove(&Path::new(above).join(entry.name)).unwrap();
                    }
                }
                memory.set_capacity(memory.used_bytes());
            }
            let faults = FaultFs::new(memory.clone());
            let log = Log::open(dir, tiny(&memory).fs(faults.clone())).unwrap();
            // A loss of power still explains what is torn of these.
            memory.set_capacity(u64::MAX);
            append(&log, 12..20);
            if full {
                memory.set_capacity(memory.used_bytes());
            }
            let images = Images::default();
            let disk = memory.clone();
            let rule = images.watch(&faults, &memory, move || {
                if full {
                    // Another program takes everything that becomes free.
                    disk.set_capacity(disk.used_bytes());
                    disk.set_file_limit(disk.file_count());
                }
            });
            // Without room, the start can be where a segment begins, and nowhere else.
            assert!(log.delete_before(5).is_ok() || full);
            let start = log.offsets().start;
            assert!(if full { [3, 4].contains(&start) } else { start == 5 }, "{start}");
            // Not even after a flush, which stores where the next recovery begins.
            log.append("x").ok();
            log.roll().ok();
            log.append("x").ok();
            log.flush().ok();
            assert!(log.delete_before(9).is_ok() || full);
            assert!(log.offsets().start >= 8);
            drop(log);
            faults.remove_rule(rule);
            let images = images.take();
            assert!(images.len() > 10, "{}", images.len());
            for (image, seed) in images.into_iter().zip(0..) {
                for (_, disk) in image.ways(seed) {
                    let case = format!("{dir}, full: {full}, before {}", image.call);
                    let log = match Log::open(dir, tiny(&disk)) {
                        Ok(log) => log,
                        Err(error) => panic!("{case}: {error}"),
                    };
                    let there = offsets(&log);
                    let start = log.offsets().start;
                    assert!(start <= 9 && there.contains(&9), "{case}: {there:?}");
                    assert_eq!(there, (start..start + there.len() as u64).collect::<Vec<_>>());
                }
            }
        }
    }
}

/// A directory as a broker leaves it: its log may begin anywhere, with offsets left out anywhere.
fn of_a_broker(compacted: bool) -> MemFs {
    let (whole, fs) = (MemFs::new(), MemFs::new());
    dense(&whole);
    fs.create_dir(Path::new("d/t-0")).unwrap();
    for base in [4, 8, 10] {
        let bytes = read_file(&whole, DIR, &name(base, "log"));
        write_file(&fs, "d/t-0", &name(base, "log"), &bytes[..bytes.len() / 2]);
    }
    write_file(&fs, "d", ".lock", b"");
    write_file(&fs, "d", "recovery-point-offset-checkpoint", b"0\n1\nt 0 6\n");
    if compacted {
        write_file(&fs, "d", "cleaner-offset-checkpoint", b"0\n1\nt 0 6\n");
    }
    fs.sync_dir(Path::new("d/t-0")).unwrap();
    fs.sync_dir(Path::new("d")).unwrap();
    fs.crash(CrashState::AllWrites)
}

/// A recovery point written by this crate confirms the other checkpoints: that offsets may be left
/// out, and where the log begins. Written before them, it made the next opening call the broker's
/// log damaged.
#[test]
fn broker_log_opens_wherever_opening_stopped() {
    for (compacted, alone) in [(false, false), (false, true), (true, false), (true, true)] {
        let memory = of_a_broker(compacted);
        let open = |fs: &dyn Fn() -> FaultFs| {
            if alone {
                return Log::open("d/t-0", LogConfig::default().fs(fs())).map(|log| (None, log));
            }
            let config = StoreConfig::default().fs(fs()).maintenance(None).recovery_threads(1);
            let store = Store::open("d", config)?;
            let log = store.topic("t")?.partition(0)?;
            Ok((Some(store), log))
        };
        let faults = FaultFs::new(memory.clone());
        let images = Images::default();
        images.watch(&faults, &memory, || ());
        let (store, log) = open(&|| faults.clone()).unwrap();
        append(&log, 12..14);
        log.flush().unwrap();
        drop((log, store));
        let images = images.take();
        assert!(images.len() > 10, "{}", images.len());
        for (image, seed) in images.into_iter().zip(0..) {
            for (_, disk) in image.ways(seed) {
                // Twice, as the first of them may take over what is there.
                for disk in [disk.clone(), disk.kill()] {
                    let opened = open(&|| FaultFs::new(disk.clone()));
                    let case = format!("{compacted}, {alone}, before {}", image.call);
                    let (_store, log) = opened.unwrap_or_else(|e| panic!("{case}: {e}"));
                    let there = offsets(&log);
                    assert_eq!(there[..3], [4, 8, 10], "{case}");
                }
            }
        }
    }
}

/// A marker of a clean shutdown lists every segment. Without the first, or all but the last, a log
/// began later, and a store without the directories of a topic had none of that name.
#[test]
fn missing_front_is_corruption_after_close() {
    let fs = MemFs::new();
    dense(&fs).close().unwrap();
    for gone in [vec![0], vec![0, 2], vec![0, 2, 4, 6, 8], vec![2, 4, 6, 8]] {
        let disk = fs.kill();
        for base in &gone {
            disk.remove(&Path::new(DIR).join(name(*base, "log"))).unwrap();
        }
        for _ in 0..2 {
            let opened = Log::open(DIR, tiny(&disk)).map(drop);
            assert!(matches!(opened, Err(Error::Corrupt(_))), "{gone:?}: {opened:?}");
        }
        let config = tiny(&disk).on_corruption(OnCorruption::Truncate);
        assert_eq!(Log::open(DIR, config).unwrap().offsets().end, 12);
    }
    let fs = MemFs::new();
    let s = store(fs.clone());
    for topic in ["kept", "lost"] {
        let topic = s.create_topic(topic, TopicConfig::default().partitions(2)).unwrap();
        topic.partition(1).unwrap().append("x").unwrap();
    }
    s.create_topic("deleted", TopicConfig::default()).unwrap();
    s.delete_topic("deleted").unwrap();
    s.close().unwrap();
    drop(s);
    let config = || StoreConfig::default().fs(fs.clone()).maintenance(None).recovery_threads(1);
    drop(Store::open("d", config()).unwrap());
    store(fs.clone()).close().unwrap();
    for partition in 0..2 {
        let dir = format!("d/lost-{partition}");
        for entry in fs.list(Path::new(&dir)).unwrap() {
            fs.remove(&Path::new(&dir).join(entry.name)).unwrap();
        }
        fs.remove_dir(Path::new(&dir)).unwrap();
    }
    for _ in 0..2 {
        let error = Store::open("d", config()).map(drop).unwrap_err();
        assert!(error.to_string().contains("`lost`"), "{error}");
    }
    let s = Store::open("d", config().on_corruption(OnCorruption::Truncate)).unwrap();
    assert_eq!(s.topics().len(), 1);
    s.close().unwrap();
    drop(s);
    drop(store(fs));
}
