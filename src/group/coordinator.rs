//! The coordinator: it finds, locks and loads the partition of a group.
//!
//! Each group belongs to one partition of `__consumer_offsets`, by the hash of its name. The
//! coordinator reads that partition when the first of its groups is used. From then on, each
//! change is written there before it takes effect.
//!
//! No call blocks on other members. A consumer leaves its request, continues its poll, and waits
//! there for its waker, for records, or for the next deadline of its group, all at once. So the
//! coordinator needs no thread: each poll, and any other call that uses a group, checks the
//! deadlines of that group.
//!
//! A partition has one lock, which is held while its log is appended to, because a commit is
//! checked and written in one step. No other generation may begin between the two, or a commit of
//! the previous generation would follow the commits of the new one. Appends to a log are
//! serialized anyway, so a lock for each group would only save polls that wait for the page
//! cache. An fsync, which takes long, runs without the lock. A [`Listener`](crate::Listener)
//! receives the events of the offsets topic after the lock is released, so it may use groups.
//!
//! # Differences from Kafka
//!
//! A partition of 4 MiB or more is rolled and compacted when it has 16 times the bytes of its
//! live records. The [`Maintainer`] of the store does this or, without one, the thread that used
//! the group, and the partition stays unlocked. Kafka waits until a segment of 100 MiB is full.
//! So here, the first use of a group reads little. A group without members takes no memory beyond
//! its stored state.
//!
//! When a process ends, so do its consumers. So the dynamic members of a group are gone when the
//! store is opened again, where Kafka waits until their sessions end. Static members can come
//! back within their session timeout.

use crate::clock::Clock;
use crate::error::{Error, GroupError, Result, TopicError};
use crate::event;
use crate::group::config::GroupCoordinatorConfig;
use crate::group::membership::{Group, GroupStep};
use crate::group::offsets::partition_for;
use crate::group::shard::{Now, Shard};
use crate::log::{Log, Maintainer};
use crate::notify::{wake_after, wake_all};
use crate::sync::atomic::AtomicU64;
use crate::sync::{Mutex, MutexGuard};
use crate::types::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The groups that are stored in an offsets topic.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) config: GroupCoordinatorConfig,
    pub(super) clock: Arc<dyn Clock>,
    logs: Box<dyn GroupLogs>,
    /// The maintainer of the store, if it has one.
    maintainer: Option<Maintainer>,
    pub(super) partitions: Vec<GroupPartition>,
    /// The time when it was created. It makes the member ids differ from all earlier ones.
    pub(super) started_at: Timestamp,
    pub(super) next_member: AtomicU64,
}

#[derive(Debug)]
pub(super) struct GroupPartition {
    pub(super) number: u32,
    /// `None` until the log was read. A thread that takes this lock holds no other lock, except
    /// perhaps the store's lock for changes to topics. Held while the log is appended to.
    shard: Mutex<Option<Shard>>,
}

/// The logs of the topic in which groups are stored.
pub(crate) trait GroupLogs: fmt::Debug + Send + Sync {
    /// Returns the log of a partition. Fails if the partition is offline.
    fn log(&self, partition: u32) -> Result<Log>;
}

impl Coordinator {
    /// Creates the coordinator of the groups in `logs`, a topic with this number of partitions.
    pub(crate) fn new(
        logs: Box<dyn GroupLogs>,
        partitions: u32,
        config: GroupCoordinatorConfig,
        clock: Arc<dyn Clock>,
        maintainer: Option<Maintainer>,
    ) -> Coordinator {
        let partition = |number| GroupPartition { number, shard: Mutex::new(None) };
        Coordinator {
            config,
            maintainer,
            partitions: (0..partitions).map(partition).collect(),
            logs,
            started_at: clock.now(),
            clock,
            next_member: AtomicU64::new(0),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.clock.monotonic(), calendar: self.clock.now() }
    }

