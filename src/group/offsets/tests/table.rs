use super::*;
use crate::types::ProducerId;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DAY: i64 = 86_400_000;
const WEEK: Duration = Duration::from_millis(7 * DAY as u64);

fn key(group: &str, topic: &str, partition: i32) -> OffsetKey {
    OffsetKey { group: group.into(), topic: topic.into(), partition }
}

fn value(offset: i64) -> CommittedOffset {
    CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        commit_timestamp: at(T0),
        expire_timestamp: None,
    }
}

fn commit(offset: i64) -> OffsetsRecord {
    OffsetsRecord::Offset { key: key("g", "t", 0), value: Some(value(offset)) }
}

fn found(table: &OffsetTable) -> Option<i64> {
    table.committed("g", "t", 0).map(|committed| committed.offset)
}

#[test]
fn transactional_offsets_wait_for_marker() {
    let mut table = OffsetTable::default();
    table.apply(4, None, commit(10));
    table.apply(5, Some(7), commit(20));
    assert_eq!((found(&table), table.is_pending("g", "t", 0)), (Some(10), true));
    let mut other = table.clone();
    other.end_transaction(7, false);
    assert_eq!((found(&other), other.is_pending("g", "t", 0)), (Some(10), false));
    other = table.clone();
    other.end_transaction(8, true);
    assert_eq!((found(&other), other.is_pending("g", "t", 0)), (Some(10), true));
    other.end_transaction(7, true);
    assert_eq!((found(&other), other.is_pending("g", "t", 0)), (Some(20), false));
    // The commit after it is later, although the transaction ends after the commit.
    table.apply(6, None, commit(15));
    table.end_transaction(7, true);
    assert_eq!(found(&table), Some(15));
    assert_eq!(table.committed("g", "t", 0).unwrap().next(), Some(15));
    assert_eq!(value(-1).next(), None);
}

#[test]
fn tombstone_removes_pending_offset() {
    let mut table = OffsetTable::default();
    table.apply(0, Some(7), commit(20));
    table.apply(1, None, OffsetsRecord::Offset { key: key("g", "t", 0), value: None });
    table.end_transaction(7, true);
    assert_eq!(table, OffsetTable::default());
}

#[test]
fn group_names_include_every_source() {
    let mut table = OffsetTable::default();
    let metadata = GroupMetadata { generation: 3, ..GroupMetadata::default() };
    let group = OffsetsRecord::Group { group: "a".into(), value: Some(metadata.clone()) };
    table.apply(0, None, group);
    table.apply(1, Some(7), commit(1));
    table.apply(2, None, OffsetsRecord::Unknown { key_version: 9 });
    let other = OffsetsRecord::Offset { key: key("c", "t", 1), value: Some(value(3)) };
    table.apply(3, None, other);
    assert_eq!(table.group_names().into_iter().collect::<Vec<_>>(), ["a", "c", "g"]);
    assert_eq!(table.group("a"), Some(&metadata));
    let all: Vec<_> = table.committed_by("c").map(|(topic, n, o)| (topic, n, o.offset)).collect();
    assert_eq!(all, [("t", 1, 3)]);
    table.apply(4, None, OffsetsRecord::Group { group: "a".into(), value: None });
    assert_eq!((table.group("a"), table.group_names().len()), (None, 2));
}

/// Returns a table with two topics: one offset was committed at `T0`, the other a day later.
fn two_topics() -> OffsetTable {
    let mut table = OffsetTable::default();
    for (n, (topic, later)) in [("old", 0), ("young", DAY)].into_iter().enumerate() {
        let value = CommittedOffset { commit_timestamp: at(T0 + later), ..value(5) };
        let record = OffsetsRecord::Offset { key: key("g", topic, 0), value: Some(value) };
        table.apply(n as Offset, None, record);
    }
    let metadata = GroupMetadata::default();
    table.apply(2, None, OffsetsRecord::Group { group: "g".into(), value: Some(metadata) });
    table
}

/// Returns the topics that expire at a time after `T0`, and whether the group is removed.
fn expire(table: &OffsetTable, used: GroupUse<'_>, after: i64) -> (Vec<String>, bool) {
    let expired = table.expired("g", used, at(T0 + after), WEEK);
    let mut removed = table.clone();
    let mut topics = Vec::new();
    for tombstone in expired.tombstones {
        if let OffsetsRecord::Offset { key, value: None } = &tombstone {
            topics.push(key.topic.clone());
        }
        removed.apply(9, None, tombstone);
    }
    assert_eq!(expired.group_gone, !removed.group_names().contains("g"));
    (topics, expired.group_gone)
}

