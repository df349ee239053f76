//! The committed offsets that result from the records of the offsets topic.

use super::{CommittedOffset, GroupMetadata, MemberMetadata, OffsetKey, OffsetsRecord};
use crate::types::{Offset, ProducerId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All offsets and groups, after some of the records of the topic.
///
/// Records are [applied](OffsetTable::apply) in their order. Offsets that were committed in a
/// transaction wait for its end. When it is [committed](OffsetTable::end_transaction), each
/// replaces what is there only if its own record is the later one.
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
    committed: Places,
    pending: BTreeMap<ProducerId, Places>,
    groups: BTreeMap<String, GroupMetadata>,
}

/// The approximate size of a record without names and metadata.
const RECORD_BYTES: usize = 100;

/// Offsets by group, topic and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Places(BTreeMap<String, BTreeMap<String, BTreeMap<i32, Place>>>);

/// An offset, and that of the record that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    offset: CommittedOffset,
    at: Offset,
    /// When a consumer without membership last read on from it, if that was after the commit.
    used: Option<Timestamp>,
}

/// The use of a group, as far as it matters for the expiry of its offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupUse<'a> {
    /// It never had members: consumers choose their partitions by themselves, and only commit.
    Simple,
    /// Its members have gone, at a time that may not be known.
    Empty { since: Option<Timestamp> },
    /// It is stable, and its members read these topics.
    Stable { subscribed: &'a BTreeSet<String> },
    /// It is between two generations, or what its members read is not known.
    Busy,
}

/// The expired offsets of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    /// The records that remove it, in the order to write them.
    pub(crate) tombstones: Vec<OffsetsRecord>,
    /// The same offsets once more, committed when they were last used: what is only known in
    /// memory, and would be missed after a restart.
    pub(crate) renewed: Vec<OffsetsRecord>,
    /// Whether nothing is left of the group, which has no members.
    pub(crate) group_gone: bool,
}

