use super::*;

#[test]
fn commit_stores_decision_then_markers() {
    let setup = Setup::new();
    assert_eq!(setup.init("t").unwrap(), who(4000, 0));
    setup.add("t", who(4000, 0), &[orders(0), orders(3)]).unwrap();
    setup.add("t", who(4000, 0), &[orders(3)]).unwrap(); // known already: no record
    let decided = Arc::new(Mutex::new(Vec::new()));
    let (log, seen) = (setup.log(), Arc::clone(&decided));
    setup.partitions.on_marker(
        orders(0),
        Box::new(move |_| {
            seen.lock().unwrap().push(log.offsets().end);
            Ok(())
        }),
    );
    let next = setup.end("t", who(4000, 0), Outcome::Commit).unwrap();
    assert_eq!(next, who(4000, 1));
    assert_eq!(*decided.lock().unwrap(), [3]);
    assert_eq!(
        setup.partitions.calls(),
        ["commit orders-0 by 4000.1", "commit orders-3 by 4000.1"]
    );
    assert_eq!(
        setup.history(),
        ["t Empty 4000.0", "t Ongoing 4000.0", "t PrepareCommit 4000.1", "t CompleteCommit 4000.1"]
    );
    // The answer was lost, so the producer repeats the call.
    assert_eq!(setup.end("t", who(4000, 0), Outcome::Commit).unwrap(), next);
    let error = refusal(setup.end("t", who(4000, 0), Outcome::Abort));
    assert_eq!(
        error.to_string(),
        "cannot abort the transaction of `t`, which is in state CompleteCommit; begin a transaction first; a repeated call must have the outcome of the first one"
    );
    setup.add("t", next, &[orders(1)]).unwrap();
    assert_eq!(setup.end("t", next, Outcome::Abort).unwrap(), who(4000, 2));
    assert_eq!(setup.partitions.calls(), ["abort orders-1 by 4000.2"]);
}

/// Data before the decision, the decision before the first marker, markers before the return.
#[test]
fn flushed_commit_is_durable_in_order() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0), orders(1)]).unwrap();
    let log = setup.log();
    let is_durable = Box::new(move |_: &TopicPartition| {
        assert_eq!(log.offsets().durable, log.offsets().end);
        Ok(())
    });
    setup.partitions.on_marker(orders(0), is_durable);
    let end = |who, outcome| setup.coordinator.end("t", who, outcome, V2, true, Wait::No);
    let next = end(producer, Outcome::Commit).unwrap();
    let expected = [
        "flush orders-0",
        "flush orders-1",
        "commit orders-0 by 4000.1",
        "commit orders-1 by 4000.1",
        "flush orders-0",
        "flush orders-1",
    ];
    assert_eq!(setup.partitions.calls(), expected);
    setup.add("t", next, &[orders(1)]).unwrap();
    end(next, Outcome::Abort).unwrap();
    assert_eq!(setup.partitions.calls(), ["abort orders-1 by 4000.2", "flush orders-1"]);
}

#[test]
fn second_producer_fences_first() {
    let setup = Setup::new();
    let first = setup.init("t").unwrap();
    setup.add("t", first, &[orders(0)]).unwrap();
    let second = setup.init("t").unwrap();
    assert_eq!(second, who(4000, 2));
    assert_eq!(setup.partitions.calls(), ["abort orders-0 by 4000.1", "flush orders-0"]);
    assert!(fenced(setup.add("t", first, &[orders(0)])));
    assert!(fenced(setup.end("t", first, Outcome::Commit)));
    assert!(fenced(setup.end("t", first, Outcome::Abort)));
    let expected = |who| setup.coordinator.init_producer_id("t", MINUTE, Some(who), Wait::No);
    assert!(fenced(expected(first)));
    // The second one may continue after an error, and repeat that call.
    assert_eq!(expected(second).unwrap(), who(4000, 3));
    assert_eq!(expected(second).unwrap(), who(4000, 3));
    assert_eq!(setup.init("other").unwrap(), who(4001, 0));
}

