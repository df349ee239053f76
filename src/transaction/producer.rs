//! The producer of a transactional id: which call leads from which state to which.
//!
//! ```text
//!            init            add               end               each partition has its marker
//!  no id ─────────▶ Empty ────────▶ Ongoing ────────▶ Prepare… ────────▶ Complete…
//!                     ▲                ▲  │ init, timeout  ▲                │  │
//!                     │                │  └────────────────┘                │  │
//!                     │                └────────────── add ─────────────────┘  │
//!                     └─────────────────────────────── init ───────────────────┘
//! ```
//!
//! Nothing here locks, reads a clock or a log. A call returns the producer as it is afterwards.
//! The caller stores it, and only then puts it in the place of the old one, so that a failed
//! append changes nothing.
//!
//! # Epochs
//!
//! From transaction version 2 on, each end of a transaction raises the epoch: batches and markers
//! of the ended transaction that arrive late have an old epoch, and are rejected. Before, only a
//! new initialization raises it. Epoch 32766 is the last that a producer gets. An end with it
//! stores the next producer id together with the decision. The markers have epoch 32767 of the old
//! id, and the transaction completes with epoch 0 of the next id.
//!
//! The *last epoch* is the epoch before the present one, if its owner is the present producer. So
//! a producer that repeats a call, because it did not get the answer, gets the present epoch. A
//! producer from which another one has taken over is fenced. The last epoch is not stored, but
//! follows from the state if version 2 completed the transaction.

use crate::record::EndTxnMarker;
use crate::transaction::record::{TransactionMetadata, TransactionState};
use crate::types::{
    ProducerEpoch, ProducerId, ProducerIdentity, Timestamp, TopicPartition, TransactionVersion,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// The last epoch that a producer gets. Only markers and fenced producers have the next one.
pub(crate) const LAST_EPOCH: ProducerEpoch = ProducerEpoch::MAX - 1;

/// The timeout of a transaction that another system ends, by a two-phase commit.
const NO_TIMEOUT: i32 = i32::MAX;

impl TransactionVersion {
    pub(crate) fn from_stored(version: i16) -> TransactionVersion {
        match version {
            2.. => TransactionVersion::V2,
            1 => TransactionVersion::V1,
            _ => TransactionVersion::V0,
        }
    }

    pub(crate) fn raises_epoch(self) -> bool {
        self >= TransactionVersion::V2
    }
}

/// The decision over a transaction. [`Transactions`](crate::Transactions) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its records count.
    Commit,
    /// Its records do not count: consumers that read committed records skip them.
    Abort,
}

impl Outcome {
    fn prepared(self) -> TransactionState {
        match self {
            Outcome::Commit => TransactionState::PrepareCommit,
            Outcome::Abort => TransactionState::PrepareAbort,
        }
    }

    /// Returns the outcome of a transaction that is being completed, or is complete.
    pub(crate) fn of(state: TransactionState) -> Option<Outcome> {
        match state {
            TransactionState::PrepareCommit | TransactionState::CompleteCommit => {
                Some(Outcome::Commit)
            }
            TransactionState::PrepareAbort | TransactionState::CompleteAbort => {
                Some(Outcome::Abort)
            }
            _ => None,
        }
    }
}

/// The reason why a call is rejected, or cannot be done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another producer has taken over. Kafka: `PRODUCER_FENCED`.
    Fenced,
    /// The transactional id belongs to another producer id. Kafka: `INVALID_PRODUCER_ID_MAPPING`.
    InvalidIdMapping,
    /// The transaction is being completed. Kafka: `CONCURRENT_TRANSACTIONS`.
    Concurrent,
    /// The state does not allow the call. Kafka: `INVALID_TXN_STATE`.
    InvalidState(TransactionState),
    /// The epochs are used up: repeat the call with a new producer id.
    NeedsProducerId,
}

/// The result of an initialization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InitStep {
    /// The producer has a new epoch, or a new id.
    Ready(TransactionalProducer),
    /// The call repeats one whose answer was lost.
    Unchanged,
    /// The transaction of the previous producer has to be aborted first. Then repeat the call.
    FenceFirst(TransactionalProducer),
}

/// The result of an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EndStep {
    /// The transaction is decided once this is stored. The partitions need their markers.
    Prepare(TransactionalProducer),
    /// The call repeats one whose answer was lost.
    AlreadyDone,
}

/// The producer of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionalProducer {
    pub(crate) stored: TransactionMetadata,
    /// The epoch before the present one, if the present producer had it.
    last_epoch: Option<ProducerEpoch>,
    /// Set if partitions may have seen later epochs of the producer id than the stored one, so
    /// that the next producer needs another id.
    retires: bool,
}

