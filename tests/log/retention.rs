//! Deleting records from the start of the log: the records that go, the records that stay, and how
//! readers see it.
//!
//! `ANNALS_RETENTION_SEEDS=17` runs one seed of the random tests, `0..5000` many.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    AutoOffsetReset, CleanupPolicy, ConsumerConfig, Error, ErrorKind, Event, Listener, Log,
    LogConfig, OffsetSpec, ReadLimits, Record, StartAt, Store, StoreConfig, Timestamp, TopicConfig,
    TopicPartition,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;
use support::{Chance, DIR, Heard, T0, clock, files, name, read_all, read_file, seeds, write_file};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Segments of three records each, and the last one open with one.
fn segments(fs: &MemFs, config: LogConfig, count: i64) -> Log {
    let log = Log::open(DIR, config.fs(fs.clone())).unwrap();
    for n in 0..count {
        log.append_all([0, 1, 2].map(|i| Record::new("v").timestamp(at(T0 + n * 10 + i)))).unwrap();
        log.roll().unwrap();
    }
    log.append(Record::new("last").timestamp(at(T0 + count * 10))).unwrap();
    log
}

fn logs(fs: &MemFs) -> Vec<String> {
    files(fs, DIR).into_keys().filter(|name| name.ends_with(".log")).collect()
}

#[test]
fn deleted_records_stay_deleted() {
    let fs = MemFs::new();
    let log = segments(&fs, LogConfig::default(), 4);
    assert_eq!(log.delete_before(7).unwrap(), 7);
    assert_eq!(log.delete_before(2).unwrap(), 7, "it does not go back");
    assert_eq!(logs(&fs), [name(6, "log"), name(9, "log"), name(12, "log")]);
    let check = |log: &Log| {
        assert_eq!((log.offsets().start, log.offsets().end), (7, 13));
        assert_eq!(read_all(log).first().unwrap().offset, 7);
        for gone in [0, 5, 6] {
            let is_out = |error: Error| match error {
                Error::OffsetOutOfRange { start: 7, end: 13, .. } => {}
                other => panic!("{other}"),
            };
            is_out(log.get(gone).unwrap_err());
            is_out(log.read(gone, ReadLimits::default()).unwrap_err());
            is_out(log.reader(gone).map(drop).unwrap_err());
            is_out(log.truncate_to(gone).unwrap_err());
        }
        assert_eq!(log.offset_for_time(at(T0)).unwrap(), Some((7, at(T0 + 21))));
        assert_eq!(log.list_offset(OffsetSpec::Earliest).unwrap(), Some((7, Timestamp::NONE)));
        assert_eq!(log.verify().unwrap(), []);
    };
    check(&log);
    check(&Log::open(DIR, LogConfig::default().fs(fs.kill())).unwrap());
    let power_failed = fs.crash(CrashState::SyncedOnly);
    let log_after = Log::open(DIR, LogConfig::default().fs(power_failed)).unwrap();
    assert_eq!(log_after.offsets().start, 7);
    log.close().unwrap();
    check(&Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap());
}

/// Compaction leaves only a batch without records in the first segment. The segments after it grow
/// old all the same.
#[test]
fn emptied_segment_does_not_stop_retention() {
    let (fs, clock) = (MemFs::new(), clock());
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::CompactAndDelete);
    let config = config.segment_bytes(400).retention_age(Duration::from_secs(60));
    let log = Log::open(DIR, config.fs(fs.clone()).clock(clock.clone())).unwrap();
    for _ in 0..2 {
        let record = |n: u8| Record::new("v".repeat(80)).key(vec![n]).timestamp(at(T0));
        log.append_all((0..3).map(record)).unwrap();
        log.roll().unwrap();
    }
    log.compact().unwrap();
    assert_eq!(read_file(&fs, DIR, &name(0, "log")).len(), 61);
    assert_eq!(log.maintain().unwrap().segments_deleted, 0);
    clock.advance(Duration::from_secs(61));
    assert_eq!(log.maintain().unwrap().segments_deleted, 2);
    assert_eq!((log.offsets().start, log.offsets().end), (6, 6));
    assert_eq!(logs(&fs), [name(6, "log")]);
}