impl OffsetTable {
    /// Takes note of a record at this offset, which is part of a transaction of that producer if
    /// there is one.
    pub(crate) fn apply(
        &mut self,
        at: Offset,
        producer: Option<ProducerId>,
        record: OffsetsRecord,
    ) {
        match record {
            OffsetsRecord::Offset { key, value: Some(offset) } => {
                let places = match producer {
                    Some(producer) => self.pending.entry(producer).or_default(),
                    None => &mut self.committed,
                };
                places.put(key, Place { offset, at, used: None });
            }
            // What is pending is older than it.
            OffsetsRecord::Offset { key, value: None } => {
                self.committed.remove(&key);
                self.pending.retain(|_, places| {
                    places.remove(&key);
                    !places.0.is_empty()
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

    /// Decides about what the producer has pending.
    pub(crate) fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        let pending = self.pending.remove(&producer).filter(|_| committed);
        for (key, place) in pending.into_iter().flat_map(Places::into_all) {
            let known = self.committed.get(&key.group, &key.topic, key.partition);
            if known.is_none_or(|known| known.at < place.at) {
                self.committed.put(key, place);
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
        self.committed.get(group, topic, partition).map(|place| &place.offset)
    }

    /// Takes note that a consumer goes on from what the group has committed for a partition.
    pub(crate) fn note_use(&mut self, group: &str, topic: &str, partition: i32, now: Timestamp) {
        if let Some(place) = self.committed.get_mut(group, topic, partition) {
            place.used = place.used.max(Some(now));
        }
    }

    /// All that a group has committed, by topic and partition.
    pub(crate) fn committed_by(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        let all = self.committed.of(group);
        all.map(|(topic, partition, place)| (topic, partition, &place.offset))
    }

    /// Whether a transaction that has not ended has committed for a partition.
    pub(crate) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.pending.values().any(|places| places.get(group, topic, partition).is_some())
    }

    /// The records that remove all that is committed for a topic, or is about to be.
    pub(crate) fn tombstones_of_topic(&self, topic: &str) -> Vec<OffsetsRecord> {
        let all = std::iter::once(&self.committed).chain(self.pending.values());
        let groups = all.flat_map(|places| &places.0);
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

    /// About how many bytes the records have that would say all this, each key once.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let sum = |sum: u64, bytes: usize| sum.saturating_add(bytes as u64);
        let place = |key: usize, place: &Place| {
            RECORD_BYTES.saturating_add(key).saturating_add(place.offset.metadata.len())
        };
        let all = std::iter::once(&self.committed).chain(self.pending.values());
        let places = all.flat_map(|places| &places.0).flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                let key = group.len().saturating_add(topic.len());
                partitions.values().map(move |at| place(key, at))
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
        places.fold(0, sum).saturating_add(self.groups.iter().map(group).fold(0, sum))
    }

    /// Returns the stored state of a group.
    pub(crate) fn group(&self, group: &str) -> Option<&GroupMetadata> {
        self.groups.get(group)
    }

    /// The names of all groups that there is anything of, in order.
    pub(crate) fn group_names(&self) -> BTreeSet<&str> {
        let pending = self.pending.values().flat_map(|places| places.0.keys());
        let names = self.groups.keys().chain(self.committed.0.keys()).chain(pending);
        names.map(String::as_str).collect()
    }

    /// What of a group has expired. Nothing is removed before its tombstone is
    /// [applied](OffsetTable::apply).
    ///
    /// | group | partitions that may expire | counted from the latest of |
    /// |---|---|---|
    /// | simple | all | the commit, the last use |
    /// | empty | all | the commit, the last use, when the group became empty |
    /// | stable | those of topics that its members do not read | the commit, the last use |
    /// | busy | none | |
    ///
    /// An offset that has a time of its own to expire goes by that. One that a transaction is
    /// about to replace stays. One whose last use is all that keeps it for longer than half of the
    /// retention is renewed.
    pub(crate) fn expired(
        &self,
        group: &str,
        used: GroupUse<'_>,
        now: Timestamp,
        retention: Duration,
    ) -> Expired {
        let mut expired = Expired::default();
        let mut left = self.pending.values().any(|places| places.0.contains_key(group));
        for (topic, partition, place) in self.committed.of(group) {
            let key = || {
                let (group, topic) = (group.to_owned(), topic.to_owned());
                OffsetKey { group, topic, partition }
            };
            let due = used.expires(topic, place, now, retention);
            if due && !self.is_pending(group, topic, partition) {
                expired.tombstones.push(OffsetsRecord::Offset { key: key(), value: None });
                continue;
            }
            left = true;
            if let Some(renewed) = used.renewed(topic, place, now, retention) {
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

impl GroupUse<'_> {
    /// That of a group of which nothing is known but what is stored.
    pub(crate) fn stored(metadata: Option<&GroupMetadata>) -> GroupUse<'static> {
        match metadata {
            None => GroupUse::Simple,
            Some(group) if !group.members.is_empty() => GroupUse::Busy,
            Some(group) if group.protocol_type.is_empty() => GroupUse::Simple,
            Some(group) => GroupUse::Empty { since: group.state_since },
        }
    }

    fn expires(self, topic: &str, place: &Place, now: Timestamp, retention: Duration) -> bool {
        let Some(stored) = self.counted_from(topic, &place.offset) else { return false };
        match place.offset.expire_timestamp {
            Some(end) => now >= end,
            None => has_passed(retention, place.used.map_or(stored, |used| used.max(stored)), now),
        }
    }

    /// What is to be stored of an offset that is in use, if it was not for half of the retention.
    fn renewed(
        self,
        topic: &str,
        place: &Place,
        now: Timestamp,
        retention: Duration,
    ) -> Option<CommittedOffset> {
        let stored = self.counted_from(topic, &place.offset)?;
        let used = place.used.filter(|used| *used > stored)?;
        let half = retention.checked_div(2).unwrap_or_default();
        let renews = place.offset.expire_timestamp.is_none() && has_passed(half, stored, now);
        renews.then(|| CommittedOffset { commit_timestamp: used, ..place.offset.clone() })
    }

    /// From when on an offset counts as unused, as far as that is stored; `None` if it is in use.
    fn counted_from(self, topic: &str, offset: &CommittedOffset) -> Option<Timestamp> {
        let committed = offset.commit_timestamp;
        match self {
            GroupUse::Empty { since } => {
                Some(since.map_or(committed, |since| since.max(committed)))
            }
            GroupUse::Simple => Some(committed),
            GroupUse::Stable { subscribed } => (!subscribed.contains(topic)).then_some(committed),
            GroupUse::Busy => None,
        }
    }
}

fn has_passed(span: Duration, since: Timestamp, now: Timestamp) -> bool {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    now.as_millis().saturating_sub(since.as_millis()) >= span
}

impl Places {
    fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Place> {
        self.0.get(group)?.get(topic)?.get(&partition)
    }

    fn get_mut(&mut self, group: &str, topic: &str, partition: i32) -> Option<&mut Place> {
        self.0.get_mut(group)?.get_mut(topic)?.get_mut(&partition)
    }

    fn of(&self, group: &str) -> impl Iterator<Item = (&str, i32, &Place)> {
        let topics = self.0.get(group).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, place)| (topic.as_str(), *partition, place))
        })
    }

    fn put(&mut self, key: OffsetKey, place: Place) {
        let topics = self.0.entry(key.group).or_default();
        topics.entry(key.topic).or_default().insert(key.partition, place);
    }

    /// Leaves no group and no topic behind that has nothing.
    fn remove(&mut self, key: &OffsetKey) {
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

    fn into_all(self) -> impl Iterator<Item = (OffsetKey, Place)> {
        self.0.into_iter().flat_map(|(group, topics)| {
            topics.into_iter().flat_map(move |(topic, partitions)| {
                let group = group.clone();
                partitions.into_iter().map(move |(partition, place)| {
                    let (group, topic) = (group.clone(), topic.clone());
                    (OffsetKey { group, topic, partition }, place)
                })
            })
        })
    }
}
