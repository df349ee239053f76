use super::*;
use annals::fs::{Fault, FaultFs, Operation, Rule};
use annals::{AbortReason, ConsumerConfig, ErrorKind, Event, LogConfig, OnCorruption};
use annals::{TransactionCoordinatorConfig, TransactionState};
use std::io;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use support::Heard;

/// A store on a disk whose calls can be made to fail, with a listener.
fn failing() -> (Setup, FaultFs, Arc<Heard>) {
    let clock = Arc::new(ManualClock::new(START));
    let (disk, heard) = (MemFs::new(), Arc::new(Heard::default()));
    let fs = FaultFs::new(disk.clone());
    let config = Setup::config(fs.clone(), &clock).listener(Arc::clone(&heard) as _);
    let setup = Setup::open(disk, clock, config);
    setup.store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    (setup, fs, heard)
}

/// What a listener heard of transactions.
fn news(heard: &Heard) -> Vec<Event> {
    let mut all = std::mem::take(&mut *heard.0.lock().unwrap());
    all.retain(|event| {
        matches!(
            event,
            Event::TransactionAborted { .. }
                | Event::TransactionCompleted { .. }
                | Event::MarkerSkipped { .. }
                | Event::MarkerDelayed { .. }
        )
    });
    all
}

/// The transaction is decided; the partition that cannot be written to gets its marker later, and
/// other transactions go on.
#[test]
fn failing_partition_delays_only_its_transaction() {
    let (setup, fs, heard) = failing();
    let (who, other) = (setup.init("billing"), setup.init("shipping"));
    for partition in 0..2 {
        setup.send("billing", who, partition, "paid").unwrap();
    }
    setup.send("shipping", other, 2, "sent").unwrap();
    let full = Fault::Error(io::ErrorKind::StorageFull);
    fs.add_rule(Rule::new(Operation::Write, full).path("orders-1"));
    let error = setup.end("billing", who, Outcome::Commit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    let text = error.to_string();
    assert!(
        text.starts_with(
            "the transaction of `billing` is committed, but partition orders-1 cannot get its marker yet"
        ),
        "{text}"
    );
    assert_eq!((setup.committed(0), setup.committed(1)), (vec!["paid".into()], vec![]));
    let delayed = news(&heard);
    assert!(matches!(&delayed[..], [Event::MarkerDelayed { id, partition, .. }]
        if id == "billing" && *partition == at(1)));
    setup.end("shipping", other, Outcome::Commit).unwrap();
    assert_eq!(setup.committed(2), ["sent"]);
    // The next attempt comes after a while.
    assert_eq!(setup.transactions.tick(), Some(Duration::from_secs(10)));
    fs.clear_rules();
    setup.clock.advance(Duration::from_secs(10));
    heard.0.lock().unwrap().clear();
    assert_eq!(setup.transactions.tick(), None);
    assert_eq!(setup.committed(1), ["paid"]);
    let done = Event::TransactionCompleted { id: "billing".into(), committed: true };
    assert_eq!(news(&heard), [done]);
    // The producer learns the same by repeating its call.
    assert_eq!(setup.end("billing", who, Outcome::Commit).unwrap().epoch, who.epoch + 1);
}

/// The store has no maintainer, so each call ends what is due.
#[test]
fn timed_out_transaction_is_aborted() {
    let (setup, _, heard) = failing();
    let (who, other) = (setup.init("billing"), setup.init("shipping"));
    setup.send("billing", who, 0, "lost").unwrap();
    setup.clock.advance(MINUTE);
    setup.send("shipping", other, 0, "sent").unwrap();
    let reason = AbortReason::TimedOut;
    assert_eq!(news(&heard), [Event::TransactionAborted { id: "billing".into(), reason }]);
    setup.end("shipping", other, Outcome::Commit).unwrap();
    assert_eq!(setup.committed(0), ["sent"]);
    let expired = refusal(setup.end("billing", who, Outcome::Commit));
    let text = "the transaction of `billing` was aborted, because it took longer than its timeout of 60s; abort it and begin it again, or raise `transaction_timeout`";
    assert_eq!(expired.to_string(), text);
    assert_eq!(Error::from(expired).kind(), ErrorKind::Abortable);
    let next = setup.end("billing", who, Outcome::Abort).unwrap();
    setup.send("billing", next, 0, "paid").unwrap();
    setup.end("billing", next, Outcome::Commit).unwrap();
    assert_eq!(setup.committed(0), ["sent", "paid"]);
}

/// In a store with a maintainer, its rounds do that. The calls of others are not delayed.
#[test]
fn maintainer_ends_what_is_due() {
    let clock = Arc::new(ManualClock::new(START));
    let disk = MemFs::new();
    let config = Setup::config(disk.clone(), &clock).maintenance(Some(Default::default()));
    let setup = Setup::open(disk, clock, config);
    setup.store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    let who = setup.init("billing");
    setup.send("billing", who, 0, "lost").unwrap();
    setup.clock.advance(2 * MINUTE);
    let state = || setup.transactions.describe("billing").unwrap().state;
    support::until(|| state() == TransactionState::CompleteAbort);
    assert!(setup.is_decided() && setup.committed(0).is_empty());
    // Its records are there, so that it was the marker which ended it.
    let log = setup.store.topic("orders").unwrap().partition(0).unwrap();
    assert_eq!((log.offsets().start, log.offsets().end), (0, 2));
}

#[test]
fn takeover_aborts_and_fences() {
    let (setup, _, heard) = failing();
    let who = setup.init("billing");
    setup.send("billing", who, 0, "lost").unwrap();
    let next = setup.transactions.fence("billing", Wait::No).unwrap();
    assert_eq!(next.epoch, who.epoch + 2);
    let reason = AbortReason::Fenced;
    assert_eq!(news(&heard), [Event::TransactionAborted { id: "billing".into(), reason }]);
    assert!(setup.is_decided() && setup.committed(0).is_empty());
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let error = refusal(setup.end("billing", who, outcome));
        assert!(matches!(error, TransactionError::Fenced { .. }), "{error}");
    }
    let nothing = setup.transactions.fence("shipping", Wait::No);
    assert!(matches!(refusal(nothing), TransactionError::UnknownId { .. }));
}

