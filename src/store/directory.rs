//! The directory of a store: which topics lie in it, and what an interrupted change left.
//!
//! ```text
//!  data/
//!    .lock                               one process at a time
//!    meta.properties                     the ids of cluster, node and directory
//!    recovery-point-offset-checkpoint    a line a log, as are the next two
//!    log-start-offset-checkpoint
//!    cleaner-offset-checkpoint
//!    .kafka_cleanshutdown                only while no process has it open for writing
//!    producer-ids.properties             the next producer ids
//!    orders-0/                           a log: partition 0 of `orders`
//!      partition.metadata                the topic's id
//!      topic.properties                  the settings of the topic, only in partition 0
//!    orders-1/
//!    users-0.<32 digits>-delete/         a log that is being removed
//! ```

use crate::checkpoint::{CLEAN_SHUTDOWN, LOCK, TOPIC_PROPERTIES};
use crate::error::{Corruption, CorruptionKind, Error, Result, TopicError, is_storage_full};
use crate::event::{Event, EventSink};
use crate::fs::{Dir, DirEntry, EntryKind};
use crate::log::{Checkpoint, CleanupPolicy, DataCheckpoints, DataDir, Log, LogConfig, Place};
use crate::segment::name::{Name, SegmentFile, is_of_system};
use crate::store::meta_properties::{
    META_PROPERTIES, MetaProperties, PARTITION_METADATA, format_partition_metadata,
    parse_partition_metadata,
};
use crate::store::name::{PartitionDir, Stage, is_like_partition};
use crate::store::settings::TopicConfig;
use crate::store::topic_properties::{Definition, State};
use crate::topic_name::is_compacted;
use crate::uuid::{KafkaUuid, TopicId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SMALL_FILE_BYTES: u64 = 1 << 20;

/// The most partitions a topic may have: each is a directory.
pub(crate) const MOST_PARTITIONS: u32 = 100_000;

/// The directory of a store, whose lock is held.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) dir: Arc<Dir>,
}

/// The content of a directory.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) found: Vec<Found>,
    /// Directories that have nothing to do with topics.
    pub(crate) unknown: Vec<PathBuf>,
    /// Topics that were being deleted, and the partitions that are left of them.
    pub(crate) deleting: Vec<(String, BTreeSet<u32>)>,
}

/// A topic that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) config: TopicConfig,
    pub(crate) state: State,
    /// The partitions whose directories are there.
    pub(crate) partitions: BTreeSet<u32>,
    /// The partitions that were here and are gone. A partition that is neither here nor gone is
    /// elsewhere.
    pub(crate) gone: BTreeSet<u32>,
    /// Its id, once that was looked for, if it is known.
    pub(crate) id: Option<TopicId>,
    /// Why it is not known how it is set up, or which id it has.
    pub(crate) broken: Option<Error>,
    /// Whether some of its partitions may not be there yet.
    pub(crate) unfinished: bool,
}

impl Directory {
    pub(crate) fn new(place: &Place, config: &LogConfig) -> Directory {
        let events = EventSink::new(config.listener.clone());
        let (fs, path) = (Arc::clone(&place.fs), place.path.clone());
        let dir = Dir::new(fs, path, events, true);
        Directory { dir: Arc::new(dir.with_own_reserve()) }
    }

    pub(crate) fn path_of(&self, topic: &str, partition: u32) -> PathBuf {
        self.dir.path.join(PartitionDir::current(topic, partition).to_string())
    }

    fn invalid(&self, name: &str, reason: &'static str) -> Error {
        TopicError::InvalidDirectory { path: self.dir.path.join(name), reason: reason.to_owned() }
            .into()
    }

    /// What the name of a directory says; `None` for one that is something else, and is left
    /// alone. One that could be taken for a partition's is refused.
    fn parse(&self, name: &str) -> Result<Option<Option<PartitionDir>>> {
        match PartitionDir::parse(name) {
            Ok(Some(dir)) if dir.partition >= MOST_PARTITIONS => {
                let reason =
                    "a topic has at most 100,000 partitions: if it is no partition, move it away";
                Err(self.invalid(name, reason))
            }
            Ok(parsed) => Ok(Some(parsed)),
            Err(reason) if is_like_partition(name) => Err(self.invalid(name, reason)),
            Err(_) => Ok(None),
        }
    }

