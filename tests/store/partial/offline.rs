//! A damaged partition is offline until it is repaired; the others work.

use super::{NOTHING, SEGMENT, config, damage, open, partitions, three_of_two};
use crate::{DATA, replace_file, values};
use annals::fs::{Fault, FaultFs, MemFs, Rule};
use annals::{
    AutoOffsetReset, ConsumerConfig, ErrorKind, Event, OfflinePartitions, OnCorruption,
    ProducerConfig, ProducerRecord, Record, Store, Topic,
};
use std::io;
use std::sync::Arc;
use support::{Heard, files, read_file};

fn strict(fs: &MemFs) -> annals::Result<Store> {
    Store::open(DATA, config(fs).offline_partitions(OfflinePartitions::Never))
}

/// A process that has too many files open is not to find a part of its topics. A topic whose
/// definition could not be read at that moment was offline, also where none may be.
#[test]
fn opening_fails_whole_without_descriptors() {
    let fs = MemFs::new();
    three_of_two(&fs);
    let faults = [Fault::Errno(24), Fault::Error(io::ErrorKind::Other)];
    for (fault, which) in
        faults.into_iter().zip([OfflinePartitions::Damaged, OfflinePartitions::Never])
    {
        for call in 1.. {
            let failing = FaultFs::new(fs.kill());
            let rule = failing.add_rule(Rule::any(fault.clone()).nth(call));
            let config = config(&fs).recovery_threads(1).offline_partitions(which);
            if let Ok(store) = Store::open(DATA, config.fs(failing.clone())) {
                for topic in store.topics() {
                    assert!(topic.unavailable_partitions().is_empty(), "{fault:?}, call {call}");
                }
            }
            if failing.hit_count(rule) == 0 {
                break;
            }
        }
    }
}

/// One damaged log, and all others open: it says what is wrong with it, until it is mended.
#[test]
fn only_damaged_partition_is_offline() {
    let fs = MemFs::new();
    three_of_two(&fs);
    let sound = damage(&fs, "data/orders-1");
    let before = files(&fs, "data/orders-1");
    assert_eq!(strict(&fs).unwrap_err().kind(), ErrorKind::Corrupt);
    for _ in 0..2 {
        let heard = Arc::new(Heard::default());
        let store = Store::open(DATA, config(&fs).listener(heard.clone())).unwrap();
        let offline = |event: &Event| matches!(event, Event::PartitionOffline { .. });
        assert_eq!(heard.0.lock().unwrap().iter().filter(|event| offline(event)).count(), 1);
        let orders = store.topic("orders").unwrap();
        assert_eq!(orders.partition_count(), 3);
        let error = orders.partition(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("orders-1"), "{error}");
        assert_eq!(orders.unavailable_partitions().into_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(store.topic("users").unwrap().partition(0).unwrap().offsets().start, 1);
        assert!(orders.partition(2).unwrap().recovery().clean_shutdown);
        orders.partition(0).unwrap().append("d").unwrap();
        orders.partition(2).unwrap().delete_before(2).unwrap();
        store.flush().unwrap();
        store.maintain().unwrap();
        assert!(store.reopen_partition("orders", 1, OnCorruption::Fail).is_err());
        store.close().unwrap();
        assert_eq!(files(&fs, "data/orders-1"), before);
    }
    replace_file(&fs, "data/orders-1", SEGMENT, &sound);
    let store = open(&fs).unwrap();
    let log = store.topic("orders").unwrap().partition(1).unwrap();
    // Neither its start nor that it had been closed in order was forgotten.
    assert_eq!((log.offsets().start, log.offsets().end), (1, 3));
}

#[test]
fn offline_partition_is_reopened_once_repaired() {
    let fs = MemFs::new();
    three_of_two(&fs);
    let sound = damage(&fs, "data/orders-1");
    let store = open(&fs).unwrap();
    let orders = store.topic("orders").unwrap();
    let producer = store.producer(ProducerConfig::default().linger(NOTHING)).unwrap();
    let record = |value: &str| ProducerRecord::new("orders", Record::new(value.to_owned()));
    let rejected = producer.send(record("x").partition(1)).unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Corrupt);
    for _ in 0..50 {
        producer.send(record("keyless")).unwrap().wait().unwrap();
    }
    let mut hit = 0;
    for key in 0..20 {
        match producer.send(ProducerRecord::new("orders", Record::new("x").key(key.to_string()))) {
            Ok(sent) => drop(sent.wait().unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                hit += 1;
            }
        }
    }
    assert!((1..20).contains(&hit), "{hit}");
    replace_file(&fs, "data/orders-1", SEGMENT, &sound);
    let log = store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    assert_eq!((log.offsets().start, log.offsets().end), (1, 3));
    assert!(orders.unavailable_partitions().is_empty());
    producer.send(record("again").partition(1)).unwrap().wait().unwrap();
    assert_eq!(log.offsets().end, 4);
    store.close().unwrap();
    let store = open(&fs).unwrap();
    assert!(store.topic("orders").unwrap().partition(1).unwrap().recovery().clean_shutdown);
}

