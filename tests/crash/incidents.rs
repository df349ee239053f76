//! Bugs that were found, each with its story, so that they stay away.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::record::{BatchBuilder, Compression};
use annals::{
    Codec, CorruptionKind, Error, Log, LogConfig, OnCorruption, ReadLimits, Record, Store,
    StoreConfig, Timestamp, TopicConfig,
};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;
use support::{DIR, name, read_all, read_file, three, write_file};

fn open(fs: impl Fs) -> Result<Log, Error> {
    Log::open(DIR, LogConfig::default().index_interval_bytes(0).fs(fs))
}

/// Segment 0 was rolled but not synced when the power failed. The name of segment 6 became
/// durable, the last batch of segment 0 did not. Recovery kept both: records 3 to 5 were gone, 6
/// to 8 were there, and a log that promises a prefix had a hole.
#[test]
fn segment_after_lost_end_is_removed() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    log.flush().unwrap();
    let kept = read_file(&fs, DIR, &name(0, "log")).len();
    three(&log, "2");
    log.roll().unwrap();
    three(&log, "3");
    let disk = fs.crash(CrashState::AllWrites);
    let path = Path::new(DIR).join(name(0, "log"));
    disk.open(&path, OpenMode::ReadWrite).unwrap().set_len(kept as u64).unwrap();
    let log = open(disk).unwrap();
    assert_eq!(log.offsets().end, 3);
    assert_eq!(read_all(&log).len(), 3);
    assert!(log.recovery().truncated_bytes > 0);
}

/// The same shape on purpose: a truncation inside a batch leaves offsets without records. They
/// must be durable when `truncate_to` returns, and recovery must not take them for a loss.
#[test]
fn end_inside_batch_survives_power_loss() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    three(&log, "2");
    log.truncate_to(5).unwrap();
    for how in [CrashState::SyncedOnly, CrashState::AllWrites, CrashState::Random { seed: 1 }] {
        let log = open(fs.crash(how)).unwrap();
        assert_eq!((log.offsets().end, read_all(&log).len()), (5, 3), "{how:?}");
    }
    assert_eq!(log.append("next").unwrap(), 5);
    log.flush().unwrap();
    let log = open(fs.crash(CrashState::SyncedOnly)).unwrap();
    assert_eq!(log.get(5).unwrap().unwrap().value_str(), Some("next"));
}

/// Opening wrote the new boot id into `.lock` before it recovered. When that recovery was
/// interrupted, the next one believed that the machine had never stopped, and rejected as
/// corruption what the power loss had torn: the log could never be opened again.
#[test]
fn interrupted_recovery_still_knows_power_loss() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    (0..3).for_each(|i| three(&log, &i.to_string()));
    let disk = fs.crash(CrashState::AllWrites);
    // The first of three unsynced batches did not become durable.
    let mut bytes = read_file(&disk, DIR, &name(0, "log"));
    bytes[70] ^= 1;
    write_file(&disk, DIR, &name(0, "log"), &bytes);
    let faults = FaultFs::new(disk.clone());
    faults.add_rule(Rule::new(Operation::Read, Fault::Error(ErrorKind::Other)).path(".log"));
    assert!(matches!(open(faults).unwrap_err(), Error::Io { .. }));
    let log = open(disk.kill()).unwrap();
    assert_eq!(log.offsets().end, 0);
}

/// All segment files had been removed. The recovery point said that 6 offsets were durable, and
/// opening gave an empty log that handed the same offsets out again.
#[test]
fn opening_fails_when_segments_are_gone() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    three(&log, "2");
    log.close().unwrap();
    fs.remove(&Path::new(DIR).join(name(0, "log"))).unwrap();
    let Error::Corrupt(found) = open(fs.clone()).unwrap_err() else { panic!() };
    assert_eq!(found.reason, CorruptionKind::MissingData { expected: 6, found: 0 });
    let config = LogConfig::default().fs(fs).on_corruption(OnCorruption::Truncate);
    assert_eq!(Log::open(DIR, config).unwrap().offsets().end, 0);
}

/// A tail stood at offset 3, and the log was truncated to 5, inside of the batch from 3 to 5. "The
/// end is not where I am" was the tail's sign that there is more: it spun for ever, whatever
/// its timeout. And read() answered such a place with an empty result that led nowhere.
#[test]
fn tail_waits_at_end_inside_batch() {
    let log = open(MemFs::new()).unwrap();
    three(&log, "1");
    three(&log, "2");
    let mut tail = log.tail(3).unwrap();
    log.truncate_to(5).unwrap();
    assert!(tail.next_record(Some(Duration::ZERO)).unwrap().is_none());
    assert!(tail.next_batch(Some(Duration::from_millis(1))).unwrap().is_none());
    let fetched = log.read(3, ReadLimits::default()).unwrap();
    assert!(fetched.records().unwrap().is_empty());
    assert_eq!(fetched.next_offset, 5);
    log.append("next").unwrap();
    assert_eq!(tail.next_record(None).unwrap().unwrap().offset, 5);
}

