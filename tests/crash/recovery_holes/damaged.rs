//! Damaged, foreign and empty segments: what opens, and what is reported.

use super::{append, batch, dense, tiny};
use annals::fs::{Fs, MemFs};
use annals::*;
use std::path::Path;
use support::{DIR, name, read_file, write_file};

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
