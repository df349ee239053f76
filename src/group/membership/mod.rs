//! The state machine of a group: Kafka's classic group protocol, from the side of the
//! coordinator.
//!
//! A member joins with its subscription. When all members have joined, a *generation* begins: one
//! member, the leader, gets all subscriptions and assigns the partitions, and each member gets
//! its share. When a member joins or leaves, all members join again. A commit names its
//! generation, so no member commits for a partition that another member has by now.
//!
//! ```text
//!  a: join ──────────┐ wait ┌─▶ generation 1, leads ── sync {a: 0 1, b: 2} ──┬─▶ 0 1
//!  b:      join ─────┴──────┴─▶ generation 1 ───────── sync ─────────────────┴─▶ 2
//!  c:                                                                join ─ …  a, b: heartbeat ─▶ RebalanceInProgress, join …
//! ```
//!
//! [`Group`] implements this without threads and without a clock: each call gets the monotonic
//! time, and returns a [`GroupStep`] with the answers to members. The answer to a join or a sync
//! comes with the same step or a later one. A member waits for one answer at a time, and a valid
//! call replaces an earlier one. Between calls, [`Group::tick`] does the work that is due at
//! [`Group::next_deadline`]. Each call does this work first, so a late tick does no harm.
//!
//! A member stays as long as it meets one condition:
//!
//! | member | condition |
//! |---|---|
//! | of another process | sends heartbeats, at least one per session timeout, or waits for an answer |
//! | of this process | polls, and begins the next poll within the longest poll interval |
//! | static, of this process | the same, with its session timeout in addition if it does not poll or was [detached](Group::detach) |
//!
//! A static member has an instance id. A consumer that joins with that id replaces the member,
//! under a new member id. The other members must join again only if the metadata differ.
//!
//! # Differences from Kafka
//!
//! - If a static member comes back with other metadata under the protocol in use, all members
//!   join again. In Kafka, they do so only if another protocol would be chosen.
//! - A join and a sync count as heartbeats in every state of the group, and the timeouts of each
//!   join apply from then on.
//! - When the leader leaves, the oldest member becomes the leader. If two protocols have the same
//!   number of votes, the leader's preference decides. Kafka chooses any.
//! - If all members leave during the initial wait of a group, it accepts members of another
//!   protocol type.
//! - A member that keeps its partitions while it joins again may commit for them under either
//!   generation, even while the next one waits for its assignment. Kafka rejects the commit, and
//!   the records are read again.
//! - A member gets its id with its first join. In Kafka, clients of other processes join twice
//!   for it.
//! - If a new member stops waiting for its first generation, its consumer removes it. Kafka does
//!   so after five minutes.

mod config;
mod effects;
mod member;
mod rebalance;
mod request;
mod snapshot;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use crate::error::GroupError;
pub(crate) use config::GroupConfig;
pub(crate) use effects::{Answer, Changes, GroupStep, Joined, JoinedMember, Removal};
pub(crate) use request::{Caller, Committer, Join, JoinAs, Protocol};
pub(crate) use snapshot::CONSUMER;
pub use state::GroupState;

use bytes::Bytes;
use member::{Awaits, GroupMember};
use state::Phase;
use std::collections::BTreeMap;
use std::time::Duration;

/// A group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    config: GroupConfig,
    phase: Phase,
    generation: i32,
    protocol_type: Option<String>,
    /// The assignor in use in this generation.
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, GroupMember>,
    /// The member ids of static members, by instance id.
    instances: BTreeMap<String, String>,
    /// The number of members that have joined so far.
    joined_count: u64,
}

