//! Offsets without a batch, and bytes that are no batch of ours: the parts that opening a log
//! keeps, and those it reports as damage.

use annals::fs::{CrashState, DiskFs, FaultFs, Fs, MemFs, OpenMode, Operation};
use annals::record::{BatchBuilder, crc32c};
use annals::*;
use std::path::Path;
use support::images::Images;
use support::{DIR, name, read_file, write_file};
use support::{offsets, store};

fn compacting(fs: &MemFs) -> LogConfig {
    LogConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(1024).fs(fs.clone())
}

fn tiny(fs: &MemFs) -> LogConfig {
    LogConfig::default().segment_bytes(150).fs(fs.clone())
}

fn append(log: &Log, keys: std::ops::Range<u64>) {
    for key in keys {
        log.append(Record::new("v").key(key.to_string())).unwrap();
    }
}

/// Two batches a segment; the second of each is superseded, so each segment would end in a gap
/// when it is compacted.
fn fill(log: &Log) {
    for n in 0..20 {
        log.append(Record::new("v".repeat(300)).key(format!("unique{n}"))).unwrap();
        log.append(Record::new("v".repeat(300)).key("counter")).unwrap();
    }
}

/// A log that was compacted, and what is in it.
fn compacted(dir: &str, fs: &MemFs) -> (Log, Vec<u64>) {
    let log = Log::open(dir, compacting(fs)).unwrap();
    fill(&log);
    log.compact().unwrap();
    let kept = offsets(&log);
    assert_eq!(kept.len(), 22);
    (log, kept)
}

/// A log of 12 offsets, two in each segment.
fn dense(fs: &MemFs) -> Log {
    let log = Log::open(DIR, tiny(fs)).unwrap();
    append(&log, 0..12);
    log
}

/// Leaves a closed store with the topic `t`: a log creates no partition in one.
fn close_with_topic(fs: &MemFs) {
    let store = store(fs.clone());
    store.create_topic("t", TopicConfig::default()).unwrap();
    store.close().unwrap();
}

fn change_digit(fs: &MemFs, path: &str, from_end: u64, bits: u8) {
    let file = fs.open(Path::new(path), OpenMode::ReadWrite).unwrap();
    let at = file.len().unwrap() - from_end;
    let digit = file.view(at + 1).unwrap().as_slice()[at as usize];
    file.write_all_at(&[digit ^ bits], at).unwrap();
}

/// The recovery point of the store is below that of the partition, which was opened by itself.
/// After a reboot in order, 21 of 22 records were taken for lost with the power.
#[test]
fn compacted_records_stay_when_store_returns() {
    let fs = MemFs::new();
    let s = store(fs.clone());
    s.create_topic("t", TopicConfig::default().cleanup_policy(CleanupPolicy::Compact)).unwrap();
    s.close().unwrap();
    drop(s);
    let (log, kept) = compacted("d/t-0", &fs);
    log.close().unwrap();
    let s = store(fs.crash(CrashState::AllWrites));
    assert_eq!(offsets(&s.topic("t").unwrap().partition(0).unwrap()), kept);
}

/// Each bit of the recovery point, and the file itself, may be damaged: nothing durable goes.
#[test]
fn compacted_records_stay_when_point_damaged() {
    let fs = MemFs::new();
    let (log, kept) = compacted(DIR, &fs);
    log.flush().unwrap();
    let path = format!("{DIR}/recovery-point-offset-checkpoint");
    let len = read_file(&fs, DIR, "recovery-point-offset-checkpoint").len() as u64;
    for from_end in 1..=len {
        for bit in 0..8 {
            let disk = fs.crash(CrashState::SyncedOnly);
            change_digit(&disk, &path, from_end, 1 << bit);
            let log = Log::open(DIR, compacting(&disk)).unwrap();
            assert_eq!(offsets(&log), kept, "bit {bit} of the byte {from_end} from the end");
        }
    }
    let disk = fs.crash(CrashState::SyncedOnly);
    disk.remove(Path::new(&path)).unwrap();
    assert_eq!(offsets(&Log::open(DIR, compacting(&disk)).unwrap()), kept);
}

