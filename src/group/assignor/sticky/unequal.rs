//! Sticky assignment with different subscriptions: partitions go to the member with the fewest,
//! and move while that makes the assignment fairer.
//!
//! Each member keeps its partitions. A partition without a member goes to the subscriber of its
//! topic with the fewest partitions. Topics with few subscribers come first, because they have
//! less choice. Then partitions move, one at a time, to a member that has at least two fewer.
//! Each move brings two numbers closer together, so the moves end.
//!
//! Two members must not give each other partitions of one topic. Before a partition moves from A
//! to B, a partition of the topic that moved from B to A moves back:
//!
//! ```text
//!  t0-1 went from B to A, and t0-7 is to go from A to B:    t0-1 goes to B, t0-7 stays
//! ```

use super::indexed::{IndexedGroup, MemberAssignment, PartitionIndex};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn assign(group: &IndexedGroup<'_>) -> Vec<MemberAssignment> {
    let mut balance = BalancedAssignment::new(group);
    let all = balance.partitions_by_choice(group);
    let free: Vec<PartitionIndex> =
        all.iter().copied().filter(|index| !balance.owners.contains_key(index)).collect();
    for index in &free {
        if let Some(member) = balance.least_loaded(*index) {
            balance.move_to(*index, member);
        }
    }
    // If the new partitions can balance the assignment, the others stay. This is not tried when
    // partitions must move anyway.
    if !balance.has_lost_partitions {
        balance.even_out(&free);
    }
    balance.even_out(&all);
    balance.assignments(group)
}

struct BalancedAssignment {
    held: Vec<BTreeSet<PartitionIndex>>,
    owners: BTreeMap<PartitionIndex, usize>,
    /// The members, by their number of partitions.
    by_load: BTreeSet<(usize, usize)>,
    /// The subscribers of each topic.
    subscribers: Vec<BTreeSet<usize>>,
    /// Whether a member has lost a partition because it no longer subscribes to the topic.
    has_lost_partitions: bool,
    /// The previous owner of a partition, with its generation.
    previous_owners: BTreeMap<PartitionIndex, (i32, usize)>,
    moves: Moves,
}

impl BalancedAssignment {
    fn new(group: &IndexedGroup<'_>) -> BalancedAssignment {
        let subscribers: Vec<BTreeSet<usize>> = group
            .topics
            .iter()
            .map(|topic| {
                let members = group.members.iter().enumerate();
                let subscribed = members.filter(|(_, member)| member.topics.contains(&*topic.name));
                subscribed.map(|(at, _)| at).collect()
            })
            .collect();
        let mut balance = BalancedAssignment {
            held: vec![BTreeSet::new(); group.members.len()],
            owners: BTreeMap::new(),
            by_load: (0..group.members.len()).map(|member| (0, member)).collect(),
            subscribers,
            has_lost_partitions: false,
            previous_owners: BTreeMap::new(),
            moves: Moves::default(),
        };
        for (member, owned) in group.claims.valid.iter().enumerate() {
            for index in owned {
                if balance.subscribes(member, *index) {
                    balance.move_to(*index, member);
                } else {
                    balance.has_lost_partitions = true;
                }
            }
        }
        balance.record_previous_owners(group);
        balance
    }

    /// Records the members that claim partitions for a generation before the last.
    fn record_previous_owners(&mut self, group: &IndexedGroup<'_>) {
        let last = group.members.iter().map(|member| member.generation).max();
        for ((at, member), claimed) in group.members.iter().enumerate().zip(&group.claims.all) {
            let generation = member.generation;
            if Some(generation) == last {
                continue;
            }
            for index in claimed {
                let later =
                    self.previous_owners.get(index).is_some_and(|(known, _)| *known >= generation);
                if !later && self.subscribes(at, *index) {
                    self.previous_owners.insert(*index, (generation, at));
                }
            }
        }
    }

    fn subscribes(&self, member: usize, (topic, _): PartitionIndex) -> bool {
        self.subscribers.get(topic).is_some_and(|members| members.contains(&member))
    }

    fn load(&self, member: usize) -> usize {
        self.held.get(member).map_or(0, BTreeSet::len)
    }

    /// Assigns a partition to a member, and takes it from its present owner.
    fn move_to(&mut self, index: PartitionIndex, to: usize) {
        let from = self.owners.insert(index, to);
        for (member, gets) in from.map(|from| (from, false)).into_iter().chain([(to, true)]) {
            self.by_load.remove(&(self.load(member), member));
            if let Some(held) = self.held.get_mut(member) {
                if gets {
                    held.insert(index)
                } else {
                    held.remove(&index)
                };
            }
            self.by_load.insert((self.load(member), member));
        }
    }