/// A pass began before a truncation had published its end, and stored a recovery point above it:
/// after the next crash the log was rejected for offsets that were never lost.
#[test]
fn pass_stores_no_point_above_truncation() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let config = || {
        let config = LogConfig::default().cleanup_policy(CleanupPolicy::CompactAndDelete);
        config.index_interval_bytes(0)
    };
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    for _ in 0..4 {
        log.append_all(["a", "b"].map(|key| Record::new("v").key(key))).unwrap();
        log.roll().unwrap();
    }
    log.append(Record::new("v").key("a")).unwrap();
    // The truncation is held in its first call that changes something, until the pass waits for
    // it.
    let (began, cleaner) = (Arc::new(Barrier::new(2)), log.clone());
    let (held, once) = (Arc::clone(&began), AtomicBool::new(true));
    let waits = Fault::call(move |call| {
        let changes = !matches!(call.operation, Operation::Read | Operation::Len | Operation::Open);
        if changes && once.swap(false, Ordering::SeqCst) {
            held.wait();
            (0..1000).for_each(|_| std::thread::yield_now());
        }
    });
    fs.add_rule(Rule::any(waits));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            began.wait();
            cleaner.compact().unwrap();
        });
        log.truncate_to(3).unwrap();
    });
    log.append(Record::new("new").key("c")).unwrap();
    let after = Log::open(DIR, config().fs(memory.kill())).unwrap();
    assert_eq!(after.offsets().end, 4);
    assert_eq!(after.get(3).unwrap().unwrap().value_str(), Some("new"));
}

/// The largest timestamp of the first segment is that of a record that was deleted.
#[test]
fn latest_timestamp_ignores_deleted_records() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs)).unwrap();
    for times in [[90, 10, 20], [30, 15, 25]] {
        log.append_all(times.map(|time| Record::new("v").timestamp(at(time)))).unwrap();
        log.roll().unwrap();
    }
    let latest = || log.list_offset(OffsetSpec::MaxTimestamp).unwrap();
    assert_eq!(latest(), Some((0, at(90))));
    log.delete_before(1).unwrap();
    assert_eq!(latest(), Some((3, at(30))));
    log.delete_before(4).unwrap();
    assert_eq!(latest(), Some((5, at(25))));
    log.delete_before(6).unwrap();
    assert_eq!(latest(), None);
}

#[test]
fn reader_finishes_segment_that_is_deleted() {
    let fs = MemFs::new();
    let log = segments(&fs, LogConfig::default(), 4);
    let mut reader = log.reader(0).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().offset, 0);
    log.delete_before(9).unwrap();
    assert_eq!(logs(&fs), [name(0, "log"), name(9, "log"), name(12, "log")], "it is read");
    assert_eq!(reader.next_record().unwrap().unwrap().offset, 1);
    assert_eq!(reader.next_record().unwrap().unwrap().offset, 2);
    let error = reader.next_record().unwrap_err();
    assert!(matches!(error, Error::OffsetOutOfRange { requested: 3, start: 9, .. }), "{error}");
    reader.seek(StartAt::Earliest).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().offset, 9);
    assert_eq!(logs(&fs).len(), 2, "nobody reads them any more");
}

/// A reader, tail or consumer that waited at the end kept the files of every segment that existed
/// when it reached the end: a full disk could not be freed while it waited.
#[test]
fn idle_reader_keeps_no_deleted_segment() {
    let fs = MemFs::new();
    let log = segments(&fs, LogConfig::default(), 4);
    let mut reader = log.reader(0).unwrap();
    while reader.next_record().unwrap().is_some() {}
    let mut tail = log.tail(0).unwrap();
    while tail.next_record(Some(Duration::ZERO)).unwrap().is_some() {}
    log.delete_before(13).unwrap();
    assert_eq!(logs(&fs).len(), 1);
    log.append("next").unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().offset, 13);
    assert_eq!(tail.next_record(Some(Duration::ZERO)).unwrap().unwrap().offset, 13);

    let store = Store::open("d", StoreConfig::default().fs(fs.clone()).maintenance(None)).unwrap();
    let topic = store.create_topic("t", TopicConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    for _ in 0..4 {
        log.append("v").unwrap();
        log.roll().unwrap();
    }
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign([TopicPartition::new("t", 0)]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 4);
    store.admin().delete_records("t", 0, 4).unwrap();
    let left = files(&fs, "d/t-0").into_keys().filter(|name| name.ends_with(".log"));
    assert_eq!(left.count(), 1);
}

