//! Range assignment: each topic is divided into ranges, one for each member that subscribes to
//! it.
//!
//! ```text
//!  7 partitions, 3 members      A: 0 1 2    B: 3 4    C: 5 6
//! ```
//!
//! Topics with the same number of partitions and the same members are divided alike, so partition
//! n of each of them goes to the same member. A join of two topics by key needs that. In return,
//! the first members have more partitions of every topic.

use super::{Assignments, Assignor, Member, empty_assignments, in_turn_order, subscribed_topics};
use std::collections::BTreeMap;

/// Assigns ranges of each topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range;

impl Assignor for Range {
    fn name(&self) -> &str {
        "range"
    }

    fn assign(
        &self,
        members: &BTreeMap<String, Member>,
        partitions: &BTreeMap<String, u32>,
    ) -> Assignments {
        let mut assigned = empty_assignments(members);
        let turns = in_turn_order(members);
        for topic in subscribed_topics(members.values(), partitions) {
            let subscribed: Vec<&String> = turns
                .iter()
                .filter(|(_, member)| member.topics.contains(&*topic.name))
                .map(|(id, _)| *id)
                .collect();
            let among = u32::try_from(subscribed.len()).unwrap_or(u32::MAX);
            let each = topic.partitions.checked_div(among).unwrap_or(0);
            let left_over = topic.partitions.checked_rem(among).unwrap_or(0);
            let mut from = 0u32;
            for (place, id) in (0..among).zip(subscribed) {
                let upto = from.saturating_add(each).saturating_add((place < left_over).into());
                if let Some(assigned) = assigned.get_mut(id) {
                    assigned.extend((from..upto).map(|partition| topic.partition(partition)));
                }
                from = upto;
            }
        }
        assigned
    }
}
