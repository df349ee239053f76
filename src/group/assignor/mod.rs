//! The assignment of partitions to the members of a group.
//!
//! The leader of a group assigns the partitions of all topics that its members subscribe to. Each
//! partition goes to one member that subscribes to its topic. There are three methods, shown for
//! members A and B and two topics with three partitions each:
//!
//! ```text
//!                  A                      B                      when C joins
//!  range           t0: 0 1   t1: 0 1      t0:     2  t1:     2   each topic is divided anew
//!  roundrobin      t0: 0  2  t1:   1      t0:   1    t1: 0   2   all partitions are assigned anew
//!  sticky          as roundrobin                                 A and B each give one
//! ```
//!
//! *Eager*: at each change of the group, all members give up all partitions, and then get new
//! ones. *Cooperative*: each member keeps the partitions that stay. A partition that moves is
//! first revoked from its owner. The owner then asks for a second rebalance, which assigns the
//! partition.
//!
//! The results are Kafka's, except where Kafka's depend on the order of a hash map. Members and
//! topics are processed in the order of Java's strings.
//!
//! Racks are ignored, because everything is in this process. Kafka prefers partitions with a
//! replica in the rack of the member, if it knows racks.
//!
//! ```
//! use annals::TopicPartition;
//! use annals::assignor::{Assignor, Member, Range, RoundRobin};
//! use std::collections::BTreeMap;
//!
//! let topics = BTreeMap::from([("t0".to_owned(), 3), ("t1".to_owned(), 3)]);
//! let member = || Member { topics: topics.keys().cloned().collect(), ..Member::default() };
//! let members = BTreeMap::from([("a".to_owned(), member()), ("b".to_owned(), member())]);
//! let of_b = |topic, partition| TopicPartition::new(topic, partition);
//!
//! let ranges = Range.assign(&members, &topics);
//! assert_eq!(ranges["b"], [of_b("t0", 2), of_b("t1", 2)]);
//! let turns = RoundRobin.assign(&members, &topics);
//! assert_eq!(turns["b"], [of_b("t0", 1), of_b("t1", 0), of_b("t1", 2)]);
//! ```

mod range;
mod round_robin;
mod sticky;

pub use crate::group::protocol::Subscription;
pub use range::Range;
pub use round_robin::RoundRobin;
pub use sticky::{CooperativeSticky, Sticky};

use crate::types::TopicPartition;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The way in which members hand over partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebalanceProtocol {
    /// Members give up all partitions before a rebalance.
    Eager,
    /// Members give up only the partitions that move, after a rebalance. A second rebalance
    /// assigns these.
    Cooperative,
}

/// A member of a group, as described to the assignor of the leader. The [module](self) has an
/// example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// The topics that it subscribes to.
    pub topics: BTreeSet<String>,
    /// The partitions that it reports to have had before the rebalance.
    pub owned: Vec<TopicPartition>,
    /// The generation of the group in which it got these partitions; -1 for none.
    pub generation: i32,
    /// Its rack.
    pub rack: Option<String>,
}

/// The partitions of each member. It contains all members, and no list contains a partition
/// twice.
pub type Assignments = BTreeMap<String, Vec<TopicPartition>>;

/// A method to assign partitions to the members of a group. Kafka: `ConsumerPartitionAssignor`.
///
/// ```
/// use annals::assignor::{Assignments, Assignor, Member};
/// use annals::{ConsumerConfig, Store, StoreConfig, TopicConfig, TopicPartition};
/// use std::{collections::BTreeMap, sync::Arc, time::Duration};
///
/// /// All partitions go to the member with the lowest id; the others stand by.
/// struct StandBy;
/// impl Assignor for StandBy {
///     fn name(&self) -> &str {
///         "stand-by"
///     }
///     fn assign(
///         &self,
///         members: &BTreeMap<String, Member>,
///         partitions: &BTreeMap<String, u32>,
///     ) -> Assignments {
///         let all = partitions.iter().flat_map(|(topic, count)| {
///             (0..*count).map(move |partition| TopicPartition::new(topic.as_str(), partition))
///         });
///         let all: Vec<TopicPartition> = all.collect();
///         let list = |(n, id): (usize, &String)| {
///             (id.clone(), if n == 0 { all.clone() } else { Vec::new() })
///         };
///         members.keys().enumerate().map(list).collect()
///     }
/// }
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// store.create_topic("orders", TopicConfig::default().partitions(3))?;
/// let assignor: Arc<dyn Assignor> = Arc::new(StandBy);
/// let mut consumer = store.consumer(ConsumerConfig::new("billing").assignors([assignor]))?;
/// consumer.subscribe(["orders"])?;
/// consumer.poll(Duration::ZERO)?;
/// assert_eq!(consumer.assignment().len(), 3);
/// # Ok::<(), annals::Error>(())
/// ```
pub trait Assignor: Send + Sync {
    /// Returns the name. All members of a group must have an assignor of the same name.
    fn name(&self) -> &str;

    /// Returns how partitions are handed over.
    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// Returns the user data that a member puts into its subscription, for the assignor of the
    /// leader. `last` is the member's last assignment, and the generation of that assignment.
    fn user_data(&self, _last: Option<(&[TopicPartition], i32)>) -> Option<Vec<u8>> {
        None
    }

    /// Returns the member that a subscription describes, with its partitions and their
    /// generation. The leader calls it before [`assign`](Assignor::assign).
    fn member(&self, subscription: Subscription) -> Member {
        Member::from(subscription)
    }

    /// Assigns the partitions.
    ///
    /// `partitions` has the number of partitions of each topic. A topic that is missing has none.
    /// The partitions of a topic without subscribers are not assigned.
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

/// Compares like Java's strings: by UTF-16 units.
fn java_order(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

/// A topic with partitions and subscribers.
#[derive(Debug)]
struct SubscribedTopic {
    name: Arc<str>,
    partitions: u32,
}

impl SubscribedTopic {
    fn partition(&self, partition: u32) -> TopicPartition {
        TopicPartition { topic: Arc::clone(&self.name), partition }
    }
}

/// Returns the topics that have partitions and subscribers, in order.
fn subscribed_topics<'a>(
    members: impl IntoIterator<Item = &'a Member>,
    partitions: &BTreeMap<String, u32>,
) -> Vec<SubscribedTopic> {
    let subscribed: BTreeSet<&String> =
        members.into_iter().flat_map(|member| &member.topics).collect();
    let known = subscribed.into_iter().filter_map(|name| Some((name, *partitions.get(name)?)));
    let mut topics: Vec<SubscribedTopic> = known
        .filter(|(_, partitions)| *partitions > 0)
        .map(|(name, partitions)| SubscribedTopic { name: name.as_str().into(), partitions })
        .collect();
    topics.sort_by(|a, b| java_order(&a.name, &b.name));
    topics
}

/// Returns the members in turn: first static members by instance id, then the others by member
/// id.
fn in_turn_order(members: &BTreeMap<String, Member>) -> Vec<(&String, &Member)> {
    let mut turns: Vec<_> = members.iter().collect();
    turns.sort_by(|(a, one), (b, other)| match (&one.instance_id, &other.instance_id) {
        (Some(one), Some(other)) => java_order(one, other).then_with(|| java_order(a, b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => java_order(a, b),
    });
    turns
}

/// Returns an empty assignment for each member.
fn empty_assignments(members: &BTreeMap<String, Member>) -> Assignments {
    members.keys().map(|id| (id.clone(), Vec::new())).collect()
}

#[cfg(test)]
mod tests;
