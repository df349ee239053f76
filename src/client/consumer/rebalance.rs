//! The steps of a consumer with its group: joining, leading, syncing, applying the assignment.
//!
//! A step that fails leaves the state as it was, so the next poll retries it. No step waits. A
//! poll takes all steps that are possible, reads the records that it may read meanwhile, and waits
//! for everything at once.

use crate::client::consumer::callbacks::{
    RebalanceActions, RebalanceContext, RebalanceEvent, guarded,
};
use crate::client::consumer::membership::{Membership, SeenTopic, State};
use crate::client::consumer::partition::Partition;
use crate::client::consumer::{Consumer, GroupHandle};
use crate::error::{Error, GroupError, Result};
use crate::group::assignor::{Assignments, Assignor, Member, RebalanceProtocol};
use crate::group::membership::{
    Answer, CONSUMER, Caller, Committer, Join, JoinAs, Joined, Protocol,
};
use crate::group::offsets::OffsetAndMetadata;
use crate::group::protocol::{Assignment, LAST_VERSION, NO_GENERATION, Subscription};
use crate::types::{Offset, StartAt, TopicPartition};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

impl Consumer {
    /// Returns the identity of the consumer for its group.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller { member_id: &self.membership.id, instance_id: self.config.instance_id.as_deref() }
    }

    /// Returns the identity of the consumer for commits, in the generation in which it has read.
    pub(super) fn committer(&self) -> Committer<'_> {
        if !self.subscription.is_subscription() {
            return Committer::Simple;
        }
        let (caller, generation) = (self.caller(), self.membership.generation);
        match self.membership.state {
            // The partitions that it kept while it joins again are its own in any generation.
            State::Joining | State::Syncing | State::Assigned => Committer::Holder { caller },
            State::Out | State::Stable => Committer::Member { caller, generation },
        }
    }

    fn is_member(&self) -> bool {
        !self.membership.id.is_empty()
    }

    /// Returns whether a rebalance revokes only the partitions that move.
    fn is_cooperative(&self) -> bool {
        let cooperative =
            |assignor: &Arc<dyn Assignor>| assignor.protocol() == RebalanceProtocol::Cooperative;
        self.config.assignors.iter().all(cooperative)
    }

    /// Tells the group that a poll begins, so that it does not count as hanging.
    pub(super) fn begin_poll(&mut self) -> Result<()> {
        if let Some(group) = self.group.as_ref().filter(|_| self.is_member()) {
            // A consumer that is no longer a member learns that from its next step.
            group.coordinator.begin_poll(&group.name, self.caller())?.ok();
        }
        Ok(())
    }

    /// Tells the group that a poll ends: the time until the next one counts from now.
    pub(super) fn end_poll(&mut self) {
        if let Some(group) = self.group.as_ref().filter(|_| self.is_member()) {
            group.coordinator.end_poll(&group.name, self.caller()).ok();
        }
    }

    /// Tells the group how long this poll may wait; returns the time at which the poll must take
    /// its next step, if that is earlier.
    pub(super) fn announce_wait(&self, deadline: Option<Duration>) -> Result<Option<Duration>> {
        let Some(group) = self.group.as_ref().filter(|_| self.is_member()) else {
            return Ok(None);
        };
        let until = deadline.unwrap_or(Duration::MAX);
        group.coordinator.set_wake_time(&group.name, &self.membership.id, Some(until))
    }

    /// Tells the group that this poll no longer waits.
    pub(super) fn end_wait(&self) {
        if let Some(group) = self.group.as_ref().filter(|_| self.is_member()) {
            group.coordinator.set_wake_time(&group.name, &self.membership.id, None).ok();
        }
    }

    /// Takes the steps that the group waits for, as far as possible without waiting.
    pub(super) fn advance_membership(&mut self) -> Result<()> {
        if !self.subscription.is_subscription() {
            self.retry_unavailable();
            return Ok(());
        }
        let group = self.group_for("subscribe")?;
        if let Some(fenced) = &self.membership.fenced {
            return Err(fenced.clone().into());
        }
        self.check_topics()?;
        loop {
            if let Some(panicked) = self.panicked.take() {
                return Err(panicked.into());
            }
            match self.membership.state {
                State::Out => self.join(&group)?,
                State::Stable if self.membership.rejoin => {
                    self.prepare_to_join()?;
                    self.join(&group)?;
                }
                State::Stable => {
                    let (caller, generation) = (self.caller(), self.membership.generation);
                    match group.coordinator.heartbeat(&group.name, caller, generation)? {
                        Ok(()) => return Ok(()),
                        Err(refusal) => self.handle_group_error(refusal)?,
                    }
                }
                State::Joining | State::Syncing => {
                    match group.coordinator.take_answer(&group.name, self.caller())? {
                        None => return Ok(()),
                        Some(Answer::Joined(joined)) => self.joined(&group, &joined)?,
                        Some(Answer::Synced(assignment)) => self.synced(&assignment),
                        Some(Answer::Refused(refusal)) => self.handle_group_error(refusal)?,
                    }
                }
                State::Assigned => self.apply_assignment()?,
            }
        }
    }

    /// Makes unavailable partitions be looked up again, if topics or logs have changed.
    fn retry_unavailable(&mut self) {
        let version = self.store.version();
        if version != self.seen_version {
            self.partitions.iter_mut().for_each(|partition| partition.unavailable = false);
            self.seen_version = version;
        }
    }

    /// Checks whether topics of the subscription, or of the group it leads, were created, deleted
    /// or given partitions.
    fn check_topics(&mut self) -> Result<()> {
        let version = self.store.version();
        if version == self.seen_version {
            return Ok(());
        }
        let with_internal = !self.config.exclude_internal_topics;
        let topics = self.subscription.topics(&self.store, with_internal)?;
        let seen = self.membership.leader_topics.as_ref();
        let changed = seen.is_some_and(|seen| self.see_topics(seen.keys()) != *seen);
        self.membership.rejoin |= changed || topics != self.membership.topics;
        // A deleted topic may exist again, whether or not the leader assigns it anew.
        self.partitions.iter_mut().for_each(|partition| partition.unavailable = false);
        if self.membership.misses_topics && self.membership.state == State::Stable {
            self.membership.state = State::Assigned;
        }
        self.seen_version = version;
        Ok(())
    }

    fn see_topics<'a>(
        &self,
        topics: impl Iterator<Item = &'a String>,
    ) -> BTreeMap<String, SeenTopic> {
        let look = |name: &str| self.store.topic(name).ok();
        let seen = |name: &String| look(name).map(|topic| (topic.id(), topic.partition_count()));
        topics.map(|name| (name.clone(), seen(name))).collect()
    }

    /// Commits the positions, and revokes the partitions that the consumer must not keep while it
    /// joins again.
    fn prepare_to_join(&mut self) -> Result<()> {
        self.auto_commit()?;
        let with_internal = !self.config.exclude_internal_topics;
        let topics = self.subscription.topics(&self.store, with_internal)?;
        if !self.is_cooperative() {
            let all = self.assignment();
            self.release_partitions(RebalanceEvent::Revoked, &all);
        } else {
            let mut unsubscribed = self.assignment();
            unsubscribed.retain(|name| !topics.contains(&*name.topic));
            if !unsubscribed.is_empty() {
                self.release_partitions(RebalanceEvent::Revoked, &unsubscribed);
            }
        }
        Ok(())
    }

    /// Calls the listener, if there is one. The field is `None` while the listener runs.
    fn call_listener(&mut self, event: RebalanceEvent, partitions: &[TopicPartition]) {
        let Some(mut listener) = self.listener.take() else { return };
        let called = event.call(&mut *listener, &mut RebalanceContext::new(self), partitions);
        self.listener = Some(listener);
        if let Err(panicked) = called {
            self.panicked.get_or_insert(panicked);
        }
    }

    /// Calls the listener for these partitions, and removes them.
    pub(super) fn release_partitions(
        &mut self,
        what: RebalanceEvent,
        partitions: &[TopicPartition],
    ) {
        self.call_listener(what, partitions);
        self.partitions.retain(|partition| !partitions.contains(&partition.name));
    }

    fn join(&mut self, group: &GroupHandle) -> Result<()> {
        let with_internal = !self.config.exclude_internal_topics;
        let topics = self.subscription.topics(&self.store, with_internal)?;
        let join = Join {
            member: match self.is_member() {
                true => JoinAs::Known(self.membership.id.clone()),
                false => JoinAs::New(self.config.client_id.clone()),
            },
            instance_id: self.config.instance_id.clone(),
            client_id: self.config.client_id.clone(),
            client_host: "/127.0.0.1".to_owned(),
            protocol_type: CONSUMER.to_owned(),
            protocols: self.protocols(&topics)?,
            session_timeout: self.config.session_timeout,
            rebalance_timeout: self.config.max_poll_interval,
            max_poll_interval: Some(self.config.max_poll_interval),
        };
        let since = topics.iter().map(|topic| (topic.clone(), self.since.get(topic))).collect();
        let joined = match group.coordinator.join(&group.name, join, since, &self.wakeup.waker()) {
            Err(Error::Group(refusal)) => return self.handle_group_error(*refusal),
            joined => joined,
        };
        let (id, stored) = joined?;
        self.membership.id = id;
        self.membership.rejoin = false;
        self.membership.topics = topics;
        self.membership.state = State::Joining;
        stored?;
        self.begin_poll()
    }

    /// Returns the metadata of this member for each assignor.
    fn protocols(&self, topics: &BTreeSet<String>) -> Result<Vec<Protocol>> {
        let owned = self.assignment();
        // The generation is that in which it got the partitions it owns. Without any there is
        // none.
        let generation = if owned.is_empty() { NO_GENERATION } else { self.membership.generation };
        let last = self.membership.last_assignment.as_ref();
        let last = last.map(|(partitions, generation)| (partitions.as_slice(), *generation));
        let protocol = |assignor: &Arc<dyn Assignor>| {
            let subscription = Subscription {
                topics: topics.iter().cloned().collect(),
                user_data: guarded("the assignor", || assignor.user_data(last))?,
                owned: owned.clone(),
                generation,
                rack: None,
            };
            let metadata = subscription.encode(LAST_VERSION).unwrap_or_default();
            Ok(Protocol { name: assignor.name().to_owned(), metadata: metadata.into() })
        };
        self.config.assignors.iter().map(protocol).collect()
    }

    /// Begins a generation. The leader assigns the partitions; each member asks for its own.
    fn joined(&mut self, group: &GroupHandle, joined: &Joined) -> Result<()> {
        self.membership.generation = joined.generation;
        let mut assignments = BTreeMap::new();
        self.membership.leader_topics = None;
        if joined.leader == self.membership.id {
            match self.lead(joined) {
                Ok(assigned) => assignments = assigned,
                Err(error) => {
                    // The group waits for its leader: join again, to get all members once more.
                    self.membership.state = State::Stable;
                    self.membership.rejoin = true;
                    return Err(error);
                }
            }
        }
        self.membership.state = State::Syncing;
        let (caller, generation) = (self.caller(), joined.generation);
        match group.coordinator.sync(&group.name, caller, generation, assignments)? {
            Ok(()) => Ok(()),
            Err(refusal) => self.handle_group_error(refusal),
        }
    }

    /// Assigns the partitions as the leader, and returns the assignments as messages; none if the
    /// group keeps the assignment that it has.
    fn lead(&mut self, joined: &Joined) -> Result<BTreeMap<String, Bytes>> {
        let known = self.config.assignors.iter();
        let Some(assignor) = known.into_iter().find(|known| known.name() == joined.protocol) else {
            let reason = "the group has chosen an assignor that this consumer does not have";
            return Err(GroupError::InconsistentGroupProtocol { reason }.into());
        };
        let mut members = BTreeMap::new();
        for member in &joined.members {
            let subscription = Subscription::decode(&member.metadata).unwrap_or_default();
            let instance_id = member.instance_id.clone();
            let seen = guarded("the assignor", || assignor.member(subscription))?;
            members.insert(member.member_id.clone(), Member { instance_id, ..seen });
        }
        let topics: BTreeSet<String> =
            members.values().flat_map(|member| member.topics.iter().cloned()).collect();
        let seen = self.see_topics(topics.iter());
        let there: BTreeMap<String, u32> =
            seen.iter().filter_map(|(name, seen)| Some((name.clone(), (*seen)?.1))).collect();
        if joined.skip_assignment {
            // An earlier leader, or this one before it came back, has assigned the topics of then.
            self.membership.rejoin |= !covers(joined, &there);
            self.membership.leader_topics = Some(seen);
            return Ok(BTreeMap::new());
        }
        let assigned: Assignments = guarded("the assignor", || assignor.assign(&members, &there))?;
        self.membership.leader_topics = Some(seen);
        let message = |(id, partitions)| {
            let assignment = Assignment { partitions, user_data: None };
            (id, Bytes::from(assignment.encode(LAST_VERSION).unwrap_or_default()))
        };
        Ok(assigned.into_iter().map(message).collect())
    }

    /// Stores the assignment of this member.
    fn synced(&mut self, assignment: &[u8]) {
        let own = Assignment::decode(assignment).unwrap_or_default().partitions;
        let own: BTreeSet<TopicPartition> = own.into_iter().collect();
        self.membership.last_assignment =
            Some((own.into_iter().collect(), self.membership.generation));
        self.membership.state = State::Assigned;
    }

    /// Revokes the partitions that are no longer its own, and adds the new ones.
    fn apply_assignment(&mut self) -> Result<()> {
        let own = self.membership.last_assignment.iter().flat_map(|(own, _)| own.iter().cloned());
        let own: BTreeSet<TopicPartition> = own.collect();
        let mut moved = self.assignment();
        moved.retain(|name| !own.contains(name));
        if !moved.is_empty() {
            // No other member gets them before this one joins again.
            self.auto_commit()?;
            self.release_partitions(RebalanceEvent::Revoked, &moved);
            self.membership.rejoin = true;
        }
        self.membership.state = State::Stable;
        self.membership.misses_topics = false;
        let mut added = Vec::new();
        for name in &own {
            if self.index(name).is_some() {
                continue;
            }
            match self.store.partition(&name.topic, name.partition) {
                Ok(log) => {
                    let level = self.config.isolation_level;
                    let partition = Partition::new(name.clone(), log, None, level, &self.wakeup);
                    self.partitions.push(partition);
                    added.push(name.clone());
                }
                // It was deleted meanwhile. A topic of that name may be created again.
                Err(_) => self.membership.misses_topics = true,
            }
        }
        self.call_listener(RebalanceEvent::Assigned, &added);
        Ok(())
    }

    /// Joins again, or fails, after the group has rejected a call.
    fn handle_group_error(&mut self, refusal: GroupError) -> Result<()> {
        match refusal {
            GroupError::RebalanceInProgress => {
                self.membership.state = State::Stable;
                self.membership.rejoin = true;
                Ok(())
            }
            GroupError::UnknownMemberId { .. } | GroupError::IllegalGeneration { .. } => {
                self.lose_all();
                Ok(())
            }
            GroupError::FencedInstanceId { .. } => {
                self.lose_all();
                self.membership.fenced = Some(refusal.clone());
                Err(refusal.into())
            }
            other => Err(other.into()),
        }
    }

    /// Gives up the membership and all partitions: other members may have them already.
    fn lose_all(&mut self) {
        let last_assignment = self.membership.last_assignment.take();
        self.membership = Membership { last_assignment, ..Membership::default() };
        let all = self.assignment();
        if !all.is_empty() {
            self.release_partitions(RebalanceEvent::Lost, &all);
        }
    }

    /// Leaves the group, or detaches from it as a static member that may come back.
    pub(super) fn leave(&mut self) -> Result<()> {
        let left = match self.group.as_ref().filter(|_| self.is_member()) {
            None => Ok(()),
            Some(group) if self.config.instance_id.is_some() => {
                group.coordinator.detach(&group.name, self.caller()).map(|_| ())
            }
            Some(group) => group.coordinator.leave(&group.name, self.caller()).map(|_| ()),
        };
        self.membership = Membership::default();
        left
    }
}

impl RebalanceActions for Consumer {
    fn commit(&mut self) -> Result<()> {
        Consumer::commit(self)
    }

    fn commit_offsets(
        &mut self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<()> {
        Consumer::commit_offsets(self, offsets)
    }

    fn seek(&mut self, partition: &TopicPartition, to: StartAt) -> Result<()> {
        Consumer::seek(self, partition, to)
    }

    fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        Consumer::position(self, partition)
    }

    fn committed(&self, partition: &TopicPartition) -> Result<Option<OffsetAndMetadata>> {
        Consumer::committed(self, partition)
    }

    fn pause(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        Consumer::pause(self, partitions)
    }
}

/// Returns whether the members have exactly the partitions of these topics.
fn covers(joined: &Joined, topics: &BTreeMap<String, u32>) -> bool {
    let assigned = joined
        .members
        .iter()
        .flat_map(|member| Assignment::decode(&member.assignment).unwrap_or_default().partitions);
    let assigned: BTreeSet<TopicPartition> = assigned.collect();
    let there = topics.iter().flat_map(|(name, count)| {
        (0..*count).map(|number| TopicPartition::new(name.as_str(), number))
    });
    there.collect::<BTreeSet<_>>() == assigned
}
