//! Replicated logs: the high watermark.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::*;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{
    DIR, Heard, T0, block_on, clock, name, names, offsets, read_file, three, write_file,
};

const FILE: &str = "replication-offset-checkpoint";
const LEVELS: [IsolationLevel; 4] = [
    IsolationLevel::ReadUncommitted,
    IsolationLevel::ReadCommitted,
    IsolationLevel::HighWatermark,
    IsolationLevel::LogEnd,
];

fn config(fs: impl Fs) -> LogConfig {
    LogConfig::default().replicated(true).clock(clock()).fs(fs)
}

fn open(fs: &MemFs) -> Log {
    Log::open(DIR, config(fs.clone())).unwrap()
}

/// The offsets of the records that a level shows.
fn seen(log: &Log, level: IsolationLevel) -> Vec<Offset> {
    let mut reader = log.isolated(level).reader(StartAt::Earliest).unwrap();
    std::iter::from_fn(|| reader.next_record().unwrap()).map(|record| record.offset).collect()
}

/// Appends two records of a transaction.
fn send(log: &Log, id: ProducerId, sequence: i32) {
    let mut builder = BatchBuilder::new();
    builder.producer(id, 0, sequence).transactional(true);
    for _ in 0..2 {
        builder.push(Timestamp::from_millis(T0), None, Some(b"of a transaction")).unwrap();
    }
    log.append_batch(builder.build().unwrap()).unwrap();
}

fn end(log: &Log, id: ProducerId, committed: bool) {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    log.append_marker(ProducerIdentity { id, epoch: 0 }, marker, TransactionVersion::V0).unwrap();
}

/// The high watermark, and the last stable offset.
fn stable(log: &Log) -> (Offset, Offset) {
    let offsets = log.offsets();
    (offsets.high_watermark, offsets.last_stable)
}

#[test]
fn readers_stop_at_high_watermark() {
    let log = open(&MemFs::new());
    for _ in 0..4 {
        log.append("alone").unwrap();
    }
    assert_eq!(log.offsets().high_watermark, 0);
    assert_eq!(log.set_high_watermark(2).unwrap(), 2);
    for level in LEVELS {
        let view = log.isolated(level);
        let bound = if level == IsolationLevel::LogEnd { 4 } else { 2 };
        let shown: Vec<Offset> = (0..bound).collect();
        assert_eq!(seen(&log, level), shown, "{level:?}");
        assert_eq!(view.read(0, ReadLimits::default()).unwrap().next_offset, bound);
        assert!(view.read(bound, ReadLimits::default()).unwrap().is_empty());
        assert_eq!(view.list_offset(OffsetSpec::Latest).unwrap().unwrap().0, bound);
        assert_eq!(view.get(1).unwrap().unwrap().offset, 1);
        assert_eq!(view.get(3).is_ok(), level == IsolationLevel::LogEnd);
        let mut tail = view.tail(StartAt::Latest).unwrap();
        assert_eq!(tail.offset(), bound);
        assert!(tail.next_record(Some(Duration::ZERO)).unwrap().is_none());
    }
    let fetched = log.read(0, ReadLimits::default()).unwrap();
    assert_eq!((fetched.high_watermark, fetched.last_stable), (2, 2));
}

/// A consumer gets whole batches, so it gets one when all replicas have all of it.
#[test]
fn batch_that_high_watermark_cuts_is_withheld() {
    let log = open(&MemFs::new());
    three(&log, "");
    three(&log, "");
    let mut tail = log.tail(StartAt::Earliest).unwrap();
    for (high_watermark, shown) in [(1, 0), (3, 3), (5, 0), (6, 3)] {
        assert_eq!(log.set_high_watermark(high_watermark).unwrap(), high_watermark);
        let mut new = 0;
        while tail.next_record(Some(Duration::ZERO)).unwrap().is_some() {
            new += 1;
        }
        assert_eq!(new, shown, "at {high_watermark}");
    }
}

#[test]
fn high_watermark_is_clamped() {
    let log = open(&MemFs::new());
    three(&log, "");
    assert_eq!(log.set_high_watermark(u64::MAX).unwrap(), 3);
    log.append("above").unwrap();
    assert_eq!(log.offsets().high_watermark, 3, "it does not follow the end");
    log.delete_before(2).unwrap();
    assert_eq!(log.set_high_watermark(0).unwrap(), 2);
    assert_eq!((log.offsets().start, log.offsets().high_watermark), (2, 2));
}

/// The only copy has no replica to wait for.
#[test]
fn single_copy_refuses_high_watermark() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("a").unwrap();
    let error = log.set_high_watermark(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "option `replicated` of log t-0 is false, so its high watermark is its end; open the \
         log with `replicated(true)` to set another"
    );
    assert_eq!(log.offsets().high_watermark, 1);
    log.close().unwrap();
    assert!(!names(&fs, DIR).contains(&FILE.to_owned()));
    let log = Log::open_read_only(DIR, config(fs)).unwrap();
    assert!(matches!(log.set_high_watermark(1), Err(Error::ReadOnly { .. })));
}

