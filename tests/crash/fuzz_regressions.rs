//! Faults that fuzzing and hostile directories have found, each with its story.

use annals::fs::{Fs, MemFs};
use annals::{CorruptionKind, Error, Log, LogConfig, OnCorruption, ReadLimits, Record, Timestamp};
use std::path::Path;
use support::{DIR, mend_checksum, name, read_all, read_file, three, write_file};

fn dense() -> LogConfig {
    LogConfig::default().index_interval_bytes(0)
}

/// The base offset of the last batch of a sealed segment was flipped upwards. A reader named the
/// damage; but `get` gave the record of offset 3 as that of offset 4, said of offset 3 that it has
/// no record, and a lookup by time answered with an offset of the next segment.
#[test]
fn every_read_reports_raised_base_offset() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    let at = |n, v: &str| Record::new(v.to_owned()).timestamp(Timestamp::from_millis(n));
    log.append_all([at(10, "a"), at(11, "b"), at(12, "c")]).unwrap();
    let begin = read_file(&fs, DIR, &name(0, "log")).len();
    log.append_all([at(20, "d"), at(21, "e"), at(22, "f")]).unwrap();
    log.roll().unwrap();
    log.append_all([at(30, "g"), at(31, "h"), at(32, "i")]).unwrap();
    log.close().unwrap();
    for (by, last) in [(1u64, 6), (4, 9), (1 << 40, 5 + (1 << 40))] {
        let disk = fs.kill();
        let mut bytes = read_file(&disk, DIR, &name(0, "log"));
        bytes[begin..begin + 8].copy_from_slice(&(3 + by).to_be_bytes());
        write_file(&disk, DIR, &name(0, "log"), &bytes);
        let log = Log::open(DIR, dense().fs(disk)).unwrap();
        let is_damage = |error: Error| {
            let Error::Corrupt(found) = error else { panic!("{error}") };
            assert_eq!(found.reason, CorruptionKind::OffsetsOverlapNext { limit: 6, found: last });
        };
        (3..6).for_each(|offset| is_damage(log.get(offset).unwrap_err()));
        is_damage(log.read(3, ReadLimits::default()).unwrap_err());
        is_damage(log.offset_for_time(Timestamp::from_millis(20)).unwrap_err());
        assert_eq!(log.get(6).unwrap().unwrap().value_str(), Some("g"));
    }
}

/// The records of a batch with a valid checksum were malformed from the second one on. A reader
/// reported that once, and its next call continued with the batch after it.
#[test]
fn reader_never_skips_undecodable_record() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    let begin = read_file(&fs, DIR, &name(0, "log")).len();
    three(&log, "1");
    let second = read_file(&fs, DIR, &name(0, "log")).len();
    three(&log, "2");
    log.close().unwrap();
    let mut bytes = read_file(&fs, DIR, &name(0, "log"));
    // The header says that the batch has one offset, and three records follow.
    bytes[begin + 23..begin + 27].fill(0);
    mend_checksum(&mut bytes[begin..second]);
    write_file(&fs, DIR, &name(0, "log"), &bytes);
    let log = Log::open(DIR, dense().fs(fs)).unwrap();
    let mut reader = log.reader(0).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().offset, 0);
    for _ in 0..3 {
        assert!(matches!(reader.next_record(), Err(Error::InvalidBatch(_))));
    }
    reader.seek(3).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().value_str(), Some("a2"));
}

/// A batch with a valid checksum did not decode, and the length of the next one was zero. A reader
/// that had reached the first from the previous segment named it; its next call looked its place
/// up in the index, which leads past the second, and named that one.
#[test]
fn reader_repeats_the_same_corruption() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    three(&log, "1");
    log.roll().unwrap();
    three(&log, "2");
    let second = read_file(&fs, DIR, &name(3, "log")).len();
    three(&log, "3");
    log.roll().unwrap();
    three(&log, "4");
    log.close().unwrap();
    let mut bytes = read_file(&fs, DIR, &name(3, "log"));
    // It says that it is compressed, and is not.
    bytes[22] |= 4;
    mend_checksum(&mut bytes[..second]);
    bytes[second + 8..second + 12].fill(0);
    write_file(&fs, DIR, &name(3, "log"), &bytes);
    let log = Log::open(DIR, dense().fs(fs)).unwrap();
    let mut reader = log.reader(0).unwrap();
    (0..3).for_each(|offset| assert_eq!(reader.next_record().unwrap().unwrap().offset, offset));
    for _ in 0..3 {
        let error = reader.next_record().unwrap_err();
        assert!(matches!(error, Error::InvalidBatch(_)), "{error}");
        assert_eq!(reader.offset(), 3);
    }
    reader.seek(9).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().value_str(), Some("a4"));
}

