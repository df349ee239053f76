//! A log on the real disk and in memory: the calls that a user makes first.

use annals::fs::{Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::record::{BatchBuilder, Compression, EndTxnMarker, RecordBatch, stamp_base_offset};
use annals::{
    CleanupPolicy, Codec, CorruptionKind, Error, InvalidRecord, Log, LogConfig, OffsetSpec,
    OnCorruption, Record, StartAt, Timestamp, TimestampType,
};
use support::{files, name, read_file, write_file};

const DIR: &str = "l-0";

fn values(log: &Log) -> Vec<(u64, String)> {
    log.reader(StartAt::Earliest)
        .unwrap()
        .records()
        .map(|r| r.unwrap())
        .map(|r| (r.offset, r.value_str().unwrap().to_owned()))
        .collect()
}

fn expected(n: u64) -> Vec<(u64, String)> {
    (0..n).map(|i| (i, format!("value-{i}"))).collect()
}

fn small() -> LogConfig {
    LogConfig::default().segment_bytes(4096).index_interval_bytes(200)
}

/// Compaction drops records without a key, so no append may accept them.
#[test]
fn append_rejects_null_key_when_compacted() {
    for policy in [CleanupPolicy::Compact, CleanupPolicy::CompactAndDelete] {
        for time in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            let config = LogConfig::default().cleanup_policy(policy).timestamp_type(time);
            let log = Log::open("t-0", config.fs(MemFs::new())).unwrap();
            let rejected = |error: Error, at: usize| {
                let reason = InvalidRecord::MissingKey;
                assert!(
                    matches!(error, Error::InvalidRecord { index, reason: r, .. } if (index, r) == (at, reason))
                );
            };
            let keyed = || Record::new("v").key("");
            rejected(log.append("v").unwrap_err(), 0);
            rejected(log.append_all([keyed(), keyed(), "v".into()]).unwrap_err(), 2);
            let mut builder = BatchBuilder::new();
            builder.push(Timestamp::from_millis(5), Some(b"k"), None).unwrap();
            builder.push(Timestamp::from_millis(5), None, Some(b"v")).unwrap();
            rejected(log.append_builder(&mut builder).unwrap_err(), 1);
            let batch = RecordBatch::parse(builder.build_bytes().unwrap().into()).unwrap();
            rejected(log.append_batch(batch).unwrap_err(), 1);
            assert_eq!(log.offsets().end, 0);
            log.append(keyed()).unwrap();
        }
    }
}

#[test]
fn records_are_read_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for clean in [true, false] {
        let path = dir.path().join(if clean { "clean-0" } else { "crashed-0" });
        let log = Log::open(&path, small()).unwrap();
        for i in 0..500u64 {
            let at = Timestamp::from_millis(1_000 + i as i64);
            let record = Record::new(format!("value-{i}")).timestamp(at);
            assert_eq!(log.append(record).unwrap(), i);
        }
        assert_eq!(values(&log), expected(500));
        for i in [0, 1, 77, 250, 499] {
            assert_eq!(log.get(i).unwrap().unwrap().offset, i);
            let at = Timestamp::from_millis(1_000 + i as i64);
            assert_eq!(log.offset_for_time(at).unwrap(), Some((i, at)));
        }
        if clean {
            log.close().unwrap();
        } else {
            drop(log);
        }
        let log = Log::open(&path, small()).unwrap();
        assert_eq!(log.recovery().clean_shutdown, clean);
        assert_eq!(log.recovery().truncated_bytes, 0);
        assert_eq!(values(&log), expected(500));
        assert_eq!(log.append("value-500").unwrap(), 500);
        assert_eq!(values(&log), expected(501));
        assert!(log.verify().unwrap().is_empty(), "{:?}", log.verify());
        assert!(log.stats().unwrap().segments.len() > 5);
    }
}

