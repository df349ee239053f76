//! Opening the topics of a directory, and finishing what a crash has interrupted.

use crate::error::{Error, ErrorKind, Result, TopicError};
use crate::event::Event;
use crate::log::{DataDir, Log, LogConfig, OnCorruption};
use crate::store::config::OfflinePartitions;
use crate::store::survey::{Found, Survey};
use crate::store::topic::{Slot, Topic, TopicShared};
use crate::store::topic_properties::State;
use crate::store::topics::Store;
use crate::uuid::TopicId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A partition to be opened.
struct Job<'a> {
    topic: &'a Prepared<'a>,
    number: u32,
}

/// A topic whose partitions are about to be opened.
struct Prepared<'a> {
    found: &'a Found,
    id: TopicId,
    config: LogConfig,
}

/// Whether what is wrong is wrong with one log. A full disk, too many open files, or a lock is
/// not.
fn is_of_one(error: &Error) -> bool {
    let kinds = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Io];
    matches!(error, Error::Topic(_)) || kinds.contains(&error.kind())
}

impl Store {
    /// Opens all partitions that are there, several at once.
    pub(super) fn open_topics(&self) -> Result<()> {
        let inner = self.inner();
        let mut survey = inner.directory.survey(&inner.checkpoints)?;
        self.check_missing(&survey)?;
        survey.found.iter_mut().for_each(|found| self.find_id(found));
        inner.directory.check_copies(&survey.found, &inner.checkpoints)?;
        self.check_broken(&mut survey)?;
        let Survey { found, deleting, unknown } = survey;
        *inner.unknown.write() = unknown;
        let prepare = |topic| self.prepare(topic);
        let prepared: Vec<Prepared<'_>> = found.iter().map(prepare).collect::<Result<_>>()?;
        let jobs: Vec<Job<'_>> = prepared
            .iter()
            .flat_map(|topic| {
                (0..topic.found.config.partitions).map(move |number| Job { topic, number })
            })
            .collect();
        let opened = inner.in_parallel(&jobs, |job| self.open_found(job));
        let mut slots: BTreeMap<&str, Vec<Slot>> = BTreeMap::new();
        let (mut taken_over, mut failed) = (Vec::new(), None);
        for (Job { topic, .. }, opened) in jobs.iter().zip(opened) {
            let slots = slots.entry(&topic.found.name).or_default();
            match opened {
                Ok((slot, own)) => {
                    taken_over.extend(own);
                    slots.push(slot);
                }
                Err(error) => {
                    slots.push(Slot::offline(&error));
                    failed = failed.or(Some(error));
                }
            }
        }
        {
            let mut topics = inner.topics.write();
            for Prepared { found, id, .. } in &prepared {
                let name: Arc<str> = found.name.as_str().into();
                let slots = slots.remove(&*found.name).unwrap_or_default();
                let topic = TopicShared::new(Arc::clone(&name), *id, slots, found.config.clone());
                topics.insert(name, Arc::new(topic));
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        inner.checkpoints.unmark()?;
        self.settle(&found, taken_over)?;
        for (topic, partitions) in deleting {
            let groups = self.existing_coordinator()?;
            let count = partitions.last().map_or(0, |last| last.saturating_add(1));
            inner.interrupted.lock().insert(topic.clone(), count);
            // All others can be used. It is tried again when the name is, or at the next opening.
            if let Err(error) = self.finish_deletion(&topic, groups.as_deref()) {
                let (path, error) = (inner.directory.path_of(&topic, 0), error.to_string());
                inner.directory.dir.events.emit(&Event::CleanupFailed { path, error });
            }
        }
        inner.directory.dir.fill_reserve();
        self.topics().iter().try_for_each(|topic| self.maintain_new(&topic.partitions()))
    }

    /// The marker of a clean shutdown knows the topics that there were. No log can tell that all
    /// directories of one are gone.
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

    /// A topic whose definition or id cannot be read may be offline, if that is what is wrong.
    fn check_broken(&self, survey: &mut Survey) -> Result<()> {
        let may_be = |error: &Error| {
            self.inner().config.offline != OfflinePartitions::Never && is_of_one(error)
        };
        let is_refused = |found: &&mut Found| found.broken.as_ref().is_some_and(|e| !may_be(e));
        let refused = survey.found.iter_mut().find(is_refused);
        refused.and_then(|found| found.broken.take()).map_or(Ok(()), Err)
    }

    fn prepare<'a>(&self, found: &'a Found) -> Result<Prepared<'a>> {
        let id = found.id.unwrap_or(TopicId::ZERO);
        let config = found.config.apply(&self.inner().config.log)?;
        Ok(Prepared { found, id, config })
    }

