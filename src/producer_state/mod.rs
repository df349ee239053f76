//! The state of the idempotent producers of a log.
//!
//! An idempotent producer assigns a sequence number to each record of a partition, and resends a
//! batch if it does not know whether the batch was stored. By the numbers of the last batches, the
//! log tells three cases apart: the next batch, a batch that it has already, and a batch before
//! which another is missing.
//!
//! ```text
//! stored: … 10-14  15-19  20-24          the window: the last five batches of the producer
//!
//!  25-30   follows 24                    stored
//!  15-19   is in the window              a duplicate: returns its offsets, stores nothing
//!  30-34   25 is missing                 rejected: out of order
//!   0-4    no longer in the window       rejected: out of order
//! ```
//!
//! A producer that starts again raises its epoch, and a batch with a lower epoch is rejected. All
//! of this follows from the headers of the batches in the log: [`Producers`] replays them.
//! [Snapshots](snapshot) store the state as of some offsets, so that a replay need not begin at
//! the start of the log. Kafka's format has only the last batch of each producer. The earlier
//! batches, and the time at which each producer was heard, are in a [file beside](recent) the
//! snapshot.
//!
//! A producer is *heard* when a batch of it arrives, by the clock of the log. The timestamps of
//! its records may be anything, so they do not count. A replayed batch counts as heard now,
//! because the time of its arrival is not known, and the producer may still resend it.
//!
//! Nothing here reads a file or takes a lock.

pub(crate) mod recent;
pub(crate) mod snapshot;
mod unreplicated;
mod verification;
mod window;

#[cfg(test)]
mod tests;

pub use snapshot::ProducerState;
pub(crate) use unreplicated::Unreplicated;
pub use verification::VerificationGuard;
pub(crate) use verification::{TransactionRules, Verifications};
pub(crate) use window::BatchSeen;

use crate::error::ProducerStateError;
use crate::record::{BatchHeader, EndTxnMarker};
use crate::types::{
    Offset, ProducerEpoch, ProducerId, ProducerIdentity, Sequence, Timestamp, TransactionVersion,
};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use window::Window;

/// The epoch of an entry that has only the id of its producer.
const UNKNOWN: i16 = -1;
/// The last sequence number of a producer without a batch.
const NO_SEQUENCE: Sequence = -1;
/// The epoch of the coordinator before any marker.
const NO_COORDINATOR: i32 = -1;

/// The sender of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A producer. Its sequence numbers tell a batch that is sent again, and one that is missing.
    Client,
    /// The coordinator of the groups. It appends the offsets of a transaction for the producer,
    /// each commit as a batch that begins at sequence number 0. It sends none twice.
    Coordinator,
}

/// The producers of a log, as of an offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    known: HashMap<ProducerId, Producer>,
    /// The first offset of each open transaction, and its producer.
    open: BTreeSet<(Offset, ProducerId)>,
    /// The completed transactions that not all replicas know as such. `None` for a log that is the
    /// only copy.
    pub(crate) unreplicated: Option<Unreplicated>,
    /// All batches below this offset are recorded.
    end: Offset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    window: Window,
    last_timestamp: Timestamp,
    /// The time at which a batch of it last arrived.
    heard: Timestamp,
    coordinator_epoch: i32,
    /// The first offset of its open transaction.
    txn_first_offset: Option<Offset>,
}

impl Default for Producer {
    fn default() -> Producer {
        Producer {
            epoch: UNKNOWN,
            window: Window::default(),
            last_timestamp: Timestamp::NONE,
            heard: Timestamp::NONE,
            coordinator_epoch: NO_COORDINATOR,
            txn_first_offset: None,
        }
    }
}

impl Producers {
    /// Creates an empty state as of an offset, below which nothing needs to be known.
    pub(crate) fn none(end: Offset) -> Producers {
        Producers { end, ..Producers::default() }
    }

    /// Returns the offset below which all batches are recorded.
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    /// Returns the batches that are recognised as duplicates, the latest of each producer first,
    /// and the time at which each producer was heard.
    pub(crate) fn recent(&self) -> Vec<(ProducerId, Timestamp, Vec<BatchSeen>)> {
        let of = |(id, producer): (&ProducerId, &Producer)| {
            let batches = producer.window.last().into_iter().chain(producer.window.earlier());
            (*id, producer.heard, batches.copied().collect())
        };
        let mut all: Vec<_> = self.known.iter().map(of).collect();
        all.sort_unstable_by_key(|(id, ..)| *id);
        all
    }

    /// Moves the offset of the state up to `end`: no batch in between has a producer.
    pub(crate) fn advance(&mut self, end: Offset) {
        self.end = self.end.max(end);
    }

    /// Checks a batch. Returns `None` if it is the next of its producer, and the stored batch if it
    /// is a duplicate.
    pub(crate) fn check(
        &self,
        header: &BatchHeader,
        origin: Origin,
    ) -> Result<Option<BatchSeen>, ProducerStateError> {
        let Some(producer) = self.known.get(&header.producer_id) else { return Ok(None) };
        if origin == Origin::Client
            && producer.epoch == header.producer_epoch
            && let Some(seen) = producer.window.find(header.base_sequence, header.last_sequence())
        {
            return Ok(Some(seen));
        }
        producer.check(header, origin).map(|()| None)
    }