    /// Fails for a directory that is something else. Nothing was written in it yet.
    pub(crate) fn check(&self) -> Result<()> {
        let path = &self.dir.path;
        let entries = self.dir.fs.list(path).map_err(|error| Error::list(path, error))?;
        for entry in &entries {
            if entry.kind == EntryKind::File && SegmentFile::parse(&entry.name).is_some() {
                let reason = "it is a file of a log: this is the directory of one partition; give the one above it";
                return Err(self.invalid(&entry.name, reason));
            }
            match entry.kind {
                EntryKind::Directory => drop(self.parse(&entry.name)?),
                EntryKind::Other if matches!(self.parse(&entry.name), Ok(Some(Some(_)))) => {
                    let reason = "it has the name of a partition and is no directory; symbolic links are not followed: put the directory itself there";
                    return Err(self.invalid(&entry.name, reason));
                }
                EntryKind::File | EntryKind::Other => {}
            }
        }
        let others = entries.iter().find(|entry| !is_of_system(&entry.name));
        let Some(other) = others.filter(|_| !entries.iter().any(is_of_data_dir)) else {
            return Ok(());
        };
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Directory) {
            let is_of_data_dir = match self.parse(&entry.name)? {
                // A name alone may be of others.
                Some(Some(_)) => {
                    let within = self.entries(&path.join(&entry.name))?.unwrap_or_default();
                    within.iter().any(is_of_log)
                }
                Some(None) => true,
                None => false,
            };
            if is_of_data_dir {
                return Ok(());
            }
        }
        let reason = "the directory holds nothing of a store or a broker, so it belongs to something else; give the store a directory of its own";
        Err(self.invalid(&other.name, reason))
    }

    /// Reads the ids of the directory. A new directory gets random ids.
    pub(crate) fn identify(&self) -> Result<()> {
        let path = self.dir.path.join(META_PROPERTIES);
        match self.dir.read_small(&path, SMALL_FILE_BYTES)? {
            Some(bytes) => match MetaProperties::parse(&bytes) {
                Ok(_) => Ok(()),
                Err(reason) => Err(malformed(path, reason)),
            },
            None => {
                let cluster = KafkaUuid::random().to_string();
                let meta = MetaProperties::new(1, &cluster, KafkaUuid::random());
                self.dir.replace_if_room(&path, meta.format().as_bytes())
            }
        }
    }

    /// The topics that are there, after what is left of deleted logs was removed.
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
                Some(PartitionDir { topic, partition, stage: Stage::Current }) => {
                    topics.entry(topic).or_default().insert(partition);
                }
                Some(PartitionDir { stage: Stage::Delete(_), .. }) => {
                    let within = self.entries(&path.join(&entry.name))?.unwrap_or_default();
                    if within.iter().all(is_temporary) || within.iter().any(is_of_log) {
                        self.remove_deleted(&entry.name)?;
                    } else {
                        unknown.push(entry.name);
                    }
                }
                _ => {}
            }
        }
        let mut survey = Survey::default();
        unknown.into_iter().for_each(|name| self.leave(&name, &mut survey));
        for (name, partitions) in topics {
            self.settle(name, partitions, checkpoints, &mut survey)?;
        }
        Ok(survey)
    }

    /// Leaves a directory alone, and says so.
    fn leave(&self, name: &str, survey: &mut Survey) {
        let path = self.dir.path.join(name);
        self.dir.events.emit(&Event::UnknownFile { path: path.clone() });
        survey.unknown.push(path);
    }

    /// Finds out what became of a topic with directories for these partitions.
    fn settle(
        &self,
        name: String,
        mut partitions: BTreeSet<u32>,
        checkpoints: &DataCheckpoints,
        survey: &mut Survey,
    ) -> Result<()> {
        let (defined, broken) = match self.definition(&name) {
            Ok(defined) => (defined, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(Definition { state: State::Deleting, .. }) = defined {
            // A process may have ended before that was durable. What comes of it now must not be
            // durable first.
            self.first(&name).sync()?;
            survey.deleting.push((name, partitions));
            return Ok(());
        }
        // Those that the topic has by its definition, whatever is in their directories.
        let counted = match (&defined, &broken) {
            (Some(definition), _) => definition.config.partitions,
            (None, Some(_)) => u32::MAX,
            (None, None) => 0,
        };
        for number in partitions.range(counted..).copied().collect::<Vec<_>>() {
            if !self.is_partition(&name, number, defined.is_some(), checkpoints)? {
                partitions.remove(&number);
                self.leave(&PartitionDir::current(&name, number).to_string(), survey);
            }
        }
        let Some(highest) = partitions.last().map(|last| last.saturating_add(1)) else {
            return Ok(());
        };
        let of_a_broker =
            || Definition { config: of_a_broker(&name, highest), state: State::Settled };
        let Definition { config, state } = defined.unwrap_or_else(of_a_broker);
        // A broker may have added some since.
        let count = config.partitions.max(highest);
        let unfinished = matches!(state, State::Creating(_));
        let mut gone = BTreeSet::new();
        if !unfinished {
            // A broker keeps no checkpoint of what it has not.
            let was_here = |number: &u32| {
                *number < counted || Directory::has_lines(&name, *number, checkpoints)
            };
            let missing = (0..count).filter(|number| !partitions.contains(number));
            gone.extend(missing.filter(was_here));
        }
        let config = config.partitions(count);
        let id = None;
        survey.found.push(Found { name, config, state, partitions, gone, id, broken, unfinished });
        Ok(())
    }

    /// Whether a directory that is named like a partition's is one, although nothing counts it
    /// as such: a checkpoint knows it, or it has a file of a log. Any other that is empty is
    /// left alone: nothing was ever acknowledged in it.
    ///
    /// Fails for one with a log that the topic has not. A broker that adds a partition writes
    /// the topic's id into it.
    fn is_partition(
        &self,
        topic: &str,
        number: u32,
        is_defined: bool,
        checkpoints: &DataCheckpoints,
    ) -> Result<bool> {
        let is_known = Directory::has_lines(topic, number, checkpoints);
        if is_known && !is_defined {
            return Ok(true);
        }
        let entries = self.entries(&self.path_of(topic, number))?.unwrap_or_default();
        if is_vacant(&entries) && !is_known {
            return Ok(false);
        }
        if is_defined && !entries.iter().any(|entry| entry.name == PARTITION_METADATA) {
            let reason = "its number is beyond the partitions that `topic.properties` of its topic counts, and it has no `partition.metadata`; move it out of the store, and open it there as a log if you need its records";
            let name = PartitionDir::current(topic, number).to_string();
            return Err(self.invalid(&name, reason));
        }
        Ok(true)
    }

    /// Fails if two topics have one id: the directories of one are copies of those of the other.
    /// What is missing of the copy is not gone.
    pub(crate) fn check_copies(
        &self,
        found: &[Found],
        checkpoints: &DataCheckpoints,
    ) -> Result<()> {
        let is_known = |topic: &Found| {
            topic.partitions.iter().any(|n| Directory::has_lines(&topic.name, *n, checkpoints))
        };
        let evidence = |topic: &Found| (!is_known(topic), Reverse(topic.partitions.len()));
        let mut by_evidence: Vec<&Found> = found.iter().collect();
        by_evidence.sort_by_key(|topic| evidence(topic));
        let mut by_id: BTreeMap<[u8; 16], &Found> = BTreeMap::new();
        for topic in by_evidence {
            let Some(id) = topic.id.filter(|id| !id.is_zero()) else { continue };
            if let Some(original) = by_id.insert(id.to_bytes(), topic) {
                let first = topic.partitions.first().copied().unwrap_or(0);
                let what = if evidence(original) == evidence(topic) {
                    "one of the two is a copy: move that one out"
                } else {
                    "of which it seems to be a copy: move it out"
                };
                let reason = format!("it has the id of topic `{}`, {what}", original.name);
                let path = self.path_of(&topic.name, first);
                return Err(TopicError::InvalidDirectory { path, reason }.into());
            }
        }
        Ok(())
    }

    /// Whether a checkpoint knows of a partition.
    fn has_lines(topic: &str, partition: u32, checkpoints: &DataCheckpoints) -> bool {
        let log = (topic.to_owned(), partition.cast_signed());
        Checkpoint::ALL.iter().any(|checkpoint| checkpoints.get(&log, *checkpoint).is_some())
    }

    /// Whether the directory of a partition is there.
    pub(crate) fn is_there(&self, topic: &str, partition: u32) -> Result<bool> {
        Ok(self.entries(&self.path_of(topic, partition))?.is_some())
    }

    /// Fails for a directory without an id of a topic that holds other things and nothing of a
    /// log. Nothing was written in it yet.
    pub(crate) fn check_is_log(&self, topic: &str, partition: u32) -> Result<()> {
        let path = self.path_of(topic, partition);
        let entries = self.entries(&path)?.unwrap_or_default();
        if is_vacant(&entries) || entries.iter().any(is_of_log) {
            return Ok(());
        }
        let reason = "it holds other files and no segment; move it out of the store's directory";
        Err(Error::NotALog { path: path.as_path().into(), reason })
    }

    /// The entries of a directory; `None` where there is none.
    fn entries(&self, path: &Path) -> Result<Option<Vec<DirEntry>>> {
        match self.dir.fs.list(path) {
            Ok(entries) => Ok(Some(entries)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("list", path, error)),
        }
    }

    /// Fails if the directory of a partition that is to be made is there and may be of something
    /// else: of another topic, say, whose name differs in case, where the file system does not
    /// see the difference. One that is empty is taken. With an id, what an interrupted call has
    /// begun to make for that topic is its own.
    pub(crate) fn check_free(
        &self,
        topic: &str,
        partition: u32,
        id: Option<TopicId>,
    ) -> Result<()> {
        let path = self.path_of(topic, partition);
        let entries = self.entries(&path)?.unwrap_or_default();
        if is_vacant(&entries) || (id.is_some() && self.topic_id(topic, partition)? == id) {
            return Ok(());
        }
        let reason =
            "it is there already, and is not of this topic: take another name, or move it away";
        Err(TopicError::InvalidDirectory { path, reason: reason.to_owned() }.into())
    }

    /// Returns the stored definition of a topic.
    pub(crate) fn definition(&self, topic: &str) -> Result<Option<Definition>> {
        Definition::read(&self.dir, &self.path_of(topic, 0))
    }

    /// Writes down, durably, how a topic is set up.
    pub(crate) fn define(&self, topic: &str, config: &TopicConfig, state: State) -> Result<()> {
        Definition { config: config.clone(), state }.write(&self.first(topic))
    }

    /// The directory of a topic's first partition.
    fn first(&self, topic: &str) -> Dir {
        let (fs, path) = (Arc::clone(&self.dir.fs), self.path_of(topic, 0));
        Dir::new(fs, path, self.dir.events.clone(), true).with_reserve(self.dir.reserve().cloned())
    }

    /// Makes the directory of a partition, if there is none.
    pub(crate) fn make(&self, topic: &str, partition: u32) -> Result<PathBuf> {
        let path = self.path_of(topic, partition);
        self.dir.fs.create_dir(&path).map_err(|e| Error::io("create", &path, e))?;
        Ok(path)
    }

    /// The id of a topic as a partition of it has it.
    pub(crate) fn topic_id(&self, topic: &str, partition: u32) -> Result<Option<TopicId>> {
        let path = self.path_of(topic, partition).join(PARTITION_METADATA);
        let Some(bytes) = self.dir.read_small(&path, SMALL_FILE_BYTES)? else { return Ok(None) };
        parse_partition_metadata(&bytes).map(Some).map_err(|reason| malformed(path, reason))
    }

    /// Gives a partition the id of its topic, durably, before anything is appended.
    pub(crate) fn set_topic_id(&self, topic: &str, partition: u32, id: TopicId) -> Result<()> {
        let path = self.path_of(topic, partition);
        let dir = Dir::new(Arc::clone(&self.dir.fs), path, self.dir.events.clone(), true);
        dir.replace_if_room(
            &dir.path.join(PARTITION_METADATA),
            format_partition_metadata(id).as_bytes(),
        )
    }

    /// Opens the log of a partition. Says whether it took over checkpoints from beside its
    /// segments.
    pub(crate) fn open_log(
        &self,
        topic: &str,
        partition: u32,
        config: &LogConfig,
        within: &DataDir,
    ) -> Result<(Log, bool)> {
        Log::open_shared(&self.path_of(topic, partition), config.clone(), within)
    }

    /// Removes partitions, in this order: partition 0, which knows that the topic is to go, last.
    /// One that is not there was never made, or has been removed.
    pub(crate) fn delete(&self, topic: &str, partitions: impl Iterator<Item = u32>) -> Result<()> {
        for partition in partitions {
            let from = self.path_of(topic, partition);
            let named =
                PartitionDir::current(topic, partition).at(Stage::Delete(KafkaUuid::random()));
            let name = named.to_string();
            let to = self.dir.path.join(&name);
            let rename = || match self.dir.fs.rename_dir(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                renamed => renamed.map(|()| true),
            };
            let renamed = rename().or_else(|error| {
                if !is_storage_full(&error) {
                    return Err(error);
                }
                // The name may be what there is no room for. What the directory holds makes some.
                self.empty(&from)?;
                self.dir.with_room_for_name(|| rename().map(drop)).map(|()| true)
            });
            if !renamed.map_err(|error| Error::io("rename", &from, error))? {
                continue;
            }
            // No opening may find partition 0 gone and another partition there.
            self.dir.sync()?;
            self.remove_deleted(&name)?;
        }
        Ok(())
    }

    /// Removes what is in the directory of a partition but for what says that its topic is to be
    /// deleted.
    fn empty(&self, path: &Path) -> io::Result<()> {
        let fs = &self.dir.fs;
        for entry in fs.list(path)?.iter().filter(|entry| entry.name != TOPIC_PROPERTIES) {
            fs.remove(&path.join(&entry.name))?;
        }
        fs.sync_dir(path)
    }

    /// Removes the directory of a deleted log. What will not go is reported, and tried again when
    /// the store is opened.
    fn remove_deleted(&self, name: &str) -> Result<()> {
        let path = self.dir.path.join(name);
        let fs = &self.dir.fs;
        let remove = || -> io::Result<()> {
            let mut entries = fs.list(&path)?;
            // If this is interrupted, a file of the log still tells that the rest is to go.
            entries.sort_by_key(is_of_log);
            for entry in entries {
                fs.remove(&path.join(&entry.name))?;
            }
            fs.remove_dir(&path)
        };
        if let Err(error) = remove() {
            self.dir.events.emit(&Event::CleanupFailed { path, error: error.to_string() });
        }
        Ok(())
    }
}

/// Returns the settings of a topic that a broker created. Only its controller knows them, so
/// nothing is deleted until the user alters them. Internal topics are compacted, as in every
/// broker.
pub(crate) fn of_a_broker(topic: &str, partitions: u32) -> TopicConfig {
    let config = TopicConfig::default().partitions(partitions);
    if is_compacted(topic) {
        config.cleanup_policy(CleanupPolicy::Compact).segment_bytes(100 << 20)
    } else {
        config.retention_age(Duration::MAX)
    }
}

/// Whether nothing in a directory was ever finished, and nothing is of others.
fn is_vacant(entries: &[DirEntry]) -> bool {
    let is_unknown = |entry: &DirEntry| matches!(Name::parse(&entry.name), Name::Unknown);
    let is_of_others = |entry: &DirEntry| is_unknown(entry) && is_of_system(&entry.name);
    entries.iter().all(|entry| is_temporary(entry) || is_of_others(entry))
}

/// Whether it is what an atomic replacement of a file has left.
fn is_temporary(entry: &DirEntry) -> bool {
    entry.kind == EntryKind::File && entry.name.ends_with(".tmp")
}

/// Whether it is a file that only the directory of a log has.
fn is_of_log(entry: &DirEntry) -> bool {
    entry.kind == EntryKind::File && !matches!(Name::parse(&entry.name), Name::Unknown)
}

/// Whether it is a file that a store or a broker keeps above its logs.
fn is_of_data_dir(entry: &DirEntry) -> bool {
    let names = [META_PROPERTIES, LOCK, CLEAN_SHUTDOWN];
    let mut names = names.into_iter().chain(Checkpoint::ALL.map(Checkpoint::file));
    entry.kind == EntryKind::File && names.any(|name| name == entry.name)
}

fn malformed(path: PathBuf, reason: &'static str) -> Error {
    Error::Corrupt(Box::new(Corruption {
        path,
        position: 0,
        offset: None,
        reason: CorruptionKind::Malformed(reason),
    }))
}
