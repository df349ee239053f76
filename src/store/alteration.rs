//! Changing the settings of topics.

use crate::error::{Result, TopicError};
use crate::log::CleanupPolicy;
use crate::store::settings::TopicConfig;
use crate::store::topic_properties::{TopicDefinition, TopicState};
use crate::store::topics::Store;
use crate::topic_name;

impl Store {
    /// Changes the settings of a topic while it is in use, but not the number of its partitions:
    /// that in `config` is ignored, and [`add_partitions`](Store::add_partitions) changes it.
    ///
    /// A setting that is not in `config` returns to its default, so begin with [`Topic::config`].
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
    /// - [`TopicError::Unknown`], [`TopicError::InvalidSetting`], [`Error::StoreClosed`],
    ///   [`Error::Io`]: nothing was altered.
    /// - [`TopicError::Internal`] for a policy without compaction on `__consumer_offsets`;
    ///   [`TopicError::Spread`] for a topic that has partitions elsewhere.
    pub fn alter_topic(&self, topic: &str, config: TopicConfig) -> Result<()> {
        self.inner().change(|| self.alter_locked(topic, config))
    }

    fn alter_locked(&self, topic: &str, config: TopicConfig) -> Result<()> {
        let inner = self.inner();
        let found = self.topic(topic)?;
        found.check_not_spread("alter it where all of them are")?;
        let config = config.partitions(found.partition_count());
        let log = config.apply(&inner.config.log)?;
        if topic_name::is_compacted(topic) && log.cleanup_policy != CleanupPolicy::Compact {
            let reason = "all it has is the last record of each key, which only compaction keeps";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        // Partitions whose making failed are made at the next opening, whatever is altered
        // meanwhile.
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
        // One that is closed or poisoned gets them with its next opening.
        drop(altered);
        Ok(())
    }
}