/// Deletes while an index is rebuilt, as a compaction does before it rewrites the segment.
#[derive(Debug, Default)]
struct DeletesMeanwhile(OnceLock<Log>);

impl Listener for DeletesMeanwhile {
    fn on_event(&self, event: &Event) {
        if let (Event::IndexRebuilt { .. }, Some(log)) = (event, self.0.get()) {
            log.delete_before(2).unwrap();
        }
    }
}

#[test]
fn compaction_continues_after_deletion() {
    let fs = MemFs::new();
    let policy = CleanupPolicy::CompactAndDelete;
    let config = LogConfig::default().cleanup_policy(policy).fs(fs.clone()).segment_bytes(150);
    let log = Log::open(DIR, config.clone()).unwrap();
    for n in 0..20 {
        log.append(Record::new(n.to_string()).key("k")).unwrap();
    }
    log.roll().unwrap();
    log.close().unwrap();
    for index in files(&fs, DIR).into_keys().filter(|name| name.contains("index")) {
        fs.remove(&Path::new(DIR).join(index)).unwrap();
    }
    let deletes = Arc::new(DeletesMeanwhile::default());
    let log = Log::open(DIR, config.listener(deletes.clone())).unwrap();
    deletes.0.set(log.clone()).unwrap();
    let report = log.compact().unwrap();
    assert_eq!((log.offsets().start, report.records_kept, report.first_dirty_offset), (2, 1, 20));
    let left = read_all(&log);
    assert_eq!((left.len(), left[0].offset), (1, 19));
}

/// Trap: the segment after the one that is read is looked up by its place in a list that became
/// shorter.
#[test]
fn reader_continues_when_list_gets_shorter() {
    let fs = MemFs::new();
    let log = segments(&fs, LogConfig::default(), 5);
    for from in 6..15 {
        let fs = fs.kill();
        let log = Log::open(DIR, LogConfig::default().fs(fs)).unwrap();
        let mut reader = log.reader(from).unwrap();
        assert_eq!(reader.next_record().unwrap().unwrap().offset, from);
        log.delete_before(from / 3 * 3).unwrap();
        for expected in from + 1..16 {
            assert_eq!(reader.next_record().unwrap().unwrap().offset, expected);
        }
        assert!(reader.next_record().unwrap().is_none());
    }
    log.close().unwrap();
}

#[test]
fn retention_deletes_whole_segments() {
    let (fs, clock) = (MemFs::new(), clock());
    let config = LogConfig::default().clock(clock.clone());
    let log = segments(&fs, config.clone().retention_age(Duration::from_millis(60)), 4);
    assert_eq!(log.maintain().unwrap().segments_deleted, 0, "nothing is that old");
    clock.set(at(T0 + 12 + 61));
    let report = log.maintain().unwrap();
    assert_eq!((report.segments_deleted, report.start), (2, 6));
    let bytes = log.stats().unwrap().bytes;
    drop(log);

    let report_of = |limit| {
        let log = Log::open(DIR, config.clone().retention_bytes(limit).fs(fs.kill())).unwrap();
        let report = log.maintain().unwrap();
        assert_eq!(log.stats().unwrap().bytes, bytes - report.bytes_deleted);
        (report.segments_deleted, report.start)
    };
    assert_eq!(report_of(bytes), (0, 6));
    assert_eq!(report_of(bytes - 1), (0, 6), "what stays is never less than the limit");
    assert_eq!(report_of(bytes / 2), (1, 9));
    assert_eq!(report_of(0), (3, 13));
}

#[test]
fn retention_deletes_expired_active_segment() {
    let (fs, clock) = (MemFs::new(), clock());
    let config = LogConfig::default().clock(clock.clone()).retention_age(Duration::from_millis(5));
    let log = segments(&fs, config, 2);
    clock.advance(Duration::from_secs(1));
    let report = log.maintain().unwrap();
    assert_eq!((report.segments_deleted, report.start), (3, 7));
    assert_eq!(logs(&fs), [name(7, "log")]);
    assert_eq!(log.maintain().unwrap().segments_deleted, 0, "an empty one stays");
    assert_eq!(log.append("on").unwrap(), 7);
}