/// A broker leaves its lock file empty, and writes the recovery point once a minute. Whether
/// anything was compacted is not in any file here.
#[test]
fn compacted_records_stay_after_broker_killed() {
    let fs = MemFs::new();
    let (log, kept) = compacted("d/t-0", &fs);
    log.close().unwrap();
    let names = ["recovery-point-offset-checkpoint", "cleaner-offset-checkpoint"];
    for name in names.into_iter().chain([".kafka_cleanshutdown", ".lock"]) {
        fs.remove(&Path::new("d/t-0").join(name)).unwrap();
    }
    fs.open(Path::new("d/.lock"), OpenMode::CreateNew).unwrap();
    let point =
        fs.open(Path::new("d/recovery-point-offset-checkpoint"), OpenMode::CreateNew).unwrap();
    point.write_all_at(b"0\n1\nt 0 6\n", 0).unwrap();
    let s = store(fs.kill());
    let log = s.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(offsets(&log), kept);
    drop((log, s));
    // The next openings know what this one found out.
    let fs = fs.kill();
    drop(store(fs.clone()));
    let s = store(fs.crash(CrashState::AllWrites));
    assert_eq!(offsets(&s.topic("t").unwrap().partition(0).unwrap()), kept);
}

/// Logs compacted by another program have no empty batch at the end of their segments. Offsets are
/// missing there like those that a crash took, and stay missing.
#[test]
fn unmarked_holes_of_other_program_stay() {
    let whole = MemFs::new();
    dense(&whole);
    for policy in [CleanupPolicy::Compact, CleanupPolicy::Delete] {
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).unwrap();
        for base in [0, 4, 8, 10] {
            let bytes = read_file(&whole, DIR, &name(base, "log"));
            write_file(&fs, DIR, &name(base, "log"), &bytes[..bytes.len() / 2]);
        }
        for round in 0..3 {
            let disk = if round == 1 { fs.crash(CrashState::AllWrites) } else { fs.kill() };
            let log = Log::open(DIR, tiny(&disk).cleanup_policy(policy)).unwrap();
            assert_eq!(offsets(&log), [0, 4, 8, 10], "round {round}");
        }
        drop(Log::open(DIR, tiny(&fs).cleanup_policy(policy)).unwrap());
        let log = Log::open(DIR, tiny(&fs.crash(CrashState::AllWrites)).cleanup_policy(policy));
        assert_eq!(offsets(&log.unwrap()), [0, 4, 8, 10]);
    }
}

/// The end of a segment that was not synced may be lost while the next one is there: then that one
/// goes, under every policy.
#[test]
fn lost_segment_end_removes_what_follows() {
    for policy in [CleanupPolicy::Compact, CleanupPolicy::Delete] {
        let fs = MemFs::new();
        let config = || tiny(&fs).cleanup_policy(policy);
        let log = Log::open(DIR, config()).unwrap();
        append(&log, 0..6);
        log.flush().unwrap();
        append(&log, 6..12);
        let bases: Vec<u64> = log.stats().unwrap().segments.iter().map(|s| s.base_offset).collect();
        let disk = fs.crash(CrashState::AllWrites);
        let cut = bases[bases.len() - 2];
        let bytes = read_file(&disk, DIR, &name(cut, "log"));
        write_file(&disk, DIR, &name(cut, "log"), &bytes[..bytes.len() / 2]);
        let log = Log::open(DIR, config().fs(disk)).unwrap();
        let end = log.offsets().end;
        assert!(end > cut && end < *bases.last().unwrap(), "{end}, {bases:?}");
        assert_eq!(offsets(&log), (0..end).collect::<Vec<_>>());
    }
}

/// A viewer recovers nothing, as it cannot know that no process has the log open. Until the log is
/// opened for writing, it shows what was never durable, too, and passes over what is missing.
#[test]
fn viewer_shows_unsynced_records_until_recovery() {
    let fs = MemFs::new();
    let log = Log::open(DIR, tiny(&fs)).unwrap();
    append(&log, 0..6);
    log.flush().unwrap();
    append(&log, 6..12);
    let disk = fs.crash(CrashState::AllWrites);
    let bytes = read_file(&disk, DIR, &name(8, "log"));
    write_file(&disk, DIR, &name(8, "log"), &bytes[..bytes.len() / 2]);
    let viewer = Log::open_read_only(DIR, tiny(&disk)).unwrap();
    assert_eq!(offsets(&viewer), [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]);
    let log = Log::open(DIR, tiny(&disk)).unwrap();
    assert_eq!(offsets(&log), (0..9).collect::<Vec<_>>());
    append(&log, 9..10);
    let again = Log::open_read_only(DIR, tiny(&disk)).unwrap();
    assert_eq!(offsets(&again), (0..10).collect::<Vec<_>>());
}

