//! The coordinator: it runs the calls of groups under the locks of their partitions.
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
//! live records. The [`Maintainer`](crate::Maintainer) of the store does this or, without one, the
//! thread that used the group, and the partition stays unlocked. Kafka waits until a segment of
//! 100 MiB is full. So here, the first use of a group reads little. A group without members takes
//! no memory beyond its stored state.
//!
//! When a process ends, so do its consumers. So the dynamic members of a group are gone when the
//! store is opened again, where Kafka waits until their sessions end. Static members can come
//! back within their session timeout.

use crate::error::{Error, GroupError, Result, TopicError};
use crate::group::config::GroupCoordinatorConfig;
use crate::group::membership::{Group, GroupStep};
use crate::group::shard::Shard;
use crate::group::state_partitions::{
    CoordinatorContext, Now, StateLogs, StatePartition, StatePartitions,
};
use crate::log::Log;
use crate::notify::wake_all;
use crate::sync::atomic::AtomicU64;
use crate::types::Timestamp;
use std::time::Duration;

/// The groups that are stored in an offsets topic.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) config: GroupCoordinatorConfig,
    pub(super) partitions: StatePartitions<Shard>,
    /// The time when it was created. It makes the member ids differ from all earlier ones.
    pub(super) started_at: Timestamp,
    pub(super) next_member: AtomicU64,
}

/// A partition of the topic, with its groups.
pub(super) type GroupPartition = StatePartition<Shard>;

impl Coordinator {
    /// Creates the coordinator of the groups in `logs`, a topic with this number of partitions.
    pub(crate) fn new(
        logs: Box<dyn StateLogs>,
        partitions: u32,
        config: GroupCoordinatorConfig,
        context: CoordinatorContext,
    ) -> Coordinator {
        Coordinator {
            config,
            started_at: context.clock.now(),
            partitions: StatePartitions::new(logs, partitions, context),
            next_member: AtomicU64::new(0),
        }
    }

    /// Returns the partition in which a group is stored.
    pub(super) fn partition(&self, group: &str) -> Result<&GroupPartition> {
        self.partitions.of(group)
    }

    /// Returns the log of a partition, unless it is offline.
    pub(super) fn log(&self, partition: &GroupPartition) -> Result<Log> {
        self.partitions.log(partition)
    }

    /// Runs `act` on the state of a partition, with its lock held.
    pub(super) fn with_shard<T>(
        &self,
        partition: &GroupPartition,
        act: impl FnOnce(&mut Shard, Now) -> Result<T>,
    ) -> Result<T> {
        self.partitions.with_shard(partition, &self.config, act)
    }

    /// Runs `act` on the state of a partition, unless its log is empty. An empty log is not
    /// loaded.
    pub(super) fn with_shard_unless_empty<T: Default>(
        &self,
        partition: &GroupPartition,
        act: impl FnOnce(&mut Shard, Now) -> Result<T>,
    ) -> Result<T> {
        self.partitions.with_shard_unless_empty(partition, &self.config, act)
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