#[test]
fn quarantine_touches_only_offline_partition() {
    let fs = MemFs::new();
    three_of_two(&fs);
    damage(&fs, "data/orders-1");
    let store = open(&fs).unwrap();
    let log = store.reopen_partition("orders", 1, OnCorruption::Quarantine).unwrap();
    assert!(!log.recovery().quarantined.is_empty());
    assert_eq!(log.offsets().end, 3);
    store.close().unwrap();
    assert!(strict(&fs).unwrap().topic("orders").unwrap().unavailable_partitions().is_empty());
}

/// The file that decides which topic a directory belongs to, or how long its records stay, is not
/// guessed at: the others open.
#[test]
fn damaged_small_file_takes_partition_offline() {
    let cases: [(&str, &str, &[u8], usize); 4] = [
        ("data/orders-0", "topic.properties", b"partitions=3\nstate=deletin", 3),
        ("data/orders-0", "partition.metadata", b"\0\0\0\0", 1),
        ("data/orders-1", "partition.metadata", b"version: 0\ntopic_id: x", 1),
        ("data/orders-2", "partition.metadata", b"version: 0\ntopic_id: J8aAPcfLQt2bqs1JT_rMgQ", 1),
    ];
    for (dir, name, bytes, offline) in cases {
        let fs = MemFs::new();
        three_of_two(&fs);
        let before = read_file(&fs, dir, name);
        replace_file(&fs, dir, name, bytes);
        assert!(strict(&fs).is_err());
        let store = open(&fs).unwrap();
        let orders = store.topic("orders").unwrap();
        assert_eq!(orders.unavailable_partitions().len(), offline, "{dir} {name}");
        store.topic("users").unwrap().partition(0).unwrap().append("x").unwrap();
        let changed = store.alter_topic("orders", orders.config());
        assert_eq!(changed.is_err(), name == "topic.properties");
        assert_eq!(read_file(&fs, dir, name), bytes);
        replace_file(&fs, dir, name, &before);
        for number in orders.unavailable_partitions().into_keys() {
            store.reopen_partition("orders", number, OnCorruption::Fail).unwrap();
        }
        assert_eq!(values_from(&orders, 1), ["b", "c"]);
        store.close().unwrap();
        assert!(strict(&fs).is_ok());
    }
}

fn values_from(topic: &Topic, partition: u32) -> Vec<String> {
    let log = topic.partition(partition).unwrap();
    let reader = log.reader(log.offsets().start).unwrap();
    reader.records().map(|record| record.unwrap().value_str().unwrap().to_owned()).collect()
}

#[test]
fn topic_is_deletable_with_offline_partition() {
    let fs = MemFs::new();
    three_of_two(&fs);
    damage(&fs, "data/orders-1");
    let store = open(&fs).unwrap();
    store.delete_topic("orders").unwrap();
    let again = store.create_topic("orders", partitions(3)).unwrap();
    assert_eq!(again.partition(1).unwrap().offsets().end, 0);
    store.close().unwrap();
    assert_eq!(values(&strict(&fs).unwrap().topic("orders").unwrap(), 1), Vec::<String>::new());
}

/// A member of a group is assigned all partitions, also one that is offline. It reads that as soon
/// as it is back.
#[test]
fn member_reads_partition_once_reopened() {
    let fs = MemFs::new();
    three_of_two(&fs);
    let sound = damage(&fs, "data/orders-1");
    let store = open(&fs).unwrap();
    let admin = store.admin();
    let earliest = ConsumerConfig::new("group").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut member = store.consumer(earliest).unwrap();
    member.subscribe(["orders"]).unwrap();
    let mut read = |expected: usize| {
        let mut found = 0;
        while found < expected {
            let polled = member.poll(NOTHING).unwrap();
            assert!(!polled.is_empty(), "{found} of {expected}");
            found += polled.len();
        }
        assert!(member.poll(NOTHING).unwrap().is_empty());
        member.assignment().len()
    };
    assert_eq!(read(4), 2);
    let generation = admin.describe_group("group").unwrap().generation;
    replace_file(&fs, "data/orders-1", SEGMENT, &sound);
    let log = store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    assert_eq!(read(2), 3);
    log.append("more").unwrap();
    assert_eq!(read(1), 3);
    assert_eq!(admin.describe_group("group").unwrap().generation, generation);
    drop(member);
    store.close().unwrap();
}
