//! Applying the changes of a step.

use crate::error::{GroupError, Result};
use crate::group::membership::{Answer, Changes, GroupState};
use crate::group::shard::Shard;
use crate::group::state_partitions::Now;
use std::task::Waker;

impl Shard {
    /// Applies the changes of a step: stores the group's record, then puts the answers into
    /// mailboxes. Adds the wakers to call once the lock is released.
    pub(super) fn apply_changes(
        &mut self,
        name: &str,
        before: (GroupState, i32),
        mut changes: Changes,
        now: Now,
        wakers: &mut Vec<Waker>,
    ) -> Result<()> {
        let mut stored = Ok(());
        if changes.store {
            let metadata = self.groups.get(name).map(|hosted| hosted.group.metadata(now.calendar));
            stored = metadata.map_or(Ok(()), |metadata| self.append_group(name, metadata));
        }
        let Some(hosted) = self.groups.get_mut(name) else { return stored };
        if stored.is_err() {
            // A member must not read with an assignment that is not stored.
            for (_, answer) in &mut changes.answers {
                if matches!(answer, Answer::Synced(_)) {
                    *answer = Answer::Refused(GroupError::RebalanceInProgress);
                }
            }
            let again = hosted.group.rebalance(now.monotonic);
            changes.answers.extend(again.answers);
            changes.removed.extend(again.removed);
        }
        for (member, answer) in changes.answers {
            if let Some(mailbox) = hosted.mailboxes.get_mut(&member) {
                mailbox.answer = Some(answer);
                wakers.push(mailbox.waker.clone());
            }
        }
        for (member, _) in changes.removed {
            wakers.extend(hosted.mailboxes.remove(&member).map(|mailbox| mailbox.waker));
        }
        let after = hosted.group.state_and_generation();
        if after != before {
            hosted.drop_unread_topics(after.0);
        }
        if after != before && after.0 == GroupState::PreparingRebalance {
            wakers.extend(hosted.mailboxes.values().map(|mailbox| mailbox.waker.clone()));
        }
        if let Some(due) = hosted.group.next_deadline() {
            let mut waiting = hosted
                .mailboxes
                .values_mut()
                .filter_map(|mailbox| Some((mailbox.wakes_at?, mailbox)));
            if let Some((first, mailbox)) = waiting.by_ref().min_by_key(|(until, _)| *until)
                && first > due
            {
                // One waiting member must wake when the deadline is due.
                mailbox.wakes_at = Some(due);
                wakers.push(mailbox.waker.clone());
            }
        }
        self.drop_if_idle(name);
        stored
    }
}
