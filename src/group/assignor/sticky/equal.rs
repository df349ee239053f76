//! Sticky assignment with equal subscriptions: each member has a quota.
//!
//! ```text
//!  8 partitions, 3 members      each member 2, and two of them one more
//! ```
//!
//! Members keep their partitions up to their quota. The larger quota goes to the first members
//! that can use all of it. The rest is assigned in turn: first to members below the small quota,
//! then one each to members that may have the large one.

use super::indexed::{IndexedGroup, MemberAssignment, PartitionIndex};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) fn assign(group: &IndexedGroup<'_>) -> Vec<MemberAssignment> {
    let mut quotas = QuotaAssignment::new(group);
    for (member, owned) in group.claims.valid.iter().enumerate() {
        quotas.keep(member, owned);
    }
    for index in group.all_partitions() {
        if quotas.kept.contains(&index) {
            continue;
        }
        let Some(member) = quotas.next_member() else { continue };
        let moves = group.claims.contested.contains(&index)
            || quotas.surplus.get(&index).is_some_and(|from| *from != member);
        if let Some(assignment) = quotas.assignments.get_mut(member) {
            assignment.partitions.push(index);
            if moves {
                assignment.moving.insert(index);
            }
        }
    }
    quotas.assignments
}

struct QuotaAssignment {
    assignments: Vec<MemberAssignment>,
    kept: BTreeSet<PartitionIndex>,
    /// The partitions above the quota of their member, with that member.
    surplus: BTreeMap<PartitionIndex, usize>,
    small: usize,
    /// How many more members may have the large quota.
    large_left: usize,
    /// The members below the small quota, each with the number missing, in turn.
    below: VecDeque<(usize, usize)>,
    /// The members with the small quota, which may get one more.
    at_small: VecDeque<usize>,
}

impl QuotaAssignment {
    fn new(group: &IndexedGroup<'_>) -> QuotaAssignment {
        let members = group.members.len();
        let total = group.all_partitions().count();
        QuotaAssignment {
            assignments: vec![MemberAssignment::default(); members],
            kept: BTreeSet::new(),
            surplus: BTreeMap::new(),
            small: total.checked_div(members).unwrap_or(0),
            large_left: total.checked_rem(members).unwrap_or(0),
            below: VecDeque::new(),
            at_small: VecDeque::new(),
        }
    }

    /// Lets a member keep its partitions, up to its quota.
    fn keep(&mut self, member: usize, owned: &BTreeSet<PartitionIndex>) {
        let mut owned: Vec<PartitionIndex> = owned.iter().copied().collect();
        owned.sort_by_key(|(topic, partition)| (*partition, *topic));
        let quota = if owned.len() < self.small {
            self.below.push_back((member, self.small.saturating_sub(owned.len())));
            owned.len()
        } else if owned.len() > self.small && self.large_left > 0 {
            self.large_left = self.large_left.saturating_sub(1);
            self.small.saturating_add(1)
        } else {
            self.at_small.push_back(member);
            self.small
        };
        for index in owned.split_off(quota.min(owned.len())) {
            self.surplus.insert(index, member);
        }
        self.kept.extend(&owned);
        if let Some(assignment) = self.assignments.get_mut(member) {
            assignment.partitions = owned;
        }
    }

    /// Returns the member that gets the next partition.
    fn next_member(&mut self) -> Option<usize> {
        let Some((member, missing)) = self.below.pop_front() else {
            return self.at_small.pop_front();
        };
        match missing.checked_sub(1) {
            None | Some(0) => self.at_small.push_back(member),
            Some(missing) => self.below.push_back((member, missing)),
        }
        Some(member)
    }
}