/// A reader repeats the corruption it has found, unless the log is closed, truncated there, or the
/// place is deleted.
#[test]
fn reader_drops_corruption_that_is_gone() {
    let damaged = || {
        let fs = MemFs::new();
        let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
        three(&log, "1");
        let begin = read_file(&fs, DIR, &name(0, "log")).len();
        three(&log, "2");
        log.roll().unwrap();
        three(&log, "3");
        log.close().unwrap();
        let mut bytes = read_file(&fs, DIR, &name(0, "log"));
        bytes[begin + 22] |= 4;
        mend_checksum(&mut bytes[begin..]);
        write_file(&fs, DIR, &name(0, "log"), &bytes);
        let log = Log::open(DIR, dense().fs(fs)).unwrap();
        let mut reader = log.reader(3).unwrap();
        for _ in 0..2 {
            assert!(matches!(reader.next_record(), Err(Error::InvalidBatch(_))));
        }
        (log, reader)
    };
    let (log, mut reader) = damaged();
    log.close().unwrap();
    assert!(matches!(reader.next_record(), Err(Error::Closed { .. })));

    let (log, mut reader) = damaged();
    log.delete_before(6).unwrap();
    assert!(matches!(reader.next_record(), Err(Error::OffsetOutOfRange { requested: 3, .. })));

    let (log, mut reader) = damaged();
    log.truncate_to(3).unwrap();
    assert_eq!(reader.next_record().unwrap(), None);
    three(&log, "4");
    assert_eq!(reader.next_record().unwrap().unwrap().value_str(), Some("a4"));
}

/// An entry in the middle of the active segment's time index was lowered, and the process died.
/// Opening looks at the last entries; `verify`, which has read all batches, said nothing of it
/// either: it looked at the indexes of closed segments only.
#[test]
fn verify_checks_indexes_of_active_segment() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    for n in 1..8 {
        log.append(Record::new("v").timestamp(Timestamp::from_millis(n * 10))).unwrap();
    }
    assert!(log.verify().unwrap().is_empty());
    log.close().unwrap();
    fs.remove(&Path::new(DIR).join(".kafka_cleanshutdown")).unwrap();
    let mut bytes = read_file(&fs, DIR, &name(0, "timeindex"));
    bytes[12 + 7] -= 1;
    write_file(&fs, DIR, &name(0, "timeindex"), &bytes);
    let log = Log::open(DIR, dense().fs(fs)).unwrap();
    let found = log.verify().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path.extension().unwrap(), "timeindex");
    assert!(matches!(found[0].reason, CorruptionKind::IndexEntry { entry: 1, .. }));
}

/// Times had risen, then fallen. The stored time index was cut to a part that is in order, and the
/// process died. Recovery began at the recovery point and took the last entry that was left for
/// the largest time below it: a lookup passed over the segment.
#[test]
fn shortened_time_index_is_rebuilt() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    let times = [10, 50, 20, 15, 30, 5, 40, 12];
    for time in times {
        log.append(Record::new("x").timestamp(Timestamp::from_millis(time))).unwrap();
    }
    // Everything that a recovery finds is durable, including its indexes.
    let fs = fs.kill();
    drop(Log::open(DIR, dense().fs(fs.clone())).unwrap());
    let whole = read_file(&fs, DIR, &name(0, "timeindex"));
    for entries in 0..=whole.len() / 12 {
        let disk = fs.kill();
        write_file(&disk, DIR, &name(0, "timeindex"), &whole[..entries * 12]);
        let log = Log::open(DIR, dense().fs(disk)).unwrap();
        for time in 0..60 {
            let want = times.iter().position(|there| *there >= time);
            let want = want.map(|n| (n as u64, Timestamp::from_millis(times[n])));
            let found = log.offset_for_time(Timestamp::from_millis(time)).unwrap();
            assert_eq!(found, want, "time {time}, {entries} entries");
        }
    }
}

