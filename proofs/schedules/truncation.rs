//! Truncations and deletions beside readers, appends and each other.

use super::{DIR, append, check, config, end_after_power_failure, four_segments, open, values};
use annals::fs::{CrashState, MemFs};
use annals::{Error, Log, ReadLimits, Record, StartAt, Timestamp};
use shuttle::thread;
use std::time::Duration;

#[test]
fn truncation_is_never_read_as_damage() {
    check(|| {
        let log = open(config().segment_bytes(200));
        (0..5).for_each(|n| drop(append(&log, &[&format!("{n} old"), "second"]).unwrap()));
        let readers: Vec<_> = (0..2)
            .map(|which| {
                let log = log.clone();
                thread::spawn(move || {
                    let mut reader = log.reader(0).unwrap();
                    let mut looks = 0;
                    while looks < 3 {
                        match reader.next_record() {
                            Ok(Some(record)) if record.offset % 2 == 0 => {
                                let value = record.value_str().unwrap();
                                let number = (record.offset / 2).to_string();
                                assert_eq!(value.split_once(' ').unwrap().0, number);
                            }
                            Ok(Some(record)) => assert_eq!(record.value_str(), Some("second")),
                            Ok(None) => {
                                looks += 1;
                                reader.seek(StartAt::Earliest).unwrap();
                            }
                            Err(Error::OffsetOutOfRange { .. }) => {
                                reader.seek(StartAt::Earliest).unwrap();
                            }
                            Err(other) => panic!("{other}"),
                        }
                        if which == 1 {
                            match log.read(6, ReadLimits::bytes(1000)) {
                                Ok(_) | Err(Error::OffsetOutOfRange { .. }) => {}
                                Err(other) => panic!("{other}"),
                            }
                        }
                    }
                })
            })
            .collect();
        for target in [6, 2] {
            log.truncate_to(target).unwrap();
            for n in target / 2..4 {
                append(&log, &[&format!("{n} new"), "second"]).unwrap();
            }
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn verify_finds_nothing_during_rolls() {
    check(|| {
        let log = open(config().segment_bytes(200));
        let looking = log.clone();
        let looker = thread::spawn(move || {
            for _ in 0..2 {
                assert_eq!(looking.verify().unwrap(), []);
                let stats = looking.stats().unwrap();
                assert!(stats.segments.is_sorted_by_key(|segment| segment.next_offset));
            }
        });
        for _ in 0..4 {
            append(&log, &["a", "b"]).unwrap();
        }
        looker.join().unwrap();
    });
}

#[test]
fn verify_finds_nothing_during_truncation() {
    check(|| {
        let log = open(config().segment_bytes(200));
        (0..5).for_each(|_| drop(append(&log, &["first", "second"]).unwrap()));
        let (one, other) = (log.clone(), log.clone());
        let verifier = thread::spawn(move || {
            (0..2).for_each(|_| assert_eq!(one.verify().unwrap(), []));
        });
        let looker = thread::spawn(move || {
            for _ in 0..2 {
                let stats = other.stats().unwrap();
                assert_eq!(stats.bytes, stats.segments.iter().map(|segment| segment.bytes).sum());
                assert!(other.offset_for_time(Timestamp::from_millis(0)).unwrap().is_some());
                match other.get(4) {
                    Ok(record) => assert_eq!(record.unwrap().value_str(), Some("first")),
                    Err(error) => assert!(matches!(error, Error::OffsetOutOfRange { .. })),
                }
            }
        });
        for target in [6, 2] {
            log.truncate_to(target).unwrap();
            (target / 2..4).for_each(|_| drop(append(&log, &["first", "second"]).unwrap()));
        }
        verifier.join().unwrap();
        looker.join().unwrap();
    });
}

#[test]
fn truncation_append_and_flush_agree() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().segment_bytes(200).fs(fs.clone())).unwrap();
        (0..4).for_each(|_| drop(append(&log, &["a", "b"]).unwrap()));
        let (one, other) = (log.clone(), log.clone());
        let cutter = thread::spawn(move || match one.truncate_to(3) {
            Ok(()) => {}
            Err(other) => panic!("{other}"),
        });
        let flusher = thread::spawn(move || {
            for _ in 0..2 {
                other.flush().unwrap();
                let offsets = other.offsets();
                assert!(offsets.durable <= offsets.end, "{offsets:?}");
            }
        });
        (0..2).for_each(|_| drop(log.append("c").unwrap()));
        cutter.join().unwrap();
        flusher.join().unwrap();
        let end = log.flush().unwrap();
        assert_eq!((end, log.offsets().end), (end, end));
        assert_eq!(log.verify().unwrap(), []);
        assert_eq!(end_after_power_failure(&fs), end);
    });
}