/// Another replica may become the leader without the marker, and end the transaction otherwise.
#[test]
fn completed_transaction_waits_for_high_watermark() {
    for committed in [true, false] {
        let fs = MemFs::new();
        let log = open(&fs);
        send(&log, 1, 0);
        send(&log, 2, 0);
        end(&log, 1, committed); // 4
        log.append("after").unwrap();
        end(&log, 2, true); // 6
        log.append("last").unwrap();
        let check = |log: &Log| {
            for (high_watermark, last_stable) in
                [(0, 0), (3, 0), (4, 0), (5, 2), (6, 2), (7, 7), (8, 8)]
            {
                log.set_high_watermark(high_watermark).unwrap();
                assert_eq!(stable(log), (high_watermark, last_stable), "{committed}");
                let shown = seen(log, IsolationLevel::ReadCommitted);
                assert!(shown.iter().all(|offset| *offset < last_stable), "{shown:?}");
            }
            let expected: &[Offset] = if committed { &[0, 1, 2, 3, 5, 7] } else { &[2, 3, 5, 7] };
            assert_eq!(seen(log, IsolationLevel::ReadCommitted), expected);
        };
        // A snapshot below the end knows the first as completed, but not where.
        log.set_high_watermark(3).unwrap();
        log.roll().unwrap();
        log.append("in the next segment").unwrap();
        log.maintain().unwrap();
        let killed = open(&fs.kill());
        assert_eq!(stable(&killed), (3, 0));
        check(&killed);
        check(&open(&fs.crash(CrashState::AllWrites)));
        log.close().unwrap();
        let log = open(&fs);
        assert!(log.recovery().clean_shutdown);
        assert_eq!(stable(&log), (3, 0));
        check(&log);
    }
}

/// The entry of an aborted transaction says where a reader of any replica would stop: it does not
/// depend on what is replicated.
#[test]
fn index_entry_ignores_high_watermark() {
    let fs = MemFs::new();
    let log = open(&fs);
    send(&log, 1, 0);
    end(&log, 1, true); // 2
    send(&log, 2, 0);
    end(&log, 2, false); // 5
    assert_eq!(stable(&log), (0, 0));
    let path = Path::new(DIR).join(name(0, "txnindex"));
    let mut entries = inspect::TxnEntries::open(&fs, &path).unwrap();
    let entry = entries.next().unwrap().unwrap();
    assert_eq!((entry.first_offset, entry.last_offset, entry.last_stable_offset), (3, 5, 6));
}

#[test]
fn start_stops_at_high_watermark() {
    let log = Log::open(DIR, config(MemFs::new()).retention_bytes(1)).unwrap();
    for _ in 0..3 {
        three(&log, "");
        log.roll().unwrap();
    }
    log.set_high_watermark(5).unwrap();
    match log.delete_before(6).unwrap_err() {
        Error::OffsetOutOfRange { requested: 6, start: 0, end: 5, .. } => {}
        other => panic!("{other}"),
    }
    assert_eq!(log.maintain().unwrap().start, 3, "the second segment is not replicated");
    assert_eq!(log.delete_before(5).unwrap(), 5);
    log.set_high_watermark(9).unwrap();
    assert_eq!(log.maintain().unwrap().start, 6);
}

/// Another replica, which lacks the superseding record, may become the leader.
#[test]
fn compaction_stops_at_high_watermark() {
    let compacted = config(MemFs::new()).cleanup_policy(CleanupPolicy::Compact);
    let log = Log::open(DIR, compacted.min_cleanable_dirty_ratio(0.0)).unwrap();
    for _ in 0..3 {
        log.append(Record::new("v").key("k")).unwrap();
        log.roll().unwrap();
    }
    log.set_high_watermark(1).unwrap();
    log.compact().unwrap();
    log.set_high_watermark(3).unwrap();
    assert_eq!(offsets(&log), [0, 1, 2]);
    log.compact().unwrap();
    assert_eq!(offsets(&log), [2]);
}

/// Records that are appended in the place of truncated ones are not replicated yet.
#[test]
fn truncation_lowers_high_watermark() {
    let fs = MemFs::new();
    let log = open(&fs);
    three(&log, "");
    three(&log, "");
    log.set_high_watermark(6).unwrap();
    log.maintain().unwrap();
    log.truncate_to(3).unwrap();
    assert_eq!(stable(&log), (3, 3));
    three(&log, "other");
    assert_eq!(stable(&log), (3, 3));
    log.flush().unwrap();
    for disk in [fs.kill(), fs.crash(CrashState::SyncedOnly)] {
        assert_eq!(stable(&open(&disk)), (3, 3));
    }
}

