//! Round-robin assignment: all partitions of all topics, one to each member in turn.
//!
//! ```text
//!  t0: 3 partitions, t1: 2      A: t0-0 t1-0    B: t0-1 t1-1    C: t0-2
//! ```
//!
//! A member that does not subscribe to a topic is skipped. It may get few partitions if the
//! others subscribe to more topics.

use super::{Assignments, Assignor, Member, empty_assignments, in_turn_order, subscribed_topics};
use std::collections::BTreeMap;

/// Assigns partitions to members in turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoundRobin;

impl Assignor for RoundRobin {
    fn name(&self) -> &str {
        "roundrobin"
    }

    fn assign(
        &self,
        members: &BTreeMap<String, Member>,
        partitions: &BTreeMap<String, u32>,
    ) -> Assignments {
        let mut assigned = empty_assignments(members);
        let turns = in_turn_order(members);
        let mut next = turns.iter().cycle();
        for topic in subscribed_topics(members.values(), partitions) {
            for partition in 0..topic.partitions {
                // One lap is enough, because the topic has a subscriber.
                let taker = next
                    .by_ref()
                    .take(turns.len())
                    .find(|(_, member)| member.topics.contains(&*topic.name));
                if let Some(assigned) = taker.and_then(|(id, _)| assigned.get_mut(*id)) {
                    assigned.push(topic.partition(partition));
                }
            }
        }
        assigned
    }
}
