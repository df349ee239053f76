//! A store: a directory of topics.

use crate::clock::Clock;
use crate::error::{Error, Result, TopicError};
use crate::event::EventSink;
use crate::fs::MemFs;
use crate::log::{
    self, DataCheckpoints, DirHandle, Log, LogConfig, Maintainer, MaintenanceReport, WriteLock,
};
use crate::notify::Notify;
#[cfg(doc)]
use crate::store::config::OfflinePartitions;
use crate::store::config::StoreConfig;
use crate::store::directory::Directory;
use crate::store::inner::{CloseKind, StoreInner};
use crate::store::topic::Topic;
use crate::store::watchers::TopicWatchers;
use crate::types::{LogicalTime, ProducerId};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of topics, as in the `log.dirs` of a Kafka broker, in one process and without a
/// broker.
///
/// Clones are handles to the same store, and any thread can use them. Only [one process at a
/// time](crate::docs::limits#one-writer-many-readers) can open a directory for writing; a broker
/// counts as one.
///
/// | call | returns when | the result survives |
/// |---|---|---|
/// | [`create_topic`](Store::create_topic), [`add_partitions`](Store::add_partitions), [`alter_topic`](Store::alter_topic), [`delete_topic`](Store::delete_topic) | the disk has the change | loss of power; after an earlier crash the change is undone, or done when the store is opened again, never in part |
/// | [`close`](Store::close) | all logs are flushed and closed | loss of power, and the next opening reads no log |
///
/// Topics, logs, readers and clients of a store are handles to it, too: while any of them lives,
/// the directory stays locked and maintained. Dropping the last one has the same effect as a
/// process crash: the next opening recovers everything that was not flushed.
///
/// ```
/// use annals::{Store, StoreConfig, TopicConfig};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data");
/// let store = Store::open(&path, StoreConfig::default())?;
/// let orders = store.create_topic("orders", TopicConfig::default().partitions(3))?;
/// orders.partition(1)?.append("the first order of partition 1")?;
/// store.close()?;
///
/// let store = Store::open(&path, StoreConfig::default())?;
/// assert_eq!(store.topic("orders")?.partition(1)?.offsets().end, 1);
/// # store.close()?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<StoreInner>,
}

