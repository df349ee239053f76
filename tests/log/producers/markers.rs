//! Transactions on a log: batches that open one, markers that end it, and what is rejected.

use super::{UNNUMBERED, config, sent};
use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::record::{BatchBuilder, EndTxnMarker, RecordBatch};
use annals::{
    Appended, Error, ErrorKind, Event, Log, Offset, ProducerEpoch, ProducerId, ProducerIdentity,
    ProducerStateError, Result, Sequence, Timestamp, TransactionVersion,
};
use std::io;
use std::path::Path;
use std::sync::Arc;
use support::{DIR, Heard, T0, files, name, read_file, write_file};

pub(super) const COMMIT: EndTxnMarker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
pub(super) const ABORT: EndTxnMarker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
pub(super) const V0: TransactionVersion = TransactionVersion::V0;
pub(super) const V2: TransactionVersion = TransactionVersion::V2;

pub(super) fn batch(
    id: ProducerId,
    epoch: ProducerEpoch,
    first: Sequence,
    count: i32,
) -> RecordBatch {
    let mut builder = BatchBuilder::new();
    builder.producer(id, epoch, first).transactional(true);
    for _ in 0..count {
        builder.push(Timestamp::from_millis(T0), None, Some(b"in a transaction")).unwrap();
    }
    builder.build().unwrap()
}

pub(super) fn send(
    log: &Log,
    id: ProducerId,
    epoch: ProducerEpoch,
    first: Sequence,
) -> Result<Appended> {
    log.append_batch(batch(id, epoch, first, 1))
}

pub(super) fn end(
    log: &Log,
    id: ProducerId,
    epoch: ProducerEpoch,
    marker: EndTxnMarker,
) -> Result<Appended> {
    log.append_marker(ProducerIdentity { id, epoch }, marker, V0)
}

pub(super) fn last_stable(log: &Log) -> Offset {
    log.offsets().last_stable
}

pub(super) fn refusal(result: Result<Appended>) -> ProducerStateError {
    match result.unwrap_err() {
        Error::Producer(refusal) => refusal,
        other => panic!("{other}"),
    }
}

/// The entries of all indexes: the producer, the first offset, the marker, the last stable offset.
fn aborted(fs: &dyn Fs) -> Vec<(ProducerId, i64, i64, i64)> {
    let of = |name: &String| {
        let entries = annals::inspect::TxnEntries::open(fs, &Path::new(DIR).join(name)).unwrap();
        entries.map(Result::unwrap).collect::<Vec<_>>()
    };
    let files = files(fs, DIR);
    let entries = files.keys().filter(|name| name.ends_with(".txnindex")).flat_map(of);
    entries.map(|e| (e.producer_id, e.first_offset, e.last_offset, e.last_stable_offset)).collect()
}

#[test]
fn open_transaction_holds_last_stable_offset() {
    let log = Log::open(DIR, config(&MemFs::new())).unwrap();
    log.append(UNNUMBERED).unwrap();
    send(&log, 7, 0, 0).unwrap();
    send(&log, 8, 0, 0).unwrap();
    log.append(UNNUMBERED).unwrap();
    assert_eq!((last_stable(&log), log.offsets().end), (1, 4));
    send(&log, 7, 0, 1).unwrap();
    let ended = end(&log, 7, 0, COMMIT).unwrap();
    assert_eq!((ended.first, ended.last, ended.duplicate), (5, 5, false));
    assert_eq!(last_stable(&log), 2);
    end(&log, 8, 0, ABORT).unwrap();
    assert_eq!(last_stable(&log), 7);
    // Markers are no records.
    assert_eq!(support::offsets(&log), [0, 1, 2, 3, 4]);
}

/// The last stable offset of an entry is that of the other transactions, as if its own had never
/// been open.
#[test]
fn index_entry_has_kafkas_last_stable() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    for (id, first) in [(1, 0), (2, 0), (1, 1), (3, 0)] {
        send(&log, id, 0, first).unwrap();
    }
    end(&log, 2, 0, ABORT).unwrap();
    end(&log, 1, 0, ABORT).unwrap();
    end(&log, 3, 0, COMMIT).unwrap();
    send(&log, 3, 0, 1).unwrap();
    end(&log, 3, 0, ABORT).unwrap();
    assert_eq!(aborted(&fs), [(2, 1, 4, 0), (1, 0, 5, 3), (3, 7, 8, 9)]);
    assert_eq!(log.verify().unwrap(), []);
}

