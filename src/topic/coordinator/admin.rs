//! Administration of groups: the calls of Kafka's `kafka-consumer-groups`.

use crate::error::{CommitError, ConsumeError, Error, GroupError, Result, TopicError};
use crate::topic::admin::Admin;
use crate::topic::consumer::OffsetAndMetadata;
use crate::topic::coordinator::shard::{Entry, Shard};
use crate::topic::coordinator::{Coordinator, Stage, follow, is_offline, key, record};
use crate::topic::group::{Caller, GroupState};
use crate::topic::offsets::{GroupMetadata, OffsetsRecord};
use crate::topic::protocol::Assignment;
use crate::topic_name::CONSUMER_OFFSETS;
use crate::types::TopicPartition;
use crate::types::{Offset, Timestamp};
use crate::uuid::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A group, in a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupListing {
    /// The name of the group.
    pub group: String,
    /// The state of the group.
    pub state: GroupState,
    /// The protocol of its members: `consumer` for consumers. Empty if it never had any.
    pub protocol_type: String,
}

/// The description of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// The name of the group.
    pub group: String,
    /// The state of the group.
    pub state: GroupState,
    /// The generation: it rises when partitions are assigned, and when the last member leaves.
    pub generation: i32,
    /// The assignor in use, if it has members.
    pub assignor: Option<String>,
    /// Its members.
    pub members: Vec<MemberDescription>,
    /// The committed offsets.
    pub offsets: BTreeMap<TopicPartition, GroupOffset>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The id of the member.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// The client id from its options.
    pub client_id: String,
    /// The partitions that it has.
    pub assignment: Vec<TopicPartition>,
}

/// All groups of a store, as far as they can be read. Kafka: `listConsumerGroups`, `valid` and
/// `errors`.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ListedGroups {
    /// The groups, in the order of their names.
    pub groups: Vec<GroupListing>,
    /// The partitions of `__consumer_offsets` that could not be read, and why. Their groups are
    /// missing.
    pub unavailable: BTreeMap<u32, Error>,
}

impl ListedGroups {
    /// Adds the groups of a partition.
    pub(super) fn add(&mut self, partition: u32, groups: Result<Vec<GroupListing>>) {
        match groups {
            Ok(groups) => self.groups.extend(groups),
            Err(error) => drop(self.unavailable.insert(partition, error)),
        }
    }

    pub(super) fn sorted(mut self) -> ListedGroups {
        self.groups.sort_by(|a, b| a.group.cmp(&b.group));
        self
    }
}

/// The progress of a group in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOffset {
    /// The committed offset.
    pub committed: OffsetAndMetadata,
    /// The end of the partition; `None` if the partition is not available.
    pub end: Option<Offset>,
    /// The number of offsets left to read, from the committed one to the end, without deleted
    /// records.
    pub lag: Option<u64>,
}

/// The identity of a member for [`Admin::remove_members`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberIdentity {
    /// By its id in the group.
    MemberId(String),
    /// A static member, by its own name.
    InstanceId(String),
}

/// The target of [`Admin::reset_offsets`] in each partition. An offset outside the partition
/// becomes its start or its end.
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
    /// The committed offset, moved into the partition if it lies outside; the end if none is
    /// committed.
    Current,
}