#[test]
fn expiry_follows_group_use() {
    let table = two_topics();
    let topics = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (week, both) = (7 * DAY, ["old", "young"]);
    for used in [GroupUse::Simple, GroupUse::Empty { since: None }] {
        assert_eq!(expire(&table, used, week - 1), (vec![], false));
        assert_eq!(expire(&table, used, week), (topics(&["old"]), false));
        assert_eq!(expire(&table, used, week + DAY), (topics(&both), true));
    }
    let since = |after| GroupUse::Empty { since: Some(at(T0 + after)) };
    assert_eq!(expire(&table, since(2 * DAY), week + 2 * DAY - 1), (vec![], false));
    assert_eq!(expire(&table, since(2 * DAY), week + 2 * DAY), (topics(&both), true));
    // An offset that was committed after the group became empty counts from the commit.
    assert_eq!(expire(&table, since(-DAY), week - 1), (vec![], false));
    assert_eq!(expire(&table, since(-DAY), week), (topics(&["old"]), false));
    assert_eq!(expire(&table, since(-DAY), week + DAY), (topics(&both), true));
    assert_eq!(expire(&table, GroupUse::Busy, 100 * week), (vec![], false));
    let subscribed = BTreeSet::from(["old".to_owned()]);
    let stable = GroupUse::Stable { subscribed: &subscribed };
    assert_eq!(expire(&table, stable, week + DAY - 1), (vec![], false));
    assert_eq!(expire(&table, stable, week + DAY), (topics(&["young"]), false));
    let none = BTreeSet::new();
    let idle = GroupUse::Stable { subscribed: &none };
    assert_eq!(expire(&table, idle, week + DAY), (topics(&both), false));
}

/// A consumer that reads and never commits keeps its offset. After a restart, at least half of
/// the retention is left.
#[test]
fn used_offset_renews_after_half_retention() {
    let mut table = two_topics();
    let (week, simple) = (7 * DAY, GroupUse::Simple);
    table.record_use("g", "old", 0, at(T0 + 3 * DAY));
    table.record_use("g", "unknown", 0, at(T0 + 3 * DAY));
    assert_eq!(expire(&table, simple, week + DAY), (vec!["young".to_owned()], false));
    assert_eq!(expire(&table, simple, week + 3 * DAY - 1), (vec!["young".to_owned()], false));
    assert_eq!(expire(&table, simple, week + 3 * DAY).0.len(), 2);
    let renewed = |table: &OffsetTable, after| {
        table.expired("g", GroupUse::Simple, at(T0 + after), WEEK).renewed
    };
    assert_eq!(renewed(&table, week / 2 - 1), []);
    let stored = renewed(&table, week / 2);
    let value = CommittedOffset { commit_timestamp: at(T0 + 3 * DAY), ..value(5) };
    let record = OffsetsRecord::Offset { key: key("g", "old", 0), value: Some(value) };
    assert_eq!(stored, std::slice::from_ref(&record));
    table.apply(3, None, record);
    assert_eq!(renewed(&table, 3 * DAY + week / 2), []);
    assert_eq!(expire(&table, simple, week + 3 * DAY).0.len(), 2);
}

#[test]
fn own_expiry_and_transaction_take_precedence() {
    let mut table = two_topics();
    let expires = CommittedOffset { expire_timestamp: Some(at(T0 + 5)), ..value(1) };
    let record = OffsetsRecord::Offset { key: key("g", "own", 0), value: Some(expires) };
    table.apply(3, None, record);
    let empty = GroupUse::Empty { since: Some(at(T0 + DAY)) };
    assert_eq!(expire(&table, empty, 4), (vec![], false));
    assert_eq!(expire(&table, empty, 5), (vec!["own".into()], false));
    assert_eq!(expire(&table, GroupUse::Busy, 5), (vec![], false));
    let pending = OffsetsRecord::Offset { key: key("g", "old", 0), value: Some(value(9)) };
    table.apply(4, Some(7), pending);
    let (topics, gone) = expire(&table, GroupUse::Simple, 100 * DAY);
    assert_eq!((topics, gone), (vec!["own".into(), "young".into()], false));
    // A group that has only its own record.
    let mut table = OffsetTable::default();
    let stored = OffsetsRecord::Group { group: "g".into(), value: Some(GroupMetadata::default()) };
    table.apply(0, None, stored);
    assert_eq!(expire(&table, GroupUse::Busy, 0), (vec![], false));
    assert_eq!(expire(&table, GroupUse::Empty { since: None }, 0), (vec![], true));
    let other = OffsetsRecord::Offset { key: key("g", "t", 0), value: Some(value(9)) };
    table.apply(1, Some(7), other);
    assert_eq!(expire(&table, GroupUse::Empty { since: None }, 0), (vec![], false));
}

