//! Deleting topics, and finishing what could not be finished.

use crate::error::{Result, TopicError};
use crate::log::Log;
use crate::topic::coordinator::Coordinator;
use crate::topic::definition::State;
use crate::topic::name;
use crate::topic::store::Store;
use crate::topic::watchers::TopicWatcher;
use std::sync::Arc;

type Told = Vec<Arc<dyn TopicWatcher>>;

impl Store {
    /// Deletes a topic, with all that is in it, and what groups have committed for it: one of its name that is made later begins
    /// anew for them, too. Its logs are [closed](Log::close) for all handles, and its room on disk is free when this
    /// returns, except for the one segment that each reader, tail or consumer is in until its next call.
    ///
    /// ```text
    ///  1  topic.properties says that it is to go     from here on a crash leaves it gone: the next opening does the rest
    ///  2  its logs are closed                        nobody commits for it any more
    ///  3  what was committed for it is removed       durably, or a loss of power would bring it back
    ///  4  its partitions are removed                 the one that says so last
    /// ```
    ///
    /// On a full disk the third step may fail. It is tried again after the fourth, which makes room.
    ///
    /// A partition of `__consumer_offsets` that is offline, or cannot be read, keeps what its groups have committed for the
    /// topic. Such a record names the topic but has no id of it, so once the partition is repaired, those groups begin
    /// there in the next topic of that name. [`Admin::delete_offsets`](crate::Admin::delete_offsets) removes it.
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`Error::StoreClosed`](crate::Error::StoreClosed).
    /// - [`TopicError::Internal`] for a topic that the store keeps for itself, [`TopicError::Spread`] for one that has partitions
    ///   elsewhere.
    /// - [`Error::Io`](crate::Error::Io). The topic is gone for everyone, and what is left of it is removed by the next call with this name, by
    ///   [`create_topic`](Store::create_topic) with this name, or when the store is opened again.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        let groups = self.existing_coordinator()?;
        let (told, deleted) = self.shared().change(|| self.delete(topic, groups.as_deref()))?;
        // Perhaps the last handles, which take user-supplied code with them: nothing is held any more.
        drop(told);
        deleted
    }

    /// Deletes a topic. Returns those who were told of it, and what came of it.
    fn delete(&self, topic: &str, groups: Option<&Coordinator>) -> Result<(Told, Result<()>)> {
        let shared = self.shared();
        if shared.interrupted.lock().contains_key(topic) {
            return Ok((Vec::new(), self.finish_deletion(topic, groups)));
        }
        let found = self.topic(topic)?;
        if name::is_internal(topic) {
            let reason =
                "what groups have committed, or a broker needs, is in it; it cannot be deleted";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        found.check_whole("delete it where all of them are")?;
        shared.directory.define(topic, &found.config(), State::Deleting)?;
        shared.interrupted.lock().insert(topic.to_owned(), found.partition_count());
        shared.topics.write().remove(topic);
        shared.births.forget(found.id());
        // What a log cannot write down any more does not matter.
        shared.in_few_threads(&found.partitions(), Log::close_with_others).clear();
        // Files that stay open keep their space on disk.
        let told = self.watchers().topic_deleted(topic);
        let deleted = self.finish_deletion(topic, groups);
        shared.note_change();
        Ok((told, deleted))
    }

    /// Removes what is left of a topic that is being deleted, or whose creation failed; nothing if there is no such topic. What
    /// fails is tried again by the next call. `changes` is held, or nothing else can change topics yet.
    pub(super) fn finish_deletion(&self, topic: &str, groups: Option<&Coordinator>) -> Result<()> {
        let shared = self.shared();
        let Some(count) = shared.interrupted.lock().get(topic).copied() else { return Ok(()) };
        let forget = || groups.map_or(Ok(()), |groups| groups.forget_topic(topic));
        let forgotten = forget();
        let deleted = shared.directory.delete(topic, (0..count).rev());
        let forgotten = forgotten.or_else(|_| forget());
        let keys: Vec<_> = (0..count).map(|n| (topic.to_owned(), n.cast_signed())).collect();
        let lines = shared.checkpoints.forget(&keys);
        // Whatever failed: what is set of a topic of that name from now on is written again.
        let written = shared.checkpoints.release(&keys);
        shared.directory.dir.fill_reserve();
        deleted.and(forgotten).and(lines).and(written)?;
        shared.interrupted.lock().remove(topic);
        Ok(())
    }
}
