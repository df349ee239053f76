//! A store: a directory of topics.

use crate::clock::Clock;
use crate::error::{CloseReason, Error, Result, TopicError};
use crate::event::{Event, EventSink};
use crate::fs::MemFs;
use crate::group::coordinator::Coordinator;
use crate::log::{
    self, CleanupPolicy, DataCheckpoints, Log, LogConfig, Maintainer, MaintenanceReport, Place,
    WriteLock,
};
use crate::notify::{Notify, hold_wakers, wake_after, wake_all};
use crate::store::births::Births;
#[cfg(doc)]
use crate::store::config::OfflinePartitions;
use crate::store::config::StoreConfig;
use crate::store::directory::Directory;
use crate::store::parallel::{in_few_threads, in_parallel};
use crate::store::producer_ids::ProducerIds;
use crate::store::settings::TopicConfig;
use crate::store::topic::{Slot, Topic, TopicShared};
use crate::store::topic_properties::{Definition, State};
use crate::store::watchers::Watchers;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::topic_name;
use crate::types::Moment;
use crate::types::ProducerId;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Waker;

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
    shared: Arc<StoreShared>,
}

/// The state that all handles of a store share. Lock order: `changes`, a partition of the
/// coordinator, then the locks of the logs, then `topics`. Events are delivered with none of them
/// held.
pub(crate) struct StoreShared {
    pub(super) directory: Directory,
    pub(crate) config: StoreConfig,
    pub(super) checkpoints: Arc<DataCheckpoints>,
    pub(super) maintainer: Option<Maintainer>,
    producer_ids: ProducerIds,
    /// Held while a topic is created, changed or deleted: see [`change`](StoreShared::change).
    changes: Mutex<()>,
    /// Leaf lock. The lock of the directory, which each open log of the store keeps, too; `None`
    /// once the store is closed.
    lock: Mutex<Option<Arc<WriteLock>>>,
    closed: AtomicBool,
    /// Leaf lock: held to look a topic up, never across I/O.
    pub(super) topics: RwLock<BTreeMap<Arc<str>, Arc<TopicShared>>>,
    /// Directories that belong to no topic, left alone.
    pub(super) unknown: RwLock<Vec<PathBuf>>,
    /// The topics whose deletion, or failed creation, is still to be finished, with their number
    /// of partitions. Leaf lock; only changed with `changes` held.
    pub(super) interrupted: Mutex<BTreeMap<String, u32>>,
    /// A leaf lock, taken within `topics`.
    pub(super) births: Births,
    /// Rises with each change of topics or partitions.
    version: AtomicU64,
    /// Raised when `version` rises, with no lock held.
    changed: Notify,
    /// They are told of each topic that is deleted.
    watchers: Watchers,
    /// Leaf lock. The coordinator of the groups, created for the first consumer of a group.
    pub(crate) coordinator: Mutex<Option<Arc<Coordinator>>>,
}