#[test]
fn clock_jump_empties_no_log() {
    let (fs, clock) = (MemFs::new(), clock());
    let config = LogConfig::default().clock(clock.clone()).retention_age(Duration::from_millis(5));
    let log = segments(&fs, config, 2);
    for now in [i64::MIN, 0, T0 - 1_000_000] {
        clock.set(at(now));
        assert_eq!(log.maintain().unwrap().segments_deleted, 0, "{now}");
    }
    // A record of the future was not written before it was seen, whatever the calendar says.
    let fs = MemFs::new();
    let config = LogConfig::default().clock(clock.clone()).retention_age(Duration::from_millis(5));
    let log = Log::open(DIR, config.fs(fs)).unwrap();
    log.append(Record::new("later").timestamp(at(T0 * 2))).unwrap();
    log.roll().unwrap();
    log.append(Record::new("old").timestamp(at(1))).unwrap();
    clock.set(at(T0));
    assert_eq!(log.maintain().unwrap().segments_deleted, 0);
}

/// A record from a host whose clock was wrong kept its segment, and all later ones, until the year
/// 2096.
#[test]
fn record_from_future_delays_retention_briefly() {
    const CENTURY: i64 = 100 * 365 * 86_400_000;
    for restart in [false, true] {
        let (fs, clock) = (MemFs::new(), clock());
        let config = LogConfig::default().retention_age(Duration::from_secs(3600));
        let config = config.clock(clock.clone());
        let mut log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        log.append(Record::new("early").timestamp(at(T0 + CENTURY))).unwrap();
        log.roll().unwrap();
        log.append(Record::new("sound").timestamp(at(T0))).unwrap();
        assert_eq!(log.maintain().unwrap().segments_deleted, 0);
        clock.advance(Duration::from_secs(1800));
        assert_eq!(log.maintain().unwrap().segments_deleted, 0);
        if restart {
            log.close().unwrap();
            log = Log::open(DIR, config.fs(fs.clone())).unwrap();
            assert_eq!(log.maintain().unwrap().segments_deleted, 0);
            clock.advance(Duration::from_secs(1800));
        }
        clock.advance(Duration::from_secs(1801));
        assert_eq!(log.maintain().unwrap().segments_deleted, 2);
        assert_eq!((log.offsets().start, log.offsets().end), (2, 2));
        // One that is appended to is as old as the last of it.
        log.append(Record::new("early").timestamp(at(T0 + CENTURY))).unwrap();
        assert_eq!(log.maintain().unwrap().segments_deleted, 0);
        clock.advance(Duration::from_secs(3000));
        log.append(Record::new("early").timestamp(at(T0 + CENTURY))).unwrap();
        for _ in 0..2 {
            assert_eq!(log.maintain().unwrap().segments_deleted, 0);
            clock.advance(Duration::from_secs(3000));
        }
        assert_eq!(log.maintain().unwrap().segments_deleted, 1);
    }
}

/// On a disk the file says when it was written, also after a restart.
#[test]
fn record_from_future_ages_with_file() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(annals::SystemClock::new());
    let now = || annals::Clock::now(&*clock).as_millis();
    let manual = Arc::new(annals::ManualClock::new(at(now())));
    let config = || {
        let config = LogConfig::default().retention_age(Duration::from_secs(3600));
        config.clock(manual.clone())
    };
    let log = Log::open(dir.path().join(DIR), config()).unwrap();
    log.append(Record::new("early").timestamp(at(i64::MAX / 2))).unwrap();
    log.close().unwrap();
    manual.set(at(now() + 2 * 3_600_000));
    let log = Log::open(dir.path().join(DIR), config()).unwrap();
    assert_eq!(log.maintain().unwrap().segments_deleted, 1);
}

