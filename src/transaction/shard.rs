//! One partition of `__transaction_state`, with its transactional ids.

use crate::error::{Error, Result, TransactionError};
use crate::event::{AbortReason, Event};
use crate::group::state_log::{KeyAndValue, StateLog};
use crate::group::state_partitions::{Now, PartitionState};
use crate::log::Log;
use crate::transaction::config::TransactionCoordinatorConfig;
use crate::transaction::producer::{EndStep, InitStep, Outcome, Refusal, TransactionalProducer};
use crate::transaction::record::{TransactionRecord, TransactionState};
use crate::types::{
    IsolationLevel, Offset, ProducerId, ProducerIdentity, StartAt, TopicPartition,
    TransactionVersion,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The approximate size of a record, without the id and the partitions.
const RECORD_BYTES: u64 = 140;

/// The approximate size of the records that are stored as one batch. It is well below the limit of
/// a batch, 1 MiB unless the topic was altered.
const BATCH_BYTES: u64 = 256 << 10;

/// The state of a partition: its log, and the producers of its transactional ids.
#[derive(Debug)]
pub(super) struct Shard {
    log: StateLog,
    entries: BTreeMap<Arc<str>, Entry>,
    /// The time of the next check for unused ids.
    next_expiry: Duration,
    next_claim: u64,
    /// The first timeout that began since the coordinator has asked for it.
    soonest: Duration,
    /// The events for the listener since the coordinator has asked for them.
    happened: Vec<Event>,
}

/// A transactional id.
#[derive(Debug)]
struct Entry {
    producer: TransactionalProducer,
    /// The offset of its last record.
    at: Offset,
    /// The time at which the ongoing transaction is aborted, if it has a limit.
    times_out: Option<Duration>,
    /// The claim of the thread that writes the markers of the transaction, without the lock.
    claim: Option<u64>,
    /// Set if the transaction was ongoing when the log was read, so that its producer is gone.
    is_orphan: bool,
    /// The producer whose transaction was aborted because it timed out, until it continues.
    expired: Option<ProducerIdentity>,
    /// Set if the call that decided the transaction has failed, or its process has ended.
    is_left: bool,
}

/// A decided transaction that the caller has to complete. No other thread does meanwhile.
#[derive(Debug)]
#[must_use = "no other thread completes the transaction"]
pub(super) struct Claimed {
    pub(super) id: Arc<str>,
    pub(super) producer: TransactionalProducer,
    /// The offset of the decision.
    pub(super) decided_at: Offset,
    number: u64,
    is_left: bool,
}

/// The next step of a call.
#[derive(Debug)]
pub(super) enum Step {
    /// The call is done.
    Done(ProducerIdentity),
    /// The transaction of this call is decided: complete it, then the call is done.
    Decided(Claimed),
    /// An earlier transaction has to be completed first: complete it, then repeat the call.
    Complete(Claimed),
    /// Another thread completes the transaction: repeat the call afterwards.
    Busy,
    /// Repeat the call with a new producer id.
    NeedsProducerId,
    /// Prepare these partitions for the decision, then repeat the call.
    NotReady(BTreeSet<TopicPartition>),
}

/// A transaction that is aborted because it has timed out, or its process has ended.
struct DueAbort {
    id: Arc<str>,
    reason: AbortReason,
    /// The producer that learns of it, if it has timed out.
    expired: Option<ProducerIdentity>,
}

/// A call that ends a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) who: ProducerIdentity,
    pub(super) outcome: Outcome,
    pub(super) version: TransactionVersion,
}

impl Shard {
    /// Reads the transactional ids in a partition, each with its producer.
    pub(super) fn stored_producers(
        number: u32,
        log: &Log,
    ) -> Result<BTreeMap<Arc<str>, TransactionalProducer>> {
        let (entries, _) = Shard::read(number, log)?;
        Ok(entries.into_iter().map(|(id, entry)| (id, entry.producer)).collect())
    }

