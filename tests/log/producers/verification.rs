//! Permissions to open a transaction, and transactions that nothing ends.

use super::markers::{ABORT, COMMIT, V0, V2, batch, end, last_stable, refusal, send};
use super::{UNNUMBERED, config};
use annals::fs::MemFs;
use annals::{
    Error, ErrorKind, Log, ManualClock, ProducerId, ProducerIdentity, ProducerStateError, Timestamp,
};
use std::sync::Arc;
use std::time::Duration;
use support::{DIR, T0, files, write_file};

const HOUR: Duration = Duration::from_secs(3600);
const PRODUCER: ProducerIdentity = ProducerIdentity { id: 7, epoch: 0 };
const UNVERIFIED: ProducerStateError = ProducerStateError::NotInTransaction { producer_id: 7 };

fn verifying() -> (Log, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = config(&MemFs::new()).verify_transactions(true).clock(clock.clone());
    (Log::open(DIR, config.producer_id_expiration(HOUR)).unwrap(), clock)
}

/// Without a permission, a batch that comes after the marker of its transaction would open one
/// that nothing ends.
#[test]
fn only_verified_batch_opens_transaction() {
    let (log, _) = verifying();
    assert_eq!(refusal(send(&log, 7, 0, 0)), UNVERIFIED);
    let guard = log.begin_verification(PRODUCER, 0, V0).unwrap();
    assert_eq!(log.begin_verification(PRODUCER, 0, V0).unwrap(), guard);
    log.append_verified(batch(7, 0, 0, 1), guard).unwrap();
    // The transaction is open, so all its batches are verified.
    assert!(log.begin_verification(PRODUCER, 1, V0).unwrap().is_verified());
    send(&log, 7, 0, 1).unwrap();
    end(&log, 7, 0, ABORT).unwrap();
    // A resent batch opens nothing.
    assert!(send(&log, 7, 0, 1).unwrap().duplicate);
    assert_eq!(refusal(send(&log, 7, 0, 2)), UNVERIFIED);
    assert_eq!(refusal(log.append_verified(batch(7, 0, 2, 1), guard)), UNVERIFIED);
    assert!(UNVERIFIED.to_string().contains("add the partition"));
    // Batches outside of transactions need no permission.
    log.append(UNNUMBERED).unwrap();
    assert_eq!(last_stable(&log), 4);
}

/// The coordinator has said yes, and ended the transaction before the batch arrived.
#[test]
fn permission_is_void_after_marker() {
    let (log, clock) = verifying();
    let open = |first| log.append_verified(batch(7, 0, first, 1), guard_of(&log));
    open(0).unwrap();
    end(&log, 7, 0, COMMIT).unwrap();
    let guard = guard_of(&log);
    end(&log, 7, 0, ABORT).unwrap();
    assert_eq!(refusal(log.append_verified(batch(7, 0, 1, 1), guard)), UNVERIFIED);
    // Neither does a permission of another producer help, nor one that is a day old.
    let other = log.begin_verification(ProducerIdentity { id: 8, epoch: 0 }, 0, V0).unwrap();
    assert_eq!(refusal(log.append_verified(batch(7, 0, 1, 1), other)), UNVERIFIED);
    let guard = guard_of(&log);
    clock.advance(HOUR);
    log.roll().unwrap();
    assert_eq!(refusal(log.append_verified(batch(7, 0, 1, 1), guard)), UNVERIFIED);
    open(1).unwrap();
}

fn guard_of(log: &Log) -> annals::VerificationGuard {
    log.begin_verification(PRODUCER, 1, V0).unwrap()
}

