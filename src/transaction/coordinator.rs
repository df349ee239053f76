//! The coordinator: it decides transactions, and lets each of their partitions know.
//!
//! Each transactional id belongs to one partition of `__transaction_state`, by the hash of the id.
//! A change is written there before it takes effect. The record `PrepareCommit` or `PrepareAbort`
//! is the decision: it is followed by a marker in each partition, and by the record that the
//! transaction is complete. After a crash in between, the markers are written again.
//!
//! A partition has one lock, which is held while its log is appended to. It is not held while
//! markers are written, nor during an fsync, so a slow partition delays only the transactions that
//! it takes part in. A thread claims a decided transaction under the lock, writes the markers
//! without it, and stores the completion under it. If it cannot, it gives the transaction back,
//! and the next call for the id, or [`tick`](Coordinator::tick), continues. It makes the markers
//! durable, because the call that failed may have asked for that: after a loss of power, a
//! completion without its markers would leave partitions with an open transaction.
//!
//! There is no thread: calls wait for each other, and the store calls `tick`.

use crate::error::{Error, Result, TransactionError};
use crate::event::{Event, EventSink};
use crate::group::state_partitions::{
    CoordinatorContext, Now, StateLogs, StatePartition, StatePartitions,
};
use crate::notify::Notify;
use crate::record::EndTxnMarker;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::topic_name::TRANSACTION_STATE;
use crate::transaction::config::TransactionCoordinatorConfig;
use crate::transaction::participants::{MarkerOutcome, Participants};
use crate::transaction::producer::{Outcome, TransactionalProducer};
use crate::transaction::shard::{Claimed, End, Shard, Step};
use crate::types::{ProducerId, ProducerIdentity, TopicPartition, TransactionVersion};
use std::collections::BTreeSet;
use std::time::Duration;

/// The transactions that are stored in a topic.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) config: TransactionCoordinatorConfig,
    pub(super) participants: Box<dyn Participants>,
    pub(super) events: EventSink,
    pub(super) partitions: StatePartitions<Shard>,
    /// Wakes the calls that wait for a transaction to be completed.
    released: Notify,
    /// How often a transaction was completed or given back.
    releases: AtomicU64,
    /// The first moment at which [`tick`](Coordinator::tick) may have something to do, in
    /// milliseconds of the monotonic clock.
    pub(super) next_due: AtomicU64,
}

/// How long a call of [`Transactions`](crate::Transactions) waits while another thread completes
/// the previous transaction of the transactional id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Not at all: the call fails with [`Concurrent`](crate::TransactionError::Concurrent), and
    /// the caller repeats it. A broker answers its clients so.
    No,
    /// At most for so long, by the clock of the store, and then the call fails in the same way.
    UpTo(Duration),
}

/// A decided transaction that this thread completes. Dropping it gives the transaction back.
pub(super) struct Completion<'a> {
    pub(super) coordinator: &'a Coordinator,
    pub(super) claimed: Claimed,
}

impl Drop for Completion<'_> {
    fn drop(&mut self) {
        // Also while the log is offline: the claim would outlast that.
        let partitions = &self.coordinator.partitions;
        if let Ok(partition) = partitions.of(&self.claimed.id) {
            partitions.with_last_state(partition, |shard| shard.release(&self.claimed));
        }
        self.coordinator.releases.fetch_add(1, Ordering::Release);
        self.coordinator.released.notify();
    }
}

impl Coordinator {
    /// Creates the coordinator of the transactions in `logs`, a topic with this number of
    /// partitions.
    pub(crate) fn new(
        logs: Box<dyn StateLogs>,
        partitions: u32,
        participants: Box<dyn Participants>,
        config: TransactionCoordinatorConfig,
        context: CoordinatorContext,
        events: EventSink,
    ) -> Coordinator {
        Coordinator {
            config,
            participants,
            events,
            partitions: StatePartitions::new(logs, partitions, context),
            released: Notify::default(),
            releases: AtomicU64::new(0),
            next_due: AtomicU64::new(u64::MAX),
        }
    }

    /// Runs `act` on the partition of a transactional id, with its lock held.
    pub(super) fn with_shard<T>(
        &self,
        id: &str,
        act: impl FnOnce(&mut Shard, Now) -> Result<T>,
    ) -> Result<T> {
        self.with_partition(self.partitions.of(id)?, act)
    }

    /// Runs `act` on a partition, with its lock held.
    pub(super) fn with_partition<T>(
        &self,
        partition: &StatePartition<Shard>,
        act: impl FnOnce(&mut Shard, Now) -> Result<T>,
    ) -> Result<T> {
        let (done, (due, happened)) =
            self.partitions.with_shard(partition, &self.config, |shard, now| {
                let done = act(shard, now);
                Ok((done, shard.take_news()))
            })?;
        self.is_due_at(due);
        happened.iter().for_each(|event| self.events.emit(event));
        done
    }

