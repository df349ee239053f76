//! The coordinator runs the groups of a store, and stores their offsets.
//!
//! Each group belongs to one partition of `__consumer_offsets`, by the hash of its name. The
//! coordinator reads that partition when the first of its groups is used. From then on, a change
//! is written there before it takes effect:
//!
//! ```text
//!  consumer a ── join, sync, commit ──┐                       ┌─▶ Group            its members and generation
//!  consumer b ── begins to poll ──────┼─▶ Shard (one lock) ───┼─▶ __consumer_offsets-7
//!  Admin ─────── describes ───────────┘     │                 └─▶ OffsetTable      its committed offsets
//!                                           └─ answers, by member; an answer wakes the member
//! ```
//!
//! No call blocks in here. A consumer leaves its request, goes on with its poll, and waits there
//! for its waker, for records, or for the next deadline of its group, all at once. So the
//! coordinator needs no thread: each poll checks the deadlines of its group, and so does any other
//! call that uses the group.
//!
//! A partition has one lock, which is held while its log is appended to, because a commit is
//! checked and written in one step. No other generation may begin between the two, or a commit of
//! the previous generation would follow the commits of the new one. Appends to a log are
//! serialized anyway, so a lock for each group would only save polls that wait for the page cache.
//! An fsync, which takes long, happens without the lock. A [`Listener`](crate::Listener) receives
//! the events of the offsets topic after the lock is released, so it may use groups.
//!
//! # Differences from Kafka
//!
//! A partition of 4 MiB or more is rolled and compacted when it has 16 times the bytes of its live
//! records, without a lock: by the [`Maintainer`] of the store or, without one, on the thread that
//! used the group. Kafka waits until a segment of 100 MiB is full. So the first use of a group
//! reads little. A group without members takes no memory beyond its stored state.
//!
//! When a process ends, its consumers end. So dynamic members of a group are gone when the store
//! is opened again, where Kafka waits for their session to end. Static members have their session
//! timeout to come back.

use crate::callback;
use crate::clock::Clock;
use crate::error::{CommitError, ConsumeError, Error, GroupError, Result, TopicError};
use crate::event::EventSink;
use crate::group::config::GroupCoordinatorConfig;
use crate::group::membership::{
    Answer, Caller, Changes, Committer, Group, GroupState, Join, JoinAs, Step,
};
use crate::group::offsets::{
    CommittedOffset, MAX_METADATA_BYTES, OffsetAndMetadata, OffsetKey, OffsetsRecord, partition_of,
};
use crate::group::shard::{MemberMailbox, Now, Shard};
use crate::log::{Log, Maintainer};
use crate::notify::{wake_after, wake_all};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::types::Moment;
use crate::types::Timestamp;
use crate::types::TopicPartition;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// The groups of a store.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) config: GroupCoordinatorConfig,
    pub(super) clock: Arc<dyn Clock>,
    logs: Box<dyn GroupLogs>,
    /// Where events go.
    events: EventSink,
    /// The maintainer of the store, if it has one.
    maintainer: Option<Maintainer>,
    pub(super) partitions: Vec<Partition>,
    /// Since when there is this one: what its member ids have that no earlier one's have.
    since: Timestamp,
    next_member: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) number: u32,
    /// `None` until it was read. Taken with no other lock of the crate held but that of changes to
    /// topics; held while its log is appended to.
    shard: Mutex<Option<Shard>>,
}

/// The logs of the topic in which groups are stored.
pub(crate) trait GroupLogs: fmt::Debug + Send + Sync {
    /// Returns the log of a partition. Fails if the partition is offline.
    fn log(&self, partition: u32) -> Result<Log>;
}