#[test]
fn invalid_calls_are_rejected() {
    let setup = Setup::new();
    let init = |id: &str, timeout: Duration| {
        setup.coordinator.init_producer_id(id, timeout, None, Wait::No)
    };
    assert_eq!(refusal(init("", MINUTE)), TransactionError::EmptyId);
    for timeout in [Duration::ZERO, Duration::from_micros(999), 15 * MINUTE + MINUTE] {
        let most = 15 * MINUTE;
        let error = refusal(init("t", timeout));
        assert_eq!(error, TransactionError::InvalidTimeout { given: timeout, most });
    }
    assert!(init(&"t".repeat(32_768), MINUTE).is_err());
    let unknown = setup.add("t", who(4000, 0), &[orders(0)]);
    assert_eq!(refusal(unknown), TransactionError::InvalidIdMapping { id: "t".into() });
    let unknown = setup.end("t", who(4000, 0), Outcome::Commit);
    assert_eq!(refusal(unknown), TransactionError::InvalidIdMapping { id: "t".into() });
    let producer = init("t", 15 * MINUTE).unwrap();
    let nothing = refusal(setup.end("t", producer, Outcome::Commit));
    assert!(matches!(nothing, TransactionError::InvalidState { state: "Empty", .. }));
    // The client may not know whether a partition was added.
    assert_eq!(setup.end("t", producer, Outcome::Abort).unwrap().epoch, producer.epoch + 1);
}

/// A producer whose transaction has timed out learns of it by its commit, and continues after an
/// abort.
#[test]
fn timed_out_transaction_is_aborted() {
    let setup = Setup::new();
    assert_eq!(setup.coordinator.tick(), None);
    let producer = setup.init("t").unwrap();
    assert_eq!(setup.coordinator.tick(), None);
    setup.add("t", producer, &[orders(0)]).unwrap();
    setup.clock.advance(MINUTE / 4);
    setup.add("t", producer, &[orders(1)]).unwrap();
    assert_eq!(setup.coordinator.tick(), Some(MINUTE / 4 * 3));
    // The calendar does not matter.
    setup.clock.set(Timestamp::from_millis(T0 + 86_400_000));
    assert_eq!(setup.coordinator.tick(), Some(MINUTE / 4 * 3));
    setup.clock.advance(MINUTE / 4 * 3);
    assert_eq!(setup.coordinator.tick(), None);
    let calls = ["abort orders-0 by 4000.1", "abort orders-1 by 4000.1"];
    assert_eq!(setup.partitions.calls()[..2], calls);
    let error = refusal(setup.end("t", producer, Outcome::Commit));
    assert_eq!(error, TransactionError::Expired { id: "t".into(), timeout: MINUTE });
    assert_eq!(refusal(setup.add("t", producer, &[orders(2)])), error);
    let next = setup.end("t", producer, Outcome::Abort).unwrap();
    assert_eq!(next, who(4000, 1));
    setup.add("t", next, &[orders(1)]).unwrap();
    setup.end("t", next, Outcome::Commit).unwrap();
}

#[test]
fn deleted_partition_fails_commit_only() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0), orders(1)]).unwrap();
    setup.partitions.deleted.lock().unwrap().insert(orders(1));
    let error = refusal(setup.end("t", producer, Outcome::Commit));
    assert_eq!(error, TransactionError::PartitionGone { id: "t".into(), partition: orders(1) });
    assert_eq!(setup.state("t"), TransactionState::Ongoing);
    setup.end("t", producer, Outcome::Abort).unwrap();
    assert_eq!(setup.partitions.calls(), ["abort orders-0 by 4000.1"]);
}

#[test]
fn unused_id_expires() {
    let setup = Setup::new();
    let producer = setup.init("old").unwrap();
    let busy = setup.init("busy").unwrap();
    setup.add("busy", busy, &[orders(0)]).unwrap();
    let day = Duration::from_secs(86_400);
    setup.clock.advance(6 * day);
    setup.init("young").unwrap();
    setup.clock.advance(day);
    assert!(setup.coordinator.producer("old").unwrap().is_none());
    assert!(setup.coordinator.producer("young").unwrap().is_some());
    // The initialization has ended a transaction that had timed out, and the id was used by that.
    assert_eq!(setup.state("busy"), TransactionState::CompleteAbort);
    assert_eq!(setup.history().last().unwrap(), "old -");
    let error = refusal(setup.add("old", producer, &[orders(0)]));
    assert_eq!(error, TransactionError::InvalidIdMapping { id: "old".into() });
    assert_eq!(setup.init("old").unwrap(), who(4003, 0));
}
