//! A store: a directory of topics.

use crate::clock::Clock;
use crate::error::{Error, Result, TopicError};
use crate::fs::MemFs;
use crate::log::{
    Log, LogConfig, Maintainer, MaintenanceReport, SharedCheckpoints, Signal, WriteLock,
};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::topic::births::{Births, Moment};
use crate::topic::checkpoints::DataCheckpoints;
use crate::topic::coordinator::{Coordinator, OFFSETS_TOPIC};
use crate::topic::definition::{Definition, State};
use crate::topic::directory::{Directory, Found, Survey};
use crate::topic::handle::{Topic, TopicShared};
use crate::topic::id::TopicId;
use crate::topic::in_parallel::in_parallel;
use crate::topic::name;
use crate::topic::producer_ids::ProducerIds;
use crate::topic::settings::TopicConfig;
use crate::topic::store_config::StoreConfig;
use crate::types::ProducerId;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A directory of topics: what a Kafka broker has in its `log.dirs`, in one process and without a broker.
///
/// Clones are handles to the same store, for any number of threads. One process at a time has a directory open. On Linux
/// the lock of a broker is of another kind: see to it yourself that none has the directory.
///
/// | call | returns when | survives |
/// |---|---|---|
/// | [`create_topic`](Store::create_topic), [`add_partitions`](Store::add_partitions), [`alter_topic`](Store::alter_topic), [`delete_topic`](Store::delete_topic) | the medium has it | loss of power; a crash before that leaves it undone, or done when the store is opened again, never in part |
/// | [`close`](Store::close) | all logs are flushed and closed | loss of power, and the next opening reads no log |
///
/// Dropping the last handle is as if the process had ended there: the next opening reads what was not flushed.
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

/// What all handles of a store share. Lock order: `coordinator`, `changes`, a partition of the coordinator, then what the
/// logs have, then `topics`.
pub(crate) struct StoreShared {
    directory: Directory,
    pub(crate) config: StoreConfig,
    checkpoints: Arc<DataCheckpoints>,
    lost_power: bool,
    pub(crate) maintainer: Option<Maintainer>,
    producer_ids: ProducerIds,
    /// One topic at a time is made, changed or deleted. The lock of the directory; `None` once the store is closed.
    changes: Mutex<Option<WriteLock>>,
    closed: AtomicBool,
    /// Whether it is known which topics there are.
    is_surveyed: AtomicBool,
    /// Leaf lock: held to look a topic up, never across I/O.
    topics: RwLock<BTreeMap<Arc<str>, Arc<TopicShared>>>,
    /// A leaf lock, taken within `topics`.
    births: Births,
    /// How often topics or partitions came or went.
    version: AtomicU64,
    /// Raised, with nothing held, when they did.
    changed: Signal,
    /// What runs the groups, made when the first is needed. Held while it is made.
    pub(crate) coordinator: Mutex<Option<Arc<Coordinator>>>,
}