/// A future for the durability of offset 6 never resolved once the log was truncated to 3, and the
/// thread that syncs for futures took a whole core looking at it.
#[cfg(feature = "futures")]
#[test]
fn flush_future_resolves_after_truncation() {
    let fs = FaultFs::new(MemFs::new());
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    three(&log, "2");
    let future = log.flush_async();
    log.truncate_to(3).unwrap();
    assert_eq!(support::block_on(future).unwrap(), 3);
}

/// The leader of a sync tells the others that it is done before it writes the recovery point. A
/// close that had waited for it wrote the same file at the same time: either one of the two found
/// its temporary file gone and the close failed, or the leader wrote after the lock was released.
#[test]
fn close_waits_for_running_sync() {
    let fs = FaultFs::new(MemFs::new());
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    log.roll().unwrap();
    three(&log, "2");
    let (at_gate, reached) = mpsc::channel();
    let (open_gate, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let hold = Fault::call(move |_| {
        at_gate.send(()).unwrap();
        drop(gate.lock().unwrap().recv());
    });
    let rule = Rule::new(Operation::Rename, hold).path("recovery-point").nth(1);
    fs.add_rule(rule);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| log.flush());
        reached.recv().unwrap();
        let close = scope.spawn(|| log.clone().close());
        // The close cannot pass the sync: the next thing it writes is the recovery point.
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        assert!(!close.is_finished(), "the close does not wait");
        open_gate.send(()).unwrap();
        assert_eq!(flush.join().unwrap().unwrap(), 6);
        close.join().unwrap().unwrap();
    });
    let renames = fs.trace().into_iter().filter(|call| call.operation == Operation::Rename);
    let renames: Vec<_> = renames.collect();
    assert!(renames.len() > 1 && renames.iter().all(|call| call.is_ok()), "{renames:?}");
}

/// The disk filled up just when a flush wanted to raise the recovery point. Everything was
/// durable, but the flush said that it had failed.
#[test]
fn flush_succeeds_without_space_for_checkpoint() {
    let fs = FaultFs::new(MemFs::new());
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    log.roll().unwrap();
    three(&log, "2");
    fs.add_rule(
        Rule::new(Operation::Write, Fault::Error(ErrorKind::StorageFull)).path("recovery-point"),
    );
    assert_eq!(log.flush().unwrap(), 6);
    assert_eq!(log.append("more").unwrap(), 6);
}

/// If that write fails for another reason, the disk cannot be trusted: the flush failed, but the
/// log continued as if nothing were wrong.
#[test]
fn failed_checkpoint_sync_poisons() {
    let fs = FaultFs::new(MemFs::new());
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    log.roll().unwrap();
    three(&log, "2");
    fs.add_rule(Rule::new(Operation::SyncAll, Fault::Errno(5)).path("recovery-point"));
    assert!(matches!(log.flush(), Err(Error::Io { .. })));
    assert!(matches!(log.append("more"), Err(Error::Poisoned { .. })));
}

/// An index had to be rebuilt, and there was no space to write it: reading failed, although all
/// records were there.
#[test]
fn index_is_rebuilt_when_disk_full() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    (0..9).for_each(|i| three(&log, &i.to_string()));
    log.roll().unwrap();
    log.close().unwrap();
    fs.remove(&Path::new(DIR).join(name(0, "index"))).unwrap();
    let faults = FaultFs::new(fs);
    let log = open(faults.clone()).unwrap();
    faults.add_rule(Rule::new(Operation::Write, Fault::Error(ErrorKind::StorageFull)));
    assert_eq!(log.get(20).unwrap().unwrap().offset, 20);
}

/// Truncating took the entries of the index below the cut on their word. One that was wrong, and
/// that no lookup had met, made the call fail on a log that was sound.
#[test]
fn truncation_succeeds_with_wrong_index_entry() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    (0..9).for_each(|i| three(&log, &i.to_string()));
    log.roll().unwrap();
    log.close().unwrap();
    let index = read_file(&fs, DIR, &name(0, "index"));
    for entry in 0..index.len() / 8 - 1 {
        let mut wrong = index.clone();
        wrong[entry * 8 + 7] ^= 1;
        let disk = fs.kill();
        write_file(&disk, DIR, &name(0, "index"), &wrong);
        let log = open(disk).unwrap();
        log.truncate_to(3 * entry as u64 + 6).unwrap();
        assert_eq!(read_all(&log).len(), 3 * entry + 6);
    }
}

