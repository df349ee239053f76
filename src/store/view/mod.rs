//! Reading a store beside the process that writes it.

pub(crate) mod groups;
mod transactions;

use crate::error::{Error, Result, TopicError};
use crate::event::EventSink;
use crate::fs::{Dir, EntryKind};
use crate::log::{DirHandle, Log, LogConfig, WriteLock};
use crate::store::admin::{PartitionDescription, TopicDescription};
use crate::store::config::StoreConfig;
use crate::store::directory::Directory;
use crate::store::partition_dir::{DirSuffix, PartitionDir};
use crate::store::settings::{TopicConfig, broker_topic_config};
use crate::store::topic::check_topic_name;
use crate::store::topic_properties::{TopicDefinition, TopicState};
use crate::store::topics::Store;
use crate::topic_name;
use crate::uuid::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A read-only view of a store, which another process may have open.
///
/// A view changes nothing. Each call reads the directory again, so it sees new and deleted
/// topics, and a log follows its writer as [`Log::open_read_only`] does. A view has no calls that
/// write, and writes to its logs fail with [`Error::ReadOnly`]. It holds no lock. Only when
/// [`describe_group`](StoreView::describe_group) or [`list_groups`](StoreView::list_groups) finds
/// members, it tries the lock for a moment, to see whether a process has the directory open for
/// writing.
///
/// ```
/// use annals::{Store, StoreConfig, TopicConfig, fs::MemFs};
///
/// let fs = MemFs::new();
/// let config = || StoreConfig::default().fs(fs.clone());
/// let store = Store::open("data", config())?;
/// let view = Store::open_read_only("data", config())?;
/// store.create_topic("orders", TopicConfig::default())?.partition(0)?.append("paid")?;
///
/// assert_eq!(view.topics()?, ["orders"]);
/// let log = view.partition("orders", 0)?;
/// assert_eq!(log.get(0)?.unwrap().value_str(), Some("paid"));
/// assert!(log.append("no").is_err());
/// # store.close()?;
/// # Ok::<(), annals::Error>(())
/// ```
pub struct StoreView {
    directory: Directory,
    log: LogConfig,
}

/// A topic and its partitions in the directory.
struct KnownTopic {
    config: TopicConfig,
    here: BTreeSet<u32>,
}

impl Store {
    /// Opens a directory of topics for reading, while another process may be writing it.
    ///
    /// It uses only the file system, the listener and the options of logs in `config`.
    ///
    /// # Errors
    ///
    /// - [`Error::DirectoryNotFound`] if there is no such directory.
    /// - [`TopicError::InvalidDirectory`] for a directory that is not a store.
    /// - [`Error::NotALog`] for a file.
    /// - [`Error::InvalidConfig`], [`Error::Io`].
    pub fn open_read_only(dir: impl AsRef<Path>, config: StoreConfig) -> Result<StoreView> {
        config.validate()?;
        DirHandle::check(dir.as_ref())?;
        let (fs, path) = (Arc::clone(&config.log.fs), dir.as_ref().to_path_buf());
        let events = EventSink::new(config.log.listener.clone());
        let dir = Arc::new(Dir::new(fs, path, events, false));
        let directory = Directory { dir };
        directory.check_is_store()?;
        Ok(StoreView { directory, log: config.log })
    }
}

