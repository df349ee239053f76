//! The files of a store that belong to no log, and the directories of its partitions.
//!
//! ```text
//!  data/
//!    .lock                               one process at a time
//!    meta.properties                     the ids of cluster, node and directory
//!    recovery-point-offset-checkpoint    one line for each log, like the next two files
//!    log-start-offset-checkpoint
//!    cleaner-offset-checkpoint
//!    .kafka_cleanshutdown                exists only while no process writes the directory
//!    producer-ids.properties             the next producer ids
//!    orders-0/                           a log: partition 0 of `orders`
//!      partition.metadata                the topic's id
//!      topic.properties                  the settings of the topic, only in partition 0
//!    orders-1/
//!    users-0.<32 digits>-delete/         a log that is being removed
//! ```

use crate::checkpoint::{CLEAN_SHUTDOWN, LOCK, META_PROPERTIES, PARTITION_METADATA};
use crate::error::{Corruption, CorruptionKind, Error, Result, TopicError};
use crate::event::EventSink;
use crate::fs::{Dir, DirEntry, EntryKind};
use crate::log::{Checkpoint, DataDir, DirHandle, Log, LogConfig};
use crate::segment::name::{Name, SegmentFile, is_of_system, listed};
use crate::store::meta_properties::MetaProperties;
use crate::store::partition_dir::{PartitionDir, is_like_partition};
use crate::store::partition_metadata;
use crate::store::settings::TopicConfig;
use crate::store::topic_properties::{TopicDefinition, TopicState};
use crate::uuid::{KafkaUuid, TopicId};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SMALL_FILE_BYTES: u64 = 1 << 20;

/// The highest number of partitions of a topic, because each partition is a directory.
pub(crate) const MOST_PARTITIONS: u32 = 100_000;

/// The directory of a store, with its lock held.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) dir: Arc<Dir>,
}

impl Directory {
    pub(crate) fn new(place: &DirHandle, config: &LogConfig) -> Directory {
        let events = EventSink::new(config.listener.clone());
        let (fs, path) = (Arc::clone(&place.fs), place.path.clone());
        let dir = Dir::new(fs, path, events, true);
        Directory { dir: Arc::new(dir.with_own_reserve()) }
    }

    pub(crate) fn partition_path(&self, topic: &str, partition: u32) -> PathBuf {
        self.dir.path.join(PartitionDir::current(topic, partition).to_string())
    }

    pub(super) fn invalid(&self, name: &str, reason: impl Into<String>) -> Error {
        let path = self.dir.path.join(name);
        TopicError::InvalidDirectory { path, reason: reason.into() }.into()
    }

    /// Parses the name of a directory; `None` if it belongs to something else and is left alone.
    /// Fails for an invalid name that could be taken for a partition's.
    pub(super) fn parse(&self, name: &str) -> Result<Option<Option<PartitionDir>>> {
        match PartitionDir::parse(name) {
            Ok(Some(dir)) if dir.partition >= MOST_PARTITIONS => {
                let reason = "a topic has at most 100,000 partitions; if this is not a partition, move it away";
                Err(self.invalid(name, reason))
            }
            Ok(parsed) => Ok(Some(parsed)),
            Err(reason) if is_like_partition(name) => Err(self.invalid(name, reason)),
            Err(_) => Ok(None),
        }
    }