/// No checksum covers the file that says where the log begins; a digit of it that is damaged must
/// not delete anything.
#[test]
fn damaged_start_offset_deletes_nothing() {
    let fs = MemFs::new();
    let log = segments(&fs, LogConfig::default(), 4);
    log.delete_before(4).unwrap();
    drop(log);
    let start = "log-start-offset-checkpoint";
    let bytes = read_file(&fs, DIR, start);
    for (byte, bit) in (0..bytes.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let disk = fs.kill();
        let mut wrong = bytes.clone();
        wrong[byte] ^= 1 << bit;
        write_file(&disk, DIR, start, &wrong);
        let config = LogConfig::default().fs(disk.clone());
        // Without it, deleted records would be back; some damage changes nothing.
        match Log::open(DIR, config) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
            Ok(log) => {
                assert_eq!(log.offsets().end, 13);
                assert_eq!(log.offsets().start, 4, "bit {bit} of byte {byte}");
            }
        }
        assert_eq!(logs(&disk).len(), 4, "bit {bit} of byte {byte}");
    }
}

#[test]
fn opening_finishes_interrupted_deletion() {
    let fs = MemFs::new();
    let log = segments(&fs, LogConfig::default(), 5);
    let readers = [0, 3, 6, 9].map(|from| {
        let mut reader = log.reader(from).unwrap();
        reader.next_record().unwrap();
        reader
    });
    log.delete_before(12).unwrap();
    // Each was being read when the process died. A few were gone already.
    let disk = fs.kill();
    drop(readers);
    let of = |base: u64| std::path::PathBuf::from(DIR).join(name(base, "log"));
    Fs::remove(&disk, &of(3)).unwrap();
    Fs::remove(&disk, &of(9)).unwrap();
    let heard = Arc::new(Heard::default());
    let config = LogConfig::default().fs(disk.clone()).listener(heard.clone());
    let log = Log::open(DIR, config).unwrap();
    assert_eq!(logs(&disk), [name(12, "log"), name(15, "log")]);
    assert!(files(&disk, DIR).keys().all(|file| !file.starts_with("00000000000000000009")));
    assert_eq!((log.offsets().start, read_all(&log).len()), (12, 4));
    let removed = |event: &Event| matches!(event, Event::StaleFileRemoved { .. });
    assert!(heard.0.lock().unwrap().iter().filter(|event| removed(event)).count() > 3);
}

#[test]
fn retention_reports_and_keeps_damaged_segment() {
    let (fs, clock) = (MemFs::new(), clock());
    segments(&fs, LogConfig::default(), 3).close().unwrap();
    let mut bytes = read_file(&fs, DIR, &name(3, "log"));
    bytes[8] = 0xff;
    write_file(&fs, DIR, &name(3, "log"), &bytes);
    let heard = Arc::new(Heard::default());
    let config = LogConfig::default().clock(clock.clone()).retention_age(Duration::from_millis(5));
    let log = Log::open(DIR, config.fs(fs.clone()).listener(heard.clone())).unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(log.maintain().unwrap().segments_deleted, 1);
    assert_eq!(log.offsets().start, 3);
    assert!(heard.0.lock().unwrap().iter().any(|event| matches!(event, Event::CorruptionFound(_))));
}

