//! A store: a directory of topics.

use crate::clock::Clock;
use crate::error::{Error, Result, TopicError};
use crate::event::Event;
use crate::fs::MemFs;
use crate::log::{
    CleanupPolicy, DataCheckpoints, Log, LogConfig, Maintainer, MaintenanceReport, Place, Signal,
    WriteLock,
};
use crate::segment::dir::Events;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::topic::births::{Births, Moment};
use crate::topic::coordinator::{Coordinator, OFFSETS_TOPIC};
use crate::topic::definition::{Definition, State};
use crate::topic::directory::Directory;
use crate::topic::handle::{Slot, Topic, TopicShared};
use crate::topic::in_parallel::{in_few_threads, in_parallel};
use crate::topic::name;
use crate::topic::producer_ids::ProducerIds;
use crate::topic::settings::TopicConfig;
#[cfg(doc)]
use crate::topic::store_config::OfflinePartitions;
use crate::topic::store_config::StoreConfig;
use crate::topic::watchers::Watchers;
use crate::types::ProducerId;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of topics: what a Kafka broker has in its `log.dirs`, in one process and without a broker.
///
/// Clones are handles to the same store, for any number of threads. [One process at a time](crate::docs::limits#who-may-have-it-open)
/// has a directory open, a broker included.
///
/// | call | returns when | survives |
/// |---|---|---|
/// | [`create_topic`](Store::create_topic), [`add_partitions`](Store::add_partitions), [`alter_topic`](Store::alter_topic), [`delete_topic`](Store::delete_topic) | the medium has it | loss of power; a crash before that leaves it undone, or done when the store is opened again, never in part |
/// | [`close`](Store::close) | all logs are flushed and closed | loss of power, and the next opening reads no log |
///
/// Topics, logs, readers and clients of a store are handles to it, too: while any of them lives, the directory stays locked
/// and maintained. Dropping the last one is as if the process had ended there: the next opening reads what was not flushed.
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

/// What all handles of a store share. Lock order: `changes`, a partition of the coordinator, then what the logs have, then
/// `topics`. Events are delivered with none of them held.
pub(crate) struct StoreShared {
    pub(super) directory: Directory,
    pub(crate) config: StoreConfig,
    pub(super) checkpoints: Arc<DataCheckpoints>,
    pub(super) maintainer: Option<Maintainer>,
    producer_ids: ProducerIds,
    /// One topic at a time is made, changed or deleted: see [`change`](StoreShared::change).
    changes: Mutex<()>,
    /// Leaf lock. That of the directory, which each open log of the store keeps, too; `None` once the store is closed.
    lock: Mutex<Option<Arc<WriteLock>>>,
    closed: AtomicBool,
    /// Whether it is known which topics there are.
    pub(super) is_surveyed: AtomicBool,
    /// Leaf lock: held to look a topic up, never across I/O.
    pub(super) topics: RwLock<BTreeMap<Arc<str>, Arc<TopicShared>>>,
    /// Directories that are no partition's, left alone.
    pub(super) unknown: RwLock<Vec<PathBuf>>,
    /// The topics whose deletion, or failed creation, is still to be finished, and how many partitions they had. Leaf lock; only
    /// changed with `changes` held.
    pub(super) interrupted: Mutex<BTreeMap<String, u32>>,
    /// A leaf lock, taken within `topics`.
    pub(super) births: Births,
    /// How often topics or partitions came or went.
    version: AtomicU64,
    /// Raised, with nothing held, when they did.
    changed: Signal,
    /// Told of each topic that is deleted.
    watchers: Watchers,
    /// Leaf lock. What runs the groups, made when the first is needed.
    pub(crate) coordinator: Mutex<Option<Arc<Coordinator>>>,
}

