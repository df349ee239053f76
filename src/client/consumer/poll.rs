//! Polling: takes the steps with the group, commits, and returns records or waits for some.

use crate::callback;
use crate::client::consumer::Consumer;
use crate::client::consumer::config::AutoOffsetReset;
use crate::client::consumer::partition::{Partition, ReadLimits};
use crate::client::consumer::pending::AwaitedOffsets;
use crate::client::consumer::records::{ConsumerRecord, ConsumerRecords};
use crate::client::consumer::subscription::SubscriptionState;
use crate::error::{ConsumeError, Error, Result};
use crate::group::commits::{PendingOffsets, StableOffsets};
use crate::group::offsets::OffsetAndMetadata;
use crate::types::TopicPartition;
use crate::types::{IsolationLevel, Offset, StartAt};
use std::time::Duration;

impl Consumer {
    /// Returns the next records as soon as there are any; none if there are none after `timeout`.
    ///
    /// Partitions take turns: the partition that was read last comes last in the next poll. A
    /// member of a group does its part only in `poll`: it joins, gets and gives up partitions,
    /// commits, and shows that it is alive. So poll again within
    /// [`max_poll_interval`](crate::ConsumerConfig::max_poll_interval).
    ///
    /// With a timeout of zero, the poll returns the records that are there. With [`Duration::MAX`]
    /// it waits without a limit.
    ///
    /// # Errors
    /// After an error, positions are as before the call. Poll again to go on with other
    /// partitions.
    ///
    /// If the log of a partition is closed or offline, or the topic of an
    /// [assigned](Consumer::assign) one was deleted, one poll fails at once. Later polls wait for
    /// its log and return the records of other partitions, and fail again if there were none until
    /// the timeout.
    /// - [`ConsumeError::NotSubscribed`], [`ConsumeError::Closed`].
    /// - [`ConsumeError::NoOffsetForPartition`] if a partition has no committed offset and
    ///   [`auto_offset_reset`](crate::ConsumerConfig::auto_offset_reset) is none.
    /// - [`ConsumeError::Partition`] if a partition cannot be read: it is damaged, closed or
    ///   offline, its topic was deleted, or the next records were deleted and `auto_offset_reset`
    ///   is none. The consumer continues with a partition that was damaged, closed or offline once
    ///   you have [reopened](crate::Store::reopen_partition) it.
    /// - [`ConsumeError::CallbackPanicked`].
    /// - [`GroupError::FencedInstanceId`](crate::GroupError::FencedInstanceId) if another consumer
    ///   has taken this one's place: close it. Another [`GroupError`](crate::GroupError) if the
    ///   group rejects the member.
    /// - [`Error::Io`] if the group's record or an automatic commit cannot be written.
    pub fn poll(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        if let Err(closed) = self.check_open() {
            self.partitions.iter_mut().for_each(Partition::release_files);
            return Err(closed);
        }
        if matches!(self.subscription, SubscriptionState::Nothing) {
            return Err(ConsumeError::NotSubscribed.into());
        }
        let deadline = self.clock.monotonic().checked_add(timeout);
        self.begin_poll()?;
        let polled = self.poll_until(deadline);
        self.end_poll();
        let next = self.take_moved_positions();
        Ok(self.intercept(polled?.with_next(next)))
    }

