//! Deleting topics, and finishing interrupted deletions.

use crate::error::{CloseReason, Error, Result, TopicError};
use crate::group::coordinator::Coordinator;
use crate::log::Log;
use crate::store::topic::Topic;
use crate::store::topic_properties::{TopicDefinition, TopicState};
use crate::store::topics::Store;
use crate::store::watchers::TopicWatcher;
use crate::topic_name;
use std::sync::Arc;

type NotifiedWatchers = Vec<Arc<dyn TopicWatcher>>;

impl Store {
    /// Deletes a topic with all its records and the offsets that groups have committed for it. A
    /// later topic of the same name starts without either. The logs of the topic are
    /// [closed](Log::close) for all their handles. When this returns, the disk space is free,
    /// except for the one segment that each reader, tail or consumer is in until its next call.
    ///
    /// ```text
    ///  1  mark the topic in topic.properties     after a crash, the next opening finishes the rest
    ///  2  close its logs                         from here on, no consumer commits for it
    ///  3  remove its committed offsets           durably, or a power loss would bring them back
    ///  4  remove its partitions                  the one with topic.properties last
    /// ```
    ///
    /// On a full disk, the third step may fail. It is retried after the fourth, which frees
    /// space.
    ///
    /// A partition of `__consumer_offsets` that is offline or unreadable keeps the offsets that
    /// its groups have committed for the topic. Such a record holds the topic's name and not its
    /// id, so once the partition is repaired, these groups start at these offsets in the next
    /// topic of that name. [`Admin::delete_offsets`](crate::Admin::delete_offsets) removes them.
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`Error::StoreClosed`].
    /// - [`TopicError::Internal`] for an internal topic, [`TopicError::Spread`] for a topic that
    ///   has partitions elsewhere.
    /// - [`Error::Io`]. The topic is gone for all handles. The rest of it is removed by the next
    ///   call with this name, by [`create_topic`](Store::create_topic) with this name, or when
    ///   the store is opened again.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        let groups = self.existing_coordinator()?;
        let (told, deleted) =
            self.inner().change(|| self.delete_locked(topic, groups.as_deref()))?;
        // These may be the last handles, and dropping them may run user-supplied code. No lock is
        // held here.
        drop(told);
        deleted
    }

    /// Deletes a topic. Returns the notified watchers, and the result.
    fn delete_locked(
        &self,
        topic: &str,
        groups: Option<&Coordinator>,
    ) -> Result<(NotifiedWatchers, Result<()>)> {
        let inner = self.inner();
        if inner.interrupted.lock().contains_key(topic) {
            return Ok((Vec::new(), self.finish_deletion(topic, groups)));
        }
        if topic_name::is_internal(topic) {
            let reason = "it holds committed offsets, transactions or data of a broker, and cannot be deleted; to delete a group, call `Admin::delete_group`";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        let found = self.topic(topic)?;
        found.check_not_spread("delete it in its Kafka cluster")?;
        let count = self.count_with_begun(&found)?;
        inner.directory.write_definition(topic, &found.config(), TopicState::Deleting)?;
        inner.interrupted.lock().insert(topic.to_owned(), count);
        inner.topics.write().remove(topic);
        inner.creations.forget(found.id());
        // An error of a close does not matter, because the log is deleted.
        let close = |log: &Log| log.close_with_others(CloseReason::TopicDeleted);
        inner.in_few_threads(&found.partitions(), close).clear();
        // Files that stay open keep their disk space.
        let told = self.watchers().topic_deleted(topic);
        let deleted = self.finish_deletion(topic, groups);
        inner.bump_version();
        Ok((told, deleted))
    }

    /// Returns how many partitions a topic has, including those that a failed call began to add.
    fn count_with_begun(&self, topic: &Topic) -> Result<u32> {
        let begun = match self.inner().directory.read_definition(topic.name()) {
            Ok(Some(TopicDefinition { config, .. })) => config.partitions,
            // A definition that is damaged or missing does not prevent the deletion.
            Ok(None) | Err(Error::Corrupt(_)) => 0,
            Err(error) => return Err(error),
        };
        Ok(topic.partition_count().max(begun))
    }

    /// Removes the rest of a topic that is being deleted or whose creation failed. Does nothing
    /// if there is no such topic. After an error, the next call tries again. The caller holds
    /// `changes`, or no other thread can change topics yet.
    pub(super) fn finish_deletion(&self, topic: &str, groups: Option<&Coordinator>) -> Result<()> {
        let inner = self.inner();
        let Some(count) = inner.interrupted.lock().get(topic).copied() else { return Ok(()) };
        let forget = || groups.map_or(Ok(()), |groups| groups.forget_topic(topic));
        let forgotten = forget();
        let deleted = inner.directory.remove_partitions(topic, (0..count).rev());
        let forgotten = forgotten.or_else(|_| forget());
        let keys: Vec<_> = (0..count).map(|n| (topic.to_owned(), n.cast_signed())).collect();
        let lines = inner.checkpoints.forget(&keys);
        // Also after a failure: checkpoints of a later topic of that name must be written again.
        let written = inner.checkpoints.release(&keys);
        inner.directory.dir.fill_reserve();
        deleted.and(forgotten).and(lines).and(written)?;
        inner.interrupted.lock().remove(topic);
        Ok(())
    }
}