/// The reader returned the next batch at once, and the remaining records of the previous one were
/// never returned.
#[test]
fn reader_switches_from_records_to_batches() {
    let log = Log::open(DIR, LogConfig::default().fs(MemFs::new())).unwrap();
    for batch in 0..3 {
        log.append_all((0..4).map(|i| Record::new(format!("value-{}", batch * 4 + i)))).unwrap();
    }
    for given in 0..12u64 {
        let mut reader = log.reader(0).unwrap();
        (0..given).for_each(|n| assert_eq!(reader.next_record().unwrap().unwrap().offset, n));
        let mut next = given;
        while let Some(mut batch) = reader.next_batch().unwrap() {
            for record in batch.records().unwrap() {
                assert_eq!(record.unwrap().offset, next, "after {given} records");
                next += 1;
            }
        }
        assert_eq!(next, 12);
    }
}

#[test]
fn reads_fail_outside_the_log() {
    let log = Log::open("l-0", small().fs(MemFs::new())).unwrap();
    log.append("a").unwrap();
    assert!(log.read(1, Default::default()).unwrap().is_empty());
    for result in [log.read(2, Default::default()).err(), log.reader(2).err(), log.get(1).err()] {
        assert!(matches!(result, Some(Error::OffsetOutOfRange { start: 0, end: 1, .. })));
    }
}

#[test]
fn truncation_is_noticed_by_readers() {
    let fs = MemFs::new();
    let config = || small().fs(fs.clone());
    let log = Log::open("l-0", config()).unwrap();
    for i in 0..300 {
        log.append(format!("value-{i}").as_str()).unwrap();
    }
    let mut reader = log.reader(0).unwrap();
    for _ in 0..200 {
        reader.next_record().unwrap().unwrap();
    }
    for target in [250, 120, 119, 0] {
        log.truncate_to(target).unwrap();
        assert_eq!(log.offsets().end, target);
        assert_eq!(values(&log), expected(target));
        assert!(log.verify().unwrap().is_empty());
        if target < 200 {
            assert!(matches!(reader.next_record(), Err(Error::OffsetOutOfRange { .. })));
        }
        assert_eq!(log.append(format!("value-{target}").as_str()).unwrap(), target);
        assert_eq!(values(&log), expected(target + 1));
    }
    drop((log, reader));
    let log = Log::open("l-0", config()).unwrap();
    assert_eq!(values(&log), expected(1));
}

#[test]
fn truncation_removes_batch_around_target() {
    let fs = MemFs::new();
    let log = Log::open("l-0", small().fs(fs.clone())).unwrap();
    log.append_all((0..10).map(|i| Record::new(format!("value-{i}")))).unwrap();
    log.append_all((10..20).map(|i| Record::new(format!("value-{i}")))).unwrap();
    log.truncate_to(15).unwrap();
    assert_eq!(log.offsets().end, 15);
    assert_eq!(values(&log), expected(10));
    drop(log);
    let log = Log::open("l-0", small().fs(fs)).unwrap();
    assert_eq!(log.offsets().end, 15);
    assert_eq!(log.append("value-15").unwrap(), 15);
    assert_eq!(values(&log).last().unwrap().0, 15);
}

#[test]
fn special_offsets_resolve() {
    let log = Log::open("l-0", small().fs(MemFs::new())).unwrap();
    assert_eq!(log.list_offset(OffsetSpec::MaxTimestamp).unwrap(), None);
    for at in [10, 30, 30, 20] {
        log.append(Record::new("x").timestamp(Timestamp::from_millis(at))).unwrap();
    }
    let at = |offset, millis| Some((offset, Timestamp::from_millis(millis)));
    assert_eq!(log.list_offset(OffsetSpec::Earliest).unwrap(), at(0, -1));
    assert_eq!(log.list_offset(OffsetSpec::EarliestLocal).unwrap(), at(0, -1));
    assert_eq!(log.list_offset(OffsetSpec::Latest).unwrap(), at(4, -1));
    assert_eq!(log.list_offset(OffsetSpec::LatestTiered).unwrap(), None);
    assert_eq!(log.list_offset(OffsetSpec::MaxTimestamp).unwrap(), at(1, 30));
    assert_eq!(log.offset_for_time(Timestamp::from_millis(11)).unwrap(), at(1, 30));
    assert_eq!(log.offset_for_time(Timestamp::from_millis(31)).unwrap(), None);
}