    /// Sees to it that a tick comes at this moment.
    pub(super) fn is_due_at(&self, due: Duration) {
        // Rounded up, so that the transaction is due at this moment.
        let due = due.as_nanos().div_ceil(1_000_000);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        if due < self.next_due.load(Ordering::Relaxed)
            && due < self.next_due.fetch_min(due, Ordering::Relaxed)
            && !self.partitions.has_maintainer()
        {
            self.participants.due_is_sooner();
        }
    }

    /// Returns the moment, by the monotonic clock, at which a transaction is due that no thread of
    /// a maintainer ends.
    pub(crate) fn due_without_maintainer(&self) -> Option<Duration> {
        let due = self.next_due.load(Ordering::Relaxed);
        (due != u64::MAX && !self.partitions.has_maintainer()).then(|| Duration::from_millis(due))
    }

    /// Ends what is due, if no thread of a maintainer does.
    pub(crate) fn end_due_without_maintainer(&self) {
        let Some(due) = self.due_without_maintainer() else { return };
        if due <= self.partitions.clock().monotonic() {
            self.tick();
        }
    }

    /// Returns the producer of a transactional id.
    pub(crate) fn producer(&self, id: &str) -> Result<Option<TransactionalProducer>> {
        self.with_shard(id, |shard, _| Ok(shard.producer(id).cloned()))
    }

    /// Takes a producer on: it gets a producer id and an epoch that fences its predecessor.
    /// `expected` is the identity of a producer that continues after an error.
    ///
    /// If a transaction of the predecessor is ongoing, it is aborted first.
    pub(crate) fn init_producer_id(
        &self,
        id: &str,
        timeout: Duration,
        expected: Option<ProducerIdentity>,
        wait: Wait,
    ) -> Result<ProducerIdentity> {
        if id.is_empty() {
            return Err(TransactionError::EmptyId.into());
        }
        let most = self.config.max_timeout;
        let timeout_ms = i32::try_from(timeout.as_millis()).ok();
        let timeout_ms = timeout_ms.filter(|millis| *millis > 0 && timeout <= most);
        let invalid = TransactionError::InvalidTimeout { given: timeout, most };
        let timeout_ms = timeout_ms.ok_or(invalid)?;
        self.repeat(id, wait, false, |new_id, _| {
            self.with_shard(id, |shard, now| {
                let config = &self.config;
                if let Some(step) = shard.end_if_due(id, config, new_id, now)? {
                    return Ok(step);
                }
                shard.init(id, expected, timeout_ms, new_id, now)
            })
        })
    }

    /// Adds partitions to the transaction of a producer, and begins one if none is ongoing. Call
    /// it before the first batch of the transaction is appended to a partition.
    pub(crate) fn add_partitions(
        &self,
        id: &str,
        who: ProducerIdentity,
        partitions: &[TopicPartition],
        version: TransactionVersion,
        wait: Wait,
    ) -> Result<()> {
        let added = self.repeat(id, wait, false, |new_id, _| {
            self.with_shard(id, |shard, now| {
                if let Some(step) = shard.end_if_due(id, &self.config, new_id, now)? {
                    return Ok(step);
                }
                shard.add(id, who, partitions, version, now)
            })
        });
        added.map(drop)
    }

    /// Fails if a partition is not part of the ongoing transaction of a producer.
    pub(crate) fn verify(
        &self,
        id: &str,
        who: ProducerIdentity,
        partitions: &[TopicPartition],
        wait: Wait,
    ) -> Result<()> {
        let verified = self.repeat(id, wait, false, |new_id, _| {
            self.with_shard(id, |shard, now| {
                if let Some(step) = shard.end_if_due(id, &self.config, new_id, now)? {
                    return Ok(step);
                }
                shard.verify(id, who, partitions)
            })
        });
        verified.map(drop)
    }

    /// Ends the transaction of a producer, and returns the identity for its next one.
    ///
    /// The transaction is decided once this has written its record. With `flush`, the data is made
    /// durable before the decision, the decision before the first marker, and the markers before
    /// the return. Without it, a transaction is whole after a crash of the process, and not after
    /// a loss of power.
    pub(crate) fn end(
        &self,
        id: &str,
        who: ProducerIdentity,
        outcome: Outcome,
        version: TransactionVersion,
        flush: bool,
        wait: Wait,
    ) -> Result<ProducerIdentity> {
        let call = End { who, outcome, version };
        let mut ready = BTreeSet::new();
        self.repeat(id, wait, flush, |new_id, not_ready| {
            if let Some(partitions) = not_ready {
                self.prepare(id, &partitions, outcome, flush)?;
                ready = partitions;
            }
            self.with_shard(id, |shard, now| {
                if let Some(step) = shard.end_if_due(id, &self.config, new_id, now)? {
                    return Ok(step);
                }
                shard.end(id, call, &ready, new_id, now)
            })
        })
    }

