//! Ending the transactions that are due: those that have timed out, whose process has ended, or
//! that are decided and were not completed.
//!
//! After a crash there may be many. Their records are stored in batches, and a round of them syncs
//! each partition once: one by one, each would wait for the syncs of its own.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::group::state_partitions::StatePartition;
use crate::sync::atomic::Ordering;
use crate::topic_name::TRANSACTION_STATE;
use crate::transaction::coordinator::{Completion, Coordinator};
use crate::transaction::shard::{Claimed, Shard, Step};
use crate::types::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The most transactions of a round. Calls for their ids wait until the round has completed them.
const MAX_TRANSACTIONS: usize = 10_000;

/// The transactions of a round.
#[derive(Default)]
struct Round<'a> {
    members: Vec<Member<'a>>,
    groups: usize,
    /// The ids that are ended by themselves, after the round.
    alone: Vec<Arc<str>>,
    /// Whether something is left, because a partition is offline, or the disk is full.
    has_failed: bool,
}

/// A decided transaction.
struct Member<'a> {
    completion: Completion<'a>,
    /// The partition of `__transaction_state` that its id belongs to.
    state: &'a StatePartition<Shard>,
    /// The number of the transactions whose records are one batch.
    group: usize,
    is_left: bool,
}

impl Member<'_> {
    fn claimed(&self) -> &Claimed {
        &self.completion.claimed
    }
}

impl Coordinator {
    /// Aborts transactions that have timed out, and completes decided ones that no thread
    /// completes. Returns the time until the next one is due, if there is any.
    pub(crate) fn tick(&self) -> Option<Duration> {
        self.next_due.store(u64::MAX, Ordering::Relaxed);
        let (mut next, mut round) = (None::<Duration>, Round::default());
        for state in self.partitions.iter() {
            let due = self.partitions.with_loaded_shard(state, &self.config, |shard, now| {
                Ok(shard.due(&self.config, now))
            });
            let (groups, until) = match due {
                Ok(Some(due)) => due,
                Ok(None) => continue,
                Err(_) => {
                    round.has_failed = true;
                    continue;
                }
            };
            next = next.into_iter().chain(until).min();
            for ids in groups {
                self.decide(&mut round, state, ids);
                if round.members.len() >= MAX_TRANSACTIONS {
                    self.complete_round(&mut round);
                }
            }
        }
        self.complete_round(&mut round);
        if round.has_failed {
            let again = self.config.abort_check_interval;
            next = Some(next.map_or(again, |next| next.min(again)));
        }
        if let Some(left) = next {
            self.is_due_at(self.partitions.clock().monotonic().saturating_add(left));
        }
        next
    }

