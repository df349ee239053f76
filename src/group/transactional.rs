//! Committing offsets in a transaction, and ending it.
//!
//! ```text
//! 1. the log of the group gives a permission     a marker in between takes it back
//! 2. the transaction takes the partition         stored by the coordinator of transactions
//! 3. the offsets are appended, pending           with the lock of the partition
//! 4. a marker ends the transaction               appended to the log, applied to the table
//! ```
//!
//! Pending offsets belong to the producer, not to the member that commits them: a member that
//! leaves after the third step changes nothing. A marker for groups is appended here and nowhere
//! else, because the table must follow the log.

use crate::error::{CommitError, Error, GroupError, Result, TopicError};
use crate::group::commits::check_commits;
use crate::group::coordinator::{Coordinator, GroupPartition};
use crate::group::membership::{Caller, Committer};
use crate::group::offsets::{OffsetAndMetadata, OffsetsRecord};
use crate::group::shard::{Shard, encoded};
use crate::group::state_partitions::Now;
use crate::producer_state::VerificationGuard;
use crate::record::EndTxnMarker;
use crate::topic_name::CONSUMER_OFFSETS;
use crate::types::{ProducerIdentity, TopicPartition, TransactionVersion};
use std::collections::BTreeMap;

/// The identity of a consumer in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerGroupMetadata {
    /// The group.
    pub group_id: String,
    /// The generation of the group in which its partitions were assigned; -1 if none were.
    pub generation: i32,
    /// The id of the member; empty if the consumer is not a member.
    pub member_id: String,
    /// The name of a static member, which stays the same over restarts.
    pub instance_id: Option<String>,
}

impl ConsumerGroupMetadata {
    /// Returns the committer of offsets that this identity stands for.
    fn committer(&self) -> Committer<'_> {
        let (member_id, generation) = (self.member_id.as_str(), self.generation);
        if member_id.is_empty() && generation < 0 {
            return Committer::Simple;
        }
        let caller = Caller { member_id, instance_id: self.instance_id.as_deref() };
        Committer::Member { caller, generation }
    }
}

impl Coordinator {
    /// Commits offsets as a part of a producer's transaction, all of them or none. Until its end,
    /// they are pending. Then they replace earlier offsets, or they are dropped.
    ///
    /// `enlist` makes a partition of `__consumer_offsets` take part in the transaction. It is
    /// called first, with no lock held. `check` is as for a [`commit`](Coordinator::commit).
    ///
    /// Fails as a commit does, and as an append of the producer to that partition.
    pub(crate) fn commit_in_transaction(
        &self,
        (producer, version): (ProducerIdentity, TransactionVersion),
        group: &ConsumerGroupMetadata,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        check: &dyn Fn(&TopicPartition) -> Option<CommitError>,
        enlist: &dyn Fn(u32) -> Result<()>,
    ) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let name = group.group_id.as_str();
        let records = self.commit_records(name, offsets)?;
        let partition = self.partition(name)?;
        let log = self.log(partition)?;
        let guard = log.begin_verification(producer, 0, version);
        let guard = guard.map_err(Error::or_being_reopened)?;
        enlist(partition.number)?;
        self.commit_checked(partition, name, group.committer(), true, |shard, now| {
            check_commits(shard, name, offsets, check)?;
            shard.append_pending(producer, guard, records, now)
        })
    }

    /// Ends the transaction of a producer in a partition of `__consumer_offsets`, as
    /// [`Log::append_marker`](crate::Log::append_marker) does, and commits or drops the offsets
    /// that are pending there.
    pub(crate) fn end_transaction(
        &self,
        partition: u32,
        producer: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<()> {
        let mut all = self.partitions.iter();
        let Some(partition) = all.find(|one| one.number == partition) else {
            let (topic, partitions) = (CONSUMER_OFFSETS.to_owned(), self.config.partitions());
            return Err(TopicError::UnknownPartition { topic, partition, partitions }.into());
        };
        let ended = self.with_shard(partition, |shard, _| {
            shard.log.append_marker(producer, marker, version)?;
            shard.table.end_transaction(producer.id, marker.committed);
            Ok(())
        });
        match ended {
            Err(error) if is_damaged(&error) => {
                self.end_in_log(partition, producer, marker, version)
            }
            ended => ended,
        }
    }

    /// Ends the transaction of a producer in a partition whose groups cannot be read. None of them
    /// is in use, and the transaction must not wait for them.
    fn end_in_log(
        &self,
        partition: &GroupPartition,
        producer: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<()> {
        let log = self.log(partition)?;
        let ended = log.append_marker_of_coordinator(producer, marker, version);
        ended.map(drop).map_err(Error::or_being_reopened)
    }
}

impl Shard {
    /// Appends offsets as one batch of a producer's transaction, and applies them to the table.
    fn append_pending(
        &mut self,
        producer: ProducerIdentity,
        guard: VerificationGuard,
        records: Vec<OffsetsRecord>,
        now: Now,
    ) -> Result<()> {
        let stored = encoded(&records)?;
        let appended = self.log.append_in_transaction(producer, guard, stored, now.calendar)?;
        let first = appended.map(|appended| appended.first);
        for (at, record) in first.into_iter().flat_map(|first| first..).zip(records) {
            self.table.apply(at, Some(producer.id), record);
        }
        Ok(())
    }
}

/// Returns whether a call failed because the records of a partition cannot be read.
fn is_damaged(error: &Error) -> bool {
    match error {
        Error::Group(error) => matches!(**error, GroupError::CorruptOffsetsTopic { .. }),
        Error::Corrupt(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
