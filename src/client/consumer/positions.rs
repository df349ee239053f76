//! Positions, and the offsets of partitions.

use crate::client::consumer::Consumer;
use crate::error::{ConsumeError, Error, GroupError, Result};
use crate::group::offsets::OffsetAndMetadata;
use crate::log::Log;
use crate::types::{Offset, StartAt, Timestamp, TopicPartition};
use std::collections::BTreeMap;

/// Positions and offsets.
impl Consumer {
    /// Moves the position in a partition to an offset, a [`Timestamp`] or a [`StartAt`].
    ///
    /// # Errors
    /// - [`ConsumeError::NotAssigned`], [`ConsumeError::Closed`].
    /// - [`Error::OffsetOutOfRange`] for an offset below the start
    ///   or above the end of the partition.
    /// - [`ConsumeError::Partition`] if its log is closed or offline, or its topic was deleted.
    ///   The error is [retryable](crate::Error::is_retryable) while the partition is [being
    ///   reopened](crate::Store::reopen_partition).
    pub fn seek(&mut self, partition: &TopicPartition, to: impl Into<StartAt>) -> Result<()> {
        let (index, to) = (self.assigned(partition)?, to.into());
        loop {
            self.use_current_log(index)?;
            let Some(partition) = self.partitions.get_mut(index) else { return Ok(()) };
            match partition.seek(to) {
                Err(_) if partition.log.is_closed() => {}
                done => return done,
            }
        }
    }

