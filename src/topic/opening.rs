//! Opening the topics of a directory, and finishing what a crash has interrupted.

use crate::error::{Error, Result, TopicError};
use crate::event::Event;
use crate::log::{DataDir, Log, LogConfig, OnCorruption};
use crate::sync::atomic::Ordering;
use crate::topic::definition::State;
use crate::topic::directory::{Found, Survey};
use crate::topic::handle::TopicShared;
use crate::topic::id::TopicId;
use crate::topic::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Store {
    /// Opens all partitions that are there, several at once.
    pub(super) fn open_topics(&self) -> Result<()> {
        let shared = self.shared();
        let survey = shared.directory.survey(&shared.checkpoints)?;
        self.check_missing(&survey)?;
        let Survey { found, deleting } = survey;
        let jobs: Vec<(usize, u32)> = found
            .iter()
            .enumerate()
            .flat_map(|(at, topic)| (0..topic.config.partitions).map(move |number| (at, number)))
            .collect();
        let ids: Vec<TopicId> =
            found.iter().map(|topic| self.id_of(topic)).collect::<Result<_>>()?;
        let configs: Vec<LogConfig> = found
            .iter()
            .map(|topic| topic.config.apply(&shared.config.log))
            .collect::<Result<_>>()?;
        let opened = shared.in_parallel(&jobs, |&(at, number)| {
            let (Some(topic), Some(id), Some(config)) =
                (found.get(at), ids.get(at), configs.get(at))
            else {
                return Err(Error::Closed);
            };
            if topic.unfinished {
                shared.directory.make(&topic.name, number)?;
            }
            self.open_partition(&topic.name, number, *id, config)
        });
        let mut logs: BTreeMap<usize, Vec<Log>> = BTreeMap::new();
        let (mut taken_over, mut failed) = (Vec::new(), None);
        for ((at, _), opened) in jobs.iter().zip(opened) {
            match opened {
                Ok((log, from_beside)) => {
                    if from_beside {
                        taken_over.push(log.clone());
                    }
                    logs.entry(*at).or_default().push(log);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        {
            let mut topics = shared.topics.write();
            for (at, (topic, id)) in found.iter().zip(ids).enumerate() {
                let name: Arc<str> = topic.name.as_str().into();
                let logs = logs.remove(&at).unwrap_or_default();
                let topic = TopicShared::new(Arc::clone(&name), id, logs, topic.config.clone());
                topics.insert(name, Arc::new(topic));
            }
        }
        shared.is_surveyed.store(true, Ordering::Release);
        if let Some(error) = failed {
            return Err(error);
        }
        self.settle(&found, taken_over)?;
        for (topic, partitions) in deleting {
            let groups = self.existing_coordinator()?;
            let count = partitions.last().map_or(0, |last| last.saturating_add(1));
            shared.interrupted.lock().insert(topic.clone(), count);
            // All others can be used. It is tried again when the name is, or at the next opening.
            if let Err(error) = self.finish_deletion(&topic, groups.as_deref()) {
                let (path, error) = (shared.directory.path_of(&topic, 0), error.to_string());
                shared.directory.dir.events.emit(&Event::CleanupFailed { path, error });
            }
        }
        shared.directory.dir.fill_reserve();
        self.topics().iter().try_for_each(|topic| self.maintain_topic(topic))
    }

    /// The marker of a clean shutdown knows the topics that there were. No log can tell that all directories of one are gone.
    fn check_missing(&self, survey: &Survey) -> Result<()> {
        let shared = self.shared();
        if shared.config.log.on_corruption != OnCorruption::Fail {
            return Ok(());
        }
        let is_there = |topic: &str| {
            survey.found.iter().any(|found| found.name == topic)
                || survey.deleting.iter().any(|(name, _)| name == topic)
        };
        match shared.checkpoints.closed_topics().into_iter().find(|topic| !is_there(topic)) {
            Some(topic) => Err(TopicError::Missing { topic }.into()),
            None => Ok(()),
        }
    }

    /// Makes durable what the opening has found.
    fn settle(&self, found: &[Found], taken_over: Vec<Log>) -> Result<()> {
        let shared = self.shared();
        shared.checkpoints.commit(shared.partitions())?;
        for log in taken_over {
            log.remove_own_checkpoints()?;
        }
        for topic in found.iter().filter(|topic| topic.unfinished) {
            shared.directory.define(&topic.name, &topic.config, State::Settled)?;
        }
        shared.write_lock()?.recovered(&shared.directory.dir)?;
        Ok(())
    }

    /// The id of a topic: what was decided before its partitions were made, or what any of them has. A topic without one, as
    /// brokers before Kafka 2.8 made them, gets a new id.
    fn id_of(&self, topic: &Found) -> Result<TopicId> {
        if let State::Creating(Some(id)) = topic.state {
            return Ok(id);
        }
        for number in &topic.partitions {
            if let Some(id) = self.shared().directory.topic_id(&topic.name, *number)? {
                return Ok(id);
            }
        }
        Ok(TopicId::random())
    }

    /// Opens the log of a partition whose directory is there. Says whether it took over checkpoints from beside its segments.
    pub(super) fn open_partition(
        &self,
        topic: &str,
        partition: u32,
        id: TopicId,
        config: &LogConfig,
    ) -> Result<(Log, bool)> {
        let shared = self.shared();
        match shared.directory.topic_id(topic, partition)? {
            Some(known) if known == id => {}
            Some(_) => {
                let reason = "its `partition.metadata` has the id of another topic of that name";
                let path = shared.directory.path_of(topic, partition);
                return Err(TopicError::InvalidDirectory { path, reason }.into());
            }
            None => shared.directory.set_topic_id(topic, partition, id)?,
        }
        let mut config = config.clone();
        // With its log the maintainer stays, even when no handle of the store is left.
        config.maintainer = shared.maintainer.clone();
        let within = DataDir {
            fs: Arc::clone(&shared.directory.dir.fs),
            lock: shared.write_lock()?,
            checkpoints: Arc::clone(&shared.checkpoints),
            is_for_one: false,
        };
        shared.directory.open_log(topic, partition, &config, &within)
    }

    pub(super) fn maintain_topic(&self, topic: &crate::topic::handle::Topic) -> Result<()> {
        let Some(maintainer) = &self.shared().maintainer else { return Ok(()) };
        topic.partitions().iter().try_for_each(|log| maintainer.add(log))
    }
}