    /// Returns all partitions; those with the fewest subscribers come first.
    fn partitions_by_choice(&self, group: &IndexedGroup<'_>) -> Vec<PartitionIndex> {
        let mut partitions: Vec<PartitionIndex> = group.all_partitions().collect();
        partitions.sort_by_key(|(topic, _)| self.subscribers.get(*topic).map_or(0, BTreeSet::len));
        partitions
    }

    /// Returns the member with the fewest partitions among those that can have this one.
    fn least_loaded(&self, index: PartitionIndex) -> Option<usize> {
        let mut members = self.by_load.iter().map(|(_, member)| *member);
        members.find(|member| self.subscribes(*member, index))
    }

    /// Moves partitions, until no move of one of them would be fairer.
    fn even_out(&mut self, partitions: &[PartitionIndex]) {
        loop {
            let mut moved = false;
            for index in partitions {
                if self.spread() < 2 {
                    return;
                }
                moved |= self.move_to_fewer(*index);
            }
            if !moved {
                return;
            }
        }
    }

    /// Returns how many more partitions the member with the most has than the one with the least.
    fn spread(&self) -> usize {
        let (least, most) = (self.by_load.first(), self.by_load.last());
        let load = |at: Option<&(usize, usize)>| at.map_or(0, |(load, _)| *load);
        load(most).saturating_sub(load(least))
    }

    /// Moves a partition to its previous owner or, failing that, to the member with the fewest,
    /// if that is fairer.
    fn move_to_fewer(&mut self, index: PartitionIndex) -> bool {
        let Some(from) = self.owners.get(&index).copied() else { return false };
        let before = self.previous_owners.get(&index).map(|(_, member)| *member);
        let to = before
            .filter(|to| self.is_fairer(from, *to))
            .or_else(|| self.least_loaded(index).filter(|to| self.is_fairer(from, *to)));
        let Some(to) = to else { return false };
        let (mut index, mut from) = (index, from);
        if let Some(back) = self.moves.back(index, from, to)
            && let Some(holder) = self.owners.get(&back).copied()
            && self.is_fairer(holder, to)
        {
            (index, from) = (back, holder);
        }
        self.moves.record(index, from, to);
        self.move_to(index, to);
        true
    }

    /// Returns whether it is fairer if one partition moves.
    fn is_fairer(&self, from: usize, to: usize) -> bool {
        self.load(from) > self.load(to).saturating_add(1)
    }

    /// Returns the partitions of each member, with those of them that another member claims.
    fn assignments(self, group: &IndexedGroup<'_>) -> Vec<MemberAssignment> {
        let claims = &group.claims;
        let mut claimed_by: BTreeMap<PartitionIndex, Vec<usize>> = BTreeMap::new();
        for (member, claimed) in claims.all.iter().enumerate() {
            for index in claimed {
                claimed_by.entry(*index).or_default().push(member);
            }
        }
        let with_another = |index: &PartitionIndex, member| {
            claimed_by.get(index).is_some_and(|by| by.iter().any(|other| *other != member))
        };
        let assignments = self.held.into_iter().zip(&claims.valid).enumerate();
        let assignment = |(member, (held, valid)): (
            usize,
            (BTreeSet<PartitionIndex>, &BTreeSet<PartitionIndex>),
        )| {
            let new = held.difference(valid);
            let moving = new.filter(|index| with_another(index, member)).copied().collect();
            MemberAssignment { moving, partitions: held.into_iter().collect() }
        };
        assignments.map(assignment).collect()
    }
}

/// The moves so far.
#[derive(Default)]
struct Moves {
    last_move: BTreeMap<PartitionIndex, (usize, usize)>,
    /// The moved partitions by topic, source and target member.
    between: BTreeMap<(usize, usize, usize), BTreeSet<PartitionIndex>>,
}

impl Moves {
    /// Returns a partition of the same topic that moved the other way.
    fn back(&self, index: PartitionIndex, from: usize, to: usize) -> Option<PartitionIndex> {
        let first_from = self.last_move.get(&index).map_or(from, |(first, _)| *first);
        self.between.get(&(index.0, to, first_from))?.first().copied()
    }

    fn record(&mut self, index: PartitionIndex, from: usize, to: usize) {
        let mut first_from = from;
        if let Some((first, last)) = self.last_move.remove(&index) {
            first_from = first;
            if let Entry::Occupied(mut between) = self.between.entry((index.0, first, last)) {
                between.get_mut().remove(&index);
                if between.get().is_empty() {
                    between.remove();
                }
            }
        }
        if first_from != to {
            self.last_move.insert(index, (first_from, to));
            self.between.entry((index.0, first_from, to)).or_default().insert(index);
        }
    }
}