/// Loses power with records in several segments that were not synced, in many ways: they are cut,
/// and no others.
fn lose_unsynced(at: &str, fs: &MemFs, synced: u64, open: impl Fn(&MemFs) -> Log) {
    append(&open(fs), synced..synced + 20);
    for seed in 0..40 {
        let there = offsets(&open(&fs.crash(CrashState::Random { seed })));
        assert!(there.len() as u64 >= synced, "{at}, seed {seed}: {there:?}");
        assert_eq!(there, (0..there.len() as u64).collect::<Vec<_>>(), "{at}, seed {seed}");
    }
}

/// A log that was closed in order opens without its recovery point. Records appended then and torn
/// by a power loss were taken for damage.
#[test]
fn torn_records_are_truncated_without_point() {
    for dir in [DIR, "d/t-0"] {
        let fs = MemFs::new();
        if dir != DIR {
            close_with_topic(&fs);
        }
        let open = |fs: &MemFs| Log::open(dir, tiny(fs)).unwrap();
        let log = open(&fs);
        append(&log, 0..10);
        log.close().unwrap();
        for above in ["d", DIR] {
            fs.remove(&Path::new(above).join("recovery-point-offset-checkpoint")).ok();
        }
        lose_unsynced(dir, &fs, 10, open);
    }
}

/// The line of a log in a broker's cleaner checkpoint stayed a broker's for as long as nothing was
/// compacted, and with it the log.
#[test]
fn torn_records_are_truncated_after_broker() {
    let fs = MemFs::new();
    close_with_topic(&fs);
    let open = |fs: &MemFs| Log::open("d/t-0", tiny(fs)).unwrap();
    let log = open(&fs);
    append(&log, 0..10);
    log.close().unwrap();
    for name in [".kafka_cleanshutdown", ".lock"] {
        fs.remove(&Path::new("d").join(name)).unwrap();
    }
    write_file(&fs, "d", ".lock", b"");
    for name in ["recovery-point-offset-checkpoint", "cleaner-offset-checkpoint"] {
        write_file(&fs, "d", name, b"0\n1\nt 0 6\n");
    }
    drop(open(&fs));
    lose_unsynced("a broker's", &fs, 10, open);
}

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

