//! Producers, consumers and groups continue with the reopened partition.

use super::{consumer, fail_sync, open, poll, producer, producer_with, send, store, stored};
use annals::fs::{Fault, Fs, MemFs, OpenMode, Operation, Rule};
use annals::{
    Acks, AutoOffsetReset, ConsumerConfig, Error, ErrorKind, GroupCoordinatorConfig, OnCorruption,
    ProducerConfig, ProducerRecord, Record, Store, StoreConfig, Timestamp, TopicConfig,
    TopicPartition,
};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, seeds};

#[test]
fn clients_continue_after_reopening() {
    let (_, store) = store();
    let (producer, mut consumer) = (producer(&store), consumer(&store));
    send(&producer, "a").unwrap();
    store.topic("orders").unwrap().partition(1).unwrap().close().unwrap();
    for rejected in [send(&producer, "b").unwrap_err(), poll(&mut consumer).map(drop).unwrap_err()]
    {
        assert_eq!(rejected.kind(), ErrorKind::Closed);
        let advice = r#"Store::reopen_partition("orders", 1, "#;
        assert!(rejected.to_string().contains(advice), "{rejected}");
    }
    assert!(
        store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap().recovery().clean_shutdown
    );
    send(&producer, "c").unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a", "c"]);
}

/// While the partition is between two logs, sends wait, and a poll finds nothing.
#[test]
fn clients_wait_while_partition_reopens() {
    let (fs, store) = store();
    let producer = producer(&store);
    let consumer = Arc::new(Mutex::new(consumer(&store)));
    send(&producer, "a").unwrap();
    let (handles, polled) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&consumer));
    let (sender, sent) = (producer.clone(), Arc::clone(&handles));
    let meanwhile = Fault::call(move |_| {
        let record = ProducerRecord::new("orders", Record::new("b")).partition(1);
        sent.lock().unwrap().push(sender.send(record).unwrap());
        let mut consumer = polled.lock().unwrap();
        assert!(poll(&mut consumer).unwrap().is_empty());
        let at = TopicPartition::new("orders", 1);
        assert_eq!(consumer.position(&at).unwrap(), 0);
        let rejected = [
            consumer.seek(&at, 0).unwrap_err(),
            consumer.lag(&at).unwrap_err(),
            consumer.offsets_for_times([(at, Timestamp::from_millis(0))]).unwrap_err(),
        ];
        assert!(rejected.iter().all(Error::is_retryable), "{rejected:?}");
    });
    let rule =
        fs.add_rule(Rule::new(Operation::Open, meanwhile).path("orders-1/partition.metadata"));
    store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    assert!(fs.hit_count(rule) > 0);
    fs.clear_rules();
    for handle in handles.lock().unwrap().drain(..) {
        handle.wait().unwrap();
    }
    let mut consumer = consumer.lock().unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a", "b"]);
    // It may commit where it is, too.
    consumer.commit().unwrap();
}

/// A partition that is closed in order is back before a client has to fail a call.
#[test]
fn working_clients_survive_reopening() {
    const RECORDS: usize = 200;
    let (_, store) = store();
    for acks in [Acks::Written, Acks::Flushed] {
        let (producer, mut consumer) = (producer_with(&store, acks), consumer(&store));
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                (0..RECORDS).for_each(|n| send(&producer, &n.to_string()).unwrap());
            });
            let polling = scope.spawn(|| {
                let mut polled = Vec::new();
                while polled.len() < RECORDS {
                    let records = consumer.poll(Duration::from_secs(60)).unwrap();
                    assert!(!records.is_empty(), "{} came", polled.len());
                    polled.extend(
                        records.iter().map(|record| record.value_str().unwrap().to_owned()),
                    );
                }
                polled
            });
            let reopening = scope.spawn(|| {
                for _ in 0..50 {
                    store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
                }
            });
            while !sending.is_finished() || !reopening.is_finished() {
                store.flush().unwrap();
                store.maintain().unwrap();
            }
            reopening.join().unwrap();
            sending.join().unwrap();
            let polled = polling.join().unwrap();
            assert!(polled.iter().cloned().eq((0..RECORDS).map(|n| n.to_string())));
        });
    }
}