/// The commit is refused, because records are gone, and the abort is not.
#[test]
fn transaction_over_deleted_topic_can_only_be_aborted() {
    let (setup, _, heard) = failing();
    setup.store.create_topic("gone", TopicConfig::default()).unwrap();
    let mut who = setup.init("billing");
    let gone = [TopicPartition::new("gone", 0)];
    setup.send("billing", who, 0, "lost").unwrap();
    setup.transactions.add_partitions("billing", who, &gone, V2, Wait::No).unwrap();
    setup.store.delete_topic("gone").unwrap();
    let error = refusal(setup.end("billing", who, Outcome::Commit));
    let text =
        "partition gone-0 was deleted during the transaction of `billing`; abort the transaction";
    assert_eq!((error.to_string(), Error::from(error).kind()), (text.into(), ErrorKind::Abortable));
    who = setup.end("billing", who, Outcome::Abort).unwrap();
    let (id, partition) = ("billing".into(), gone[0].clone());
    assert_eq!(news(&heard), [Event::MarkerSkipped { id, partition }]);
    setup.send("billing", who, 0, "paid").unwrap();
    setup.end("billing", who, Outcome::Commit).unwrap();
    assert_eq!(setup.committed(0), ["paid"]);
}

/// The new topic gets a marker that ends nothing.
#[test]
fn transaction_over_recreated_topic_ends() {
    let (setup, ..) = failing();
    let mut who = setup.init("billing");
    setup.send("billing", who, 0, "lost").unwrap();
    setup.store.delete_topic("orders").unwrap();
    setup.store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    who = setup.end("billing", who, Outcome::Commit).unwrap();
    assert!(setup.is_decided() && setup.committed(0).is_empty());
    setup.send("billing", who, 0, "paid").unwrap();
    setup.end("billing", who, Outcome::Commit).unwrap();
    assert_eq!(setup.committed(0), ["paid"]);
}

