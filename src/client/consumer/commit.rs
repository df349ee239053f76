//! Committing positions: by calls, automatically, and only for own partitions.

use crate::callback;
use crate::client::consumer::partition::Partition;
use crate::client::consumer::{Consumer, GroupHandle};
use crate::error::{CommitError, ConsumeError, Error, ErrorKind, GroupError, Result};
use crate::group::membership::Committer;
use crate::group::offsets::OffsetAndMetadata;
use crate::types::TopicPartition;
use std::collections::BTreeMap;
use std::time::Duration;

impl Consumer {
    /// Commits the positions of all assigned partitions: everything that polls have returned
    /// counts as processed.
    ///
    /// When the call returns, the commit is in `__consumer_offsets`: it survives a process crash,
    /// and with [`flush_commits`](crate::ConsumerConfig::flush_commits) loss of power. All offsets
    /// are committed or none. If no partition is assigned, the call does nothing.
    /// Kafka: `commitSync`.
    ///
    /// ```
    /// use annals::{
    ///     AutoOffsetReset, ConsumerConfig, Store, StoreConfig, TopicConfig, TopicPartition,
    /// };
    /// use std::time::Duration;
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("orders", TopicConfig::default())?.partition(0)?.append("a")?;
    /// let config = ConsumerConfig::new("billing")
    ///     .auto_offset_reset(AutoOffsetReset::Earliest)
    ///     .enable_auto_commit(false);
    /// let mut consumer = store.consumer(config)?;
    /// consumer.subscribe(["orders"])?;
    /// for record in consumer.poll(Duration::ZERO)? {
    ///     println!("{:?}", record.value);
    /// }
    /// consumer.commit()?;
    /// let committed = consumer.committed(&TopicPartition::new("orders", 0))?;
    /// assert_eq!(committed, Some(1.into()));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ConsumeError::NoGroupId`], [`ConsumeError::Closed`], [`Error::StoreClosed`].
    /// - [`ConsumeError::CommitFailed`] if the group has assigned its partitions anew since the
    ///   last poll, or another consumer has taken over. Other members may read the records again;
    ///   poll to go on.
    /// - [`Error::Io`]: nothing is committed. If the disk was full, commit again once there is
    ///   room.
    pub fn commit(&mut self) -> Result<()> {
        self.store.inner().check_open()?;
        let positions = self.existing_partitions().filter_map(|partition| {
            Some((partition.name.clone(), OffsetAndMetadata::from(partition.position()?)))
        });
        let positions: Vec<_> = positions.collect();
        self.commit_offsets(positions)
    }

    /// Commits these offsets. Each is the offset of the next record to read, so one more than the
    /// last processed one. If a partition comes twice, the last offset counts.
    ///
    /// With [assigned](Consumer::assign) partitions, a consumer may commit for any partition that
    /// exists, as long as its group has no members.
    ///
    /// # Errors
    /// As [`commit`](Consumer::commit). Also [`ConsumeError::CommitFailed`] with one of these
    /// reasons:
    /// - [`UnknownTopicOrPartition`](CommitError::UnknownTopicOrPartition): the partition does
    ///   not exist, or was deleted.
    /// - [`NotSubscribed`](CommitError::NotSubscribed): this member does not subscribe to the
    ///   topic.
    /// - [`NotAssigned`](CommitError::NotAssigned): another member's partition. Poll, and look
    ///   at [`assignment`](Consumer::assignment).
    /// - [`MetadataTooLarge`](CommitError::MetadataTooLarge): metadata of more than 4096 bytes.
    pub fn commit_offsets(
        &mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        self.check_open()?;
        let offsets: BTreeMap<_, _> = offsets.into_iter().collect();
        let group = self.group_for("commit")?;
        if let Some(reason) = offsets.keys().find_map(|name| self.commit_error(name)) {
            let group = group.name.to_string();
            return Err(ConsumeError::CommitFailed { group, reason }.into());
        }
        self.commit_to(&group, &offsets)
    }