impl Group {
    pub(crate) fn new(config: GroupConfig) -> Group {
        Group {
            config,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            joined_count: 0,
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        self.phase.state()
    }

    /// Returns the generation. It rises each time that members have joined or all have left.
    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    /// Returns the state and the generation. If a step changes them, members may have to join
    /// again.
    pub(crate) fn state_and_generation(&self) -> (GroupState, i32) {
        (self.state(), self.generation)
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(crate) fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    /// Returns the ids of its members, in order.
    pub(crate) fn member_ids(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Returns the metadata of each member under the protocol of this generation, by member id.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = (&str, Bytes)> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.members.iter().map(move |(id, member)| (id.as_str(), member.metadata(protocol)))
    }

    /// Does the work that is due.
    pub(crate) fn tick(&mut self, now: Duration) -> Changes {
        self.step(now, |_, _| Ok(())).changes
    }

    /// Returns when a [`tick`](Group::tick) is due next.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let own = self.phase.until();
        let members = self.members.values();
        members
            .flat_map(|member| [member.session_end(), member.poll_end()])
            .flatten()
            .chain(own)
            .min()
    }

    /// Lets a member join. The caller waits for [`Answer::Joined`] under the returned member id.
    pub(crate) fn join(&mut self, join: Join, now: Duration) -> GroupStep<String> {
        self.step(now, |group, changes| {
            group.check_join(&join)?;
            let replaced =
                join.instance_id.as_ref().and_then(|id| group.instances.get(id)).cloned();
            match (join.member.clone(), replaced) {
                (JoinAs::Known(id), _) => group.join_again(id, join, now, changes),
                (JoinAs::New(id), Some(replaced)) => {
                    group.replace(&replaced, id, join, now, changes)
                }
                (JoinAs::New(id), None) => group.add(id, join, now, changes),
            }
        })
    }

    /// Asks for the caller's assignment. The caller waits for [`Answer::Synced`]. If it is the
    /// leader, it passes the assignments of all members.
    pub(crate) fn sync(
        &mut self,
        caller: Caller<'_>,
        generation: i32,
        assignments: BTreeMap<String, Bytes>,
        now: Duration,
    ) -> GroupStep<()> {
        self.step(now, |group, changes| {
            group.check_member(caller, generation)?;
            match group.phase {
                Phase::Preparing(_) => return Err(GroupError::RebalanceInProgress),
                Phase::Completing { .. } if group.leader() == Some(caller.member_id) => {
                    group.assign(assignments);
                    changes.store = true;
                }
                _ => {}
            }
            if let Some(member) = group.members.get_mut(caller.member_id) {
                member.awaits = Awaits::Sync;
                member.synced = true;
            }
            group.answer_syncs(now, changes);
            Ok(())
        })
    }

    /// Extends the caller's session.
    pub(crate) fn heartbeat(
        &mut self,
        caller: Caller<'_>,
        generation: i32,
        now: Duration,
    ) -> GroupStep<()> {
        self.step(now, |group, _| {
            let preparing = matches!(group.phase, Phase::Preparing(_));
            group.check_member(caller, generation)?.heartbeat(now);
            if preparing { Err(GroupError::RebalanceInProgress) } else { Ok(()) }
        })
    }

    /// Begins a poll of the caller. Until it ends, the caller has no deadline.
    pub(crate) fn begin_poll(&mut self, caller: Caller<'_>, now: Duration) -> GroupStep<()> {
        self.step(now, |group, _| group.member(caller).map(|member| member.begin_poll(now)))
    }

    /// Ends a poll of the caller. The next one must begin within the longest poll interval.
    pub(crate) fn end_poll(&mut self, caller: Caller<'_>, now: Duration) -> GroupStep<()> {
        self.step(now, |group, _| group.member(caller).map(|member| member.end_poll(now)))
    }

    /// Records that no consumer holds the caller any more. Its session continues, because it may
    /// come back.
    pub(crate) fn detach(&mut self, caller: Caller<'_>, now: Duration) -> GroupStep<()> {
        self.step(now, |group, _| group.member(caller).map(|member| member.detach(now)))
    }

    /// Removes the caller.
    pub(crate) fn leave(&mut self, caller: Caller<'_>, now: Duration) -> GroupStep<()> {
        self.step(now, |group, changes| {
            group.member(caller)?;
            group.remove(caller.member_id, Removal::Left, changes);
            group.rebalance_after_removal(now, changes);
            Ok(())
        })
    }

    /// Removes the member with this instance id.
    pub(crate) fn leave_instance(&mut self, instance_id: &str, now: Duration) -> GroupStep<()> {
        self.step(now, |group, changes| {
            group.check_alive()?;
            let Some(id) = group.instances.get(instance_id).cloned() else {
                return Err(GroupError::UnknownMemberId { member_id: instance_id.to_owned() });
            };
            group.remove(&id, Removal::Left, changes);
            group.rebalance_after_removal(now, changes);
            Ok(())
        })
    }

    /// Fails if the caller may not commit offsets. A successful check counts as a heartbeat.
    ///
    /// A commit in a transaction may come from a committer that is not a member, even if the
    /// group has members. It is also accepted while a generation waits for its assignment.
    pub(crate) fn check_commit(
        &mut self,
        committer: Committer<'_>,
        transactional: bool,
        now: Duration,
    ) -> GroupStep<()> {
        self.step(now, |group, _| {
            group.check_alive()?;
            let completing = matches!(group.phase, Phase::Completing { .. });
            match committer {
                Committer::Simple if group.phase == Phase::Empty || transactional => {}
                Committer::Simple => {
                    return Err(GroupError::UnknownMemberId { member_id: String::new() });
                }
                Committer::Member { caller, generation } => {
                    group.check_member(caller, generation)?.heartbeat(now);
                }
                Committer::Holder { caller } => {
                    group.member(caller)?.heartbeat(now);
                    return Ok(());
                }
            }
            if completing && !transactional {
                return Err(GroupError::RebalanceInProgress);
            }
            Ok(())
        })
    }

    /// Makes all members join again, because their assignment could not be stored or topics have
    /// changed.
    pub(crate) fn rebalance(&mut self, now: Duration) -> Changes {
        let step = self.step(now, |group, changes| {
            if matches!(group.phase, Phase::Completing { .. } | Phase::Stable { .. }) {
                group.prepare(now, changes);
            }
            Ok(())
        });
        step.changes
    }

    /// Marks the group as dead if it has no members.
    pub(crate) fn delete(&mut self, name: &str, now: Duration) -> GroupStep<()> {
        self.step(now, |group, _| {
            group.check_alive()?;
            if group.phase != Phase::Empty {
                return Err(GroupError::NonEmptyGroup { group: name.to_owned() });
            }
            group.phase = Phase::Dead;
            Ok(())
        })
    }

    /// Does the work that is due, then the call, then the work that became due with the call.
    fn step<T>(
        &mut self,
        now: Duration,
        call: impl FnOnce(&mut Group, &mut Changes) -> Result<T, GroupError>,
    ) -> GroupStep<T> {
        let mut changes = Changes::default();
        self.advance(now, &mut changes);
        let result = call(self, &mut changes);
        self.advance(now, &mut changes);
        changes.next_deadline = self.next_deadline();
        GroupStep { result, changes }
    }

    fn check_alive(&self) -> Result<(), GroupError> {
        let dead = self.phase == Phase::Dead;
        if dead { Err(GroupError::CoordinatorNotAvailable) } else { Ok(()) }
    }

    /// Returns the calling member. Fails if it is unknown, or if another member has its instance
    /// id.
    fn member(&mut self, caller: Caller<'_>) -> Result<&mut GroupMember, GroupError> {
        self.check_alive()?;
        let Caller { member_id, instance_id } = caller;
        let unknown = || GroupError::UnknownMemberId { member_id: member_id.to_owned() };
        if let Some(instance_id) = instance_id {
            let owner = self.instances.get(instance_id).ok_or_else(unknown)?;
            if owner != member_id {
                return Err(GroupError::FencedInstanceId { instance_id: instance_id.to_owned() });
            }
        }
        self.members.get_mut(member_id).ok_or_else(unknown)
    }

    /// Returns the calling member. Also fails if it names another generation.
    fn check_member(
        &mut self,
        caller: Caller<'_>,
        generation: i32,
    ) -> Result<&mut GroupMember, GroupError> {
        let current = self.generation;
        let member = self.member(caller)?;
        if generation != current {
            return Err(GroupError::IllegalGeneration { given: generation, current });
        }
        Ok(member)
    }
}