impl Store {
    /// Opens a directory of topics, creating it if there is none.
    ///
    /// After a [`close`](Store::close), opening reads no log. After a crash, it first finishes the
    /// creation or deletion of topics that was interrupted. Then it recovers the logs that were
    /// written to since their last flush, [several at once](StoreConfig::recovery_threads), as
    /// [`Log::open`] does. It opens the directory of a Kafka broker as it is.
    ///
    /// Other files and directories, such as `lost+found`, are left alone: see
    /// [`unknown_directories`](Store::unknown_directories). An empty directory that only has [the
    /// name](crate::docs::format#a-directory-of-topics) of a partition is left alone, too.
    ///
    /// If opening fails, a directory that was closed cleanly still counts as that.
    ///
    /// A partition whose files are damaged is [offline](TopicError::PartitionOffline), and all
    /// others can be used: [`Topic::unavailable_partitions`] lists such partitions,
    /// [`reopen_partition`](Store::reopen_partition) opens one after a repair, and
    /// [`StoreConfig::offline_partitions`] changes this.
    ///
    /// A broker of a cluster may have only some of a topic's partitions, for example only number 143.
    /// You can use the partitions that are here; the others fail with
    /// [`TopicError::PartitionElsewhere`]. Only the cluster knows how many there are. So you must
    /// give a producer the partition of each record, because the key does not determine it, and
    /// you cannot alter, grow or delete such a topic here ([`TopicError::Spread`]). Consumers read
    /// the partitions that are here.
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`] while another store or a broker has the directory open, while one of
    ///   its logs is open without a store, or while a handle of an earlier store lives that was
    ///   not closed.
    /// - [`Error::NotALog`] if the path is a file, or if the directory holds one that is named
    ///   like a partition's and holds other files.
    /// - [`TopicError::InvalidDirectory`] if the directory belongs to something else: it holds
    ///   files or directories, other than hidden ones and what a fresh volume has, and nothing of
    ///   a store or a broker. Nothing was written. Also if a partition is a symbolic link, if a
    ///   topic has the id of another one, because it is a copy (`cp -a orders-0 copy-0`), and if a
    ///   log is beyond the partitions that its topic has and has no `partition.metadata`. With
    ///   one, it counts as a partition that a broker added, and the numbers between as elsewhere.
    ///   A copy like `cp -a orders-0 orders-7` cannot be told from that, so never copy a partition
    ///   within the directory of a store.
    /// - [`TopicError::MissingPartition`] if a partition's directory is gone.
    /// - [`Error::Corrupt`] for damage in a file of the store itself; in a partition, with
    ///   [`OfflinePartitions::Never`].
    /// - [`Error::InvalidConfig`], [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, config: StoreConfig) -> Result<Store> {
        config.validate()?;
        let path = dir.as_ref();
        DirHandle::check(path)?;
        let place = log::create(&config.log.fs, path)?;
        let directory = Directory::new(&place, &config.log);
        directory.check_is_store()?;
        let lock = Arc::new(WriteLock::take(place.guard()?, &directory.dir)?);
        directory.dir.reserve().into_iter().for_each(|reserve| reserve.find());
        directory.ensure_meta_properties()?;
        let checkpoints = Arc::new(DataCheckpoints::open(&directory.dir, lock.was_foreign)?);
        let on_clock = |given| Maintainer::with_clock(given, Arc::clone(&config.log.clock));
        let maintainer = config.maintenance.clone().map(on_clock).transpose()?;
        let inner = StoreInner::new(directory, config, checkpoints, maintainer, lock);
        let store = Store { inner: Arc::new(inner) };
        match store.open_topics() {
            Ok(()) => Ok(store),
            Err(error) => {
                // Those that opened are closed again, so that the next opening finds of all logs
                // what this one found.
                store.inner.change(|| store.inner.close(CloseKind::FailedOpening)).ok();
                Err(error)
            }
        }
    }

    /// Creates an empty store in memory, which is gone with its last handle.
    ///
    /// It runs the same code as a store on disk, over a [`MemFs`], without threads of its own. To
    /// open the store again, pass a [`MemFs`] of yours to [`StoreConfig::fs`], and use
    /// [`Store::open`].
    ///
    /// ```
    /// use annals::{Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let topic = store.create_topic("greetings", TopicConfig::default())?;
    /// topic.partition(0)?.append("hello")?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`]
    pub fn in_memory(config: StoreConfig) -> Result<Store> {
        Store::open("data", config.fs(MemFs::new()).maintenance(None).recovery_threads(1))
    }

    /// Returns a topic by its name.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unknown`], [`Error::StoreClosed`].
    pub fn topic(&self, name: &str) -> Result<Topic> {
        self.inner.check_open()?;
        let topics = self.inner.topics.read();
        let found = topics.get(name).map(Topic::new);
        found.ok_or_else(|| TopicError::Unknown { topic: name.to_owned() }.into())
    }