/// The identity that an initialization expects.
enum Expected {
    /// Nothing: a new producer takes over.
    Nothing,
    /// The present one: the producer continues after an error.
    Current,
    /// The one before: the producer repeats its call.
    Last,
}

impl TransactionalProducer {
    /// Returns the producer of a transactional id that is used for the first time.
    pub(crate) fn new(id: ProducerId, timeout_ms: i32, now: Timestamp) -> TransactionalProducer {
        let stored = TransactionMetadata {
            producer_id: id,
            producer_epoch: 0,
            // As in Kafka, where the id is assigned before the first epoch.
            previous_producer_id: Some(id),
            next_producer_id: None,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            last_update: now,
            started: None,
            client_version: 0,
        };
        TransactionalProducer { stored, last_epoch: None, retires: false }
    }

    /// Returns a stored producer. Fails if no coordinator stores it.
    ///
    /// The bytes may be hostile. Each producer that this accepts remains acceptable, whichever
    /// calls follow: the record of a call must not be one that the next load rejects.
    pub(crate) fn restore(
        mut stored: TransactionMetadata,
    ) -> Result<TransactionalProducer, &'static str> {
        if matches!(stored.state, TransactionState::Dead | TransactionState::PrepareEpochFence) {
            return Err("the transaction is in a state that is never stored");
        }
        if stored.producer_id < 0 || stored.producer_epoch < 0 {
            return Err("the transaction has no producer");
        }
        let others = [stored.previous_producer_id, stored.next_producer_id];
        if others.into_iter().flatten().any(|id| id < 0) {
            return Err("the id of its previous or next producer is below 0");
        }
        // The transaction would be completed with an epoch that the producer has had.
        if stored.next_producer_id == Some(stored.producer_id) {
            return Err("the next producer has the id of the present one");
        }
        if matches!(
            stored.state,
            TransactionState::CompleteCommit | TransactionState::CompleteAbort
        ) {
            // They have their markers, and do not belong to the next transaction.
            stored.partitions.clear();
        }
        let version = TransactionVersion::from_stored(stored.client_version);
        let raised = version.raises_epoch() && Outcome::of(stored.state).is_some();
        let has_new_id = stored.previous_producer_id != Some(stored.producer_id);
        let last_epoch = match stored.producer_epoch.checked_sub(1) {
            Some(before) if raised && before >= 0 => Some(before),
            _ if raised && has_new_id => Some(LAST_EPOCH),
            _ => None,
        };
        Ok(TransactionalProducer { stored, last_epoch, retires: false })
    }

    /// Gives the next producer of the transactional id another producer id.
    pub(crate) fn retire_id(&mut self) {
        self.retires = true;
    }

    pub(crate) fn identity(&self) -> ProducerIdentity {
        ProducerIdentity { id: self.stored.producer_id, epoch: self.stored.producer_epoch }
    }

    /// Returns how the present transaction is ended.
    pub(crate) fn version(&self) -> TransactionVersion {
        TransactionVersion::from_stored(self.stored.client_version)
    }

    /// Returns whether the transaction is decided, and its partitions may lack their markers.
    pub(crate) fn is_prepared(&self) -> bool {
        use TransactionState::{PrepareAbort, PrepareCommit};
        matches!(self.stored.state, PrepareCommit | PrepareAbort)
    }

    /// Initializes a producer. `expected` is the identity that a producer had which continues
    /// after an error. `new_id` is a producer id that no producer has, once it is needed.
    pub(crate) fn init(
        &self,
        expected: Option<ProducerIdentity>,
        timeout_ms: i32,
        now: Timestamp,
        new_id: Option<ProducerId>,
    ) -> Result<InitStep, Refusal> {
        let expected = self.compare(expected)?;
        if self.is_prepared() {
            return Err(Refusal::Concurrent);
        }
        match (self.stored.state, expected) {
            // The present owner of the epoch has begun a transaction, so the call is outdated.
            (TransactionState::Ongoing, Expected::Last) => Err(Refusal::Fenced),
            (TransactionState::Ongoing, _) => self.fence(now, new_id).map(InitStep::FenceFirst),
            (_, Expected::Last) => Ok(InitStep::Unchanged),
            (_, expected) => {
                let continues = matches!(expected, Expected::Current);
                let next = self.renewed(continues, timeout_ms, now, new_id)?;
                Ok(InitStep::Ready(next))
            }
        }
    }

    fn compare(&self, expected: Option<ProducerIdentity>) -> Result<Expected, Refusal> {
        let Some(expected) = expected else { return Ok(Expected::Nothing) };
        if expected == self.identity() {
            return Ok(Expected::Current);
        }
        let had_id = expected.id == self.stored.producer_id
            || (Some(expected.id) == self.stored.previous_producer_id
                && expected.epoch >= LAST_EPOCH);
        let is_last = had_id && Some(expected.epoch) == self.last_epoch;
        if is_last { Ok(Expected::Last) } else { Err(Refusal::Fenced) }
    }

    fn renewed(
        &self,
        continues: bool,
        timeout_ms: i32,
        now: Timestamp,
        new_id: Option<ProducerId>,
    ) -> Result<TransactionalProducer, Refusal> {
        let mut stored = self.changed(TransactionState::Empty, now);
        if self.retires || stored.producer_epoch >= LAST_EPOCH {
            stored.producer_id = self.checked(new_id)?;
            stored.producer_epoch = 0;
        } else {
            stored.producer_epoch = stored.producer_epoch.saturating_add(1);
        }
        stored.timeout_ms = timeout_ms;
        stored.partitions.clear();
        stored.started = None;
        let last_epoch = continues.then_some(self.stored.producer_epoch);
        Ok(TransactionalProducer { stored, last_epoch, retires: false })
    }

    /// Adds partitions to the transaction, and begins one if none is ongoing. Returns `None` if
    /// the transaction has these partitions already.
    pub(crate) fn add(
        &self,
        who: ProducerIdentity,
        partitions: &[TopicPartition],
        version: TransactionVersion,
        now: Timestamp,
    ) -> Result<Option<TransactionalProducer>, Refusal> {
        if who.id != self.stored.producer_id {
            return Err(Refusal::InvalidIdMapping);
        }
        if who.epoch != self.stored.producer_epoch {
            return Err(Refusal::Fenced);
        }
        if self.is_prepared() {
            return Err(Refusal::Concurrent);
        }
        let is_ongoing = self.stored.state == TransactionState::Ongoing;
        if is_ongoing && partitions.iter().all(|at| self.stored.partitions.contains(at)) {
            return Ok(None);
        }
        let mut stored = self.changed(TransactionState::Ongoing, now);
        stored.partitions.extend(partitions.iter().cloned());
        stored.client_version = version as i16;
        if !is_ongoing {
            stored.started = Some(now);
        }
        Ok(Some(TransactionalProducer { stored, ..*self }))
    }

    /// Ends the transaction. `new_id` is a producer id that no producer has, once it is needed.
    pub(crate) fn end(
        &self,
        who: ProducerIdentity,
        outcome: Outcome,
        version: TransactionVersion,
        now: Timestamp,
        new_id: Option<ProducerId>,
    ) -> Result<EndStep, Refusal> {
        use TransactionState::Ongoing;
        let state = self.stored.state;
        let raises = version.raises_epoch();
        let is_current = who == self.identity();
        let is_repeated = if raises { self.has_ended(who) } else { is_current };
        if !is_current && !is_repeated {
            let is_other = who.id != self.stored.producer_id;
            return Err(if is_other { Refusal::InvalidIdMapping } else { Refusal::Fenced });
        }
        match Outcome::of(state) {
            Some(decided) if is_repeated && decided != outcome => Err(Refusal::InvalidState(state)),
            Some(_) if is_repeated && self.is_prepared() => Err(Refusal::Concurrent),
            Some(_) if is_repeated => Ok(EndStep::AlreadyDone),
            // The epoch was not given to any producer yet.
            _ if self.is_prepared() => Err(Refusal::Concurrent),
            _ if !is_current => Err(Refusal::Fenced),
            _ if state == Ongoing => {
                self.prepared(outcome, version, now, new_id).map(EndStep::Prepare)
            }
            // The client does not know whether a partition was added.
            _ if raises && outcome == Outcome::Abort => {
                let mut next = self.prepared(outcome, version, now, new_id)?;
                next.stored.started = Some(now);
                Ok(EndStep::Prepare(next))
            }
            _ => Err(Refusal::InvalidState(state)),
        }
    }

    /// Returns whether this identity ended the transaction that is being completed, or is complete.
    pub(super) fn has_ended(&self, who: ProducerIdentity) -> bool {
        let raised = self.version().raises_epoch() && Outcome::of(self.stored.state).is_some();
        let same_id = who.id == self.stored.producer_id
            && who.epoch.checked_add(1) == Some(self.stored.producer_epoch);
        let had_last = Some(who.id) == self.stored.previous_producer_id
            && who.id != self.stored.producer_id
            && (who.epoch, self.stored.producer_epoch) == (LAST_EPOCH, 0);
        raised && (same_id || had_last)
    }

    fn prepared(
        &self,
        outcome: Outcome,
        version: TransactionVersion,
        now: Timestamp,
        new_id: Option<ProducerId>,
    ) -> Result<TransactionalProducer, Refusal> {
        let mut stored = self.changed(outcome.prepared(), now);
        stored.client_version = version as i16;
        let mut last_epoch = self.last_epoch;
        if version.raises_epoch() {
            if stored.producer_epoch >= LAST_EPOCH {
                stored.next_producer_id = Some(self.checked(new_id)?);
            }
            last_epoch = Some(stored.producer_epoch.min(LAST_EPOCH));
            stored.producer_epoch = stored.producer_epoch.saturating_add(1);
        }
        Ok(TransactionalProducer { stored, last_epoch, ..*self })
    }

    /// Aborts an ongoing transaction whose producer is gone, and fences that producer.
    pub(crate) fn fence(
        &self,
        now: Timestamp,
        new_id: Option<ProducerId>,
    ) -> Result<TransactionalProducer, Refusal> {
        let mut next = self.prepared(Outcome::Abort, self.version(), now, new_id)?;
        if !self.version().raises_epoch() {
            next.stored.producer_epoch = self.stored.producer_epoch.saturating_add(1);
            next.last_epoch = None;
        }
        Ok(next)
    }

    /// Returns the marker of a prepared transaction.
    pub(crate) fn marker(&self, coordinator_epoch: i32) -> EndTxnMarker {
        let committed = Outcome::of(self.stored.state) == Some(Outcome::Commit);
        EndTxnMarker { committed, coordinator_epoch }
    }

    /// Returns the identity after a prepared transaction is complete.
    pub(crate) fn next_identity(&self) -> ProducerIdentity {
        match self.stored.next_producer_id {
            Some(id) => ProducerIdentity { id, epoch: 0 },
            None => self.identity(),
        }
    }

    /// Completes a prepared transaction, once each partition has its marker.
    pub(crate) fn complete(&self, now: Timestamp) -> TransactionalProducer {
        let state = match Outcome::of(self.stored.state) {
            Some(Outcome::Commit) => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        let mut stored = self.changed(state, now);
        let ProducerIdentity { id, epoch } = self.next_identity();
        (stored.producer_id, stored.producer_epoch) = (id, epoch);
        stored.partitions.clear();
        TransactionalProducer { stored, ..*self }
    }

    /// Returns a producer id that no producer has. Of a hostile record, the present id may be one
    /// that the store has not assigned yet.
    fn checked(&self, new_id: Option<ProducerId>) -> Result<ProducerId, Refusal> {
        let new_id = new_id.filter(|id| *id != self.stored.producer_id);
        new_id.ok_or(Refusal::NeedsProducerId)
    }

    /// Returns the fields of the next record, which are all the same but those that each change
    /// has.
    fn changed(&self, state: TransactionState, now: Timestamp) -> TransactionMetadata {
        TransactionMetadata {
            state,
            last_update: now,
            previous_producer_id: Some(self.stored.producer_id),
            next_producer_id: None,
            ..self.stored.clone()
        }
    }

    /// Returns how much time an ongoing transaction has left. `None` if it has no limit, or there
    /// is none.
    pub(crate) fn time_left(&self, now: Timestamp) -> Option<Duration> {
        let is_ongoing = self.stored.state == TransactionState::Ongoing;
        if !is_ongoing || self.is_two_phase() {
            return None;
        }
        // As in Kafka, a transaction without a begin has timed out: it must not last for ever.
        let started = self.stored.started.unwrap_or(Timestamp::NONE);
        Some(self.timeout().saturating_sub(now.since(started)))
    }

    /// Returns the time after which an ongoing transaction is aborted.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.stored.timeout_ms).unwrap_or(0))
    }

    /// Returns whether another system decides over the transaction. It has no timeout.
    pub(crate) fn is_two_phase(&self) -> bool {
        self.stored.timeout_ms == NO_TIMEOUT
    }

    /// Returns whether the id can be removed, because it was not used for so long.
    pub(crate) fn has_expired(&self, expiration: Duration, now: Timestamp) -> bool {
        let is_idle = !self.is_prepared() && self.stored.state != TransactionState::Ongoing;
        is_idle && now.since(self.stored.last_update) >= expiration
    }
}