#[test]
fn deletion_hides_no_remaining_record() {
    check(|| {
        let log = four_segments();
        let looking = log.clone();
        let looks = thread::spawn(move || {
            for offset in [0, 2, 3] {
                match looking.get(offset) {
                    Ok(found) => assert_eq!(found.unwrap().offset, offset),
                    Err(Error::OffsetOutOfRange { start, .. }) => assert!(offset < start),
                    Err(other) => panic!("{other}"),
                }
                let at = Timestamp::from_millis(i64::try_from(offset).unwrap());
                let (found, _) = looking.offset_for_time(at).unwrap().unwrap();
                assert!((offset..=3).contains(&found));
                assert!(looking.verify().unwrap().is_empty());
            }
        });
        let reading = log.clone();
        let reader = thread::spawn(move || {
            let mut reader = reading.reader(0).or_else(|_| reading.reader(3)).unwrap();
            let mut next = reader.offset();
            loop {
                match reader.next_record() {
                    Ok(Some(record)) => assert_eq!(record.offset, next),
                    Ok(None) => break assert_eq!(next, 4),
                    Err(Error::OffsetOutOfRange { requested, start, .. }) => {
                        break assert!(requested == next && next < start);
                    }
                    Err(other) => panic!("{other}"),
                }
                next += 1;
            }
        });
        log.delete_before(1).unwrap();
        log.delete_before(3).unwrap();
        looks.join().unwrap();
        reader.join().unwrap();
        assert_eq!(values(&log), [(3, "3".to_owned())]);
    });
}

/// Trap: segments to delete are chosen by offset, and after a truncation these offsets belong to
/// records that must stay.
#[test]
fn maintenance_keeps_appends_after_truncation() {
    check(|| {
        let log = open(config().retention_age(Duration::from_millis(1)));
        for value in ["0", "1", "2"] {
            log.append(Record::new(value).timestamp(Timestamp::from_millis(0))).unwrap();
        }
        let other = log.clone();
        let writer = thread::spawn(move || {
            match other.truncate_to(1) {
                Ok(()) | Err(Error::OffsetOutOfRange { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            ["young", "too"].map(|value| other.append(value).unwrap())
        });
        log.maintain().unwrap();
        for offset in writer.join().unwrap() {
            assert!(log.get(offset).unwrap().is_some(), "{offset} is gone");
        }
    });
}

#[test]
fn deletion_append_and_truncation_agree() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        append(&log, &["0", "1", "2"]).unwrap();
        let (one, two) = (log.clone(), log.clone());
        let cutter = thread::spawn(move || match one.truncate_to(1) {
            Ok(()) => {}
            Err(Error::OffsetOutOfRange { start, .. }) => assert_eq!(start, 2),
            Err(other) => panic!("{other}"),
        });
        let appender = thread::spawn(move || {
            append(&two, &["more"]).unwrap();
            two.roll().unwrap();
        });
        match log.delete_before(2) {
            Ok(start) => assert_eq!(start, 2),
            Err(Error::OffsetOutOfRange { end, .. }) => assert!(end < 2),
            Err(other) => panic!("{other}"),
        }
        cutter.join().unwrap();
        appender.join().unwrap();
        let (before, left) = (log.offsets(), values(&log));
        assert!(left.iter().all(|(offset, _)| *offset >= before.start));
        log.flush().unwrap();
        drop(log);
        let log = Log::open(DIR, config().fs(fs.crash(CrashState::SyncedOnly))).unwrap();
        assert_eq!((log.offsets().start, log.offsets().end), (before.start, before.end));
        assert_eq!(values(&log), left);
    });
}
