//! Who in a group reads which partition.
//!
//! The leader of a group hands the partitions of all topics that are subscribed to out to the members. Each
//! partition goes to one member that subscribes to its topic. Three ways to do it, for members A and
//! B and two topics with three partitions each:
//!
//! ```text
//!                  A                      B                      and when C joins
//!  range           t0: 0 1   t1: 0 1      t0:     2  t1:     2   each topic is cut anew
//!  roundrobin      t0: 0  2  t1:   1      t0:   1    t1: 0   2   all are dealt anew
//!  sticky          as roundrobin                                 A and B give one each, and keep two
//! ```
//!
//! *Eager*: at each change of the group everybody lets go of all partitions, then new ones are handed out.
//! *Cooperative*: everybody goes on with what stays. A partition that moves is first only taken from its
//! owner, and handed out by the rebalance that this owner asks for once it has let go.
//!
//! The results are Kafka's, as far as Kafka's follow from the groups and not from the order of a hash map: members and topics are
//! taken in the order of Java's strings.
//!
//! Where things are is not looked at: all of them are in this process. Kafka prefers partitions with a
//! replica in the rack of the member when it knows racks.

mod range;
mod round_robin;
mod sticky;

pub use super::protocol::Subscription;
pub use range::Range;
pub use round_robin::RoundRobin;
pub use sticky::{CooperativeSticky, Sticky};

use super::protocol::TopicPartition;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How members hand partitions over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebalanceProtocol {
    /// All are let go of before a rebalance.
    Eager,
    /// Only those that move are let go of, after a rebalance. A second one hands them out.
    Cooperative,
}

/// A member of a group, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name over restarts, if it has one.
    pub instance_id: Option<String>,
    /// What it subscribes to.
    pub topics: BTreeSet<String>,
    /// What it had before the rebalance, or says it had.
    pub owned: Vec<TopicPartition>,
    /// The generation of the group in which it got them; -1 is none.
    pub generation: i32,
    /// Where it is.
    pub rack: Option<String>,
}

/// What goes to each member. All members are in it, and each list is free of repetitions.
pub type Assignments = BTreeMap<String, Vec<TopicPartition>>;

/// A way to hand out partitions.
pub trait Assignor: Send + Sync {
    /// Its name. All members of a group must have an assignor of one name.
    fn name(&self) -> &str;

    /// How partitions are handed over.
    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// What a member puts into its subscription for the assignor of the leader, from what was assigned to it last and in
    /// which generation.
    fn user_data(&self, _last: Option<(&[TopicPartition], i32)>) -> Option<Vec<u8>> {
        None
    }

    /// What the assignor of the leader takes from a subscription.
    fn member(&self, subscription: Subscription) -> Member {
        Member::from(subscription)
    }

    /// Hands out the partitions.
    ///
    /// `partitions` says how many partitions a topic has. A topic that is not in it has none, and of one that
    /// nobody subscribes to none is handed out.
    fn assign(
        &self,
        members: &BTreeMap<String, Member>,
        partitions: &BTreeMap<String, u32>,
    ) -> Assignments;
}

impl Default for Member {
    fn default() -> Member {
        Member::from(Subscription::default())
    }
}

impl From<Subscription> for Member {
    fn from(subscription: Subscription) -> Member {
        Member {
            instance_id: None,
            topics: subscription.topics.into_iter().collect(),
            owned: subscription.owned,
            generation: subscription.generation,
            rack: subscription.rack,
        }
    }
}

/// The order of Java's strings: by their UTF-16 units.
fn java_order(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

/// A topic to hand out.
#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    partitions: u32,
}

impl Topic {
    fn partition(&self, partition: u32) -> TopicPartition {
        TopicPartition { topic: Arc::clone(&self.name), partition }
    }
}

/// The topics that have partitions and subscribers, in order.
fn topics<'a>(
    members: impl IntoIterator<Item = &'a Member>,
    partitions: &BTreeMap<String, u32>,
) -> Vec<Topic> {
    let subscribed: BTreeSet<&String> =
        members.into_iter().flat_map(|member| &member.topics).collect();
    let known = subscribed.into_iter().filter_map(|name| Some((name, *partitions.get(name)?)));
    let mut topics: Vec<Topic> = known
        .filter(|(_, partitions)| *partitions > 0)
        .map(|(name, partitions)| Topic { name: name.as_str().into(), partitions })
        .collect();
    topics.sort_by(|a, b| java_order(&a.name, &b.name));
    topics
}

/// The members in the order of turns: first those with an instance id, by that, then the others by their ids.
fn in_turn(members: &BTreeMap<String, Member>) -> Vec<(&String, &Member)> {
    let mut turns: Vec<_> = members.iter().collect();
    turns.sort_by(|(a, one), (b, other)| match (&one.instance_id, &other.instance_id) {
        (Some(one), Some(other)) => java_order(one, other).then_with(|| java_order(a, b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => java_order(a, b),
    });
    turns
}

/// Nothing for anybody.
fn empty(members: &BTreeMap<String, Member>) -> Assignments {
    members.keys().map(|id| (id.clone(), Vec::new())).collect()
}

#[cfg(test)]
mod tests;