/// Requests of one producer may overtake one another. The transaction begins with the first batch
/// all the same.
#[test]
fn transaction_begins_with_lowest_sequence() {
    let (log, _) = verifying();
    let guard = log.begin_verification(PRODUCER, 5, V0).unwrap();
    assert_eq!(log.begin_verification(PRODUCER, 3, V0).unwrap(), guard);
    let late = refusal(log.append_verified(batch(7, 0, 5, 1), guard));
    let expected =
        |expected, found| ProducerStateError::OutOfOrder { producer_id: 7, expected, found };
    assert_eq!(late, expected(3, 5));
    log.append_verified(batch(7, 0, 3, 2), guard).unwrap();
    // By the second version, an unknown producer begins at 0.
    let other = ProducerIdentity { id: 9, epoch: 4 };
    let guard = log.begin_verification(other, 3, V2).unwrap();
    let error = refusal(log.append_verified(batch(9, 4, 3, 1), guard));
    assert_eq!(error, ProducerStateError::OutOfOrder { producer_id: 9, expected: 0, found: 3 });
    log.append_verified(batch(9, 4, 0, 1), guard).unwrap();
}

#[test]
fn silent_transaction_is_found_and_aborted() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let log = Log::open(DIR, config(&MemFs::new()).clock(clock.clone())).unwrap();
    send(&log, 7, 2, 0).unwrap();
    clock.advance(HOUR);
    send(&log, 8, 0, 0).unwrap();
    let found = |silent_for| -> Vec<(ProducerId, u64)> {
        let hanging = log.hanging_transactions(silent_for).unwrap();
        hanging.iter().map(|hanging| (hanging.producer_id, hanging.first_offset)).collect()
    };
    assert_eq!(found(Duration::ZERO), [(7, 0), (8, 1)]);
    assert_eq!(found(HOUR), [(7, 0)]);
    let hanging = log.hanging_transactions(HOUR).unwrap()[0];
    assert_eq!((hanging.producer_epoch, hanging.coordinator_epoch), (2, -1));
    assert_eq!(hanging.heard, Timestamp::from_millis(T0));
    log.abort_transaction(7).unwrap();
    assert_eq!((last_stable(&log), found(Duration::ZERO)), (1, vec![(8, 1)]));
    let error = log.abort_transaction(7).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(matches!(error, Error::Producer(ProducerStateError::NoOpenTransaction { .. })));
}

/// `annals transactions DIR find-hanging` looks beside the process that writes. A read-only log
/// has no writer, so it reads what the writer has stored.
#[test]
fn read_only_log_finds_producers_and_open_transactions() {
    let fs = MemFs::new();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = config(&fs).clock(clock.clone());
    let log = Log::open(DIR, config.clone()).unwrap();
    let reader = Log::open_read_only(DIR, config).unwrap();
    let found = |silent_for| -> Vec<(ProducerId, u64)> {
        let hanging = reader.hanging_transactions(silent_for).unwrap();
        hanging.iter().map(|hanging| (hanging.producer_id, hanging.first_offset)).collect()
    };
    assert_eq!((reader.producers().unwrap(), found(Duration::ZERO)), (vec![], vec![]));
    send(&log, 7, 2, 0).unwrap();
    log.roll().unwrap();
    clock.advance(HOUR);
    send(&log, 8, 0, 0).unwrap();
    send(&log, 9, 0, 0).unwrap();
    end(&log, 9, 0, COMMIT).unwrap();
    assert_eq!(found(Duration::ZERO), [(7, 0), (8, 1)]);
    assert_eq!(reader.producers().unwrap(), log.producers().unwrap());
    let hanging = reader.hanging_transactions(Duration::ZERO).unwrap()[1];
    assert_eq!((hanging.producer_epoch, hanging.heard), (0, hanging.last_timestamp));
    // Without the snapshot, it reads all batches, and it changes no file.
    for damaged in files(&fs, DIR).into_keys().filter(|name| name.ends_with(".snapshot")) {
        write_file(&fs, DIR, &damaged, b"damaged");
    }
    let before = files(&fs, DIR);
    assert_eq!(found(Duration::ZERO), [(7, 0), (8, 1)]);
    assert_eq!(files(&fs, DIR), before);
    log.abort_transaction(7).unwrap();
    log.truncate_to(2).unwrap();
    assert_eq!(found(Duration::ZERO), [(7, 0), (8, 1)]);
    log.truncate_to(1).unwrap();
    log.abort_transaction(7).unwrap();
    assert_eq!(found(Duration::ZERO), []);
}
