//! The calls of members: join, sync, heartbeat, poll, leave.

use crate::error::{GroupError, Result};
use crate::group::coordinator::Coordinator;
use crate::group::hosted_group::MemberMailbox;
use crate::group::membership::{Answer, Caller, GroupStep, Join, JoinAs};
use crate::notify::wake_all;
use crate::sync::atomic::Ordering;
use crate::types::LogicalTime;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

impl Coordinator {
    /// Joins a group and returns the member id.
    ///
    /// The second result tells whether the changes of the group were stored. The caller is a
    /// member in any case: without its id, the group would wait for a member that no consumer
    /// holds.
    pub(crate) fn join(
        &self,
        group: &str,
        join: Join,
        since: BTreeMap<String, LogicalTime>,
        waker: &Waker,
    ) -> Result<(String, Result<()>)> {
        let waker = waker.clone();
        let partition = self.partition(group)?;
        let (result, wakers) = self.with_shard(partition, |shard, now| {
            let hosted = shard.hosted_group(group, &self.config);
            let before = hosted.group.state_and_generation();
            let mut join = join;
            let step = loop {
                if let JoinAs::New(name) = &join.member {
                    let id = self.member_id(name);
                    let as_id = Join { member: JoinAs::New(id), ..join.clone() };
                    let step = hosted.group.join(as_id, now.monotonic);
                    if matches!(step.result, Err(GroupError::InvalidRequest { .. })) {
                        // An earlier member of this process has this id.
                        continue;
                    }
                    break step;
                }
                let known = std::mem::replace(&mut join.member, JoinAs::New(String::new()));
                let step = hosted.group.join(Join { member: known, ..join }, now.monotonic);
                break step;
            };
            if let Ok(id) = &step.result {
                let mailbox = MemberMailbox { waker, answer: None, wakes_at: None };
                hosted.mailboxes.insert(id.clone(), mailbox);
                hosted.record_topics_read(since);
            }
            let mut wakers = Vec::new();
            let stored = shard.apply_changes(group, before, step.changes, now, &mut wakers);
            Ok(((step.result, stored), wakers))
        })?;
        wake_all(wakers);
        match result {
            (Ok(id), stored) => Ok((id, stored)),
            (Err(refusal), stored) => stored.and(Err(refusal.into())),
        }
    }

    /// Returns an id that no member had before.
    fn member_id(&self, client_id: &str) -> String {
        let number = self.next_member.fetch_add(1, Ordering::Relaxed);
        format!("{client_id}-{:x}-{number}", self.started_at.as_millis())
    }

    /// Returns the answer for a waiting member, if it is there.
    pub(crate) fn take_answer(&self, group: &str, caller: Caller<'_>) -> Result<Option<Answer>> {
        let partition = self.partition(group)?;
        self.step(group, |group, now| GroupStep { result: Ok(()), changes: group.tick(now) })??;
        let found = self.with_shard(partition, |shard, _| {
            let hosted = shard.groups.get_mut(group);
            let mailbox = hosted.and_then(|hosted| hosted.mailboxes.get_mut(caller.member_id));
            Ok(mailbox.map(|mailbox| mailbox.answer.take()))
        })?;
        if let Some(answer) = found {
            return Ok(answer);
        }
        // It is no longer a member. The group returns the reason.
        let refused = self.step(group, |group, now| group.begin_poll(caller, now))?.err();
        let unknown = || GroupError::UnknownMemberId { member_id: caller.member_id.to_owned() };
        Ok(Some(Answer::Refused(refused.unwrap_or_else(unknown))))
    }

    pub(crate) fn sync(
        &self,
        group: &str,
        caller: Caller<'_>,
        generation: i32,
        assignments: BTreeMap<String, Bytes>,
    ) -> Result<Result<(), GroupError>> {
        self.step(group, |group, now| group.sync(caller, generation, assignments, now))
    }

    pub(crate) fn heartbeat(
        &self,
        group: &str,
        caller: Caller<'_>,
        generation: i32,
    ) -> Result<Result<(), GroupError>> {
        self.step(group, |group, now| group.heartbeat(caller, generation, now))
    }

    pub(crate) fn begin_poll(
        &self,
        group: &str,
        caller: Caller<'_>,
    ) -> Result<Result<(), GroupError>> {
        self.step(group, |group, now| group.begin_poll(caller, now))
    }

    pub(crate) fn end_poll(
        &self,
        group: &str,
        caller: Caller<'_>,
    ) -> Result<Result<(), GroupError>> {
        self.step(group, |group, now| group.end_poll(caller, now))
    }

    pub(crate) fn detach(&self, group: &str, caller: Caller<'_>) -> Result<Result<(), GroupError>> {
        self.step(group, |group, now| group.detach(caller, now))
    }

    pub(crate) fn leave(&self, group: &str, caller: Caller<'_>) -> Result<Result<(), GroupError>> {
        self.step(group, |group, now| group.leave(caller, now))
    }

    /// Sets the time until which the member waits at most; `None` if it no longer waits. Returns
    /// the time at which the group must be checked before that.
    pub(crate) fn set_wake_time(
        &self,
        group: &str,
        member_id: &str,
        until: Option<Duration>,
    ) -> Result<Option<Duration>> {
        self.with_shard(self.partition(group)?, |shard, _| {
            let Some(hosted) = shard.groups.get_mut(group) else { return Ok(None) };
            let due = hosted.group.next_deadline();
            if let Some(mailbox) = hosted.mailboxes.get_mut(member_id) {
                mailbox.wakes_at = until.map(|until| due.map_or(until, |due| due.min(until)));
            }
            Ok(due)
        })
    }

    /// Returns since when members of a group have been reading a topic, if they have.
    pub(crate) fn reads_since(&self, group: &str, topic: &str) -> Result<Option<LogicalTime>> {
        self.with_shard(self.partition(group)?, |shard, _| {
            let hosted = shard.groups.get(group);
            Ok(hosted.and_then(|hosted| hosted.reading_since.get(topic)).copied())
        })
    }
}
