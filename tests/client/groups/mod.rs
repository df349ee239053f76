//! Groups of consumers: who reads which partition, what is committed, and what is left of it after
//! a crash.

mod admin;
mod assignment;
mod commits;
mod expiration;
mod model;
mod offsets_log;
mod rebalances;

use crate::NOW;
use annals::fs::MemFs;
use annals::{
    AutoOffsetReset, CommitError, ConsumeError, Consumer, ConsumerConfig, Error,
    GroupCoordinatorConfig, GroupError, ManualClock, RebalanceContext, RebalanceListener, StartAt,
    Store, StoreConfig, Timestamp, Topic, TopicConfig, TopicPartition,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const GROUP: &str = "g1";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

struct World {
    clock: Arc<ManualClock>,
    fs: MemFs,
    store: Store,
}

fn store_on(fs: &MemFs, clock: &Arc<ManualClock>) -> Store {
    let groups = GroupCoordinatorConfig::default().offsets_partitions(3);
    let config =
        StoreConfig::default().fs(fs.clone()).clock(clock.clone()).group_coordinator(groups);
    // Some records here are of 1970, and retention must not delete them.
    Store::open("data", config.maintenance(None)).unwrap()
}

fn world() -> World {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    let fs = MemFs::new();
    let store = store_on(&fs, &clock);
    World { clock, fs, store }
}

fn topic(store: &Store, name: &str, partitions: u32) -> Topic {
    let config = TopicConfig::default().partitions(partitions);
    store.topic(name).or_else(|_| store.create_topic(name, config)).unwrap()
}

fn config() -> ConsumerConfig {
    ConsumerConfig::new(GROUP).auto_offset_reset(AutoOffsetReset::Earliest)
}

fn member(store: &Store, config: ConsumerConfig) -> Consumer {
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    consumer
}

fn numbers(consumer: &Consumer) -> Vec<u32> {
    consumer.assignment().iter().map(|name| name.partition).collect()
}

/// Polls each in turn, so often that a rebalance is over.
fn settle(consumers: &mut [&mut Consumer]) -> usize {
    let mut records = 0;
    for _ in 0..6 {
        for consumer in consumers.iter_mut() {
            records += consumer.poll(NOW).unwrap().len();
        }
    }
    records
}

fn refusal(error: Error) -> GroupError {
    match error {
        Error::Group(error) => *error,
        Error::Consume(error) => match *error {
            ConsumeError::CommitFailed { reason: CommitError::Group(error), .. } => error,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

fn committed(store: &Store, topic: &str) -> BTreeMap<u32, u64> {
    let described = store.admin().describe_group(GROUP).unwrap();
    let offsets = described.offsets.iter().filter(|(at, _)| &*at.topic == topic);
    offsets.map(|(at, offset)| (at.partition, offset.committed.offset)).collect()
}

struct Told {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
    panics: bool,
}

impl Told {
    fn tell(&self, what: &str, partitions: &[TopicPartition]) {
        let numbers: Vec<_> = partitions.iter().map(|name| name.partition).collect();
        self.log.lock().unwrap().push(format!("{} {what} {numbers:?}", self.name));
        assert!(!self.panics, "told of {what}");
    }
}

impl RebalanceListener for Told {
    fn on_partitions_revoked(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        named: &[TopicPartition],
    ) {
        // They are still its own.
        consumer.commit().unwrap();
        for name in named {
            consumer.position(name).unwrap();
        }
        self.tell("revoked", named);
    }

    fn on_partitions_assigned(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        named: &[TopicPartition],
    ) {
        for name in named {
            assert!(consumer.committed(name).unwrap().is_none_or(|to| to.offset > 0));
            consumer.seek(name, StartAt::Earliest).unwrap();
        }
        self.tell("assigned", named);
    }

    fn on_partitions_lost(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        named: &[TopicPartition],
    ) {
        consumer.commit().unwrap_err();
        self.tell("lost", named);
    }
}