/// Records that were quarantined, or truncated inside a batch, are known to be gone: no later
/// opening takes them for a loss, whatever happens to the recovery point.
#[test]
fn known_holes_are_accepted_later() {
    let fs = MemFs::new();
    dense(&fs);
    let disk = fs.kill();
    disk.remove(&Path::new(DIR).join(name(4, "log"))).unwrap();
    let mut bytes = read_file(&disk, DIR, &name(8, "log"));
    bytes[70] ^= 1;
    write_file(&disk, DIR, &name(8, "log"), &bytes);
    let config = tiny(&disk).on_corruption(OnCorruption::Quarantine);
    let log = Log::open(DIR, config).unwrap();
    let kept = vec![0, 1, 2, 3, 6, 7, 8, 10, 11];
    assert_eq!(offsets(&log), kept);
    drop(log);

    let cut = MemFs::new();
    let log = Log::open(DIR, tiny(&cut)).unwrap();
    log.append_all((0..3).map(|n| Record::from(n.to_string()))).unwrap();
    log.append_all((3..6).map(|n| Record::from(n.to_string()))).unwrap();
    log.truncate_to(5).unwrap();
    log.append("5").unwrap();
    log.flush().unwrap();
    drop(log);

    for (fs, kept) in [(disk, kept), (cut, vec![0, 1, 2, 5])] {
        for removed in [false, true] {
            for disk in
                [fs.kill(), fs.crash(CrashState::SyncedOnly), fs.crash(CrashState::AllWrites)]
            {
                if removed {
                    let point = Path::new(DIR).join("recovery-point-offset-checkpoint");
                    disk.remove(&point).unwrap();
                }
                let log = Log::open(DIR, tiny(&disk)).unwrap();
                assert_eq!(offsets(&log), kept, "removed: {removed}");
                assert_eq!(log.verify().unwrap(), []);
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

/// No checksum covers a base offset. A flipped bit in that of the last batch moved its record, and
/// the end of the log with it.
#[test]
fn flipped_base_offset_is_corruption() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    append(&log, 0..4);
    let bytes = read_file(&fs, DIR, &name(0, "log"));
    let at = bytes.len() / 4 * 3;
    for bit in 0..64 {
        for policy in [CleanupPolicy::Delete, CleanupPolicy::Compact] {
            let disk = fs.kill();
            let mut damaged = bytes.clone();
            damaged[at + 7 - bit / 8] ^= 1 << (bit % 8);
            write_file(&disk, DIR, &name(0, "log"), &damaged);
            let config = LogConfig::default().fs(disk.clone()).cleanup_policy(policy);
            let opened = Log::open(DIR, config.clone()).map(drop);
            // Compaction may leave offsets out, as many as a segment spans.
            if policy == CleanupPolicy::Compact && (2..31).contains(&bit) {
                opened.unwrap();
                continue;
            }
            assert!(matches!(opened, Err(Error::Corrupt(_))), "bit {bit}: {opened:?}");
            assert_eq!(read_file(&disk, DIR, &name(0, "log")), damaged);
            let log = Log::open(DIR, config.on_corruption(OnCorruption::Truncate)).unwrap();
            assert_eq!(offsets(&log), [0, 1, 2]);
        }
    }
}

/// Below a checkpoint above the end, records that were never compacted counted as compacted,
/// forever.
#[test]
fn cleaner_checkpoint_above_end_is_ignored() {
    let fs = MemFs::new();
    let log = Log::open(DIR, compacting(&fs)).unwrap();
    fill(&log);
    log.close().unwrap();
    for copies in [1, 2] {
        let disk = fs.kill();
        let text = format!("0\n{copies}\n{}", "t 0 1000\n".repeat(copies));
        write_file(&disk, DIR, "cleaner-offset-checkpoint", text.as_bytes());
        let log = Log::open(DIR, compacting(&disk)).unwrap();
        assert_eq!(log.stats().unwrap().first_dirty_offset, 0);
        log.append(Record::new("v").key("last")).unwrap();
        log.roll().unwrap();
        log.maintain().unwrap();
        assert_eq!(offsets(&log).len(), 22);
    }
}

/// A message of format v0 or v1, with its own checksum.
fn legacy(offset: u64, magic: u8) -> Vec<u8> {
    let mut body = vec![magic, 0];
    if magic == 1 {
        body.extend(1_700_000_000_000_i64.to_be_bytes());
    }
    body.extend((-1_i32).to_be_bytes());
    body.extend(3_i32.to_be_bytes());
    body.extend(b"old");
    let mut message = offset.to_be_bytes().to_vec();
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(crc_fast::crc32_iso_hdlc(&body).to_be_bytes());
    message.extend(body);
    message
}

/// A batch whose attributes and magic are set, with the checksum of its format.
fn batch(offset: u64, magic: u8, codec: u8) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.base_offset(offset).push(Timestamp::from_millis(1), None, Some(b"new")).unwrap();
    let mut batch = builder.build_bytes().unwrap();
    (batch[16], batch[22]) = (magic, codec);
    let checksum = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch
}

/// A message whose length and checksum agree was written so: it is no torn write, and its offsets
/// are taken. Whole ones of other formats, and of other codecs, were cut from the end of a log,
/// and their offsets given out again.
#[test]
fn whole_messages_are_never_truncated() {
    let fs = MemFs::new();
    append(&Log::open(DIR, tiny(&fs).segment_bytes(1 << 20)).unwrap(), 0..2);
    let before = read_file(&fs, DIR, &name(0, "log"));
    let cases = [legacy(2, 0), legacy(2, 1), batch(2, 3, 0), batch(2, 2, 5), batch(2, 2, 7)];
    for message in cases {
        for (front, behind) in [(true, &[][..]), (false, &before[..]), (true, &[0; 9000])] {
            let kept = if front { &before[..] } else { &[] };
            let mut offsets = message.clone();
            offsets[7] = if front { 2 } else { 0 };
            let bytes = [kept, &offsets, behind].concat();
            for choice in [OnCorruption::Fail, OnCorruption::Truncate, OnCorruption::Quarantine] {
                for disk in [fs.kill(), fs.crash(CrashState::AllWrites)] {
                    write_file(&disk, DIR, &name(0, "log"), &bytes);
                    let opened = Log::open(DIR, tiny(&disk).on_corruption(choice)).map(drop);
                    let case = format!("{:?}, {front}, {choice:?}", &message[16..23]);
                    if message[16] == 3 && choice == OnCorruption::Quarantine {
                        opened.expect(&case);
                        continue;
                    }
                    let Err(Error::Unsupported(_)) = opened else { panic!("{case}: {opened:?}") };
                    assert!(read_file(&disk, DIR, &name(0, "log")) == bytes, "{case}");
                }
            }
            // Behind damage, it says that this is none of a write that was cut short.
            if front {
                let disk = fs.kill();
                let damaged = [kept, &[7; 40][..], &offsets, behind].concat();
                write_file(&disk, DIR, &name(0, "log"), &damaged);
                let opened = Log::open(DIR, tiny(&disk)).map(drop);
                assert!(matches!(opened, Err(Error::Corrupt(_))), "{opened:?}");
            }
        }
        // Without a valid checksum, it is the rest of such a write, if the write was one of ours.
        let disk = fs.kill();
        let mut torn = [&before[..], &message].concat();
        *torn.last_mut().unwrap() ^= 1;
        write_file(&disk, DIR, &name(0, "log"), &torn);
        match Log::open(DIR, tiny(&disk)) {
            Ok(log) => assert_eq!((log.offsets().end, message[16]), (2, 2)),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt(_)) && message[16] != 2, "{error}")
            }
        }
    }
}

