//! Opening the topics of a directory, and finishing what a crash has interrupted.

use crate::error::{Error, ErrorKind, Result, TopicError};
use crate::event::Event;
use crate::log::{DataDir, Log, LogConfig, OnCorruption};
use crate::store::config::OfflinePartitions;
use crate::store::survey::{FoundTopic, Survey};
use crate::store::topic::{PartitionState, Topic, TopicInner};
use crate::store::topic_properties::TopicState;
use crate::store::topics::Store;
use crate::topic_name::CONSUMER_OFFSETS;
use crate::uuid::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A partition to open.
struct PartitionToOpen<'a> {
    topic: &'a TopicToOpen<'a>,
    number: u32,
}

/// A topic whose partitions are to be opened.
struct TopicToOpen<'a> {
    found: &'a FoundTopic,
    id: TopicId,
    config: LogConfig,
}

/// The result of opening partitions.
#[derive(Default)]
struct Opened<'a> {
    states: BTreeMap<&'a str, Vec<PartitionState>>,
    /// The logs that took over the checkpoints beside their segments.
    with_own_checkpoints: Vec<Log>,
    /// The first error that prevents the store from opening.
    failed: Option<Error>,
}

/// Returns whether an error concerns one log only. A full disk, too many open files or a lock
/// concern all.
fn affects_one_log(error: &Error) -> bool {
    let kinds = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Io];
    matches!(error, Error::Topic(_)) || kinds.contains(&error.kind())
}

impl Store {
    /// Opens all partitions in the directory, several at once.
    pub(super) fn open_topics(&self) -> Result<()> {
        let inner = self.inner();
        let mut survey = inner.directory.survey(&inner.checkpoints)?;
        self.check_missing(&survey)?;
        survey.found.iter_mut().for_each(|found| self.find_id(found));
        inner.directory.check_copies(&survey.found, &inner.checkpoints)?;
        self.check_load_errors(&mut survey)?;
        let Survey { found, deleting, unknown } = survey;
        *inner.unknown.write() = unknown;
        let prepare = |topic| self.prepare(topic);
        let prepared: Vec<TopicToOpen<'_>> = found.iter().map(prepare).collect::<Result<_>>()?;
        let Opened { states, with_own_checkpoints, failed } = self.open_partitions(&prepared);
        self.publish(&prepared, states);
        if let Some(error) = failed {
            return Err(error);
        }
        inner.checkpoints.unmark()?;
        self.persist_opening(&found, with_own_checkpoints)?;
        self.finish_deletions(deleting)?;
        inner.directory.dir.fill_reserve();
        self.distrust_epochs()?;
        self.recover_transactions();
        self.topics()
            .iter()
            .try_for_each(|topic| self.register_with_maintainer(&topic.partitions()))
    }

