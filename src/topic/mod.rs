//! Topics, and those who write and read them together in one process.
//!
//! What is here decides; it reads no file, takes no lock and asks no clock. Time comes in as an argument.

#[allow(dead_code, unreachable_pub, reason = "used by the store")]
pub(crate) mod assignor;
#[allow(dead_code, unused_imports, reason = "used by the store")]
mod group;
#[allow(dead_code, unused_imports, reason = "used by the store")]
mod offsets;
#[allow(dead_code, unreachable_pub, reason = "used by the store")]
pub(crate) mod partitioner;
#[allow(dead_code, unreachable_pub, reason = "used by the store")]
pub(crate) mod protocol;

mod admin;
mod checkpoints;
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

pub use admin::{Admin, PartitionDescription, TopicDescription};
pub use handle::Topic;
pub use id::{InvalidUuid, TopicId, Uuid};
pub use partitioner::Partitioner;
pub use producer::{
    Acks, PartitionerChoice, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    ProducerStats, RecordMetadata, SendHandle,
};
#[cfg(feature = "serde")]
pub use serialize::Json;
pub use serialize::{Deserialize, DeserializeContext, Serialize, SerializeContext};
pub use settings::{ConfigEntry, ConfigSource, TopicConfig};
pub use store::Store;
pub use store_config::StoreConfig;
