//! Topics, and those who write and read them together in one process.
//!
//! ```text
//!                 Producer ── typed                          typed ── Consumer            what users hold
//!                    │ batches, in order                               │ polls
//!        partitioner │                                        Bell     │     assignor
//!                    ▼                                                 ▼
//!  Admin ──▶  Store ─▶ Topic ─▶ Log, Log, Log                   Coordinator ─▶ Shard      one lock for the groups of
//!               │        │        ▲                                    │                  one partition
//!               │        │        └──── __consumer_offsets-n ◀─────────┤ appends
//!               │        └ settings                                    ├─▶ Group          who is in it: no I/O, no clock
//!               ▼                                                      └─▶ OffsetTable    what is committed
//!          Directory, ProducerIds                                                         the small files
//! ```
//!
//! Two kinds of modules. Those that *decide* read no file, take no lock and ask no clock; time
//! comes in as an argument, and what is to be done goes out as a value:
//!
//! | module | decides |
//! |---|---|
//! | `name`, `id`, `properties`, `metadata`, `definition` | what names and small files may be, and what they say |
//! | `settings` | what Kafka's settings of a topic are as options of a log |
//! | `births` | which partitions were made after a consumer began to read their topic |
//! | [`partitioner`] | where a record goes |
//! | [`assignor`], [`protocol`] | which member gets which partition, and how the members of a group tell each other |
//! | [`group`] | what becomes of a group when members join, leave, hang, or commit |
//! | [`offsets`] | what the records of `__consumer_offsets` say, and what they come to |
//! | [`serialize`] | which bytes a key or a value is |
//!
//! And those that *do* what was decided, with the files, the locks and the clock:
//!
//! | module | does |
//! |---|---|
//! | [`store`], [`handle`], [`opening`], [`reopening`], [`creation`], [`deletion`] | opens, makes, alters, deletes topics; each change is one write of `topic.properties`, and what a crash leaves undone of the rest is done at the next opening |
//! | [`directory`], [`producer_ids`] | the files of a store that are no log's |
//! | [`producer`] | gathers records, writes batches, tries again |
//! | [`consumer`] | reads, on the thread that polls; plays a member's part |
//! | [`coordinator`] | applies the steps of groups, and writes them down before they hold |
//! | [`typed`] | keys and values of types over the two |
//! | [`admin`], [`view`] | look at all of it, in the process that has it open or beside it |
//!
//! What a record goes through: a producer puts it into the open batch of a partition; the batch
//! gets a number and is appended to the partition's log; that wakes the bells of consumers that
//! wait there. A consumer's poll reads it with a reader of its own, remembers the position, and
//! commits that by an append to the group's partition of `__consumer_offsets`, whose lock is the
//! one that is held while records are written. The order of all locks is in
//! [`docs::concurrency`](crate::docs::concurrency#the-locks-of-a-store).

pub mod assignor;
mod group;
mod offsets;
#[allow(dead_code, unreachable_pub, reason = "used by the store")]
pub(crate) mod partitioner;
pub(crate) mod protocol;

mod admin;
mod births;
mod consumer;
mod coordinator;
mod creation;
mod definition;
mod deletion;
mod directory;
mod handle;
mod id;
mod in_parallel;
mod metadata;
mod name;
mod opening;
mod producer;
mod producer_ids;
mod properties;
mod reopening;
mod serialize;
mod settings;
mod store;
mod store_config;
mod typed;
mod view;
mod watchers;

pub use admin::{Admin, PartitionDescription, TopicDescription};
pub use consumer::{
    AutoOffsetReset, Consumer, ConsumerConfig, ConsumerGroupMetadata, ConsumerInterceptor,
    ConsumerRecord, ConsumerRecords, ConsumerWaker, Isolation, OffsetAndMetadata, PartitionAccess,
    RebalanceListener, TopicPattern,
};
pub use coordinator::{
    CoordinatorConfig, GroupDescription, GroupListing, GroupOffset, ListedGroups,
    MemberDescription, MemberIdentity, ResetTo,
};
pub use group::GroupState;
pub use handle::Topic;
pub use id::{InvalidUuid, TopicId, Uuid};
pub use partitioner::Partitioner;
pub use producer::{
    Acks, PartitionerChoice, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    ProducerStats, RecordMetadata, SendHandle, TopicProducer,
};
pub use protocol::TopicPartition;
#[cfg(feature = "serde")]
pub use serialize::Json;
pub use serialize::{Deserialize, DeserializeContext, Serialize, SerializeContext};
pub use settings::{ConfigEntry, ConfigSource, TopicConfig};
pub use store::Store;
pub use store_config::{OfflinePartitions, StoreConfig};
pub use typed::{
    OnPoison, PoisonRecord, TypedConsumer, TypedProducer, TypedProducerRecord, TypedRecord,
    TypedRecords,
};
pub use view::StoreView;
