//! A consumer's part in its group.
//!
//! ```text
//!        join           a generation begins       its assignment        moved out and in
//!  Out ────────▶ Joining ───────────────▶ Syncing ────────────▶ Assigned ───────────────▶ Stable
//!   ▲               ▲                        │                                              │
//!   │               └─────── rebalance ──────┴──────────────────────────────────────────────┤
//!   └────────────────────── was taken for dead: all is lost ────────────────────────────────┘
//! ```
//!
//! A step that fails leaves the state as it was, so the next poll takes it again. No step waits. A
//! poll makes all that can be made, reads what may be read meanwhile, and waits for everything at
//! once.

use crate::client::consumer::callbacks::{RebalanceEvent, guarded};
use crate::client::consumer::partition::Partition;
use crate::client::consumer::{Consumer, GroupHandle};
use crate::error::{Error, GroupError, Result};
use crate::group::assignor::{Assignments, Assignor, Member, RebalanceProtocol};
use crate::group::membership::{
    Answer, CONSUMER, Caller, Committer, Join, JoinAs, Joined, Protocol,
};
use crate::group::protocol::{Assignment, LAST_VERSION, NO_GENERATION, Subscription};
use crate::types::TopicPartition;
use crate::uuid::TopicId;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Where a consumer is on the way to its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Out,
    Joining,
    Syncing,
    /// It knows its assignment, and has not given up and taken over all that moves.
    Assigned,
    Stable,
}

/// A topic as the leader saw it when it assigned its partitions; `None` if it was not there.
type Seen = Option<(TopicId, u32)>;

/// The consumer's state of its membership.
#[derive(Debug, Default)]
pub(super) struct Membership {
    state: State,
    /// Empty if it is none.
    pub(super) id: String,
    pub(super) generation: i32,
    /// Whether it has to join again, whatever the group thinks.
    pub(super) rejoin: bool,
    /// The topics that it has told the group.
    pub(super) topics: BTreeSet<String>,
    /// Its last assignment, and the generation of that.
    last: Option<(Vec<TopicPartition>, i32)>,
    /// Whether a topic of these was not there when it took them over.
    lacks: bool,
    /// If it leads: the topics of the group when it assigned their partitions.
    leads: Option<BTreeMap<String, Seen>>,
    /// Why it can never be a member again.
    fenced: Option<GroupError>,
}

impl Membership {
    pub(super) fn generation(&self) -> i32 {
        if self.id.is_empty() { NO_GENERATION } else { self.generation }
    }
}

