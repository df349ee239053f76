//! Replicated logs: the high watermark, followers, logs that begin anew.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::*;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{
    DIR, Heard, T0, block_on, clock, files, name, names, offsets, read_file, three, write_file,
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
        log.set_high_watermark(4).unwrap();
        end(&log, 1, committed); // 4
        assert_eq!(stable(&log), (4, 0));
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

/// All that a leader has from an offset on.
fn fetch(leader: &Log, from: Offset) -> Vec<u8> {
    let view = leader.isolated(IsolationLevel::LogEnd);
    view.read(from, ReadLimits::bytes(1 << 20)).unwrap().bytes.to_vec()
}

/// A batch of so many records without keys.
fn batch(base: Offset, epoch: LeaderEpoch, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.base_offset(base).leader_epoch(epoch);
    for _ in 0..records {
        builder.push(Timestamp::from_millis(T0), None, Some(b"of the leader")).unwrap();
    }
    builder.build().unwrap().into_bytes().to_vec()
}

fn compacted(fs: &MemFs) -> LogConfig {
    config(fs.clone()).cleanup_policy(CleanupPolicy::Compact)
}

/// Checks that a call has changed nothing.
fn refused(log: &Log, fs: &MemFs, batches: &[u8]) -> Error {
    let before = (files(fs, DIR), log.offsets());
    let error = log.append_as_follower(batches).unwrap_err();
    assert_eq!((files(fs, DIR), log.offsets()), before, "{error}");
    error
}

#[test]
fn follower_has_bytes_of_leader() {
    let (leader_fs, follower_fs) = (MemFs::new(), MemFs::new());
    let (leader, follower) = (open(&leader_fs), open(&follower_fs));
    leader.set_leader_epoch(3).unwrap();
    three(&leader, "");
    send(&leader, 1, 0);
    leader.set_leader_epoch(5).unwrap();
    end(&leader, 1, false); // 5
    send(&leader, 2, 0);
    let appended = follower.append_as_follower(&fetch(&leader, 0)).unwrap();
    assert_eq!((appended.first, appended.last), (0, 7));
    end(&leader, 2, true);
    follower.append_as_follower(&fetch(&leader, 8)).unwrap();
    for log in [&leader, &follower] {
        log.set_high_watermark(9).unwrap();
        assert_eq!(seen(log, IsolationLevel::ReadCommitted), [0, 1, 2, 6, 7]);
        assert_eq!(stable(log), (9, 9));
    }
    assert_eq!(follower.leader_epochs().unwrap(), leader.leader_epochs().unwrap());
    for kind in ["log", "txnindex"] {
        let of = |fs: &MemFs| read_file(fs, DIR, &name(0, kind));
        assert!(of(&leader_fs) == of(&follower_fs), "{kind}");
    }
    // As a leader, it knows the producers.
    let mut again = BatchBuilder::new();
    again.producer(2, 0, 0).transactional(true);
    for _ in 0..2 {
        again.push(Timestamp::from_millis(T0), None, Some(b"of a transaction")).unwrap();
    }
    let repeated = follower.append_batch(again.build().unwrap()).unwrap();
    assert_eq!((repeated.first, repeated.duplicate), (6, true));
}

#[test]
fn follower_refuses_overlap_and_gap() {
    let fs = MemFs::new();
    let log = open(&fs);
    log.append_as_follower(&batch(0, 0, 3)).unwrap();
    for (first, advice) in [
        (2, "fetch from 3, or truncate the log to 2"),
        (
            5,
            "fetch from 3; if the leader starts at 5, begin the log there with \
             `truncate_fully_and_start_at`; if the leader compacts its log, set the same \
             `cleanup_policy`",
        ),
    ] {
        let error = refused(&log, &fs, &batch(first, 0, 2));
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert_eq!(
            error.to_string(),
            format!("the batches begin at offset {first}, but log t-0 ends at 3; {advice}")
        );
    }
    match refused(&log, &fs, &[batch(3, 0, 1), batch(6, 0, 1)].concat()) {
        Error::UnexpectedOffset { first: 6, end: 4, .. } => {}
        other => panic!("{other}"),
    }
    for disorder in [[3, 3], [4, 3]] {
        let both = disorder.map(|base| batch(base, 0, 1)).concat();
        assert!(matches!(
            refused(&log, &fs, &both),
            Error::InvalidBatch(_) | Error::UnexpectedOffset { .. }
        ));
    }
}