/// No checksum covers the magic, the length and the base offset. In the first batch, a flipped bit
/// in the magic turned the log into one of another format, which could never be opened; in the
/// last batch, a flipped bit in any of the three made recovery truncate it as if torn.
#[test]
fn flipped_bit_outside_checksum_is_corruption() {
    let fs = MemFs::new();
    append(&Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap(), 0..4);
    let bytes = read_file(&fs, DIR, &name(0, "log"));
    let size = bytes.len() / 4;
    for batch in 0..4 {
        for bit in (0..12 * 8).chain(16 * 8..17 * 8) {
            let disk = fs.kill();
            let mut damaged = bytes.clone();
            damaged[batch * size + bit / 8] ^= 1 << (bit % 8);
            write_file(&disk, DIR, &name(0, "log"), &damaged);
            let open = |choice| {
                Log::open(DIR, LogConfig::default().fs(disk.clone()).on_corruption(choice))
            };
            let opened = open(OnCorruption::Fail).map(drop);
            let case = format!("batch {batch}, bit {bit}");
            match opened {
                Err(Error::Corrupt(_)) => {}
                Err(Error::Unsupported(_)) if damaged[batch * size + 16] > 2 => {}
                opened => panic!("{case}: {opened:?}"),
            }
            assert!(read_file(&disk, DIR, &name(0, "log")) == damaged, "{case}");
            let log = open(OnCorruption::Quarantine).unwrap();
            assert!(!log.recovery().quarantined.is_empty(), "{case}");
            let left = offsets(&log);
            assert!(
                left.iter().all(|offset| (0..4).contains(offset)) && left.len() >= 2,
                "{case}: {left:?}"
            );
        }
    }
}

