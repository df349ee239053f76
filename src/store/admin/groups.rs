//! Administration of groups: the calls of Kafka's `kafka-consumer-groups`.

use crate::error::{GroupError, Result, TopicError};
use crate::group::admin::unknown;
use crate::group::coordinator::Coordinator;
use crate::group::description::{GroupDescription, ListedGroups, MemberIdentity};
use crate::group::membership::Caller;
use crate::group::offsets::OffsetAndMetadata;
use crate::store::admin::Admin;
use crate::topic_name::CONSUMER_OFFSETS;
use crate::types::{Offset, Timestamp, TopicPartition};
use crate::uuid::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The target of [`Admin::reset_offsets`] in each partition. An offset outside the partition is
/// replaced by the start or end of the partition. [`Admin`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetTo {
    /// The first record.
    Earliest,
    /// The end.
    Latest,
    /// An offset.
    Offset(Offset),
    /// The first record with this timestamp or a later one; the end if there is none.
    Time(Timestamp),
    /// This many offsets after the committed one, or before it if negative.
    ShiftBy(i64),
    /// The committed offset, or the nearest offset in the partition if it lies outside; the end
    /// if none is committed.
    Current,
}

/// Administration of consumer groups.
///
/// ```
/// use annals::{ConsumerConfig, ResetTo, Store, StoreConfig, TopicConfig, TopicPartition};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let orders = store.create_topic("orders", TopicConfig::default())?;
/// orders.partition(0)?.append_all(["a", "b", "c"].map(Into::into))?;
///
/// let admin = store.admin();
/// let partition = TopicPartition::new("orders", 0);
/// admin.reset_offsets("billing", [partition.clone()], ResetTo::Offset(1))?;
/// let billing = admin.describe_group("billing")?;
/// assert_eq!(billing.offsets[&partition].lag, Some(2));
///
/// let mut consumer = store.consumer(ConsumerConfig::new("billing"))?;
/// consumer.subscribe(["orders"])?;
/// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 2);
/// consumer.close()?;
/// admin.delete_group("billing")?;
/// assert!(admin.list_groups()?.groups.is_empty());
/// # Ok::<(), annals::Error>(())
/// ```
impl Admin {
    /// Lists all groups that have members or committed offsets.
    ///
    /// If a partition of `__consumer_offsets` cannot be read, its groups are missing, and
    /// [`unavailable`](ListedGroups::unavailable) has the reason.
    ///
    /// # Errors
    /// [`Error::StoreClosed`](crate::Error::StoreClosed); [`TopicError::Spread`] if partitions of
    /// `__consumer_offsets` are elsewhere.
    pub fn list_groups(&self) -> Result<ListedGroups> {
        self.store.inner().check_open()?;
        if !self.has_groups() {
            return Ok(ListedGroups::default());
        }
        self.store.coordinator()?.list(|| self.store.inner().check_open())
    }