    /// Decides the transactions of these ids, and takes them into the round.
    fn decide<'a>(
        &'a self,
        round: &mut Round<'a>,
        state: &'a StatePartition<Shard>,
        ids: Vec<Arc<str>>,
    ) {
        // If the aborts cannot be stored, those that are decided already get their markers.
        let mut aborted = Ok(());
        let decided = self.with_partition(state, |shard, now| {
            aborted = shard.abort_all_due(&ids, &self.config, now);
            Ok(shard.claim_all(&ids))
        });
        let Ok(decided) = decided else {
            round.has_failed = true;
            return;
        };
        round.groups = round.groups.saturating_add(1);
        let group = round.groups;
        let member = |claimed| {
            let completion = Completion { coordinator: self, claimed };
            Member { completion, state, group, is_left: false }
        };
        let before = round.members.len();
        round.members.extend(decided.into_iter().map(member));
        let mut taken = round.members.iter().skip(before).peekable();
        let is_left =
            |id: &&Arc<str>| taken.next_if(|member| member.claimed().id == **id).is_none();
        let left: Vec<_> = ids.iter().filter(is_left).cloned().collect();
        match aborted {
            Ok(()) => round.alone.extend(left),
            // The topic was altered so that it takes smaller batches.
            Err(Error::BatchTooLarge { .. }) if ids.len() > 1 => round.alone.extend(left),
            Err(_) => round.has_failed = true,
        }
    }

    /// Completes the transactions of a round.
    fn complete_round(&self, round: &mut Round<'_>) {
        let mut members = std::mem::take(&mut round.members);
        self.flush_decisions(&mut members);
        self.write_all_markers(&mut members);
        for group in members.chunk_by_mut(|one, other| one.group == other.group) {
            self.store_completions(group);
        }
        round.has_failed |= members.iter().any(|member| member.is_left);
        drop(members);
        for id in std::mem::take(&mut round.alone) {
            round.has_failed |= self.end_due(&id).is_err();
        }
    }

    /// Makes the decisions durable.
    fn flush_decisions(&self, members: &mut [Member<'_>]) {
        let mut decisions = BTreeMap::<u32, Offset>::new();
        for member in &*members {
            let last = decisions.entry(member.state.number).or_default();
            *last = member.claimed().decided_at.max(*last);
        }
        for (number, last) in decisions {
            let mut of_state = members.iter_mut().filter(|member| member.state.number == number);
            let Some(first) = of_state.next() else { continue };
            let log = self.partitions.log(first.state);
            if let Err(error) = log.and_then(|log| log.flush_through(last)) {
                let at = TopicPartition::new(TRANSACTION_STATE, number);
                self.leave([first].into_iter().chain(of_state), &at, &error);
            }
        }
    }

    /// Writes the markers, and makes those of a partition durable together.
    fn write_all_markers(&self, members: &mut [Member<'_>]) {
        let mut epochs = BTreeMap::<u32, i32>::new();
        let mut partitions = BTreeMap::<TopicPartition, Vec<usize>>::new();
        for (index, member) in members.iter().enumerate().filter(|(_, member)| !member.is_left) {
            let number = member.state.number;
            epochs.entry(number).or_insert_with(|| self.participants.coordinator_epoch(number));
            for at in &member.claimed().producer.stored.partitions {
                partitions.entry(at.clone()).or_default().push(index);
            }
        }
        for (at, indexes) in &partitions {
            for index in indexes {
                let Some(member) = members.get_mut(*index) else { continue };
                let epoch = epochs.get(&member.state.number).copied().unwrap_or(0);
                let marker = member.claimed().producer.marker(epoch);
                if let Err(error) = self.write_marker(member.claimed(), at, marker) {
                    self.leave([member], at, &error);
                }
            }
        }
        // Readers that wait for the markers have all of them by now.
        for (at, indexes) in partitions {
            if let Err(error) = self.participants.flush(&at) {
                let of_partition = members.iter_mut().enumerate();
                let of_partition =
                    of_partition.filter(|(index, _)| indexes.binary_search(index).is_ok());
                self.leave(of_partition.map(|(_, member)| member), &at, &error);
            }
        }
    }

    /// Stores that transactions are complete. Their records are one batch.
    fn store_completions(&self, group: &mut [Member<'_>]) {
        let Some(first) = group.first() else { return };
        let state = first.state;
        let done: Vec<&Claimed> =
            group.iter().filter(|member| !member.is_left).map(Member::claimed).collect();
        let store =
            |done: &[&Claimed]| self.with_partition(state, |shard, now| shard.complete(done, now));
        let stored = match store(&done) {
            Err(Error::BatchTooLarge { .. }) => done.chunks(1).try_for_each(store),
            stored => stored,
        };
        if let Err(error) = stored {
            let at = TopicPartition::new(TRANSACTION_STATE, state.number);
            self.leave(group, &at, &error);
        }
    }

    /// Leaves transactions to the next tick, or to a call for their ids.
    fn leave<'m, 'a: 'm>(
        &self,
        members: impl IntoIterator<Item = &'m mut Member<'a>>,
        at: &TopicPartition,
        error: &Error,
    ) {
        for member in members.into_iter().filter(|member| !member.is_left) {
            member.is_left = true;
            let (id, error) = (member.claimed().id.as_ref().to_owned(), error.to_string());
            self.events.emit(&Event::MarkerDelayed { id, partition: at.clone(), error });
        }
    }

    /// Aborts or completes the transaction of an id, if that is due.
    fn end_due(&self, id: &str) -> Result<()> {
        let mut new_id = None;
        loop {
            let step =
                self.with_shard(id, |shard, now| shard.end_due(id, &self.config, new_id, now))?;
            match step {
                Some(Step::NeedsProducerId) => new_id = Some(self.participants.new_producer_id()?),
                Some(Step::Decided(claimed) | Step::Complete(claimed)) => {
                    return self.complete(claimed, true).map(drop);
                }
                _ => return Ok(()),
            }
        }
    }
}
