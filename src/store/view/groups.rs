//! The stored state of groups, read beside the process that runs them.

use crate::error::{Error, GroupError, Result, TopicError};
use crate::group::description::{
    GroupDescription, GroupListing, GroupOffset, ListedGroups, members,
};
use crate::group::membership::GroupState;
use crate::group::offsets::{GroupMetadata, OffsetAndMetadata, OffsetTable, partition_for};
use crate::group::shard::Shard;
use crate::store::view::StoreView;
use crate::topic_name::CONSUMER_OFFSETS;
use crate::types::TopicPartition;

impl StoreView {
    /// Lists all groups with stored state, as [`Admin::list_groups`](crate::Admin::list_groups)
    /// does.
    ///
    /// A group with members counts as stable. Only the process that runs the group knows whether
    /// the members are still joining, or have ended. If no process has the directory open for
    /// writing, the members ended with the last such process, and the group is empty. Only static
    /// members remain, because their place is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Corrupt`] if the number of partitions of `__consumer_offsets`
    /// cannot be read.
    pub fn list_groups(&self) -> Result<ListedGroups> {
        let mut listed = ListedGroups::default();
        for number in 0..self.count(CONSUMER_OFFSETS)? {
            listed.add(number, self.table(number).map(|table| self.listings(&table)));
        }
        Ok(listed.sorted())
    }

    /// Describes a group: its members, its committed offsets, and its lag.
    ///
    /// Members and state are those of [`list_groups`](StoreView::list_groups).
    ///
    /// # Errors
    ///
    /// [`GroupError::UnknownGroup`]; the error of reading the group's partition of
    /// `__consumer_offsets`.
    pub fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let unknown = || GroupError::UnknownGroup { group: group.to_owned() };
        let count = self.count(CONSUMER_OFFSETS)?;
        let number = partition_for(group, count).ok_or_else(unknown)?;
        let table = self.table(number)?;
        if !table.group_names().contains(group) {
            return Err(unknown().into());
        }
        let stored = self.with_members(table.group(group));
        let stored = stored.as_ref();
        let mut described = GroupDescription {
            group: group.to_owned(),
            state: state_of(stored),
            generation: stored.map_or(0, |stored| stored.generation),
            assignor: stored.and_then(|stored| stored.protocol.clone()),
            members: stored.cloned().map(members).unwrap_or_default(),
            offsets: Default::default(),
        };
        for (topic, partition, stored) in table.committed_by(group) {
            let Some(committed) = OffsetAndMetadata::from_stored(stored) else { continue };
            let Ok(partition) = u32::try_from(partition) else { continue };
            let ends = self.partition(topic, partition).ok().map(|log| log.offsets());
            let end = ends.map(|ends| ends.end);
            let lag = ends.map(|ends| ends.behind(committed.offset));
            let at = TopicPartition::new(topic, partition);
            described.offsets.insert(at, GroupOffset { committed, end, lag });
        }
        Ok(described)
    }

    fn listings(&self, table: &OffsetTable) -> Vec<GroupListing> {
        let listing = |group: &str| {
            let stored = self.with_members(table.group(group));
            GroupListing {
                group: group.to_owned(),
                state: state_of(stored.as_ref()),
                protocol_type: stored.map_or_else(String::new, |stored| stored.protocol_type),
            }
        };
        table.group_names().into_iter().map(listing).collect()
    }

    /// Returns the stored state of a group with the members that can still exist, which is the
    /// state after the next opening.
    fn with_members(&self, stored: Option<&GroupMetadata>) -> Option<GroupMetadata> {
        let mut stored = stored?.clone();
        if !stored.members.is_empty() && !self.has_writer() {
            stored.members.retain(|member| member.instance_id.is_some());
        }
        Some(stored)
    }

    fn table(&self, number: u32) -> Result<OffsetTable> {
        match self.partition(CONSUMER_OFFSETS, number) {
            Ok(log) => Shard::read(number, &log).map(|(table, _)| table),
            // The partition is being created.
            Err(Error::Topic(error)) if matches!(*error, TopicError::PartitionElsewhere { .. }) => {
                Ok(OffsetTable::default())
            }
            Err(error) => Err(error),
        }
    }
}

fn state_of(stored: Option<&GroupMetadata>) -> GroupState {
    let has_members = stored.is_some_and(|stored| !stored.members.is_empty());
    if has_members { GroupState::Stable } else { GroupState::Empty }
}