    /// Reads the partition from start to end. Returns the last record of each transactional id
    /// with its offset, and the size of the log.
    fn read(number: u32, log: &Log) -> Result<(BTreeMap<Arc<str>, Entry>, u64)> {
        let (mut entries, mut log_bytes) = (BTreeMap::new(), 0u64);
        // In a replicated log, the high watermark may lag behind what the coordinator has decided.
        let mut reader = log.isolated(IsolationLevel::LogEnd).reader(StartAt::Earliest)?;
        while let Some(mut batch) = reader.next_batch()? {
            let header = *batch.header();
            log_bytes = log_bytes.saturating_add(header.batch_length.unsigned_abs().into());
            if header.is_control() {
                continue;
            }
            for record in batch.records()? {
                let record = record?;
                let at = record.offset;
                let corrupt = |reason: String| TransactionError::CorruptState {
                    partition: number,
                    offset: at,
                    reason,
                };
                let decoded = TransactionRecord::decode(record.key, record.value)
                    .map_err(|kind| corrupt(kind.to_string()))?;
                let Some(TransactionRecord { transactional_id, metadata }) = decoded else {
                    continue;
                };
                let Some(stored) = metadata else {
                    entries.remove(transactional_id.as_str());
                    continue;
                };
                let producer = TransactionalProducer::restore(stored)
                    .map_err(|reason| corrupt(reason.to_owned()))?;
                entries.insert(transactional_id.into(), Entry::new(producer, at));
            }
        }
        Ok((entries, log_bytes))
    }

    fn entry(&self, id: &str) -> Result<&Entry> {
        let unknown = || TransactionError::InvalidIdMapping { id: id.to_owned() };
        self.entries.get(id).ok_or_else(|| unknown().into())
    }

    /// Returns the producer of a transactional id.
    pub(super) fn producer(&self, id: &str) -> Option<&TransactionalProducer> {
        self.entries.get(id).map(|entry| &entry.producer)
    }

    /// Returns all transactional ids, each with its producer.
    pub(super) fn producers(&self) -> impl Iterator<Item = (&Arc<str>, &TransactionalProducer)> {
        self.entries.iter().map(|(id, entry)| (id, &entry.producer))
    }

    /// Stores the next state of a transactional id. If that fails, the state is what it was.
    fn append(&mut self, id: &str, producer: TransactionalProducer, now: Now) -> Result<()> {
        let known = self.entries.get_key_value(id);
        let id = known.map_or_else(|| id.into(), |(id, _)| Arc::clone(id));
        self.append_all(vec![(id, producer)], now)
    }

    /// Stores the next states of transactional ids, as one batch. If that fails, the states are
    /// what they were.
    fn append_all(
        &mut self,
        changes: Vec<(Arc<str>, TransactionalProducer)>,
        now: Now,
    ) -> Result<()> {
        let record = |(id, producer): &(Arc<str>, TransactionalProducer)| {
            let metadata = Some(producer.stored.clone());
            encode(&TransactionRecord { transactional_id: id.as_ref().to_owned(), metadata })
        };
        let records = changes.iter().map(record).collect::<Result<Vec<_>>>()?;
        let appended = self.log.append(records)?;
        let first = appended.map_or(0, |appended| appended.first);
        for (at, (id, producer)) in (first..).zip(changes) {
            self.replace(id, producer, at, now);
        }
        Ok(())
    }

    /// Puts the stored state of a transactional id in the place of the previous one.
    fn replace(&mut self, id: Arc<str>, producer: TransactionalProducer, at: Offset, now: Now) {
        let before = self.entries.remove(&id);
        let expired = before.as_ref().and_then(|before| before.expired);
        let mut entry = Entry::new(producer, at);
        let is_ongoing = |entry: &Entry| entry.producer.stored.state == TransactionState::Ongoing;
        match before.filter(|before| is_ongoing(before) && is_ongoing(&entry)) {
            Some(before) => {
                (entry.times_out, entry.is_orphan) = (before.times_out, before.is_orphan);
            }
            None => entry.start_timeout(now),
        }
        self.soonest = self.soonest.min(entry.times_out.unwrap_or(Duration::MAX));
        if Outcome::of(entry.producer.stored.state).is_some() {
            entry.expired = expired;
        }
        self.entries.insert(id, entry);
    }