/// The completed transactions that not all replicas know are not in any snapshot.
#[test]
fn truncation_keeps_unreplicated_transactions() {
    let log = open(&MemFs::new());
    send(&log, 1, 0);
    end(&log, 1, true); // 2
    send(&log, 2, 0);
    end(&log, 2, true); // 5
    log.roll().unwrap();
    log.append("truncated").unwrap();
    log.set_high_watermark(1).unwrap();
    log.truncate_to(6).unwrap();
    assert_eq!(stable(&log), (1, 0));
    log.set_high_watermark(3).unwrap();
    assert_eq!(stable(&log), (3, 3));
    // The marker is gone: the transaction is open again.
    log.truncate_to(5).unwrap();
    log.set_high_watermark(5).unwrap();
    assert_eq!(stable(&log), (5, 3));
}

#[test]
fn high_watermark_survives_close_and_maintenance() {
    let fs = MemFs::new();
    let log = open(&fs);
    three(&log, "");
    log.set_high_watermark(2).unwrap();
    assert_eq!(stable(&open(&fs.kill())), (0, 0), "not stored yet");
    log.maintain().unwrap();
    assert_eq!(stable(&open(&fs.crash(CrashState::AllWrites))), (2, 2));
    log.set_high_watermark(3).unwrap();
    log.close().unwrap();
    let text = String::from_utf8(read_file(&fs, DIR, FILE)).unwrap();
    assert_eq!(text, "0\n2\nt 0 3\nt 0 3\n");
    let log = open(&fs);
    assert_eq!(stable(&log), (3, 3));
    // A lower one is stored at once, so that no opening finds a higher one.
    log.set_high_watermark(1).unwrap();
    assert_eq!(stable(&open(&fs.crash(CrashState::SyncedOnly))), (1, 1));
    let reader = Log::open_read_only(DIR, config(fs.clone())).unwrap();
    assert_eq!((stable(&reader), reader.offsets().end), ((1, 1), 3));
    log.set_high_watermark(3).unwrap();
    log.maintain().unwrap();
    assert_eq!(offsets(&reader), [0, 1, 2]);
}

/// Another program's file, or a damaged one, gives no offset that is not in the log.
#[test]
fn stored_high_watermark_is_checked() {
    for (stored, expected, is_reported) in [
        ("0\n1\nt 0 2\n", 2, false),
        ("0\n1\nt 0 9\n", 3, false),
        ("0\n1\nt 0 0\n", 1, false),
        ("0\n2\nt 0 2\nt 0 3\n", 1, true),
        ("0\n1\nt 0 -2\n", 1, true),
        ("nonsense", 1, true),
    ] {
        let fs = MemFs::new();
        let log = open(&fs);
        log.append("deleted").unwrap();
        log.append_all(["a", "b"].map(Record::new)).unwrap();
        log.set_high_watermark(3).unwrap();
        log.delete_before(1).unwrap();
        log.close().unwrap();
        write_file(&fs, DIR, FILE, stored.as_bytes());
        let heard = Arc::new(Heard::default());
        let log = Log::open(DIR, config(fs).listener(heard.clone())).unwrap();
        assert_eq!(log.offsets().high_watermark, expected, "{stored}");
        let ignored = |event: &Event| matches!(event, Event::CheckpointIgnored { .. });
        assert_eq!(heard.0.lock().unwrap().iter().any(ignored), is_reported, "{stored}");
    }
}

/// A fetch hangs on it.
#[test]
fn high_watermark_wakes_what_waits() {
    let log = open(&MemFs::new());
    log.append("a").unwrap();
    let mut moved = log.offset_moved(log.offsets());
    log.set_high_watermark(0).unwrap();
    assert_eq!(moved.wait(Some(Duration::ZERO)).unwrap(), None);
    let mut tail = log.tail(StartAt::Earliest).unwrap();
    std::thread::scope(|threads| {
        let read = threads.spawn(move || tail.next_record(None).unwrap().unwrap().offset);
        let wait = threads.spawn(move || block_on(moved).unwrap());
        log.set_high_watermark(1).unwrap();
        assert_eq!(read.join().unwrap(), 0);
        assert_eq!(wait.join().unwrap().high_watermark, 1);
    });
}

/// It is lower from then on, and the caller knows that a crash may bring the higher one back.
#[test]
fn failed_store_of_lower_high_watermark_is_told() {
    let fs = MemFs::new();
    let log = open(&fs);
    three(&log, "");
    log.set_high_watermark(3).unwrap();
    log.close().unwrap();
    let fault = FaultFs::new(fs);
    let log = Log::open(DIR, config(fault.clone())).unwrap();
    fault.add_rule(Rule::new(Operation::Rename, Fault::Error(io::ErrorKind::Other)));
    assert_eq!(log.set_high_watermark(1).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(stable(&log), (1, 1));
    fault.clear_rules();
    log.append("it is not poisoned").unwrap();
    log.set_high_watermark(0).unwrap();
    assert_eq!(stable(&log), (0, 0));
}
