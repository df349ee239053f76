//! A group that the coordinator runs, with the members that wait for its answers.

use crate::group::membership::{Answer, Group, GroupState};
use crate::group::protocol::Subscription;
use crate::types::LogicalTime;
use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

/// A group that had members, or has.
#[derive(Debug)]
pub(super) struct HostedGroup {
    pub(super) group: Group,
    pub(super) mailboxes: BTreeMap<String, MemberMailbox>,
    /// The topics that its members read, and since when: the first of those that are still there,
    /// or were followed by another without the group becoming empty.
    pub(super) reading_since: BTreeMap<String, LogicalTime>,
}

/// The answers to a member that waits in this process.
#[derive(Debug)]
pub(super) struct MemberMailbox {
    /// Woken when an answer is there, or the group has work for the member.
    pub(super) waker: Waker,
    pub(super) answer: Option<Answer>,
    /// When it will look at the group by itself, if it waits.
    pub(super) wakes_at: Option<Duration>,
}

impl HostedGroup {
    pub(super) fn new(group: Group) -> HostedGroup {
        HostedGroup { group, mailboxes: BTreeMap::new(), reading_since: BTreeMap::new() }
    }

    /// A member reads these topics since then.
    pub(super) fn record_topics_read(&mut self, topics: BTreeMap<String, LogicalTime>) {
        for (topic, since) in topics {
            let known = self.reading_since.entry(topic).or_insert(since);
            *known = since.min(*known);
        }
    }

    /// The group has come into this state: forgets since when it reads what it does not read any
    /// more.
    pub(super) fn drop_unread_topics(&mut self, state: GroupState) {
        match state {
            // A map that is empty keeps memory.
            GroupState::Empty => self.reading_since = BTreeMap::new(),
            GroupState::CompletingRebalance => {
                if let Some(subscribed) = self.subscribed_topics() {
                    self.reading_since.retain(|topic, _| subscribed.contains(topic));
                }
            }
            _ => {}
        }
    }

    /// The topics that its members read, if all say so in a way that can be read.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        let mut topics = BTreeSet::new();
        for (_, metadata) in self.group.subscriptions() {
            topics.extend(Subscription::decode(&metadata).ok()?.topics);
        }
        Some(topics)
    }
}