    /// Checks the marker of a coordinator, by the rules of a version.
    ///
    /// A coordinator that does not know whether its marker arrived sends it again. With nothing
    /// open, the epoch of the marker may therefore be the known one in every version.
    pub(crate) fn check_marker(
        &self,
        header: &BatchHeader,
        marker: &EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<(), ProducerStateError> {
        let Some(producer) = self.known.get(&header.producer_id) else { return Ok(()) };
        producer.check_epoch(header)?;
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        let must_rise = version >= TransactionVersion::V2 && producer.txn_first_offset.is_some();
        if must_rise && epoch == producer.epoch {
            return Err(ProducerStateError::MarkerEpochNotRaised { producer_id, epoch });
        }
        let (epoch, current) = (marker.coordinator_epoch, producer.coordinator_epoch);
        if epoch < current {
            return Err(ProducerStateError::CoordinatorFenced { producer_id, epoch, current });
        }
        Ok(())
    }

    /// Records a batch that is in the log, valid or not, and the time at which it was heard.
    pub(crate) fn note(&mut self, header: &BatchHeader, heard: Timestamp) {
        self.advance(header.next_offset());
        if !header.has_producer() || header.is_control() {
            return;
        }
        let producer = self.known.entry(header.producer_id).or_default();
        producer.heard = heard;
        producer.enter(header.producer_epoch);
        producer.window.push(BatchSeen::of(header));
        producer.last_timestamp = header.max_timestamp;
        if header.is_transactional() && producer.txn_first_offset.is_none() {
            producer.txn_first_offset = Some(header.base_offset);
            self.open.insert((header.base_offset, header.producer_id));
        }
    }

    /// Records that a producer was heard, although no batch of it was stored.
    pub(crate) fn hear(&mut self, producer_id: ProducerId, heard: Timestamp) {
        if let Some(producer) = self.known.get_mut(&producer_id) {
            producer.heard = heard;
        }
    }

    /// Takes over when each producer was heard, if both states know it and the other heard it
    /// later.
    pub(crate) fn hear_as(&mut self, other: &Producers) {
        for (id, producer) in &mut self.known {
            if let Some(other) = other.known.get(id) {
                producer.heard = producer.heard.max(other.heard);
            }
        }
    }

    /// Records the marker at the end of a transaction. Returns the first offset of the
    /// transaction, if one was open.
    pub(crate) fn note_marker(
        &mut self,
        header: &BatchHeader,
        marker: &EndTxnMarker,
        heard: Timestamp,
    ) -> Option<Offset> {
        self.advance(header.next_offset());
        let producer = self.known.entry(header.producer_id).or_default();
        producer.heard = heard;
        producer.enter(header.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = header.max_timestamp;
        let first = producer.txn_first_offset.take()?;
        self.open.remove(&(first, header.producer_id));
        if let Some(unreplicated) = &mut self.unreplicated {
            unreplicated.note(first, header.base_offset);
        }
        Some(first)
    }

    /// Returns the first offset of the earliest open transaction.
    pub(crate) fn first_undecided(&self) -> Option<Offset> {
        self.open.first().map(|(first, _)| *first)
    }

    /// Returns the first offset of the earliest transaction that is open, or that not all replicas
    /// know as completed.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        let unreplicated = self.unreplicated.as_ref().and_then(Unreplicated::first);
        self.first_undecided().into_iter().chain(unreplicated).min()
    }

    /// Returns whether a producer has a transaction open with this epoch.
    pub(crate) fn has_open(&self, producer: ProducerIdentity) -> bool {
        let known = self.known.get(&producer.id).filter(|known| known.epoch == producer.epoch);
        known.is_some_and(|known| known.txn_first_offset.is_some())
    }

    /// Returns whether an epoch of the producer is known.
    pub(crate) fn knows_epoch_of(&self, producer_id: ProducerId) -> bool {
        self.known.get(&producer_id).is_some_and(|known| known.epoch != UNKNOWN)
    }

    /// Iterates over the producers with an open transaction, the earliest transaction first, and
    /// the time at which each was heard.
    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = (ProducerState, Timestamp)> {
        self.open.iter().filter_map(|(_, id)| {
            let producer = self.known.get(id)?;
            Some((producer.state(*id), producer.heard))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets a producer, unless it is transactional: its open transaction needs a marker, and its
    /// epoch rejects the batches of older ones. Returns whether it was forgotten.
    pub(crate) fn forget(&mut self, producer_id: ProducerId) -> bool {
        if self.known.get(&producer_id).is_none_or(Producer::is_transactional) {
            return false;
        }
        self.known.remove(&producer_id);
        self.shrink();
        true
    }

    /// Forgets a producer if it was not heard for this long.
    pub(crate) fn forget_if_expired(
        &mut self,
        producer_id: ProducerId,
        now: Timestamp,
        after: Duration,
    ) {
        if self.known.get(&producer_id).is_some_and(|known| known.is_expired(now, after)) {
            self.known.remove(&producer_id);
            self.shrink();
        }
    }

    /// Forgets the producers without an open transaction that were not heard for this long.
    pub(crate) fn expire(&mut self, now: Timestamp, after: Duration) {
        self.known.retain(|_, producer| !producer.is_expired(now, after));
        self.shrink();
    }

    /// Releases memory if most of the table is empty, because a map never shrinks on its own.
    fn shrink(&mut self) {
        let needed = self.known.len().saturating_mul(2);
        if self.known.capacity() / 4 > needed {
            self.known.shrink_to(needed);
        }
    }

    /// Iterates over all producers, in no particular order.
    pub(crate) fn unsorted_states(&self) -> impl Iterator<Item = ProducerState> {
        self.known.iter().map(|(id, producer)| producer.state(*id))
    }

    /// Returns all producers, by id.
    pub(crate) fn states(&self) -> Vec<ProducerState> {
        let mut states: Vec<_> = self.unsorted_states().collect();
        states.sort_unstable_by_key(|state| state.producer_id);
        states
    }

    /// Creates the producers of a snapshot that was taken at an offset, heard at that time.
    pub(crate) fn restore(states: &[ProducerState], end: Offset, heard: Timestamp) -> Producers {
        let known = states.iter().map(|state| (state.producer_id, Producer::restore(state, heard)));
        let known: HashMap<_, _> = known.collect();
        let first =
            |(id, producer): (&ProducerId, &Producer)| Some((producer.txn_first_offset?, *id));
        let open = known.iter().filter_map(first).collect();
        Producers { known, open, unreplicated: None, end }
    }

    /// Takes over the earlier batches from a state that was replayed from a lower offset, for each
    /// producer whose last batch is the same in both.
    pub(crate) fn recall_replayed(&mut self, replayed: &Producers) {
        for (id, producer) in &mut self.known {
            let other = replayed.known.get(id).filter(|other| other.epoch == producer.epoch);
            if let (Some(last), Some(other)) = (producer.window.last(), other)
                && other.window.last().is_some_and(|found| found.is_same(last))
            {
                producer.window = other.window;
            }
        }
    }
}

impl Producer {
    fn check(&self, header: &BatchHeader, origin: Origin) -> Result<(), ProducerStateError> {
        self.check_epoch(header)?;
        if origin == Origin::Client {
            self.check_sequence(header)?;
        }
        if self.txn_first_offset.is_some() && !header.is_transactional() {
            return Err(ProducerStateError::InTransaction { producer_id: header.producer_id });
        }
        Ok(())
    }

    fn check_epoch(&self, header: &BatchHeader) -> Result<(), ProducerStateError> {
        if header.producer_epoch < self.epoch {
            return Err(ProducerStateError::Fenced {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current: self.epoch,
            });
        }
        Ok(())
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), ProducerStateError> {
        // An entry with only an id has no last batch, so any sequence number is in order.
        if self.epoch == UNKNOWN {
            return Ok(());
        }
        let expected = if header.producer_epoch == self.epoch {
            self.window.last().map_or(0, |last| after(last.last_sequence))
        } else {
            0
        };
        if header.base_sequence == expected {
            return Ok(());
        }
        let (producer_id, found) = (header.producer_id, header.base_sequence);
        Err(ProducerStateError::OutOfOrder { producer_id, expected, found })
    }

    /// Changes to another epoch, in which no batch is known yet.
    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.window = Window::default();
        }
    }

    /// Returns whether it has an open transaction, or had one that a marker ended.
    fn is_transactional(&self) -> bool {
        self.txn_first_offset.is_some() || self.coordinator_epoch != NO_COORDINATOR
    }

    fn is_expired(&self, now: Timestamp, after: Duration) -> bool {
        self.txn_first_offset.is_none() && now.since(self.heard) >= after
    }

    fn state(&self, producer_id: ProducerId) -> ProducerState {
        let offset = |offset: Offset| i64::try_from(offset).unwrap_or(i64::MAX);
        let last = self.window.last();
        ProducerState {
            producer_id,
            producer_epoch: self.epoch,
            last_sequence: last.map_or(NO_SEQUENCE, |last| last.last_sequence),
            last_offset: last.map_or(-1, |last| offset(last.last_offset)),
            offset_delta: last.map_or(0, |last| last.offset_delta()),
            last_timestamp: self.last_timestamp,
            coordinator_epoch: self.coordinator_epoch,
            current_txn_first_offset: self.txn_first_offset.map_or(-1, offset),
        }
    }

    fn restore(state: &ProducerState, heard: Timestamp) -> Producer {
        let mut window = Window::default();
        if let Some(seen) = BatchSeen::restore(state) {
            window.push(seen);
        }
        Producer {
            epoch: state.producer_epoch,
            window,
            last_timestamp: state.last_timestamp,
            heard,
            coordinator_epoch: state.coordinator_epoch,
            txn_first_offset: Offset::try_from(state.current_txn_first_offset).ok(),
        }
    }
}

/// Returns the next sequence number.
fn after(sequence: Sequence) -> Sequence {
    sequence.checked_add(1).unwrap_or(0)
}