    /// Takes a decided transaction, to complete it.
    fn claim(&mut self, id: &str) -> Option<Claimed> {
        let number = self.next_claim;
        let id = Arc::clone(self.entries.get_key_value(id)?.0);
        let entry = self.entries.get_mut(&id).filter(|entry| entry.is_unfinished())?;
        entry.claim = Some(number);
        self.next_claim = number.wrapping_add(1);
        let (producer, decided_at) = (entry.producer.clone(), entry.at);
        Some(Claimed { id, producer, decided_at, number, is_left: entry.is_left })
    }

    /// Stores, as one batch, that transactions are complete. Their partitions have their markers.
    pub(super) fn complete(&mut self, claimed: &[&Claimed], now: Now) -> Result<()> {
        let is_same = |claimed: &&&Claimed| {
            self.entries.get(&claimed.id).is_some_and(|entry| {
                entry.claim == Some(claimed.number)
                    && entry.producer.stored == claimed.producer.stored
            })
        };
        let claimed: Vec<&Claimed> = claimed.iter().filter(is_same).copied().collect();
        let change =
            |claimed: &&Claimed| (Arc::clone(&claimed.id), claimed.producer.complete(now.calendar));
        self.append_all(claimed.iter().map(change).collect(), now)?;
        for claimed in claimed.into_iter().filter(|claimed| claimed.is_left) {
            let committed = Outcome::of(claimed.producer.stored.state) == Some(Outcome::Commit);
            let id = claimed.id.as_ref().to_owned();
            self.happened.push(Event::TransactionCompleted { id, committed });
        }
        Ok(())
    }

    /// Gives back a transaction that could not be completed.
    pub(super) fn release(&mut self, claimed: &Claimed) {
        let entry = self.entries.get_mut(&claimed.id);
        if let Some(entry) = entry.filter(|entry| entry.claim == Some(claimed.number)) {
            entry.claim = None;
            entry.is_left = true;
        }
    }

    /// Converts the refusal of a call by this producer.
    fn refused(
        &mut self,
        id: &str,
        who: Option<ProducerIdentity>,
        refusal: Refusal,
        call: &'static str,
    ) -> Result<Step> {
        let owned = id.to_owned();
        let expired = self.entries.get(id).filter(|entry| who.is_some() && entry.expired == who);
        Err(match refusal {
            Refusal::NeedsProducerId => return Ok(Step::NeedsProducerId),
            Refusal::Concurrent => return Ok(self.claim(id).map_or(Step::Busy, Step::Complete)),
            Refusal::Fenced | Refusal::InvalidState(_) if let Some(entry) = expired => {
                TransactionError::Expired { id: owned, timeout: entry.producer.timeout() }
            }
            Refusal::Fenced => TransactionError::Fenced { id: owned },
            Refusal::InvalidIdMapping => TransactionError::InvalidIdMapping { id: owned },
            Refusal::InvalidState(state) => {
                TransactionError::InvalidState { id: owned, state: state.name(), call }
            }
        }
        .into())
    }

    pub(super) fn init(
        &mut self,
        id: &str,
        expected: Option<ProducerIdentity>,
        timeout_ms: i32,
        new_id: Option<ProducerId>,
        now: Now,
    ) -> Result<Step> {
        let Some(entry) = self.entries.get(id) else {
            let Some(new_id) = new_id else { return Ok(Step::NeedsProducerId) };
            let producer = TransactionalProducer::new(new_id, timeout_ms, now.calendar);
            let identity = producer.identity();
            return self.append(id, producer, now).map(|()| Step::Done(identity));
        };
        match entry.producer.init(expected, timeout_ms, now.calendar, new_id) {
            Ok(InitStep::Ready(next)) => {
                let identity = next.identity();
                self.append(id, next, now).map(|()| Step::Done(identity))
            }
            Ok(InitStep::Unchanged) => Ok(Step::Done(entry.producer.identity())),
            Ok(InitStep::FenceFirst(next)) => {
                self.append(id, next, now)?;
                self.aborted(id, AbortReason::Fenced);
                Ok(self.claim(id).map_or(Step::Busy, Step::Complete))
            }
            Err(refusal) => self.refused(id, expected, refusal, "initialize"),
        }
    }

