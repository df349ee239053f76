//! What a log knows of those who number their batches.
//!
//! An idempotent producer gives each record of a partition a sequence number, and sends a batch again when it did
//! not hear whether it was stored. From the numbers of the last batches the log tells three cases apart: the next batch,
//! one it has already, and one before which something is missing.
//!
//! ```text
//! stored: … 10-14  15-19  20-24          the window: the last five batches of the producer
//!
//!  25-30   follows 24                    stored
//!  15-19   is in the window              a duplicate: answered with the offsets it has, nothing is stored
//!  30-34   25 is missing                 refused: out of order
//!   0-4    not in the window any more    refused: out of order
//! ```
//!
//! A producer that begins anew raises its epoch; who still writes with a lower one is fenced. All of it follows from the headers
//! of the batches in the log, so it is lost with none but them: [`Producers`] replays them. That this
//! need not begin at the start of the log, the state as of some offsets is kept in [snapshots](snapshot). They have the last
//! batch of each producer only, so duplicates of those before are taken for out of order after a restart, as in Kafka.
//!
//! Nothing here reads a file or takes a lock.

pub(crate) mod snapshot;
mod window;

#[cfg(test)]
mod tests;

pub use snapshot::ProducerState;
pub(crate) use window::BatchSeen;

use crate::error::ProducerRefusal;
use crate::record::{BatchHeader, EndTxnMarker};
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::collections::HashMap;
use std::time::Duration;
use window::Window;

/// The epoch of an entry that only knows its producer's id, and the sequence number of one without a batch.
const UNKNOWN: i16 = -1;
const NO_SEQUENCE: Sequence = -1;
/// The coordinator's epoch before any marker was seen.
const NO_COORDINATOR: i32 = -1;

/// All producers of a log, as of an offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    known: HashMap<ProducerId, Producer>,
    /// Everything below has been taken note of.
    end: Offset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    window: Window,
    last_timestamp: Timestamp,
    /// When it last wrote, by the clock, if that was here. It writes records of any time.
    touched: Timestamp,
    coordinator_epoch: i32,
    /// Where its open transaction began.
    txn_first_offset: Option<Offset>,
}

impl Default for Producer {
    fn default() -> Producer {
        Producer {
            epoch: UNKNOWN,
            window: Window::default(),
            last_timestamp: Timestamp::NONE,
            touched: Timestamp::NONE,
            coordinator_epoch: NO_COORDINATOR,
            txn_first_offset: None,
        }
    }
}

impl Producers {
    /// None, as of an offset below which nothing is to be known.
    pub(crate) fn none(end: Offset) -> Producers {
        Producers { known: HashMap::new(), end }
    }

    /// Everything below has been taken note of.
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    /// Says that there is nothing to take note of up to here.
    pub(crate) fn advance(&mut self, end: Offset) {
        self.end = self.end.max(end);
    }

    /// Whether the batch of a client is the next of its producer: `None`, or the batch that it repeats.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Option<BatchSeen>, ProducerRefusal> {
        let Some(producer) = self.known.get(&header.producer_id) else { return Ok(None) };
        if producer.epoch == header.producer_epoch
            && let Some(seen) = producer.window.find(header.base_sequence, header.last_sequence())
        {
            return Ok(Some(seen));
        }
        producer.check(header).map(|()| None)
    }

    /// Takes note of a batch of records that is in the log now, whether or not it should be.
    pub(crate) fn note(&mut self, header: &BatchHeader) {
        self.advance(header.next_offset());
        if !header.has_producer() || header.is_control() {
            return;
        }
        let producer = self.known.entry(header.producer_id).or_default();
        producer.enter(header.producer_epoch);
        producer.window.push(BatchSeen::of(header));
        producer.last_timestamp = header.max_timestamp;
        if header.is_transactional() {
            producer.txn_first_offset.get_or_insert(header.base_offset);
        }
    }

    /// Takes note of when a producer wrote.
    pub(crate) fn touch(&mut self, producer_id: ProducerId, now: Timestamp) {
        if let Some(producer) = self.known.get_mut(&producer_id) {
            producer.touched = now;
        }
    }

    /// Takes note of the marker at the end of a transaction.
    pub(crate) fn note_marker(&mut self, header: &BatchHeader, marker: &EndTxnMarker) {
        self.advance(header.next_offset());
        let producer = self.known.entry(header.producer_id).or_default();
        producer.enter(header.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = header.max_timestamp;
        producer.txn_first_offset = None;
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets a producer if it has written nothing for so long.
    pub(crate) fn forget_if_expired(
        &mut self,
        producer_id: ProducerId,
        now: Timestamp,
        after: Duration,
    ) {
        if self.known.get(&producer_id).is_some_and(|known| known.is_expired(now, after)) {
            self.known.remove(&producer_id);
        }
    }

    /// Forgets producers without an open transaction that have written nothing for so long.
    pub(crate) fn expire(&mut self, now: Timestamp, after: Duration) {
        self.known.retain(|_, producer| !producer.is_expired(now, after));
    }

    /// All of them, by id.
    pub(crate) fn states(&self) -> Vec<ProducerState> {
        let mut states: Vec<_> =
            self.known.iter().map(|(id, producer)| producer.state(*id)).collect();
        states.sort_unstable_by_key(|state| state.producer_id);
        states
    }

    /// Those of a snapshot that was taken at an offset.
    pub(crate) fn restore(states: &[ProducerState], end: Offset) -> Producers {
        let known = states.iter().map(|state| (state.producer_id, Producer::restore(state)));
        Producers { known: known.collect(), end }
    }
}

impl Producer {
    fn check(&self, header: &BatchHeader) -> Result<(), ProducerRefusal> {
        self.check_epoch(header)?;
        self.check_sequence(header)?;
        if self.txn_first_offset.is_some() && !header.is_transactional() {
            return Err(ProducerRefusal::InTransaction { producer_id: header.producer_id });
        }
        Ok(())
    }

    fn check_epoch(&self, header: &BatchHeader) -> Result<(), ProducerRefusal> {
        if header.producer_epoch < self.epoch {
            return Err(ProducerRefusal::Fenced {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current: self.epoch,
            });
        }
        Ok(())
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), ProducerRefusal> {
        // Of an id alone nothing is known that could be out of order.
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
        Err(ProducerRefusal::OutOfOrder { producer_id, expected, found })
    }

    /// Goes over to another epoch, in which no batch is known.
    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.window = Window::default();
        }
    }

    fn is_expired(&self, now: Timestamp, after: Duration) -> bool {
        let last = self.last_timestamp.max(self.touched);
        self.txn_first_offset.is_none() && now.since(last) >= after
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

    fn restore(state: &ProducerState) -> Producer {
        let mut window = Window::default();
        if let Some(seen) = BatchSeen::restore(state) {
            window.push(seen);
        }
        Producer {
            epoch: state.producer_epoch,
            window,
            last_timestamp: state.last_timestamp,
            touched: Timestamp::NONE,
            coordinator_epoch: state.coordinator_epoch,
            txn_first_offset: Offset::try_from(state.current_txn_first_offset).ok(),
        }
    }
}

/// The sequence number that follows this one.
fn after(sequence: Sequence) -> Sequence {
    sequence.checked_add(1).unwrap_or(0)
}
