//! The completed transactions of a replicated log whose markers not all replicas have.
//!
//! Another replica may become the leader, and end such a transaction otherwise. So readers of
//! committed records stop before it.

use crate::types::Offset;
use std::collections::{BTreeSet, VecDeque};

/// The completed transactions whose markers lie at or above the high watermark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unreplicated {
    /// All replicas have the markers below.
    high_watermark: Offset,
    /// The offset of each marker and the first offset of its transaction, by marker.
    by_marker: VecDeque<(Offset, Offset)>,
    firsts: BTreeSet<Offset>,
}

impl Unreplicated {
    pub(crate) fn above(high_watermark: Offset) -> Unreplicated {
        Unreplicated { high_watermark, ..Unreplicated::default() }
    }

    /// Records a transaction that the next marker of the log ends.
    pub(crate) fn note(&mut self, first: Offset, marker: Offset) {
        if marker >= self.high_watermark {
            self.by_marker.push_back((marker, first));
            self.firsts.insert(first);
        }
    }

    /// Sets the high watermark. Transactions whose markers were below a higher one were visible
    /// already, and stay so.
    pub(crate) fn set_high_watermark(&mut self, offset: Offset) {
        self.high_watermark = offset;
        while let Some((_, first)) = self.by_marker.front().filter(|(marker, _)| *marker < offset) {
            self.firsts.remove(first);
            self.by_marker.pop_front();
        }
    }

    /// Forgets the transactions whose markers lie at or above the new end of the log.
    pub(crate) fn truncate(&mut self, end: Offset) {
        self.high_watermark = self.high_watermark.min(end);
        while let Some((_, first)) = self.by_marker.back().filter(|(marker, _)| *marker >= end) {
            self.firsts.remove(first);
            self.by_marker.pop_back();
        }
    }

    /// Returns the first offset of the earliest of the transactions.
    pub(crate) fn first(&self) -> Option<Offset> {
        self.firsts.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_transaction_of_pending_markers_counts() {
        let mut unreplicated = Unreplicated::above(5);
        // Its marker is below the high watermark.
        unreplicated.note(0, 4);
        assert_eq!(unreplicated.first(), None);
        for (first, marker) in [(3, 7), (1, 8), (6, 9)] {
            unreplicated.note(first, marker);
        }
        let mut first_at = |high_watermark| {
            unreplicated.set_high_watermark(high_watermark);
            unreplicated.first()
        };
        assert_eq!((first_at(7), first_at(8)), (Some(1), Some(1)));
        assert_eq!((first_at(9), first_at(10)), (Some(6), None));
    }

    #[test]
    fn truncation_forgets_markers_above() {
        let mut unreplicated = Unreplicated::above(0);
        unreplicated.note(3, 7);
        unreplicated.note(1, 8);
        unreplicated.truncate(8);
        assert_eq!(unreplicated.first(), Some(3));
        unreplicated.truncate(7);
        assert_eq!(unreplicated.first(), None);
    }
}
