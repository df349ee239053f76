//! Commits: which are stored, which are rejected, and which survive a crash or a full disk.

use super::{
    Told, World, committed, config, member, numbers, refusal, secs, settle, store_on, topic, world,
};
use crate::{NOW, append, at, cooperative};
use annals::fs::{CrashState, Fault, FaultFs, Operation, Rule};
use annals::{Consumer, Error, ErrorKind, GroupError, OnCorruption, Store, StoreConfig};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// Offsets committed for a topic do not apply to a later topic of the same name, whatever other
/// topics the group has offsets for.
#[test]
fn recreated_topic_starts_without_offsets() {
    for polls_between in [true, false] {
        let World { store, clock, fs } = world();
        let orders = topic(&store, "orders", 2);
        append(&orders, 0, 0..10);
        append(&topic(&store, "users", 1), 0, 0..4);
        let mut consumer = store.consumer(config()).unwrap();
        consumer.subscribe(["orders", "users"]).unwrap();
        assert_eq!(settle(&mut [&mut consumer]), 14);
        consumer.commit().unwrap();
        assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 10), (1, 0)]));

        store.delete_topic("orders").unwrap();
        assert_eq!(committed(&store, "orders"), BTreeMap::new());
        if polls_between {
            settle(&mut [&mut consumer]);
            assert_eq!(consumer.assignment(), [at("users", 0)]);
        }
        let orders = topic(&store, "orders", 1);
        append(&orders, 0, 0..12);
        assert_eq!(settle(&mut [&mut consumer]), 12);
        assert_eq!(consumer.assignment(), [at("orders", 0), at("users", 0)]);
        consumer.commit().unwrap();
        assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 12)]));
        assert_eq!(committed(&store, "users"), BTreeMap::from([(0, 4)]));
        drop((consumer, store));

        let store = store_on(&fs.kill(), &clock);
        assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 12)]));
    }
}

/// A consumer that has read a deleted topic cannot commit for it: the commit would apply to the
/// next topic of that name.
#[test]
fn commit_skips_deleted_topic() {
    let World { store, .. } = world();
    append(&topic(&store, "orders", 1), 0, 0..10);
    append(&topic(&store, "users", 1), 0, 0..4);
    let mut consumer = store.consumer(config()).unwrap();
    consumer.subscribe(["orders", "users"]).unwrap();
    assert_eq!(settle(&mut [&mut consumer]), 14);
    store.delete_topic("orders").unwrap();
    topic(&store, "orders", 1);
    consumer.commit().unwrap();
    let late = BTreeMap::from([(at("orders", 0), 7.into())]);
    let error = consumer.commit_offsets(late).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rebalancing, "{error}");
    consumer.close().unwrap();
    assert_eq!(committed(&store, "orders"), BTreeMap::new());
    assert_eq!(committed(&store, "users"), BTreeMap::from([(0, 4)]));
}

/// A member that hung has lost its partitions, and cannot say how far it had come.
#[test]
fn commit_fails_after_max_poll_interval() {
    let World { store, clock, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..10);
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut slow = member(&store, config().max_poll_records(4));
    slow.set_listener(Told { name: "slow", log: log.clone(), panics: false });
    assert_eq!(slow.poll(NOW).unwrap().len(), 4);
    clock.advance(secs(299));
    slow.commit().unwrap();
    clock.advance(secs(1));
    let mut quick = member(&store, config());
    assert_eq!(quick.poll(NOW).unwrap().len(), 6);
    quick.commit().unwrap();
    for rejected in
        [slow.commit(), slow.commit_offsets(BTreeMap::from([(at("orders", 0), 2.into())]))]
    {
        let error = rejected.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rebalancing);
        assert!(matches!(refusal(error), GroupError::UnknownMemberId { .. }));
    }
    assert_eq!(quick.committed(&at("orders", 0)).unwrap(), Some(10.into()));
    log.lock().unwrap().clear();
    slow.poll(NOW).unwrap();
    assert_eq!(*log.lock().unwrap(), ["slow lost [0]"]);
    settle(&mut [&mut quick, &mut slow]);
    assert_eq!(numbers(&slow).len() + numbers(&quick).len(), 1);
    assert_eq!(quick.committed(&at("orders", 0)).unwrap(), Some(10.into()));
}

/// A member that did not take part in the rebalance yet cannot commit once the next generation has
/// begun.
#[test]
fn commit_fails_in_old_generation() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..10);
    let mut a = member(&store, cooperative(config()).enable_auto_commit(false));
    assert_eq!(a.poll(NOW).unwrap().len(), 10);
    let mut b = member(&store, cooperative(config()));
    b.poll(NOW).unwrap();
    a.commit().unwrap(); // members are asked to join, and the old generation holds
    settle(&mut [&mut a, &mut b]);
    let gone = at("orders", if numbers(&a) == [0] { 1 } else { 0 });
    let rejected = a.commit_offsets(BTreeMap::from([(gone, 3.into())])).unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Rebalancing);
    assert!(rejected.to_string().contains("not assigned"), "{rejected}");
}

