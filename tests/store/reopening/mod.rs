//! One partition of a store is closed and opened again while everything else continues.

mod clients;
mod partition;
mod positions;

use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    Acks, AutoOffsetReset, Consumer, ConsumerConfig, GroupCoordinatorConfig, LogConfig, Producer,
    ProducerConfig, ProducerRecord, Record, Store, StoreConfig, TopicConfig, TopicPartition,
};
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

fn open(fs: &FaultFs) -> Store {
    let groups = GroupCoordinatorConfig::default().offsets_partitions(2);
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).group_coordinator(groups);
    Store::open("data", config).unwrap()
}

/// A store with two partitions of `orders`. Each append is synced, so that a sync may fail after
/// the write.
fn store() -> (FaultFs, Store) {
    let fs = FaultFs::new(MemFs::new());
    let store = open(&fs);
    let log = LogConfig::default().flush_messages(1);
    store.create_topic("orders", TopicConfig::default().partitions(2).log(log)).unwrap();
    (fs, store)
}

fn producer(store: &Store) -> Producer {
    producer_with(store, Acks::Written)
}

fn producer_with(store: &Store, acks: Acks) -> Producer {
    let config = ProducerConfig::default().linger(NOW).retry_backoff(Duration::from_millis(1));
    store.producer(config.acks(acks)).unwrap()
}

fn send(producer: &Producer, value: &str) -> annals::Result<()> {
    let record = ProducerRecord::new("orders", Record::new(value.to_owned())).partition(1);
    producer.send(record)?.wait().map(drop)
}

/// Reads partition 1 from the end that it has now. Nothing is committed.
fn consumer(store: &Store) -> Consumer {
    let config = ConsumerConfig::new("billing")
        .auto_offset_reset(AutoOffsetReset::Latest)
        .enable_auto_commit(false);
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign([TopicPartition::new("orders", 1)]).unwrap();
    assert!(poll(&mut consumer).unwrap().is_empty());
    consumer
}

fn poll(consumer: &mut Consumer) -> annals::Result<Vec<String>> {
    let records = consumer.poll(NOW)?;
    Ok(records.iter().map(|record| record.value_str().unwrap().to_owned()).collect())
}

fn stored(store: &Store) -> Vec<String> {
    let log = store.topic("orders").unwrap().partition(1).unwrap();
    let reader = log.reader(log.offsets().start).unwrap();
    reader.records().map(|record| record.unwrap().value_str().unwrap().to_owned()).collect()
}

/// Fails the next sync of partition 1.
fn fail_sync(fs: &FaultFs) {
    let rule = Rule::new(Operation::SyncData, Fault::Errno(5)).or(Operation::SyncAll);
    fs.add_rule(rule.path("orders-1").nth(1));
}

fn at() -> TopicPartition {
    TopicPartition::new("orders", 1)
}