/// Bytes within the length of a torn batch prove nothing: mirrors and backups store batches in
/// values.
#[test]
fn recovery_truncates_torn_nested_batches() {
    for inner in [batch(1000, 2, 0), batch(1, 2, 0), legacy(1, 1), batch(2, 3, 0)] {
        let fs = MemFs::new();
        let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
        append(&log, 0..1);
        log.append_all([Record::new(inner.repeat(3)), Record::new("x".repeat(1000))]).unwrap();
        let disk = fs.kill();
        let bytes = read_file(&disk, DIR, &name(0, "log"));
        write_file(&disk, DIR, &name(0, "log"), &bytes[..bytes.len() - 500]);
        let log = Log::open(DIR, LogConfig::default().fs(disk)).unwrap();
        assert_eq!(log.offsets().end, 1);
    }
}

/// A last file that has grown to terabytes of holes is not read through, with something at its end
/// or without.
#[test]
fn holes_of_file_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let log = Log::open(&path, LogConfig::default()).unwrap();
    append(&log, 0..4);
    drop(log);
    let file = path.join(name(0, "log"));
    let whole = std::fs::metadata(&file).unwrap().len();
    for tail in [&b""[..], b"torn"] {
        let grown = DiskFs.open(&file, OpenMode::ReadWrite).unwrap();
        grown.set_len(1 << 40).unwrap();
        grown.write_all_at(tail, (1 << 40) - tail.len() as u64).unwrap();
        if grown.next_data(1 << 30).unwrap() == 1 << 30 {
            return; // The file system knows no holes.
        }
        for choice in [OnCorruption::Quarantine, OnCorruption::Fail] {
            let fs = FaultFs::new(DiskFs);
            let config = LogConfig::default().fs(fs.clone()).on_corruption(choice);
            let log = Log::open(&path, config).unwrap();
            assert_eq!(log.offsets().end, 4);
            let reads = fs.trace().into_iter().filter(|call| call.operation == Operation::Read);
            let read: u64 = reads.map(|call| call.len).sum();
            assert!(read < 10 << 20, "{read}");
        }
        assert_eq!(std::fs::metadata(&file).unwrap().len(), whole);
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

/// One damaged header hid the sizes and times of all segments.
#[test]
fn stats_skip_damaged_segment() {
    let fs = MemFs::new();
    dense(&fs).close().unwrap();
    let mut bytes = read_file(&fs, DIR, &name(4, "log"));
    bytes[9] ^= 1;
    write_file(&fs, DIR, &name(4, "log"), &bytes);
    for extension in ["index", "timeindex"] {
        fs.remove(&Path::new(DIR).join(name(4, extension))).unwrap();
    }
    let log = Log::open(DIR, tiny(&fs)).unwrap();
    for segment in log.stats().unwrap().segments {
        assert_eq!(segment.damage.is_some(), segment.base_offset == 4, "{segment:?}");
        assert!(segment.bytes > 0);
        assert_eq!(segment.largest_timestamp == Timestamp::NONE, segment.base_offset == 4);
    }
}

/// The last possible offset was used, and its record deleted: an empty segment after it is left.
#[test]
fn log_emptied_at_last_offset_opens() {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    write_file(&fs, DIR, &name(MAX_OFFSET, "log"), &batch(MAX_OFFSET, 2, 0));
    let log = Log::open(DIR, tiny(&fs)).unwrap();
    let end = log.offsets().end;
    assert_eq!(end, MAX_OFFSET + 1);
    log.delete_before(end).unwrap();
    log.close().unwrap();
    for log in [Log::open_read_only(DIR, tiny(&fs)), Log::open(DIR, tiny(&fs))] {
        let offsets = log.unwrap().offsets();
        assert_eq!((offsets.start, offsets.end), (end, end));
    }
}

/// A file of another program that had the name of a segment was cut to nothing, as if it were a
/// torn write. Such a write leaves the beginning of a batch.
#[test]
fn foreign_file_named_as_segment_stays() {
    let whole = batch(0, 2, 0);
    let executable = [b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".as_slice(), &[3; 4000]].concat();
    let mut short = whole.clone();
    short[11] = 9;
    let foreign = [executable.as_slice(), b"2026-11-30 INFO started\n", &[0xff; 900], &short[..40]];
    for bytes in foreign {
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).unwrap();
        write_file(&fs, DIR, &name(0, "log"), bytes);
        let opened = Log::open(DIR, tiny(&fs)).map(drop);
        let Err(Error::Corrupt(corruption)) = opened else { panic!("{opened:?}") };
        assert_eq!(corruption.position, 0);
        assert!(corruption.to_string().contains("no log segment"), "{corruption}");
        assert!(read_file(&fs, DIR, &name(0, "log")) == bytes);
        let log = Log::open(DIR, tiny(&fs).on_corruption(OnCorruption::Quarantine)).unwrap();
        let taken = &log.recovery().quarantined;
        assert_eq!(taken.iter().map(|taken| taken.bytes).collect::<Vec<_>>(), [bytes.len() as u64]);
    }
    // Truncated anywhere, with preallocated space after it or not, the beginning of a batch is a
    // torn write.
    for (len, room) in (1..whole.len() - 1).flat_map(|len| [(len, 0), (len, 500)]) {
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).unwrap();
        write_file(&fs, DIR, &name(0, "log"), &[&whole[..len], &vec![0; room]].concat());
        assert_eq!(Log::open(DIR, tiny(&fs)).unwrap().offsets().end, 0, "{len}, {room}");
    }
}

