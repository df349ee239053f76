//! The aborted transactions of a part of a log, by producer.

use crate::record::BatchHeader;
use crate::segment::txn_index::AbortedTxn;
use crate::types::{Offset, ProducerId};
use std::collections::HashMap;

/// The offsets that belong to aborted transactions, from the first record of each to its marker.
#[derive(Debug, Clone, Default)]
pub(crate) struct AbortedRanges {
    /// In the order of the markers. The transactions of one producer do not overlap.
    by_producer: HashMap<ProducerId, Vec<AbortedTxn>>,
}

impl AbortedRanges {
    /// Returns whether a batch holds records of an aborted transaction.
    pub(crate) fn holds(&self, header: &BatchHeader) -> bool {
        let base = header.base_offset;
        header.is_transactional()
            && !header.is_control()
            && self
                .decided_from(header.producer_id, base)
                .is_some_and(|aborted| (aborted.first..aborted.last).contains(&base))
    }

    /// Returns the transaction that a marker aborts.
    pub(crate) fn ended_by(&self, marker: &BatchHeader) -> Option<AbortedTxn> {
        let found = self.decided_from(marker.producer_id, marker.base_offset)?;
        (found.last == marker.base_offset).then_some(found)
    }

    /// Returns the first transaction of a producer whose marker does not lie below an offset.
    fn decided_from(&self, producer_id: ProducerId, offset: Offset) -> Option<AbortedTxn> {
        let of_producer = self.by_producer.get(&producer_id)?;
        let next = of_producer.partition_point(|aborted| aborted.last < offset);
        of_producer.get(next).copied()
    }
}

/// The transactions must be in the order of their markers.
impl FromIterator<AbortedTxn> for AbortedRanges {
    fn from_iter<T: IntoIterator<Item = AbortedTxn>>(transactions: T) -> AbortedRanges {
        let mut ranges = AbortedRanges::default();
        for aborted in transactions {
            ranges.by_producer.entry(aborted.producer_id).or_default().push(aborted);
        }
        ranges
    }
}