/// The partition that stores the transaction goes offline while the markers are written. Once it
/// is back, the next attempt completes the transaction.
#[test]
fn transaction_is_completed_after_outage_of_state() {
    let (setup, fs, _) = failing();
    let who = setup.init("billing");
    setup.send("billing", who, 0, "paid").unwrap();
    let state = setup.transactions.list().unwrap()[0].partition;
    let (entered, is_entered) = channel();
    let (leave, may_leave) = channel();
    let may_leave = Mutex::new(may_leave);
    let pause = Fault::call(move |_| {
        entered.send(()).unwrap();
        may_leave.lock().unwrap().recv().unwrap();
    });
    fs.add_rule(Rule::new(Operation::Write, pause).path("orders-0").nth(1));
    let reopen =
        || setup.store.reopen_partition("__transaction_state", state, OnCorruption::Quarantine);
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| setup.end("billing", who, Outcome::Commit));
        is_entered.recv().unwrap();
        let fault = Fault::Error(io::ErrorKind::Other);
        fs.add_rule(Rule::new(Operation::Open, fault).path(format!("state-{state}/0")));
        reopen().unwrap_err();
        leave.send(()).unwrap();
        let refused = refusal(ended.join().unwrap());
        assert!(matches!(refused, TransactionError::Completing { .. }), "{refused}");
    });
    fs.clear_rules();
    reopen().unwrap();
    assert_eq!(setup.end("billing", who, Outcome::Commit).unwrap().epoch, who.epoch + 1);
    assert_eq!(setup.committed(0), ["paid"]);
}

/// A round of the maintainer finds no partition that stores transactions. Later rounds find the
/// one that was reopened.
#[test]
fn maintainer_ends_transactions_after_outage_of_state() {
    let clock = Arc::new(ManualClock::new(START));
    let disk = MemFs::new();
    let one = TransactionCoordinatorConfig::default().state_partitions(1);
    let config = Setup::config(disk.clone(), &clock).maintenance(Some(Default::default()));
    let setup = Setup::open(disk, clock, config.transaction_coordinator(one));
    setup.store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    let who = setup.init("billing");
    setup.store.topic("__transaction_state").unwrap().partition(0).unwrap().close().unwrap();
    // Each pass over it shows that a round went on.
    let short = LogConfig::default().retention_age(MINUTE);
    let witness = setup.store.create_topic("witness", TopicConfig::default().log(short)).unwrap();
    let witness = witness.partition(0).unwrap();
    for end in 1..4 {
        witness.append("old").unwrap();
        witness.roll().unwrap();
        setup.clock.advance(2 * MINUTE);
        support::until(|| witness.offsets().start == end);
    }
    setup.store.reopen_partition("__transaction_state", 0, OnCorruption::Quarantine).unwrap();
    setup.send("billing", who, 0, "lost").unwrap();
    setup.clock.advance(2 * MINUTE);
    let state = || setup.transactions.describe("billing").unwrap().state;
    support::until(|| state() == TransactionState::CompleteAbort);
}

/// Other processes may have copies of the topics, so that readers see no record that they lack.
/// The store that decides transactions and groups has all of its own records.
#[test]
fn replicated_state_survives_restart() {
    let clock = Arc::new(ManualClock::new(START));
    let open = |disk: &MemFs| {
        let config = StoreConfig::default().log_defaults(LogConfig::default().replicated(true));
        let config = config.fs(disk.clone()).maintenance(None).recovery_threads(1);
        let config = config.clock(Arc::clone(&clock) as Arc<dyn Clock>);
        Setup::open(disk.clone(), Arc::clone(&clock), config)
    };
    let disk = MemFs::new();
    let setup = open(&disk);
    setup.store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    let who = setup.init("billing");
    setup.send("billing", who, 0, "paid").unwrap();
    let group = |setup: &Setup| setup.store.consumer(ConsumerConfig::new("billing")).unwrap();
    group(&setup).commit_offsets([(at(0), 1.into())]).unwrap();
    let setup = open(&disk.kill());
    assert_eq!(group(&setup).committed(&at(0)).unwrap(), Some(1.into()));
    let listed = setup.transactions.list().unwrap();
    assert_eq!(listed.len(), 1);
    // Its producer ended with the process.
    let state = setup.transactions.describe("billing").unwrap().state;
    assert_eq!(state, TransactionState::CompleteAbort);
}
