use super::*;
use annals::{LogConfig, TransactionCoordinatorConfig};

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

/// A record of the id as a broker stores it, with its last epoch.
fn stored_with_last_epoch(id: &str, producer_id: i64) -> (Vec<u8>, Vec<u8>) {
    let mut key = vec![0, 0];
    key.extend((id.len() as u16).to_be_bytes());
    key.extend(id.as_bytes());
    let mut value = vec![0, 0];
    value.extend(producer_id.to_be_bytes());
    value.extend((i16::MAX - 1).to_be_bytes());
    value.extend(60_000i32.to_be_bytes());
    value.push(0);
    value.extend((-1i32).to_be_bytes());
    value.extend(1_700_000_000_000i64.to_be_bytes());
    value.extend((-1i64).to_be_bytes());
    (key, value)
}

/// The markers have an epoch that no producer gets, and the next transaction another producer id.
#[test]
fn epoch_exhaustion_takes_new_id() {
    let setup = Setup::new();
    let config = TransactionCoordinatorConfig::default().state_partitions(1);
    let config = Setup::config(setup.disk.clone(), &setup.clock).transaction_coordinator(config);
    setup.store.close().unwrap();
    let setup = Setup::open(setup.disk, setup.clock, config.clone());
    setup.init("other");
    let log = setup.store.topic("__transaction_state").unwrap().partition(0).unwrap();
    let (key, value) = stored_with_last_epoch("billing", 4000);
    log.append(annals::Record::new(value).key(key)).unwrap();
    setup.store.close().unwrap();
    let setup = Setup::open(setup.disk, setup.clock, config);
    let old = ProducerIdentity { id: 4000, epoch: i16::MAX - 1 };
    setup.send("billing", old, 0, "paid").unwrap();
    let new = setup.end("billing", old, Outcome::Commit).unwrap();
    assert_eq!(setup.end("billing", old, Outcome::Commit).unwrap(), new);
    assert_eq!(new.epoch, 0);
    assert_ne!(new.id, old.id);
    assert!(matches!(
        refusal(setup.add("billing", old, 0)),
        TransactionError::InvalidIdMapping { .. }
    ));
    setup.send("billing", new, 0, "paid again").unwrap();
    let next = setup.end("billing", new, Outcome::Commit).unwrap();
    assert_eq!((next.id, next.epoch), (new.id, 1));
    assert_eq!(setup.committed(0), ["paid", "paid again"]);
}

/// A transaction that no id has is found and aborted; one that an id has is not touched.
#[test]
fn hanging_transaction_is_found_and_aborted() {
    let setup = Setup::new();
    let who = setup.init("billing");
    setup.send("billing", who, 0, "paid").unwrap();
    let foreign = ProducerIdentity { id: 4000, epoch: 3 };
    let log = setup.store.topic("orders").unwrap().partition(1).unwrap();
    let guard = log.begin_verification(foreign, 0, V2).unwrap();
    log.append_verified(batch(foreign, 0, "from nowhere"), guard).unwrap();
    let found = setup.transactions.find_hanging(Duration::ZERO).unwrap();
    let [(partition, hanging)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((partition, hanging.producer_id, hanging.first_offset), (&at(1), 4000, 0));
    assert!(setup.transactions.find_hanging(MINUTE).unwrap().is_empty());
    let mut pending = *hanging;
    pending.producer_id = who.id;
    let error = refusal(setup.transactions.abort_hanging(&at(0), &pending));
    let text = "the transaction in partition orders-0 does not hang, because it belongs to `billing`; to abort it, fence that producer with `Transactions::fence`";
    assert_eq!(error.to_string(), text);
    setup.transactions.abort_hanging(partition, hanging).unwrap();
    assert!(setup.transactions.abort_hanging(partition, hanging).is_err());
    setup.end("billing", who, Outcome::Commit).unwrap();
    assert!(setup.is_decided() && setup.committed(1).is_empty());
}

/// A marker that a loss of power took is written again, with the stored outcome.
#[test]
fn lost_marker_is_written_again() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let setup = Setup::new();
        let who = setup.init("billing");
        setup.send("billing", who, 0, "kept").unwrap();
        setup.store.flush().unwrap();
        setup.end("billing", who, outcome).unwrap();
        let state = setup.store.topic("__transaction_state").unwrap();
        for log in state.partitions().iter() {
            log.flush().unwrap();
        }
        let disk = setup.disk.crash(annals::fs::CrashState::SyncedOnly);
        let after = Setup::over(disk, Arc::clone(&setup.clock));
        assert!(after.is_decided());
        let kept = if outcome == Outcome::Commit { vec!["kept".to_owned()] } else { vec![] };
        assert_eq!(after.committed(0), kept);
    }
}

#[test]
fn ids_are_listed_with_their_states() {
    let setup = Setup::new();
    assert!(setup.transactions.list().unwrap().is_empty());
    let who = setup.init("billing");
    setup.init("audit");
    setup.send("billing", who, 1, "paid").unwrap();
    let listed = setup.transactions.list().unwrap();
    let listed: Vec<_> = listed.iter().map(|one| (&*one.transactional_id, one.state)).collect();
    let states = [annals::TransactionState::Empty, annals::TransactionState::Ongoing];
    assert_eq!(listed, [("audit", states[0]), ("billing", states[1])]);
    let described = setup.transactions.describe("billing").unwrap();
    assert_eq!(described.partitions.into_iter().collect::<Vec<_>>(), [at(1)]);
    assert_eq!((described.producer_id, described.timeout_ms), (who.id, 60_000));
    setup.transactions.verify("billing", who, &[at(1)], Wait::No).unwrap();
    let error = refusal(setup.transactions.verify("billing", who, &[at(1), at(2)], Wait::No));
    let text = "partition orders-2 is not part of an ongoing transaction of `billing`; abort the transaction and begin it again, and add the partition before its first batch";
    assert_eq!(error.to_string(), text);
}

/// Nothing raises the high watermark of the topics that the store keeps for itself. Read up to it,
/// a coordinator would forget all that it has decided.
#[test]
fn coordinators_read_beyond_high_watermark() {
    let clock = Arc::new(ManualClock::new(START));
    let config = |disk: MemFs| {
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let log = LogConfig::default().replicated(true).fs(disk).clock(clock);
        StoreConfig::default().log_defaults(log).maintenance(None)
    };
    let disk = MemFs::new();
    let setup = Setup::open(disk.clone(), Arc::clone(&clock), config(disk));
    setup.store.create_topic("orders", TopicConfig::default().partitions(1)).unwrap();
    let first = setup.init("billing");
    let commit = [(at(0), 7.into())].into();
    setup.store.admin().alter_offsets("group", commit).unwrap();
    setup.store.close().unwrap();
    let disk = setup.disk;
    let setup = Setup::open(disk.clone(), Arc::clone(&clock), config(disk));
    let second = setup.init("billing");
    assert_eq!((second.id, second.epoch), (first.id, first.epoch + 1));
    let described = setup.store.admin().describe_group("group").unwrap();
    assert_eq!(described.offsets[&at(0)].committed.offset, 7);
}
