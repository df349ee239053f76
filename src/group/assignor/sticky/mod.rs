//! Sticky assignment: partitions stay with their member, as far as that is fair.
//!
//! With equal subscriptions each member gets the same number of partitions, or one more. So a
//! partition moves only when its member has left, or has more than its share:
//!
//! ```text
//!  before       A: 0 1 2 3      B: 4 5 6         7 partitions
//!  C joins      A: 0 1 2        B: 4 5           C: 3 6         each 2, and one member 3
//!  B leaves     A: 0 1 2 4      C: 3 6 5
//! ```
//!
//! With unequal subscriptions an even number for all may be impossible. Then no member has two
//! more than another that could take one of them.
//!
//! Each member reports its partitions, with the generation in which it got them. If two members
//! claim one partition, the later generation is right. Two members of one generation cannot both
//! be right, so neither claim counts.
//!
//! The cooperative kind assigns in two steps. A partition that moves has no member after the
//! first. Its previous member sees that, gives the partition up, and joins again:
//!
//! ```text
//!  C joins      A: 0 1 2        B: 4 5           C: -           3 and 6 are given up
//!  again        A: 0 1 2        B: 4 5           C: 3 6
//! ```
//!
//! With unequal subscriptions, such a partition may then go to another member than intended, and a
//! third step follows.
//!
//! The results are Kafka's, with three exceptions:
//! - In Kafka, the order of a hash map decides which of several members keeps the larger share,
//!   and which of several moves is undone. Here it is the first in order.
//! - Kafka may give a partition back to an older owner that left its topic, or fail because of it.
//!   Here it goes to a subscriber.
//! - With unequal subscriptions, Kafka trusts a member that claims a partition that no other
//!   member reads it. Here the partition is held back while a member with a better or equal claim
//!   may have it.

mod equal;
mod unequal;

use super::{Assignments, Assignor, Member, RebalanceProtocol, Topic, java_order, topics};
use crate::group::protocol::{self, Subscription};
use crate::types::TopicPartition;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Leaves partitions where they are, in one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sticky;

/// Leaves partitions where they are, in two steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CooperativeSticky;

impl Assignor for Sticky {
    fn name(&self) -> &str {
        "sticky"
    }

    fn user_data(&self, last: Option<(&[TopicPartition], i32)>) -> Option<Vec<u8>> {
        last.and_then(|(partitions, generation)| protocol::sticky_user_data(partitions, generation))
    }

    /// What the members own is nothing: they have let go of it. What they had is in the user data.
    fn member(&self, subscription: Subscription) -> Member {
        let data = subscription.user_data.as_deref().unwrap_or_default();
        let (owned, generation) = protocol::read_sticky_user_data(data);
        Member { owned, generation, ..Member::from(subscription) }
    }

    fn assign(
        &self,
        members: &BTreeMap<String, Member>,
        partitions: &BTreeMap<String, u32>,
    ) -> Assignments {
        let group = Group::new(members, partitions);
        group.named(group.assign().into_iter().map(|share| share.places))
    }
}

impl Assignor for CooperativeSticky {
    fn name(&self) -> &str {
        "cooperative-sticky"
    }

    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Cooperative
    }

    fn user_data(&self, last: Option<(&[TopicPartition], i32)>) -> Option<Vec<u8>> {
        let generation = last.map_or(protocol::NO_GENERATION, |(_, generation)| generation);
        Some(protocol::cooperative_user_data(generation))
    }

    /// Subscriptions have the generation since version 2, the user data has it for those before.
    fn member(&self, subscription: Subscription) -> Member {
        let generation = match (subscription.generation, &subscription.user_data) {
            (protocol::NO_GENERATION, Some(data)) => protocol::read_cooperative_user_data(data),
            (generation, _) => generation,
        };
        Member { generation, ..Member::from(subscription) }
    }

    fn assign(
        &self,
        members: &BTreeMap<String, Member>,
        partitions: &BTreeMap<String, u32>,
    ) -> Assignments {
        let group = Group::new(members, partitions);
        group.named(group.assign().into_iter().map(|share| {
            let mut places = share.places;
            places.retain(|place| !share.moving.contains(place));
            places
        }))
    }
}

/// A partition: the place of its topic among all, and its number.
type Place = (usize, u32);

/// The partitions of a member.
#[derive(Debug, Default, Clone)]
struct Share {
    places: Vec<Place>,
    /// The partitions that another member must give up first.
    moving: BTreeSet<Place>,
}

/// A group with its members and topics in order, and named by their places in it.
struct Group<'a> {
    ids: Vec<&'a String>,
    members: Vec<&'a Member>,
    topics: Vec<Topic>,
    claims: Claims,
}

/// The partitions that the members claim.
struct Claims {
    /// By member, without repetitions and partitions that are not there.
    all: Vec<BTreeSet<Place>>,
    /// The part of it that they are believed.
    valid: Vec<BTreeSet<Place>>,
    /// The partitions that several members claim for the same generation.
    contested: BTreeSet<Place>,
}

impl<'a> Group<'a> {
    fn new(members: &'a BTreeMap<String, Member>, partitions: &BTreeMap<String, u32>) -> Group<'a> {
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| java_order(a, b));
        let (ids, members): (Vec<&String>, Vec<&Member>) = sorted.into_iter().unzip();
        let topics = topics(members.iter().copied(), partitions);
        let claims = Claims::new(&members, &topics);
        Group { ids, members, topics, claims }
    }

    fn assign(&self) -> Vec<Share> {
        let subscriptions: BTreeSet<_> = self.members.iter().map(|member| &member.topics).collect();
        if subscriptions.len() > 1 { unequal::assign(self) } else { equal::assign(self) }
    }

    /// All partitions, in order.
    fn places(&self) -> impl Iterator<Item = Place> {
        let topics = self.topics.iter().enumerate();
        topics.flat_map(|(at, topic)| (0..topic.partitions).map(move |partition| (at, partition)))
    }

    fn named(&self, shares: impl Iterator<Item = Vec<Place>>) -> Assignments {
        let name = |(topic, partition): &Place| {
            self.topics.get(*topic).map(|topic| topic.partition(*partition))
        };
        let lists = shares.map(|places| places.iter().filter_map(name).collect());
        self.ids.iter().map(|id| (*id).clone()).zip(lists).collect()
    }
}

impl Claims {
    fn new(members: &[&Member], topics: &[Topic]) -> Claims {
        let at: BTreeMap<&str, (usize, u32)> = topics
            .iter()
            .enumerate()
            .map(|(at, topic)| (&*topic.name, (at, topic.partitions)))
            .collect();
        let place = |owned: &TopicPartition| {
            let (topic, partitions) = *at.get(&*owned.topic)?;
            (owned.partition < partitions).then_some((topic, owned.partition))
        };
        let all: Vec<BTreeSet<Place>> =
            members.iter().map(|member| member.owned.iter().filter_map(place).collect()).collect();

        // The member that claims it for the last generation; none if several do.
        let mut owners: BTreeMap<Place, (i32, Option<usize>)> = BTreeMap::new();
        for ((by, member), claimed) in members.iter().enumerate().zip(&all) {
            for place in claimed {
                match owners.entry(*place) {
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
        for (place, (_, owner)) in owners {
            match owner {
                Some(owner) => valid.get_mut(owner).map(|valid| valid.insert(place)),
                None => Some(contested.insert(place)),
            };
        }
        Claims { all, valid, contested }
    }
}
