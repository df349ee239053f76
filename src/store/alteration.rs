//! Changing the settings of topics.

#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, TopicError};
use crate::log::CleanupPolicy;
use crate::store::settings::TopicConfig;
#[cfg(doc)]
use crate::store::topic::Topic;
use crate::store::topic_properties::{TopicDefinition, TopicState};
use crate::store::topics::Store;
use crate::topic_name;

impl Store {
    /// Changes the settings of a topic while it is in use. The number of partitions in `config`
    /// is ignored: [`add_partitions`](Store::add_partitions) changes that number.
    ///
    /// A setting that is not in `config` returns to its default, so begin with
    /// [`Topic::config`](crate::Topic::config).
    /// Most settings apply at once. `index.interval.bytes` applies after the next opening, and
    /// settings of a segment, such as `preallocate` and `segment.jitter.ms`, apply to the next
    /// segment.
    ///
    /// ```
    /// use annals::{Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let topic = store.create_topic("orders", TopicConfig::default())?;
    /// store.alter_topic("orders", topic.config().set("retention.ms", "60000")?)?;
    /// assert_eq!(topic.config().get("retention.ms"), Some("60000"));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`TopicError::InvalidSetting`],
    ///   [`Error::StoreClosed`](crate::Error::StoreClosed), [`Error::Io`](crate::Error::Io):
    ///   nothing was altered.
    /// - [`TopicError::Internal`] for a policy without compaction on `__consumer_offsets`;
    ///   [`TopicError::Spread`] for a topic that has partitions elsewhere.
    pub fn alter_topic(&self, topic: &str, config: TopicConfig) -> Result<()> {
        self.inner().change(|| self.alter_locked(topic, config))
    }

    fn alter_locked(&self, topic: &str, config: TopicConfig) -> Result<()> {
        let inner = self.inner();
        let found = self.topic(topic)?;
        found.check_not_spread("alter it in its Kafka cluster")?;
        let config = config.partitions(found.partition_count());
        let log = config.apply(&inner.config.log)?;
        if topic_name::is_compacted(topic) && log.cleanup_policy != CleanupPolicy::Compact {
            let reason = "it needs the last record of each key, which only compaction keeps; choose `CleanupPolicy::Compact`";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        // Keep an interrupted creation as it is: the next opening still makes these partitions.
        let (count, state) = match inner.directory.read_definition(topic)? {
            Some(TopicDefinition { config, state: TopicState::Creating(id) }) => {
                (config.partitions, TopicState::Creating(id))
            }
            _ => (config.partitions, TopicState::Settled),
        };
        inner.directory.write_definition(topic, &config.clone().partitions(count), state)?;
        let altered =
            found.partitions().iter().map(|partition| partition.alter(&log)).collect::<Vec<_>>();
        found.set_config(config);
        // A log that is closed or poisoned gets the settings when it is opened again.
        drop(altered);
        Ok(())
    }
}
