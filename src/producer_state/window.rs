//! The last batches of a producer.

use crate::record::BatchHeader;
use crate::types::{Offset, Sequence, Timestamp};

/// The number of batches that a producer may have in flight, and so may resend.
pub(super) const BATCHES: usize = 5;

/// A batch that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSeen {
    pub(crate) first_sequence: Sequence,
    pub(crate) last_sequence: Sequence,
    pub(crate) first_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) timestamp: Timestamp,
}

impl BatchSeen {
    /// Returns whether it is the same batch, ignoring its timestamp: a snapshot may have the
    /// timestamp of a marker instead.
    pub(crate) fn is_same(&self, other: &BatchSeen) -> bool {
        BatchSeen { timestamp: other.timestamp, ..*self } == *other
    }

    pub(crate) fn of(header: &BatchHeader) -> BatchSeen {
        BatchSeen {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        }
    }
}

/// Up to five batches, in the order in which they were stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    batches: [Option<BatchSeen>; BATCHES],
}

impl Window {
    pub(crate) fn push(&mut self, seen: BatchSeen) {
        match self.batches.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(seen),
            None => {
                self.batches.rotate_left(1);
                if let Some(last) = self.batches.last_mut() {
                    *last = Some(seen);
                }
            }
        }
    }

    pub(crate) fn last(&self) -> Option<&BatchSeen> {
        self.batches.iter().flatten().next_back()
    }

    /// Iterates over all but the last batch, the latest first.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = &BatchSeen> {
        self.batches.iter().flatten().rev().skip(1)
    }

    /// Returns the batch with these sequence numbers.
    pub(crate) fn find(&self, first: Sequence, last: Sequence) -> Option<BatchSeen> {
        let same = |seen: &&BatchSeen| seen.first_sequence == first && seen.last_sequence == last;
        self.batches.iter().flatten().find(same).copied()
    }
}
