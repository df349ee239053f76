//! A group that the coordinator runs, with mailboxes for the members that wait.

use crate::group::membership::{Answer, Group, GroupState};
use crate::group::protocol::Subscription;
use crate::types::LogicalTime;
use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

/// A group that has members, or had some.
#[derive(Debug)]
pub(super) struct HostedGroup {
    pub(super) group: Group,
    pub(super) mailboxes: BTreeMap<String, MemberMailbox>,
    /// The topics that its members read, and since when: since the first member began that is
    /// still there, or that was followed by another before the group became empty.
    pub(super) reading_since: BTreeMap<String, LogicalTime>,
}

/// The mailbox of a member that waits in this process.
#[derive(Debug)]
pub(super) struct MemberMailbox {
    /// Woken when there is an answer, or when the member must act on its group.
    pub(super) waker: Waker,
    pub(super) answer: Option<Answer>,
    /// The time at which the member checks its group by itself, if it waits.
    pub(super) wakes_at: Option<Duration>,
}

impl HostedGroup {
    pub(super) fn new(group: Group) -> HostedGroup {
        HostedGroup { group, mailboxes: BTreeMap::new(), reading_since: BTreeMap::new() }
    }

    /// Records that a member reads these topics, each since a time.
    pub(super) fn record_topics_read(&mut self, topics: BTreeMap<String, LogicalTime>) {
        for (topic, since) in topics {
            let known = self.reading_since.entry(topic).or_insert(since);
            *known = since.min(*known);
        }
    }

    /// Forgets topics that the group no longer reads, now that it has come into this state.
    pub(super) fn drop_unread_topics(&mut self, state: GroupState) {
        match state {
            // An empty map would keep its memory.
            GroupState::Empty => self.reading_since = BTreeMap::new(),
            GroupState::CompletingRebalance => {
                if let Some(subscribed) = self.subscribed_topics() {
                    self.reading_since.retain(|topic, _| subscribed.contains(topic));
                }
            }
            _ => {}
        }
    }

    /// Returns the topics that its members read, if all subscriptions can be decoded.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        let mut topics = BTreeSet::new();
        for (_, metadata) in self.group.subscriptions() {
            topics.extend(Subscription::decode(&metadata).ok()?.topics);
        }
        Some(topics)
    }
}