    /// Returns all topics, in the order of their names, including the internal ones. After a
    /// close, these are the topics that there were.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.inner.topics.read().values().map(Topic::new).collect()
    }

    /// Runs retention and compaction for all logs now, one after the other. If some fail, it tries
    /// all of them and returns the first error.
    ///
    /// # Errors
    ///
    /// As [`Log::maintain`], and [`Error::StoreClosed`].
    pub fn maintain(&self) -> Result<Vec<(Topic, u32, MaintenanceReport)>> {
        self.inner.check_open()?;
        let (mut reports, mut failed) = (Vec::new(), None);
        for topic in self.topics() {
            for (number, log) in topic.numbered_partitions() {
                match log.maintain() {
                    Ok(report) => reports.push((topic.clone(), number, report)),
                    Err(Error::Closed { .. }) if self.inner.is_gone(&log)? => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(reports), Err)
    }

    /// Makes everything that was appended to any topic durable.
    ///
    /// # Errors
    ///
    /// As [`Log::flush`]: the error of the first log that fails, after all logs were tried;
    /// [`Error::StoreClosed`].
    pub fn flush(&self) -> Result<()> {
        self.inner.check_open()?;
        let logs = self.inner.logs();
        let flushed = self.inner.in_parallel(&logs, Log::flush);
        logs.iter().zip(flushed).try_for_each(|(log, flushed)| match flushed {
            Err(Error::Closed { .. }) if self.inner.is_gone(log)? => Ok(()),
            flushed => flushed.map(drop),
        })
    }

    /// Closes all logs cleanly, for all their handles, and unlocks the directory. The next opening
    /// reads none of them. On a full disk `close` succeeds, too, and the next opening recovers the
    /// logs. All files and directories are closed, even while handles live, except the segment
    /// that a reader, tail or consumer is in: see [`Log::close`].
    ///
    /// Close producers and consumers first: the records that wait in a producer, and the positions
    /// that a consumer has not committed, are not in the logs yet.
    ///
    /// # Errors
    ///
    /// - [`Error::StoreClosed`] if the store is already closed.
    /// - As [`Log::close`]: the error of the first log that could not be closed cleanly. The
    ///   directory is unlocked all the same, and the next opening recovers such logs.
    pub fn close(&self) -> Result<()> {
        self.inner.change(|| self.inner.close(CloseKind::Normal))
    }

    /// Returns the directories in the store's own that belong to no topic, such as `lost+found`,
    /// or an empty one with the name of a partition. They are left alone.
    #[must_use]
    pub fn unknown_directories(&self) -> Vec<PathBuf> {
        self.inner.unknown.read().clone()
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.directory.dir.path
    }

    /// Returns the options of the logs of a topic without settings of its own.
    pub(crate) fn log_defaults(&self) -> &LogConfig {
        &self.inner.config.log
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.config.log.clock
    }

    /// Returns a number that rises with each change of topics or partitions.
    pub(crate) fn version(&self) -> u64 {
        self.inner.version()
    }

    /// Returns a moment between the creation of the partitions that exist now and of any later
    /// ones.
    pub(crate) fn logical_time(&self) -> LogicalTime {
        let _topics = self.inner.topics.read();
        self.inner.creations.now()
    }

    /// Returns a partition, and when it was created.
    pub(crate) fn partition(&self, topic: &str, number: u32) -> Result<(Log, LogicalTime)> {
        let topic = self.topic(topic)?;
        Ok((topic.partition(number)?, self.inner.creations.created_at(topic.id(), number)))
    }

    /// Returns where events go.
    pub(crate) fn events(&self) -> &EventSink {
        &self.inner.directory.dir.events
    }

    /// Returns the signal that is raised when the version rises.
    pub(crate) fn changed(&self) -> &Notify {
        &self.inner.changed
    }

    /// Returns a producer id that no store in this directory has ever given out, whatever happened
    /// since. Use it if you number batches yourself, as a broker does for its clients.
    /// Kafka: `InitProducerId`.
    ///
    /// The store reserves a thousand ids at a time, durably; a crash loses the unused ones. All
    /// ids are at or above [`FIRST_STORE_PRODUCER_ID`](crate::FIRST_STORE_PRODUCER_ID), so none is
    /// ever taken for an id that a broker gave out: logs of a store can be moved to a broker, and
    /// batches of a broker's clients copied into a store.
    ///
    /// # Errors
    ///
    /// - [`Error::StoreClosed`], [`Error::Io`].
    /// - [`Error::Corrupt`] if `producer-ids.properties` is damaged.
    pub fn new_producer_id(&self) -> Result<ProducerId> {
        self.inner.check_open()?;
        self.inner.producer_ids.next(|| self.inner.logs())
    }

    /// Returns the watchers that are told of deleted topics.
    pub(crate) fn watchers(&self) -> &TopicWatchers {
        &self.inner.watchers
    }

    pub(crate) fn inner(&self) -> &Arc<StoreInner> {
        &self.inner
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}