impl Store {
    /// Opens a directory of topics, creating it if there is none.
    ///
    /// After a [`close`](Store::close) no log is read. After a crash, the logs that were written to since they were last flushed
    /// are recovered, [several at once](StoreConfig::recovery_threads), as [`Log::open`] does it. What a crash left of
    /// a topic that was being made, or deleted, is done first. A directory that a Kafka broker has left is taken over as it is.
    ///
    /// Files and directories that are no partition's, such as `lost+found`, are left alone: see
    /// [`unknown_directories`](Store::unknown_directories).
    ///
    /// A partition whose files are damaged is [offline](TopicError::PartitionOffline), and all others can be used:
    /// [`Topic::unavailable_partitions`] lists such partitions, [`reopen_partition`](Store::reopen_partition) opens one
    /// after a repair, and [`StoreConfig::offline_partitions`] chooses otherwise.
    ///
    /// A broker of a cluster has some of a topic's partitions, say 143 alone. Those that are here are served, and the others
    /// answer [`TopicError::PartitionElsewhere`]. How many there are only the cluster knows: a producer needs the
    /// partition of each record then, as a key cannot tell it, and such a topic cannot be altered, grown or deleted
    /// here ([`TopicError::Spread`]). Consumers read what is here.
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`] while another store or a broker has it open, one of its logs is open by itself, or a handle of an
    ///   earlier store lives that was not closed.
    /// - [`TopicError::InvalidDirectory`], [`Error::NotALog`] for a directory that is something else, or has one in it that is
    ///   named like a partition's and is none.
    /// - [`TopicError::MissingPartition`] if a partition's directory is gone.
    /// - [`Error::Corrupt`] for damage in a file of the store itself; in a partition, with [`OfflinePartitions::Never`].
    /// - [`Error::InvalidConfig`], [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, config: StoreConfig) -> Result<Store> {
        config.validate()?;
        let path = dir.as_ref();
        Place::check(path)?;
        let fs = &config.log.fs;
        fs.create_dir(path).map_err(|e| Error::io("create", path, e))?;
        let place = Place::hold(fs, path).map_err(|e| Error::io("open", path, e))?;
        let directory = Directory::new(&place, &config.log);
        directory.check()?;
        let lock = Arc::new(WriteLock::take(&place, &directory.dir)?);
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
                is_surveyed: AtomicBool::new(false),
                topics: RwLock::default(),
                unknown: RwLock::default(),
                interrupted: Mutex::default(),
                births: Births::default(),
                version: AtomicU64::new(0),
                changed: Signal::default(),
                watchers: Watchers::default(),
                coordinator: Mutex::default(),
            }),
        };
        match store.open_topics() {
            Ok(()) => Ok(store),
            Err(error) => {
                // Those that opened are closed again, so that the next opening finds of all logs what this one found.
                store.close().ok();
                Err(error)
            }
        }
    }

    /// A store of its own in memory, gone with its last handle.
    ///
    /// The same code as for a disk, over a [`MemFs`], without threads of its own. Keep a [`MemFs`] and give it to
    /// [`StoreConfig::fs`] and [`Store::open`] to open what is in it again.
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

    /// What runs the groups, if there ever were any in this directory.
    pub(super) fn existing_coordinator(&self) -> Result<Option<Arc<Coordinator>>> {
        let topic = self.topic(OFFSETS_TOPIC).ok();
        topic.filter(|topic| !topic.is_spread()).map(|_| self.coordinator()).transpose()
    }

    /// A topic, by its name.
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

    /// All topics, in the order of their names, with those that the store keeps for itself.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.shared.topics.read().values().map(Topic::new).collect()
    }

    /// Sets a topic up otherwise, while it is in use. Its number of partitions stays as it is.
    ///
    /// What is not set holds by default again, so begin with [`Topic::config`]. Of all settings only `index.interval.bytes` waits
    /// for the next opening; `preallocate`, `segment.jitter.ms` and the like hold for the next segment.
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
    /// - [`TopicError::Unknown`], [`TopicError::InvalidSetting`], [`Error::StoreClosed`], [`Error::Io`]: nothing was altered.
    /// - [`TopicError::Internal`] for the offsets of groups without compaction, [`TopicError::Spread`] for a topic that has
    ///   partitions elsewhere.
    pub fn alter_topic(&self, topic: &str, config: TopicConfig) -> Result<()> {
        self.shared.change(|| self.alter(topic, config))
    }

    fn alter(&self, topic: &str, config: TopicConfig) -> Result<()> {
        let shared = &self.shared;
        let found = self.topic(topic)?;
        found.check_whole("alter it where all of them are")?;
        let config = config.partitions(found.partition_count());
        let log = config.apply(&shared.config.log)?;
        if name::is_compacted(topic) && log.cleanup_policy != CleanupPolicy::Compact {
            let reason = "all it has is the last record of each key, which only compaction keeps";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        // Partitions whose making failed are made at the next opening, whatever is altered meanwhile.
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

    /// Does retention and compaction for all logs, now, one after the other. The first error is returned when all were tried.
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
                    Err(Error::Closed) if self.is_gone(&log)? => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(reports), Err)
    }

    /// Makes durable all that was appended to any topic.
    ///
    /// # Errors
    ///
    /// As [`Log::flush`], of the first log that fails, when all were tried; [`Error::StoreClosed`].
    pub fn flush(&self) -> Result<()> {
        self.shared.check_open()?;
        let logs = self.shared.logs();
        let flushed = self.shared.in_parallel(&logs, Log::flush);
        logs.iter().zip(flushed).try_for_each(|(log, flushed)| match flushed {
            Err(Error::Closed) if self.is_gone(log)? => Ok(()),
            flushed => flushed.map(drop),
        })
    }

    /// Whether a log is closed because its topic was deleted meanwhile.
    fn is_gone(&self, log: &Log) -> Result<bool> {
        self.shared.check_open()?;
        Ok(!self.shared.logs().iter().any(|other| Arc::ptr_eq(other.shared(), log.shared())))
    }

    /// Closes all logs in order, for everyone who holds one, and lets go of the directory. The next opening reads none of them.
    /// On a full disk that succeeds, too, and the next opening recovers the logs. No file and no directory stays open,
    /// whatever handles live on: see [`Log::close`].
    ///
    /// Close producers and consumers first: what they hold back is not in the logs yet.
    ///
    /// # Errors
    ///
    /// - [`Error::StoreClosed`] if it is closed.
    /// - What the first log that could not be closed in order says. The directory is let go of all the same, and such logs are
    ///   recovered when it is opened again.
    pub fn close(&self) -> Result<()> {
        self.shared.change(|| self.shared.close())
    }

    /// Returns the directories in the store's own that belong to no topic, such as `lost+found`. They are left alone.
    #[must_use]
    pub fn unknown_directories(&self) -> Vec<PathBuf> {
        self.shared.unknown.read().clone()
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.directory.dir.path
    }

    /// The options of the logs of a topic that sets nothing itself.
    pub(crate) fn log_defaults(&self) -> &LogConfig {
        &self.shared.config.log
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.config.log.clock
    }

    /// How often topics or partitions came or went: while it stays, they are the same.
    pub(crate) fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// A moment between the births of partitions that can be found now and those that cannot yet.
    pub(crate) fn moment(&self) -> Moment {
        let _topics = self.shared.topics.read();
        self.shared.births.now()
    }

    /// A partition, and when it was made.
    pub(crate) fn partition(&self, topic: &str, number: u32) -> Result<(Log, Moment)> {
        let topic = self.topic(topic)?;
        Ok((topic.partition(number)?, self.shared.births.of(topic.id(), number)))
    }

    /// Raised when the version rises.
    pub(crate) fn changed(&self) -> &Signal {
        &self.shared.changed
    }

    /// A producer id that was never given out before, whatever happened since, by any store in this directory. For those who make
    /// numbered batches themselves: a broker for its clients. Kafka: `InitProducerId`.
    ///
    /// A thousand are reserved at a time, durably; of those a crash loses the rest. All are at or above
    /// [`FIRST_STORE_PRODUCER_ID`](crate::FIRST_STORE_PRODUCER_ID), so none is ever taken for an id that
    /// a broker gave out: logs of a store can be moved to a broker, and batches of a broker's clients
    /// copied into a store.
    ///
    /// # Errors
    ///
    /// - [`Error::StoreClosed`], [`Error::Io`].
    /// - [`Error::Corrupt`] if the file that says which is next cannot be read.
    pub fn new_producer_id(&self) -> Result<ProducerId> {
        self.shared.check_open()?;
        self.shared.producer_ids.next(|| self.shared.logs())
    }

    /// Those that keep something of topics.
    pub(crate) fn watchers(&self) -> &Watchers {
        &self.shared.watchers
    }

    pub(crate) fn shared(&self) -> &Arc<StoreShared> {
        &self.shared
    }
}

impl StoreShared {
    /// The lock of the directory.
    pub(super) fn write_lock(&self) -> Result<Arc<WriteLock>> {
        self.lock.lock().clone().ok_or(Error::StoreClosed)
    }

    /// Changes topics, one call at a time. Who waits for a change is woken, and events are delivered, with the lock
    /// released: either may call the store.
    pub(super) fn change<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let events = &self.directory.dir.events;
        let ((done, changed), held) = events.hold(|| {
            let _changes = self.changes.lock();
            let before = self.version.load(Ordering::Acquire);
            let done = self.check_open().and_then(|()| work());
            (done, self.version.load(Ordering::Acquire) != before)
        });
        if changed {
            self.changed.notify();
        }
        events.emit_all(&held);
        done
    }

    /// Says that topics or partitions came or went. Those who wait for that are woken when the [change](StoreShared::change)
    /// is done.
    pub(super) fn note_change(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Closes all logs in order, and lets go of the directory.
    fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        let logs = self.logs();
        let closed = self.in_parallel(&logs, Log::close_with_others);
        let failed = closed.into_iter().find_map(|closed| match closed {
            // Somebody who holds it came first.
            Ok(()) | Err(Error::Closed) => None,
            Err(error) => Some(error),
        });
        // Lines of logs that could not be opened stay.
        let done = self.checkpoints.commit_all();
        let known = self.is_surveyed.load(Ordering::Acquire);
        let names = || {
            self.partitions().iter().map(|(topic, number)| format!("{topic}-{number}")).collect()
        };
        let marked = done.and_then(|()| self.checkpoints.commit_clean_shutdown(known.then(names)));
        *self.lock.lock() = None;
        self.directory.dir.let_go();
        self.note_change();
        failed.map_or(marked, Err)
    }

    /// What an error of a log means to the caller of a store: its logs are closed with it.
    pub(crate) fn closed_with_store(&self, error: Error) -> Error {
        match error {
            Error::Closed => self.check_open().err().unwrap_or(Error::Closed),
            other => other,
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::StoreClosed) } else { Ok(()) }
    }

    /// Does something to each, with as many threads as there are to be.
    pub(super) fn in_parallel<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        let (fs, threads) = (&*self.directory.dir.fs, self.config.recovery_threads);
        self.with_events(work, |work| in_parallel(fs, threads, items, work))
    }

    /// The same for what is short.
    pub(super) fn in_few_threads<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        let (fs, threads) = (&*self.directory.dir.fs, self.config.recovery_threads);
        self.with_events(work, |work| in_few_threads(fs, threads, items, work))
    }

    /// Does something on several threads. If this thread holds its events back, it gets those of the others, too.
    fn with_events<T, R>(
        &self,
        work: impl Fn(&T) -> R + Sync,
        on_threads: impl FnOnce(&(dyn Fn(&T) -> (R, Vec<Event>) + Sync)) -> Vec<(R, Vec<Event>)>,
    ) -> Vec<R> {
        let events = &self.directory.dir.events;
        let are_held_back = Events::are_held_back();
        let done = on_threads(&|item| {
            if are_held_back { events.hold(|| work(item)) } else { (work(item), Vec::new()) }
        });
        let deliver = |(done, held): (R, Vec<Event>)| {
            events.emit_all(&held);
            done
        };
        done.into_iter().map(deliver).collect()
    }

    fn logs(&self) -> Vec<Log> {
        let topics: Vec<Arc<TopicShared>> = self.topics.read().values().cloned().collect();
        topics.iter().flat_map(|topic| topic.partitions().to_vec()).collect()
    }

    /// All partitions but those that are elsewhere, as checkpoints name them.
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