/// The last offset delta of a batch was damaged downwards, below a clean close. Looking for the
/// offsets that it no longer covered, `get` and `read` passed over it by its header, reached the
/// next batch, and reported that there is no such record: in the middle of a segment, and at its
/// end.
#[test]
fn get_reports_lowered_last_offset_delta() {
    for rolled in [false, true] {
        let fs = MemFs::new();
        let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
        three(&log, "1");
        let begin = read_file(&fs, DIR, &name(0, "log")).len();
        three(&log, "2");
        if rolled {
            log.roll().unwrap();
        }
        three(&log, "3");
        log.close().unwrap();
        let mut bytes = read_file(&fs, DIR, &name(0, "log"));
        bytes[begin + 26] = 0;
        write_file(&fs, DIR, &name(0, "log"), &bytes);
        let log = Log::open(DIR, dense().fs(fs)).unwrap();
        for offset in 3..6 {
            assert!(matches!(log.get(offset), Err(Error::Corrupt(_))), "{offset}");
            let read = log.read(offset, ReadLimits::default());
            assert!(matches!(read, Err(Error::Corrupt(_))), "{offset}");
        }
        assert_eq!(log.get(6).unwrap().unwrap().value_str(), Some("a3"));
    }
}

/// A digit of the marker of a clean shutdown was damaged. It was taken on its word: with a lower
/// end the last offsets were given out again, with a lower largest time lookups passed over the
/// last segment.
#[test]
fn damaged_shutdown_marker_is_ignored() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    three(&log, "1");
    log.roll().unwrap();
    for time in [10, 50, 20] {
        log.append(Record::new("x").timestamp(Timestamp::from_millis(time))).unwrap();
    }
    log.close().unwrap();
    let marker = read_file(&fs, DIR, ".kafka_cleanshutdown");
    for (byte, bit) in (0..marker.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let disk = fs.kill();
        let mut wrong = marker.clone();
        wrong[byte] ^= 1 << bit;
        write_file(&disk, DIR, ".kafka_cleanshutdown", &wrong);
        let log = Log::open(DIR, dense().fs(disk)).unwrap();
        assert_eq!(log.offsets().end, 6, "bit {bit} of byte {byte}");
        assert_eq!(read_all(&log).len(), 6);
        let found = log.offset_for_time(Timestamp::from_millis(45)).unwrap();
        assert_eq!(found.map(|(offset, _)| offset), Some(0), "bit {bit} of byte {byte}");
        let latest = log.reader(3).unwrap().records().map(|r| r.unwrap().timestamp).max();
        assert_eq!(latest, Some(Timestamp::from_millis(50)));
        assert_eq!(log.append("more").unwrap(), 6);
    }
}

/// The recovery point of a log that had been closed in order was damaged upwards. Opening went by
/// the marker and left the point: after the next crash, a sound log was rejected as one that had
/// lost its end.
#[test]
fn opening_corrects_point_beyond_clean_end() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    three(&log, "1");
    log.close().unwrap();
    write_file(&fs, DIR, "recovery-point-offset-checkpoint", b"0\n1\nt 0 7\n");
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    log.append("more").unwrap();
    let log = Log::open(DIR, dense().fs(fs.kill())).unwrap();
    assert_eq!((log.offsets().end, read_all(&log).len()), (4, 4));
}

/// The recovery point covered two segments, and both were damaged. Opening to truncate read and
/// truncated only the second; the recovery point that it left was lower, so the next opening
/// truncated the first one too.
#[test]
fn wrong_recovery_point_is_lowered_first() {
    let truncate = |fs| dense().fs(fs).on_corruption(OnCorruption::Truncate);
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    three(&log, "1");
    let begin = read_file(&fs, DIR, &name(0, "log")).len();
    three(&log, "2");
    log.roll().unwrap();
    three(&log, "3");
    log.flush().unwrap();
    let disk = fs.kill();
    let mut bytes = read_file(&disk, DIR, &name(0, "log"));
    bytes[begin + 7] += 1;
    write_file(&disk, DIR, &name(0, "log"), &bytes);
    write_file(&disk, DIR, &name(6, "log"), b"not a batch");
    write_file(&disk, DIR, "recovery-point-offset-checkpoint", b"0\n1\nt 0 9\n");
    let log = Log::open(DIR, truncate(disk.clone())).unwrap();
    assert_eq!((log.offsets().end, read_all(&log).len()), (3, 3));
    let again = Log::open(DIR, truncate(disk.kill())).unwrap();
    assert_eq!((again.recovery().truncated_bytes, read_all(&again).len()), (0, 3));
}

