use super::*;
use crate::record::Record;
use crate::transaction::producer::{EndStep, LAST_EPOCH};

fn defaults() -> TransactionCoordinatorConfig {
    TransactionCoordinatorConfig::default()
}

/// The producers of ongoing transactions ended with their process.
#[test]
fn opening_aborts_ongoing_transactions() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    let after = setup.restarted(defaults());
    assert_eq!(after.recover(), None);
    assert_eq!(after.partitions.calls(), ["abort orders-0 by 4000.1", "flush orders-0"]);
    assert_eq!(after.state("t"), TransactionState::CompleteAbort);
    assert!(fenced(after.add("t", producer, &[orders(0)])));
    assert_eq!(after.init("t").unwrap(), who(4000, 2));
}

/// Partitions may know epochs of which a loss of power took the records.
#[test]
fn distrusted_id_is_not_used_again() {
    let setup = Setup::new();
    setup.init("t").unwrap();
    let mut config = defaults();
    config.first_trusted = 4001;
    let after = setup.restarted(config);
    assert_eq!(after.init("t").unwrap(), who(4001, 0));
    assert_eq!(after.init("t").unwrap(), who(4001, 1));
}

/// A broker's producers outlive it; their timeouts run on.
#[test]
fn resumed_transaction_keeps_its_timeout() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    setup.clock.advance(MINUTE / 2);
    let config = defaults().resume_ongoing(true);
    let after = setup.restarted(config);
    assert_eq!(after.recover(), Some(MINUTE / 2));
    after.add("t", producer, &[orders(1)]).unwrap();
    after.clock.advance(MINUTE / 2);
    assert_eq!(after.recover(), None);
    let calls = ["abort orders-0 by 4000.1", "abort orders-1 by 4000.1"];
    assert_eq!(after.partitions.calls()[..2], calls);
}

/// Another system decides over a transaction without a timeout.
#[test]
fn opening_leaves_two_phase_transaction_alone() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    let mut stored = setup.coordinator.producer("t").unwrap().unwrap().stored;
    stored.timeout_ms = i32::MAX;
    append(&setup, "t", stored);
    let after = setup.restarted(defaults());
    assert_eq!(after.recover(), None);
    after.clock.advance(100 * MINUTE);
    assert_eq!(after.coordinator.tick(), None);
    assert_eq!(after.state("t"), TransactionState::Ongoing);
    after.end("t", producer, Outcome::Commit).unwrap();
}

/// Appends a record past the coordinator, as a broker would have before.
pub(super) fn append(setup: &Setup, id: &str, stored: crate::transaction::TransactionMetadata) {
    let record = TransactionRecord { transactional_id: id.to_owned(), metadata: Some(stored) };
    let (key, value) = record.encode().unwrap();
    setup.log().append(Record::new(value.unwrap()).key(key)).unwrap();
}

/// The process ends before each of the markers, and after the last one.
#[test]
fn decided_transaction_is_completed_after_crash() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let setup = Setup::new();
        let producer = setup.init("t").unwrap();
        setup.add("t", producer, &[orders(0), orders(1), orders(2)]).unwrap();
        let images = Arc::new(Mutex::new(Vec::new()));
        for partition in 0..3 {
            let (disk, images) = (setup.disk.clone(), Arc::clone(&images));
            let keep = move |_: &TopicPartition| {
                images.lock().unwrap().push(disk.kill());
                Ok(())
            };
            setup.partitions.on_marker(orders(partition), Box::new(keep));
        }
        setup.end("t", producer, outcome).unwrap();
        let markers = setup.partitions.calls();
        let images = std::mem::take(&mut *images.lock().unwrap());
        assert_eq!(images.len(), 3);
        for disk in images {
            let after = setup.restarted_on(disk, defaults());
            assert_eq!(after.recover(), None);
            assert_eq!(after.partitions.calls()[..3], markers);
            assert_eq!(after.recover(), None);
            assert!(after.partitions.calls().is_empty());
            assert_eq!(after.end("t", producer, outcome).unwrap(), who(4000, 1));
        }
        let after = setup.restarted(defaults());
        assert_eq!(after.recover(), None);
        assert!(after.partitions.calls().is_empty());
    }
}

#[test]
fn reopened_log_keeps_transactions() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    setup.reopen();
    // Its producer is still there, and its timeout runs on.
    setup.clock.advance(MINUTE / 2);
    assert_eq!(setup.coordinator.tick(), Some(MINUTE / 2));
    assert_eq!(setup.end("t", producer, Outcome::Commit).unwrap(), who(4000, 1));
    assert_eq!(setup.history().len(), 4);
}

/// An append that failed may have been written. A quarantine may have removed records.
#[test]
fn reopened_log_decides_what_is_stored() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    let ongoing = setup.coordinator.producer("t").unwrap().unwrap();
    let EndStep::Prepare(prepared) =
        ongoing.end(producer, Outcome::Commit, V2, Timestamp::from_millis(T0), None).unwrap()
    else {
        panic!("the transaction is not ongoing")
    };
    append(&setup, "t", prepared.stored);
    setup.reopen();
    assert_eq!(setup.coordinator.tick(), None);
    assert_eq!(setup.partitions.calls()[0], "commit orders-0 by 4000.1");

    setup.log().truncate_to(2).unwrap();
    setup.reopen();
    assert_eq!(setup.state("t"), TransactionState::CompleteCommit);
    assert_eq!(setup.history().last().unwrap(), "t CompleteCommit 4000.1");
    assert_eq!(setup.end("t", producer, Outcome::Commit).unwrap(), who(4000, 1));
}

#[test]
fn used_up_epochs_lead_to_new_id() {
    let setup = Setup::new();
    let mut stored = {
        setup.init("t").unwrap();
        setup.coordinator.producer("t").unwrap().unwrap().stored
    };
    stored.producer_epoch = LAST_EPOCH - 1;
    append(&setup, "t", stored);
    let after = setup.restarted(defaults());
    let mut producer = who(4000, LAST_EPOCH - 1);
    for next in [who(4000, LAST_EPOCH), who(4001, 0), who(4001, 1)] {
        after.add("t", producer, &[orders(0)]).unwrap();
        assert_eq!(after.end("t", producer, Outcome::Commit).unwrap(), next);
        // The repeated call of a producer that did not get the answer, also after a restart.
        assert_eq!(after.end("t", producer, Outcome::Commit).unwrap(), next);
        let again = after.restarted(defaults());
        assert_eq!(again.end("t", producer, Outcome::Commit).unwrap(), next);
        producer = next;
    }
    let calls = ["commit orders-0 by 4000.32766", "commit orders-0 by 4000.32767"];
    assert_eq!(after.partitions.calls()[..2], calls);
}

#[test]
fn corrupt_record_fails_its_partition() {
    let setup = Setup::new();
    setup.init("t").unwrap();
    let key = [0, 0, 0, 1, b'x'];
    setup.log().append(Record::new(vec![0, 9]).key(key.to_vec())).unwrap();
    let after = setup.restarted(defaults());
    let error = refusal(after.init("t"));
    assert_eq!(
        error.to_string(),
        "partition 0 of `__transaction_state` has an invalid record at offset 1: its version is neither 0 nor 1; the transactional ids in that partition cannot be used"
    );
    assert_eq!(refusal(after.coordinator.load_all()), error);
    assert_eq!(after.coordinator.tick(), None);
    // A record of a later kind is ignored.
    let setup = Setup::new();
    setup.log().append(Record::new("later").key(vec![0, 1, 0])).unwrap();
    assert_eq!(setup.init("t").unwrap(), who(4000, 0));
}