impl Consumer {
    /// Returns its identity for the group.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller { member_id: &self.membership.id, instance_id: self.config.instance_id.as_deref() }
    }

    /// Returns its identity for commits: that of the generation in which it read.
    pub(super) fn committer(&self) -> Committer<'_> {
        if !self.interest.is_subscription() {
            return Committer::Simple;
        }
        let (caller, generation) = (self.caller(), self.membership.generation);
        match self.membership.state {
            // What it kept as it joined again is its own, whichever generation it is.
            State::Joining | State::Syncing | State::Assigned => Committer::Holder { caller },
            State::Out | State::Stable => Committer::Member { caller, generation },
        }
    }

    fn is_member(&self) -> bool {
        !self.membership.id.is_empty()
    }

    /// Whether only what moves is given up.
    fn is_cooperative(&self) -> bool {
        let cooperative =
            |assignor: &Arc<dyn Assignor>| assignor.protocol() == RebalanceProtocol::Cooperative;
        self.config.assignors.iter().all(cooperative)
    }

    pub(super) fn begin_poll(&mut self) -> Result<()> {
        if let Some(group) = self.group.as_ref().filter(|_| self.is_member()) {
            // A consumer that is no longer a member learns that when it follows the group.
            group.coordinator.begin_poll(&group.name, self.caller())?.ok();
        }
        Ok(())
    }

    pub(super) fn end_poll(&mut self) {
        if let Some(group) = self.group.as_ref().filter(|_| self.is_member()) {
            group.coordinator.end_poll(&group.name, self.caller()).ok();
        }
    }

    /// Tells the group until when this poll may wait; returns when the group has to be looked at
    /// before.
    pub(super) fn say_waiting(&self, deadline: Option<Duration>) -> Result<Option<Duration>> {
        let Some(group) = self.group.as_ref().filter(|_| self.is_member()) else {
            return Ok(None);
        };
        let until = deadline.unwrap_or(Duration::MAX);
        group.coordinator.set_wake_time(&group.name, &self.membership.id, Some(until))
    }

    pub(super) fn say_awake(&self) {
        if let Some(group) = self.group.as_ref().filter(|_| self.is_member()) {
            group.coordinator.set_wake_time(&group.name, &self.membership.id, None).ok();
        }
    }

    /// Does all that the group waits for, as far as it goes without waiting.
    pub(super) fn follow_group(&mut self) -> Result<()> {
        if !self.interest.is_subscription() {
            self.look_for_gone();
            return Ok(());
        }
        let group = self.group_for("subscribe")?;
        if let Some(fenced) = &self.membership.fenced {
            return Err(fenced.clone().into());
        }
        self.look_at_topics()?;
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
                        Err(refusal) => self.refused(refusal)?,
                    }
                }
                State::Joining | State::Syncing => {
                    match group.coordinator.take_answer(&group.name, self.caller())? {
                        None => return Ok(()),
                        Some(Answer::Joined(joined)) => self.joined(&group, &joined)?,
                        Some(Answer::Synced(assignment)) => self.synced(&assignment),
                        Some(Answer::Refused(refusal)) => self.refused(refusal)?,
                    }
                }
                State::Assigned => self.take_over()?,
            }
        }
    }

    /// Looks again for partitions that were being reopened, if anything has changed.
    fn look_for_gone(&mut self) {
        let version = self.store.version();
        if version != self.seen_version {
            self.partitions.iter_mut().for_each(|partition| partition.gone = false);
            self.seen_version = version;
        }
    }

    /// Finds out whether topics came or went that concern it.
    fn look_at_topics(&mut self) -> Result<()> {
        let version = self.store.version();
        if version == self.seen_version {
            return Ok(());
        }
        let with_internal = !self.config.exclude_internal_topics;
        let topics = self.interest.topics(&self.store, with_internal)?;
        let seen = self.membership.leads.as_ref();
        let changed = seen.is_some_and(|seen| self.look_up(seen.keys()) != *seen);
        self.membership.rejoin |= changed || topics != self.membership.topics;
        // A topic that was away may be there again, whatever the leader makes of it.
        self.partitions.iter_mut().for_each(|partition| partition.gone = false);
        if self.membership.lacks && self.membership.state == State::Stable {
            self.membership.state = State::Assigned;
        }
        self.seen_version = version;
        Ok(())
    }

    fn look_up<'a>(&self, topics: impl Iterator<Item = &'a String>) -> BTreeMap<String, Seen> {
        let look = |name: &str| self.store.topic(name).ok();
        let seen = |name: &String| look(name).map(|topic| (topic.id(), topic.partition_count()));
        topics.map(|name| (name.clone(), seen(name))).collect()
    }

    /// Before it joins again: lets go of what it must not have in between.
    fn prepare_to_join(&mut self) -> Result<()> {
        self.auto_commit()?;
        let with_internal = !self.config.exclude_internal_topics;
        let topics = self.interest.topics(&self.store, with_internal)?;
        if !self.is_cooperative() {
            let all = self.assignment();
            self.give_up(RebalanceEvent::Revoked, &all);
        } else {
            let mut gone = self.assignment();
            gone.retain(|name| !topics.contains(&*name.topic));
            if !gone.is_empty() {
                self.give_up(RebalanceEvent::Revoked, &gone);
            }
        }
        Ok(())
    }

    pub(super) fn give_up(&mut self, what: RebalanceEvent, partitions: &[TopicPartition]) {
        self.tell_listener(what, partitions);
        self.partitions.retain(|partition| !partitions.contains(&partition.name));
    }

    fn join(&mut self, group: &GroupHandle) -> Result<()> {
        let with_internal = !self.config.exclude_internal_topics;
        let topics = self.interest.topics(&self.store, with_internal)?;
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
        let since = topics.iter().map(|topic| (topic.clone(), self.since.of(topic))).collect();
        let joined = match group.coordinator.join(&group.name, join, since, &self.bell.waker()) {
            Err(Error::Group(refusal)) => return self.refused(*refusal),
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

    /// Returns its metadata for each assignor.
    fn protocols(&self, topics: &BTreeSet<String>) -> Result<Vec<Protocol>> {
        let owned = self.assignment();
        // It says in which generation it got what it has, and it has nothing.
        let generation = if owned.is_empty() { NO_GENERATION } else { self.membership.generation };
        let last = self.membership.last.as_ref();
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

    /// A generation has begun. The leader assigns the partitions, and each asks for its own.
    fn joined(&mut self, group: &GroupHandle, joined: &Joined) -> Result<()> {
        self.membership.generation = joined.generation;
        let mut assignments = BTreeMap::new();
        self.membership.leads = None;
        if joined.leader == self.membership.id {
            match self.lead(joined) {
                Ok(assigned) => assignments = assigned,
                Err(error) => {
                    // The group waits for it. It asks to be told of all members again.
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
            Err(refusal) => self.refused(refusal),
        }
    }

    /// As the leader, returns the assignments as messages; none if the group already has its
    /// assignment.
    fn lead(&mut self, joined: &Joined) -> Result<BTreeMap<String, Bytes>> {
        let known = self.config.assignors.iter();
        let Some(assignor) = known.into_iter().find(|known| known.name() == joined.protocol) else {
            let reason = "the group has chosen an assignor that this consumer has not";
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
        let seen = self.look_up(topics.iter());
        let there: BTreeMap<String, u32> =
            seen.iter().filter_map(|(name, seen)| Some((name.clone(), (*seen)?.1))).collect();
        if joined.skip_assignment {
            // It was made by an earlier leader, or before this one came back, of the topics of
            // then.
            self.membership.rejoin |= !covers(joined, &there);
            self.membership.leads = Some(seen);
            return Ok(BTreeMap::new());
        }
        let assigned: Assignments = guarded("the assignor", || assignor.assign(&members, &there))?;
        self.membership.leads = Some(seen);
        let message = |(id, partitions)| {
            let assignment = Assignment { partitions, user_data: None };
            (id, Bytes::from(assignment.encode(LAST_VERSION).unwrap_or_default()))
        };
        Ok(assigned.into_iter().map(message).collect())
    }

    /// It knows what is its own now.
    fn synced(&mut self, assignment: &[u8]) {
        let own = Assignment::decode(assignment).unwrap_or_default().partitions;
        let own: BTreeSet<TopicPartition> = own.into_iter().collect();
        self.membership.last = Some((own.into_iter().collect(), self.membership.generation));
        self.membership.state = State::Assigned;
    }

    /// Gives up what is not its own any more, and takes over what is new.
    fn take_over(&mut self) -> Result<()> {
        let own = self.membership.last.iter().flat_map(|(own, _)| own.iter().cloned());
        let own: BTreeSet<TopicPartition> = own.collect();
        let mut moved = self.assignment();
        moved.retain(|name| !own.contains(name));
        if !moved.is_empty() {
            // No other member has them before this one joins again.
            self.auto_commit()?;
            self.give_up(RebalanceEvent::Revoked, &moved);
            self.membership.rejoin = true;
        }
        self.membership.state = State::Stable;
        self.membership.lacks = false;
        let mut added = Vec::new();
        for name in &own {
            if self.index(name).is_some() {
                continue;
            }
            match self.store.partition(&name.topic, name.partition) {
                Ok(log) => {
                    self.partitions.push(Partition::new(name.clone(), log, None, &self.bell));
                    added.push(name.clone());
                }
                // It was deleted meanwhile. One of that name may come.
                Err(_) => self.membership.lacks = true,
            }
        }
        self.tell_listener(RebalanceEvent::Assigned, &added);
        Ok(())
    }

    /// The group says no.
    fn refused(&mut self, refusal: GroupError) -> Result<()> {
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

    /// Others may have what it had.
    fn lose_all(&mut self) {
        let last = self.membership.last.take();
        self.membership = Membership { last, ..Membership::default() };
        let all = self.assignment();
        if !all.is_empty() {
            self.give_up(RebalanceEvent::Lost, &all);
        }
    }

    /// Goes: for good, or as a static member that may come back.
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

/// Whether exactly these partitions are assigned to the members of a group.
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
