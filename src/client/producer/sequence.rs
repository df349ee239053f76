//! The numbers by which a partition's log tells a batch that is new from one it has.
//!
//! Numbers are given to a batch when it is written, and count as used once it was. A batch that
//! fails and is known not to have been written leaves its numbers to the next, so there is no gap.
//! One of which that is not known takes the epoch with it: in the next epoch numbers begin at 0,
//! and cannot be taken for those of a batch that was given up. A log that failed takes no more, so
//! that matters once its partition was reopened.

use crate::error::Result;
use crate::log::Log;
use crate::record::BatchBuilder;
use crate::store::topics::Store;
use crate::types::{NO_PRODUCER_ID, ProducerEpoch, ProducerId, Sequence};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SequenceState {
    id: ProducerId,
    epoch: ProducerEpoch,
    next: Sequence,
    /// Whether a batch with these numbers was given up, and may be in the log.
    uncertain: bool,
}

impl SequenceState {
    /// Batches without numbers.
    pub(super) const NONE: SequenceState =
        SequenceState { id: NO_PRODUCER_ID, epoch: -1, next: -1, uncertain: false };

    pub(super) fn new(id: ProducerId) -> SequenceState {
        SequenceState { id, epoch: 0, next: 0, uncertain: false }
    }

    pub(super) fn is_enabled(self) -> bool {
        self.id != NO_PRODUCER_ID
    }

    pub(super) fn stamp(self, builder: &mut BatchBuilder) {
        builder.producer(self.id, self.epoch, self.next);
    }

    /// Takes the numbers of so many records as used. 0 follows the largest.
    pub(super) fn advance(&mut self, records: usize) {
        if self.is_enabled() {
            let next = (self.next as usize).saturating_add(records) & i32::MAX as usize;
            self.next = next as Sequence;
        }
    }

    /// Takes note of a batch that was given up: it may have been written if its log takes no more
    /// since.
    pub(super) fn mark_uncertain_if_failed(&mut self, log: &Log) {
        self.uncertain |= !log.is_writable();
    }

    /// Begins the next epoch if a batch that was given up may be in the log under the next
    /// numbers. One that takes no more is spared: the epochs of an id are few.
    pub(super) fn bump_epoch_if_uncertain(&mut self, log: &Log, store: &Store) -> Result<()> {
        if self.uncertain && log.is_writable() {
            self.bump_epoch(store)?;
        }
        Ok(())
    }

    /// Lets a log forget the producer.
    pub(super) fn forget_in(self, log: &Log) {
        if self.is_enabled() {
            log.forget_producer(self.id);
        }
    }

    /// Begins at 0, in the next epoch.
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
    fn zero_follows_the_largest_number() {
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
    fn after_the_last_epoch_comes_another_id() {
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
