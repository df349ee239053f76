//! Administration of groups: the work of a coordinator for Kafka's `kafka-consumer-groups`.

use crate::error::{Error, GroupError, Result};
use crate::group::commits::offset_key;
use crate::group::coordinator::{Coordinator, is_offline};
use crate::group::description::{
    GroupDescription, GroupListing, GroupOffset, ListedGroups, members,
};
use crate::group::hosted_group::HostedGroup;
use crate::group::membership::GroupState;
use crate::group::offsets::{GroupMetadata, OffsetAndMetadata, OffsetsRecord};
use crate::group::shard::Shard;
use crate::notify::wake_all;
use crate::types::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

impl Coordinator {
    /// Lists the groups that have members or committed offsets. The groups of a partition that
    /// cannot be read are missing. In that case, `check` may fail the whole call.
    pub(crate) fn list(&self, check: impl Fn() -> Result<()>) -> Result<ListedGroups> {
        let mut listed = ListedGroups::default();
        for partition in self.partitions.iter() {
            let groups = self.with_shard_unless_empty(partition, |shard, _| {
                let listing = |group: String| GroupListing {
                    state: state_of(shard.groups.get(&group)),
                    protocol_type: protocol_type(shard, &group),
                    group,
                };
                Ok(known_groups(shard).into_iter().map(listing).collect())
            });
            if groups.is_err() {
                check()?;
            }
            listed.add(partition.number, groups);
        }
        Ok(listed.sorted())
    }

    /// Describes a group, without the ends of the partitions for which it has committed.
    pub(crate) fn describe(&self, group: &str) -> Result<GroupDescription> {
        self.tick(group)?;
        self.with_shard(self.partition(group)?, |shard, now| {
            check_known(shard, group)?;
            let hosted = shard.groups.get(group);
            let metadata = hosted.map(|hosted| hosted.group.metadata(now.calendar));
            let offsets =
                shard.table.committed_by(group).filter_map(|(topic, partition, stored)| {
                    let committed = OffsetAndMetadata::from_stored(stored)?;
                    let at = TopicPartition::new(topic, u32::try_from(partition).ok()?);
                    Some((at, GroupOffset { committed, end: None, lag: None }))
                });
            Ok(GroupDescription {
                group: group.to_owned(),
                state: state_of(hosted),
                generation: metadata.as_ref().or(shard.table.group(group)).map_or(0, generation),
                assignor: metadata.as_ref().and_then(|metadata| metadata.protocol.clone()),
                members: metadata.map(members).unwrap_or_default(),
                offsets: offsets.collect(),
            })
        })
    }

    /// Deletes committed offsets of a group, unless its members subscribe to the topic.
    pub(crate) fn delete_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<()> {
        self.tick(group)?;
        self.with_shard(self.partition(group)?, |shard, _| {
            check_known(shard, group)?;
            if let Some(hosted) = shard.groups.get(group).filter(|hosted| has_members(hosted)) {
                let subscribed = hosted.subscribed_topics();
                let used = |at: &&TopicPartition| {
                    subscribed.as_ref().is_none_or(|topics| topics.contains(&*at.topic))
                };
                if let Some(at) = partitions.iter().find(used) {
                    let (group, topic) = (group.to_owned(), (*at.topic).to_owned());
                    return Err(GroupError::GroupSubscribedToTopic { group, topic }.into());
                }
            }
            let tombstone = |at| OffsetsRecord::Offset { key: offset_key(group, at), value: None };
            shard.append(partitions.iter().map(tombstone).collect()).map(drop)
        })
    }

    /// Deletes a group that has no members, with its committed offsets, and those that wait for the
    /// end of a transaction.
    pub(crate) fn delete(&self, group: &str) -> Result<()> {
        self.tick(group)?;
        self.with_shard(self.partition(group)?, |shard, now| {
            check_known(shard, group)?;
            check_empty(shard, group)?;
            let mut tombstones = shard.table.tombstones_of_group(group);
            let name = group.to_owned();
            tombstones.push(OffsetsRecord::Group { group: name, value: None });
            shard.append(tombstones)?;
            if let Some(mut hosted) = shard.groups.remove(group) {
                hosted.group.delete(group, now.monotonic).result?;
            }
            Ok(())
        })
    }

    /// Removes a static member.
    pub(crate) fn leave_instance(&self, group: &str, instance_id: &str) -> Result<()> {
        self.step(group, |group, now| group.leave_instance(instance_id, now))??;
        Ok(())
    }

    /// Removes expired offsets, and returns how many records were removed. Tries all partitions
    /// that are not offline, then returns the first error.
    pub(crate) fn expire_offsets(&self) -> Result<usize> {
        let (mut removed, mut failed) = (0usize, None);
        for partition in self.partitions.iter() {
            match self
                .with_shard_unless_empty(partition, |shard, now| shard.expire(&self.config, now))
            {
                Ok(expired) => removed = removed.saturating_add(expired),
                Err(error) if is_offline(&error) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    /// Commits offsets for a group that has no members. `check` is called when no deletion of a
    /// topic can run at the same time.
    pub(crate) fn alter(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let records = self.commit_records(group, offsets)?;
        self.tick(group)?;
        self.with_shard(self.partition(group)?, |shard, _| {
            check_empty(shard, group)?;
            // Check again, now that a deletion must wait for this lock. An offset that is written
            // after a deletion has removed the topic's offsets would apply to the next topic of
            // that name.
            check()?;
            shard.append(records).map(drop)
        })
    }

    /// Does the work that is due in a group, which may remove members.
    fn tick(&self, group: &str) -> Result<()> {
        let wakers = self.with_shard(self.partition(group)?, |shard, now| {
            let mut wakers = Vec::new();
            if let Some(hosted) = shard.groups.get_mut(group) {
                let before = hosted.group.state_and_generation();
                let changes = hosted.group.tick(now.monotonic);
                shard.apply_changes(group, before, changes, now, &mut wakers)?;
            }
            Ok(wakers)
        })?;
        wake_all(wakers);
        Ok(())
    }
}

pub(crate) fn unknown(group: &str) -> Error {
    GroupError::UnknownGroup { group: group.to_owned() }.into()
}

/// Returns the groups with stored state, and the groups with members that are not stored yet.
fn known_groups(shard: &Shard) -> BTreeSet<String> {
    let mut known: BTreeSet<String> =
        shard.table.group_names().into_iter().map(str::to_owned).collect();
    let joined = shard.groups.iter().filter(|(_, hosted)| has_members(hosted));
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

fn has_members(hosted: &HostedGroup) -> bool {
    hosted.group.member_ids().next().is_some()
}

fn state_of(hosted: Option<&HostedGroup>) -> GroupState {
    hosted.map_or(GroupState::Empty, |hosted| hosted.group.state())
}

fn generation(group: &GroupMetadata) -> i32 {
    group.generation
}

fn protocol_type(shard: &Shard, group: &str) -> String {
    let hosted = shard.groups.get(group);
    let of_members = hosted.and_then(|hosted| hosted.group.protocol_type()).map(str::to_owned);
    let stored = || shard.table.group(group).map(|stored| stored.protocol_type.clone());
    of_members.or_else(stored).unwrap_or_default()
}
