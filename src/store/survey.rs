//! Finding the topics of a directory, and the remains of interrupted changes.

use crate::checkpoint::PARTITION_METADATA;
use crate::error::{Error, Result, TopicError};
use crate::event::Event;
use crate::fs::EntryKind;
use crate::log::{Checkpoint, DataCheckpoints};
use crate::store::directory::{Directory, is_log_file, is_temporary, is_vacant};
use crate::store::partition_dir::{DirSuffix, PartitionDir};
use crate::store::settings::{TopicConfig, broker_topic_config};
use crate::store::topic_properties::{TopicDefinition, TopicState};
use crate::uuid::TopicId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The content of a directory.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) found: Vec<FoundTopic>,
    /// Directories that belong to no topic.
    pub(crate) unknown: Vec<PathBuf>,
    /// Topics that were being deleted, and their remaining partitions.
    pub(crate) deleting: Vec<(String, BTreeSet<u32>)>,
}

/// A topic in the directory.
#[derive(Debug)]
pub(crate) struct FoundTopic {
    pub(crate) name: String,
    pub(crate) config: TopicConfig,
    pub(crate) state: TopicState,
    /// The partitions whose directories exist.
    pub(crate) partitions: BTreeSet<u32>,
    /// The partitions that were here and are missing. A partition that is neither here nor
    /// missing is elsewhere.
    pub(crate) missing: BTreeSet<u32>,
    /// The id; `None` until it is read, or if it cannot be read.
    pub(crate) id: Option<TopicId>,
    /// The error of reading its definition or its id.
    pub(crate) load_error: Option<Error>,
    /// Whether its creation was interrupted, so that some partitions may not exist yet.
    pub(crate) unfinished: bool,
}

impl Directory {
    /// Removes what is left of deleted logs, then returns the topics in the directory.
    pub(crate) fn survey(&self, checkpoints: &DataCheckpoints) -> Result<Survey> {
        let mut topics: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        let mut unknown = Vec::new();
        let path = &self.dir.path;
        for entry in self.dir.fs.list(path).map_err(|e| Error::io("list", path, e))? {
            if entry.kind != EntryKind::Directory {
                continue;
            }
            let Some(parsed) = self.parse(&entry.name)? else {
                unknown.push(entry.name);
                continue;
            };
            match parsed {
                Some(PartitionDir { topic, partition, suffix: DirSuffix::None }) => {
                    topics.entry(topic).or_default().insert(partition);
                }
                Some(PartitionDir { suffix: DirSuffix::Delete(_), .. }) => {
                    let within = self.entries(&path.join(&entry.name))?.unwrap_or_default();
                    if within.iter().all(is_temporary) || within.iter().any(is_log_file) {
                        self.remove_deleted_dir(&entry.name)?;
                    } else {
                        unknown.push(entry.name);
                    }
                }
                _ => {}
            }
        }
        let mut survey = Survey::default();
        unknown.into_iter().for_each(|name| self.report_unknown(&name, &mut survey));
        for (name, partitions) in topics {
            self.resolve_topic(name, partitions, checkpoints, &mut survey)?;
        }
        Ok(survey)
    }

    /// Reports a directory that is left alone.
    fn report_unknown(&self, name: &str, survey: &mut Survey) {
        let path = self.dir.path.join(name);
        self.dir.events.emit(&Event::UnknownFile { path: path.clone() });
        survey.unknown.push(path);
    }

