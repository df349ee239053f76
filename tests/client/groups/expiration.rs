//! Committed offsets expire when their group no longer uses them, and not before.

use super::{GROUP, World, committed, config, member, secs, store_on, topic, world};
use crate::{NOW, append, at};
use annals::{ConsumerConfig, Store};
use std::collections::BTreeMap;

#[test]
fn unused_offsets_expire() {
    let World { store, clock, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..3);
    let admin = store.admin();
    let day = 86_400;
    let mut consumer = member(&store, config());
    consumer.poll(NOW).unwrap();
    consumer.commit().unwrap();
    let mut simple = store.consumer(ConsumerConfig::new("simple")).unwrap();
    simple.assign([at("orders", 0)]).unwrap();
    simple.seek(&at("orders", 0), 1).unwrap();
    simple.commit().unwrap();
    for _ in 0..20 {
        clock.advance(secs(day));
        consumer.poll(NOW).ok();
        simple.poll(NOW).unwrap();
        admin.expire_offsets().unwrap();
    }
    // In use, however long nothing is new.
    assert_eq!(admin.list_groups().unwrap().groups.len(), 2);
    consumer.close().unwrap();
    simple.commit().unwrap();
    simple.close().unwrap();
    clock.advance(secs(7 * day - 1));
    assert_eq!(admin.expire_offsets().unwrap(), 0);
    clock.advance(secs(1));
    assert_eq!(admin.expire_offsets().unwrap(), 3);
    assert!(admin.list_groups().unwrap().groups.is_empty());
    let mut again = member(&store, config());
    assert_eq!(again.poll(NOW).unwrap().len(), 3);
}

/// The group has been without members for a week, but for one consumer that reads and commits each
/// day.
#[test]
fn recent_commit_stays_when_group_empty() {
    let World { store, clock, .. } = world();
    let orders = topic(&store, "orders", 1);
    let mut left = member(&store, config());
    left.poll(NOW).unwrap();
    left.commit().unwrap();
    left.close().unwrap();
    let mut reads = store.consumer(config().enable_auto_commit(false)).unwrap();
    reads.assign([at("orders", 0)]).unwrap();
    for hours in [24, 24, 24, 24, 24, 24, 23] {
        clock.advance(secs(hours * 3600));
        append(&orders, 0, 0..1);
        assert_eq!(reads.poll(NOW).unwrap().len(), 1);
        reads.commit().unwrap();
    }
    drop(reads);
    clock.advance(secs(3700));
    store.admin().expire_offsets().unwrap();
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 7)]));
    clock.advance(secs(7 * 86_400 - 3700));
    store.admin().expire_offsets().unwrap();
    assert!(store.admin().describe_group(GROUP).is_err());
}

/// Offsets that were set from outside, for a consumer that reads and never commits, and is started
/// anew now and then.
#[test]
fn offsets_stay_while_assigned_consumer_polls() {
    let World { mut store, clock, fs } = world();
    let day = 86_400;
    append(&topic(&store, "orders", 2), 0, 0..10);
    let set = [0, 1].map(|partition| (at("orders", partition), 0.into()));
    store.admin().alter_offsets(GROUP, BTreeMap::from(set)).unwrap();
    let start = |store: &Store| {
        let mut consumer = store.consumer(config().enable_auto_commit(false)).unwrap();
        consumer.assign([at("orders", 0)]).unwrap();
        consumer
    };
    let mut reads = start(&store);
    for days in 0..40 {
        if days % 10 == 9 {
            drop((reads, store));
            clock.advance(secs(3 * day));
            store = store_on(&fs.kill(), &clock);
            reads = start(&store);
            assert_eq!(reads.poll(NOW).unwrap().len(), 10, "on day {days}");
        }
        clock.advance(secs(day));
        reads.poll(NOW).unwrap();
        store.admin().expire_offsets().unwrap();
    }
    // The other partition was read by no consumer.
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 0)]));
    drop(reads);
    clock.advance(secs(9 * day));
    assert!(store.admin().list_groups().unwrap().groups.is_empty());
}
