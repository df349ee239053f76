//! The partitions of a topic whose records are the state of a coordinator, each under its lock.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::event;
use crate::group::offsets::partition_for;
use crate::log::{Log, Maintainer};
use crate::notify::wake_after;
use crate::sync::{Mutex, MutexGuard};
use crate::types::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The present time on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) monotonic: Duration,
    pub(crate) calendar: Timestamp,
}

/// The state that results from the records of a partition.
pub(crate) trait PartitionState: Sized {
    type Config;

    /// Reads the log of a partition.
    fn load(number: u32, log: &Log, config: &Self::Config, now: Now) -> Result<Self>;

    /// Returns whether its log is closed.
    fn is_closed(&self) -> bool;

    /// Continues with the new log of a reopened partition.
    fn continue_with_log(&mut self, number: u32, log: &Log, now: Now) -> Result<()>;

    /// Does what is due, before a call. The call must not fail because of this.
    fn run_due(&mut self, config: &Self::Config, now: Now);

    /// Returns whether the log should be compacted.
    fn should_compact(&mut self) -> bool;
}

/// The logs of the topic in which the state is stored.
pub(crate) trait StateLogs: fmt::Debug + Send + Sync {
    /// Returns the log of a partition. Fails if the partition is offline.
    fn log(&self, partition: u32) -> Result<Log>;
}

/// The parts of a store that its coordinators share.
#[derive(Debug)]
pub(crate) struct CoordinatorContext {
    pub(crate) clock: Arc<dyn Clock>,
    /// The maintainer of the store, if it has one.
    pub(crate) maintainer: Option<Maintainer>,
}

/// The partitions of a topic.
#[derive(Debug)]
pub(crate) struct StatePartitions<S> {
    logs: Box<dyn StateLogs>,
    context: CoordinatorContext,
    partitions: Vec<StatePartition<S>>,
}

#[derive(Debug)]
pub(crate) struct StatePartition<S> {
    pub(crate) number: u32,
    /// `None` until the log was read. A thread that takes this lock holds no other lock, except
    /// perhaps the store's lock for changes to topics. Held while the log is appended to.
    shard: Mutex<Option<S>>,
}

impl<S: PartitionState> StatePartitions<S> {
    /// Takes the logs of a topic with this number of partitions.
    pub(crate) fn new(
        logs: Box<dyn StateLogs>,
        partitions: u32,
        context: CoordinatorContext,
    ) -> StatePartitions<S> {
        let partition = |number| StatePartition { number, shard: Mutex::new(None) };
        StatePartitions { logs, context, partitions: (0..partitions).map(partition).collect() }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.context.clock
    }

    /// Returns whether threads of a maintainer do what is due.
    pub(crate) fn has_maintainer(&self) -> bool {
        self.context.maintainer.is_some()
    }

    fn now(&self) -> Now {
        let clock = self.clock();
        Now { monotonic: clock.monotonic(), calendar: clock.now() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &StatePartition<S>> {
        self.partitions.iter()
    }

    /// Returns the partition in which a group or a transactional id is stored.
    pub(crate) fn of(&self, id: &str) -> Result<&StatePartition<S>> {
        let count = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        let number = partition_for(id, count).and_then(|n| usize::try_from(n).ok());
        let found = number.and_then(|number| self.partitions.get(number));
        found.ok_or(Error::StoreClosed)
    }

    /// Returns the log of a partition, unless it is offline.
    pub(crate) fn log(&self, partition: &StatePartition<S>) -> Result<Log> {
        self.logs.log(partition.number)
    }

    /// Runs `act` on the state of a partition, with its lock held.
    pub(crate) fn with_shard<T>(
        &self,
        partition: &StatePartition<S>,
        config: &S::Config,
        act: impl FnOnce(&mut S, Now) -> Result<T>,
    ) -> Result<T> {
        let work = || {
            let mut slot = partition.shard.lock();
            let now = self.now();
            let shard = self.load_or_continue(&mut slot, partition, config, now)?;
            shard.run_due(config, now);
            let done = act(shard, now);
            Ok::<_, Error>((done, shard.should_compact()))
        };
        let held = event::hold();
        let done = wake_after(work);
        // The lock is released: a listener may use the coordinator, and so may a task that waits
        // at the end of the log. If one panics, others must still get their answers: a guard that
        // is dropped catches that.
        drop(held);
        let (done, should_compact) = done?;
        // The call is done, and does not fail if the partition went offline meanwhile.
        if should_compact && let Ok(log) = self.log(partition) {
            self.compact(&log);
        }
        done
    }

    /// Runs `act` on the state of a partition, unless its log is empty. An empty log is not
    /// loaded.
    pub(crate) fn with_shard_unless_empty<T: Default>(
        &self,
        partition: &StatePartition<S>,
        config: &S::Config,
        act: impl FnOnce(&mut S, Now) -> Result<T>,
    ) -> Result<T> {
        let slot = partition.shard.lock();
        if slot.is_none() {
            let log = self.log(partition)?;
            let ends = log.offsets();
            if ends.start == ends.end && !log.is_closed() {
                return Ok(T::default());
            }
        }
        drop(slot);
        self.with_shard(partition, config, act)
    }

    /// Runs `act` on the state of a partition, if it was loaded before.
    pub(crate) fn with_loaded_shard<T>(
        &self,
        partition: &StatePartition<S>,
        config: &S::Config,
        act: impl FnOnce(&mut S, Now) -> Result<T>,
    ) -> Result<Option<T>> {
        let is_loaded = partition.shard.lock().is_some();
        is_loaded.then(|| self.with_shard(partition, config, act)).transpose()
    }

    /// Runs `act` on the state of a partition as it was last, also while its log is offline. A
    /// partition that was not loaded is left alone.
    pub(crate) fn with_last_state(&self, partition: &StatePartition<S>, act: impl FnOnce(&mut S)) {
        if let Some(shard) = &mut *partition.shard.lock() {
            act(shard);
        }
    }

    /// Shrinks a log that has grown far beyond its live records. No lock is held.
    ///
    /// The caller has finished its own work and must not fail because of this. If the log cannot
    /// be compacted, an event reports it, and the next attempt reports it again.
    fn compact(&self, log: &Log) {
        if log.roll().is_err() {
            return;
        }
        match &self.context.maintainer {
            Some(maintainer) => maintainer.run_now(),
            None => drop(log.maintain()),
        }
    }

    fn load_or_continue<'a>(
        &self,
        slot: &'a mut MutexGuard<'_, Option<S>>,
        partition: &StatePartition<S>,
        config: &S::Config,
        now: Now,
    ) -> Result<&'a mut S> {
        match &mut **slot {
            Some(shard) if shard.is_closed() => {
                let log = self.log(partition)?;
                // In a closed store, there is no other log.
                if !log.is_closed() {
                    shard.continue_with_log(partition.number, &log, now)?;
                }
            }
            Some(_) => {}
            None => {
                let log = self.log(partition)?;
                **slot = Some(S::load(partition.number, &log, config, now)?);
            }
        }
        slot.as_mut().ok_or(Error::StoreClosed)
    }
}
