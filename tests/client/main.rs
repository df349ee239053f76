//! Producers, consumers and groups.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod allocations;
mod churn;
mod consumer;
mod exactly_once;
mod groups;
mod producer;
mod serialize;
mod typed;

use annals::assignor::{Assignor, CooperativeSticky};
use annals::{AutoOffsetReset, ConsumerConfig, ProducerRecord, Record, Topic, TopicPartition};
use std::sync::Arc;
use std::time::Duration;
use support::memory::Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// A poll that does not wait.
const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);
/// The topic that the tests of producers send to.
const TOPIC: &str = "orders";

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn append(topic: &Topic, partition: u32, values: std::ops::Range<u32>) {
    let values = values.map(|value| Record::from(value.to_string()));
    topic.partition(partition).unwrap().append_all(values).unwrap();
}

fn earliest(group: &str) -> ConsumerConfig {
    ConsumerConfig::new(group).auto_offset_reset(AutoOffsetReset::Earliest)
}

fn cooperative(config: ConsumerConfig) -> ConsumerConfig {
    config.assignors([Arc::new(CooperativeSticky) as Arc<dyn Assignor>])
}

fn to(partition: u32, value: impl Into<String>) -> ProducerRecord {
    ProducerRecord::new(TOPIC, value.into()).partition(partition)
}
