//! Storing and restoring a group.

use super::member::GroupMember;
use super::state::Phase;
use super::{Group, GroupConfig, Join, JoinAs, Protocol};
use crate::group::offsets::{GroupMetadata, GroupUse, MemberMetadata};
use crate::types::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

impl Group {
    /// Returns the state to store when a step requires it.
    pub(crate) fn metadata(&self, now: Timestamp) -> GroupMetadata {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, member): (&String, &GroupMember)| MemberMetadata {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: millis(member.rebalance_timeout),
            session_timeout: millis(member.session_timeout),
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
        };
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since: Some(now),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// Returns how the group uses its offsets, which decides which of them may expire. `since` is
    /// when it became empty, and `subscribed` the topics that its members read, if known.
    pub(crate) fn offset_use<'a>(
        &self,
        since: Option<Timestamp>,
        subscribed: Option<&'a BTreeSet<String>>,
    ) -> GroupUse<'a> {
        let Some(protocol_type) = self.protocol_type() else { return GroupUse::Simple };
        match (self.phase, subscribed) {
            (Phase::Empty, _) => GroupUse::Empty { since },
            (Phase::Stable { .. }, Some(subscribed)) if protocol_type == CONSUMER => {
                GroupUse::Stable { subscribed }
            }
            _ => GroupUse::Busy,
        }
    }

    /// Restores a stored group. Each member has one session timeout from now to send a heartbeat.
    pub(crate) fn restore(config: GroupConfig, stored: &GroupMetadata, now: Duration) -> Group {
        let mut group = Group::new(config);
        group.generation = stored.generation.max(0);
        let protocol_type = Some(stored.protocol_type.clone());
        group.protocol_type = protocol_type.filter(|name| !name.is_empty());
        // Without a protocol, nothing can be assigned.
        let Some(protocol) = stored.protocol.clone() else { return group };
        for member in &stored.members {
            group.restore_member(member, &protocol, now);
        }
        if group.members.is_empty() {
            return group;
        }
        group.protocol = Some(protocol);
        let leader = stored.leader.clone().filter(|id| group.members.contains_key(id));
        group.leader = leader.or_else(|| group.members.keys().next().cloned());
        group.phase = Phase::Stable { until: None };
        group
    }

    fn restore_member(&mut self, stored: &MemberMetadata, protocol: &str, now: Duration) {
        let id = stored.member_id.clone();
        // If an id occurs twice, the last member has it.
        let instance_id = self.members.remove(&id).and_then(|member| member.instance_id);
        if let Some(instance_id) = instance_id {
            self.instances.remove(&instance_id);
        }
        if let Some(instance_id) = &stored.instance_id
            && let Some(old) = self.instances.insert(instance_id.clone(), id.clone())
        {
            self.members.remove(&old);
        }
        let session_timeout = duration(stored.session_timeout).unwrap_or_default();
        let join = Join {
            member: JoinAs::Known(id.clone()),
            instance_id: stored.instance_id.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            protocol_type: String::new(),
            protocols: vec![Protocol {
                name: protocol.to_owned(),
                metadata: stored.subscription.clone(),
            }],
            session_timeout,
            rebalance_timeout: duration(stored.rebalance_timeout).unwrap_or(session_timeout),
            max_poll_interval: None,
        };
        self.joined_count = self.joined_count.saturating_add(1);
        let mut member = GroupMember::new(join, self.joined_count, now);
        member.assignment = stored.assignment.clone();
        member.synced = true;
        self.members.insert(id, member);
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn duration(millis: i32) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}