impl Coordinator {
    /// Creates the coordinator of the groups in `logs`, a topic with this number of partitions.
    pub(crate) fn new(
        logs: Box<dyn GroupLogs>,
        partitions: u32,
        config: GroupCoordinatorConfig,
        clock: Arc<dyn Clock>,
        events: EventSink,
        maintainer: Option<Maintainer>,
    ) -> Coordinator {
        let partition = |number| Partition { number, shard: Mutex::new(None) };
        Coordinator {
            config,
            events,
            maintainer,
            partitions: (0..partitions).map(partition).collect(),
            logs,
            since: clock.now(),
            clock,
            next_member: AtomicU64::new(0),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.clock.monotonic(), calendar: self.clock.now() }
    }

    /// The partition that a group is kept in.
    pub(super) fn partition(&self, group: &str) -> Result<&Partition> {
        let count = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        let number = partition_of(group, count).and_then(|n| usize::try_from(n).ok());
        let found = number.and_then(|number| self.partitions.get(number));
        found.ok_or(Error::StoreClosed)
    }

    /// The log of a partition, unless that is offline.
    fn log(&self, partition: &Partition) -> Result<Log> {
        self.logs.log(partition.number)
    }

    /// Does something with what is in a partition.
    pub(super) fn with<T>(
        &self,
        partition: &Partition,
        act: impl FnOnce(&mut Shard, Now) -> Result<T>,
    ) -> Result<T> {
        let acting = || {
            let mut slot = partition.shard.lock();
            let now = self.now();
            let shard = self.loaded(&mut slot, partition, now)?;
            shard.expire_if_due(&self.config, now);
            let done = act(shard, now);
            Ok::<_, Error>((done, shard.is_bloated()))
        };
        // With the lock released: a listener may use groups, and so may a task that waits at the
        // end of the log. A panic of one is not to keep members from their answers.
        let (done, events) = wake_after(|| self.events.hold(acting));
        for event in &events {
            callback::call(|| self.events.emit(event)).ok();
        }
        let (done, bloated) = done?;
        if bloated {
            self.compact(&self.log(partition)?);
        }
        done
    }

    /// Does the work unless the partition is empty, without reading it for that.
    pub(super) fn with_any<T: Default>(
        &self,
        partition: &Partition,
        act: impl FnOnce(&mut Shard, Now) -> Result<T>,
    ) -> Result<T> {
        let slot = partition.shard.lock();
        if slot.is_none() {
            let log = self.log(partition)?;
            let ends = log.offsets();
            if ends.start == ends.end && !log.is_closed() {
                return Ok(T::default());
            }
        }
        drop(slot);
        self.with(partition, act)
    }

    /// Makes a log small that has grown far beyond what it says. No lock is held.
    ///
    /// The caller is done with its own part and is not to fail over this. If the log cannot be
    /// compacted, it reports an event, and so does the next attempt.
    fn compact(&self, log: &Log) {
        if log.roll().is_err() {
            return;
        }
        match &self.maintainer {
            Some(maintainer) => maintainer.run_now(),
            None => drop(log.maintain()),
        }
    }

