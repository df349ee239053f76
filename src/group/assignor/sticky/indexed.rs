//! A group whose members and topics are referred to by index.

use crate::group::assignor::{Assignments, Member, SubscribedTopic, java_order, subscribed_topics};
use crate::types::TopicPartition;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A partition: the index of its topic, and its number.
pub(super) type PartitionIndex = (usize, u32);

/// The partitions of a member.
#[derive(Debug, Default, Clone)]
pub(super) struct MemberAssignment {
    pub(super) partitions: Vec<PartitionIndex>,
    /// The partitions that another member must give up first.
    pub(super) moving: BTreeSet<PartitionIndex>,
}

/// A group with its members and topics in order.
pub(super) struct IndexedGroup<'a> {
    pub(super) ids: Vec<&'a String>,
    pub(super) members: Vec<&'a Member>,
    pub(super) topics: Vec<SubscribedTopic>,
    pub(super) claims: Claims,
}

/// The partitions that the members claim.
pub(super) struct Claims {
    /// The claims of each member, without repetitions and without partitions that do not exist.
    pub(super) all: Vec<BTreeSet<PartitionIndex>>,
    /// The claims of each member that count.
    pub(super) valid: Vec<BTreeSet<PartitionIndex>>,
    /// The partitions that several members claim for the same generation.
    pub(super) contested: BTreeSet<PartitionIndex>,
}

impl<'a> IndexedGroup<'a> {
    pub(super) fn new(
        members: &'a BTreeMap<String, Member>,
        partitions: &BTreeMap<String, u32>,
    ) -> IndexedGroup<'a> {
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| java_order(a, b));
        let (ids, members): (Vec<&String>, Vec<&Member>) = sorted.into_iter().unzip();
        let topics = subscribed_topics(members.iter().copied(), partitions);
        let claims = Claims::new(&members, &topics);
        IndexedGroup { ids, members, topics, claims }
    }

    /// Returns whether all members subscribe to the same topics.
    pub(super) fn has_equal_subscriptions(&self) -> bool {
        let subscriptions: BTreeSet<_> = self.members.iter().map(|member| &member.topics).collect();
        subscriptions.len() <= 1
    }

    /// Returns all partitions, in order.
    pub(super) fn all_partitions(&self) -> impl Iterator<Item = PartitionIndex> {
        let topics = self.topics.iter().enumerate();
        topics.flat_map(|(at, topic)| (0..topic.partitions).map(move |partition| (at, partition)))
    }

    pub(super) fn named(
        &self,
        assignments: impl Iterator<Item = Vec<PartitionIndex>>,
    ) -> Assignments {
        let name = |(topic, partition): &PartitionIndex| {
            self.topics.get(*topic).map(|topic| topic.partition(*partition))
        };
        let lists = assignments.map(|partitions| partitions.iter().filter_map(name).collect());
        self.ids.iter().map(|id| (*id).clone()).zip(lists).collect()
    }
}

impl Claims {
    fn new(members: &[&Member], topics: &[SubscribedTopic]) -> Claims {
        let at: BTreeMap<&str, (usize, u32)> = topics
            .iter()
            .enumerate()
            .map(|(at, topic)| (&*topic.name, (at, topic.partitions)))
            .collect();
        let index = |owned: &TopicPartition| {
            let (topic, partitions) = *at.get(&*owned.topic)?;
            (owned.partition < partitions).then_some((topic, owned.partition))
        };
        let all: Vec<BTreeSet<PartitionIndex>> =
            members.iter().map(|member| member.owned.iter().filter_map(index).collect()).collect();

        // The member that claims a partition for the last generation; `None` if several do.
        let mut owners: BTreeMap<PartitionIndex, (i32, Option<usize>)> = BTreeMap::new();
        for ((by, member), claimed) in members.iter().enumerate().zip(&all) {
            for index in claimed {
                match owners.entry(*index) {
                    Entry::Vacant(entry) => {
                        entry.insert((member.generation, Some(by)));
                    }
                    Entry::Occupied(mut entry) => {
                        let (generation, owner) = entry.get_mut();
                        if member.generation > *generation {
                            (*generation, *owner) = (member.generation, Some(by));
                        } else if member.generation == *generation {
                            *owner = None;
                        }
                    }
                }
            }
        }
        let mut valid = vec![BTreeSet::new(); members.len()];
        let mut contested = BTreeSet::new();
        for (index, (_, owner)) in owners {
            match owner {
                Some(owner) => valid.get_mut(owner).map(|valid| valid.insert(index)),
                None => Some(contested.insert(index)),
            };
        }
        Claims { all, valid, contested }
    }
}