#[test]
fn abort_that_rolls_indexes_in_new_segment() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    let mut sequence = 0;
    // Until a marker does not fit any more.
    while log.stats().unwrap().segments.last().unwrap().bytes <= 900 - 78 {
        send(&log, 7, 0, sequence).unwrap();
        sequence += 1;
    }
    let before = log.stats().unwrap().segments.len();
    let marker = end(&log, 7, 0, ABORT).unwrap().first;
    assert_eq!(log.stats().unwrap().segments.len(), before + 1);
    let files = files(&fs, DIR);
    let indexes: Vec<_> = files.keys().filter(|name| name.ends_with("txnindex")).collect();
    assert_eq!(indexes, [&name(marker, "txnindex")]);
}

/// The index goes with its segment, whichever way that goes.
#[test]
fn deleted_segment_takes_its_index_along() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    for _ in 0..2 {
        send(&log, 7, 0, log.offsets().end as i32 / 2).unwrap();
        end(&log, 7, 0, ABORT).unwrap();
        log.roll().unwrap();
    }
    assert_eq!(aborted(&fs).len(), 2);
    log.delete_before(2).unwrap();
    assert_eq!(aborted(&fs), [(7, 2, 3, 4)]);
    log.truncate_to(2).unwrap();
    assert_eq!(aborted(&fs), []);
}

/// By the second version, the marker raises the epoch, and the next transaction begins at 0.
#[test]
fn second_transaction_begins_at_zero() {
    let log = Log::open(DIR, config(&MemFs::new())).unwrap();
    send(&log, 7, 0, 0).unwrap();
    log.append_marker(ProducerIdentity { id: 7, epoch: 1 }, COMMIT, V2).unwrap();
    let found = refusal(send(&log, 7, 1, 1));
    assert_eq!(found, ProducerStateError::OutOfOrder { producer_id: 7, expected: 0, found: 1 });
    send(&log, 7, 1, 0).unwrap();
    assert_eq!(last_stable(&log), 2);
}

/// A batch that arrives after its transaction has ended would open another one that nothing ends.
#[test]
fn batch_after_end_is_refused() {
    let log = Log::open(DIR, config(&MemFs::new())).unwrap();
    send(&log, 7, 0, 0).unwrap();
    log.append_marker(ProducerIdentity { id: 7, epoch: 1 }, ABORT, V2).unwrap();
    let late = refusal(send(&log, 7, 0, 1));
    assert_eq!(late, ProducerStateError::Fenced { producer_id: 7, epoch: 0, current: 1 });
    assert_eq!((last_stable(&log), log.offsets().end), (2, 2));
}

/// A coordinator that does not know whether its marker arrived sends it again. If that were
/// refused, it would send it for ever.
#[test]
fn marker_again_is_accepted_when_nothing_is_open() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    send(&log, 7, 0, 0).unwrap();
    let next = ProducerIdentity { id: 7, epoch: 1 };
    for offset in 1..3 {
        assert_eq!(log.append_marker(next, ABORT, V2).unwrap().first, offset);
    }
    assert_eq!(aborted(&fs), [(7, 0, 1, 2)]);
    // But not once the next transaction is open, which it would end.
    send(&log, 7, 1, 0).unwrap();
    let found = refusal(log.append_marker(next, ABORT, V2));
    assert_eq!(found, ProducerStateError::MarkerEpochNotRaised { producer_id: 7, epoch: 1 });
    assert!(found.to_string().contains("end the transaction with the next epoch"), "{found}");
    // No producer has taken over, so the caller must not be told to close.
    assert_eq!(Error::Producer(found).kind(), ErrorKind::InvalidInput);
    assert_eq!(last_stable(&log), 3);
}

/// An unknown producer is fenced as well.
#[test]
fn marker_with_nothing_open_fences() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    let marker = EndTxnMarker { coordinator_epoch: 5, ..ABORT };
    end(&log, 7, 3, marker).unwrap();
    assert_eq!((aborted(&fs), last_stable(&log)), (vec![], 1));
    for log in [log, Log::open(DIR, config(&fs.kill())).unwrap()] {
        let fenced = ProducerStateError::Fenced { producer_id: 7, epoch: 2, current: 3 };
        assert_eq!(refusal(send(&log, 7, 2, 0)), fenced);
        assert_eq!(refusal(end(&log, 7, 2, marker)), fenced);
        let older = refusal(end(&log, 7, 3, EndTxnMarker { coordinator_epoch: 4, ..ABORT }));
        let expected =
            ProducerStateError::CoordinatorFenced { producer_id: 7, epoch: 4, current: 5 };
        assert_eq!(older, expected);
        assert!(older.to_string().contains("leave the transaction to it"), "{older}");
    }
}