#[test]
fn invalid_deletions_change_nothing() {
    let fs = MemFs::new();
    let log = segments(&fs, LogConfig::default(), 2);
    let before = files(&fs, DIR);
    assert_eq!(log.delete_before(8).unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(log.delete_before(0).unwrap(), 0);
    assert_eq!(files(&fs, DIR), before);
    let reader = Log::open_read_only(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    assert!(matches!(reader.delete_before(1), Err(Error::ReadOnly { .. })));
    assert!(matches!(reader.maintain(), Err(Error::ReadOnly { .. })));
    let twin = log.clone();
    log.close().unwrap();
    assert!(matches!(twin.delete_before(1), Err(Error::Closed { .. })));
    assert!(matches!(twin.maintain(), Err(Error::Closed { .. })));
}

#[test]
fn read_only_log_sees_start_move() {
    let fs = MemFs::new();
    let log = segments(&fs, LogConfig::default(), 4);
    let follower = Log::open_read_only(DIR, LogConfig::default().fs(fs)).unwrap();
    let mut behind = follower.reader(0).unwrap();
    assert_eq!(behind.next_record().unwrap().unwrap().offset, 0);
    log.delete_before(1).unwrap();
    assert_eq!(follower.get(0).unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(follower.get(1).unwrap().unwrap().offset, 1);
    log.delete_before(7).unwrap();
    assert_eq!(follower.get(1).unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(read_all(&follower).len(), 6);
    assert_eq!(follower.offsets().start, 7);
    let outcome = std::iter::from_fn(|| behind.next_record().transpose());
    let outcome: Vec<_> = outcome.take(4).collect();
    let error = outcome.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}");
}

/// Retention leaves what the rules leave of a list of segments, whatever the sizes and timestamps.
#[test]
fn retention_matches_model() {
    for seed in seeds("ANNALS_RETENTION_SEEDS", 200) {
        let mut chance = Chance(seed);
        let clock = clock();
        let mut config = LogConfig::default().clock(clock.clone()).fs(MemFs::new());
        let age = (chance.below(2) == 0).then(|| chance.below(300) as i64);
        if let Some(age) = age {
            config = config.retention_age(Duration::from_millis(age as u64));
        }
        let limit = (chance.below(2) == 0).then(|| chance.below(3000));
        if let Some(limit) = limit {
            config = config.retention_bytes(limit);
        }
        let log = Log::open(DIR, config).unwrap();
        for n in 0..1 + chance.below(8) {
            for _ in 0..chance.below(4) {
                let time = T0 + n as i64 * 30 + chance.below(100) as i64 - 50;
                let value = "x".repeat(chance.below(300) as usize);
                log.append(Record::new(value).timestamp(at(time))).unwrap();
            }
            log.roll().unwrap();
        }
        let now = T0 + chance.below(600) as i64 - 100;
        clock.set(at(now));
        let stats = log.stats().unwrap();
        let mut left: &[_] = &stats.segments;
        // The last is empty, as it was just begun.
        let mut total: u64 = left.iter().map(|segment| segment.bytes).sum();
        while let (Some(limit), [first, _, ..]) = (limit, left)
            && total > limit
            && total - first.bytes >= limit
        {
            total -= first.bytes;
            left = &left[1..];
        }
        while let (Some(age), [first, _, ..]) = (age, left)
            && now - first.largest_timestamp.as_millis() > age
        {
            left = &left[1..];
        }
        let start = left[0].base_offset;
        let report = log.maintain().unwrap();
        assert_eq!(report.start, start, "ANNALS_RETENTION_SEEDS={seed}");
        assert_eq!(report.segments_deleted, stats.segments.len() - left.len());
        assert_eq!(log.stats().unwrap().segments, left, "ANNALS_RETENTION_SEEDS={seed}");
        assert_eq!(log.maintain().unwrap().segments_deleted, 0, "it is done");
    }
}

/// Readers during deletions see every record from their start on, until they get
/// `OffsetOutOfRange`.
#[test]
fn readers_skip_nothing_during_deletions() {
    let fs = MemFs::new();
    let config = LogConfig::default().segment_bytes(600).index_interval_bytes(0);
    let log = Log::open(DIR, config.fs(fs.clone())).unwrap();
    log.append("0").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..3000u64 {
                log.append(n.to_string()).unwrap();
                if n % 7 == 0 {
                    log.delete_before(n.saturating_sub(25)).unwrap();
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reader = log.reader(StartAt::Earliest).unwrap();
                let mut next = None;
                while reader.offset() < 3000 {
                    match reader.next_record() {
                        Ok(Some(record)) => {
                            assert!(next.is_none_or(|next| next == record.offset));
                            assert_eq!(record.value_str(), Some(&*record.offset.to_string()));
                            next = Some(record.offset + 1);
                        }
                        Ok(None) => std::thread::yield_now(),
                        Err(Error::OffsetOutOfRange { requested, start, .. }) => {
                            assert!(requested < start);
                            reader.seek(StartAt::Earliest).unwrap();
                            next = None;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        scope.spawn(|| {
            while log.offsets().end < 3000 {
                let offset = log.offsets().start;
                match log.get(offset) {
                    Ok(record) => {
                        assert_eq!(record.unwrap().value_str(), Some(&*offset.to_string()));
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}"),
                }
            }
        });
    });
    assert!(logs(&fs).len() < 8, "{:?}", logs(&fs));
    assert_eq!(log.verify().unwrap(), []);
}