    fn commit_to(
        &mut self,
        group: &GroupHandle,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<()> {
        if offsets.is_empty() {
            // A loop that commits after each poll has no positions while partitions are being
            // assigned.
            return Ok(());
        }
        let committer = self.committer();
        if matches!(committer, Committer::Member { caller, .. } if caller.member_id.is_empty()) {
            let reason = GroupError::UnknownMemberId { member_id: String::new() };
            let (group, reason) = (group.name.to_string(), CommitError::Group(reason));
            return Err(ConsumeError::CommitFailed { group, reason }.into());
        }
        let flush = self.config.flush_commits;
        let check = |name: &TopicPartition| self.commit_error(name);
        group.coordinator.commit(&group.name, committer, offsets, &check, flush)?;
        for (name, committed) in offsets {
            if let Some(partition) = self.partition_mut(name) {
                partition.committed = Some(committed.offset);
            }
        }
        for interceptor in &self.config.interceptors {
            callback::call(|| interceptor.on_commit(offsets)).ok();
        }
        Ok(())
    }

    /// Returns why the consumer may not commit for a partition, as far as topics and assignments
    /// tell.
    fn commit_error(&self, name: &TopicPartition) -> Option<CommitError> {
        let own = self.index(name).and_then(|index| self.partitions.get(index));
        if own.is_some_and(|partition| !partition.log.is_closed()) {
            return None;
        }
        let (topic, partition) = ((*name.topic).to_owned(), name.partition);
        let found = self.store.topic(&topic);
        let Some(found) = found.ok().filter(|found| found.check_has_partition(partition).is_ok())
        else {
            return Some(CommitError::UnknownTopicOrPartition { topic, partition });
        };
        match own {
            // It is being reopened, or offline.
            Some(own) if own.belongs_to(&found) => return None,
            // The topic was created again, and the positions belong to the previous one.
            Some(_) => return Some(CommitError::NotAssigned { topic, partition }),
            None => {}
        }
        let subscribed = self.subscription.is_subscription();
        match subscribed.then(|| self.subscribes_to(&topic)) {
            None => None,
            Some(true) => Some(CommitError::NotAssigned { topic, partition }),
            Some(false) => Some(CommitError::NotSubscribed { topic }),
        }
    }

    /// Returns the partitions whose topics were not deleted.
    fn existing_partitions(&self) -> impl Iterator<Item = &Partition> {
        let is_known = |own: &Partition| {
            self.store.topic(&own.name.topic).is_ok_and(|topic| own.belongs_to(&topic))
        };
        self.partitions.iter().filter(move |own| !own.log.is_closed() || is_known(own))
    }

    /// Returns the positions that are not committed.
    fn uncommitted(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let moved = self.existing_partitions().filter(|partition| partition.is_uncommitted());
        moved.filter_map(|one| Some((one.name.clone(), one.position()?.into()))).collect()
    }

    /// Returns the group of a consumer that is not a member of it, and when the consumer next
    /// renews its group's offsets.
    fn offsets_renewal(&self) -> Option<(&GroupHandle, Duration)> {
        let group = self.group.as_ref().filter(|_| !self.subscription.is_subscription())?;
        Some((group, self.next_offsets_renewal))
    }

    /// Returns when a poll that waits has to renew its group's offsets.
    pub(super) fn offsets_renewal_due(&self) -> Option<Duration> {
        self.offsets_renewal().map(|(_, due)| due)
    }

    /// Renews the group's offsets if that is due. Reading them counts as use, so they do not
    /// expire.
    pub(super) fn renew_offsets_if_due(&mut self) -> Result<()> {
        let now = self.clock.monotonic();
        let Some((group, _)) = self.offsets_renewal().filter(|(_, due)| *due <= now) else {
            return Ok(());
        };
        let mut names = self.partitions.iter().map(|partition| &partition.name);
        group.coordinator.committed(&group.name, &mut names)?;
        let interval = group.coordinator.offset_use_interval();
        self.next_offsets_renewal = now.saturating_add(interval.max(Duration::from_millis(1)));
        Ok(())
    }

    fn auto_commits(&self) -> bool {
        self.config.enable_auto_commit && self.group.is_some()
    }

    pub(super) fn auto_commit_if_due(&mut self) -> Result<()> {
        if !self.auto_commits() || self.clock.monotonic() < self.next_auto_commit {
            return Ok(());
        }
        self.auto_commit()
    }

    /// Returns when a poll that waits has to commit; `None` if there is nothing to commit.
    pub(super) fn auto_commit_due(&self) -> Option<Duration> {
        let due = self.auto_commits() && self.existing_partitions().any(Partition::is_uncommitted);
        due.then_some(self.next_auto_commit)
    }

    /// Commits the records that polls have returned. A rejection by the group is left to the next
    /// join.
    pub(super) fn auto_commit(&mut self) -> Result<()> {
        match self.auto_commit_all() {
            Err(Error::Consume(error))
                if matches!(error.kind(), ErrorKind::Rebalancing | ErrorKind::Fenced) =>
            {
                Ok(())
            }
            done => done,
        }
    }

    /// Commits the records that polls have returned.
    pub(super) fn auto_commit_all(&mut self) -> Result<()> {
        if !self.auto_commits() {
            return Ok(());
        }
        let interval = self.config.auto_commit_interval.max(Duration::from_millis(1));
        self.next_auto_commit = self.clock.monotonic().saturating_add(interval);
        loop {
            if self.partitions.iter().any(Partition::is_uncommitted) {
                // In a closed store no topic is found, so all of them would seem deleted.
                self.store.inner().check_open()?;
            }
            let offsets = self.uncommitted();
            let group = self.group.clone().filter(|_| !offsets.is_empty());
            let Some(group) = group else { return Ok(()) };
            match self.commit_to(&group, &offsets) {
                // A topic was deleted just now: commit the other positions without it.
                Err(_) if self.uncommitted().len() < offsets.len() => {}
                done => return done,
            }
        }
    }
}
