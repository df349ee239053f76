//! The parts of a log that an opening reads after a process exit, and the conclusions it draws.

use annals::fs::{Fs, MemFs};
use annals::record::BatchBuilder;
use annals::{CorruptionKind, Error, Log, LogConfig, OnCorruption, Record, Timestamp, TopicConfig};
use std::path::Path;
use std::time::Duration;
use support::{DIR, name, read_all, read_file, store, write_file};

fn config(fs: &MemFs, interval: u64) -> LogConfig {
    LogConfig::default().index_interval_bytes(interval).fs(fs.clone())
}

fn append(log: &Log, times: &[i64]) {
    for time in times {
        let record = Record::new("x").timestamp(Timestamp::from_millis(*time));
        log.append(record).unwrap();
    }
}

/// One that was closed with these records, opened again, and died after those.
fn killed(interval: u64, closed: &[i64], added: &[i64]) -> MemFs {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs, interval)).unwrap();
    append(&log, closed);
    log.close().unwrap();
    append(&Log::open(DIR, config(&fs, interval)).unwrap(), added);
    fs.kill()
}

/// Batches below the recovery point are not read, whatever their timestamps and whatever follows
/// them. The files afterwards are those of a log that was never interrupted.
#[test]
fn recovery_reads_only_above_its_point() {
    let rising = [10, 20, 30, 40, 50, 60, 70, 80];
    let falling = rising.map(|time| 90 - time);
    let both = [50, 10, 60, 60, 20, 30, 70, 40];
    let early = [90, 10, 20, 30, 40, 50, 60, 70];
    for times in [rising, falling, both, early, [5; 8], [-1; 8]] {
        for interval in [0, 70, 150, 4096] {
            for (closed, torn) in (0..=8).flat_map(|closed| [(closed, false), (closed, true)]) {
                let fs = killed(interval, &times[..closed], &times[closed..]);
                let mut log = read_file(&fs, DIR, &name(0, "log"));
                let size = log.len() / 8;
                if torn {
                    log.extend_from_within(..size - 1);
                    log[8 * size + 7] = 8;
                    write_file(&fs, DIR, &name(0, "log"), &log);
                }
                let case = format!("{times:?}, {closed} closed, interval {interval}, torn {torn}");
                let log = Log::open(DIR, config(&fs, interval)).unwrap();
                let found = log.recovery();
                let dropped = if torn { size - 1 } else { 0 };
                assert_eq!(found.scanned_bytes, ((8 - closed) * size) as u64, "{case}");
                assert_eq!(found.truncated_bytes, dropped as u64, "{case}");
                append(&log, &times);
                log.close().unwrap();

                let never = MemFs::new();
                let log = Log::open(DIR, config(&never, interval)).unwrap();
                append(&log, &times);
                append(&log, &times);
                log.close().unwrap();
                for extension in ["log", "index", "timeindex"] {
                    let name = name(0, extension);
                    let (found, want) = (read_file(&fs, DIR, &name), read_file(&never, DIR, &name));
                    assert!(found == want, "{case}: {extension} {found:?} {want:?}");
                }
            }
        }
    }
}

/// The age of a segment counts from its first batch, however the log was opened: after a clean
/// close, after a recovery that read the segment, or after one that did not.
#[test]
fn segment_age_counts_from_first_batch() {
    for (closed, added) in [(3, 0), (0, 3), (1, 2), (3, 2)] {
        for killed in [false, true] {
            let fs = MemFs::new();
            let config = || config(&fs, 0).segment_age(Duration::from_millis(100));
            let log = Log::open(DIR, config()).unwrap();
            append(&log, &[20, 30, 40][..closed]);
            log.close().unwrap();
            let log = Log::open(DIR, config()).unwrap();
            append(&log, &[20, 30, 40][..added]);
            if !killed {
                log.close().unwrap();
            }
            let log = Log::open(DIR, config().fs(fs.kill())).unwrap();
            let segments = || log.stats().unwrap().segments.len();
            append(&log, &[120]);
            assert_eq!(segments(), 1, "{closed}, {added}, killed: {killed}");
            append(&log, &[121]);
            assert_eq!(segments(), 2, "{closed}, {added}, killed: {killed}");
        }
    }
}

/// Offsets that truncating left without records are below the recovery point, too: nothing needs
/// to be read for them.
#[test]
fn gap_below_recovery_point_is_accepted() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs, 0)).unwrap();
    for _ in 0..2 {
        log.append_all((0..3).map(|n| Record::from(format!("{n}")))).unwrap();
    }
    log.truncate_to(4).unwrap();
    let log = Log::open(DIR, config(&fs.kill(), 0)).unwrap();
    assert_eq!((log.offsets().end, log.recovery().scanned_bytes), (4, 0));
}

