//! Writes that were lost or torn at the end of the log: the opening truncates them.

use super::{append, close_with_topic, tiny};
use annals::fs::{CrashState, DiskFs, FaultFs, Fs, MemFs, OpenMode, Operation};
use annals::*;
use std::path::Path;
use support::{DIR, name, offsets, read_file, write_file};

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
    let mut truncated = 0;
    for seed in 0..40 {
        let log = open(&fs.crash(CrashState::Random { seed }));
        truncated += usize::from(log.recovery().truncated_bytes > 0);
        let there = offsets(&log);
        assert!(there.len() as u64 >= synced, "{at}, seed {seed}: {there:?}");
        assert_eq!(there, (0..there.len() as u64).collect::<Vec<_>>(), "{at}, seed {seed}");
    }
    assert!(truncated > 0, "{at}: no record was torn");
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