    pub(super) fn add(
        &mut self,
        id: &str,
        who: ProducerIdentity,
        partitions: &[TopicPartition],
        version: TransactionVersion,
        now: Now,
    ) -> Result<Step> {
        let producer = &self.entry(id)?.producer;
        match producer.add(who, partitions, version, now.calendar) {
            Ok(Some(next)) => self.append(id, next, now).map(|()| Step::Done(who)),
            Ok(None) => Ok(Step::Done(who)),
            Err(refusal) => self.refused(id, Some(who), refusal, "add partitions to"),
        }
    }

    /// Ends a transaction whose partitions are `ready` for the decision.
    pub(super) fn end(
        &mut self,
        id: &str,
        call: End,
        ready: &BTreeSet<TopicPartition>,
        new_id: Option<ProducerId>,
        now: Now,
    ) -> Result<Step> {
        let (who, producer) = (call.who, &self.entry(id)?.producer);
        match producer.end(who, call.outcome, call.version, now.calendar, new_id) {
            Ok(EndStep::Prepare(next)) if !next.stored.partitions.is_subset(ready) => {
                Ok(Step::NotReady(next.stored.partitions))
            }
            Ok(EndStep::Prepare(next)) => {
                self.append(id, next, now)?;
                Ok(self.claim(id).map_or(Step::Busy, Step::Decided))
            }
            Ok(EndStep::AlreadyDone) => Ok(Step::Done(producer.identity())),
            Err(refusal) => {
                let call = if call.outcome == Outcome::Commit { "commit" } else { "abort" };
                self.refused(id, Some(who), refusal, call)
            }
        }
    }

    /// Returns the ids whose transactions are to be aborted or completed now, in groups whose
    /// records fit into a batch, and the time until the next one is.
    pub(super) fn due(
        &self,
        config: &TransactionCoordinatorConfig,
        now: Now,
    ) -> (Vec<Vec<Arc<str>>>, Option<Duration>) {
        let (mut due, mut next) = (Vec::<Vec<Arc<str>>>::new(), None::<Duration>);
        let mut room = 0;
        for (id, entry) in &self.entries {
            let until = if entry.is_due(config, now) || entry.is_unfinished() {
                let left = u64::checked_sub(room, stored_bytes(id, entry));
                match due.last_mut().filter(|_| left.is_some()) {
                    Some(group) => group.push(Arc::clone(id)),
                    None => due.push(vec![Arc::clone(id)]),
                }
                let first = BATCH_BYTES.saturating_sub(stored_bytes(id, entry));
                room = left.unwrap_or(first);
                None
            } else if entry.producer.is_prepared() {
                // The thread that completes it may fail.
                Some(config.abort_check_interval)
            } else {
                entry.times_out.map(|until| until.saturating_sub(now.monotonic))
            };
            next = next.into_iter().chain(until).min();
        }
        (due, next)
    }

    /// Aborts the transaction of an id, if it has timed out or its producer is gone.
    pub(super) fn end_if_due(
        &mut self,
        id: &str,
        config: &TransactionCoordinatorConfig,
        new_id: Option<ProducerId>,
        now: Now,
    ) -> Result<Option<Step>> {
        match self.due_abort(id, config, new_id, now) {
            None => Ok(None),
            Some(Ok((due, next))) => {
                self.abort_all(vec![due], vec![next], now)?;
                Ok(Some(self.claim(id).map_or(Step::Busy, Step::Complete)))
            }
            Some(Err(refusal)) => self.refused(id, None, refusal, "abort").map(Some),
        }
    }

    /// Returns how the transaction of an id is aborted, if that is due.
    fn due_abort(
        &self,
        id: &str,
        config: &TransactionCoordinatorConfig,
        new_id: Option<ProducerId>,
        now: Now,
    ) -> Option<Result<(DueAbort, TransactionalProducer), Refusal>> {
        let (id, entry) = self.entries.get_key_value(id)?;
        if !entry.is_due(config, now) {
            return None;
        }
        let has_timed_out = entry.has_timed_out(now);
        let due = DueAbort {
            id: Arc::clone(id),
            reason: if has_timed_out { AbortReason::TimedOut } else { AbortReason::ProcessEnded },
            expired: has_timed_out.then(|| entry.producer.identity()),
        };
        Some(entry.producer.fence(now.calendar, new_id).map(|next| (due, next)))
    }