/// A leader cuts its answer at the size that was asked for.
#[test]
fn partial_tail_is_trimmed() {
    let fs = MemFs::new();
    let log = open(&fs);
    let whole = batch(0, 0, 3);
    for cut in 0..whole.len() {
        let end = log.offsets().end;
        let both = [batch(end, 0, 1), batch(end + 1, 0, 3)].concat();
        let kept = both.len() - whole.len() + cut;
        let appended = log.append_as_follower(&both[..kept]).unwrap();
        assert_eq!((appended.last, log.offsets().end), (end, end + 1));
        let end = end + 1;
        log.append_as_follower(&batch(end, 0, 3)[..cut]).unwrap();
        assert_eq!(log.offsets().end, end);
    }
    assert_eq!(log.verify().unwrap(), []);
}

/// Offsets without a batch above the recovery point must not look like a loss.
#[test]
fn gap_from_leader_survives_power_loss() {
    for (first, second) in [(7, 9), (1 << 33, (1 << 33) + 5)] {
        let fs = MemFs::new();
        let log = Log::open(DIR, compacted(&fs)).unwrap();
        log.append_as_follower(&batch(0, 0, 1)).unwrap();
        log.flush().unwrap();
        log.append_as_follower(&batch(first, 1, 1)).unwrap();
        log.roll().unwrap();
        log.append_as_follower(&batch(second, 2, 1)).unwrap();
        // Above the recovery point, and then below.
        let written = [fs.kill(), fs.crash(CrashState::AllWrites)];
        log.flush().unwrap();
        let flushed =
            [fs.kill(), fs.crash(CrashState::SyncedOnly), fs.crash(CrashState::AllWrites)];
        for disk in written.into_iter().chain(flushed) {
            // The topic may be altered.
            assert_eq!(seen(&open(&disk.kill()), IsolationLevel::LogEnd), [0, first, second]);
            let log = Log::open(DIR, compacted(&disk)).unwrap();
            assert_eq!(seen(&log, IsolationLevel::LogEnd), [0, first, second]);
            let epochs = log.leader_epochs().unwrap();
            let epochs: Vec<_> = epochs.iter().map(|e| (e.epoch, e.start_offset)).collect();
            assert_eq!(epochs, [(0, 0), (1, first), (2, second)]);
            assert_eq!(log.verify().unwrap(), []);
        }
    }
}

#[test]
fn follower_refuses_epoch_that_goes_back() {
    let fs = MemFs::new();
    let log = open(&fs);
    log.append_as_follower(&[batch(0, 2, 1), batch(1, 4, 1)].concat()).unwrap();
    for batches in [batch(2, 3, 1), [batch(2, 6, 1), batch(3, 5, 1)].concat()] {
        let error = refused(&log, &fs, &batches);
        assert_eq!(error.kind(), ErrorKind::Fenced);
    }
    // A leader of a lower epoch has other records there.
    log.truncate_to(1).unwrap();
    log.append_as_follower(&batch(1, 3, 1)).unwrap();
    // An epoch of this log that has no record: the new leader knows nothing of it.
    log.set_leader_epoch(7).unwrap();
    assert_eq!(refused(&log, &fs, &batch(2, 6, 1)).kind(), ErrorKind::Fenced);
    log.truncate_to(2).unwrap();
    log.append_as_follower(&batch(2, 6, 1)).unwrap();
    assert_eq!((log.epoch_of(1).unwrap(), log.epoch_of(2).unwrap()), (Some(3), Some(6)));
}

