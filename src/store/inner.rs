//! The state that all handles of a store share.

use crate::callback::{self, Panicked};
use crate::error::{CloseReason, Error, Result};
use crate::event::{self, HeldEvent};
use crate::group::coordinator::Coordinator;
use crate::log::{DataCheckpoints, Log, Maintainer, WriteLock};
use crate::notify::{Notify, hold_wakers, wake_after, wake_all};
use crate::store::config::StoreConfig;
use crate::store::creation_order::CreationOrder;
use crate::store::directory::Directory;
use crate::store::parallel::{in_few_threads, in_parallel};
use crate::store::producer_ids::ProducerIds;
use crate::store::topic::{PartitionState, TopicInner};
use crate::store::transactions::Ticker;
use crate::store::watchers::TopicWatchers;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;

/// The state that all handles of a store share.
///
/// Lock order: `changes`, a partition of a coordinator, then the locks of the logs, then `topics`.
/// No thread locks partitions of both coordinators. Events are delivered with none of them held.
pub(crate) struct StoreInner {
    pub(super) directory: Directory,
    pub(crate) config: StoreConfig,
    pub(super) checkpoints: Arc<DataCheckpoints>,
    pub(super) maintainer: Option<Maintainer>,
    pub(super) producer_ids: ProducerIds,
    /// Held while a topic is created, changed or deleted: see [`change`](StoreInner::change).
    changes: Mutex<()>,
    /// Leaf lock. The lock of the directory; each open log of the store holds it, too. `None`
    /// once the store is closed.
    lock: Mutex<Option<Arc<WriteLock>>>,
    closed: AtomicBool,
    /// Leaf lock: held to look a topic up, never during I/O.
    pub(super) topics: RwLock<BTreeMap<Arc<str>, Arc<TopicInner>>>,
    /// Directories that belong to no topic and are left alone.
    pub(super) unknown: RwLock<Vec<PathBuf>>,
    /// Topics whose deletion, or failed creation, is not finished, with their number of
    /// partitions. Leaf lock; changed only while `changes` is held.
    pub(super) interrupted: Mutex<BTreeMap<String, u32>>,
    /// Leaf lock, taken within `topics`.
    pub(super) creations: CreationOrder,
    /// Rises with each change of topics or partitions.
    version: AtomicU64,
    /// Notified when `version` rises, with no lock held.
    pub(super) changed: Notify,
    /// The clients to notify when a topic is deleted.
    pub(super) watchers: TopicWatchers,
    /// Leaf lock. The coordinator of the groups, created on first use.
    pub(crate) coordinator: Mutex<Option<Arc<Coordinator>>>,
    /// Leaf lock. The coordinator of the transactions, created on first use.
    pub(super) transactions: Mutex<Option<Arc<Ticker>>>,
}

impl Drop for StoreInner {
    /// Waits a moment until the threads of the maintainer have let go of the logs that only they
    /// hold. Then the directory can be opened again when the last handle is dropped.
    fn drop(&mut self) {
        let Some(maintainer) = &self.maintainer else { return };
        // With no lock held: user-supplied code is dropped with them.
        let topics = std::mem::take(&mut *self.topics.write());
        let groups = self.coordinator.lock().take();
        let transactions = self.transactions.lock().take();
        drop((topics, groups, transactions));
        maintainer.wait_for_dropped();
    }
}

/// The reason for closing a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseKind {
    /// Opening failed. The directory counts as closed cleanly if it did before.
    FailedOpening,
    /// The store was in use and is closed by the user.
    Normal,
}

/// The result of work on a thread, with the events and the wakers that it held back.
struct Done<T> {
    result: Result<T, Panicked>,
    events: Vec<HeldEvent>,
    wakers: Vec<Waker>,
}

impl StoreInner {
    pub(super) fn new(
        directory: Directory,
        config: StoreConfig,
        checkpoints: Arc<DataCheckpoints>,
        maintainer: Option<Maintainer>,
        lock: Arc<WriteLock>,
    ) -> StoreInner {
        StoreInner {
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
            creations: CreationOrder::default(),
            version: AtomicU64::new(0),
            changed: Notify::default(),
            watchers: TopicWatchers::default(),
            coordinator: Mutex::default(),
            transactions: Mutex::default(),
        }
    }

    /// Returns the lock of the directory.
    pub(super) fn write_lock(&self) -> Result<Arc<WriteLock>> {
        self.lock.lock().clone().ok_or(Error::StoreClosed)
    }