    /// Prepares partitions for a decision over their transaction.
    fn prepare(
        &self,
        id: &str,
        partitions: &BTreeSet<TopicPartition>,
        outcome: Outcome,
        flush: bool,
    ) -> Result<()> {
        for at in partitions {
            if outcome == Outcome::Commit && !self.participants.exists(at)? {
                let (id, partition) = (id.to_owned(), at.clone());
                return Err(TransactionError::PartitionGone { id, partition }.into());
            }
            if flush && outcome == Outcome::Commit {
                self.participants.flush(at)?;
            }
        }
        Ok(())
    }

    /// Repeats a call until it is done. The call gets the producer id that it asked for, or the
    /// partitions that it asked to be prepared.
    fn repeat(
        &self,
        id: &str,
        wait: Wait,
        flush: bool,
        mut call: impl FnMut(Option<ProducerId>, Option<BTreeSet<TopicPartition>>) -> Result<Step>,
    ) -> Result<ProducerIdentity> {
        self.end_due_without_maintainer();
        let (mut new_id, mut not_ready, mut until) = (None, None, None);
        loop {
            let seen = self.releases.load(Ordering::Acquire);
            match call(new_id, not_ready.take())? {
                Step::Done(identity) => return Ok(identity),
                Step::Decided(claimed) => return self.complete(claimed, flush),
                Step::Complete(claimed) => {
                    // Its completion may have used it.
                    new_id = None;
                    // The call that decided it may have asked for syncs.
                    self.complete(claimed, true)?;
                }
                Step::Busy => self.wait(id, seen, wait, &mut until)?,
                Step::NeedsProducerId => new_id = Some(self.participants.new_producer_id()?),
                Step::NotReady(partitions) => not_ready = Some(partitions),
            }
        }
    }

    /// Waits until another thread has completed a transaction, or has given it back. `until` is
    /// the end of the wait, once it has begun.
    fn wait(&self, id: &str, seen: u64, wait: Wait, until: &mut Option<Duration>) -> Result<()> {
        let clock = self.partitions.clock();
        let is_released = match wait {
            Wait::No => false,
            Wait::UpTo(limit) => {
                let now = clock.monotonic();
                let until = *until.get_or_insert(now.saturating_add(limit));
                let is_released = || self.releases.load(Ordering::Acquire) != seen;
                self.released.wait(Some(until.saturating_sub(now)), &**clock, is_released)
            }
        };
        let busy = || TransactionError::Concurrent { id: id.to_owned() };
        if is_released { Ok(()) } else { Err(busy().into()) }
    }

    /// Writes the markers of a decided transaction, and stores that it is complete.
    pub(super) fn complete(&self, claimed: Claimed, flush: bool) -> Result<ProducerIdentity> {
        let completion = Completion { coordinator: self, claimed };
        self.write_markers(&completion, flush).map_err(|(partition, error)| {
            let state = completion.claimed.producer.stored.state;
            let is_commit = Outcome::of(state) == Some(Outcome::Commit);
            let decision = if is_commit { "committed" } else { "aborted" };
            let (id, reason) = (completion.claimed.id.as_ref().to_owned(), error.to_string());
            let (of, at, why) = (id.clone(), partition.clone(), reason.clone());
            self.events.emit(&Event::MarkerDelayed { id: of, partition: at, error: why });
            TransactionError::Completing { id, decision, partition, reason }.into()
        })
    }

    /// Does the steps of [`complete`](Coordinator::complete). A failure comes with the partition
    /// at which it happened.
    fn write_markers(
        &self,
        completion: &Completion<'_>,
        flush: bool,
    ) -> Result<ProducerIdentity, (TopicPartition, Error)> {
        let Claimed { id, producer, decided_at, .. } = &completion.claimed;
        let state = self.partitions.of(id);
        let number = state.as_ref().map_or(0, |state| state.number);
        let of_state = |error| (TopicPartition::new(TRANSACTION_STATE, number), error);
        if flush {
            let log = state.and_then(|state| self.partitions.log(state)).map_err(of_state)?;
            log.flush_through(*decided_at).map_err(of_state)?;
        }
        let marker = producer.marker(self.participants.coordinator_epoch(number));
        for at in &producer.stored.partitions {
            self.write_marker(&completion.claimed, at, marker)
                .map_err(|error| (at.clone(), error))?;
        }
        for at in producer.stored.partitions.iter().filter(|_| flush) {
            self.participants.flush(at).map_err(|error| (at.clone(), error))?;
        }
        self.with_shard(id, |shard, now| shard.complete(&[&completion.claimed], now))
            .map_err(of_state)?;
        Ok(producer.next_identity())
    }

    /// Writes the marker of a transaction to a partition, unless that was deleted.
    pub(super) fn write_marker(
        &self,
        claimed: &Claimed,
        at: &TopicPartition,
        marker: EndTxnMarker,
    ) -> Result<()> {
        let (who, version) = (claimed.producer.identity(), claimed.producer.version());
        let written = self.participants.write_marker(at, who, marker, version)?;
        if written == MarkerOutcome::NoSuchPartition {
            let (id, partition) = (claimed.id.as_ref().to_owned(), at.clone());
            self.events.emit(&Event::MarkerSkipped { id, partition });
        }
        Ok(())
    }
}
