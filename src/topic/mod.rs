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
mod handle;
mod producer;
mod settings;
mod store;

pub use admin::Admin;
pub use handle::Topic;
pub use partitioner::Partitioner;
pub use producer::{
    Acks, PartitionerChoice, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    ProducerStats, RecordMetadata, SendHandle,
};
pub use settings::TopicConfig;
pub use store::{Store, StoreConfig};