    fn loaded<'a>(
        &self,
        slot: &'a mut MutexGuard<'_, Option<Shard>>,
        partition: &Partition,
        now: Now,
    ) -> Result<&'a mut Shard> {
        match &mut **slot {
            Some(shard) if shard.log.is_closed() => {
                let log = self.log(partition)?;
                // In a closed store there is no other.
                if !log.is_closed() {
                    shard.go_on_with(partition.number, &log, now)?;
                }
            }
            Some(_) => {}
            None => {
                let log = self.log(partition)?;
                **slot = Some(Shard::load(partition.number, &log, &self.config, now)?);
            }
        }
        slot.as_mut().ok_or(Error::StoreClosed)
    }

    /// Makes a step of a group, and does what comes of it.
    pub(super) fn step<T>(
        &self,
        group: &str,
        call: impl FnOnce(&mut Group, Duration) -> Step<T>,
    ) -> Result<Result<T, GroupError>> {
        let partition = self.partition(group)?;
        let (result, wakers) = self.with(partition, |shard, now| {
            let entry = shard.entry(group, &self.config);
            let before = Stage::of(&entry.group);
            let step = call(&mut entry.group, now.monotonic);
            let mut wakers = Vec::new();
            let stored = apply_changes(shard, group, before, step.changes, now, &mut wakers);
            Ok((stored.map(|()| step.result), wakers))
        })?;
        wake_all(wakers);
        result
    }

    /// Joins a group; returns the member id.
    ///
    /// The second result says whether what the group wrote meanwhile was stored. The member is one
    /// in any case: if it did not learn its id, the group would wait for a member that no consumer
    /// holds.
    pub(crate) fn join(
        &self,
        group: &str,
        join: Join,
        since: BTreeMap<String, Moment>,
        waker: &Waker,
    ) -> Result<(String, Result<()>)> {
        let waker = waker.clone();
        let partition = self.partition(group)?;
        let (result, wakers) = self.with(partition, |shard, now| {
            let entry = shard.entry(group, &self.config);
            let before = Stage::of(&entry.group);
            let mut join = join;
            let step = loop {
                if let JoinAs::New(name) = &join.member {
                    let id = self.member_id(name);
                    let as_id = Join { member: JoinAs::New(id), ..join.clone() };
                    let step = entry.group.join(as_id, now.monotonic);
                    if matches!(step.result, Err(GroupError::InvalidRequest { .. })) {
                        // One of an earlier run of this process has it.
                        continue;
                    }
                    break step;
                }
                let known = std::mem::replace(&mut join.member, JoinAs::New(String::new()));
                let step = entry.group.join(Join { member: known, ..join }, now.monotonic);
                break step;
            };
            if let Ok(id) = &step.result {
                let mailbox = MemberMailbox { waker, answer: None, waits_until: None };
                entry.mailboxes.insert(id.clone(), mailbox);
                entry.note_reading(since);
            }
            let mut wakers = Vec::new();
            let stored = apply_changes(shard, group, before, step.changes, now, &mut wakers);
            Ok(((step.result, stored), wakers))
        })?;
        wake_all(wakers);
        match result {
            (Ok(id), stored) => Ok((id, stored)),
            (Err(refusal), stored) => stored.and(Err(refusal.into())),
        }
    }

    /// An id that no member had before.
    fn member_id(&self, client_id: &str) -> String {
        let number = self.next_member.fetch_add(1, Ordering::Relaxed);
        format!("{client_id}-{:x}-{number}", self.since.as_millis())
    }

    /// Returns the answer that the member waits for, if it is there.
    pub(crate) fn take_answer(&self, group: &str, caller: Caller<'_>) -> Result<Option<Answer>> {
        let partition = self.partition(group)?;
        self.step(group, |group, now| Step { result: Ok(()), changes: group.tick(now) })??;
        let found = self.with(partition, |shard, _| {
            let entry = shard.groups.get_mut(group);
            let mailbox = entry.and_then(|entry| entry.mailboxes.get_mut(caller.member_id));
            Ok(mailbox.map(|mailbox| mailbox.answer.take()))
        })?;
        if let Some(answer) = found {
            return Ok(answer);
        }
        // It is no member any more. The group says why.
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

    /// Says until when the member will wait, at the longest; returns when the group has to be
    /// looked at before that.
    ///
    /// `None` says that it waits no more.
    pub(crate) fn waits(
        &self,
        group: &str,
        member_id: &str,
        until: Option<Duration>,
    ) -> Result<Option<Duration>> {
        self.with(self.partition(group)?, |shard, _| {
            let Some(entry) = shard.groups.get_mut(group) else { return Ok(None) };
            let due = entry.group.next_deadline();
            if let Some(mailbox) = entry.mailboxes.get_mut(member_id) {
                mailbox.waits_until = until.map(|until| due.map_or(until, |due| due.min(until)));
            }
            Ok(due)
        })
    }

    /// Commits offsets, all of them or none; returns the log they are in, and where.
    ///
    /// They survive the end of the process. What is to survive loss of power must be flushed.
    /// `check` says of each partition why nothing may be committed for it. It is asked when no
    /// deletion of a topic can come in between: an offset for a partition that is not there would
    /// hold for the next topic of that name.
    pub(crate) fn commit(
        &self,
        group: &str,
        committer: Committer<'_>,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        check: &dyn Fn(&TopicPartition) -> Option<CommitError>,
        flush: bool,
    ) -> Result<()> {
        let failed = |reason| ConsumeError::CommitFailed { group: group.to_owned(), reason };
        let now = self.clock.now();
        let records =
            offsets.iter().map(|(partition, offset)| record(group, partition, offset, now));
        let records = records.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let partition = self.partition(group)?;
        let (committed, wakers) = self.with(partition, |shard, now| {
            let entry = shard.entry(group, &self.config);
            let before = Stage::of(&entry.group);
            let step = entry.group.check_commit(committer, false, now.monotonic);
            let mut wakers = Vec::new();
            let stored = apply_changes(shard, group, before, step.changes, now, &mut wakers);
            let committed = match (stored, step.result) {
                (Err(error), _) => Err(error),
                (_, Err(refusal)) => Err(failed(CommitError::Group(refusal)).into()),
                (Ok(()), Ok(())) => match offsets.keys().find_map(check) {
                    Some(refusal) if !shard.log.is_closed() => Err(failed(refusal).into()),
                    _ => shard.append(records),
                },
            };
            Ok((committed, wakers))
        })?;
        wake_all(wakers);
        if let (Some(last), true) = (committed?, flush) {
            self.log(partition)?.flush_through(last)?;
        }
        Ok(())
    }

    /// Removes the committed offsets of all groups for a topic, durably. Tries all partitions,
    /// then returns the first error. Groups of a partition that cannot be read cannot continue
    /// anyway.
    pub(crate) fn forget_topic(&self, topic: &str) -> Result<()> {
        let mut forgotten = Ok(());
        for partition in &self.partitions {
            let appended = self.with_any(partition, |shard, _| {
                shard.append(shard.table.tombstones_of_topic(topic))
            });
            let done = match appended {
                Ok(Some(last)) => {
                    self.log(partition).and_then(|log| log.flush_through(last)).map(drop)
                }
                Err(Error::Group(error))
                    if matches!(*error, GroupError::CorruptOffsetsTopic { .. }) =>
                {
                    Ok(())
                }
                Err(Error::Corrupt(_)) => Ok(()),
                Err(error) if is_offline(&error) => Ok(()),
                other => other.map(drop),
            };
            forgotten = forgotten.and(done);
        }
        forgotten
    }

    /// What a group has committed for some partitions, which a consumer is about to go on from, or
    /// is reading.
    pub(crate) fn committed(
        &self,
        group: &str,
        partitions: &mut dyn Iterator<Item = &TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        self.with(self.partition(group)?, |shard, now| {
            let mut found = BTreeMap::new();
            for partition in partitions {
                let Ok(number) = i32::try_from(partition.partition) else { continue };
                shard.table.note_use(group, &partition.topic, number, now.calendar);
                let committed = shard.table.committed(group, &partition.topic, number);
                if let Some(offset) = committed.and_then(OffsetAndMetadata::from_stored) {
                    found.insert(partition.clone(), offset);
                }
            }
            Ok(found)
        })
    }

    /// Since when members of a group have been reading a topic, if they have.
    pub(crate) fn reads_since(&self, group: &str, topic: &str) -> Result<Option<Moment>> {
        self.with(self.partition(group)?, |shard, _| {
            let entry = shard.groups.get(group);
            Ok(entry.and_then(|entry| entry.since.get(topic)).copied())
        })
    }

    /// How often a consumer that is no member shows that it reads, so that what is committed does
    /// not expire.
    pub(crate) fn sign_of_life(&self) -> Duration {
        self.config.offsets_retention.checked_div(4).unwrap_or_default()
    }
}

