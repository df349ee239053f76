//! The clients: producers and consumers of a store, in its process.
//!
//! ```text
//!  K, V ─▶ typed ─▶ Producer ── batches ──▶ Log ── records ──▶ Consumer ─▶ typed ─▶ K, V
//!        serialize     │ partitioner         ▲                    │       serialize
//!                      ▼                     │                    ├─▶ group: join, heartbeat
//!                    Store ──▶ Topic ────────┘                    └─▶ __consumer_offsets: commit
//! ```
//!
//! This room is what a Kafka client library is, without the network. It uses `store` and `group`,
//! and nothing uses it; `Store::producer` and `Store::consumer` are added here.
//!
//! A send: [`producer`] passes the record through its interceptors, chooses a partition
//! ([`partitioner`]), and encodes the record into the open batch of that partition. A batch that
//! is full, has lingered, or is waited for gets a sequence number and is appended to the
//! partition's log, by the thread that sends or waits, or by the producer's own. The append wakes
//! consumers that wait there. Then handles and callbacks get the result.
//!
//! A poll: [`consumer`] takes the steps with its group, commits if that is due, and reads each of
//! its partitions with a reader of its own, which moves the position. Without records it waits
//! once for its logs, the store and the group. A commit appends the position to the group's
//! partition of `__consumer_offsets`. The lock of that partition is the only one that is held
//! while records are written. [`docs::concurrency`](crate::docs::concurrency#the-locks-of-a-store)
//! has the order of all locks.
//!
//! [`typed`] wraps both for keys and values of Rust types, whose bytes [`serialize`] defines.
//! `partitioner` and `serialize` read no file, take no lock and read no clock.

mod consumer;
mod partitioner;
mod producer;
mod serialize;
mod typed;

pub use consumer::{
    AutoOffsetReset, Consumer, ConsumerConfig, ConsumerGroupMetadata, ConsumerInterceptor,
    ConsumerRecord, ConsumerRecords, ConsumerWaker, IsolationLevel, RebalanceContext,
    RebalanceListener, TopicPattern,
};
pub use partitioner::Partitioner;
pub use producer::{
    Acks, PartitionerChoice, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    ProducerStats, RecordMetadata, SendHandle, TopicProducer,
};
#[cfg(feature = "serde")]
pub use serialize::Json;
pub use serialize::{Deserialize, DeserializeContext, Serialize, SerializeContext};
pub use typed::{
    OnPoison, PoisonRecord, TypedConsumer, TypedProducer, TypedProducerRecord, TypedRecord,
    TypedRecords,
};