#[test]
fn read_only_log_follows_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l-0");
    assert!(matches!(
        Log::open_read_only(&path, small()).unwrap_err(),
        Error::DirectoryNotFound { .. }
    ));
    let log = Log::open(&path, small()).unwrap();
    log.append("value-0").unwrap();
    let follower = Log::open_read_only(&path, small()).unwrap();
    let mut tail = follower.tail(StartAt::Earliest).unwrap();
    for i in 1..400 {
        log.append(format!("value-{i}").as_str()).unwrap();
        if i % 7 == 0 {
            assert_eq!(values(&follower), expected(i + 1));
        }
    }
    for i in 0..400 {
        assert_eq!(tail.next_record(None).unwrap().unwrap().offset, i);
    }
    assert!(matches!(follower.append("no"), Err(Error::ReadOnly { .. })));
    log.truncate_to(100).unwrap();
    assert_eq!(values(&follower), expected(100));
    assert!(matches!(Log::open(&path, small()), Err(Error::Locked { holder: Some(_), .. })));
    log.close().unwrap();
    assert_eq!(values(&follower), expected(100));
}

/// A Kafka broker does the same with batches of Sarama.
#[test]
fn append_batch_corrects_largest_timestamp() {
    for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
        let config = small().timestamp_type(timestamp_type).fs(MemFs::new());
        let log = Log::open("l-0", config).unwrap();
        let mut builder = BatchBuilder::new();
        for millis in [5, 9, 7] {
            builder.push(Timestamp::from_millis(millis), None, Some(b"x")).unwrap();
        }
        builder.set_max_timestamp(Timestamp::NONE);
        let batch = builder.build().unwrap();
        let kept = batch.clone();
        log.append_batch(batch).unwrap();
        assert_eq!(kept.header().max_timestamp, Timestamp::NONE, "the caller's is left alone");
        assert_eq!(log.verify().unwrap(), []);
        let stored = log.get(1).unwrap().unwrap().timestamp;
        let largest = log.list_offset(OffsetSpec::MaxTimestamp).unwrap().unwrap();
        match timestamp_type {
            TimestampType::CreateTime => {
                assert_eq!(largest, (1, Timestamp::from_millis(9)));
                assert_eq!(stored, Timestamp::from_millis(9));
            }
            _ => assert_eq!(largest.1, stored),
        }
    }
}

/// A mirror hands on batches as it has read them, with the append time of the log they come from.
#[test]
fn append_batch_drops_foreign_append_time() {
    let made = Timestamp::from_millis(9);
    for compression in [Compression::None, Compression::of(Codec::Zstd)] {
        let config = small().compression(compression);
        let source = config.clone().timestamp_type(TimestampType::LogAppendTime);
        let source = Log::open("s-0", source.fs(MemFs::new())).unwrap();
        source.append_all([Record::new("a").timestamp(made), "b".into()]).unwrap();
        let mut reader = source.reader(StartAt::Earliest).unwrap();
        let batch = reader.next_batch().unwrap().unwrap().to_owned().unwrap();
        assert_eq!(batch.header().timestamp_type(), TimestampType::LogAppendTime);
        // Kept, and compressed anew.
        for other in [compression, Compression::of(Codec::Gzip)] {
            let log = Log::open("l-0", config.clone().compression(other).fs(MemFs::new())).unwrap();
            log.append_batch(batch.clone()).unwrap();
            assert_eq!(log.verify().unwrap(), []);
            assert_eq!(log.get(0).unwrap().unwrap().timestamp, made);
            let largest = log.list_offset(OffsetSpec::MaxTimestamp).unwrap().unwrap();
            let second = log.get(1).unwrap().unwrap();
            assert_eq!(largest, (1, second.timestamp), "when the producer's record was made");
        }
        let mut damaged = batch.as_bytes().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let damaged = RecordBatch::parse_unverified(damaged.into()).unwrap();
        let log = Log::open("l-0", config.fs(MemFs::new())).unwrap();
        assert!(matches!(log.append_batch(damaged), Err(Error::InvalidBatch(_))), "not mended");
    }
}

