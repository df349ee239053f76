//! The settings of a topic: its number of partitions, and Kafka's settings with Kafka's keys.
//!
//! A topic sets a value itself, or a default applies:
//!
//! ```text
//!   the topic's own            retention.ms=3600000     `TopicConfig::set` or a method
//!        │ if not set
//!        ▼
//!   the store's log options    where they differ from Kafka's defaults
//!        │ if not set
//!        ▼
//!   Kafka's default            retention.ms=604800000
//! ```
//!
//! Only the topic's own settings are stored, as in Kafka.

mod common_settings;
mod entry;
mod keys;
mod topic_config;
mod values;

#[cfg(test)]
mod tests;

pub use entry::{ConfigEntry, ConfigSource};
pub use topic_config::TopicConfig;
pub(crate) use topic_config::{broker_topic_config, default_log};
