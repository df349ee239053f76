//! The committed offsets and groups that result from the records of the offsets topic.

use super::group_use::GroupUse;
use super::offset_map::{OffsetMap, StoredOffset};
use super::{CommittedOffset, GroupMetadata, MemberMetadata, OffsetKey, OffsetsRecord};
use crate::types::{Offset, ProducerId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All offsets and groups that result from a prefix of the topic's records.
///
/// Records are [applied](OffsetTable::apply) in order. Offsets that are committed in a
/// transaction wait for its end. When it is [committed](OffsetTable::end_transaction), an offset
/// replaces the present one only if its own record is the later one.
///
/// ```text
///  record  producer
///     4    -         g1, orders, 0: 10     committed: 10
///     5    7         g1, orders, 0: 20     committed: 10, pending for 7: 20
///     6    -         g1, orders, 0: 15     committed: 15
///     7    7         commit                committed: 15, as record 6 came after 5
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OffsetTable {
    committed: OffsetMap,
    pending: BTreeMap<ProducerId, OffsetMap>,
    groups: BTreeMap<String, GroupMetadata>,
}

/// The approximate size of a record without names and metadata.
const RECORD_BYTES: usize = 100;

/// The expired offsets of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExpiredOffsets {
    /// The records that remove them, in the order in which to write them.
    pub(crate) tombstones: Vec<OffsetsRecord>,
    /// Used offsets, with the time of their last use as the commit time. Otherwise, that time is
    /// known only in memory, and would be lost at a restart.
    pub(crate) renewed: Vec<OffsetsRecord>,
    /// Whether nothing is left of the group, which has no members.
    pub(crate) group_gone: bool,
}

impl OffsetTable {
    /// Applies the record at this offset. With a producer, the record is part of its transaction.
    pub(crate) fn apply(
        &mut self,
        at: Offset,
        producer: Option<ProducerId>,
        record: OffsetsRecord,
    ) {
        match record {
            OffsetsRecord::Offset { key, value: Some(offset) } => {
                let offsets = match producer {
                    Some(producer) => self.pending.entry(producer).or_default(),
                    None => &mut self.committed,
                };
                offsets.put(key, StoredOffset { offset, at, used: None });
            }
            // Pending offsets are older than the tombstone.
            OffsetsRecord::Offset { key, value: None } => {
                self.committed.remove(&key);
                self.pending.retain(|_, offsets| {
                    offsets.remove(&key);
                    !offsets.0.is_empty()
                });
            }
            OffsetsRecord::Group { group, value: Some(metadata) } => {
                self.groups.insert(group, metadata);
            }
            OffsetsRecord::Group { group, value: None } => {
                self.groups.remove(&group);
            }
            OffsetsRecord::Unknown { .. } => {}
        }
    }

