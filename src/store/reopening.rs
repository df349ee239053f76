//! Reopening one partition while the store and all other partitions are in use.
//!
//! ```text
//!  1  close its log                       its handles fail; a producer keeps its records
//!  2  open its log as at a start          after a failed sync, recover it as after a crash
//!  3  give the topic the new log          producers, consumers and groups continue with it
//! ```
//!
//! If the second step fails, the partition is offline, with the error as the reason.

#[cfg(doc)]
use crate::error::Error;
use crate::error::{CloseReason, Result, TopicError};
use crate::log::{Log, LogConfig, OnCorruption};
use crate::store::settings::TopicConfig;
use crate::store::topic::{PartitionState, Topic};
use crate::store::topic_properties::{TopicDefinition, TopicState};
use crate::store::topics::Store;

impl Store {
    /// Closes a partition and opens it again, and returns its new log.
    ///
    /// Use it for a partition that is [offline](TopicError::PartitionOffline), that [stopped
    /// accepting writes](Error::Poisoned), or that was [closed](Log::close). Use it also to set
    /// aside damage that a reader found: with [`OnCorruption::Quarantine`], the whole partition
    /// is read. With the other choices, opening reads as little as [`Log::open`] does, so a
    /// partition that could be closed cleanly is not read.
    ///
    /// Earlier handles of the log, and its readers and tails, fail with [`Error::Closed`].
    /// Producers and consumers of the store continue with the new log: a record that waits to be
    /// sent goes there, and a group needs no rebalance. A consumer keeps its position. If the new
    /// log ends before that position or starts after it, the consumer's
    /// [`auto_offset_reset`](crate::ConsumerConfig::auto_offset_reset) decides, as after any
    /// truncation or deletion. A send that was being written when the log failed reports that
    /// failure. Other partitions stay in use.
    ///
    /// A [`Tail`](crate::Tail) does not continue: create a new one from the returned log.
    ///
    /// A partition of `__consumer_offsets` may still have offsets of a topic that was
    /// [deleted](Store::delete_topic) while it was offline.
    ///
    /// ```
    /// use annals::{OnCorruption, Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let orders = store.create_topic("orders", TopicConfig::default().partitions(3))?;
    /// for partition in orders.unavailable_partitions().into_keys() {
    ///     store.reopen_partition("orders", partition, OnCorruption::Quarantine)?;
    /// }
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`TopicError::UnknownPartition`], [`Error::StoreClosed`].
    /// - [`TopicError::MissingPartition`], [`TopicError::PartitionElsewhere`] while its directory
    ///   does not exist. Nothing was changed.
    /// - The errors of [`Log::open`]. The partition is offline until a later call succeeds.
    pub fn reopen_partition(
        &self,
        topic: &str,
        partition: u32,
        on_corruption: OnCorruption,
    ) -> Result<Log> {
        self.inner().change(|| self.reopen_locked(topic, partition, on_corruption))
    }

    fn reopen_locked(
        &self,
        topic: &str,
        partition: u32,
        on_corruption: OnCorruption,
    ) -> Result<Log> {
        let inner = self.inner();
        let found = self.topic(topic)?;
        found.check_has_partition(partition)?;
        let before = found.partition(partition);
        if !inner.directory.has_partition(topic, partition)? {
            before?;
            let (topic, partitions) = (topic.to_owned(), found.partition_count());
            return Err(TopicError::MissingPartition { topic, partition, partitions }.into());
        }
        let config = self.config_to_reopen(&found, partition)?;
        let log = config.apply(&inner.config.log)?.on_corruption(on_corruption);
        let was_open = before.is_ok();
        if let Ok(before) = before {
            // The log is closed, whatever the result. The opening finds out which unsynced
            // records are there.
            before.close_with_others(CloseReason::Reopened).ok();
        }
        let opened = self.open_again(&found, partition, &log);
        match &opened {
            Ok(log) => {
                found.set_config(config);
                found.set_partition_state(partition, PartitionState::Open(log.clone()));
            }
            Err(error) if was_open => {
                let offline = self.report_offline(topic, partition, error);
                found.set_partition_state(partition, offline);
            }
            Err(error) => found.set_partition_state(partition, PartitionState::offline(error)),
        }
        inner.bump_version();
        let log = opened?;
        self.register_with_maintainer(std::slice::from_ref(&log))?;
        Ok(log)
    }

    /// Returns the settings of its topic, if the partition can be opened.
    fn config_to_reopen(&self, topic: &Topic, partition: u32) -> Result<TopicConfig> {
        let directory = &self.inner().directory;
        match directory.read_definition(topic.name())? {
            Some(TopicDefinition { state: TopicState::Deleting, .. }) => {
                let reason =
                    "its topic is being deleted; open the store again to finish the deletion"
                        .to_owned();
                let path = directory.partition_path(topic.name(), partition);
                Err(TopicError::InvalidDirectory { path, reason }.into())
            }
            Some(definition) => Ok(definition.config.partitions(topic.partition_count())),
            None => Ok(topic.config()),
        }
    }

    /// Opens the log of a closed partition, and makes durable what the opening found.
    fn open_again(&self, topic: &Topic, partition: u32, config: &LogConfig) -> Result<Log> {
        let (checkpoints, id) = (&self.inner().checkpoints, self.resolve_id(topic)?);
        let keys = [(topic.name().to_owned(), partition.cast_signed())];
        checkpoints.hold_all(&keys);
        let opened = self.open_partition(topic.name(), partition, id, config);
        let released = checkpoints.release(&keys);
        let (log, has_own_checkpoints) = opened?;
        released?;
        if has_own_checkpoints {
            log.remove_own_checkpoints()?;
        }
        Ok(log)
    }
}
