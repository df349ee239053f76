//! The time index: from a timestamp to an offset near it.
//!
//! An entry is 12 bytes, big-endian: a timestamp (8) and an offset relative to the segment's base
//! (4). It says that this is the largest timestamp up to that offset, and that the batch which has
//! it ends with that offset. So every record with a larger timestamp comes after it.

use crate::fs::FileView;
use crate::segment::index_entries::IndexEntries;
use crate::sync::atomic::{AtomicI64, Ordering};
use crate::types::{Offset, Timestamp};

/// The size of an entry.
pub(crate) const ENTRY_BYTES: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// The largest timestamp so far.
    pub(crate) timestamp: Timestamp,
    /// The last offset of the batch that has it.
    pub(crate) offset: Offset,
}

#[derive(Debug)]
pub(crate) struct TimeIndex {
    base: Offset,
    entries: IndexEntries<2, ENTRY_BYTES>,
    /// The largest timestamp that was to be added at an offset too far from the base for an entry.
    /// The file lacks it, so an opening finds that the index ends too early, and rebuilds it.
    beyond: AtomicI64,
}

impl TimeIndex {
    pub(crate) fn empty(base: Offset) -> TimeIndex {
        TimeIndex::from_view(base, FileView::from_vec(Vec::new()))
    }

    fn from_view(base: Offset, file: FileView) -> TimeIndex {
        let beyond = AtomicI64::new(Timestamp::NONE.as_millis());
        TimeIndex { base, entries: IndexEntries::new(file), beyond }
    }

    /// Opens the index in a file. Returns the problem if its entries are impossible.
    pub(crate) fn open(base: Offset, file: FileView) -> Result<TimeIndex, &'static str> {
        if !file.len().is_multiple_of(ENTRY_BYTES) {
            return Err("its length is not a multiple of 12");
        }
        let index = TimeIndex::from_view(base, file);
        let mut before: Option<TimeEntry> = None;
        for entry in index.iter() {
            if entry.timestamp < Timestamp::from_millis(0)
                || before
                    .is_some_and(|b| entry.timestamp <= b.timestamp || entry.offset <= b.offset)
            {
                return Err("its entries are not in order");
            }
            before = Some(entry);
        }
        Ok(index)
    }

    fn decode(&self, entry: [u8; ENTRY_BYTES]) -> TimeEntry {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = entry;
        TimeEntry {
            timestamp: Timestamp::from_millis(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            offset: self.base.saturating_add(u32::from_be_bytes([i, j, k, l]).into()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Marks all entries as unverified, because they were copied from a file.
    pub(crate) fn mark_unverified(&mut self) {
        self.entries.mark_unverified();
    }

    /// Returns whether an entry needs no check. An entry added here never needs one: it covers
    /// everything before it.
    pub(crate) fn is_checked(&self, index: usize) -> bool {
        self.entries.is_own(index) || self.entries.is_checked(index)
    }

    pub(crate) fn set_checked(&self, index: usize) {
        self.entries.set_checked(index);
    }

    pub(crate) fn get(&self, index: usize) -> Option<TimeEntry> {
        self.entries.get(index).map(|entry| self.decode(entry))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = TimeEntry> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    pub(crate) fn last(&self) -> Option<TimeEntry> {
        self.entries.last().map(|entry| self.decode(entry))
    }

    /// Returns the largest timestamp of the segment.
    pub(crate) fn largest(&self) -> Timestamp {
        let beyond = Timestamp::from_millis(self.beyond.load(Ordering::Relaxed));
        self.last().map_or(beyond, |last| last.timestamp.max(beyond))
    }

    /// Returns the number of the last entry whose timestamp is below the given one: no record up
    /// to its offset is as late.
    pub(crate) fn last_below(&self, timestamp: Timestamp) -> Option<usize> {
        let at = self.entries.partition_point(|entry| self.decode(entry).timestamp < timestamp);
        at.checked_sub(1)
    }

    /// Adds an entry, unless it does not fit the format or is not later than the last entry.
    pub(crate) fn push(&self, timestamp: Timestamp, offset: Offset) {
        let relative =
            offset.checked_sub(self.base).and_then(|relative| i32::try_from(relative).ok());
        let Some(relative) = relative else {
            self.beyond.fetch_max(timestamp.as_millis(), Ordering::Relaxed);
            return;
        };
        let last = self.last();
        if timestamp < Timestamp::from_millis(0)
            || last.is_some_and(|last| timestamp <= last.timestamp || offset <= last.offset)
        {
            return;
        }
        let [a, b, c, d, e, f, g, h] = timestamp.as_millis().to_be_bytes();
        let [i, j, k, l] = relative.to_be_bytes();
        self.entries.push([a, b, c, d, e, f, g, h, i, j, k, l]);
    }

    pub(crate) fn bytes_from(&self, first: usize) -> Vec<u8> {
        self.entries.bytes_from(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_700_000_000_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn entry_is_twelve_bytes() {
        let index = TimeIndex::empty(1000);
        index.push(at(T0), 1005);
        assert_eq!(index.bytes_from(0), [0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn push_ignores_timestamp_that_is_not_later() {
        let index = TimeIndex::empty(0);
        index.push(at(0), 1);
        assert_eq!(index.largest(), at(0));
        let index = TimeIndex::empty(0);
        index.push(Timestamp::NONE, 0);
        index.push(at(10), 3);
        index.push(at(10), 5);
        index.push(at(9), 6);
        index.push(at(11), 7);
        index.push(at(12), 7);
        index.push(at(13), 6);
        let entries: Vec<_> = index.iter().map(|e| (e.timestamp.as_millis(), e.offset)).collect();
        assert_eq!(entries, [(10, 3), (11, 7)]);
        assert_eq!(index.last_below(at(10)), None);
        let offset = |number| index.get(number).unwrap().offset;
        assert_eq!(index.last_below(at(11)).map(offset), Some(3));
        assert_eq!(index.last_below(at(99)).map(offset), Some(7));
    }

    #[test]
    fn open_rejects_impossible_index() {
        let open = |bytes: &[u8]| TimeIndex::open(0, FileView::from_vec(bytes.to_vec())).err();
        let entry = |millis: i64, offset: u32| {
            [millis.to_be_bytes().as_slice(), &offset.to_be_bytes()].concat()
        };
        assert_eq!(open(&[]), None);
        assert!(open(&[0; 13]).is_some());
        assert_eq!(open(&entry(0, 1)), None);
        assert_eq!(open(&[entry(1, 1), entry(2, 2)].concat()), None);
        for (millis, offset) in [(1, 2), (2, 2), (3, 1), (3, 0)] {
            let falls = [entry(2, 1), entry(millis, offset)].concat();
            assert!(open(&falls).is_some(), "{millis}, {offset}");
        }
        assert!(open(&entry(-1, 1)).is_some(), "a batch without times");
        assert!(open(&[entry(2, 1), [0; 12].to_vec()].concat()).is_some(), "a zero tail");
    }
}
