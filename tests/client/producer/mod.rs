//! The promises of a producer: order, each record once, and what happens when a record cannot be
//! written.

mod acks;
mod batching;
mod callbacks;
mod idempotence;
mod partitioning;
mod retries;
mod size_limits;
mod split_batches;
mod topics;
mod transactions;
mod waits;

use crate::{HOUR, TOPIC};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule, RuleId};
use annals::*;
use std::io;
use std::sync::Arc;
use support::{T0, values};

struct Scene {
    disk: MemFs,
    fs: FaultFs,
    clock: Arc<ManualClock>,
    store: Store,
    topic: Topic,
}

impl Scene {
    /// A producer that writes when a batch is full or when something waits for it.
    fn lingering_producer(&self) -> Producer {
        let config = ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR);
        self.store.producer(config).unwrap()
    }

    /// Writes of batches fail with this.
    fn fail_writes(&self, kind: io::ErrorKind) -> RuleId {
        self.fs.add_rule(Rule::new(Operation::Write, Fault::Error(kind)).path(".log"))
    }

    fn values(&self, partition: u32) -> Vec<String> {
        values(&self.topic.partition(partition).unwrap())
    }

    /// How many records the batches of a partition have.
    fn batches(&self, partition: u32) -> Vec<i32> {
        let log = self.topic.partition(partition).unwrap();
        let mut reader = log.reader(StartAt::Earliest).unwrap();
        let mut counts = Vec::new();
        while let Some(batch) = reader.next_batch().unwrap() {
            counts.push(batch.header().record_count);
        }
        counts
    }
}

fn scene_with(topic: TopicConfig) -> Scene {
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).clock(clock.clone());
    let store = Store::open("data", config).unwrap();
    let topic = store.create_topic(TOPIC, topic).unwrap();
    Scene { disk, fs, clock, store, topic }
}

fn scene(partitions: u32) -> Scene {
    scene_with(TopicConfig::default().partitions(partitions))
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn produce_error(result: Result<impl std::fmt::Debug>) -> ProduceError {
    match result.unwrap_err() {
        Error::Produce(error) => *error,
        other => panic!("{other}"),
    }
}
