//! Topics, and those who write and read them together in one process.
//!
//! What is here decides; it reads no file, takes no lock and asks no clock. Time comes in as an argument.

pub mod assignor;
mod group;
mod offsets;
#[allow(dead_code, unreachable_pub, reason = "used by the store")]
pub(crate) mod partitioner;
pub(crate) mod protocol;

mod admin;
mod checkpoints;
mod consumer;
mod coordinator;
mod definition;
mod directory;
mod handle;
mod id;
mod in_parallel;
mod metadata;
mod name;
mod producer;
mod producer_ids;
mod properties;
mod serialize;
mod settings;
mod store;
mod store_config;
mod typed;

pub use admin::{Admin, PartitionDescription, TopicDescription};
pub use consumer::{
    AutoOffsetReset, Consumer, ConsumerConfig, ConsumerGroupMetadata, ConsumerInterceptor,
    ConsumerRecord, ConsumerRecords, ConsumerWaker, Isolation, OffsetAndMetadata, PartitionAccess,
    RebalanceListener, TopicPattern,
};
pub use coordinator::{
    CoordinatorConfig, GroupDescription, GroupListing, GroupOffset, MemberDescription,
    MemberIdentity, ResetTo,
};
pub use group::GroupState;
pub use handle::Topic;
pub use id::{InvalidUuid, TopicId, Uuid};
pub use partitioner::Partitioner;
pub use producer::{
    Acks, PartitionerChoice, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    ProducerStats, RecordMetadata, SendHandle,
};
pub use protocol::TopicPartition;
#[cfg(feature = "serde")]
pub use serialize::Json;
pub use serialize::{Deserialize, DeserializeContext, Serialize, SerializeContext};
pub use settings::{ConfigEntry, ConfigSource, TopicConfig};
pub use store::Store;
pub use store_config::StoreConfig;
pub use typed::{
    OnPoison, PoisonRecord, TypedConsumer, TypedProducer, TypedProducerRecord, TypedRecord,
    TypedRecords,
};
