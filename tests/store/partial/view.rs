//! A read-only store beside the process that writes.

use super::{NOTHING, config, open, partitions};
use crate::DATA;
use annals::fs::{Fs, MemFs};
use annals::{AutoOffsetReset, ConsumerConfig, ErrorKind, GroupState, Store, TopicPartition};
use std::path::Path;
use std::time::Duration;

/// Members live in the process that has the store open: once it is gone, a view must not show them
/// as if they still read.
#[test]
fn view_shows_no_members_after_exit() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    store.create_topic("orders", partitions(2)).unwrap();
    let state = |fs: &MemFs, group: &str| {
        let view = Store::open_read_only(DATA, config(fs)).unwrap();
        let described = view.describe_group(group).unwrap();
        let listed = view.list_groups().unwrap().groups;
        let listed = listed.iter().find(|listed| listed.group == group).unwrap();
        assert_eq!(listed.state, described.state);
        (described.state, described.members.len())
    };
    let member = |config: ConsumerConfig| {
        let mut consumer = store.consumer(config).unwrap();
        consumer.subscribe(["orders"]).unwrap();
        while consumer.assignment().is_empty() {
            consumer.poll(Duration::ZERO).unwrap();
        }
        consumer
    };
    let dynamic = member(ConsumerConfig::new("dynamic"));
    let fixed = member(ConsumerConfig::new("static").instance_id("one"));
    assert_eq!(state(&fs, "dynamic"), (GroupState::Stable, 1));
    let killed = fs.kill();
    assert_eq!(state(&killed, "dynamic"), (GroupState::Empty, 0));
    assert_eq!(state(&killed, "static"), (GroupState::Stable, 1));
    drop((dynamic, fixed));
}

/// The tool, or another viewer, sees the changes of the writer, and does not disturb it.
#[test]
fn view_follows_live_writer() {
    let fs = MemFs::new();
    assert!(Store::open_read_only("nowhere", config(&fs)).is_err());
    let store = open(&fs).unwrap();
    let view = Store::open_read_only(DATA, config(&fs)).unwrap();
    assert!(view.topics().unwrap().is_empty() && view.list_groups().unwrap().groups.is_empty());
    let orders = store.create_topic("orders", partitions(2)).unwrap();
    orders.partition(1).unwrap().append_all(["a", "b", "c"].map(Into::into)).unwrap();
    orders.partition(1).unwrap().delete_before(1).unwrap();
    assert_eq!(view.topics().unwrap(), ["orders"]);
    let log = view.partition("orders", 1).unwrap();
    assert_eq!(log.offsets().end, 3);
    orders.partition(1).unwrap().append("d").unwrap();
    assert_eq!(log.get(3).unwrap().unwrap().value_str(), Some("d"));
    assert_eq!(log.append("no").unwrap_err().kind(), ErrorKind::ReadOnly);
    let described = view.describe_topic("orders").unwrap();
    assert_eq!(described.id, orders.id());
    assert_eq!((described.partitions[1].start, described.partitions[1].end), (1, 4));
    assert_eq!(described.configs, store.admin().describe_topic("orders").unwrap().configs);

    let consumer = ConsumerConfig::new("group").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(consumer).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    let read: usize = (0..5).map(|_| consumer.poll(NOTHING).unwrap().len()).sum();
    assert_eq!(read, 3);
    let at = TopicPartition::new("orders", 1);
    store.admin().alter_offsets("other", [(at.clone(), 2.into())].into()).unwrap();
    let names: Vec<_> =
        view.list_groups().unwrap().groups.into_iter().map(|listed| listed.group).collect();
    assert_eq!(names, ["group", "other"]);
    let group = view.describe_group("group").unwrap();
    assert_eq!(group.members, store.admin().describe_group("group").unwrap().members);
    assert_eq!(view.describe_group("other").unwrap().offsets[&at].lag, Some(2));
    assert!(view.describe_group("none").is_err() && view.partition("none", 0).is_err());
    assert!(view.partition("../data/orders", 0).is_err());

    // Nothing was locked, and nothing is written.
    consumer.close().unwrap();
    store.close().unwrap();
    let all = || {
        let mut dirs = vec![fs.list(Path::new(DATA)).unwrap()];
        for dir in ["orders-0", "orders-1", "__consumer_offsets-0", "__consumer_offsets-1"] {
            dirs.push(fs.list(&Path::new(DATA).join(dir)).unwrap());
        }
        dirs
    };
    let before = all();
    assert_eq!(view.describe_group("other").unwrap().offsets[&at].lag, Some(2));
    view.describe_topic("orders").unwrap();
    assert_eq!(all(), before);
    let store = open(&fs).unwrap();
    store.delete_topic("orders").unwrap();
    assert_eq!(view.topics().unwrap(), ["__consumer_offsets"]);
}
