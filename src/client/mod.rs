//! The clients: producers and consumers of a store, in its process.
//!
//! ```text
//!  K, V ─▶ typed ─▶ Producer ── batches ──▶ Log ── records ──▶ Consumer ─▶ typed ─▶ K, V
//!        serialize     │ partitioner         ▲                    │       serialize
//!                      ▼                     │                    ├─▶ group: join, heartbeat
//!                    Store ──▶ Topic ────────┘                    └─▶ __consumer_offsets: commit
//! ```
//!
//! This module does what a Kafka client library does, without the network. It uses `store` and
//! `group`, and no other module uses it. `Store::producer` and `Store::consumer` are defined here.
//!
//! **A send.** [`producer`] passes the record through its interceptors, chooses a partition
//! ([`partitioner`]), and encodes the record into the open batch of that partition. A batch that
//! is full, has lingered, or is waited for gets a sequence number and is appended to the
//! partition's log. The thread that sends or waits does that, or the producer's own thread. The
//! append wakes consumers that wait for the partition. Then handles and callbacks get the result.
//!
//! **A poll.** [`consumer`] takes the steps with its group and commits if that is due. It resolves
//! missing positions, then reads each partition with its own reader, which moves the position. If
//! there are no records, the poll waits for its logs, the store and the group at once. A commit
//! appends the positions to the group's partition of `__consumer_offsets`. The lock of that
//! partition is the only lock above the logs that is held while records are written. The page
//! [`docs::concurrency`](crate::docs::concurrency#the-locks-of-a-store) has the order of all
//! locks.
//!
//! [`typed`] wraps both for keys and values of Rust types, whose bytes [`serialize`] defines.
//! `partitioner` and `serialize` read no file, take no lock and read no clock.

mod consumer;
mod partitioner;
mod producer;
mod serialize;
mod typed;

pub use consumer::{
    AutoOffsetReset, Consumer, ConsumerConfig, ConsumerInterceptor, ConsumerRecord,
    ConsumerRecords, ConsumerWaker, RebalanceContext, RebalanceListener, TopicPattern,
};
pub use partitioner::Partitioner;
pub use producer::{
    Acks, PartitionerChoice, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    ProducerStats, RecordMetadata, SendHandle, TopicProducer, Transaction,
};
#[cfg(feature = "serde")]
pub use serialize::Json;
pub use serialize::{Deserialize, DeserializeContext, Serialize, SerializeContext};
pub use typed::{
    OnPoison, PoisonRecord, TypedConsumer, TypedProducer, TypedProducerRecord, TypedRecord,
    TypedRecords,
};