/// The reason for a close: the end of use, or an opening that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// An opening that failed. The directory counts as closed cleanly if it did before.
    Opening,
    Use,
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
        Place::check(path)?;
        let place = log::create(&config.log.fs, path)?;
        let directory = Directory::new(&place, &config.log);
        directory.check()?;
        let lock = Arc::new(WriteLock::take(place.guard()?, &directory.dir)?);
        directory.dir.reserve().into_iter().for_each(|reserve| reserve.find());
        directory.identify()?;
        let checkpoints = Arc::new(DataCheckpoints::open(&directory.dir, lock.was_foreign)?);
        let on_clock = |given| Maintainer::with_clock(given, Arc::clone(&config.log.clock));
        let maintainer = config.maintenance.clone().map(on_clock).transpose()?;
        let store = Store {
            shared: Arc::new(StoreShared {
                producer_ids: ProducerIds::new(&directory.dir),
                directory,
                config,
                checkpoints,
                maintainer,
                changes: Mutex::new(()),
                lock: Mutex::new(Some(lock)),
                closed: AtomicBool::new(false),
                topics: RwLock::default(),
                unknown: RwLock::default(),
                interrupted: Mutex::default(),
                births: Births::default(),
                version: AtomicU64::new(0),
                changed: Notify::default(),
                watchers: Watchers::default(),
                coordinator: Mutex::default(),
            }),
        };
        match store.open_topics() {
            Ok(()) => Ok(store),
            Err(error) => {
                // Those that opened are closed again, so that the next opening finds of all logs
                // what this one found.
                store.shared.change(|| store.shared.close(Ends::Opening)).ok();
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
        self.shared.check_open()?;
        let topics = self.shared.topics.read();
        let found = topics.get(name).map(Topic::new);
        found.ok_or_else(|| TopicError::Unknown { topic: name.to_owned() }.into())
    }

    /// Returns all topics, in the order of their names, including the internal ones. After a
    /// close, these are the topics that there were.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.shared.topics.read().values().map(Topic::new).collect()
    }

    /// Changes the settings of a topic while it is in use, but not the number of its partitions:
    /// that in `config` is ignored, and [`add_partitions`](Store::add_partitions) changes it.
    ///
    /// A setting that is not in `config` returns to its default, so begin with [`Topic::config`].
    /// Most settings apply at once. `index.interval.bytes` applies after the next opening, and
    /// settings of a segment, such as `preallocate` and `segment.jitter.ms`, apply to the next
    /// segment.
    ///
    /// ```
    /// use annals::{Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let topic = store.create_topic("orders", TopicConfig::default())?;
    /// store.alter_topic("orders", topic.config().set("retention.ms", "60000")?)?;
    /// assert_eq!(topic.config().get("retention.ms"), Some("60000"));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`TopicError::InvalidSetting`], [`Error::StoreClosed`],
    ///   [`Error::Io`]: nothing was altered.
    /// - [`TopicError::Internal`] for a policy without compaction on `__consumer_offsets`;
    ///   [`TopicError::Spread`] for a topic that has partitions elsewhere.
    pub fn alter_topic(&self, topic: &str, config: TopicConfig) -> Result<()> {
        self.shared.change(|| self.alter(topic, config))
    }

    fn alter(&self, topic: &str, config: TopicConfig) -> Result<()> {
        let shared = &self.shared;
        let found = self.topic(topic)?;
        found.check_whole("alter it where all of them are")?;
        let config = config.partitions(found.partition_count());
        let log = config.apply(&shared.config.log)?;
        if topic_name::is_compacted(topic) && log.cleanup_policy != CleanupPolicy::Compact {
            let reason = "all it has is the last record of each key, which only compaction keeps";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        // Partitions whose making failed are made at the next opening, whatever is altered
        // meanwhile.
        let (count, state) = match shared.directory.definition(topic)? {
            Some(Definition { config, state: State::Creating(id) }) => {
                (config.partitions, State::Creating(id))
            }
            _ => (config.partitions, State::Settled),
        };
        shared.directory.define(topic, &config.clone().partitions(count), state)?;
        let altered =
            found.partitions().iter().map(|partition| partition.alter(&log)).collect::<Vec<_>>();
        found.set_config(config);
        // One that is closed or poisoned gets them with its next opening.
        drop(altered);
        Ok(())
    }

    /// Runs retention and compaction for all logs now, one after the other. If some fail, it tries
    /// all of them and returns the first error.
    ///
    /// # Errors
    ///
    /// As [`Log::maintain`], and [`Error::StoreClosed`].
    pub fn maintain(&self) -> Result<Vec<(Topic, u32, MaintenanceReport)>> {
        self.shared.check_open()?;
        let (mut reports, mut failed) = (Vec::new(), None);
        for topic in self.topics() {
            for (number, log) in topic.numbered() {
                match log.maintain() {
                    Ok(report) => reports.push((topic.clone(), number, report)),
                    Err(Error::Closed { .. }) if self.is_gone(&log)? => {}
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
        self.shared.check_open()?;
        let logs = self.shared.logs();
        let flushed = self.shared.in_parallel(&logs, Log::flush);
        logs.iter().zip(flushed).try_for_each(|(log, flushed)| match flushed {
            Err(Error::Closed { .. }) if self.is_gone(log)? => Ok(()),
            flushed => flushed.map(drop),
        })
    }

    /// Whether a log is closed because its topic was deleted, or its partition reopened,
    /// meanwhile.
    fn is_gone(&self, log: &Log) -> Result<bool> {
        self.shared.check_open()?;
        if log.close_reason() == CloseReason::Reopened {
            // Its records are durable once the call that reopens it has ended.
            drop(self.shared.changes.lock());
        }
        Ok(!self.shared.logs().iter().any(|other| other.is_same_log(log)))
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
        self.shared.change(|| self.shared.close(Ends::Use))
    }

    /// Returns the directories in the store's own that belong to no topic, such as `lost+found`,
    /// or an empty one with the name of a partition. They are left alone.
    #[must_use]
    pub fn unknown_directories(&self) -> Vec<PathBuf> {
        self.shared.unknown.read().clone()
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.directory.dir.path
    }

    /// Returns the options of the logs of a topic without settings of its own.
    pub(crate) fn log_defaults(&self) -> &LogConfig {
        &self.shared.config.log
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.config.log.clock
    }

    /// Returns a number that rises with each change of topics or partitions.
    pub(crate) fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// Returns a moment between the creation of the partitions that exist now and of any later
    /// ones.
    pub(crate) fn moment(&self) -> Moment {
        let _topics = self.shared.topics.read();
        self.shared.births.now()
    }

    /// Returns a partition, and when it was created.
    pub(crate) fn partition(&self, topic: &str, number: u32) -> Result<(Log, Moment)> {
        let topic = self.topic(topic)?;
        Ok((topic.partition(number)?, self.shared.births.of(topic.id(), number)))
    }

    /// Returns where events go.
    pub(crate) fn events(&self) -> &EventSink {
        &self.shared.directory.dir.events
    }

    /// Returns the signal that is raised when the version rises.
    pub(crate) fn changed(&self) -> &Notify {
        &self.shared.changed
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
        self.shared.check_open()?;
        self.shared.producer_ids.next(|| self.shared.logs())
    }

    /// Returns the watchers that are told of deleted topics.
    pub(crate) fn watchers(&self) -> &Watchers {
        &self.shared.watchers
    }

    pub(crate) fn shared(&self) -> &Arc<StoreShared> {
        &self.shared
    }
}

/// What was done on a thread, with the events and the wakers that it held back.
type Done<T> = ((T, Vec<Event>), Vec<Waker>);

impl StoreShared {
    /// The lock of the directory.
    pub(super) fn write_lock(&self) -> Result<Arc<WriteLock>> {
        self.lock.lock().clone().ok_or(Error::StoreClosed)
    }

    /// Changes topics, one call at a time. Wakes waiting consumers and delivers events after it
    /// has released the lock, because both may call the store.
    pub(super) fn change<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let events = &self.directory.dir.events;
        let changing = || {
            let _changes = self.changes.lock();
            let before = self.version.load(Ordering::Acquire);
            let done = self.check_open().and_then(|()| work());
            (done, self.version.load(Ordering::Acquire) != before)
        };
        let ((done, changed), held) = wake_after(|| events.hold(changing));
        if changed {
            self.changed.notify();
        }
        events.emit_all(&held);
        done
    }

    /// Records that topics or partitions have changed. Waiting consumers are woken when the
    /// [change](StoreShared::change) is done.
    pub(super) fn note_change(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Closes all logs cleanly, and unlocks the directory.
    fn close(&self, what: Ends) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        let logs = self.logs();
        let close = |log: &Log| log.close_with_others(CloseReason::WithStore);
        let closed = self.in_parallel(&logs, close);
        let failed = closed.into_iter().find_map(|closed| match closed {
            // Another handle of the log has closed it.
            Ok(()) | Err(Error::Closed { .. }) => None,
            Err(error) => Some(error),
        });
        // Lines of logs that could not be opened stay.
        let done = self.checkpoints.commit_all();
        let names = || {
            self.partitions().iter().map(|(topic, number)| format!("{topic}-{number}")).collect()
        };
        let names = (what == Ends::Use).then(names);
        let ended = failed.map_or(done, Err);
        let ended = ended.and_then(|()| self.checkpoints.commit_clean_shutdown(names));
        *self.lock.lock() = None;
        self.directory.dir.close();
        self.note_change();
        ended
    }

    /// Translates an error of a log for the caller of a store: the logs of a closed store are
    /// closed, too.
    pub(crate) fn closed_with_store(&self, error: Error) -> Error {
        match error {
            Error::Closed { .. } => self.check_open().err().unwrap_or(error),
            other => other,
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::StoreClosed) } else { Ok(()) }
    }

    /// Applies `work` to each item, on up to [`recovery_threads`](StoreConfig::recovery_threads)
    /// threads.
    pub(super) fn in_parallel<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        let (fs, threads) = (&*self.directory.dir.fs, self.config.recovery_threads);
        self.with_events(work, |work| in_parallel(fs, threads, items, work))
    }

    /// Applies `work` to each item, on few threads: for short work.
    pub(super) fn in_few_threads<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        let (fs, threads) = (&*self.directory.dir.fs, self.config.recovery_threads);
        self.with_events(work, |work| in_few_threads(fs, threads, items, work))
    }

    /// Runs `work` on several threads. If this thread holds its events and wakers back, it also
    /// gets those of the others.
    fn with_events<T, R>(
        &self,
        work: impl Fn(&T) -> R + Sync,
        on_threads: impl FnOnce(&(dyn Fn(&T) -> Done<R> + Sync)) -> Vec<Done<R>>,
    ) -> Vec<R> {
        let events = &self.directory.dir.events;
        let are_held_back = EventSink::are_held_back();
        let done = on_threads(&|item| {
            if are_held_back {
                hold_wakers(|| events.hold(|| work(item)))
            } else {
                ((work(item), Vec::new()), Vec::new())
            }
        });
        let deliver = |((done, held), wakers): Done<R>| {
            wake_all(wakers);
            events.emit_all(&held);
            done
        };
        done.into_iter().map(deliver).collect()
    }

    fn logs(&self) -> Vec<Log> {
        let topics: Vec<Arc<TopicShared>> = self.topics.read().values().cloned().collect();
        topics.iter().flat_map(|topic| topic.partitions().to_vec()).collect()
    }

    /// Returns all partitions that are here, as checkpoints name them.
    pub(super) fn partitions(&self) -> Vec<(String, i32)> {
        let topics = self.topics.read();
        let of = |(name, topic): (&Arc<str>, &Arc<TopicShared>)| {
            let here = |slot: &Slot| !matches!(slot, Slot::Elsewhere);
            let slots = topic.slots();
            let numbers = (0..).zip(slots.iter()).filter(|(_, slot)| here(slot));
            numbers.map(|(number, _)| (name.to_string(), number)).collect::<Vec<_>>()
        };
        topics.iter().flat_map(of).collect()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}