#[test]
fn append_builder_validates_as_append_does() {
    let log = Log::open("l-0", small().fs(MemFs::new())).unwrap();
    let at = Timestamp::from_millis(1);
    let mut builder = BatchBuilder::new();
    builder.push_at_delta(3, at, None, Some(b"x"), &[] as &[annals::Header]).unwrap();
    assert!(matches!(log.append_builder(&mut builder), Err(Error::InvalidBatch(_))), "a gap");
    builder.clear();
    builder.push(at, None, Some(b"x")).unwrap();
    builder.set_max_timestamp(Timestamp::from_millis(9));
    assert!(matches!(log.append_builder(&mut builder), Err(Error::InvalidBatch(_))), "a wrong max");
    builder.clear();
    builder.producer(1, -1, -1).push(at, None, Some(b"x")).unwrap();
    assert!(matches!(log.append_builder(&mut builder), Err(Error::InvalidBatch(_))), "no sequence");
    builder.producer(-1, -1, -1).control(true);
    assert!(matches!(log.append_builder(&mut builder), Err(Error::InvalidBatch(_))), "control");
    builder.control(false);
    assert_eq!(log.append_builder(&mut builder).unwrap().first, 0);
    builder.clear();
    builder.push(Timestamp::from_millis(-5), None, Some(b"x")).unwrap();
    assert!(matches!(log.append_builder(&mut builder), Err(Error::InvalidRecord { index: 0, .. })));
    assert_eq!(log.offsets().end, 1);
}

#[test]
fn append_all_rejects_endless_records() {
    let log = Log::open("l-0", small().fs(MemFs::new())).unwrap();
    let endless = std::iter::repeat_with(|| Record::new(vec![7; 100]));
    assert!(matches!(log.append_all(endless), Err(Error::BatchTooLarge { limit: 4096, .. })));
    assert_eq!(log.append("fine").unwrap(), 0);
}

#[test]
fn builder_takes_compression_of_each_log() {
    let fs = MemFs::new();
    let codec = Codec::ALL.into_iter().rev().find(|codec| codec.is_available()).unwrap();
    let compressed = LogConfig::default().compression(Compression::of(codec));
    for (dir, config, expected) in
        [("a-0", compressed, codec), ("b-0", LogConfig::default(), Codec::None)]
    {
        let log = Log::open(dir, config.fs(fs.clone())).unwrap();
        log.append("value").unwrap();
        let mut reader = log.reader(StartAt::Earliest).unwrap();
        assert_eq!(reader.next_batch().unwrap().unwrap().header().codec(), expected);
    }
}

/// A tail that starts to wait just as the thread that watches the files ends must not be
/// forgotten.
#[test]
fn read_only_tail_wakes_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), small()).unwrap();
    let limit = std::time::Duration::from_secs(20);
    for n in 0..100u64 {
        let mut tail = Log::open_read_only(dir.path(), small()).unwrap().tail(n).unwrap();
        let waiting = std::thread::spawn(move || tail.next_record(Some(limit)).unwrap());
        log.append("x").unwrap();
        assert_eq!(waiting.join().unwrap().map(|record| record.offset), Some(n));
    }
}

/// With each look at the clock ten milliseconds have passed, and a broker has written a marker.
#[derive(Debug)]
struct Markers {
    fs: MemFs,
    looks: std::sync::atomic::AtomicU64,
}

impl annals::Clock for Markers {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }

    fn monotonic(&self) -> std::time::Duration {
        let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert!(looks < 300, "it goes on waiting");
        let path = std::path::Path::new("l-0/00000000000000000000.log");
        // The directory is not there while the log is created.
        if let Ok(file) = self.fs.open(path, OpenMode::ReadWrite) {
            let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
            let mut bytes = marker.to_batch(1, 0, Timestamp::from_millis(1)).unwrap();
            let at = file.len().unwrap();
            stamp_base_offset(&mut bytes, at / EndTxnMarker::BATCH_SIZE as u64).unwrap();
            file.write_all_at(&bytes, at).unwrap();
        }
        std::time::Duration::from_millis(10 * looks)
    }
}