/// Below the recovery point, a recovery goes by the headers where no index entry leads beyond it:
/// headers out of order are corruption, and nothing is truncated.
#[test]
fn unordered_offsets_are_corruption() {
    // Closed in the middle of a segment, and at the end of one, where the next begins.
    let next = MemFs::new();
    let log = Log::open(DIR, config(&next, 4096)).unwrap();
    append(&log, &[1; 8]);
    log.roll().unwrap();
    log.close().unwrap();
    drop(Log::open(DIR, config(&next, 4096)).unwrap());
    let log = read_file(&next, DIR, &name(0, "log"));
    let size = log.len() / 8;
    let middle = (1..5).flat_map(|batch| [(batch, batch - 1), (batch, batch + 1)]);
    let cases: Vec<_> = middle.chain([(7, 6), (7, 8)]).collect();
    for (fs, cases) in [(killed(4096, &[1; 6], &[1; 2]), &cases[..8]), (next, &cases)] {
        for &(batch, offset) in cases {
            let disk = fs.kill();
            let mut damaged = log.clone();
            damaged[batch * size + 7] = offset as u8;
            write_file(&disk, DIR, &name(0, "log"), &damaged);
            let Err(Error::Corrupt(found)) = Log::open(DIR, config(&disk, 4096)) else {
                panic!("{batch} {offset}: it opens");
            };
            assert!(
                matches!(
                    found.reason,
                    CorruptionKind::OffsetsNotIncreasing { .. }
                        | CorruptionKind::OffsetsOverlapNext { .. }
                ),
                "{batch} {offset}: {found}"
            );
            assert!(read_file(&disk, DIR, &name(0, "log")) == damaged);
        }
    }
}

/// A recovery point above the end of the log is wrong, so nothing below it counts as durable
/// either.
#[test]
fn recovery_point_above_end_is_ignored() {
    let fs = killed(0, &[1; 6], &[1; 2]);
    let mut log = read_file(&fs, DIR, &name(0, "log"));
    let damaged = log.len() / 8 * 4;
    log[damaged - 1] ^= 1;
    write_file(&fs, DIR, &name(0, "log"), &log);
    for point in [9, 8, 6] {
        let disk = fs.kill();
        let content = format!("0\n1\nt 0 {point}\n");
        write_file(&disk, DIR, "recovery-point-offset-checkpoint", content.as_bytes());
        let config = config(&disk, 0).on_corruption(OnCorruption::Truncate);
        let log = Log::open(DIR, config).unwrap();
        assert_eq!(log.offsets().end, if point == 9 { 3 } else { 8 }, "{point}");
    }
}

/// Bytes that parse as a batch header need not be one: the end of an interrupted write is
/// truncated, whatever its values look like.
#[test]
fn recovery_truncates_torn_nested_header() {
    let mut batch = BatchBuilder::new();
    batch.push(Timestamp::from_millis(1), None, Some(b"not of this log")).unwrap();
    let mut value = batch.finish().unwrap().to_vec();
    value[7] = 9;
    *value.last_mut().unwrap() ^= 1;
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs, 0)).unwrap();
    append(&log, &[1, 1]);
    let whole = read_file(&fs, DIR, &name(0, "log"));
    log.append(Record::new(value.repeat(3)).timestamp(Timestamp::from_millis(1))).unwrap();
    let fs = fs.kill();
    let mut bytes = read_file(&fs, DIR, &name(0, "log"));
    assert!(bytes.len() > whole.len() + 3 * value.len());
    while bytes.len() > whole.len() {
        bytes.pop();
        let disk = fs.kill();
        write_file(&disk, DIR, &name(0, "log"), &bytes);
        let log = Log::open(DIR, config(&disk, 0)).unwrap();
        assert_eq!(log.offsets().end, 2, "{} bytes", bytes.len());
        assert!(read_file(&disk, DIR, &name(0, "log")) == whole);
    }
}

/// A follower of a compacted log leaves offsets out, and the space preallocated after its last
/// write reads as zeros.
#[test]
fn offset_gap_before_preallocation_is_accepted() {
    let fs = killed(0, &[1; 4], &[]);
    let log = read_file(&fs, DIR, &name(0, "log"));
    let size = log.len() / 4;
    for zeros in [1, 7, 8, 12, 61, 1000] {
        let disk = MemFs::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        let followed = [&log[..size], &log[3 * size..], &vec![0; zeros]].concat();
        write_file(&disk, DIR, &name(0, "log"), &followed);
        let log = Log::open(DIR, config(&disk, 0)).unwrap();
        assert_eq!((log.offsets().end, log.recovery().truncated_bytes), (4, 0), "{zeros}");
        let found: Vec<_> = read_all(&log).into_iter().map(|rec| rec.offset).collect();
        assert_eq!(found, [0, 3]);
        assert_eq!(log.verify().unwrap(), []);
    }
}

/// An alarm on logs that had to be recovered rang for each one that was new.
#[test]
fn new_log_counts_as_clean() {
    let fs = MemFs::new();
    assert!(Log::open("new", config(&fs, 0)).unwrap().recovery().clean_shutdown);
    assert!(!Log::open("new", config(&fs.kill(), 0)).unwrap().recovery().clean_shutdown);
    let store = store(fs);
    let topic = store.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
    assert!(topic.partitions().iter().all(|log| log.recovery().clean_shutdown));
}
