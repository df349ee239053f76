use super::*;
use annals::TransactionCoordinatorConfig;

/// The producer of the process that is gone would hold readers back until its timeout.
#[test]
fn opening_ends_transactions_of_dead_producers() {
    let setup = Setup::new();
    let who = setup.init("billing");
    for partition in 0..2 {
        setup.send("billing", who, partition, "lost").unwrap();
    }
    assert!(!setup.is_decided());
    let after = setup.restarted();
    assert!(after.is_decided());
    assert_eq!((after.committed(0), after.committed(1)), (vec![], vec![]));
    let next = after.init("billing");
    assert_ne!(next.id, who.id);
    assert!(after.end("billing", who, Outcome::Commit).is_err());
    after.send("billing", next, 0, "paid").unwrap();
    after.end("billing", next, Outcome::Commit).unwrap();
    assert_eq!(after.committed(0), ["paid"]);
}

/// A clean shutdown loses nothing, so the producer id stays, and the epoch fences.
#[test]
fn clean_restart_fences_by_epoch() {
    let setup = Setup::new();
    let who = setup.init("billing");
    setup.send("billing", who, 0, "lost").unwrap();
    setup.store.close().unwrap();
    let after = setup.restarted();
    assert!(after.is_decided());
    let next = after.init("billing");
    assert_eq!((next.id, next.epoch), (who.id, who.epoch + 2));
    assert!(matches!(refusal(after.add("billing", who, 0)), TransactionError::Fenced { .. }));
}

/// The producers of a broker outlive it.
#[test]
fn resumed_transaction_can_be_committed() {
    let setup = Setup::new();
    let who = setup.init("billing");
    setup.send("billing", who, 0, "paid").unwrap();
    let disk = setup.disk.kill();
    let config = TransactionCoordinatorConfig::default().resume_ongoing(true);
    let config = Setup::config(disk.clone(), &setup.clock).transaction_coordinator(config);
    let after = Setup::open(disk, Arc::clone(&setup.clock), config);
    assert!(!after.is_decided());
    after.end("billing", who, Outcome::Commit).unwrap();
    assert_eq!(after.committed(0), ["paid"]);
}