    /// Returns the positions of the partitions that this poll has moved in.
    fn take_moved_positions(&mut self) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        let moved = self.partitions.iter_mut().filter_map(Partition::take_moved_position);
        moved.collect()
    }

    /// Passes records through the interceptors. If one panics, its result is ignored.
    fn intercept(&self, mut records: ConsumerRecords) -> ConsumerRecords {
        if records.is_empty() {
            return records;
        }
        for interceptor in &self.config.interceptors {
            let seen = records.clone();
            let passed = callback::call(|| interceptor.on_consume(seen));
            if let Ok(passed) = passed {
                records = passed.with_next_of(records);
            }
        }
        records
    }

    fn poll_until(&mut self, deadline: Option<Duration>) -> Result<ConsumerRecords> {
        let mut waited = false;
        loop {
            let seen = self.wakeup.count();
            if self.wakeup.take_call() {
                return Ok(ConsumerRecords::woken());
            }
            if self.awaits_transactions() {
                self.store.end_due_transactions();
            }
            self.advance_membership()?;
            // Commits what earlier polls have returned, and no record that this poll is about to
            // return.
            self.auto_commit_if_due()?;
            self.renew_offsets_if_due()?;
            self.use_current_logs()?;
            self.resolve_positions()?;
            if std::mem::take(&mut self.begins_new_partition) {
                // Without the commit, the partition is not new after a crash, and would begin at
                // its end.
                self.auto_commit()?;
            }
            let records = self.read_records()?;
            if !records.is_empty() {
                return Ok(records);
            }
            if waited {
                self.check_reported()?;
                return Ok(records);
            }
            waited = !self.wait(seen, deadline)?;
        }
    }

    /// Waits until there may be work; returns false if the time is up.
    fn wait(&mut self, seen: u64, deadline: Option<Duration>) -> Result<bool> {
        let now = self.clock.monotonic();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(false);
        }
        self.partitions.iter().for_each(Partition::register_waker);
        let awaits_topics = self.subscription.is_subscription()
            || self.partitions.iter().any(|one| one.unavailable);
        let awaits_transactions = self.awaits_transactions();
        if (awaits_topics || awaits_transactions) && self.topics_one_shot.arm() {
            self.store.changed().register(self.topics_id, &self.topics_waker);
        }
        self.awaited.iter().for_each(AwaitedOffsets::register_waker);
        let came = self.partitions.iter().any(|partition| self.is_ready(partition));
        if came || (awaits_topics && self.seen_version != self.store.version()) {
            return Ok(true);
        }
        let group = self.announce_wait(deadline)?;
        // After the waker is registered, or a transaction that is due sooner would be missed.
        let due = awaits_transactions.then(|| self.store.transactions_due()).flatten();
        let own = [self.auto_commit_due(), self.offsets_renewal_due(), due];
        let sooner = own.into_iter().chain([group]).flatten().min();
        let sooner = sooner.filter(|due| deadline.is_none_or(|deadline| *due < deadline));
        let until = sooner.or(deadline).map(|until| until.saturating_sub(now));
        let woken = self.wakeup.wait(seen, until, &*self.clock);
        self.end_wait();
        Ok(woken || sooner.is_some())
    }

    /// Returns whether open transactions hold this consumer back. If no thread of a maintainer ends
    /// them once they have timed out, the poll does.
    fn awaits_transactions(&self) -> bool {
        self.config.isolation_level == IsolationLevel::ReadCommitted || self.awaited.is_some()
    }

    /// Returns whether a poll has something to do for a partition.
    pub(super) fn is_ready(&self, partition: &Partition) -> bool {
        let waits = |awaited: &AwaitedOffsets| awaited.waits(partition);
        partition.is_ready() && !self.awaited.as_ref().is_some_and(waits)
    }

    /// Resolves the positions of partitions that have none yet.
    pub(super) fn resolve_positions(&mut self) -> Result<()> {
        let undecided =
            |partition: &&Partition| partition.position().is_none() && partition.is_ready();
        let mut all = self.partitions.iter().filter(undecided);
        if !all.any(|partition| self.is_ready(partition)) {
            return Ok(());
        }
        // All of them, because only the latest look at the log is kept.
        let names = self.partitions.iter().filter(undecided).map(|one| one.name.clone());
        let names: Vec<TopicPartition> = names.collect();
        let pending = self.resolve_positions_of(&names)?;
        self.awaited = pending.map(|pending| AwaitedOffsets::new(pending, &self.wakeup));
        Ok(())
    }

    /// Resolves the positions of these partitions: the committed offset, or the reset. Returns
    /// those whose committed offset is not stable, and which therefore get no position.
    pub(super) fn resolve_positions_of(
        &mut self,
        names: &[TopicPartition],
    ) -> Result<Option<PendingOffsets>> {
        let StableOffsets { committed, pending } = match &self.group {
            Some(group) => group.coordinator.stable_offsets(&group.name, &mut names.iter())?,
            None => StableOffsets::default(),
        };
        for name in names {
            let is_pending = |pending: &PendingOffsets| pending.partitions.contains(name);
            let Some(index) = self.index(name) else { continue };
            if !pending.as_ref().is_some_and(is_pending) {
                self.resolve_position(index, committed.get(name))?;
            }
        }
        Ok(pending)
    }

    fn resolve_position(
        &mut self,
        index: usize,
        committed: Option<&OffsetAndMetadata>,
    ) -> Result<()> {
        let is_new = committed.is_none() && self.is_new(index)?;
        let Some(partition) = self.partitions.get_mut(index) else { return Ok(()) };
        if let Some(committed) = committed {
            match partition.seek(StartAt::Offset(committed.offset)) {
                Ok(()) => {
                    partition.committed = Some(committed.offset);
                    return Ok(());
                }
                Err(error) => return self.reset_or_fail(index, Some(committed.offset), error),
            }
        }
        let start = match self.config.auto_offset_reset {
            AutoOffsetReset::Earliest => StartAt::Earliest,
            AutoOffsetReset::Latest if is_new => {
                self.begins_new_partition = true;
                StartAt::Earliest
            }
            AutoOffsetReset::Latest => StartAt::Latest,
            AutoOffsetReset::None => {
                let topic = (*partition.name.topic).to_owned();
                let partition = partition.name.partition;
                return Err(ConsumeError::NoOffsetForPartition { topic, partition }.into());
            }
        };
        match partition.seek(start) {
            Ok(()) => Ok(()),
            Err(error) => self.reset_or_fail(index, None, error),
        }
    }

    /// Returns whether a partition was created after the consumer, or its group, began to read the
    /// topic. All its records are newer than that.
    fn is_new(&self, index: usize) -> Result<bool> {
        let latest = self.config.auto_offset_reset == AutoOffsetReset::Latest;
        let Some(partition) = self.partitions.get(index) else { return Ok(false) };
        if !latest || !self.config.new_partitions_from_start {
            return Ok(false);
        }
        let since = match (partition.since, &self.group) {
            (Some(since), _) => since,
            (None, Some(group)) => {
                let (topic, own) = (&*partition.name.topic, self.since.get(&partition.name.topic));
                let group = group.coordinator.reads_since(&group.name, topic)?;
                group.map_or(own, |group| group.min(own))
            }
            (None, None) => return Ok(false),
        };
        Ok(partition.created > since)
    }

    fn read_records(&mut self) -> Result<ConsumerRecords> {
        let (most, most_bytes) = (self.config.max_poll_records, self.config.max_poll_bytes);
        let mut records: Vec<ConsumerRecord> = Vec::new();
        let mut bytes = 0usize;
        let count = self.partitions.len();
        let first = if self.next_turn < count { self.next_turn } else { 0 };
        for index in (first..count).chain(0..first) {
            let Some(partition) = self.partitions.get_mut(index) else { break };
            if !partition.is_ready() {
                partition.release_files();
                continue;
            }
            let room = ReadLimits {
                records: most.saturating_sub(records.len()),
                bytes: most_bytes.saturating_sub(bytes).min(self.config.max_partition_fetch_bytes),
            };
            let before = records.len();
            let (taken, result) = partition.read(room, &mut records);
            bytes = bytes.saturating_add(taken);
            if records.len() > before {
                self.next_turn = index.saturating_add(1);
            }
            if let Err(error) = result {
                if records.is_empty() {
                    self.next_turn = index.saturating_add(1);
                    self.reset_or_fail(index, None, error)?;
                    continue;
                }
                // Return the records before the error first. The next poll meets the error again.
                self.next_turn = index;
                break;
            }
            if records.len() >= most || bytes >= most_bytes {
                break;
            }
        }
        Ok(ConsumerRecords::of(records))
    }

    /// Resets the position after an error, if that helps; otherwise returns the error. `intended`
    /// is where reading would have begun, if there is no position yet.
    fn reset_or_fail(
        &mut self,
        index: usize,
        intended: Option<Offset>,
        error: Error,
    ) -> Result<()> {
        let reset = match self.config.auto_offset_reset {
            AutoOffsetReset::Earliest => Some(StartAt::Earliest),
            AutoOffsetReset::Latest => Some(StartAt::Latest),
            AutoOffsetReset::None => None,
        };
        let Some(partition) = self.partitions.get_mut(index) else { return Ok(()) };
        if partition.log.is_closed() {
            // The partition has another log, or is about to get one: the poll reads that.
            return Ok(());
        }
        let error = match (&error, reset) {
            (Error::OffsetOutOfRange { .. }, Some(start)) => match partition.seek(start) {
                Ok(()) => return Ok(()),
                Err(_) if partition.log.is_closed() => return Ok(()),
                Err(failed) => failed,
            },
            _ => error,
        };
        Err(partition.error(intended, error))
    }
}