/// Epochs of batches that could not be written must not refuse the same batches later.
#[test]
fn full_disk_takes_back_epochs_of_follower() {
    let fs = MemFs::new();
    let fault = FaultFs::new(fs);
    let log = Log::open(DIR, config(fault.clone())).unwrap();
    log.append_as_follower(&batch(0, 1, 1)).unwrap();
    let both = [batch(1, 2, 1), batch(2, 3, 1)].concat();
    let full = Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull));
    fault.add_rule(full.path(".log"));
    assert_eq!(log.append_as_follower(&both).unwrap_err().kind(), ErrorKind::StorageFull);
    fault.clear_rules();
    assert_eq!(log.leader_epochs().unwrap().len(), 1);
    log.append_as_follower(&both).unwrap();
    assert_eq!(log.leader_epochs().unwrap().len(), 3);
}

#[test]
fn follower_refuses_damage() {
    let fs = MemFs::new();
    let log = open(&fs);
    log.append_as_follower(&batch(0, 0, 1)).unwrap();
    let good = [batch(1, 0, 2), batch(3, 1, 1)].concat();
    let second = batch(1, 0, 2).len();
    for at in (0..good.len()).filter(|at| *at >= second + 17 || (17..second).contains(at)) {
        let mut damaged = good.clone();
        damaged[at] ^= 0x40;
        assert_eq!(refused(&log, &fs, &damaged).kind(), ErrorKind::InvalidInput, "{at}");
    }
    let mut legacy = good.clone();
    legacy[16] = 1;
    assert_eq!(refused(&log, &fs, &legacy).kind(), ErrorKind::Unsupported);
    let mut marker = EndTxnMarker { committed: true, coordinator_epoch: 0 }
        .to_batch(1, 0, Timestamp::from_millis(T0))
        .unwrap();
    let at = marker.len() - 12;
    marker[..8].copy_from_slice(&1u64.to_be_bytes());
    marker[at] = 0xff;
    support::mend_checksum(&mut marker);
    assert_eq!(refused(&log, &fs, &marker).kind(), ErrorKind::InvalidInput);
    log.append_as_follower(&good).unwrap();
}

/// The leader has applied its own rules.
#[test]
fn follower_takes_what_leader_took() {
    let log = Log::open(DIR, compacted(&MemFs::new()).max_message_bytes(100)).unwrap();
    let large = batch(0, 0, 9);
    assert!(large.len() > 100);
    log.append_as_follower(&large).unwrap();
    let mut empty = BatchBuilder::new();
    empty.base_offset(9).leader_epoch(0).set_last_offset_delta(3);
    log.append_as_follower(empty.build().unwrap().as_bytes()).unwrap();
    let mut out_of_order = BatchBuilder::new();
    out_of_order.base_offset(13).producer(7, 3, 99);
    out_of_order.push(Timestamp::from_millis(1), None, Some(b"x")).unwrap();
    log.append_as_follower(out_of_order.build().unwrap().as_bytes()).unwrap();
    assert_eq!(log.offsets().end, 14);
    let log = Log::open(DIR, config(MemFs::new()).segment_bytes(200)).unwrap();
    match log.append_as_follower(&batch(0, 0, 9)).unwrap_err() {
        Error::BatchTooLarge { option: "segment_bytes", .. } => {}
        other => panic!("{other}"),
    }
}

