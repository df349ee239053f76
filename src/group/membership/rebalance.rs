//! The transitions of a group from one generation to the next.

use super::member::{Awaits, GroupMember};
use super::state::{Phase, Preparing};
use super::{Answer, Caller, Changes, Group, GroupError, Join, Joined, JoinedMember, Removal};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The shortest wait for members, so that time always advances.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

impl Group {
    /// Fails if a member may not join with these options.
    pub(super) fn check_join(&self, join: &Join) -> Result<(), GroupError> {
        self.check_alive()?;
        self.config.check_session_timeout(join.session_timeout)?;
        let differs = |reason| Err(GroupError::InconsistentGroupProtocol { reason });
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return differs("it has no protocol type or no protocols");
        }
        if self.members.is_empty() {
            return Ok(());
        }
        if self.protocol_type.as_ref() != Some(&join.protocol_type) {
            return differs("its protocol type differs from that of the group");
        }
        let candidates = self.common_protocols();
        if !join.protocols.iter().any(|protocol| candidates.contains(protocol.name.as_str())) {
            return differs("no protocol is supported by all members");
        }
        Ok(())
    }

    /// Adds a new member.
    pub(super) fn add(
        &mut self,
        id: String,
        join: Join,
        now: Duration,
        changes: &mut Changes,
    ) -> Result<String, GroupError> {
        let limit = self.config.max_members;
        if self.members.len() >= limit {
            return Err(GroupError::GroupMaxSizeReached { limit });
        }
        self.check_id_is_free(&id)?;
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if let Some(instance_id) = &join.instance_id {
            self.instances.insert(instance_id.clone(), id.clone());
        }
        self.joined_count = self.joined_count.saturating_add(1);
        let mut member = GroupMember::new(join, self.joined_count, now);
        member.awaits = Awaits::Join;
        self.members.insert(id.clone(), member);
        self.leader.get_or_insert_with(|| id.clone());
        if let Phase::Preparing(preparing) = &mut self.phase {
            preparing.record_join();
        }
        self.prepare_or_complete(now, changes);
        Ok(id)
    }

    /// Lets a member join again.
    pub(super) fn join_again(
        &mut self,
        id: String,
        join: Join,
        now: Duration,
        changes: &mut Changes,
    ) -> Result<String, GroupError> {
        let caller = Caller { member_id: &id, instance_id: join.instance_id.as_deref() };
        let member = self.member(caller)?;
        let same = member.protocols == join.protocols;
        member.update(join, now);
        member.awaits = Awaits::Join;
        let leads = self.leader.as_ref() == Some(&id);
        match self.phase {
            // The answer about the new generation was lost.
            Phase::Completing { .. } if same => self.answer_join(&id, false, changes),
            Phase::Stable { .. } if same && !leads => self.answer_join(&id, false, changes),
            _ => self.prepare_or_complete(now, changes),
        }
        Ok(id)
    }

    /// Replaces a static member with a new one that has the same instance id.
    pub(super) fn replace(
        &mut self,
        old: &str,
        id: String,
        join: Join,
        now: Duration,
        changes: &mut Changes,
    ) -> Result<String, GroupError> {
        self.check_id_is_free(&id)?;
        let Some(mut member) = self.members.remove(old) else {
            return self.add(id, join, now, changes);
        };
        let instance_id = join.instance_id.clone().unwrap_or_default();
        if member.awaits != Awaits::Nothing {
            let fenced = GroupError::FencedInstanceId { instance_id: instance_id.clone() };
            changes.answers.push((old.to_owned(), Answer::Refused(fenced)));
        }
        changes.removed.push((old.to_owned(), Removal::Replaced));
        self.instances.insert(instance_id, id.clone());
        if self.leader.as_deref() == Some(old) {
            self.leader = Some(id.clone());
        }
        let chosen = self.protocol.clone().unwrap_or_default();
        let before = member.metadata(&chosen);
        member.client_id.clone_from(&join.client_id);
        member.client_host.clone_from(&join.client_host);
        member.update(join, now);
        member.end_poll(now);
        member.awaits = Awaits::Join;
        let same = member.metadata(&chosen) == before;
        self.members.insert(id.clone(), member);
        let same = same && self.choose_protocol().as_ref() == Some(&chosen);
        if same && matches!(self.phase, Phase::Stable { .. }) {
            changes.store = true;
            self.answer_join(&id, true, changes);
        } else {
            // A leader that is assigning partitions would assign them to the old member id.
            self.prepare_or_complete(now, changes);
        }
        Ok(id)
    }

    fn check_id_is_free(&self, id: &str) -> Result<(), GroupError> {
        let taken = self.members.contains_key(id);
        let refused = || GroupError::InvalidRequest { member_id: id.to_owned() };
        if taken { Err(refused()) } else { Ok(()) }
    }

    /// Removes a member.
    pub(super) fn remove(&mut self, id: &str, why: Removal, changes: &mut Changes) {
        let Some(member) = self.members.remove(id) else { return };
        if member.awaits != Awaits::Nothing {
            let unknown = GroupError::UnknownMemberId { member_id: id.to_owned() };
            changes.answers.push((id.to_owned(), Answer::Refused(unknown)));
        }
        changes.removed.push((id.to_owned(), why));
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.oldest_member(|_| true);
        }
    }

    /// Rebalances after members were removed.
    pub(super) fn rebalance_after_removal(&mut self, now: Duration, changes: &mut Changes) {
        match self.phase {
            Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(now, changes),
            Phase::Preparing(_) => self.complete_if_joined(now, changes),
            Phase::Empty | Phase::Dead => {}
        }
    }

    fn prepare_or_complete(&mut self, now: Duration, changes: &mut Changes) {
        match self.phase {
            Phase::Preparing(_) => self.complete_if_joined(now, changes),
            _ => self.prepare(now, changes),
        }
    }

    /// Asks all members to join.
    pub(super) fn prepare(&mut self, now: Duration, changes: &mut Changes) {
        if matches!(self.phase, Phase::Completing { .. }) {
            let refused = Answer::Refused(GroupError::RebalanceInProgress);
            for (id, member) in &mut self.members {
                if member.awaits == Awaits::Sync {
                    member.awaits = Awaits::Nothing;
                    member.begin_session(now);
                    changes.answers.push((id.clone(), refused.clone()));
                }
            }
        }
        let limit = self.rebalance_timeout();
        if self.phase == Phase::Empty {
            let delay = self.config.initial_rebalance_delay;
            self.phase = Phase::Preparing(Preparing::for_empty_group(now, delay, limit));
        } else {
            self.phase = Phase::Preparing(Preparing::for_rebalance(now, limit));
            self.complete_if_joined(now, changes);
        }
    }

    /// Completes the join if all members have joined. A group that was empty waits for its
    /// initial delay.
    fn complete_if_joined(&mut self, now: Duration, changes: &mut Changes) {
        let joined = self.members.values().all(|member| member.awaits == Awaits::Join);
        if joined && matches!(self.phase, Phase::Preparing(Preparing { initial: None, .. })) {
            self.complete(now, changes);
        }
    }

    /// Begins a generation with the members that have joined. Static members that have not joined
    /// stay members.
    fn complete(&mut self, now: Duration, changes: &mut Changes) {
        let gone: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaits != Awaits::Join && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove(&id, Removal::NotJoined, changes);
        }
        let joined = |member: &GroupMember| member.awaits == Awaits::Join;
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if !leader.is_some_and(joined) {
            let leader = self.oldest_member(joined);
            if leader.is_none() && !self.members.is_empty() {
                let limit = self.rebalance_timeout();
                self.phase = Phase::Preparing(Preparing::for_rebalance(now, limit));
                return;
            }
            self.leader = leader;
        }
        self.generation = self.generation.saturating_add(1);
        self.protocol = self.choose_protocol();
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            changes.store = true;
            return;
        }
        self.phase = Phase::Completing { until: now.saturating_add(self.rebalance_timeout()) };
        for member in self.members.values_mut() {
            member.synced = false;
            member.begin_session(now);
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            self.answer_join(&id, false, changes);
        }
    }

    /// Answers a member that waits to join.
    fn answer_join(&mut self, id: &str, back: bool, changes: &mut Changes) {
        let leads = self.leader.as_deref() == Some(id);
        let mut joined = Joined {
            generation: self.generation,
            protocol: self.protocol.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            members: Vec::new(),
            skip_assignment: leads && back,
        };
        if leads {
            let seen = |(id, member): (&String, &GroupMember)| JoinedMember {
                member_id: id.clone(),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata(&joined.protocol),
                assignment: if back { member.assignment.clone() } else { Bytes::new() },
            };
            joined.members = self.members.iter().map(seen).collect();
        }
        let Some(member) = self.members.get_mut(id) else { return };
        if member.awaits == Awaits::Join {
            member.awaits = Awaits::Nothing;
            changes.answers.push((id.to_owned(), Answer::Joined(joined)));
        }
    }

    /// Stores the assignments from the leader.
    pub(super) fn assign(&mut self, mut assignments: BTreeMap<String, Bytes>) {
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        self.phase = Phase::Stable { until: self.phase.until() };
    }

    /// Answers the members that wait for their assignment, once the leader has assigned.
    pub(super) fn answer_syncs(&mut self, now: Duration, changes: &mut Changes) {
        let Phase::Stable { until } = &mut self.phase else { return };
        for (id, member) in &mut self.members {
            if member.awaits == Awaits::Sync {
                member.awaits = Awaits::Nothing;
                member.begin_session(now);
                changes.answers.push((id.clone(), Answer::Synced(member.assignment.clone())));
            }
        }
        if self.members.values().all(|member| member.synced) {
            *until = None;
        }
    }

    /// Does all the work that is due.
    pub(super) fn advance(&mut self, now: Duration, changes: &mut Changes) {
        self.expire(now, changes);
        while self.phase.until().is_some_and(|until| until <= now) {
            match self.phase {
                Phase::Preparing(preparing) => match preparing.extended(now) {
                    Some(longer) => self.phase = Phase::Preparing(longer),
                    None => self.complete(now, changes),
                },
                Phase::Completing { .. } => {
                    let all = changes.removed.len();
                    self.remove_unsynced(now, changes);
                    // At least the leader has not synced. If no member were removed, time would
                    // never advance.
                    if changes.removed.len() == all {
                        self.prepare(now, changes);
                    }
                }
                Phase::Stable { .. } => {
                    self.phase = Phase::Stable { until: None };
                    self.remove_unsynced(now, changes);
                }
                Phase::Empty | Phase::Dead => return,
            }
        }
    }

    /// Removes members that have not polled, and members whose session has ended.
    fn expire(&mut self, now: Duration, changes: &mut Changes) {
        let due = |end: Option<Duration>| end.is_some_and(|end| end <= now);
        for member in self.members.values_mut() {
            if due(member.poll_end()) && member.instance_id.is_some() {
                member.detach(now);
            }
        }
        let overdue = |member: &GroupMember| due(member.poll_end());
        self.remove_all(Removal::PollOverdue, now, changes, overdue);
        let expired = |member: &GroupMember| due(member.session_end());
        self.remove_all(Removal::SessionExpired, now, changes, expired);
    }

    fn remove_unsynced(&mut self, now: Duration, changes: &mut Changes) {
        self.remove_all(Removal::NotSynced, now, changes, |member| !member.synced);
    }

    fn remove_all(
        &mut self,
        why: Removal,
        now: Duration,
        changes: &mut Changes,
        which: impl Fn(&GroupMember) -> bool,
    ) {
        let found = self.members.iter().filter(|(_, member)| which(member));
        let ids: Vec<String> = found.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.remove(id, why, changes);
        }
        if !ids.is_empty() {
            self.rebalance_after_removal(now, changes);
        }
    }

    /// Returns how long to wait for members: the longest rebalance timeout of any member.
    fn rebalance_timeout(&self) -> Duration {
        let longest = self.members.values().map(|member| member.rebalance_timeout).max();
        longest.unwrap_or_default().max(SHORTEST_WAIT)
    }

    /// Returns the member that joined first, among some.
    fn oldest_member(&self, which: impl Fn(&GroupMember) -> bool) -> Option<String> {
        let some = self.members.iter().filter(|(_, member)| which(member));
        some.min_by_key(|(_, member)| member.number).map(|(id, _)| id.clone())
    }

    /// Returns the protocols that all members support.
    fn common_protocols(&self) -> BTreeSet<&str> {
        let mut members = self
            .members
            .values()
            .map(|member| member.protocols.iter().map(|protocol| protocol.name.as_str()).collect());
        let first: BTreeSet<&str> = members.next().unwrap_or_default();
        members.fold(first, |common, next| common.intersection(&next).copied().collect())
    }

    /// Returns the protocol with the most votes among those that all members support. If several
    /// have as many votes, the leader's preference decides.
    fn choose_protocol(&self) -> Option<String> {
        let candidates = self.common_protocols();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.members.values().filter_map(|member| member.vote(&candidates)) {
            let count = votes.entry(name).or_default();
            *count = count.saturating_add(1);
        }
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id))?;
        let names = leader.protocols.iter().map(|protocol| protocol.name.as_str());
        let most = votes.values().max()?;
        names.into_iter().find(|name| votes.get(name) == Some(most)).map(str::to_owned)
    }
}