    /// Ends the transaction of a producer, and keeps or drops its pending offsets.
    pub(crate) fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        let pending = self.pending.remove(&producer).filter(|_| committed);
        for (key, stored) in pending.into_iter().flat_map(OffsetMap::into_all) {
            let known = self.committed.get(&key.group, &key.topic, key.partition);
            if known.is_none_or(|known| known.at < stored.at) {
                self.committed.put(key, stored);
            }
        }
    }

    /// Returns the committed offset of the group for a partition.
    pub(crate) fn committed(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Option<&CommittedOffset> {
        self.committed.get(group, topic, partition).map(|stored| &stored.offset)
    }

    /// Records that a consumer continues from the committed offset of a partition.
    pub(crate) fn record_use(&mut self, group: &str, topic: &str, partition: i32, now: Timestamp) {
        if let Some(stored) = self.committed.get_mut(group, topic, partition) {
            stored.used = stored.used.max(Some(now));
        }
    }

    /// Returns all committed offsets of a group, by topic and partition.
    pub(crate) fn committed_by(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        let all = self.committed.offsets_of(group);
        all.map(|(topic, partition, stored)| (topic, partition, &stored.offset))
    }

    /// Returns whether an open transaction has an offset for a partition.
    pub(crate) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.pending.values().any(|offsets| offsets.get(group, topic, partition).is_some())
    }

    /// Returns the records that remove all committed and pending offsets of a topic.
    pub(crate) fn tombstones_of_topic(&self, topic: &str) -> Vec<OffsetsRecord> {
        let all = std::iter::once(&self.committed).chain(self.pending.values());
        let groups = all.flat_map(|offsets| &offsets.0);
        let keys: BTreeSet<(&str, i32)> = groups
            .filter_map(|(group, topics)| Some((group, topics.get(topic)?)))
            .flat_map(|(group, partitions)| partitions.keys().map(|of| (group.as_str(), *of)))
            .collect();
        let tombstone = |(group, partition): (&str, i32)| {
            let key = OffsetKey { group: group.to_owned(), topic: topic.to_owned(), partition };
            OffsetsRecord::Offset { key, value: None }
        };
        keys.into_iter().map(tombstone).collect()
    }

    /// Returns the records that remove all committed and pending offsets of a group.
    pub(crate) fn tombstones_of_group(&self, group: &str) -> Vec<OffsetsRecord> {
        let all = std::iter::once(&self.committed).chain(self.pending.values());
        let keys: BTreeSet<(&str, i32)> = all
            .flat_map(|offsets| offsets.offsets_of(group))
            .map(|(topic, partition, _)| (topic, partition))
            .collect();
        let tombstone = |(topic, partition): (&str, i32)| {
            let key = OffsetKey { group: group.to_owned(), topic: topic.to_owned(), partition };
            OffsetsRecord::Offset { key, value: None }
        };
        keys.into_iter().map(tombstone).collect()
    }

    /// Returns the approximate size of records with this content, one for each key.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let sum = |sum: u64, bytes: usize| sum.saturating_add(bytes as u64);
        let stored = |key: usize, stored: &StoredOffset| {
            RECORD_BYTES.saturating_add(key).saturating_add(stored.offset.metadata.len())
        };
        let all = std::iter::once(&self.committed).chain(self.pending.values());
        let offsets = all.flat_map(|offsets| &offsets.0).flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                let key = group.len().saturating_add(topic.len());
                partitions.values().map(move |at| stored(key, at))
            })
        });
        let group = |(name, group): (&String, &GroupMetadata)| {
            let member = |member: &MemberMetadata| {
                let own = member.subscription.len().saturating_add(member.assignment.len());
                own.saturating_add(RECORD_BYTES)
            };
            let members = group.members.iter().map(member).fold(0, usize::saturating_add);
            RECORD_BYTES.saturating_add(name.len()).saturating_add(members)
        };
        offsets.fold(0, sum).saturating_add(self.groups.iter().map(group).fold(0, sum))
    }

    /// Returns the stored state of a group.
    pub(crate) fn group(&self, group: &str) -> Option<&GroupMetadata> {
        self.groups.get(group)
    }

    /// Returns the names of all groups with any content, in order.
    pub(crate) fn group_names(&self) -> BTreeSet<&str> {
        let pending = self.pending.values().flat_map(|offsets| offsets.0.keys());
        let names = self.groups.keys().chain(self.committed.0.keys()).chain(pending);
        names.map(String::as_str).collect()
    }

    /// Returns the expired offsets of a group. Each stays until its tombstone is
    /// [applied](OffsetTable::apply).
    ///
    /// | group | partitions that may expire | counted from the latest of |
    /// |---|---|---|
    /// | simple | all | the commit, the last use |
    /// | empty | all | the commit, the last use, when the group became empty |
    /// | stable | those of topics that its members do not read | the commit, the last use |
    /// | busy | none | |
    ///
    /// An offset with its own expiry time expires at that time. An offset that an open
    /// transaction is about to replace stays. An offset is renewed if it was used since it was
    /// stored, and was stored at least half of the retention ago.
    pub(crate) fn expired(
        &self,
        group: &str,
        used: GroupUse<'_>,
        now: Timestamp,
        retention: Duration,
    ) -> ExpiredOffsets {
        let mut expired = ExpiredOffsets::default();
        let mut left = self.pending.values().any(|offsets| offsets.0.contains_key(group));
        for (topic, partition, stored) in self.committed.offsets_of(group) {
            let key = || {
                let (group, topic) = (group.to_owned(), topic.to_owned());
                OffsetKey { group, topic, partition }
            };
            let due = used.expires(topic, stored, now, retention);
            if due && !self.is_pending(group, topic, partition) {
                expired.tombstones.push(OffsetsRecord::Offset { key: key(), value: None });
                continue;
            }
            left = true;
            if let Some(renewed) = used.renewed(topic, stored, now, retention) {
                expired.renewed.push(OffsetsRecord::Offset { key: key(), value: Some(renewed) });
            }
        }
        let has_members = matches!(used, GroupUse::Stable { .. } | GroupUse::Busy);
        expired.group_gone = !left && !has_members;
        if expired.group_gone && self.groups.contains_key(group) {
            let group = group.to_owned();
            expired.tombstones.push(OffsetsRecord::Group { group, value: None });
        }
        expired
    }
}