    fn abort_all(
        &mut self,
        due: Vec<DueAbort>,
        next: Vec<TransactionalProducer>,
        now: Now,
    ) -> Result<()> {
        let ids = due.iter().map(|due| Arc::clone(&due.id));
        self.append_all(ids.zip(next).collect(), now)?;
        for DueAbort { id, reason, expired } in due {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.expired = expired;
            }
            self.aborted(&id, reason);
        }
        Ok(())
    }

    /// Aborts transactions of ids, as far as that is due: the records of all are one batch. An id
    /// that needs another producer id is left out.
    pub(super) fn abort_all_due(
        &mut self,
        ids: &[Arc<str>],
        config: &TransactionCoordinatorConfig,
        now: Now,
    ) -> Result<()> {
        let due = ids.iter().filter_map(|id| self.due_abort(id, config, None, now)?.ok());
        let (due, next) = due.unzip();
        self.abort_all(due, next, now)
    }

    /// Claims the decided transactions of ids that no thread completes.
    pub(super) fn claim_all(&mut self, ids: &[Arc<str>]) -> Vec<Claimed> {
        ids.iter().filter_map(|id| self.claim(id)).collect()
    }

    /// Aborts or completes the transaction of an id, if that is due.
    pub(super) fn end_due(
        &mut self,
        id: &str,
        config: &TransactionCoordinatorConfig,
        new_id: Option<ProducerId>,
        now: Now,
    ) -> Result<Option<Step>> {
        match self.end_if_due(id, config, new_id, now)? {
            Some(step) => Ok(Some(step)),
            None => Ok(self.claim(id).map(Step::Complete)),
        }
    }

    fn aborted(&mut self, id: &str, reason: AbortReason) {
        self.happened.push(Event::TransactionAborted { id: id.to_owned(), reason });
    }

    /// Returns the first timeout that began since the last call, and what happened since then.
    pub(super) fn take_news(&mut self) -> (Duration, Vec<Event>) {
        let soonest = std::mem::replace(&mut self.soonest, Duration::MAX);
        (soonest, std::mem::take(&mut self.happened))
    }

    /// Fails if a partition is not part of the ongoing transaction of this producer.
    pub(super) fn verify(
        &mut self,
        id: &str,
        who: ProducerIdentity,
        partitions: &[TopicPartition],
    ) -> Result<Step> {
        let producer = &self.entry(id)?.producer;
        let stored = &producer.stored;
        if who != producer.identity() {
            let is_other = who.id != stored.producer_id;
            let refusal = if is_other { Refusal::InvalidIdMapping } else { Refusal::Fenced };
            return self.refused(id, Some(who), refusal, "verify");
        }
        if producer.is_prepared() {
            return self.refused(id, Some(who), Refusal::Concurrent, "verify");
        }
        let is_part = |at: &&TopicPartition| {
            stored.state == TransactionState::Ongoing && stored.partitions.contains(at)
        };
        match partitions.iter().find(|at| !is_part(at)) {
            None => Ok(Step::Done(who)),
            Some(at) => {
                let (id, partition) = (id.to_owned(), at.clone());
                Err(TransactionError::PartitionNotAdded { id, partition }.into())
            }
        }
    }

    /// Removes ids that were not used for long.
    fn expire(&mut self, config: &TransactionCoordinatorConfig, now: Now) -> Result<()> {
        let expired = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.producer.has_expired(config.id_expiration, now.calendar));
        for id in expired.map(|(id, _)| Arc::clone(id)).collect::<Vec<_>>() {
            let transactional_id = id.as_ref().to_owned();
            self.log.append([encode(&TransactionRecord { transactional_id, metadata: None })?])?;
            self.entries.remove(&id);
        }
        Ok(())
    }
}

fn encode(record: &TransactionRecord) -> Result<KeyAndValue> {
    record.encode().map_err(|too_long| Error::InvalidConfig {
        option: "transactional_id",
        reason: format!(
            "is {} bytes long, but must have at most {}",
            too_long.length, too_long.limit
        ),
    })
}

/// Returns the approximate size of the last record of an id.
fn stored_bytes(id: &str, entry: &Entry) -> u64 {
    let of_partition = |at: &TopicPartition| at.topic.len().saturating_add(8) as u64;
    let partitions = entry.producer.stored.partitions.iter().map(of_partition);
    RECORD_BYTES.saturating_add(id.len() as u64).saturating_add(partitions.sum())
}

