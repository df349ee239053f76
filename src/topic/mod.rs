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
mod consumer;
mod coordinator;
mod handle;
mod settings;
mod store;

pub use admin::Admin;
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
pub use protocol::TopicPartition;
pub use settings::TopicConfig;
pub use store::{Store, StoreConfig};