    /// Returns the partition in which a group is stored.
    pub(super) fn partition(&self, group: &str) -> Result<&GroupPartition> {
        let count = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        let number = partition_for(group, count).and_then(|n| usize::try_from(n).ok());
        let found = number.and_then(|number| self.partitions.get(number));
        found.ok_or(Error::StoreClosed)
    }

    /// Returns the log of a partition, unless it is offline.
    pub(super) fn log(&self, partition: &GroupPartition) -> Result<Log> {
        self.logs.log(partition.number)
    }

    /// Runs `act` on the state of a partition, with its lock held.
    pub(super) fn with_shard<T>(
        &self,
        partition: &GroupPartition,
        act: impl FnOnce(&mut Shard, Now) -> Result<T>,
    ) -> Result<T> {
        let work = || {
            let mut slot = partition.shard.lock();
            let now = self.now();
            let shard = self.load_or_continue(&mut slot, partition, now)?;
            shard.expire_if_due(&self.config, now);
            let done = act(shard, now);
            Ok::<_, Error>((done, shard.should_compact()))
        };
        let held = event::hold();
        let done = wake_after(work);
        // The lock is released: a listener may use groups, and so may a task that waits at the
        // end of the log. If one panics, members must still get their answers: a guard that is
        // dropped catches that.
        drop(held);
        let (done, should_compact) = done?;
        if should_compact {
            self.compact(&self.log(partition)?);
        }
        done
    }

    /// Runs `act` on the state of a partition, unless its log is empty. An empty log is not
    /// loaded.
    pub(super) fn with_shard_unless_empty<T: Default>(
        &self,
        partition: &GroupPartition,
        act: impl FnOnce(&mut Shard, Now) -> Result<T>,
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
        self.with_shard(partition, act)
    }

    /// Shrinks a log that has grown far beyond its live records. No lock is held.
    ///
    /// The caller has finished its own work and must not fail because of this. If the log cannot
    /// be compacted, an event reports it, and the next attempt reports it again.
    fn compact(&self, log: &Log) {
        if log.roll().is_err() {
            return;
        }
        match &self.maintainer {
            Some(maintainer) => maintainer.run_now(),
            None => drop(log.maintain()),
        }
    }

    fn load_or_continue<'a>(
        &self,
        slot: &'a mut MutexGuard<'_, Option<Shard>>,
        partition: &GroupPartition,
        now: Now,
    ) -> Result<&'a mut Shard> {
        match &mut **slot {
            Some(shard) if shard.log.is_closed() => {
                let log = self.log(partition)?;
                // In a closed store, there is no other log.
                if !log.is_closed() {
                    shard.continue_with_log(partition.number, &log, now)?;
                }
            }
            Some(_) => {}
            None => {
                let log = self.log(partition)?;
                **slot = Some(Shard::load(partition.number, &log, &self.config, now)?);
            }
        }
        slot.as_mut().ok_or(Error::StoreClosed)
    }

    /// Runs a step of a group, and applies its changes.
    pub(super) fn step<T>(
        &self,
        group: &str,
        call: impl FnOnce(&mut Group, Duration) -> GroupStep<T>,
    ) -> Result<Result<T, GroupError>> {
        let partition = self.partition(group)?;
        let (result, wakers) = self.with_shard(partition, |shard, now| {
            let hosted = shard.hosted_group(group, &self.config);
            let before = hosted.group.state_and_generation();
            let step = call(&mut hosted.group, now.monotonic);
            let mut wakers = Vec::new();
            let stored = shard.apply_changes(group, before, step.changes, now, &mut wakers);
            Ok((stored.map(|()| step.result), wakers))
        })?;
        wake_all(wakers);
        result
    }
}

/// Returns whether a call failed because a partition is offline.
pub(super) fn is_offline(error: &Error) -> bool {
    let is_offline = |error: &TopicError| matches!(error, TopicError::PartitionOffline { .. });
    matches!(error, Error::Topic(error) if is_offline(error))
}