impl StoreView {
    /// Returns the directory of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory.dir.path
    }

    /// Lists the names of all topics in alphabetical order, including the internal ones.
    ///
    /// # Errors
    ///
    /// [`Error::DirectoryNotFound`], [`Error::Io`].
    pub fn topics(&self) -> Result<Vec<String>> {
        let found = self.list_partitions()?.into_keys();
        let is_there = |name: &String| {
            let defined = self.directory.read_definition(name);
            !matches!(defined, Ok(Some(TopicDefinition { state: TopicState::Deleting, .. })))
        };
        Ok(found.filter(is_there).collect())
    }

    /// Returns the partitions whose directories exist.
    fn list_partitions(&self) -> Result<BTreeMap<String, BTreeSet<u32>>> {
        let path = self.path();
        let mut topics: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for entry in self.directory.dir.fs.list(path).map_err(|e| Error::list(path, e))? {
            if entry.kind == EntryKind::Directory
                && let Ok(Some(PartitionDir { topic, partition, suffix: DirSuffix::None })) =
                    PartitionDir::parse(&entry.name)
            {
                topics.entry(topic).or_default().insert(partition);
            }
        }
        Ok(topics)
    }

    fn look_up(&self, topic: &str) -> Result<KnownTopic> {
        check_topic_name(topic)?;
        let unknown = || TopicError::Unknown { topic: topic.to_owned() };
        let here = self.list_partitions()?.remove(topic).ok_or_else(unknown)?;
        let highest = here.last().map_or(0, |last| last.saturating_add(1));
        let config = match self.directory.read_definition(topic)? {
            Some(TopicDefinition { state: TopicState::Deleting, .. }) => {
                return Err(unknown().into());
            }
            Some(definition) => {
                let count = definition.config.partitions.max(highest);
                definition.config.partitions(count)
            }
            None => broker_topic_config(topic, highest),
        };
        Ok(KnownTopic { config, here })
    }

    /// Opens a partition for reading. The log follows the process that writes it.
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`TopicError::UnknownPartition`].
    /// - [`TopicError::PartitionElsewhere`] if its directory does not exist.
    /// - The errors of [`Log::open_read_only`].
    pub fn partition(&self, topic: &str, number: u32) -> Result<Log> {
        let KnownTopic { config, here } = self.look_up(topic)?;
        self.open(topic, number, &config, &here)
    }

    fn open(
        &self,
        topic: &str,
        partition: u32,
        config: &TopicConfig,
        here: &BTreeSet<u32>,
    ) -> Result<Log> {
        let (topic_name, partitions) = (topic.to_owned(), config.partitions);
        if partition >= partitions {
            let topic = topic_name;
            return Err(TopicError::UnknownPartition { topic, partition, partitions }.into());
        }
        if !here.contains(&partition) {
            return Err(TopicError::PartitionElsewhere { topic: topic_name, partition }.into());
        }
        let path = self.directory.partition_path(topic, partition);
        Log::open_read_only(path, config.apply(&self.log)?)
    }

    /// Describes a topic: its settings, and the offsets and sizes of its partitions.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unknown`]; [`Error::Corrupt`] if the settings of the topic cannot be read;
    /// [`Error::Io`]. A partition that cannot be read is in
    /// [`unavailable`](TopicDescription::unavailable).
    pub fn describe_topic(&self, topic: &str) -> Result<TopicDescription> {
        let KnownTopic { config, here } = self.look_up(topic)?;
        let ids =
            here.iter().filter_map(|number| self.directory.read_topic_id(topic, *number).ok()?);
        let id = ids.into_iter().next().unwrap_or(TopicId::from_bytes([0; 16]));
        let (mut partitions, mut unavailable) = (Vec::new(), BTreeMap::new());
        for partition in 0..config.partitions {
            let log = self.open(topic, partition, &config, &here);
            match log.and_then(|log| log.stats()) {
                Ok(stats) => partitions.push(PartitionDescription {
                    partition,
                    start: stats.offsets.start,
                    end: stats.offsets.end,
                    bytes: stats.bytes,
                    segments: stats.segments.len(),
                }),
                Err(Error::Topic(error)) => drop(unavailable.insert(partition, *error)),
                Err(error) => {
                    let (kind, reason) = (error.kind(), error.cause());
                    let topic = topic.to_owned();
                    let offline = TopicError::PartitionOffline { topic, partition, kind, reason };
                    unavailable.insert(partition, offline);
                }
            }
        }
        Ok(TopicDescription {
            name: topic.to_owned(),
            id,
            internal: topic_name::is_internal(topic),
            partitions,
            unavailable,
            configs: config.entries_over(&self.log),
        })
    }

    /// Returns the number of partitions of a topic, including partitions that are elsewhere.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unknown`]; [`Error::Corrupt`] if the settings of the topic cannot be read;
    /// [`Error::Io`].
    pub fn partition_count(&self, topic: &str) -> Result<u32> {
        Ok(self.look_up(topic)?.config.partitions)
    }

    /// Returns whether a process has the directory open for writing. Also returns true if that is
    /// not known.
    pub(crate) fn has_writer(&self) -> bool {
        WriteLock::check_free(&*self.directory.dir.fs, self.path()).is_err()
    }

    /// Returns the number of partitions of a topic; 0 if the topic does not exist.
    pub(crate) fn count(&self, topic: &str) -> Result<u32> {
        match self.partition_count(topic) {
            Err(Error::Topic(_)) => Ok(0),
            counted => counted,
        }
    }
}

impl fmt::Debug for StoreView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreView").field("path", &self.path()).finish_non_exhaustive()
    }
}
