//! Many transactions that are due at once.

use super::reloads::append;
use super::*;
use crate::fs::{Fault, Operation, Rule};
use crate::transaction::producer::LAST_EPOCH;

fn defaults() -> TransactionCoordinatorConfig {
    TransactionCoordinatorConfig::default()
}

/// What the next process finds after one that had this many transactions going on, each in one of
/// three partitions.
fn after_crash(ids: u32) -> Setup {
    let setup = Setup::new();
    for number in 0..ids {
        let id = format!("t-{number}");
        let producer = setup.init(&id).unwrap();
        setup.add(&id, producer, &[orders(number % 3)]).unwrap();
    }
    let after = setup.restarted(defaults());
    after.coordinator.load_all().unwrap();
    after
}

fn in_state(setup: &Setup, state: TransactionState) -> usize {
    let listed = setup.coordinator.list().unwrap();
    listed.iter().filter(|one| one.state == state).count()
}

/// One by one, each would wait for two syncs of its own.
#[test]
fn due_transactions_share_batches_and_syncs() {
    let after = after_crash(300);
    let end = after.log().offsets().end;
    let syncs = after.fs.add_rule(Rule::new(Operation::SyncData, Fault::call(|_| ())));
    assert_eq!(after.coordinator.tick(), None);
    let calls = after.partitions.calls();
    let flushes: Vec<_> = calls.iter().filter(|call| call.starts_with("flush")).collect();
    assert_eq!(flushes, ["flush orders-0", "flush orders-1", "flush orders-2"]);
    assert_eq!((calls.len(), after.fs.hit_count(syncs)), (303, 1));
    assert_eq!(in_state(&after, TransactionState::CompleteAbort), 300);
    let (log, mut batches) = (after.log(), Vec::new());
    let mut reader = log.reader(StartAt::Offset(end)).unwrap();
    while let Some(batch) = reader.next_batch().unwrap() {
        batches.push(batch.header().record_count);
    }
    assert_eq!(batches, [300, 300]);
    assert!(!after.history().is_empty());
    let next = after.restarted(defaults());
    assert_eq!((next.recover(), next.partitions.calls().len()), (None, 0));
}

/// Their markers cannot be written, or not be made durable.
#[test]
fn failed_partition_delays_only_its_own_transactions() {
    let after = after_crash(30);
    after.partitions.fail(orders(1));
    assert_eq!(after.coordinator.tick(), Some(Duration::from_secs(10)));
    assert_eq!(in_state(&after, TransactionState::CompleteAbort), 20);
    assert_eq!(in_state(&after, TransactionState::PrepareAbort), 10);
    after.partitions.heal();
    after.partitions.calls();
    assert_eq!(after.coordinator.tick(), None);
    assert_eq!(after.partitions.calls().len(), 11);
    assert_eq!(in_state(&after, TransactionState::CompleteAbort), 30);
}

/// Nothing is decided, or nothing is known to be complete, until there is room.
#[test]
fn failed_append_leaves_all_of_a_round() {
    for (nth, left) in [(1, TransactionState::Ongoing), (2, TransactionState::PrepareAbort)] {
        let after = after_crash(30);
        let full = Fault::Error(std::io::ErrorKind::StorageFull);
        let rule = after.fs.add_rule(Rule::new(Operation::Write, full).from_nth(nth));
        assert_eq!(after.coordinator.tick(), Some(Duration::from_secs(10)));
        assert_eq!(in_state(&after, left), 30);
        after.fs.remove_rule(rule);
        assert_eq!(after.coordinator.tick(), None);
        assert_eq!(in_state(&after, TransactionState::CompleteAbort), 30);
    }
}

/// The record of what has timed out cannot be stored. What was decided before gets its markers.
#[test]
fn full_state_log_delays_no_marker() {
    let after = after_crash(30);
    after.partitions.fail(orders(1));
    after.coordinator.tick();
    after.partitions.heal();
    after.partitions.calls();
    let producer = after.init("later").unwrap();
    after.add("later", producer, &[orders(0)]).unwrap();
    after.clock.advance(Duration::from_secs(3600));
    let full = Fault::Error(std::io::ErrorKind::StorageFull);
    let rule = after.fs.add_rule(Rule::new(Operation::Write, full));
    assert_eq!(after.coordinator.tick(), Some(Duration::from_secs(10)));
    let calls = after.partitions.calls();
    assert_eq!(calls.iter().filter(|call| call.contains("orders-1")).count(), 11, "{calls:?}");
    after.fs.remove_rule(rule);
    assert_eq!(after.coordinator.tick(), None);
    assert_eq!(in_state(&after, TransactionState::CompleteAbort), 31);
}

/// A state log that is offline for a moment is looked at again.
#[test]
fn offline_state_log_is_ticked_again() {
    let after = after_crash(3);
    let logs = std::mem::take(&mut *after.logs.0.lock().unwrap());
    logs.into_iter().for_each(|log| log.close().unwrap());
    assert_eq!(after.coordinator.tick(), Some(Duration::from_secs(10)));
    let config = LogConfig::default().fs(after.fs.clone());
    let config = config.clock(Arc::clone(&after.clock) as Arc<dyn Clock>);
    let log = Log::open("data/__transaction_state-0", config).unwrap();
    *after.logs.0.lock().unwrap() = vec![log];
    assert_eq!(after.coordinator.tick(), None);
    assert_eq!(in_state(&after, TransactionState::CompleteAbort), 3);
}

/// The topic was altered. Then each transaction has a batch of its own.
#[test]
fn round_fits_into_small_batches() {
    let after = after_crash(30);
    after.log().close().unwrap();
    let config = LogConfig::default().fs(after.fs.clone()).max_message_bytes(400);
    let config = config.clock(Arc::clone(&after.clock) as Arc<dyn Clock>);
    let log = Log::open("data/__transaction_state-0", config).unwrap();
    *after.logs.0.lock().unwrap() = vec![log];
    assert_eq!(after.coordinator.tick(), None);
    assert_eq!(in_state(&after, TransactionState::CompleteAbort), 30);
}

/// An id whose epochs are used up needs another producer id, which takes a call of its own.
#[test]
fn round_renews_exhausted_ids() {
    let setup = Setup::new();
    for id in ["a", "b", "c"] {
        let producer = setup.init(id).unwrap();
        setup.add(id, producer, &[orders(0)]).unwrap();
    }
    let mut stored = setup.coordinator.producer("b").unwrap().unwrap().stored;
    stored.producer_epoch = LAST_EPOCH;
    append(&setup, "b", stored);
    let after = setup.restarted(defaults());
    assert_eq!(after.recover(), None);
    assert_eq!(in_state(&after, TransactionState::CompleteAbort), 3);
    let renewed = after.coordinator.producer("b").unwrap().unwrap().identity();
    assert_eq!(renewed, who(4003, 0));
}
