//! The topic of committed offsets: Kafka's bytes in it, and its size.

use super::{GROUP, World, committed, config, member, settle, store_on, topic, world};
use crate::{NOW, append, at};
use annals::{GroupState, OffsetAndMetadata, Record, StartAt, Store};
use std::collections::BTreeMap;

fn stored(store: &Store) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let partitions = store.topic("__consumer_offsets").unwrap().partitions();
    let records = partitions.iter().flat_map(|log| {
        let records = log.reader(StartAt::Earliest).unwrap().records();
        records.map(Result::unwrap).collect::<Vec<_>>()
    });
    let pairs = records
        .map(|record| (record.key.unwrap().to_vec(), record.value.map(|value| value.to_vec())));
    pairs.collect()
}

/// The bytes that Kafka's coordinator would write, spelled out.
#[test]
fn offsets_match_kafkas_bytes() {
    let World { store, .. } = world();
    topic(&store, "orders", 4);
    let committed = OffsetAndMetadata { offset: 0, leader_epoch: Some(7), metadata: "m".into() };
    let offsets = BTreeMap::from([(at("orders", 3), committed)]);
    let mut simple = store.consumer(config()).unwrap();
    simple.commit_offsets(offsets).unwrap();
    let key = [&[0, 1, 0, 2][..], b"g1", &[0, 6], b"orders", &[0, 0, 0, 3]].concat();
    let time = 1_700_000_000_000i64.to_be_bytes();
    let value = [&[0, 3][..], &[0; 8], &[0, 0, 0, 7], &[0, 1], b"m", &time].concat();
    assert_eq!(stored(&store), [(key.clone(), Some(value))]);

    let mut consumer = member(&store, config().client_id("c"));
    settle(&mut [&mut consumer]);
    let id = consumer.group_metadata().unwrap().member_id;
    let group = [&[0, 2, 0, 2][..], b"g1"].concat();
    let (found, value) = stored(&store).pop().unwrap();
    assert_eq!(found, group);
    let value = value.unwrap();
    let long = |text: &str| [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat();
    let head = [
        &[0, 3][..],
        &long("consumer"),
        &[0, 0, 0, 1],
        &long("range"),
        &long(&id),
        &time,
        &[0, 0, 0, 1],
        &long(&id),
        &(-1i16).to_be_bytes(),
        &long("c"),
        &long("/127.0.0.1"),
        &300_000i32.to_be_bytes(),
        &45_000i32.to_be_bytes(),
    ]
    .concat();
    assert_eq!(value[..head.len()], head);
    drop(consumer);
    store.admin().delete_group(GROUP).unwrap();
    let tombstones: Vec<_> = stored(&store).into_iter().filter(|(_, v)| v.is_none()).collect();
    assert_eq!(tombstones, [(key, None), (group, None)]);
}

#[test]
fn compaction_keeps_current_offsets() {
    let World { store, clock, fs } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..200);
    let mut consumer = member(&store, config());
    consumer.poll(NOW).unwrap();
    for offset in 0..100u64 {
        for partition in 0..2 {
            let to = OffsetAndMetadata::from(offset);
            consumer.commit_offsets(BTreeMap::from([(at("orders", partition), to)])).unwrap();
        }
    }
    let before = store.admin().describe_group(GROUP).unwrap().offsets;
    let offsets = store.topic("__consumer_offsets").unwrap();
    for log in offsets.partitions().iter() {
        log.roll().unwrap();
        log.compact().unwrap();
    }
    assert!(stored(&store).len() <= 3, "{}", stored(&store).len());
    let store = store_on(&fs.kill(), &clock);
    topic(&store, "orders", 2);
    topic(&store, "__consumer_offsets", 3);
    let after = store.admin().describe_group(GROUP).unwrap();
    assert_eq!((after.offsets, after.state), (before, GroupState::Empty));
}

/// The bytes of the largest partition of the offsets topic, which the first use of a group reads.
fn largest_offsets_log(store: &Store) -> u64 {
    let offsets = store.topic("__consumer_offsets").unwrap();
    offsets.partitions().iter().map(|log| log.stats().unwrap().bytes).max().unwrap()
}

/// A group that commits without end has one offset a partition, and its log is read whole when the
/// group is used first.
#[test]
fn offsets_log_stays_small() {
    let World { store, clock, fs } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..200);
    let mut consumer = member(&store, config());
    consumer.poll(NOW).unwrap();
    let (metadata, mut largest) = ("m".repeat(4096), 0);
    for round in 0..2500u64 {
        let metadata = metadata.clone();
        let to = OffsetAndMetadata { offset: round % 200, leader_epoch: None, metadata };
        consumer.commit_offsets(BTreeMap::from([(at("orders", 0), to)])).unwrap();
        if round % 50 == 0 {
            largest = largest.max(largest_offsets_log(&store));
        }
    }
    assert!(largest > 3 << 20 && largest < 5 << 20, "{largest}");
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 2499 % 200)]));

    // A log that an earlier program or a broker let grow is compacted when it is first read.
    let number = stored_in(&store);
    let log = store.topic("__consumer_offsets").unwrap().partition(number).unwrap();
    let (key, value) = stored(&store).pop().unwrap();
    for _ in 0..2500 {
        log.append(Record::new(value.clone().unwrap()).key(key.clone())).unwrap();
    }
    assert!(largest_offsets_log(&store) > 10 << 20);
    let store = store_on(&fs.kill(), &clock);
    let before = store.admin().describe_group(GROUP).unwrap();
    assert!(largest_offsets_log(&store) < 1 << 20, "{}", largest_offsets_log(&store));
    let store = store_on(&fs.kill(), &clock);
    assert_eq!(store.admin().describe_group(GROUP).unwrap().offsets, before.offsets);
}

/// The partition of the offsets topic that has anything.
fn stored_in(store: &Store) -> u32 {
    let offsets = store.topic("__consumer_offsets").unwrap();
    let number = offsets.partitions().iter().position(|log| log.offsets().end > 0).unwrap();
    u32::try_from(number).unwrap()
}