#[test]
fn batches_outside_their_transaction_are_refused() {
    let log = Log::open(DIR, config(&MemFs::new())).unwrap();
    send(&log, 7, 0, 0).unwrap();
    let plain = refusal(sent(7, 0, 1, 1).append(&log, T0));
    assert_eq!(plain, ProducerStateError::InTransaction { producer_id: 7 });
    // Only the log writes control batches, and a transaction needs a producer.
    let mut control = BatchBuilder::new();
    control.producer(7, 0, 1).transactional(true).control(true);
    control.push(Timestamp::from_millis(T0), Some(b"\0\0\0\0"), Some(b"\0\0\0\0\0\0")).unwrap();
    let error = log.append_batch(control.build().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    for (id, epoch) in [(-1, 0), (7, -1)] {
        let error = end(&log, id, epoch, COMMIT).unwrap_err();
        assert!(error.to_string().contains("a marker needs the id"), "{error}");
    }
    assert_eq!(log.offsets().end, 1);
}

/// A resent batch of a transaction is recognised while it is open, and after its end.
#[test]
fn resent_batch_of_transaction_is_stored_once() {
    let log = Log::open(DIR, config(&MemFs::new())).unwrap();
    for _ in 0..2 {
        assert_eq!(send(&log, 7, 0, 0).unwrap().first, 0);
    }
    end(&log, 7, 0, COMMIT).unwrap();
    assert!(send(&log, 7, 0, 0).unwrap().duplicate);
    assert_eq!((last_stable(&log), log.offsets().end), (2, 2));
}

/// However the log is opened again, a transaction that is open stays so, and so does what is
/// known of the aborted ones.
#[test]
fn open_transaction_survives_each_opening() {
    let make = || {
        let fs = MemFs::new();
        let log = Log::open(DIR, config(&fs)).unwrap();
        send(&log, 7, 0, 0).unwrap();
        send(&log, 8, 0, 0).unwrap();
        end(&log, 7, 0, ABORT).unwrap();
        log.roll().unwrap();
        send(&log, 7, 0, 1).unwrap();
        end(&log, 7, 0, ABORT).unwrap();
        send(&log, 9, 0, 0).unwrap();
        (fs, log)
    };
    let expected = [(7, 0, 2, 1), (7, 3, 4, 1)];
    let check = |log: &Log, fs: &MemFs, how: &str| {
        assert_eq!((last_stable(log), log.offsets().end), (1, 6), "{how}");
        assert_eq!(aborted(fs), expected, "{how}");
        end(log, 8, 0, COMMIT).unwrap();
        assert_eq!(last_stable(log), 5, "{how}");
        end(log, 9, 0, COMMIT).unwrap();
        assert_eq!(last_stable(log), 8, "{how}");
    };
    let (fs, log) = make();
    log.close().unwrap();
    let log = Log::open(DIR, config(&fs)).unwrap();
    assert!(log.recovery().clean_shutdown);
    check(&log, &fs, "closed");
    let (fs, log) = make();
    drop(log);
    let fs = fs.kill();
    check(&Log::open(DIR, config(&fs)).unwrap(), &fs, "killed");
    for how in ["no snapshot", "damaged snapshots", "no recent file"] {
        for is_closed in [false, true] {
            let (fs, log) = make();
            if is_closed {
                log.close().unwrap();
            }
            let fs = fs.kill();
            for name in files(&fs, DIR).keys() {
                let path = Path::new(DIR).join(name);
                let (is_snapshot, is_recent) =
                    (name.ends_with("snapshot"), name.ends_with("recent"));
                match how {
                    "no snapshot" if is_snapshot => fs.remove(&path).unwrap(),
                    "damaged snapshots" if is_snapshot => write_file(&fs, DIR, name, &[1; 60]),
                    "no recent file" if is_recent => fs.remove(&path).unwrap(),
                    _ => {}
                }
            }
            check(&Log::open(DIR, config(&fs)).unwrap(), &fs, how);
        }
    }
}

/// The marker is gone, so nothing decides the transaction any more.
#[test]
fn truncation_reopens_transaction() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    send(&log, 7, 0, 0).unwrap();
    end(&log, 7, 0, ABORT).unwrap();
    log.append(UNNUMBERED).unwrap();
    send(&log, 7, 0, 1).unwrap();
    log.append(UNNUMBERED).unwrap();
    end(&log, 7, 0, ABORT).unwrap();
    assert_eq!(aborted(&fs), [(7, 0, 1, 2), (7, 3, 5, 6)]);
    log.truncate_to(5).unwrap();
    assert_eq!((last_stable(&log), aborted(&fs)), (3, vec![(7, 0, 1, 2)]));
    end(&log, 7, 0, ABORT).unwrap();
    assert_eq!(aborted(&fs), [(7, 0, 1, 2), (7, 3, 5, 6)]);
    log.truncate_to(3).unwrap();
    assert_eq!((last_stable(&log), aborted(&fs)), (3, vec![(7, 0, 1, 2)]));
    log.truncate_to(1).unwrap();
    assert_eq!((last_stable(&log), aborted(&fs)), (0, vec![]));
    end(&log, 7, 0, COMMIT).unwrap();
    assert_eq!((last_stable(&log), aborted(&fs)), (2, vec![]));
}

