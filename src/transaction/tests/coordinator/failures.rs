use super::*;
use crate::error::ErrorKind;
use crate::fs::{Fault, Operation, Rule};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;

#[test]
fn failed_marker_keeps_decision() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0), orders(1)]).unwrap();
    setup.partitions.fail(orders(1));
    let error = refusal(setup.end("t", producer, Outcome::Commit));
    let TransactionError::Completing { decision, partition, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*decision, partition), ("committed", &orders(1)));
    assert!(Error::from(error).is_retryable());
    assert_eq!(setup.state("t"), TransactionState::PrepareCommit);
    let opposite = refusal(setup.end("t", producer, Outcome::Abort));
    assert!(matches!(opposite, TransactionError::InvalidState { state: "PrepareCommit", .. }));
    // Each call for the id tries again.
    for result in [setup.end("t", producer, Outcome::Commit).map(drop), setup.init("t").map(drop)] {
        assert!(matches!(refusal(result), TransactionError::Completing { .. }));
    }
    assert_eq!(setup.coordinator.tick(), Some(Duration::from_secs(10)));
    setup.partitions.heal();
    setup.partitions.calls();
    assert_eq!(setup.end("t", producer, Outcome::Commit).unwrap(), who(4000, 1));
    // The call that failed may have asked for syncs.
    let calls = [
        "commit orders-0 by 4000.1",
        "commit orders-1 by 4000.1",
        "flush orders-0",
        "flush orders-1",
    ];
    assert_eq!(setup.partitions.calls(), calls);
    assert_eq!(setup.coordinator.tick(), None);
}

#[test]
fn tick_completes_what_failed() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    setup.partitions.fail(orders(0));
    assert!(setup.end("t", producer, Outcome::Commit).is_err());
    setup.partitions.heal();
    assert_eq!(setup.coordinator.tick(), None);
    assert_eq!(setup.partitions.calls(), ["commit orders-0 by 4000.1", "flush orders-0"]);
    assert_eq!(setup.state("t"), TransactionState::CompleteCommit);
}

/// The topic may be deleted after the decision.
#[test]
fn partition_deleted_after_decision_is_skipped() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0), orders(1)]).unwrap();
    setup.partitions.fail(orders(0));
    assert!(setup.end("t", producer, Outcome::Commit).is_err());
    setup.partitions.heal();
    setup.partitions.deleted.lock().unwrap().insert(orders(0));
    assert_eq!(setup.end("t", producer, Outcome::Commit).unwrap(), who(4000, 1));
    assert_eq!(setup.partitions.calls()[0], "commit orders-1 by 4000.1");
}

/// Each change is stored before it takes effect, so a failed one can be repeated.
#[test]
fn failed_append_changes_nothing() {
    let setup = Setup::new();
    let full = || Rule::new(Operation::Write, Fault::Error(std::io::ErrorKind::StorageFull));
    let failing = |call: &dyn Fn() -> Result<()>| {
        let rule = setup.fs.add_rule(full());
        for _ in 0..2 {
            assert_eq!(call().unwrap_err().kind(), ErrorKind::StorageFull);
        }
        setup.fs.remove_rule(rule);
    };
    failing(&|| setup.init("t").map(drop)); // uses up two producer ids
    let producer = setup.init("t").unwrap();
    assert_eq!(producer, who(4002, 0));
    failing(&|| setup.add("t", producer, &[orders(0)]));
    assert_eq!(setup.state("t"), TransactionState::Empty);
    setup.add("t", producer, &[orders(0)]).unwrap();
    failing(&|| setup.end("t", producer, Outcome::Commit).map(drop));
    assert_eq!(setup.state("t"), TransactionState::Ongoing);
    let next = setup.end("t", producer, Outcome::Commit).unwrap();
    assert_eq!(next.epoch, 1);
    setup.add("t", next, &[orders(0)]).unwrap();
    // Neither a takeover nor a timeout raises the epoch twice.
    failing(&|| setup.init("t").map(drop));
    setup.clock.advance(MINUTE);
    let rule = setup.fs.add_rule(full());
    for _ in 0..2 {
        assert_eq!(setup.coordinator.tick(), Some(Duration::from_secs(10)));
    }
    setup.fs.remove_rule(rule);
    assert_eq!(setup.coordinator.tick(), None);
    assert_eq!(setup.history().last().unwrap(), "t CompleteAbort 4002.2");
    assert_eq!(setup.init("t").unwrap(), who(4002, 3));
}

#[test]
fn failed_completion_is_repeated() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    let fs = setup.fs.clone();
    setup.partitions.on_marker(
        orders(0),
        Box::new(move |_| {
            let full = Fault::Error(std::io::ErrorKind::StorageFull);
            fs.add_rule(Rule::new(Operation::Write, full).nth(1));
            Ok(())
        }),
    );
    let error = refusal(setup.end("t", producer, Outcome::Commit));
    let TransactionError::Completing { partition, .. } = error else { panic!("{error:?}") };
    assert_eq!(partition.to_string(), "__transaction_state-0");
    setup.partitions.heal();
    assert_eq!(setup.end("t", producer, Outcome::Commit).unwrap(), who(4000, 1));
}

/// A listener of a partition may panic, and the call unwinds.
#[test]
fn panic_gives_transaction_back() {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    setup.partitions.on_marker(orders(0), Box::new(|_| panic!("a listener")));
    let end = || setup.end("t", producer, Outcome::Commit);
    assert!(catch_unwind(AssertUnwindSafe(end)).is_err());
    setup.partitions.heal();
    assert_eq!(end().unwrap(), who(4000, 1));
}

/// While a marker is being written, other ids of the same partition of `__transaction_state` go
/// on, and calls for the same id wait or are told to repeat.
#[test]
fn slow_partition_delays_only_its_transaction() {
    let setup = &Setup::new();
    let [slow, quick] = ["slow", "quick"].map(|id| setup.init(id).unwrap());
    setup.add("slow", slow, &[orders(0)]).unwrap();
    setup.add("quick", quick, &[orders(1)]).unwrap();
    let (has_begun, begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    setup.partitions.on_marker(
        orders(0),
        Box::new(move |_| {
            has_begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok(())
        }),
    );
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| setup.end("slow", slow, Outcome::Commit));
        begun.recv().unwrap();
        assert_eq!(setup.end("quick", quick, Outcome::Commit).unwrap(), who(4001, 1));
        let busy = TransactionError::Concurrent { id: "slow".into() };
        assert_eq!(refusal(setup.init("slow")), busy);
        assert_eq!(refusal(setup.end("slow", slow, Outcome::Commit)), busy);
        assert_eq!(setup.coordinator.tick(), Some(Duration::from_secs(10)));
        let wait = Wait::UpTo(MINUTE);
        let init = move || setup.coordinator.init_producer_id("slow", MINUTE, None, wait);
        let waiting = scope.spawn(init);
        go_on.send(()).unwrap();
        assert_eq!(ending.join().unwrap().unwrap(), who(4000, 1));
        assert_eq!(waiting.join().unwrap().unwrap(), who(4000, 2));
    });
}