/// Each marker woke the tail, which found no record and began to wait anew.
#[test]
fn tail_times_out_despite_markers() {
    let fs = MemFs::new();
    drop(Log::open("l-0", LogConfig::default().fs(fs.clone())).unwrap());
    let clock = std::sync::Arc::new(Markers { fs: fs.clone(), looks: Default::default() });
    let log = Log::open_read_only("l-0", LogConfig::default().fs(fs).clock(clock)).unwrap();
    let mut tail = log.tail(StartAt::Latest).unwrap();
    assert!(tail.next_record(Some(std::time::Duration::from_millis(200))).unwrap().is_none());
    assert!(log.reader(StartAt::Latest).unwrap().offset() > 1, "there were markers");
}

/// The thread that watches the files met the error and told no reader: a tail that waited without
/// a limit waited forever.
#[test]
fn waiting_tail_fails_when_log_disappears() {
    let fs = FaultFs::new(MemFs::new());
    Log::open("l-0", small().fs(fs.clone())).unwrap().append("x").unwrap();
    let mut tail = Log::open_read_only("l-0", small().fs(fs.clone())).unwrap().tail(1).unwrap();
    // The first looks are the tail's own; by then it is the thread that looks for it.
    let gone = Fault::Error(std::io::ErrorKind::NotFound);
    fs.add_rule(Rule::new(Operation::List, gone).from_nth(10));
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(tail.next_record(None)));
    let got = result.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    assert!(matches!(got, Err(Error::DirectoryNotFound { .. })), "{got:?}");
}

/// A read-only log ends with the last whole batch, as its writer may be in the middle of the next.
/// So a flipped bit in a log that was closed long ago read as its end, without a word.
#[test]
fn read_only_reader_reports_flipped_bit() {
    let fs = MemFs::new();
    let log = Log::open("l-0", LogConfig::default().fs(fs.clone())).unwrap();
    (0..3).for_each(|i| drop(log.append(format!("value-{i}").as_str()).unwrap().to_string()));
    log.close().unwrap();
    let path = std::path::Path::new("l-0/00000000000000000000.log");
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    let batch = file.len().unwrap() / 3;
    for damaged in [1, 2] {
        let mut byte = [0];
        let at = damaged * batch + 65;
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let config = || LogConfig::default().fs(fs.clone());
        // A closed log is trusted, as by `open`: reading finds the damage.
        let log = Log::open_read_only("l-0", config()).unwrap();
        assert_eq!(log.offsets().end, 3);
        let mut reader = log.reader(0).unwrap();
        let error = loop {
            match reader.next_record() {
                Ok(record) => assert!(record.is_some()),
                Err(error) => break error,
            }
        };
        let Error::Corrupt(corruption) = error else { panic!("{error}") };
        assert_eq!((corruption.position, corruption.offset), (damaged * batch, Some(damaged)));
        let cut = config().on_corruption(OnCorruption::Truncate);
        assert_eq!(values(&Log::open_read_only("l-0", cut).unwrap()), expected(damaged));
        file.write_all_at(&byte, at).unwrap();
    }
}

/// By each way in: on its own, among others, in a builder, and encoded already.
#[test]
fn every_append_rejects_invalid_timestamp() {
    let now = 1_700_000_000_000;
    let clock = std::sync::Arc::new(annals::ManualClock::new(Timestamp::from_millis(now)));
    let config = LogConfig::default()
        .fs(MemFs::new())
        .clock(clock)
        .timestamp_before_max(std::time::Duration::from_millis(1000))
        .timestamp_after_max(std::time::Duration::from_millis(10));
    let log = Log::open("t-0", config).unwrap();
    let mut end = 0;
    for (distance, is_taken) in [(-1001, false), (-1000, true), (0, true), (10, true), (11, false)]
    {
        let time = Timestamp::from_millis(now + distance);
        let record = || Record::new("x").timestamp(time);
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp::from_millis(now), None, Some(b"y")).unwrap();
        builder.push(time, None, Some(b"x")).unwrap();
        let outcomes = [
            log.append(record()).map(|_| 1),
            log.append_all([Record::new("y"), record()]).map(|_| 2),
            log.append_builder(&mut builder).map(|_| 2),
            log.append_batch(builder.build().unwrap()).map(|_| 2),
        ];
        for (way, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(records) if is_taken => end += records,
                Err(Error::InvalidRecord { index, .. }) if !is_taken => {
                    assert_eq!(index, usize::from(way > 0));
                }
                other => panic!("{distance} ms, way {way}: {other:?}"),
            }
        }
        assert_eq!(log.offsets().end, end);
    }
}