/// The members of a group are in memory, and what it has committed is in a log that may fail like
/// any other.
#[test]
fn group_continues_when_offsets_reopen() {
    let (fs, store) = store();
    let producer = producer(&store);
    let config = ConsumerConfig::new("billing")
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .enable_auto_commit(false)
        .flush_commits(true);
    let mut consumer = store.consumer(config.clone()).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    send(&producer, "a").unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a"]);
    consumer.commit().unwrap();
    let generation = consumer.group_metadata().unwrap().generation;
    let at = TopicPartition::new("orders", 1);
    for (round, value) in (2..).zip(["b", "c", "d"]) {
        if round == 3 {
            let rule = Rule::new(Operation::SyncData, Fault::Errno(5)).or(Operation::SyncAll);
            let rule = fs.add_rule(rule.path("__consumer_offsets").nth(1));
            consumer.commit_offsets([(at.clone(), 1.into())]).unwrap_err();
            fs.remove_rule(rule);
            assert_eq!(consumer.commit().unwrap_err().kind(), ErrorKind::Poisoned);
        }
        for number in 0..2 {
            store.reopen_partition("__consumer_offsets", number, OnCorruption::Fail).unwrap();
        }
        send(&producer, value).unwrap();
        assert_eq!(poll(&mut consumer).unwrap(), [value]);
        consumer.commit().unwrap();
        assert_eq!(consumer.committed(&at).unwrap().unwrap().offset, round);
        assert_eq!(consumer.group_metadata().unwrap().generation, generation);
    }
    store.close().unwrap();
    let store = open(&fs);
    let described = store.admin().describe_group("billing").unwrap();
    assert_eq!(described.offsets[&at].committed.offset, 4);
}

/// The members still know the group state that the reopened log has lost: a crash must not find
/// less than they do.
#[test]
fn reopening_restores_lost_group_state() {
    let disk = MemFs::new();
    let config = || {
        let groups = GroupCoordinatorConfig::default().offsets_partitions(1);
        StoreConfig::default().fs(disk.clone()).maintenance(None).group_coordinator(groups)
    };
    let store = Store::open("data", config()).unwrap();
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    let member = ConsumerConfig::new("billing").instance_id("one");
    let mut consumer = store.consumer(member).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    assert!(poll(&mut consumer).unwrap().is_empty());
    let generation = consumer.group_metadata().unwrap().generation;
    store.topic("__consumer_offsets").unwrap().partition(0).unwrap().close().unwrap();
    let path = Path::new("data/__consumer_offsets-0/00000000000000000000.log");
    disk.open(path, OpenMode::ReadWrite).unwrap().set_len(0).unwrap();
    store.reopen_partition("__consumer_offsets", 0, OnCorruption::Truncate).unwrap();
    assert!(poll(&mut consumer).unwrap().is_empty());
    let killed = StoreConfig::default().fs(disk.kill());
    let view = Store::open_read_only("data", killed).unwrap();
    let stored = view.describe_group("billing").unwrap();
    assert_eq!((stored.members.len(), stored.generation), (1, generation));
}

/// A topic that was deleted and created again has the name of the earlier one, and none of its
/// records.
#[test]
fn pending_records_stay_with_deleted_topic() {
    let (_, store) = store();
    let config = ProducerConfig::default().linger(Duration::from_secs(60));
    let producer = store.producer(config).unwrap();
    let mut consumer = consumer(&store);
    let record = ProducerRecord::new("orders", Record::new("old")).partition(1);
    let waiting = producer.send(record).unwrap();
    store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    store.delete_topic("orders").unwrap();
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    producer.flush().ok();
    assert_eq!(waiting.wait().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(stored(&store).is_empty());
    let committed = consumer.commit_offsets([(TopicPartition::new("orders", 1), 1.into())]);
    assert_eq!(committed.unwrap_err().kind(), ErrorKind::Rebalancing);
}

/// Whatever happens to the log in between, a record whose send returned `Ok` is polled once, in
/// order.
#[test]
fn acknowledged_records_are_polled_once() {
    for seed in seeds("ANNALS_REOPENING_SEEDS", 40) {
        let mut chance = Chance(seed);
        let (fs, store) = store();
        let acks = if seed % 2 == 0 { Acks::Written } else { Acks::Flushed };
        let (producer, mut consumer) = (producer_with(&store, acks), consumer(&store));
        let (mut acknowledged, mut polled) = (Vec::new(), Vec::new());
        for step in 0..60 {
            let topic = store.topic("orders").unwrap();
            match chance.below(10) {
                0..=4 => {
                    let value = step.to_string();
                    if send(&producer, &value).is_ok() {
                        acknowledged.push(value);
                    }
                }
                5..=6 => polled.extend(poll(&mut consumer).unwrap_or_default()),
                7 => fail_sync(&fs),
                8 => drop(topic.partition(1).and_then(|log| log.close())),
                _ => {
                    fs.clear_rules();
                    let how = [OnCorruption::Fail, OnCorruption::Quarantine];
                    let how = how[usize::try_from(chance.below(2)).unwrap()];
                    store.reopen_partition("orders", 1, how).unwrap();
                }
            }
        }
        fs.clear_rules();
        store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
        polled.extend(poll(&mut consumer).unwrap());
        assert_eq!(polled, stored(&store), "seed {seed}");
        polled.retain(|value| acknowledged.contains(value));
        assert_eq!(polled, acknowledged, "seed {seed}");
    }
}