    /// Describes a group: its members, their partitions, and its committed offsets with the lag.
    ///
    /// # Errors
    /// - [`GroupError::UnknownGroup`].
    /// - If the group's partition of `__consumer_offsets` cannot be read:
    ///   [`TopicError::PartitionOffline`], [`GroupError::CorruptOffsetsTopic`],
    ///   [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Io`](crate::Error::Io).
    /// - [`Error::StoreClosed`](crate::Error::StoreClosed).
    pub fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let mut described = self.coordinator_for(group)?.describe(group)?;
        for (at, offset) in &mut described.offsets {
            let log = self.store.topic(&at.topic).and_then(|topic| topic.partition(at.partition));
            let ends = log.ok().map(|log| log.offsets());
            offset.end = ends.map(|ends| ends.end);
            offset.lag = ends.map(|ends| ends.behind(offset.committed.offset));
        }
        Ok(described)
    }

    /// Commits offsets for a group that has no members. The group need not exist.
    ///
    /// The offsets survive a process crash, like those that a consumer commits.
    ///
    /// # Errors
    /// - [`GroupError::NonEmptyGroup`] while it has members.
    /// - [`TopicError`](crate::TopicError) for a partition that does not exist.
    /// - [`ConsumeError::CommitFailed`](crate::ConsumeError::CommitFailed) for metadata of more
    ///   than 4096 bytes, or an offset above [`i64::MAX`].
    /// - As [`describe_group`](Admin::describe_group), if the group's partition of
    ///   `__consumer_offsets` cannot be read or written.
    pub fn alter_offsets(
        &self,
        group: &str,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<()> {
        self.store.inner().check_open()?;
        let ids = self.topic_ids(offsets.keys())?;
        let coordinator = self.store.coordinator()?;
        coordinator.alter(group, &offsets, &|| self.check_same_topics(&ids))
    }

    /// Deletes the committed offsets of a group for some partitions.
    ///
    /// # Errors
    /// [`GroupError::GroupSubscribedToTopic`] for a topic that its members subscribe to. Also as
    /// [`describe_group`](Admin::describe_group).
    pub fn delete_offsets(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<()> {
        let partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        self.coordinator_for(group)?.delete_offsets(group, &partitions)
    }

    /// Resets the committed offsets of a group that has no members, in these partitions. Without
    /// any partition, it resets all partitions for which the group has committed. Returns the new
    /// offsets.
    ///
    /// # Errors
    /// - [`GroupError::NonEmptyGroup`] while it has members.
    /// - [`GroupError::UnknownGroup`] if it has committed nothing and no partition is given.
    /// - [`GroupError::NoCommittedOffset`] for [`ResetTo::ShiftBy`] in a partition without a
    ///   committed offset.
    /// - [`TopicError`](crate::TopicError) for a partition that does not exist.
    /// - As [`describe_group`](Admin::describe_group), if the group's partition of
    ///   `__consumer_offsets` cannot be read or written.
    pub fn reset_offsets(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
        to: ResetTo,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.store.inner().check_open()?;
        let coordinator = self.store.coordinator()?;
        let mut partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        if partitions.is_empty() {
            partitions = self.describe_group(group)?.offsets.into_keys().collect();
        }
        let ids = self.topic_ids(partitions.iter())?;
        let committed = coordinator.committed(group, &mut partitions.iter())?;
        let mut reset = BTreeMap::new();
        for at in partitions {
            let committed = committed.get(&at).map(|committed| committed.offset);
            let offset = self.resolve_offset(&at, to, committed)?;
            reset.insert(at, offset);
        }
        let offsets = reset.iter().map(|(at, offset)| (at.clone(), (*offset).into()));
        coordinator.alter(group, &offsets.collect(), &|| self.check_same_topics(&ids))?;
        Ok(reset)
    }

    fn resolve_offset(
        &self,
        at: &TopicPartition,
        to: ResetTo,
        committed: Option<Offset>,
    ) -> Result<Offset> {
        let log = self.store.topic(&at.topic)?.partition(at.partition)?;
        let ends = log.offsets();
        let found = match to {
            ResetTo::Earliest => ends.start,
            ResetTo::Latest => ends.end,
            ResetTo::Offset(offset) => offset,
            ResetTo::Time(time) => {
                log.offset_for_time(time)?.map_or(ends.end, |(offset, _)| offset)
            }
            ResetTo::Current => committed.unwrap_or(ends.end),
            ResetTo::ShiftBy(by) => {
                let nothing = || GroupError::NoCommittedOffset {
                    topic: (*at.topic).to_owned(),
                    partition: at.partition,
                };
                committed.ok_or_else(nothing)?.saturating_add_signed(by)
            }
        };
        Ok(found.max(ends.start).min(ends.end))
    }

    /// Deletes a group that has no members, with all its committed offsets.
    ///
    /// # Errors
    /// [`GroupError::NonEmptyGroup`] while it has members. Also as
    /// [`describe_group`](Admin::describe_group).
    pub fn delete_group(&self, group: &str) -> Result<()> {
        self.coordinator_for(group)?.delete(group)
    }

    /// Removes members from a group. Without any member, it removes all. Members of this process
    /// join again with their next poll.
    ///
    /// Returns the number of members removed.
    ///
    /// # Errors
    /// [`GroupError::UnknownMemberId`] for a member that does not exist; the members before it
    /// are removed. Also as [`describe_group`](Admin::describe_group).
    pub fn remove_members(
        &self,
        group: &str,
        members: impl IntoIterator<Item = MemberIdentity>,
    ) -> Result<usize> {
        let mut members: Vec<MemberIdentity> = members.into_iter().collect();
        let described = self.describe_group(group)?.members;
        if members.is_empty() {
            let ids = described.iter().map(|member| member.member_id.clone());
            members = ids.map(MemberIdentity::MemberId).collect();
        }
        let coordinator = self.store.coordinator()?;
        for member in &members {
            match member {
                MemberIdentity::MemberId(id) => {
                    let known = described.iter().find(|known| known.member_id == *id);
                    let instance_id = known.and_then(|known| known.instance_id.as_deref());
                    coordinator.leave(group, Caller { member_id: id, instance_id })??;
                }
                MemberIdentity::InstanceId(id) => {
                    coordinator.leave_instance(group, id)?;
                }
            }
        }
        Ok(members.len())
    }

    /// Deletes expired offsets, and groups that have none left. Returns the number of records
    /// that it wrote to delete them.
    ///
    /// A partition of `__consumer_offsets` that is offline is skipped.
    ///
    /// # Errors
    /// The first error of [`describe_group`](Admin::describe_group), after all partitions were
    /// tried; [`Error::StoreClosed`](crate::Error::StoreClosed).
    pub fn expire_offsets(&self) -> Result<usize> {
        self.store.inner().check_open()?;
        if !self.has_groups() {
            return Ok(0);
        }
        self.store.coordinator()?.expire_offsets()
    }

    /// Returns the ids of the topics of these partitions, which must exist.
    fn topic_ids<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
    ) -> Result<BTreeMap<Arc<str>, TopicId>> {
        let mut ids = BTreeMap::new();
        for at in partitions {
            let topic = self.store.topic(&at.topic)?;
            topic.check_has_partition(at.partition)?;
            ids.insert(Arc::clone(&at.topic), topic.id());
        }
        Ok(ids)
    }

    /// Fails if a topic no longer exists, even if another one has its name.
    fn check_same_topics(&self, ids: &BTreeMap<Arc<str>, TopicId>) -> Result<()> {
        for (name, id) in ids {
            if self.store.topic(name)?.id() != *id {
                return Err(TopicError::Unknown { topic: name.to_string() }.into());
            }
        }
        Ok(())
    }

    /// Returns whether the offsets topic exists, so that describing groups does not create it.
    fn has_groups(&self) -> bool {
        self.store.topic(CONSUMER_OFFSETS).is_ok()
    }

    fn coordinator_for(&self, group: &str) -> Result<Arc<Coordinator>> {
        self.store.inner().check_open()?;
        if !self.has_groups() {
            return Err(unknown(group));
        }
        self.store.coordinator()
    }
}