/// Below the start, at it, inside, at the end, and above.
#[test]
fn log_begins_anew_at_any_offset() {
    for offset in [0, 2, 3, 4, 5, 6, 7, 9, 12, 13, 50] {
        // The last one deletes the segment that the idle reader is in.
        for front in [3, 5, 7] {
            let fs = MemFs::new();
            let log = open(&fs);
            log.truncate_fully_and_start_at(3).unwrap();
            log.set_leader_epoch(4).unwrap();
            send(&log, 1, 0);
            end(&log, 1, false); // 5
            log.roll().unwrap();
            three(&log, "");
            log.roll().unwrap();
            three(&log, "");
            log.set_high_watermark(9).unwrap();
            let mut idle = log.reader(3).unwrap();
            idle.next_record().unwrap();
            log.delete_before(front).unwrap();
            log.truncate_fully_and_start_at(offset).unwrap();
            let check = |log: &Log| {
                let offsets = log.offsets();
                assert_eq!((offsets.start, offsets.end), (offset, offset));
                assert_eq!(stable(log), (offset, offset));
                assert_eq!(log.leader_epochs().unwrap(), []);
                assert_eq!(log.producers().unwrap(), []);
            };
            check(&log);
            check(&open(&fs.crash(CrashState::SyncedOnly)));
            assert_eq!(log.append("new").unwrap(), offset);
            log.roll().unwrap();
            three(&log, "new");
            log.roll().unwrap();
            drop(idle);
            log.set_high_watermark(u64::MAX).unwrap();
            let all: Vec<Offset> = (offset..offset + 4).collect();
            assert_eq!(offsets(&log), all);
            assert_eq!(seen(&open(&fs.kill()), IsolationLevel::LogEnd), all);
            log.close().unwrap();
            assert_eq!(offsets(&open(&fs)), all);
        }
    }
    let error = open(&MemFs::new()).truncate_fully_and_start_at(MAX_OFFSET + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange);
}

/// What it waits for does not come any more.
#[test]
fn reader_of_restarted_log_is_out_of_range() {
    for offset in [1, 20] {
        let log = open(&MemFs::new());
        three(&log, "");
        log.set_high_watermark(3).unwrap();
        let mut tail = log.tail(StartAt::Latest).unwrap();
        let mut reader = log.reader(0).unwrap();
        log.truncate_fully_and_start_at(offset).unwrap();
        let error = tail.next_record(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert_eq!(reader.next_record().unwrap_err().kind(), ErrorKind::OutOfRange);
    }
}

/// The logs of a store share the file, and a single copy leaves the line of a broker for the way
/// back.
#[test]
fn logs_of_store_share_high_watermark_file() {
    let fs = MemFs::new();
    let open = |replicated| {
        let config =
            StoreConfig::default().log_defaults(LogConfig::default().replicated(replicated));
        Store::open("data", config.fs(fs.clone()).maintenance(None)).unwrap()
    };
    let text = || String::from_utf8(read_file(&fs, "data", FILE)).unwrap();
    let store = open(false);
    for topic in ["gone", "orders", "users"] {
        store.create_topic(topic, TopicConfig::default()).unwrap();
        three(&store.topic(topic).unwrap().partition(0).unwrap(), "");
    }
    store.close().unwrap();
    write_file(&fs, "data", FILE, b"0\n3\ngone 0 1\norders 0 2\nusers 0 3\n");
    let store = open(false);
    let orders = store.topic("orders").unwrap().partition(0).unwrap();
    assert_eq!(orders.offsets().high_watermark, 3);
    store.delete_topic("gone").unwrap();
    store.close().unwrap();
    assert_eq!(text(), "0\n4\norders 0 2\norders 0 2\nusers 0 3\nusers 0 3\n");

    let store = open(true);
    let orders = store.topic("orders").unwrap().partition(0).unwrap();
    assert_eq!(orders.offsets().high_watermark, 2);
    orders.set_high_watermark(3).unwrap();
    store.maintain().unwrap();
    assert_eq!(text(), "0\n4\norders 0 3\norders 0 3\nusers 0 3\nusers 0 3\n");
    orders.set_high_watermark(1).unwrap();
    store.close().unwrap();
    assert_eq!(text(), "0\n4\norders 0 1\norders 0 1\nusers 0 3\nusers 0 3\n");
}