/// Whether the partition that was to be used is offline.
pub(super) fn is_offline(error: &Error) -> bool {
    let is_offline = |error: &TopicError| matches!(error, TopicError::PartitionOffline { .. });
    matches!(error, Error::Topic(error) if is_offline(error))
}

/// The state that tells whether the members of a group have to join again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stage(GroupState, i32);

impl Stage {
    pub(super) fn of(group: &Group) -> Stage {
        Stage(group.state(), group.generation())
    }
}

/// Does what a step of a group comes to: writes the group's record, then gives the answers out.
pub(super) fn apply_changes(
    shard: &mut Shard,
    name: &str,
    before: Stage,
    mut changes: Changes,
    now: Now,
    wakers: &mut Vec<Waker>,
) -> Result<()> {
    let mut stored = Ok(());
    if changes.store {
        let metadata = shard.groups.get(name).map(|entry| entry.group.metadata(now.calendar));
        stored = metadata.map_or(Ok(()), |metadata| shard.append_group(name, metadata));
    }
    let Some(entry) = shard.groups.get_mut(name) else { return stored };
    if stored.is_err() {
        // No member may read by an assignment that is not stored.
        for (_, answer) in &mut changes.answers {
            if matches!(answer, Answer::Synced(_)) {
                *answer = Answer::Refused(GroupError::RebalanceInProgress);
            }
        }
        let again = entry.group.rebalance(now.monotonic);
        changes.answers.extend(again.answers);
        changes.removed.extend(again.removed);
    }
    for (member, answer) in changes.answers {
        if let Some(mailbox) = entry.mailboxes.get_mut(&member) {
            mailbox.answer = Some(answer);
            wakers.push(mailbox.waker.clone());
        }
    }
    for (member, _) in changes.removed {
        wakers.extend(entry.mailboxes.remove(&member).map(|mailbox| mailbox.waker));
    }
    let after = Stage::of(&entry.group);
    if after != before {
        entry.forget_unread(after.0);
    }
    if after != before && after.0 == GroupState::PreparingRebalance {
        wakers.extend(entry.mailboxes.values().map(|mailbox| mailbox.waker.clone()));
    }
    if let Some(due) = entry.group.next_deadline() {
        let mut waiting = entry
            .mailboxes
            .values_mut()
            .filter_map(|mailbox| Some((mailbox.waits_until?, mailbox)));
        if let Some((first, mailbox)) = waiting.by_ref().min_by_key(|(until, _)| *until)
            && first > due
        {
            // One waiting member must wake up when the deadline is due.
            mailbox.waits_until = Some(due);
            wakers.push(mailbox.waker.clone());
        }
    }
    shard.drop_idle(name);
    stored
}

pub(super) fn record(
    group: &str,
    at: &TopicPartition,
    offset: &OffsetAndMetadata,
    now: Timestamp,
) -> Result<OffsetsRecord, CommitError> {
    let bytes = offset.metadata.len();
    if bytes > MAX_METADATA_BYTES {
        return Err(CommitError::MetadataTooLarge { bytes, limit: MAX_METADATA_BYTES });
    }
    let impossible = CommitError::InvalidOffset { offset: offset.offset };
    let Ok(next) = i64::try_from(offset.offset) else { return Err(impossible) };
    let value = CommittedOffset {
        offset: next,
        leader_epoch: offset.leader_epoch.unwrap_or(-1),
        metadata: offset.metadata.clone(),
        commit_timestamp: now,
        expire_timestamp: None,
    };
    Ok(OffsetsRecord::Offset { key: key(group, at), value: Some(value) })
}

pub(super) fn key(group: &str, at: &TopicPartition) -> OffsetKey {
    OffsetKey {
        group: group.to_owned(),
        topic: at.topic.as_ref().to_owned(),
        // A partition of this number cannot be made.
        partition: i32::try_from(at.partition).unwrap_or(i32::MAX),
    }
}
