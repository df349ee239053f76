//! How a topic is set up: its partitions, and Kafka's settings of a topic by Kafka's keys.
//!
//! A topic has a setting of its own, or the default holds:
//!
//! ```text
//!   the topic's own            retention.ms=3600000     set by `TopicConfig::set` or a method such as `retention_age`
//!        │ where there is none
//!        ▼
//!   the store's options of logs, for what the store sets otherwise than Kafka
//!        │ where there is none
//!        ▼
//!   Kafka's default            retention.ms=604800000
//! ```
//!
//! Only the topic's own ones are kept on disk, as in Kafka.

mod entry;
mod keys;
mod topic_config;
mod values;

#[cfg(test)]
mod tests;

pub use entry::{ConfigEntry, ConfigSource};
pub use topic_config::TopicConfig;
pub(crate) use topic_config::{broker_topic_config, default_log};