    /// Opens the partitions of these topics, several at once.
    fn open_partitions<'a>(&self, topics: &'a [TopicToOpen<'_>]) -> Opened<'a> {
        let jobs: Vec<PartitionToOpen<'_>> = topics
            .iter()
            .flat_map(|topic| {
                let numbers = 0..topic.found.config.partitions;
                numbers.map(move |number| PartitionToOpen { topic, number })
            })
            .collect();
        let done = self.inner().in_parallel(&jobs, |job| self.open_or_offline(job));
        let mut opened = Opened::default();
        for (PartitionToOpen { topic, .. }, done) in jobs.iter().zip(done) {
            let states = opened.states.entry(&topic.found.name).or_default();
            match done {
                Ok((state, own)) => {
                    opened.with_own_checkpoints.extend(own);
                    states.push(state);
                }
                Err(error) => {
                    states.push(PartitionState::offline(&error));
                    opened.failed = opened.failed.or(Some(error));
                }
            }
        }
        opened
    }

    /// Makes these topics visible in the store.
    fn publish(&self, opened: &[TopicToOpen<'_>], mut states: BTreeMap<&str, Vec<PartitionState>>) {
        let mut topics = self.inner().topics.write();
        for TopicToOpen { found, id, .. } in opened {
            let name: Arc<str> = found.name.as_str().into();
            let states = states.remove(&*found.name).unwrap_or_default();
            let topic = TopicInner::new(Arc::clone(&name), *id, states, found.config.clone());
            topics.insert(name, Arc::new(topic));
        }
    }

    /// Finishes deletions that a crash has interrupted.
    fn finish_deletions(&self, deleting: Vec<(String, BTreeSet<u32>)>) -> Result<()> {
        let inner = self.inner();
        for (topic, partitions) in deleting {
            let groups = self.existing_coordinator()?;
            let count = partitions.last().map_or(0, |last| last.saturating_add(1));
            inner.interrupted.lock().insert(topic.clone(), count);
            // The other topics can be used. The next call with this name, or the next opening,
            // tries again.
            if let Err(error) = self.finish_deletion(&topic, groups.as_deref()) {
                let (path, error) = (inner.directory.partition_path(&topic, 0), error.cause());
                inner.directory.dir.events.emit(&Event::CleanupFailed { path, error });
            }
        }
        Ok(())
    }

    /// Fails if all directories of a topic are missing. The marker of a clean shutdown lists the
    /// topics that existed, and no log can tell this.
    fn check_missing(&self, survey: &Survey) -> Result<()> {
        let inner = self.inner();
        if inner.config.log.on_corruption != OnCorruption::Fail {
            return Ok(());
        }
        let is_there = |topic: &str| {
            survey.found.iter().any(|found| found.name == topic)
                || survey.deleting.iter().any(|(name, _)| name == topic)
        };
        match inner.checkpoints.closed_topics().into_iter().find(|topic| !is_there(topic)) {
            Some(topic) => Err(TopicError::Missing { topic }.into()),
            None => Ok(()),
        }
    }

    /// Fails if the definition or id of a topic cannot be read, unless such a topic may be
    /// offline.
    fn check_load_errors(&self, survey: &mut Survey) -> Result<()> {
        let may_be = |error: &Error| {
            self.inner().config.offline != OfflinePartitions::Never && affects_one_log(error)
        };
        let is_refused =
            |found: &&mut FoundTopic| found.load_error.as_ref().is_some_and(|e| !may_be(e));
        let refused = survey.found.iter_mut().find(is_refused);
        refused.and_then(|found| found.load_error.take()).map_or(Ok(()), Err)
    }

    fn prepare<'a>(&self, found: &'a FoundTopic) -> Result<TopicToOpen<'a>> {
        let id = found.id.unwrap_or(TopicId::ZERO);
        let config = found.config.apply(&self.inner().config.log)?;
        Ok(TopicToOpen { found, id, config })
    }

    /// Opens a partition if it is here. If it cannot be opened, it is offline, or the call fails
    /// if it may not be offline. Also returns the log if it took over the checkpoints beside its
    /// segments.
    fn open_or_offline(&self, job: &PartitionToOpen<'_>) -> Result<(PartitionState, Option<Log>)> {
        let (inner, number) = (self.inner(), job.number);
        let TopicToOpen { found, id, config } = job.topic;
        let FoundTopic { name, partitions, missing, load_error, unfinished, .. } = found;
        if missing.contains(&number) {
            let (topic, count) = (name.clone(), found.config.partitions);
            let partitions = count;
            let missing = TopicError::MissingPartition { topic, partition: number, partitions };
            return self.offline_if_allowed(name, number, missing.into());
        }
        if !unfinished && !partitions.contains(&number) {
            return Ok((PartitionState::Elsewhere, None));
        }
        if let Some(error) = load_error {
            return Ok((self.report_offline(name, number, error), None));
        }
        let open = || {
            if *unfinished {
                inner.directory.create_partition(name, number)?;
            }
            self.open_partition(name, number, *id, config)
        };
        match open() {
            Ok((log, has_own_checkpoints)) => {
                Ok((PartitionState::Open(log.clone()), has_own_checkpoints.then_some(log)))
            }
            Err(error) => self.offline_if_allowed(name, number, error),
        }
    }

    /// Returns a partition as offline, if this error allows that.
    fn offline_if_allowed(
        &self,
        topic: &str,
        number: u32,
        error: Error,
    ) -> Result<(PartitionState, Option<Log>)> {
        let is_missing = |error: &TopicError| matches!(error, TopicError::MissingPartition { .. });
        let may_be = match (self.inner().config.offline, &error) {
            (OfflinePartitions::Never, _) => false,
            (OfflinePartitions::Damaged, Error::Topic(error)) => !is_missing(error),
            (_, Error::Topic(_)) => true,
            (_, error) => affects_one_log(error),
        };
        if may_be { Ok((self.report_offline(topic, number, &error), None)) } else { Err(error) }
    }

