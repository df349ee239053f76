//! Committing offsets, and reading and removing committed offsets.

use crate::error::{CommitError, ConsumeError, Error, GroupError, Result};
use crate::group::coordinator::{Coordinator, GroupPartition, is_offline};
use crate::group::membership::Committer;
use crate::group::offsets::{
    CommittedOffset, MAX_METADATA_BYTES, OffsetAndMetadata, OffsetKey, OffsetsRecord,
};
use crate::group::shard::Shard;
use crate::group::state_partitions::Now;
use crate::log::Log;
use crate::notify::wake_all;
use crate::types::{Offset, Timestamp, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The committed offsets of some partitions.
#[derive(Debug, Default)]
pub(crate) struct StableOffsets {
    pub(crate) committed: BTreeMap<TopicPartition, OffsetAndMetadata>,
    /// The partitions for which an open transaction has committed an offset, if there are any.
    pub(crate) pending: Option<PendingOffsets>,
}

/// Partitions for which open transactions have committed offsets.
#[derive(Debug)]
pub(crate) struct PendingOffsets {
    pub(crate) partitions: BTreeSet<TopicPartition>,
    log: Log,
    /// The end of the log at that time. What ends a transaction is behind it.
    end: Offset,
}

impl PendingOffsets {
    /// Returns the log in which the transactions end.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Returns whether a transaction may have ended since.
    pub(crate) fn may_be_decided(&self) -> bool {
        self.log.offsets().end != self.end || self.log.is_closed()
    }
}

impl Coordinator {
    /// Commits offsets, all of them or none.
    ///
    /// They survive a process crash. To make them survive a power loss, pass `flush`. `check`
    /// returns the reason why an offset must not be committed for a partition. It is called when
    /// no deletion of a topic can run at the same time, because an offset for a deleted topic
    /// would apply to the next topic of that name.
    pub(crate) fn commit(
        &self,
        group: &str,
        committer: Committer<'_>,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        check: &dyn Fn(&TopicPartition) -> Option<CommitError>,
        flush: bool,
    ) -> Result<()> {
        let records = self.commit_records(group, offsets)?;
        let partition = self.partition(group)?;
        let committed = self.commit_checked(partition, group, committer, false, |shard, _| {
            check_commits(shard, group, offsets, check)?;
            shard.append(records)
        })?;
        if let (Some(last), true) = (committed, flush) {
            self.log(partition)?.flush_through(last)?;
        }
        Ok(())
    }

    /// Returns the records of a commit.
    pub(super) fn commit_records(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<Vec<OffsetsRecord>> {
        let now = self.partitions.clock().now();
        let record = |(at, offset)| commit_record(group, at, offset, now);
        let records = offsets.iter().map(record).collect::<Result<Vec<_>, _>>();
        records.map_err(|reason| failed(group, reason))
    }

    /// Runs `append` if the group lets the committer commit, with the lock of its partition held
    /// all the time.
    pub(super) fn commit_checked<T>(
        &self,
        partition: &GroupPartition,
        group: &str,
        committer: Committer<'_>,
        transactional: bool,
        append: impl FnOnce(&mut Shard, Now) -> Result<T>,
    ) -> Result<T> {
        let (committed, wakers) = self.with_shard(partition, |shard, now| {
            let hosted = shard.hosted_group(group, &self.config);
            let before = hosted.group.state_and_generation();
            let step = hosted.group.check_commit(committer, transactional, now.monotonic);
            let mut wakers = Vec::new();
            let stored = shard.apply_changes(group, before, step.changes, now, &mut wakers);
            let committed = match (stored, step.result) {
                (Err(error), _) => Err(error),
                (_, Err(refusal)) => Err(failed(group, CommitError::Group(refusal))),
                (Ok(()), Ok(())) => append(shard, now),
            };
            Ok((committed, wakers))
        })?;
        wake_all(wakers);
        committed
    }

    /// Removes the committed offsets of all groups for a topic, durably. Tries all partitions,
    /// then returns the first error. A partition that cannot be read is no error, because its
    /// groups cannot continue anyway.
    pub(crate) fn forget_topic(&self, topic: &str) -> Result<()> {
        let mut forgotten = Ok(());
        for partition in self.partitions.iter() {
            let appended = self.with_shard_unless_empty(partition, |shard, _| {
                shard.append(shard.table.tombstones_of_topic(topic))
            });
            let done = match appended {
                Ok(Some(last)) => {
                    self.log(partition).and_then(|log| log.flush_through(last)).map(drop)
                }
                Err(Error::Group(error))
                    if matches!(*error, GroupError::CorruptOffsetsTopic { .. }) =>
                {
                    Ok(())
                }
                Err(Error::Corrupt(_)) => Ok(()),
                Err(error) if is_offline(&error) => Ok(()),
                other => other.map(drop),
            };
            forgotten = forgotten.and(done);
        }
        forgotten
    }

    /// Returns the committed offsets of a group for some partitions that a consumer is reading,
    /// or is about to read, whether or not an open transaction may replace them. This counts as
    /// use of the offsets.
    pub(crate) fn committed(
        &self,
        group: &str,
        partitions: &mut dyn Iterator<Item = &TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        self.with_shard(self.partition(group)?, |shard, now| {
            let mut found = BTreeMap::new();
            for partition in partitions {
                let Ok(number) = i32::try_from(partition.partition) else { continue };
                if let Some(offset) = shard.use_committed(group, partition, number, now) {
                    found.insert(partition.clone(), offset);
                }
            }
            Ok(found)
        })
    }

    /// Returns the committed offsets of a group for some partitions at which a consumer is about to
    /// begin. An offset that an open transaction may replace is not stable: a consumer that began
    /// at the present one could read again what the transaction has processed.
    pub(crate) fn stable_offsets(
        &self,
        group: &str,
        partitions: &mut dyn Iterator<Item = &TopicPartition>,
    ) -> Result<StableOffsets> {
        self.with_shard(self.partition(group)?, |shard, now| {
            let (mut committed, mut pending) = (BTreeMap::new(), BTreeSet::new());
            for partition in partitions {
                let Ok(number) = i32::try_from(partition.partition) else { continue };
                if shard.table.is_pending(group, &partition.topic, number) {
                    pending.insert(partition.clone());
                } else if let Some(offset) = shard.use_committed(group, partition, number, now) {
                    committed.insert(partition.clone(), offset);
                }
            }
            let log = shard.log.log();
            let pending = (!pending.is_empty()).then(|| PendingOffsets {
                partitions: pending,
                log: log.clone(),
                end: log.offsets().end,
            });
            Ok(StableOffsets { committed, pending })
        })
    }

    /// Returns how often a consumer that is not a member reports that it uses offsets, so that
    /// they do not expire.
    pub(crate) fn offset_use_interval(&self) -> Duration {
        self.config.offsets_retention.checked_div(4).unwrap_or_default()
    }
}

impl Shard {
    /// Returns the committed offset of a group for a partition, and records that it is in use.
    fn use_committed(
        &mut self,
        group: &str,
        at: &TopicPartition,
        partition: i32,
        now: Now,
    ) -> Option<OffsetAndMetadata> {
        self.table.record_use(group, &at.topic, partition, now.calendar);
        let committed = self.table.committed(group, &at.topic, partition);
        committed.and_then(OffsetAndMetadata::from_stored)
    }
}

/// Returns the error of a commit that was refused.
pub(super) fn failed(group: &str, reason: CommitError) -> Error {
    ConsumeError::CommitFailed { group: group.to_owned(), reason }.into()
}

/// Fails if an offset must not be committed for its partition. In a closed log, the append tells
/// why it fails.
pub(super) fn check_commits(
    shard: &Shard,
    group: &str,
    offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    check: &dyn Fn(&TopicPartition) -> Option<CommitError>,
) -> Result<()> {
    match offsets.keys().find_map(check) {
        Some(refusal) if !shard.log.is_closed() => Err(failed(group, refusal)),
        _ => Ok(()),
    }
}

pub(super) fn commit_record(
    group: &str,
    at: &TopicPartition,
    offset: &OffsetAndMetadata,
    now: Timestamp,
) -> Result<OffsetsRecord, CommitError> {
    let bytes = offset.metadata.len();
    if bytes > MAX_METADATA_BYTES {
        return Err(CommitError::MetadataTooLarge { bytes, limit: MAX_METADATA_BYTES });
    }
    let impossible = CommitError::InvalidOffset { offset: offset.offset };
    let Ok(next) = i64::try_from(offset.offset) else { return Err(impossible) };
    let value = CommittedOffset {
        offset: next,
        leader_epoch: offset.leader_epoch.unwrap_or(-1),
        metadata: offset.metadata.clone(),
        commit_timestamp: now,
        expire_timestamp: None,
    };
    Ok(OffsetsRecord::Offset { key: offset_key(group, at), value: Some(value) })
}

pub(super) fn offset_key(group: &str, at: &TopicPartition) -> OffsetKey {
    OffsetKey {
        group: group.to_owned(),
        topic: at.topic.as_ref().to_owned(),
        // No partition has a number above `i32::MAX`.
        partition: i32::try_from(at.partition).unwrap_or(i32::MAX),
    }
}