/// After a clean close, opening reads nothing, so damage in the last segment is found by the first
/// read. A log opened read-only was rejected for it.
#[test]
fn damaged_log_opens_read_only() {
    for batch in 0..6 {
        let fs = MemFs::new();
        let config = || LogConfig::default().index_interval_bytes(100).fs(fs.clone());
        let log = Log::open(DIR, config()).unwrap();
        append(&log, 0..6);
        log.close().unwrap();
        let whole = read_file(&fs, DIR, &name(0, "log"));
        let mut bytes = whole.clone();
        bytes[whole.len() / 6 * batch + 65] ^= 1;
        write_file(&fs, DIR, &name(0, "log"), &bytes);
        let found = |log: &Log| {
            let range = log.offsets();
            let read = (0..6).map(|n| log.get(n).map(|record| record.unwrap().offset).ok());
            (range.start, range.end, read.collect::<Vec<_>>())
        };
        let follower = Log::open_read_only(DIR, config()).unwrap();
        let before = found(&follower);
        assert_eq!(before.2[batch], None);
        assert_eq!(before.2.iter().flatten().count(), 5);
        let log = Log::open(DIR, config()).unwrap();
        assert_eq!(before, found(&log), "batch {batch}");
        // It continues after the damage.
        append(&log, 6..7);
        assert_eq!(follower.get(6).unwrap().unwrap().offset, 6);
    }
}

/// An alarm on logs that had to be recovered rang for each one that was new.
#[test]
fn new_log_counts_as_clean() {
    let fs = MemFs::new();
    assert!(Log::open("new", tiny(&fs)).unwrap().recovery().clean_shutdown);
    assert!(!Log::open("new", tiny(&fs.kill())).unwrap().recovery().clean_shutdown);
    let store = store(fs);
    let topic = store.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
    assert!(topic.partitions().iter().all(|log| log.recovery().clean_shutdown));
}

/// A variable that was not set once said `cannot create : No such file or directory`.
#[test]
fn empty_path_names_no_directory() {
    let fs = MemFs::new();
    let config = || StoreConfig::default().fs(fs.clone()).maintenance(None);
    let opened = [
        Log::open("", tiny(&fs)).map(drop),
        Log::open_read_only("", tiny(&fs)).map(drop),
        Store::open("", config()).map(drop),
        Store::open_read_only("", config()).map(drop),
    ];
    for opened in opened {
        assert!(matches!(opened, Err(Error::InvalidConfig { option: "dir", .. })), "{opened:?}");
    }
}

/// A directory such as `/etc` has others in it that are named like partitions.
#[test]
fn partition_names_make_no_data_directory() {
    let fs = MemFs::new();
    for dir in ["etc", "etc/dbus-1"] {
        fs.create_dir(Path::new(dir)).unwrap();
    }
    let reason = |fs: &MemFs| Log::open("etc", tiny(fs)).map(drop).unwrap_err().to_string();
    assert!(reason(&fs).contains("it holds other files"), "{}", reason(&fs));
    write_file(&fs, "etc/dbus-1", &name(0, "log"), b"");
    assert!(reason(&fs).contains("it holds logs"), "{}", reason(&fs));
}
