//! How a topic is set up: Kafka's settings of a topic, by Kafka's names.

use crate::error::Result;
use crate::log::LogConfig;

/// How a topic is set up.
#[derive(Debug, Clone)]
pub struct TopicConfig {
    pub(crate) partitions: u32,
    log: LogConfig,
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig { partitions: 1, log: LogConfig::default() }
    }
}

impl TopicConfig {
    /// How many partitions it has.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// The options of each of its logs.
    #[must_use]
    pub fn log(mut self, log: LogConfig) -> Self {
        self.log = log;
        self
    }

    pub(crate) fn log_config(&self) -> Result<LogConfig> {
        Ok(self.log.clone())
    }
}