    /// Finds out the state of a topic with directories for these partitions.
    fn resolve_topic(
        &self,
        name: String,
        mut partitions: BTreeSet<u32>,
        checkpoints: &DataCheckpoints,
        survey: &mut Survey,
    ) -> Result<()> {
        let (defined, load_error) = match self.read_definition(&name) {
            Ok(defined) => (defined, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(TopicDefinition { state: TopicState::Deleting, .. }) = defined {
            // A process may have ended before the mark was durable. No effect of the mark may be
            // durable before the mark itself.
            self.first_partition(&name).sync()?;
            survey.deleting.push((name, partitions));
            return Ok(());
        }
        // All numbers below this belong to the topic by its definition, whatever is in their
        // directories.
        let counted = match (&defined, &load_error) {
            (Some(definition), _) => definition.config.partitions,
            (None, Some(_)) => u32::MAX,
            (None, None) => 0,
        };
        for number in partitions.range(counted..).copied().collect::<Vec<_>>() {
            if !self.is_partition(&name, number, defined.is_some(), checkpoints)? {
                partitions.remove(&number);
                self.report_unknown(&PartitionDir::current(&name, number).to_string(), survey);
            }
        }
        let Some(highest) = partitions.last().map(|last| last.saturating_add(1)) else {
            return Ok(());
        };
        let by_broker = || TopicDefinition {
            config: broker_topic_config(&name, highest),
            state: TopicState::Settled,
        };
        let TopicDefinition { config, state } = defined.unwrap_or_else(by_broker);
        // A broker may have added partitions since.
        let count = config.partitions.max(highest);
        let unfinished = matches!(state, TopicState::Creating(_));
        let mut missing = BTreeSet::new();
        if !unfinished {
            // A broker keeps no checkpoint for a partition that it does not have.
            let was_here = |number: &u32| {
                *number < counted || Directory::has_checkpoint(&name, *number, checkpoints)
            };
            let absent = (0..count).filter(|number| !partitions.contains(number));
            missing.extend(absent.filter(was_here));
        }
        let config = config.partitions(count);
        let id = None;
        survey.found.push(FoundTopic {
            name,
            config,
            state,
            partitions,
            missing,
            id,
            load_error,
            unfinished,
        });
        Ok(())
    }

    /// Returns whether a directory with the name of a partition belongs to the topic, although its
    /// number is beyond the topic's definition. It does if a checkpoint knows the partition, or
    /// if the directory holds more than temporary files. Any other directory is left alone,
    /// because nothing was ever acknowledged in it.
    ///
    /// Fails for a directory with a log that does not belong to the topic. A broker that adds a
    /// partition writes the id of the topic into it.
    fn is_partition(
        &self,
        topic: &str,
        number: u32,
        is_defined: bool,
        checkpoints: &DataCheckpoints,
    ) -> Result<bool> {
        let is_known = Directory::has_checkpoint(topic, number, checkpoints);
        if is_known && !is_defined {
            return Ok(true);
        }
        let entries = self.entries(&self.partition_path(topic, number))?.unwrap_or_default();
        if is_vacant(&entries) && !is_known {
            return Ok(false);
        }
        if is_defined && !entries.iter().any(|entry| entry.name == PARTITION_METADATA) {
            let reason = "its number is beyond the partitions in `topic.properties` of its topic, and it has no `partition.metadata`; move it out of the store, and open it as a log if you need its records";
            let name = PartitionDir::current(topic, number).to_string();
            return Err(self.invalid(&name, reason));
        }
        Ok(true)
    }

    /// Fails if two topics have the same id, because the directories of one are copies of the
    /// other's. Partitions that the copy lacks do not count as missing.
    pub(crate) fn check_copies(
        &self,
        found: &[FoundTopic],
        checkpoints: &DataCheckpoints,
    ) -> Result<()> {
        let is_known = |topic: &FoundTopic| {
            topic.partitions.iter().any(|n| Directory::has_checkpoint(&topic.name, *n, checkpoints))
        };
        let evidence = |topic: &FoundTopic| (!is_known(topic), Reverse(topic.partitions.len()));
        let mut by_evidence: Vec<&FoundTopic> = found.iter().collect();
        by_evidence.sort_by_key(|topic| evidence(topic));
        let mut by_id: BTreeMap<[u8; 16], &FoundTopic> = BTreeMap::new();
        for topic in by_evidence {
            let Some(id) = topic.id.filter(|id| !id.is_zero()) else { continue };
            if let Some(original) = by_id.insert(id.to_bytes(), topic) {
                let first = topic.partitions.first().copied().unwrap_or(0);
                let what = if evidence(original) == evidence(topic) {
                    "so one of the two is a copy; move the copy out of the store"
                } else {
                    "and seems to be a copy of it; move it out of the store"
                };
                let reason = format!("it has the id of topic `{}`, {what}", original.name);
                let path = self.partition_path(&topic.name, first);
                return Err(TopicError::InvalidDirectory { path, reason }.into());
            }
        }
        Ok(())
    }

    /// Returns whether a checkpoint has a line for a partition.
    fn has_checkpoint(topic: &str, partition: u32, checkpoints: &DataCheckpoints) -> bool {
        let log = (topic.to_owned(), partition.cast_signed());
        Checkpoint::ALL.iter().any(|checkpoint| checkpoints.get(&log, *checkpoint).is_some())
    }
}
