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

/// A directory of topics, like one of the `log.dirs` of a Kafka broker, in one process and
/// without a broker.
///
/// Clones are handles to the same store, and any thread can use them. Only [one process at a
/// time](crate::docs::limits#one-writer-many-readers) can open a directory for writing, and a
/// broker counts as one.
///
/// | call | returns when | the result survives |
/// |---|---|---|
/// | [`create_topic`](Store::create_topic), [`add_partitions`](Store::add_partitions), [`alter_topic`](Store::alter_topic), [`delete_topic`](Store::delete_topic) | the disk has the change | power loss; after an earlier crash, the change is undone, or completed when the store is opened again, and never done in part |
/// | [`close`](Store::close) | all logs are flushed and closed | power loss, and the next opening reads no log |
///
/// Topics, logs, readers and clients of a store are handles to it, too: while any of them exists,
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
    /// After a [`close`](Store::close), opening reads no log. After a crash, it recovers the logs
    /// that were written to since their last flush, [several at
    /// once](StoreConfig::recovery_threads), as [`Log::open`] does, and finishes any interrupted
    /// creation or deletion of a topic. It opens the directory of a Kafka broker as it is.
    ///
    /// Other files and directories, such as `lost+found`, are left alone: see
    /// [`unknown_directories`](Store::unknown_directories). So is an empty directory that only
    /// has [the name](crate::docs::format#a-directory-of-topics) of a partition.
    ///
    /// If opening fails, a directory that was closed cleanly still counts as closed cleanly.
    ///
    /// A partition with damaged files is [offline](TopicError::PartitionOffline), and you can use
    /// all others. [`Topic::unavailable_partitions`] lists such partitions, and
    /// [`reopen_partition`](Store::reopen_partition) opens one after a repair.
    /// [`StoreConfig::offline_partitions`] changes this.
    ///
    /// The directory of a broker in a cluster may have only some of a topic's partitions, for
    /// example only number 143. You can use the partitions that are here, and consumers read
    /// them. The others fail with [`TopicError::PartitionElsewhere`]. Only the cluster knows how
    /// many partitions there are, so a key does not determine one: you must give a producer the
    /// partition of each record. You cannot alter, grow or delete such a topic here
    /// ([`TopicError::Spread`]).
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`] while another store or a broker has the directory open, while one of
    ///   its logs is open without a store, or while a handle of an earlier, unclosed store
    ///   exists.
    /// - [`Error::NotALog`] if the path is a file, or if a directory with the name of a partition
    ///   holds other files.
    /// - [`TopicError::InvalidDirectory`] if the directory belongs to something else: it holds
    ///   files or directories (other than hidden ones and those of a fresh volume), and nothing
    ///   of a store or a broker. Nothing was written. The same error is returned if a partition
    ///   is a symbolic link, or if a topic is a copy with the id of another topic (`cp -a orders-0
    ///   copy-0`).
    /// - [`TopicError::InvalidDirectory`] also if a log is beyond the partitions of its topic and
    ///   has no `partition.metadata`. With that file, it counts as a partition that a broker
    ///   added, and missing numbers before it count as elsewhere. A copy like `cp -a orders-0
    ///   orders-7` looks the same, so never copy a partition within the directory of a store.
    /// - [`TopicError::MissingPartition`] if the directory of a partition is missing.
    /// - [`Error::Corrupt`] for damage in a file of the store itself, and, with
    ///   [`OfflinePartitions::Never`], in a partition.
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
                // Close the logs that opened, so that the next opening finds all logs in the same
                // state.
                store.inner.change(|| store.inner.close(CloseKind::FailedOpening)).ok();
                Err(error)
            }
        }
    }

    /// Creates an empty store in memory, which is freed with its last handle.
    ///
    /// It runs the same code as a store on disk, over a [`MemFs`], without threads of its own. To
    /// be able to open it again, pass your own [`MemFs`] to [`StoreConfig::fs`] and call
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

    /// Returns all topics, in the order of their names, including internal ones. After a close,
    /// these are the topics that existed.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.inner.topics.read().values().map(Topic::new).collect()
    }

    /// Ends the transactions that are [due](crate::Transactions::tick), and then runs retention
    /// and compaction for all logs, one after the other. If some fail, it still tries all of them,
    /// and returns the first error.
    ///
    /// # Errors
    ///
    /// As [`Log::maintain`], and [`Error::StoreClosed`].
    pub fn maintain(&self) -> Result<Vec<(Topic, u32, MaintenanceReport)>> {
        self.inner.check_open()?;
        self.tick_transactions();
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

    /// Makes everything appended to any topic so far durable.
    ///
    /// # Errors
    ///
    /// The error of [`Log::flush`] of the first log that fails, after all logs were tried;
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

    /// Closes all logs cleanly, for all their handles, and unlocks the directory, so that the
    /// next opening reads no log. On a full disk, `close` also succeeds, and the next opening
    /// recovers the logs. All files and directories are closed, even while handles exist, except
    /// the segment that a reader, tail or consumer is in: see [`Log::close`].
    ///
    /// Close producers and consumers first. Records that wait in a producer, and positions that a
    /// consumer has not committed, are not in the logs yet.
    ///
    /// # Errors
    ///
    /// - [`Error::StoreClosed`] if the store is already closed.
    /// - The error of [`Log::close`] of the first log that could not be closed cleanly. The
    ///   directory is still unlocked, and the next opening recovers such logs.
    pub fn close(&self) -> Result<()> {
        self.inner.change(|| self.inner.close(CloseKind::Normal))
    }

    /// Returns the directories within the store that belong to no topic, such as `lost+found`, or
    /// an empty one with the name of a partition. They are left alone.
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

    /// Returns a time after the creation of all partitions that exist now, and before that of any
    /// later one.
    pub(crate) fn logical_time(&self) -> LogicalTime {
        let _topics = self.inner.topics.read();
        self.inner.creations.now()
    }

    /// Returns a partition and the time of its creation.
    pub(crate) fn partition(&self, topic: &str, number: u32) -> Result<(Log, LogicalTime)> {
        let topic = self.topic(topic)?;
        Ok((topic.partition(number)?, self.inner.creations.created_at(topic.id(), number)))
    }

    /// Returns the sink for events.
    pub(crate) fn events(&self) -> &EventSink {
        &self.inner.directory.dir.events
    }

    /// Returns the notifier that wakes waiters when the version rises.
    pub(crate) fn changed(&self) -> &Notify {
        &self.inner.changed
    }

    /// Returns a producer id that no store in this directory has ever assigned. Use it if you
    /// number batches yourself, as a broker does for its clients. Kafka: `InitProducerId`.
    ///
    /// The store reserves a thousand ids at a time, durably, and a crash loses the unused ones.
    /// All ids are at or above [`FIRST_STORE_PRODUCER_ID`](crate::FIRST_STORE_PRODUCER_ID), so
    /// none can be mistaken for an id of a broker. You can move logs of a store to a broker, and
    /// copy batches of a broker's clients into a store.
    ///
    /// # Errors
    ///
    /// - [`Error::StoreClosed`], [`Error::Io`].
    /// - [`Error::Corrupt`] if `producer-ids.properties` is damaged.
    pub fn new_producer_id(&self) -> Result<ProducerId> {
        self.inner.check_open()?;
        self.inner.producer_ids.next(|| self.inner.logs())
    }

    /// Returns the watchers to notify of deleted topics.
    pub(crate) fn watchers(&self) -> &TopicWatchers {
        &self.inner.watchers
    }

    pub(crate) fn from_inner(inner: Arc<StoreInner>) -> Store {
        Store { inner }
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
