//! A store: topics with partitions in one directory, laid out as a broker's.

pub(crate) mod admin;
mod alteration;
pub(crate) mod births;
pub(crate) mod config;
pub(crate) mod creation;
pub(crate) mod deletion;
pub(crate) mod directory;
pub(crate) mod groups;
pub(crate) mod inner;
pub(crate) mod java_properties;
pub(crate) mod meta_properties;
pub(crate) mod name;
pub(crate) mod opening;
pub(crate) mod parallel;
mod partition_metadata;
pub(crate) mod producer_ids;
mod removal;
pub(crate) mod reopening;
pub(crate) mod settings;
mod survey;
pub(crate) mod topic;
pub(crate) mod topic_properties;
pub(crate) mod topics;
pub(crate) mod view;
pub(crate) mod watchers;

pub use admin::groups::ResetTo;
pub use admin::{Admin, PartitionDescription, TopicDescription};
pub use config::{OfflinePartitions, StoreConfig};
pub use settings::{ConfigEntry, ConfigSource, TopicConfig};
pub use topic::Topic;
pub use topics::Store;
pub use view::StoreView;