/// A recovery wrote the indexes of the active segment without syncing them, then a recovery point
/// that covered them. After a power loss, the time index was empty while the offset index was
/// whole, and lookups by time found nothing.
#[test]
fn recovery_syncs_indexes_before_its_point() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    for i in 0..50 {
        log.append(Record::new("x").timestamp(Timestamp::from_millis(1000 - i))).unwrap();
    }
    drop(open(fs.kill()).unwrap());
    let killed = fs.kill();
    drop(open(killed.clone()).unwrap());
    for seed in 0..50 {
        let log = open(killed.crash(CrashState::Random { seed })).unwrap();
        let first = log.offset_for_time(Timestamp::from_millis(990)).unwrap();
        assert_eq!(first, Some((0, Timestamp::from_millis(1000))), "seed {seed}");
    }
}

/// A recovery stored the end of the log as its recovery point, and the next call rolled there. The
/// space preallocated in the closed segment was removed, but not durably, and no later opening
/// read a segment below the recovery point: after a power loss, its zeros were read as a damaged
/// batch.
#[test]
fn preallocation_below_recovery_point_is_removed() {
    let fs = MemFs::new();
    let config = LogConfig::default().preallocate(true).segment_bytes(4096);
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    three(&log, "1");
    let fs = fs.kill();
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    log.roll().unwrap();
    for seed in 0..20 {
        let disk = fs.crash(CrashState::Random { seed });
        let log = Log::open(DIR, config.clone().fs(disk)).unwrap();
        assert_eq!(read_all(&log).len(), 3, "seed {seed}");
        assert_eq!(log.verify().unwrap(), []);
    }
}

/// A recovery resumes at the recovery point if the stored index is sound. Entries added since may
/// read as zeros after a loss of power, and one entry of zeros alone looks sound: it names the
/// first offset and the first byte. It was kept for good.
#[test]
fn index_entry_of_zeros_is_removed() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    let fs = fs.kill();
    let log = open(fs.clone()).unwrap();
    three(&log, "2");
    log.roll().unwrap();
    for seed in 0..40 {
        let log = open(fs.crash(CrashState::Random { seed })).unwrap();
        log.roll().unwrap();
        assert_eq!(log.verify().unwrap(), [], "seed {seed}");
        assert_eq!(log.get(2).unwrap().unwrap().offset, 2);
    }
}

/// Truncating removes the indexes of the segment it cuts. Once they could not be removed, and the
/// next ones were written over them: shorter, so that entries of records long gone followed.
#[test]
fn rebuilt_index_keeps_no_old_entries() {
    let fs = FaultFs::new(MemFs::new());
    let log = open(fs.clone()).unwrap();
    (0..9).for_each(|i| three(&log, &i.to_string()));
    log.roll().unwrap();
    fs.add_rule(Rule::new(Operation::Remove, Fault::Error(ErrorKind::Other)));
    log.truncate_to(9).unwrap();
    log.roll().unwrap();
    fs.clear_rules();
    let log2 = log.clone();
    log2.close().unwrap();
    let log = open(fs).unwrap();
    assert_eq!(log.verify().unwrap(), []);
    assert_eq!(read_all(&log).len(), 9);
}

/// The base offset of the last batch of a sealed segment was flipped upwards. A reader asked
/// whether the end of the log had moved past it, it had, and asked again: for ever.
#[test]
fn reader_reports_batch_beyond_next_segment() {
    let fs = MemFs::new();
    let log = open(fs.clone()).unwrap();
    three(&log, "1");
    log.roll().unwrap();
    three(&log, "2");
    let mut bytes = read_file(&fs, DIR, &name(0, "log"));
    bytes[7] ^= 1;
    write_file(&fs, DIR, &name(0, "log"), &bytes);
    let error = log.read(0, ReadLimits::default()).unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}