/// The files of truncated segments are removed once no reader needs them; foreign files stay.
#[test]
fn truncation_leaves_no_file() {
    let fs = MemFs::new();
    let log = Log::open(DIR, small().fs(fs.clone())).unwrap();
    for base in 0..4 {
        log.append(format!("value-{base}")).unwrap();
        log.roll().unwrap();
    }
    let mut reader = log.reader(0).unwrap();
    while reader.next_record().unwrap().is_some() {}
    log.truncate_to(2).unwrap();
    drop(reader);
    let left: Vec<_> = files(&fs, DIR).into_keys().filter(|name| name.contains(".log")).collect();
    assert_eq!(left, [0, 1, 2].map(|base| name(base, "log")));
    assert!(!files(&fs, DIR).into_keys().any(|name| name.ends_with(".deleted")));
}

/// A segment keeps none of the bytes that an earlier file left under its name, nor the producer
/// state of that file.
#[test]
fn new_segment_replaces_stale_files() {
    let fs = MemFs::new();
    let log = Log::open(DIR, small().fs(fs.clone())).unwrap();
    log.append("value-0").unwrap();
    for kind in ["log", "index", "timeindex", "txnindex", "snapshot"] {
        write_file(&fs, DIR, &name(1, kind), b"stale");
    }
    log.roll().unwrap();
    log.append("value-1").unwrap();
    assert_eq!(values(&log), expected(2));
    let of_nobody = [0, 1, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0];
    assert_eq!(read_file(&fs, DIR, &name(1, "snapshot")), of_nobody);
    let names: Vec<_> = files(&fs, DIR).into_keys().filter(|file| file.contains("01.")).collect();
    assert_eq!(names, [name(1, "log"), name(1, "snapshot")]);
}

/// Three segments of four records of one size each, all of it flushed, and the size of a segment.
fn flushed(fs: &MemFs) -> (Log, u64) {
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    for n in 0..12 {
        if n > 0 && n % 4 == 0 {
            log.roll().unwrap();
        }
        log.append("x").unwrap();
    }
    log.flush().unwrap();
    (log, read_file(fs, DIR, &name(0, "log")).len() as u64)
}

/// Batches below the recovery point are not read, except in the segment before it, where the
/// removal of preallocated space may not have become durable. In a log that was never compacted,
/// the end of each other segment is checked.
#[test]
fn opening_reads_from_recovery_point() {
    let fs = MemFs::new();
    let (log, bytes) = flushed(&fs);
    let killed = FaultFs::new(fs.kill());
    let opened = Log::open(DIR, LogConfig::default().fs(killed.clone())).unwrap();
    assert_eq!((opened.recovery().clean_shutdown, opened.recovery().scanned_bytes), (false, bytes));
    let (first, second) = (name(0, "log"), name(4, "log"));
    let read = |file: &str| -> u64 {
        let reads = killed.trace().into_iter().filter(|call| call.operation == Operation::Read);
        reads.filter(|call| call.path.ends_with(file)).map(|call| call.len).sum()
    };
    assert!(read(&second) >= bytes && read(&first) < 2 * bytes);
    log.close().unwrap();
    let fs = FaultFs::new(fs);
    let opened = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    assert_eq!((opened.recovery().clean_shutdown, opened.recovery().scanned_bytes), (true, 0));
    assert_eq!(fs.count(Operation::Rename), 0, "what has not changed is not written");
}