    pub(super) fn report_offline(&self, topic: &str, number: u32, error: &Error) -> PartitionState {
        let (path, reason) = (self.inner().directory.partition_path(topic, number), error.cause());
        let event = Event::PartitionOffline { path, error: reason };
        self.inner().directory.dir.events.emit(&event);
        PartitionState::offline(error)
    }

    /// Makes durable what the opening has found.
    fn persist_opening(&self, found: &[FoundTopic], with_own_checkpoints: Vec<Log>) -> Result<()> {
        let inner = self.inner();
        inner.checkpoints.commit(inner.partitions())?;
        for log in with_own_checkpoints {
            log.remove_own_checkpoints()?;
        }
        for topic in found.iter().filter(|topic| topic.unfinished) {
            inner.directory.write_definition(&topic.name, &topic.config, TopicState::Settled)?;
        }
        // A log that could not be opened must be recovered from the same state next time.
        if self.topics().iter().all(|topic| topic.unavailable_partitions().is_empty()) {
            inner.write_lock()?.recovered(&inner.directory.dir)?;
        }
        Ok(())
    }

    /// Finds the id of a topic: the id chosen before its partitions were created, or the one that
    /// any partition has.
    fn find_id(&self, topic: &mut FoundTopic) {
        let id = match topic.state {
            TopicState::Creating(Some(id)) => Ok(id),
            _ => self.read_id(&topic.name, topic.partitions.iter().copied()),
        };
        match id {
            Ok(id) => topic.id = Some(id),
            Err(error) => topic.load_error = topic.load_error.take().or(Some(error)),
        }
    }

    /// Reads the id from any of these partitions. Brokers before Kafka 2.8 wrote none, so a topic
    /// without an id gets a new one, but never because an id could not be read.
    fn read_id(&self, topic: &str, partitions: impl Iterator<Item = u32>) -> Result<TopicId> {
        let mut failed = None;
        for number in partitions {
            match self.inner().directory.read_topic_id(topic, number) {
                Ok(Some(id)) => return Ok(id),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or_else(|| Ok(TopicId::random()), Err)
    }

    /// Returns the id of a topic. Reads it again if it could not be read when the store was
    /// opened.
    pub(super) fn resolve_id(&self, topic: &Topic) -> Result<TopicId> {
        if topic.id().is_zero() {
            topic.set_id(self.read_id(topic.name(), 0..topic.partition_count())?);
        }
        Ok(topic.id())
    }

    /// Opens the log of a partition whose directory exists. Also returns whether it took over the
    /// checkpoints beside its segments.
    pub(super) fn open_partition(
        &self,
        topic: &str,
        partition: u32,
        id: TopicId,
        config: &LogConfig,
    ) -> Result<(Log, bool)> {
        let inner = self.inner();
        match inner.directory.read_topic_id(topic, partition)? {
            Some(known) if known == id => {}
            Some(_) => {
                let reason =
                    "its `partition.metadata` has the id of another topic of that name".to_owned();
                let path = inner.directory.partition_path(topic, partition);
                return Err(TopicError::InvalidDirectory { path, reason }.into());
            }
            None => {
                inner.directory.check_is_log(topic, partition)?;
                inner.directory.write_topic_id(topic, partition, id)?;
            }
        }
        let mut config = config.clone();
        // The coordinator knows the transactions of all producers.
        config.transactions.verify = true;
        config.transactions.stores_groups = topic == CONSUMER_OFFSETS;
        // The log keeps the maintainer alive, even when no handle of the store is left.
        config.maintainer = inner.maintainer.clone();
        let within = DataDir {
            fs: Arc::clone(&inner.directory.dir.fs),
            lock: inner.write_lock()?,
            checkpoints: Arc::clone(&inner.checkpoints),
            is_for_one: false,
            topic: Some(id.to_bytes()),
        };
        inner.directory.open_log(topic, partition, &config, &within)
    }

    /// Registers logs that were just opened for maintenance. An earlier log may be closed or
    /// poisoned.
    pub(super) fn register_with_maintainer(&self, logs: &[Log]) -> Result<()> {
        let Some(maintainer) = &self.inner().maintainer else { return Ok(()) };
        logs.iter().try_for_each(|log| maintainer.add(log))
    }
}