/// A whole segment was deleted from the middle of a closed log, and what was left opened as if
/// compaction had made the gap.
#[test]
fn missing_inner_segment_is_an_error() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    for n in 0..4 {
        log.append(n.to_string()).unwrap();
        log.roll().unwrap();
    }
    log.close().unwrap();
    let open = |fs: &MemFs, choice| {
        Log::open(DIR, LogConfig::default().fs(fs.clone()).on_corruption(choice))
    };
    let lost = fs.kill();
    let path = Path::new(DIR).join(name(2, "log"));
    let bytes = read_file(&lost, DIR, &name(2, "log"));
    lost.remove(&path).unwrap();
    // A read-only log reports the hole too, and does not read on after it as if nothing had been
    // there.
    let config = LogConfig::default().fs(lost.clone());
    match Log::open_read_only(DIR, config.clone()).unwrap_err() {
        Error::Corrupt(corruption) => assert_eq!(corruption.path, path),
        other => panic!("{other}"),
    }
    // The rest can be read on request, and `verify` reports the hole.
    let reading = Log::open_read_only(DIR, config.on_corruption(OnCorruption::Truncate)).unwrap();
    assert_eq!(read_all(&reading).iter().map(|rec| rec.offset).collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!(reading.verify().unwrap().iter().map(|c| &c.path).collect::<Vec<_>>(), [&path]);
    drop(reading);
    // However often it is tried, and until the segment is back.
    for _ in 0..2 {
        match open(&lost, OnCorruption::Fail).unwrap_err() {
            Error::Corrupt(corruption) => {
                assert_eq!(corruption.path, path);
                assert_eq!(
                    corruption.reason,
                    CorruptionKind::MissingData { expected: 3, found: 2 }
                );
            }
            other => panic!("{other}"),
        }
    }
    for choice in [OnCorruption::Truncate, OnCorruption::Quarantine] {
        let log = open(&lost.kill(), choice).unwrap();
        assert_eq!(read_all(&log).iter().map(|rec| rec.offset).collect::<Vec<_>>(), [0, 1, 3]);
    }
    write_file(&lost, DIR, &name(2, "log"), &bytes);
    assert_eq!(read_all(&open(&lost, OnCorruption::Fail).unwrap()).len(), 4);

    // Cut where a batch ends, it is sound as far as it goes.
    let lost = fs.kill();
    write_file(&lost, DIR, &name(1, "log"), &[]);
    match open(&lost, OnCorruption::Fail).unwrap_err() {
        Error::Corrupt(corruption) => {
            assert_eq!(corruption.reason, CorruptionKind::FileTruncated { expected: 69, found: 0 });
        }
        other => panic!("{other}"),
    }

    // At the front, too: the segment that makes space there also says where the log begins.
    let lost = fs.kill();
    lost.remove(&Path::new(DIR).join(name(0, "log"))).unwrap();
    assert!(matches!(open(&lost, OnCorruption::Fail).unwrap_err(), Error::Corrupt(_)));
    assert_eq!(open(&lost, OnCorruption::Truncate).unwrap().offsets().start, 1);
}

/// The codec of the batches that are stored, in order.
fn codecs(log: &Log) -> Vec<Codec> {
    let mut reader = log.reader(0).unwrap();
    let mut codecs = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        codecs.push(batch.header().codec());
    }
    codecs
}

/// `append_batch` looked at the codec that the log was opened with: "none" altered to zstd stored
/// uncompressed batches, and zstd altered to the producer's choice stored all of them
/// uncompressed.
#[test]
fn append_batch_uses_altered_compression() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let config = |codec: &str| TopicConfig::default().set("compression.type", codec).unwrap();
    let batch = |compression| {
        let mut builder = BatchBuilder::new();
        builder.compression(compression);
        builder.push(Timestamp::from_millis(1), None, Some(&[b'x'; 500])).unwrap();
        builder.build().unwrap()
    };
    let gzip = || batch(Compression::Gzip { level: 6 });
    for (opened, altered, expected) in [
        ("uncompressed", "zstd", [Codec::Zstd, Codec::Zstd]),
        ("producer", "zstd", [Codec::Zstd, Codec::Zstd]),
        ("zstd", "producer", [Codec::None, Codec::Gzip]),
        ("zstd", "uncompressed", [Codec::None, Codec::None]),
        ("zstd", "gzip", [Codec::Gzip, Codec::Gzip]),
    ] {
        let topic = store.create_topic("t", config(opened)).unwrap();
        store.alter_topic("t", config(altered)).unwrap();
        let log = topic.partition(0).unwrap();
        log.append_batch(batch(Compression::None)).unwrap();
        log.append_batch(gzip()).unwrap();
        assert_eq!(codecs(&log), expected, "{opened}, then {altered}");
        store.delete_topic("t").unwrap();
    }
}

/// A reader closed a deleted segment, and its snapshot was removed, between the listing and the
/// renames of a truncation: the truncation poisoned the log.
#[test]
fn truncation_succeeds_when_snapshot_disappears() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let log = open(fs.clone()).unwrap();
    for n in 0..4 {
        let mut builder = BatchBuilder::new();
        builder.producer(7, 0, n);
        builder.push(Timestamp::from_millis(1), None, Some(b"v")).unwrap();
        log.append_batch(builder.build().unwrap()).unwrap();
        log.roll().unwrap();
    }
    let snapshot = Path::new(DIR).join(name(3, "snapshot"));
    assert!(memory.open(&snapshot, OpenMode::ReadOnly).is_ok());
    let gone = snapshot.clone();
    let remove = Fault::call(move |_| memory.remove(&gone).unwrap());
    fs.add_rule(Rule::new(Operation::Rename, remove).path(name(3, "snapshot")).nth(1));
    log.truncate_to(2).unwrap();
    assert_eq!(log.append("next").unwrap(), 2);
}