impl Entry {
    fn new(producer: TransactionalProducer, at: Offset) -> Entry {
        let (times_out, claim, expired) = (None, None, None);
        Entry { producer, at, times_out, claim, is_orphan: false, expired, is_left: false }
    }

    fn start_timeout(&mut self, now: Now) {
        let left = self.producer.time_left(now.calendar);
        self.times_out = left.map(|left| now.monotonic.saturating_add(left));
    }

    /// Returns whether the ongoing transaction is to be aborted.
    fn is_due(&self, config: &TransactionCoordinatorConfig, now: Now) -> bool {
        let is_ongoing = self.producer.stored.state == TransactionState::Ongoing;
        let has_timed_out = self.has_timed_out(now);
        let is_gone = self.is_orphan && !config.resume_ongoing && !self.producer.is_two_phase();
        is_ongoing && (has_timed_out || is_gone)
    }

    fn has_timed_out(&self, now: Now) -> bool {
        self.times_out.is_some_and(|until| until <= now.monotonic)
    }

    /// Returns whether the transaction is decided, and no thread completes it.
    fn is_unfinished(&self) -> bool {
        self.producer.is_prepared() && self.claim.is_none()
    }
}

impl PartitionState for Shard {
    type Config = TransactionCoordinatorConfig;

    fn load(
        number: u32,
        log: &Log,
        config: &TransactionCoordinatorConfig,
        now: Now,
    ) -> Result<Shard> {
        let (mut entries, log_bytes) = Shard::read(number, log)?;
        let mut soonest = Duration::MAX;
        for entry in entries.values_mut() {
            entry.is_orphan = entry.producer.stored.state == TransactionState::Ongoing;
            entry.is_left = entry.producer.is_prepared();
            entry.start_timeout(now);
            soonest = soonest.min(entry.times_out.unwrap_or(Duration::MAX));
            if entry.producer.stored.producer_id < config.first_trusted {
                entry.producer.retire_id();
            }
        }
        let next_expiry = now.monotonic.saturating_add(config.id_expiration_check_interval);
        let log = StateLog::new(log, log_bytes);
        let happened = Vec::new();
        Ok(Shard { log, entries, next_expiry, next_claim: 0, soonest, happened })
    }

    fn is_closed(&self) -> bool {
        self.log.is_closed()
    }

    /// Continues with the new log of a reopened partition. A record after the last one of an id is
    /// from an append that failed, although it was written; it counts. An id whose last record the
    /// log has lost is stored again.
    fn continue_with_log(&mut self, number: u32, log: &Log, now: Now) -> Result<()> {
        let (found, log_bytes) = Shard::read(number, log)?;
        self.log = StateLog::new(log, log_bytes);
        let before = std::mem::replace(&mut self.entries, found);
        let mut lost = Vec::new();
        for (id, entry) in before {
            match self.entries.get_mut(&id) {
                Some(found) if found.at > entry.at => {
                    found.claim = entry.claim;
                    found.start_timeout(now);
                }
                Some(found) if found.at == entry.at => *found = entry,
                _ => lost.push((id, entry)),
            }
        }
        for (id, entry) in lost {
            self.append(&id, entry.producer, now)?;
            if let Some(stored) = self.entries.get_mut(&id) {
                (stored.times_out, stored.is_orphan) = (entry.times_out, entry.is_orphan);
                (stored.claim, stored.expired) = (entry.claim, entry.expired);
            }
        }
        Ok(())
    }

    fn run_due(&mut self, config: &TransactionCoordinatorConfig, now: Now) {
        if now.monotonic >= self.next_expiry {
            self.next_expiry = now.monotonic.saturating_add(config.id_expiration_check_interval);
            // The next check removes the other ids.
            self.expire(config, now).ok();
        }
    }

    fn should_compact(&mut self) -> bool {
        let entries = &self.entries;
        let live_bytes = || entries.iter().map(|(id, entry)| stored_bytes(id, entry));
        self.log.should_compact(|| live_bytes().fold(0, u64::saturating_add))
    }
}