/// Records missing below the recovery point are reported as that; zeros in place of a batch are
/// reported as a file that is too short.
#[test]
fn recovery_error_names_what_is_missing() {
    // The length to which the last segment is cut, or the first is filled with zeros.
    let lost = |segment: u64, zeros: bool, recovery_point: u64| {
        let fs = MemFs::new();
        let (_, bytes) = flushed(&fs);
        let fs = fs.kill();
        let mut log = read_file(&fs, DIR, &name(segment, "log"));
        log.truncate(bytes as usize / 2);
        if zeros {
            log.resize(bytes as usize, 0);
        }
        write_file(&fs, DIR, &name(segment, "log"), &log);
        let point = format!("0\n1\nl 0 {recovery_point}\n");
        write_file(&fs, DIR, "recovery-point-offset-checkpoint", point.as_bytes());
        match Log::open(DIR, LogConfig::default().fs(fs)) {
            Err(Error::Corrupt(corruption)) => corruption.reason,
            other => panic!("{other:?}"),
        }
    };
    let bytes = flushed(&MemFs::new()).1;
    let missing = |expected, found| CorruptionKind::MissingData { expected, found };
    let short = || CorruptionKind::FileTruncated { expected: bytes, found: bytes / 2 };
    assert_eq!(lost(8, false, 12), missing(12, 10));
    assert_eq!(lost(8, false, 11), missing(11, 10));
    assert_eq!(lost(0, true, 0), short());
    assert_eq!(lost(0, true, 2), short());
    assert_eq!(lost(0, true, 3), missing(3, 2));
}

/// A file that another program truncated under an open log has lost its records; the failed read
/// says nothing about the others.
#[test]
fn read_reports_corruption_when_file_shrinks() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, small().fs(fs.clone())).unwrap();
    log.append("value-0").unwrap();
    let end_of_file = fs.add_rule(Rule::new(Operation::Read, Fault::ShortIo(0)));
    let found = log.verify().unwrap();
    let short =
        |found: &annals::Corruption| matches!(found.reason, CorruptionKind::FileTruncated { .. });
    assert!(found.len() == 1 && found.iter().all(short), "{found:?}");
    fs.remove_rule(end_of_file);
    let failing = fs.add_rule(Rule::new(Operation::Read, Fault::Errno(5)));
    assert!(matches!(log.verify(), Err(Error::Io { .. })));
    fs.remove_rule(failing);
    assert_eq!(log.verify().unwrap(), []);
}

/// Clients in Go and C write any bytes as the name of a header, and no broker looks at them.
#[test]
fn header_names_keep_non_utf8_bytes() {
    let latin = b"caf\xe9".to_vec();
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
    let log = Log::open(DIR, config.fs(MemFs::new())).unwrap();
    let record = |value: &'static str| Record::new(value).key("k").header(latin.clone(), "latin 1");
    log.append(record("old")).unwrap();
    // Repeated, with a name that is text and one that is empty.
    let kept = record("kept").header_null(latin.clone()).header("caf\u{e9}", "text").header("", "");
    log.append(kept.clone()).unwrap();
    log.append(Record::new("other").key("other")).unwrap();
    log.roll().unwrap();
    assert_eq!(log.compact().unwrap().records_removed, 1, "the batch was written anew");

    let read = log.get(1).unwrap().unwrap();
    assert_eq!(read.headers, kept.headers);
    assert_eq!(read.header(&latin).unwrap().value, None, "the last one");
    assert_eq!(read.header("caf\u{e9}").unwrap().value.as_deref(), Some(&b"text"[..]));
    let shown: Vec<String> = read.headers.iter().map(|header| header.name.to_string()).collect();
    assert_eq!(shown, ["caf\u{fffd}", "caf\u{fffd}", "caf\u{e9}", ""]);
    assert_eq!(format!("{:?}", read.headers[0].name), r#"b"caf\xe9""#);

    let again = log.append(Record::from(read)).unwrap();
    assert_eq!(log.get(again).unwrap().unwrap().headers, kept.headers);
}