    /// Fails if the directory belongs to something else. Nothing was written in it yet.
    pub(crate) fn check_is_store(&self) -> Result<()> {
        let path = &self.dir.path;
        let entries = self.dir.fs.list(path).map_err(|error| Error::list(path, error))?;
        let segment_files = entries.iter().filter(|entry| {
            entry.kind == EntryKind::File && SegmentFile::parse(&entry.name).is_some()
        });
        if let Some(first) = segment_files.map(|entry| &entry.name).min() {
            let reason = format!(
                "it is a file of a log, so {} is the directory of one partition; give the one \
                 above it",
                path.display()
            );
            return Err(self.invalid(first, reason));
        }
        for entry in &entries {
            match entry.kind {
                EntryKind::Directory => drop(self.parse(&entry.name)?),
                EntryKind::Other if matches!(self.parse(&entry.name), Ok(Some(Some(_)))) => {
                    let reason = "it has the name of a partition and is not a directory; symbolic links are not followed, so move the directory itself here";
                    return Err(self.invalid(&entry.name, reason));
                }
                EntryKind::File | EntryKind::Other => {}
            }
        }
        let others = entries.iter().map(|entry| &entry.name).filter(|name| !is_of_system(name));
        let first = others.clone().min();
        let Some(first) = first.filter(|_| !entries.iter().any(is_data_dir_file)) else {
            return Ok(());
        };
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Directory) {
            let is_data_dir_file = match self.parse(&entry.name)? {
                // The name alone proves nothing: other programs may use such names, too.
                Some(Some(_)) => {
                    let within = self.entries(&path.join(&entry.name))?.unwrap_or_default();
                    within.iter().any(is_log_file)
                }
                Some(None) => true,
                None => false,
            };
            if is_data_dir_file {
                return Ok(());
            }
        }
        let reason = format!(
            "{} holds {}, and no file of a store or a broker, so it belongs to something else; \
             give the store its own directory",
            path.display(),
            listed(others).unwrap_or_default()
        );
        Err(self.invalid(first, reason))
    }

    /// Checks the ids of the directory, and gives a new directory random ids.
    pub(crate) fn ensure_meta_properties(&self) -> Result<()> {
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

    /// Returns whether the directory of a partition exists.
    pub(crate) fn has_partition(&self, topic: &str, partition: u32) -> Result<bool> {
        Ok(self.entries(&self.partition_path(topic, partition))?.is_some())
    }

    /// Fails for a directory without a topic id that holds other files and no file of a log.
    /// Nothing was written in it yet.
    pub(crate) fn check_is_log(&self, topic: &str, partition: u32) -> Result<()> {
        let path = self.partition_path(topic, partition);
        let entries = self.entries(&path)?.unwrap_or_default();
        if is_vacant(&entries) || entries.iter().any(is_log_file) {
            return Ok(());
        }
        let others = entries.iter().map(|entry| &entry.name).filter(|name| !is_of_system(name));
        let others = listed(others).unwrap_or_else(|| "other files".to_owned());
        let reason =
            format!("it holds {others}, and no segment; move it out of the directory of the store");
        Err(Error::not_a_log(&path, reason))
    }

    /// Returns the entries of a directory; `None` if it does not exist.
    pub(super) fn entries(&self, path: &Path) -> Result<Option<Vec<DirEntry>>> {
        match self.dir.fs.list(path) {
            Ok(entries) => Ok(Some(entries)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("list", path, error)),
        }
    }

    /// Fails if the directory of a partition to be created already exists and may belong to
    /// something else. For example, the name of another topic may differ only in case, where the
    /// file system ignores case. An empty directory is accepted. With an id, so is a directory
    /// that an interrupted call has begun to fill for that topic.
    pub(crate) fn check_free(
        &self,
        topic: &str,
        partition: u32,
        id: Option<TopicId>,
    ) -> Result<()> {
        let path = self.partition_path(topic, partition);
        let entries = self.entries(&path)?.unwrap_or_default();
        if is_vacant(&entries) || (id.is_some() && self.read_topic_id(topic, partition)? == id) {
            return Ok(());
        }
        let reason =
            "it already exists and belongs to something else; choose another name, or move it away";
        Err(TopicError::InvalidDirectory { path, reason: reason.to_owned() }.into())
    }

    /// Returns the stored definition of a topic.
    pub(crate) fn read_definition(&self, topic: &str) -> Result<Option<TopicDefinition>> {
        TopicDefinition::read(&self.dir, &self.partition_path(topic, 0))
    }

    /// Stores the definition of a topic, durably.
    pub(crate) fn write_definition(
        &self,
        topic: &str,
        config: &TopicConfig,
        state: TopicState,
    ) -> Result<()> {
        TopicDefinition { config: config.clone(), state }.write(&self.first_partition(topic))
    }

    /// Returns the directory of a topic's first partition.
    pub(super) fn first_partition(&self, topic: &str) -> Dir {
        let (fs, path) = (Arc::clone(&self.dir.fs), self.partition_path(topic, 0));
        Dir::new(fs, path, self.dir.events.clone(), true).with_reserve(self.dir.reserve().cloned())
    }

    /// Creates the directory of a partition, if there is none.
    pub(crate) fn create_partition(&self, topic: &str, partition: u32) -> Result<PathBuf> {
        let path = self.partition_path(topic, partition);
        self.dir.fs.create_dir(&path).map_err(|e| Error::io("create", &path, e))?;
        Ok(path)
    }

    /// Reads the id of a topic from one of its partitions.
    pub(crate) fn read_topic_id(&self, topic: &str, partition: u32) -> Result<Option<TopicId>> {
        let path = self.partition_path(topic, partition).join(PARTITION_METADATA);
        let Some(bytes) = self.dir.read_small(&path, SMALL_FILE_BYTES)? else { return Ok(None) };
        partition_metadata::parse(&bytes).map(Some).map_err(|reason| malformed(path, reason))
    }

    /// Stores the id of a topic in a partition, durably, before anything is appended.
    pub(crate) fn write_topic_id(&self, topic: &str, partition: u32, id: TopicId) -> Result<()> {
        let path = self.partition_path(topic, partition);
        let dir = Dir::new(Arc::clone(&self.dir.fs), path, self.dir.events.clone(), true);
        dir.replace_if_room(
            &dir.path.join(PARTITION_METADATA),
            partition_metadata::format(id).as_bytes(),
        )
    }

    /// Opens the log of a partition. Also returns whether it took over the checkpoints beside its
    /// segments.
    pub(crate) fn open_log(
        &self,
        topic: &str,
        partition: u32,
        config: &LogConfig,
        within: &DataDir,
    ) -> Result<(Log, bool)> {
        Log::open_shared(&self.partition_path(topic, partition), config.clone(), within)
    }
}

/// Returns whether a directory holds nothing but temporary files, and files of the operating
/// system.
pub(super) fn is_vacant(entries: &[DirEntry]) -> bool {
    let is_unknown = |entry: &DirEntry| matches!(Name::parse(&entry.name), Name::Unknown);
    let is_of_others = |entry: &DirEntry| is_unknown(entry) && is_of_system(&entry.name);
    entries.iter().all(|entry| is_temporary(entry) || is_of_others(entry))
}

/// Returns whether this is a file that an interrupted replacement has left.
pub(super) fn is_temporary(entry: &DirEntry) -> bool {
    entry.kind == EntryKind::File && entry.name.ends_with(".tmp")
}

/// Returns whether only the directory of a log has such a file.
pub(super) fn is_log_file(entry: &DirEntry) -> bool {
    entry.kind == EntryKind::File && !matches!(Name::parse(&entry.name), Name::Unknown)
}

/// Returns whether a store or a broker keeps such a file beside the directories of its logs.
fn is_data_dir_file(entry: &DirEntry) -> bool {
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
