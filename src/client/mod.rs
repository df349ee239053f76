//! Topics, and their producers and consumers in one process.
//!
//! ```text
//!                 Producer ── typed                          typed ── Consumer            the public handles
//!                    │ batches, in order                               │ polls
//!        partitioner │                                        Bell     │     assignor
//!                    ▼                                                 ▼
//!  Admin ──▶  Store ─▶ Topic ─▶ Log, Log, Log                   Coordinator ─▶ Shard      one lock for the groups of
//!               │        │        ▲                                    │                  one partition
//!               │        │        └──── __consumer_offsets-n ◀─────────┤ appends
//!               │        └ settings                                    ├─▶ Group          its members: no I/O, no clock
//!               ▼                                                      └─▶ OffsetTable    its committed offsets
//!          Directory, ProducerIds                                                         the small files
//! ```
//!
//! There are two kinds of modules. The modules that *decide* read no file, take no lock and read
//! no clock: time is an argument, and the work to be done is a return value.
//!
//! | module | decides |
//! |---|---|
//! | `name`, `properties`, `metadata`, `definition` | which names and small files are valid, and what they mean |
//! | `settings` | which options of a log correspond to Kafka's settings of a topic |
//! | `births` | which partitions were created after a consumer began to read their topic |
//! | [`partitioner`] | to which partition a record goes |
//! | `assignor`, `protocol` | which member gets which partition, and the messages between members |
//! | `group` | the next state of a group when members join, leave, hang, or commit |
//! | `offsets` | the meaning of the records of `__consumer_offsets`, and the offsets that result |
//! | [`serialize`] | the bytes of a key or a value |
//!
//! The other modules *do* the work, with the files, the locks and the clock:
//!
//! | module | does |
//! |---|---|
//! | [`store`], [`handle`], [`opening`], [`reopening`], [`creation`], [`deletion`] | open, create, alter and delete topics; each change is one write of `topic.properties`, and after a crash the next opening finishes the rest |
//! | [`directory`], [`producer_ids`] | the files of a store that do not belong to a log |
//! | [`producer`] | collects records, writes batches, retries |
//! | [`consumer`] | reads on the thread that polls; joins groups |
//! | `coordinator` | applies the steps of groups, and stores each before it takes effect |
//! | [`typed`] | typed keys and values for both |
//! | [`admin`], [`view`] | describe and change all of it, in the process that has the store open; read it from another process |
//!
//! The path of a record: a producer puts it into the open batch of a partition. The batch gets a
//! sequence number and is appended to the partition's log, which rings the bells of consumers that
//! wait there. A consumer's poll reads the record with a reader of its own and moves the position.
//! A commit appends the position to the group's partition of `__consumer_offsets`, whose lock is
//! the only one that is held while records are written. The order of all locks is in
//! [`docs::concurrency`](crate::docs::concurrency#the-locks-of-a-store).

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