/// A batch with a valid checksum claimed to cover the offset of the record after it. A reader that
/// went from batch to batch by the index continued after that record, and never returned it.
#[test]
fn fetch_reports_overlapping_batch() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    let mut begins = Vec::new();
    for value in ["0", "1", "2", "3", "4", "5"] {
        begins.push(read_file(&fs, DIR, &name(0, "log")).len());
        log.append(value).unwrap();
    }
    log.close().unwrap();
    let mut bytes = read_file(&fs, DIR, &name(0, "log"));
    let wide = &mut bytes[begins[2]..begins[3]];
    wide[26] = 1;
    mend_checksum(wide);
    write_file(&fs, DIR, &name(0, "log"), &bytes);
    let log = Log::open(DIR, dense().fs(fs)).unwrap();
    let mut from = 0;
    let error = loop {
        match log.read(from, ReadLimits::bytes(1)) {
            Ok(fetched) => from = fetched.next_offset,
            Err(error) => break error,
        }
        assert!(from < log.offsets().end, "it was read past the damage");
    };
    let Error::Corrupt(found) = error else { panic!("{error}") };
    assert_eq!(found.reason, CorruptionKind::OffsetsNotIncreasing { expected: 4, found: 3 });
}

/// A segment held a batch so far above its base that no index entry can name it. While it was
/// appended to, its largest time was known; closed, that was asked of the time index, and a lookup
/// by time said that there is no such record. No program writes such a segment: it is damage.
#[test]
fn batch_beyond_index_range_is_corruption() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    let at = |n| Record::new("v").timestamp(Timestamp::from_millis(n));
    log.append(at(10)).unwrap();
    let begin = read_file(&fs, DIR, &name(0, "log")).len();
    log.append(at(1000)).unwrap();
    let mut bytes = read_file(&fs, DIR, &name(0, "log"));
    let far = 1u64 << 40;
    bytes[begin..begin + 8].copy_from_slice(&far.to_be_bytes());
    let disk = MemFs::new();
    disk.create_dir(DIR.as_ref()).unwrap();
    write_file(&disk, DIR, &name(0, "log"), &bytes);
    let Err(Error::Corrupt(found)) = Log::open(DIR, dense().fs(disk)) else { panic!("it opens") };
    assert_eq!(found.reason, CorruptionKind::OffsetsOverlapNext { limit: 1 << 31, found: far });
}

/// Beside the last segment lay an empty replacement of it, which no writer leaves: the active
/// segment is never replaced. A read-only log took it for the last segment, found that truncated
/// at each refresh, and refreshed forever.
#[test]
fn viewer_ignores_replacement_of_last_segment() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    three(&log, "1");
    write_file(&fs, DIR, &name(0, "log.swap"), b"");
    let other = Log::open_read_only(DIR, dense().fs(fs)).unwrap();
    assert_eq!(read_all(&other), read_all(&log));
    assert_eq!(other.offset_for_time(Timestamp::from_millis(i64::MAX)).unwrap(), None);
    assert_eq!(other.verify().unwrap(), []);
}

/// The same with a foreign file after it: without that file the replacement was that of the last
/// segment, and a reader again refreshed forever.
#[test]
fn stray_after_replacement_ends_reader() {
    let fs = MemFs::new();
    let log = Log::open(DIR, dense().fs(fs.clone())).unwrap();
    three(&log, "1");
    write_file(&fs, DIR, &name(0, "log.swap"), b"");
    write_file(&fs, DIR, &name(7, "log"), &[0xff; 100]);
    let lenient = dense().on_corruption(OnCorruption::Truncate);
    let other = Log::open_read_only(DIR, lenient.fs(fs)).unwrap();
    let mut reader = other.reader(annals::StartAt::Earliest).unwrap();
    // The replacement counts, and is empty.
    for _ in 0..2 {
        let end = reader.next_record();
        assert!(matches!(end, Ok(None)), "{end:?}");
    }
}
