//! The topic that groups are stored in, and the coordinator over its logs.

use crate::error::Result;
use crate::group::coordinator::Coordinator;
use crate::group::state_partitions::{CoordinatorContext, StateLogs};
use crate::log::{CleanupPolicy, Log, LogConfig};
use crate::store::settings::TopicConfig;
use crate::store::topic::Topic;
use crate::store::topics::Store;
use crate::topic_name::CONSUMER_OFFSETS;
use std::sync::Arc;

/// The largest batch of the offsets topic. A commit is one batch, whatever its size, so that it
/// is stored completely or not at all.
const MAX_BATCH_BYTES: u64 = 64 << 20;

impl StateLogs for Topic {
    fn log(&self, partition: u32) -> Result<Log> {
        self.partition(partition)
    }
}

impl Store {
    /// Returns the coordinator of the groups, creating it on first use.
    pub(crate) fn coordinator(&self) -> Result<Arc<Coordinator>> {
        if let Some(coordinator) = &*self.inner().coordinator.lock() {
            return Ok(Arc::clone(coordinator));
        }
        // Each caller that finds none creates one without holding a lock. The first one is kept.
        let made = Arc::new(self.create_coordinator()?);
        Ok(Arc::clone(self.inner().coordinator.lock().get_or_insert(made)))
    }

    fn create_coordinator(&self) -> Result<Coordinator> {
        let inner = self.inner();
        let config = inner.config.group_coordinator.clone();
        let log = LogConfig::default()
            .cleanup_policy(CleanupPolicy::Compact)
            .segment_bytes(100 << 20)
            .max_message_bytes(MAX_BATCH_BYTES);
        let topic = TopicConfig::default().partitions(config.partitions()).log(log);
        let topic = self.internal_topic(CONSUMER_OFFSETS, topic)?;
        topic.check_not_spread(
            "their number decides where a group is stored; use groups in its Kafka cluster",
        )?;
        let partitions = topic.partition_count();
        let context = CoordinatorContext {
            clock: Arc::clone(&inner.config.log.clock),
            maintainer: inner.maintainer.clone(),
        };
        Ok(Coordinator::new(Box::new(topic), partitions, config, context))
    }

    /// Returns the coordinator of the groups, if this directory ever had any group.
    pub(super) fn existing_coordinator(&self) -> Result<Option<Arc<Coordinator>>> {
        let topic = self.topic(CONSUMER_OFFSETS).ok();
        topic.filter(|topic| !topic.is_spread()).map(|_| self.coordinator()).transpose()
    }
}