#[test]
fn committed_offsets_survive_reopening_and_crash() {
    for (flushes, lost_power) in [(false, false), (true, true)] {
        let World { store, clock, fs } = world();
        let orders = topic(&store, "orders", 2);
        append(&orders, 0, 0..10);
        orders.partition(0).unwrap().flush().unwrap();
        let mut consumer = member(&store, config().flush_commits(flushes));
        assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
        consumer.commit_offsets(BTreeMap::from([(at("orders", 0), 6.into())])).unwrap();
        let fs = if lost_power { fs.crash(CrashState::SyncedOnly) } else { fs.kill() };
        let store = store_on(&fs, &clock);
        topic(&store, "orders", 2);
        topic(&store, "__consumer_offsets", 3);
        // The members ended with their process, and the group does not wait for them.
        let mut next = member(&store, config());
        assert_eq!(next.poll(NOW).unwrap().len(), 4);
        assert_eq!(next.committed(&at("orders", 0)).unwrap(), Some(6.into()));
        assert_eq!(numbers(&next), [0, 1]);
        assert!(next.group_metadata().unwrap().generation > 1);
    }
}

#[test]
fn full_disk_stops_commits_and_rebalances() {
    let World { store, fs, .. } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..10);
    let mut a = member(&store, config().max_poll_records(4));
    assert_eq!(a.poll(NOW).unwrap().len(), 4);
    a.commit().unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 4);
    // The rest of the last block is used up first.
    let fill = |consumer: &mut Consumer, offset: u64| {
        fs.set_capacity(0);
        let partition = consumer.assignment().remove(0);
        let offsets = BTreeMap::from([(partition, offset.into())]);
        loop {
            if let Err(full) = consumer.commit_offsets(offsets.clone()) {
                assert!(full.kind() == ErrorKind::StorageFull && full.is_retryable(), "{full}");
                break;
            }
        }
    };
    fill(&mut a, 4);
    assert_eq!(a.committed(&at("orders", 0)).unwrap(), Some(4.into()));
    assert_eq!(a.poll(NOW).unwrap().len(), 2);
    let mut b = member(&store, config());
    b.poll(NOW).unwrap();
    // It would commit before it revokes its partitions.
    for _ in 0..3 {
        assert_eq!(a.poll(NOW).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(b.poll(NOW).unwrap().len(), 0);
    }
    fs.set_capacity(u64::MAX);
    assert_eq!(settle(&mut [&mut a, &mut b]), 0);
    assert_eq!((numbers(&a).len(), numbers(&b).len()), (1, 1));
    assert_eq!(a.committed(&at("orders", 0)).unwrap(), Some(10.into()));

    // A generation whose assignment cannot be stored does not begin.
    let mut c = member(&store, config());
    let position = a.assignment().remove(0);
    let position = a.position(&position).unwrap();
    fill(&mut a, position);
    let mut failed = 0;
    for _ in 0..4 {
        for one in [&mut a, &mut b, &mut c] {
            match one.poll(NOW) {
                Ok(records) => assert!(records.is_empty()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 0 && c.assignment().is_empty());
    fs.set_capacity(u64::MAX);
    settle(&mut [&mut a, &mut b, &mut c]);
    let all = numbers(&a).len() + numbers(&b).len() + numbers(&c).len();
    assert_eq!(all, 2);
}

/// A panic of the file system in a commit was told as a closed log, although nothing had closed
/// it. The commit may be half written, so the partition goes on only after it was reopened.
#[test]
fn commit_panic_of_file_system_poisons_partition() {
    let World { store, fs, .. } = world();
    append(&topic(&store, "orders", 1), 0, 0..10);
    drop(store);
    let fs = FaultFs::new(fs);
    let store =
        Store::open("data", StoreConfig::default().fs(fs.clone()).maintenance(None)).unwrap();
    let mut consumer = member(&store, config());
    settle(&mut [&mut consumer]);
    let mut commit = |offset: u64| {
        let offsets = BTreeMap::from([(at("orders", 0), offset.into())]);
        catch_unwind(AssertUnwindSafe(|| consumer.commit_offsets(offsets))).unwrap()
    };
    commit(4).unwrap();
    let panics = Rule::new(Operation::Write, Fault::call(|_| panic!("on purpose")));
    let rule = fs.add_rule(panics.path("__consumer_offsets"));
    let is_poisoned = |error| matches!(error, Error::Poisoned { .. });
    assert!(is_poisoned(commit(5).unwrap_err()));
    fs.remove_rule(rule);
    assert!(is_poisoned(commit(6).unwrap_err()));
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 4)]));
    let offsets = store.topic("__consumer_offsets").unwrap().partitions();
    let poisoned = offsets.iter().position(|log| log.roll().is_err()).unwrap();
    store.reopen_partition("__consumer_offsets", poisoned as u32, OnCorruption::Fail).unwrap();
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 4)]));
    commit(7).unwrap();
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 7)]));
}