#[test]
fn group_use_follows_stored_metadata() {
    let empty = GroupMetadata { state_since: Some(at(7)), ..GroupMetadata::default() };
    assert_eq!(GroupUse::from_metadata(None), GroupUse::Simple);
    assert_eq!(GroupUse::from_metadata(Some(&empty)), GroupUse::Simple);
    let mut group = GroupMetadata { protocol_type: "consumer".into(), ..empty };
    assert_eq!(GroupUse::from_metadata(Some(&group)), GroupUse::Empty { since: Some(at(7)) });
    group.members.push(MemberMetadata::default());
    assert_eq!(GroupUse::from_metadata(Some(&group)), GroupUse::Busy);
}

#[derive(Debug, Clone)]
enum TableEvent {
    Commit { producer: Option<ProducerId>, partition: i32 },
    Tombstone { partition: i32 },
    Marker { producer: ProducerId, committed: bool },
}

fn event() -> impl Strategy<Value = TableEvent> {
    let producer = prop_oneof![Just(None), (0..3_i64).prop_map(Some)];
    prop_oneof![
        5 => (producer, 0..3).prop_map(|(producer, partition)| TableEvent::Commit { producer, partition }),
        1 => (0..3).prop_map(|partition| TableEvent::Tombstone { partition }),
        2 => (0..3_i64, any::<bool>())
            .prop_map(|(producer, committed)| TableEvent::Marker { producer, committed }),
    ]
}

/// Computes the committed offset of a partition from the complete history.
fn last(events: &[TableEvent], of: i32) -> Option<i64> {
    let decided = |from: usize, by: ProducerId| {
        events.iter().skip(from).find_map(|event| match event {
            TableEvent::Marker { producer, committed } if *producer == by => Some(*committed),
            _ => None,
        })
    };
    for (n, event) in events.iter().enumerate().rev() {
        match event {
            TableEvent::Tombstone { partition } if *partition == of => return None,
            TableEvent::Commit { producer, partition }
                if *partition == of
                    && producer.is_none_or(|producer| decided(n, producer) == Some(true)) =>
            {
                return Some(n as i64);
            }
            _ => {}
        }
    }
    None
}

proptest! {
    #[test]
    fn last_decided_commit_wins(events in vec(event(), 0..60)) {
        let mut table = OffsetTable::default();
        let mut open: BTreeMap<ProducerId, BTreeSet<i32>> = BTreeMap::new();
        for (n, event) in events.iter().enumerate() {
            match event.clone() {
                TableEvent::Commit { producer, partition } => {
                    let value = Some(value(n as i64));
                    let record = OffsetsRecord::Offset { key: key("g", "t", partition), value };
                    table.apply(n as Offset, producer, record);
                    if let Some(producer) = producer {
                        open.entry(producer).or_default().insert(partition);
                    }
                }
                TableEvent::Tombstone { partition } => {
                    let record = OffsetsRecord::Offset { key: key("g", "t", partition), value: None };
                    table.apply(n as Offset, None, record);
                    open.values_mut().for_each(|partitions| { partitions.remove(&partition); });
                }
                TableEvent::Marker { producer, committed } => {
                    table.end_transaction(producer, committed);
                    open.remove(&producer);
                }
            }
            for partition in 0..3 {
                let found = table.committed("g", "t", partition).map(|place| place.offset);
                prop_assert_eq!(found, last(&events[..=n], partition));
                let pending = open.values().any(|partitions| partitions.contains(&partition));
                prop_assert_eq!(table.is_pending("g", "t", partition), pending);
            }
        }
    }
}