impl Store {
    /// Opens a directory of topics, creating it if there is none.
    ///
    /// After a [`close`](Store::close) no log is read. After a crash, the logs that were written to since they were last flushed
    /// are recovered, [several at once](StoreConfig::recovery_threads), as [`Log::open`] does it. What a crash left of
    /// a topic that was being made, or deleted, is done first. A directory that a Kafka broker has left is taken over as it is.
    ///
    /// Only directories named like those of partitions may lie in it, as in a broker's; files it does not know are left alone.
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`] if another store has it open, or somebody one of its logs by itself.
    /// - [`TopicError::InvalidDirectory`] for a directory that is something else, or has something else in it.
    /// - [`TopicError::MissingPartition`] if a partition's directory is gone.
    /// - [`Error::Corrupt`] for damage that no crash explains, in a log or in a file of the store. Nothing was cut:
    ///   see [`StoreConfig::on_corruption`].
    /// - [`Error::InvalidConfig`], [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, config: StoreConfig) -> Result<Store> {
        config.validate()?;
        let path = dir.as_ref();
        let directory = Directory::new(path, &config.log);
        let fs = &directory.dir.fs;
        fs.create_dir(path).map_err(|e| Error::io("create", path, e))?;
        directory.check()?;
        let lock = WriteLock::take(&directory.dir)?;
        directory.identify()?;
        let checkpoints = Arc::new(DataCheckpoints::open(&directory.dir)?);
        let maintainer = config.maintenance.clone().map(Maintainer::new).transpose()?;
        let store = Store {
            shared: Arc::new(StoreShared {
                producer_ids: ProducerIds::new(&directory.dir),
                directory,
                config,
                checkpoints,
                lost_power: lock.lost_power,
                maintainer,
                changes: Mutex::new(Some(lock)),
                closed: AtomicBool::new(false),
                is_surveyed: AtomicBool::new(false),
                topics: RwLock::default(),
                births: Births::default(),
                version: AtomicU64::new(0),
                changed: Signal::default(),
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

    fn open_topics(&self) -> Result<()> {
        let shared = &self.shared;
        let Survey { found, deleting } = shared.directory.survey()?;
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
        let opened = in_parallel(shared.config.recovery_threads, &jobs, |&(at, number)| {
            let (Some(topic), Some(id), Some(config)) =
                (found.get(at), ids.get(at), configs.get(at))
            else {
                return Err(Error::Closed);
            };
            self.open_partition(&topic.name, number, *id, config, topic.unfinished)
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
        shared.checkpoints.commit(shared.partitions())?;
        for log in taken_over {
            log.remove_own_checkpoints()?;
        }
        for topic in found.iter().filter(|topic| topic.unfinished) {
            shared.directory.define(&topic.name, &topic.config, State::Settled)?;
        }
        if let Some(lock) = &*shared.changes.lock() {
            lock.recovered(&shared.directory.dir)?;
        }
        for (topic, partitions) in deleting {
            self.existing_coordinator()?.map_or(Ok(()), |groups| groups.forget_topic(&topic))?;
            shared.directory.delete(&topic, partitions.into_iter().rev())?;
        }
        self.topics().iter().try_for_each(|topic| self.maintain_topic(topic))
    }

    /// What runs the groups, if there ever were any in this directory.
    fn existing_coordinator(&self) -> Result<Option<Arc<Coordinator>>> {
        self.topic(OFFSETS_TOPIC).ok().map(|_| self.coordinator()).transpose()
    }

    /// The id that a topic's first partition has, or a new one.
    fn id_of(&self, topic: &Found) -> Result<TopicId> {
        let known = self.shared.directory.topic_id(&topic.name, 0)?;
        Ok(known.unwrap_or_else(TopicId::random))
    }

    fn open_partition(
        &self,
        topic: &str,
        partition: u32,
        id: TopicId,
        config: &LogConfig,
        may_be_missing: bool,
    ) -> Result<(Log, bool)> {
        let shared = &self.shared;
        if may_be_missing {
            shared.directory.make(topic, partition)?;
        }
        match shared.directory.topic_id(topic, partition)? {
            Some(known) if known == id => {}
            Some(_) => {
                let reason = "its `partition.metadata` has the id of another topic of that name";
                let path = shared.directory.path_of(topic, partition);
                return Err(TopicError::InvalidDirectory { path, reason }.into());
            }
            None => shared.directory.set_topic_id(topic, partition, id)?,
        }
        let checkpoints: Arc<dyn SharedCheckpoints> = Arc::clone(&shared.checkpoints) as _;
        shared.directory.open_log(topic, partition, config, &checkpoints, shared.lost_power)
    }

    fn maintain_topic(&self, topic: &Topic) -> Result<()> {
        let Some(maintainer) = &self.shared.maintainer else { return Ok(()) };
        topic.partitions().iter().try_for_each(|log| maintainer.add(log))
    }

    /// Makes a topic.
    ///
    /// ```
    /// use annals::{ErrorKind, Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("orders", TopicConfig::default().partitions(3))?;
    /// let again = store.create_topic("orders", TopicConfig::default());
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::Exists);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TopicError::InvalidName`], [`TopicError::Exists`]; also for a name that differs from another in `.` and `_` only,
    ///   which Kafka could not tell apart in its metrics.
    /// - [`TopicError::InvalidPartitions`] for none, or more than 100,000.
    /// - [`TopicError::InvalidSetting`] for a setting that cannot be as it is.
    /// - [`Error::StoreClosed`], [`Error::Io`]. After the latter the topic may be there when the store is opened again.
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        if name::is_internal(name) {
            let reason = "the store keeps it for itself";
            return Err(TopicError::InvalidName { topic: name.to_owned(), reason }.into());
        }
        self.make_topic(name, config)
    }

    fn make_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        name::check(name)?;
        let shared = &self.shared;
        check_partitions(name, config.partitions)?;
        let log = config.apply(&shared.config.log)?;
        let changes = shared.changes.lock();
        shared.check_open()?;
        if shared.topics.read().contains_key(name) {
            return Err(TopicError::Exists { topic: name.to_owned() }.into());
        }
        if shared.topics.read().keys().any(|other| name::collides(other, name)) {
            let reason = "but for `.` and `_` another topic has that name";
            return Err(TopicError::InvalidName { topic: name.to_owned(), reason }.into());
        }
        let id = TopicId::random();
        let logs = self.make_partitions(name, 0, id, &config, &log);
        if logs.is_err() {
            // What was made of it goes again; what will not is removed when the store is opened.
            shared.directory.define(name, &config, State::Deleting).ok();
            shared.directory.delete(name, (0..config.partitions).rev()).ok();
        }
        let shared_name: Arc<str> = name.into();
        let topic = TopicShared::new(Arc::clone(&shared_name), id, logs?, config);
        let topic = Arc::new(topic);
        {
            let mut topics = shared.topics.write();
            shared.births.note(id, 0);
            topics.insert(shared_name, Arc::clone(&topic));
        }
        drop(changes);
        let topic = Topic::new(&topic);
        self.maintain_topic(&topic)?;
        shared.announce();
        Ok(topic)
    }

    /// Makes the partitions of a topic from this one on.
    fn make_partitions(
        &self,
        name: &str,
        from: u32,
        id: TopicId,
        config: &TopicConfig,
        log: &LogConfig,
    ) -> Result<Vec<Log>> {
        let shared = &self.shared;
        // From here on the topic is there, or has grown: what a crash keeps from being made is made at the next opening.
        shared.directory.make(name, 0)?;
        shared.directory.define(name, config, State::Creating)?;
        let numbers: Vec<u32> = (from..config.partitions).collect();
        let keys: Vec<_> = numbers.iter().map(|n| (name.to_owned(), n.cast_signed())).collect();
        shared.checkpoints.hold_all(&keys);
        let made = in_parallel(shared.config.recovery_threads, &numbers, |number| {
            self.open_partition(name, *number, id, log, true).map(|(log, _)| log)
        });
        let logs = made.into_iter().collect::<Result<Vec<Log>>>();
        shared.checkpoints.release(&keys)?;
        let logs = logs?;
        shared.directory.define(name, config, State::Settled)?;
        Ok(logs)
    }

    /// A topic that the store keeps for itself, made when it is first needed.
    pub(crate) fn internal_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        match self.topic(name) {
            Err(Error::Topic(_)) => match self.make_topic(name, config) {
                Err(Error::Topic(error)) if matches!(*error, TopicError::Exists { .. }) => {
                    self.topic(name)
                }
                made => made,
            },
            found => found,
        }
    }

    /// A topic, by its name.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unknown`]
    pub fn topic(&self, name: &str) -> Result<Topic> {
        let topics = self.shared.topics.read();
        let found = topics.get(name).map(Topic::new);
        found.ok_or_else(|| TopicError::Unknown { topic: name.to_owned() }.into())
    }

    /// All topics, in the order of their names, with those that the store keeps for itself.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.shared.topics.read().values().map(Topic::new).collect()
    }

    /// Gives a topic more partitions: so many in all. Records with a key that are produced from now on may go to others than those
    /// before them with the same key.
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`Error::StoreClosed`].
    /// - [`Error::Io`]. The partitions may be there when the store is opened again; until then there are as many as before.
    /// - [`TopicError::InvalidPartitions`] for fewer than there are, as many, or more than 100,000.
    pub fn add_partitions(&self, topic: &str, partitions: u32) -> Result<()> {
        let shared = &self.shared;
        let changes = shared.changes.lock();
        shared.check_open()?;
        let found = self.topic(topic)?;
        let (before, config) = (found.partition_count(), found.config());
        let invalid = |reason| TopicError::InvalidPartitions {
            topic: topic.to_owned(),
            given: partitions,
            reason,
        };
        if partitions < before {
            return Err(invalid("it has more, and partitions are never taken from a topic").into());
        }
        if partitions == before {
            return Err(invalid("it has as many already").into());
        }
        check_partitions(topic, partitions)?;
        let config = config.partitions(partitions);
        let log = config.apply(&shared.config.log)?;
        let added = self.make_partitions(topic, before, found.id(), &config, &log)?;
        {
            let _topics = shared.topics.write();
            shared.births.note(found.id(), before);
            found.grow(added, config);
        }
        drop(changes);
        self.maintain_topic(&found)?;
        shared.announce();
        Ok(())
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
    pub fn alter_topic(&self, topic: &str, config: TopicConfig) -> Result<()> {
        let shared = &self.shared;
        let _changes = shared.changes.lock();
        shared.check_open()?;
        let found = self.topic(topic)?;
        let config = config.partitions(found.partition_count());
        let log = config.apply(&shared.config.log)?;
        // Partitions whose making failed are made at the next opening, whatever is altered meanwhile.
        let (count, state) = match shared.directory.definition(topic)? {
            Some(Definition { config, state: State::Creating }) => {
                (config.partitions, State::Creating)
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

    /// Deletes a topic, with all that is in it, and what groups have committed for it: one of its name that is made later begins
    /// anew for them, too. Its logs are closed for everyone who holds one.
    ///
    /// ```text
    ///  1  topic.properties says that it is to go     from here on a crash leaves it gone: the next opening does the rest
    ///  2  its logs are closed                        nobody commits for it any more
    ///  3  what was committed for it is removed       durably, or a loss of power would bring it back
    ///  4  its partitions are removed                 the one that says so last
    /// ```
    ///
    /// On a full disk the third step may fail. It is tried again after the fourth, which makes room.
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`Error::StoreClosed`].
    /// - [`Error::Io`]. It may be gone, or go when the store is opened again. If it is gone, what was committed for it may be
    ///   there still: see [`Admin::delete_offsets`](crate::Admin::delete_offsets).
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        let shared = &self.shared;
        self.topic(topic)?;
        let groups = self.existing_coordinator()?.filter(|_| topic != OFFSETS_TOPIC);
        let changes = shared.changes.lock();
        shared.check_open()?;
        let found = self.topic(topic)?;
        shared.directory.define(topic, &found.config(), State::Deleting)?;
        shared.topics.write().remove(topic);
        shared.births.forget(found.id());
        let partitions = found.partitions();
        let numbers = 0..found.partition_count();
        // What a log cannot write down any more does not matter.
        in_parallel(shared.config.recovery_threads, &partitions, Log::close_with_others).clear();
        let forget = || groups.as_ref().map_or(Ok(()), |groups| groups.forget_topic(topic));
        let forgotten = forget();
        let deleted = shared.directory.delete(topic, numbers.clone().rev());
        let forgotten = forgotten.or_else(|_| forget());
        let keys: Vec<_> = numbers.map(|number| (topic.to_owned(), number.cast_signed())).collect();
        let lines = shared.checkpoints.forget(&keys);
        // Whatever failed: what is set of a topic of that name from now on is written again.
        let written = shared.checkpoints.release(&keys);
        drop(changes);
        shared.announce();
        deleted.and(forgotten).and(lines).and(written)
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
            for (number, log) in (0..).zip(topic.partitions().iter()) {
                match log.maintain() {
                    Ok(report) => reports.push((topic.clone(), number, report)),
                    Err(Error::Closed) if self.is_gone(log)? => {}
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
        let flushed = in_parallel(self.shared.config.recovery_threads, &logs, Log::flush);
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
    ///
    /// Close producers and consumers first: what they hold back is not in the logs yet.
    ///
    /// # Errors
    ///
    /// - [`Error::StoreClosed`] if it is closed.
    /// - What the first log that could not be closed in order says. The directory is let go of all the same, and such logs are
    ///   recovered when it is opened again.
    pub fn close(&self) -> Result<()> {
        let shared = &self.shared;
        let mut changes = shared.changes.lock();
        if shared.closed.swap(true, Ordering::AcqRel) {
            return Err(Error::StoreClosed);
        }
        let logs = shared.logs();
        let closed = in_parallel(shared.config.recovery_threads, &logs, Log::close_with_others);
        let failed = closed.into_iter().find_map(|closed| match closed {
            // Somebody who holds it came first.
            Ok(()) | Err(Error::Closed) => None,
            Err(error) => Some(error),
        });
        // Lines of logs that could not be opened stay.
        let done = shared.checkpoints.commit_all();
        let known = shared.is_surveyed.load(Ordering::Acquire);
        let names = || {
            shared.partitions().iter().map(|(topic, number)| format!("{topic}-{number}")).collect()
        };
        let marked =
            done.and_then(|()| shared.checkpoints.commit_clean_shutdown(known.then(names)));
        let done = failed.map_or(marked, Err);
        *changes = None;
        drop(changes);
        shared.announce();
        done
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
    /// A thousand are reserved at a time, durably; of those a crash loses the rest.
    ///
    /// # Errors
    ///
    /// - [`Error::StoreClosed`], [`Error::Io`].
    /// - [`Error::Corrupt`] if the file that says which is next cannot be read.
    pub fn new_producer_id(&self) -> Result<ProducerId> {
        self.shared.check_open()?;
        self.shared.producer_ids.next(|| self.shared.logs())
    }

    pub(crate) fn shared(&self) -> &Arc<StoreShared> {
        &self.shared
    }
}

impl StoreShared {
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::StoreClosed) } else { Ok(()) }
    }

    fn logs(&self) -> Vec<Log> {
        let topics: Vec<Arc<TopicShared>> = self.topics.read().values().cloned().collect();
        topics.iter().flat_map(|topic| topic.partitions().to_vec()).collect()
    }

    /// All partitions, as checkpoints name them.
    fn partitions(&self) -> Vec<(String, i32)> {
        let topics = self.topics.read();
        let of = |(name, topic): (&Arc<str>, &Arc<TopicShared>)| {
            let name = name.to_string();
            let count = topic.config().partitions;
            (0..count).map(move |number| (name.clone(), number.cast_signed()))
        };
        topics.iter().flat_map(of).collect()
    }

    fn announce(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.changed.notify();
    }
}

/// The most partitions a topic may have: each is a directory.
const MOST_PARTITIONS: u32 = 100_000;

fn check_partitions(topic: &str, given: u32) -> Result<()> {
    let reason = match given {
        0 => "a topic has at least one",
        1..=MOST_PARTITIONS => return Ok(()),
        _ => "a topic has at most 100,000",
    };
    Err(TopicError::InvalidPartitions { topic: topic.to_owned(), given, reason }.into())
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}
