//! The two indexes of a segment, and the rule for adding entries to them.
//!
//! An index is a cache of the log. It is checked when it is opened, and each entry is checked when
//! it is first used: the headers of the log must lead from the previous entry to it. A wrong index
//! is rebuilt, and no read relies on an entry alone. Checking only the bytes at the position of an
//! entry would not be enough, because a value may contain bytes that read as a batch.

use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::types::{Offset, Timestamp};

/// The offset index and the time index of one segment.
#[derive(Debug)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
}

impl Indexes {
    pub(crate) fn empty(base: Offset) -> Indexes {
        Indexes { offsets: OffsetIndex::empty(base), times: TimeIndex::empty(base) }
    }
}

/// Decides which appends get index entries: one rule for appending, recovering and rebuilding.
///
/// Before an append is counted, an entry is added if more than the interval has been written since
/// the last entry. So the first append of a segment never gets an entry, and an entry pairs the
/// *last* offset of an append with the position where that append *began*.
#[derive(Debug)]
pub(crate) struct IndexCadence {
    interval_bytes: u64,
    bytes_since_entry: u64,
    /// The largest timestamp so far, and the last offset of the batch that has it.
    pub(crate) largest: (Timestamp, Offset),
}

impl IndexCadence {
    pub(crate) fn new(interval_bytes: u64, largest: (Timestamp, Offset)) -> IndexCadence {
        IndexCadence { interval_bytes, bytes_since_entry: 0, largest }
    }

    /// Continues with the count that an earlier opening of the log stopped at.
    pub(crate) fn resumed(mut self, bytes_since_entry: u64) -> IndexCadence {
        self.bytes_since_entry = bytes_since_entry;
        self
    }

    pub(crate) fn bytes_since_entry(&self) -> u64 {
        self.bytes_since_entry
    }

    /// Counts a batch that was written at `position`.
    #[inline]
    pub(crate) fn note(
        &mut self,
        indexes: &Indexes,
        position: u64,
        bytes: u64,
        last_offset: Offset,
        max_timestamp: Timestamp,
    ) {
        if max_timestamp > self.largest.0 {
            self.largest = (max_timestamp, last_offset);
        }
        if self.bytes_since_entry > self.interval_bytes {
            indexes.offsets.push(last_offset, position);
            indexes.times.push(self.largest.0, self.largest.1);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(bytes);
    }

    /// Adds the last entry of the time index, for the largest timestamp of the whole segment.
    pub(crate) fn finish(&self, indexes: &Indexes) {
        indexes.times.push(self.largest.0, self.largest.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::FileView;
    use std::collections::BTreeSet;

    /// Returns indexes with an entry for each offset from 1 on, and a time with it.
    fn opened(entries: u32) -> Indexes {
        let offsets = (1..=entries).flat_map(|n| [n, n * 100]).flat_map(u32::to_be_bytes);
        let times = (1..=entries)
            .flat_map(|n| u64::from(n).to_be_bytes().into_iter().chain(n.to_be_bytes()));
        let offsets = FileView::from_vec(offsets.collect());
        Indexes {
            offsets: OffsetIndex::open(0, offsets, u64::MAX).unwrap(),
            times: TimeIndex::open(0, FileView::from_vec(times.collect())).unwrap(),
        }
    }

    #[test]
    fn check_is_remembered_for_its_entry() {
        for entries in [1, 63, 64, 65, 128, 200] {
            let indexes = opened(entries as u32);
            let mut checked = BTreeSet::new();
            // The part after the last entry is checked too.
            for number in [64, 0, 1, 63, 128, 199, entries] {
                if number > entries {
                    continue;
                }
                indexes.offsets.set_checked(number);
                indexes.times.set_checked(number);
                checked.insert(number);
                for other in 0..=entries {
                    let is_checked = checked.contains(&other);
                    assert_eq!(indexes.offsets.is_checked(other), is_checked, "{number}, {other}");
                    assert_eq!(indexes.times.is_checked(other), is_checked, "{number}, {other}");
                }
            }
        }
    }

    #[test]
    fn added_entries_need_no_check() {
        const ENTRIES: usize = 3;
        let mut indexes = opened(ENTRIES as u32);
        for next in 1000..1003 {
            indexes.offsets.push(next, next);
            indexes.times.push(Timestamp::from_millis(next as i64), next);
            for number in 0..=indexes.times.len() {
                // The part from the last entry of the file to the first added one is unverified.
                assert_eq!(indexes.offsets.is_checked(number), number > ENTRIES, "{number}");
                assert_eq!(indexes.times.is_checked(number), number >= ENTRIES, "{number}");
            }
        }
        // Copied from a file, they need a check.
        indexes.times.mark_unverified();
        indexes.offsets.mark_unverified();
        for number in 0..=indexes.times.len() {
            assert!(!indexes.times.is_checked(number), "{number}");
            assert!(!indexes.offsets.is_checked(number), "{number}");
        }
    }

    #[test]
    fn entry_is_added_after_more_than_interval() {
        let indexes = Indexes::empty(0);
        let mut cadence = IndexCadence::new(100, (Timestamp::NONE, 0));
        let at = Timestamp::from_millis;
        for (position, bytes, last, time) in
            [(0, 100, 0, 5), (100, 1, 1, 5), (101, 60, 2, 4), (161, 60, 3, 6), (221, 9, 4, 6)]
        {
            cadence.note(&indexes, position, bytes, last, at(time));
        }
        let offsets: Vec<_> = indexes.offsets.iter().map(|e| (e.offset, e.position)).collect();
        assert_eq!(offsets, [(2, 101), (4, 221)]);
        // Each has the largest time so far, and the first offset that had it.
        let times: Vec<_> = indexes.times.iter().map(|e| (e.timestamp, e.offset)).collect();
        assert_eq!(times, [(at(5), 0), (at(6), 3)]);
        assert_eq!(cadence.bytes_since_entry(), 9);
    }
}
