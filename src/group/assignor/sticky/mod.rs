//! Sticky assignment: partitions stay with their member, as far as that is fair.
//!
//! With equal subscriptions, each member gets the same number of partitions, or one more. So a
//! partition moves only when its member has left, or has more than its share:
//!
//! ```text
//!  before       A: 0 1 2 3      B: 4 5 6         7 partitions
//!  C joins      A: 0 1 2        B: 4 5           C: 3 6         each 2, and one member 3
//!  B leaves     A: 0 1 2 4      C: 3 6 5
//! ```
//!
//! With unequal subscriptions, an even number for all may be impossible. In that case, no member
//! has two more than another member that could take one of them.
//!
//! Each member reports its partitions, with the generation in which it got them. If two members
//! claim one partition, the later generation counts. Two members of one generation cannot both be
//! right, so neither claim counts.
//!
//! The cooperative kind assigns in two steps. A partition that moves has no member after the
//! first step. Its previous member sees that, gives the partition up, and joins again:
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
//!
//! - In Kafka, the order of a hash map decides which of several members keeps the larger share,
//!   and which of several moves is undone. Here, it is the first in order.
//! - Kafka may give a partition back to an older owner that left its topic, or fail because of
//!   it. Here, the partition goes to a subscriber.
//! - With unequal subscriptions, Kafka trusts a member that claims a partition that no other
//!   member reads it. Here, the partition is held back while a member with a better or equal
//!   claim may have it.

mod equal;
mod indexed;
mod unequal;

use super::{Assignments, Assignor, Member, RebalanceProtocol};
use crate::group::protocol::{self, Subscription};
use crate::types::TopicPartition;
use indexed::{IndexedGroup, MemberAssignment};
use std::collections::BTreeMap;

/// Keeps partitions with their members, and moves the others in one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sticky;

/// Keeps partitions with their members, and moves the others in two steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CooperativeSticky;

impl Assignor for Sticky {
    fn name(&self) -> &str {
        "sticky"
    }

    fn user_data(&self, last: Option<(&[TopicPartition], i32)>) -> Option<Vec<u8>> {
        last.and_then(|(partitions, generation)| protocol::sticky_user_data(partitions, generation))
    }

    /// Members own nothing now, because they gave up all partitions. Their last assignment is in
    /// the user data.
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
        let group = IndexedGroup::new(members, partitions);
        group.named(assign(&group).into_iter().map(|assignment| assignment.partitions))
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

    /// Subscriptions contain the generation since version 2. Before that, it is in the user data.
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
        let group = IndexedGroup::new(members, partitions);
        group.named(assign(&group).into_iter().map(|assignment| {
            let mut partitions = assignment.partitions;
            partitions.retain(|index| !assignment.moving.contains(index));
            partitions
        }))
    }
}

fn assign(group: &IndexedGroup<'_>) -> Vec<MemberAssignment> {
    if group.has_equal_subscriptions() { equal::assign(group) } else { unequal::assign(group) }
}