    /// Runs one change of topics at a time. Wakes consumers and delivers events after the lock is
    /// released, because both may call the store.
    pub(super) fn change<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let held = event::hold();
        let (done, changed) = wake_after(|| {
            let _changes = self.changes.lock();
            let before = self.version();
            let done = self.check_open().and_then(|()| work());
            (done, self.version() != before)
        });
        if changed {
            self.changed.notify();
        }
        held.deliver();
        done
    }

    /// Returns a number that rises with each change of topics or partitions.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Records that topics or partitions have changed. Waiting consumers wake when the
    /// [change](StoreInner::change) is done.
    pub(super) fn bump_version(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Closes all logs cleanly, and unlocks the directory.
    pub(super) fn close(&self, kind: CloseKind) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        let logs = self.logs();
        let close = |log: &Log| log.close_with_others(CloseReason::WithStore);
        let closed = self.in_parallel(&logs, close);
        let failed = closed.into_iter().find_map(|closed| match closed {
            // Another handle has closed the log.
            Ok(()) | Err(Error::Closed { .. }) => None,
            Err(error) => Some(error),
        });
        // The checkpoint lines of logs that could not be opened stay.
        let done = self.checkpoints.commit_all();
        let names = || {
            self.partitions().iter().map(|(topic, number)| format!("{topic}-{number}")).collect()
        };
        let names = (kind == CloseKind::Normal).then(names);
        let ended = failed.map_or(done, Err);
        let ended = ended.and_then(|()| self.checkpoints.commit_clean_shutdown(names));
        *self.lock.lock() = None;
        self.directory.dir.close();
        self.bump_version();
        ended
    }

    /// Returns whether a closed log was deleted with its topic, or replaced when its partition was
    /// reopened.
    pub(super) fn is_gone(&self, log: &Log) -> Result<bool> {
        self.check_open()?;
        if log.close_reason() == CloseReason::Reopened {
            // Wait for the call that reopens the log: its records are durable only afterwards.
            drop(self.changes.lock());
        }
        Ok(!self.logs().iter().any(|other| other.is_same_log(log)))
    }

    /// Translates an error of a log for the caller of a store: when a store is closed, so are its
    /// logs.
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
        self.deliver_from_threads(work, |work| in_parallel(fs, threads, items, work))
    }

    /// Applies `work` to each item, on few threads, because the work is short.
    pub(super) fn in_few_threads<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        let (fs, threads) = (&*self.directory.dir.fs, self.config.recovery_threads);
        self.deliver_from_threads(work, |work| in_few_threads(fs, threads, items, work))
    }

    /// Runs `work` on several threads. If this thread holds back its events and wakers, it takes
    /// over those of the other threads.
    fn deliver_from_threads<T, R>(
        &self,
        work: impl Fn(&T) -> R + Sync,
        on_threads: impl FnOnce(&(dyn Fn(&T) -> Done<R> + Sync)) -> Vec<Done<R>>,
    ) -> Vec<R> {
        let are_held_back = event::are_held_back();
        let done = on_threads(&|item| {
            if !are_held_back {
                return Done { result: Ok(work(item)), events: Vec::new(), wakers: Vec::new() };
            }
            // This thread holds the locks. If the work panics, the other thread must not deliver.
            let held = event::hold();
            let (result, wakers) = hold_wakers(|| callback::call(|| work(item)));
            Done { result, events: held.take(), wakers }
        });
        let deliver = |done: Done<R>| {
            wake_all(done.wakers);
            event::deliver_all(done.events);
            done.result
        };
        let results = done.into_iter().map(deliver).collect::<Vec<_>>();
        results.into_iter().map(|result| result.unwrap_or_else(|panic| panic.resume())).collect()
    }

    pub(super) fn logs(&self) -> Vec<Log> {
        let topics: Vec<Arc<TopicInner>> = self.topics.read().values().cloned().collect();
        topics.iter().flat_map(|topic| topic.partitions().to_vec()).collect()
    }

    /// Returns all partitions that are here, with the names that checkpoints use.
    pub(super) fn partitions(&self) -> Vec<(String, i32)> {
        let topics = self.topics.read();
        let of = |(name, topic): (&Arc<str>, &Arc<TopicInner>)| {
            let here = |state: &PartitionState| !matches!(state, PartitionState::Elsewhere);
            let states = topic.partition_states();
            let numbers = (0..).zip(states.iter()).filter(|(_, state)| here(state));
            numbers.map(|(number, _)| (name.to_string(), number)).collect::<Vec<_>>()
        };
        topics.iter().flat_map(of).collect()
    }
}
