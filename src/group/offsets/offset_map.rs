//! Committed offsets by group, topic and partition.

use super::{CommittedOffset, OffsetKey};
use crate::types::{Offset, Timestamp};
use std::collections::BTreeMap;

/// Offsets by group, topic and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OffsetMap(
    pub(super) BTreeMap<String, BTreeMap<String, BTreeMap<i32, StoredOffset>>>,
);

/// A committed offset, and the offset of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredOffset {
    pub(super) offset: CommittedOffset,
    pub(super) at: Offset,
    /// When a consumer that is not a member last continued from it, if that was after the commit.
    pub(super) used: Option<Timestamp>,
}

impl OffsetMap {
    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&StoredOffset> {
        self.0.get(group)?.get(topic)?.get(&partition)
    }

    pub(super) fn get_mut(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Option<&mut StoredOffset> {
        self.0.get_mut(group)?.get_mut(topic)?.get_mut(&partition)
    }

    pub(super) fn offsets_of(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&str, i32, &StoredOffset)> {
        let topics = self.0.get(group).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, stored)| (topic.as_str(), *partition, stored))
        })
    }

    pub(super) fn put(&mut self, key: OffsetKey, stored: StoredOffset) {
        let topics = self.0.entry(key.group).or_default();
        topics.entry(key.topic).or_default().insert(key.partition, stored);
    }

    /// Removes an offset, and the topic and the group if they have none left.
    pub(super) fn remove(&mut self, key: &OffsetKey) {
        let Some(topics) = self.0.get_mut(&key.group) else { return };
        let Some(partitions) = topics.get_mut(&key.topic) else { return };
        partitions.remove(&key.partition);
        if partitions.is_empty() {
            topics.remove(&key.topic);
        }
        if topics.is_empty() {
            self.0.remove(&key.group);
        }
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = (OffsetKey, StoredOffset)> {
        self.0.into_iter().flat_map(|(group, topics)| {
            topics.into_iter().flat_map(move |(topic, partitions)| {
                let group = group.clone();
                partitions.into_iter().map(move |(partition, stored)| {
                    let (group, topic) = (group.clone(), topic.clone());
                    (OffsetKey { group, topic, partition }, stored)
                })
            })
        })
    }
}