/// Groups of consumers.
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
    /// If a partition of `__consumer_offsets` cannot be read, the groups of the others are listed,
    /// and [`unavailable`](ListedGroups::unavailable) has the reason why its own are missing.
    ///
    /// # Errors
    /// [`Error::StoreClosed`]; [`TopicError::Spread`] if partitions of `__consumer_offsets` are
    /// elsewhere.
    pub fn list_groups(&self) -> Result<ListedGroups> {
        self.store.shared().check_open()?;
        let mut listed = ListedGroups::default();
        if !self.has_groups() {
            return Ok(listed);
        }
        let coordinator = self.store.coordinator()?;
        for partition in &coordinator.partitions {
            let groups = coordinator.with_any(partition, |shard, _| {
                let listing = |group: String| GroupListing {
                    state: state_of(shard.groups.get(&group)),
                    protocol_type: protocol_type(shard, &group),
                    group,
                };
                Ok(known_groups(shard).into_iter().map(listing).collect())
            });
            if groups.is_err() {
                self.store.shared().check_open()?;
            }
            listed.add(partition.number, groups);
        }
        Ok(listed.sorted())
    }

    /// Describes a group: its members, their partitions, and its committed offsets with the lag.
    ///
    /// # Errors
    /// - [`GroupError::UnknownGroup`].
    /// - If the group's partition of `__consumer_offsets` cannot be read:
    ///   [`TopicError::PartitionOffline`], [`GroupError::CorruptOffsetsTopic`], [`Error::Corrupt`],
    ///   [`Error::Io`].
    /// - [`Error::StoreClosed`].
    pub fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let coordinator = self.coordinator_of(group)?;
        let mut described = coordinator.with(coordinator.partition(group)?, |shard, now| {
            check_known(shard, group)?;
            let entry = shard.groups.get(group);
            let metadata = entry.map(|entry| entry.group.metadata(now.calendar));
            let offsets =
                shard.table.committed_by(group).filter_map(|(topic, partition, stored)| {
                    let committed = OffsetAndMetadata::from_stored(stored)?;
                    let at = TopicPartition::new(topic, u32::try_from(partition).ok()?);
                    Some((at, GroupOffset { committed, end: None, lag: None }))
                });
            Ok(GroupDescription {
                group: group.to_owned(),
                state: state_of(entry),
                generation: metadata.as_ref().or(shard.table.group(group)).map_or(0, generation),
                assignor: metadata.as_ref().and_then(|metadata| metadata.protocol.clone()),
                members: metadata.map(members).unwrap_or_default(),
                offsets: offsets.collect(),
            })
        })?;
        for (at, offset) in &mut described.offsets {
            let log = self.store.topic(&at.topic).and_then(|topic| topic.partition(at.partition));
            let ends = log.ok().map(|log| log.offsets());
            offset.end = ends.map(|ends| ends.end);
            offset.lag = ends.map(|ends| ends.behind(offset.committed.offset));
        }
        Ok(described)
    }

    /// Commits offsets for a group that has no members. The group need not exist yet.
    ///
    /// The offsets survive a process crash, like those that a consumer commits.
    ///
    /// # Errors
    /// - [`GroupError::NonEmptyGroup`] while it has members.
    /// - [`TopicError`](crate::TopicError) for a partition that does not exist.
    /// - [`ConsumeError::CommitFailed`] for metadata that is too long.
    pub fn alter_offsets(
        &self,
        group: &str,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<()> {
        self.store.shared().check_open()?;
        let ids = self.ids_of(offsets.keys())?;
        let coordinator = self.store.coordinator()?;
        coordinator.alter(group, &offsets, &|| self.check_same(&ids))
    }

    /// Deletes the committed offsets of a group for some partitions.
    ///
    /// # Errors
    /// [`GroupError::GroupSubscribedToTopic`] for a topic that its members subscribe to;
    /// [`GroupError::UnknownGroup`].
    pub fn delete_offsets(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<()> {
        let partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        let coordinator = self.coordinator_of(group)?;
        coordinator.with(coordinator.partition(group)?, |shard, _| {
            check_known(shard, group)?;
            if let Some(entry) = shard.groups.get(group).filter(|entry| has_members(entry)) {
                let subscribed = entry.subscribed();
                let used = |at: &&TopicPartition| {
                    subscribed.as_ref().is_none_or(|topics| topics.contains(&*at.topic))
                };
                if let Some(at) = partitions.iter().find(used) {
                    let (group, topic) = (group.to_owned(), (*at.topic).to_owned());
                    return Err(GroupError::GroupSubscribedToTopic { group, topic }.into());
                }
            }
            let tombstone = |at| OffsetsRecord::Offset { key: key(group, at), value: None };
            shard.append(partitions.iter().map(tombstone).collect()).map(drop)
        })
    }

    /// Resets the committed offsets of a group that has no members, in these partitions. Without
    /// any partition, it resets all for which the group has committed. Returns the new offsets.
    ///
    /// # Errors
    /// - [`GroupError::NonEmptyGroup`] while it has members.
    /// - [`GroupError::UnknownGroup`] if it has committed nothing and no partition is given.
    /// - [`GroupError::NoCommittedOffset`] for [`ResetTo::ShiftBy`] in a partition without a
    ///   committed offset.
    /// - [`TopicError`](crate::TopicError) for a partition that does not exist.
    pub fn reset_offsets(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
        to: ResetTo,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.store.shared().check_open()?;
        let coordinator = self.store.coordinator()?;
        let mut partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        if partitions.is_empty() {
            partitions = self.describe_group(group)?.offsets.into_keys().collect();
        }
        let ids = self.ids_of(partitions.iter())?;
        let committed = coordinator.committed(group, &mut partitions.iter())?;
        let mut reset = BTreeMap::new();
        for at in partitions {
            let committed = committed.get(&at).map(|committed| committed.offset);
            let offset = self.place(&at, to, committed)?;
            reset.insert(at, offset);
        }
        let offsets = reset.iter().map(|(at, offset)| (at.clone(), (*offset).into()));
        coordinator.alter(group, &offsets.collect(), &|| self.check_same(&ids))?;
        Ok(reset)
    }

    fn place(&self, at: &TopicPartition, to: ResetTo, committed: Option<Offset>) -> Result<Offset> {
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
    /// [`GroupError::NonEmptyGroup`] while it has members; [`GroupError::UnknownGroup`].
    pub fn delete_group(&self, group: &str) -> Result<()> {
        let coordinator = self.coordinator_of(group)?;
        coordinator.with(coordinator.partition(group)?, |shard, now| {
            check_known(shard, group)?;
            check_empty(shard, group)?;
            let offsets = shard.table.committed_by(group).map(|(topic, partition, _)| {
                let at = TopicPartition::new(topic, u32::try_from(partition).unwrap_or(0));
                OffsetsRecord::Offset { key: key(group, &at), value: None }
            });
            let mut tombstones: Vec<_> = offsets.collect();
            let name = group.to_owned();
            tombstones.push(OffsetsRecord::Group { group: name, value: None });
            shard.append(tombstones)?;
            if let Some(mut entry) = shard.groups.remove(group) {
                entry.group.delete(group, now.monotonic).result?;
            }
            Ok(())
        })
    }

    /// Removes members from a group; without any member, removes all. Members of this process join
    /// again with their next poll.
    ///
    /// Returns the number of members removed.
    ///
    /// # Errors
    /// [`GroupError::UnknownMemberId`] for a member that does not exist: those before it are
    /// removed. [`GroupError::UnknownGroup`].
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
                    coordinator.step(group, |group, now| group.leave_instance(id, now))??;
                }
            }
        }
        Ok(members.len())
    }

    /// Deletes the offsets that have expired, and groups that have none left; returns the number
    /// of records that it wrote for that.
    ///
    /// A partition of `__consumer_offsets` that is offline is left as it is.
    ///
    /// # Errors
    /// As [`describe_group`](Admin::describe_group): the first error, after all partitions were
    /// tried; [`Error::StoreClosed`].
    pub fn expire_offsets(&self) -> Result<usize> {
        self.store.shared().check_open()?;
        if !self.has_groups() {
            return Ok(0);
        }
        let coordinator = self.store.coordinator()?;
        let (mut removed, mut failed) = (0usize, None);
        for partition in &coordinator.partitions {
            match coordinator
                .with_any(partition, |shard, now| shard.expire(&coordinator.config, now))
            {
                Ok(expired) => removed = removed.saturating_add(expired),
                Err(error) if is_offline(&error) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    /// The topics of partitions that must be there.
    fn ids_of<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
    ) -> Result<BTreeMap<Arc<str>, TopicId>> {
        let mut ids = BTreeMap::new();
        for at in partitions {
            let topic = self.store.topic(&at.topic)?;
            topic.check_has(at.partition)?;
            ids.insert(Arc::clone(&at.topic), topic.id());
        }
        Ok(ids)
    }

    /// Fails if a topic is not there any more, though another of its name may be.
    fn check_same(&self, ids: &BTreeMap<Arc<str>, TopicId>) -> Result<()> {
        for (name, id) in ids {
            if self.store.topic(name)?.id() != *id {
                return Err(TopicError::Unknown { topic: name.to_string() }.into());
            }
        }
        Ok(())
    }

    /// Whether there is anything to look at, so that looking does not make the offsets topic.
    fn has_groups(&self) -> bool {
        self.store.topic(CONSUMER_OFFSETS).is_ok()
    }

    fn coordinator_of(&self, group: &str) -> Result<Arc<Coordinator>> {
        self.store.shared().check_open()?;
        if !self.has_groups() {
            return Err(unknown(group));
        }
        let coordinator = self.store.coordinator()?;
        coordinator.settle(group)?;
        Ok(coordinator)
    }
}

impl Coordinator {
    fn alter(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let now = self.clock.now();
        let records = offsets.iter().map(|(at, offset)| record(group, at, offset, now));
        let failed =
            |reason: CommitError| ConsumeError::CommitFailed { group: group.to_owned(), reason };
        let records = records.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        self.settle(group)?;
        self.with(self.partition(group)?, |shard, _| {
            check_empty(shard, group)?;
            // Again, now that a deletion has to wait: it has forgotten what was committed, or
            // will. What is written behind it would hold for the next topic of that name.
            check()?;
            shard.append(records).map(drop)
        })
    }

    /// Does the work that is due in a group, which may remove members.
    fn settle(&self, group: &str) -> Result<()> {
        let bells = self.with(self.partition(group)?, |shard, now| {
            let mut bells = Vec::new();
            if let Some(entry) = shard.groups.get_mut(group) {
                let before = Stage::of(&entry.group);
                let changes = entry.group.tick(now.monotonic);
                follow(shard, group, before, changes, now, &mut bells)?;
            }
            Ok(bells)
        })?;
        bells.iter().for_each(|bell| bell.ring());
        Ok(())
    }
}

fn unknown(group: &str) -> Error {
    GroupError::UnknownGroup { group: group.to_owned() }.into()
}

/// Returns the groups with stored state, and the groups with members and no stored state yet.
fn known_groups(shard: &Shard) -> BTreeSet<String> {
    let mut known: BTreeSet<String> =
        shard.table.group_names().into_iter().map(str::to_owned).collect();
    let joined = shard.groups.iter().filter(|(_, entry)| has_members(entry));
    known.extend(joined.map(|(name, _)| name.clone()));
    known
}

fn check_known(shard: &Shard, group: &str) -> Result<()> {
    if known_groups(shard).contains(group) { Ok(()) } else { Err(unknown(group)) }
}

fn check_empty(shard: &Shard, group: &str) -> Result<()> {
    let busy = shard.groups.get(group).is_some_and(has_members);
    if busy { Err(GroupError::NonEmptyGroup { group: group.to_owned() }.into()) } else { Ok(()) }
}

fn has_members(entry: &Entry) -> bool {
    entry.group.member_ids().next().is_some()
}

fn state_of(entry: Option<&Entry>) -> GroupState {
    entry.map_or(GroupState::Empty, |entry| entry.group.state())
}

fn generation(group: &GroupMetadata) -> i32 {
    group.generation
}

fn protocol_type(shard: &Shard, group: &str) -> String {
    let entry = shard.groups.get(group);
    let of_members = entry.and_then(|entry| entry.group.protocol_type()).map(str::to_owned);
    let stored = || shard.table.group(group).map(|stored| stored.protocol_type.clone());
    of_members.or_else(stored).unwrap_or_default()
}

pub(super) fn members(metadata: GroupMetadata) -> Vec<MemberDescription> {
    let described = metadata.members.into_iter().map(|member| MemberDescription {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        assignment: Assignment::decode(&member.assignment).unwrap_or_default().partitions,
    });
    described.collect()
}