    /// Opens a partition, if it is here. One that cannot be opened is offline, unless that is not
    /// to be. The log is given, too, if it took over checkpoints from beside its segments.
    fn open_found(&self, job: &Job<'_>) -> Result<(Slot, Option<Log>)> {
        let (inner, number) = (self.inner(), job.number);
        let Prepared { found, id, config } = job.topic;
        let Found { name, partitions, gone, broken, unfinished, .. } = found;
        if gone.contains(&number) {
            let (topic, count) = (name.clone(), found.config.partitions);
            let partitions = count;
            let missing = TopicError::MissingPartition { topic, partition: number, partitions };
            return self.offline(name, number, missing.into());
        }
        if !unfinished && !partitions.contains(&number) {
            return Ok((Slot::Elsewhere, None));
        }
        if let Some(error) = broken {
            return Ok((self.set_offline(name, number, error), None));
        }
        let open = || {
            if *unfinished {
                inner.directory.make(name, number)?;
            }
            self.open_partition(name, number, *id, config)
        };
        match open() {
            Ok((log, from_beside)) => Ok((Slot::Open(log.clone()), from_beside.then_some(log))),
            Err(error) => self.offline(name, number, error),
        }
    }

    /// Leaves a partition offline, if one may be with this error.
    fn offline(&self, topic: &str, number: u32, error: Error) -> Result<(Slot, Option<Log>)> {
        let is_missing = |error: &TopicError| matches!(error, TopicError::MissingPartition { .. });
        let may_be = match (self.inner().config.offline, &error) {
            (OfflinePartitions::Never, _) => false,
            (OfflinePartitions::Damaged, Error::Topic(error)) => !is_missing(error),
            (_, Error::Topic(_)) => true,
            (_, error) => is_of_one(error),
        };
        if may_be { Ok((self.set_offline(topic, number, &error), None)) } else { Err(error) }
    }

    pub(super) fn set_offline(&self, topic: &str, number: u32, error: &Error) -> Slot {
        let (path, reason) = (self.inner().directory.path_of(topic, number), error.to_string());
        let event = Event::PartitionOffline { path, error: reason };
        self.inner().directory.dir.events.emit(&event);
        Slot::offline(error)
    }

    /// Makes durable what the opening has found.
    fn settle(&self, found: &[Found], taken_over: Vec<Log>) -> Result<()> {
        let inner = self.inner();
        inner.checkpoints.commit(inner.partitions())?;
        for log in taken_over {
            log.remove_own_checkpoints()?;
        }
        for topic in found.iter().filter(|topic| topic.unfinished) {
            inner.directory.define(&topic.name, &topic.config, State::Settled)?;
        }
        // What could not be opened is to be recovered from the same knowledge.
        if self.topics().iter().all(|topic| topic.unavailable_partitions().is_empty()) {
            inner.write_lock()?.recovered(&inner.directory.dir)?;
        }
        Ok(())
    }

    /// Finds the id of a topic: what was decided before its partitions were made, or what any of
    /// them has.
    fn find_id(&self, topic: &mut Found) {
        let id = match topic.state {
            State::Creating(Some(id)) => Ok(id),
            _ => self.id_of(&topic.name, topic.partitions.iter().copied()),
        };
        match id {
            Ok(id) => topic.id = Some(id),
            Err(error) => topic.broken = topic.broken.take().or(Some(error)),
        }
    }

    /// The id that any of these partitions of a topic has. A topic without one, as brokers
    /// before Kafka 2.8 made them, gets a new id, but never because one could not be read.
    fn id_of(&self, topic: &str, partitions: impl Iterator<Item = u32>) -> Result<TopicId> {
        let mut failed = None;
        for number in partitions {
            match self.inner().directory.topic_id(topic, number) {
                Ok(Some(id)) => return Ok(id),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or_else(|| Ok(TopicId::random()), Err)
    }

    /// The id of a topic, looked for again if it could not be read when the store was opened.
    pub(super) fn known_id(&self, topic: &Topic) -> Result<TopicId> {
        if topic.id().is_zero() {
            topic.set_id(self.id_of(topic.name(), 0..topic.partition_count())?);
        }
        Ok(topic.id())
    }

    /// Opens the log of a partition whose directory is there. Says whether it took over
    /// checkpoints from beside its segments.
    pub(super) fn open_partition(
        &self,
        topic: &str,
        partition: u32,
        id: TopicId,
        config: &LogConfig,
    ) -> Result<(Log, bool)> {
        let inner = self.inner();
        match inner.directory.topic_id(topic, partition)? {
            Some(known) if known == id => {}
            Some(_) => {
                let reason =
                    "its `partition.metadata` has the id of another topic of that name".to_owned();
                let path = inner.directory.path_of(topic, partition);
                return Err(TopicError::InvalidDirectory { path, reason }.into());
            }
            None => {
                inner.directory.check_is_log(topic, partition)?;
                inner.directory.set_topic_id(topic, partition, id)?;
            }
        }
        let mut config = config.clone();
        // With its log the maintainer stays, even when no handle of the store is left.
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

    /// Has logs maintained that were opened just now. An earlier one may be closed or poisoned.
    pub(super) fn maintain_new(&self, logs: &[Log]) -> Result<()> {
        let Some(maintainer) = &self.inner().maintainer else { return Ok(()) };
        logs.iter().try_for_each(|log| maintainer.add(log))
    }
}