/// The disk is full when an entry is to be stored. The marker is in the log, so the append
/// succeeds; the entry must be there before anything relies on the file.
#[test]
fn full_disk_keeps_aborted_hidden() {
    for (then, power_is_lost) in [("roll", true), ("close", true), ("drop", true), ("close", false)]
    {
        let memory = MemFs::new();
        let faults = FaultFs::new(memory.clone());
        let open = |fs: FaultFs| Log::open(DIR, config(&MemFs::new()).fs(fs)).unwrap();
        let log = open(faults.clone());
        send(&log, 7, 0, 0).unwrap();
        end(&log, 7, 0, ABORT).unwrap();
        log.flush().unwrap();
        let full = Fault::Error(io::ErrorKind::StorageFull);
        faults.add_rule(Rule::new(Operation::Write, full).path("txnindex"));
        send(&log, 7, 0, 1).unwrap();
        end(&log, 7, 0, ABORT).unwrap();
        log.append(UNNUMBERED).unwrap();
        log.flush().unwrap();
        assert_eq!(aborted(&memory), [(7, 0, 1, 2)], "{then}");
        match then {
            "roll" => {
                assert_eq!(log.roll().unwrap_err().kind(), ErrorKind::StorageFull);
                faults.clear_rules();
                log.roll().unwrap();
                log.append(UNNUMBERED).unwrap();
                log.flush().unwrap();
            }
            "close" => log.close().unwrap(),
            _ => drop(log),
        }
        let memory = if power_is_lost {
            memory.crash(annals::fs::CrashState::SyncedOnly)
        } else {
            memory.kill()
        };
        let log = open(FaultFs::new(memory.clone()));
        assert_eq!(aborted(&memory), [(7, 0, 1, 2), (7, 2, 3, 4)], "{then}");
        drop(log);
    }
}

/// Nothing in a log says that a segment has an index of aborted transactions. The marker of a clean
/// close counts the entries of all.
#[test]
fn lost_index_is_rebuilt_after_clean_close() {
    for lost in ["one", "cut", "damaged", "all"] {
        let fs = MemFs::new();
        let log = Log::open(DIR, config(&fs)).unwrap();
        for sequence in 0..4 {
            send(&log, 7, 0, sequence).unwrap();
            end(&log, 7, 0, ABORT).unwrap();
            if sequence % 2 == 1 {
                log.roll().unwrap();
            }
        }
        log.close().unwrap();
        let whole = aborted(&fs);
        let [first, last] = [0, 4].map(|base| name(base, "txnindex"));
        let bytes = read_file(&fs, DIR, &last);
        match lost {
            "cut" => write_file(&fs, DIR, &last, &bytes[..34]),
            "damaged" => write_file(&fs, DIR, &last, &bytes[..67]),
            _ => fs.remove(&Path::new(DIR).join(&last)).unwrap(),
        }
        if lost == "all" {
            fs.remove(&Path::new(DIR).join(first)).unwrap();
        }
        let heard = Arc::new(Heard::default());
        let log = Log::open(DIR, config(&fs).listener(heard.clone())).unwrap();
        assert!(log.recovery().clean_shutdown);
        assert_eq!((whole.len(), aborted(&fs)), (4, whole), "{lost}");
        let events = heard.0.lock().unwrap();
        let rebuilt = events.iter().filter(|event| matches!(event, Event::IndexRebuilt { .. }));
        assert_eq!(rebuilt.count(), if lost == "all" { 2 } else { 1 }, "{lost}");
    }
}
