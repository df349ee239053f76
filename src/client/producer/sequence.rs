//! Producer epochs and sequence numbers, by which a partition's log tells a new batch from one
//! that it has.
//!
//! A batch gets its numbers when it is about to be written, and they count as used once it is
//! written. If a batch fails and is known not to have been written, the next batch gets its
//! numbers, so there is no gap. If that is not known, the next batch begins at 0 in the next
//! epoch, and the log cannot take it for the batch that was given up. A log that has failed
//! accepts no more batches, so the next epoch begins only once the partition is reopened.

use crate::error::Result;
use crate::log::Log;
use crate::record::BatchBuilder;
use crate::store::topics::Store;
use crate::types::{NO_PRODUCER_ID, ProducerEpoch, ProducerId, ProducerIdentity, Sequence};

/// The next epoch and sequence number of a producer in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SequenceState {
    id: ProducerId,
    epoch: ProducerEpoch,
    next: Sequence,
    /// Whether a batch that was given up may be in the log with these numbers.
    uncertain: bool,
}

impl SequenceState {
    /// For batches without numbers.
    pub(super) const NONE: SequenceState =
        SequenceState { id: NO_PRODUCER_ID, epoch: -1, next: -1, uncertain: false };

    pub(super) fn new(id: ProducerId) -> SequenceState {
        SequenceState { id, epoch: 0, next: 0, uncertain: false }
    }

    /// Begins at 0 for a transaction, unless the numbers are those of this identity already: each
    /// transaction has an epoch of its own.
    pub(super) fn continue_as(&mut self, who: ProducerIdentity) {
        let ProducerIdentity { id, epoch } = who;
        if (self.id, self.epoch) != (id, epoch) {
            *self = SequenceState { epoch, ..SequenceState::new(id) };
        }
    }

    /// Returns whether a batch of this identity was written.
    pub(super) fn has_begun(self, who: ProducerIdentity) -> bool {
        (self.id, self.epoch) == (who.id, who.epoch) && self.next != 0
    }

    /// Returns whether the next batch is the first one of its epoch.
    pub(super) fn is_at_start(self) -> bool {
        self.next == 0
    }

    pub(super) fn is_enabled(self) -> bool {
        self.id != NO_PRODUCER_ID
    }

    pub(super) fn stamp(self, builder: &mut BatchBuilder) {
        builder.producer(self.id, self.epoch, self.next);
    }

    /// Marks the numbers of this many records as used. 0 follows the largest number.
    pub(super) fn advance(&mut self, records: usize) {
        if self.is_enabled() {
            let next = (self.next as usize).saturating_add(records) & i32::MAX as usize;
            self.next = next as Sequence;
        }
    }

    /// Marks the numbers as uncertain if the log has failed: the batch that was given up may have
    /// been written.
    pub(super) fn mark_uncertain_if_failed(&mut self, log: &Log) {
        self.uncertain |= !log.is_writable();
    }

    /// Begins the next epoch if a batch that was given up may be in the log under the next
    /// numbers. Does nothing while the log accepts no batches: an id has few epochs.
    pub(super) fn bump_epoch_if_uncertain(&mut self, log: &Log, store: &Store) -> Result<()> {
        if self.uncertain && log.is_writable() {
            self.bump_epoch(store)?;
        }
        Ok(())
    }

    /// Makes a log forget the producer.
    pub(super) fn forget_in(self, log: &Log) {
        if self.is_enabled() {
            log.forget_producer(self.id);
        }
    }

    /// Begins at 0 in the next epoch, or with the next producer id after the last epoch.
    pub(super) fn bump_epoch(&mut self, store: &Store) -> Result<()> {
        if self.is_enabled() {
            *self = match self.epoch.checked_add(1) {
                Some(epoch) => SequenceState { epoch, next: 0, uncertain: false, ..*self },
                None => SequenceState::new(store.new_producer_id()?),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreConfig;

    #[test]
    fn sequence_wraps_to_zero_after_largest() {
        let mut numbers = SequenceState { next: i32::MAX - 2, ..SequenceState::new(7) };
        numbers.advance(2);
        assert_eq!(numbers.next, i32::MAX);
        numbers.advance(3);
        assert_eq!(numbers.next, 2);
        let mut none = SequenceState::NONE;
        none.advance(5);
        assert_eq!(none, SequenceState::NONE);
    }

    #[test]
    fn new_id_follows_last_epoch() {
        let store = Store::in_memory(StoreConfig::default()).unwrap();
        let mut numbers =
            SequenceState { epoch: i16::MAX - 1, next: 9, ..SequenceState::new(1000) };
        numbers.bump_epoch(&store).unwrap();
        assert_eq!(numbers, SequenceState { epoch: i16::MAX, ..SequenceState::new(1000) });
        numbers.bump_epoch(&store).unwrap();
        assert_eq!((numbers.epoch, numbers.next), (0, 0));
        assert_ne!(numbers.id, 1000);
    }
}