    /// Moves the position in these partitions to their first record. Without any partition,
    /// applies to all assigned ones.
    ///
    /// # Errors
    /// As [`seek`](Consumer::seek).
    pub fn seek_to_beginning(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<()> {
        self.seek_all(partitions, StartAt::Earliest)
    }

    /// Moves the position in these partitions to their end. Without any partition, applies to all
    /// assigned ones.
    ///
    /// # Errors
    /// As [`seek`](Consumer::seek).
    pub fn seek_to_end(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<()> {
        self.seek_all(partitions, StartAt::Latest)
    }

    fn seek_all(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        to: StartAt,
    ) -> Result<()> {
        let mut named: Vec<TopicPartition> = partitions.into_iter().collect();
        if named.is_empty() {
            named = self.assignment();
        }
        named.iter().try_for_each(|partition| self.seek(partition, to))
    }

    /// Pauses these partitions: polls return no records from them until you
    /// [resume](Consumer::resume) them. They stay assigned, and keep their positions.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`], [`ConsumeError::Closed`].
    pub fn pause(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<()> {
        self.set_paused(partitions, true)
    }

    /// Resumes these partitions: polls return records from them again.
    ///
    /// # Errors
    /// As [`pause`](Consumer::pause).
    pub fn resume(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<()> {
        self.set_paused(partitions, false)
    }

    fn set_paused(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        paused: bool,
    ) -> Result<()> {
        for name in partitions {
            let index = self.assigned(&name)?;
            if let Some(partition) = self.partitions.get_mut(index) {
                partition.paused = paused;
            }
        }
        Ok(())
    }

    /// Returns the partitions that are paused.
    #[must_use]
    pub fn paused(&self) -> Vec<TopicPartition> {
        let mut paused = self.assignment();
        let is_paused = |name: &TopicPartition| {
            self.partitions.iter().any(|partition| partition.paused && partition.name == *name)
        };
        paused.retain(is_paused);
        paused
    }

    /// Returns the offset of the next record that a poll returns from a partition.
    ///
    /// # Errors
    /// - [`ConsumeError::NotAssigned`], [`ConsumeError::Closed`].
    /// - [`ConsumeError::NoOffsetForPartition`] if there is no committed offset and
    ///   [`auto_offset_reset`](crate::ConsumerConfig::auto_offset_reset) is none.
    /// - If no poll has decided the position yet: [`ConsumeError::Partition`] as
    ///   [`seek`](Consumer::seek), and
    ///   [`GroupError::UnstableOffsetCommit`](crate::GroupError::UnstableOffsetCommit).
    pub fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        let index = self.assigned(partition)?;
        loop {
            let has_log = self.use_current_log(index);
            if self.partitions.get(index).is_some_and(|one| one.position().is_none()) {
                has_log?;
                if self.resolve_positions_of(std::slice::from_ref(partition))?.is_some() {
                    return Err(unstable(partition));
                }
            }
            match self.partitions.get(index).map(|one| (one.position(), one.log.is_closed())) {
                Some((Some(position), _)) => return Ok(position),
                Some((None, true)) => {}
                Some((None, false)) | None => {
                    let (topic, partition) = ((*partition.topic).to_owned(), partition.partition);
                    return Err(ConsumeError::NoOffsetForPartition { topic, partition }.into());
                }
            }
        }
    }

    /// Returns the number of offsets left to read in a partition: from the position to the end,
    /// without deleted records. A consumer that reads
    /// [committed](crate::IsolationLevel::ReadCommitted) records counts to the last stable offset.
    ///
    /// # Errors
    /// As [`position`](Consumer::position). Also [`ConsumeError::Partition`], as
    /// [`seek`](Consumer::seek).
    pub fn lag(&mut self, partition: &TopicPartition) -> Result<u64> {
        let index = self.assigned(partition)?;
        self.use_current_log(index)?;
        let position = self.position(partition)?;
        Ok(self.partitions.get(index).map_or(0, |one| one.lag(position)))
    }

    /// Returns the offset that the group has committed for a partition, whichever member has it.
    ///
    /// # Errors
    /// - [`ConsumeError::NoGroupId`], [`ConsumeError::Closed`].
    /// - [`GroupError::UnstableOffsetCommit`](crate::GroupError::UnstableOffsetCommit) while a
    ///   transaction is open that has committed another one. [`Admin`](crate::Admin) returns the
    ///   present one.
    /// - [`GroupError::CorruptOffsetsTopic`](crate::GroupError::CorruptOffsetsTopic).
    pub fn committed(&self, partition: &TopicPartition) -> Result<Option<OffsetAndMetadata>> {
        self.check_open()?;
        let group = self.group_for("look at committed offsets")?;
        let mut one = std::iter::once(partition);
        let mut found = group.coordinator.stable_offsets(&group.name, &mut one)?;
        if found.pending.is_some() {
            return Err(unstable(partition));
        }
        Ok(found.committed.remove(partition))
    }

    /// Returns the start offsets of these partitions, assigned or not.
    ///
    /// # Errors
    /// [`TopicError`](crate::TopicError) for a partition that does not exist;
    /// [`ConsumeError::Closed`].
    pub fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.each(partitions, |log| Ok(log.offsets().start))
    }

    /// Returns the end offsets of these partitions, assigned or not. For a consumer that reads
    /// [committed](crate::IsolationLevel::ReadCommitted) records, these are the last stable
    /// offsets.
    ///
    /// # Errors
    /// As [`beginning_offsets`](Consumer::beginning_offsets).
    pub fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.each(partitions, |log| Ok(log.bound(self.config.isolation_level)))
    }

    /// Returns for each partition the first offset with the given timestamp or a later one, and
    /// its timestamp; `None` if all are earlier.
    ///
    /// # Errors
    /// As [`beginning_offsets`](Consumer::beginning_offsets), and as
    /// [`Log::offset_for_time`](Log::offset_for_time).
    pub fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, Timestamp)>,
    ) -> Result<BTreeMap<TopicPartition, Option<(Offset, Timestamp)>>> {
        let times: BTreeMap<TopicPartition, Timestamp> = times.into_iter().collect();
        let find = |(name, time): (TopicPartition, Timestamp)| {
            let log = self.log(&name)?.isolated(self.config.isolation_level);
            let found = log.list_offset(time);
            let found = found.map_err(Error::or_being_reopened)?;
            Ok((name, found))
        };
        times.into_iter().map(find).collect()
    }

    fn each<T>(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        look: impl Fn(&Log) -> Result<T>,
    ) -> Result<BTreeMap<TopicPartition, T>> {
        let look = |name: TopicPartition| {
            let found = look(&self.log(&name)?)?;
            Ok((name, found))
        };
        partitions.into_iter().map(look).collect()
    }

    fn log(&self, name: &TopicPartition) -> Result<Log> {
        self.check_open()?;
        self.store.topic(&name.topic)?.partition(name.partition)
    }
}

fn unstable(at: &TopicPartition) -> Error {
    let (topic, partition) = ((*at.topic).to_owned(), at.partition);
    GroupError::UnstableOffsetCommit { topic, partition }.into()
}
